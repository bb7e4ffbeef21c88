/* The metrics: what is counted for which event, and the text byte for byte where it matters. */
#include "core/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void note(struct metrics *m, enum log_event event, const char *account, uint64_t ms)
{
	metrics_note(m,
		&(struct log_entry){ .event = event,
			.account = account,
			.provider = account ? "strato" : NULL,
			.duration_ms = ms });
}

static void expect_line(const struct metrics *m, const char *line)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;
	AUTO(strbuf_free) struct strbuf wanted = STRBUF_INIT;

	metrics_print(m, &text);
	strbuf_addf(&wanted, "\n%s\n", line);
	if (!strstr(strbuf_str(&text), strbuf_str(&wanted)))
		fail_msg("no line \"%s\" in\n%s", line, strbuf_str(&text));
}

static void expect_none(const struct metrics *m, const char *piece)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;

	metrics_print(m, &text);
	if (strstr(strbuf_str(&text), piece))
		fail_msg("\"%s\" stands in\n%s", piece, strbuf_str(&text));
}

static void counts_by_event(void **state)
{
	struct metrics m = { 0 };

	for (int i = 0; i < 3; i++)
		note(&m, EV_MESSAGE_DELIVERED, "b", 0);
	note(&m, EV_MESSAGE_DELIVERED, "a", 0);
	note(&m, EV_MESSAGE_IN_DOUBT, "b", 0);
	note(&m, EV_CYCLE_SKIPPED, "b", 0);
	note(&m, EV_LOGIN_FAILED, "a", 0);
	note(&m, EV_LOGIN_FAILED, "b", 0);
	note(&m, EV_CONNECTION_OPENED, "a", 0);
	note(&m, EV_CONNECTION_OPENED, NULL, 0); /* a relay's: no login */
	note(&m, EV_ENVELOPE_MISSING, "a", 0);
	note(&m, EV_DAEMON_STARTED, NULL, 0);
	expect_line(&m,
		"multidropd_messages_total{account=\"a\",result=\"delivered\"} 1\n"
		"multidropd_messages_total{account=\"b\",result=\"delivered\"} 3\n"
		"multidropd_messages_total{account=\"b\",result=\"in_doubt\"} 1");
	expect_line(&m, "multidropd_cycles_total{account=\"b\",result=\"skipped\"} 1");
	expect_line(&m,
		"multidropd_logins_total{provider=\"strato\",result=\"failed\"} 2\n"
		"multidropd_logins_total{provider=\"strato\",result=\"ok\"} 1");
	expect_line(&m, "multidropd_envelope_missing_total{account=\"a\"} 1");
	metrics_note(NULL, &(struct log_entry){ .event = EV_CYCLE_FAILED, .account = "a" });
	metrics_free(&m);
}

/* A value on a bound belongs to it; each bucket holds all shorter ones; count is the last. */
static void histogram_adds_up(void **state)
{
	struct metrics m = { 0 };

	note(&m, EV_CYCLE_FINISHED, "a", 100);
	note(&m, EV_CYCLE_FINISHED, "a", 101);
	note(&m, EV_CYCLE_FAILED, "a", 3600000);
	note(&m, EV_CYCLE_FAILED, "a", 3600001);
	expect_line(&m,
		"# TYPE multidropd_cycle_seconds histogram\n"
		"multidropd_cycle_seconds_bucket{le=\"0.1\"} 1\n"
		"multidropd_cycle_seconds_bucket{le=\"0.5\"} 2\n"
		"multidropd_cycle_seconds_bucket{le=\"1\"} 2");
	expect_line(&m,
		"multidropd_cycle_seconds_bucket{le=\"900\"} 2\n"
		"multidropd_cycle_seconds_bucket{le=\"3600\"} 3\n"
		"multidropd_cycle_seconds_bucket{le=\"+Inf\"} 4\n"
		"multidropd_cycle_seconds_sum 7200.202\n"
		"multidropd_cycle_seconds_count 4");
	metrics_free(&m);
}

static void escapes_label_values(void **state)
{
	struct metrics m = { 0 };

	metrics_set(&m, METRIC_RELAY_UP, "a\"b\\c\nd{},=\xc3\xa4", NULL, 1);
	expect_line(&m, "multidropd_relay_up{relay=\"a\\\"b\\\\c\\nd{},=\xc3\xa4\"} 1");
	metrics_free(&m);
}

static void gauges_are_what_was_set_last(void **state)
{
	struct metrics m = { 0 };

	note(&m, EV_MESSAGE_HELD, "a", 0);
	metrics_set(&m, METRIC_HELD, "a", NULL, 2);
	metrics_set(&m, METRIC_LAST_SUCCESS, "a", NULL, 1732448953.123);
	metrics_set(&m, METRIC_LOGIN_BUDGET, "p", NULL, INFINITY);
	metrics_set(&m, METRIC_RELAY_CONNS, "r", "idle", 3);
	expect_line(&m, "multidropd_held{account=\"a\"} 2");
	expect_line(&m, "multidropd_last_success_timestamp_seconds{account=\"a\"} 1732448953.123");
	expect_line(&m, "multidropd_login_budget{provider=\"p\"} +Inf");
	expect_line(&m, "multidropd_relay_connections{relay=\"r\",state=\"idle\"} 3");
	metrics_clear_gauges(&m);
	metrics_set(&m, METRIC_HELD, "b", NULL, 1);
	expect_none(&m, "multidropd_held{account=\"a\"");
	expect_line(&m, "multidropd_held{account=\"b\"} 1");
	expect_line(&m, "multidropd_messages_total{account=\"a\",result=\"held\"} 1");
	metrics_free(&m);
}

/* Bisection and insertion against plain counting. */
static void finds_every_series_again(void **state)
{
	enum { ACCOUNTS = 97, ROUNDS = 5000 };
	uint32_t seed = 1, counted[ACCOUNTS] = { 0 };
	struct metrics m = { 0 };
	char line[120], name[20];

	for (int i = 0; i < ROUNDS; i++) {
		seed = seed * 1664525 + 1013904223;
		uint32_t which = (seed >> 8) % ACCOUNTS;
		counted[which]++;
		snprintf(name, sizeof name, "a%u", which);
		note(&m, EV_MESSAGE_DELETED, name, 0);
	}
	for (uint32_t i = 0; i < ACCOUNTS; i++) {
		snprintf(line, sizeof line,
			"multidropd_messages_total{account=\"a%u\",result=\"deleted\"} %u", i,
			counted[i]);
		expect_line(&m, line);
	}
	metrics_free(&m);
}

static void counters_begin_at_nought(void **state)
{
	struct metrics m = { 0 };

	note(&m, EV_MESSAGE_HELD, "a", 0);
	for (int i = 0; i < 2; i++) { /* and are not set back */
		metrics_begin_account(&m, "a");
		metrics_begin_provider(&m, "strato");
	}
	expect_line(&m, "multidropd_messages_total{account=\"a\",result=\"delivered\"} 0");
	expect_line(&m, "multidropd_messages_total{account=\"a\",result=\"held\"} 1");
	expect_line(&m, "multidropd_cycles_total{account=\"a\",result=\"failed\"} 0");
	expect_line(&m, "multidropd_envelope_missing_total{account=\"a\"} 0");
	expect_line(&m, "multidropd_logins_total{provider=\"strato\",result=\"failed\"} 0");
	expect_none(&m, "provider=\"a\"");
	expect_none(&m, "account=\"strato\"");
	metrics_free(&m);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_by_event),
		cmocka_unit_test(histogram_adds_up),
		cmocka_unit_test(escapes_label_values),
		cmocka_unit_test(gauges_are_what_was_set_last),
		cmocka_unit_test(finds_every_series_again),
		cmocka_unit_test(counters_begin_at_nought),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
