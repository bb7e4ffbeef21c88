/* X14: a failure that repeats is written once and then counted, whatever the server makes of it. */
#include "base/repeat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#define MINUTE (60 * (msec_t)1000)

static const struct log_entry failed = { .event = EV_CYCLE_FAILED,
	.account = "sammel",
	.provider = "strato",
	.relay = "house",
	.error = "NET",
	.reason = "connection refused",
	.text = "pop3.example:995: connection refused" };

static struct log_entry saying(const struct log_entry *like, const char *reason)
{
	struct log_entry e = *like;

	e.reason = reason;
	return e;
}

/* As the sink does it; true: written. Summaries are added to *summed. */
static bool say(struct repeat *r, const struct log_entry *e, msec_t now, uint64_t *summed)
{
	struct repeat_summary sum;

	repeat_end(r, e);
	while (repeat_next(r, now, false, &sum))
		*summed += sum.entry.repeated;
	return repeat_admit(r, e, LVL_WARNING, now);
}

static void the_first_at_once_then_a_count(void **state)
{
	struct repeat r = { 0 };
	struct repeat_summary sum;

	assert_true(repeat_admit(&r, &failed, LVL_WARNING, 0));
	for (msec_t now = MINUTE; now < REPEAT_MSEC; now += MINUTE) {
		assert_false(repeat_admit(&r, &failed, LVL_WARNING, now));
		assert_false(repeat_next(&r, now, false, &sum));
	}
	assert_false(repeat_next(&r, REPEAT_MSEC - 1, false, &sum));
	assert_true(repeat_next(&r, REPEAT_MSEC, false, &sum));
	assert_int_equal(sum.entry.repeated, 59);
	assert_int_equal(sum.age, REPEAT_MSEC);
	assert_int_equal(sum.level, LVL_WARNING);
	assert_int_equal(sum.entry.event, EV_CYCLE_FAILED);
	assert_string_equal(sum.entry.account, "sammel");
	assert_string_equal(sum.entry.provider, "strato");
	assert_string_equal(sum.entry.relay, "house");
	assert_string_equal(sum.entry.error, "NET");
	assert_string_equal(sum.entry.reason, failed.reason);
	assert_string_equal(sum.entry.text, failed.text);
	assert_false(repeat_next(&r, REPEAT_MSEC, false, &sum));
	/* It goes on: counted from there, a line an hour. */
	assert_false(repeat_admit(&r, &failed, LVL_WARNING, REPEAT_MSEC + MINUTE));
	assert_false(repeat_next(&r, 2 * REPEAT_MSEC - 1, false, &sum));
	assert_true(repeat_next(&r, 2 * REPEAT_MSEC, false, &sum));
	assert_int_equal(sum.entry.repeated, 1);
	assert_int_equal(sum.age, REPEAT_MSEC);
	/* An hour of quiet, and the next one is the first again. */
	assert_false(repeat_next(&r, 3 * REPEAT_MSEC, false, &sum));
	assert_int_equal(r.n, 0);
	assert_true(repeat_admit(&r, &failed, LVL_WARNING, 3 * REPEAT_MSEC));
	repeat_free(&r);
}

static void what_is_told_apart(void **state)
{
	struct log_entry e[7];
	struct repeat r = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(e); i++)
		e[i] = failed;
	e[1].account = "other";
	e[2].error = "TLS";
	e[3].event = EV_LOGIN_FAILED;
	e[4].relay = NULL;
	e[5].reason = "no route to host";
	e[6].reply = "-ERR different";
	for (size_t i = 0; i < ARRAY_LEN(e); i++) {
		assert_true(repeat_admit(&r, &e[i], LVL_WARNING, 0));
		assert_false(repeat_admit(&r, &e[i], LVL_WARNING, 1));
	}
	repeat_free(&r);
}

static void what_became_of_a_message_is_never_counted(void **state)
{
	static const enum log_event events[] = { EV_MESSAGE_DELIVERED, EV_MESSAGE_DEFERRED,
		EV_MESSAGE_HELD, EV_MESSAGE_DELETED, EV_CYCLE_FINISHED, EV_DAEMON_STARTED,
		EV_ACCOUNT_SUSPENDED, EV_CONFIG_REFUSED };
	struct repeat r = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		for (int n = 0; n < 3; n++) {
			struct log_entry e = failed;
			e.event = events[i];
			assert_true(repeat_admit(&r, &e, LVL_INFO, 0));
		}
	assert_int_equal(r.n, 0);
	repeat_free(&r);
}

/* A serial number is no news; new words are, but only so often. */
static void a_server_that_varies_its_words_gets_no_further(void **state)
{
	struct repeat r = { 0 };
	struct log_entry e;
	char reason[40];
	unsigned written = 0;
	uint64_t summed = 0;

	for (int i = 0; i < 100; i++) {
		snprintf(reason, sizeof reason, "-ERR try later, ticket %d", i);
		e = saying(&failed, reason);
		written += say(&r, &e, i, &summed);
	}
	assert_int_equal(written, 1);
	for (int i = 0; i < 5000; i++) {
		snprintf(reason, sizeof reason, "-ERR %c%c%c", 'a' + i % 26, 'a' + i / 26 % 26,
			'a' + i / 676);
		e = saying(&failed, reason);
		written += say(&r, &e, 100, &summed);
	}
	assert_int_equal(written, REPEAT_BURST);
	e = saying(&failed, "and something else");
	assert_true(say(&r, &e, REPEAT_MSEC, &summed)); /* the next hour has its own */
	assert_int_equal(written + summed, 5100);
	repeat_free(&r);
}

static void a_success_ends_it(void **state)
{
	struct repeat r = { 0 };
	struct log_entry good = { .event = EV_CYCLE_FINISHED, .account = "sammel" };
	struct log_entry other = { .event = EV_CYCLE_FINISHED, .account = "other" };
	uint64_t summed = 0;

	assert_true(say(&r, &failed, 0, &summed));
	assert_false(say(&r, &failed, 1, &summed));
	assert_false(say(&r, &failed, 2, &summed));
	assert_true(say(&r, &other, 3, &summed));
	assert_int_equal(summed, 0);
	assert_true(say(&r, &good, 4, &summed));
	assert_int_equal(summed, 2);
	assert_true(say(&r, &failed, 5, &summed)); /* news again */
	assert_false(say(&r, &failed, 6, &summed));
	repeat_free(&r);
}

static const struct log_entry down = {
	.event = EV_RELAY_DOWN, .relay = "house", .error = "NET", .text = "unusable"
};
static const struct log_entry up = { .event = EV_RELAY_UP, .relay = "house", .text = "usable" };

/* Each change of a relay is news, whatever it was before; a flood is summed up in minutes. */
static void a_relay_that_comes_and_goes(void **state)
{
	struct repeat r = { 0 };
	struct repeat_summary sum;
	uint64_t summed = 0;
	unsigned written = 0;

	for (int i = 0; i < REPEAT_BURST; i += 2) {
		assert_true(say(&r, &down, i, &summed));
		assert_true(say(&r, &up, i, &summed));
	}
	for (int i = 0; i < 1000; i++) {
		written += say(&r, &up, 20 + i, &summed);
		written += say(&r, &down, 20 + i, &summed);
	}
	assert_int_equal(written + summed, 0); /* neither lines nor sums */
	assert_false(repeat_next(&r, REPEAT_CHANGE_MSEC - 1, false, &sum));
	assert_true(repeat_next(&r, REPEAT_CHANGE_MSEC, false, &sum));
	assert_int_equal(sum.entry.repeated, 2000);
	assert_int_equal(sum.entry.event, EV_RELAY_DOWN); /* as it is now */
	assert_string_equal(sum.entry.text, "unusable");
	assert_false(repeat_next(&r, REPEAT_CHANGE_MSEC, false, &sum));
	assert_true(say(&r, &up, REPEAT_CHANGE_MSEC, &summed));
	repeat_free(&r);
}

/* Ten flaps, then it works for some minutes: its next end is written when it comes. */
static void a_relay_that_goes_down_after_a_while(void **state)
{
	struct repeat r = { 0 };
	uint64_t summed = 0;
	msec_t now = 0;

	for (int i = 0; i < REPEAT_BURST; i++, now++) {
		(void)say(&r, &down, now, &summed);
		(void)say(&r, &up, now, &summed);
	}
	now += REPEAT_CHANGE_MSEC;
	assert_true(say(&r, &down, now, &summed));
	assert_int_equal(summed, REPEAT_BURST);
	assert_true(say(&r, &up, now, &summed));
	repeat_free(&r);
}

/* Other relays, and what else this one has, are subjects of their own; a change ends the latter. */
static void what_a_change_of_a_relay_ends(void **state)
{
	struct log_entry warning = { .event = EV_RELAY_WARNING, .relay = "house" };
	struct log_entry other = { .event = EV_RELAY_DOWN, .relay = "other", .error = "NET" };
	struct repeat r = { 0 };
	uint64_t summed = 0;

	for (int i = 0; i < REPEAT_BURST; i++)
		assert_true(say(&r, &down, i, &summed));
	assert_true(say(&r, &other, 20, &summed));
	assert_true(say(&r, &warning, 20, &summed));
	assert_false(say(&r, &warning, 21, &summed));
	assert_false(say(&r, &up, 22, &summed));
	assert_int_equal(summed, 1);
	assert_true(say(&r, &warning, 23, &summed));
	repeat_free(&r);
}

static void the_end_of_the_process_tells_all(void **state)
{
	struct repeat r = { 0 };
	struct repeat_summary sum;
	struct log_entry other = saying(&failed, "other");

	other.account = "other";
	assert_true(repeat_admit(&r, &failed, LVL_WARNING, 0));
	assert_true(repeat_admit(&r, &other, LVL_WARNING, 0));
	assert_false(repeat_admit(&r, &failed, LVL_WARNING, 7));
	assert_false(repeat_next(&r, 8, false, &sum));
	assert_true(repeat_next(&r, 8, true, &sum));
	assert_int_equal(sum.entry.repeated, 1);
	assert_int_equal(sum.age, 8);
	assert_false(repeat_next(&r, 8, true, &sum));
	repeat_free(&r);
}

/* Memory has a limit, and beyond it nothing is lost but the counting. */
static void more_subjects_than_there_is_room_for(void **state)
{
	struct repeat r = { 0 };
	char name[20];

	for (int i = 0; i <= REPEAT_SLOTS; i++) {
		struct log_entry e = failed;
		snprintf(name, sizeof name, "a%d", i);
		e.account = name;
		assert_true(repeat_admit(&r, &e, LVL_WARNING, 0));
		assert_int_equal(repeat_admit(&r, &e, LVL_WARNING, 1), i == REPEAT_SLOTS);
	}
	repeat_free(&r);
	assert_int_equal(r.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_at_once_then_a_count),
		cmocka_unit_test(what_is_told_apart),
		cmocka_unit_test(what_became_of_a_message_is_never_counted),
		cmocka_unit_test(a_server_that_varies_its_words_gets_no_further),
		cmocka_unit_test(a_success_ends_it),
		cmocka_unit_test(a_relay_that_comes_and_goes),
		cmocka_unit_test(a_relay_that_goes_down_after_a_while),
		cmocka_unit_test(what_a_change_of_a_relay_ends),
		cmocka_unit_test(the_end_of_the_process_tells_all),
		cmocka_unit_test(more_subjects_than_there_is_room_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
