/* Login permits in a real SQLite file: between processes (two handles here), restarts and reboots.
 */
#include "store_fixture.h"

static const struct rate_rule rule = { 5 * MINUTE, 3, 10 * MINUTE };

static void expect_login(struct fixture *fx, struct store *s, const char *account,
	const struct rate_rule *by, msec_t wait, bool limited)
{
	struct login_permit permit = { -1, !limited };

	OK(store_login(s, "p", account, by, &fx->clock, &permit, NULL));
	assert_int_equal(permit.wait_ms, wait);
	assert_int_equal(permit.limited, limited);
	assert_false(store_dirty(s)); /* taken and durable, or not taken at all */
}

/* Two processes on one state: spacing of an account, window of the provider, and who makes us wait.
 */
static void permits_hold_between_processes(void **state)
{
	struct fixture *fx = *state;
	struct store *other = open_store(fx);
	struct login_permit permit;

	expect_login(fx, fx->store, "a", &rule, 0, false);
	expect_login(fx, other, "a", &rule, 5 * MINUTE, false);
	expect_login(fx, other, "b", &rule, 0, false);
	fx->now += MINUTE;
	expect_login(fx, fx->store, "a", &rule, 4 * MINUTE, false);
	expect_login(fx, fx->store, "c", &rule, 0, false);
	expect_login(fx, other, "d", &rule, 9 * MINUTE, true); /* three in the window */
	expect_login(fx, other, "a", &rule, 9 * MINUTE, true); /* the longer wait names itself */
	OK(store_login(other, "q", "d", &rule, &fx->clock, &permit, NULL));
	assert_int_equal(permit.wait_ms, 0); /* another provider */
	fx->now += 9 * MINUTE - 1;
	expect_login(fx, other, "d2", &rule, 1, true);
	fx->now += 1;
	expect_login(fx, other, "d2", &rule, 0, false);
	expect_login(fx, fx->store, "a", &rule, 0, false);
	expect_login(fx, fx->store, "b", &rule, MINUTE, true); /* c's login has to age */
	store_close(other);
}

/* A refused wish costs nothing: asking often does not move the time. */
static void asking_takes_no_permit(void **state)
{
	struct fixture *fx = *state;

	expect_login(fx, fx->store, "a", &rule, 0, false);
	for (int i = 0; i < 10; i++)
		expect_login(fx, fx->store, "a", &rule, 5 * MINUTE, false);
	fx->now += 5 * MINUTE;
	expect_login(fx, fx->store, "a", &rule, 0, false);
}

static void permits_survive_and_commit_what_is_open(void **state)
{
	struct fixture *fx = *state;
	bool quit_ok = false;

	OK(store_set_quit_ok(fx->store, "a", true, NULL));
	expect_login(fx, fx->store, "a", &rule, 0, false);
	store_rollback(fx->store);
	reopen(fx);
	OK(store_quit_ok(fx->store, "a", &quit_ok, NULL));
	assert_true(quit_ok);
	expect_login(fx, fx->store, "a", &rule, 5 * MINUTE, false);
}

/* The wall clock may step as it likes: within one boot it is not asked. */
static void a_clock_step_changes_no_permit(void **state)
{
	static const wall_t steps[] = { 3600 * SECOND, -7200 * SECOND, 400 * 86400 * SECOND };
	struct fixture *fx = *state;

	expect_login(fx, fx->store, "a", &rule, 0, false);
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		fx->wall += steps[i];
		reopen(fx);
		expect_login(fx, fx->store, "a", &rule, 5 * MINUTE, false);
	}
}

/* After a reboot stamps are told by the wall clock, once; one in the future is taken for now. */
static void stamps_of_another_boot_count(void **state)
{
	static const struct {
		msec_t uptime, passed; /* by the wall clock since the login */
		msec_t wait, then;     /* and a minute later, if not taken or if taken now */
	} rows[] = {
		{ 30 * SECOND, MINUTE, 4 * MINUTE, 3 * MINUTE },
		{ 30 * SECOND, 5 * MINUTE - 1, 1, 0 },
		{ 30 * SECOND, 5 * MINUTE, 0, 4 * MINUTE },
		{ 30 * SECOND, 365 * 24 * 60 * MINUTE, 0, 4 * MINUTE },
		{ 500 * MINUTE, MINUTE, 4 * MINUTE, 3 * MINUTE },
		{ 30 * SECOND, -60 * MINUTE, 5 * MINUTE, 4 * MINUTE }, /* not for ever */
		{ 30 * SECOND, 0, 5 * MINUTE, 4 * MINUTE },
	};
	struct fixture *fx = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		tamper(fx, "DELETE FROM login");
		fx->now = 1000 * MINUTE;
		expect_login(fx, fx->store, "a", &rule, 0, false);
		store_close(fx->store);
		tamper(fx, "UPDATE login SET boot = 'another'");
		fx->now = rows[i].uptime;
		fx->wall += rows[i].passed;
		fx->store = open_store(fx);
		expect_login(fx, fx->store, "a", &rule, rows[i].wait, false);
		fx->now += MINUTE;
		fx->wall += 60 * MINUTE; /* of no interest any more */
		reopen(fx);
		expect_login(fx, fx->store, "a", &rule, rows[i].then, false);
	}
}

/* No limit set: only the spacing counts, and old stamps do not pile up. */
static void old_stamps_are_dropped(void **state)
{
	static const struct rate_rule spacing = { MINUTE, 0, 0 };
	struct fixture *fx = *state;

	/* Kept for eight days: longer than any spacing that may be asked for. */
	for (int i = 0; i < 20; i++, fx->now += 5 * 24 * 60 * MINUTE)
		expect_login(fx, fx->store, "a", &spacing, 0, false);
	tamper(fx,
		"CREATE TABLE few(n CHECK(n <= 2));"
		"INSERT INTO few SELECT count(*) FROM login; DROP TABLE few");
}

/* A pause belongs to people: what a cycle records of its account does not touch it. */
static void the_past_of_an_account_survives(void **state)
{
	struct fixture *fx = *state;
	struct account_past back,
		past = { .sched = { .failures = 3,
				 .auth_failures = 2,
				 .busy = 1,
				 .announced = 900000,
				 .learned = 5,
				 .learned_at = 6,
				 .last_start = 7,
				 .last_success = 8 },
			.secret_mark = 65535,
			.delivered = 1ULL << 40,
			.last_error_at = 9,
			.last_error = "AUTH: no" };

	OK(store_past(fx->store, "a", &back, NULL));
	assert_false(back.sched.paused);
	assert_int_equal(back.delivered, 0);
	OK(store_set_paused(fx->store, "a", true, NULL));
	OK(store_set_quit_ok(fx->store, "a", true, NULL));
	OK(store_set_past(fx->store, "a", &past, NULL));
	OK(store_commit(fx->store, NULL));
	reopen(fx);
	OK(store_past(fx->store, "a", &back, NULL));
	assert_true(back.sched.paused);
	past.sched.paused = true;
	assert_memory_equal(&back.sched, &past.sched, sizeof back.sched);
	assert_int_equal(back.secret_mark, past.secret_mark);
	assert_int_equal(back.delivered, past.delivered);
	assert_int_equal(back.last_error_at, past.last_error_at);
	assert_string_equal(back.last_error, past.last_error);
	OK(store_set_paused(fx->store, "a", false, NULL));
	OK(store_past(fx->store, "a", &back, NULL));
	assert_false(back.sched.paused);
	assert_int_equal(back.sched.failures, 3);
}

static void counts_what_waits(void **state)
{
	struct fixture *fx = *state;
	static const enum message_state states[] = { MESSAGE_NEW, MESSAGE_DONE, MESSAGE_DONE,
		MESSAGE_DELETED, MESSAGE_HELD, MESSAGE_DISCARD };
	struct message_counts counts;
	int64_t id;

	for (size_t i = 0; i < ARRAY_LEN(states); i++) {
		char uid[] = { 'u', (char)('0' + i), 0 };
		id = 0;
		OK(store_attempt(fx->store, "a", uid, 10, false, fx->wall, &id, NULL));
		OK(store_state(fx->store, id, states[i], NULL, fx->wall, NULL));
	}
	OK(store_counts(fx->store, "a", &counts, NULL));
	assert_int_equal(counts.held, 1);
	assert_int_equal(counts.done, 2);
	assert_int_equal(counts.discard, 1);
	OK(store_counts(fx->store, "b", &counts, NULL));
	assert_int_equal(counts.held + counts.done + counts.discard, 0);
}

static void tells_how_many_logins_and_when_the_next(void **state)
{
	struct fixture *fx = *state;
	uint32_t n;
	msec_t wait;

	for (int i = 0; i < 3; i++, fx->now += MINUTE)
		expect_login(fx, fx->store, (char[]){ (char)('a' + i), 0 }, &rule, 0, false);
	OK(store_logins(fx->store, "p", &rule, &fx->clock, 10 * MINUTE, &n, &wait, NULL));
	assert_int_equal(n, 3);
	assert_int_equal(wait, 7 * MINUTE);
	OK(store_logins(fx->store, "p", &rule, &fx->clock, 2 * MINUTE, &n, &wait, NULL));
	assert_int_equal(n, 1);
	OK(store_logins(fx->store, "q", &rule, &fx->clock, 10 * MINUTE, &n, &wait, NULL));
	assert_int_equal(n, 0);
	assert_int_equal(wait, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(permits_hold_between_processes),
		TEST(asking_takes_no_permit),
		TEST(permits_survive_and_commit_what_is_open),
		TEST(a_clock_step_changes_no_permit),
		TEST(stamps_of_another_boot_count),
		TEST(old_stamps_are_dropped),
		TEST(the_past_of_an_account_survives),
		TEST(counts_what_waits),
		TEST(tells_how_many_logins_and_when_the_next),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
