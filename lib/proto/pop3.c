/*
 * The POP3 session; see pop3.h.
 *
 * Owns the state, the output that waits to be sent, and the line that is being read. Invariants:
 * `state` is written by pop3_go() only; whatever is sent goes through pop3_say().
 */
#include "base/encode.h"
#include "proto/pop3_impl.h"

#include <assert.h>
#include <stdlib.h>

struct state_row {
	const char *name;             /* log, status, error texts */
	int (*enter)(struct pop3 *p); /* what we say; < 0: it cannot be said, p->err says why */
	enum state (*reply)(struct pop3 *p, const struct pop3_reply *r); /* what the answer means */
	enum state (*challenge)(struct pop3 *p, struct strview said);    /* "+ ..." (RFC 5034) */
	bool timed;                 /* the peer has params.timeout_ms */
	enum pop3_event_type event; /* reported on entering */
};

/* ---- what goes wrong ---- */

int pop3_err_said(struct pop3 *p, enum err_class class, const char *what, struct strview said)
{
	struct strbuf masked AUTO(strbuf_wipe) = STRBUF_INIT;
	struct strbuf text AUTO(strbuf_free) = STRBUF_INIT;

	sasl_mask(&masked, said, p->params.password, p->sasl);
	escape_foreign(&text, strbuf_view(&masked));
	return err_set(&p->err, class, 0, "%s: %s", what, strbuf_str(&text));
}

int pop3_err_here(struct pop3 *p, enum err_class class, const char *what)
{
	return err_set(&p->err, class, 0, "%s (%s)", what, pop3_state_name(p));
}

enum state pop3_refused(
	struct pop3 *p, enum err_class class, const char *what, const struct pop3_reply *r)
{
	struct strbuf said AUTO(strbuf_wipe) = STRBUF_INIT;

	if (r->code.len)
		strbuf_addf(&said, "[%.*s] ", SV_FMT(r->code));
	strbuf_addv(&said, r->text);
	if (p->sasl && sasl_failure(p->sasl).len)
		strbuf_addf(&said, " %.*s", SV_FMT(sasl_failure(p->sasl)));
	pop3_err_said(p, class, what, strbuf_view(&said));
	p->err.code = pop3_refusal_code(r, class);
	return ST_FAILED;
}

/* ---- what we say ---- */

/* The room is made first: growing a buffer with a password in it would leave a copy behind. */
int pop3_say(struct pop3 *p, const char *verb, struct strview arg)
{
	if (!command_safe(arg))
		return pop3_err_here(
			p, ERR_CONFIG, "CR, LF or NUL in what the server must be told");
	mem_grow(&p->out.ptr, &p->out.cap, p->out.len + strlen(verb) + arg.len + 4, 1);
	strbuf_adds(&p->out, verb);
	if (arg.ptr && *verb)
		strbuf_addc(&p->out, ' ');
	strbuf_addv(&p->out, arg);
	strbuf_adds(&p->out, "\r\n");
	return 0;
}

/* ---- the states ---- */

static const struct state_row states[] = {
	[ST_GREETING] = { "greeting", NULL, pop3_on_greeting, .timed = true },
	[ST_CAPA] = { "CAPA", pop3_enter_capa, pop3_on_capa, .timed = true },
	[ST_STLS] = { "STLS", pop3_enter_stls, pop3_on_stls, .timed = true },
	[ST_HANDSHAKE] = { "TLS handshake", .timed = true, .event = POP3_STARTTLS },
	[ST_USER] = { "USER", pop3_enter_user, pop3_on_user, .timed = true },
	[ST_PASS] = { "PASS", pop3_enter_pass, pop3_on_login, .timed = true },
	[ST_APOP] = { "APOP", pop3_enter_apop, pop3_on_login, .timed = true },
	[ST_AUTH] = { "AUTH", pop3_enter_auth, pop3_on_login, pop3_on_challenge, .timed = true },
	[ST_AUTH_RESPONSE] = { "AUTH", pop3_enter_response, pop3_on_login, pop3_on_challenge,
		.timed = true },
	[ST_AUTH_CANCEL] = { "AUTH", pop3_enter_cancel, pop3_on_cancelled, .timed = true },
	[ST_RENEW] = { "login refused", .event = POP3_RENEW }, /* the caller's time */
	[ST_CAPA_AGAIN] = { "CAPA after login", pop3_enter_capa, pop3_on_capa, .timed = true },
	/* Not timed: with a command on the wire see pop3_await_answer(), without one the driver
	 * decides.
	 */
	[ST_READY] = { "ready", pop3_enter_ready, .event = POP3_READY },
	[ST_CLOSED] = { "closed" },
	[ST_FAILED] = { "failed", .event = POP3_FAILED },
};
static_assert(ARRAY_LEN(states) == ST_COUNT, "one row per state");

void pop3_go(struct pop3 *p, enum state next, msec_t now, struct pop3_event *ev)
{
	p->state = next;
	p->body = BODY_NONE;
	if (states[next].enter && states[next].enter(p) < 0)
		p->state = ST_FAILED;
	p->deadline = states[p->state].timed ? now + p->params.timeout_ms : MSEC_NEVER;
	if (ev)
		ev->type = states[p->state].event;
	if (ev && (p->state == ST_FAILED || p->state == ST_RENEW))
		ev->err = p->err;
}

/* ---- deadlines ---- */

/* One line is due, whatever trickles in: an absolute deadline. */
void pop3_await_answer(struct pop3 *p, msec_t now)
{
	p->deadline = pop3_answering(p) ? now + p->params.timeout_ms : MSEC_NEVER;
}

static void body_progress(struct pop3 *p, size_t octets, msec_t now)
{
	p->rate_octets += octets;
	if (p->rate_octets >= POP3_RATE_OCTETS) {
		p->rate_octets = 0;
		p->rate_until = now + POP3_RATE_MSEC;
	}
	p->deadline = now + p->params.timeout_ms;
	if (p->deadline > p->rate_until)
		p->deadline = p->rate_until;
}

/* A body may take its time, but neither stop nor trickle. */
static void body_timers(struct pop3 *p, msec_t now)
{
	p->rate_octets = POP3_RATE_OCTETS;
	body_progress(p, 0, now);
}

void pop3_body_begin(struct pop3 *p, enum body body, msec_t now)
{
	p->body = body;
	p->items = 0;
	p->octets = 0;
	body_timers(p, now);
}

/* ---- lines and content ---- */

static void on_status(struct pop3 *p, struct strview line, msec_t now, struct pop3_event *ev)
{
	const struct state_row *row = &states[p->state];
	struct pop3_reply r;

	if (row->challenge && (sv_eq(line, SV("+")) || sv_starts(line, SV("+ ")))) {
		pop3_go(p, row->challenge(p, sv_skip(line, 2)), now, ev);
	} else if (pop3_reply_parse(line, &r)) {
		pop3_err_said(p, ERR_PROTO, "neither +OK nor -ERR", line);
		pop3_go(p, ST_FAILED, now, ev);
	} else if (p->state == ST_READY) {
		pop3_answer(p, line, &r, now, ev);
	} else if (!row->reply) {
		pop3_refused(p, ERR_PROTO, "an answer that no command asked for", &r);
		pop3_go(p, ST_FAILED, now, ev);
	} else {
		enum state next = row->reply(p, &r);
		if (next != p->state)
			pop3_go(p, next, now, ev);
		else
			pop3_body_begin(p, p->body, now);
	}
}

static int capability(struct pop3 *p, struct strview line)
{
	if (p->items > POP3_CAPA_MAX_LINES)
		return err_set(&p->err, ERR_LIMIT, 0, "more than %u lines in the answer to CAPA",
			POP3_CAPA_MAX_LINES);
	pop3_caps_line(&p->caps, line);
	return 0;
}

static int listing_end(struct pop3 *p)
{
	if (p->items == p->count)
		return 0;
	return err_set(&p->err, ERR_PROTO, 0, "%s: %u lines for %u messages of STAT",
		pop3_state_name(p), p->items, p->count);
}

/* A line of a multi-line reply (RFC 1939 section 3) but its last. */
static int body_line(struct pop3 *p, struct strview line, struct pop3_event *ev)
{
	if (line.len > POP3_LIST_LINE_MAX_OCTETS)
		return pop3_err_here(p, ERR_LIMIT, "a line is too long");
	p->items++;
	if (sv_starts(line, SV(".")))
		line = sv_skip(line, 1);
	if (p->state != ST_READY)
		return capability(p, line);
	ev->type = pop3_answering_row(p)->part;
	return pop3_answering_row(p)->item(p, line, ev);
}

static void on_body_line(struct pop3 *p, struct strview line, msec_t now, struct pop3_event *ev)
{
	if (!sv_eq(line, SV("."))) {
		if (body_line(p, line, ev) < 0)
			pop3_go(p, ST_FAILED, now, ev);
	} else if (p->state != ST_READY) {
		pop3_go(p, pop3_after_capa(p), now, ev);
	} else if (listing_end(p) < 0) {
		pop3_go(p, ST_FAILED, now, ev);
	} else {
		ev->type = pop3_answering_row(p)->end;
		pop3_answered(p, now);
	}
}

static size_t feed_line(
	struct pop3 *p, const char *buf, size_t len, msec_t now, struct pop3_event *ev)
{
	struct strview line;
	size_t used;
	enum line_result result = line_feed(&p->lines, buf, len, &used, &line);

	if (p->body)
		body_progress(p, used, now);
	switch (result) {
	case LINE_MORE:
		break;
	case LINE_OK:
		if (p->body)
			on_body_line(p, line, now, ev);
		else
			on_status(p, line, now, ev);
		break;
	case LINE_TOO_LONG:
		pop3_err_here(p, ERR_LIMIT, "a line is too long");
		pop3_go(p, ST_FAILED, now, ev);
		break;
	case LINE_BARE_LF:
		pop3_err_here(p, ERR_PROTO, "a line ends in LF without CR");
		pop3_go(p, ST_FAILED, now, ev);
		break;
	}
	return used;
}

static size_t feed_content(
	struct pop3 *p, const char *buf, size_t len, msec_t now, struct pop3_event *ev)
{
	const struct command_row *row = pop3_answering_row(p);
	size_t used;
	enum unstuff_result result = unstuff_feed(&p->unstuff, buf, len, &used, &ev->data);

	ev->number = pop3_answering(p)->number;
	switch (result) {
	case UNSTUFF_DATA:
		p->octets += ev->data.len;
		ev->type = row->part;
		body_progress(p, used, now);
		break;
	case UNSTUFF_MORE:
		body_progress(p, used, now);
		break;
	case UNSTUFF_END:
		ev->octets = p->octets;
		ev->type = row->end;
		pop3_answered(p, now);
		break;
	}
	return used;
}

/* ---- the driver's side ---- */

struct pop3 *pop3_new(const struct pop3_params *params, msec_t now)
{
	struct pop3 *p = mem_zalloc(sizeof *p);

	p->params = *params;
	p->secured = params->tls == POP3_TLS_IMPLICIT;
	line_init(&p->lines, POP3_LINE_MAX_OCTETS, params->lf_lines);
	pop3_go(p, ST_GREETING, now, NULL);
	return p;
}

void pop3_free(struct pop3 *p)
{
	if (!p)
		return;
	strbuf_wipe(&p->out);
	strbuf_wipe(&p->lines.line); /* the server may have echoed what we said */
	strbuf_free(&p->timestamp);
	sasl_free(p->sasl);
	free(p->queue);
	free(p->seen);
	free(p);
}

size_t pop3_feed(struct pop3 *p, const char *buf, size_t len, msec_t now, struct pop3_event *ev)
{
	size_t taken = 0;

	ensure(p->state != ST_FAILED);
	*ev = (struct pop3_event){ .type = POP3_NONE };
	while (taken < len && !ev->type && p->state != ST_HANDSHAKE && p->state != ST_CLOSED) {
		if (p->body == BODY_CONTENT)
			taken += feed_content(p, buf + taken, len - taken, now, ev);
		else
			taken += feed_line(p, buf + taken, len - taken, now, ev);
	}
	if (p->state == ST_HANDSHAKE && taken < len) { /* RFC 2595 section 4: forged, or a bug */
		err_set(&p->err, ERR_TLS, 0, "data before the TLS handshake");
		pop3_go(p, ST_FAILED, now, ev);
	}
	return p->state == ST_CLOSED ? len : taken; /* what follows QUIT's answer means nothing */
}

void pop3_eof(struct pop3 *p, msec_t now, struct pop3_event *ev)
{
	ensure(p->state != ST_FAILED);
	*ev = (struct pop3_event){ .type = POP3_NONE };
	if (p->state == ST_CLOSED)
		return;
	if (p->state != ST_RENEW) /* else the refusal is what counts */
		pop3_err_here(p, ERR_NET, "the server closed the connection");
	pop3_go(p, ST_FAILED, now, ev);
}

msec_t pop3_deadline(const struct pop3 *p)
{
	return p->deadline;
}

void pop3_tick(struct pop3 *p, msec_t now, struct pop3_event *ev)
{
	*ev = (struct pop3_event){ .type = POP3_NONE };
	if (now < p->deadline)
		return;
	pop3_err_here(
		p, ERR_TIMEOUT, p->body ? "the answer stopped or trickles" : "no answer in time");
	pop3_go(p, ST_FAILED, now, ev);
}

void pop3_resume(struct pop3 *p, msec_t now)
{
	if (p->body)
		body_timers(p, now);
	else if (p->deadline != MSEC_NEVER)
		p->deadline = now + p->params.timeout_ms;
}

void pop3_secured(struct pop3 *p, msec_t now)
{
	ensure(p->state == ST_HANDSHAKE);
	p->secured = true;
	p->caps = (struct pop3_caps){ 0 }; /* RFC 2595 section 4: what was said in clear is void */
	pop3_go(p, ST_CAPA, now, NULL);
}

void pop3_renew(struct pop3 *p, struct strview password, msec_t now, struct pop3_event *ev)
{
	ensure(p->state == ST_RENEW);
	*ev = (struct pop3_event){ .type = POP3_NONE };
	p->params.password = password;
	p->params.renewable = false;
	pop3_go(p, pop3_login_state(p), now, ev);
}

void pop3_output(const struct pop3 *p, struct strview *out)
{
	*out = strbuf_view(&p->out);
}

void pop3_sent(struct pop3 *p, size_t len)
{
	strbuf_consume(&p->out, len);
	if (p->out.len || !p->secret_out)
		return;
	mem_wipe(p->out.ptr, p->out.cap);
	p->secret_out = false;
}

const char *pop3_state_name(const struct pop3 *p)
{
	bool command = p->state == ST_READY && pop3_answering(p);

	return command ? pop3_answering_row(p)->verb : states[p->state].name;
}

const struct pop3_caps *pop3_caps(const struct pop3 *p)
{
	return &p->caps;
}
