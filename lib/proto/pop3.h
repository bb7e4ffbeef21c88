/*
 * The POP3 client machine (RFC 1939, 2449, 2595, 5034), without I/O.
 *
 * The driver hands in bytes and time and takes out bytes and events:
 *
 *	while (len) { n = pop3_feed(p, buf, len, now, &ev); buf += n; len -= n; handle(ev); }
 *	pop3_output(p, &view) ... write ... pop3_sent(p, n)
 *	at pop3_deadline(p): pop3_tick(p, now, &ev)
 *
 * pop3_feed consumes up to one event, so the driver can stop between any two (back-pressure) and
 * free the machine on any event. After POP3_FAILED nothing but pop3_free is allowed. After
 * POP3_READY commands may be queued in any number; the machine sends them one by one, or in groups
 * where the server offers PIPELINING (RFC 2449 section 6.6), and never overruns the window below.
 * Answers come in the order of the commands.
 *
 * A surprise in the protocol ends the session (POP3_FAILED, class PROTO); there is no
 * resynchronising.
 */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "base/strbuf.h"
#include "proto/pop3_reply.h"
#include "proto/sasl.h"

#define POP3_LINE_MAX_OCTETS      2048 /* status line; RFC 1939 says 512, servers say more */
#define POP3_LIST_LINE_MAX_OCTETS 1024 /* a line of UIDL, LIST, CAPA */
#define POP3_CAPA_MAX_LINES       64
#define POP3_LISTING_MAX          2000000 /* messages in a maildrop */
#define POP3_WINDOW_OCTETS        1024 /* commands in flight: small enough for any socket buffer */
#define POP3_WINDOW_COMMANDS      64
#define POP3_RATE_OCTETS          1024  /* a multi-line reply brings at least this much ... */
#define POP3_RATE_MSEC            30000 /* ... in this time */
#define POP3_MD5_OCTETS           16

enum pop3_tls {
	POP3_TLS_NONE,     /* clear text, written out by the administrator */
	POP3_TLS_IMPLICIT, /* the stream is TLS from its first byte */
	POP3_TLS_STLS      /* STLS is required before anything secret is said */
};

enum pop3_auth {
	POP3_AUTH_AUTO, /* the strongest SASL mechanism offered, else USER and PASS */
	POP3_AUTH_USER, /* USER and PASS */
	POP3_AUTH_APOP, /* RFC 1939 section 7 */
	POP3_AUTH_SASL  /* `mech`, offered or not */
};

struct pop3_params {
	struct strview user; /* borrowed until POP3_READY or POP3_FAILED */
	struct strview
		password; /* borrowed likewise; never copied except into the (wiped) output */
	enum pop3_tls tls;
	enum pop3_auth auth;
	enum sasl_mech mech; /* POP3_AUTH_SASL */
	/* For POP3_AUTH_APOP; -1: this machine has none (FIPS). */
	int (*md5)(struct strview in, uint8_t out[POP3_MD5_OCTETS]);
	bool renewable;      /* the caller can get another password when this one is refused */
	uint32_t timeout_ms; /* without an answer or without progress */
	bool lf_lines;       /* tolerate a bare LF as line end */
};

enum pop3_event_type {
	POP3_NONE,      /* all bytes used, nothing to report */
	POP3_STARTTLS,  /* flush the output, do the TLS handshake, then pop3_secured() */
	POP3_RENEW,     /* the password was refused: pop3_renew() with another, or pop3_free() */
	POP3_READY,     /* logged in; caps are known */
	POP3_STAT,      /* number = messages, octets = their size */
	POP3_UIDL_ITEM, /* number, uid (empty: none that can be kept) */
	POP3_UIDL_END,  /* complete: terminator seen, one line for each message of STAT */
	POP3_UIDL_ERR,  /* refused: reply */
	POP3_LIST_ITEM, /* number, octets */
	POP3_LIST_END,
	POP3_RETR_START, /* number: +OK, data follows */
	POP3_RETR_DATA,  /* number, data: a piece of the unstuffed message */
	POP3_RETR_END,   /* number, octets received (unstuffed, with the last CRLF) */
	POP3_RETR_ERR,   /* number, reply */
	POP3_TOP_START,
	POP3_TOP_DATA,
	POP3_TOP_END,
	POP3_TOP_ERR,
	POP3_DELE_OK,  /* number */
	POP3_DELE_ERR, /* number, reply */
	POP3_NOOP_OK,
	POP3_QUIT_OK,  /* the deletions count now */
	POP3_QUIT_ERR, /* some or none of them do: only the next listing tells */
	POP3_FAILED    /* err; close the connection, no QUIT */
};

struct pop3_event {
	enum pop3_event_type type;
	uint32_t number;
	uint64_t octets;
	/* Valid until the next call into the machine or until the buffer that was fed goes. */
	struct strview uid, data;
	struct strview reply; /* the whole line, for pop3_reply_parse() */
	struct err err;       /* POP3_FAILED, POP3_RENEW */
};

struct pop3;

/* The connection is up (implicit TLS: the handshake is done too). The caller frees the machine. */
struct pop3 *pop3_new(const struct pop3_params *params, msec_t now);
void pop3_free(struct pop3 *p); /* wipes what it had of the password */

size_t pop3_feed(struct pop3 *p, const char *buf, size_t len, msec_t now, struct pop3_event *ev);
void pop3_eof(struct pop3 *p, msec_t now, struct pop3_event *ev);
msec_t pop3_deadline(const struct pop3 *p); /* MSEC_NEVER: none */
void pop3_tick(struct pop3 *p, msec_t now, struct pop3_event *ev);
/* The driver had stopped reading (back-pressure): the peer's time counts anew from now. */
void pop3_resume(struct pop3 *p, msec_t now);
void pop3_secured(struct pop3 *p, msec_t now); /* after POP3_STARTTLS: the handshake succeeded */
/* After POP3_RENEW, once: tries again with this password, borrowed as that of the parameters. */
void pop3_renew(struct pop3 *p, struct strview password, msec_t now, struct pop3_event *ev);

void pop3_output(const struct pop3 *p, struct strview *out);
void pop3_sent(struct pop3 *p, size_t len);

/* Commands, after POP3_READY. UIDL and LIST need an answered or queued STAT before them. */
void pop3_stat(struct pop3 *p, msec_t now);
void pop3_uidl(struct pop3 *p, msec_t now);
void pop3_list(struct pop3 *p, msec_t now);
void pop3_retr(struct pop3 *p, uint32_t number, msec_t now);
void pop3_top(struct pop3 *p, uint32_t number, uint32_t lines, msec_t now);
void pop3_dele(struct pop3 *p, uint32_t number, msec_t now);
void pop3_noop(struct pop3 *p, msec_t now);
void pop3_quit(struct pop3 *p, msec_t now); /* after it, no command */

const struct pop3_caps *pop3_caps(const struct pop3 *p);
size_t pop3_pending(const struct pop3 *p);         /* commands queued or not yet answered */
const char *pop3_state_name(const struct pop3 *p); /* for log and status */
