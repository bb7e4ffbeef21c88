/*
 * When is an account due? Intervals, back-off by class of error, suspension: arithmetic without a
 * clock.
 *
 * The provider's hard limits (spacing and login permits) are not here but in rate.h and the store;
 * what stands here only ever makes an account wait longer.
 */
#pragma once

#include "base/clock.h"
#include "base/err.h"

/* Refused passwords in a row before the account is suspended: a firewall might lock the office out.
 */
#define SCHED_AUTH_FAILURES_MAX 3
#define SCHED_BACKOFF_MAX_MSEC  (60 * 60 * 1000)
#define SCHED_SPREAD_MAX_MSEC                                                                      \
	(60 * 1000) /* accounts start within this after the daemon's start                         \
		     */

struct sched {
	msec_t next_due;
	msec_t due_since; /* since when it waits for its turn: who waits longest comes first */
	msec_t last_start;
	msec_t delay;           /* announced or learned LOGIN-DELAY; 0: none */
	uint32_t failures;      /* cycles in a row that failed */
	uint32_t auth_failures; /* of them refused passwords in a row */
	bool suspended;
};

/* The first cycle: the index-th of n accounts, spread over time. */
void sched_init(struct sched *s, msec_t now, msec_t interval, size_t index, size_t n);
void sched_started(struct sched *s, msec_t now);
/*
 * A cycle ended with class (ERR_NONE: well). chance is a random number for the jitter. True: the
 * account has just been suspended.
 */
bool sched_ended(
	struct sched *s, msec_t now, msec_t interval, enum err_class class, uint32_t chance);
/* No login now (permit, lock, relay down): try again in wait ms. */
void sched_wait(struct sched *s, msec_t now, msec_t wait);
void sched_due_now(struct sched *s, msec_t now);
/* Ends a suspension. False: there was none. */
bool sched_resume(struct sched *s, msec_t now);
bool sched_due(const struct sched *s, msec_t now);
