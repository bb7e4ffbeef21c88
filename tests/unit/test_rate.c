/* The provider's patience: spacing of one account, window of all accounts, one below, at, above. */
#include "base/rate.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MINUTE (60 * (msec_t)1000)

static void says_how_long_to_wait(void **state)
{
	static const struct {
		struct rate_rule rule;
		msec_t last;
		msec_t ages[4];
		size_t n;
		msec_t wait;
	} rows[] = {
		/* spacing alone */
		{ { 5 * MINUTE, 0, 0 }, -1, { 0 }, 0, 0 },
		{ { 5 * MINUTE, 0, 0 }, 0, { 0 }, 1, 5 * MINUTE },
		{ { 5 * MINUTE, 0, 0 }, 5 * MINUTE - 1, { 0 }, 1, 1 },
		{ { 5 * MINUTE, 0, 0 }, 5 * MINUTE, { 0 }, 1, 0 },
		{ { 5 * MINUTE, 0, 0 }, 5 * MINUTE + 1, { 0 }, 1, 0 },
		{ { 0, 0, 0 }, 0, { 0, 0, 0, 0 }, 4, 0 },
		/* window alone: one login of room, none, and room again */
		{ { 0, 3, 10 * MINUTE }, -1, { 1, 2 }, 2, 0 },
		{ { 0, 3, 10 * MINUTE }, -1, { 1, 2, 3 }, 3, 10 * MINUTE - 3 },
		{ { 0, 3, 10 * MINUTE }, -1, { 1, 2, 10 * MINUTE - 1 }, 3, 1 },
		{ { 0, 3, 10 * MINUTE }, -1, { 1, 2, 10 * MINUTE }, 3, 0 },
		{ { 0, 3, 10 * MINUTE }, -1, { 1, 2, 10 * MINUTE + 1 }, 3, 0 },
		/* over the limit already (it was lowered): the third youngest has to leave */
		{ { 0, 3, 10 * MINUTE }, -1, { 1, 2, 3, 9 * MINUTE }, 4, 10 * MINUTE - 3 },
		{ { 0, 1, 10 * MINUTE }, -1, { 4 * MINUTE, 9 * MINUTE }, 2, 6 * MINUTE },
		/* both: the longer one counts */
		{ { 5 * MINUTE, 1, 10 * MINUTE }, 2 * MINUTE, { 2 * MINUTE }, 1, 8 * MINUTE },
		{ { 30 * MINUTE, 1, 10 * MINUTE }, 2 * MINUTE, { 2 * MINUTE }, 1, 28 * MINUTE },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rate_wait(&rows[i].rule, rows[i].last, rows[i].ages, rows[i].n) != rows[i].wait)
			fail_msg("row %zu", i);
}

/* Whatever accounts ask, and however often, no window ever sees more than its limit. */
static void no_window_ever_sees_more(void **state)
{
	static const struct rate_rule rule = { 700, 20, 10000 };
	msec_t when[400], last[16], ages[20];
	size_t n = 0;

	for (size_t account = 0; account < 16; account++)
		last[account] = -1;
	for (msec_t now = 0; n < ARRAY_LEN(when); now += 37) {
		size_t account = (size_t)now % 16, known = n < 20 ? n : 20;
		for (size_t i = 0; i < known; i++)
			ages[i] = now - when[n - 1 - i];
		msec_t since = last[account] < 0 ? -1 : now - last[account];
		if (rate_wait(&rule, since, ages, known))
			continue;
		assert_true(since < 0 || since >= rule.spacing_ms);
		last[account] = when[n++] = now;
	}
	for (size_t i = rule.limit; i < n; i++)
		assert_true(when[i] - when[i - rule.limit] >= rule.window_ms);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_how_long_to_wait),
		cmocka_unit_test(no_window_ever_sees_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
