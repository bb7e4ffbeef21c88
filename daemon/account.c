/* The gates before a cycle, and its consequences; see account.h. */
#include "account.h"

#include "accounts.h"
#include "base/log.h"
#include "identity.h"
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char limit_text[] = "the provider's login_limit is used up";

static void note(
	const struct account *a, enum log_event event, const char *reason, const char *text)
{
	struct log_entry entry = { .event = event,
		.account = a->name,
		.provider = a->conf->provider->name,
		.relay = a->conf->relay->name,
		.reason = reason,
		.text = text };

	env_log(a->set->env, &entry);
}

static enum account_step skip(
	struct account *a, struct env *env, msec_t wait, const char *reason, const char *text)
{
	char sentence[200];

	snprintf(sentence, sizeof sentence, "%s; next try in %" PRId64 " s", text,
		(wait + 999) / 1000);
	if (a->skipped.text != text || a->said_due != a->sched.due_since) /* once while it waits */
		note(a, EV_CYCLE_SKIPPED, reason, sentence);
	a->said_due = a->sched.due_since;
	sched_wait(&a->sched, env_now(env), wait);
	a->skipped.reason = reason;
	a->skipped.text = text;
	a->finished = a->failed = true;
	return ACCOUNT_SKIPPED;
}

static enum account_step state_failed(struct account *a, struct env *env, const struct err *err)
{
	note(a, EV_STATE_FAILED, err->text, "no login without a state that can be written");
	sched_wait(&a->sched, env_now(env), a->conf->interval_ms);
	a->skipped.reason = "state";
	a->skipped.text = "the state cannot be written";
	a->finished = a->failed = true;
	return ACCOUNT_SKIPPED;
}

/* ---- what outlives the process ---- */

static void keep(struct account *a, struct env *env)
{
	struct err err;

	a->past.sched = a->sched.kept;
	if (env->dry_run) /* records nothing but the login */
		return;
	if (store_set_past(env->store, a->name, &a->past, &err))
		note(a, EV_STATE_FAILED, err.text, "the account's schedule could not be recorded");
}

static uint32_t secret_mark(const struct conf_account *conf, const struct env *env)
{
	const struct secret *s = &conf->password;

	return identity_secret_mark(
		env->identity, conf->user, s->command ? sv_str(s->command) : sv(s->bytes, s->len));
}

/*
 * A corrected password ends a suspension, and clears the count that leads to one. What a command
 * prints cannot be compared: there a reload is the administrator's word for it.
 */
static void check_secret(struct account *a, struct env *env, bool reload)
{
	bool changed = a->past.secret_mark != secret_mark(a->conf, env) ||
		(reload && a->conf->password.command);

	if (!a->sched.kept.auth_failures || !changed)
		return;
	bool was_suspended = sched_resume(&a->sched, env_now(env));
	keep(a, env); /* a pause stays: that was another decision */
	if (was_suspended)
		note(a, EV_ACCOUNT_RESUMED, NULL, "user or password have changed: logins go on");
}

/*
 * Another process may have changed it since; who holds the account's lock has the last word, and
 * that is us while a cycle runs.
 */
static int recall(struct account *a, struct env *env, bool reload, struct err *err)
{
	if (!a->fetch) {
		if (store_past(env->store, a->name, &a->past, err))
			return -1;
		a->sched.kept = a->past.sched;
	}
	check_secret(a, env, reload);
	return 0;
}

/* ---- life ---- */

struct account *account_new(struct accounts *set, const char *name)
{
	struct account *a = mem_zalloc(sizeof *a);

	a->set = set;
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
	struct env *env = a->set->env;
	bool known = a->conf;
	struct err err;

	if (known && a->conf->interval_ms != conf->interval_ms)
		sched_interval(&a->sched, env_now(env), conf->interval_ms);
	relay_unref(a->relay);
	config_unref(a->config);
	a->config = config_ref(config);
	a->conf = conf;
	a->relay = relay_ref(relay);
	a->provider_run = provider_run;
	if (known && recall(a, env, true, &err))
		note(a, EV_STATE_FAILED, err.text, "what other processes did is not known");
}

/* Why nothing happens is said once, at the start, not with every cycle that does not come. */
static void say_blocked(const struct account *a)
{
	if (a->sched.kept.paused)
		note(a, EV_CYCLE_SKIPPED, "paused",
			"paused by an administrator; it goes on with "
			"multidropctl resume");
	else
		note(a, EV_CYCLE_SKIPPED, "suspended",
			"suspended after refused passwords; correct the password and reload, or "
			"multidropctl resume");
}

void account_begin(struct account *a, struct env *env)
{
	struct err err;

	if (recall(a, env, false, &err)) {
		state_failed(a, env, &err);
		return;
	}
	if (!sched_blocked(&a->sched))
		return;
	say_blocked(a);
	a->finished = a->failed = true;
}

int account_resume(struct account *a, struct env *env, const char *why, struct err *err)
{
	struct sched before;

	if (recall(a, env, false, err))
		return -1;
	if (!sched_blocked(&a->sched))
		return ACCOUNT_NOT_BLOCKED;
	before = a->sched;
	a->sched.kept.paused = false;
	(void)sched_resume(&a->sched, env_now(env)); /* or it was only paused */
	a->past.sched = a->sched.kept;
	if (store_set_paused(env->store, a->name, false, err) ||
		store_set_past(env->store, a->name, &a->past, err) ||
		store_commit(env->store, err)) {
		a->sched = before;
		a->past.sched = before.kept;
		return -1;
	}
	note(a, EV_ACCOUNT_RESUMED, NULL, why);
	return 0;
}

int account_pause(struct account *a, struct env *env, struct err *err)
{
	if (store_set_paused(env->store, a->name, true, err) || store_commit(env->store, err))
		return -1;
	if (!a->sched.kept.paused) {
		a->sched.kept.paused = a->past.sched.paused = true;
		say_blocked(a);
	}
	if (a->fetch)
		fetch_stop(a->fetch);
	return 0;
}

/* ---- into a cycle ---- */

static enum account_step no_permit(
	struct account *a, struct env *env, const struct login_permit *permit)
{
	if (!permit->limited)
		return skip(a, env, permit->wait_ms, "not-due",
			sched_delay(&a->sched, env_wall(env)) > a->conf->provider->rate.spacing_ms
				? "the delay that the provider asks for is not over"
				: "min_interval is not over");
	a->provider_run->limited_until = env_now(env) + permit->wait_ms;
	return skip(a, env, permit->wait_ms, "limit", limit_text);
}

/* The locks are held. */
static enum account_step begin_cycle(struct account *a, struct env *env, struct locks *locks,
	void (*on_end)(void *ctx, struct fetch *f), void *ctx)
{
	const struct conf_provider *p = a->conf->provider;
	struct rate_rule rule = p->rate;
	struct login_permit permit;
	msec_t wait;
	struct err err;

	if (recall(a, env, false, &err))
		return state_failed(a, env, &err);
	if (sched_blocked(&a->sched)) {
		say_blocked(a);
		a->finished = a->failed = true;
		return ACCOUNT_SKIPPED;
	}
	msec_t delay = sched_delay(&a->sched, env_wall(env));
	if (rule.spacing_ms < delay)
		rule.spacing_ms = delay; /* LOGIN-DELAY: the account's own minimum */
	if (provider_wait(a->provider_run, env, &wait, &err))
		return state_failed(a, env, &err);
	if (wait)
		return skip(a, env, wait, "limit",
			"the provider has refused more logins than these within an hour");
	if (store_login(env->store, p->name, a->name, &rule, env->clock, &permit, &err))
		return state_failed(a, env, &err);
	if (permit.wait_ms)
		return no_permit(a, env, &permit);
	sched_started(&a->sched, env_now(env), env_wall(env));
	a->skipped.reason = NULL;
	a->running_at = a->provider_run;
	a->running_at->sessions++;
	a->fetch = fetch_new(
		env, a->config, a->conf, a->relay, *locks, (uint64_t)env_wall(env), on_end, ctx);
	*locks = NO_LOCKS;
	return ACCOUNT_STARTED;
}

enum account_step account_try(
	struct account *a, struct env *env, void (*on_end)(void *ctx, struct fetch *f), void *ctx)
{
	struct locks locks;
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
	msec_t retry = a->conf->interval_ms < ACCOUNT_LOCK_RETRY_MSEC ? a->conf->interval_ms
								      : ACCOUNT_LOCK_RETRY_MSEC;
	int rc = locks_take(&locks, a->config->state_dir, a->conf, &err);
	if (rc == LOCKS_ACCOUNT_BUSY)
		return skip(a, env, retry, "locked", "another process is fetching this account");
	if (rc == LOCKS_PROVIDER_FULL)
		return skip(a, env, ACCOUNT_SESSION_RETRY_MSEC, "limit",
			"other processes have all of the provider's max_sessions");
	if (rc)
		return state_failed(a, env, &err);
	enum account_step step = begin_cycle(a, env, &locks, on_end, ctx);
	locks_drop(&locks);
	return step;
}

/* ---- out of it ---- */

static void remember_fault(struct account *a, struct env *env, const struct err *err)
{
	a->past.last_error_at = env_wall(env);
	snprintf(a->past.last_error, sizeof a->past.last_error, "%s: %s",
		err_class_name(err->class), err->text);
}

void account_ended(struct account *a, struct env *env, struct fetch *f)
{
	provider_read_refusal(a->running_at, f, a->sched.kept.last_success, a->sched.kept.failures);
	report_end(f);
	struct sched_result result = {
		.class = f->err.class, .logged_in = f->logged_in, .announced = f->login_delay_ms
	};
	a->fetch = NULL;
	a->running_at->sessions--;
	a->finished = true;
	a->failed = result.class != ERR_NONE || (f->maildrop.left && !env->dry_run);
	if (result.class == ERR_THROTTLE)
		result.told = (msec_t)f->err.code * 1000;
	/* Not the provider's fault: no back-off towards it, and no success either. */
	result.cut = result.class != ERR_AUTH && (f->stopping || relay_is_down(f->relay));
	if (f->err.class != ERR_NONE && !f->stopping)
		remember_fault(a, env, &f->err);
	a->past.delivered += f->stats.delivered;
	if (result.class == ERR_AUTH)
		a->past.secret_mark = secret_mark(f->account, env);
	bool suspended = sched_ended(&a->sched, env_now(env), env_wall(env), a->conf->interval_ms,
		&result, env_chance(env));
	keep(a, env);
	if (suspended)
		note(a, EV_ACCOUNT_SUSPENDED, f->err.text,
			"password refused again and again: no more logins before it is "
			"corrected and the configuration reloaded, or multidropctl resume");
	if (a->sched.kept.busy == ACCOUNT_BUSY_ALARM)
		log_write(&(struct log_entry){ .event = EV_ACCOUNT_BUSY,
			.level = LVL_WARNING,
			.account = a->name,
			.provider = f->account->provider->name,
			.reason = f->err.text,
			.text = "locked " ACCOUNT_BUSY_ALARM_TEXT " times in a row: does another "
				"program fetch this maildrop?" });
}

void account_give_up(struct account *a)
{
	note(a, EV_CYCLE_FAILED, "the relay is down",
		"nothing fetched: what cannot be handed over stays with the provider");
	a->finished = a->failed = true;
}
