/*
 * What the evidence means; see survey.h and survey_impl.h. Owns nothing but what it adds to the
 * survey: the prefix to strip, the verdict, and the sentences for the administrator.
 */
#include "mail/survey_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define PREFIX_PEOPLE 3 /* local parts that must share a prefix for it to be one */

static void say(struct survey_list *l, const char *fmt, ...) format_like(2, 3);

static void say(struct survey_list *l, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	survey_list_add(l, mem_strdup(text));
}

static struct strview domain_of(const char *address)
{
	struct strview all = sv_str(address);

	return sv_skip(all, survey_local(address).len + 1);
}

/* qmail and vpopmail: "firma.example-hans@firma.example"; Plesk: "1-hans". Behind a hyphen only:
 * other separators are usual inside of addresses. */
static struct strview common_prefix(const struct survey_list *people, struct strview domain)
{
	AUTO(strbuf_free) struct strbuf usual = STRBUF_INIT;
	struct strview common = SV("");
	size_t n = 0;
	bool all_usual = true;

	strbuf_addf(&usual, "%.*s-", SV_FMT(domain));
	for (size_t i = 0; i < people->n; i++) {
		struct strview local = survey_local(people->items[i]);
		size_t same = 0;
		if (!sv_ieq(domain_of(people->items[i]), domain))
			continue;
		all_usual &= sv_starts(local, strbuf_view(&usual));
		common = n++ ? common : local;
		while (same < common.len && same < local.len && common.ptr[same] == local.ptr[same])
			same++;
		common.len = same;
	}
	if (all_usual)
		return sv(common.ptr, usual.len);
	while (common.len && common.ptr[common.len - 1] != '-')
		common.len--;
	return n >= PREFIX_PEOPLE ? common : SV("");
}

static void find_prefixes(struct survey_run *r, const struct survey_list *people)
{
	struct survey *s = r->out;

	for (size_t i = 0; i < people->n; i++) {
		struct strview domain = domain_of(people->items[i]);
		size_t first = 0;
		while (!sv_ieq(domain_of(people->items[first]), domain))
			first++;
		struct strview prefix = common_prefix(people, domain);
		if (first != i || !prefix.len)
			continue;
		survey_list_add(&r->prefixes, mem_strndup(prefix.ptr, prefix.len));
		say(&s->doubts,
			"the prefix %.*s is read off the local parts: take strip_prefix out if "
			"addresses of yours really begin so",
			SV_FMT(prefix));
	}
}

/* The winner once more, for what its numbers are with everything in place. */
static void settle(struct survey_run *r, struct survey_row *row)
{
	enum envelope_position where = row->best == PLACE_BOTTOM ? POSITION_BOTTOM : POSITION_TOP;
	struct survey_trial t = { { row->header, where, row->pick }, .place = row->best };

	survey_try(r, &t);
	find_prefixes(r, &t.people);
	survey_list_free(&t.people);
	t = (struct survey_trial){ { row->header, where, row->pick }, .place = row->best };
	survey_try(r, &t);
	row->hits = t.hits;
	row->distinct = survey_distinct(&t.people);
	survey_list_free(&t.people);
}

/* ---- what it means ---- */

/* One message stored more than once: each recipient has a copy of his own. */
static bool any_stored_twice(const struct survey_run *r)
{
	struct strview name = SV("Message-ID");

	for (size_t i = 0; i < r->n; i++) {
		for (size_t k = i + 1; k < r->n; k++) {
			size_t at_i = 0, at_k = 0;
			const struct header_field *a = header_find(r->headers[i], name, &at_i);
			const struct header_field *b = header_find(r->headers[k], name, &at_k);
			if (a && b && sv_eq(sv_trim(a->value), sv_trim(b->value)))
				return true;
		}
	}
	return false;
}

static void find_copies(const struct survey_run *r, const struct survey_row *row)
{
	struct survey *s = r->out;

	if (row->several) {
		s->copies = COPIES_JOINED;
		say(&s->warnings,
			"one copy lists several recipients, blind copies among them; the line is "
			"taken out before a message is handed on");
	} else if (any_stored_twice(r)) {
		s->copies = COPIES_EACH;
	} else {
		say(&s->doubts,
			"no message to several recipients was seen: whether each gets a "
			"copy of his own is not known");
	}
}

static void doubt_numbers(struct survey *s, const struct survey_row *row)
{
	if (s->samples < SURVEY_ENOUGH)
		say(&s->doubts, "only %u messages; %d are wanted", s->samples, SURVEY_ENOUGH);
	if (row->hits < s->samples)
		say(&s->doubts, "%s answers for %u of %u messages only", row->header, row->hits,
			s->samples);
	if (row->distinct < 3)
		say(&s->doubts, "only %u local part%s seen", row->distinct,
			row->distinct == 1 ? ": it may name the mailbox" : "s");
	if (row->mixed)
		say(&s->doubts, "%s stands on top in some messages and at the bottom in others",
			row->header);
}

static void doubt_place(struct survey_run *r, const struct survey_row *row)
{
	struct survey *s = r->out;

	if (r->drop_trust)
		say(&s->doubts,
			"the configured trusted_by does not fit these messages and is "
			"left out");
	if (row->best == PLACE_INSIDE && !r->account->ntrusted_by)
		say(&s->doubts, "trusted_by is read off the Received lines: ask the provider");
	if (row->best == PLACE_BOTTOM)
		say(&s->doubts,
			"the last %s in the header counts: should the provider leave his out one "
			"day, a line that the sender wrote would count",
			row->header);
}

static enum survey_certainty certainty_of(const struct survey_run *r, const struct survey_row *row)
{
	const struct survey *s = r->out;
	bool guessed = row->mixed || s->strip_prefix.n > r->account->nstrip_prefix ||
		(s->trusted_by.n && !r->account->ntrusted_by);

	if (s->samples >= SURVEY_ENOUGH && row->hits == s->samples && row->distinct > 2 && !guessed)
		return CERTAINTY_HIGH;
	if (s->samples > 4 && row->hits * 10 >= s->samples * 9 && row->distinct > 1)
		return CERTAINTY_LIKELY;
	return CERTAINTY_WEAK;
}

/* Servers that are known to write no envelope header, by their words in the topmost Received. */
static const struct {
	const char *words, *why;
} silent[] = {
	{ "Microsoft SMTP Server",
		"the server is Exchange or Microsoft 365, which write no envelope header" },
	{ "(Cyrus ", "the server is Cyrus, which writes no envelope header" },
	{ "(hMailServer", "the server is hMailServer, which writes no envelope header" },
	{ " with LMTP",
		"the mail reaches the maildrop by LMTP, where the server in front has to add the "
		"recipient (Postfix: a transport with flags=DO and one recipient a message)" },
};

static void explain_silence(const struct survey_run *r)
{
	struct survey_trial t = { .place = PLACE_TOP };
	struct survey *s = r->out;
	uint32_t seen[ARRAY_LEN(silent)] = { 0 };

	for (size_t i = 0; i < r->n; i++) {
		size_t at = 0;
		const struct header_field *f = header_find(r->headers[i], SV("Received"), &at);
		for (size_t k = 0; f && k < ARRAY_LEN(silent); k++)
			seen[k] += sv_icontains(f->value, sv_str(silent[k].words));
	}
	say(&s->warnings,
		"no header tells the recipients apart: as it is, this mailbox cannot be "
		"used for multidrop");
	for (size_t k = 0; k < ARRAY_LEN(silent); k++)
		if (seen[k] * 2 > s->samples)
			say(&s->warnings, "%s", silent[k].why);
	survey_try(r, &t);
	if (t.hits * 2 > s->samples && t.people.n > 1)
		say(&s->warnings,
			"the Received line names a recipient in %u of %u messages, none where "
			"there were several: unresolved = \"received-for\" would use it",
			t.hits, s->samples);
	survey_list_free(&t.people);
}

static void move_list(struct survey_list *to, struct survey_list *from)
{
	*to = *from;
	*from = (struct survey_list){ 0 };
}

void survey_advise(struct survey_run *r)
{
	struct survey *s = r->out;
	struct survey_row *row = s->rows;
	bool most = s->nrows && row->hits * 2 > s->samples;

	for (size_t i = 0; i < s->nrows; i++) {
		if (!s->rows[i].constant)
			continue;
		say(&s->warnings,
			"%s is the same in all %u messages that have it there: it names the "
			"mailbox, not the recipient",
			s->rows[i].header, s->rows[i].placed);
		s->verdict = SURVEY_CONSTANT;
	}
	if (!most || !survey_usable(row)) {
		s->verdict = s->verdict == SURVEY_CONSTANT ? SURVEY_CONSTANT : SURVEY_NOTHING;
		explain_silence(r);
		return;
	}
	s->verdict = SURVEY_FOUND;
	r->drop_trust = r->account->ntrusted_by && row->best == PLACE_TOP;
	settle(r, row);
	move_list(&s->strip_prefix, &r->prefixes);
	if (row->best == PLACE_INSIDE || (r->account->ntrusted_by && !r->drop_trust))
		move_list(&s->trusted_by, &r->hosts);
	doubt_numbers(s, row);
	doubt_place(r, row);
	find_copies(r, row);
	s->certainty = certainty_of(r, row);
}
