/*
 * A week of 500 accounts at 20 providers in seconds: the real accounts, schedule, locks and login
 * permits, against providers that are patient, slow, locked, limiting, silent about it, or down.
 *
 * week_world.c is the outside: providers, the relay, and what takes the place of fetch.c and
 * send.c. sim_week.c is the daemon's life: time, restarts, reloads, signals, a second process. What
 * must never happen is checked by the providers themselves, at each login.
 */
#pragma once

#include "accounts.h"
#include "base/log.h"

#define SITES  20
#define BOXES  500
#define SECOND ((msec_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define WEEK   (7 * DAY)
#define WINDOW (10 * MINUTE)
#define LOGINS 128 /* remembered per site: more than any limit here */

enum kind {
	PATIENT,   /* answers in seconds: its accounts are the ones that must keep their times */
	NARROW,    /* patient, but login_limit is too low for all of its accounts */
	SLOW,      /* some sessions outlast the interval */
	LOCKED,    /* the maildrop is in use every now and then */
	ANNOUNCES, /* LOGIN-DELAY 15 minutes */
	NAMES,     /* "only every 12 minutes", in a refusal */
	HINTS,     /* "too many": one in 11 minutes, and does not say so */
	DISGUISES, /* "login incorrect" beyond 40 logins an hour of all together */
	DOWN,      /* away for hours every day */
	FLAKY,     /* fails temporarily and for good, at random */
	KINDS
};

struct site {
	enum kind kind;
	char name[8];
	const struct conf_provider *conf;
	uint32_t sessions;
	msec_t logins[LOGINS]; /* the youngest last, round about */
	uint64_t nlogins;
	msec_t down_from; /* of the day */
};

struct box {
	char name[8];
	struct site *site;
	struct accounts *owner; /* whose cycle runs; NULL: none */
	struct fetch *fetch;
	msec_t ends, started, last_login; /* 0: never */
	msec_t last_good;                 /* without the lost time */
	msec_t expected; /* the next cycle must have begun by then; MSEC_NEVER: no promise */
	bool wrong;      /* its password, until the administrator corrects it */
	uint32_t logins, good, throttled, refused, longest; /* longest: failures in a row */
	uint32_t row;
	msec_t gap; /* the longest between two logins that went well */
};

struct week {
	struct clock clock;
	struct rng rng;
	msec_t now;
	wall_t wall_offset; /* a clock that somebody sets */
	uint64_t random;
	struct config *config;
	struct site sites[SITES];
	struct box boxes[BOXES];
	struct box *running[BOXES];
	size_t nrunning;
	bool relay_down;
	msec_t lost, lost_since; /* time in which nothing can be fetched does not count as a gap */
	uint32_t probes, suspensions;
	char broken[300]; /* the first rule that was broken; "": none */
};

extern struct week week;

uint32_t week_random(uint32_t n); /* 0 .. n - 1 */
void week_broken(const char *fmt, ...) format_like(1, 2);
/* Ends the cycle of a box in good order, or (killed) as the process that had it dies. */
void week_end(struct box *b);
void week_kill(struct box *b);
/* From now on each account of a patient provider has one interval, a tenth, and `grace`. */
void week_expect_all(msec_t grace);
