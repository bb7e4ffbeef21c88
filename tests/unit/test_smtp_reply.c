/* SMTP replies and EHLO keywords: each row is read whole, octet by octet and in two halves. */
#include "proto/sasl.h"
#include "proto/smtp_reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* Feeds in pieces of `step` octets; *taken is what the reader used up to its verdict. */
static enum smtp_read feed(struct smtp_reader *r, struct strview in, size_t step, size_t *taken)
{
	enum smtp_read got = SMTP_READ_MORE;

	*taken = 0;
	while (got == SMTP_READ_MORE && *taken < in.len) {
		size_t left = in.len - *taken, used;
		/* An exact copy, so that the sanitizer sees each octet read beyond the piece. */
		size_t n = left < step ? left : step;
		AUTO(mem_freep) char *piece = mem_alloc(n);
		memcpy(piece, in.ptr + *taken, n);
		got = smtp_reader_feed(r, piece, n, &used);
		assert_true(used <= n);
		assert_true(used == n || got != SMTP_READ_MORE);
		*taken += used;
	}
	return got;
}

static const struct {
	struct strview in;
	enum smtp_read result;
	int code;
	const char *text;
	size_t rest; /* octets behind the reply that it must leave alone */
} replies[] = {
	{ SV("250 2.0.0 Ok: queued\r\n"), SMTP_READ_REPLY, 250, "2.0.0 Ok: queued", 0 },
	{ SV("250\r\n"), SMTP_READ_REPLY, 250, "", 0 },
	{ SV("250 \r\n"), SMTP_READ_REPLY, 250, "", 0 },
	{ SV("250-a\r\n250-\r\n250 c\r\n"), SMTP_READ_REPLY, 250, "c", 0 },
	{ SV("250-a\r\n250\r\n"), SMTP_READ_REPLY, 250, "", 0 },
	{ SV("554 one\r\n250 two\r\n"), SMTP_READ_REPLY, 554, "one", 9 },
	{ SV("354 a\rb\r\r\n"), SMTP_READ_REPLY, 354, "a\rb\r", 0 },
	{ SV("599 last\r\n"), SMTP_READ_REPLY, 599, "last", 0 },
	{ SV("200 first\r\n"), SMTP_READ_REPLY, 200, "first", 0 },
	{ SV("250-a\r\n250-b\r\n"), SMTP_READ_MORE, 0, NULL, 0 },
	{ SV("250 a\r"), SMTP_READ_MORE, 0, NULL, 0 },
	{ SV("250-a\r\n550 b\r\n"), SMTP_READ_GARBAGE, 0, "550 b", 0 },
	{ SV("250-a\r\nb\r\n"), SMTP_READ_GARBAGE, 0, "b", 0 },
	{ SV("199 a\r\n"), SMTP_READ_GARBAGE, 0, "199 a", 0 },
	{ SV("600 a\r\n"), SMTP_READ_GARBAGE, 0, "600 a", 0 },
	{ SV("25\r\n"), SMTP_READ_GARBAGE, 0, "25", 0 },
	{ SV("\r\n"), SMTP_READ_GARBAGE, 0, "", 0 },
	{ SV("2500 a\r\n"), SMTP_READ_GARBAGE, 0, "2500 a", 0 },
	{ SV("250_a\r\n"), SMTP_READ_GARBAGE, 0, "250_a", 0 },
	{ SV(" 250 a\r\n"), SMTP_READ_GARBAGE, 0, " 250 a", 0 },
	{ SV("+25 a\r\n"), SMTP_READ_GARBAGE, 0, "+25 a", 0 },
	{ SV("+OK POP3 here\r\n"), SMTP_READ_GARBAGE, 0, "+OK POP3 here", 0 },
	{ SV("250 a\n"), SMTP_READ_GARBAGE, 0, "a bare LF", 0 },
	{ SV("250-a\n250 b\r\n"), SMTP_READ_GARBAGE, 0, "a bare LF", 7 },
};

static void reads_replies_at_any_split(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
		struct strview in = replies[i].in;
		for (size_t step = 1; step <= in.len; step++) {
			AUTO(smtp_reader_free) struct smtp_reader r;
			size_t taken;
			smtp_reader_init(&r);
			assert_int_equal(feed(&r, in, step, &taken), replies[i].result);
			assert_int_equal(taken, in.len - replies[i].rest);
			if (replies[i].result == SMTP_READ_MORE)
				continue;
			assert_int_equal(r.reply.code, replies[i].code);
			assert_string_equal(r.reply.text, replies[i].text);
		}
	}
}

static void keeps_nothing_between_replies(void **state)
{
	static const struct strview in = SV("250-a\r\n250 b\r\n550-c\r\n550 d\r\n");
	AUTO(smtp_reader_free) struct smtp_reader r;
	size_t taken, more;

	smtp_reader_init(&r);
	assert_int_equal(feed(&r, in, 3, &taken), SMTP_READ_REPLY);
	assert_int_equal(r.reply.code, 250);
	assert_int_equal(feed(&r, sv_skip(in, taken), 3, &more), SMTP_READ_REPLY);
	assert_int_equal(r.reply.code, 550);
	assert_string_equal(r.reply.text, "d");
	assert_int_equal(taken + more, in.len);
}

static void cuts_the_text_that_is_kept(void **state)
{
	static const size_t lengths[] = { SMTP_TEXT_MAX_OCTETS - 1, SMTP_TEXT_MAX_OCTETS,
		SMTP_TEXT_MAX_OCTETS + 1 };

	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		AUTO(strbuf_free) struct strbuf in = STRBUF_INIT;
		AUTO(smtp_reader_free) struct smtp_reader r;
		size_t taken;
		smtp_reader_init(&r);
		strbuf_addf(&in, "550 %0*d\r\n", (int)lengths[i], 0);
		assert_int_equal(feed(&r, strbuf_view(&in), in.len, &taken), SMTP_READ_REPLY);
		assert_int_equal(strlen(r.reply.text),
			lengths[i] < SMTP_TEXT_MAX_OCTETS ? lengths[i] : SMTP_TEXT_MAX_OCTETS);
	}
}

/* One reply of `lines` lines, each of `octets` octets with its CRLF. */
static enum smtp_read feed_sized(size_t lines, size_t octets, size_t step)
{
	AUTO(strbuf_free) struct strbuf in = STRBUF_INIT;
	AUTO(smtp_reader_free) struct smtp_reader r;
	size_t taken;

	smtp_reader_init(&r);
	for (size_t i = 0; i < lines; i++)
		strbuf_addf(&in, "250%c%0*d\r\n", i + 1 < lines ? '-' : ' ', (int)octets - 6, 0);
	return feed(&r, strbuf_view(&in), step, &taken);
}

static void holds_its_limits(void **state)
{
	static const struct {
		size_t lines, octets;
		enum smtp_read result;
	} rows[] = {
		{ SMTP_REPLY_MAX_LINES - 1, 20, SMTP_READ_REPLY },
		{ SMTP_REPLY_MAX_LINES, 20, SMTP_READ_REPLY },
		{ SMTP_REPLY_MAX_LINES + 1, 20, SMTP_READ_LIMIT },
		{ 1, SMTP_LINE_MAX_OCTETS + 1, SMTP_READ_REPLY },
		{ 1, SMTP_LINE_MAX_OCTETS + 2, SMTP_READ_REPLY },
		{ 1, SMTP_LINE_MAX_OCTETS + 3, SMTP_READ_LIMIT },
		{ 16, SMTP_REPLY_MAX_OCTETS / 16 - 1, SMTP_READ_REPLY },
		{ 16, SMTP_REPLY_MAX_OCTETS / 16, SMTP_READ_REPLY },
		{ 16, SMTP_REPLY_MAX_OCTETS / 16 + 1, SMTP_READ_LIMIT },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (size_t step = 1; step < 5000; step *= 7)
			assert_int_equal(
				feed_sized(rows[i].lines, rows[i].octets, step), rows[i].result);
}

static void an_endless_line_is_a_limit(void **state)
{
	AUTO(smtp_reader_free) struct smtp_reader r;
	enum smtp_read got = SMTP_READ_MORE;
	size_t used, fed = 0;

	smtp_reader_init(&r);
	for (; got == SMTP_READ_MORE && fed < 1000000; fed += used)
		got = smtp_reader_feed(&r, "250 2500", 8, &used);
	assert_int_equal(got, SMTP_READ_LIMIT);
	assert_true(fed <= SMTP_LINE_MAX_OCTETS + 16);
}

static void reads_keywords(void **state)
{
	static const struct {
		const char *line;
		struct smtp_ext want;
	} rows[] = {
		{ "PIPELINING", { .pipelining = true } },
		{ "pipelining", { .pipelining = true } },
		{ "PIPELINING ", { .pipelining = true } },
		{ "PIPELININGS", { 0 } },
		{ "X-PIPELINING", { 0 } },
		{ "", { 0 } },
		{ "8BITMIME", { .eightbitmime = true } },
		{ "DSN", { .dsn = true } },
		{ "SMTPUTF8", { .smtputf8 = true } },
		{ "STARTTLS", { .starttls = true } },
		{ "ENHANCEDSTATUSCODES", { .enhanced = true } },
		{ "CHUNKING", { .chunking = true } },
		{ "XFORWARD", { .xforward = true } },
		{ "XFORWARD PROTO addr HELO", { .xforward = true, .xforward_addr = true } },
		{ "XFORWARD NAME ADDRESS PROTO", { .xforward = true, .xforward_name = true } },
		{ "SIZE", { .size = true } },
		{ "SIZE 0", { .size = true } },
		{ "size 1000 ", { .size = true, .size_max = 1000 } },
		{ "SIZE 18446744073709551615", { .size = true, .size_max = UINT64_MAX } },
		{ "SIZE 18446744073709551616", { .size = true } },
		{ "SIZE -1", { .size = true } },
		{ "SIZE 10K", { .size = true } },
		{ "AUTH", { .auth = true } },
		{ "AUTH NTLM", { .auth = true } },
		{ "AUTH PLAIN", { .auth = true, .sasl = SASL_BIT(SASL_PLAIN) } },
		{ "AUTH NTLM  login plain",
			{ .auth = true, .sasl = SASL_BIT(SASL_LOGIN) | SASL_BIT(SASL_PLAIN) } },
		{ "AUTH=PLAIN", { 0 } },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct smtp_ext ext = { 0 };
		smtp_ext_line(&ext, sv_str(rows[i].line));
		if (memcmp(&ext, &rows[i].want, sizeof ext) != 0)
			fail_msg("line \"%s\"", rows[i].line);
	}
}

static void collects_keywords_behind_the_first_line(void **state)
{
	static const struct {
		struct strview in;
		bool pipelining, dsn;
	} rows[] = {
		{ SV("250-PIPELINING\r\n250 DSN\r\n"), false, true }, /* the first names the host */
		{ SV("250-host\r\n250-PIPELINING\r\n250 DSN\r\n"), true, true },
		{ SV("250 DSN\r\n"), false, false },
		{ SV("550-host\r\n550 DSN\r\n"), false, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(smtp_reader_free) struct smtp_reader r;
		struct smtp_ext ext = { 0 };
		size_t taken;
		smtp_reader_init(&r);
		r.ext = &ext;
		assert_int_equal(feed(&r, rows[i].in, 5, &taken), SMTP_READ_REPLY);
		assert_int_equal(ext.pipelining, rows[i].pipelining);
		assert_int_equal(ext.dsn, rows[i].dsn);
	}
}

static void a_refusal_has_an_owner(void **state)
{
	static const struct {
		int code;
		enum smtp_outcome message, first, later; /* later: after others were taken */
	} rows[] = {
		{ 400, SMTP_LATER, SMTP_LATER, SMTP_LATER },
		{ 450, SMTP_LATER, SMTP_LATER, SMTP_LATER },
		{ 452, SMTP_LATER, SMTP_LATER, SMTP_TOO_MANY },
		{ 499, SMTP_LATER, SMTP_LATER, SMTP_LATER },
		{ 500, SMTP_REJECTED, SMTP_UNKNOWN, SMTP_UNKNOWN },
		{ 550, SMTP_REJECTED, SMTP_UNKNOWN, SMTP_UNKNOWN },
		{ 552, SMTP_REJECTED, SMTP_LATER, SMTP_TOO_MANY },
		{ 554, SMTP_REJECTED, SMTP_UNKNOWN, SMTP_UNKNOWN },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(smtp_refusal(rows[i].code), rows[i].message);
		assert_int_equal(smtp_rcpt_refusal(rows[i].code, 0), rows[i].first);
		assert_int_equal(smtp_rcpt_refusal(rows[i].code, 1), rows[i].later);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_replies_at_any_split),
		cmocka_unit_test(keeps_nothing_between_replies),
		cmocka_unit_test(cuts_the_text_that_is_kept),
		cmocka_unit_test(holds_its_limits),
		cmocka_unit_test(an_endless_line_is_a_limit),
		cmocka_unit_test(reads_keywords),
		cmocka_unit_test(collects_keywords_behind_the_first_line),
		cmocka_unit_test(a_refusal_has_an_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
