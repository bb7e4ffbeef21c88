/*
 * The requests of the control socket; see requests.h.
 *
 * Owns the control socket, and the callers who wait: for accounts_run() to begin the cycle that
 * they asked for, and with `wait` for its end.
 */
#include "requests.h"

#include "base/encode.h"
#include "control.h"
#include "outlook.h"
#include "report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <sysexits.h>

#define REFUSED 1

/* An account that a caller wants to be fetched, until there is nothing more to say about it. */
struct ask {
	char *account;
	bool queued, begun; /* said so */
	TAILQ_ENTRY(ask) entry;
};

struct caller {
	struct control_client *client;
	bool wait;
	int status;
	TAILQ_HEAD(, ask) asks;
	TAILQ_ENTRY(caller) entry;
};

struct requests {
	struct view view;
	struct requests_ops ops;
	struct control *control;
	TAILQ_HEAD(, caller) callers;
};

/* ---- sentences ---- */

typedef void say_fn(struct control_client *client, const char *text);

static void format_like(3, 4) tell(struct control_client *client, say_fn *say, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap); /* a long one is cut */
	va_end(ap);
	say(client, text);
}

static int no_such_account(struct control_client *client, struct strview name)
{
	AUTO(strbuf_free) struct strbuf shown = STRBUF_INIT;

	escape_foreign(&shown, name);
	tell(client, control_complain, "there is no account \"%s\"; multidropctl status lists them",
		strbuf_str(&shown));
	return EX_USAGE;
}

/* The account at run time; NULL: *status is why not, and the caller knows. */
static struct account *find(struct requests *c, struct control_client *client,
	const struct control_request *r, int *status)
{
	AUTO(mem_freep) char *name = mem_strndup(r->account.ptr, r->account.len);
	struct account *a = accounts_find(c->view.accounts, name);

	if (a)
		return a;
	if (!config_account(*c->view.config, name)) {
		*status = no_such_account(client, r->account);
		return NULL;
	}
	tell(client, control_complain,
		"%s: not enabled in the configuration; set enabled = true, then: multidropctl "
		"reload",
		name);
	*status = REFUSED;
	return NULL;
}

/* ---- fetch ---- */

static void drop_ask(struct caller *caller, struct ask *ask)
{
	TAILQ_REMOVE(&caller->asks, ask, entry);
	free(ask->account);
	free(ask);
}

static void drop_caller(struct requests *c, struct caller *caller)
{
	TAILQ_REMOVE(&c->callers, caller, entry);
	while (!TAILQ_EMPTY(&caller->asks))
		drop_ask(caller, TAILQ_FIRST(&caller->asks));
	free(caller);
}

/* "; it begins at 10:42:07, in 4 min" */
static void add_when(struct strbuf *out, const struct outlook *look, wall_t now)
{
	strbuf_adds(out,
		look->reason && !strcmp(look->reason, "locked")
			? "; the next try is at "
			: "; the next login is allowed at ");
	show_clock(out, look->next_due);
	strbuf_adds(out, ", in ");
	show_span(out, look->next_due - now);
	strbuf_adds(out, ", and will be made then");
}

/* Why there is no cycle now. */
static void refuse(struct requests *c, struct caller *caller, const struct account *a,
	const struct outlook *look)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;

	strbuf_addf(&text, "%s: not now: %s", a->name, look->text);
	if (sched_blocked(&a->sched))
		strbuf_addf(&text, "; multidropctl resume %s ends that", a->name);
	else if (look->queued)
		strbuf_adds(&text, "; the cycle begins when it is back");
	else
		add_when(&text, look, env_wall(c->view.env));
	control_complain(caller->client, strbuf_str(&text));
	caller->status = REFUSED;
}

/* True: there is nothing more to say. */
static bool settle(struct requests *c, struct caller *caller, struct ask *ask)
{
	const struct account *a = accounts_find(c->view.accounts, ask->account);
	struct outlook look;

	if (a && ask->begun)
		return false; /* requests_cycle_ended() has the last word */
	if (!a || c->view.accounts->stopping) {
		tell(caller->client, control_complain, "%s: %s", ask->account,
			a ? "the daemon is stopping" : "no longer in the configuration");
		caller->status = REFUSED;
		return true;
	}
	outlook_of(a, c->view.env, &look);
	if (a->fetch && !sched_blocked(&a->sched)) {
		tell(caller->client, control_say, "%s: cycle started", a->name);
		ask->begun = true;
		return !caller->wait;
	}
	if (!look.queued || look.trouble) {
		refuse(c, caller, a, &look);
		return true;
	}
	if (!ask->queued)
		tell(caller->client, control_say, "%s: queued: %s", a->name, look.text);
	ask->queued = true;
	return !caller->wait;
}

static void end_if_done(struct requests *c, struct caller *caller)
{
	if (!TAILQ_EMPTY(&caller->asks))
		return;
	control_end(caller->client, caller->status);
	drop_caller(c, caller);
}

void requests_scheduled(struct requests *c)
{
	struct caller *caller, *next_caller;
	struct ask *ask, *next;

	for (caller = TAILQ_FIRST(&c->callers); caller; caller = next_caller) {
		next_caller = TAILQ_NEXT(caller, entry);
		for (ask = TAILQ_FIRST(&caller->asks); ask; ask = next) {
			next = TAILQ_NEXT(ask, entry);
			if (settle(c, caller, ask))
				drop_ask(caller, ask);
		}
		end_if_done(c, caller);
	}
}

static void tell_end(struct caller *caller, const struct account *a, const struct fetch *f)
{
	char text[512];

	report_summary(f, text, sizeof text);
	tell(caller->client, a->failed ? control_complain : control_say, "%s: %s", a->name, text);
	if (a->failed)
		caller->status = REFUSED;
}

void requests_cycle_ended(struct requests *c, const struct account *a, const struct fetch *f)
{
	struct caller *caller, *next_caller;
	struct ask *ask, *next;

	for (caller = TAILQ_FIRST(&c->callers); caller; caller = next_caller) {
		next_caller = TAILQ_NEXT(caller, entry);
		for (ask = TAILQ_FIRST(&caller->asks); ask; ask = next) {
			next = TAILQ_NEXT(ask, entry);
			if (!ask->begun || strcmp(ask->account, a->name) != 0)
				continue;
			tell_end(caller, a, f);
			drop_ask(caller, ask);
		}
		end_if_done(c, caller);
	}
}

static void ask_for(struct requests *c, struct caller *caller, struct account *a)
{
	struct ask *ask = mem_zalloc(sizeof *ask);

	ask->account = mem_strdup(a->name);
	TAILQ_INSERT_TAIL(&caller->asks, ask, entry);
	if (!a->fetch || sched_blocked(&a->sched)) {
		sched_due_now(&a->sched, env_now(c->view.env));
		return;
	}
	tell(caller->client, control_say, "%s: a cycle is running already", a->name);
	ask->begun = true;
	if (!caller->wait)
		drop_ask(caller, ask);
}

static void do_fetch(
	struct requests *c, struct control_client *client, const struct control_request *r)
{
	struct caller *caller = mem_zalloc(sizeof *caller);
	struct accounts *as = c->view.accounts;
	struct account *a;

	caller->client = client;
	caller->wait = r->wait;
	TAILQ_INIT(&caller->asks);
	TAILQ_INSERT_TAIL(&c->callers, caller, entry);
	if (!r->all && (a = find(c, client, r, &caller->status)))
		ask_for(c, caller, a);
	TAILQ_FOREACH (a, &as->list, entry)
		if (r->all && !a->removed)
			ask_for(c, caller, a);
	end_if_done(c, caller);
	as->ops.wake(as->ops.ctx);
}

/* ---- the others ---- */

static void do_status(
	struct requests *c, struct control_client *client, const struct control_request *r)
{
	AUTO(mem_freep) char *name = mem_strndup(r->account.ptr, r->account.len);
	bool all = !r->account.len;

	if (!all && !config_account(*c->view.config, name)) {
		control_end(client, no_such_account(client, r->account));
		return;
	}
	json_t *status = status_json(&c->view, all ? NULL : name);
	char *text = json_dumps(status, JSON_COMPACT);
	json_decref(status);
	ensure(text);
	control_say(client, text);
	free(text);
	control_end(client, 0);
}

static void do_pause(
	struct requests *c, struct control_client *client, const struct control_request *r)
{
	int status = 0;
	struct account *a = find(c, client, r, &status);
	struct err err;

	if (a && account_pause(a, c->view.env, &err)) {
		tell(client, control_complain, "%s: %s", a->name, err.text);
		status = REFUSED;
	} else if (a) {
		tell(client, control_say, "%s: paused%s", a->name,
			a->fetch ? "; the running cycle is being ended" : "");
	}
	control_end(client, status);
	c->view.accounts->ops.wake(c->view.accounts->ops.ctx);
}

static void do_resume(
	struct requests *c, struct control_client *client, const struct control_request *r)
{
	int status = 0;
	struct account *a = find(c, client, r, &status);

	struct err err;
	int rc = a ? account_resume(a, c->view.env, "resumed by an administrator", &err) : 0;

	if (rc == ACCOUNT_NOT_BLOCKED) {
		tell(client, control_say, "%s: was neither paused nor suspended", a->name);
	} else if (a && !rc) {
		tell(client, control_say, "%s: resumed", a->name);
	} else if (rc < 0) {
		tell(client, control_complain,
			"%s: it stays as it was: the state cannot be written: %s", a->name,
			err.text);
		status = REFUSED;
	}
	control_end(client, status);
	c->view.accounts->ops.wake(c->view.accounts->ops.ctx);
}

static void do_reload(
	struct requests *c, struct control_client *client, const struct control_request *r)
{
	AUTO(strbuf_free) struct strbuf faults = STRBUF_INIT;
	bool taken = c->ops.reload(c->ops.ctx, &faults);

	control_complain(client, strbuf_str(&faults));
	if (taken)
		control_say(client, "configuration reloaded");
	else
		control_complain(client, "refused: the old configuration stays");
	control_end(client, taken ? 0 : REFUSED);
}

static void do_metrics(
	struct requests *c, struct control_client *client, const struct control_request *r)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;

	status_gauges(&c->view);
	metrics_print(c->view.env->metrics, &text);
	control_say(client, strbuf_str(&text));
	control_end(client, 0);
}

/* ---- life ---- */

static void on_request(
	void *ctx, struct control_client *client, const struct control_request *request)
{
	static void (*const table[CONTROL_VERB_COUNT])(
		struct requests *, struct control_client *, const struct control_request *) = {
		[CONTROL_STATUS_OF] = do_status,
		[CONTROL_FETCH] = do_fetch,
		[CONTROL_PAUSE] = do_pause,
		[CONTROL_RESUME] = do_resume,
		[CONTROL_RELOAD] = do_reload,
		[CONTROL_METRICS] = do_metrics,
	};

	table[request->verb](ctx, client, request);
}

static void on_gone(void *ctx, struct control_client *client)
{
	struct requests *c = ctx;
	struct caller *caller, *next;

	for (caller = TAILQ_FIRST(&c->callers); caller; caller = next) {
		next = TAILQ_NEXT(caller, entry);
		if (caller->client == client)
			drop_caller(c, caller); /* the cycle goes on */
	}
}

struct requests *requests_new(const struct view *view, const struct requests_ops *ops)
{
	struct requests *c = mem_zalloc(sizeof *c);
	struct control_ops control_ops = { .on_request = on_request, .on_gone = on_gone, .ctx = c };

	c->view = *view;
	c->ops = *ops;
	TAILQ_INIT(&c->callers);
	c->control = control_new(view->env, &control_ops);
	return c;
}

int requests_listen(struct requests *c, const char *path, struct err *err)
{
	return control_listen(c->control, path, err);
}

void requests_free(struct requests *c)
{
	if (!c)
		return;
	while (!TAILQ_EMPTY(&c->callers))
		drop_caller(c, TAILQ_FIRST(&c->callers));
	control_free(c->control);
	free(c);
}
