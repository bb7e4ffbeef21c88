/*
 * The SMTP (RFC 5321) and LMTP (RFC 2033) client machine of one connection, without I/O.
 *
 * Same face as pop3.h: bytes and time in, bytes and events out, one event per feed, the driver may
 * free it on any event. One transaction at a time:
 *
 * - smtp_mail(s, &mail): MAIL, RCPTs and DATA, in one write where PIPELINING is offered.
 * - SMTP_BODY: 354 came and at least one recipient was taken. The content may be sent: smtp_body(s,
 *   part, data) any number of times; the driver watches smtp_output for back-pressure.
 * - smtp_dot(s): the final dot; only after the caller made "dot about to be sent" durable.
 * - SMTP_DONE: every recipient of the mail has its outcome; the session is idle again.
 *
 * Nothing is ever sent behind a final dot before its reply is in. When the session ends within a
 * transaction all outcomes are filled too: SMTP_CONNECTION before the dot, SMTP_IN_DOUBT after it
 * for those without a reply; what was settled before stays. That is SMTP_FAILED, but SMTP_CLOSED
 * where only the connection was stale: no answer to the RSET before the mail.
 * After SMTP_FAILED and SMTP_CLOSED there is no output left, and only smtp_free() makes sense.
 */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "proto/sasl.h"
#include "proto/smtp_reply.h"

enum smtp_tls {
	SMTP_TLS_NONE,
	SMTP_TLS_OPPORTUNISTIC, /* STARTTLS if offered; the driver checks no certificate */
	SMTP_TLS_STARTTLS,      /* required */
	SMTP_TLS_IMPLICIT
};

/* Minimum timeouts of RFC 5321 section 4.5.3.2; the dot's comes from the configuration. */
#define SMTP_TIMEOUT_GREETING_MS (5 * 60 * 1000)
#define SMTP_TIMEOUT_COMMAND_MS  (5 * 60 * 1000)
#define SMTP_TIMEOUT_DATA_MS     (2 * 60 * 1000)
#define SMTP_TIMEOUT_BLOCK_MS    (3 * 60 * 1000)
#define SMTP_TIMEOUT_QUIT_MS     (10 * 1000) /* nobody waits for it */
#define SMTP_ADDRESS_MAX_OCTETS  1024        /* RFC 5321 says 256; a command line is built of it */

struct smtp_params {
	const char *helo; /* EHLO/LHLO name, command_safe(); borrowed for the machine's life */
	bool lmtp;
	enum smtp_tls tls;
	struct strview user;     /* empty: no AUTH. Borrowed until SMTP_READY or SMTP_FAILED, */
	struct strview password; /* as this; never said but over TLS */
	enum sasl_mech mech;     /* SASL_COUNT: the strongest that is offered */
	bool xforward;           /* say whose mail it is, where that is offered */
	uint32_t dot_timeout_ms;
};

struct smtp_rcpt {
	const char *address; /* without <>; goes to the wire as it is */
	enum smtp_outcome outcome;
	struct smtp_reply
		reply; /* what decided the outcome; code 0 and a text of ours if no reply did */
};

struct smtp_mail {
	const char *sender; /* "" is the null reverse-path */
	struct smtp_rcpt *rcpts;
	size_t nrcpts;     /* >= 1 */
	uint64_t octets;   /* at least what goes out, stuffing aside: SIZE= */
	bool eightbit;     /* content has octets above 127 */
	bool utf8_header;  /* content needs SMTPUTF8 on its own account; a non-ASCII address sets it
			      too */
	bool notify_never; /* NOTIFY=NEVER on each RCPT where DSN is offered */
	/* Who handed the message to the provider, for XFORWARD; NULL: not known. */
	const char *client_name, *client_ip;
	bool verify; /* only ask: SMTP_ACCEPTED is "would be taken"; no DATA, RSET follows */
};

enum smtp_event_type {
	SMTP_NONE,
	SMTP_STARTTLS, /* flush, do the handshake, then smtp_secured() */
	SMTP_READY, /* greeting and EHLO are through, once per connection: smtp_mail() is allowed */
	SMTP_XFORWARD_REFUSED, /* once per connection: reply; the mail goes on without it */
	SMTP_BODY,
	SMTP_DONE,
	SMTP_CLOSED, /* QUIT was answered, or the server closed an idle session (also with 421): no
			fault */
	SMTP_FAILED  /* err; its text names the state */
};

struct smtp_event {
	enum smtp_event_type type;
	struct err err;          /* SMTP_FAILED only */
	struct smtp_reply reply; /* SMTP_FAILED: what the server said last, if it did;
				    SMTP_XFORWARD_REFUSED */
	bool ready_before; /* SMTP_FAILED: the session had been ready (a transaction failed, not the
			      relay) */
};

struct smtp;

struct smtp *smtp_new(const struct smtp_params *params, msec_t now);
void smtp_free(struct smtp *s);

size_t smtp_feed(struct smtp *s, const char *buf, size_t len, msec_t now, struct smtp_event *ev);
void smtp_eof(struct smtp *s, msec_t now, struct smtp_event *ev);
msec_t smtp_deadline(const struct smtp *s);
void smtp_tick(struct smtp *s, msec_t now, struct smtp_event *ev);
void smtp_secured(struct smtp *s, msec_t now);

void smtp_output(const struct smtp *s, struct strview *out);
/*
 * The first len octets of the output are written: renews the time of a block of content. To be
 * called at once, before anything that the server said later is fed: a reply to a dot that was not
 * sent is none.
 */
void smtp_sent(struct smtp *s, size_t len, msec_t now);

bool smtp_idle(const struct smtp *s); /* ready and no transaction: smtp_mail() is allowed now */
/*
 * Starts a transaction; `mail` is borrowed until SMTP_DONE, SMTP_CLOSED or SMTP_FAILED. What cannot
 * be said to this server (SIZE exceeded, SMTPUTF8 needed and not offered, an address that does not
 * fit a command line) gets SMTP_REJECTED without being sent; when no recipient is left SMTP_DONE
 * follows at the next smtp_poll().
 */
void smtp_mail(struct smtp *s, struct smtp_mail *mail, msec_t now);
/* Reports an event that needs no input (SMTP_DONE of a transaction that was never sent). */
void smtp_poll(struct smtp *s, msec_t now, struct smtp_event *ev);
void smtp_body(struct smtp *s, enum stuff_part part, struct strview data, msec_t now);
void smtp_dot(struct smtp *s, msec_t now);  /* ends the content and writes the final dot */
void smtp_quit(struct smtp *s, msec_t now); /* idle only */

const struct smtp_ext *smtp_ext(const struct smtp *s);
const char *smtp_state_name(const struct smtp *s);
