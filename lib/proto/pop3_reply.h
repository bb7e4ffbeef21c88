/* POP3 replies (RFC 1939 section 3, RFC 2449, RFC 3206): pure functions over single lines. */
#pragma once

#include "base/err.h"
#include "base/strbuf.h"

struct pop3_reply {
	bool ok;             /* exactly "+OK", else exactly "-ERR" */
	struct strview code; /* what stands in [brackets] at the start of the text, may be empty */
	struct strview text; /* the rest, without the code */
};

/* 0; 1: neither "+OK" nor "-ERR" as the whole first word ("+OKAY", "+ok", "" are not replies). */
int pop3_reply_parse(struct strview line, struct pop3_reply *reply) must_check;

/*
 * What a refused login means. In this order: rate limit, busy, temporary, permanent, credentials
 * (docs/providers and RFC 3206): ERR_THROTTLE, ERR_BUSY, ERR_TEMP, ERR_PERM, ERR_AUTH. Response
 * codes are compared without case and hierarchically ([SYS/TEMP/x] is a [SYS/TEMP]).
 */
enum err_class pop3_login_class(const struct pop3_reply *reply);

/* What any other -ERR means: ERR_THROTTLE, ERR_BUSY, ERR_TEMP, ERR_PERM, or ERR_TEMP if it says
 * nothing. */
enum err_class pop3_error_class(const struct pop3_reply *reply);

/*
 * The `code` of an error that this -ERR became. ERR_THROTTLE: the seconds that the text names
 * ("only every 15 minutes"), 0: none. ERR_AUTH: 1 when the server says so itself, by [AUTH] (RFC
 * 3206 section 4), 0 when it is our reading of a plain -ERR.
 */
int pop3_refusal_code(const struct pop3_reply *reply, enum err_class class);

struct pop3_caps {
	bool stls, user, uidl, top, pipelining, resp_codes, utf8;
	unsigned sasl;          /* SASL_BIT()s of what is offered */
	bool expire_0;          /* EXPIRE 0: what was retrieved may go at QUIT */
	uint32_t login_delay_s; /* 0: none announced */
	bool login_delay_user;  /* LOGIN-DELAY or EXPIRE may differ per user: ask again after the
				   login */
};
/* Adds what one CAPA line says; unknown capabilities are ignored (RFC 2449 section 6). */
void pop3_caps_line(struct pop3_caps *caps, struct strview line);

/* "count octets ..." of +OK after STAT; 1: not that. Counts above 2^32 - 1 are refused. */
int pop3_stat_parse(struct strview text, uint32_t *count, uint64_t *octets) must_check;
/* "n octets"; 1: not that, or n is 0 or above `count`. */
int pop3_list_parse(struct strview line, uint32_t count, uint32_t *n, uint64_t *octets) must_check;
/*
 * "n uid". 1: not that, or n out of range. 2: the number is good and there is no UID, or one that
 * cannot be kept (empty, over POP3_UID_MAX_OCTETS, octets outside 0x21..0x7e): *n is set, *uid
 * empty.
 */
int pop3_uidl_parse(struct strview line, uint32_t count, uint32_t *n, struct strview *uid)
	must_check;

/* RFC 1939 says 70; longer ones exist. */
#define POP3_UID_MAX_OCTETS 255
