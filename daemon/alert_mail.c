/*
 * The words of an alert; see alert_mail.h. Owns nothing.
 *
 * One row for each kind. In a row "@" is the name of the account or relay, "#" the number of
 * events; a step is a sentence and the command that goes with it. What is also said elsewhere comes
 * from advice.h.
 *
 * No Precedence field: it is no standard, and filters file "bulk" away. Auto-Submitted (RFC 3834)
 * and the null sender keep vacation programs quiet. Nothing foreign is in the header, and names are
 * ASCII, so no encoded words are needed.
 */
#include "alert_mail.h"

#include "advice.h"
#include "base/encode.h"
#include "mail/address.h"
#include "mail/rewrite.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <time.h>

#define STEPS_MAX 4
#define STEP(text, command)                                                                        \
	{                                                                                          \
		text, command                                                                      \
	}

static const char without_header[] =
	"Such a message goes where `unresolved` of the account says: to its postmaster, with the "
	"reason on top, or it is held. The one it is for does not have it.";

static const struct row {
	const char *subject, *what, *means;
	struct {
		const char *text, *command;
	} steps[STEPS_MAX];
} rows[] = {
	[ALERT_SUSPENDED] = { "account @ is suspended: its password is refused",
		"The provider has refused user or password of account @ again and again. "
		"multidropd does not log in there any more, so that the provider does not lock "
		"the account.",
		"Its mail stays in the maildrop at the provider. Nothing is lost, but nothing "
		"arrives until this is corrected.",
		{ ADVICE_PASSWORD(STEP), ADVICE_RESUME(STEP),
			{ "Look whether it works again:", "multidropctl status @" } } },
	[ALERT_ENVELOPE_CHANGED] = { "account @: the envelope header has stopped coming",
		"The header that says whom a message is for was in nearly every message of account "
		"@, and is missing in the latest ones. The provider has probably changed "
		"something.",
		without_header,
		{ { "Find out which header it is now:", "multidropctl probe -a @" },
			{ "Put the section that it prints into the configuration, then:",
				"multidropctl reload" },
			ADVICE_HELD(STEP),
			{ "What was held for that reason can then go out:",
				"multidropctl held release ID" } } },
	[ALERT_ENVELOPE_MISSING] = { "account @: # without the envelope header",
		"# of account @ came without an envelope header where the provider should put "
		"it.",
		without_header,
		{ { "Which messages these were:",
			  "journalctl -u multidropd MULTIDROP_EVENT=envelope.missing" },
			ADVICE_HELD(STEP),
			{ "If it happens with many, find out which header it is now:",
				"multidropctl probe -a @" } } },
	[ALERT_HELD] = { "account @: # held",
		"# of account @ could not be delivered, and somebody has to decide.",
		"What is held stays in the maildrop at the provider; it is not fetched again and "
		"not deleted. It has not reached everybody it is for, unless its reason says that "
		"it was delivered.",
		{ ADVICE_HELD(STEP),
			{ "Look at one, by its number in that list:", "multidropctl held show ID" },
			{ "Try it again, when the cause is gone:", "multidropctl held release ID" },
			{ "Or have it deleted at the provider:",
				"multidropctl held discard ID" } } },
	[ALERT_RELAY_DOWN] = { "relay @ is down", "The mail server behind relay @ cannot be used.",
		"Nothing is fetched for it: its mail waits in the maildrops at the providers, and "
		"comes by itself when the server is back.",
		{ { ADVICE_RELAY ". How things are:", "multidropctl status" } } },
	[ALERT_RELAY_UP] = { "relay @ is back", "The mail server behind relay @ can be used again.",
		"What has waited at the providers is fetched now. Nothing has to be done.",
		{ { "How things are:", "multidropctl status" } } },
};
static_assert(ARRAY_LEN(rows) == ALERT_KIND_COUNT, "one row per kind");

/* ---- text ---- */

/* Octets of the first word, at most `max`, and not through the middle of a character. */
static size_t word_octets(struct strview text, size_t max)
{
	size_t n = 0;

	while (n < text.len && n < max && text.ptr[n] != ' ')
		n++;
	while (n && n < text.len && (text.ptr[n] & 0xc0) == 0x80)
		n--;
	return n;
}

/* Lines of `text`, filled; each begins with `prefix`, the first but if `column` says where it is.
 */
static void add_filled(struct strbuf *out, const char *prefix, size_t column, struct strview text)
{
	size_t indent = strlen(prefix), at = column;

	if (!column) {
		strbuf_adds(out, prefix);
		at = indent;
	}
	bool fresh = true; /* nothing stands on this line yet that a blank would divide */
	while (text.len) {
		if (text.ptr[0] == ' ') {
			text = sv_skip(text, 1);
			continue;
		}
		size_t n = word_octets(text, ALERT_LINE_OCTETS - indent);
		if (!fresh && at + 1 + n > ALERT_LINE_OCTETS) {
			strbuf_addf(out, "\r\n%s", prefix);
			at = indent;
			fresh = true;
		}
		strbuf_adds(out, fresh ? "" : " ");
		strbuf_add(out, text.ptr, n);
		at += n + !fresh;
		fresh = false;
		text = sv_skip(text, n);
	}
	strbuf_adds(out, "\r\n");
}

/* "3 messages", for "#". */
static void add_number(struct strbuf *out, uint32_t n)
{
	strbuf_addf(out, "%" PRIu32 " message%s", n, n == 1 ? "" : "s");
}

static void expand(const struct alert *a, const char *text, struct strbuf *out)
{
	for (; *text; text++) {
		if (*text == '@')
			strbuf_adds(out, a->name);
		else if (*text == '#')
			add_number(out, a->count);
		else
			strbuf_addc(out, *text);
	}
}

static void add_paragraph(const struct alert *a, const char *text, struct strbuf *out)
{
	AUTO(strbuf_free) struct strbuf said = STRBUF_INIT;

	expand(a, text, &said);
	add_filled(out, "", 0, strbuf_view(&said));
	strbuf_adds(out, "\r\n");
}

/* A peer's words, under a name of ours. */
static void add_quoted(struct strbuf *out, const char *name, const char *foreign)
{
	AUTO(strbuf_free) struct strbuf line = STRBUF_INIT;

	if (!foreign || !*foreign)
		return;
	strbuf_addf(&line, "%s: ", name);
	escape_foreign(&line, sv_str(foreign));
	add_filled(out, "> ", 0, strbuf_view(&line));
}

static void add_quotes(const struct alert *a, struct strbuf *out)
{
	static const char *const names[ALERT_TEXT_COUNT] = {
		[ALERT_PROVIDER] = "provider",
		[ALERT_REASON] = "reason",
		[ALERT_REPLY] = "answer",
		[ALERT_SENDER] = "sender",
	};
	size_t before;

	if (a->count > 1)
		strbuf_adds(out, "The latest one:\r\n\r\n");
	before = out->len;
	for (size_t i = 0; i < ALERT_TEXT_COUNT; i++)
		add_quoted(out, names[i], a->texts[i]);
	if (out->len > before)
		strbuf_adds(out, "\r\n");
}

static void add_time(struct strbuf *out, wall_t at)
{
	time_t second = at / 1000;
	struct tm tm;
	char text[40];

	localtime_r(&second, &tm);
	strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %z", &tm);
	strbuf_adds(out, text);
}

/* Since when; and how often since the last mail about it, when it was more than once. */
static void add_when(const struct alert *a, struct strbuf *out)
{
	AUTO(strbuf_free) struct strbuf said = STRBUF_INIT;

	if (a->kind == ALERT_RELAY_UP && a->down_at) {
		strbuf_adds(&said, "It was down from ");
		add_time(&said, a->down_at);
		strbuf_adds(&said, " to ");
		add_time(&said, a->last_at);
	} else {
		strbuf_adds(&said, a->count > 1 ? "At last at " : "Since ");
		add_time(&said, a->last_at);
	}
	if (a->count > 1) {
		strbuf_addf(&said, "; %" PRIu32 " times since ", a->count);
		add_time(&said, a->first_at);
	}
	strbuf_addc(&said, '.');
	add_filled(out, "", 0, strbuf_view(&said));
	strbuf_adds(out, "\r\n");
}

static void add_steps(const struct alert *a, const struct row *row, struct strbuf *out)
{
	strbuf_adds(out, "What to do\r\n\r\n");
	for (size_t i = 0; i < STEPS_MAX && row->steps[i].text; i++) {
		AUTO(strbuf_free) struct strbuf text = STRBUF_INIT, command = STRBUF_INIT;
		expand(a, row->steps[i].text, &text);
		expand(a, row->steps[i].command, &command);
		text.ptr[0] = (char)toupper((unsigned char)text.ptr[0]);
		add_filled(out, "  ", 0, strbuf_view(&text));
		strbuf_addf(out, "      %s\r\n\r\n", strbuf_str(&command));
	}
}

/* ---- header ---- */

static void add_date(struct strbuf *out, wall_t at)
{
	time_t second = at / 1000;
	struct tm tm;
	char date[64];

	gmtime_r(&second, &tm);
	strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", &tm); /* C locale: RFC 5322 */
	strbuf_addf(out, "Date: %s\r\n", date);
}

static bool is_ascii(struct strview text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.ptr[i] > 126)
			return false;
	return true;
}

static void add_head(
	const struct alert *a, const struct alert_mail *m, bool ascii, struct strbuf *out)
{
	AUTO(mem_freep) char *host = domain_normal(sv_str(m->hostname));
	AUTO(strbuf_free) struct strbuf subject = STRBUF_INIT;
	const char *domain = host ? host : "localhost";

	strbuf_adds(&subject, "Subject: [multidropd] ");
	expand(a, rows[a->kind].subject, &subject);
	add_date(out, m->now);
	strbuf_addf(out, "Message-ID: <%s@%s>\r\n", m->id, domain);
	strbuf_addf(out, "From: multidropd <multidropd@%s>\r\n", domain);
	strbuf_addf(out, "To: <%s>\r\n", m->to);
	add_filled(out, " ", 1, strbuf_view(&subject));
	strbuf_adds(out, "Auto-Submitted: auto-generated\r\n");
	strbuf_addf(
		out, ALERT_MAIL_FIELD ": %s;\r\n id=%s\r\n", alert_kind_name(a->kind), m->proof);
	strbuf_addf(out,
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
		"Content-Transfer-Encoding: %s\r\n\r\n",
		ascii ? "7bit" : "8bit");
}

void alert_mail_write(
	const struct alert *a, const struct alert_mail *m, struct strbuf *head, struct strbuf *body)
{
	const struct row *row = &rows[a->kind];
	AUTO(strbuf_free) struct strbuf footer = STRBUF_INIT;

	add_paragraph(a, row->what, body);
	add_when(a, body);
	add_quotes(a, body);
	add_paragraph(a, row->means, body);
	add_steps(a, row, body);
	strbuf_addf(&footer,
		"multidropd on %s. Such a mail comes at most once an hour for each account or "
		"relay; `alert_to` in its configuration says to whom.",
		m->hostname);
	strbuf_adds(body, "-- \r\n");
	add_filled(body, "", 0, strbuf_view(&footer));
	add_head(a, m, is_ascii(strbuf_view(body)), head);
}
