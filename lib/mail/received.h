/*
 * Received: fields (RFC 5321 section 4.4) as servers really write them: from, by, for; and the
 * chain that they form, which says how far down the header the provider's own words reach.
 *
 * Tokenised: comments and quoted strings are skipped, so what a client says in EHLO proves nothing.
 * Forms known: Postfix "from EHLO (verified [ip]) by host (Postfix) with .. id .. for <a@b>; date",
 * Exim "from name ([ip] helo=x)" and "from [ip] (helo=x)", qmail "(qmail 1 invoked by uid 89);
 * date" and "from unknown (HELO x) (1.2.3.4) by host with SMTP", Sendmail, Courier, Dovecot LMTP,
 * local hand-over.
 */
#pragma once

#include "mail/header.h"

struct received {
	struct strview by; /* host behind `by`; empty: none */
	bool has_from;     /* false: local hand-over (pickup, LMTP by pipe, qmail invoked by uid) */
	struct strview client; /* verified name: the one in parentheses before the [ip], with Exim
				  the one before "([ip] helo=x)"; never the EHLO name */
	struct strview
		ip; /* the address in brackets or parentheses, without "IPv6:"; empty: none */
	struct strview for_addr; /* behind `for`, without <>; empty: none */
	bool invoked;            /* qmail's "(qmail N invoked ...)" */
	bool malformed;          /* no known form, or one that an EHLO name may have forged: all
				    else is empty */
};

/* value: unfolded; the views point into it. */
void received_parse(struct strview value, struct received *out);
/* The same for a field; `value` is scratch that the views point into. */
void received_read(const struct header_field *f, struct strbuf *value, struct received *out);

/*
 * The trust boundary: index of the last Received line, from the top, of the unbroken chain of the
 * provider's own. h->n: there is none. *reason says why in a few words; the caller frees it.
 *
 * A line belongs to the chain when its `by` is in trusted_by. The chain goes on below it when its
 * client is the provider's too (verified name or address in trusted_by, or a private address) or
 * when there was none, for a local hand-over. Where it breaks off without an entrance (a host that
 * writes no line, or the sender's own lines), what stands below its last line is nobody's we know,
 * so it is the sender's. An empty trusted_by: the first Received line.
 */
size_t received_boundary(
	const struct header *h, char *const *trusted_by, size_t ntrusted_by, char **reason);

/*
 * Who handed the message to the provider: the client of the line at the boundary. *name and *ip (in
 * the usual form) are the caller's to free; NULL: not known, as the line does not say it, or names
 * one of the provider's own hosts or an address inside somebody's walls.
 */
void received_client(const struct header *h, size_t boundary, char *const *trusted_by,
	size_t ntrusted_by, char **name, char **ip);

/* Loopback, RFC 1918, RFC 6598, ULA, link-local: inside somebody's own walls. */
bool ip_is_private(struct strview ip);
/* host matches a trusted_by entry: equal, or below "*.domain"; without ASCII case. */
bool host_matches(struct strview host, struct strview pattern);
