/*
 * Header, resolver, rewriting, survey: whatever a sender sends, he does not choose the recipient.
 *
 * The first octet chooses the scene, the rest is the sender's: a whole message, what stands below
 * the provider's lines, or an EHLO name and a certificate's name inside the provider's line. What
 * the provider wrote names sales@firma.example; the sender may make the message unresolved, but may
 * not send it elsewhere. What leaves has the added lines on top, nothing of what is removed, and
 * all else as it was.
 *
 * SCENE_SURVEY: a maildrop of messages, each ended by an octet 0x1d; whatever is found out about
 * them, the advice resolves as many as it says.
 */
#include "fuzz.h"
#include "mail/rewrite.h"
#include "mail/survey.h"

#include <stdlib.h>

#define LAST                                                                                       \
	" by mx.p.example (Postfix) with ESMTP id 1 for <sales@firma.example>; Mon, 1 Jan "        \
	"2024\r\n"

static char top_name[] = "X-Envelope-To", bottom_name[] = "Envelope-To", domain[] = "firma.example",
	    subdomains[] = ".sub.example", host[] = "*.p.example", prefix[] = "1-";
static char *const domains[] = { domain, subdomains }, *const hosts[] = { host },
		   *const prefixes[] = { prefix };
static const struct envelope_rule all_rules[] = { { top_name, POSITION_TOP, PICK_LAST },
	{ bottom_name, POSITION_BOTTOM, PICK_ALL } };

enum scene { SCENE_MESSAGE, SCENE_BELOW, SCENE_EHLO, SCENE_SURVEY, SCENE_COUNT };

static void build(enum scene scene, struct strview input, struct strbuf *msg)
{
	struct strview cn;

	switch (scene) {
	case SCENE_MESSAGE:
		strbuf_addv(msg, input);
		break;
	case SCENE_BELOW:
		strbuf_adds(msg,
			"X-Envelope-To: <sales@firma.example>\r\n"
			"Received: from e.example (e.example [192.0.2.66])" LAST);
		strbuf_addv(msg, input);
		break;
	case SCENE_EHLO:
		strbuf_adds(msg, "Received: from ");
		strbuf_addv(msg, sv_token(&input, '\n'));
		strbuf_adds(msg, " (e.example [192.0.2.66])");
		cn = sv_token(&input, '\n'); /* what the client's certificate says */
		if (cn.len) {
			strbuf_adds(msg, " (Client CN \"");
			strbuf_addv(msg, cn);
			strbuf_adds(msg, "\", Issuer \"x\" (not verified))");
		}
		strbuf_adds(msg,
			LAST "X-Envelope-To: <ceo@firma.example>\r\n"
			     "Received: from x (x [192.0.2.66]) by mx.p.example"
			     " for <ceo@firma.example>; Mon\r\n\r\n");
		break;
	case SCENE_SURVEY:
	case SCENE_COUNT:
		break;
	}
}

static void read_header(struct header *h, bool lf_ended, struct strview msg)
{
	header_init(h, lf_ended);
	for (size_t at = 0; at < msg.len && h->state == HEADER_MORE;)
		at += header_push(h, msg.ptr + at, msg.len - at < 61 ? msg.len - at : 61);
	header_end(h);
}

static void check_block(const struct header *h, struct strview msg)
{
	const char *at = h->block.ptr;

	for (size_t i = 0; i < h->n; at += h->fields[i++].raw.len)
		ensure(h->fields[i].raw.ptr == at);
	ensure(!h->n || at == h->block.ptr + h->block.len);
	ensure(h->mbox_from + h->block.len <= h->body_offset && h->body_offset <= msg.len);
	ensure(!h->block.len || !memcmp(h->block.ptr, msg.ptr + h->mbox_from, h->block.len));
}

static void check_recipients(const struct resolution *r, enum scene scene)
{
	ensure((r->action == ACTION_DELIVER) == !r->unresolved);
	ensure((r->nrecipients == 0) == (r->action == ACTION_HOLD));
	ensure(r->sender && r->nrecipients <= RESOLVE_RECIPIENTS_MAX);
	for (size_t i = 0; i < r->nrecipients; i++) {
		struct strview a = sv_str(r->recipients[i].address);
		ensure(sv_iends(a, SV("@firma.example")) || sv_iends(a, SV("@firma.example.")) ||
			sv_iends(a, SV("sub.example")));
		ensure(scene == SCENE_MESSAGE || r->unresolved ||
			sv_eq(a, SV("sales@firma.example")));
	}
	for (size_t i = 0; i < r->ncandidates; i++)
		ensure(r->candidates[i].value && r->candidates[i].detail && r->candidates[i].line);
}

/* ---- what leaves ---- */

static bool is_removed(const struct header_field *f, const struct rewrite *w)
{
	bool removed = header_is(f, "Return-Path") || header_is(f, "Delivered-To") ||
		sv_istarts(f->name, SV("X-Multidrop-"));

	for (size_t i = 0; i < w->nrules; i++)
		removed |= header_is(f, w->rules[i].header);
	return removed;
}

static void check_added(const struct header *h, const struct rewrite *w, size_t nadded)
{
	static const char *const names[] = { "Received", "X-Multidrop-Id", "X-Multidrop-In-Doubt",
		"X-Multidrop-Reason" };
	size_t name = 0;

	for (size_t i = 0; i < nadded; i++) {
		struct strview line = h->fields[i].raw;
		name += name == 2 && !w->in_doubt;
		ensure(header_is(&h->fields[i], names[name++]));
		ensure(sv_iends(line, SV("\r\n")));
		for (size_t k = 0; k + 2 < line.len; k++)
			ensure(line.ptr[k] >= ' ' && line.ptr[k] <= '~');
	}
}

/* Read again, it is the added fields, those that stay, and a blank line. */
static void check_rewritten(const struct header *h, const struct rewrite *w)
{
	AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;
	size_t nadded = 2u + w->in_doubt + (w->reason != NULL), at = nadded;
	struct header again;

	rewrite_head(h, w, &out);
	ensure(sv_iends(strbuf_view(&out), SV("\n\r\n")));
	if (h->lf_ended || h->n + nadded > HEADER_FIELDS_MAX) /* two line ends in one */
		return;
	read_header(&again, false, strbuf_view(&out));
	check_added(&again, w, nadded);
	for (size_t i = 0; i < h->n; i++) {
		const struct header_field *f = &h->fields[i];
		if (is_removed(f, w))
			continue;
		ensure(at < again.n && sv_starts(again.fields[at].raw, f->raw));
		ensure(again.fields[at].raw.len == f->raw.len || i + 1 == h->n);
		at++;
	}
	ensure(at == again.n);
	header_free(&again);
}

static void check_rewrite(
	const struct header *h, const struct resolve_rules *rules, const struct resolution *r)
{
	struct rewrite w = { .pop_host = "pop.p.example",
		.pop_ip = r->nrecipients ? "192.0.2.9" : "2001:db8::9",
		.hostname = "gate.firma.example",
		.pop_tls = h->n % 2,
		.rcpt = NULL,
		.date = "Mon, 1 Jan 2024 00:00:00 +0000",
		.id = "0123456789abcdef0123456789abcdef",
		.in_doubt = h->n % 3 == 0,
		.reason = r->unresolved,
		.rules = rules->rules,
		.nrules = rules->nrules };

	if (h->state == HEADER_LIMIT)
		return;
	check_rewritten(h, &w);
	for (size_t i = 0; i < h->n; i++)
		ensure(rewrite_is_trace(h, i, r->boundary, rules->rules, rules->nrules) ||
			(r->boundary == h->n || i >= r->boundary));
}

/* ---- a maildrop ---- */

#define SAMPLES_MAX 8

/* How many of them the advice resolves. */
static size_t resolved_by_advice(const struct resolve_rules *account, const struct survey *s,
	const struct header *headers, size_t n)
{
	const struct survey_row *row = &s->rows[0];
	struct envelope_rule rule = { row->header,
		row->best == PLACE_BOTTOM ? POSITION_BOTTOM : POSITION_TOP, row->pick };
	struct resolve_rules rules = *account;
	struct resolution r;
	size_t hits = 0;

	rules.rules = &rule;
	rules.nrules = 1;
	rules.trusted_by = s->trusted_by.items;
	rules.ntrusted_by = s->trusted_by.n;
	rules.strip_prefix = s->strip_prefix.items;
	rules.nstrip_prefix = s->strip_prefix.n;
	for (size_t i = 0; i < n; i++) {
		if (headers[i].state != HEADER_COMPLETE || !headers[i].n ||
			headers[i].block.len > SURVEY_BLOCK_MAX_OCTETS)
			continue;
		resolve(&rules, &headers[i], &r);
		hits += !r.unresolved;
		resolution_free(&r);
	}
	return hits;
}

static void check_survey(struct resolve_rules *account, struct strview input)
{
	struct header headers[SAMPLES_MAX];
	struct survey s;
	size_t n = 0;

	account->unresolved = UNRESOLVED_HOLD;
	while (n < SAMPLES_MAX && input.len)
		read_header(&headers[n++], false, sv_token(&input, TURN_END));
	survey(account, headers, n, &s);
	ensure(s.samples + s.unread == n);
	for (size_t i = 0; i < s.nrows; i++) {
		const struct survey_row *row = &s.rows[i];
		ensure(row->hits <= s.samples && row->placed <= s.samples && row->present &&
			row->present <= s.samples && row->hits <= row->ours);
	}
	if (s.verdict == SURVEY_FOUND)
		ensure(resolved_by_advice(account, &s, headers, n) == s.rows[0].hits);
	survey_free(&s);
	while (n)
		header_free(&headers[--n]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(strbuf_free) struct strbuf msg = STRBUF_INIT;
	AUTO(resolution_free) struct resolution r = { 0 };
	struct header h;

	if (!size)
		return 0;
	enum scene scene = (enum scene)(data[0] % SCENE_COUNT);
	bool honest = scene == SCENE_BELOW || scene == SCENE_EHLO;
	struct resolve_rules rules = { .own_mailbox = "box@firma.example",
		.rules = all_rules,
		.nrules = honest ? 1 : ARRAY_LEN(all_rules),
		.strip_prefix = prefixes,
		.nstrip_prefix = ARRAY_LEN(prefixes),
		.trusted_by = hosts,
		.ntrusted_by = honest || data[0] & 4 ? ARRAY_LEN(hosts) : 0,
		.domains = domains,
		.ndomains = ARRAY_LEN(domains),
		.unresolved = (enum unresolved_policy)(data[0] >> 3 & 3),
		.postmaster = "postmaster@firma.example" };
	if (honest && rules.unresolved == UNRESOLVED_TO_CC)
		rules.unresolved = UNRESOLVED_RECEIVED_FOR; /* To is the sender's to write */
	struct strview input = sv((const char *)data + 1, size - 1);
	if (scene == SCENE_SURVEY) {
		check_survey(&rules, input);
		return 0;
	}
	build(scene, input, &msg);
	read_header(&h, data[0] & 128, strbuf_view(&msg));
	check_block(&h, strbuf_view(&msg));
	resolve(&rules, &h, &r);
	check_recipients(&r, scene);
	check_rewrite(&h, &rules, &r);
	header_free(&h);
	return 0;
}
