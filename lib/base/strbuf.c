/* Byte buffers and views; see strbuf.h. A strbuf owns its memory, a strview nothing. */
#include "base/strbuf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int ascii_lower(int c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

int ascii_strcasecmp(const char *a, const char *b)
{
	while (*a && ascii_lower((unsigned char)*a) == ascii_lower((unsigned char)*b))
		a++, b++;
	return ascii_lower((unsigned char)*a) - ascii_lower((unsigned char)*b);
}

bool sv_eq(struct strview a, struct strview b)
{
	return a.len == b.len && (!a.len || !memcmp(a.ptr, b.ptr, a.len));
}

static bool fold_equal(const char *a, const char *b, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (ascii_lower((unsigned char)a[i]) != ascii_lower((unsigned char)b[i]))
			return false;
	return true;
}

bool sv_ieq(struct strview a, struct strview b)
{
	return a.len == b.len && fold_equal(a.ptr, b.ptr, a.len);
}

bool sv_starts(struct strview v, struct strview prefix)
{
	return v.len >= prefix.len && (!prefix.len || !memcmp(v.ptr, prefix.ptr, prefix.len));
}

bool sv_istarts(struct strview v, struct strview prefix)
{
	return v.len >= prefix.len && fold_equal(v.ptr, prefix.ptr, prefix.len);
}

bool sv_iends(struct strview v, struct strview suffix)
{
	return v.len >= suffix.len &&
		fold_equal(v.ptr + v.len - suffix.len, suffix.ptr, suffix.len);
}

bool sv_icontains(struct strview v, struct strview needle)
{
	for (; v.len >= needle.len; v = sv_skip(v, 1)) {
		if (fold_equal(v.ptr, needle.ptr, needle.len))
			return true;
		if (!v.len)
			break;
	}
	return false;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct strview sv_trim(struct strview v)
{
	while (v.len && is_space(v.ptr[0]))
		v.ptr++, v.len--;
	while (v.len && is_space(v.ptr[v.len - 1]))
		v.len--;
	return v;
}

struct strview sv_token(struct strview *rest, char sep)
{
	const char *at = rest->len ? memchr(rest->ptr, sep, rest->len) : NULL;
	struct strview token = *rest;

	if (at) {
		token.len = (size_t)(at - rest->ptr);
		*rest = sv_skip(*rest, token.len + 1);
	} else {
		*rest = sv_skip(*rest, rest->len);
	}
	return token;
}

bool sv_number(struct strview v, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;

	if (!v.len)
		return false;
	for (size_t i = 0; i < v.len; i++) {
		if (v.ptr[i] < '0' || v.ptr[i] > '9')
			return false;
		uint64_t digit = (uint64_t)(v.ptr[i] - '0');
		if (digit > max || n > (max - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*out = n;
	return true;
}

static bool strbuf_room(struct strbuf *b, size_t more)
{
	size_t need = b->len + more + 1;

	if (b->overflow)
		return false;
	if (need < b->len || (b->max && b->len + more > b->max)) {
		b->overflow = true;
		return false;
	}
	mem_grow(&b->ptr, &b->cap, need, 1);
	return true;
}

void strbuf_add(struct strbuf *b, const void *data, size_t len)
{
	if (!strbuf_room(b, len))
		return;
	if (len)
		memcpy(b->ptr + b->len, data, len);
	b->len += len;
	b->ptr[b->len] = '\0';
}

void strbuf_adds(struct strbuf *b, const char *s)
{
	strbuf_add(b, s, strlen(s));
}

void strbuf_addv(struct strbuf *b, struct strview v)
{
	strbuf_add(b, v.ptr, v.len);
}

void strbuf_addc(struct strbuf *b, char c)
{
	strbuf_add(b, &c, 1);
}

void strbuf_addf(struct strbuf *b, const char *fmt, ...)
{
	va_list ap, again;

	va_start(ap, fmt);
	va_copy(again, ap);
	int len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	ensure(len >= 0);
	if (strbuf_room(b, (size_t)len)) {
		vsnprintf(b->ptr + b->len, (size_t)len + 1, fmt, again);
		b->len += (size_t)len;
	}
	va_end(again);
}

void strbuf_consume(struct strbuf *b, size_t len)
{
	ensure(len <= b->len);
	if (!len)
		return;
	memmove(b->ptr, b->ptr + len, b->len - len + 1);
	b->len -= len;
}

void strbuf_clear(struct strbuf *b)
{
	b->len = 0;
	b->overflow = false;
	if (b->ptr)
		b->ptr[0] = '\0';
}

void strbuf_free(struct strbuf *b)
{
	free(b->ptr);
	*b = (struct strbuf){ .max = b->max };
}

void strbuf_wipe(struct strbuf *b)
{
	mem_wipe(b->ptr, b->cap);
	strbuf_free(b);
}

char *strbuf_take(struct strbuf *b)
{
	char *s = b->ptr ? b->ptr : mem_strdup("");

	*b = (struct strbuf){ .max = b->max };
	return s;
}

const char *strbuf_str(const struct strbuf *b)
{
	return b->ptr ? b->ptr : "";
}
