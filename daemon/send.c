/*
 * The pool of a relay and its sessions; see send.h.
 *
 * Owns the sessions; borrows the jobs. A session has a job exactly while it is busy. Whatever ends
 * a session goes through session_end(). The final dot is written in exactly one place,
 * on_durable(), which runs after the commit of the dot record.
 */
#include "send.h"

#include "base/log.h"
#include "env.h"
#include "tls.h"

#include <stdlib.h>

#define READ_OCTETS (32 * 1024) /* of a spool file at a time */

enum session_state { SESSION_CONNECTING, SESSION_IDLE, SESSION_BUSY, SESSION_LEAVING };

struct session {
	struct relay *relay;
	struct transport *transport;
	struct smtp *smtp; /* NULL until connected */
	enum session_state state;
	struct relay_job *job;
	bool sending; /* the body is going out */
	bool dot_sent;
	uint32_t messages; /* served */
	uint64_t offset;   /* of the body, next to read */
	msec_t idle_since;
	struct event *timer;
	struct step after_commit, flush;
	TAILQ_ENTRY(session) entry;
};

struct relay {
	unsigned refs;
	struct env *env;
	struct config *config;
	const struct conf_relay *conf;
	struct relay_ops ops;
	struct smtp_pool pool;
	bool probe, stopping;
	TAILQ_HEAD(, session) sessions; /* the one used last in front */
	TAILQ_HEAD(, relay_job) jobs;
	size_t njobs;
	struct event *timer;
	struct step dispatch;
};

static void note(const struct relay *r, enum log_event event, const char *reply,
	const struct err *err, const char *text)
{
	log_write(&(struct log_entry){ .event = event,
		.relay = r->conf->name,
		.reply = reply && *reply ? reply : NULL,
		.error = err ? err_class_name(err->class) : NULL,
		.reason = err ? err->text : NULL,
		.text = text });
}

static void arm(struct event *timer, msec_t now, msec_t at)
{
	if (at == MSEC_NEVER) {
		event_del(timer);
		return;
	}
	msec_t ms = at > now ? at - now : 0;
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
	event_add(timer, &tv);
}

/* Something changed: look for work at the end of the turn. */
static void wake(struct relay *r)
{
	turn_flush(&r->env->turn, &r->dispatch);
}

static void want_flush(struct session *s)
{
	turn_flush(&s->relay->env->turn, &s->flush);
}

/* ---- jobs ---- */

static void set_outcomes(struct relay_job *job, enum smtp_outcome from, enum smtp_outcome to)
{
	for (size_t i = 0; i < job->mail.nrcpts; i++)
		if (job->mail.rcpts[i].outcome == from)
			job->mail.rcpts[i].outcome = to;
}

static struct relay_job *job_take(struct relay *r, struct relay_job *job)
{
	TAILQ_REMOVE(&r->jobs, job, entry);
	r->njobs--;
	return job;
}

static void jobs_hand_back(struct relay *r)
{
	while (r->njobs) {
		struct relay_job *job = job_take(r, TAILQ_FIRST(&r->jobs));
		set_outcomes(job, SMTP_PENDING, SMTP_CONNECTION);
		job->on_done(job);
	}
}

void relay_submit(struct relay *r, struct relay_job *job)
{
	TAILQ_INSERT_TAIL(&r->jobs, job, entry);
	r->njobs++;
	wake(r);
}

/* ---- the end of a session ---- */

static void session_free(struct session *s)
{
	struct turn *turn = &s->relay->env->turn;

	turn_cancel_after(turn, &s->after_commit);
	turn_cancel_flush(turn, &s->flush);
	transport_free(s->transport);
	smtp_free(s->smtp);
	event_free(s->timer);
	TAILQ_REMOVE(&s->relay->sessions, s, entry);
	free(s);
}

/* It could not be made ready: that is the relay's fault, not a message's. */
static void connect_failed(struct relay *r, const struct err *err, const char *reply)
{
	bool went_down;

	smtp_pool_failed(&r->pool, env_now(r->env), env_chance(r->env), &went_down);
	r->probe = false;
	if (went_down)
		note(r, EV_RELAY_DOWN, reply, err, "relay unusable; mail stays with the provider");
	if (!r->pool.down)
		return;
	jobs_hand_back(r);
	r->ops.on_down(r->ops.ctx, r);
}

/* The one end of a session, whatever the cause; its job's outcomes are set already. */
static void session_end(struct session *s, const struct err *err, const char *reply)
{
	struct relay *r = s->relay;
	struct relay_job *job = s->job;
	enum session_state state = s->state;

	relay_ref(r); /* a job's owner may let go of it */
	session_free(s);
	switch (state) {
	case SESSION_CONNECTING:
		connect_failed(r, err, reply);
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
			note(r, EV_RELAY_WARNING, reply, err, "connection lost in a transaction");
		job->on_done(job);
		break;
	}
	wake(r);
	relay_unref(r);
}

/* Closes without a dot: the server discards what it has of the message. */
static void abandon(struct session *s, const struct err *err)
{
	set_outcomes(s->job, SMTP_PENDING, SMTP_CONNECTION);
	session_end(s, err, NULL);
}

static void session_leave(struct session *s)
{
	s->state = SESSION_LEAVING;
	smtp_pool_leaving(&s->relay->pool);
	smtp_quit(s->smtp, env_now(s->relay->env));
	want_flush(s);
}

/* ---- a transaction ---- */

static void on_durable(void *ctx, bool durable)
{
	struct session *s = ctx;

	if (!durable) {
		abandon(s, &(struct err){ ERR_LOCAL, 0, "the dot record could not be stored" });
		return;
	}
	s->dot_sent = true;
	smtp_dot(s->smtp, env_now(s->relay->env));
	want_flush(s);
}

/* All content is written: the dot waits for its record. False: the session is gone. */
static bool session_written(struct session *s)
{
	s->sending = false;
	if (s->job->on_dot(s->job)) {
		abandon(s, &(struct err){ ERR_LOCAL, 0, "the dot record could not be stored" });
		return false;
	}
	turn_after_commit(&s->relay->env->turn, &s->after_commit);
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
		if (!data.len)
			return session_written(s);
		smtp_body(s->smtp, job->lf_ended ? STUFF_LF : STUFF_BODY, data,
			env_now(s->relay->env));
		s->offset += data.len;
	}
}

static bool session_body(struct session *s)
{
	struct relay_job *job = s->job;

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
	s->state = SESSION_IDLE;
	s->messages++;
	s->idle_since = env_now(r->env);
	smtp_pool_done(&r->pool);
	if (smtp_pool_retire(&r->pool, s->messages) || r->stopping)
		session_leave(s);
	want_flush(s); /* the timer */
	wake(r);
	job->on_done(job);
}

static void session_ready(struct session *s)
{
	struct relay *r = s->relay;
	bool came_up;

	s->state = SESSION_IDLE;
	s->idle_since = env_now(r->env);
	smtp_pool_ready(&r->pool, &came_up);
	r->probe = false;
	wake(r);
	log_write(&(struct log_entry){ .event = EV_CONNECTION_OPENED,
		.relay = r->conf->name,
		.text = transport_cipher(s->transport) });
	if (came_up) {
		note(r, EV_RELAY_UP, NULL, NULL, "relay is usable again");
		r->ops.on_up(r->ops.ctx, r);
	}
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

static void session_assign(struct session *s, struct relay_job *job)
{
	struct smtp_event ev = { 0 };

	s->job = job;
	s->state = SESSION_BUSY;
	s->dot_sent = false;
	smtp_pool_busy(&s->relay->pool);
	smtp_mail(s->smtp, &job->mail, env_now(s->relay->env));
	smtp_poll(s->smtp, env_now(s->relay->env), &ev);
	(void)session_event(s, &ev); /* nothing follows that needs the session */
}

/* ---- transport and timer ---- */

static void on_open(void *ctx)
{
	struct session *s = ctx;
	const struct conf_relay *conf = s->relay->conf;
	msec_t now = env_now(s->relay->env);
	static const enum smtp_tls tls[] = { [TLS_NONE] = SMTP_TLS_NONE,
		[TLS_OPPORTUNISTIC] = SMTP_TLS_OPPORTUNISTIC,
		[TLS_STARTTLS] = SMTP_TLS_STARTTLS,
		[TLS_IMPLICIT] = SMTP_TLS_IMPLICIT };

	if (s->smtp) {
		smtp_secured(s->smtp, now);
	} else {
		struct smtp_params params = { .helo = s->relay->config->hostname,
			.lmtp = conf->lmtp,
			.tls = tls[conf->tls.mode],
			.dot_timeout_ms = (uint32_t)conf->dot_timeout_ms };
		s->smtp = smtp_new(&params, now);
	}
	want_flush(s);
}

static void on_data(void *ctx, const char *buf, size_t len)
{
	struct session *s = ctx;
	struct smtp_event ev;

	while (len) {
		size_t n = smtp_feed(s->smtp, buf, len, env_now(s->relay->env), &ev);
		buf += n;
		len -= n;
		if (!session_event(s, &ev))
			return;
	}
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

static void session_flush(void *ctx, bool durable)
{
	struct session *s = ctx;
	struct strview out;
	msec_t now = env_now(s->relay->env), at;

	if (!s->smtp || !transport_is_open(s->transport))
		return;
	smtp_output(s->smtp, &out);
	size_t n = transport_write(s->transport, out.ptr, out.len);
	if (n)
		smtp_sent(s->smtp, n, now);
	at = smtp_deadline(s->smtp);
	if (s->state == SESSION_IDLE && s->idle_since + s->relay->conf->idle_timeout_ms < at)
		at = s->idle_since + s->relay->conf->idle_timeout_ms;
	arm(s->timer, now, at);
}

/* ---- the pool ---- */

static const struct transport_ops session_ops = {
	.on_open = on_open,
	.on_data = on_data,
	.on_writable = on_writable,
	.on_closed = on_closed,
};

static int make_tls(const struct conf_relay *conf, struct tls_client **tls, struct err *err)
{
	*tls = NULL;
	if (conf->tls.mode == TLS_NONE)
		return 0;
	return tls_client_new(conf->host ? conf->host : "localhost", conf->tls.ca_file,
		conf->tls.mode != TLS_OPPORTUNISTIC, tls, err);
}

static void session_open(struct relay *r)
{
	struct transport_target target = { .host = r->conf->host,
		.unix_path = r->conf->unix_path,
		.port = r->conf->port,
		.tls_at_once = r->conf->tls.mode == TLS_IMPLICIT,
		.handshake_ms = SMTP_TIMEOUT_DATA_MS };
	struct err err;

	smtp_pool_opening(&r->pool);
	if (make_tls(r->conf, &target.tls, &err)) {
		connect_failed(r, &err, NULL);
		return;
	}
	struct session *s = mem_zalloc(sizeof *s);
	s->relay = r;
	s->timer = event_new(r->env->loop.base, -1, 0, on_timer, s);
	step_init(&s->after_commit, on_durable, s);
	step_init(&s->flush, session_flush, s);
	TAILQ_INSERT_HEAD(&r->sessions, s, entry);
	s->transport = transport_open(&r->env->loop, &target, &session_ops, s);
}

/* The idle session used last: the others may then reach their idle timeout. */
static struct session *idle_session(struct relay *r)
{
	struct session *s;

	TAILQ_FOREACH (s, &r->sessions, entry)
		if (s->state == SESSION_IDLE && smtp_idle(s->smtp))
			return s;
	return NULL;
}

static void relay_dispatch(void *ctx, bool durable)
{
	struct relay *r = ctx;
	struct session *s;
	msec_t now = env_now(r->env);

	relay_ref(r); /* jobs may be handed back, and their owners let go of it */
	if ((r->pool.down && now < r->pool.retry_at) || r->stopping)
		jobs_hand_back(r);
	for (;;) {
		enum pool_step step = smtp_pool_step(&r->pool, r->njobs ? r->njobs : r->probe, now);
		if (step == POOL_OPEN && !r->stopping) {
			session_open(r);
		} else if (step == POOL_USE_IDLE && r->njobs && (s = idle_session(r))) {
			TAILQ_REMOVE(&r->sessions, s, entry);
			TAILQ_INSERT_HEAD(&r->sessions, s, entry);
			session_assign(s, job_take(r, TAILQ_FIRST(&r->jobs)));
		} else {
			break;
		}
	}
	arm(r->timer, now,
		(r->njobs || r->probe) && r->pool.retry_at > now ? r->pool.retry_at : MSEC_NEVER);
	relay_unref(r);
}

static void on_relay_timer(evutil_socket_t fd, short what, void *ctx)
{
	wake(ctx);
}

bool relay_cancel(struct relay *r, struct relay_job *job)
{
	struct session *s;

	TAILQ_FOREACH (s, &r->sessions, entry) {
		if (s->job != job)
			continue;
		if (s->dot_sent)
			return false;
		session_free(s);
		smtp_pool_lost(&r->pool.busy);
		return true;
	}
	(void)job_take(r, job);
	return true;
}

/* ---- life ---- */

int relay_new(struct env *env, struct config *config, const struct conf_relay *conf,
	const struct relay_ops *ops, struct relay **out, struct err *err)
{
	struct tls_client *tls;

	if (make_tls(conf, &tls,
		    err)) /* a CA file that cannot be read shows at start, not at night */
		return -1;
	tls_client_free(tls);
	struct relay *r = mem_zalloc(sizeof *r);
	r->refs = 1;
	r->env = env;
	r->config = config_ref(config);
	r->conf = conf;
	r->ops = *ops;
	r->pool = (struct smtp_pool){ .max_connections = conf->connections,
		.max_messages = conf->max_messages,
		.idle_timeout = conf->idle_timeout_ms };
	TAILQ_INIT(&r->sessions);
	TAILQ_INIT(&r->jobs);
	r->timer = event_new(env->loop.base, -1, 0, on_relay_timer, r);
	step_init(&r->dispatch, relay_dispatch, r);
	*out = r;
	return 0;
}

struct relay *relay_ref(struct relay *r)
{
	r->refs++;
	return r;
}

void relay_unref(struct relay *r)
{
	if (!r || --r->refs)
		return;
	ensure(!r->njobs);
	while (!TAILQ_EMPTY(&r->sessions))
		session_free(TAILQ_FIRST(&r->sessions));
	turn_cancel_flush(&r->env->turn, &r->dispatch);
	event_free(r->timer);
	config_unref(r->config);
	free(r);
}

const struct conf_relay *relay_conf(const struct relay *r)
{
	return r->conf;
}

bool relay_is_down(const struct relay *r)
{
	return r->pool.down;
}

void relay_probe(struct relay *r)
{
	r->probe = r->pool.down;
	wake(r);
}

void relay_stop(struct relay *r)
{
	struct session *s;

	r->stopping = true;
	TAILQ_FOREACH (s, &r->sessions, entry)
		if (s->state == SESSION_IDLE && smtp_idle(s->smtp))
			session_leave(s);
}
