/* See provider.h. */
#include "provider.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Of what was too much, so many percent are asked for from now on. */
#define LEARNED_PERCENT 80

struct provider_run *provider_new(const char *name)
{
	struct provider_run *p = mem_zalloc(sizeof *p);

	p->name = mem_strdup(name);
	return p;
}

void provider_free(struct provider_run *p)
{
	free(p->refused);
	free(p->name);
	free(p);
}

/* The limit that is believed now; 0: none. */
static int hour_limit(
	const struct provider_run *p, struct env *env, uint32_t *limit, struct err *err)
{
	wall_t at;

	if (store_hour_limit(env->store, p->name, limit, &at, err))
		return -1;
	wall_t age = env_wall(env) - at;
	if (age >= PROVIDER_LEARNED_MSEC || -age >= PROVIDER_LEARNED_MSEC) /* or a wrong clock */
		*limit = 0;
	return 0;
}

int provider_wait(const struct provider_run *p, struct env *env, msec_t *wait, struct err *err)
{
	struct rate_rule rule = { .window_ms = PROVIDER_DOUBT_MSEC };
	uint32_t logins;

	*wait = 0;
	if (hour_limit(p, env, &rule.limit, err))
		return -1;
	if (!rule.limit)
		return 0;
	return store_logins(
		env->store, p->name, &rule, env->clock, rule.window_ms, &logins, wait, err);
}

/* One doubt for each account; more while others of this provider are refused as well. */
static bool doubtful(const struct provider_run *p, const struct fetch *f, wall_t right, bool failed)
{
	wall_t since = env_wall(f->env) - right;
	bool another = p->refused && strcmp(p->refused, f->account->name) != 0 &&
		env_now(f->env) - p->refused_at < PROVIDER_DOUBT_MSEC;

	if (f->err.class != ERR_AUTH || f->err.code || !right)
		return false;
	return (!failed && since < PROVIDER_DOUBT_MSEC) ||
		(another && since < PROVIDER_LEARNED_MSEC);
}

/* All accounts together stay below what was too much. */
static void learn(struct provider_run *p, struct env *env, uint32_t logins)
{
	uint32_t known, limit = logins * LEARNED_PERCENT / 100;
	struct err err;

	if (hour_limit(p, env, &known, &err))
		return; /* what cannot be recorded is learned again by the next refusal */
	if (known && known < limit)
		limit = known;
	if (store_set_hour_limit(env->store, p->name, limit, env_wall(env), &err))
		return;
}

void provider_read_refusal(struct provider_run *p, struct fetch *f, wall_t right, bool failed)
{
	AUTO(strbuf_free) struct strbuf said = STRBUF_INIT;
	struct env *env = f->env;
	struct rate_rule none = { 0 };
	uint32_t logins;
	msec_t wait;
	struct err err;

	if (!doubtful(p, f, right, failed) ||
		store_logins(env->store, p->name, &none, env->clock, PROVIDER_DOUBT_MSEC, &logins,
			&wait, &err) ||
		logins < PROVIDER_MANY_LOGINS)
		return;
	strbuf_adds(&said, f->err.text);
	err_set(&f->err, ERR_THROTTLE, 0,
		"%.160s; this password was right before, and there were %" PRIu32
		" logins at this provider within an hour: taken for a limit",
		strbuf_str(&said), logins);
	learn(p, env, logins);
	free(p->refused);
	p->refused = mem_strdup(f->account->name);
	p->refused_at = env_now(env);
}
