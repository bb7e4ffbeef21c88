/*
 * A maildrop of a million messages, whatever their UIDs: about 150 octets each, and no more
 * comparisons than sorting takes. A quadratic one would take hours, CTest ends it after two
 * minutes.
 */
#include "core/maildrop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>

#define ROW_OCTETS 150

static const struct conf_account account = { .max_size = 100, .keep_ms = KEEP_NONE };

static uint32_t rising(uint32_t n)
{
	return n;
}

static uint32_t falling(uint32_t n)
{
	return 1000000 - n;
}

static uint32_t mixed(uint32_t n)
{
	return n * 2654435761u;
}

static uint32_t all_the_same(uint32_t n)
{
	return 7;
}

static const char *uid_of(uint32_t (*order)(uint32_t n), uint32_t n)
{
	static char uid[40];

	snprintf(uid, sizeof uid, "0000000000%010" PRIu32, order(n));
	return uid;
}

static void a_million_messages(void **state)
{
	static const struct {
		uint32_t (*order)(uint32_t n);
		uint32_t messages;
	} rows[] = { { mixed, 1000000 }, { rising, 100000 }, { falling, 100000 },
		{ all_the_same, 100000 } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(maildrop_free) struct maildrop m;
		uint32_t messages = rows[i].messages, wanted = 0;
		maildrop_init(&m, &account, false);
		maildrop_count(&m, messages);
		for (uint32_t n = 1; n <= messages; n++) {
			maildrop_uid(&m, n, sv_str(uid_of(rows[i].order, n)));
			maildrop_size(&m, n, 50);
		}
		maildrop_listed(&m);
		for (uint32_t n = messages; n;
			n -= 2) /* half of them are on record, latest first */
			maildrop_row(&m,
				&(struct stored_message){ .id = n,
					.uid = uid_of(rows[i].order, n),
					.octets = 50,
					.state = MESSAGE_DONE,
					.digest = true });
		maildrop_plan(&m, 0);
		assert_true(m.uids.cap + messages * (sizeof *m.items + sizeof *m.order) <=
			(size_t)messages * ROW_OCTETS);
		while (maildrop_next_wanted(&m))
			wanted++;
		assert_int_equal(wanted, rows[i].order == all_the_same ? messages : messages / 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_million_messages) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
