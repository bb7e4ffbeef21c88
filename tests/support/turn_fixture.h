/*
 * A store that notes what it is asked for and can be told to fail, a disk whose answers are the
 * test's, and three actors that wait for the end of a turn.
 */
#pragma once

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

static inline int disk(struct store *s, char what, unsigned *failures, struct err *err)
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

static inline void act(void *ctx, bool durable)
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

static inline void on_failure(void *ctx, const struct err *err)
{
	struct fixture *fx = ctx;

	assert_int_equal(err->class, fx->turn.failure.class);
	assert_string_equal(err->text, "disk full");
	strbuf_addc(&fx->store.seen, '!');
}

static inline int setup(void **state)
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

static inline int teardown(void **state)
{
	struct fixture *fx = *state;

	strbuf_free(&fx->store.seen);
	mem_freep(&fx);
	return 0;
}

static inline void expect(struct fixture *fx, const char *seen)
{
	assert_string_equal(strbuf_str(&fx->store.seen), seen);
}

/* A commit, after which nothing may be left to do. */
static inline void commit(struct fixture *fx, const char *seen)
{
	turn_commit(&fx->turn);
	expect(fx, seen);
	assert_false(fx->store.dirty);
	assert_true(TAILQ_EMPTY(&fx->turn.after_commit) && TAILQ_EMPTY(&fx->turn.flush));
}

static inline bool fails(const struct fixture *fx)
{
	return fx->turn.failure.class != ERR_NONE;
}
