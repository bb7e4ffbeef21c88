/* Whom to tell of what, and when: at most one an hour for each kind and name, and nothing lost. */
#include "alert_mail.h"
#include "base/encode.h"
#include "core/alert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND ((msec_t)1000)
#define MINUTE (60 * SECOND)
#define WALL   INT64_C(1795500000000) /* of time 0; 2026-11-24 06:00:00 UTC */

static const struct log_entry suspended = { .event = EV_ACCOUNT_SUSPENDED,
	.account = "sammel",
	.provider = "strato",
	.relay = "house",
	.reason = "-ERR [AUTH] wrong password" };
static const struct log_entry held = {
	.event = EV_MESSAGE_HELD, .account = "sammel", .relay = "house", .reason = "too large"
};
static const struct log_entry down = {
	.event = EV_RELAY_DOWN, .relay = "house", .reason = "connection refused"
};
static const struct log_entry up = { .event = EV_RELAY_UP, .relay = "house" };

static struct alert *note(struct alerts_book *b, const struct log_entry *e, msec_t now)
{
	return alert_note(b, e, now, WALL + now);
}

static void what_comes_together_is_told_together(void **state)
{
	struct alerts_book b = { 0 };

	for (msec_t now = 0; now < 4; now++)
		assert_non_null(note(&b, &held, now * SECOND));
	assert_int_equal(alert_next(&b), ALERT_GATHER_MSEC);
	assert_null(alert_due(&b, ALERT_GATHER_MSEC - 1, false));
	struct alert *a = alert_due(&b, ALERT_GATHER_MSEC, false);
	assert_non_null(a);
	assert_int_equal(a->count, 4);
	assert_int_equal(a->first_at, WALL);
	assert_int_equal(a->last_at, WALL + 3 * SECOND);
	assert_ptr_equal(alert_due(&b, 3 * SECOND, true), a); /* --once does not wait */
	alerts_book_free(&b);
}

static void one_an_hour_and_then_what_came_meanwhile(void **state)
{
	struct alerts_book b = { 0 };

	note(&b, &held, 0);
	alert_told(alert_due(&b, MINUTE, false), 1, MINUTE);
	assert_int_equal(alert_next(&b), MSEC_NEVER);
	assert_null(alert_due(&b, 3 * ALERT_EVERY_MSEC, false)); /* nothing is said twice */
	note(&b, &held, 2 * MINUTE);
	note(&b, &held, 50 * MINUTE);
	assert_int_equal(alert_next(&b), MINUTE + ALERT_EVERY_MSEC);
	assert_null(alert_due(&b, MINUTE + ALERT_EVERY_MSEC - 1, false));
	assert_null(alert_due(&b, MINUTE + ALERT_EVERY_MSEC - 1, true));
	struct alert *a = alert_due(&b, MINUTE + ALERT_EVERY_MSEC, false);
	assert_non_null(a);
	assert_int_equal(a->count, 2);
	assert_int_equal(a->first_at, WALL + 2 * MINUTE);
	alerts_book_free(&b);
}

static void each_kind_and_name_for_itself(void **state)
{
	struct alerts_book b = { 0 };
	struct log_entry other = held;

	other.account = "zweite";
	note(&b, &held, 0);
	alert_told(alert_due(&b, MINUTE, false), 1, MINUTE);
	note(&b, &other, MINUTE);
	note(&b, &suspended, MINUTE + 1);
	struct alert *a = alert_due(&b, 2 * MINUTE, false);
	assert_string_equal(a->name, "zweite");
	alert_told(a, 1, 2 * MINUTE);
	a = alert_due(&b, 2 * MINUTE, false);
	assert_int_equal(a->kind, ALERT_SUSPENDED);
	assert_string_equal(a->texts[ALERT_REASON], "-ERR [AUTH] wrong password");
	alerts_book_free(&b);
}

static void what_came_while_the_mail_was_out_is_not_lost(void **state)
{
	struct alerts_book b = { 0 };

	note(&b, &held, 0);
	uint32_t count = alert_due(&b, MINUTE, false)->count;
	note(&b, &held, MINUTE + 1);
	alert_told(alert_find(&b, ALERT_HELD, "sammel"), count, MINUTE + 2);
	assert_int_equal(alert_due(&b, 2 * ALERT_EVERY_MSEC, false)->count, 1);
	alerts_book_free(&b);
}

/* A mail that the relay never takes: the others are not behind it for ever. */
static void what_is_put_off_again_and_again_lets_others_pass(void **state)
{
	struct alerts_book b = { 0 };
	msec_t now = MINUTE;

	note(&b, &held, 0);
	note(&b, &suspended, 1);
	struct alert *a = alert_due(&b, now, false);
	assert_int_equal(a->kind, ALERT_HELD);
	for (uint32_t i = 1; i < ALERT_PATIENCE; i++) {
		assert_false(alert_put_off(a, ALERT_PATIENCE, now));
		assert_ptr_equal(alert_due(&b, now, false), a);
	}
	assert_true(alert_put_off(a, ALERT_PATIENCE, now));
	assert_int_equal(a->put_off, ALERT_PATIENCE);
	assert_int_equal(alert_due(&b, now, true)->kind, ALERT_SUSPENDED);
	alert_told(alert_due(&b, now, false), 1, now);
	assert_int_equal(alert_next(&b), now + ALERT_ASIDE_MSEC);
	now += ALERT_ASIDE_MSEC;
	assert_ptr_equal(alert_due(&b, now, false), a); /* its own next turn: one try */
	assert_true(alert_put_off(a, ALERT_PATIENCE, now));
	assert_null(alert_due(&b, now, false));
	alert_told(a, 1, now + ALERT_ASIDE_MSEC);
	note(&b, &held, now + ALERT_ASIDE_MSEC + ALERT_EVERY_MSEC);
	assert_false(alert_put_off(a, ALERT_PATIENCE, now + ALERT_EVERY_MSEC)); /* from zero */
	alerts_book_free(&b);
}

static void what_settled_itself_is_not_told(void **state)
{
	static const struct log_entry resumed = { .event = EV_ACCOUNT_RESUMED,
		.account = "sammel" };
	static const struct log_entry gone = { .event = EV_ENVELOPE_CHANGED, .account = "sammel" };
	struct log_entry back = gone, own = held;
	struct alerts_book b = { 0 };

	back.level = LVL_NOTICE;
	own.own_alert = true;
	note(&b, &suspended, 0);
	note(&b, &gone, 0);
	assert_null(note(&b, &resumed, 1));
	assert_null(note(&b, &back, 1));
	assert_null(note(&b, &own, 1));
	assert_int_equal(alert_next(&b), MSEC_NEVER);
	alerts_book_free(&b);
}

static void a_relay_that_came_back_is_one_matter(void **state)
{
	struct alerts_book b = { 0 };

	note(&b, &down, MINUTE);
	note(&b, &up, 9 * MINUTE);
	assert_int_equal(alert_find(&b, ALERT_RELAY_DOWN, "house")->count, 0);
	struct alert *a = alert_due(&b, 10 * MINUTE, false);
	assert_int_equal(a->kind, ALERT_RELAY_UP);
	assert_int_equal(a->count, 1);
	assert_int_equal(a->down_at, WALL + MINUTE);
	assert_int_equal(a->last_at, WALL + 9 * MINUTE);
	alert_told(a, 1, 10 * MINUTE);
	/* It flaps: nothing before the hour is over, then how often, and how it is then. */
	for (msec_t at = 11 * MINUTE; at < 17 * MINUTE; at += 2 * MINUTE) {
		note(&b, &down, at);
		note(&b, &up, at + MINUTE);
	}
	assert_null(alert_due(&b, 10 * MINUTE + ALERT_EVERY_MSEC - 1, false));
	a = alert_due(&b, 10 * MINUTE + ALERT_EVERY_MSEC, false);
	assert_int_equal(a->kind, ALERT_RELAY_UP);
	assert_int_equal(a->count, 3);
	note(&b, &down, 20 * MINUTE);
	a = alert_due(&b, 2 * ALERT_EVERY_MSEC, false);
	assert_int_equal(a->kind, ALERT_RELAY_DOWN);
	assert_int_equal(a->count, 4);
	/* Told of by another relay, it is one going down when it comes back. */
	alert_told(a, 4, 2 * ALERT_EVERY_MSEC);
	note(&b, &up, 2 * ALERT_EVERY_MSEC + MINUTE);
	assert_int_equal(alert_find(&b, ALERT_RELAY_UP, "house")->count, 1);
	alerts_book_free(&b);
}

static void a_relay_that_is_back_at_once_is_none(void **state)
{
	struct alerts_book b = { 0 };

	note(&b, &down, 0);
	assert_int_equal(alert_next(&b), ALERT_BLINK_MSEC);
	assert_null(note(&b, &up, ALERT_BLINK_MSEC - 1));
	assert_int_equal(alert_next(&b), MSEC_NEVER);
	note(&b, &down, 10 * MINUTE);
	assert_non_null(note(&b, &up, 10 * MINUTE + ALERT_BLINK_MSEC));
	alerts_book_free(&b);
}

/* With no room for the other matter, what is over must not stay due for ever. */
static void back_in_a_full_book_is_not_due(void **state)
{
	struct alerts_book b = { 0 };
	struct log_entry e = held;
	char name[16];

	note(&b, &down, 0);
	for (int i = 1; i < ALERT_MATTERS; i++) {
		(void)snprintf(name, sizeof name, "a%d", i);
		e.account = name;
		assert_non_null(note(&b, &e, 0));
	}
	assert_null(note(&b, &up, 2 * ALERT_BLINK_MSEC));
	assert_int_equal(alert_find(&b, ALERT_RELAY_DOWN, "house")->count, 0);
	alerts_book_free(&b);
}

/* After the hour another process may have told it: whoever knows is asked again. */
static void after_the_hour_others_are_asked_again(void **state)
{
	struct alerts_book b = { 0 };
	struct alert *a = note(&b, &held, 0);

	a->known = true;
	assert_true(note(&b, &held, MINUTE)->known);
	alert_told(a, 2, MINUTE);
	a = note(&b, &held, 2 * MINUTE);
	assert_true(a->known);
	alert_told(a, 1, 2 * MINUTE);
	assert_false(note(&b, &held, 2 * MINUTE + ALERT_EVERY_MSEC)->known);
	alerts_book_free(&b);
}

static void the_relay_itself_is_proof(void **state)
{
	struct alerts_book b = { 0 };

	note(&b, &down, 0);
	struct alert *a =
		alert_is_back(&b, alert_find(&b, ALERT_RELAY_DOWN, "house"), MINUTE, WALL + MINUTE);
	assert_int_equal(a->kind, ALERT_RELAY_UP);
	assert_int_equal(alert_find(&b, ALERT_RELAY_DOWN, "house")->count, 0);
	alerts_book_free(&b);
}

static void the_memory_has_an_end(void **state)
{
	struct alerts_book b = { 0 };
	struct log_entry e = held;
	char name[32];

	e.account = name;
	for (int i = 0; i < ALERT_MATTERS; i++) {
		snprintf(name, sizeof name, "a%d", i);
		assert_non_null(note(&b, &e, 0));
	}
	snprintf(name, sizeof name, "one-too-many");
	assert_null(note(&b, &e, 0));
	snprintf(name, sizeof name, "a7");
	assert_non_null(note(&b, &e, 0)); /* what is known goes on */
	alert_told(alert_due(&b, MINUTE, false), 1, MINUTE);
	snprintf(name, sizeof name, "one-too-many");
	assert_null(note(&b, &e, MINUTE + ALERT_EVERY_MSEC - 1)); /* its hour is not over */
	assert_non_null(note(&b, &e, MINUTE + ALERT_EVERY_MSEC));
	alerts_book_free(&b);
}

/* ---- the mail ---- */

static void write_mail(const struct alert *a, struct strbuf *head, struct strbuf *body)
{
	static const struct alert_mail m = { .to = "admin@firma.example",
		.hostname = "gate.firma.example",
		.id = "0123456789abcdef",
		.proof = "feedfeedfeedfeedfeedfeedfeedfeedfeedfeedfeedfeed",
		.now = WALL + ALERT_GATHER_MSEC };

	strbuf_clear(head);
	strbuf_clear(body);
	alert_mail_write(a, &m, head, body);
}

static void the_whole_mail(void **state)
{
	AUTO(strbuf_free) struct strbuf head = STRBUF_INIT, body = STRBUF_INIT;
	struct alerts_book b = { 0 };

	write_mail(note(&b, &suspended, 0), &head, &body);
	assert_string_equal(strbuf_str(&head),
		"Date: Tue, 24 Nov 2026 06:00:05 +0000\r\n"
		"Message-ID: <0123456789abcdef@gate.firma.example>\r\n"
		"From: multidropd <multidropd@gate.firma.example>\r\n"
		"To: <admin@firma.example>\r\n"
		"Subject: [multidropd] account sammel is suspended: its password is\r\n"
		" refused\r\n"
		"Auto-Submitted: auto-generated\r\n"
		"X-Multidrop-Alert: account.suspended;\r\n"
		" id=feedfeedfeedfeedfeedfeedfeedfeedfeedfeedfeedfeed\r\n"
		"MIME-Version: 1.0\r\n"
		"Content-Type: text/plain; charset=utf-8\r\n"
		"Content-Transfer-Encoding: 7bit\r\n"
		"\r\n");
	assert_string_equal(strbuf_str(&body),
		"The provider has refused user or password of account sammel again and\r\n"
		"again. multidropd does not log in there any more, so that the provider\r\n"
		"does not lock the account.\r\n"
		"\r\n"
		"Since 2026-11-24 06:00:00 +0000.\r\n"
		"\r\n"
		"> provider: strato\r\n"
		"> reason: -ERR [AUTH] wrong password\r\n"
		"\r\n"
		"Its mail stays in the maildrop at the provider. Nothing is lost, but\r\n"
		"nothing arrives until this is corrected.\r\n"
		"\r\n"
		"What to do\r\n"
		"\r\n"
		"  Correct user or password, then:\r\n"
		"      multidropctl reload\r\n"
		"\r\n"
		"  If they were right, and the provider was wrong:\r\n"
		"      multidropctl resume sammel\r\n"
		"\r\n"
		"  Look whether it works again:\r\n"
		"      multidropctl status sammel\r\n"
		"\r\n"
		"-- \r\n"
		"multidropd on gate.firma.example. Such a mail comes at most once an hour\r\n"
		"for each account or relay; `alert_to` in its configuration says to whom.\r\n");
	alerts_book_free(&b);
}

static void from_when_to_when(void **state)
{
	AUTO(strbuf_free) struct strbuf head = STRBUF_INIT, body = STRBUF_INIT;
	struct alerts_book b = { 0 };

	note(&b, &down, 0);
	write_mail(note(&b, &up, 90 * MINUTE), &head, &body);
	assert_non_null(strstr(strbuf_str(&head), "Subject: [multidropd] relay house is back\r\n"));
	assert_non_null(strstr(strbuf_str(&body),
		"It was down from 2026-11-24 06:00:00 +0000 to 2026-11-24 07:30:00 +0000."));
	note(&b, &held, 0);
	write_mail(note(&b, &held, MINUTE), &head, &body);
	assert_non_null(strstr(strbuf_str(&head), "sammel: 2 messages held\r\n"));
	assert_non_null(strstr(strbuf_str(&body),
		"At last at 2026-11-24 06:01:00 +0000; 2 times since 2026-11-24 06:00:00\r\n"
		"+0000.\r\n"));
	alerts_book_free(&b);
}

/* What a line must never be: too long, ended by anything but CRLF, with a control character. */
static void check_lines(const struct strbuf *text, size_t max)
{
	struct strview rest = strbuf_view(text);

	while (rest.len) {
		struct strview line = sv_token(&rest, '\n');
		assert_true(line.len && line.ptr[line.len - 1] == '\r');
		line.len--;
		assert_in_range(line.len, 0, max);
		for (size_t i = 0; i < line.len; i++)
			assert_in_range((unsigned char)line.ptr[i], 32, 255);
	}
}

static void peers_words_are_quoted_short_and_harmless(void **state)
{
	AUTO(strbuf_free) struct strbuf head = STRBUF_INIT, body = STRBUF_INIT;
	AUTO(strbuf_free) struct strbuf endless = STRBUF_INIT, safe = STRBUF_INIT;
	struct alerts_book b = { 0 };
	struct log_entry e = held;

	for (size_t i = 0; i < 3000; i++)
		strbuf_adds(&endless, "\xc3\xa4");
	e.reason = "x\r\n\r\n.\r\nWhat to do\r\n\r\n      rm -rf /\r\n\x1b[2J";
	e.reply = strbuf_str(&endless);
	e.sender = "a\xff@b";
	write_mail(note(&b, &e, 0), &head, &body);
	check_lines(&head, 78);
	check_lines(&body, ALERT_LINE_OCTETS);
	assert_null(strstr(strbuf_str(&body), "\r\n      rm"));
	assert_non_null(strstr(strbuf_str(&body), "> reason: x\\x0d\\x0a"));
	assert_non_null(strstr(strbuf_str(&body), "> sender: a\\xff@b\r\n"));
	assert_null(strstr(strbuf_str(&body), "\xc3\r\n")); /* no character is torn */
	assert_in_range(body.len, 500, 2500);
	assert_non_null(strstr(strbuf_str(&head), "Content-Transfer-Encoding: 8bit\r\n"));
	alerts_book_free(&b);
}

static void every_kind_has_a_mail(void **state)
{
	static const struct log_entry all[] = { { .event = EV_ACCOUNT_SUSPENDED },
		{ .event = EV_ENVELOPE_CHANGED }, { .event = EV_ENVELOPE_MISSING },
		{ .event = EV_MESSAGE_HELD }, { .event = EV_RELAY_DOWN },
		{ .event = EV_RELAY_UP } };
	AUTO(strbuf_free) struct strbuf head = STRBUF_INIT, body = STRBUF_INIT;
	struct alerts_book b = { 0 };
	char longest[65];

	memset(longest, 'n', 64); /* conf_file.c takes no longer name */
	longest[64] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		struct log_entry e = all[i];
		e.account = e.relay = longest;
		struct alert *a = note(&b, &e, (msec_t)i * MINUTE);
		assert_non_null(a);
		assert_string_equal(alert_kind_name(a->kind), log_event_name(e.event));
		write_mail(a, &head, &body);
		check_lines(&head, 78);
		check_lines(&body, 6 + sizeof "multidropctl resume " + sizeof longest);
		assert_non_null(strstr(strbuf_str(&head), longest));
		assert_non_null(strstr(strbuf_str(&body), "\r\n      multidropctl "));
		assert_null(strpbrk(strbuf_str(&body), "#@"));
	}
	assert_int_equal(ARRAY_LEN(all), ALERT_KIND_COUNT);
	alerts_book_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_comes_together_is_told_together),
		cmocka_unit_test(one_an_hour_and_then_what_came_meanwhile),
		cmocka_unit_test(each_kind_and_name_for_itself),
		cmocka_unit_test(what_came_while_the_mail_was_out_is_not_lost),
		cmocka_unit_test(what_is_put_off_again_and_again_lets_others_pass),
		cmocka_unit_test(what_settled_itself_is_not_told),
		cmocka_unit_test(a_relay_that_came_back_is_one_matter),
		cmocka_unit_test(a_relay_that_is_back_at_once_is_none),
		cmocka_unit_test(back_in_a_full_book_is_not_due),
		cmocka_unit_test(after_the_hour_others_are_asked_again),
		cmocka_unit_test(the_relay_itself_is_proof),
		cmocka_unit_test(the_memory_has_an_end),
		cmocka_unit_test(the_whole_mail),
		cmocka_unit_test(from_when_to_when),
		cmocka_unit_test(peers_words_are_quoted_short_and_harmless),
		cmocka_unit_test(every_kind_has_a_mail),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
