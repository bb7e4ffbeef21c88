/*
 * What pop3.c (the session: states, reading, deadlines), pop3_login.c (what is said and answered
 * until then) and pop3_command.c (the queue behind the login) share, and nobody else.
 */
#pragma once

#include "proto/framing.h"
#include "proto/pop3.h"

enum state {
	ST_GREETING,
	ST_CAPA,
	ST_STLS,
	ST_HANDSHAKE,
	ST_USER,
	ST_PASS,
	ST_APOP,
	ST_AUTH,          /* AUTH, with its initial response where that fits */
	ST_AUTH_RESPONSE, /* the answer to a challenge */
	ST_AUTH_CANCEL,   /* "*": the error is known, the server's -ERR is to come */
	ST_RENEW,         /* the password was refused: the caller gets another */
	ST_CAPA_AGAIN,    /* after the login */
	ST_READY,         /* from here on the queue decides */
	ST_CLOSED,        /* QUIT was answered */
	ST_FAILED,
	ST_COUNT
};

enum body { BODY_NONE, BODY_LINES, BODY_CONTENT };

enum kind {
	CMD_STAT,
	CMD_UIDL,
	CMD_LIST,
	CMD_RETR,
	CMD_TOP,
	CMD_DELE,
	CMD_NOOP,
	CMD_QUIT,
	CMD_COUNT
};

struct command {
	uint32_t number, lines;
	uint8_t kind;   /* enum kind */
	uint8_t octets; /* on the wire */
};

struct pop3 {
	struct pop3_params params;
	enum state state;
	enum body body; /* what of a multi-line reply is being read */
	bool secured, stat_asked, quit_asked;
	bool secret_out;         /* the output has, or had, the password in it */
	struct sasl *sasl;       /* in the states ST_AUTH... */
	enum sasl_mech mech;     /* its mechanism */
	struct strview line;     /* of sasl: what is to be said next */
	struct strbuf timestamp; /* of the greeting, for APOP; empty: none that is a msg-id */
	struct pop3_caps caps;
	struct line_reader lines;
	struct unstuff unstuff;
	struct strbuf out;
	struct err err;

	msec_t deadline;
	msec_t rate_until; /* by then the body has brought another POP3_RATE_OCTETS */
	uint64_t rate_octets;

	struct command *queue;
	size_t cap, head, next, n;
	size_t flight_octets; /* of [head, next) */

	uint32_t count;  /* of STAT */
	uint32_t items;  /* lines of the body so far */
	uint8_t *seen;   /* a bit per message number of the listing */
	uint64_t octets; /* of the message so far */
};

struct command_row {
	const char *verb;
	uint8_t args; /* how many numbers */
	enum body body;
	/* start: +OK of a multi-line reply; end: its end, or the +OK of another; err: none = fatal
	 */
	enum pop3_event_type start, part, end, err;
	int (*status)(struct pop3 *p, const struct pop3_reply *r, struct pop3_event *ev);
	int (*item)(struct pop3 *p, struct strview line, struct pop3_event *ev);
};

/* ---- pop3.c ---- */

/* The only writer of p->state; a new state's event is reported in *ev, which may be NULL. */
void pop3_go(struct pop3 *p, enum state next, msec_t now, struct pop3_event *ev);
/* The one writer of command lines; -1 if `arg` does not fit into one (p->err says why). */
int pop3_say(struct pop3 *p, const char *verb, struct strview arg);
/* Fills p->err with what the server said, which may be our own password. Returns -1. */
int pop3_err_said(struct pop3 *p, enum err_class class, const char *what, struct strview said);
/* For the handlers of replies: the session ends here, for this reason. */
enum state pop3_refused(
	struct pop3 *p, enum err_class class, const char *what, const struct pop3_reply *r);
int pop3_err_here(struct pop3 *p, enum err_class class, const char *what); /* -1 */
void pop3_await_answer(struct pop3 *p, msec_t now);
void pop3_body_begin(struct pop3 *p, enum body body, msec_t now);

/* ---- pop3_login.c: the rows of the states up to ST_READY ---- */

enum state pop3_after_capa(struct pop3 *p);  /* CAPA is answered */
enum state pop3_login_state(struct pop3 *p); /* where the login begins, or ST_FAILED */

int pop3_enter_capa(struct pop3 *p);
int pop3_enter_stls(struct pop3 *p);
int pop3_enter_user(struct pop3 *p);
int pop3_enter_pass(struct pop3 *p);
int pop3_enter_apop(struct pop3 *p);
int pop3_enter_auth(struct pop3 *p);
int pop3_enter_response(struct pop3 *p);
int pop3_enter_cancel(struct pop3 *p);
int pop3_enter_ready(struct pop3 *p);
enum state pop3_on_greeting(struct pop3 *p, const struct pop3_reply *r);
enum state pop3_on_capa(struct pop3 *p, const struct pop3_reply *r);
enum state pop3_on_stls(struct pop3 *p, const struct pop3_reply *r);
enum state pop3_on_user(struct pop3 *p, const struct pop3_reply *r);
enum state pop3_on_login(struct pop3 *p, const struct pop3_reply *r);
enum state pop3_on_cancelled(struct pop3 *p, const struct pop3_reply *r);
enum state pop3_on_challenge(struct pop3 *p, struct strview challenge);

/* ---- pop3_command.c ---- */

/* The command that is being answered; NULL: none. */
static inline const struct command *pop3_answering(const struct pop3 *p)
{
	return p->head < p->next ? &p->queue[p->head] : NULL;
}

/* Its row; only while there is one. */
const struct command_row *pop3_answering_row(const struct pop3 *p);
/* A status line in ST_READY. */
void pop3_answer(struct pop3 *p, struct strview line, const struct pop3_reply *r, msec_t now,
	struct pop3_event *ev);
/* The answer is complete: the next command has its turn. */
void pop3_answered(struct pop3 *p, msec_t now);
