/*
 * An alert as a mail (RFC 5322, plain text): what has happened, since when, what it means for the
 * mail, and what to do next. Pure: all that it needs is in its arguments.
 *
 * Lines are at most ALERT_LINE_OCTETS long, but for commands and addresses. Peers' words stand
 * escaped, shortened and quoted ("> "), never in a header; there is no secret in them, as in the
 * log.
 */
#pragma once

#include "base/strbuf.h"
#include "core/alert.h"

#define ALERT_LINE_OCTETS 72

struct alert_mail {
	const char *to;
	const char *hostname; /* our own */
	const char *id;       /* for Message-ID: printable ASCII without blanks */
	const char *proof;    /* made with this installation's key: recognises it should it come
				 back (identity.h) */
	wall_t now;
};

/* head: the header and the blank line; body. Both with CRLF. */
void alert_mail_write(const struct alert *a, const struct alert_mail *m, struct strbuf *head,
	struct strbuf *body);
