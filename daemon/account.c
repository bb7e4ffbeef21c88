/* The gates before a cycle, and its consequences; see account.h. */
#include "account.h"

#include "base/log.h"
#include "system.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static void note(
	const struct account *a, enum log_event event, const char *reason, const char *text)
{
	log_write(&(struct log_entry){ .event = event,
		.account = a->name,
		.provider = a->conf->provider->name,
		.relay = a->conf->relay->name,
		.reason = reason,
		.text = text });
}

static enum account_step skip(
	struct account *a, struct env *env, msec_t wait, const char *reason, const char *text)
{
	char sentence[200];

	snprintf(sentence, sizeof sentence, "%s; next try in %" PRId64 " s", text,
		(wait + 999) / 1000);
	note(a, EV_CYCLE_SKIPPED, reason, sentence);
	sched_wait(&a->sched, env_now(env), wait);
	a->finished = a->failed = true;
	return ACCOUNT_SKIPPED;
}

static enum account_step state_failed(struct account *a, struct env *env, const struct err *err)
{
	note(a, EV_STATE_FAILED, err->text, "no login without a state that can be written");
	sched_wait(&a->sched, env_now(env), a->conf->interval_ms);
	a->finished = a->failed = true;
	return ACCOUNT_SKIPPED;
}

static enum account_step take_permit(struct account *a, struct env *env, int lock,
	void (*on_end)(void *ctx, struct fetch *f), void *ctx)
{
	const struct conf_provider *p = a->conf->provider;
	struct rate_rule rule = p->rate;
	struct login_permit permit;
	struct err err;

	if (rule.spacing_ms < a->sched.delay)
		rule.spacing_ms = a->sched.delay; /* LOGIN-DELAY: the account's own minimum */
	if (store_login(env->store, p->name, a->name, &rule, env->clock, &permit, &err)) {
		close(lock);
		return state_failed(a, env, &err);
	}
	if (permit.wait_ms) {
		close(lock);
		return permit.limited
			? skip(a, env, permit.wait_ms, "limit",
				  "the provider's login_limit is used up")
			: skip(a, env, permit.wait_ms, "not-due", "min_interval is not over");
	}
	sched_started(&a->sched, env_now(env));
	a->fetch = fetch_new(
		env, a->config, a->conf, a->relay, lock, (uint64_t)env_wall(env), on_end, ctx);
	return ACCOUNT_STARTED;
}

enum account_step account_try(struct account *a, struct env *env, size_t sessions,
	size_t at_provider, void (*on_end)(void *ctx, struct fetch *f), void *ctx)
{
	AUTO(strbuf_free) struct strbuf name = STRBUF_INIT;
	struct err err;

	if (!sched_due(&a->sched, env_now(env)))
		return ACCOUNT_WAITS;
	if (relay_is_down(a->relay)) { /* what cannot be handed over is not fetched */
		relay_probe(a->relay);
		return ACCOUNT_WAITS;
	}
	if (sessions >= a->config->max_sessions || at_provider >= a->conf->provider->max_sessions)
		return ACCOUNT_WAITS;
	strbuf_addf(&name, "%s.lock", a->name);
	int lock = lock_file(a->config->state_dir, name.ptr, &err);
	if (lock == -2)
		return skip(a, env,
			a->conf->interval_ms < ACCOUNT_LOCK_RETRY_MSEC ? a->conf->interval_ms
								       : ACCOUNT_LOCK_RETRY_MSEC,
			"locked", "another process is fetching this account");
	if (lock < 0)
		return state_failed(a, env, &err);
	return take_permit(a, env, lock, on_end, ctx);
}

void account_ended(struct account *a, struct env *env, struct fetch *f)
{
	enum err_class class = f->err.class;

	a->fetch = NULL;
	a->finished = true;
	a->failed = class != ERR_NONE || (f->maildrop.left && !env->dry_run);
	a->sched.delay = f->login_delay_ms > a->sched.delay ? f->login_delay_ms : a->sched.delay;
	if (relay_is_down(a->relay))
		class = ERR_NONE; /* not the provider's fault: no back-off towards it */
	if (sched_ended(&a->sched, env_now(env), a->conf->interval_ms, class, env_chance(env)))
		note(a, EV_ACCOUNT_SUSPENDED, f->err.text,
			"password refused again and again: no more logins before it is "
			"corrected and the configuration reloaded");
}

void account_give_up(struct account *a)
{
	note(a, EV_CYCLE_FAILED, "the relay is down",
		"nothing fetched: what cannot be handed over stays with the provider");
	a->finished = a->failed = true;
}
