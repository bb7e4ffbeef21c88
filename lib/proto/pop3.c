/*
 * The POP3 client machine; see pop3.h.
 *
 * Owns the session's state, the output that waits to be sent, the line that is being read and the
 * queue of commands. Invariants: `state` is written by pop3_go() only; commands of the queue leave
 * in order and are answered in order, [head, next) are on the wire, [next, n) wait; whatever is
 * sent goes through say(); the credentials are said once the stream is secured or may stay clear,
 * and forgotten at READY.
 */
#include "proto/pop3.h"
#include "base/encode.h"
#include "proto/framing.h"
#include "proto/sasl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* RFC 2449 section 4: the longest command line, CRLF included. */
#define COMMAND_MAX_OCTETS 255
/* "TOP", two numbers of ten digits, spaces and CRLF, rounded up. */
#define QUEUED_COMMAND_MAX_OCTETS 32

enum state {
	ST_GREETING,
	ST_CAPA,
	ST_STLS,
	ST_HANDSHAKE,
	ST_USER,
	ST_PASS,
	ST_AUTH,           /* AUTH PLAIN with its initial response */
	ST_AUTH_CHALLENGE, /* AUTH PLAIN alone, the response follows "+" */
	ST_AUTH_RESPONSE,
	ST_CAPA_AGAIN, /* after the login */
	ST_READY,      /* from here on the queue decides */
	ST_CLOSED,     /* QUIT was answered */
	ST_FAILED,
	ST_COUNT
};

enum body { BODY_NONE, BODY_LINES, BODY_CONTENT };

enum kind {
	CMD_STAT,
	CMD_UIDL,
	CMD_LIST,
	CMD_RETR,
	CMD_TOP,
	CMD_DELE,
	CMD_NOOP,
	CMD_QUIT,
	CMD_COUNT
};

struct command {
	uint32_t number, lines;
	uint8_t kind;   /* enum kind */
	uint8_t octets; /* on the wire */
};

struct pop3 {
	struct pop3_params params;
	enum state state;
	enum body body; /* what of a multi-line reply is being read */
	bool secured, stat_asked, quit_asked;
	bool secret_out; /* the output has, or had, the password in it */
	struct pop3_caps caps;
	struct line_reader lines;
	struct unstuff unstuff;
	struct strbuf out;
	struct err err;

	msec_t deadline;
	msec_t rate_until; /* by then the body has brought another POP3_RATE_OCTETS */
	uint64_t rate_octets;

	struct command *queue;
	size_t cap, head, next, n;
	size_t flight_octets; /* of [head, next) */

	uint32_t count;  /* of STAT */
	uint32_t items;  /* lines of the body so far */
	uint8_t *seen;   /* a bit per message number of the listing */
	uint64_t octets; /* of the message so far */
};

struct state_row {
	const char *name;             /* log, status, error texts */
	int (*enter)(struct pop3 *p); /* what we say; < 0: it cannot be said, p->err says why */
	enum state (*reply)(struct pop3 *p, const struct pop3_reply *r); /* what the answer means */
	enum state challenge;       /* where "+ ..." (RFC 5034) leads; 0: nowhere */
	bool timed;                 /* the peer has params.timeout_ms */
	enum pop3_event_type event; /* reported on entering */
};

struct command_row {
	const char *verb;
	uint8_t args; /* how many numbers */
	enum body body;
	/* start: +OK of a multi-line reply; end: its end, or the +OK of another; err: none = fatal
	 */
	enum pop3_event_type start, part, end, err;
	int (*status)(struct pop3 *p, const struct pop3_reply *r, struct pop3_event *ev);
	int (*item)(struct pop3 *p, struct strview line, struct pop3_event *ev);
};

/* The command that is being answered; NULL: none. */
static const struct command *answering(const struct pop3 *p)
{
	return p->head < p->next ? &p->queue[p->head] : NULL;
}

/* ---- what goes wrong ---- */

/* Fills p->err with what the server said, which may be our own password. */
static int err_said(struct pop3 *p, enum err_class class, const char *what, struct strview said)
{
	struct strbuf masked AUTO(strbuf_wipe) = STRBUF_INIT;
	struct strbuf text AUTO(strbuf_free) = STRBUF_INIT;

	sasl_mask(&masked, said, p->params.user, p->params.password);
	escape_foreign(&text, strbuf_view(&masked));
	return err_set(&p->err, class, 0, "%s: %s", what, strbuf_str(&text));
}

static int err_here(struct pop3 *p, enum err_class class, const char *what)
{
	return err_set(&p->err, class, 0, "%s (%s)", what, pop3_state_name(p));
}

/* For the handlers of replies: the session ends here, for this reason. */
static enum state refused(
	struct pop3 *p, enum err_class class, const char *what, const struct pop3_reply *r)
{
	struct strbuf said AUTO(strbuf_wipe) = STRBUF_INIT;

	if (r->code.len)
		strbuf_addf(&said, "[%.*s] ", SV_FMT(r->code));
	strbuf_addv(&said, r->text);
	err_said(p, class, what, strbuf_view(&said));
	return ST_FAILED;
}

/* ---- what we say ---- */

/*
 * The one writer of command lines. The room is made first: growing a buffer with a password in it
 * would leave a copy behind.
 */
static int say(struct pop3 *p, const char *verb, struct strview arg)
{
	if (!command_safe(arg))
		return err_here(p, ERR_CONFIG, "CR, LF or NUL in what the server must be told");
	mem_grow(&p->out.ptr, &p->out.cap, p->out.len + strlen(verb) + arg.len + 4, 1);
	strbuf_adds(&p->out, verb);
	if (arg.ptr && *verb)
		strbuf_addc(&p->out, ' ');
	strbuf_addv(&p->out, arg);
	strbuf_adds(&p->out, "\r\n");
	return 0;
}

static int say_secret(struct pop3 *p, const char *verb, struct strview secret)
{
	ensure(p->secured || p->params.tls == POP3_TLS_NONE);
	p->secret_out = true;
	return say(p, verb, secret);
}

static int enter_capa(struct pop3 *p)
{
	return say(p, "CAPA", (struct strview){ 0 });
}

static int enter_stls(struct pop3 *p)
{
	return say(p, "STLS", (struct strview){ 0 });
}

static int enter_user(struct pop3 *p)
{
	return say_secret(p, "USER", p->params.user);
}

static int enter_pass(struct pop3 *p)
{
	return say_secret(p, "PASS", p->params.password);
}

static int say_plain(struct pop3 *p, const char *verb)
{
	struct strbuf blob AUTO(strbuf_wipe) = STRBUF_INIT;

	/* NUL is what separates the two in the response: checked here, base64 would hide it. */
	if (!command_safe(p->params.user) || !command_safe(p->params.password))
		return err_here(p, ERR_CONFIG, "CR, LF or NUL in user or password");
	sasl_plain(&blob, p->params.user, p->params.password);
	return say_secret(p, verb, strbuf_view(&blob));
}

static int enter_auth(struct pop3 *p)
{
	return say_plain(p, "AUTH PLAIN");
}

static int enter_challenge(struct pop3 *p)
{
	return say(p, "AUTH PLAIN", (struct strview){ 0 });
}

static int enter_response(struct pop3 *p)
{
	return say_plain(p, "");
}

static int enter_ready(struct pop3 *p)
{
	p->params.user = p->params.password = (struct strview){ 0 };
	return 0;
}

/* ---- what the answers to the login phases mean ---- */

static enum state plain_state(const struct pop3 *p)
{
	size_t blob = (p->params.user.len + p->params.password.len + 2 + 2) / 3 * 4;

	return strlen("AUTH PLAIN ") + blob + strlen("\r\n") <= COMMAND_MAX_OCTETS
		? ST_AUTH
		: ST_AUTH_CHALLENGE;
}

static enum state after_capa(struct pop3 *p)
{
	if (p->state == ST_CAPA_AGAIN)
		return ST_READY;
	if (p->params.tls == POP3_TLS_STLS && !p->secured) {
		if (p->caps.stls)
			return ST_STLS;
		err_set(&p->err, ERR_TLS, 0, "TLS is required and the server does not offer STLS");
		return ST_FAILED;
	}
	switch (p->params.auth) {
	case POP3_AUTH_AUTO:
		return p->secured && p->caps.sasl_plain ? plain_state(p) : ST_USER;
	case POP3_AUTH_USER:
		return ST_USER;
	case POP3_AUTH_PLAIN:
		return plain_state(p);
	}
	return ST_FAILED;
}

static enum state on_greeting(struct pop3 *p, const struct pop3_reply *r)
{
	return r->ok ? ST_CAPA : refused(p, pop3_error_class(r), "the server refuses service", r);
}

static enum state on_capa(struct pop3 *p, const struct pop3_reply *r)
{
	if (!r->ok)
		return after_capa(p); /* RFC 2449 section 5: then it has none, or says no more */
	p->caps = (struct pop3_caps){ 0 };
	p->body = BODY_LINES;
	return p->state;
}

static enum state on_stls(struct pop3 *p, const struct pop3_reply *r)
{
	return r->ok ? ST_HANDSHAKE : refused(p, ERR_TLS, "TLS is required and STLS refused", r);
}

static enum state on_user(struct pop3 *p, const struct pop3_reply *r)
{
	return r->ok ? ST_PASS : refused(p, pop3_login_class(r), "login refused", r);
}

static enum state on_login(struct pop3 *p, const struct pop3_reply *r)
{
	if (!r->ok)
		return refused(p, pop3_login_class(r), "login refused", r);
	return p->caps.login_delay_user ? ST_CAPA_AGAIN : ST_READY;
}

static enum state on_challenge(struct pop3 *p, const struct pop3_reply *r)
{
	if (!r->ok)
		return refused(p, pop3_login_class(r), "login refused", r);
	err_here(p, ERR_PROTO, "+OK before the credentials were said");
	return ST_FAILED;
}

static const struct state_row states[] = {
	[ST_GREETING] = { "greeting", NULL, on_greeting, .timed = true },
	[ST_CAPA] = { "CAPA", enter_capa, on_capa, .timed = true },
	[ST_STLS] = { "STLS", enter_stls, on_stls, .timed = true },
	[ST_HANDSHAKE] = { "TLS handshake", .timed = true, .event = POP3_STARTTLS },
	[ST_USER] = { "USER", enter_user, on_user, .timed = true },
	[ST_PASS] = { "PASS", enter_pass, on_login, .timed = true },
	[ST_AUTH] = { "AUTH PLAIN", enter_auth, on_login, .timed = true },
	[ST_AUTH_CHALLENGE] = { "AUTH PLAIN", enter_challenge, on_challenge, ST_AUTH_RESPONSE,
		.timed = true },
	[ST_AUTH_RESPONSE] = { "AUTH PLAIN", enter_response, on_login, .timed = true },
	[ST_CAPA_AGAIN] = { "CAPA after login", enter_capa, on_capa, .timed = true },
	/* Not timed: with a command on the wire see await_answer(), without one the driver decides.
	 */
	[ST_READY] = { "ready", enter_ready, .event = POP3_READY },
	[ST_CLOSED] = { "closed" },
	[ST_FAILED] = { "failed", .event = POP3_FAILED },
};
static_assert(ARRAY_LEN(states) == ST_COUNT, "one row per state");

/* The only writer of p->state. */
static void pop3_go(struct pop3 *p, enum state next, msec_t now, struct pop3_event *ev)
{
	p->state = next;
	p->body = BODY_NONE;
	if (states[next].enter && states[next].enter(p) < 0)
		p->state = ST_FAILED;
	p->deadline = states[p->state].timed ? now + p->params.timeout_ms : MSEC_NEVER;
	if (ev)
		ev->type = states[p->state].event;
	if (ev && p->state == ST_FAILED)
		ev->err = p->err;
}

/* ---- deadlines ---- */

/* One line is due, whatever trickles in: an absolute deadline. */
static void await_answer(struct pop3 *p, msec_t now)
{
	p->deadline = answering(p) ? now + p->params.timeout_ms : MSEC_NEVER;
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

static void body_begin(struct pop3 *p, enum body body, msec_t now)
{
	p->body = body;
	p->items = 0;
	p->octets = 0;
	body_timers(p, now);
}

/* ---- what the answers to commands mean ---- */

static int status_stat(struct pop3 *p, const struct pop3_reply *r, struct pop3_event *ev)
{
	if (pop3_stat_parse(r->text, &p->count, &ev->octets))
		return err_said(p, ERR_PROTO, "bad answer to STAT", r->text);
	if (p->count > POP3_LISTING_MAX)
		return err_set(&p->err, ERR_LIMIT, 0,
			"%u messages in the maildrop, the limit is %u", p->count, POP3_LISTING_MAX);
	ev->number = p->count;
	return 0;
}

static int status_listing(struct pop3 *p, const struct pop3_reply *r, struct pop3_event *ev)
{
	free(p->seen);
	p->seen = mem_zalloc(p->count / 8 + 1);
	return 0;
}

/* A number twice would make the count right and the listing wrong. */
static int mark_listed(struct pop3 *p, uint32_t number)
{
	uint8_t bit = (uint8_t)(1 << number % 8);

	if (p->seen[number / 8] & bit)
		return err_set(&p->err, ERR_PROTO, 0, "%s: message %u is listed twice",
			pop3_state_name(p), number);
	p->seen[number / 8] |= bit;
	return 0;
}

static int item_uidl(struct pop3 *p, struct strview line, struct pop3_event *ev)
{
	if (pop3_uidl_parse(line, p->count, &ev->number, &ev->uid) == 1)
		return err_said(p, ERR_PROTO, "bad line in the answer to UIDL", line);
	return mark_listed(p, ev->number);
}

static int item_list(struct pop3 *p, struct strview line, struct pop3_event *ev)
{
	if (pop3_list_parse(line, p->count, &ev->number, &ev->octets))
		return err_said(p, ERR_PROTO, "bad line in the answer to LIST", line);
	return mark_listed(p, ev->number);
}

static const struct command_row commands[] = {
	[CMD_STAT] = { "STAT", .end = POP3_STAT, .status = status_stat },
	[CMD_UIDL] = { "UIDL", 0, BODY_LINES, POP3_NONE, POP3_UIDL_ITEM, POP3_UIDL_END,
		POP3_UIDL_ERR, status_listing, item_uidl },
	[CMD_LIST] = { "LIST", 0, BODY_LINES, POP3_NONE, POP3_LIST_ITEM, POP3_LIST_END,
		.status = status_listing, .item = item_list },
	[CMD_RETR] = { "RETR", 1, BODY_CONTENT, POP3_RETR_START, POP3_RETR_DATA, POP3_RETR_END,
		POP3_RETR_ERR },
	[CMD_TOP] = { "TOP", 2, BODY_CONTENT, POP3_TOP_START, POP3_TOP_DATA, POP3_TOP_END,
		POP3_TOP_ERR },
	[CMD_DELE] = { "DELE", 1, .end = POP3_DELE_OK, .err = POP3_DELE_ERR },
	[CMD_NOOP] = { "NOOP", .end = POP3_NOOP_OK },
	[CMD_QUIT] = { "QUIT", .end = POP3_QUIT_OK, .err = POP3_QUIT_ERR },
};
static_assert(ARRAY_LEN(commands) == CMD_COUNT, "one row per command");

/* ---- the queue ---- */

static int say_command(struct pop3 *p, struct command *c)
{
	const struct command_row *row = &commands[c->kind];
	char args[QUEUED_COMMAND_MAX_OCTETS];
	size_t before = p->out.len;
	int len = 0;

	if (row->args == 1)
		len = snprintf(args, sizeof args, "%u", c->number);
	else if (row->args == 2)
		len = snprintf(args, sizeof args, "%u %u", c->number, c->lines);
	if (say(p, row->verb, sv(row->args ? args : NULL, (size_t)len)) < 0)
		return -1;
	c->octets = (uint8_t)(p->out.len - before);
	p->flight_octets += c->octets;
	return 0;
}

/* RFC 2449 section 6.6: the group must fit into the window, or both sides may wait for ever. */
static bool window_open(const struct pop3 *p)
{
	size_t flight = p->next - p->head;

	if (!p->caps.pipelining)
		return !flight;
	return flight < POP3_WINDOW_COMMANDS &&
		p->flight_octets + QUEUED_COMMAND_MAX_OCTETS <= POP3_WINDOW_OCTETS;
}

static void pump(struct pop3 *p, msec_t now)
{
	bool was_idle = !answering(p);

	while (p->next < p->n && window_open(p))
		ensure(say_command(p, &p->queue[p->next++]) == 0);
	if (was_idle)
		await_answer(p, now);
}

static void enqueue(struct pop3 *p, struct command c, msec_t now)
{
	ensure(p->state == ST_READY && !p->quit_asked);
	if (p->n == p->cap && p->head > p->cap / 2) { /* rather move than grow */
		memmove(p->queue, p->queue + p->head, (p->n - p->head) * sizeof *p->queue);
		p->next -= p->head;
		p->n -= p->head;
		p->head = 0;
	}
	mem_grow(&p->queue, &p->cap, p->n + 1, sizeof *p->queue);
	p->queue[p->n++] = c;
	pump(p, now);
}

static void command_done(struct pop3 *p, msec_t now)
{
	const struct command *c = answering(p);

	p->body = BODY_NONE;
	p->flight_octets -= c->octets;
	p->head++;
	if (p->head == p->n)
		p->head = p->next = p->n = 0;
	if (c->kind == CMD_QUIT) {
		pop3_go(p, ST_CLOSED, now, NULL);
		return;
	}
	await_answer(p, now);
	pump(p, now);
}

/* ---- answers in the order of the commands ---- */

/* Nobody asked: the server says goodbye (autologout), or we are out of step. */
static enum state unasked(struct pop3 *p, const struct pop3_reply *r)
{
	if (r->ok)
		return refused(p, ERR_PROTO, "an answer that no command asked for", r);
	return refused(p, pop3_error_class(r), "the server ends the session", r);
}

static void on_answer(struct pop3 *p, struct strview line, const struct pop3_reply *r, msec_t now,
	struct pop3_event *ev)
{
	const struct command *c = answering(p);

	if (!c) {
		pop3_go(p, unasked(p, r), now, ev);
		return;
	}
	const struct command_row *row = &commands[c->kind];
	if (!r->ok && !row->err) {
		pop3_go(p, refused(p, pop3_error_class(r), row->verb, r), now, ev);
		return;
	}
	ev->number = c->number;
	ev->reply = line;
	if (r->ok && row->status && row->status(p, r, ev) < 0) {
		pop3_go(p, ST_FAILED, now, ev);
	} else if (r->ok && row->body) {
		ev->type = row->start;
		body_begin(p, row->body, now);
		unstuff_init(&p->unstuff, p->params.lf_lines);
	} else {
		ev->type = r->ok ? row->end : row->err;
		command_done(p, now);
	}
}

/* ---- lines and content ---- */

static void on_status(struct pop3 *p, struct strview line, msec_t now, struct pop3_event *ev)
{
	const struct state_row *row = &states[p->state];
	struct pop3_reply r;

	if (row->challenge && (sv_eq(line, SV("+")) || sv_starts(line, SV("+ ")))) {
		pop3_go(p, row->challenge, now, ev);
	} else if (pop3_reply_parse(line, &r)) {
		err_said(p, ERR_PROTO, "neither +OK nor -ERR", line);
		pop3_go(p, ST_FAILED, now, ev);
	} else if (p->state == ST_READY) {
		on_answer(p, line, &r, now, ev);
	} else {
		enum state next = row->reply(p, &r);
		if (next != p->state)
			pop3_go(p, next, now, ev);
		else
			body_begin(p, p->body, now);
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
		return err_here(p, ERR_LIMIT, "a line is too long");
	p->items++;
	if (sv_starts(line, SV(".")))
		line = sv_skip(line, 1);
	if (p->state != ST_READY)
		return capability(p, line);
	ev->type = commands[answering(p)->kind].part;
	return commands[answering(p)->kind].item(p, line, ev);
}

static void on_body_line(struct pop3 *p, struct strview line, msec_t now, struct pop3_event *ev)
{
	if (!sv_eq(line, SV("."))) {
		if (body_line(p, line, ev) < 0)
			pop3_go(p, ST_FAILED, now, ev);
	} else if (p->state != ST_READY) {
		pop3_go(p, after_capa(p), now, ev);
	} else if (listing_end(p) < 0) {
		pop3_go(p, ST_FAILED, now, ev);
	} else {
		ev->type = commands[answering(p)->kind].end;
		command_done(p, now);
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
		err_here(p, ERR_LIMIT, "a line is too long");
		pop3_go(p, ST_FAILED, now, ev);
		break;
	case LINE_BARE_LF:
		err_here(p, ERR_PROTO, "a line ends in LF without CR");
		pop3_go(p, ST_FAILED, now, ev);
		break;
	}
	return used;
}

static size_t feed_content(
	struct pop3 *p, const char *buf, size_t len, msec_t now, struct pop3_event *ev)
{
	const struct command *c = answering(p);
	size_t used;
	enum unstuff_result result = unstuff_feed(&p->unstuff, buf, len, &used, &ev->data);

	ev->number = c->number;
	switch (result) {
	case UNSTUFF_DATA:
		p->octets += ev->data.len;
		ev->type = commands[c->kind].part;
		body_progress(p, used, now);
		break;
	case UNSTUFF_MORE:
		body_progress(p, used, now);
		break;
	case UNSTUFF_END:
		ev->octets = p->octets;
		ev->type = commands[c->kind].end;
		command_done(p, now);
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
	err_here(p, ERR_NET, "the server closed the connection");
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
	err_here(p, ERR_TIMEOUT, p->body ? "the answer stopped or trickles" : "no answer in time");
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

void pop3_stat(struct pop3 *p, msec_t now)
{
	p->stat_asked = true;
	enqueue(p, (struct command){ .kind = CMD_STAT }, now);
}

void pop3_uidl(struct pop3 *p, msec_t now)
{
	ensure(p->stat_asked);
	enqueue(p, (struct command){ .kind = CMD_UIDL }, now);
}

void pop3_list(struct pop3 *p, msec_t now)
{
	ensure(p->stat_asked);
	enqueue(p, (struct command){ .kind = CMD_LIST }, now);
}

void pop3_retr(struct pop3 *p, uint32_t number, msec_t now)
{
	enqueue(p, (struct command){ .kind = CMD_RETR, .number = number }, now);
}

void pop3_top(struct pop3 *p, uint32_t number, uint32_t lines, msec_t now)
{
	enqueue(p, (struct command){ .kind = CMD_TOP, .number = number, .lines = lines }, now);
}

void pop3_dele(struct pop3 *p, uint32_t number, msec_t now)
{
	enqueue(p, (struct command){ .kind = CMD_DELE, .number = number }, now);
}

void pop3_noop(struct pop3 *p, msec_t now)
{
	enqueue(p, (struct command){ .kind = CMD_NOOP }, now);
}

void pop3_quit(struct pop3 *p, msec_t now)
{
	enqueue(p, (struct command){ .kind = CMD_QUIT }, now);
	p->quit_asked = true;
}

const char *pop3_state_name(const struct pop3 *p)
{
	const struct command *c = p->state == ST_READY ? answering(p) : NULL;

	return c ? commands[c->kind].verb : states[p->state].name;
}

const struct pop3_caps *pop3_caps(const struct pop3 *p)
{
	return &p->caps;
}

size_t pop3_pending(const struct pop3 *p)
{
	return p->n - p->head;
}
