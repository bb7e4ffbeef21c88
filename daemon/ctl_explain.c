/*
 * multidropctl explain: one stored message, and the argument by which it goes where it goes.
 *
 * Owns the spool, the header and the resolution of that message. The way is the daemon's: the spool
 * says whether LF is the line end, then header, then resolve() with the account's rules.
 */
#include "base/encode.h"
#include "ctl.h"
#include "spool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define READ_OCTETS       (16 * 1024)
#define LINE_COLUMNS      90 /* of a header line are shown */
#define MARKS_OF_ONE_LINE 20 /* candidates of a header line that are listed */

struct explanation {
	const struct conf_account *account;
	const char *name; /* of the message */
	struct header header;
	struct resolution res;
};

/* ---- the message ---- */

static int fill_spool(struct spool *spool, FILE *in, const char *name)
{
	char buf[READ_OCTETS];
	size_t n;
	struct err err;

	while ((n = fread(buf, 1, sizeof buf, in)))
		if (spool_add(spool, sv(buf, n), &err))
			return ctl_fail("%s", err.text);
	if (ferror(in))
		return ctl_fail("%s: %s", name, strerror(errno));
	return spool_end(spool, &err) ? ctl_fail("%s", err.text) : 0;
}

static int parse(struct spool *spool, struct header *h)
{
	char buf[READ_OCTETS];
	struct strview data;
	uint64_t at = 0;
	struct err err;

	header_init(h, !spool_has_crlf(spool));
	do {
		if (spool_read(spool, at, buf, sizeof buf, &data, &err))
			return ctl_fail("%s", err.text);
		at += header_push(h, data.ptr, data.len);
	} while (data.len && h->state == HEADER_MORE);
	header_end(h);
	return 0;
}

static bool is_message(const struct header *h)
{
	for (size_t i = 0; i < h->n; i++)
		if (!h->fields[i].malformed)
			return true;
	return false;
}

static int read_message(struct explanation *x, FILE *in)
{
	const char *dir = getenv("TMPDIR");
	struct spool_area area = { .dir = dir && *dir ? dir : P_tmpdir };
	struct spool *spool = spool_new(&area);
	int status = fill_spool(spool, in, x->name);

	if (!status)
		status = parse(spool, &x->header);
	if (!status && !is_message(&x->header))
		status = ctl_fail("%s is no message: it has no header field", x->name);
	spool_free(spool);
	return status;
}

static int open_message(struct explanation *x, const char *path)
{
	bool from_stdin = !strcmp(path, "-");
	FILE *in = from_stdin ? stdin : fopen(path, "re");

	x->name = from_stdin ? "standard input" : path;
	if (!in)
		return ctl_fail("%s: %s", path, strerror(errno));
	int status = read_message(x, in);
	if (!from_stdin)
		(void)fclose(in); /* only read */
	return status;
}

/* ---- as an argument ---- */

/* One physical line: its leading white space shows that it is folded. */
static void add_line(struct strbuf *out, uint32_t number, struct strview line)
{
	struct strview text = sv_trim(line);
	size_t cut = text.len;
	bool folded = line.len && (line.ptr[0] == ' ' || line.ptr[0] == '\t');

	if (cut > LINE_COLUMNS) {
		cut = LINE_COLUMNS;
		while (cut && (text.ptr[cut] & 0xc0) == 0x80) /* not inside a character */
			cut--;
	}
	strbuf_addf(out, "%5" PRIu32 "  %s", number, folded ? "    " : "");
	escape_foreign(out, sv(text.ptr, cut));
	strbuf_adds(out, cut < text.len ? "...\n" : "\n");
}

/* Counts as the header does: a bare LF in a message of CRLF lines ends none. */
static void add_field(struct strbuf *out, const struct header *h, const struct header_field *f)
{
	struct strview eol = h->lf_ended ? SV("\n") : SV("\r\n"), rest = f->raw;
	uint32_t number = f->line;

	while (rest.len) {
		const char *end = memmem(rest.ptr, rest.len, eol.ptr, eol.len);
		size_t octets = end ? (size_t)(end - rest.ptr) : rest.len;
		add_line(out, number++, sv(rest.ptr, octets));
		rest = sv_skip(rest, octets + eol.len);
	}
}

static void add_marks(struct strbuf *out, const struct explanation *x, uint32_t line)
{
	size_t marks = 0;

	for (size_t i = 0; i < x->res.ncandidates; i++) {
		const struct candidate *c = &x->res.candidates[i];
		if (c->line != line || ++marks > MARKS_OF_ONE_LINE)
			continue;
		strbuf_addf(out, "       ^ %s: ", verdict_name(c->verdict));
		ctl_add_foreign(out, c->value);
		strbuf_adds(out, " - ");
		ctl_add_foreign(out, c->detail);
		strbuf_adds(out, "\n");
	}
	if (marks > MARKS_OF_ONE_LINE)
		strbuf_addf(out, "       ^ and %zu more\n", marks - MARKS_OF_ONE_LINE);
}

static void add_boundary(struct strbuf *out, const struct explanation *x, const char *what)
{
	strbuf_adds(out, "------ trust boundary: ");
	strbuf_adds(out, x->res.boundary_reason); /* escaped by who wrote it */
	strbuf_addf(out, "; %s\n", what);
}

/* Where the line stands: behind this field; SIZE_MAX: above all. */
static size_t boundary_after(const struct explanation *x)
{
	const struct header *h = &x->header;
	size_t b = x->res.boundary;

	if (b == h->n)
		return x->account->rules.ntrusted_by ? SIZE_MAX : b - 1;
	return header_is(&h->fields[b], "Received") ? b : b - 1; /* 0 - 1 is SIZE_MAX */
}

static void add_header(struct strbuf *out, const struct explanation *x)
{
	const struct header *h = &x->header;
	bool multidrop = x->account->rules.mode == RESOLVE_MULTIDROP;
	size_t after = boundary_after(x);
	bool bottom = false;

	for (size_t i = 0; i < x->account->rules.nrules; i++)
		bottom |= x->account->rules.rules[i].position == POSITION_BOTTOM;
	if (multidrop && after == SIZE_MAX)
		add_boundary(out, x, "nothing here is the provider's");
	for (size_t i = 0; i < h->n; i++) {
		add_field(out, h, &h->fields[i]);
		add_marks(out, x, h->fields[i].line);
		if (multidrop && i == after)
			add_boundary(out, x,
				bottom ? "what follows is the sender's, but for what is appended"
				       : "what follows is the sender's");
	}
	if (h->state == HEADER_LIMIT)
		strbuf_adds(out, "       (the header goes on; it is over a limit)\n");
}

static void add_rules(struct strbuf *out, const struct resolve_rules *rules)
{
	static const char *const positions[] = { "top", "bottom" },
				 *const picks[] = { "first", "last", "all" };

	strbuf_adds(out, "Rules:      ");
	if (rules->mode == RESOLVE_SINGLE)
		strbuf_adds(out, "mode single: the header is not asked");
	else if (!rules->nrules)
		strbuf_adds(out, "no envelope header is configured");
	for (size_t i = 0; rules->mode == RESOLVE_MULTIDROP && i < rules->nrules; i++)
		strbuf_addf(out, "%s%s (%s, %s)", i ? ", then " : "", rules->rules[i].header,
			positions[rules->rules[i].position], picks[rules->rules[i].pick]);
	strbuf_adds(out, "\n");
}

/* What the header said before a prefix was taken off; NULL: nothing was. */
static const char *unstripped(const struct explanation *x, const struct resolved_recipient *r)
{
	for (size_t i = 0; i < x->res.ncandidates; i++) {
		const struct candidate *c = &x->res.candidates[i];
		if (c->verdict == VERDICT_CHOSEN && c->line == r->line &&
			strlen(c->value) > strlen(r->original) &&
			sv_iends(sv_str(c->value), sv_str(r->original)))
			return c->value;
	}
	return NULL;
}

static void add_recipient(
	struct strbuf *out, const struct explanation *x, const struct resolved_recipient *r)
{
	const char *whole = *r->header ? unstripped(x, r) : NULL;

	strbuf_adds(out, "  <");
	ctl_add_foreign(out, r->address);
	strbuf_adds(out, ">");
	if (*r->header)
		strbuf_addf(out, " by %s in line %" PRIu32, r->header, r->line);
	if (whole) {
		strbuf_adds(out, ", there <");
		ctl_add_foreign(out, whole);
		strbuf_adds(out, ">, prefix removed");
	}
	if (ascii_strcasecmp(r->original, r->address)) {
		strbuf_adds(out, ", mapped from <");
		ctl_add_foreign(out, r->original);
		strbuf_adds(out, ">");
	}
	strbuf_adds(out, r->unknown ? " (not in recipients_file: unknown)\n" : "\n");
}

static int print_text(const struct explanation *x)
{
	AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;
	const struct resolution *res = &x->res;

	add_header(&out, x);
	strbuf_adds(&out, "\n");
	add_rules(&out, &x->account->rules);
	if (res->unresolved) {
		strbuf_adds(&out, "Unresolved: ");
		ctl_add_foreign(&out, res->unresolved);
		strbuf_adds(&out, "\n");
	}
	strbuf_adds(&out, "Sender:     <");
	ctl_add_foreign(&out, res->sender);
	strbuf_addf(&out, ">\nAction:     %s%s\n", resolve_action_name(res->action),
		res->nrecipients ? ", to" : "");
	for (size_t i = 0; i < res->nrecipients; i++)
		add_recipient(&out, x, &res->recipients[i]);
	fputs(strbuf_str(&out), stdout);
	return 0;
}

/* ---- as JSON ---- */

static json_t *json_recipients(const struct resolution *res)
{
	json_t *list = json_array();

	for (size_t i = 0; i < res->nrecipients; i++) {
		const struct resolved_recipient *r = &res->recipients[i];
		json_array_append_new(list,
			json_pack("{s:o, s:o, s:o, s:i, s:b}", "address",
				show_json_text(r->address), "original", show_json_text(r->original),
				"header", show_json_text(r->header), "line", (int)r->line,
				"unknown", r->unknown));
	}
	return list;
}

static json_t *json_candidates(const struct resolution *res)
{
	json_t *list = json_array();

	for (size_t i = 0; i < res->ncandidates; i++) {
		const struct candidate *c = &res->candidates[i];
		json_array_append_new(list,
			json_pack("{s:o, s:i, s:o, s:s, s:o}", "header", show_json_text(c->header),
				"line", (int)c->line, "value", show_json_text(c->value), "verdict",
				verdict_name(c->verdict), "detail", show_json_text(c->detail)));
	}
	return list;
}

/* line: of the field that is the boundary; null: there is none. */
static json_t *json_boundary(const struct explanation *x)
{
	bool is_field = x->res.boundary < x->header.n;

	return json_pack("{s:o, s:o}", "line",
		is_field ? json_integer(x->header.fields[x->res.boundary].line) : json_null(),
		"reason", show_json_text(x->res.boundary_reason));
}

static int print_json(const struct explanation *x)
{
	const struct resolution *res = &x->res;

	return ctl_print_json(json_pack("{s:o, s:o, s:o, s:s, s:o, s:o}", "sender",
		show_json_text(res->sender), "recipients", json_recipients(res), "unresolved",
		show_json_text(res->unresolved), "action", resolve_action_name(res->action),
		"candidates", json_candidates(res), "boundary", json_boundary(x)));
}

int ctl_explain(const struct ctl_call *call)
{
	struct explanation x = { 0 };
	struct config *config;
	int status = ctl_open(call, CONF_SECRETS_NONE, &config, &x.account);

	if (status)
		return status;
	status = open_message(&x, call->argument);
	if (!status) {
		resolve(&x.account->rules, &x.header, &x.res);
		status = call->json ? print_json(&x) : print_text(&x);
		resolution_free(&x.res);
	}
	header_free(&x.header);
	config_unref(config);
	return status;
}
