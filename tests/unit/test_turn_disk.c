/*
 * The wait for the disk beside the loop: who waits for a commit acts once it is durable, and knows
 * when it is not; the others go on.
 */
#include "turn_fixture.h"

static struct fixture *with_syncer(void **state)
{
	struct fixture *fx = *state;

	fx->turn.syncer = (struct syncer *)&fx->store.seen;
	fx->store.dirty = true;
	return fx;
}

/* The loop goes on meanwhile; only its steps wait. */
static void steps_wait_for_the_disk_beside_the_loop(void **state)
{
	struct fixture *fx = with_syncer(state);

	turn_soon(&fx->turn, &fx->a.step);
	turn_after_commit(&fx->turn, &fx->b.step);
	turn_flush(&fx->turn, &fx->c.step);
	turn_commit(&fx->turn);
	expect(fx, "+?C");
	turn_now(&fx->turn);
	turn_synced(&fx->turn, NULL);
	expect(fx, "+?C#BA");
	turn_commit(&fx->turn);
	expect(fx, "+?C#BA");
}

/* What was changed after the question is not part of the answer. */
static void who_comes_meanwhile_waits_for_the_next(void **state)
{
	struct fixture *fx = with_syncer(state);

	turn_after_commit(&fx->turn, &fx->a.step);
	turn_commit(&fx->turn);
	fx->store.dirty = true;
	turn_after_commit(&fx->turn, &fx->b.step);
	turn_soon(&fx->turn, &fx->c.step);
	turn_commit(&fx->turn);
	turn_write(&fx->turn); /* written: that needs no answer */
	expect(fx, "+?+");
	turn_synced(&fx->turn, NULL);
	expect(fx, "+?+#A");
	turn_commit(&fx->turn);
	expect(fx, "+?+#A?");
	turn_synced(&fx->turn, NULL);
	expect(fx, "+?+#A?#BC");
}

/* As the answer to a final dot: the record is written with the commit, and that is enough. */
static void who_waits_for_the_write_does_not_wait_for_the_disk(void **state)
{
	struct fixture *fx = with_syncer(state);

	step_queue(&fx->turn.after_write, &fx->a.step);
	fx->a.then_after = &fx->b.step; /* after the question was asked */
	turn_commit(&fx->turn);
	expect(fx, "+?A");
	turn_synced(&fx->turn, NULL);
	expect(fx, "+?A#");
	turn_commit(&fx->turn);
	expect(fx, "+?A#B");
}

static void a_failed_sync_is_told_to_those_who_waited(void **state)
{
	struct fixture *fx = with_syncer(state);

	turn_after_commit(&fx->turn, &fx->a.step);
	turn_commit(&fx->turn);
	fx->store.dirty = true;
	turn_after_commit(&fx->turn, &fx->b.step);
	turn_synced(&fx->turn, &(struct err){ ERR_LOCAL, ENOSPC, "disk full" });
	expect(fx, "+?!a");
	assert_true(fails(fx));
	turn_commit(&fx->turn); /* and asks for the first one, too */
	turn_synced(&fx->turn, NULL);
	expect(fx, "+?!a+?#B");
	assert_false(fails(fx));
	assert_int_equal(store_unsynced(&fx->store), 0);
}

/* A login has waited for the disk itself: then nothing is left to ask for. */
static void what_is_durable_meanwhile_is_not_asked_for(void **state)
{
	struct fixture *fx = with_syncer(state);

	turn_after_commit(&fx->turn, &fx->a.step);
	turn_commit(&fx->turn);
	assert_int_equal(store_commit(&fx->store, NULL), 0);
	expect(fx, "+?#");
	turn_synced(&fx->turn, NULL);
	expect(fx, "+?##A");
	turn_after_commit(&fx->turn, &fx->a.step);
	turn_commit(&fx->turn);
	expect(fx, "+?##AA");
}

/* What it waits for now was changed after the question. */
static void who_asks_again_waits_again(void **state)
{
	struct fixture *fx = with_syncer(state);

	turn_after_commit(&fx->turn, &fx->a.step);
	turn_soon(&fx->turn, &fx->b.step);
	turn_commit(&fx->turn);
	fx->store.dirty = true;
	turn_after_commit(&fx->turn, &fx->a.step);
	turn_soon(&fx->turn, &fx->b.step);
	turn_synced(&fx->turn, NULL);
	expect(fx, "+?#");
	turn_commit(&fx->turn);
	turn_synced(&fx->turn, NULL);
	expect(fx, "+?#+?#AB");
}

/* However long the disk takes: others get at the database, and the next commit is not forgotten. */
static void the_lock_does_not_wait_for_the_disk(void **state)
{
	struct fixture *fx = with_syncer(state);

	turn_due(&fx->turn);
	fx->store.dirty = true;
	step_queue(&fx->turn.after_write, &fx->a.step);
	turn_soon(&fx->turn, &fx->b.step);
	turn_due(&fx->turn);
	expect(fx, "+?+A");
	assert_false(fx->store.dirty);
	turn_synced(&fx->turn, NULL);
	expect(fx, "+?+A#?");
	turn_synced(&fx->turn, NULL);
	expect(fx, "+?+A#?#B");
}

static void what_ends_under_a_sync_may_fail(void **state)
{
	struct fixture *fx = with_syncer(state);

	turn_after_commit(&fx->turn, &fx->a.step);
	turn_due(&fx->turn);
	fx->store.dirty = true;
	fx->store.fail_writes = 1;
	turn_soon(&fx->turn, &fx->b.step);
	turn_due(&fx->turn);
	expect(fx, "+?+R!b");
	turn_synced(&fx->turn, NULL);
	expect(fx, "+?+R!b#A");
}

/* Its commits that are written are none that are durable. */
static void a_disk_that_does_not_answer_is_a_failure(void **state)
{
	struct fixture *fx = with_syncer(state);

	turn_after_commit(&fx->turn, &fx->a.step);
	turn_commit(&fx->turn);
	turn_synced(&fx->turn, &(struct err){ ERR_TIMEOUT, 0, "disk full" });
	expect(fx, "+?!");
	fx->store.dirty = true;
	turn_due(&fx->turn);
	assert_true(fails(fx));
	turn_synced(&fx->turn, NULL);
	expect(fx, "+?!+#A?");
	assert_false(fails(fx));
}

static void who_goes_while_the_disk_writes_is_not_run(void **state)
{
	struct fixture *fx = with_syncer(state);

	turn_after_commit(&fx->turn, &fx->a.step);
	turn_after_commit(&fx->turn, &fx->b.step);
	turn_commit(&fx->turn);
	step_cancel(&fx->a.step);
	turn_synced(&fx->turn, NULL);
	expect(fx, "+?#B");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(steps_wait_for_the_disk_beside_the_loop),
		TEST(who_comes_meanwhile_waits_for_the_next),
		TEST(who_waits_for_the_write_does_not_wait_for_the_disk),
		TEST(a_failed_sync_is_told_to_those_who_waited),
		TEST(what_is_durable_meanwhile_is_not_asked_for),
		TEST(who_asks_again_waits_again),
		TEST(the_lock_does_not_wait_for_the_disk),
		TEST(what_ends_under_a_sync_may_fail),
		TEST(a_disk_that_does_not_answer_is_a_failure),
		TEST(who_goes_while_the_disk_writes_is_not_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
