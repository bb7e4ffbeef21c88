/*
 * The daemon's loop; see app.h.
 *
 * Owns the environment, the relays and the accounts. After each turn of the loop: accounts that can
 * start are started, one commit, what waited for it, the output, and the dead are freed. A cycle
 * keeps the configuration and the relay that it began with; a reload only changes what comes after
 * it.
 */
#include "app.h"

#include "account.h"
#include "backscatter.h"
#include "base/log.h"
#include "conf_file.h"
#include "log_sink.h"
#include "sysd.h"
#include "system.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

/* Longest wait for replies to final dots after SIGTERM; the unit's stop timeout is longer. */
#define STOP_MSEC 20000

struct app {
	struct env env;
	const struct app_options *options;
	struct config *config;
	struct relay **relays; /* as config->relays */
	size_t nrelays;
	TAILQ_HEAD(, account) accounts;
	struct event *signals[4], *timer, *watchdog, *hourly;
	struct backscatter *backscatter;
	struct step schedule;
	bool stopping, stop_now;
	msec_t stop_deadline;
	int status;
};

static void app_log(enum log_event event, const char *reason, const char *text)
{
	log_write(&(struct log_entry){ .event = event, .reason = reason, .text = text });
}

static void wake(struct app *app)
{
	turn_flush(&app->env.turn, &app->schedule);
}

/* ---- accounts ---- */

static bool selected(const struct app *app, const struct conf_account *conf)
{
	if (!app->options->nonly)
		return conf->enabled;
	for (size_t i = 0; i < app->options->nonly; i++)
		if (!strcmp(app->options->only[i], conf->name))
			return true;
	return false;
}

static struct relay *find_relay(const struct app *app, const struct conf_relay *conf)
{
	for (size_t i = 0; i < app->nrelays; i++)
		if (relay_conf(app->relays[i]) == conf)
			return app->relays[i];
	ensure(!"an account's relay exists");
	return NULL;
}

static struct account *find_account(struct app *app, const char *name)
{
	struct account *a;

	TAILQ_FOREACH (a, &app->accounts, entry)
		if (!strcmp(a->name, name) && !a->removed)
			return a;
	return NULL;
}

static void account_free(struct app *app, struct account *a)
{
	TAILQ_REMOVE(&app->accounts, a, entry);
	relay_unref(a->relay);
	config_unref(a->config);
	free(a->name);
	free(a);
}

/* Gives an account the settings of the current configuration. */
static void account_configure(struct app *app, struct account *a, const struct conf_account *conf)
{
	relay_unref(a->relay);
	config_unref(a->config);
	a->config = config_ref(app->config);
	a->conf = conf;
	a->relay = relay_ref(find_relay(app, conf->relay));
}

static void add_account(
	struct app *app, const struct conf_account *conf, size_t index, size_t n, bool spread)
{
	struct account *a = mem_zalloc(sizeof *a);

	a->name = mem_strdup(conf->name);
	account_configure(app, a, conf);
	sched_init(&a->sched, env_now(&app->env), spread ? conf->interval_ms : 0, index, n);
	TAILQ_INSERT_TAIL(&app->accounts, a, entry);
}

static void on_cycle_end(void *ctx, struct fetch *f)
{
	struct app *app = ctx;
	struct account *a, *owner = NULL;

	TAILQ_FOREACH (a, &app->accounts, entry)
		if (a->fetch == f)
			owner = a;
	ensure(owner);
	account_ended(owner, &app->env, f);
	fetch_free(f);
	if (owner->removed)
		account_free(app, owner);
	wake(app);
}

static void count_sessions(
	struct app *app, const struct conf_provider *p, size_t *all, size_t *at_provider)
{
	struct account *a;

	*all = *at_provider = 0;
	TAILQ_FOREACH (a, &app->accounts, entry) {
		if (!a->fetch)
			continue;
		++*all;
		*at_provider += !strcmp(a->fetch->account->provider->name, p->name);
	}
}

/* --once with a relay that is down and has been probed in vain: there is nothing to wait for. */
static bool hopeless(const struct app *app, const struct account *a)
{
	return app->options->once && sched_due(&a->sched, env_now(&app->env)) &&
		relay_is_down(a->relay) && !a->fetch;
}

static void set_timer(struct app *app, msec_t at)
{
	msec_t now = env_now(&app->env), ms = at > now ? at - now : 0;

	if (at == MSEC_NEVER)
		event_del(app->timer);
	else
		event_add(app->timer,
			&(struct timeval){ .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 });
}

static void on_schedule(void *ctx, bool durable)
{
	struct app *app = ctx;
	struct account *a;
	msec_t next = MSEC_NEVER;
	size_t all, at_provider;

	TAILQ_FOREACH (a, &app->accounts, entry) {
		if (a->fetch || a->removed || app->stopping || (app->options->once && a->finished))
			continue;
		if (hopeless(app, a)) {
			account_give_up(a);
			continue;
		}
		count_sessions(app, a->conf->provider, &all, &at_provider);
		(void)account_try(a, &app->env, all, at_provider, on_cycle_end, app);
		/* A due account waits for a slot or the relay: those wake us themselves. */
		if (!a->sched.suspended && a->sched.next_due > env_now(&app->env) &&
			a->sched.next_due < next)
			next = a->sched.next_due;
	}
	set_timer(app, app->stopping ? app->stop_deadline : next);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct app *app = ctx;

	if (app->stopping)
		app->stop_now = true; /* a reply that does not come must not hold up the shutdown */
	else
		wake(app);
}

/* ---- relays ---- */

static void on_relay_up(void *ctx, struct relay *r)
{
	wake(ctx);
}

static void on_relay_down(void *ctx, struct relay *r)
{
	struct app *app = ctx;
	struct account *a;

	TAILQ_FOREACH (a, &app->accounts, entry)
		if (a->fetch && a->fetch->relay == r)
			fetch_relay_down(a->fetch);
	wake(app);
}

static void free_relays(struct relay **relays, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		relay_retire(relays[i]);
		relay_unref(relays[i]); /* a running cycle keeps it */
	}
	free(relays);
}

/* Relays of a configuration, all or none. */
static int make_relays(struct app *app, struct config *config, struct relay ***out, struct err *err)
{
	struct relay_ops ops = { .on_up = on_relay_up, .on_down = on_relay_down, .ctx = app };
	struct relay **relays = mem_zalloc((config->nrelays + 1) * sizeof(*relays));

	for (size_t i = 0; i < config->nrelays; i++)
		if (relay_new(&app->env, config, config->relays[i], &ops, &relays[i], err)) {
			free_relays(relays, i);
			return -1;
		}
	*out = relays;
	return 0;
}

/* A domain that the relay serves: one that an account sends to it. NULL: none is known. */
static const char *served_domain(const struct config *c, const struct conf_relay *relay)
{
	for (size_t i = 0; i < c->naccounts; i++) {
		const struct conf_account *a = c->accounts[i];
		if (a->relay != relay || !a->enabled)
			continue;
		if (a->domains.n)
			return a->domains.items[0] + (a->domains.items[0][0] == '.');
		if (a->recipient && strchr(a->recipient, '@'))
			return strrchr(a->recipient, '@') + 1;
	}
	return NULL;
}

static void on_hour(evutil_socket_t fd, short what, void *ctx)
{
	struct app *app = ctx;

	for (size_t i = 0; i < app->nrelays && !app->stopping; i++) {
		const char *domain = served_domain(app->config, relay_conf(app->relays[i]));
		if (domain)
			backscatter_ask(app->backscatter, app->relays[i], domain);
	}
}

/* ---- configuration ---- */

void app_log_faults(const struct faults *faults, enum log_event event)
{
	for (size_t i = 0; i < faults->n; i++) {
		const struct fault *f = &faults->items[i];
		char place[300];
		snprintf(place, sizeof place, "%s:%d", f->place.file ? f->place.file : "-",
			f->place.line);
		app_log(f->warning ? EV_CONFIG_WARNING : event, place, f->text);
	}
}

/* spread: the daemon's start, where not all should log in at once. */
static void apply_accounts(struct app *app, bool spread)
{
	struct account *a, *next;
	const struct config *c = app->config;

	for (a = TAILQ_FIRST(&app->accounts); a; a = next) {
		next = TAILQ_NEXT(a, entry);
		const struct conf_account *conf = config_account(c, a->name);
		if (conf && selected(app, conf))
			continue;
		a->removed = true;
		if (!a->fetch)
			account_free(app, a);
	}
	for (size_t i = 0; i < c->naccounts; i++) {
		if (!selected(app, c->accounts[i]))
			continue;
		a = find_account(app, c->accounts[i]->name);
		if (a)
			account_configure(app, a, c->accounts[i]);
		else
			add_account(app, c->accounts[i], i, c->naccounts, spread);
	}
}

/* A corrected password ends a suspension; the old text is compared before it goes. */
static void resume_changed(struct app *app, const struct config *old)
{
	struct account *a;

	TAILQ_FOREACH (a, &app->accounts, entry) {
		const struct conf_account *was = config_account(old, a->name);
		const struct secret *new = &a->conf->password;
		bool same = was && was->password.len == new->len &&
			!memcmp(was->password.bytes, new->bytes, new->len);
		if (!a->sched.suspended || same)
			continue;
		a->sched.suspended = false;
		a->sched.auth_failures = 0;
		a->sched.next_due = env_now(&app->env);
		log_write(&(struct log_entry){ .event = EV_ACCOUNT_RESUMED,
			.account = a->name,
			.text = "the password has changed: logins go on" });
	}
}

static void reload(struct app *app)
{
	struct faults faults = { 0 };
	struct relay **relays;
	struct err err;
	struct config *new = conf_file_load(app->options->config_path, &faults);

	app_log_faults(&faults, EV_CONFIG_REFUSED);
	faults_free(&faults);
	if (new &&make_relays(app, new, &relays, &err)) {
		app_log(EV_CONFIG_REFUSED, err.text, "the old configuration stays");
		config_unref(new);
		new = NULL;
	}
	if (!new)
		return;
	struct config *old = app->config;
	struct relay **old_relays = app->relays;
	size_t nold = app->nrelays;
	app->config = new;
	app->relays = relays;
	app->nrelays = new->nrelays;
	apply_accounts(app, false);
	resume_changed(app, old);
	free_relays(old_relays, nold);
	config_unref(old);
	app_log(EV_CONFIG_RELOADED, NULL, "configuration reloaded");
}

/* ---- signals ---- */

static void on_reload(evutil_socket_t fd, short what, void *ctx)
{
	struct app *app = ctx;

	if (app->options->once || app->stopping)
		return;
	sysd_reloading();
	reload(app);
	sysd_ready();
	wake(app);
}

static void on_due_now(evutil_socket_t fd, short what, void *ctx)
{
	struct app *app = ctx;
	struct account *a;

	TAILQ_FOREACH (a, &app->accounts, entry)
		if (!a->fetch)
			a->sched.next_due = env_now(&app->env); /* permits and locks hold as ever */
	wake(app);
}

static void on_stop(evutil_socket_t fd, short what, void *ctx)
{
	struct app *app = ctx;
	struct account *a;

	if (app->stopping)
		return;
	app->stopping = true;
	app->stop_deadline = env_now(&app->env) + STOP_MSEC;
	sysd_stopping();
	app_log(EV_DAEMON_STOPPING, NULL, "stopping: what is past its final dot is finished");
	TAILQ_FOREACH (a, &app->accounts, entry)
		if (a->fetch)
			fetch_stop(a->fetch);
	for (size_t i = 0; i < app->nrelays; i++)
		relay_stop(app->relays[i]);
	wake(app);
}

static void on_watchdog(evutil_socket_t fd, short what, void *ctx)
{
	sysd_watchdog(); /* from within the loop: it turns */
}

static void on_commit_failed(void *ctx, const struct err *err)
{
	app_log(EV_STATE_FAILED, err->text,
		"nothing is deleted and no message is sent before the state can be written again");
}

static void watch_signals(struct app *app)
{
	static const struct {
		int number;
		event_callback_fn fn;
	} table[] = { { SIGTERM, on_stop }, { SIGINT, on_stop }, { SIGHUP, on_reload },
		{ SIGUSR1, on_due_now } };

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		app->signals[i] =
			evsignal_new(app->env.loop.base, table[i].number, table[i].fn, app);
		event_add(app->signals[i], NULL);
	}
	signal(SIGPIPE, SIG_IGN);
}

/* ---- life ---- */

static bool finished(const struct app *app)
{
	const struct account *a;

	if (app->stop_now)
		return true;
	TAILQ_FOREACH (a, &app->accounts, entry)
		if (a->fetch || (app->options->once && !a->finished && !app->stopping))
			return false;
	return app->options->once || app->stopping;
}

static int start(struct app *app, struct err *err)
{
	struct env *env = &app->env;
	msec_t watchdog = sysd_watchdog_every();
	int rc = env_open(env, app->config->state_dir, on_commit_failed, app, err);

	if (rc)
		return rc == ENV_NO_STATE ? EX_CANTCREAT : EX_SOFTWARE;
	env->dry_run = app->options->dry_run;
	TAILQ_INIT(&app->accounts);
	step_init(&app->schedule, on_schedule, app);
	app->timer = event_new(env->loop.base, -1, 0, on_timer, app);
	watch_signals(app);
	if (watchdog) {
		app->watchdog = event_new(env->loop.base, -1, EV_PERSIST, on_watchdog, app);
		event_add(app->watchdog,
			&(struct timeval){
				.tv_sec = watchdog / 1000, .tv_usec = watchdog % 1000 * 1000 });
	}
	app->backscatter = backscatter_new(env);
	app->hourly = event_new(env->loop.base, -1, EV_PERSIST, on_hour, app);
	if (make_relays(app, app->config, &app->relays, err))
		return EX_CONFIG;
	app->nrelays = app->config->nrelays;
	if (!app->options->once) {
		event_add(app->hourly, &(struct timeval){ .tv_sec = 60 * 60 });
		event_active(app->hourly, EV_TIMEOUT, 0);
	}
	apply_accounts(app, !app->options->once);
	return 0;
}

static void run(struct app *app)
{
	wake(app);
	env_end_turn(&app->env);
	while (!finished(app)) {
		if (event_base_loop(app->env.loop.base, EVLOOP_ONCE) < 0)
			break;
		env_end_turn(&app->env);
	}
}

/* --once and nothing but --once tells by its status how the accounts fared. */
static int once_status(const struct app *app)
{
	const struct account *a;

	TAILQ_FOREACH (a, &app->accounts, entry)
		if (a->failed || !a->finished)
			return EX_TEMPFAIL;
	return 0;
}

static void tear_down(struct app *app)
{
	struct event *events[] = { app->signals[0], app->signals[1], app->signals[2],
		app->signals[3], app->watchdog, app->timer, app->hourly };

	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		if (events[i])
			event_free(events[i]);
	if (!app->stop_now) { /* else replies are still due, and the process ends with its
				 connections */
		backscatter_free(app->backscatter);
		while (!TAILQ_EMPTY(&app->accounts))
			account_free(app, TAILQ_FIRST(&app->accounts));
		free_relays(app->relays, app->nrelays);
		env_close(&app->env);
	}
	config_unref(app->config);
}

int app_run(struct config *config, const struct app_options *options)
{
	struct app app = { .options = options, .config = config };
	struct err err = { 0 };
	int lock = -1, status = 0;

	if (!options->once) {
		lock = lock_file(config->state_dir, "daemon.lock", &err);
		if (lock == -2) {
			app_log(EV_STATE_FAILED, config->state_dir,
				"another multidropd holds this state_dir; stop it, or set another");
			config_unref(config);
			return EX_TEMPFAIL;
		}
		status = lock < 0 ? EX_CANTCREAT : 0;
	}
	if (!status)
		status = start(&app, &err);
	if (status) {
		app_log(status == EX_CONFIG ? EV_CONFIG_REFUSED : EV_STATE_FAILED, err.text,
			"multidropd cannot start");
	} else {
		if (!options->once) {
			app_log(EV_DAEMON_STARTED, NULL,
				"multidropd " MULTIDROPD_VERSION " started");
			sysd_ready();
		}
		log_sink_buffer(true);
		run(&app);
		log_sink_buffer(false);
		status = options->once ? once_status(&app) : 0;
	}
	tear_down(&app);
	if (lock >= 0)
		close(lock);
	return status;
}
