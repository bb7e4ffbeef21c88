/*
 * SMTP replies and EHLO keywords; see smtp_reply.h.
 *
 * Owns the line that is not finished yet. Invariants: `code` is the one that all lines of the reply
 * so far agree on (RFC 5321 section 4.2.1), 0 before the first; a reply never costs more memory
 * than one line, however many it has.
 */
#include "proto/smtp_reply.h"

#include "proto/sasl.h"

#include <assert.h>
#include <stddef.h>

void smtp_reader_init(struct smtp_reader *r)
{
	*r = (struct smtp_reader){ 0 };
	line_init(&r->lines, SMTP_LINE_MAX_OCTETS, false);
}

void smtp_reader_free(struct smtp_reader *r)
{
	line_free(&r->lines);
}

/* The code at the start of a line; 0: none that a client may act on (RFC 5321 section 4.2). */
static int line_code(struct strview line)
{
	uint64_t code = 0;

	if (line.len < 3 || !sv_number(sv(line.ptr, 3), 599, &code) || code < 200)
		return 0;
	if (line.len > 3 && line.ptr[3] != ' ' && line.ptr[3] != '-')
		return 0;
	return (int)code;
}

static void keep(struct smtp_reply *reply, int code, struct strview text)
{
	size_t len = text.len < SMTP_TEXT_MAX_OCTETS ? text.len : SMTP_TEXT_MAX_OCTETS;

	reply->code = code;
	if (len)
		memcpy(reply->text, text.ptr, len);
	reply->text[len] = '\0';
}

static enum smtp_read reader_line(struct smtp_reader *r, struct strview line)
{
	int code = line_code(line);
	struct strview text = sv_skip(line, 4);

	r->line = code ? text : line;
	if (++r->nlines > SMTP_REPLY_MAX_LINES)
		return SMTP_READ_LIMIT;
	if (!code || (r->code && code != r->code)) {
		keep(&r->reply, 0, line);
		return SMTP_READ_GARBAGE;
	}
	r->code = code;
	if (r->ext && code / 100 == 2 && r->nlines > 1)
		smtp_ext_line(r->ext, text);
	if (line.len > 3 && line.ptr[3] == '-')
		return SMTP_READ_MORE;
	keep(&r->reply, code, text);
	r->code = 0;
	r->nlines = 0;
	r->octets = 0;
	return SMTP_READ_REPLY;
}

enum smtp_read smtp_reader_feed(struct smtp_reader *r, const char *buf, size_t len, size_t *used)
{
	enum smtp_read result = SMTP_READ_MORE;

	r->line = (struct strview){ 0 };
	*used = 0;
	while (result == SMTP_READ_MORE && *used < len) {
		struct strview line;
		size_t n;
		enum line_result got = line_feed(&r->lines, buf + *used, len - *used, &n, &line);
		*used += n;
		if (got == LINE_TOO_LONG || n > SMTP_REPLY_MAX_OCTETS - r->octets)
			return SMTP_READ_LIMIT;
		r->octets += (uint32_t)n;
		if (got == LINE_BARE_LF) {
			r->line = SV("a bare LF");
			keep(&r->reply, 0, r->line);
			return SMTP_READ_GARBAGE;
		}
		if (got == LINE_OK)
			result = reader_line(r, line);
	}
	return result;
}

/* ---- EHLO ---- */

struct word {
	struct strview name;
	size_t flag; /* offset of the bool in struct smtp_ext */
};

static const struct word keywords[] = {
	{ SV("8BITMIME"), offsetof(struct smtp_ext, eightbitmime) },
	{ SV("AUTH"), offsetof(struct smtp_ext, auth) },
	{ SV("CHUNKING"), offsetof(struct smtp_ext, chunking) },
	{ SV("DSN"), offsetof(struct smtp_ext, dsn) },
	{ SV("ENHANCEDSTATUSCODES"), offsetof(struct smtp_ext, enhanced) },
	{ SV("PIPELINING"), offsetof(struct smtp_ext, pipelining) },
	{ SV("SIZE"), offsetof(struct smtp_ext, size) },
	{ SV("SMTPUTF8"), offsetof(struct smtp_ext, smtputf8) },
	{ SV("STARTTLS"), offsetof(struct smtp_ext, starttls) },
	{ SV("XFORWARD"), offsetof(struct smtp_ext, xforward) },
};

static const struct word attributes[] = {
	{ SV("ADDR"), offsetof(struct smtp_ext, xforward_addr) },
	{ SV("NAME"), offsetof(struct smtp_ext, xforward_name) },
};

static void set_flag(struct smtp_ext *ext, const struct word *words, size_t n, struct strview name)
{
	for (size_t i = 0; i < n; i++)
		if (sv_ieq(words[i].name, name))
			*(bool *)((char *)ext + words[i].flag) = true;
}

void smtp_ext_line(struct smtp_ext *ext, struct strview line)
{
	struct strview rest = sv_trim(line);
	struct strview name = sv_token(&rest, ' ');

	set_flag(ext, keywords, ARRAY_LEN(keywords), name);
	if (sv_ieq(name, SV("SIZE")) && !sv_number(sv_trim(rest), UINT64_MAX, &ext->size_max))
		ext->size_max = 0; /* RFC 1870 section 4: without a number, no fixed limit */
	while (sv_ieq(name, SV("AUTH")) && rest.len)
		sasl_offered(&ext->sasl, sv_token(&rest, ' '));
	while (sv_ieq(name, SV("XFORWARD")) && rest.len)
		set_flag(ext, attributes, ARRAY_LEN(attributes), sv_token(&rest, ' '));
}

/* ---- outcomes ---- */

static const char *const outcomes[] = {
	[SMTP_PENDING] = "pending",
	[SMTP_ACCEPTED] = "accepted",
	[SMTP_LATER] = "later",
	[SMTP_TOO_MANY] = "too-many",
	[SMTP_UNKNOWN] = "unknown",
	[SMTP_REJECTED] = "rejected",
	[SMTP_CONNECTION] = "connection",
	[SMTP_IN_DOUBT] = "in-doubt",
};
static_assert(ARRAY_LEN(outcomes) == SMTP_OUTCOME_COUNT, "one name per outcome");

const char *smtp_outcome_name(enum smtp_outcome o)
{
	return outcomes[o];
}

enum smtp_outcome smtp_refusal(int code)
{
	return code < 500 ? SMTP_LATER : SMTP_REJECTED;
}

/* RFC 5321 section 4.5.3.1.10: 452, and 552 of old servers, says that there were too many. */
enum smtp_outcome smtp_rcpt_refusal(int code, size_t taken)
{
	if (code == 452 || code == 552)
		return taken ? SMTP_TOO_MANY : SMTP_LATER;
	return code < 500 ? SMTP_LATER : SMTP_UNKNOWN;
}

enum smtp_outcome smtp_dot_outcome(const struct smtp_reply *reply, bool lmtp)
{
	struct strview text = sv_str(reply->text);
	bool mailbox = sv_starts(text, SV("5.1.")) || sv_starts(text, SV("5.2."));

	if (reply->code < 400)
		return SMTP_ACCEPTED;
	return lmtp && mailbox ? SMTP_UNKNOWN : smtp_refusal(reply->code);
}
