/*
 * The log as people and programs read it: names and shapes they rely on, and that no foreign byte
 * gets through raw. stderr goes to a file meanwhile.
 */
#include "log_sink.h"

#include "base/strbuf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

/* Writes one entry in that form; *out is the line without its LF, "" when nothing was written. */
static void write_entry(
	enum log_format format, enum log_level level, const struct log_entry *e, struct strbuf *out)
{
	char name[] = "/tmp/log.XXXXXX", buf[4096];
	int file = mkstemp(name), saved = dup(STDERR_FILENO);
	ssize_t n;

	assert_true(file >= 0 && saved >= 0);
	unlink(name);
	log_sink_open(format, level);
	dup2(file, STDERR_FILENO);
	log_write(e);
	dup2(saved, STDERR_FILENO);
	log_sink = NULL;
	close(saved);
	lseek(file, 0, SEEK_SET);
	strbuf_clear(out);
	while ((n = read(file, buf, sizeof buf)) > 0)
		strbuf_add(out, buf, (size_t)n);
	close(file);
	if (!out->len)
		return;
	assert_int_equal(out->ptr[out->len - 1], '\n');
	out->ptr[--out->len] = '\0';
}

/* Valid UTF-8 without control characters: what a terminal and a log reader may be given. */
static void expect_harmless(const struct strbuf *line)
{
	json_t *text = json_stringn(strbuf_str(line), line->len);

	assert_non_null(text);
	json_decref(text);
	for (size_t i = 0; i < line->len; i++) {
		unsigned char c = (unsigned char)line->ptr[i];
		assert_true(c >= ' ' && c != 0x7f);
		if (c == 0xc2 && i + 1 < line->len) /* C1 controls in UTF-8 */
			assert_true((unsigned char)line->ptr[i + 1] >= 0xa0);
	}
}

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "(absent)";
}

static json_t *json_of(const struct log_entry *e)
{
	AUTO(strbuf_free) struct strbuf line = STRBUF_INIT;

	write_entry(LOG_FORMAT_JSON, LVL_DEBUG, e, &line);
	expect_harmless(&line);
	assert_null(memchr(strbuf_str(&line), '\n', line.len));
	json_t *object = json_loads(strbuf_str(&line), JSON_REJECT_DUPLICATES, NULL);
	assert_true(json_is_object(object));
	return object;
}

static const struct log_entry full = {
	.event = EV_MESSAGE_DELIVERED,
	.account = "sammel",
	.provider = "strato",
	.relay = "exchange",
	.cycle = 42,
	.uidl = "UID7",
	.message_id = "<1@x.example>",
	.sender = "s@x.example",
	.recipient = "hans@firma.example",
	.reply = "250 2.0.0 Ok",
	.reason = "why",
	.size = 4711,
	.duration_ms = 15,
	.error = "NET",
	.text = "delivered",
};

static void json_has_the_documented_fields(void **state)
{
	static const struct {
		const char *name, *value;
	} texts[] = {
		{ "level", "info" },
		{ "event", "message.delivered" },
		{ "account", "sammel" },
		{ "provider", "strato" },
		{ "relay", "exchange" },
		{ "uidl", "UID7" },
		{ "message_id", "<1@x.example>" },
		{ "sender", "s@x.example" },
		{ "recipient", "hans@firma.example" },
		{ "reply", "250 2.0.0 Ok" },
		{ "reason", "why" },
		{ "error", "NET" },
		{ "message",
			"sammel: delivered, recipient hans@firma.example (250 2.0.0 Ok): why" },
	};
	static const struct {
		const char *name;
		json_int_t value;
	} numbers[] = { { "cycle", 42 }, { "size", 4711 }, { "duration_ms", 15 } };
	json_t *object = json_of(&full);

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_string_equal(text_of(object, texts[i].name), texts[i].value);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		assert_int_equal(json_integer_value(json_object_get(object, numbers[i].name)),
			numbers[i].value);
	const char *now = text_of(object, "time"); /* RFC 3339 */
	assert_int_equal(strlen(now), strlen("2026-01-02T03:04:05.678Z"));
	assert_true(now[4] == '-' && now[10] == 'T' && now[19] == '.' && now[23] == 'Z');
	assert_int_equal(json_object_size(object), /* and nothing else but the time */
		ARRAY_LEN(texts) + ARRAY_LEN(numbers) + 1);
	json_decref(object);
}

static void absent_fields_are_absent(void **state)
{
	json_t *object = json_of(&(struct log_entry){ .event = EV_DAEMON_STARTED, .text = "up" });

	assert_int_equal(json_object_size(object), 4); /* time, level, event, message */
	assert_string_equal(text_of(object, "message"), "up");
	json_decref(object);
	object = json_of(&(struct log_entry){
		.event = EV_RELAY_DOWN, .relay = "r", .text = "gone", .reason = "gone" });
	assert_int_equal(json_object_size(object), 6);
	assert_string_equal(text_of(object, "message"), "relay r: gone"); /* not said twice */
	json_decref(object);
}

/* Everything that a peer can put into a log line, in every field that can carry it. */
static const char *const hostile[] = {
	"a\r\nlevel=error forged",
	"\n",
	"\x1b[2J\x1b]0;title\x07",
	"\x01\x7f\xc2\x80\xc2\x9b",
	"\xff\xfe\xc0\xaf\xe4",
	"\xe2\x80\xa8\xe2\x80\xae reversed",
	"\"},{\"event\":\"forged\"",
	"back\\slash",
	"%s%n",
	"",
};

static struct log_entry hostile_entry(const char *text)
{
	return (struct log_entry){ .event = EV_MESSAGE_HELD,
		.account = "sammel",
		.uidl = text,
		.message_id = text,
		.sender = text,
		.recipient = text,
		.reply = text,
		.reason = text,
		.text = text };
}

static void no_foreign_byte_gets_through_raw(void **state)
{
	AUTO(strbuf_free) struct strbuf line = STRBUF_INIT, endless = STRBUF_INIT;

	for (int i = 0; i < 100000; i++)
		strbuf_adds(&endless, "\xc3\xa4");
	for (size_t i = 0; i <= ARRAY_LEN(hostile); i++) {
		struct log_entry e =
			hostile_entry(i < ARRAY_LEN(hostile) ? hostile[i] : strbuf_str(&endless));
		json_t *object = json_of(&e);
		assert_string_equal(text_of(object, "event"), "message.held");
		assert_string_not_equal(text_of(object, "message"), "(absent)");
		json_decref(object);
		write_entry(LOG_FORMAT_TEXT, LVL_DEBUG, &e, &line);
		expect_harmless(&line);
		assert_in_range(line.len, 1, 4000);
	}
}

static void text_is_a_sentence(void **state)
{
	AUTO(strbuf_free) struct strbuf line = STRBUF_INIT;

	write_entry(LOG_FORMAT_TEXT, LVL_DEBUG, &full, &line);
	assert_string_equal(strbuf_str(&line) + strlen("2026-01-02T03:04:05.678Z"),
		" info    message.delivered sammel: delivered, recipient hans@firma.example"
		" (250 2.0.0 Ok): why [uidl UID7]");
}

/* The event has its level unless the entry says more; what is above the threshold vanishes. */
static void the_level_decides(void **state)
{
	static const struct {
		enum log_event event;
		enum log_level own, threshold;
		bool written;
	} rows[] = {
		{ EV_STATE_FAILED, 0, LVL_ERROR, true },
		{ EV_CYCLE_FAILED, 0, LVL_ERROR, false },
		{ EV_CYCLE_FAILED, 0, LVL_WARNING, true },
		{ EV_CYCLE_STARTED, 0, LVL_NOTICE, false },
		{ EV_CYCLE_STARTED, 0, LVL_INFO, true },
		{ EV_CYCLE_STARTED, LVL_DEBUG, LVL_INFO, false },
		{ EV_CYCLE_STARTED, LVL_WARNING, LVL_WARNING, true },
		{ EV_CONNECTION_OPENED, 0, LVL_INFO, false },
		{ EV_CONNECTION_OPENED, 0, LVL_DEBUG, true },
	};
	static const enum log_format formats[] = { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };
	AUTO(strbuf_free) struct strbuf line = STRBUF_INIT;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (size_t k = 0; k < ARRAY_LEN(formats); k++) {
			struct log_entry e = { .event = rows[i].event, .level = rows[i].own };
			write_entry(formats[k], rows[i].threshold, &e, &line);
			assert_int_equal(line.len > 0, rows[i].written);
		}
}

/* In place of libsystemd's: what would have gone to the journal, one field a line. */
static struct strbuf journal;

int sd_journal_sendv_with_location(
	const char *file, const char *line, const char *func, const struct iovec *iov, int n)
{
	for (int i = 0; i < n; i++) {
		strbuf_add(&journal, iov[i].iov_base, iov[i].iov_len);
		strbuf_addc(&journal, '\n');
	}
	return 0;
}

static void the_journal_gets_fields(void **state)
{
	AUTO(strbuf_free) struct strbuf line = STRBUF_INIT;
	static const char sparse[] = "MESSAGE=up\nPRIORITY=5\nMULTIDROP_EVENT=daemon.started\n"
				     "MESSAGE_ID=d12aea1b0ffe4590a8a99eb95a2718ea\n";

	write_entry(LOG_FORMAT_JOURNAL, LVL_DEBUG, &full, &line);
	assert_string_equal(strbuf_str(&line), ""); /* nothing on stderr */
	assert_string_equal(strbuf_str(&journal),
		"MESSAGE=sammel: delivered, recipient hans@firma.example (250 2.0.0 Ok): why\n"
		"PRIORITY=6\nMULTIDROP_EVENT=message.delivered\nMULTIDROP_ACCOUNT=sammel\n"
		"MULTIDROP_PROVIDER=strato\nMULTIDROP_RELAY=exchange\nMULTIDROP_CYCLE=42\n"
		"MULTIDROP_UIDL=UID7\nMULTIDROP_MESSAGE_ID=<1@x.example>\n"
		"MULTIDROP_SENDER=s@x.example\nMULTIDROP_RECIPIENT=hans@firma.example\n"
		"MULTIDROP_SIZE=4711\nMULTIDROP_REPLY=250 2.0.0 Ok\nMULTIDROP_ERROR=NET\n"
		"MULTIDROP_REASON=why\nMULTIDROP_DURATION_MS=15\n");
	strbuf_clear(&journal);
	write_entry(LOG_FORMAT_JOURNAL, LVL_DEBUG,
		&(struct log_entry){ .event = EV_DAEMON_STARTED, .text = "up" }, &line);
	assert_string_equal(strbuf_str(&journal), sparse);
	for (size_t i = 0; i < ARRAY_LEN(hostile); i++) { /* no field has a second line */
		struct log_entry e = hostile_entry(hostile[i]);
		strbuf_clear(&journal);
		write_entry(LOG_FORMAT_JOURNAL, LVL_DEBUG, &e, &line);
		struct strview rest = strbuf_view(&journal);
		while (rest.len) {
			struct strview field = sv_token(&rest, '\n');
			assert_true(sv_starts(field, SV("MESSAGE")) ||
				sv_starts(field, SV("PRIORITY=4")) ||
				sv_starts(field, SV("MULTIDROP_")));
		}
	}
	strbuf_free(&journal);
}

/* Not the journal's stream (or another one's): text. */
/* X14: the second time it is counted; the count is written at the end at the latest. */
static void repeated_failures_are_counted(void **state)
{
	static const enum log_level levels[] = { LVL_INFO, LVL_DEBUG };
	const struct log_entry e = { .event = EV_CYCLE_FAILED, .account = "a", .text = "refused" };

	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		char name[] = "/tmp/log.XXXXXX", buf[2048] = "";
		int file = mkstemp(name), saved = dup(STDERR_FILENO);
		assert_true(file >= 0 && saved >= 0);
		unlink(name);
		dup2(file, STDERR_FILENO);
		log_sink_open(LOG_FORMAT_TEXT, levels[i]);
		log_sink_buffer(true);
		for (int n = 0; n < 4; n++)
			log_write(&e);
		log_sink_buffer(false);
		dup2(saved, STDERR_FILENO);
		log_sink = NULL;
		close(saved);
		assert_true(pread(file, buf, sizeof buf - 1, 0) > 0);
		close(file);
		char *first = strstr(buf, "a: refused"),
		     *sum = strstr(buf, "a: 3 times more since ");
		assert_non_null(first);
		if (levels[i] == LVL_DEBUG) { /* who debugs sees each */
			assert_null(sum);
			assert_non_null(strstr(first + 1, "a: refused"));
			continue;
		}
		assert_true(sum > first);
		assert_non_null(strstr(sum, "Z: refused\n"));
		assert_null(strstr(first + 1, "a: refused"));
	}
}

static void auto_means_text_outside_the_journal(void **state)
{
	static const char *const streams[] = { NULL, "", "1:1", "nonsense" };
	AUTO(strbuf_free) struct strbuf line = STRBUF_INIT;

	for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
		if (streams[i])
			setenv("JOURNAL_STREAM", streams[i], 1);
		else
			unsetenv("JOURNAL_STREAM");
		write_entry(LOG_FORMAT_AUTO, LVL_DEBUG, &full, &line);
		assert_non_null(strstr(strbuf_str(&line), " message.delivered sammel: "));
	}
	unsetenv("JOURNAL_STREAM");
}

static void reads_the_names_of_options(void **state)
{
	static const char *const formats[] = { "auto", "journal", "text", "json" };
	static const char *const levels[] = { "error", "warning", "notice", "info", "debug" };
	static const char *const others[] = { "", "JSON", "jso", "json ", "warn", "0" };
	enum log_format format;
	enum log_level level;

	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		assert_int_equal(log_format_parse(formats[i], &format), 0);
		assert_int_equal(format, i);
	}
	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		assert_int_equal(log_level_parse(levels[i], &level), 0);
		assert_int_equal(level, i);
	}
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		assert_int_equal(log_format_parse(others[i], &format), 1);
		assert_int_equal(log_level_parse(others[i], &level), 1);
	}
}

/* Catalog ids are for ever and each its own; an event that needs an operator has one. */
static void events_have_names_and_ids(void **state)
{
	for (int i = 0; i < EV_COUNT; i++) {
		const char *id = log_event_id((enum log_event)i);
		assert_non_null(strchr(log_event_name((enum log_event)i), '.'));
		if (!id)
			assert_true(log_event_level((enum log_event)i) > LVL_WARNING);
		else
			assert_int_equal(strspn(id, "0123456789abcdef"), 32);
		for (int k = 0; k < i; k++) {
			const char *other = log_event_id((enum log_event)k);
			assert_true(!id || !other || strcmp(id, other));
			assert_string_not_equal(log_event_name((enum log_event)i),
				log_event_name((enum log_event)k));
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_has_the_documented_fields),
		cmocka_unit_test(absent_fields_are_absent),
		cmocka_unit_test(no_foreign_byte_gets_through_raw),
		cmocka_unit_test(text_is_a_sentence),
		cmocka_unit_test(the_level_decides),
		cmocka_unit_test(the_journal_gets_fields),
		cmocka_unit_test(repeated_failures_are_counted),
		cmocka_unit_test(auto_means_text_outside_the_journal),
		cmocka_unit_test(reads_the_names_of_options),
		cmocka_unit_test(events_have_names_and_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
