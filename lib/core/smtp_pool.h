/*
 * Which session serves the next job of a relay, and when one is opened, retired or closed.
 *
 * Decisions only: the sessions themselves belong to daemon/send.c, which tells this what happened.
 * After a failed connect the relay is down: one probing connection at a time, with a growing pause;
 * the first session that becomes ready ends it.
 */
#pragma once

#include "base/clock.h"
#include "base/mem.h"

#define SMTP_POOL_RETRY_MIN_MSEC 5000
#define SMTP_POOL_RETRY_MAX_MSEC (5 * 60 * 1000)

struct smtp_pool {
	uint32_t max_connections, max_messages;
	msec_t idle_timeout;
	uint32_t connecting, idle, busy,
		leaving; /* sessions by what they do; leaving: QUIT was sent */
	bool down;
	uint32_t failures; /* connects in a row that failed */
	msec_t retry_at;   /* no connect before it */
};

enum pool_step {
	POOL_WAIT,     /* nothing to do until something changes, or until retry_at */
	POOL_USE_IDLE, /* give the next job to an idle session */
	POOL_OPEN      /* open one more connection */
};

/* jobs: how many wait. */
enum pool_step smtp_pool_step(const struct smtp_pool *p, size_t jobs, msec_t now);
void smtp_pool_opening(struct smtp_pool *p);
void smtp_pool_ready(struct smtp_pool *p, bool *came_up); /* connecting -> idle */
/* A connection could not be made ready. *went_down: the relay was up until now. */
void smtp_pool_failed(struct smtp_pool *p, msec_t now, uint32_t chance, bool *went_down);
void smtp_pool_busy(struct smtp_pool *p);    /* idle -> busy */
void smtp_pool_done(struct smtp_pool *p);    /* busy -> idle */
void smtp_pool_leaving(struct smtp_pool *p); /* idle -> leaving */
/* A session that had been ready is gone: `place` is the count it stands in. */
void smtp_pool_lost(uint32_t *place);
/* Has a session served enough? */
bool smtp_pool_retire(const struct smtp_pool *p, uint32_t messages);
