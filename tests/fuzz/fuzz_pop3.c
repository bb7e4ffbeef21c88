/*
 * The whole POP3 session at a hostile server, driven as daemon/fetch.c drives it.
 *
 * Octets 0 to 2 choose the parameters, what is asked for, and the cuts; the rest is the server's,
 * in turns. Held against models that know nothing of the machine:
 *
 * - wire: behind the login goes out what was asked for, in order, no number but those, and never
 *   more than the server has room for;
 * - events: each belongs to the oldest command without an answer, in the order of its row, with its
 *   number; a listing has each number once and as many as STAT said;
 * - content: what RETR brought is the text up to the first CRLF.CRLF, unstuffed by a slow reader of
 *   lines, and the answer behind it starts there and nowhere else.
 */
#include "fixed_nonce.h"
#include "fuzz.h"
#include "proto/pop3.h"

#include <stdlib.h>

#define SCENE_OCTETS   3
#define PASSWORD       "pa55word"
#define OTHER_PASSWORD "0ther"
#define ASKED_MAX      64
#define FETCHED_MAX    4 /* messages of a listing that are fetched */
#define SEEN_MAX       1024

enum verb { STAT, UIDL, LIST, RETR, TOP, DELE, NOOP, QUIT };

static const struct {
	const char *text;
	bool listing, content;
	enum pop3_event_type start, part, end, err;
} verbs[] = {
	[STAT] = { "STAT", .end = POP3_STAT },
	[UIDL] = { "UIDL", true, false, 0, POP3_UIDL_ITEM, POP3_UIDL_END, POP3_UIDL_ERR },
	[LIST] = { "LIST", true, false, 0, POP3_LIST_ITEM, POP3_LIST_END, 0 },
	[RETR] = { "RETR", false, true, POP3_RETR_START, POP3_RETR_DATA, POP3_RETR_END,
		POP3_RETR_ERR },
	[TOP] = { "TOP", false, true, POP3_TOP_START, POP3_TOP_DATA, POP3_TOP_END, POP3_TOP_ERR },
	[DELE] = { "DELE", .end = POP3_DELE_OK, .err = POP3_DELE_ERR },
	[NOOP] = { "NOOP", .end = POP3_NOOP_OK },
	[QUIT] = { "QUIT", .end = POP3_QUIT_OK, .err = POP3_QUIT_ERR },
};

struct asked {
	enum verb verb;
	uint32_t number;
	size_t wire_end; /* where its line ends in play.asked_wire */
};

struct play {
	struct pop3 *pop3;
	const uint8_t *scene;
	msec_t now;
	bool lf_lines, ready, handshake, over;
	const char *secret; /* what the machine logs in with; NULL: behind the login it has none */
	struct strbuf events, wire; /* what happened and what was said: compared between plays */

	struct strbuf asked_wire; /* what the wire has to be behind the login, */
	size_t login_octets;      /* which is this long */
	struct asked asked[ASKED_MAX];
	size_t nasked, answered;

	uint32_t count, items;
	uint8_t seen[SEEN_MAX];
	bool in_content;
	struct strbuf raw, content; /* of the message so far: as it came, as it was reported */
};

static int md5(struct strview in, uint8_t out[POP3_MD5_OCTETS])
{
	memset(out, (int)in.len, POP3_MD5_OCTETS);
	return 0;
}

/* ---- what the fetcher asks for ---- */

static void ask(struct play *t, enum verb verb, uint32_t number)
{
	if (t->nasked == ASKED_MAX)
		return;
	strbuf_adds(&t->asked_wire, verbs[verb].text);
	if (number)
		strbuf_addf(&t->asked_wire, " %u", number);
	strbuf_adds(&t->asked_wire, verb == TOP ? " 3\r\n" : "\r\n");
	t->asked[t->nasked++] = (struct asked){ verb, number, t->asked_wire.len };
	switch (verb) {
	case STAT:
		pop3_stat(t->pop3, t->now);
		break;
	case UIDL:
		pop3_uidl(t->pop3, t->now);
		break;
	case LIST:
		pop3_list(t->pop3, t->now);
		break;
	case RETR:
		pop3_retr(t->pop3, number, t->now);
		break;
	case TOP:
		pop3_top(t->pop3, number, 3, t->now);
		break;
	case DELE:
		pop3_dele(t->pop3, number, t->now);
		break;
	case NOOP:
		pop3_noop(t->pop3, t->now);
		break;
	case QUIT:
		pop3_quit(t->pop3, t->now);
		break;
	}
}

/* Nothing is left to do; a fetcher whose relay is slow stays. */
static void leave(struct play *t)
{
	if (t->answered == t->nasked && !(t->scene[1] & 64))
		ask(t, QUIT, 0);
}

/* One message after the other, or all of them at once. */
static void fetch_from(struct play *t, uint32_t number)
{
	bool all = t->scene[1] & 1;
	uint32_t last = t->count < FETCHED_MAX ? t->count : FETCHED_MAX;

	for (; number <= last; number++) {
		if (t->scene[1] & 2)
			ask(t, TOP, number);
		ask(t, RETR, number);
		if (!all)
			return;
	}
	leave(t);
}

static void ask_next(struct play *t, const struct pop3_event *ev)
{
	bool all = t->scene[1] & 1;

	if (ev->type == POP3_READY) {
		ask(t, STAT, 0);
		if (!(t->scene[1] & 4))
			ask(t, UIDL, 0);
		ask(t, LIST, 0);
	} else if (ev->type == POP3_LIST_END) {
		fetch_from(t, 1);
	} else if (ev->type == POP3_RETR_END) {
		if (t->scene[1] & 8)
			ask(t, NOOP, 0);
		ask(t, DELE, ev->number);
	} else if (ev->type == POP3_DELE_OK || ev->type == POP3_DELE_ERR ||
		ev->type == POP3_RETR_ERR) {
		if (!all)
			fetch_from(t, ev->number + 1);
		else
			leave(t);
	}
}

/* ---- the models ---- */

/* Line by line up to the lone dot; false: it does not end with the last octet of raw. */
static bool unstuffed(struct strview raw, bool lf_lines, struct strbuf *out)
{
	struct strview end = lf_lines ? SV("\n") : SV("\r\n");

	while (raw.len) {
		const char *at = memmem(raw.ptr, raw.len, end.ptr, end.len);
		if (!at)
			return false;
		struct strview line = sv(raw.ptr, (size_t)(at - raw.ptr));
		raw = sv_skip(raw, line.len + end.len);
		line.len -= lf_lines && line.len && line.ptr[line.len - 1] == '\r';
		if (sv_eq(line, SV(".")))
			return !raw.len;
		strbuf_addv(out, sv_skip(line, sv_starts(line, SV("."))));
		strbuf_adds(out, "\r\n");
	}
	return false;
}

static void check_content(struct play *t, const struct pop3_event *ev)
{
	AUTO(strbuf_free) struct strbuf model = STRBUF_INIT;

	ensure(unstuffed(strbuf_view(&t->raw), t->lf_lines, &model));
	ensure(sv_eq(strbuf_view(&model), strbuf_view(&t->content)));
	ensure(ev->octets == model.len);
}

static void check_item(struct play *t, const struct pop3_event *ev)
{
	ensure(ev->number >= 1 && ev->number <= t->count);
	t->items++;
	if (ev->number < 8 * SEEN_MAX) {
		uint8_t bit = (uint8_t)(1 << ev->number % 8);
		ensure(!(t->seen[ev->number / 8] & bit));
		t->seen[ev->number / 8] |= bit;
	}
	ensure(ev->uid.len <= POP3_UID_MAX_OCTETS);
	for (size_t i = 0; i < ev->uid.len; i++)
		ensure(ev->uid.ptr[i] >= 0x21 && ev->uid.ptr[i] <= 0x7e);
}

static void check_answer(struct play *t, const struct pop3_event *ev)
{
	const struct asked *a = &t->asked[t->answered];

	ensure(t->ready && t->answered < t->nasked);
	ensure(ev->number == a->number || a->verb < RETR || a->verb > DELE);
	if (ev->type == verbs[a->verb].start) {
		ensure(!t->in_content);
		t->in_content = true;
		strbuf_clear(&t->raw);
		strbuf_clear(&t->content);
	} else if (ev->type == verbs[a->verb].part) {
		ensure(t->in_content == verbs[a->verb].content);
		if (verbs[a->verb].listing)
			check_item(t, ev);
		strbuf_addv(&t->content, ev->data);
	} else if (ev->type == verbs[a->verb].end) {
		ensure(t->in_content == verbs[a->verb].content);
		if (t->in_content)
			check_content(t, ev);
		ensure(!verbs[a->verb].listing || t->items == t->count);
		t->in_content = false;
		t->answered++;
	} else {
		ensure(ev->type == verbs[a->verb].err && !t->in_content);
		t->answered++;
	}
	if (ev->type == POP3_STAT)
		t->count = ev->number;
	if (ev->type == verbs[a->verb].end) {
		t->items = 0;
		memset(t->seen, 0, sizeof t->seen);
	}
	ensure(pop3_pending(t->pop3) == t->nasked - t->answered);
}

/* Lines of the group that is in flight; all of them are the server's to read at once. */
static void check_wire(struct play *t)
{
	struct strview said = sv_skip(strbuf_view(&t->wire), t->login_octets);
	size_t on_wire = t->answered;

	ensure(said.len <= t->asked_wire.len);
	ensure(!said.len || !memcmp(said.ptr, t->asked_wire.ptr, said.len));
	while (on_wire < t->nasked && t->asked[on_wire].wire_end <= said.len)
		on_wire++;
	size_t gone = t->answered ? t->asked[t->answered - 1].wire_end : 0;
	ensure(said.len == (on_wire ? t->asked[on_wire - 1].wire_end : 0));
	ensure(said.len - gone <= POP3_WINDOW_OCTETS);
	ensure(on_wire - t->answered <=
		(pop3_caps(t->pop3)->pipelining ? POP3_WINDOW_COMMANDS : 1));
}

/* ---- a play ---- */

static void take_output(struct play *t)
{
	struct strview out;

	if (t->over) /* what waited then is not sent */
		return;
	pop3_output(t->pop3, &out);
	strbuf_addv(&t->wire, out);
	pop3_sent(t->pop3, out.len);
	if (t->ready)
		check_wire(t);
}

static void note(struct play *t, const struct pop3_event *ev)
{
	if (ev->data.len) /* where it was cut is no matter, and check_content() looks at the rest */
		return;
	strbuf_addf(
		&t->events, "%d %u %llu ", ev->type, ev->number, (unsigned long long)ev->octets);
	strbuf_addv(&t->events, ev->uid);
	if (t->answered && ev->type == verbs[t->asked[t->answered - 1].verb].err)
		strbuf_addv(&t->events, ev->reply);
	strbuf_adds(&t->events, ev->err.text);
	strbuf_addc(&t->events, '\n');
}

static void on_event(struct play *t, const struct pop3_event *ev)
{
	struct pop3_event next = { 0 };

	if (!ev->type)
		return;
	if (ev->type == POP3_FAILED) {
		note(t, ev);
		ensure(*ev->err.text);
		ensure(!t->secret || !has(sv_str(ev->err.text), t->secret));
		t->over = true;
		return;
	}
	if (ev->type == POP3_STARTTLS || ev->type == POP3_RENEW || ev->type == POP3_READY)
		ensure(!t->ready);
	else
		check_answer(t, ev);
	note(t, ev);
	if (ev->type == POP3_STARTTLS) {
		t->handshake = true;
	} else if (ev->type == POP3_RENEW) {
		t->secret = OTHER_PASSWORD;
		pop3_renew(t->pop3, SV(OTHER_PASSWORD), t->now, &next);
	} else if (ev->type == POP3_READY) {
		take_output(t);
		t->login_octets = t->wire.len;
		t->ready = true;
		t->secret = NULL;
	}
	ask_next(t, ev);
	on_event(t, &next);
}

static void feed(struct play *t, struct strview in)
{
	struct pop3_event ev;

	while (in.len && !t->over) {
		size_t n = pop3_feed(t->pop3, in.ptr, in.len, t->now, &ev);
		ensure(n <= in.len && (n || ev.type));
		if (t->in_content)
			strbuf_add(&t->raw, in.ptr, n);
		in = sv_skip(in, n);
		on_event(t, &ev);
		take_output(t);
	}
}

static void end_turn(struct play *t, enum turn_end end)
{
	AUTO(strbuf_free) struct strbuf model = STRBUF_INIT;
	struct pop3_event ev = { 0 };

	ensure(!t->in_content || !unstuffed(strbuf_view(&t->raw), t->lf_lines, &model));
	if (t->handshake && !t->over) {
		t->handshake = false;
		pop3_secured(t->pop3, t->now);
	}
	if (end == TURN_PAUSE)
		pop3_resume(t->pop3, t->now);
	if (end == TURN_SILENT && pop3_deadline(t->pop3) != MSEC_NEVER) {
		t->now = pop3_deadline(t->pop3);
		pop3_tick(t->pop3, t->now, &ev);
		ensure(ev.type == POP3_FAILED);
	} else if (end == TURN_SILENT && t->ready && t->scene[1] & 64) {
		ask(t, NOOP, 0);
	}
	if (end == TURN_LAST)
		pop3_eof(t->pop3, t->now, &ev);
	on_event(t, &ev);
	take_output(t);
}

static void play(struct play *t, const uint8_t *scene, struct strview in, struct cut cut)
{
	struct pop3_params params = { .user = SV("mrose"),
		.password = SV(PASSWORD),
		.tls = (enum pop3_tls)(scene[0] % 3),
		.auth = (enum pop3_auth)(scene[0] / 3 % 4),
		.mech = SASL_PLAIN,
		.md5 = md5,
		.timeout_ms = 60000,
		.renewable = scene[1] & 16,
		.lf_lines = scene[1] & 32 };
	enum turn_end end;

	*t = (struct play){
		.scene = scene, .now = 1000, .secret = PASSWORD, .lf_lines = params.lf_lines
	};
	t->pop3 = pop3_new(&params, t->now);
	do {
		struct strview turn = next_turn(&in, &end);
		while (turn.len && !t->over) {
			struct strview piece = next_piece(&cut, turn);
			feed(t, piece);
			turn = sv_skip(turn, piece.len);
		}
		if (!t->over)
			end_turn(t, end);
	} while (end != TURN_LAST && !t->over);
	pop3_free(t->pop3);
	strbuf_free(&t->asked_wire);
	strbuf_free(&t->raw);
	strbuf_free(&t->content);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct play whole, pieces;

	if (size < SCENE_OCTETS)
		return 0;
	struct strview in = sv((const char *)data + SCENE_OCTETS, size - SCENE_OCTETS);
	/* What stands behind the answer to STLS is an attack or the handshake, as it comes. */
	struct cut cut = { .state = data[2] + 1u, .within_lines = data[0] % 3 == POP3_TLS_STLS };
	play(&whole, data, in, (struct cut){ 0 });
	play(&pieces, data, in, cut);
	ensure(sv_eq(strbuf_view(&whole.events), strbuf_view(&pieces.events)));
	ensure(whole.over == pieces.over);
	ensure(whole.over ? sv_starts(strbuf_view(&pieces.wire), strbuf_view(&whole.wire))
			  : sv_eq(strbuf_view(&pieces.wire), strbuf_view(&whole.wire)));
	strbuf_free(&whole.events);
	strbuf_free(&whole.wire);
	strbuf_free(&pieces.events);
	strbuf_free(&pieces.wire);
	return 0;
}
