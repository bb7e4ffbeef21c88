/* Encodings: base64 (RFC 4648 section 4), hex, and the one way in which foreign bytes enter a log.
 */
#pragma once

#include "base/strbuf.h"

/* The longest piece of foreign text that a log line or an error text carries. */
#define ESCAPE_MAX_BYTES 200

void base64_encode(struct strbuf *out, struct strview in);
/* 0; 1 when `in` is not canonical padded base64: `out` is then as it was. */
int base64_decode(struct strbuf *out, struct strview in) must_check;

void hex_encode(struct strbuf *out, const void *data, size_t len); /* lower case */
int hex_value(char c);                                             /* 0..15, or -1 */

/*
 * Makes foreign bytes fit for a log line: valid UTF-8 passes, control characters (C0, DEL, C1, the
 * Unicode line and direction controls) and invalid bytes become \xHH, a backslash is doubled, and
 * what is longer than ESCAPE_MAX_BYTES is cut and ends in "...".
 */
void escape_foreign(struct strbuf *out, struct strview in);
void escape_long(struct strbuf *out, struct strview in, size_t max); /* the same, of max bytes */
