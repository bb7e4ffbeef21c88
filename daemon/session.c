/*
 * One SMTP or LMTP session of a relay; see send_impl.h.
 *
 * A session has a job exactly while it is busy. Whatever ends it goes through session_end(). The
 * final dot is written in exactly one place, on_recorded(), which runs when the dot record is
 * stored.
 */
#include "send_impl.h"
#include "tls.h"

#include <stdlib.h>

#define READ_OCTETS     (32 * 1024) /* of a spool file at a time */
#define WITH_DOT_OCTETS (16 * 1024) /* of content, at most, in one write with the dot */

static void want_flush(struct session *s)
{
	turn_flush(&s->relay->env->turn, &s->flush);
}

/* ---- the end of a session ---- */

/* Where the final dot waits for its record. */
static struct step_list *dot_list(struct session *s)
{
	struct turn *turn = &s->relay->env->turn;

	return s->job && s->job->durable_dot ? &turn->after_commit : &turn->after_write;
}

void session_free(struct session *s)
{
	step_cancel(&s->recorded);
	step_cancel(&s->flush);
	login_free(&s->login);
	transport_free(s->transport);
	smtp_free(s->smtp);
	event_free(s->timer);
	TAILQ_REMOVE(&s->relay->sessions, s, entry);
	free(s);
}

static void session_begin(struct relay *r, size_t host);

/* It could not be made ready; `reached` is false if no host had to do with it. */
static void connect_failed(
	struct relay *r, size_t host, bool reached, const struct err *err, const char *reply)
{
	struct strbuf text AUTO(strbuf_free) = STRBUF_INIT;
	size_t next = reached ? relay_hosts_failed(&r->hosts, host, env_now(r->env)) : r->hosts.n;

	bool surplus = r->pool.down && r->pool.connecting > 1; /* one is enough */
	if (next == r->hosts.n || r->stopping || surplus) {
		relay_connect_failed(r, err, reply);
		return;
	}
	if (!r->degraded) {
		strbuf_addf(&text, "%s is unusable, backup host %s is tried",
			relay_host(r->conf, host).host, relay_host(r->conf, next).host);
		relay_note(r, EV_RELAY_WARNING, reply, err, strbuf_str(&text));
	}
	r->degraded = true;
	session_begin(r, next);
}

/* The one end of a session, whatever the cause; its job's outcomes are set already. */
static void session_end(struct session *s, const struct err *err, const char *reply)
{
	struct relay *r = s->relay;
	struct relay_job *job = s->job;
	enum session_state state = s->state;
	size_t host = s->host;
	bool reached = s->transport;

	relay_ref(r); /* a job's owner may let go of it */
	session_free(s);
	if (err && err->class == ERR_LIMIT)
		relay_note(r, EV_LIMIT_EXCEEDED, reply, err, "the relay went beyond a limit");
	switch (state) {
	case SESSION_CONNECTING:
		connect_failed(r, host, reached, err, reply);
		break;
	case SESSION_IDLE:
		smtp_pool_lost(&r->pool.idle);
		break;
	case SESSION_LEAVING:
		smtp_pool_lost(&r->pool.leaving);
		break;
	case SESSION_BUSY:
		smtp_pool_lost(&r->pool.busy);
		if (err) /* else it had been closed while idle, and nobody knew yet */
			relay_note(r, EV_RELAY_WARNING, reply, err,
				"connection lost in a transaction");
		job->on_done(job);
		break;
	}
	relay_wake(r);
	relay_unref(r);
}

/* Closes without a dot, for a reason of our own: the server discards what it has of the message. */
static void abandon(struct session *s, const struct err *err)
{
	s->job->body_begun = false;
	relay_set_outcomes(s->job, SMTP_PENDING, SMTP_CONNECTION);
	session_end(s, err, NULL);
}

void session_leave(struct session *s)
{
	s->state = SESSION_LEAVING;
	smtp_pool_leaving(&s->relay->pool);
	smtp_quit(s->smtp, env_now(s->relay->env));
	want_flush(s);
}

/* ---- a transaction ---- */

static void on_recorded(void *ctx, bool stored)
{
	struct session *s = ctx;

	if (!stored) {
		abandon(s, &(struct err){ ERR_LOCAL, 0, "the dot record could not be stored" });
		return;
	}
	s->dot_sent = true;
	smtp_dot(s->smtp, env_now(s->relay->env));
	want_flush(s);
}

/* All content is written but the dot. False: the session is gone. */
static bool session_dot(struct session *s)
{
	if (s->job->on_dot(s->job)) {
		abandon(s, &(struct err){ ERR_LOCAL, 0, "the dot record could not be stored" });
		return false;
	}
	step_queue(dot_list(s), &s->recorded);
	return true;
}

/* Writes body until enough waits in the output, or all is written. False: the session is gone. */
static bool session_pump(struct session *s)
{
	char buf[READ_OCTETS];
	struct relay_job *job = s->job;
	struct strview data, waiting;
	struct err err;

	want_flush(s);
	for (;;) {
		smtp_output(s->smtp, &waiting);
		if (waiting.len >= RELAY_OUTPUT_OCTETS)
			return true;
		if (spool_read(job->spool, s->offset, buf, sizeof buf, &data, &err)) {
			abandon(s, &err);
			return false;
		}
		if (!data.len) {
			s->sending = false;
			return session_dot(s);
		}
		smtp_body(s->smtp, job->lf_ended ? STUFF_LF : STUFF_BODY, data,
			env_now(s->relay->env));
		s->offset += data.len;
	}
}

static bool session_body(struct session *s)
{
	struct relay_job *job = s->job;

	job->body_begun = true;
	s->sending = true;
	s->offset = job->body_offset;
	smtp_body(s->smtp, job->lf_ended ? STUFF_LF : STUFF_HEADER, strbuf_view(&job->head),
		env_now(s->relay->env));
	return session_pump(s);
}

static void session_done(struct session *s)
{
	struct relay *r = s->relay;
	struct relay_job *job = s->job;

	s->job = NULL;
	s->dot_sent = false;
	s->state = SESSION_IDLE;
	s->messages++;
	s->idle_since = env_now(r->env);
	smtp_pool_done(&r->pool);
	if (smtp_pool_retire(&r->pool, s->messages) ||
		relay_hosts_outdated(&r->hosts, s->host, s->idle_since) || r->stopping ||
		(r->retiring && !r->njobs))
		session_leave(s);
	want_flush(s); /* the timer */
	relay_wake(r);
	job->on_done(job);
}

static void session_ready(struct session *s)
{
	struct relay *r = s->relay;
	bool came_up;

	login_free(&s->login);
	s->state = SESSION_IDLE;
	s->idle_since = env_now(r->env);
	smtp_pool_ready(&r->pool, &came_up);
	r->probe = false;
	relay_wake(r);
	log_write(&(struct log_entry){ .event = EV_CONNECTION_OPENED,
		.relay = r->conf->name,
		.text = transport_cipher(s->transport) });
	relay_hosts_ready(&r->hosts, s->host);
	if (r->degraded && !s->host) {
		r->degraded = false;
		log_write(&(struct log_entry){ .event = EV_RELAY_WARNING,
			.level = LVL_NOTICE,
			.relay = r->conf->name,
			.reason = r->conf->host,
			.text = "the first host is usable again" });
	}
	if (came_up) {
		relay_note(r, EV_RELAY_UP, NULL, NULL, "relay is usable again");
		r->ops.on_up(r->ops.ctx, r);
	}
}

/* One line is enough: it will refuse the next ones too. */
static void note_xforward(struct relay *r, const struct smtp_reply *reply)
{
	struct strbuf said AUTO(strbuf_free) = STRBUF_INIT;

	if (r->xforward_refused)
		return;
	r->xforward_refused = true;
	strbuf_addf(&said, "%d %s", reply->code, reply->text);
	relay_note(r, EV_RELAY_WARNING, strbuf_str(&said), NULL,
		"XFORWARD is offered and refused: mail goes on without the client's address; the "
		"relay has to authorize this host for it");
}

/* What the machine reports. False: the session is gone. */
static bool session_event(struct session *s, struct smtp_event *ev)
{
	switch (ev->type) {
	case SMTP_NONE:
		break;
	case SMTP_STARTTLS:
		transport_starttls(s->transport);
		break;
	case SMTP_READY:
		session_ready(s);
		break;
	case SMTP_XFORWARD_REFUSED:
		note_xforward(s->relay, &ev->reply);
		break;
	case SMTP_BODY:
		return session_body(s);
	case SMTP_DONE:
		session_done(s);
		break;
	case SMTP_CLOSED:
		session_end(s, NULL, NULL);
		return false;
	case SMTP_FAILED:
		session_end(s, &ev->err, ev->reply.text);
		return false;
	}
	want_flush(s);
	return true;
}

void session_assign(struct session *s, struct relay_job *job)
{
	struct smtp_event ev = { 0 };

	s->job = job;
	s->state = SESSION_BUSY;
	smtp_pool_busy(&s->relay->pool);
	smtp_mail(s->smtp, &job->mail, env_now(s->relay->env));
	smtp_poll(s->smtp, env_now(s->relay->env), &ev);
	(void)session_event(s, &ev); /* nothing follows that needs the session */
}

/* ---- transport and timer ---- */

static void on_open(void *ctx)
{
	struct session *s = ctx;
	struct relay *r = s->relay;
	msec_t now = env_now(r->env);

	if (s->smtp) {
		smtp_secured(s->smtp, now);
	} else {
		struct smtp_params params =
			login_smtp_params(&s->login, r->conf, r->config->hostname);
		s->smtp = smtp_new(&params, now);
	}
	want_flush(s);
}

static void on_data(void *ctx, const char *buf, size_t len)
{
	struct session *s = ctx;
	struct env *env = s->relay->env;
	struct smtp_event ev;
	bool alive = true;

	while (len && alive) {
		size_t n = smtp_feed(s->smtp, buf, len, env_now(env), &ev);
		buf += n;
		len -= n;
		alive = session_event(s, &ev);
	}
	turn_now(&env->turn); /* the relay goes on while we do */
}

static void on_writable(void *ctx)
{
	struct session *s = ctx;

	if (s->sending)
		(void)session_pump(s); /* nothing follows that needs the session */
	else
		want_flush(s);
}

static void on_closed(void *ctx, const struct err *err)
{
	struct session *s = ctx;
	struct smtp_event ev = { .type = SMTP_FAILED };

	if (s->smtp)
		smtp_eof(s->smtp, env_now(s->relay->env), &ev);
	if (err) { /* the transport knows more than "end of stream" */
		ev.err = *err;
		ev.reply.text[0] = '\0';
	} else if (!s->smtp) {
		err_set(&ev.err, ERR_NET, 0, "connection closed by the peer");
	}
	(void)session_event(s, &ev);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct session *s = ctx;
	struct smtp_event ev = { 0 };
	msec_t now = env_now(s->relay->env);

	if (!s->smtp)
		return; /* the transport has its own timers */
	if (s->state == SESSION_IDLE && now >= s->idle_since + s->relay->conf->idle_timeout_ms)
		session_leave(s);
	else
		smtp_tick(s->smtp, now, &ev);
	(void)session_event(s, &ev);
}

/*
 * A small rest of the content goes out with its dot: one write, and the relay wakes up once. What
 * takes its time on the line does not, as the dot is in doubt from its writing on.
 */
static bool waits_for_dot(const struct session *s, size_t rest)
{
	return rest <= WITH_DOT_OCTETS && s->state == SESSION_BUSY && s->job->body_begun &&
		!s->sending && !s->dot_sent;
}

static void session_flush(void *ctx, bool stored)
{
	struct session *s = ctx;
	struct strview out;
	msec_t now = env_now(s->relay->env), at;

	if (!s->smtp || !transport_is_open(s->transport))
		return;
	smtp_output(s->smtp, &out);
	size_t n = waits_for_dot(s, out.len) ? 0 : transport_write(s->transport, out.ptr, out.len);
	if (n)
		smtp_sent(s->smtp, n, now);
	if (s->sending && n == out.len)
		transport_ask_writable(s->transport); /* more of the body, after the others' turn */
	at = smtp_deadline(s->smtp);
	if (s->state == SESSION_IDLE && s->idle_since + s->relay->conf->idle_timeout_ms < at)
		at = s->idle_since + s->relay->conf->idle_timeout_ms;
	relay_arm(s->timer, now, at);
}

/* ---- opening ---- */

static const struct transport_ops session_ops = {
	.on_open = on_open,
	.on_data = on_data,
	.on_writable = on_writable,
	.on_closed = on_closed,
};

static void connect_to_relay(struct session *s)
{
	const struct conf_relay *conf = s->relay->conf;
	const struct conf_host to = relay_host(conf, s->host);
	struct transport_target target = { .host = to.host,
		.unix_path = conf->unix_path,
		.port = to.port,
		.first = true, /* an answer to a dot should be on record before anything else
				  happens */
		.tls_at_once = conf->tls.mode == TLS_IMPLICIT,
		.handshake_ms = SMTP_TIMEOUT_DATA_MS };
	struct err err;

	if (relay_make_tls(conf, to.host, &target.tls, &err))
		session_end(s, &err, NULL);
	else
		s->transport = transport_open(&s->relay->env->loop, &target, &session_ops, s);
}

static void on_secret(void *ctx, const struct err *err)
{
	struct session *s = ctx;

	if (err)
		session_end(s, err, NULL);
	else
		connect_to_relay(s);
}

static void session_begin(struct relay *r, size_t host)
{
	struct session *s = mem_zalloc(sizeof *s);
	struct err err;

	s->relay = r;
	s->host = host;
	s->timer = event_new(r->env->loop.base, -1, 0, on_timer, s);
	step_init(&s->recorded, on_recorded, s);
	step_init(&s->flush, session_flush, s);
	TAILQ_INSERT_HEAD(&r->sessions, s, entry);
	login_init(&s->login, &r->conf->password, on_secret, s);
	int rc = login_get(&s->login, &r->env->loop, &err);
	if (rc <= 0)
		on_secret(s, rc ? &err : NULL);
}

void session_open(struct relay *r)
{
	smtp_pool_opening(&r->pool);
	session_begin(r, relay_hosts_first(&r->hosts, env_now(r->env)));
}
