/*
 * The pool of a relay and the jobs that wait for it; see send.h.
 *
 * Owns the sessions; borrows the jobs. A job is in the queue, with a session, or back with its
 * owner.
 */
#include "send_impl.h"
#include "tls.h"

#include <stdlib.h>

void relay_note(const struct relay *r, enum log_event event, const char *reply,
	const struct err *err, const char *text)
{
	env_log(r->env,
		&(struct log_entry){ .event = event,
			.relay = r->conf->name,
			.reply = reply && *reply ? reply : NULL,
			.error = err ? err_class_name(err->class) : NULL,
			.reason = err ? err->text : NULL,
			.text = text });
}

void relay_arm(struct event *timer, msec_t now, msec_t at)
{
	if (at == MSEC_NEVER) {
		event_del(timer);
		return;
	}
	msec_t ms = at > now ? at - now : 0;
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
	event_add(timer, &tv);
}

void relay_wake(struct relay *r)
{
	turn_flush(&r->env->turn, &r->dispatch);
}

/* ---- jobs ---- */

void relay_set_outcomes(struct relay_job *job, enum smtp_outcome from, enum smtp_outcome to)
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
		relay_set_outcomes(job, SMTP_PENDING, SMTP_CONNECTION);
		job->on_done(job);
	}
}

void relay_submit(struct relay *r, struct relay_job *job)
{
	TAILQ_INSERT_TAIL(&r->jobs, job, entry);
	r->njobs++;
	relay_wake(r);
}

void relay_connect_failed(struct relay *r, const struct err *err, const char *reply)
{
	bool went_down;

	smtp_pool_failed(&r->pool, env_now(r->env), env_chance(r->env), &went_down);
	r->fault = err ? *err : (struct err){ .text = "the connection was lost" };
	r->probe = false;
	if (went_down)
		relay_note(r, EV_RELAY_DOWN, reply, err,
			"relay unusable; mail stays with the provider");
	if (!r->pool.down)
		return;
	jobs_hand_back(r);
	r->ops.on_down(r->ops.ctx, r);
}

/* ---- the pool ---- */

int relay_make_tls(
	const struct conf_relay *conf, const char *host, struct tls_client **tls, struct err *err)
{
	/* A password is said to nobody but him whom it is meant for. */
	bool verify = conf->tls.mode != TLS_OPPORTUNISTIC || conf->user;

	*tls = NULL;
	if (conf->tls.mode == TLS_NONE)
		return 0;
	return tls_client_new(host ? host : "localhost", &conf->tls, verify, tls, err);
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
	relay_arm(r->timer, now,
		(r->njobs || r->probe) && r->pool.retry_at > now ? r->pool.retry_at : MSEC_NEVER);
	relay_unref(r);
}

static void on_relay_timer(evutil_socket_t fd, short what, void *ctx)
{
	relay_wake(ctx);
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
		relay_wake(r); /* there is room for somebody else's job */
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

	if (relay_make_tls(conf, conf->host, &tls,
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
	relay_hosts_init(&r->hosts, 1 + conf->backups.n);
	TAILQ_INIT(&r->sessions);
	TAILQ_INIT(&r->jobs);
	r->timer = event_new(env->loop.base, -1, 0, on_relay_timer, r);
	step_init(&r->dispatch, relay_dispatch, r);
	*out = r;
	return 0;
}

void relay_inherit(struct relay *r, const struct relay *old)
{
	if (!old->pool.down)
		return;
	r->pool.down = true;
	r->fault = old->fault;
	relay_probe(r);
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
	step_cancel(&r->dispatch);
	event_free(r->timer);
	relay_hosts_free(&r->hosts);
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

bool relay_is_degraded(const struct relay *r)
{
	return r->degraded && !r->pool.down;
}

const struct smtp_pool *relay_pool(const struct relay *r)
{
	return &r->pool;
}

const char *relay_fault(const struct relay *r)
{
	return r->pool.down ? r->fault.text : "";
}

void relay_probe(struct relay *r)
{
	r->probe = r->pool.down;
	relay_wake(r);
}

static void close_idle(struct relay *r)
{
	struct session *s;

	TAILQ_FOREACH (s, &r->sessions, entry)
		if (s->state == SESSION_IDLE && smtp_idle(s->smtp))
			session_leave(s);
}

void relay_stop(struct relay *r)
{
	r->stopping = true;
	close_idle(r);
	relay_wake(r);
}

void relay_retire(struct relay *r)
{
	r->retiring = true;
	if (!r->njobs)
		close_idle(r);
}
