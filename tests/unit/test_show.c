/* Times and foreign text for people and programs. */
#include "show.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define S   1000
#define MIN (60 * S)
#define H   (60 * MIN)

static void spans_are_rounded_to_what_matters(void **state)
{
	static const struct {
		msec_t span;
		const char *text;
	} rows[] = {
		{ -5, "0 s" },
		{ 0, "0 s" },
		{ 1, "1 s" },
		{ 119 * S, "119 s" },
		{ 119 * S + 1, "2 min" },
		{ 12 * MIN, "12 min" },
		{ 119 * MIN, "119 min" },
		{ 2 * H, "2 h" },
		{ 3 * H + 20 * MIN, "3 h 20 min" },
		{ 9 * H + 59 * MIN, "9 h 59 min" },
		{ 10 * H + 59 * MIN, "10 h" },
		{ 47 * H, "47 h" },
		{ 48 * H, "2 d" },
		{ (msec_t)1000 * 24 * H, "1000 d" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;
		show_span(&text, rows[i].span);
		assert_string_equal(strbuf_str(&text), rows[i].text);
	}
}

static void is_text(json_t *take_value, const char *text)
{
	assert_string_equal(json_string_value(take_value), text);
	json_decref(take_value);
}

static void values_for_programs(void **state)
{
	json_t *never = show_json_time(0), *none = show_json_text(NULL);

	assert_true(json_is_null(never) && json_is_null(none));
	is_text(show_json_time(INT64_C(1732448953999)), "2024-11-24T11:49:13Z");
	is_text(show_json_text("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
	is_text(show_json_text("a\xff\n"), "a\\xff\\x0a");
}

static void clock_is_local(void **state)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;

	setenv("TZ", "XYZ-2", 1); /* two hours east */
	tzset();
	show_clock(&text, INT64_C(1732448953999));
	assert_string_equal(strbuf_str(&text), "13:49:13");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(spans_are_rounded_to_what_matters),
		cmocka_unit_test(values_for_programs),
		cmocka_unit_test(clock_is_local),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
