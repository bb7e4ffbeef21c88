/*
 * The SMTP/LMTP client machine; see smtp.h.
 *
 * Owns the output that is not written yet, the reply that is not complete yet, and the state of one
 * transaction; the mail is the caller's. Invariants:
 *
 * - A state is what we wait for: its row says what we say on entering it, what the answer means and
 *   how long it may take. Only smtp_go() changes it, and that starts the answer's absolute
 *   deadline: a peer who says one octet every 50 s does not hold us.
 * - Pipelining is not a second way through the states: it only moves what the states MAIL, RCPT and
 *   DATA say to the first of them (RFC 2920 section 3.1: DATA may end a group).
 * - In a transaction a recipient is PENDING until it has its final outcome; those that are PENDING
 *   when DATA was answered are the ones that the server took.
 * - Nothing is written in DOT: what follows a final dot waits for its reply.
 */
#include "proto/smtp_impl.h"

#include "base/encode.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define XFORWARD_NAME_MAX_OCTETS 100 /* of 255; each may become three, and a line has 512 */

struct state_row {
	const char *name;
	const char *command;          /* what we say on entering it, */
	void (*enter)(struct smtp *); /* where it takes more than one word */
	/* What the answer means: `good`, or any 4xx or 5xx but 421. NULL: no answer is due. */
	enum smtp_state (*reply)(struct smtp *, const struct smtp_reply *);
	int good;            /* first digit of the answer that lets us go on */
	uint32_t timeout_ms; /* 0: see the comment */
	bool quiet;          /* that the connection ends here is nobody's fault */
	enum smtp_state (*challenge)(struct smtp *, const struct smtp_reply *); /* 334 */
};
static const struct state_row states[STATE_COUNT];

/* ---- what we say ---- */

/* The one writer of commands. What comes from a message was checked by fit() before. */
void smtp_say(struct smtp *s, const char *verb, const char *argument, const char *tail)
{
	ensure(command_safe(sv_str(argument)));
	strbuf_adds(&s->out, verb);
	strbuf_adds(&s->out, argument);
	strbuf_adds(&s->out, tail);
	strbuf_adds(&s->out, "\r\n");
}

static void forget_secrets(struct smtp *s)
{
	sasl_free(s->sasl);
	s->sasl = NULL;
	s->params.user = s->params.password = s->line = (struct strview){ 0 };
}

static void enter_idle(struct smtp *s)
{
	forget_secrets(s);
	s->event = s->ready ? SMTP_DONE : SMTP_READY;
	s->ready = true;
}

static void say_rcpt(struct smtp *s, const struct smtp_rcpt *rcpt)
{
	bool never = s->mail->notify_never && s->ext.dsn;

	smtp_say(s, "RCPT TO:<", rcpt->address, never ? "> NOTIFY=NEVER" : ">");
}

/* MAIL, and with PIPELINING all that follows it. */
static void say_group(struct smtp *s)
{
	const struct smtp_mail *mail = s->mail;
	char size[32] = "", tail[80];

	if (s->ext.size)
		snprintf(size, sizeof size, " SIZE=%" PRIu64, mail->octets);
	snprintf(tail, sizeof tail, ">%s%s%s", size,
		mail->eightbit && s->ext.eightbitmime ? " BODY=8BITMIME" : "",
		s->utf8 ? " SMTPUTF8" : "");
	smtp_say(s, "MAIL FROM:<", mail->sender, tail);
	s->dirty = true;
	if (!s->ext.pipelining)
		return;
	for (size_t i = 0; i < mail->nrcpts; i++)
		if (mail->rcpts[i].outcome == SMTP_PENDING)
			say_rcpt(s, &mail->rcpts[i]);
	if (!mail->verify)
		smtp_say(s, "DATA", "", "");
}

static void enter_mail(struct smtp *s)
{
	if (!s->grouped)
		say_group(s);
	s->grouped = false;
}

static bool forwards(const struct smtp *s)
{
	return s->params.xforward && (s->ext.xforward_name || s->ext.xforward_addr);
}

/* RFC 3461 section 4: xtext. */
static void add_attribute(
	struct strbuf *out, const char *name, const char *prefix, const char *value)
{
	strbuf_addf(out, " %s=", name);
	if (!value) {
		strbuf_adds(out, "[UNAVAILABLE]");
		return;
	}
	strbuf_adds(out, prefix);
	for (const unsigned char *p = (const unsigned char *)value; *p; p++)
		if (*p > ' ' && *p < 0x7f && *p != '+' && *p != '=')
			strbuf_addc(out, (char)*p);
		else
			strbuf_addf(out, "+%02X", *p);
}

/*
 * Postfix's XFORWARD. Said for each mail, also where nothing is known: what was said of the one
 * before must not stay.
 */
static void enter_xforward(struct smtp *s)
{
	struct strbuf said AUTO(strbuf_free) = STRBUF_INIT;
	const char *name = s->mail->client_name, *ip = s->mail->client_ip;

	if (name && strlen(name) > XFORWARD_NAME_MAX_OCTETS)
		name = NULL;
	if (s->ext.xforward_name)
		add_attribute(&said, "NAME", "", name);
	if (s->ext.xforward_addr)
		add_attribute(&said, "ADDR", ip && strchr(ip, ':') ? "IPV6:" : "", ip);
	smtp_say(s, "XFORWARD", strbuf_str(&said), "");
	s->grouped = s->ext.pipelining;
	if (s->grouped)
		say_group(s);
}

/* The next recipient without an outcome; NULL: MAIL was refused, and with it all of them. */
static struct smtp_rcpt *next_rcpt(struct smtp *s)
{
	while (s->rcpt < s->mail->nrcpts && s->mail->rcpts[s->rcpt].outcome != SMTP_PENDING)
		s->rcpt++;
	return s->rcpt < s->mail->nrcpts ? &s->mail->rcpts[s->rcpt] : NULL;
}

static void enter_rcpt(struct smtp *s)
{
	if (!s->ext.pipelining)
		say_rcpt(s, next_rcpt(s));
}

static void enter_data(struct smtp *s)
{
	if (!s->ext.pipelining)
		smtp_say(s, "DATA", "", "");
}

static void enter_body(struct smtp *s)
{
	stuff_init(&s->stuff);
	s->event = SMTP_BODY;
}

/* ---- outcomes ---- */

static void settle(
	struct smtp_rcpt *rcpt, enum smtp_outcome outcome, const struct smtp_reply *reply)
{
	rcpt->outcome = outcome;
	rcpt->reply = *reply;
}

static void settle_all(struct smtp *s, enum smtp_outcome outcome, const struct smtp_reply *reply)
{
	for (size_t i = 0; i < s->mail->nrcpts; i++)
		if (s->mail->rcpts[i].outcome == SMTP_PENDING)
			settle(&s->mail->rcpts[i], outcome, reply);
}

/* A reply to the final dot is about all, by LMTP about the next (RFC 2033 section 4.2). */
static void settle_dot(struct smtp *s, enum smtp_outcome outcome, const struct smtp_reply *reply)
{
	if (s->params.lmtp)
		settle(next_rcpt(s), outcome, reply);
	else
		settle_all(s, outcome, reply);
	s->left--;
}

enum smtp_state smtp_fail(
	struct smtp *s, enum err_class class, const char *why, const struct smtp_reply *r)
{
	AUTO(strbuf_free) struct strbuf said = STRBUF_INIT;
	int code = r ? r->code : 0;

	if (code)
		strbuf_addf(&said, "%d ", code);
	escape_foreign(&said, sv_str(r ? r->text : ""));
	err_set(&s->err, class, code, "%s: %s%s%s", states[s->state].name, why,
		said.len ? ": " : "", strbuf_str(&said));
	s->cause.code = code;
	snprintf(s->cause.text, sizeof s->cause.text, "%s", code ? r->text : s->err.text);
	if (s->mail)
		settle_all(s, s->state == STATE_DOT ? SMTP_IN_DOUBT : SMTP_CONNECTION, &s->cause);
	strbuf_clear(&s->out);
	s->sent = 0;
	s->event = states[s->state].quiet ? SMTP_CLOSED : SMTP_FAILED;
	return STATE_DEAD;
}

/* ---- what the answers mean ---- */

#define TOO_EARLY "a reply to content that was not sent"

enum smtp_state smtp_fail_refused(struct smtp *s, const struct smtp_reply *r)
{
	return smtp_fail(s, r->code < 500 ? ERR_TEMP : ERR_PERM, "refused", r);
}

static enum smtp_state first_state(const struct smtp *s)
{
	return forwards(s) ? STATE_XFORWARD : STATE_MAIL;
}

static enum smtp_state on_rset(struct smtp *s, const struct smtp_reply *r)
{
	return smtp_refused(r) ? smtp_fail_refused(s, r) : first_state(s);
}

static enum smtp_state on_xforward(struct smtp *s, const struct smtp_reply *r)
{
	if (smtp_refused(r)) { /* we are not one of those whom it believes: the mail matters more */
		s->ext.xforward_name = s->ext.xforward_addr = false;
		s->event = SMTP_XFORWARD_REFUSED;
		s->cause = *r;
	}
	return STATE_MAIL;
}

static enum smtp_state on_mail(struct smtp *s, const struct smtp_reply *r)
{
	if (!smtp_refused(r))
		return STATE_RCPT;
	settle_all(s, smtp_refusal(r->code), r);
	return s->ext.pipelining ? STATE_RCPT : STATE_IDLE; /* the other answers are to come */
}

static enum smtp_state on_rcpt(struct smtp *s, const struct smtp_reply *r)
{
	struct smtp_rcpt *rcpt = next_rcpt(s);

	if (rcpt && (smtp_refused(r) || s->mail->verify))
		settle(rcpt, smtp_refused(r) ? smtp_rcpt_refusal(r->code, s->taken) : SMTP_ACCEPTED,
			r);
	else if (rcpt)
		s->taken++;
	s->rcpt++;
	if (--s->left)
		return STATE_RCPT;
	return !s->mail->verify && (s->taken || s->ext.pipelining) ? STATE_DATA : STATE_IDLE;
}

static enum smtp_state on_data(struct smtp *s, const struct smtp_reply *r)
{
	if (smtp_refused(r)) {
		settle_all(s, smtp_refusal(r->code), r);
		return STATE_IDLE;
	}
	if (s->surplus) /* else it would pass for the reply to our final dot */
		return smtp_fail(s, ERR_PROTO, TOO_EARLY, NULL);
	return s->taken ? STATE_BODY : STATE_LONE_DOT;
}

/* A server that has had enough of it; the only way to stop is to hang up. */
static enum smtp_state on_body(struct smtp *s, const struct smtp_reply *r)
{
	settle_all(s, smtp_refusal(r->code), r);
	return smtp_fail_refused(s, r);
}

static enum smtp_state on_dot(struct smtp *s, const struct smtp_reply *r)
{
	if (s->out.len) /* our dot has not even left */
		return smtp_refused(r) ? on_body(s, r) : smtp_fail(s, ERR_PROTO, TOO_EARLY, r);
	settle_dot(s, smtp_dot_outcome(r, s->params.lmtp), r);
	s->dirty = smtp_refused(r);
	return s->left ? STATE_DOT : STATE_IDLE;
}

static enum smtp_state on_lone_dot(struct smtp *s, const struct smtp_reply *r)
{
	return STATE_IDLE;
}

/* ---- the states ---- */

static const struct state_row states[STATE_COUNT] = {
	[STATE_GREETING] = { "greeting", NULL, NULL, smtp_on_greeting, 2, SMTP_TIMEOUT_GREETING_MS,
		false },
	[STATE_EHLO] = { "ehlo", NULL, smtp_enter_hello, smtp_on_hello, 2, SMTP_TIMEOUT_COMMAND_MS,
		false },
	[STATE_HELO] = { "helo", NULL, smtp_enter_hello, smtp_on_hello, 2, SMTP_TIMEOUT_COMMAND_MS,
		false },
	[STATE_STARTTLS] = { "starttls", "STARTTLS", NULL, smtp_on_starttls, 2,
		SMTP_TIMEOUT_COMMAND_MS, false },
	[STATE_HANDSHAKE] = { "handshake", NULL, smtp_enter_handshake, NULL, 0,
		0 /* the driver's */, false },
	[STATE_AUTH] = { "auth", NULL, smtp_enter_auth, smtp_on_login, 2, SMTP_TIMEOUT_COMMAND_MS,
		false, smtp_on_challenge },
	[STATE_AUTH_RESPONSE] = { "auth", NULL, smtp_enter_response, smtp_on_login, 2,
		SMTP_TIMEOUT_COMMAND_MS, false, smtp_on_challenge },
	[STATE_AUTH_CANCEL] = { "auth", "*", NULL, smtp_on_cancelled, 2, SMTP_TIMEOUT_COMMAND_MS,
		false },
	[STATE_IDLE] = { "idle", NULL, enter_idle, NULL, 0, 0 /* the pool's */, true },
	[STATE_RSET] = { "rset", "RSET", NULL, on_rset, 2, SMTP_TIMEOUT_COMMAND_MS, true },
	[STATE_XFORWARD] = { "xforward", NULL, enter_xforward, on_xforward, 2,
		SMTP_TIMEOUT_COMMAND_MS, false },
	[STATE_MAIL] = { "mail", NULL, enter_mail, on_mail, 2, SMTP_TIMEOUT_COMMAND_MS, false },
	[STATE_RCPT] = { "rcpt", NULL, enter_rcpt, on_rcpt, 2, SMTP_TIMEOUT_COMMAND_MS, false },
	[STATE_DATA] = { "data", NULL, enter_data, on_data, 3, SMTP_TIMEOUT_DATA_MS, false },
	[STATE_BODY] = { "body", NULL, enter_body, on_body, 0, SMTP_TIMEOUT_BLOCK_MS, false },
	[STATE_DOT] = { "dot", NULL, NULL, on_dot, 2, 0 /* dot_timeout */, false },
	[STATE_LONE_DOT] = { "lone-dot", ".", NULL, on_lone_dot, 2, SMTP_TIMEOUT_COMMAND_MS, true },
	[STATE_QUIT] = { "quit", "QUIT", NULL, NULL, 0, SMTP_TIMEOUT_QUIT_MS, true },
	[STATE_DEAD] = { "dead", NULL, NULL, NULL, 0, 0 /* the end */, true },
};

static void set_deadline(struct smtp *s, msec_t now)
{
	bool dot = s->state == STATE_DOT;
	uint32_t timeout = dot ? s->params.dot_timeout_ms : states[s->state].timeout_ms;

	s->deadline = timeout ? now + timeout : MSEC_NEVER;
}

/* The only writer of s->state but smtp_new(). */
static void smtp_go(struct smtp *s, enum smtp_state next, msec_t now)
{
	s->state = next;
	set_deadline(s, now);
	if (states[next].command)
		smtp_say(s, states[next].command, "", "");
	if (states[next].enter)
		states[next].enter(s);
}

static enum smtp_state on_reply(struct smtp *s, const struct smtp_reply *r)
{
	const struct state_row *row = &states[s->state];

	if (r->code == 421) {
		if (s->state == STATE_DOT) /* a reply after all: surely not delivered */
			settle_dot(s, SMTP_CONNECTION, r);
		return smtp_fail(s, ERR_TEMP, "the server closes the connection", r);
	}
	if (r->code == 334 && row->challenge)
		return row->challenge(s, r);
	if (!row->reply || (!smtp_refused(r) && r->code / 100 != row->good))
		return smtp_fail(s, ERR_PROTO, "this reply does not belong here", r);
	return row->reply(s, r);
}

static enum smtp_state on_read(struct smtp *s, enum smtp_read got)
{
	if (s->params.password.len)
		smtp_mask(s, &s->reader.reply);
	switch (got) {
	case SMTP_READ_MORE:
		break;
	case SMTP_READ_REPLY:
		return on_reply(s, &s->reader.reply);
	case SMTP_READ_GARBAGE:
		return smtp_fail(s, ERR_PROTO, "not an SMTP reply", &s->reader.reply);
	case SMTP_READ_LIMIT:
		return smtp_fail(s, ERR_LIMIT, "a reply beyond all limits", NULL);
	}
	return s->state;
}

/* ---- the driver's side ---- */

struct smtp *smtp_new(const struct smtp_params *params, msec_t now)
{
	struct smtp *s = mem_zalloc(sizeof *s);

	s->params = *params;
	s->secured = params->tls == SMTP_TLS_IMPLICIT;
	smtp_reader_init(&s->reader);
	smtp_go(s, STATE_GREETING, now);
	return s;
}

void smtp_free(struct smtp *s)
{
	if (!s)
		return;
	forget_secrets(s);
	strbuf_wipe(&s->reader.lines.line); /* the server may have echoed what we said */
	smtp_reader_free(&s->reader);
	strbuf_wipe(&s->out);
	free(s);
}

static void report(struct smtp *s, struct smtp_event *ev)
{
	ev->type = s->event;
	ev->ready_before = s->ready;
	if (s->event == SMTP_FAILED)
		ev->err = s->err;
	if (s->event == SMTP_FAILED || s->event == SMTP_XFORWARD_REFUSED)
		ev->reply = s->cause;
	if (s->event == SMTP_DONE || s->event == SMTP_CLOSED || s->event == SMTP_FAILED)
		s->mail = NULL;
	s->event = SMTP_NONE;
}

size_t smtp_feed(struct smtp *s, const char *buf, size_t len, msec_t now, struct smtp_event *ev)
{
	size_t done = 0;

	while (done < len && s->event == SMTP_NONE && s->state != STATE_DEAD) {
		size_t used;
		if (s->state == STATE_HANDSHAKE) {
			smtp_go(s, smtp_fail(s, ERR_TLS, "data before the TLS handshake", NULL),
				now);
			break;
		}
		enum smtp_read got = smtp_reader_feed(&s->reader, buf + done, len - done, &used);
		done += used;
		s->surplus = done < len;
		if (got != SMTP_READ_MORE)
			smtp_go(s, on_read(s, got), now);
	}
	if (s->state == STATE_DEAD)
		done = len;
	report(s, ev);
	return done;
}

static void end(
	struct smtp *s, enum err_class class, const char *why, msec_t now, struct smtp_event *ev)
{
	if (s->state != STATE_DEAD)
		smtp_go(s, smtp_fail(s, class, why, NULL), now);
	report(s, ev);
}

void smtp_eof(struct smtp *s, msec_t now, struct smtp_event *ev)
{
	end(s, ERR_NET, "the server closed the connection", now, ev);
}

msec_t smtp_deadline(const struct smtp *s)
{
	return s->deadline;
}

void smtp_tick(struct smtp *s, msec_t now, struct smtp_event *ev)
{
	if (now >= s->deadline)
		end(s, ERR_TIMEOUT, "no answer in time", now, ev);
	else
		report(s, ev);
}

void smtp_poll(struct smtp *s, msec_t now, struct smtp_event *ev)
{
	report(s, ev);
}

void smtp_secured(struct smtp *s, msec_t now)
{
	ensure(s->state == STATE_HANDSHAKE);
	s->secured = true;
	smtp_go(s, STATE_EHLO, now);
}

void smtp_output(const struct smtp *s, struct strview *out)
{
	*out = sv_skip(strbuf_view(&s->out), s->sent);
}

void smtp_sent(struct smtp *s, size_t len, msec_t now)
{
	ensure(len <= s->out.len - s->sent);
	s->sent += len;
	if (s->sent == s->out.len) {
		if (s->sasl)
			mem_wipe(s->out.ptr, s->out.cap);
		strbuf_clear(&s->out);
		s->sent = 0;
	}
	/* Content is on its way: each block has its time, and the dot's starts with its last. */
	if (len && (s->state == STATE_BODY || s->state == STATE_DOT))
		set_deadline(s, now);
}

bool smtp_idle(const struct smtp *s)
{
	return s->state == STATE_IDLE && !s->mail;
}

static bool ascii(const char *s)
{
	while (*s && !(*s & 0x80))
		s++;
	return !*s;
}

static bool needs_utf8(const struct smtp_mail *mail, const char *address)
{
	return mail->utf8_header || !ascii(mail->sender) || !ascii(address);
}

/* Does it fit a command line? What does not is never sent, not even in part. */
static bool fit(const char *address)
{
	return strlen(address) <= SMTP_ADDRESS_MAX_OCTETS && command_safe(sv_str(address));
}

/* Why this server cannot be told to send `mail` to `address`; NULL: it can. */
static const char *why_unsent(
	const struct smtp *s, const struct smtp_mail *mail, const char *address)
{
	if (s->ext.size_max && mail->octets > s->ext.size_max)
		return "the message is larger than the server takes (SIZE)";
	if (!fit(mail->sender))
		return "the sender's address cannot be sent";
	if (!*address || !fit(address))
		return "address cannot be sent";
	if (needs_utf8(mail, address) && !s->ext.smtputf8)
		return "SMTPUTF8 is needed, and the server does not offer it";
	return NULL;
}

void smtp_mail(struct smtp *s, struct smtp_mail *mail, msec_t now)
{
	ensure(smtp_idle(s) && mail->nrcpts);
	s->mail = mail;
	s->rcpt = s->left = s->taken = 0;
	s->utf8 = false;
	for (size_t i = 0; i < mail->nrcpts; i++) {
		struct smtp_rcpt *rcpt = &mail->rcpts[i];
		const char *why = why_unsent(s, mail, rcpt->address);
		rcpt->outcome = why ? SMTP_REJECTED : SMTP_PENDING;
		rcpt->reply.code = 0;
		snprintf(rcpt->reply.text, sizeof rcpt->reply.text, "%s", why ? why : "");
		s->left += !why;
		s->utf8 |= !why && needs_utf8(mail, rcpt->address);
	}
	if (s->left)
		smtp_go(s, s->dirty ? STATE_RSET : first_state(s), now);
	else
		s->event = SMTP_DONE;
}

void smtp_body(struct smtp *s, enum stuff_part part, struct strview data, msec_t now)
{
	ensure(s->state == STATE_BODY);
	/* Never more is moved than was sent: a slow peer costs no more than a fast one. */
	if (s->sent > s->out.len / 2) {
		strbuf_consume(&s->out, s->sent);
		s->sent = 0;
	}
	stuff_feed(&s->stuff, part, data, &s->out);
}

void smtp_dot(struct smtp *s, msec_t now)
{
	ensure(s->state == STATE_BODY);
	stuff_end(&s->stuff, &s->out);
	strbuf_adds(&s->out, ".\r\n");
	s->rcpt = 0;
	s->left = s->params.lmtp ? s->taken : 1;
	smtp_go(s, STATE_DOT, now);
}

void smtp_quit(struct smtp *s, msec_t now)
{
	ensure(smtp_idle(s));
	smtp_go(s, STATE_QUIT, now);
}

const struct smtp_ext *smtp_ext(const struct smtp *s)
{
	return &s->ext;
}

const char *smtp_state_name(const struct smtp *s)
{
	return states[s->state].name;
}
