/*
 * The header of a message as it leaves the house's gateway: what is added, what is removed.
 *
 * Removed: Return-Path (it became MAIL FROM), Delivered-To (Postfix and others take it for a mail
 * loop), the envelope headers (they list blind-copy recipients), incoming X-Multidrop-*, an mbox
 * "From " line. All else stays byte for byte.
 */
#pragma once

#include "mail/header.h"
#include "mail/resolve.h"

struct rewrite {
	const char *pop_host, *pop_ip; /* where it was fetched */
	const char *hostname;          /* our own */
	bool pop_tls;                  /* with POP3S instead of POP3 */
	const char *rcpt;              /* the only recipient of the transaction, else NULL */
	const char *date;              /* RFC 5322 */
	const char *id; /* X-Multidrop-Id; its first part is the id of the Received line */
	bool in_doubt;
	bool own_alert;     /* ALERT_MAIL_FIELD is genuine: it stays */
	const char *reason; /* X-Multidrop-Reason, or NULL; any text */
	const struct envelope_rule *rules;
	size_t nrules;
};

/* Appends the whole header and the blank line; its octets stand as in the message, LF-ended or not.
 */
void rewrite_head(const struct header *h, const struct rewrite *r, struct strbuf *out);

/*
 * Does field i differ between stored copies of one message: a trace or envelope line, or anything
 * that the provider wrote above the trust boundary? (For the comparison by content.)
 */
bool rewrite_is_trace(const struct header *h, size_t i, size_t boundary,
	const struct envelope_rule *rules, size_t nrules);

#define MULTIDROP_ID_FIELD "X-Multidrop-Id"
#define ALERT_MAIL_FIELD   "X-Multidrop-Alert" /* in mail of our own to people */
