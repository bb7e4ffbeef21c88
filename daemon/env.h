/* What the parts of the daemon share: made once in app.c, borrowed by everybody. */
#pragma once

#include "base/clock.h"
#include "core/metrics.h"
#include "core/store.h"
#include "spool.h"
#include "transport.h"
#include "turn.h"

struct env {
	struct clock *clock;
	struct rng *rng;
	struct loop loop;
	struct turn turn;
	struct store *store;
	struct identity *identity; /* with the store's key */
	char *state_dir;           /* a copy: configurations come and go */
	struct spool_area spool;
	struct metrics *metrics; /* counts what is logged about accounts; NULL: nothing */
	/* Tells people of what is logged (alerts.h); NULL: nobody. */
	void (*tell)(void *ctx, const struct log_entry *entry);
	void *tell_ctx;
	struct event *soon;
	bool dry_run;
};

/*
 * Opens the state and makes a loop, with the real clock. 0; ENV_NO_STATE:
 * the state cannot be used; -1: there can be no loop. After either failure env_close() is still
 * due.
 */
#define ENV_NO_STATE 1
int env_open(struct env *env, const char *state_dir,
	void (*on_failure)(void *ctx, const struct err *err), void *ctx, struct err *err)
	must_check;
/* Makes the last changes durable and frees what env_open() made; connections are gone by then. */
void env_close(struct env *env);
void env_end_turn(struct env *env); /* after each pass of the loop: commits, steps, output */

/* Into the log, and to whoever counts it or tells people. */
void env_log(struct env *env, const struct log_entry *entry);

static inline msec_t env_now(const struct env *env)
{
	return env->clock->now(env->clock);
}

static inline wall_t env_wall(const struct env *env)
{
	return env->clock->wall(env->clock);
}

static inline uint32_t env_chance(const struct env *env)
{
	uint32_t n;

	env->rng->fill(env->rng, &n, sizeof n);
	return n;
}
