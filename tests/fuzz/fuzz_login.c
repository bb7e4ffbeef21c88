/*
 * A login at a hostile server, POP3 and SMTP: whatever it says, the password is not said in clear
 * and not told in an error.
 *
 * The first octet chooses the protocol and its TLS, the second the mechanism; the rest is the
 * server's. The machine is taken no further than READY.
 */
#include "fixed_nonce.h"
#include "proto/pop3.h"
#include "proto/smtp.h"

#include <stdlib.h>

#define PASSWORD "pa55word"

static int md5(struct strview in, uint8_t out[POP3_MD5_OCTETS])
{
	memset(out, 0, POP3_MD5_OCTETS);
	return 0;
}

static bool has(struct strview text, const char *word)
{
	return text.len && memmem(text.ptr, text.len, word, strlen(word));
}

static void pop3(uint8_t scene, uint8_t mech, struct strview in)
{
	struct pop3_params params = { .user = SV("mrose"),
		.password = SV(PASSWORD),
		.tls = (enum pop3_tls)(scene % 3),
		.auth = (enum pop3_auth)(scene / 3 % 4),
		.mech = (enum sasl_mech)(mech % SASL_COUNT),
		.md5 = md5,
		.timeout_ms = 60000,
		.renewable = scene & 0x80 };
	struct pop3 *p = pop3_new(&params, 0);
	struct pop3_event ev = { 0 };
	struct strview out;
	bool clear = params.tls == POP3_TLS_STLS;

	while (in.len && ev.type != POP3_READY && ev.type != POP3_FAILED) {
		in = sv_skip(in, pop3_feed(p, in.ptr, in.len, 0, &ev));
		pop3_output(p, &out);
		ensure(!clear || !has(out, PASSWORD));
		pop3_sent(p, out.len);
		if (ev.type == POP3_STARTTLS) {
			clear = false;
			pop3_secured(p, 0);
		} else if (ev.type == POP3_RENEW) {
			pop3_renew(p, SV(PASSWORD), 0, &ev);
		}
	}
	ensure(ev.type != POP3_FAILED || !has(sv_str(ev.err.text), PASSWORD));
	pop3_free(p);
}

static void smtp(uint8_t scene, uint8_t mech, struct strview in)
{
	struct smtp_params params = { .helo = "gate.firma.example",
		.lmtp = scene & 0x40,
		.tls = (enum smtp_tls)(scene % 4),
		.user = SV("mrose"),
		.password = SV(PASSWORD),
		.mech = (enum sasl_mech)(mech % (SASL_COUNT + 1)),
		.dot_timeout_ms = 60000 };
	struct smtp *s = smtp_new(&params, 0);
	struct smtp_event ev = { 0 };
	struct strview out;
	bool secured = params.tls == SMTP_TLS_IMPLICIT;

	while (in.len && ev.type != SMTP_READY && ev.type != SMTP_FAILED) {
		in = sv_skip(in, smtp_feed(s, in.ptr, in.len, 0, &ev));
		smtp_output(s, &out);
		ensure(secured || !has(out, "AUTH"));
		smtp_sent(s, out.len, 0);
		if (ev.type == SMTP_STARTTLS) {
			secured = true;
			smtp_secured(s, 0);
		}
	}
	ensure(ev.type != SMTP_READY || secured);
	ensure(ev.type != SMTP_FAILED || !has(sv_str(ev.err.text), PASSWORD));
	ensure(ev.type != SMTP_FAILED || !has(sv_str(ev.reply.text), PASSWORD));
	smtp_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	struct strview in = { (const char *)data + 2, size - 2 };
	if (data[0] & 0x20)
		smtp(data[0], data[1], in);
	else
		pop3(data[0], data[1], in);
	return 0;
}
