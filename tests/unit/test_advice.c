/* What is not well in a status, and the next step, row by row. */
#include "advice.h"
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW    "'now': '2026-11-24T12:00:00Z', "
#define ACC(x) "{" NOW "'accounts': [{'name': 'sammel', " x "}]}"
#define REL(x) "{" NOW "'relays': [{'name': 'haus', " x "}]}"
#define WELL   "'state': 'idle', 'trouble': false, 'held': 0"

static json_t *parsed(const char *text)
{
	AUTO(strbuf_free) struct strbuf quoted = STRBUF_INIT;

	for (; *text; text++)
		strbuf_addc(&quoted, *text == '\'' ? '"' : *text);
	json_t *status = json_loads(strbuf_str(&quoted), 0, NULL);
	assert_non_null(status);
	return status;
}

static void every_finding_has_its_row(void **state)
{
	static const struct {
		const char *status, *headline;
		enum advice_level level;
		const char *subject; /* NULL: nothing is to be said */
		const char *what, *next;
	} rows[] = {
		{ "{}", "All is well: 0 accounts", 0, NULL, NULL, NULL },
		{ ACC(WELL), "All is well: 1 account", 0, NULL, NULL, NULL },
		{ ACC("'state': 'disabled'"), "All is well: 1 account, 1 disabled", 0, NULL, NULL,
			NULL },
		{ ACC("'state': 'paused'"), "All is well: 1 account, 1 paused", ADVICE_REMARK,
			"sammel", "paused by an administrator",
			"it goes on with: multidropctl resume sammel" },
		{ ACC("'state': 'suspended', 'trouble': true, 'next_text': 'refused', "
		      "'last_error': 'AUTH: no', 'last_error_at': '2026-11-24T11:50:00Z'"),
			"Not all is well: 1 account in trouble; of 1 account", ADVICE_FAILURE,
			"sammel", "refused; AUTH: no (10 min ago)",
			"correct user or password, then: multidropctl reload; if they were right, "
			"and the provider was wrong: multidropctl resume sammel" },
		{ ACC("'state': 'backoff', 'trouble': true, 'next_text': 'back-off', "
		      "'last_error': 'CONFIG: no', 'last_error_at': '2026-11-24T11:50:00Z'"),
			"Not all is well: 1 account in trouble; of 1 account", ADVICE_CONCERN,
			"sammel", "back-off; CONFIG: no (10 min ago)",
			"correct the configuration, then: multidropctl reload" },
		{ ACC("'state': 'idle', 'overdue': true, 'next_text': 'interval', "
		      "'last_success': '2026-11-24T09:00:00Z'"),
			"Not all is well: 1 account in trouble; of 1 account", ADVICE_FAILURE,
			"sammel", "no cycle has ended well for 3 h; interval",
			"the log says more: journalctl -u multidropd" },
		{ ACC("'state': 'waiting', 'trouble': true, 'next_reason': 'relay-down', "
		      "'next_text': 'relay haus is down', 'last_error': 'NET: old'"),
			"Not all is well: 1 account in trouble; of 1 account", ADVICE_CONCERN,
			"sammel", "relay haus is down", "" },
		{ ACC("'state': 'waiting', 'trouble': true, 'next_reason': 'state', "
		      "'next_text': 'no permit'"),
			"Not all is well: 1 account in trouble; of 1 account", ADVICE_FAILURE,
			"sammel", "no permit",
			"look at this machine: free disk space, and the owner of state_dir; it is "
			"tried again by itself, at once with: multidropctl fetch sammel" },
		{ ACC("'state': 'idle', 'held': 2"),
			"Not all is well: 2 messages held; of 1 account", ADVICE_CONCERN, "",
			"2 held: waiting for a decision",
			"which messages are held, and why: multidropctl held list" },
		{ REL("'state': 'down', 'last_error': 'refused'"),
			"Not all is well: 1 relay down; of 0 accounts", ADVICE_FAILURE,
			"relay haus", "down: refused",
			"mail stays at the provider until it is back; nothing is fetched for it; "
			"look at that server, and at the network between it and this machine; it "
			"is tried again by itself" },
		{ REL("'state': 'up', 'degraded': true"), "All is well: 0 accounts", ADVICE_REMARK,
			"relay haus", "its first host is down, a backup host serves", "" },
		{ "{'state_error': 'disk full'}",
			"Not all is well: the state cannot be written; of 0 accounts",
			ADVICE_FAILURE, "", "the state cannot be written: disk full",
			"look at this machine: free disk space, and the owner of state_dir; "
			"nothing is deleted and no message is sent before it can be written "
			"again" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(strbuf_free) struct strbuf headline = STRBUF_INIT;
		struct advice_list list = { 0 };
		json_t *status = parsed(rows[i].status);
		bool well = advice_headline(status, &headline);
		assert_string_equal(strbuf_str(&headline), rows[i].headline);
		assert_int_equal(well, rows[i].headline[0] == 'A');
		advice_of(status, &list);
		assert_int_equal(list.n, rows[i].subject ? 1 : 0);
		if (list.n) {
			assert_int_equal(list.items[0].level, rows[i].level);
			assert_string_equal(strbuf_str(&list.items[0].subject), rows[i].subject);
			assert_string_equal(strbuf_str(&list.items[0].what), rows[i].what);
			assert_string_equal(strbuf_str(&list.items[0].next), rows[i].next);
			assert_true(well == (list.items[0].level == ADVICE_REMARK));
		}
		advice_free(&list);
		json_decref(status);
	}
}

/* Whatever a cycle can fail with has a step of its own, and none is shown to the wrong state. */
static void every_class_of_error_has_a_step(void **state)
{
	AUTO(strbuf_free) struct strbuf general = STRBUF_INIT;

	advice_next_step(&general, "x", "backoff", "ELSE: what a later version may know");
	assert_true(general.len);
	for (int class = ERR_NONE + 1; class < ERR_CLASS_COUNT; class ++) {
		AUTO(strbuf_free) struct strbuf step = STRBUF_INIT, none = STRBUF_INIT;
		AUTO(strbuf_free) struct strbuf error = STRBUF_INIT;
		strbuf_addf(&error, "%s: text", err_class_name((enum err_class) class));
		advice_next_step(&step, "x", "backoff", strbuf_str(&error));
		assert_true(step.len);
		assert_string_not_equal(strbuf_str(&step), strbuf_str(&general));
		advice_next_step(&none, "x", "idle", strbuf_str(&error));
		assert_false(none.len);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_finding_has_its_row),
		cmocka_unit_test(every_class_of_error_has_a_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
