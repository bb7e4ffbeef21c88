/*
 * What smtp.c (the machine and its transactions) and smtp_open.c (from the greeting to the login)
 * share, and nobody else.
 */
#pragma once

#include "proto/smtp.h"

enum smtp_state {
	STATE_GREETING,
	STATE_EHLO,
	STATE_HELO,
	STATE_STARTTLS,
	STATE_HANDSHAKE,
	STATE_AUTH,          /* with its initial response where that fits */
	STATE_AUTH_RESPONSE, /* the answer to a challenge */
	STATE_AUTH_CANCEL,   /* "*": the error is known, the refusal is to come */
	STATE_IDLE,
	STATE_RSET,
	STATE_XFORWARD,
	STATE_MAIL,
	STATE_RCPT,
	STATE_DATA,
	STATE_BODY,
	STATE_DOT,
	STATE_LONE_DOT, /* 354 came and nobody was taken: RFC 2920 section 3.1 */
	STATE_QUIT,
	STATE_DEAD,
	STATE_COUNT
};

struct smtp {
	struct smtp_params params;
	enum smtp_state state;
	msec_t deadline;
	struct smtp_reader reader;
	struct smtp_ext ext;
	bool secured;
	struct sasl *sasl;   /* in the states STATE_AUTH... */
	enum sasl_mech mech; /* its mechanism */
	struct strview line; /* of sasl: what is to be said next */
	bool ready;          /* it once was: what fails now is a transaction, not the relay */
	bool dirty;          /* the server may have a transaction open: RSET before the next */
	bool surplus;        /* more input lies behind the reply that is being handled */
	enum smtp_event_type event; /* to be reported */
	struct err err;             /* of SMTP_FAILED, as is `cause` */
	struct smtp_reply cause;
	struct smtp_mail *mail; /* NULL: no transaction */
	bool grouped;           /* the commands of the transaction are said already */
	bool utf8;              /* the transaction needs SMTPUTF8 */
	size_t rcpt;            /* cursor: whose reply is next; see next_rcpt() */
	size_t left;            /* replies that RCPT or the final dot still owe us */
	size_t taken;           /* recipients that the server took */
	struct stuff stuff;
	struct strbuf out;
	size_t sent; /* octets at the start of `out` that are gone */
};

/* ---- smtp.c ---- */

/* The one writer of commands. The argument is command_safe(). */
void smtp_say(struct smtp *s, const char *verb, const char *argument, const char *tail);
/*
 * Ends the session; all handlers leave through here when something went wrong. The cause is reply
 * r, or what we say ourselves where it is NULL (with code 0 it is what came instead of a reply).
 */
enum smtp_state smtp_fail(
	struct smtp *s, enum err_class class, const char *why, const struct smtp_reply *r);
enum smtp_state smtp_fail_refused(struct smtp *s, const struct smtp_reply *r);

static inline bool smtp_refused(const struct smtp_reply *r)
{
	return r->code >= 400;
}

/* ---- smtp_open.c: the rows of the states up to STATE_IDLE ---- */

void smtp_enter_hello(struct smtp *s);
void smtp_enter_handshake(struct smtp *s);
void smtp_enter_auth(struct smtp *s);
void smtp_enter_response(struct smtp *s);
enum smtp_state smtp_on_greeting(struct smtp *s, const struct smtp_reply *r);
enum smtp_state smtp_on_hello(struct smtp *s, const struct smtp_reply *r);
enum smtp_state smtp_on_starttls(struct smtp *s, const struct smtp_reply *r);
enum smtp_state smtp_on_login(struct smtp *s, const struct smtp_reply *r);
enum smtp_state smtp_on_challenge(struct smtp *s, const struct smtp_reply *r);
enum smtp_state smtp_on_cancelled(struct smtp *s, const struct smtp_reply *r);
/* Takes what we said of our secrets out of what the server says. */
void smtp_mask(const struct smtp *s, struct smtp_reply *r);
