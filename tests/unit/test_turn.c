/*
 * The end of a turn: who waits for a write or a commit acts after it, knows when it failed, and may
 * go away meanwhile. The store here is a fake that notes what it is asked for and can be told to
 * fail.
 */
#include "syncer.h"
#include "turn.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/*
 * What happened, in order: + written, ? the disk was asked, # made durable, R rolled back,
 * ! reported, and the letters of the steps (small: told that it failed).
 */
struct store {
	struct strbuf seen;
	bool dirty;
	uint64_t ended, synced;
	unsigned fail_writes, fail_syncs; /* of the next ones */
};

bool store_dirty(const struct store *s)
{
	return s->dirty;
}

bool store_urgent(const struct store *s)
{
	return s->dirty;
}

static int disk(struct store *s, char what, unsigned *failures, struct err *err)
{
	strbuf_addc(&s->seen, what);
	if (!*failures)
		return 0;
	--*failures;
	return err_set(err, ERR_LOCAL, 0, "disk full");
}

int store_write(struct store *s, struct err *err)
{
	if (!s->dirty)
		return 0;
	if (disk(s, '+', &s->fail_writes, err))
		return -1;
	s->dirty = false;
	s->ended++;
	return 0;
}

int store_commit(struct store *s, struct err *err)
{
	if (store_write(s, err))
		return -1;
	if (s->synced == s->ended)
		return 0;
	if (disk(s, '#', &s->fail_syncs, err))
		return -1;
	s->synced = s->ended;
	return 0;
}

int store_end(struct store *s, struct err *err)
{
	return store_write(s, err);
}

uint64_t store_unsynced(const struct store *s)
{
	return s->synced == s->ended ? 0 : s->ended;
}

void store_synced(struct store *s, uint64_t mark)
{
	strbuf_addc(&s->seen, '#');
	s->synced = mark;
}

/* The disk is asked. Its answer is the test's. */
void syncer_start(struct syncer *s)
{
	strbuf_addc((struct strbuf *)s, '?');
}

void store_rollback(struct store *s)
{
	strbuf_addc(&s->seen, 'R');
	s->dirty = false;
}

struct actor {
	struct fixture *fx;
	struct step step;
	char name;
	struct step *then_after, *then_flush, *then_cancel; /* what it does when it runs */
	unsigned changes;                                   /* the next so many runs */
};

struct fixture {
	struct store store;
	struct turn turn;
	struct actor a, b, c;
};

static void act(void *ctx, bool durable)
{
	struct actor *self = ctx;
	struct fixture *fx = self->fx;

	strbuf_addc(&fx->store.seen, durable ? self->name : (char)(self->name - 'A' + 'a'));
	if (self->changes) {
		self->changes--;
		fx->store.dirty = true;
	}
	if (self->then_after)
		turn_after_commit(&fx->turn, self->then_after);
	if (self->then_flush)
		turn_flush(&fx->turn, self->then_flush);
	if (self->then_cancel)
		step_cancel(self->then_cancel);
	self->then_after = self->then_flush = self->then_cancel = NULL;
}

static void on_failure(void *ctx, const struct err *err)
{
	struct fixture *fx = ctx;

	assert_int_equal(err->class, ERR_LOCAL);
	assert_true(strstr(err->text, "disk full") || strstr(err->text, strerror(ENOSPC)));
	strbuf_addc(&fx->store.seen, '!');
}

static int setup(void **state)
{
	struct fixture *fx = mem_zalloc(sizeof *fx);
	struct actor *actors[] = { &fx->a, &fx->b, &fx->c };

	turn_init(&fx->turn, &fx->store);
	fx->turn.on_failure = on_failure;
	fx->turn.ctx = fx;
	for (size_t i = 0; i < ARRAY_LEN(actors); i++) {
		actors[i]->fx = fx;
		actors[i]->name = (char)('A' + i);
		step_init(&actors[i]->step, act, actors[i]);
	}
	*state = fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	strbuf_free(&fx->store.seen);
	mem_freep(&fx);
	return 0;
}

static void expect(struct fixture *fx, const char *seen)
{
	assert_string_equal(strbuf_str(&fx->store.seen), seen);
}

/* A commit, after which nothing may be left to do. */
static void commit(struct fixture *fx, const char *seen)
{
	turn_commit(&fx->turn);
	expect(fx, seen);
	assert_false(fx->store.dirty);
	assert_true(TAILQ_EMPTY(&fx->turn.after_commit) && TAILQ_EMPTY(&fx->turn.flush));
}

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

static bool fails(const struct fixture *fx)
{
	return fx->turn.failure.class != ERR_NONE;
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

/* ---- beside the loop ---- */

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
	turn_synced(&fx->turn, 0);
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
	turn_synced(&fx->turn, 0);
	expect(fx, "+?+#A");
	turn_commit(&fx->turn);
	expect(fx, "+?+#A?");
	turn_synced(&fx->turn, 0);
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
	turn_synced(&fx->turn, 0);
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
	turn_synced(&fx->turn, ENOSPC);
	expect(fx, "+?!a");
	assert_true(fails(fx));
	turn_commit(&fx->turn); /* and asks for the first one, too */
	turn_synced(&fx->turn, 0);
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
	turn_synced(&fx->turn, 0);
	expect(fx, "+?##A");
	turn_after_commit(&fx->turn, &fx->a.step);
	turn_commit(&fx->turn);
	expect(fx, "+?##AA");
}

static void who_goes_while_the_disk_writes_is_not_run(void **state)
{
	struct fixture *fx = with_syncer(state);

	turn_after_commit(&fx->turn, &fx->a.step);
	turn_after_commit(&fx->turn, &fx->b.step);
	turn_commit(&fx->turn);
	step_cancel(&fx->a.step);
	turn_synced(&fx->turn, 0);
	expect(fx, "+?#B");
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
		TEST(steps_wait_for_the_disk_beside_the_loop),
		TEST(who_comes_meanwhile_waits_for_the_next),
		TEST(who_waits_for_the_write_does_not_wait_for_the_disk),
		TEST(a_failed_sync_is_told_to_those_who_waited),
		TEST(what_is_durable_meanwhile_is_not_asked_for),
		TEST(who_goes_while_the_disk_writes_is_not_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
