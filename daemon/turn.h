/*
 * The end of a turn of the event loop: what was changed is stored, then everything that had to wait
 * for it happens, and the output of everybody who has some goes out in one write each.
 *
 * The disk is waited for beside the loop, for one commit at a time: its steps run once it is
 * durable, and what is changed meanwhile waits for the next.
 *
 * Whoever needs "stored first" queues a step here instead of acting: after_write, if the record has
 * to survive this process (the final dot); after_commit, if the machine (RETR); soon, if the
 * machine, but there is no haste (a message's end, and its DELE).
 */
#pragma once

#include "core/store.h"

#include <sys/queue.h>

/* Lives inside its owner, who cancels it before it goes. Queued twice is queued once. */
struct step {
	void (*fn)(void *ctx, bool stored); /* false: it failed and was rolled back */
	void *ctx;
	struct step_list *list; /* NULL: it waits for nothing */
	TAILQ_ENTRY(step) entry;
};

TAILQ_HEAD(step_list, step);

struct turn {
	struct store *store;
	struct step_list after_write, after_commit, soon, flush;
	struct step_list committed; /* those of a commit that is on its way to the disk */
	uint64_t mark;              /* of that commit (store_synced()); 0: none is */
	struct syncer *syncer;      /* NULL: every commit waits itself */
	bool due;                   /* another commit as soon as that one is durable */
	bool disk_fails;            /* its last answer was an error, or is late */
	struct err failure;         /* of the last write; ERR_NONE: it went well */
	void (*on_failure)(void *ctx, const struct err *err); /* it could not be stored */
	void *ctx;
};

void turn_init(struct turn *t, struct store *store);
void step_init(struct step *s, void (*fn)(void *ctx, bool durable), void *ctx);
void step_queue(struct step_list *list, struct step *s);
void step_cancel(struct step *s);
void step_run(struct step_list *list, bool stored); /* what is queued now */
void turn_after_commit(struct turn *t, struct step *s);
void turn_soon(struct turn *t, struct step *s);
void turn_flush(struct turn *t, struct step *s); /* `stored` is true there and means nothing */
void turn_output(struct turn *t);                /* what has no need to wait goes out */
/* Changes survive the process from here on; then the steps that wait for that. */
void turn_write(struct turn *t);
void turn_write_urgent(struct turn *t); /* if there are some that have to; see store_urgent() */
void turn_now(struct turn *t);          /* that, and what waits for nothing else goes out */
/* Ends the transaction; once it is durable all steps run, and their output goes out: now, or in
 * turn_synced(). Does nothing while one is on its way. */
void turn_commit(struct turn *t);
/* It is time for a commit. While one is on its way the transaction ends all the same, and with it
 * the lock on the database. */
void turn_due(struct turn *t);
void turn_synced(struct turn *t, const struct err *err); /* the syncer's answer (syncer_fn) */
