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

static void queue(struct step_list *list, struct step *s)
{
	if (!s->queued)
		TAILQ_INSERT_TAIL(list, s, entry);
	s->queued = true;
}

static void cancel(struct step_list *list, struct step *s)
{
	if (s->queued)
		TAILQ_REMOVE(list, s, entry);
	s->queued = false;
}

void turn_after_commit(struct turn *t, struct step *s)
{
	queue(&t->after_commit, s);
}

void turn_flush(struct turn *t, struct step *s)
{
	queue(&t->flush, s);
}

void turn_cancel_after(struct turn *t, struct step *s)
{
	cancel(&t->after_commit, s);
}

void turn_cancel_flush(struct turn *t, struct step *s)
{
	cancel(&t->flush, s);
}

/* Runs what was queued before the call; what a step queues meanwhile comes behind it, and waits. */
static void run(struct step_list *list, bool durable)
{
	struct step mark = { .queued = true };

	TAILQ_INSERT_TAIL(list, &mark, entry);
	for (;;) {
		struct step *s = TAILQ_FIRST(list);
		cancel(list, s);
		if (s == &mark)
			return;
		s->fn(s->ctx, durable);
	}
}

/* A flush may fail its session and so change the state: then there is one more round. */
void turn_end(struct turn *t)
{
	while (store_dirty(t->store) || !TAILQ_EMPTY(&t->after_commit) || !TAILQ_EMPTY(&t->flush)) {
		struct err err = { 0 };
		bool durable = !store_commit(t->store, &err);
		if (!durable) {
			store_rollback(t->store);
			t->on_failure(t->ctx, &err);
		}
		run(&t->after_commit, durable);
		if (!store_dirty(t->store) && TAILQ_EMPTY(&t->after_commit))
			run(&t->flush, true);
	}
}
