/*
 * An account at run time: its schedule, its way into a cycle, and what a cycle's end means for it.
 *
 * Gates, in this order, before a connection is made: due, relay up, session limits, the locks
 * (never two cycles of an account at once, across processes), the login permit (durable, across
 * processes).
 */
#pragma once

#include "core/sched.h"
#include "fetch.h"

struct accounts;
struct provider_run;

#define ACCOUNT_LOCK_RETRY_MSEC    (60 * 1000)
#define ACCOUNT_SESSION_RETRY_MSEC (5 * 1000)
/* So many cycles in a row that found the maildrop locked are worth a warning. */
#define ACCOUNT_BUSY_ALARM      6
#define ACCOUNT_BUSY_ALARM_TEXT "six"

struct account {
	char *name;
	struct config *config; /* of `conf` */
	const struct conf_account *conf;
	struct relay *relay;
	struct sched sched;
	struct account_past past; /* its `sched` is as of the last record; the live one is above */
	struct accounts *set;     /* that it belongs to */
	struct provider_run *provider_run; /* owned by the set */
	struct provider_run *running_at;   /* where its cycle runs: a reload may have moved it */
	struct fetch *fetch;               /* NULL: no cycle */
	bool removed;                      /* by a reload: goes when its cycle ends */
	/* Why the last try began no cycle, by the name of the log and in words; NULL: it did. */
	struct {
		const char *reason, *text;
	} skipped;
	msec_t said_due; /* the wait in which that was logged */
	bool finished;   /* --once: had its cycle, or cannot have one now */
	bool failed;     /* --once: could not finish, or was not due */
	TAILQ_ENTRY(account) entry;
};

enum account_step {
	ACCOUNT_WAITS, /* for a session slot, the relay */
	ACCOUNT_STARTED,
	ACCOUNT_SKIPPED /* said why; its schedule is set */
};

struct account *account_new(struct accounts *set, const char *name);
void account_free(struct account *a); /* no cycle runs */
/* Gives it these settings, from its next cycle on. A corrected password ends a suspension. */
void account_configure(struct account *a, struct config *config, const struct conf_account *conf,
	struct relay *relay, struct provider_run *provider_run);
/* What the state knows of it. After the first account_configure(). */
void account_begin(struct account *a, struct env *env);

/* It is due: passes the gates and begins a cycle, or says why not. */
enum account_step account_try(
	struct account *a, struct env *env, void (*on_end)(void *ctx, struct fetch *f), void *ctx);
/* Its cycle has ended: schedule, suspension, log. */
void account_ended(struct account *a, struct env *env, struct fetch *f);
/* No cycles, until account_resume(), across restarts; what runs ends. -1: it is not durable. */
int account_pause(struct account *a, struct env *env, struct err *err) must_check;
/* Ends a pause and a suspension, durably. -1: it stays as it was. */
#define ACCOUNT_NOT_BLOCKED 1
int account_resume(struct account *a, struct env *env, const char *why, struct err *err) must_check;
/* The relay is down and it will not get a cycle now (--once). */
void account_give_up(struct account *a);
