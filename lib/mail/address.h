/*
 * Addresses: reading them out of header values (RFC 5322 section 3.4, and what providers write
 * instead), comparing them, and deciding whether one is fit for the wire (RFC 5321 section 4.1.2).
 */
#pragma once

#include "base/err.h"
#include "base/strbuf.h"

#define ADDRESS_MAX           1000 /* per value */
#define ADDRESS_LOCAL_OCTETS  64   /* RFC 5321 section 4.5.3.1.1 */
#define ADDRESS_DOMAIN_OCTETS 255

struct address {
	char *text; /* local@domain as it goes to the wire: local part unchanged (quoted if it was),
		       domain as written, one trailing dot gone, U-labels as A-labels */
	size_t at;  /* index of the @ in text */
	char *domain; /* for comparison: A-label, lower case */
};

struct address_list {
	struct address *items;
	size_t n, cap;
	size_t malformed;     /* elements that were no address */
	bool too_many;        /* more than ADDRESS_MAX: the rest is not there */
	struct strbuf reason; /* why the first malformed element was refused, for explain */
};

void address_list_free(struct address_list *l);
void address_free(struct address *a);

/*
 * All addresses of an (unfolded) header value, in linear time. Comments, display names, <>, source
 * routes, groups, "rfc822;", leading words ("GMX delivery to"), a trailing " via ip; date" or "(uid
 * 0)" fall away; quoted local parts are understood; encoded words are never decoded; display names
 * and comments are never addresses. Pipes, paths, address literals, values without @ and "<>" are
 * malformed.
 */
void address_parse_list(struct strview value, struct address_list *out);

/* One plain address, as the configuration writes it: 0, or -1 and why. */
int address_parse(struct strview text, struct address *out, struct err *err) must_check;

/*
 * A domain for comparison: ASCII lower case, one trailing dot removed, U-labels as A-labels
 * (IDNA2008 by libidn2, no Unicode case or compatibility folding of ASCII look-alikes: a KELVIN
 * SIGN is not a k). NULL: not a domain name. The caller frees.
 */
char *domain_normal(struct strview domain);

/* The local part for comparison, as a view into the address: without needless quotes. */
struct strview address_local(const struct address *a);
/* Same recipient? Domains by their normal form, local parts without ASCII case. */
bool address_same(const struct address *a, const struct address *b);

/*
 * Return-Path to MAIL FROM: "<a@b>" or "a@b" gives an address, "<>" the empty string (null). 1: not
 * usable (no address, several, CR, LF, NUL, white space, over the limits of RFC 5321).
 */
int reverse_path_parse(struct strview value, char **out) must_check;
