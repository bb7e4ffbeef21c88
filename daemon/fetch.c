/*
 * The cycle of one account; see fetch.h.
 *
 * Owns the connection, the POP3 machine, the listing, the transits and the account's lock. RETR
 * goes out only after the commit of its attempt, DELE only for numbers that core/maildrop.c hands
 * out. A fault of the session drops the connection without QUIT: what was asked to be deleted then
 * is not.
 */
#include "fetch.h"

#include "base/encode.h"
#include "base/log.h"
#include "deliver.h"
#include "listing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Shorter than any server's autologout (RFC 1939 section 3: ten minutes, some say five). */
#define NOOP_MSEC (2 * 60 * 1000)

void fetch_log(const struct fetch *f, struct log_entry *e)
{
	e->account = f->account->name;
	e->provider = f->account->provider->name;
	e->relay = f->account->relay->name;
	e->cycle = f->cycle;
	env_log(f->env, e);
}

static void want_flush(struct fetch *f)
{
	turn_flush(&f->env->turn, &f->flush);
}

/* ---- the end ---- */

static void set_err(struct fetch *f, const struct err *err)
{
	if (f->err.class == ERR_NONE)
		f->err = *err;
}

static void drop_connection(struct fetch *f)
{
	struct transit *t;
	struct err err;

	transport_free(f->transport);
	f->transport = NULL;
	pop3_free(f->pop3);
	f->pop3 = NULL;
	login_free(&f->login);
	event_del(f->timer);
	f->no_more = true;
	TAILQ_FOREACH (t, &f->transits, entry)
		transit_abort(t, t->state == TRANSIT_RECEIVING && !f->stopping);
	if (listing_watch(f, &err))
		set_err(f, &err);
	turn_after_commit(&f->env->turn, &f->end);
}

static void on_end(void *ctx, bool durable)
{
	struct fetch *f = ctx;

	if (f->ended || f->pop3 || f->transport || !TAILQ_EMPTY(&f->transits))
		return;
	f->ended = true;
	if (f->login.refused.class != ERR_NONE) /* whatever came between it and a second login */
		f->err = f->login.refused;
	f->on_end(f->ctx, f);
}

void fetch_fail(struct fetch *f, const struct err *err)
{
	set_err(f, err);
	if (f->transport)
		drop_connection(f);
	else
		turn_after_commit(&f->env->turn, &f->end);
}

static void on_listed(struct fetch *f)
{
	struct err err;

	if (listing_take(f, &err)) {
		fetch_fail(f, &err);
		return;
	}
	f->listed = true;
	fetch_pump(f);
}

/* ---- RETR and DELE ---- */

/* A step for each message: one for all would also ask for those whose attempts came meanwhile. */
static void on_attempted(void *ctx, bool durable)
{
	struct transit *t = ctx;
	struct fetch *f = t->fetch;

	if (!f->pop3 || t->state != TRANSIT_QUEUED)
		return;
	if (!durable) {
		fetch_fail(
			f, &(struct err){ ERR_LOCAL, 0, "the state database cannot be written" });
		return;
	}
	t->state = TRANSIT_ASKED;
	pop3_retr(f->pop3, t->number, env_now(f->env));
	want_flush(f);
}

static bool window_open(struct fetch *f)
{
	uint64_t next = maildrop_peek_wanted(&f->maildrop);

	if (f->maildrop.no_uidl && f->fresh + f->in_window >= MAILDROP_BATCH)
		return false;
	if (f->no_more || !next || f->in_window >= FETCH_WINDOW_MESSAGES)
		return false;
	if (env_now(f->env) - f->started >= FETCH_SESSION_MSEC)
		return false;
	if (!f->in_window)
		return true;
	return !maildrop_peek_suspect(&f->maildrop) &&
		f->window_octets + next <= FETCH_WINDOW_OCTETS;
}

/* Takes messages into the window; their RETR waits for the commit of their attempts. Not one by
 * one: each record and each command would then be a write of its own. */
static int refill(struct fetch *f, struct err *err)
{
	if (f->in_window > FETCH_WINDOW_MESSAGES - FETCH_GROUP)
		return 0;
	if (window_open(f) && listing_watch(f, err))
		return -1;
	while (window_open(f)) {
		uint32_t number = maildrop_next_wanted(&f->maildrop);
		struct item *it = maildrop_item(&f->maildrop, number);
		bool first;
		if (listing_attempt(f, number, &first, err))
			return -1;
		struct transit *t = transit_new(f, number, it, first);
		TAILQ_INSERT_TAIL(&f->transits, t, entry);
		f->in_window++;
		f->stats.asked++;
		f->window_octets += it->octets;
		step_init(&t->attempted, on_attempted, t);
		turn_after_commit(&f->env->turn, &t->attempted);
	}
	return 0;
}

/* DELE counts from QUIT on: there is no haste. */
static void delete_some(struct fetch *f)
{
	uint32_t number;

	if (f->env->dry_run || (f->undeleted < FETCH_GROUP && !TAILQ_EMPTY(&f->transits)))
		return;
	f->undeleted = 0;
	while ((number = maildrop_next_delete(&f->maildrop, env_wall(f->env))))
		pop3_dele(f->pop3, number, env_now(f->env));
}

static void finish(struct fetch *f)
{
	struct err err;

	if (listing_watch(f, &err)) {
		fetch_fail(f, &err);
		return;
	}
	if (maildrop_may_quit(&f->maildrop) && !(f->env->dry_run && f->maildrop.retr_deletes)) {
		f->quitting = true;
		pop3_quit(f->pop3, env_now(f->env));
	} else {
		drop_connection(f); /* QUIT would delete what was only retrieved */
	}
}

void fetch_pump(struct fetch *f)
{
	struct err err;

	if (!f->pop3) {
		turn_after_commit(&f->env->turn, &f->end);
		return;
	}
	if (!f->listed || f->quitting)
		return;
	if (refill(f, &err)) {
		fetch_fail(f, &err);
		return;
	}
	delete_some(f);
	want_flush(f);
	if (TAILQ_EMPTY(&f->transits) && !pop3_pending(f->pop3))
		finish(f);
}

bool fetch_settling(struct fetch *f, struct transit *t)
{
	struct err err;

	f->in_window--;
	f->window_octets -= t->listed_octets;
	if (f->pop3 && refill(f, &err))
		fetch_fail(f, &err);
	return f->in_window;
}

void fetch_settled(struct fetch *f, struct transit *t, enum item_state as)
{
	TAILQ_REMOVE(&f->transits, t, entry);
	f->undeleted++;
	if (as == ITEM_DONE)
		maildrop_done(&f->maildrop, t->number, env_wall(f->env));
	else if (as == ITEM_HELD)
		maildrop_held(&f->maildrop, t->number);
	else
		maildrop_left(&f->maildrop, t->number);
	f->stats.held += as == ITEM_HELD;
	f->stats.settled++;
	transit_free(t);
	TAILQ_FOREACH (t, &f->transits, entry)
		if (t->state == TRANSIT_PARKED)
			deliver_resume(t);
	fetch_pump(f);
}

/* ---- what the server says ---- */

static void on_refused(struct fetch *f, const struct err *refusal)
{
	struct err err;

	if (login_renew(&f->login, &f->env->loop, refusal, &err) < 0)
		fetch_fail(f, &err);
}

static void on_ready(struct fetch *f)
{
	const struct pop3_caps *caps = pop3_caps(f->pop3);
	msec_t now = env_now(f->env);

	f->logged_in = true;
	login_free(&f->login);
	f->login_delay_ms = (msec_t)caps->login_delay_s * 1000;
	f->maildrop.retr_deletes = f->account->provider->retr_deletes || caps->expire_0;
	fetch_log(f,
		&(struct log_entry){
			.event = EV_CONNECTION_OPENED, .text = transport_cipher(f->transport) });
	pop3_stat(f->pop3, now);
	pop3_uidl(f->pop3, now);
	pop3_list(f->pop3, now);
}

/* The message that RETR's answers are about: they come in the order of the commands. */
static struct transit *receiving(struct fetch *f, uint32_t number)
{
	struct transit *t;

	TAILQ_FOREACH (t, &f->transits, entry)
		if (t->number == number)
			return t;
	ensure(!"a RETR answer without its message");
	return NULL;
}

static void on_retr_data(struct fetch *f, const struct pop3_event *ev)
{
	struct transit *t = f->receiving;
	struct err err;

	if (!f->stats.since)
		f->stats.since = env_now(f->env);
	f->stats.octets += ev->data.len;
	if (transit_data(t, ev->data)) {
		err_set(&err, ERR_LIMIT, 0, "message %" PRIu32 " is larger than max_size",
			ev->number);
		transit_oversize(t); /* recorded first, then the connection goes */
		fetch_fail(f, &err);
	}
}

static void on_quit(struct fetch *f, const struct pop3_event *ev)
{
	struct err err;

	if (ev->type != POP3_QUIT_OK) {
		AUTO(strbuf_free) struct strbuf said = STRBUF_INIT;
		escape_foreign(&said, ev->reply);
		err_set(&err, ERR_TEMP, 0, "QUIT: %.150s; the next listing tells what is gone",
			strbuf_str(&said));
		set_err(f, &err);
	}
	if (!f->env->dry_run && listing_quit(f, ev->type == POP3_QUIT_OK, &err))
		set_err(f, &err);
	drop_connection(f);
}

static void on_event(struct fetch *f, const struct pop3_event *ev)
{
	switch (ev->type) {
	case POP3_NONE:
	case POP3_UIDL_END:
	case POP3_TOP_START:
	case POP3_TOP_DATA:
	case POP3_TOP_END:
	case POP3_TOP_ERR:
		break;
	case POP3_STARTTLS:
		transport_starttls(f->transport);
		break;
	case POP3_RENEW:
		on_refused(f, &ev->err);
		break;
	case POP3_READY:
		on_ready(f);
		break;
	case POP3_STAT:
		maildrop_count(&f->maildrop, ev->number);
		break;
	case POP3_UIDL_ITEM:
		maildrop_uid(&f->maildrop, ev->number, ev->uid);
		break;
	case POP3_UIDL_ERR:
		listing_refused(f, ev->reply);
		break;
	case POP3_LIST_ITEM:
		maildrop_size(&f->maildrop, ev->number, ev->octets);
		break;
	case POP3_LIST_END:
		on_listed(f);
		break;
	case POP3_RETR_START:
		f->receiving = receiving(f, ev->number);
		break;
	case POP3_RETR_DATA:
		on_retr_data(f, ev);
		break;
	case POP3_RETR_END:
		transit_received(f->receiving);
		break;
	case POP3_RETR_ERR:
		transit_refused(receiving(f, ev->number), ev->reply);
		break;
	case POP3_DELE_OK:
	case POP3_DELE_ERR:
	case POP3_NOOP_OK: /* the last transit may have settled meanwhile */
		if (ev->type != POP3_NOOP_OK)
			maildrop_deleted(&f->maildrop, ev->number, ev->type == POP3_DELE_OK);
		fetch_pump(f);
		break;
	case POP3_QUIT_OK:
	case POP3_QUIT_ERR:
		on_quit(f, ev);
		break;
	case POP3_FAILED:
		fetch_fail(f, &ev->err);
		break;
	}
}

/* ---- transport and timer ---- */

static void on_open(void *ctx)
{
	struct fetch *f = ctx;
	struct pop3_params params;

	want_flush(f);
	if (f->pop3) {
		pop3_secured(f->pop3, env_now(f->env));
		return;
	}
	params = login_pop3_params(&f->login, f->account);
	snprintf(f->pop_ip, sizeof f->pop_ip, "%s", transport_peer_ip(f->transport));
	f->pop3 = pop3_new(&params, env_now(f->env));
}

static void on_data(void *ctx, const char *buf, size_t len)
{
	struct fetch *f = ctx;
	struct pop3_event ev;

	/* What the relay has accepted is on record before the next messages take their time. */
	turn_write_urgent(&f->env->turn);
	while (len && f->pop3) {
		size_t n = pop3_feed(f->pop3, buf, len, env_now(f->env), &ev);
		buf += n;
		len -= n;
		on_event(f, &ev);
	}
	want_flush(f);
}

static void on_writable(void *ctx)
{
	want_flush(ctx);
}

static void on_closed(void *ctx, const struct err *err)
{
	struct fetch *f = ctx;
	struct pop3_event ev = { .type = POP3_FAILED };

	if (f->pop3 && !err) {
		pop3_eof(f->pop3, env_now(f->env), &ev);
		on_event(f, &ev);
		return;
	}
	if (!err)
		err_set(&ev.err, ERR_NET, 0, "connection closed before the greeting");
	fetch_fail(f, err ? err : &ev.err);
}

static msec_t next_noop(const struct fetch *f)
{
	bool waiting = f->listed && !f->quitting && !pop3_pending(f->pop3);

	return waiting ? f->last_command + NOOP_MSEC : MSEC_NEVER;
}

static msec_t next_timer(const struct fetch *f)
{
	msec_t at = f->started + FETCH_SESSION_MAX_MSEC;

	at = pop3_deadline(f->pop3) < at ? pop3_deadline(f->pop3) : at;
	return next_noop(f) < at ? next_noop(f) : at;
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct fetch *f = ctx;
	struct pop3_event ev = { 0 };
	msec_t now = env_now(f->env);

	if (!f->pop3)
		return;
	if (now >= f->started + FETCH_SESSION_MAX_MSEC) {
		fetch_fail(f, &(struct err){ ERR_LIMIT, 0, "the session lasts too long" });
		return;
	}
	if (now >= next_noop(f))
		pop3_noop(f->pop3, now);
	else
		pop3_tick(f->pop3, now, &ev);
	on_event(f, &ev);
	want_flush(f);
}

static void on_flush(void *ctx, bool durable)
{
	struct fetch *f = ctx;
	struct strview out;
	msec_t now = env_now(f->env), at;

	if (!f->pop3 || !transport_is_open(f->transport))
		return;
	pop3_output(f->pop3, &out);
	if (out.len) {
		f->last_command = now;
		pop3_sent(f->pop3, transport_write(f->transport, out.ptr, out.len));
	}
	at = next_timer(f);
	at = at > now ? at - now : 0;
	event_add(f->timer, &(struct timeval){ .tv_sec = at / 1000, .tv_usec = at % 1000 * 1000 });
}

/* ---- life ---- */

static const struct transport_ops ops = {
	.on_open = on_open,
	.on_data = on_data,
	.on_writable = on_writable,
	.on_closed = on_closed,
};

static void connect_to_provider(struct fetch *f)
{
	struct transport_target target;
	struct err err;

	if (login_target(f->account->provider, &target, &err))
		fetch_fail(f, &err);
	else
		f->transport = transport_open(&f->env->loop, &target, &ops, f);
}

static void on_secret(void *ctx, const struct err *err)
{
	struct fetch *f = ctx;
	struct pop3_event ev;

	if (err) {
		fetch_fail(f, err);
	} else if (f->pop3) {
		pop3_renew(f->pop3, login_secret(&f->login), env_now(f->env), &ev);
		on_event(f, &ev);
		want_flush(f);
	} else {
		connect_to_provider(f);
	}
}

static void begin(struct fetch *f)
{
	struct err err;
	int rc;

	login_init(&f->login, &f->account->password, on_secret, f);
	rc = login_get(&f->login, &f->env->loop, &err);
	if (rc <= 0)
		on_secret(f, rc ? &err : NULL);
}

struct fetch *fetch_new(struct env *env, struct config *config, const struct conf_account *account,
	struct relay *relay, struct locks locks, uint64_t cycle,
	void (*fn)(void *ctx, struct fetch *f), void *ctx)
{
	struct fetch *f = mem_zalloc(sizeof *f);

	f->env = env;
	f->config = config_ref(config);
	f->account = account;
	f->relay = relay_ref(relay);
	f->locks = locks;
	f->cycle = cycle;
	f->on_end = fn;
	f->ctx = ctx;
	f->started = env_now(env);
	TAILQ_INIT(&f->transits);
	f->timer = event_new(env->loop.base, -1, 0, on_timer, f);
	step_init(&f->flush, on_flush, f);
	step_init(&f->end, on_end, f);
	maildrop_init(&f->maildrop, account, account->provider->retr_deletes);
	fetch_log(f, &(struct log_entry){ .event = EV_CYCLE_STARTED, .text = "cycle started" });
	begin(f);
	return f;
}

void fetch_free(struct fetch *f)
{
	ensure(TAILQ_EMPTY(&f->transits) && !f->transport);
	login_free(&f->login);
	step_cancel(&f->end);
	step_cancel(&f->flush);
	event_free(f->timer);
	maildrop_free(&f->maildrop);
	locks_drop(&f->locks);
	relay_unref(f->relay);
	config_unref(f->config);
	free(f);
}

void fetch_relay_down(struct fetch *f)
{
	struct err err;

	if (!f->transport) /* no login for what cannot be handed over */
		login_free(&f->login);
	f->no_more = true;
	err_set(&err, ERR_NET, 0, "relay %s is down; what is not delivered stays with the provider",
		f->account->relay->name);
	set_err(f, &err);
	fetch_pump(f);
}

void fetch_stop(struct fetch *f)
{
	struct transit *t, *next;
	bool streaming = !f->listed;

	f->stopping = f->no_more = true;
	login_free(&f->login);
	set_err(f, &(struct err){ ERR_TEMP, 0, "stopped" });
	for (t = TAILQ_FIRST(&f->transits); t; t = next) {
		next = TAILQ_NEXT(t, entry);
		streaming |= t->state <= TRANSIT_RECEIVING;
		deliver_cancel(t);
	}
	if (streaming && f->transport)
		drop_connection(f); /* the answers to RETR would hold up the QUIT */
	else
		fetch_pump(f);
}
