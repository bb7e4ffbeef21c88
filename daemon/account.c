/* The gates before a cycle, and its consequences; see account.h. */
#include "account.h"

#include "accounts.h"
#include "base/log.h"
#include "system.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char limit_text[] = "the provider's login_limit is used up";

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

struct account *account_new(const char *name)
{
	struct account *a = mem_zalloc(sizeof *a);

	a->name = mem_strdup(name);
	return a;
}

void account_free(struct account *a)
{
	ensure(!a->fetch);
	relay_unref(a->relay);
	config_unref(a->config);
	free(a->name);
	free(a);
}

void account_configure(struct account *a, struct config *config, const struct conf_account *conf,
	struct relay *relay, struct provider_run *provider_run)
{
	relay_unref(a->relay);
	config_unref(a->config);
	a->config = config_ref(config);
	a->conf = conf;
	a->relay = relay_ref(relay);
	a->provider_run = provider_run;
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
		if (!permit.limited)
			return skip(a, env, permit.wait_ms, "not-due", "min_interval is not over");
		a->provider_run->limited_until = env_now(env) + permit.wait_ms;
		return skip(a, env, permit.wait_ms, "limit", limit_text);
	}
	sched_started(&a->sched, env_now(env));
	a->provider_run->sessions++;
	a->fetch = fetch_new(
		env, a->config, a->conf, a->relay, lock, (uint64_t)env_wall(env), on_end, ctx);
	a->running_at = a->provider_run;
	return ACCOUNT_STARTED;
}

enum account_step account_try(
	struct account *a, struct env *env, void (*on_end)(void *ctx, struct fetch *f), void *ctx)
{
	AUTO(strbuf_free) struct strbuf name = STRBUF_INIT;
	struct err err;

	if (relay_is_down(a->relay)) { /* what cannot be handed over is not fetched */
		relay_probe(a->relay);
		return ACCOUNT_WAITS;
	}
	if (a->provider_run->sessions >= a->conf->provider->max_sessions)
		return ACCOUNT_WAITS;
	msec_t limited = a->provider_run->limited_until - env_now(env);
	if (limited > 0) /* the next one would only be told the same */
		return skip(a, env, limited, "limit", limit_text);
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
	a->running_at->sessions--;
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

void account_resume(struct account *a, struct env *env, const char *why)
{
	if (!sched_resume(&a->sched, env_now(env)))
		return;
	note(a, EV_ACCOUNT_RESUMED, NULL, why);
}

void account_give_up(struct account *a)
{
	note(a, EV_CYCLE_FAILED, "the relay is down",
		"nothing fetched: what cannot be handed over stays with the provider");
	a->finished = a->failed = true;
}
