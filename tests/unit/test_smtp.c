/*
 * What a dialog cannot show of the SMTP machine, because it depends on how the input was cut or on
 * how much output waits. All else is in tests/dialogs/smtp.
 */
#include "proto/smtp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define EHLO_ALL "220 relay.example\r\n250-relay.example\r\n250-PIPELINING\r\n250 STARTTLS\r\n"

static struct smtp_rcpt rcpt = { .address = "hans@firma.example" };
static struct smtp_mail mail = { .sender = "s@x.example", .rcpts = &rcpt, .nrcpts = 1 };

static void autofree(struct smtp **s)
{
	smtp_free(*s);
}

static void drain(struct smtp *s, struct strbuf *wire, size_t max)
{
	struct strview out;

	smtp_output(s, &out);
	out.len = out.len < max ? out.len : max;
	if (wire)
		strbuf_addv(wire, out);
	smtp_sent(s, out.len, 0);
}

/* Feeds until something is reported; returns what was not taken. */
static struct strview feed(struct smtp *s, struct strview in, struct smtp_event *ev)
{
	*ev = (struct smtp_event){ 0 };
	while (in.len && ev->type == SMTP_NONE) {
		in = sv_skip(in, smtp_feed(s, in.ptr, in.len, 0, ev));
		drain(s, NULL, SIZE_MAX);
	}
	return in;
}

static struct smtp *session(enum smtp_tls tls, struct strview greeting)
{
	struct smtp_params params = {
		.helo = "mail.firma.example", .tls = tls, .dot_timeout_ms = 600000
	};
	struct smtp *s = smtp_new(&params, 0);
	struct smtp_event ev;

	assert_int_equal(feed(s, greeting, &ev).len, 0);
	return s;
}

/* A driver who drops what he read before the handshake must not be what saves us. */
static void clear_text_behind_starttls_is_seen_in_the_same_feed(void **state)
{
	AUTO(autofree) struct smtp *s = session(SMTP_TLS_STARTTLS, SV(EHLO_ALL));
	struct smtp_event ev;

	feed(s, SV("220 go ahead\r\n2"), &ev);
	assert_int_equal(ev.type, SMTP_FAILED);
	assert_int_equal(ev.err.class, ERR_TLS);
}

/* A driver who sends all at once on SMTP_BODY must not be told that it was accepted before. */
static void a_reply_to_unsent_content_is_seen_in_the_same_feed(void **state)
{
	AUTO(autofree) struct smtp *s = session(SMTP_TLS_NONE, SV(EHLO_ALL));
	struct smtp_event ev;

	smtp_mail(s, &mail, 0);
	feed(s, SV("250 Ok\r\n250 Ok\r\n354 go ahead\r\n250 Ok: queued\r\n"), &ev);
	assert_int_equal(ev.type, SMTP_FAILED);
	assert_int_equal(ev.err.class, ERR_PROTO);
	assert_int_equal(rcpt.outcome, SMTP_CONNECTION);
}

static void stops_at_each_event(void **state)
{
	AUTO(autofree) struct smtp *s = session(SMTP_TLS_NONE, SV(EHLO_ALL));
	struct smtp_event ev;

	smtp_mail(s, &mail, 0);
	feed(s, SV("250 Ok\r\n250 Ok\r\n354 go ahead\r\n"), &ev);
	assert_int_equal(ev.type, SMTP_BODY);
	smtp_dot(s, 0);
	drain(s, NULL, SIZE_MAX);
	struct strview rest = feed(s, SV("250 Ok\r\n421 bye\r\n"), &ev);
	assert_int_equal(ev.type, SMTP_DONE);
	assert_true(sv_eq(rest, SV("421 bye\r\n")));
	assert_true(smtp_idle(s));
	feed(s, rest, &ev);
	assert_int_equal(ev.type, SMTP_CLOSED);
	assert_false(smtp_idle(s));
}

/* Nothing that waits to be written survives the end: no dot slips out behind an outcome. */
static void a_dead_session_has_no_output(void **state)
{
	AUTO(autofree) struct smtp *s = session(SMTP_TLS_NONE, SV(EHLO_ALL));
	struct smtp_event ev;
	struct strview out;

	smtp_mail(s, &mail, 0);
	feed(s, SV("250 Ok\r\n250 Ok\r\n354 go ahead\r\n"), &ev);
	smtp_body(s, STUFF_BODY, SV("text\r\n"), 0);
	smtp_dot(s, 0);
	smtp_feed(s, "552 too big\r\n", 13, 0, &ev);
	assert_int_equal(ev.type, SMTP_FAILED);
	assert_int_equal(rcpt.outcome, SMTP_REJECTED);
	smtp_output(s, &out);
	assert_int_equal(out.len, 0);
	assert_int_equal(smtp_deadline(s), MSEC_NEVER);
}

/* A slow peer, and a driver who keeps some output waiting: it neither grows nor gets mixed up. */
static void output_does_not_grow_behind_a_slow_peer(void **state)
{
	AUTO(autofree) struct smtp *s = session(SMTP_TLS_NONE, SV(EHLO_ALL));
	AUTO(strbuf_free) struct strbuf wire = STRBUF_INIT, want = STRBUF_INIT;
	struct smtp_event ev;
	struct strview out;

	smtp_mail(s, &mail, 0);
	feed(s, SV("250 Ok\r\n250 Ok\r\n354 go ahead\r\n"), &ev);
	for (unsigned i = 0; i < 20000; i++) {
		AUTO(strbuf_free) struct strbuf line = STRBUF_INIT;
		strbuf_addf(&line, "line %u\r\n", i);
		strbuf_addv(&want, strbuf_view(&line));
		smtp_body(s, STUFF_BODY, strbuf_view(&line), 0);
		smtp_output(s, &out);
		drain(s, &wire, out.len > 500 ? 37 : 3);
		assert_true(out.len < 600);
	}
	smtp_dot(s, 0);
	strbuf_adds(&want, ".\r\n");
	drain(s, &wire, SIZE_MAX);
	assert_true(sv_eq(strbuf_view(&wire), strbuf_view(&want)));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(clear_text_behind_starttls_is_seen_in_the_same_feed),
		cmocka_unit_test(a_reply_to_unsent_content_is_seen_in_the_same_feed),
		cmocka_unit_test(stops_at_each_event),
		cmocka_unit_test(a_dead_session_has_no_output),
		cmocka_unit_test(output_does_not_grow_behind_a_slow_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
