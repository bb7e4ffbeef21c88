/* The header block: fields and their places, at every split; limits; messages without a header. */
#include "mail/header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void parse(struct header *h, struct strview msg, bool lf, size_t chunk)
{
	size_t at = 0;

	header_init(h, lf);
	while (at < msg.len && h->state == HEADER_MORE) {
		size_t n = msg.len - at < chunk ? msg.len - at : chunk;
		size_t taken = header_push(h, msg.ptr + at, n);
		assert_true(taken == n || h->state != HEADER_MORE);
		at += taken;
	}
	header_end(h);
}

/* The field's name, line and value as "NAME@LINE=VALUE|"; "!" for a line that is none. */
static void describe(const struct header *h, struct strbuf *out)
{
	for (size_t i = 0; i < h->n; i++) {
		const struct header_field *f = &h->fields[i];
		strbuf_addf(out, "%.*s@%u=", SV_FMT(f->malformed ? SV("!") : f->name), f->line);
		header_unfold(f, out);
		strbuf_addc(out, '|');
	}
}

/* The views tile the block, and the block is the message from mbox_from to the blank line. */
static void check_tiling(const struct header *h, struct strview msg)
{
	const char *at = h->block.ptr;

	for (size_t i = 0; i < h->n; i++) {
		assert_ptr_equal(h->fields[i].raw.ptr, at);
		at += h->fields[i].raw.len;
	}
	assert_int_equal(at - (h->n ? h->block.ptr : at), h->block.len);
	assert_true(h->body_offset <= msg.len);
	if (h->block.len)
		assert_memory_equal(h->block.ptr, msg.ptr + h->mbox_from, h->block.len);
}

static const struct row {
	const char *name;
	struct strview msg;
	bool lf;
	const char *fields;
	const char *body; /* what stands at body_offset */
	bool blank_line;
} rows[] = {
#define M(text)                                                                                    \
	{                                                                                          \
		text, sizeof(text) - 1                                                             \
	}
	{ "plain", M("A: 1\r\nB: 2\r\n\r\nbody\r\n"), false, "A@1=1|B@2=2|", "body\r\n", true },
	{ "folded", M("A: 1\r\n 2\r\n\t3  \r\nB:\r\n x\r\n\r\n"), false, "A@1=1 2\t3|B@4=x|", "",
		true },
	{ "LF-ended", M("A: 1\n 2\nB: 3\n\nbody\n"), true, "A@1=1 2|B@3=3|", "body\n", true },
	{ "CR of an LF-ended message is an ordinary octet", M("A: 1\r2\n\nx"), true, "A@1=1\r2|",
		"x", true },
	{ "bare LF is no line end", M("A: 1\nB: 2\r\n\r\n"), false, "A@1=1\nB: 2|", "", true },
	{ "bare LF LF is no blank line", M("A: 1\n\nB: 2\r\n\r\nx"), false, "A@1=1\n\nB: 2|", "x",
		true },
	{ "white space before the colon", M("A \t: 1\r\n\r\n"), false, "A@1=1|", "", true },
	{ "no value", M("A:\r\nB:\r\n\r\n"), false, "A@1=|B@2=|", "", true },
	{ "colon in the value", M("A: b:c\r\n\r\n"), false, "A@1=b:c|", "", true },
	{ "line that is no field", M("A: 1\r\nno field\r\nB: 2\r\n\r\nx"), false,
		"A@1=1|!@2=no field|B@3=2|", "x", true },
	{ "quoted mbox line", M("A: 1\r\n>From x\r\n\r\n"), false, "A@1=1|!@2=>From x|", "", true },
	{ "eight-bit name is none", M("A: 1\r\n\303\204: 2\r\n\r\n"), false,
		"A@1=1|!@2=\303\204: 2|", "", true },
	{ "mbox From line", M("From s@x Mon Jan  1 2024\r\nA: 1\r\n\r\nx"), false, "A@2=1|", "x",
		true },
	{ "From field with a space", M("From : s@x\r\n\r\n"), false, "From@1=s@x|", "", true },
	{ "mbox From line alone", M("From s@x Mon\r\n"), false, "", "", false },
	{ "second From line is not mbox", M("A: 1\r\nFrom s@x\r\n\r\n"), false,
		"A@1=1|!@2=From s@x|", "", true },
	{ "blank but for white space is a continuation", M("A: 1\r\n \r\nB: 2\r\n\r\n"), false,
		"A@1=1|B@3=2|", "", true },
	/* P42 */
	{ "P42 zero octets", M(""), false, "", "", false },
	{ "P42 header only", M("A: 1\r\nB: 2\r\n"), false, "A@1=1|B@2=2|", "", false },
	{ "P42 header only, cut in a line", M("A: 1\r\nB: 2"), false, "A@1=1|B@2=2|", "", false },
	{ "P42 header only, cut in a line end", M("A: 1\r\nB: 2\r"), false, "A@1=1|B@2=2|", "",
		false },
	{ "P42 body only", M("Hello there\r\nA: 1\r\n\r\nx"), false, "",
		"Hello there\r\nA: 1\r\n\r\nx", false },
	{ "P42 body only, one line", M("Hello"), false, "", "Hello", false },
	{ "P42 body that begins with white space", M(" A: 1\r\n\r\nx"), false, "", " A: 1\r\n\r\nx",
		false },
	{ "P42 leading blank line", M("\r\nA: 1\r\n\r\nx"), false, "", "A: 1\r\n\r\nx", true },
	{ "P42 blank line only", M("\r\n"), false, "", "", true },
	{ "P42 leading LF", M("\nA: 1\n"), true, "", "A: 1\n", true },
};

static void test_rows_at_every_split(void **state)
{
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		const struct row *row = &rows[r];
		for (size_t chunk = 1; chunk <= row->msg.len + 1; chunk++) {
			AUTO(strbuf_free) struct strbuf got = STRBUF_INIT;
			struct header h;
			parse(&h, row->msg, row->lf, chunk);
			describe(&h, &got);
			check_tiling(&h, row->msg);
			if (strcmp(strbuf_str(&got), row->fields))
				fail_msg("%s (%zu): %s", row->name, chunk, strbuf_str(&got));
			if (strcmp(row->msg.ptr + h.body_offset, row->body))
				fail_msg("%s (%zu): body at %zu", row->name, chunk, h.body_offset);
			assert_int_equal(h.state, HEADER_COMPLETE);
			assert_int_equal(h.blank_line, row->blank_line);
			header_free(&h);
		}
	}
}

/* P41: a NUL is an octet like any other; nothing is cut at it. */
static void test_nul(void **state)
{
	static const char msg[] = "A: 1\0002\r\nB: 3\r\n\r\n\0";
	AUTO(strbuf_free) struct strbuf value = STRBUF_INIT;
	struct header h;

	parse(&h, sv(msg, sizeof msg - 1), false, 3);
	assert_int_equal(h.n, 2);
	header_unfold(&h.fields[0], &value);
	assert_int_equal(value.len, 3);
	assert_memory_equal(value.ptr, "1\0002", 3);
	assert_int_equal(h.body_offset, sizeof msg - 2);
	header_free(&h);
}

static void test_find(void **state)
{
	static const char msg[] = "A: 1\r\nX-Env: 2\r\nx-ENV: 3\r\nX-Env-Foo: 4\r\n\r\n";
	struct header h;
	size_t i = 0;

	parse(&h, sv_str(msg), false, 1000);
	assert_ptr_equal(header_find(&h, SV("X-Env"), &i), &h.fields[1]);
	i++;
	assert_ptr_equal(header_find(&h, SV("X-Env"), &i), &h.fields[2]);
	assert_int_equal(i, 2);
	i++;
	assert_null(header_find(&h, SV("X-Env"), &i));
	assert_true(header_is(&h.fields[3], "x-env-foo"));
	assert_false(header_is(&h.fields[3], "X-Env"));
	header_free(&h);
}

static void repeat(struct strbuf *b, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		strbuf_adds(b, text);
}

static void test_field_count_limit(void **state)
{
	for (size_t n = HEADER_FIELDS_MAX - 1; n <= HEADER_FIELDS_MAX + 1; n++) {
		AUTO(strbuf_free) struct strbuf msg = STRBUF_INIT;
		struct header h;
		repeat(&msg, "A: 1\r\n", n);
		strbuf_adds(&msg, "\r\nbody");
		parse(&h, strbuf_view(&msg), false, 4096);
		check_tiling(&h, strbuf_view(&msg));
		bool over = n > HEADER_FIELDS_MAX;
		assert_int_equal(h.state, over ? HEADER_LIMIT : HEADER_COMPLETE);
		assert_int_equal(h.n, over ? HEADER_FIELDS_MAX : n);
		assert_int_equal(h.body_offset, h.n * 6 + (over ? 0 : 2));
		header_free(&h);
	}
}

/* One below, at, one above; with the block in one line and in many. */
static void test_block_limit(void **state)
{
	for (size_t i = 0; i < 6; i++) {
		AUTO(strbuf_free) struct strbuf msg = STRBUF_INIT;
		size_t octets = HEADER_BLOCK_MAX_OCTETS - 1 + i / 2;
		struct header h;
		strbuf_adds(&msg, "A: ");
		while (msg.len + 102 < octets)
			repeat(&msg, i % 2 ? "x" : "xxxxxxxxxxxxxxxxxxxxxxx\r\n ", i % 2 ? 100 : 1);
		repeat(&msg, "x", octets - 2 - msg.len);
		strbuf_adds(&msg, "\r\n\r\nbody");
		parse(&h, strbuf_view(&msg), false, 4096);
		check_tiling(&h, strbuf_view(&msg));
		bool over = octets > HEADER_BLOCK_MAX_OCTETS;
		assert_int_equal(h.state, over ? HEADER_LIMIT : HEADER_COMPLETE);
		if (!over) {
			assert_int_equal(h.block.len, octets);
			assert_true(h.fields[0].too_long);
		}
		header_free(&h);
	}
}

static void test_field_length_limit(void **state)
{
	for (size_t n = HEADER_FIELD_MAX_OCTETS - 1; n <= HEADER_FIELD_MAX_OCTETS + 1; n++) {
		AUTO(strbuf_free) struct strbuf msg = STRBUF_INIT;
		struct header h;
		strbuf_adds(&msg, "A:");
		repeat(&msg, "x", n - 4);
		strbuf_adds(&msg, "\r\n\r\n");
		parse(&h, strbuf_view(&msg), false, 5000);
		assert_int_equal(h.state, HEADER_COMPLETE);
		assert_int_equal(h.fields[0].raw.len, n);
		assert_int_equal(h.fields[0].too_long, n > HEADER_FIELD_MAX_OCTETS);
		header_free(&h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_at_every_split),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_field_count_limit),
		cmocka_unit_test(test_block_limit),
		cmocka_unit_test(test_field_length_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
