/*
 * The state of the daemon in three forms; see status.h. Owns nothing, changes nothing.
 *
 * What the database cannot say at the moment is null, never a guess.
 */
#include "status.h"

#include "outlook.h"
#include "report.h"

#include <math.h>
#include <stdio.h>

static const char disabled_text[] = "enabled = false in the configuration";

struct logins {
	bool known;
	uint32_t used;
	msec_t wait; /* 0: the next login may be now */
};

static struct logins logins_of(const struct view *v, const struct conf_provider *p)
{
	struct env *env = v->env;
	struct logins l = { 0 };
	struct err err;

	l.known = !store_logins(env->store, p->name, &p->rate, env->clock, p->rate.window_ms,
		&l.used, &l.wait, &err);
	return l;
}

/* -1: no limit, or unknown. */
static json_int_t budget(const struct conf_provider *p, const struct logins *l)
{
	if (!l->known || !p->rate.limit)
		return -1;
	return l->used < p->rate.limit ? p->rate.limit - l->used : 0;
}

static json_t *number_or_null(bool known, json_int_t n)
{
	return known ? json_integer(n) : json_null();
}

static void set_outlook(json_t *o, const struct view *v, const struct conf_account *conf)
{
	const struct account *a = accounts_find(v->accounts, conf->name);
	struct outlook look = { .state = "disabled", .reason = "disabled" };

	if (a)
		outlook_of(a, v->env, &look);
	else
		(void)snprintf(look.text, sizeof look.text, "%s", disabled_text);
	json_object_set_new(o, "state", json_string(look.state));
	json_object_set_new(o, "next_due", show_json_time(look.next_due));
	json_object_set_new(o, "next_reason", json_string(look.reason));
	json_object_set_new(o, "next_text", show_json_text(look.text));
	json_object_set_new(o, "trouble", json_boolean(look.trouble));
	json_object_set_new(o, "overdue",
		json_boolean(a &&
			sched_overdue(&a->sched,
				(struct sched_time){ env_now(v->env), env_wall(v->env) },
				v->started, conf->interval_ms, a->fetch)));
	json_object_set_new(
		o, "interval_seconds", json_integer((json_int_t)conf->interval_ms / 1000));
}

/* What is remembered of it: a disabled account has no run time, but a past. */
static void set_past(json_t *o, const struct view *v, const struct conf_account *conf)
{
	const struct account *a = accounts_find(v->accounts, conf->name);
	struct account_past past = { 0 };
	struct err err;

	if (a) {
		past = a->past;
		past.sched = a->sched.kept;
	} else if (store_past(v->env->store, conf->name, &past, &err)) {
		past = (struct account_past){ 0 };
	}
	json_object_set_new(o, "last_start", show_json_time(past.sched.last_start));
	json_object_set_new(o, "last_success", show_json_time(past.sched.last_success));
	json_object_set_new(
		o, "last_error", show_json_text(past.last_error_at ? past.last_error : NULL));
	json_object_set_new(o, "last_error_at", show_json_time(past.last_error_at));
	json_object_set_new(o, "failures", json_integer(past.sched.failures));
	json_object_set_new(o, "delivered", json_integer((json_int_t)past.delivered));
}

/* Of a running cycle that knows what there is to fetch. */
static json_t *progress_json(const struct view *v, const struct conf_account *conf)
{
	const struct account *a = accounts_find(v->accounts, conf->name);
	struct show_progress p = { 0 };

	if (a && a->fetch)
		report_progress(a->fetch, &p);
	if (!p.of)
		return json_null();
	return json_pack("{s:I, s:I, s:I, s:I}", "done", (json_int_t)p.done, "of", (json_int_t)p.of,
		"octets", (json_int_t)p.octets, "duration_ms", (json_int_t)p.span);
}

static void set_counts(json_t *o, const struct view *v, const struct conf_account *conf)
{
	struct message_counts n;
	struct err err;
	bool known = !store_counts(v->env->store, conf->name, &n, &err);
	uint64_t pending = n.discard + (conf->keep_ms == KEEP_FOREVER ? 0 : n.done);

	json_object_set_new(o, "held", number_or_null(known, (json_int_t)n.held));
	json_object_set_new(o, "pending_delete", number_or_null(known, (json_int_t)pending));
}

/* logins: of each provider, in the order of the configuration. */
static json_t *account_json(
	const struct view *v, const struct conf_account *conf, const struct logins *logins)
{
	size_t i = 0;

	while ((*v->config)->providers[i] != conf->provider)
		i++;
	json_int_t left = budget(conf->provider, &logins[i]);
	json_t *o = json_pack("{s:s, s:s, s:s}", "name", conf->name, "provider",
		conf->provider->name, "relay", conf->relay->name);

	set_outlook(o, v, conf);
	set_past(o, v, conf);
	set_counts(o, v, conf);
	json_object_set_new(o, "logins_left", number_or_null(left >= 0, left));
	json_object_set_new(o, "progress", progress_json(v, conf));
	return o;
}

static json_t *provider_json(
	const struct view *v, const struct conf_provider *p, const struct logins *l)
{
	return json_pack("{s:s, s:o, s:I, s:I, s:o}", "name", p->name, "logins_in_window",
		number_or_null(l->known, l->used), "login_limit", (json_int_t)p->rate.limit,
		"login_window_seconds", (json_int_t)(p->rate.window_ms / 1000),
		"next_login_allowed", show_json_time(l->wait ? env_wall(v->env) + l->wait : 0));
}

static json_t *relay_json(const struct view *v, const struct relay *r)
{
	const struct smtp_pool *pool = relay_pool(r);
	msec_t wait = pool->retry_at - env_now(v->env);

	return json_pack("{s:s, s:s, s:b, s:I, s:I, s:I, s:o, s:o}", "name", relay_conf(r)->name,
		"state", pool->down ? "down" : "up", "degraded", relay_is_degraded(r), "idle",
		(json_int_t)pool->idle, "busy", (json_int_t)pool->busy, "connecting",
		(json_int_t)pool->connecting, "last_error",
		show_json_text(pool->down ? relay_fault(r) : NULL), "next_try",
		show_json_time(pool->down && wait > 0 ? env_wall(v->env) + wait : 0));
}

static bool wanted(
	const char *only, const struct config *c, const char *provider, const char *relay)
{
	const struct conf_account *a = only ? config_account(c, only) : NULL;

	if (!a)
		return true;
	if (provider)
		return !strcmp(a->provider->name, provider);
	return relay && !strcmp(a->relay->name, relay);
}

json_t *status_json(const struct view *v, const char *only)
{
	const struct config *c = *v->config;
	json_t *accounts = json_array(), *providers = json_array(), *relays = json_array();
	AUTO(mem_freep) struct logins *logins = mem_zalloc((c->nproviders + 1) * sizeof *logins);
	const struct err *failure = &v->env->turn.failure;

	for (size_t i = 0; i < c->nproviders; i++)
		logins[i] = logins_of(v, c->providers[i]);
	for (size_t i = 0; i < c->naccounts; i++)
		if (!only || !strcmp(c->accounts[i]->name, only))
			json_array_append_new(accounts, account_json(v, c->accounts[i], logins));
	for (size_t i = 0; i < c->nproviders; i++)
		if (wanted(only, c, c->providers[i]->name, NULL))
			json_array_append_new(
				providers, provider_json(v, c->providers[i], &logins[i]));
	for (size_t i = 0; i < v->relays->n; i++)
		if (wanted(only, c, NULL, relay_conf(v->relays->items[i])->name))
			json_array_append_new(relays, relay_json(v, v->relays->items[i]));
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "version", MULTIDROPD_VERSION,
		"now", show_json_time(env_wall(v->env)), "started", show_json_time(v->started.wall),
		"state_error", show_json_text(failure->class == ERR_NONE ? NULL : failure->text),
		"accounts", accounts, "providers", providers, "relays", relays);
}

/* ---- one line ---- */

static void add_relays(const struct view *v, struct strbuf *out)
{
	size_t down = 0;

	for (size_t i = 0; i < v->relays->n; i++) {
		if (!relay_is_down(v->relays->items[i]))
			continue;
		strbuf_addf(out, "%s %s", down++ ? "," : "; down: relay",
			relay_conf(v->relays->items[i])->name);
	}
	if (!down && v->relays->n == 1)
		strbuf_addf(out, "; relay %s up", relay_conf(v->relays->items[0])->name);
	else if (!down && v->relays->n)
		strbuf_adds(out, "; all relays up");
}

void status_line(const struct view *v, struct strbuf *out)
{
	static const char *const counted[] = { "suspended", "paused", "backoff", "waiting" };
	size_t n = 0, counts[ARRAY_LEN(counted)] = { 0 };
	const struct account *a;
	wall_t last = 0;

	TAILQ_FOREACH (a, &v->accounts->list, entry) {
		struct outlook look;
		outlook_of(a, v->env, &look);
		n++;
		for (size_t i = 0; i < ARRAY_LEN(counted); i++)
			counts[i] += !strcmp(look.state, counted[i]);
		if (a->sched.kept.last_start > last)
			last = a->sched.kept.last_start;
	}
	strbuf_addf(out, "%zu account%s", n, n == 1 ? "" : "s");
	for (size_t i = 0; i < ARRAY_LEN(counted); i++)
		if (counts[i])
			strbuf_addf(out, ", %zu %s", counts[i], counted[i]);
	if (last) {
		AUTO(strbuf_free) struct strbuf clock = STRBUF_INIT;
		show_clock(&clock, last);
		strbuf_addf(out, "; last cycle %.5s", strbuf_str(&clock)); /* without seconds */
	}
	add_relays(v, out);
}

/* ---- Prometheus ---- */

static void account_gauges(const struct view *v, const struct account *a)
{
	struct metrics *m = v->env->metrics;
	struct message_counts n;
	struct outlook look;
	struct err err;

	outlook_of(a, v->env, &look);
	if (look.next_due)
		metrics_set(m, METRIC_NEXT_DUE, a->name, NULL, (double)look.next_due / 1000);
	if (a->sched.kept.last_success)
		metrics_set(m, METRIC_LAST_SUCCESS, a->name, NULL,
			(double)a->sched.kept.last_success / 1000);
	if (!store_counts(v->env->store, a->name, &n, &err))
		metrics_set(m, METRIC_HELD, a->name, NULL, (double)n.held);
}

static void relay_gauges(const struct view *v, const struct relay *r)
{
	struct metrics *m = v->env->metrics;
	const struct smtp_pool *pool = relay_pool(r);
	const char *name = relay_conf(r)->name;

	metrics_set(m, METRIC_RELAY_UP, name, NULL, !pool->down);
	metrics_set(m, METRIC_RELAY_CONNS, name, "connecting", pool->connecting);
	metrics_set(m, METRIC_RELAY_CONNS, name, "idle", pool->idle);
	metrics_set(m, METRIC_RELAY_CONNS, name, "busy", pool->busy);
}

void status_gauges(const struct view *v)
{
	const struct config *c = *v->config;
	struct metrics *m = v->env->metrics;
	const struct account *a;

	metrics_clear_gauges(m);
	metrics_set(m, METRIC_BUILD_INFO, MULTIDROPD_VERSION, NULL, 1);
	TAILQ_FOREACH (a, &v->accounts->list, entry) {
		if (a->removed)
			continue;
		metrics_begin_account(m, a->name);
		account_gauges(v, a);
	}
	for (size_t i = 0; i < c->nproviders; i++) {
		const struct conf_provider *p = c->providers[i];
		struct logins l = logins_of(v, p);
		metrics_begin_provider(m, p->name);
		if (l.known)
			metrics_set(m, METRIC_LOGIN_BUDGET, p->name, NULL,
				p->rate.limit ? (double)budget(p, &l) : INFINITY);
	}
	for (size_t i = 0; i < v->relays->n; i++)
		relay_gauges(v, v->relays->items[i]);
}
