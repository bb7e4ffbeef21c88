/*
 * Received: fields (RFC 5321 section 4.4) as servers really write them: from, by, for.
 *
 * Tokenised: comments and quoted strings are skipped, so what a client says in EHLO proves nothing.
 * Forms known: Postfix "from EHLO (verified [ip]) by host (Postfix) with .. id .. for <a@b>; date",
 * Exim "from name ([ip] helo=x)" and "from [ip] (helo=x)", qmail "(qmail 1 invoked by uid 89);
 * date" and "from unknown (HELO x) (1.2.3.4) by host with SMTP", Sendmail, Courier, Dovecot LMTP,
 * local hand-over.
 */
#pragma once

#include "base/strbuf.h"

struct received {
	struct strview by; /* host behind `by`; empty: none */
	bool has_from;     /* false: local hand-over (pickup, LMTP by pipe, qmail invoked by uid) */
	struct strview client; /* verified name: the one in parentheses before the [ip]; never the
				  EHLO name */
	struct strview
		ip; /* the address in brackets or parentheses, without "IPv6:"; empty: none */
	struct strview for_addr; /* behind `for`, without <>; empty: none */
	bool invoked;            /* qmail's "(qmail N invoked ...)" */
	bool malformed;          /* neither by nor from nor a known form */
};

/* value: unfolded; the views point into it. */
void received_parse(struct strview value, struct received *out);

/* Loopback, RFC 1918, RFC 6598, ULA, link-local: inside somebody's own walls. */
bool ip_is_private(struct strview ip);
/* host matches a trusted_by entry: equal, or below "*.domain"; without ASCII case. */
bool host_matches(struct strview host, struct strview pattern);
