/*
 * The daemon's loop; see app.h.
 *
 * Owns the environment, the relays and the accounts. After each turn of the loop: accounts that can
 * start are started, what was changed is stored, what waited for that, the output, and the dead are
 * freed. A cycle keeps the configuration and the relay that it began with; a reload only changes
 * what comes after it.
 */
#include "app.h"

#include "accounts.h"
#include "alerts.h"
#include "backscatter.h"
#include "base/log.h"
#include "conf_file.h"
#include "log_sink.h"
#include "progress.h"
#include "requests.h"
#include "sandbox.h"
#include "sysd.h"
#include "system.h"
#include "web.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

/* Longest wait for replies to final dots after SIGTERM; the unit's stop timeout is longer. */
#define STOP_SEC 20
/* The loop turns so often at least: what the log has counted is due at times of its own. */
#define IDLE_MSEC (60 * (msec_t)1000)

struct app {
	struct env env;
	const struct app_options *options;
	struct config *config;
	struct relays relays;
	struct accounts accounts;
	struct metrics metrics;
	struct requests *requests; /* NULL: --once takes none */
	struct web *web;           /* as well */
	char *told;                /* the service manager, as status */
	const char *note;          /* behind it */
	struct event *signals[4], *timer, *patience, *watchdog, *hourly;
	struct backscatter *backscatter;
	struct alerts *alerts;
	struct step schedule;
	bool stopping, stop_now;
};

static void app_log(enum log_event event, const char *reason, const char *text)
{
	log_write(&(struct log_entry){ .event = event, .reason = reason, .text = text });
}

static void wake(void *ctx)
{
	struct app *app = ctx;

	turn_flush(&app->env.turn, &app->schedule);
}

static struct view view_of(struct app *app)
{
	return (struct view){ .env = &app->env,
		.config = &app->config,
		.accounts = &app->accounts,
		.relays = &app->relays,
		.started = { env_now(&app->env), env_wall(&app->env) } };
}

/* The status that systemctl shows. False: it is as it was told last. */
static bool new_status(struct app *app)
{
	struct strbuf text = STRBUF_INIT;
	struct view view = view_of(app);

	status_line(&view, &text);
	strbuf_adds(&text, app->note);
	if (app->told && !strcmp(app->told, strbuf_str(&text))) {
		strbuf_free(&text);
		return false;
	}
	free(app->told);
	app->told = strbuf_take(&text);
	return true;
}

/* Ends the start or a reload. */
static void tell_ready(struct app *app)
{
	(void)new_status(app); /* READY comes anyway */
	sysd_ready(app->told);
}

static void on_schedule(void *ctx, bool durable)
{
	struct app *app = ctx;

	/* A login permit ends the open transaction: what was changed has to survive a failure of
	 * that, or else the steps that wait for it have to hear of it, not the account alone. */
	turn_write(&app->env.turn);
	msec_t at = accounts_run(&app->accounts), now = env_now(&app->env);
	msec_t ms = at - now < IDLE_MSEC ? at - now : IDLE_MSEC;

	if (app->requests) {
		requests_scheduled(app->requests);
		if (new_status(app))
			sysd_status(app->told);
	}
	ms = ms > 0 ? ms : 0;
	event_add(
		app->timer, &(struct timeval){ .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 });
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	wake(ctx);
}

static void on_cycle_ended(void *ctx, const struct account *a, const struct fetch *f)
{
	struct app *app = ctx;

	if (app->requests)
		requests_cycle_ended(app->requests, a, f);
}

/* ---- relays ---- */

static void on_relay_up(void *ctx, struct relay *r)
{
	struct app *app = ctx;

	alerts_relay_up(app->alerts, r);
	wake(app);
}

static void on_relay_down(void *ctx, struct relay *r)
{
	struct app *app = ctx;
	accounts_relay_down(&app->accounts, r);
	wake(app);
}

static int make_relays(struct app *app, struct config *config, struct relays *out, struct err *err)
{
	struct relay_ops ops = { .on_up = on_relay_up, .on_down = on_relay_down, .ctx = app };

	return relays_make(out, &app->env, config, &ops, err);
}

/* Each from the one of its name before the reload. */
static void inherit(const struct relays *relays, const struct relays *old)
{
	for (size_t i = 0; i < relays->n; i++) {
		struct relay *r = relays->items[i], *o = relays_named(old, relay_conf(r)->name);
		if (o)
			relay_inherit(r, o);
	}
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

	for (size_t i = 0; i < app->relays.n && !app->stopping; i++) {
		struct relay *relay = app->relays.items[i];
		const char *domain = served_domain(app->config, relay_conf(relay));
		if (domain)
			backscatter_ask(app->backscatter, relay, domain);
	}
}

/* ---- configuration ---- */

void app_log_faults(const struct faults *faults, enum log_event event)
{
	for (size_t i = 0; i < faults->n; i++) {
		const struct fault *f = &faults->items[i];
		AUTO(strbuf_free) struct strbuf place = STRBUF_INIT, text = STRBUF_INIT;
		strbuf_adds(&place, f->place.file ? f->place.file : "-");
		if (f->place.line > 0) /* else it is about the whole file */
			strbuf_addf(&place, ":%d", f->place.line);
		strbuf_addf(&text, "%s: %s", place.ptr, f->text);
		app_log(f->warning ? EV_CONFIG_WARNING : event, place.ptr, text.ptr);
	}
}

/* spread: the daemon's start, where not all should log in at once. */
static void apply_accounts(struct app *app, bool spread)
{
	accounts_apply(&app->accounts, app->config, &app->relays, app->options->only,
		app->options->nonly, spread);
}

/* Mail goes on without the control socket; multidropctl then says where it has looked. */
static bool listen_for_requests(struct app *app, struct err *err)
{
	if (!requests_listen(app->requests, app->config->control_socket, err))
		return true;
	app_log(EV_CONTROL_FAILED, err->text, "multidropctl cannot reach this daemon there");
	return false;
}

/* What a new configuration cannot change while the daemon runs. */
static int check_state_dir(const struct app *app, const struct config *new, struct err *err)
{
	if (!strcmp(new->state_dir, app->env.state_dir))
		return 0;
	return err_set(err, ERR_CONFIG, 0,
		"state_dir has changed to %s: that needs a restart, and the files moved there",
		new->state_dir);
}

/* What can still fail; then nothing has changed. */
static int take(struct app *app, struct config *new, struct relays *relays, struct err *err)
{
	if (check_state_dir(app, new, err) || make_relays(app, new, relays, err))
		return -1;
	if (!web_reload(app->web, new, err))
		return 0;
	relays_free(relays);
	return -1;
}

/* False: refused. What there is to say, one line each, is added to `said`. */
static bool reload(struct app *app, struct strbuf *said)
{
	struct faults faults = { 0 };
	struct relays relays, old_relays = app->relays;
	struct err err;
	struct config *old = app->config;
	struct config *new = conf_file_load(app->options->config_path, &faults);

	app_log_faults(&faults, EV_CONFIG_REFUSED);
	faults_print(&faults, said);
	faults_free(&faults);
	if (new &&take(app, new, &relays, &err)) {
		app_log(EV_CONFIG_REFUSED, err.text, "the old configuration stays");
		strbuf_addf(said, "%s\n", err.text);
		config_unref(new);
		new = NULL;
	}
	if (!new)
		return false;
	app->config = new;
	app->relays = relays;
	inherit(&relays, &old_relays);
	alerts_configure(app->alerts, new, &relays);
	apply_accounts(app, false);
	relays_free(&old_relays);
	config_unref(old);
	app_log(EV_CONFIG_RELOADED, NULL, "configuration reloaded");
	if (!listen_for_requests(app, &err))
		strbuf_addf(said, "%s; the control socket stays where it was\n", err.text);
	return true;
}

static bool reload_now(void *ctx, struct strbuf *said)
{
	struct app *app = ctx;

	if (app->stopping) {
		strbuf_adds(said, "the daemon is stopping\n");
		return false;
	}
	sysd_reloading();
	bool taken = reload(app, said);
	app->note = taken ? "" : "; a new configuration was refused, see the log";
	tell_ready(app);
	wake(app);
	return taken;
}

/* ---- signals ---- */

static void on_reload(evutil_socket_t fd, short what, void *ctx)
{
	AUTO(strbuf_free) struct strbuf said = STRBUF_INIT;
	struct app *app = ctx;

	if (!app->options->once)
		(void)reload_now(app, &said); /* the log has it */
}

static void on_due_now(evutil_socket_t fd, short what, void *ctx)
{
	struct app *app = ctx;

	accounts_due_now(&app->accounts);
}

static void on_stop(evutil_socket_t fd, short what, void *ctx)
{
	struct app *app = ctx;

	if (app->stopping)
		return;
	app->stopping = true;
	event_add(app->patience, &(struct timeval){ .tv_sec = STOP_SEC });
	sysd_stopping();
	app_log(EV_DAEMON_STOPPING, NULL, "stopping: what is past its final dot is finished");
	accounts_stop(&app->accounts);
	alerts_stop(app->alerts);
	relays_stop(&app->relays);
	wake(app);
}

static void on_patience(evutil_socket_t fd, short what, void *ctx)
{
	struct app *app = ctx;

	app->stop_now = true; /* a reply that does not come must not hold up the shutdown */
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
	if (app->stop_now)
		return true;
	if (!accounts_idle(&app->accounts))
		return false;
	if (app->stopping)
		return alerts_idle(app->alerts);
	return app->options->once && accounts_finished(&app->accounts) &&
		alerts_finish(app->alerts);
}

static void take_requests(struct app *app)
{
	struct view view = view_of(app);
	struct requests_ops ops = { .reload = reload_now, .ctx = app };
	struct err err;

	app->requests = requests_new(&view, &ops);
	(void)listen_for_requests(app, &err); /* the log has it */
	app->web = web_new(&view);
	web_start(app->web);
}

/* 0, or the exit status. */
static int start(struct app *app, struct err *err)
{
	struct env *env = &app->env;
	msec_t watchdog = sysd_watchdog_every();
	int rc = env_open(env, app->config->state_dir, on_commit_failed, app, err);

	if (rc)
		return rc == ENV_NO_STATE ? EX_CANTCREAT : EX_SOFTWARE;
	env->loop.runner = app->options->runner;
	env->dry_run = app->options->dry_run;
	env->metrics = &app->metrics;
	step_init(&app->schedule, on_schedule, app);
	app->timer = event_new(env->loop.base, -1, 0, on_timer, app);
	app->patience = event_new(env->loop.base, -1, 0, on_patience, app);
	watch_signals(app);
	if (watchdog) {
		app->watchdog = event_new(env->loop.base, -1, EV_PERSIST, on_watchdog, app);
		event_add(app->watchdog,
			&(struct timeval){
				.tv_sec = watchdog / 1000, .tv_usec = watchdog % 1000 * 1000 });
	}
	app->backscatter = backscatter_new(env);
	app->alerts = alerts_new(env);
	env->tell = alerts_note;
	env->tell_ctx = app->alerts;
	app->hourly = event_new(env->loop.base, -1, EV_PERSIST, on_hour, app);
	if (make_relays(app, app->config, &app->relays, err))
		return EX_CONFIG;
	if (!app->options->dry_run)
		alerts_configure(app->alerts, app->config, &app->relays);
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

static void tear_down(struct app *app)
{
	struct event *events[] = { app->signals[0], app->signals[1], app->signals[2],
		app->signals[3], app->watchdog, app->timer, app->patience, app->hourly };

	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		if (events[i])
			event_free(events[i]);
	requests_free(app->requests);
	web_free(app->web);
	if (!app->stop_now) { /* else replies are still due, and the process ends with its
				 connections */
		backscatter_free(app->backscatter);
		app->env.tell = NULL;
		alerts_free(app->alerts);
		accounts_clear(&app->accounts);
		relays_free(&app->relays);
		env_close(&app->env);
	}
	metrics_free(&app->metrics);
	free(app->told);
	config_unref(app->config);
}

int app_run(struct config *config, const struct app_options *options)
{
	struct app app = { .options = options, .config = config, .note = "" };
	struct accounts_ops ops = { .wake = wake, .ended = on_cycle_ended, .ctx = &app };
	struct err err = { 0 };
	int lock = -1, status = 0;

	if (!options->once) {
		lock = lock_file(config->state_dir, ".daemon.lock", &err);
		if (lock == -2) {
			app_log(EV_STATE_FAILED, config->state_dir,
				"another multidropd holds this state_dir; stop it, or set another");
			config_unref(config);
			return EX_TEMPFAIL;
		}
		status = lock < 0 ? EX_CANTCREAT : 0;
	}
	accounts_init(&app.accounts, &app.env, options->once, &ops);
	if (!status)
		status = start(&app, &err);
	if (status) {
		app_log(status == EX_CONFIG ? EV_CONFIG_REFUSED : EV_STATE_FAILED, err.text,
			"multidropd cannot start");
	} else if (options->sandbox && sandbox_close(&err)) {
		app_log(EV_SANDBOX_FAILED, err.text, "multidropd cannot start");
		status = EX_SOFTWARE;
	} else {
		if (!options->once) {
			take_requests(&app);
			app_log(EV_DAEMON_STARTED, NULL,
				"multidropd " MULTIDROPD_VERSION " started");
			tell_ready(&app);
		}
		log_sink_buffer(true);
		/* The plan of a dry run shows by itself how far it is. */
		struct progress *progress = options->once && !options->dry_run
			? progress_new(&app.env, &app.accounts)
			: NULL;
		run(&app);
		progress_free(progress);
		log_sink_buffer(false);
		status = options->once && accounts_failed(&app.accounts) ? EX_TEMPFAIL : 0;
	}
	tear_down(&app);
	if (lock >= 0)
		close(lock);
	return status;
}
