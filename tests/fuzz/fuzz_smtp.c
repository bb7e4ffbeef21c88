/*
 * SMTP and LMTP sessions at a hostile relay, from the greeting to QUIT, up to three mails each.
 *
 * Octets 0 to 3 choose the parameters, the mails, and the cuts; then comes the content of the
 * mails as a first turn, and the rest is the server's, in turns. Held against models that know
 * nothing of the machine:
 *
 * - wire: the content is what a slow encoder makes of it, octet by octet: no bare CR or LF, dots
 *   stuffed, one end; and nothing is said from the final dot to its reply;
 * - outcomes: the commands on the wire and the replies of the server are paired off; a recipient is
 *   ACCEPTED only with a 2xx to his RCPT and a 2xx to the dot (LMTP: to his dot), and nobody is
 *   left PENDING;
 * - the password is said over TLS only, and told to nobody.
 */
#include "fixed_nonce.h"
#include "fuzz.h"
#include "proto/smtp.h"

#include <stdlib.h>

#define SCENE_OCTETS 4
#define LOGIN        16 /* of scene[0] */
#define PASSWORD     "pa55word"
#define MAILS_MAX    3
#define RCPTS_MAX    6
#define PAIRS_MAX    32

/* The last ones cannot be said to every server, or to none. */
static const char *const addresses[] = { "a@firma.example", "b@firma.example", "c@firma.example",
	"\"d e\"@firma.example", "\xc3\xbc@firma.example", "e@firma.example>\r\nRSET", "" };

struct pair { /* a command and its reply */
	struct strview command;
	int code; /* 0: none came */
};

struct play {
	struct smtp *smtp;
	const uint8_t *scene;
	struct strview content;
	msec_t now;
	bool lmtp, secured, handshake, over;
	size_t dot_due; /* in so many turns; the server may speak before it */
	unsigned mails;
	struct smtp_mail mail;
	struct smtp_rcpt rcpts[RCPTS_MAX];

	struct strbuf events;      /* what happened: compared between plays */
	struct strbuf wire;        /* all that was said, sent or not */
	size_t waiting;            /* octets of it that are still the machine's */
	struct strbuf said, heard; /* of this transaction: commands, and what the server sent */
	size_t body_at, body_end;  /* of its content in `wire`; 0: none */
	size_t mail_at;            /* where it begins in `wire` */
};

/* ---- the models ---- */

/* RFC 5321 section 4.5.2, and framing.h's policy on what has no place on the wire. */
static void encode(struct strview content, size_t header, bool lf, struct strbuf *out)
{
	AUTO(strbuf_free) struct strbuf clean = STRBUF_INIT;
	bool start = true;

	for (size_t i = 0; i < content.len; i++) {
		char c = content.ptr[i];
		bool crlf = c == '\r' && i + 1 < content.len && content.ptr[i + 1] == '\n';
		if (crlf || (c == '\n' && (lf || i >= header)))
			strbuf_adds(&clean, "\r\n");
		else
			strbuf_addc(&clean, c == '\r' || c == '\n' ? ' ' : c);
		i += crlf;
	}
	if (clean.len && clean.ptr[clean.len - 1] != '\n')
		strbuf_adds(&clean, "\r\n");
	for (size_t i = 0; i < clean.len; i++) {
		if (start && clean.ptr[i] == '.')
			strbuf_addc(out, '.');
		strbuf_addc(out, clean.ptr[i]);
		start = clean.ptr[i] == '\n';
	}
	strbuf_adds(out, ".\r\n");
}

static void check_lines(struct strview wire)
{
	for (size_t i = 0; i < wire.len; i++) {
		ensure(wire.ptr[i] != '\n' || (i && wire.ptr[i - 1] == '\r'));
		ensure(wire.ptr[i] != '\r' || (i + 1 < wire.len && wire.ptr[i + 1] == '\n'));
	}
}

static size_t header_octets(const struct play *t)
{
	size_t n = t->scene[2] & 127;

	return n < t->content.len ? n : t->content.len;
}

static void check_content(const struct play *t)
{
	AUTO(strbuf_free) struct strbuf model = STRBUF_INIT;
	struct strview body = sv(t->wire.ptr + t->body_at, t->body_end - t->body_at);

	encode(t->content, header_octets(t), t->scene[2] & 128, &model);
	ensure(sv_eq(body, strbuf_view(&model)));
}

/* The next reply of what the server said; 0: it is not complete. */
static int next_code(struct strview *rest)
{
	int code = 0;

	while (rest->len) {
		const char *lf = memchr(rest->ptr, '\n', rest->len);
		if (!lf)
			break;
		struct strview line = sv_token(rest, '\n');
		uint64_t number;
		if (line.len < 4 || !sv_number(sv(line.ptr, 3), 599, &number))
			break;
		code = (int)number;
		if (line.ptr[3] != '-')
			return code;
	}
	return 0;
}

static struct pair next_pair(struct strview *said, struct strview *heard)
{
	const char *lf = said->len ? memchr(said->ptr, '\n', said->len) : NULL;
	struct pair p = { 0 };

	if (!lf)
		return p;
	p.command = sv_token(said, '\n');
	p.code = next_code(heard);
	return p;
}

/* In order: RSET, XFORWARD, MAIL, then RCPT for each that can be said, DATA, and the dots. */
static void check_outcomes(const struct play *t)
{
	struct strview said = strbuf_view(&t->said), heard = strbuf_view(&t->heard);
	bool taken[RCPTS_MAX] = { 0 };
	size_t k = 0;

	for (struct pair p = next_pair(&said, &heard); p.command.len;
		p = next_pair(&said, &heard)) {
		if (!sv_starts(p.command, SV("RCPT TO:<")))
			continue;
		struct strview to = sv_skip(p.command, 9);
		while (k < t->mail.nrcpts &&
			!(sv_starts(to, sv_str(t->rcpts[k].address)) && *t->rcpts[k].address))
			k++;
		ensure(k < t->mail.nrcpts);
		taken[k++] = p.code / 100 == 2;
	}
	int dot = t->body_end ? next_code(&heard) : 0;
	for (size_t i = 0; i < t->mail.nrcpts; i++) {
		enum smtp_outcome outcome = t->rcpts[i].outcome;
		ensure(outcome != SMTP_PENDING);
		ensure(*t->rcpts[i].reply.text || t->rcpts[i].reply.code);
		if (outcome == SMTP_ACCEPTED && !t->mail.verify)
			ensure(taken[i] && dot / 100 == 2);
		else if (outcome == SMTP_ACCEPTED) /* a failure takes commands with it, unseen */
			ensure(taken[i] || t->over);
		ensure(outcome != SMTP_IN_DOUBT || (taken[i] && t->body_end));
		if (t->lmtp && taken[i] && t->body_end)
			dot = next_code(&heard);
	}
}

/* ---- what the driver does ---- */

/* Sees what the machine says, before it is sent. */
static void listen(struct play *t)
{
	struct strview out;

	smtp_output(t->smtp, &out);
	if (t->over || out.len <= t->waiting)
		return;
	struct strview more = sv_skip(out, t->waiting);
	ensure(t->secured || t->body_at || (!has(more, PASSWORD) && !has(more, "AUTH")));
	strbuf_addv(&t->wire, more);
	t->waiting = out.len;
}

static void say(struct play *t, size_t most)
{
	struct strview out;

	listen(t);
	if (t->over)
		return;
	smtp_output(t->smtp, &out);
	size_t n = out.len < most ? out.len : most;
	smtp_sent(t->smtp, n, t->now);
	t->waiting -= n;
}

static void end_mail(struct play *t)
{
	for (size_t i = 0; i < t->mail.nrcpts; i++)
		strbuf_addf(&t->events, "%s %d %s\n", smtp_outcome_name(t->rcpts[i].outcome),
			t->rcpts[i].reply.code, t->rcpts[i].reply.text);
	if (t->mail.nrcpts)
		check_outcomes(t);
	t->mail.nrcpts = 0;
}

static void begin_mail(struct play *t)
{
	uint8_t which = (uint8_t)(t->scene[1] + t->mails * 5);
	struct smtp_event ev;

	if (t->mails++ == MAILS_MAX) {
		smtp_quit(t->smtp, t->now);
		return;
	}
	t->mail = (struct smtp_mail){ .sender = which % 11 == 10 ? "s@e.example>\r\nRSET"
			: which & 128                            ? ""
								 : "s@e.example",
		.rcpts = t->rcpts,
		.nrcpts = 1 + which % RCPTS_MAX,
		.octets = t->content.len,
		.eightbit = which & 8,
		.utf8_header = (which & 0x70) == 0x70,
		.notify_never = which & 16,
		.client_name = which & 32 ? "mx a+b.e.example" : NULL,
		.client_ip = which & 32 ? "2001:db8::1" : NULL,
		.verify = which % 7 == 6 };
	for (size_t i = 0; i < t->mail.nrcpts; i++)
		t->rcpts[i] = (struct smtp_rcpt){
			.address = addresses[(which / 6 + i) % ARRAY_LEN(addresses)]
		};
	t->mail_at = t->wire.len;
	t->body_at = t->body_end = t->dot_due = 0;
	strbuf_clear(&t->said);
	strbuf_clear(&t->heard);
	smtp_mail(t->smtp, &t->mail, t->now);
	listen(t);
	smtp_poll(t->smtp, t->now, &ev);
	if (ev.type == SMTP_DONE) {
		end_mail(t);
		begin_mail(t);
	}
}

static void send_content(struct play *t, struct cut *cut)
{
	struct strview rest = t->content;
	size_t header = header_octets(t), at = 0;

	listen(t);
	t->body_at = t->wire.len;
	while (rest.len) {
		struct strview piece = next_piece(cut, rest);
		if (at < header && piece.len > header - at)
			piece.len = header - at;
		smtp_body(t->smtp,
			t->scene[2] & 128     ? STUFF_LF
				: at < header ? STUFF_HEADER
					      : STUFF_BODY,
			piece, t->now);
		at += piece.len;
		rest = sv_skip(rest, piece.len);
		if (t->scene[3] & 64)
			say(t, 1 + t->scene[3] % 64);
	}
	listen(t);
}

static void send_dot(struct play *t)
{
	smtp_dot(t->smtp, t->now);
	listen(t);
	t->body_end = t->wire.len;
	check_content(t);
}

/* ---- a play ---- */

static void note(struct play *t, const struct smtp_event *ev)
{
	strbuf_addf(&t->events, "%d %s %d %s\n", ev->type, ev->err.text, ev->reply.code,
		ev->reply.text);
	if (!(t->scene[0] & LOGIN) || ev->ready_before) /* then it has no password */
		return;
	ensure(!has(sv_str(ev->err.text), PASSWORD) && !has(sv_str(ev->reply.text), PASSWORD));
}

static void on_event(struct play *t, const struct smtp_event *ev, struct cut *cut)
{
	if (ev->type == SMTP_NONE)
		return;
	note(t, ev);
	if (ev->type == SMTP_STARTTLS) {
		ensure(!t->secured);
		t->handshake = true;
	} else if (ev->type == SMTP_BODY) {
		send_content(t, cut);
		t->dot_due = t->scene[3] & 32 ? 2 : 1;
		if (t->dot_due == 1)
			send_dot(t);
	} else if (ev->type == SMTP_CLOSED || ev->type == SMTP_FAILED) {
		t->over = true;
		end_mail(t);
	} else if (ev->type == SMTP_READY || ev->type == SMTP_DONE) {
		ensure(t->body_end == 0 || t->wire.len == t->body_end);
		end_mail(t);
		ensure(smtp_idle(t->smtp));
		begin_mail(t);
	}
}

/* Commands of this transaction: what was said of it but the content. */
static void collect(struct play *t)
{
	struct strview all = sv_skip(strbuf_view(&t->wire), t->mail_at);
	size_t end = t->body_at ? t->body_at - t->mail_at : all.len;

	strbuf_clear(&t->said);
	strbuf_add(&t->said, all.ptr, end);
}

static void feed(struct play *t, struct strview in, struct cut *cut)
{
	while (in.len && !t->over) {
		struct smtp_event ev = { 0 };
		size_t n = smtp_feed(t->smtp, in.ptr, in.len, t->now, &ev);
		ensure(n <= in.len && (n || ev.type));
		strbuf_add(&t->heard, in.ptr, n);
		in = sv_skip(in, n);
		/* what lies behind 354 would pass for the reply to the dot */
		ensure(ev.type != SMTP_BODY || !in.len);
		if (ev.type == SMTP_FAILED || ev.type == SMTP_CLOSED)
			t->waiting = 0;
		else
			listen(t);
		ensure(strcmp(smtp_state_name(t->smtp), "dot") || t->wire.len == t->body_end ||
			!t->body_end);
		collect(t);
		on_event(t, &ev, cut);
		if (t->scene[3] & 128) /* a driver that writes after each event */
			say(t, SIZE_MAX);
	}
}

static void end_turn(struct play *t, enum turn_end end, struct cut *cut)
{
	struct smtp_event ev = { 0 };

	say(t, SIZE_MAX);
	if (t->dot_due && !--t->dot_due && !t->body_end)
		send_dot(t);
	if (t->handshake) {
		t->handshake = false;
		t->secured = true;
		smtp_secured(t->smtp, t->now);
	}
	if (end == TURN_SILENT && smtp_deadline(t->smtp) != MSEC_NEVER) {
		t->now = smtp_deadline(t->smtp);
		smtp_tick(t->smtp, t->now, &ev);
		ensure(ev.type == SMTP_FAILED || ev.type == SMTP_CLOSED);
	}
	if (end == TURN_LAST) {
		smtp_eof(t->smtp, t->now, &ev);
		ensure(ev.type == SMTP_FAILED || ev.type == SMTP_CLOSED);
	}
	collect(t);
	on_event(t, &ev, cut);
	say(t, SIZE_MAX);
}

static void play(struct play *t, const uint8_t *scene, struct strview in, struct cut cut)
{
	struct smtp_params params = { .helo = "gate.firma.example",
		.lmtp = scene[0] & 4,
		.tls = (enum smtp_tls)(scene[0] % 4),
		.user = scene[0] & LOGIN ? SV("mrose") : (struct strview){ 0 },
		.password = scene[0] & LOGIN ? SV(PASSWORD) : (struct strview){ 0 },
		.mech = scene[0] & 32 ? SASL_PLAIN : SASL_COUNT,
		.xforward = scene[0] & 8,
		.dot_timeout_ms = 600000 };
	enum turn_end end;

	*t = (struct play){ .scene = scene, .now = 1000, .lmtp = params.lmtp };
	t->secured = params.tls == SMTP_TLS_IMPLICIT;
	t->content = next_turn(&in, &end);
	t->smtp = smtp_new(&params, t->now);
	do {
		struct strview turn = next_turn(&in, &end);
		while (turn.len && !t->over) {
			struct strview piece = next_piece(&cut, turn);
			feed(t, piece, &cut);
			turn = sv_skip(turn, piece.len);
		}
		if (!t->over)
			end_turn(t, end, &cut);
	} while (end != TURN_LAST && !t->over);
	check_lines(strbuf_view(&t->wire));
	smtp_free(t->smtp);
	strbuf_free(&t->said);
	strbuf_free(&t->heard);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct play whole, pieces;

	if (size < SCENE_OCTETS)
		return 0;
	struct strview in = sv((const char *)data + SCENE_OCTETS, size - SCENE_OCTETS);
	/* A reply that comes together with another one may be too early: so none is torn off. */
	struct cut cut = { .state = data[3] + 1u, .within_lines = true };
	play(&whole, data, in, (struct cut){ 0 });
	play(&pieces, data, in, cut);
	ensure(sv_eq(strbuf_view(&whole.events), strbuf_view(&pieces.events)));
	ensure(whole.over && pieces.over);
	ensure(sv_starts(strbuf_view(&pieces.wire), strbuf_view(&whole.wire)));
	strbuf_free(&whole.events);
	strbuf_free(&whole.wire);
	strbuf_free(&pieces.events);
	strbuf_free(&pieces.wire);
	return 0;
}
