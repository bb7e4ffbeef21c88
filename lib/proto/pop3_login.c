/*
 * POP3 from the greeting to the login; see pop3.h and pop3_impl.h.
 *
 * Owns nothing: these are the rows of pop3.c's states. Invariants: the credentials are said once
 * the stream is secured or may stay clear, and forgotten at READY; every refusal of a login, by
 * whatever command, passes through pop3_on_login().
 */
#include "base/encode.h"
#include "proto/pop3_impl.h"

/* RFC 2449 section 4, RFC 5034 section 4: the longest command line, CRLF included. */
#define COMMAND_MAX_OCTETS 255
/* Of the greeting's timestamp; longer than any server's. */
#define TIMESTAMP_MAX_OCTETS 256

/* ---- what we say ---- */

static int say_secret(struct pop3 *p, const char *verb, struct strview secret)
{
	ensure(p->secured || p->params.tls == POP3_TLS_NONE);
	p->secret_out = true;
	return pop3_say(p, verb, secret);
}

int pop3_enter_capa(struct pop3 *p)
{
	return pop3_say(p, "CAPA", (struct strview){ 0 });
}

int pop3_enter_stls(struct pop3 *p)
{
	return pop3_say(p, "STLS", (struct strview){ 0 });
}

int pop3_enter_user(struct pop3 *p)
{
	return say_secret(p, "USER", p->params.user);
}

int pop3_enter_pass(struct pop3 *p)
{
	return say_secret(p, "PASS", p->params.password);
}

int pop3_enter_apop(struct pop3 *p)
{
	struct strbuf in AUTO(strbuf_wipe) = STRBUF_INIT, said AUTO(strbuf_free) = STRBUF_INIT;
	uint8_t digest[POP3_MD5_OCTETS];

	mem_grow(&in.ptr, &in.cap, p->timestamp.len + p->params.password.len + 1, 1);
	strbuf_addv(&in, strbuf_view(&p->timestamp));
	strbuf_addv(&in, p->params.password);
	if (p->params.md5(strbuf_view(&in), digest))
		return pop3_err_here(p, ERR_LOCAL, "this machine has no MD5");
	strbuf_addv(&said, p->params.user);
	strbuf_addc(&said, ' ');
	hex_encode(&said, digest, sizeof digest);
	return say_secret(p, "APOP", strbuf_view(&said));
}

int pop3_enter_auth(struct pop3 *p)
{
	struct strbuf said AUTO(strbuf_wipe) = STRBUF_INIT;
	size_t room = COMMAND_MAX_OCTETS - strlen("AUTH  \r\n");
	struct strview initial;

	strbuf_adds(&said, sasl_name(p->mech));
	if (sasl_begin(p->sasl, room - said.len, &initial, &p->err) < 0)
		return -1;
	if (initial.ptr) {
		mem_grow(&said.ptr, &said.cap, COMMAND_MAX_OCTETS, 1);
		strbuf_addc(&said, ' ');
		strbuf_addv(&said, initial);
	}
	return say_secret(p, "AUTH", strbuf_view(&said));
}

int pop3_enter_response(struct pop3 *p)
{
	return say_secret(p, "", p->line);
}

int pop3_enter_cancel(struct pop3 *p)
{
	return pop3_say(p, "*", (struct strview){ 0 });
}

int pop3_enter_ready(struct pop3 *p)
{
	p->params.user = p->params.password = (struct strview){ 0 };
	sasl_free(p->sasl);
	p->sasl = NULL;
	return 0;
}

/* ---- which login ---- */

static enum state begin_sasl(struct pop3 *p, enum sasl_mech mech)
{
	sasl_free(p->sasl);
	p->sasl = NULL;
	p->mech = mech;
	return sasl_new(mech, p->params.user, p->params.password, &p->sasl, &p->err) < 0 ? ST_FAILED
											 : ST_AUTH;
}

static enum state begin_apop(struct pop3 *p)
{
	if (p->timestamp.len)
		return ST_APOP;
	err_set(&p->err, ERR_PROTO, 0,
		"APOP is wanted, and the greeting has no timestamp that is a message id");
	return ST_FAILED;
}

enum state pop3_login_state(struct pop3 *p)
{
	enum sasl_mech best;

	switch (p->params.auth) {
	case POP3_AUTH_AUTO: /* USER and PASS do what LOGIN does, and more servers know how */
		best = sasl_strongest(p->caps.sasl & ~SASL_BIT(SASL_LOGIN), p->secured,
			p->params.user, p->params.password);
		return best == SASL_COUNT ? ST_USER : begin_sasl(p, best);
	case POP3_AUTH_USER:
		return ST_USER;
	case POP3_AUTH_APOP:
		return begin_apop(p);
	case POP3_AUTH_SASL:
		return begin_sasl(p, p->params.mech);
	}
	return ST_FAILED;
}

enum state pop3_after_capa(struct pop3 *p)
{
	if (p->state == ST_CAPA_AGAIN)
		return ST_READY;
	if (p->params.tls != POP3_TLS_STLS || p->secured)
		return pop3_login_state(p);
	if (p->caps.stls)
		return ST_STLS;
	err_set(&p->err, ERR_TLS, 0, "TLS is required and the server does not offer STLS");
	return ST_FAILED;
}

/* ---- what the answers mean ---- */

/* RFC 5322 section 3.2.3, with the dots of a dot-atom. */
static size_t dot_atom(struct strview v)
{
	static const char specials[] = "()<>[]:;@\\,\"";
	size_t n = 0;

	while (n < v.len && v.ptr[n] > ' ' && v.ptr[n] < 0x7f && !strchr(specials, v.ptr[n]))
		n++;
	return n;
}

/*
 * RFC 1939 section 7: the first <...> of the greeting, and it must be a message id: with a string
 * of his choice in its place whoever sits on the line could find out the password.
 */
static void keep_timestamp(struct pop3 *p, struct strview text)
{
	const char *start = text.len ? memchr(text.ptr, '<', text.len) : NULL;

	if (!start)
		return;
	struct strview id = sv_skip(text, (size_t)(start - text.ptr));
	size_t local = dot_atom(sv_skip(id, 1)), at = 1 + local;
	size_t domain = dot_atom(sv_skip(id, at + 1)), end = at + 1 + domain;
	if (!local || !domain || end >= id.len || end >= TIMESTAMP_MAX_OCTETS ||
		id.ptr[at] != '@' || id.ptr[end] != '>')
		return;
	strbuf_add(&p->timestamp, id.ptr, end + 1);
}

enum state pop3_on_greeting(struct pop3 *p, const struct pop3_reply *r)
{
	if (!r->ok)
		return pop3_refused(p, pop3_error_class(r), "the server refuses service", r);
	keep_timestamp(p, r->text);
	return ST_CAPA;
}

enum state pop3_on_capa(struct pop3 *p, const struct pop3_reply *r)
{
	if (!r->ok)
		return pop3_after_capa(p); /* RFC 2449 section 5: it has none, or says no more */
	p->caps = (struct pop3_caps){ 0 };
	p->body = BODY_LINES;
	return p->state;
}

enum state pop3_on_stls(struct pop3 *p, const struct pop3_reply *r)
{
	return r->ok ? ST_HANDSHAKE
		     : pop3_refused(p, ERR_TLS, "TLS is required and STLS refused", r);
}

enum state pop3_on_user(struct pop3 *p, const struct pop3_reply *r)
{
	return r->ok ? ST_PASS : pop3_on_login(p, r);
}

enum state pop3_on_login(struct pop3 *p, const struct pop3_reply *r)
{
	enum err_class class = pop3_login_class(r);

	if (!r->ok) {
		pop3_refused(p, class, "login refused", r);
		return class == ERR_AUTH && p->params.renewable ? ST_RENEW : ST_FAILED;
	}
	if (p->sasl && sasl_accepted(p->sasl, &p->err) < 0)
		return ST_FAILED;
	return p->caps.login_delay_user ? ST_CAPA_AGAIN : ST_READY;
}

enum state pop3_on_challenge(struct pop3 *p, struct strview challenge)
{
	return sasl_answer(p->sasl, challenge, &p->line, &p->err) < 0 ? ST_AUTH_CANCEL
								      : ST_AUTH_RESPONSE;
}

/* Whatever it says to that: why we gave up is known. */
enum state pop3_on_cancelled(struct pop3 *p, const struct pop3_reply *r)
{
	return ST_FAILED;
}
