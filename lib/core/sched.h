/*
 * When is an account due? Intervals, back-off by class of error, the provider's own delay,
 * suspension: arithmetic without a clock.
 *
 * The provider's hard limits (spacing and login permits) are not here but in rate.h and the store;
 * what stands here only ever makes an account wait longer. What must outlive the process is in
 * struct sched_kept, which the store keeps.
 */
#pragma once

#include "base/clock.h"
#include "base/err.h"

/* Refused passwords in a row before the account is suspended: a firewall might lock the office out.
 */
#define SCHED_AUTH_FAILURES_MAX 3
#define SCHED_BACKOFF_MAX_MSEC  (60 * 60 * 1000)
/* Accounts start within this after the daemon's start. */
#define SCHED_SPREAD_MAX_MSEC (60 * 1000)
/* A delay learned from a refusal is believed so long, then tried again: providers change. */
#define SCHED_LEARNED_MSEC (24 * 60 * 60 * 1000)
/* The longest that is concluded from a refusal that names none; and the longest that is obeyed. */
#define SCHED_LEARNED_MAX_MSEC (20 * 60 * 1000)
#define SCHED_DELAY_MAX_MSEC   (24 * 60 * 60 * 1000)
/* A success is waited for twice the interval, and this. */
#define SCHED_GRACE_MSEC (30 * 60 * 1000)
struct sched_kept {
	bool paused;            /* by an administrator */
	uint32_t failures;      /* cycles in a row that failed */
	uint32_t auth_failures; /* refused passwords since the last one that was right */
	uint32_t busy;          /* in a row: the maildrop was locked */
	msec_t announced;       /* LOGIN-DELAY of the last login; 0: none */
	msec_t learned;         /* from an answer "too often"; 0: nothing */
	wall_t learned_at;
	wall_t last_start, last_success; /* of a cycle; 0: never */
};

struct sched {
	msec_t next_due;
	msec_t due_since; /* since when it waits for its turn: who waits longest comes first */
	msec_t last_start;
	msec_t last_success; /* in this process; 0: none yet */
	struct sched_kept kept;
};

/* How a cycle ended. */
struct sched_result {
	enum err_class class; /* ERR_NONE: well */
	bool cut;             /* by us or by the relay: it says nothing about the provider */
	bool logged_in;
	msec_t announced; /* LOGIN-DELAY, when logged in; 0: none */
	msec_t told;      /* by ERR_THROTTLE; 0: it named no time */
};

/* The first cycle: the index-th of n accounts, spread over time. `kept` stays as it is. */
void sched_init(struct sched *s, msec_t now, msec_t interval, size_t index, size_t n);
void sched_started(struct sched *s, msec_t now, wall_t wall);
/* chance is a random number for the jitter. True: the account has just been suspended. */
bool sched_ended(struct sched *s, msec_t now, wall_t wall, msec_t interval,
	const struct sched_result *result, uint32_t chance);
/* No login now (permit, lock): try again in wait ms; the place in the queue stays. */
void sched_wait(struct sched *s, msec_t now, msec_t wait);
/* The interval has changed. A back-off stays. */
void sched_interval(struct sched *s, msec_t now, msec_t interval);
void sched_due_now(struct sched *s, msec_t now);
/* Passwords count from zero again, a suspension ends. False: there was none. */
bool sched_resume(struct sched *s, msec_t now);

bool sched_due(const struct sched *s, msec_t now);
bool sched_suspended(const struct sched *s);
bool sched_blocked(const struct sched *s); /* suspended or paused: only a person changes that */
/*
 * Nothing has ended well for longer than a provider's bad hour explains: since the last success, or
 * since the daemon's start when that is later, by both clocks, for the civil one may jump. A cycle
 * that runs behind good ones is at work, however long; what is paused or suspended is not waited
 * for.
 */
struct sched_time {
	msec_t now;
	wall_t wall;
};
bool sched_overdue(const struct sched *s, struct sched_time at, struct sched_time start,
	msec_t interval, bool running);
/* The account's own minimum between two logins: announced or learned. */
msec_t sched_delay(const struct sched *s, wall_t wall);
