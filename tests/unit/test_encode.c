/* Base64 (vectors of RFC 4648 section 10), hex, and what foreign text may do to a log: nothing. */
#include "base/encode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void base64_both_ways(void **state)
{
	static const struct {
		struct strview plain, coded;
	} rows[] = {
		{ SV(""), SV("") },
		{ SV("f"), SV("Zg==") },
		{ SV("fo"), SV("Zm8=") },
		{ SV("foo"), SV("Zm9v") },
		{ SV("foob"), SV("Zm9vYg==") },
		{ SV("fooba"), SV("Zm9vYmE=") },
		{ SV("foobar"), SV("Zm9vYmFy") },
		{ SV("\0user\0p\xff"), SV("AHVzZXIAcP8=") },
		{ SV("\xfb\xef\xff"), SV("++//") },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(strbuf_free) struct strbuf b = STRBUF_INIT;
		base64_encode(&b, rows[i].plain);
		assert_true(sv_eq(strbuf_view(&b), rows[i].coded));
		strbuf_clear(&b);
		assert_int_equal(base64_decode(&b, rows[i].coded), 0);
		assert_true(sv_eq(strbuf_view(&b), rows[i].plain));
	}
}

static void base64_refuses_what_is_not_canonical(void **state)
{
	static const struct strview rows[] = {
		SV("Zg"),           /* padding left out */
		SV("Zg="),          /* half of it */
		SV("Zh=="),         /* bits that nobody would see */
		SV("Zm9="),         /* the same, with one pad */
		SV("Z==="),         /* six bits are no octet */
		SV("===="),         /* */
		SV("Zg==Zg=="),     /* padding inside */
		SV("Zm9v\r\n\r\n"), /* line ends */
		SV("Zm 9"),         /* */
		SV("Zm9-"),         /* the URL alphabet */
		SV("Zm\0v"),        /* */
		SV("Z\xc3\xa4v"),   /* */
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(strbuf_free) struct strbuf b = STRBUF_INIT;
		assert_int_equal(base64_decode(&b, rows[i]), 1);
		assert_int_equal(b.len, 0);
		strbuf_adds(&b, "before");
		assert_int_equal(base64_decode(&b, rows[i]), 1);
		assert_string_equal(strbuf_str(&b), "before");
	}
}

static void hex_is_lower_case(void **state)
{
	AUTO(strbuf_free) struct strbuf b = STRBUF_INIT;

	hex_encode(&b, "\x00\x1f\xab\xff", 4);
	assert_string_equal(strbuf_str(&b), "001fabff");
}

static void foreign_text_is_harmless(void **state)
{
	static const struct {
		struct strview in;
		const char *out;
	} rows[] = {
		{ SV(""), "" }, { SV("550 5.1.1 <a@b> unknown"), "550 5.1.1 <a@b> unknown" },
		{ SV("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x93\xab"),
			"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x93\xab" },
		{ SV("a\r\nMULTIDROP_EVENT=x"), "a\\x0d\\x0aMULTIDROP_EVENT=x" },
		{ SV("a\0b\t\x7f"), "a\\x00b\\x09\\x7f" }, { SV("\x1b[2J"), "\\x1b[2J" },
		{ SV("C:\\x0a"), "C:\\\\x0a" },
		{ SV("\xc2\x85"), "\\xc2\\x85" },          /* C1: next line */
		{ SV("\xc2\xa0"), "\xc2\xa0" },            /* the first that passes */
		{ SV("\xe2\x80\xa8"), "\\xe2\\x80\\xa8" }, /* line separator */
		{ SV("\xe2\x80\xae"
		     "exe"),
			"\\xe2\\x80\\xaeexe" }, /* right to left */
		{ SV("\xe2\x81\xa6"), "\\xe2\\x81\\xa6" },
		{ SV("\xef\xbb\xbf"), "\\xef\\xbb\\xbf" }, { SV("\xe4 "), "\\xe4 " }, /* Latin-1 */
		{ SV("\xc0\xaf"), "\\xc0\\xaf" },                                     /* overlong */
		{ SV("\xe0\x80\xaf"), "\\xe0\\x80\\xaf" },
		{ SV("\xed\xa0\x80"), "\\xed\\xa0\\x80" },                   /* surrogate */
		{ SV("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80" },          /* above U+10FFFF */
		{ SV("\xff"), "\\xff" }, { SV("a\xe2\x82"), "a\\xe2\\x82" }, /* cut short */
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(strbuf_free) struct strbuf b = STRBUF_INIT;
		/* An exact copy, so that the sanitizer sees each octet read beyond it. */
		AUTO(mem_freep) char *copy = mem_alloc(rows[i].in.len + !rows[i].in.len);
		memcpy(copy, rows[i].in.ptr, rows[i].in.len);
		escape_foreign(&b, sv(copy, rows[i].in.len));
		assert_string_equal(strbuf_str(&b), rows[i].out);
	}
}

static void long_foreign_text_is_cut(void **state)
{
	AUTO(strbuf_free) struct strbuf in = STRBUF_INIT;

	for (size_t len = 0; len <= ESCAPE_MAX_BYTES + 1; len++, strbuf_addc(&in, 'x')) {
		AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;
		escape_foreign(&out, strbuf_view(&in));
		bool cut = len > ESCAPE_MAX_BYTES;
		assert_int_equal(out.len, cut ? ESCAPE_MAX_BYTES + 3 : len);
		assert_int_equal(sv_iends(strbuf_view(&out), SV("...")), cut);
	}
}

static void a_cut_never_splits_a_character(void **state)
{
	AUTO(strbuf_free) struct strbuf in = STRBUF_INIT;
	AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;

	strbuf_addc(&in, 'x');
	for (int i = 0; i < ESCAPE_MAX_BYTES; i++)
		strbuf_adds(&in, "\xc3\xa4");
	escape_foreign(&out, strbuf_view(&in));
	/* 199 = 1 + 2 * 99: one more would pass the limit by its second half. */
	assert_int_equal(out.len, ESCAPE_MAX_BYTES - 1 + 3);
	assert_true(sv_iends(strbuf_view(&out), SV("\xc3\xa4...")));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64_both_ways),
		cmocka_unit_test(base64_refuses_what_is_not_canonical),
		cmocka_unit_test(hex_is_lower_case),
		cmocka_unit_test(foreign_text_is_harmless),
		cmocka_unit_test(long_foreign_text_is_cut),
		cmocka_unit_test(a_cut_never_splits_a_character),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
