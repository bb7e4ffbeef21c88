/*
 * The three forms of the log; see log_sink.h.
 *
 * One table says which fields there are, in which order and under which name; each form walks it.
 * The level, the form, and what is counted instead of written (base/repeat.h) are the only state,
 * and who else is told.
 */
#include "log_sink.h"

#include "base/encode.h"
#include "base/repeat.h"
#include "system.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

enum kind { TEXT, NUMBER };

static const struct field {
	const char *name; /* JSON; the journal's is MULTIDROP_ and upper case */
	enum kind kind;
	size_t offset;
} fields[] = {
	{ "account", TEXT, offsetof(struct log_entry, account) },
	{ "provider", TEXT, offsetof(struct log_entry, provider) },
	{ "relay", TEXT, offsetof(struct log_entry, relay) },
	{ "cycle", NUMBER, offsetof(struct log_entry, cycle) },
	{ "uidl", TEXT, offsetof(struct log_entry, uidl) },
	{ "message_id", TEXT, offsetof(struct log_entry, message_id) },
	{ "sender", TEXT, offsetof(struct log_entry, sender) },
	{ "recipient", TEXT, offsetof(struct log_entry, recipient) },
	{ "size", NUMBER, offsetof(struct log_entry, size) },
	{ "reply", TEXT, offsetof(struct log_entry, reply) },
	{ "error", TEXT, offsetof(struct log_entry, error) },
	{ "reason", TEXT, offsetof(struct log_entry, reason) },
	{ "duration_ms", NUMBER, offsetof(struct log_entry, duration_ms) },
	{ "repeated", NUMBER, offsetof(struct log_entry, repeated) },
};

#define BUFFER_OCTETS (64 * 1024)
#define FIXED_FIELDS  4 /* MESSAGE, PRIORITY, MULTIDROP_EVENT, MESSAGE_ID */

static const int priorities[] = { [LVL_ERROR] = LOG_ERR,
	[LVL_WARNING] = LOG_WARNING,
	[LVL_NOTICE] = LOG_NOTICE,
	[LVL_INFO] = LOG_INFO,
	[LVL_DEBUG] = LOG_DEBUG };
static_assert(ARRAY_LEN(priorities) == LVL_COUNT, "one priority per level");

static enum log_level max_level;
static struct strbuf pending; /* lines of this turn of the loop, text and JSON */
static bool buffered;
static size_t columns; /* of the terminal that a live line may be on; 0: there is none */
static bool live;      /* it is there, without an LF */
static struct repeat repeats;
static void (*write_form)(const struct log_entry *e, enum log_level level);
static void (*also)(void *ctx, const struct log_entry *e, enum log_level level);
static void *also_ctx;

static void write_entry(const struct log_entry *e, enum log_level level)
{
	write_form(e, level);
	if (also)
		also(also_ctx, e, level);
}

/* The escaped value of a field; false: it is absent. */
static bool field_value(const struct log_entry *e, const struct field *f, struct strbuf *out)
{
	const char *at = (const char *)e + f->offset;

	if (f->kind == NUMBER) {
		uint64_t n = *(const uint64_t *)at;
		if (n)
			strbuf_addf(out, "%" PRIu64, n);
		return n;
	}
	const char *text = *(const char *const *)at;
	if (text)
		escape_foreign(out, sv_str(text));
	return text;
}

/* "sammel: delivered, recipient hans@firma.example (250 2.0.0 Ok)" */
static void sentence(const struct log_entry *e, struct strbuf *out)
{
	if (e->account)
		strbuf_addf(out, "%s: ", e->account);
	else if (e->relay)
		strbuf_addf(out, "relay %s: ", e->relay);
	if (e->text)
		escape_foreign(out, sv_str(e->text));
	if (e->recipient) {
		strbuf_adds(out, ", recipient ");
		escape_foreign(out, sv_str(e->recipient));
	}
	if (e->reply && *e->reply) {
		strbuf_adds(out, " (");
		escape_foreign(out, sv_str(e->reply));
		strbuf_adds(out, ")");
	}
	if (e->reason && !(e->text && strstr(e->text, e->reason))) {
		strbuf_adds(out, ": ");
		escape_foreign(out, sv_str(e->reason));
	}
}

/* The civil time `ago` milliseconds before now. */
static void format_time(char out[40], msec_t ago)
{
	wall_t at = system_clock.wall(&system_clock) - ago;
	time_t second = at / 1000;
	struct tm tm;
	char seconds[24];

	gmtime_r(&second, &tm);
	strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out, 40, "%s.%03dZ", seconds, (int)(at % 1000));
}

/* What was counted instead of written: now, if it is due. */
static void write_summaries(bool all)
{
	struct repeat_summary sum;
	msec_t now = system_clock.now(&system_clock);

	while (repeat_next(&repeats, now, all, &sum)) {
		AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;
		char since[40];
		format_time(since, sum.age);
		strbuf_addf(&text, "%" PRIu64 " time%s more since %s: %s", sum.entry.repeated,
			sum.entry.repeated == 1 ? "" : "s", since,
			sum.entry.text ? sum.entry.text : "");
		sum.entry.text = strbuf_str(&text);
		write_entry(&sum.entry, sum.level);
	}
}

/* To the begin of the line, and nothing behind it. */
static const char wipe_line[] = "\r\033[K";

static void write_pending(void)
{
	if (live && pending.len)
		log_sink_live("");
	/* Whole lines in one write, so that those of several processes do not mix. */
	if (pending.len)
		(void)!write(
			STDERR_FILENO, pending.ptr, pending.len); /* nowhere left to complain */
	strbuf_clear(&pending);
}

bool log_sink_has_live(void)
{
	return columns;
}

void log_sink_live(const char *text)
{
	AUTO(strbuf_free) struct strbuf line = STRBUF_INIT;

	if (!columns || (!live && !*text))
		return;
	strbuf_addf(&line, "%s%.*s", wipe_line, (int)columns - 1, text);
	live = *text;
	(void)!write(STDERR_FILENO, line.ptr, line.len); /* nowhere left to complain */
}

void log_sink_flush(void)
{
	write_summaries(false);
	write_pending();
}

static void write_line(struct strbuf *line)
{
	strbuf_addc(line, '\n');
	strbuf_addv(&pending, strbuf_view(line));
	if (!buffered || pending.len > BUFFER_OCTETS)
		write_pending();
}

void log_sink_buffer(bool on)
{
	buffered = on;
	write_summaries(!on); /* the loop ends: what is counted would be lost */
	write_pending();
}

static void write_text(const struct log_entry *e, enum log_level level)
{
	AUTO(strbuf_free) struct strbuf line = STRBUF_INIT;
	AUTO(strbuf_free) struct strbuf value = STRBUF_INIT;
	char now[40];

	format_time(now, 0);
	strbuf_addf(&line, "%s %-7s %s ", now, log_level_name(level), log_event_name(e->event));
	sentence(e, &line);
	if (e->uidl) {
		escape_foreign(&value, sv_str(e->uidl));
		strbuf_addf(&line, " [uidl %s]", value.ptr);
	}
	write_line(&line);
}

/* "name":"value", where the value is escaped already: quotes and backslashes are what JSON adds. */
static void json_member(struct strbuf *line, const char *name, struct strview value)
{
	strbuf_addc(line, line->len ? ',' : '{');
	strbuf_addc(line, '"');
	strbuf_adds(line, name);
	strbuf_adds(line, "\":\"");
	for (size_t i = 0, n; i < value.len; i += n) {
		for (n = 0;
			i + n < value.len && value.ptr[i + n] != '"' && value.ptr[i + n] != '\\';
			n++)
			;
		strbuf_add(line, value.ptr + i, n);
		if (i + n < value.len) {
			strbuf_addc(line, '\\');
			strbuf_addc(line, value.ptr[i + n++]);
		}
	}
	strbuf_addc(line, '"');
}

static void json_number(struct strbuf *line, const char *name, struct strview digits)
{
	strbuf_adds(line, ",\"");
	strbuf_adds(line, name);
	strbuf_adds(line, "\":");
	strbuf_addv(line, digits);
}

/* A line is not a document: made by hand, it costs a tenth of what a library takes for it. */
static void write_json(const struct log_entry *e, enum log_level level)
{
	AUTO(strbuf_free) struct strbuf line = STRBUF_INIT;
	AUTO(strbuf_free) struct strbuf value = STRBUF_INIT;
	char now[40];

	format_time(now, 0);
	json_member(&line, "time", sv_str(now));
	json_member(&line, "level", sv_str(log_level_name(level)));
	json_member(&line, "event", sv_str(log_event_name(e->event)));
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		const struct field *f = &fields[i];
		strbuf_clear(&value);
		if (field_value(e, f, &value))
			(f->kind == TEXT ? json_member : json_number)(
				&line, f->name, strbuf_view(&value));
	}
	strbuf_clear(&value);
	sentence(e, &value);
	json_member(&line, "message", strbuf_view(&value));
	strbuf_addc(&line, '}');
	write_line(&line);
}

static void journal_field(struct strbuf *all, size_t ends[], size_t *n, const char *text)
{
	strbuf_adds(all, text);
	ends[(*n)++] = all->len;
}

static void journal_name(struct strbuf *out, const char *name)
{
	strbuf_adds(out, "MULTIDROP_");
	for (; *name; name++)
		strbuf_addc(out, *name >= 'a' && *name <= 'z' ? (char)(*name - 'a' + 'A') : *name);
	strbuf_addc(out, '=');
}

static void write_journal(const struct log_entry *e, enum log_level level)
{
	AUTO(strbuf_free) struct strbuf all = STRBUF_INIT; /* the fields one behind the other */
	size_t ends[ARRAY_LEN(fields) + FIXED_FIELDS], n = 0;
	struct iovec iov[ARRAY_LEN(fields) + FIXED_FIELDS];

	strbuf_adds(&all, "MESSAGE=");
	sentence(e, &all);
	journal_field(&all, ends, &n, "");
	strbuf_addf(&all, "PRIORITY=%d", priorities[level]);
	journal_field(&all, ends, &n, "");
	strbuf_adds(&all, "MULTIDROP_EVENT=");
	journal_field(&all, ends, &n, log_event_name(e->event));
	if (log_event_id(e->event)) {
		strbuf_adds(&all, "MESSAGE_ID=");
		journal_field(&all, ends, &n, log_event_id(e->event));
	}
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		AUTO(strbuf_free) struct strbuf value = STRBUF_INIT;
		if (!field_value(e, &fields[i], &value))
			continue;
		journal_name(&all, fields[i].name);
		journal_field(&all, ends, &n, strbuf_str(&value));
	}
	for (size_t i = 0, start = 0; i < n; start = ends[i++])
		iov[i] = (struct iovec){ all.ptr + start, ends[i] - start };
	(void)sd_journal_sendv(iov, (int)n); /* nowhere left to complain */
}

static void sink(const struct log_entry *e, enum log_level level)
{
	bool count = max_level < LVL_DEBUG; /* who debugs wants to see all */

	if (count)
		repeat_end(&repeats, e);
	write_summaries(false);
	if (level <= max_level &&
		(!count || repeat_admit(&repeats, e, level, system_clock.now(&system_clock))))
		write_entry(e, level);
	if (e->event == EV_INTERNAL_ERROR)
		log_sink_flush(); /* the process is about to end */
}

/* systemd.exec(5): JOURNAL_STREAM holds device and inode of the journal's stream. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	AUTO(strbuf_free) struct strbuf ours = STRBUF_INIT;
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st))
		return false;
	strbuf_addf(&ours, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return !strcmp(stream, ours.ptr);
}

void log_sink_open(enum log_format format, enum log_level level)
{
	if (format == LOG_FORMAT_AUTO)
		format = stderr_is_journal() ? LOG_FORMAT_JOURNAL : LOG_FORMAT_TEXT;
	write_form = format == LOG_FORMAT_JOURNAL ? write_journal
		: format == LOG_FORMAT_JSON       ? write_json
						  : write_text;
	struct winsize size;
	columns = 0;
	if (write_form == write_text && isatty(STDERR_FILENO))
		columns =
			ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || !size.ws_col ? 80 : size.ws_col;
	max_level = level;
	repeat_free(&repeats);
	log_sink = sink;
}

void log_sink_also(
	void (*fn)(void *ctx, const struct log_entry *e, enum log_level level), void *ctx)
{
	also = fn;
	also_ctx = ctx;
}

int log_format_parse(const char *name, enum log_format *out)
{
	static const char *const names[] = { "auto", "journal", "text", "json" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(names[i], name)) {
			*out = (enum log_format)i;
			return 0;
		}
	return 1;
}

int log_level_parse(const char *name, enum log_level *out)
{
	for (int i = 0; i < LVL_COUNT; i++)
		if (!strcmp(log_level_name((enum log_level)i), name)) {
			*out = (enum log_level)i;
			return 0;
		}
	return 1;
}
