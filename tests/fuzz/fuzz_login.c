/*
 * A login at a hostile server, POP3 and SMTP, by every mechanism: whatever it says, the password is
 * not said in clear, not said at all by a mechanism that does not say it, and not told in an error;
 * and nobody is logged in where the mechanism wants a proof and there was none.
 *
 * The first octet chooses the protocol and its TLS, the second the mechanism, the third the cuts;
 * the rest is the server's, in turns. The machine is taken no further than READY.
 */
#include "fixed_nonce.h"
#include "fuzz.h"
#include "proto/pop3.h"
#include "proto/smtp.h"

#include <stdlib.h>

#define SCENE_OCTETS 3
#define PASSWORD     "pa55word"

/* What its base64 has in it wherever it begins, alone, in PLAIN, behind "auth=Bearer ". */
static const char *const encoded[] = { "cGE1NXdvcm", "BhNTV3b3Jk", "YTU1d29yZ" };

struct play {
	enum sasl_mech mech; /* SASL_COUNT: not SASL, or the machine's choice */
	bool clear;          /* nothing secret may be said */
	bool echo;           /* the server knows it already: we may have to say his nonce */
	bool ready, over;
	struct strbuf wire, events;
};

static int md5(struct strview in, uint8_t out[POP3_MD5_OCTETS])
{
	memset(out, 0, POP3_MD5_OCTETS);
	return 0;
}

static void said(struct play *t, struct strview out)
{
	bool hidden = t->mech == SASL_SCRAM_SHA_256 || t->mech == SASL_SCRAM_SHA_1 ||
		t->mech == SASL_CRAM_MD5;

	strbuf_addv(&t->wire, out);
	ensure(!t->clear || !has(out, "AUTH"));
	if (!t->clear && (!hidden || t->echo))
		return;
	ensure(!has(out, PASSWORD));
	for (size_t i = 0; i < ARRAY_LEN(encoded); i++)
		ensure(!has(out, encoded[i]));
}

static void told(struct play *t, const char *text)
{
	ensure(!has(sv_str(text), PASSWORD));
	strbuf_adds(&t->events, text);
	strbuf_addc(&t->events, '\n');
}

static bool knows(struct strview in)
{
	bool found = has(in, PASSWORD);

	for (size_t i = 0; i < ARRAY_LEN(encoded); i++)
		found |= has(in, encoded[i]);
	return found;
}

/* SCRAM ends with the server's proof, which is v= in the last challenge. */
static void check_proof(struct play *t, struct strview heard)
{
	bool scram = t->mech == SASL_SCRAM_SHA_256 || t->mech == SASL_SCRAM_SHA_1;

	ensure(!scram || has(heard, "dj0") /* base64 of "v=" */);
	ensure(t->mech >= SASL_COUNT || has(strbuf_view(&t->wire), "AUTH "));
}

/* ---- POP3 ---- */

static void pop3_talk(struct play *t, struct pop3 *p, struct strview in, bool *handshake)
{
	struct pop3_event ev = { 0 };
	struct strview out;

	while (in.len && !t->over) {
		in = sv_skip(in, pop3_feed(p, in.ptr, in.len, 0, &ev));
		if (ev.type == POP3_RENEW) {
			told(t, ev.err.text);
			pop3_renew(p, SV(PASSWORD), 0, &ev);
		}
		*handshake |= ev.type == POP3_STARTTLS;
		t->ready = ev.type == POP3_READY;
		t->over = t->ready || ev.type == POP3_FAILED;
		if (ev.type == POP3_FAILED) {
			told(t, ev.err.text);
		} else {
			pop3_output(p, &out);
			said(t, out);
			pop3_sent(p, out.len);
		}
	}
}

static void pop3(struct play *t, const uint8_t *scene, struct strview in, struct cut cut)
{
	struct pop3_params params = { .user = SV("mrose"),
		.password = SV(PASSWORD),
		.tls = (enum pop3_tls)(scene[0] % 3),
		.auth = (enum pop3_auth)(scene[0] / 3 % 4),
		.mech = (enum sasl_mech)(scene[1] % SASL_COUNT),
		.md5 = md5,
		.timeout_ms = 60000,
		.renewable = scene[0] & 0x80 };
	struct pop3 *p = pop3_new(&params, 0);
	struct strview all = in;
	enum turn_end end = TURN_END;

	t->clear = params.tls == POP3_TLS_STLS;
	t->mech = params.auth == POP3_AUTH_SASL ? params.mech : SASL_COUNT;
	while (end != TURN_LAST && !t->over) {
		struct strview turn = next_turn(&in, &end);
		bool handshake = false;
		while (turn.len && !t->over) {
			struct strview piece = next_piece(&cut, turn);
			pop3_talk(t, p, piece, &handshake);
			turn = sv_skip(turn, piece.len);
		}
		if (handshake && !t->over) {
			t->clear = false;
			pop3_secured(p, 0);
		}
	}
	if (t->ready)
		check_proof(t, all);
	pop3_free(p);
}

/* ---- SMTP ---- */

static void smtp_talk(struct play *t, struct smtp *s, struct strview in, bool *handshake)
{
	struct smtp_event ev = { 0 };
	struct strview out;

	while (in.len && !t->over) {
		in = sv_skip(in, smtp_feed(s, in.ptr, in.len, 0, &ev));
		*handshake |= ev.type == SMTP_STARTTLS;
		t->ready = ev.type == SMTP_READY;
		t->over = t->ready || ev.type == SMTP_FAILED;
		if (ev.type == SMTP_FAILED) {
			told(t, ev.err.text);
			told(t, ev.reply.text);
		} else {
			smtp_output(s, &out);
			said(t, out);
			smtp_sent(s, out.len, 0);
		}
	}
}

static void smtp(struct play *t, const uint8_t *scene, struct strview in, struct cut cut)
{
	struct smtp_params params = { .helo = "gate.firma.example",
		.lmtp = scene[0] & 0x40,
		.tls = (enum smtp_tls)(scene[0] % 4),
		.user = SV("mrose"),
		.password = SV(PASSWORD),
		.mech = (enum sasl_mech)(scene[1] % (SASL_COUNT + 1)),
		.dot_timeout_ms = 60000 };
	struct smtp *s = smtp_new(&params, 0);
	struct strview all = in;
	enum turn_end end = TURN_END;

	t->clear = params.tls != SMTP_TLS_IMPLICIT;
	t->mech = params.mech;
	while (end != TURN_LAST && !t->over) {
		struct strview turn = next_turn(&in, &end);
		bool handshake = false;
		while (turn.len && !t->over) {
			struct strview piece = next_piece(&cut, turn);
			smtp_talk(t, s, piece, &handshake);
			turn = sv_skip(turn, piece.len);
		}
		if (handshake && !t->over) {
			t->clear = false;
			smtp_secured(s, 0);
		}
	}
	ensure(!t->ready || !t->clear);
	if (t->ready)
		check_proof(t, all);
	smtp_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct play whole = { 0 }, pieces = { 0 };

	if (size < SCENE_OCTETS)
		return 0;
	void (*run)(struct play *, const uint8_t *, struct strview, struct cut) =
		data[0] & 0x20 ? smtp : pop3;
	struct strview in = sv((const char *)data + SCENE_OCTETS, size - SCENE_OCTETS);
	/* What stands behind the answer to STARTTLS is an attack or the handshake, as it comes. */
	whole.echo = pieces.echo = knows(in);
	struct cut cut = { .state = data[2] + 1u, .within_lines = true };
	run(&whole, data, in, (struct cut){ 0 });
	run(&pieces, data, in, cut);
	ensure(whole.ready == pieces.ready && whole.over == pieces.over);
	ensure(sv_eq(strbuf_view(&whole.events), strbuf_view(&pieces.events)));
	ensure(sv_starts(strbuf_view(&pieces.wire), strbuf_view(&whole.wire)));
	strbuf_free(&whole.events);
	strbuf_free(&whole.wire);
	strbuf_free(&pieces.events);
	strbuf_free(&pieces.wire);
	return 0;
}
