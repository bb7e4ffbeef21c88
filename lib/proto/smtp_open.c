/*
 * SMTP from the greeting to the login: EHLO, STARTTLS, AUTH (RFC 3207, 4954); see smtp.h and
 * smtp_impl.h.
 *
 * Owns nothing: these are the rows of smtp.c's states. Invariant: user and password are said in
 * smtp_enter_auth() and smtp_enter_response() only, over TLS, and forgotten at READY.
 */
#include "proto/smtp_impl.h"

#include <stdio.h>

#define COMMAND_MAX_OCTETS 512 /* RFC 5321 section 4.5.3.1.4, CRLF included */

/* ---- what we say ---- */

void smtp_enter_hello(struct smtp *s)
{
	bool extended = s->state == STATE_EHLO;

	s->ext = (struct smtp_ext){ 0 }; /* RFC 3207 section 4.2: forget what was said in clear */
	s->reader.ext = extended ? &s->ext : NULL;
	smtp_say(s, !extended ? "HELO " : s->params.lmtp ? "LHLO " : "EHLO ", s->params.helo, "");
}

void smtp_enter_handshake(struct smtp *s)
{
	s->event = SMTP_STARTTLS;
}

/* The room is made first: growing a buffer with a password in it would leave a copy behind. */
static void say_secret(struct smtp *s, const char *verb, struct strview secret)
{
	ensure(s->secured);
	mem_grow(&s->out.ptr, &s->out.cap, s->out.len + secret.len + COMMAND_MAX_OCTETS, 1);
	smtp_say(s, verb, secret.ptr ? secret.ptr : "", "");
}

void smtp_enter_auth(struct smtp *s)
{
	char verb[40];

	snprintf(verb, sizeof verb, "AUTH %s%s", sasl_name(s->mech), s->line.ptr ? " " : "");
	say_secret(s, verb, s->line);
}

void smtp_enter_response(struct smtp *s)
{
	say_secret(s, "", s->line);
}

/* ---- the login ---- */

static enum smtp_state fail_with(struct smtp *s, const struct err *why)
{
	struct err copy = *why; /* it may be s->err itself */

	return smtp_fail(s, copy.class, copy.text, NULL);
}

static enum smtp_state begin_sasl(struct smtp *s)
{
	size_t verb = strlen("AUTH  \r\n") + strlen(sasl_name(s->mech));
	struct err err;

	if (sasl_new(s->mech, s->params.user, s->params.password, &s->sasl, &err) < 0 ||
		sasl_begin(s->sasl, COMMAND_MAX_OCTETS - verb, &s->line, &err) < 0)
		return fail_with(s, &err);
	return STATE_AUTH;
}

/* Nothing stands between us and the login, if there is to be one. */
static enum smtp_state begin_login(struct smtp *s)
{
	if (!s->params.user.len)
		return STATE_IDLE;
	if (!s->secured)
		return smtp_fail(s, ERR_TLS,
			"a login is wanted, and the connection is not secured: the password stays "
			"here",
			NULL);
	s->mech = s->params.mech;
	if (s->mech == SASL_COUNT)
		s->mech = sasl_strongest(s->ext.sasl, true, s->params.user, s->params.password);
	if (s->mech == SASL_COUNT)
		return smtp_fail(s, ERR_CONFIG,
			"a login is wanted, and the server offers no AUTH that works with a "
			"password",
			NULL);
	if (!(s->ext.sasl & SASL_BIT(s->mech)))
		return smtp_fail(s, ERR_CONFIG,
			"a login is wanted, and the server does not offer this auth", NULL);
	return begin_sasl(s);
}

enum smtp_state smtp_on_challenge(struct smtp *s, const struct smtp_reply *r)
{
	return sasl_answer(s->sasl, s->reader.line, &s->line, &s->err) < 0 ? STATE_AUTH_CANCEL
									   : STATE_AUTH_RESPONSE;
}

/* Whatever it says to that: why we gave up is known. */
enum smtp_state smtp_on_cancelled(struct smtp *s, const struct smtp_reply *r)
{
	return fail_with(s, &s->err);
}

/* RFC 4954 section 6: 534, 535 and 538 are about us, the others about the server. */
enum smtp_state smtp_on_login(struct smtp *s, const struct smtp_reply *r)
{
	struct err err;

	if (r->code == 534 || r->code == 535 || r->code == 538)
		return smtp_fail(s, ERR_AUTH, "login refused; check user and password", r);
	if (smtp_refused(r))
		return smtp_fail_refused(s, r);
	return sasl_accepted(s->sasl, &err) < 0 ? fail_with(s, &err) : STATE_IDLE;
}

void smtp_mask(const struct smtp *s, struct smtp_reply *r)
{
	struct strbuf text AUTO(strbuf_wipe) = STRBUF_INIT;

	sasl_mask(&text, s->reader.line, s->params.password, s->sasl);
	snprintf(r->text, sizeof r->text, "%s", strbuf_str(&text));
}

/* ---- what the answers mean ---- */

enum smtp_state smtp_on_greeting(struct smtp *s, const struct smtp_reply *r)
{
	return smtp_refused(r) ? smtp_fail_refused(s, r) : STATE_EHLO;
}

/* The server has introduced itself: is this the connection that we want? */
enum smtp_state smtp_on_hello(struct smtp *s, const struct smtp_reply *r)
{
	s->reader.ext = NULL;
	if (r->code >= 500 && s->state == STATE_EHLO && !s->params.lmtp)
		return STATE_HELO; /* RFC 5321 section 3.2 */
	if (smtp_refused(r))
		return smtp_fail_refused(s, r);
	if (s->secured || s->params.tls == SMTP_TLS_NONE)
		return begin_login(s);
	if (s->ext.starttls)
		return STATE_STARTTLS;
	if (s->params.tls == SMTP_TLS_STARTTLS)
		return smtp_fail(s, ERR_TLS, "STARTTLS is required and not offered", NULL);
	return begin_login(s);
}

enum smtp_state smtp_on_starttls(struct smtp *s, const struct smtp_reply *r)
{
	if (smtp_refused(r) && s->params.tls == SMTP_TLS_STARTTLS)
		return smtp_fail(s, ERR_TLS, "STARTTLS is required and refused", r);
	if (smtp_refused(r))
		return begin_login(s);
	if (s->surplus) /* somebody wants us to take clear text for the server's secured word */
		return smtp_fail(s, ERR_TLS, "data before the TLS handshake", NULL);
	return STATE_HANDSHAKE;
}
