/*
 * The end of a turn of the event loop: one commit, then everything that had to wait for it.
 *
 * Whoever needs "durable first" (the final dot, RETR, DELE) queues a step here instead of acting.
 * All changes of a turn share one transaction; after the commit the steps run, and the output of
 * everybody who has some goes out in one write each.
 */
#pragma once

#include "core/store.h"

#include <sys/queue.h>

/* Lives inside its owner, who cancels it before it goes. Queued twice is queued once. */
struct step {
	void (*fn)(void *ctx, bool durable); /* false: the commit failed and was rolled back */
	void *ctx;
	bool queued;
	TAILQ_ENTRY(step) entry;
};

TAILQ_HEAD(step_list, step);

struct turn {
	struct store *store;
	struct step_list after_commit, flush;
	struct err failure; /* of the last write; ERR_NONE: it went well */
	void (*on_failure)(void *ctx, const struct err *err); /* a commit failed */
	void *ctx;
};

void turn_init(struct turn *t, struct store *store);
void step_init(struct step *s, void (*fn)(void *ctx, bool durable), void *ctx);
void turn_after_commit(struct turn *t, struct step *s);
void turn_flush(struct turn *t, struct step *s); /* `durable` is true there and means nothing */
void step_queue(struct step_list *list, struct step *s);
void step_cancel(struct step_list *list, struct step *s);
void step_run(struct step_list *list, bool durable); /* what is queued now */
void turn_cancel_after(struct turn *t, struct step *s);
void turn_cancel_flush(struct turn *t, struct step *s);
void turn_output(struct turn *t); /* what has no need to wait goes out */
/* Changes survive the process from here on; nobody waits for that. */
void turn_write(struct turn *t);
void turn_write_urgent(struct turn *t); /* if there are some that have to; see store_urgent() */
void turn_commit(struct turn *t);       /* durable; then the steps, and their output */
