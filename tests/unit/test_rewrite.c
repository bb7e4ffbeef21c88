/* The header as it leaves: what is added, what is removed, and that the rest stays as it was. */
#include "mail/rewrite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ID   "0123456789abcdef0123456789abcdef0123456789abcdef"
#define DATE "Mon, 02 Mar 2026 10:00:00 +0000"
#define RECEIVED                                                                                   \
	"Received: from pop.p.example ([192.0.2.1]) by mail.firma.example (multidropd)"            \
	" with POP3S id 0123456789abcdef"
#define TOP     RECEIVED "; " DATE "\r\nX-Multidrop-Id: " ID "\r\n"
#define TOP_FOR RECEIVED " for <hans@firma.example>; " DATE "\r\nX-Multidrop-Id: " ID "\r\n"

static struct envelope_rule rules[] = { { .header = (char[]){ "X-Envelope-To" } },
	{ .header = (char[]){ "X-RCPT" } } };

static const struct rewrite plain = {
	.pop_host = "pop.p.example",
	.pop_ip = "192.0.2.1",
	.hostname = "mail.firma.example",
	.pop_tls = true,
	.date = DATE,
	.id = ID,
	.rules = rules,
	.nrules = ARRAY_LEN(rules),
};

static void rewrite(const char *message, const struct rewrite *r, struct strbuf *out)
{
	struct header h;

	header_init(&h, !strstr(message, "\r\n"));
	header_push(&h, message, strlen(message));
	header_end(&h);
	rewrite_head(&h, r, out);
	header_free(&h);
}

static void adds_and_removes(void **state)
{
	static const struct {
		const char *message, *head; /* behind what is always added on top */
	} rows[] = {
		{ "From: a@b.example\r\nSubject: x\r\n\r\nbody",
			"From: a@b.example\r\nSubject: x\r\n\r\n" },
		/* what would leak, mislead or be taken for a loop */
		{ "Return-Path: <a@b.example>\r\nDelivered-To: h@x\r\nX-Envelope-To: h@x\r\n"
		  "x-rcpt: h@x\r\nSubject: x\r\n\r\n",
			"Subject: x\r\n\r\n" },
		{ "RETURN-path:<a>\r\nSubject: x\r\ndelivered-TO : y\r\n\r\n",
			"Subject: x\r\n\r\n" },
		/* R23: each of them, with its continuation lines, wherever it stands */
		{ "X-Envelope-To: a@x,\r\n boss@x\r\nSubject: x\r\n y\r\nX-Envelope-To: b@x\r\n"
		  "To: z\r\nX-Rcpt:\r\n\tc@x\r\n\r\n",
			"Subject: x\r\n y\r\nTo: z\r\n\r\n" },
		/* forged by the sender */
		{ "X-Multidrop-Id: 00\r\nx-multidrop-reason: ha\r\nX-MULTIDROP-In-Doubt: yes\r\n"
		  "X-Multidrop-Else: 1\r\nX-Multidrop: stays\r\nSubject: x\r\n\r\n",
			"X-Multidrop: stays\r\nSubject: x\r\n\r\n" },
		/* names that merely begin alike stay */
		{ "X-Envelope-To-Not: a\r\nReturn-Path-X: b\r\nX-Delivered-To: c\r\n\r\n",
			"X-Envelope-To-Not: a\r\nReturn-Path-X: b\r\nX-Delivered-To: c\r\n\r\n" },
		/* S32: old Received lines untouched and in order */
		{ "Received: 2\r\nReceived: 1\r\n\r\n", "Received: 2\r\nReceived: 1\r\n\r\n" },
		/* byte for byte: odd white space, 8-bit, lines that are no fields, bare CR */
		{ "Subject:  \t x  \r\n\t\r\nFrom : \xe4\r\nno field here\r\nTo:a\rb\r\n\r\n",
			"Subject:  \t x  \r\n\t\r\nFrom : \xe4\r\nno field here\r\nTo:a\rb\r\n"
			"\r\n" },
		/* an mbox line */
		{ "From a@b.example Mon Mar  2\r\nFrom: a@b.example\r\n\r\n",
			"From: a@b.example\r\n\r\n" },
		/* LF-ended: its lines as they are (the stuffing encoder ends them on the wire) */
		{ "From: a\nX-Envelope-To: h@x\nTo: b\n c\n\nbody\n", "From: a\nTo: b\n c\n\r\n" },
		/* P42: no blank line, no header, no octets: the body never becomes header */
		{ "From: a\r\n", "From: a\r\n\r\n" },
		{ "From: a\r\nSubject: cut", "From: a\r\nSubject: cut\r\n\r\n" },
		{ "From: a\nSubject: cut", "From: a\nSubject: cut\r\n\r\n" },
		{ "\r\nSubject: body\r\n", "\r\n" },
		{ "this is text\r\nSubject: body\r\n", "\r\n" },
		{ "", "\r\n" },
		/* only what goes away */
		{ "Return-Path: <>\r\n\r\n", "\r\n" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(strbuf_free) struct strbuf got = STRBUF_INIT, want = STRBUF_INIT;
		rewrite(rows[i].message, &plain, &got);
		strbuf_adds(&want, TOP);
		strbuf_adds(&want, rows[i].head);
		if (strcmp(strbuf_str(&got), strbuf_str(&want)))
			fail_msg("row %zu: %s", i, strbuf_str(&got));
	}
}

static void says_where_it_was_fetched_and_for_whom(void **state)
{
	struct rewrite clear = plain, one = plain;
	AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;

	clear.pop_tls = false;
	clear.pop_ip = "2001:db8::1";
	rewrite("A: b\r\n\r\n", &clear, &out);
	assert_true(sv_starts(strbuf_view(&out),
		SV("Received: from pop.p.example ([IPv6:2001:db8::1]) by mail.firma.example"
		   " (multidropd) with POP3 id 0123456789abcdef; " DATE "\r\n")));
	/* R23: `for` names the only recipient; with two it would tell one of the other */
	strbuf_clear(&out);
	one.rcpt = "hans@firma.example";
	rewrite("A: b\r\n\r\n", &one, &out);
	assert_string_equal(strbuf_str(&out), TOP_FOR "A: b\r\n\r\n");
}

static void marks_what_is_in_doubt_and_why_it_came(void **state)
{
	struct rewrite r = plain;
	AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;

	r.in_doubt = true;
	r.reason = "recipient x@firma.example: 550 5.1.1 No such user";
	rewrite("A: b\r\n\r\n", &r, &out);
	assert_string_equal(strbuf_str(&out),
		TOP "X-Multidrop-In-Doubt: yes\r\n"
		    "X-Multidrop-Reason: recipient x@firma.example: 550 5.1.1 No such user\r\n"
		    "A: b\r\n\r\n");
}

/* The reason quotes a relay's reply, which may quote the sender: one line, printable, not long. */
static void a_hostile_reason_stays_one_line(void **state)
{
	static const char *const reasons[] = { "550 no\r\nBcc: victim@x.example", "a\nb", "a\rb",
		"\r\n\r\nbody", "\x01\x1b[2J\x7f", "caf\xc3\xa9 \xe4\xff", "\xe2\x80\xa8line",
		"back\\slash", "" };
	AUTO(strbuf_free) struct strbuf endless = STRBUF_INIT;

	for (int i = 0; i < 100000; i++)
		strbuf_addc(&endless, 'x');
	for (size_t i = 0; i <= ARRAY_LEN(reasons); i++) {
		struct rewrite r = plain;
		AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;
		r.reason = i < ARRAY_LEN(reasons) ? reasons[i] : strbuf_str(&endless);
		rewrite("A: b\r\n\r\n", &r, &out);
		struct strview rest = sv_skip(strbuf_view(&out), strlen(TOP));
		assert_true(sv_starts(rest, SV("X-Multidrop-Reason: ")));
		struct strview line = sv_token(&rest, '\n');
		assert_true(sv_eq(rest, SV("A: b\r\n\r\n")));
		assert_true(line.len <= 998 && line.ptr[line.len - 1] == '\r');
		for (size_t k = 0; k + 1 < line.len; k++)
			assert_in_range(line.ptr[k], ' ', '~');
	}
}

/* What differs between two stored copies of one message does not count for its content. */
static void tells_trace_from_content(void **state)
{
	static const char message[] = "X-Provider-Score: 1\r\n"
				      "Received: from mx\r\n"
				      "X-Envelope-To: h@x\r\n"
				      "DELIVERED-to: h@x\r\n"
				      "X-UIDL: 7\r\n"
				      "X-Provider-Score: 2\r\n"
				      "Message-ID: <1@x>\r\n"
				      "Subject: x\r\n"
				      "no field\r\n\r\n";
	static const bool below[] = { false, true, true, true, true, false, false, false, false };
	struct header h;

	header_init(&h, false);
	header_push(&h, message, sizeof message - 1);
	header_end(&h);
	assert_int_equal(h.n, ARRAY_LEN(below));
	for (size_t boundary = 0; boundary <= h.n; boundary++)
		for (size_t i = 0; i < h.n; i++) {
			/* boundary == n: there is none, and nothing is the provider's */
			bool above = boundary < h.n && i < boundary;
			assert_int_equal(
				rewrite_is_trace(&h, i, boundary, rules, 2), above || below[i]);
		}
	assert_true(rewrite_is_trace(&h, 0, h.n,
		&(struct envelope_rule){ .header = (char[]){ "x-provider-SCORE" } }, 1));
	header_free(&h);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(adds_and_removes),
		cmocka_unit_test(says_where_it_was_fetched_and_for_whom),
		cmocka_unit_test(marks_what_is_in_doubt_and_why_it_came),
		cmocka_unit_test(a_hostile_reason_stays_one_line),
		cmocka_unit_test(tells_trace_from_content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
