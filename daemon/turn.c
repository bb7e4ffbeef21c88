/* One commit per turn; see turn.h. Owns no step, only their order. */
#include "turn.h"

void turn_init(struct turn *t, struct store *store)
{
	*t = (struct turn){ .store = store };
	TAILQ_INIT(&t->after_commit);
	TAILQ_INIT(&t->flush);
}

void step_init(struct step *s, void (*fn)(void *ctx, bool durable), void *ctx)
{
	*s = (struct step){ .fn = fn, .ctx = ctx };
}

void step_queue(struct step_list *list, struct step *s)
{
	if (!s->queued)
		TAILQ_INSERT_TAIL(list, s, entry);
	s->queued = true;
}

void step_cancel(struct step_list *list, struct step *s)
{
	if (s->queued)
		TAILQ_REMOVE(list, s, entry);
	s->queued = false;
}

void turn_after_commit(struct turn *t, struct step *s)
{
	step_queue(&t->after_commit, s);
}

void turn_flush(struct turn *t, struct step *s)
{
	step_queue(&t->flush, s);
}

void turn_cancel_after(struct turn *t, struct step *s)
{
	step_cancel(&t->after_commit, s);
}

void turn_cancel_flush(struct turn *t, struct step *s)
{
	step_cancel(&t->flush, s);
}

/* The mark parts what was queued before the call from what a step queues meanwhile: that has to
 * wait. */
void step_run(struct step_list *list, bool durable)
{
	struct step mark = { .queued = true }, *s;

	TAILQ_INSERT_TAIL(list, &mark, entry);
	while ((s = TAILQ_FIRST(list)) != &mark) {
		step_cancel(list, s);
		s->fn(s->ctx, durable);
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
		if (something)
			t->failure.class = ERR_NONE;
		return true;
	}
	t->failure = err;
	store_rollback(t->store);
	t->on_failure(t->ctx, &err);
	return false;
}

/* If it fails, those who wait for the commit must not believe that it happened. */
void turn_write(struct turn *t)
{
	if (!stored(t, store_write))
		step_run(&t->after_commit, false);
}

void turn_write_urgent(struct turn *t)
{
	if (store_urgent(t->store))
		turn_write(t);
}

/* A step may change the state or queue output, and output may end a session: hence the rounds. */
void turn_commit(struct turn *t)
{
	do {
		bool durable = stored(t, store_commit);
		step_run(&t->after_commit, durable);
		turn_output(t);
	} while (!TAILQ_EMPTY(&t->after_commit));
	turn_write_urgent(t);
}
