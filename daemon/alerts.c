/*
 * Alerts on their way; see alerts.h.
 *
 * Owns the book of what is to be told, a reference to the relay, and the one mail that is out.
 * Events come from the middle of others' work, so nothing is sent but from the timer.
 */
#include "alerts.h"

#include "alert_mail.h"
#include "base/encode.h"
#include "base/log.h"
#include "core/alert.h"
#include "identity.h"

#include <stdlib.h>

#define RETRY_MIN_MSEC (30 * (msec_t)1000)
#define RETRY_MAX_MSEC (10 * 60 * (msec_t)1000)
#define RANDOM_OCTETS  12
#define NO_ACCOUNT     "" /* in what is hashed: no account has that name */

struct mail {
	struct relay_job job; /* first: the relay hands it back */
	struct alerts *owner;
	struct relay *relay;
	struct smtp_rcpt rcpt;
	char *to, *name;
	enum alert_kind kind; /* with the name: what it tells of */
	uint32_t count;       /* events that it tells of */
	bool answered;
};

struct alerts {
	struct env *env;
	struct alerts_book book;
	char *to, *hostname; /* to is NULL: off */
	struct relay *relay;
	struct mail *out;
	struct event *timer;
	struct step reap;
	uint32_t failures; /* in a row */
	msec_t retry_at;   /* nothing is sent before it */
	bool at_once, stopping;
};

static void arm(struct alerts *as, msec_t at)
{
	msec_t now = env_now(as->env), ms = at > now ? at - now : 0;

	if (at != MSEC_NEVER)
		event_add(as->timer,
			&(struct timeval){ .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 });
}

static void look_again(struct alerts *as)
{
	msec_t now = env_now(as->env);
	msec_t next = alert_due(&as->book, now, as->at_once) ? now : alert_next(&as->book);

	if (as->to && !as->out && !as->stopping)
		arm(as, next > as->retry_at ? next : as->retry_at);
}

static void try_later(struct alerts *as)
{
	msec_t pause = RETRY_MIN_MSEC << (as->failures < 8 ? as->failures : 8);

	as->failures++;
	as->retry_at = env_now(as->env) + (pause < RETRY_MAX_MSEC ? pause : RETRY_MAX_MSEC);
}

/* ---- a mail and its answer ---- */

static void mail_free(struct mail *m)
{
	spool_free(m->job.spool);
	strbuf_free(&m->job.head);
	relay_unref(m->relay);
	free(m->to);
	free(m->name);
	free(m);
}

static void on_reap(void *ctx, bool durable)
{
	struct alerts *as = ctx;

	if (!as->out || !as->out->answered)
		return;
	mail_free(as->out);
	as->out = NULL;
	look_again(as);
}

static int on_dot(struct relay_job *job)
{
	return 0; /* no record: a second copy of an alert does no harm */
}

static void told(struct alerts *as, const struct mail *m)
{
	struct env *env = as->env;
	struct alert *a = alert_find(&as->book, m->kind, m->name);
	struct err err;

	as->failures = 0;
	if (a) /* else a reload has switched alerts off meanwhile */
		alert_told(a, m->count, env_now(env));
	if (store_set_alerted(env->store, alert_kind_name(m->kind), m->name, env_wall(env), &err))
		log_write(&(struct log_entry){ .event = EV_STATE_FAILED, .reason = err.text });
}

static void complain(const struct mail *m, const char *reason, const char *text)
{
	AUTO(strbuf_free) struct strbuf said = STRBUF_INIT;

	if (m->rcpt.reply.code)
		strbuf_addf(&said, "%d ", m->rcpt.reply.code);
	strbuf_adds(&said, m->rcpt.reply.text); /* none when the connection broke */
	log_write(&(struct log_entry){ .event = EV_RELAY_WARNING,
		.relay = relay_conf(m->relay)->name,
		.recipient = m->to,
		.reply = said.len ? strbuf_str(&said) : NULL,
		.reason = reason,
		.text = text });
}

/*
 * Later, says the relay, which is there: that may be about this mail alone. --once has no time to
 * ask it again.
 */
static void put_off(struct alerts *as, const struct mail *m)
{
	struct alert *a = alert_find(&as->book, m->kind, m->name);
	uint32_t patience = as->at_once ? 1 : ALERT_PATIENCE;
	msec_t now = env_now(as->env);

	if (!a || !alert_put_off(a, patience, now)) {
		try_later(as);
		return;
	}
	as->failures = 0;
	as->retry_at = now + (as->at_once ? 0 : RETRY_MIN_MSEC);
	if (a->put_off == patience)
		complain(m, "alert mail put off",
			"others go first, this one is tried again every ten minutes: look at what "
			"the relay answers");
}

static void on_done(struct relay_job *job)
{
	struct mail *m = (struct mail *)job;
	struct alerts *as = m->owner;

	switch (m->rcpt.outcome) {
	case SMTP_UNKNOWN:
	case SMTP_REJECTED:
		complain(m, "alert mail refused",
			"nobody is told by mail: correct alert_to, or let the relay take mail from "
			"this host for it, also with the null sender");
		told(as, m); /* not again before the hour is over */
		break;
	case SMTP_ACCEPTED:
	case SMTP_IN_DOUBT:
		told(as, m);
		break;
	case SMTP_LATER:
	case SMTP_TOO_MANY:
	case SMTP_CONNECTION:
	case SMTP_PENDING:
	case SMTP_OUTCOME_COUNT:
		if (relay_is_down(m->relay))
			try_later(as);
		else
			put_off(as, m);
		break;
	}
	/* Not here: it may hold the last reference to the relay that brings the answer. */
	m->answered = true;
	turn_flush(&as->env->turn, &as->reap);
}

static int write_mail(struct alerts *as, const struct alert *a, struct mail *m, struct err *err)
{
	static const uint8_t no_digest[STORE_DIGEST_OCTETS];
	AUTO(strbuf_free) struct strbuf body = STRBUF_INIT, id = STRBUF_INIT;
	struct env *env = as->env;
	uint8_t random[RANDOM_OCTETS];
	char proof[IDENTITY_HEX + 1];

	env->rng->fill(env->rng, random, sizeof random);
	hex_encode(&id, random, sizeof random);
	identity_make(env->identity, NO_ACCOUNT, strbuf_str(&id), no_digest, proof);
	alert_mail_write(a,
		&(struct alert_mail){ .to = as->to,
			.hostname = as->hostname,
			.id = strbuf_str(&id),
			.proof = proof,
			.now = env_wall(env) },
		&m->job.head, &body);
	m->job.spool = spool_new(&env->spool);
	m->job.mail.octets = m->job.head.len + body.len + 2;
	return spool_add(m->job.spool, strbuf_view(&body), err) || spool_end(m->job.spool, err) ? -1
												: 0;
}

static void send_mail(struct alerts *as, const struct alert *a)
{
	struct mail *m = mem_zalloc(sizeof *m);
	struct err err;

	m->owner = as;
	m->relay = relay_ref(as->relay);
	m->to = mem_strdup(as->to);
	m->name = mem_strdup(a->name);
	m->kind = a->kind;
	m->count = a->count;
	m->rcpt.address = m->to;
	m->job.mail = (struct smtp_mail){
		.sender = "", .rcpts = &m->rcpt, .nrcpts = 1, .notify_never = true
	};
	m->job.on_dot = on_dot;
	m->job.on_done = on_done;
	if (write_mail(as, a, m, &err)) { /* the disk shows itself elsewhere */
		mail_free(m);
		try_later(as);
		look_again(as);
		return;
	}
	m->job.mail.eightbit = spool_eightbit(m->job.spool);
	as->out = m;
	relay_submit(as->relay, &m->job);
}

/* ---- events ---- */

/* Mails that this installation has sent before this process began, or from another one. */
static void recall(struct alerts *as, struct alert *a, msec_t now)
{
	struct env *env = as->env;
	wall_t at, wall = env_wall(env);
	struct err err;

	a->known = true;
	if (store_alerted(env->store, alert_kind_name(a->kind), a->name, &at, &err))
		return; /* a state that cannot be read shows itself elsewhere */
	if (at <= wall && wall - at < ALERT_EVERY_MSEC)
		a->allowed = now + ALERT_EVERY_MSEC - (wall - at);
}

void alerts_note(void *ctx, const struct log_entry *e)
{
	struct alerts *as = ctx;

	if (!as->to)
		return;
	msec_t now = env_now(as->env);
	struct alert *a = alert_note(&as->book, e, now, env_wall(as->env));
	if (!a)
		return;
	if (!a->known)
		recall(as, a, now);
	look_again(as);
}

void alerts_relay_up(struct alerts *as, const struct relay *relay)
{
	if (relay != as->relay)
		return;
	as->failures = 0;
	as->retry_at = 0;
	look_again(as);
}

/* ---- the next one ---- */

/* What would go out by the very relay that it says is down: that is back now. */
static struct alert *next_alert(struct alerts *as, msec_t now)
{
	struct alert *a = alert_due(&as->book, now, as->at_once);

	if (!a || a->kind != ALERT_RELAY_DOWN || strcmp(a->name, relay_conf(as->relay)->name) != 0)
		return a;
	a = alert_is_back(&as->book, a, now, env_wall(as->env));
	if (a && !a->known)
		recall(as, a, now);
	return a && a->allowed <= now ? a : NULL;
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct alerts *as = ctx;
	msec_t now = env_now(as->env);
	struct alert *a = NULL;

	if (!as->to || as->out || as->stopping)
		return;
	if (now < as->retry_at) { /* the loop's clock is not the same, and may be ahead */
		look_again(as);
		return;
	}
	if (!relay_is_down(as->relay)) {
		a = next_alert(as, now);
	} else if (alert_due(&as->book, now, as->at_once)) {
		relay_probe(as->relay); /* it may be that nobody else needs it */
		try_later(as);
	}
	if (a)
		send_mail(as, a);
	else
		look_again(as);
}

bool alerts_finish(struct alerts *as)
{
	if (!as->at_once) {
		as->at_once = true;
		look_again(as);
	}
	return !as->out && (as->failures || !alert_due(&as->book, env_now(as->env), true));
}

bool alerts_idle(const struct alerts *as)
{
	return !as->out;
}

void alerts_stop(struct alerts *as)
{
	as->stopping = true;
	if (!as->out || as->out->answered || !relay_cancel(as->out->relay, &as->out->job))
		return;
	mail_free(as->out);
	as->out = NULL;
}

/* ---- life ---- */

struct alerts *alerts_new(struct env *env)
{
	struct alerts *as = mem_zalloc(sizeof *as);

	as->env = env;
	as->timer = event_new(env->loop.base, -1, 0, on_timer, as);
	step_init(&as->reap, on_reap, as);
	return as;
}

void alerts_configure(struct alerts *as, const struct config *config, const struct relays *relays)
{
	relay_unref(as->relay);
	free(as->to);
	free(as->hostname);
	as->to = mem_strdup(config->alert_to);
	as->hostname = mem_strdup(config->hostname);
	as->relay = as->to ? relay_ref(relays_find(relays, config->alert_relay)) : NULL;
	as->retry_at = 0;
	as->failures = 0;
	if (!as->to)
		alerts_book_free(&as->book);
	for (size_t i = 0; i < as->book.n; i++)
		if (as->book.items[i].kind == ALERT_RELAY_DOWN &&
			!relays_named(relays, as->book.items[i].name))
			as->book.items[i].count = 0; /* nobody uses it any more */
	look_again(as);
}

void alerts_free(struct alerts *as)
{
	if (!as)
		return;
	step_cancel(&as->reap);
	if (as->out) {
		if (!as->out->answered)
			(void)relay_cancel(as->out->relay, &as->out->job);
		mail_free(as->out);
	}
	event_free(as->timer);
	alerts_book_free(&as->book);
	relay_unref(as->relay);
	free(as->to);
	free(as->hostname);
	free(as);
}
