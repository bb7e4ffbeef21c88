/* The request line of the control socket: what is understood, what is refused, and in which words.
 */
#include "core/control_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define C CONTROL_PROTOCOL " "

static void understands(void **state)
{
	static const struct {
		const char *line;
		enum control_verb verb;
		const char *account;
		bool all, wait;
	} rows[] = {
		{ C "status", CONTROL_STATUS_OF, "", false, false },
		{ C "status sammel", CONTROL_STATUS_OF, "sammel", false, false },
		{ C "fetch sammel", CONTROL_FETCH, "sammel", false, false },
		{ C "fetch wait", CONTROL_FETCH, "wait", false, false },
		{ C "fetch wait wait", CONTROL_FETCH, "wait", false, true },
		{ C "fetch *", CONTROL_FETCH, "", true, false },
		{ C "fetch * wait", CONTROL_FETCH, "", true, true },
		{ C "fetch --all", CONTROL_FETCH, "--all", false, false }, /* an account's name */
		{ C "pause a.b-c_d", CONTROL_PAUSE, "a.b-c_d", false, false },
		{ C "resume x", CONTROL_RESUME, "x", false, false },
		{ C "reload", CONTROL_RELOAD, "", false, false },
		{ C "metrics", CONTROL_METRICS, "", false, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(strbuf_free) struct strbuf again = STRBUF_INIT;
		struct control_request r;
		struct err err = { 0 };
		if (control_parse(sv_str(rows[i].line), &r, &err))
			fail_msg("%s: %s", rows[i].line, err.text);
		if (r.verb != rows[i].verb || !sv_eq(r.account, sv_str(rows[i].account)) ||
			r.all != rows[i].all || r.wait != rows[i].wait)
			fail_msg("%s: read as something else", rows[i].line);
		assert_int_equal(control_format(&again, &r), 0);
		assert_int_equal(again.ptr[again.len - 1], '\n');
		again.ptr[again.len - 1] = '\0';
		assert_string_equal(again.ptr, rows[i].line);
	}
}

static void refuses(void **state)
{
	static const struct {
		struct strview line;
		const char *words;
	} rows[] = {
		{ SV(""), "speaks control/1" },
		{ SV("status"), "speaks control/1" },
		{ SV("control/2 status"), "use the multidropctl of its version" },
		{ SV("control/1"), "no command \"\"" },
		{ SV(C), "no command \"\"" },
		{ SV(C " status"), "no command \"\"" },
		{ SV(C "STATUS"), "no command \"STATUS\"" },
		{ SV(C "shutdown"), "no command \"shutdown\"" },
		{ SV(C "fetch"), "fetch needs an account" },
		{ SV(C "pause"), "pause needs an account" },
		{ SV(C "pause *"), "pause takes one account" },
		{ SV(C "status *"), "status takes one account" },
		{ SV(C "status a b"), "too many: \"b\"" },
		{ SV(C "status a wait"), "too many: \"wait\"" },
		{ SV(C "fetch a wait x"), "too many: \"wait x\"" },
		{ SV(C "reload now"), "too many: \"now\"" },
		{ SV(C "fetch  a"), "no name of an account: \"\"" },
		{ SV(C "fetch a\r"), "no name of an account: \"a\\x0d\"" },
		{ SV(C "fetch a\0b"), "no name of an account: \"a\\x00b\"" },
		{ SV(C "fetch \xc3\xa4"), "no name of an account: \"\xc3\xa4\"" },
		{ SV("\0\0\0"), "speaks control/1" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct control_request r;
		struct err err = { 0 };
		if (!control_parse(rows[i].line, &r, &err))
			fail_msg("%s: was taken", rows[i].line.ptr);
		if (!strstr(err.text, rows[i].words))
			fail_msg("%s: %s", rows[i].line.ptr, err.text);
	}
}

static void writes_no_second_line(void **state)
{
	static const char *const names[] = { "a\nb", "a b", "a\r", "\n", "\x7f", "\xc3\xa4" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO(strbuf_free) struct strbuf line = STRBUF_INIT;
		struct control_request r = { .verb = CONTROL_PAUSE, .account = sv_str(names[i]) };
		assert_int_equal(control_format(&line, &r), -1);
		assert_int_equal(line.len, 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(understands),
		cmocka_unit_test(refuses),
		cmocka_unit_test(writes_no_second_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
