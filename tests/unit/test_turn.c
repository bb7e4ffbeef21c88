/*
 * The end of a turn: who waits for a write or a commit acts after it, knows when it failed, and may
 * go away meanwhile. The store here is a fake that notes what it is asked for and can be told to
 * fail.
 */
#include "turn_fixture.h"

/* In the order of asking, and only after it is durable; then the output. */
static void commits_before_those_who_wait(void **state)
{
	struct fixture *fx = *state;

	fx->store.dirty = true;
	turn_flush(&fx->turn, &fx->c.step);
	turn_after_commit(&fx->turn, &fx->b.step);
	turn_after_commit(&fx->turn, &fx->a.step);
	turn_after_commit(&fx->turn, &fx->b.step); /* queued twice is queued once */
	commit(fx, "+#BAC");
	commit(fx, "+#BAC");
}

static void an_idle_turn_does_nothing(void **state)
{
	commit(*state, "");
}

static void a_clean_store_is_durable_as_it_is(void **state)
{
	struct fixture *fx = *state;

	turn_after_commit(&fx->turn, &fx->a.step);
	commit(fx, "A");
}

/* Written is not durable: who waits goes on waiting, until the commit has synced it. */
static void nobody_acts_on_what_is_only_written(void **state)
{
	struct fixture *fx = *state;

	fx->store.dirty = true;
	turn_after_commit(&fx->turn, &fx->a.step);
	turn_write(&fx->turn);
	expect(fx, "+");
	commit(fx, "+#A");
}

/* A final dot: its record survives this process. The disk is somebody else's matter. */
static void what_is_written_is_enough_for_some(void **state)
{
	struct fixture *fx = *state;

	fx->store.dirty = true;
	step_queue(&fx->turn.after_write, &fx->a.step);
	turn_after_commit(&fx->turn, &fx->b.step);
	turn_soon(&fx->turn, &fx->c.step);
	turn_now(&fx->turn);
	expect(fx, "+A");
	commit(fx, "+A#BC");
	step_queue(&fx->turn.after_write, &fx->a.step); /* what it waits for was written already */
	fx->a.then_flush = &fx->b.step;
	turn_now(&fx->turn);
	expect(fx, "+A#BCAB");
}

/* One transaction: whoever believes in a part of it that failed is told. */
static void a_failed_write_is_told_to_all(void **state)
{
	struct fixture *fx = *state;

	fx->store.dirty = true;
	fx->store.fail_writes = 1;
	step_queue(&fx->turn.after_write, &fx->a.step);
	turn_after_commit(&fx->turn, &fx->b.step);
	turn_soon(&fx->turn, &fx->c.step);
	turn_now(&fx->turn);
	expect(fx, "+R!abc");
	commit(fx, "+R!abc");
}

/* Nobody asks for the commit for its sake, but every commit is good enough. */
static void what_has_no_haste_takes_the_next_commit(void **state)
{
	struct fixture *fx = *state;

	fx->store.dirty = true;
	turn_soon(&fx->turn, &fx->a.step);
	turn_now(&fx->turn);
	expect(fx, "+");
	turn_after_commit(&fx->turn, &fx->b.step);
	commit(fx, "+#BA");
	assert_true(TAILQ_EMPTY(&fx->turn.soon));
}

static void output_waits_for_nothing(void **state)
{
	struct fixture *fx = *state;

	fx->store.dirty = true;
	fx->a.then_flush = &fx->c.step;
	turn_after_commit(&fx->turn, &fx->b.step);
	turn_flush(&fx->turn, &fx->a.step);
	turn_output(&fx->turn);
	expect(fx, "AC");
	commit(fx, "AC+#B");
}

/* K13: nobody may act on what was rolled back; the next turn starts afresh. */
static void a_failure_is_told_to_all_who_waited(void **state)
{
	struct fixture *fx = *state;
	static const char *const seen[] = { "+R!abC", "+#R!abC" };

	for (size_t i = 0; i < ARRAY_LEN(seen); i++) { /* of the write, of the sync */
		fx->store.dirty = true;
		fx->store.fail_writes = i == 0;
		fx->store.fail_syncs = i == 1;
		turn_after_commit(&fx->turn, &fx->a.step);
		turn_after_commit(&fx->turn, &fx->b.step);
		turn_flush(&fx->turn, &fx->c.step);
		commit(fx, seen[i]);
		strbuf_clear(&fx->store.seen);
	}
	fx->store.dirty = true;
	turn_after_commit(&fx->turn, &fx->a.step);
	commit(fx, "+#A");
}

static void a_failed_write_is_told_at_once(void **state)
{
	struct fixture *fx = *state;

	fx->store.dirty = true;
	fx->store.fail_writes = 1;
	turn_after_commit(&fx->turn, &fx->a.step);
	turn_write(&fx->turn);
	expect(fx, "+R!a");
	commit(fx, "+R!a"); /* and not told again that all is well */
}

/* What a step changes is not durable yet: who waits for that gets a commit of its own. */
static void a_step_of_a_step_waits_for_its_own_commit(void **state)
{
	struct fixture *fx = *state;

	fx->store.dirty = true;
	fx->a.changes = 1;
	fx->a.then_after = &fx->b.step;
	fx->b.then_flush = &fx->c.step;
	turn_after_commit(&fx->turn, &fx->a.step);
	commit(fx, "+#A+#BC");
}

static void a_step_may_queue_itself_again(void **state)
{
	struct fixture *fx = *state;

	fx->a.changes = 1;
	fx->a.then_after = &fx->a.step;
	turn_after_commit(&fx->turn, &fx->a.step);
	turn_after_commit(&fx->turn, &fx->b.step);
	commit(fx, "AB+#A");
}

static void its_second_commit_may_fail_alone(void **state)
{
	struct fixture *fx = *state;

	fx->a.changes = 1;
	fx->a.then_after = &fx->b.step;
	fx->store.fail_writes = 1; /* the first round has nothing to write */
	turn_after_commit(&fx->turn, &fx->a.step);
	commit(fx, "A+R!b");
}

/* Nobody waits for it: it is written, so that it survives the process, and that is enough. */
static void what_nobody_waits_for_is_written(void **state)
{
	struct fixture *fx = *state;

	fx->a.changes = 1;
	turn_after_commit(&fx->turn, &fx->a.step);
	commit(fx, "A+");
}

static void what_is_cancelled_does_not_run(void **state)
{
	struct fixture *fx = *state;

	turn_after_commit(&fx->turn, &fx->a.step);
	turn_after_commit(&fx->turn, &fx->b.step);
	turn_flush(&fx->turn, &fx->c.step);
	step_cancel(&fx->a.step);
	step_cancel(&fx->a.step); /* not queued: fine */
	step_cancel(&fx->c.step);
	commit(fx, "B");
	turn_after_commit(&fx->turn, &fx->a.step); /* and may be queued again */
	commit(fx, "BA");
}

/* The owner of a later step goes while an earlier one runs. */
static void a_step_may_cancel_those_behind_it(void **state)
{
	struct fixture *fx = *state;

	fx->a.then_cancel = &fx->b.step;
	turn_after_commit(&fx->turn, &fx->a.step);
	turn_after_commit(&fx->turn, &fx->b.step);
	turn_after_commit(&fx->turn, &fx->c.step);
	commit(fx, "AC");
	fx->a.then_cancel = &fx->a.step; /* itself: it runs already */
	turn_after_commit(&fx->turn, &fx->a.step);
	commit(fx, "ACA");
}

/* A flush fails its session: that is recorded, and others wait for it or have output by it. */
static void a_flush_that_changes_something_gets_one_more_round(void **state)
{
	struct fixture *fx = *state;

	fx->a.changes = 1;
	fx->a.then_after = &fx->b.step;
	fx->a.then_flush = &fx->c.step;
	turn_flush(&fx->turn, &fx->a.step);
	commit(fx, "AC+#B");
}

/* A commit of nothing proves nothing: it stays a failure until something was written. */
static void a_failure_lasts_until_a_write_that_goes_well(void **state)
{
	struct fixture *fx = *state;

	assert_false(fails(fx));
	fx->store.dirty = true;
	fx->store.fail_writes = 1;
	turn_write(&fx->turn);
	expect(fx, "+R!");
	assert_true(fails(fx));
	turn_write(&fx->turn);
	commit(fx, "+R!");
	assert_true(fails(fx));
	fx->store.dirty = true;
	commit(fx, "+R!+#");
	assert_false(fails(fx));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(commits_before_those_who_wait),
		TEST(an_idle_turn_does_nothing),
		TEST(a_clean_store_is_durable_as_it_is),
		TEST(nobody_acts_on_what_is_only_written),
		TEST(what_is_written_is_enough_for_some),
		TEST(a_failed_write_is_told_to_all),
		TEST(what_has_no_haste_takes_the_next_commit),
		TEST(output_waits_for_nothing),
		TEST(a_failure_is_told_to_all_who_waited),
		TEST(a_failed_write_is_told_at_once),
		TEST(a_step_of_a_step_waits_for_its_own_commit),
		TEST(a_step_may_queue_itself_again),
		TEST(its_second_commit_may_fail_alone),
		TEST(what_nobody_waits_for_is_written),
		TEST(what_is_cancelled_does_not_run),
		TEST(a_step_may_cancel_those_behind_it),
		TEST(a_flush_that_changes_something_gets_one_more_round),
		TEST(a_failure_lasts_until_a_write_that_goes_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
