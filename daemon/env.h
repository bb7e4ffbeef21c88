/* What the parts of the daemon share: made once in app.c, borrowed by everybody. */
#pragma once

#include "base/clock.h"
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
	struct spool_area spool;
	/* Over all relays, for the grouping of commits (app.c): */
	unsigned approaching;  /* transactions that are about to send their content */
	struct step_list gate; /* content is out, the dot waits for its record */
	bool dry_run;
};

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
