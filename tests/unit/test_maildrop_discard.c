/*
 * What a person has decided about a maildrop: a discarded message is deleted whatever `keep` says,
 * and nothing else is; which messages may be adopted.
 */
#include "core/maildrop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct conf_account forever = { .max_size = 100, .keep_ms = KEEP_FOREVER };

static void list(struct maildrop *m, bool retr_deletes, const char *const *uids, uint32_t n)
{
	maildrop_init(m, &forever, retr_deletes);
	maildrop_count(m, n);
	for (uint32_t i = 0; i < n; i++) {
		maildrop_uid(m, i + 1, sv_str(uids[i]));
		maildrop_size(m, i + 1, 50);
	}
	maildrop_listed(m);
}

static void row(struct maildrop *m, const char *uid, uint64_t octets, enum message_state state)
{
	maildrop_row(m,
		&(struct stored_message){
			.id = 1, .uid = uid, .octets = octets, .state = state, .digest = true });
}

/* A discard counts for a message whose one row is surely its own; else the content is asked. */
static void deletes_what_was_discarded(void **state)
{
	static const struct {
		uint64_t octets;                  /* recorded; 50 are listed */
		enum message_state state, second; /* of a second row; NEW: none */
		enum item_state item;
		bool deleted;
	} rows[] = {
		{ 50, MESSAGE_DISCARD, MESSAGE_NEW, ITEM_DONE, true },
		{ 50, MESSAGE_DONE, MESSAGE_NEW, ITEM_DONE, false },
		{ 50, MESSAGE_HELD, MESSAGE_NEW, ITEM_HELD, false },
		{ 51, MESSAGE_DISCARD, MESSAGE_NEW, ITEM_VERIFY, false },
		{ 50, MESSAGE_DISCARD, MESSAGE_DONE, ITEM_VERIFY, false },
		{ 50, MESSAGE_DONE, MESSAGE_DISCARD, ITEM_VERIFY, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(maildrop_free) struct maildrop m;
		list(&m, false, (const char *const[]){ "x", "y" }, 2);
		row(&m, "x", rows[i].octets, rows[i].state);
		if (rows[i].second != MESSAGE_NEW)
			row(&m, "x", rows[i].octets, rows[i].second);
		row(&m, "y", 50, MESSAGE_DONE);
		maildrop_plan(&m, 0);
		if (maildrop_item(&m, 1)->state != rows[i].item)
			fail_msg("row %zu: %d", i, maildrop_item(&m, 1)->state);
		if (maildrop_next_delete(&m, 0) != (rows[i].deleted ? 1 : 0))
			fail_msg("row %zu", i);
		assert_int_equal(maildrop_next_delete(&m, 0), 0); /* y stays */
	}
}

/* What is held without being retrieved is said once, also where its UID has another row. */
static void holds_nothing_in_silence(void **state)
{
	static const struct {
		uint64_t listed;
		uint32_t attempts; /* of a row whose content nobody has seen; 0: there is none */
		enum message_state probe;
		enum item_state item;
		bool newly;
	} rows[] = {
		{ 50, 9, MESSAGE_NEW, ITEM_VERIFY, false },
		{ 50, 10, MESSAGE_NEW, ITEM_HELD, true },
		{ 50, 10, MESSAGE_HELD, ITEM_HELD, false },
		{ 51, 10, MESSAGE_HELD, ITEM_VERIFY, false }, /* it was of another message */
		{ 101, 0, MESSAGE_NEW, ITEM_HELD, true },     /* larger than max_size */
		{ 101, 1, MESSAGE_HELD, ITEM_HELD, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(maildrop_free) struct maildrop m;
		list(&m, false, (const char *const[]){ "x" }, 1);
		maildrop_size(&m, 1, rows[i].listed);
		row(&m, "x", 49, MESSAGE_DONE);
		if (rows[i].attempts)
			maildrop_row(&m,
				&(struct stored_message){ .id = 2,
					.uid = "x",
					.octets = rows[i].listed > 100 ? 101 : 50,
					.state = rows[i].probe,
					.attempts = rows[i].attempts });
		maildrop_plan(&m, 0);
		if (maildrop_item(&m, 1)->state != rows[i].item ||
			maildrop_newly_held(&m, 1) != rows[i].newly)
			fail_msg("row %zu: %d", i, maildrop_item(&m, 1)->state);
	}
}

/* Retrieved and recognised by its content: only then it is known whether it was discarded. */
static void deletes_what_turns_out_to_be_discarded(void **state)
{
	for (int discarded = 0; discarded < 2; discarded++) {
		AUTO(maildrop_free) struct maildrop m;
		list(&m, false, (const char *const[]){ "x" }, 1);
		row(&m, "x", 51, MESSAGE_DISCARD);
		maildrop_plan(&m, 0);
		assert_int_equal(maildrop_next_wanted(&m), 1);
		maildrop_item(&m, 1)->discard = discarded;
		maildrop_done(&m, 1, 0);
		assert_int_equal(maildrop_next_delete(&m, 0), discarded);
	}
}

/* P09: where QUIT drops what was retrieved, a session that deletes retrieves nothing. */
static void discards_before_it_retrieves(void **state)
{
	AUTO(maildrop_free) struct maildrop m;

	list(&m, true, (const char *const[]){ "x", "new" }, 2);
	row(&m, "x", 50, MESSAGE_DISCARD);
	maildrop_plan(&m, 0);
	assert_true(m.delete_only);
	assert_int_equal(maildrop_next_wanted(&m), 0);
	assert_int_equal(maildrop_next_delete(&m, 0), 1);
}

static void adopts_only_what_has_a_name_of_its_own(void **state)
{
	static const char *const uids[] = { "dup", "", "known", "z", "dup", "" };
	static const bool may[] = { false, false, false, true, false, false };
	AUTO(maildrop_free) struct maildrop m;

	list(&m, false, uids, ARRAY_LEN(uids));
	row(&m, "known", 50, MESSAGE_NEW);
	for (uint32_t n = 1; n <= ARRAY_LEN(uids); n++)
		if (maildrop_may_adopt(&m, n) != may[n - 1])
			fail_msg("message %u", n);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(deletes_what_was_discarded),
		cmocka_unit_test(holds_nothing_in_silence),
		cmocka_unit_test(deletes_what_turns_out_to_be_discarded),
		cmocka_unit_test(discards_before_it_retrieves),
		cmocka_unit_test(adopts_only_what_has_a_name_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
