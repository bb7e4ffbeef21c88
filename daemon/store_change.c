/*
 * A change of the state as octets; see store_impl.h. Owns nothing.
 *
 * A change is a statement and its values. It is made from its octets, always: so what is made again
 * after a crash is what was made before. The statement is named by a sum over its text, since its
 * number is another one in another version of the program.
 *
 *	u32 octets of all this; u32 sum of the statement's text; u8 fact; the format, NUL;
 *	values: i 8 octets, s and t u32 length (UINT32_MAX: NULL) and text, d STORE_DIGEST_OCTETS
 */
#include "store_impl.h"

#include <limits.h>

struct change_head {
	uint32_t octets, statement;
	uint8_t fact;
};

#define HEAD_OCTETS (2 * sizeof(uint32_t) + 1)

/* Made twice, all of them in their order, they are as if made once; they give out no id. */
static const bool redone[STATEMENT_COUNT] = {
	[IDENTIFY] = true,
	[STATE] = true,
	[RCPT] = true,
	[DEDUPE_NOTE] = true,
	[DEDUPE_SURE] = true,
	[DEDUPE_DROP] = true,
};

bool store_change_is_redone(enum statement which)
{
	return redone[which];
}

static uint32_t sum_of(enum statement which) /* FNV-1a */
{
	static uint32_t known[STATEMENT_COUNT];

	if (!known[which]) {
		known[which] = 0x811c9dc5;
		for (const char *p = store_sql[which]; *p; p++)
			known[which] = (known[which] ^ (unsigned char)*p) * 0x01000193;
	}
	return known[which];
}

static void put_text(struct strbuf *out, const char *text, size_t max)
{
	uint32_t len = text ? (uint32_t)strnlen(text, max) : UINT32_MAX;

	strbuf_add(out, &len, sizeof len);
	if (text)
		strbuf_add(out, text, len);
}

void store_change_encode(
	struct strbuf *out, bool fact, enum statement which, const char *fmt, va_list ap)
{
	size_t at = out->len;
	uint32_t octets = 0, statement = sum_of(which);
	int64_t number;

	strbuf_add(out, &octets, sizeof octets);
	strbuf_add(out, &statement, sizeof statement);
	strbuf_addc(out, (char)fact);
	strbuf_add(out, fmt, strlen(fmt) + 1);
	for (; *fmt; fmt++) {
		if (*fmt == 'i') {
			number = va_arg(ap, int64_t);
			strbuf_add(out, &number, sizeof number);
		} else if (*fmt == 'd') {
			strbuf_add(out, va_arg(ap, const void *), STORE_DIGEST_OCTETS);
		} else {
			put_text(out, va_arg(ap, const char *),
				*fmt == 't' ? STORE_TEXT_OCTETS : INT_MAX);
		}
	}
	octets = (uint32_t)(out->len - at);
	memcpy(out->ptr + at, &octets, sizeof octets);
}

static struct change_head head_of(struct strview change)
{
	struct change_head head;

	memcpy(&head.octets, change.ptr, sizeof head.octets);
	memcpy(&head.statement, change.ptr + sizeof head.octets, sizeof head.statement);
	head.fact = (uint8_t)change.ptr[HEAD_OCTETS - 1];
	return head;
}

bool store_change_next(struct strview *rest, struct strview *change)
{
	if (rest->len <= HEAD_OCTETS)
		return false;
	uint32_t octets = head_of(*rest).octets;
	if (octets <= HEAD_OCTETS || octets > rest->len)
		return false;
	*change = sv(rest->ptr, octets);
	*rest = sv_skip(*rest, octets);
	return true;
}

bool store_change_is_fact(struct strview change)
{
	return head_of(change).fact;
}

int64_t store_change_row(struct strview change)
{
	struct strview rest = sv_skip(change, HEAD_OCTETS);
	size_t len = strnlen(rest.ptr, rest.len);
	int64_t row = 0;

	if (rest.ptr[0] == 'i' && rest.len >= len + 1 + sizeof row)
		memcpy(&row, rest.ptr + len + 1, sizeof row);
	return row;
}

/* The next `len` octets of the values; those of a log are as its sum says, not as we hope. */
static const char *take(struct strview *rest, size_t len)
{
	const char *at = len <= rest->len ? rest->ptr : NULL;

	*rest = sv_skip(*rest, len);
	return at;
}

static int bind_value(sqlite3_stmt *st, int i, char kind, struct strview *rest)
{
	int64_t number;
	uint32_t len = STORE_DIGEST_OCTETS;
	const char *at = take(rest, kind == 'i' ? sizeof number : kind == 'd' ? len : sizeof len);

	if (!at)
		return SQLITE_CORRUPT;
	if (kind == 'i') {
		memcpy(&number, at, sizeof number);
		return sqlite3_bind_int64(st, i, number);
	}
	if (kind == 'd')
		return sqlite3_bind_blob(st, i, at, STORE_DIGEST_OCTETS, SQLITE_STATIC);
	memcpy(&len, at, sizeof len);
	if (len == UINT32_MAX)
		return sqlite3_bind_null(st, i);
	at = take(rest, len);
	return at ? sqlite3_bind_text(st, i, at, (int)len, SQLITE_STATIC) : SQLITE_CORRUPT;
}

static enum statement statement_of(uint32_t sum)
{
	enum statement which = 0;

	while (which < STATEMENT_COUNT && sum_of(which) != sum)
		which++;
	return which;
}

int store_change_do(struct store *s, struct strview change, struct err *err)
{
	enum statement which = statement_of(head_of(change).statement);
	struct strview rest = sv_skip(change, HEAD_OCTETS);
	const char *fmt = rest.ptr;
	size_t len = strnlen(fmt, rest.len);
	int rc = SQLITE_OK;

	if (which == STATEMENT_COUNT || len == rest.len)
		return 1;
	sqlite3_stmt *st = store_statement(s, which);
	if (!st)
		return store_fail(s, err, store_sql[which]);
	sqlite3_reset(st);
	rest = sv_skip(rest, len + 1);
	for (size_t i = 0; i < len && rc == SQLITE_OK; i++)
		rc = bind_value(st, (int)i + 1, fmt[i], &rest);
	if (rc == SQLITE_OK)
		rc = store_step(st);
	sqlite3_reset(st);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : store_fail(s, err, store_sql[which]);
}
