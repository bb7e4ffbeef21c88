/* Views and buffers: comparing, cutting, numbers of peers, the hard maximum. */
#include "base/strbuf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void compares_views(void **state)
{
	static const struct {
		struct strview a, b;
		bool eq, ieq, starts, istarts, iends, icontains; /* b of or in a */
	} rows[] = {
		{ SV("abc"), SV("abc"), true, true, true, true, true, true },
		{ SV("abc"), SV("ABC"), false, true, false, true, true, true },
		{ SV("abc"), SV("ab"), false, false, true, true, false, true },
		{ SV("abc"), SV("AB"), false, false, false, true, false, true },
		{ SV("abc"), SV("bC"), false, false, false, false, true, true },
		{ SV("xabcx"), SV("aBc"), false, false, false, false, false, true },
		{ SV("aab"), SV("ab"), false, false, false, false, true, true },
		{ SV("ab"), SV("abc"), false, false, false, false, false, false },
		{ SV("abc"), SV(""), false, false, true, true, true, true },
		{ SV(""), SV(""), true, true, true, true, true, true },
		{ SV(""), SV("a"), false, false, false, false, false, false },
		{ SV("a\0b"), SV("a\0c"), false, false, false, false, false, false },
		{ SV("a[b"), SV("a{b"), false, false, false, false, false, false },
		{ SV("\xc4"), SV("\xe4"), false, false, false, false, false, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(sv_eq(rows[i].a, rows[i].b), rows[i].eq);
		assert_int_equal(sv_ieq(rows[i].a, rows[i].b), rows[i].ieq);
		assert_int_equal(sv_starts(rows[i].a, rows[i].b), rows[i].starts);
		assert_int_equal(sv_istarts(rows[i].a, rows[i].b), rows[i].istarts);
		assert_int_equal(sv_iends(rows[i].a, rows[i].b), rows[i].iends);
		assert_int_equal(sv_icontains(rows[i].a, rows[i].b), rows[i].icontains);
	}
}

static void compares_strings_without_the_locale(void **state)
{
	assert_int_equal(ascii_strcasecmp("Strato", "sTRATO"), 0);
	assert_true(ascii_strcasecmp("a", "B") < 0);
	assert_true(ascii_strcasecmp("b", "A") > 0);
	assert_true(ascii_strcasecmp("a", "ab") < 0);
	assert_true(ascii_strcasecmp("ab", "a") > 0);
	assert_true(ascii_strcasecmp("\xe4", "\xc4") > 0);
}

static void cuts_views(void **state)
{
	assert_true(sv_eq(sv_skip(SV("abc"), 1), SV("bc")));
	assert_true(sv_eq(sv_skip(SV("abc"), 4), SV("")));
	assert_true(sv_eq(sv_trim(SV(" \t\r\na b\r\n ")), SV("a b")));
	assert_true(sv_eq(sv_trim(SV(" \t\r\n")), SV("")));
	assert_true(sv_eq(sv_trim(SV("\0 ")), SV("\0")));
	assert_true(sv_eq(sv_str(NULL), SV("")));
}

static void takes_tokens(void **state)
{
	struct strview rest = SV("a,,b");

	assert_true(sv_eq(sv_token(&rest, ','), SV("a")));
	assert_true(sv_eq(sv_token(&rest, ','), SV("")));
	assert_true(sv_eq(rest, SV("b")));
	assert_true(sv_eq(sv_token(&rest, ','), SV("b")));
	assert_int_equal(rest.len, 0);
	assert_true(sv_eq(sv_token(&rest, ','), SV("")));
}

static void reads_the_numbers_of_peers(void **state)
{
	static const struct {
		struct strview in;
		uint64_t max;
		bool good;
		uint64_t value;
	} rows[] = {
		{ SV("0"), 0, true, 0 },
		{ SV("007"), 7, true, 7 },
		{ SV("99"), 100, true, 99 },
		{ SV("100"), 100, true, 100 },
		{ SV("101"), 100, false, 0 },
		{ SV("8"), 7, false, 0 },
		{ SV("18446744073709551614"), UINT64_MAX, true, UINT64_MAX - 1 },
		{ SV("18446744073709551615"), UINT64_MAX, true, UINT64_MAX },
		{ SV("18446744073709551616"), UINT64_MAX, false, 0 },
		{ SV("99999999999999999999999"), UINT64_MAX, false, 0 },
		{ SV("4294967297"), UINT32_MAX, false, 0 },
		{ SV(""), 9, false, 0 },
		{ SV("-1"), 9, false, 0 },
		{ SV("+1"), 9, false, 0 },
		{ SV(" 1"), 9, false, 0 },
		{ SV("1 "), 9, false, 0 },
		{ SV("0x1"), 99, false, 0 },
		{ SV("1\0"), 99, false, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t value = 4711;
		assert_int_equal(sv_number(rows[i].in, rows[i].max, &value), rows[i].good);
		assert_int_equal(value, rows[i].good ? rows[i].value : 4711);
	}
}

static void grows_and_shrinks(void **state)
{
	AUTO(strbuf_free) struct strbuf b = STRBUF_INIT;

	assert_string_equal(strbuf_str(&b), "");
	strbuf_adds(&b, "ab");
	strbuf_addc(&b, 'c');
	strbuf_addv(&b, SV("de"));
	strbuf_addf(&b, "%s-%d", "f", 42);
	strbuf_add(&b, NULL, 0);
	assert_string_equal(strbuf_str(&b), "abcdef-42");
	strbuf_consume(&b, 0);
	strbuf_consume(&b, 6);
	assert_string_equal(strbuf_str(&b), "-42");
	strbuf_consume(&b, 3);
	assert_int_equal(b.len, 0);
	for (int i = 0; i < 10000; i++)
		strbuf_addc(&b, (char)('a' + i % 26));
	assert_int_equal(strlen(strbuf_str(&b)), 10000);
	assert_int_equal(b.ptr[9999], 'a' + 9999 % 26);
	strbuf_clear(&b);
	assert_string_equal(strbuf_str(&b), "");
}

static void holds_its_maximum(void **state)
{
	for (size_t len = 7; len <= 9; len++) {
		AUTO(strbuf_free) struct strbuf b = STRBUF_MAX(8);
		strbuf_adds(&b, "1234");
		strbuf_add(&b, "567890", len - 4);
		assert_int_equal(b.overflow, len > 8);
		assert_int_equal(b.len, len > 8 ? 4 : len);
	}
}

static void takes_nothing_after_an_overflow(void **state)
{
	AUTO(strbuf_free) struct strbuf b = STRBUF_MAX(4);

	strbuf_adds(&b, "12");
	strbuf_addf(&b, "%d", 345);
	strbuf_addc(&b, '6'); /* would fit, but in the wrong place */
	assert_true(b.overflow);
	assert_string_equal(strbuf_str(&b), "12");
	strbuf_clear(&b);
	strbuf_adds(&b, "1234");
	assert_false(b.overflow);
	assert_string_equal(strbuf_str(&b), "1234");
}

static void hands_its_string_over(void **state)
{
	struct strbuf b = STRBUF_MAX(100);
	AUTO(mem_freep) char *nothing = strbuf_take(&b);

	strbuf_adds(&b, "text");
	AUTO(mem_freep) char *text = strbuf_take(&b);
	assert_string_equal(nothing, "");
	assert_string_equal(text, "text");
	assert_null(b.ptr);
	assert_int_equal(b.len, 0);
	assert_int_equal(b.max, 100);
	strbuf_wipe(&b); /* empty: nothing to wipe, nothing to crash on */
	strbuf_adds(&b, "secret");
	strbuf_wipe(&b);
	assert_null(b.ptr);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(compares_views),
		cmocka_unit_test(compares_strings_without_the_locale),
		cmocka_unit_test(cuts_views),
		cmocka_unit_test(takes_tokens),
		cmocka_unit_test(reads_the_numbers_of_peers),
		cmocka_unit_test(grows_and_shrinks),
		cmocka_unit_test(holds_its_maximum),
		cmocka_unit_test(takes_nothing_after_an_overflow),
		cmocka_unit_test(hands_its_string_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
