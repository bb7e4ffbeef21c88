/* The schedule of one account: intervals from start to start, overrun, back-off, suspension. */
#include "core/sched.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SECOND ((msec_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

/* One cycle that starts at `start`, takes `length` and ends with `class`; no jitter. */
static bool cycle(
	struct sched *s, msec_t start, msec_t length, msec_t interval, enum err_class class)
{
	sched_started(s, start);
	return sched_ended(s, start + length, interval, class, 0);
}

static void spreads_the_first_cycles(void **state)
{
	static const struct {
		msec_t interval;
		size_t index, n;
		msec_t offset;
	} rows[] = {
		{ 10 * MINUTE, 0, 4, 0 },
		{ 10 * MINUTE, 1, 4, 15 * SECOND },
		{ 10 * MINUTE, 3, 4, 45 * SECOND },
		{ 20 * SECOND, 1, 2, 10 * SECOND }, /* never longer than the interval itself */
		{ 10 * MINUTE, 0, 1, 0 },
		{ 10 * MINUTE, 0, 0, 0 },
		{ 7 * 24 * HOUR, 499, 500, 59880 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sched s;
		msec_t due = 5000 + rows[i].offset;
		sched_init(&s, 5000, rows[i].interval, rows[i].index, rows[i].n);
		assert_int_equal(s.next_due, due);
		assert_false(sched_due(&s, due - 1));
		assert_true(sched_due(&s, due));
		assert_true(sched_due(&s, due + 1));
	}
}

static void counts_from_start_to_start(void **state)
{
	struct sched s;

	sched_init(&s, 0, 10 * MINUTE, 0, 1);
	cycle(&s, 1000, 3 * MINUTE, 10 * MINUTE, ERR_NONE);
	assert_int_equal(s.next_due, 1000 + 10 * MINUTE);
	sched_started(&s, 1000 + 10 * MINUTE);
	assert_false(sched_due(&s, MSEC_NEVER - 1)); /* never two cycles of one account (C02) */
}

/* C03: a cycle that outlasted three intervals is followed by one, and that by a normal one. */
static void an_overrun_is_followed_at_once_and_once(void **state)
{
	struct sched s;
	msec_t end = 35 * MINUTE;

	sched_init(&s, 0, 10 * MINUTE, 0, 1);
	cycle(&s, 0, end, 10 * MINUTE, ERR_NONE);
	assert_int_equal(s.next_due, end);
	cycle(&s, end, MINUTE, 10 * MINUTE, ERR_NONE);
	assert_int_equal(s.next_due, end + 10 * MINUTE);
}

static void jitter_only_ever_adds_and_stays_within_a_tenth(void **state)
{
	static const uint32_t chances[] = { 0, 1, 59999, 60000, 60001, UINT32_MAX - 1, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_LEN(chances); i++) {
		struct sched s = { 0 };
		sched_started(&s, 1000);
		sched_ended(&s, 2000, 10 * MINUTE, ERR_NONE, chances[i]);
		assert_true(s.next_due >= 1000 + 10 * MINUTE);
		assert_true(s.next_due < 1000 + 11 * MINUTE);
	}
	struct sched s = { 0 };
	sched_started(&s, 0);
	sched_ended(&s, 0, 9, ERR_NONE, 12345); /* a tenth of nearly nothing */
	assert_int_equal(s.next_due, 9);
}

static void backoff_grows_is_capped_and_ends(void **state)
{
	static const struct {
		msec_t interval, wait[7]; /* after the 1st, 2nd, ... failure in a row */
	} rows[] = {
		{ 5 * MINUTE,
			{ 5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR, HOUR, HOUR } },
		{ 30 * MINUTE, { 30 * MINUTE, HOUR, HOUR, HOUR, HOUR, HOUR, HOUR } },
		{ HOUR, { HOUR, HOUR, HOUR, HOUR, HOUR, HOUR, HOUR } },
		{ 6 * HOUR, /* is patience enough */
			{ 6 * HOUR, 6 * HOUR, 6 * HOUR, 6 * HOUR, 6 * HOUR, 6 * HOUR, 6 * HOUR } },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sched s = { 0 };
		msec_t now = 0;
		for (size_t k = 0; k < ARRAY_LEN(rows[i].wait); k++) {
			cycle(&s, now, 0, rows[i].interval, ERR_NET);
			assert_int_equal(s.next_due - now, rows[i].wait[k]);
			now = s.next_due;
		}
		cycle(&s, now, 0, rows[i].interval, ERR_NONE);
		assert_int_equal(s.next_due - now, rows[i].interval);
		cycle(&s, now, 0, rows[i].interval, ERR_TEMP); /* and it starts from the bottom */
		assert_int_equal(s.next_due - now, rows[i].interval);
	}
	struct sched s = { .failures = UINT32_MAX - 1 };
	cycle(&s, 0, 0, MINUTE, ERR_NET);
	assert_int_equal(s.next_due, HOUR);
}

static void what_is_refused_for_good_is_asked_hourly(void **state)
{
	struct sched s = { 0 };

	cycle(&s, 0, 0, 5 * MINUTE, ERR_PERM);
	assert_int_equal(s.next_due, HOUR);
	cycle(&s, 0, 0, 2 * HOUR, ERR_PERM);
	assert_int_equal(s.next_due, 2 * HOUR);
}

/* P13: three refused passwords in a row, and only those, suspend; the third says so, once. */
static void three_refused_passwords_suspend(void **state)
{
	static const struct {
		enum err_class classes[6];
		size_t n;
		bool suspended;
	} rows[] = {
		{ { ERR_AUTH, ERR_AUTH }, 2, false },
		{ { ERR_AUTH, ERR_AUTH, ERR_AUTH }, 3, true },
		{ { ERR_AUTH, ERR_AUTH, ERR_NONE, ERR_AUTH, ERR_AUTH }, 5, false },
		/* P10: [IN-USE] means that the password was right */
		{ { ERR_AUTH, ERR_AUTH, ERR_BUSY, ERR_AUTH, ERR_AUTH }, 5, false },
		{ { ERR_TEMP, ERR_NET, ERR_THROTTLE, ERR_BUSY, ERR_PERM, ERR_TLS }, 6, false },
		{ { ERR_NET, ERR_TEMP, ERR_AUTH, ERR_AUTH, ERR_AUTH }, 5, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sched s = { 0 };
		for (size_t k = 0; k < rows[i].n; k++) {
			bool now_suspended = cycle(&s, 0, 0, MINUTE, rows[i].classes[k]);
			assert_int_equal(now_suspended, rows[i].suspended && k + 1 == rows[i].n);
		}
		assert_int_equal(s.suspended, rows[i].suspended);
		assert_int_equal(sched_due(&s, MSEC_NEVER), !rows[i].suspended);
	}
	struct sched s = { .suspended = true, .auth_failures = SCHED_AUTH_FAILURES_MAX };
	assert_false(cycle(&s, 0, 0, MINUTE, ERR_AUTH)); /* it was already: no second alarm */
	assert_true(s.suspended);
}

/* P11: the server's LOGIN-DELAY is longer than the interval; a longer back-off stays. */
static void waits_for_the_announced_delay(void **state)
{
	static const struct {
		msec_t interval, delay;
		enum err_class class;
		msec_t wait;
	} rows[] = {
		{ MINUTE, 15 * MINUTE - 1, ERR_NONE, 15 * MINUTE - 1 },
		{ MINUTE, 15 * MINUTE, ERR_NONE, 15 * MINUTE },
		{ MINUTE, 15 * MINUTE, ERR_THROTTLE, 15 * MINUTE },
		{ 15 * MINUTE, MINUTE, ERR_NONE, 15 * MINUTE },
		{ MINUTE, 15 * MINUTE, ERR_PERM, HOUR },
		{ MINUTE, 0, ERR_NONE, MINUTE },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sched s = { .delay = rows[i].delay };
		cycle(&s, 7000, 10, rows[i].interval, rows[i].class);
		assert_int_equal(s.next_due, 7000 + rows[i].wait);
	}
}

static void a_missing_permit_moves_the_due_time_only(void **state)
{
	struct sched s = { .failures = 2, .auth_failures = 2, .last_start = 1000 };

	sched_wait(&s, 5000, 300);
	assert_false(sched_due(&s, 5299));
	assert_true(sched_due(&s, 5300));
	assert_int_equal(s.failures, 2);
	assert_int_equal(s.auth_failures, 2);
	assert_int_equal(s.last_start, 1000);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(spreads_the_first_cycles),
		cmocka_unit_test(counts_from_start_to_start),
		cmocka_unit_test(an_overrun_is_followed_at_once_and_once),
		cmocka_unit_test(jitter_only_ever_adds_and_stays_within_a_tenth),
		cmocka_unit_test(backoff_grows_is_capped_and_ends),
		cmocka_unit_test(what_is_refused_for_good_is_asked_hourly),
		cmocka_unit_test(three_refused_passwords_suspend),
		cmocka_unit_test(waits_for_the_announced_delay),
		cmocka_unit_test(a_missing_permit_moves_the_due_time_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
