/*
 * strview: borrowed bytes, pointer and length, not terminated.
 * strbuf:  a growable byte buffer with a hard maximum, always NUL-terminated for convenience.
 *
 * A strbuf that would pass its maximum keeps what it has, takes nothing more and remembers it in
 * `overflow`; the caller looks once at the end instead of after each append.
 */
#pragma once

#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct strview {
	const char *ptr;
	size_t len;
};

#define SV(literal) ((struct strview){ (literal), sizeof(literal) - 1 })
#define SV_FMT(v)   (int)(v).len, (v).ptr ? (v).ptr : "" /* for "%.*s" */

static inline struct strview sv(const char *ptr, size_t len)
{
	return (struct strview){ ptr, len };
}

static inline struct strview sv_str(const char *s)
{
	return (struct strview){ s, s ? strlen(s) : 0 };
}

/* The rest of v after its first n bytes (n is cut to the length). */
static inline struct strview sv_skip(struct strview v, size_t n)
{
	n = n < v.len ? n : v.len;
	return n ? (struct strview){ v.ptr + n, v.len - n } : v; /* NULL + 0 is undefined in C */
}

bool sv_eq(struct strview a, struct strview b);
bool sv_ieq(struct strview a, struct strview b); /* ASCII case folded, nothing else */
bool sv_starts(struct strview v, struct strview prefix);
bool sv_istarts(struct strview v, struct strview prefix);
bool sv_iends(struct strview v, struct strview suffix);
bool sv_icontains(struct strview v, struct strview needle);
struct strview sv_trim(struct strview v); /* SP, HTAB, CR, LF at both ends */
/* Cuts the part before the first `sep` off *rest and returns it; all of it when there is none. */
struct strview sv_token(struct strview *rest, char sep);
/* A decimal number of digits only, no sign, no space: false when empty, foreign or above max. */
bool sv_number(struct strview v, uint64_t max, uint64_t *out) must_check;
int ascii_lower(int c);
int ascii_strcasecmp(const char *a, const char *b); /* not the locale's idea of case */

struct strbuf {
	char *ptr;
	size_t len;
	size_t cap;
	size_t max;    /* 0: no limit */
	bool overflow; /* something did not fit and was not taken */
};

#define STRBUF_INIT      ((struct strbuf){ 0 })
#define STRBUF_MAX(size) ((struct strbuf){ .max = (size) })

void strbuf_add(struct strbuf *b, const void *data, size_t len);
void strbuf_adds(struct strbuf *b, const char *s);
void strbuf_addv(struct strbuf *b, struct strview v);
void strbuf_addc(struct strbuf *b, char c);
void strbuf_addf(struct strbuf *b, const char *fmt, ...) format_like(2, 3);
void strbuf_consume(struct strbuf *b, size_t len); /* drops the first len bytes */
void strbuf_clear(struct strbuf *b);               /* keeps the memory */
void strbuf_free(struct strbuf *b);                /* leaves it usable and empty */
void strbuf_wipe(struct strbuf *b);                /* overwrites, then frees: for secrets */
char *strbuf_take(struct strbuf *b);            /* the string, the caller's to free; b is empty */
const char *strbuf_str(const struct strbuf *b); /* never NULL */

static inline struct strview strbuf_view(const struct strbuf *b)
{
	return (struct strview){ b->ptr, b->len };
}
