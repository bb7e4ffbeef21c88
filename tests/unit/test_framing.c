/* Framing: every table row runs over all splits in two and byte by byte. */
#include "proto/framing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define LINE_LIMIT 8

/* Feeds `in` in pieces of `first` octets and then `step` each. */
struct pieces {
	struct strview in;
	size_t first, step;
};

static struct strview next_piece(struct pieces *p)
{
	size_t n = p->first ? p->first : p->step;
	struct strview piece = sv(p->in.ptr, n < p->in.len ? n : p->in.len);

	p->in = sv_skip(p->in, piece.len);
	p->first = 0;
	return piece;
}

typedef void run_fn(const void *row, struct pieces pieces);

static void each_split(const void *row, struct strview in, run_fn *run)
{
	run(row, (struct pieces){ in, 0, in.len ? in.len : 1 });
	run(row, (struct pieces){ in, 0, 1 });
	for (size_t first = 1; first < in.len; first++)
		run(row, (struct pieces){ in, first, in.len });
}

static void assert_bytes(const struct strbuf *got, struct strview want)
{
	if (!sv_eq(strbuf_view(got), want))
		fail_msg("got \"%.*s\", want \"%.*s\"", SV_FMT(strbuf_view(got)), SV_FMT(want));
}

/* ---- lines: each line comes out as [line], then how it ended ---- */

static const struct line_row {
	struct strview in;
	bool lf_lines;
	struct strview want;
} line_rows[] = {
	{ SV("+OK\r\n"), false, SV("[+OK]more") },
	{ SV("\r\n\r\n"), false, SV("[][]more") },
	{ SV("a\r\nb\r\nc"), false, SV("[a][b]more") },
	{ SV("a\rb\r\r\n"), false, SV("[a\rb\r]more") },
	{ SV("a\n"), false, SV("bare") },
	{ SV("a\r\n\nb\r\n"), false, SV("[a]bare") },
	{ SV("a\nb\r\n\n"), true, SV("[a][b][]more") },
	{ SV("1234567\r\n"), false, SV("[1234567]more") },
	{ SV("12345678\r\n"), false, SV("[12345678]more") },
	{ SV("12345678\r"), false, SV("more") },
	{ SV("123456789\r\n"), false, SV("long") },
	{ SV("12345678\r\r\n"), false, SV("long") },
	{ SV("12345678\n"), true, SV("[12345678]more") },
	{ SV("123456789\n"), true, SV("long") },
	{ SV("123456789"), false, SV("long") },
	{ SV("a\0b\r\n"), false, SV("[a\0b]more") },
};

static void line_run(const void *data, struct pieces pieces)
{
	const struct line_row *row = data;
	struct line_reader r;
	struct strbuf got AUTO(strbuf_free) = STRBUF_INIT;
	enum line_result result = LINE_MORE;

	line_init(&r, LINE_LIMIT, row->lf_lines);
	while (pieces.in.len && result < LINE_TOO_LONG) {
		for (struct strview buf = next_piece(&pieces); buf.len;) {
			size_t used;
			struct strview line;
			result = line_feed(&r, buf.ptr, buf.len, &used, &line);
			if (result >= LINE_TOO_LONG)
				break;
			assert_true(used > 0);
			if (result == LINE_OK) {
				strbuf_addc(&got, '[');
				strbuf_addv(&got, line);
				strbuf_addc(&got, ']');
			}
			buf = sv_skip(buf, used);
		}
	}
	strbuf_adds(&got,
		result == LINE_TOO_LONG          ? "long"
			: result == LINE_BARE_LF ? "bare"
						 : "more");
	assert_bytes(&got, row->want);
	line_free(&r);
}

static void test_lines(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(line_rows); i++)
		each_split(&line_rows[i], line_rows[i].in, line_run);
}

static void test_line_points_into_input(void **state)
{
	static const char in[] = "+OK hello\r\n";
	struct line_reader r;
	size_t used;
	struct strview line;

	line_init(&r, 100, false);
	assert_int_equal(line_feed(&r, in, sizeof in - 1, &used, &line), LINE_OK);
	assert_ptr_equal(line.ptr, in);
	line_free(&r);
}

/* ---- unstuffing; `rest` is what stands behind the end and must not be touched ---- */

static const struct unstuff_row {
	struct strview in;
	bool lf_lines;
	struct strview want;
	int rest; /* -1: the end is not there */
} unstuff_rows[] = {
	{ SV(".\r\n"), false, SV(""), 0 },
	{ SV(".\r\n+OK\r\n"), false, SV(""), 5 },
	{ SV("a\r\n.\r\n"), false, SV("a\r\n"), 0 },
	{ SV("\r\n.\r\nx"), false, SV("\r\n"), 1 },
	{ SV("..\r\n.\r\n"), false, SV(".\r\n"), 0 },
	{ SV("...a\r\n.b\r\n.\r\n"), false, SV("..a\r\nb\r\n"), 0 },
	{ SV("a.\r\n.\r\n"), false, SV("a.\r\n"), 0 },
	{ SV(".\rx\r\n.\r\n"), false, SV("\rx\r\n"), 0 },
	{ SV(".\r\r\n.\r\n"), false, SV("\r\r\n"), 0 },
	{ SV(".\na\r\n.\r\n"), false, SV("\na\r\n"), 0 },
	{ SV("a\n.\nb\r\n.\r\n"), false, SV("a\n.\nb\r\n"), 0 },
	{ SV("a\n.\r\nb\r\n.\r\n"), false, SV("a\n.\r\nb\r\n"), 0 },
	{ SV("a\r\n.\nb\r\n.\r\n"), false, SV("a\r\n\nb\r\n"), 0 },
	{ SV("a\r.\rb\r\n.\r\n"), false, SV("a\r.\rb\r\n"), 0 },
	{ SV("a\r\r\n.\r\n"), false, SV("a\r\r\n"), 0 },
	{ SV("a\0\r\n.\r\n"), false, SV("a\0\r\n"), 0 },
	{ SV("a\n.\n"), false, SV("a\n.\n"), -1 },
	{ SV("a\r\n."), false, SV("a\r\n"), -1 },
	{ SV("a\r\n.\r"), false, SV("a\r\n"), -1 },
	{ SV("a\n.\nx"), true, SV("a\r\n"), 1 },
	{ SV("a\n\nb\n..c\n.\n"), true, SV("a\r\n\r\nb\r\n.c\r\n"), 0 },
	{ SV("a\r\nb\n.\r\n"), true, SV("a\r\nb\r\n"), 0 },
	{ SV("\n.\n"), true, SV("\r\n"), 0 },
	{ SV("a\r\r\n.\n"), true, SV("a\r\r\n"), 0 },
};

static void unstuff_run(const void *data, struct pieces pieces)
{
	const struct unstuff_row *row = data;
	struct unstuff u;
	struct strbuf got AUTO(strbuf_free) = STRBUF_INIT;
	int rest = -1;

	unstuff_init(&u, row->lf_lines);
	while (pieces.in.len && rest < 0) {
		struct strview buf = next_piece(&pieces);
		enum unstuff_result result = UNSTUFF_DATA;
		while (result == UNSTUFF_DATA && buf.len) {
			size_t used;
			struct strview piece;
			result = unstuff_feed(&u, buf.ptr, buf.len, &used, &piece);
			if (result == UNSTUFF_DATA) {
				assert_true(piece.len > 0);
				strbuf_addv(&got, piece);
			}
			buf = sv_skip(buf, used);
		}
		if (result == UNSTUFF_END)
			rest = (int)(buf.len + pieces.in.len);
		else
			assert_int_equal(buf.len, 0);
	}
	assert_bytes(&got, row->want);
	assert_int_equal(rest, row->rest);
}

static void test_unstuff(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(unstuff_rows); i++)
		each_split(&unstuff_rows[i], unstuff_rows[i].in, unstuff_run);
}

/* Many lines without a dot come out as one span of the input: that is what makes it fast. */
static void test_unstuff_is_zero_copy(void **state)
{
	static const char in[] = "one\r\ntwo\r\nthree\r\n..four\r\n.\r\n";
	struct unstuff u;
	size_t used;
	struct strview piece;

	unstuff_init(&u, false);
	assert_int_equal(unstuff_feed(&u, in, sizeof in - 1, &used, &piece), UNSTUFF_DATA);
	assert_ptr_equal(piece.ptr, in);
	assert_int_equal(piece.len, strlen("one\r\ntwo\r\nthree\r\n"));
}

/* ---- stuffing ---- */

static const struct stuff_row {
	enum stuff_part part;
	struct strview in, want; /* want: with stuff_end */
} stuff_rows[] = {
	{ STUFF_BODY, SV(""), SV("") },
	{ STUFF_BODY, SV("a"), SV("a\r\n") },
	{ STUFF_BODY, SV("a\r\n"), SV("a\r\n") },
	{ STUFF_BODY, SV("a\r"), SV("a \r\n") },
	{ STUFF_BODY, SV("\r\n"), SV("\r\n") },
	{ STUFF_BODY, SV("."), SV("..\r\n") },
	{ STUFF_BODY, SV(".\r\n.\r\n..\r\n"), SV("..\r\n..\r\n...\r\n") },
	{ STUFF_BODY, SV("a.b\r\nc.\r\n"), SV("a.b\r\nc.\r\n") },
	{ STUFF_BODY, SV("a\n.\nb"), SV("a\r\n..\r\nb\r\n") },
	{ STUFF_BODY, SV("a\n.\r\nb"), SV("a\r\n..\r\nb\r\n") },
	{ STUFF_BODY, SV("a\r.\rb"), SV("a . b\r\n") },
	{ STUFF_BODY, SV("a\r\r\n.\r\n"), SV("a \r\n..\r\n") },
	{ STUFF_BODY, SV("\r."), SV(" .\r\n") },
	{ STUFF_BODY, SV("\n\n"), SV("\r\n\r\n") },
	{ STUFF_BODY, SV("a\0\r\n"), SV("a\0\r\n") },
	{ STUFF_HEADER, SV("A: b\nBcc: x\r\n"), SV("A: b Bcc: x\r\n") },
	{ STUFF_HEADER, SV("A: b\rBcc: x\r\n.\r\n"), SV("A: b Bcc: x\r\n..\r\n") },
	{ STUFF_HEADER, SV("\n.\r\n"), SV(" .\r\n") },
	{ STUFF_LF, SV("A: b\n\n.\nx"), SV("A: b\r\n\r\n..\r\nx\r\n") },
	{ STUFF_LF, SV("A\rb\n"), SV("A b\r\n") },
};

static void stuff_run(const void *data, struct pieces pieces)
{
	const struct stuff_row *row = data;
	struct stuff s;
	struct strbuf got AUTO(strbuf_free) = STRBUF_INIT;

	stuff_init(&s);
	while (pieces.in.len)
		stuff_feed(&s, row->part, next_piece(&pieces), &got);
	stuff_end(&s, &got);
	assert_bytes(&got, row->want);
}

static void test_stuff(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(stuff_rows); i++)
		each_split(&stuff_rows[i], stuff_rows[i].in, stuff_run);
}

/* Whatever goes in: no bare CR or LF comes out, and nothing but the end looks like the final dot.
 */
static void test_stuff_any_content(void **state)
{
	static const char alphabet[] = { '.', '\r', '\n', 'a' };
	uint32_t seed = 1;

	for (int round = 0; round < 2000; round++) {
		char in[24];
		size_t len = 1 + (size_t)round % sizeof in;
		for (size_t i = 0; i < len; i++) {
			seed = seed * 1664525 + 1013904223;
			in[i] = alphabet[seed >> 30];
		}
		struct strbuf wire AUTO(strbuf_free) = STRBUF_INIT;
		struct stuff s;
		stuff_init(&s);
		stuff_feed(&s, STUFF_BODY, sv(in, len), &wire);
		stuff_end(&s, &wire);
		size_t content = wire.len;
		for (size_t i = 0; i < content; i++) {
			assert_true(wire.ptr[i] != '\r' || wire.ptr[i + 1] == '\n');
			assert_true(wire.ptr[i] != '\n' || (i && wire.ptr[i - 1] == '\r'));
		}
		strbuf_adds(&wire, ".\r\n");
		struct unstuff u;
		struct strview rest = strbuf_view(&wire), piece;
		enum unstuff_result result;
		size_t used;
		unstuff_init(&u, false);
		while ((result = unstuff_feed(&u, rest.ptr, rest.len, &used, &piece)) ==
			UNSTUFF_DATA)
			rest = sv_skip(rest, used);
		assert_int_equal(result, UNSTUFF_END);
		assert_int_equal(used, rest.len);
	}
}

static void test_command_safe(void **state)
{
	assert_true(command_safe(SV("")));
	assert_true(command_safe(SV("p\xc3\xa4ss w\x01rd")));
	assert_false(command_safe(SV("a\rb")));
	assert_false(command_safe(SV("a\nb")));
	assert_false(command_safe(SV("a\0b")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_line_points_into_input),
		cmocka_unit_test(test_unstuff),
		cmocka_unit_test(test_unstuff_is_zero_copy),
		cmocka_unit_test(test_stuff),
		cmocka_unit_test(test_stuff_any_content),
		cmocka_unit_test(test_command_safe),
	};
	return cmocka_run_group_tests_name("framing", tests, NULL, NULL);
}
