/* What waits for a turn's end; see turn.h. Owns no step, only their order. */
#include "turn.h"

#include "syncer.h"

void turn_init(struct turn *t, struct store *store)
{
	*t = (struct turn){ .store = store };
	TAILQ_INIT(&t->after_write);
	TAILQ_INIT(&t->after_commit);
	TAILQ_INIT(&t->soon);
	TAILQ_INIT(&t->flush);
	TAILQ_INIT(&t->committed);
}

void step_init(struct step *s, void (*fn)(void *ctx, bool durable), void *ctx)
{
	*s = (struct step){ .fn = fn, .ctx = ctx };
}

void step_queue(struct step_list *list, struct step *s)
{
	if (s->list)
		return;
	s->list = list;
	TAILQ_INSERT_TAIL(list, s, entry);
}

void step_cancel(struct step *s)
{
	if (s->list)
		TAILQ_REMOVE(s->list, s, entry);
	s->list = NULL;
}

/* Who asks again means what was changed since: a commit that has ended is not enough for him. */
static void queue(struct turn *t, struct step_list *list, struct step *s)
{
	if (s->list == &t->committed)
		step_cancel(s);
	step_queue(list, s);
}

void turn_after_commit(struct turn *t, struct step *s)
{
	queue(t, &t->after_commit, s);
}

void turn_soon(struct turn *t, struct step *s)
{
	queue(t, &t->soon, s);
}

void turn_flush(struct turn *t, struct step *s)
{
	step_queue(&t->flush, s);
}

/* The mark parts what was queued before the call from what a step queues meanwhile: that has to
 * wait. */
void step_run(struct step_list *list, bool stored)
{
	struct step mark = { .list = list }, *s;

	TAILQ_INSERT_TAIL(list, &mark, entry);
	while ((s = TAILQ_FIRST(list)) != &mark) {
		step_cancel(s);
		s->fn(s->ctx, stored);
	}
	TAILQ_REMOVE(list, &mark, entry);
}

void turn_output(struct turn *t)
{
	while (!TAILQ_EMPTY(&t->flush))
		step_run(&t->flush, true);
}

static bool stored(struct turn *t, int (*store)(struct store *s, struct err *err))
{
	struct err err = { 0 };
	bool something = store_dirty(t->store); /* else a success says nothing */

	if (!store(t->store, &err)) {
		if (something && !t->disk_fails)
			t->failure.class = ERR_NONE;
		return true;
	}
	t->failure = err;
	store_rollback(t->store);
	t->on_failure(t->ctx, &err);
	return false;
}

/* All changes share a transaction: when it fails, nobody may believe that his were stored. */
static void run(struct turn *t, bool written, bool durable)
{
	step_run(&t->after_write, written);
	if (written && !durable)
		return;
	step_run(&t->after_commit, durable);
	step_run(&t->soon, durable);
}

void turn_write(struct turn *t)
{
	run(t, stored(t, store_write), false);
}

void turn_write_urgent(struct turn *t)
{
	if (store_urgent(t->store) || !TAILQ_EMPTY(&t->after_write))
		turn_write(t);
}

void turn_now(struct turn *t)
{
	turn_write_urgent(t);
	turn_output(t);
}

static void move_all(struct step_list *from, struct step_list *to)
{
	struct step *s;

	while ((s = TAILQ_FIRST(from))) {
		step_cancel(s);
		step_queue(to, s);
	}
}

/* Who waits by now waits for what is written now; who comes while the steps run, for the next. */
static void commit(struct turn *t)
{
	bool written = stored(t, t->syncer ? store_end : store_commit);

	t->due = false;
	t->mark = written ? store_unsynced(t->store) : 0;
	if (t->mark) {
		move_all(&t->after_commit, &t->committed);
		move_all(&t->soon, &t->committed);
		syncer_start(t->syncer);
	}
	run(t, written, written && !t->mark);
}

/* A step may change the state or queue output, and output may end a session: hence the rounds. */
void turn_commit(struct turn *t)
{
	if (t->mark)
		return;
	do {
		commit(t);
		turn_output(t);
	} while (!t->mark && !TAILQ_EMPTY(&t->after_commit));
	turn_now(t);
}

void turn_due(struct turn *t)
{
	if (!t->mark) {
		turn_commit(t);
		return;
	}
	t->due = true;
	run(t, stored(t, store_end), false);
}

void turn_synced(struct turn *t, const struct err *err)
{
	if (err) {
		t->failure = *err;
		t->on_failure(t->ctx, err);
	} else {
		store_synced(t->store, t->mark);
		if (t->disk_fails)
			t->failure.class = ERR_NONE;
	}
	t->disk_fails = err;
	if (err && err->class == ERR_TIMEOUT)
		return;
	t->mark = 0;
	step_run(&t->committed, !err);
	turn_output(t);
	if (t->due)
		turn_commit(t);
}
