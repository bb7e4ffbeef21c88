/*
 * A login from the command line; see ctl_session.h.
 *
 * Owns the account's lock, the connection and the POP3 machine. The login permit is the only state
 * that it writes.
 */
#include "ctl_session.h"

#include "conf_commands.h"
#include "locks.h"
#include "sandbox.h"
#include "store_sqlite.h"
#include "system.h"

#include <inttypes.h>
#include <signal.h>
#include <unistd.h>

static void flush(struct ctl_session *s);

void ctl_session_end(struct ctl_session *s)
{
	transport_free(s->transport);
	s->transport = NULL;
	s->done = true;
}

void ctl_session_fail(struct ctl_session *s, const struct err *err)
{
	if (!s->quitting)
		s->err = *err;
	ctl_session_end(s);
}

void ctl_session_quit(struct ctl_session *s)
{
	s->quitting = true;
	pop3_quit(s->pop3, loop_now(&s->loop));
}

static void on_refused(struct ctl_session *s, const struct err *refusal)
{
	struct err err;

	if (login_renew(&s->login, &s->loop, refusal, &err) < 0)
		ctl_session_fail(s, &err);
}

static void on_event(struct ctl_session *s, const struct pop3_event *ev)
{
	if (ev->type == POP3_STARTTLS)
		transport_starttls(s->transport);
	else if (ev->type == POP3_QUIT_OK || ev->type == POP3_QUIT_ERR)
		ctl_session_end(s); /* nothing was to be deleted */
	else if (ev->type == POP3_RENEW)
		on_refused(s, &ev->err);
	else if (ev->type == POP3_FAILED)
		ctl_session_fail(s, &ev->err);
	else
		s->on_event(s, ev);
}

static void on_open(void *ctx)
{
	struct ctl_session *s = ctx;
	const struct pop3_params params = login_pop3_params(&s->login, s->account);

	if (s->pop3)
		pop3_secured(s->pop3, loop_now(&s->loop));
	else
		s->pop3 = pop3_new(&params, loop_now(&s->loop));
	flush(s);
}

static void on_data(void *ctx, const char *buf, size_t len)
{
	struct ctl_session *s = ctx;
	struct pop3_event ev;

	while (len && !s->done) {
		size_t n = pop3_feed(s->pop3, buf, len, loop_now(&s->loop), &ev);
		buf += n;
		len -= n;
		on_event(s, &ev);
	}
	flush(s);
}

static void on_writable(void *ctx)
{
	flush(ctx);
}

static void on_closed(void *ctx, const struct err *err)
{
	struct ctl_session *s = ctx;
	struct pop3_event ev = { .type = POP3_FAILED };

	if (!err && s->pop3)
		pop3_eof(s->pop3, loop_now(&s->loop), &ev);
	else if (!err)
		err_set(&ev.err, ERR_NET, 0, "connection closed before the greeting");
	ctl_session_fail(s, err ? err : &ev.err);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct ctl_session *s = ctx;
	struct pop3_event ev;

	if (s->done || !s->pop3)
		return;
	pop3_tick(s->pop3, loop_now(&s->loop), &ev);
	on_event(s, &ev);
	flush(s);
}

static void flush(struct ctl_session *s)
{
	struct strview out;
	msec_t now = loop_now(&s->loop);

	if (s->done || !s->pop3 || !transport_is_open(s->transport))
		return;
	pop3_output(s->pop3, &out);
	if (out.len)
		pop3_sent(s->pop3, transport_write(s->transport, out.ptr, out.len));
	msec_t at = pop3_deadline(s->pop3);
	if (at == MSEC_NEVER)
		return;
	at = at > now ? at - now : 0;
	event_add(s->timer, &(struct timeval){ .tv_sec = at / 1000, .tv_usec = at % 1000 * 1000 });
}

static const struct transport_ops ops = {
	.on_open = on_open,
	.on_data = on_data,
	.on_writable = on_writable,
	.on_closed = on_closed,
};

static void connect_to_provider(struct ctl_session *s)
{
	struct transport_target target;
	struct err err;

	if (login_target(s->account->provider, &target, &err))
		ctl_session_fail(s, &err);
	else
		s->transport = transport_open(&s->loop, &target, &ops, s);
}

static void on_secret(void *ctx, const struct err *err)
{
	struct ctl_session *s = ctx;
	struct pop3_event ev;

	if (err) {
		ctl_session_fail(s, err);
	} else if (s->pop3) {
		pop3_renew(s->pop3, login_secret(&s->login), loop_now(&s->loop), &ev);
		on_event(s, &ev);
		flush(s);
	} else {
		connect_to_provider(s);
	}
}

static void run_session(struct ctl_session *s)
{
	struct err err;
	int rc;

	s->timer = event_new(s->loop.base, -1, 0, on_timer, s);
	login_init(&s->login, &s->account->password, on_secret, s);
	rc = login_get(&s->login, &s->loop, &err);
	if (rc <= 0)
		on_secret(s, rc ? &err : NULL);
	while (!s->done) {
		ensure(event_base_loop(s->loop.base, EVLOOP_ONCE) >= 0);
		loop_reap(&s->loop);
	}
	event_free(s->timer);
	pop3_free(s->pop3);
	login_free(&s->login);
}

/* ---- the gates before it, which are the daemon's ---- */

static int refuse_login(const struct conf_account *a, const struct login_permit *permit)
{
	AUTO(strbuf_free) struct strbuf when = STRBUF_INIT;

	ctl_add_time(&when, system_clock.wall(&system_clock) + permit->wait_ms + 999);
	return ctl_fail("%s: no login now: %s; the next one is allowed in %" PRId64 " s, at %s",
		a->name,
		permit->limited ? "the provider's login_limit is used up"
				: "min_interval is not over",
		(permit->wait_ms + 999) / 1000, strbuf_str(&when));
}

static int take_permit(const struct config *config, const struct conf_account *a)
{
	struct login_permit permit;
	struct store *store;
	struct err err;

	if (store_open(config->state_dir, &system_clock, &system_rng, &store, &err))
		return ctl_fail("%s", err.text);
	struct rate_rule rule = a->provider->rate;
	struct account_past past;
	int rc = store_past(store, a->name, &past, &err);
	if (!rc) { /* as the daemon does: LOGIN-DELAY is the account's own minimum */
		struct sched sched = { .kept = past.sched };
		msec_t delay = sched_delay(&sched, system_clock.wall(&system_clock));
		rule.spacing_ms = rule.spacing_ms > delay ? rule.spacing_ms : delay;
		rc = store_login(
			store, a->provider->name, a->name, &rule, &system_clock, &permit, &err);
	}
	store_close(store);
	if (rc)
		return ctl_fail("%s", err.text);
	return permit.wait_ms ? refuse_login(a, &permit) : 0;
}

static int log_in(
	struct ctl_session *s, const struct config *config, const struct ctl_call *call, int runner)
{
	struct err err;

	if (loop_init(&s->loop, &system_clock, &err))
		return ctl_fail("%s", err.text);
	s->loop.runner = runner;
	(void)signal(SIGPIPE, SIG_IGN); /* cannot fail */
	if (!call->no_sandbox && sandbox_close(&err))
		return ctl_fail("%s", err.text);
	int status = take_permit(config, s->account); /* last: it counts from here */
	if (!status)
		run_session(s);
	return status;
}

static int confine(struct config *config, const struct ctl_call *call, int *runner)
{
	struct conf_commands commands = { .config_path = call->config_path, .config = config };
	struct runner_ops listed = conf_commands_ops(&commands);
	struct err err;

	if ((!call->no_sandbox && sandbox_begin(&err)) || runner_start(&listed, runner, &err))
		return ctl_fail("%s", err.text);
	return 0;
}

int ctl_session_run(struct ctl_session *s, struct config *config, const struct ctl_call *call)
{
	struct locks locks;
	struct err err;
	int runner, status = ctl_become_owner(config->state_dir);

	if (!status)
		status = confine(config, call, &runner);
	if (status)
		return status;
	int rc = locks_take(&locks, config->state_dir, s->account, &err);
	if (rc == LOCKS_ACCOUNT_BUSY)
		return ctl_fail("%s: another process is fetching this account; try again later",
			s->account->name);
	if (rc == LOCKS_PROVIDER_FULL)
		return ctl_fail(
			"%s: all of the provider's max_sessions are in use; try again later",
			s->account->name);
	if (rc)
		return ctl_fail("%s", err.text);
	status = log_in(s, config, call, runner);
	locks_drop(&locks);
	if (s->loop.base)
		loop_free(&s->loop);
	return status;
}
