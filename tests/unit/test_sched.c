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
#define WALL   (1700000000 * SECOND) /* at a monotonic 0 */

/* One cycle that starts at `start`, takes `length` and ends with `class`; no jitter. */
static bool cycle(
	struct sched *s, msec_t start, msec_t length, msec_t interval, enum err_class class)
{
	struct sched_result r = { .class = class, .logged_in = class == ERR_NONE };

	sched_started(s, start, WALL + start);
	return sched_ended(s, start + length, WALL + start + length, interval, &r, 0);
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
		struct sched s = { 0 };
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
	struct sched s = { 0 };

	sched_init(&s, 0, 10 * MINUTE, 0, 1);
	cycle(&s, 1000, 3 * MINUTE, 10 * MINUTE, ERR_NONE);
	assert_int_equal(s.next_due, 1000 + 10 * MINUTE);
	sched_started(&s, 1000 + 10 * MINUTE, WALL);
	assert_false(sched_due(&s, MSEC_NEVER - 1)); /* never two cycles of one account (C02) */
}

/* C03: a cycle that outlasted three intervals is followed by one, and that by a normal one. */
static void an_overrun_is_followed_at_once_and_once(void **state)
{
	struct sched s = { 0 };
	msec_t end = 35 * MINUTE;

	sched_init(&s, 0, 10 * MINUTE, 0, 1);
	cycle(&s, 0, end, 10 * MINUTE, ERR_NONE);
	assert_int_equal(s.next_due, end);
	cycle(&s, end, MINUTE, 10 * MINUTE, ERR_NONE);
	assert_int_equal(s.next_due, end + 10 * MINUTE);
}

static void jitter_only_ever_adds_and_stays_within_a_twentieth(void **state)
{
	static const struct sched_result well = { .logged_in = true };
	static const uint32_t chances[] = { 0, 1, 59999, 60000, 60001, UINT32_MAX - 1, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_LEN(chances); i++) {
		struct sched s = { 0 };
		sched_started(&s, 1000, WALL);
		sched_ended(&s, 2000, WALL, 10 * MINUTE, &well, chances[i]);
		assert_true(s.next_due >= 1000 + 10 * MINUTE);
		assert_true(s.next_due < 1000 + 10 * MINUTE + 30 * SECOND);
	}
	struct sched s = { 0 };
	sched_started(&s, 0, WALL);
	sched_ended(&s, 0, WALL, 9, &well, 12345); /* a twentieth of nearly nothing */
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
	struct sched s = { .kept.failures = UINT32_MAX - 1 };
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
		/* a line that breaks in between proves nothing about the password */
		{ { ERR_AUTH, ERR_NET, ERR_AUTH, ERR_THROTTLE, ERR_AUTH }, 5, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sched s = { 0 };
		for (size_t k = 0; k < rows[i].n; k++) {
			bool now_suspended = cycle(&s, 0, 0, MINUTE, rows[i].classes[k]);
			assert_int_equal(now_suspended, rows[i].suspended && k + 1 == rows[i].n);
		}
		assert_int_equal(sched_suspended(&s), rows[i].suspended);
		assert_int_equal(sched_due(&s, MSEC_NEVER), !rows[i].suspended);
	}
	struct sched s = { .kept.auth_failures = SCHED_AUTH_FAILURES_MAX };
	assert_false(cycle(&s, 0, 0, MINUTE, ERR_AUTH)); /* it was already: no second alarm */
	assert_true(sched_suspended(&s));
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
		/* refused all the same: longer */
		{ MINUTE, 15 * MINUTE, ERR_THROTTLE, SCHED_LEARNED_MAX_MSEC },
		{ 15 * MINUTE, MINUTE, ERR_NONE, 15 * MINUTE },
		{ MINUTE, 15 * MINUTE, ERR_PERM, HOUR },
		{ MINUTE, 0, ERR_NONE, MINUTE },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sched s = { .kept.announced = rows[i].delay };
		struct sched_result r = { .class = rows[i].class,
			.logged_in = rows[i].class == ERR_NONE,
			.announced = rows[i].delay };
		sched_started(&s, 7000, WALL);
		sched_ended(&s, 7010, WALL, rows[i].interval, &r, 0);
		assert_int_equal(s.next_due, 7000 + rows[i].wait);
	}
}

/* P11: "too often" raises the account's own minimum: as told, or by half, for a day. */
static void learns_from_too_often(void **state)
{
	static const struct {
		msec_t interval, told[3];
		size_t n;
		msec_t delay;
	} rows[] = {
		{ 5 * MINUTE, { 15 * MINUTE }, 1, 15 * MINUTE },
		{ 5 * MINUTE, { 15 * MINUTE, 10 * MINUTE }, 2, 15 * MINUTE },
		{ 4 * MINUTE, { 0 }, 1, 6 * MINUTE },
		{ 4 * MINUTE, { 0, 0 }, 2, 9 * MINUTE },
		{ 10 * MINUTE, { 0, 0, 0 }, 3, SCHED_LEARNED_MAX_MSEC },
		{ MINUTE, { 400LL * 24 * HOUR }, 1, SCHED_DELAY_MAX_MSEC },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sched s = { 0 };
		for (size_t k = 0; k < rows[i].n; k++) {
			struct sched_result r = { .class = ERR_THROTTLE, .told = rows[i].told[k] };
			sched_started(&s, 0, WALL);
			sched_ended(&s, 0, WALL, rows[i].interval, &r, 0);
			assert_true(s.next_due >= sched_delay(&s, WALL));
		}
		assert_int_equal(sched_delay(&s, WALL), rows[i].delay);
		assert_int_equal(sched_delay(&s, WALL + SCHED_LEARNED_MSEC - 1), rows[i].delay);
		assert_int_equal(sched_delay(&s, WALL + SCHED_LEARNED_MSEC), 0);
	}
}

static void paused_and_suspended_are_never_due(void **state)
{
	struct sched s = { .kept.paused = true };

	assert_false(sched_due(&s, MSEC_NEVER));
	assert_false(sched_resume(&s, 0));
	s = (struct sched){ .kept.auth_failures = SCHED_AUTH_FAILURES_MAX, .next_due = 500 };
	assert_true(sched_resume(&s, 300));
	assert_true(sched_due(&s, 300));
	s = (struct sched){ .kept.auth_failures = 2, .next_due = 500 };
	assert_false(sched_resume(&s, 300));
	assert_int_equal(s.kept.auth_failures, 0);
	assert_int_equal(s.next_due, 500);
}

static void a_missing_permit_moves_the_due_time_only(void **state)
{
	struct sched s = {
		.kept = { .failures = 2, .auth_failures = 2 }, .last_start = 1000, .due_since = 4000
	};

	sched_wait(&s, 5000, 300);
	assert_false(sched_due(&s, 5299));
	assert_true(sched_due(&s, 5300));
	assert_int_equal(s.kept.failures, 2);
	assert_int_equal(s.kept.auth_failures, 2);
	assert_int_equal(s.last_start, 1000);
	assert_int_equal(s.due_since, 4000); /* its place in the queue */
}

/* A stop or a dead relay says nothing about the provider: no back-off, no success, no way out of
 * one. */
static void what_was_cut_off_counts_as_nothing(void **state)
{
	struct sched_result cut = { .class = ERR_TEMP, .cut = true, .logged_in = true };
	struct sched s = { 0 };

	sched_init(&s, 0, 0, 0, 1);
	sched_started(&s, 0, 1000);
	assert_false(sched_ended(&s, 0, 2000, 10 * MINUTE, &cut, 0));
	assert_int_equal(s.kept.failures, 0);
	assert_int_equal(s.kept.last_success, 0);
	assert_int_equal(s.next_due, 10 * MINUTE);

	s.kept.failures = s.kept.auth_failures = 2;
	assert_false(sched_ended(&s, 0, 2000, 10 * MINUTE, &cut, 0));
	assert_int_equal(s.kept.failures, 2);
	assert_int_equal(s.kept.auth_failures, 0); /* the password was right */
	assert_int_equal(s.next_due, 20 * MINUTE);
}

static void overdue_is_what_a_bad_hour_does_not_explain(void **state)
{
	enum { LIMIT = 2 * 10 * MINUTE + SCHED_GRACE_MSEC, DAY = 24 * 60 * MINUTE };
	static const struct {
		struct sched_kept kept;
		wall_t since;
		bool running;
		wall_t wall;
		bool overdue;
	} rows[] = {
		{ { .last_success = DAY }, 0, false, DAY + LIMIT, false },
		{ { .last_success = DAY }, 0, false, DAY + LIMIT + 1, true },
		{ { .last_success = DAY, .failures = 9 }, 0, false, DAY + LIMIT, false },
		/* the daemon was off meanwhile */
		{ { .last_success = 1 }, DAY, false, DAY + LIMIT, false },
		{ { .last_success = 1 }, DAY, false, DAY + LIMIT + 1, true },
		{ { 0 }, DAY, false, DAY + LIMIT + 1, true },
		/* a long cycle, the first of a big maildrop */
		{ { .last_success = 1 }, DAY, true, DAY + 9 * LIMIT, false },
		{ { .last_success = 1, .failures = 1 }, DAY, true, DAY + 9 * LIMIT, true },
		/* the provider wants it slower */
		{ { .last_success = DAY, .announced = 60 * MINUTE }, 0, false,
			DAY + 2 * 60 * MINUTE + SCHED_GRACE_MSEC, false },
		{ { .last_success = DAY, .announced = 60 * MINUTE }, 0, false,
			DAY + 2 * 60 * MINUTE + SCHED_GRACE_MSEC + 1, true },
		/* nobody waits for these; suspended is a fault of its own */
		{ { .last_success = 1, .paused = true }, 0, false, DAY, false },
		{ { .last_success = 1, .auth_failures = SCHED_AUTH_FAILURES_MAX }, 0, false, DAY,
			false },
		/* the clock was set back */
		{ { .last_success = DAY }, 0, false, 5, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sched s = { .kept = rows[i].kept };
		struct sched_time at = { 9 * DAY, rows[i].wall }, start = { 0, rows[i].since };
		assert_int_equal(sched_overdue(&s, at, start, 10 * MINUTE, rows[i].running),
			rows[i].overdue);
	}
}

/* No clock that goes on without power: 1970 at the start, then somebody tells us the time. */
static void a_civil_clock_that_jumps_makes_nothing_overdue(void **state)
{
	enum { LIMIT = 2 * 10 * MINUTE + SCHED_GRACE_MSEC };
	const wall_t jump = INT64_C(1795500000000);
	struct sched_time start = { 8000, 8000 };
	struct sched s = { 0 };
	struct sched_result well = { .class = ERR_NONE, .logged_in = true };

	sched_init(&s, 0, 10 * MINUTE, 0, 1);
	assert_false(
		sched_overdue(&s, (struct sched_time){ 9000, jump }, start, 10 * MINUTE, false));
	assert_false(sched_overdue(
		&s, (struct sched_time){ start.now + LIMIT, jump }, start, 10 * MINUTE, false));
	assert_true(sched_overdue(
		&s, (struct sched_time){ start.now + LIMIT + 1, jump }, start, 10 * MINUTE, false));
	/* and so between two cycles, days later */
	sched_started(&s, 900 * MINUTE, 900 * MINUTE);
	sched_ended(&s, 901 * MINUTE, 901 * MINUTE, 10 * MINUTE, &well, 0);
	assert_false(sched_overdue(
		&s, (struct sched_time){ 902 * MINUTE, jump }, start, 10 * MINUTE, false));
	assert_true(sched_overdue(&s, (struct sched_time){ 901 * MINUTE + LIMIT + 1, jump }, start,
		10 * MINUTE, false));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(spreads_the_first_cycles),
		cmocka_unit_test(counts_from_start_to_start),
		cmocka_unit_test(an_overrun_is_followed_at_once_and_once),
		cmocka_unit_test(jitter_only_ever_adds_and_stays_within_a_twentieth),
		cmocka_unit_test(backoff_grows_is_capped_and_ends),
		cmocka_unit_test(what_is_refused_for_good_is_asked_hourly),
		cmocka_unit_test(three_refused_passwords_suspend),
		cmocka_unit_test(waits_for_the_announced_delay),
		cmocka_unit_test(learns_from_too_often),
		cmocka_unit_test(paused_and_suspended_are_never_due),
		cmocka_unit_test(a_missing_permit_moves_the_due_time_only),
		cmocka_unit_test(what_was_cut_off_counts_as_nothing),
		cmocka_unit_test(overdue_is_what_a_bad_hour_does_not_explain),
		cmocka_unit_test(a_civil_clock_that_jumps_makes_nothing_overdue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
