/*
 * Evidence about headers, and the advice; see survey.h. Owns the survey until it is returned.
 *
 * Invariant: no count about a header comes from anywhere but resolve() with that header as its only
 * rule. What is left to this file is which headers to try, and what makes one better than another.
 */
#include "mail/survey_impl.h"

#include <assert.h>
#include <stdlib.h>

#define NAMES_OF_ONE 10 /* people of one sample that are looked at, and no more */
#define NAME_OCTETS  76 /* RFC 5322 section 2.1.1: a name and its colon fit into a line */
#define RARE_ONE_OF  4  /* a header in fewer than one of so many samples is no evidence */

static const char *const places[] = { "top", "inside", "bottom" };
static_assert(ARRAY_LEN(places) == PLACE_COUNT, "one name per place");
static const char *const picks[] = { "first", "last", "all" };
static const char *const verdict_names[] = { "found", "constant", "nothing" };
static const char *const copies_names[] = { "unknown", "each", "joined" };
static const char *const certainties[] = { "weak", "likely", "high" };

const char *survey_place_name(enum survey_place p)
{
	return places[p];
}

const char *survey_position_name(enum survey_place p)
{
	return places[p == PLACE_BOTTOM ? PLACE_BOTTOM : PLACE_TOP];
}

const char *survey_pick_name(enum envelope_pick pick)
{
	return picks[pick];
}

const char *survey_verdict_name(enum survey_verdict v)
{
	return verdict_names[v];
}

const char *survey_copies_name(enum survey_copies c)
{
	return copies_names[c];
}

const char *survey_certainty_name(enum survey_certainty c)
{
	return certainties[c];
}

/* ---- one header in one place ---- */

static void add_person(struct survey_list *people, const char *address)
{
	for (size_t i = 0; i < people->n; i++)
		if (!ascii_strcasecmp(people->items[i], address))
			return;
	survey_list_add(people, mem_strdup(address));
}

/* What the header says where the rule looks for it, be it usable or not. */
static void count_lines(struct survey_trial *t, const struct resolution *r)
{
	uint32_t line = 0;
	bool placed = false, own = false, more = false;

	for (size_t i = 0; i < r->ncandidates; i++) {
		const struct candidate *c = &r->candidates[i];
		if (c->verdict == VERDICT_UNTRUSTED_POSITION)
			continue;
		more |= placed && c->line != line;
		placed = true;
		line = c->line;
		own |= c->verdict == VERDICT_OWN_MAILBOX;
		if (r->unresolved && c->verdict != VERDICT_MALFORMED && i < NAMES_OF_ONE)
			add_person(&t->people, c->value);
	}
	t->placed += placed;
	t->lines += more;
	t->own += own && r->unresolved;
}

void survey_try(const struct survey_run *r, struct survey_trial *t)
{
	struct resolve_rules rules = *r->account;
	struct resolution res;

	rules.mode = RESOLVE_MULTIDROP;
	rules.rules = &t->rule;
	rules.nrules = t->rule.header ? 1 : 0;
	rules.nmap = 0;
	rules.postmaster = NULL;
	rules.unresolved = t->rule.header ? UNRESOLVED_HOLD : UNRESOLVED_RECEIVED_FOR;
	rules.strip_prefix = r->prefixes.items;
	rules.nstrip_prefix = r->prefixes.n;
	if (t->place == PLACE_INSIDE) {
		rules.trusted_by = r->hosts.items;
		rules.ntrusted_by = r->hosts.n;
	} else if (t->place == PLACE_TOP || r->drop_trust) {
		rules.ntrusted_by = 0;
	}
	for (size_t i = 0; i < r->n; i++) {
		resolve(&rules, r->headers[i], &res);
		count_lines(t, &res);
		t->hits += !res.unresolved;
		t->several += !res.unresolved && res.nrecipients > 1;
		for (size_t k = 0; !res.unresolved && k < res.nrecipients && k < NAMES_OF_ONE; k++)
			add_person(&t->people, res.recipients[k].original);
		resolution_free(&res);
	}
}

struct strview survey_local(const char *address)
{
	const char *at = strrchr(address, '@');

	return sv(address, at ? (size_t)(at - address) : strlen(address));
}

uint32_t survey_distinct(const struct survey_list *people)
{
	uint32_t n = 0;

	for (size_t i = 0; i < people->n; i++) {
		size_t k = 0;
		while (!sv_ieq(survey_local(people->items[k]), survey_local(people->items[i])))
			k++;
		n += k == i;
	}
	return n;
}

/* More answers, then more people; equal: the earlier trial, which assumes less. */
static bool is_better(const struct survey_trial *a, const struct survey_trial *b)
{
	bool people_a = a->people.n > 1, people_b = b->people.n > 1;

	if (people_a != people_b)
		return people_a;
	if (a->hits != b->hits)
		return a->hits > b->hits;
	if (a->people.n != b->people.n)
		return a->people.n > b->people.n;
	return a->placed > b->placed;
}

static bool try_place(struct survey_run *r, struct survey_trial *best, struct survey_trial *t)
{
	survey_try(r, t);
	bool better = is_better(t, best);
	if (better) {
		struct survey_trial old = *best;
		*best = *t;
		*t = old;
	}
	return better;
}

/* The best place and pick for one header. */
static void try_header(struct survey_run *r, struct survey_row *row)
{
	/* A configured trusted_by is a statement of the administrator: it is tried first. */
	static const enum survey_place usual[] = { PLACE_TOP, PLACE_INSIDE, PLACE_BOTTOM },
				       trusted[] = { PLACE_INSIDE, PLACE_TOP, PLACE_BOTTOM };
	const enum survey_place *order = r->account->ntrusted_by ? trusted : usual;
	struct survey_trial best = { .place = order[0] };
	uint32_t placed[PLACE_COUNT] = { 0 };

	for (size_t i = 0; i < PLACE_COUNT; i++) {
		enum envelope_position where =
			order[i] == PLACE_BOTTOM ? POSITION_BOTTOM : POSITION_TOP;
		for (enum envelope_pick pick = PICK_FIRST; pick <= PICK_LAST; pick++) {
			struct survey_trial t = { { row->header, where, pick }, .place = order[i] };
			if (order[i] == PLACE_INSIDE && !r->hosts.n)
				break;
			bool better = try_place(r, &best, &t);
			const struct survey_trial *done = better ? &best : &t;
			bool one_line = !done->lines;
			placed[order[i]] = done->placed;
			survey_list_free(&t.people);
			if (one_line)
				break; /* `pick` has nothing to choose from */
		}
	}
	row->best = best.place;
	row->pick = best.rule.pick;
	row->placed = best.placed;
	row->hits = best.hits;
	row->ours = best.hits + best.own;
	row->several = best.several;
	row->distinct = survey_distinct(&best.people);
	row->constant = row->distinct == 1 && row->placed >= SURVEY_PROVES_NAMING;
	row->mixed = placed[PLACE_BOTTOM] &&
		(placed[PLACE_TOP] || placed[PLACE_INSIDE]); /* INSIDE includes TOP */
	survey_list_free(&best.people);
}

/* ---- which headers ---- */

/* Where servers write the envelope recipient; of equal evidence the first one wins. */
static const char *const known[] = { "X-Envelope-To", "Envelope-To", "X-Original-To", "X-Rcpt-To",
	"X-Recipient-To", "X-MDRcpt-To", "X-MDaemon-Deliver-To", "X-Gm-Original-To",
	"X-Delivered-To", "X-Resolved-To", "Original-Recipient", "X-Orcpt", "X-Apparently-To",
	"Apparently-To", "Delivered-To" };

/* What authors, lists and checks write, addresses and all; a hyphen at the end: all that begin so.
 */
static const char *const no_envelope[] = { "From", "To", "Cc", "Bcc", "Sender", "Reply-To",
	"Message-ID", "In-Reply-To", "References", "Return-Path", "Received", "Errors-To",
	"Authentication-Results", "Mail-Followup-To", "Mail-Reply-To", "Return-Receipt-To",
	"Disposition-Notification-To", "X-Envelope-From", "Envelope-From", "X-Sender",
	"DKIM-Signature", "DomainKey-Signature", "ARC-", "List-", "Resent-", "Received-" };

static size_t rank(struct strview name)
{
	size_t i = 0;

	while (i < ARRAY_LEN(known) && !sv_ieq(name, sv_str(known[i])))
		i++;
	return i;
}

static bool may_be_envelope(const struct header_field *f)
{
	if (f->malformed || f->name.len > NAME_OCTETS || !memchr(f->value.ptr, '@', f->value.len))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(no_envelope); i++) {
		struct strview no = sv_str(no_envelope[i]);
		bool all = no.ptr[no.len - 1] == '-';
		if (all ? sv_istarts(f->name, no) : sv_ieq(f->name, no))
			return false;
	}
	return true;
}

static struct survey_row *row_of(struct survey *s, struct strview name)
{
	for (size_t i = 0; i < s->nrows; i++)
		if (sv_ieq(sv_str(s->rows[i].header), name))
			return &s->rows[i];
	if (s->nrows >= SURVEY_ROWS_MAX && rank(name) == ARRAY_LEN(known))
		return NULL;
	mem_grow(&s->rows, &s->cap_rows, s->nrows + 1, sizeof *s->rows);
	s->rows[s->nrows] = (struct survey_row){ .header = mem_strndup(name.ptr, name.len) };
	return &s->rows[s->nrows++];
}

static bool is_first(const struct header *h, size_t i)
{
	size_t first = 0;

	(void)header_find(h, h->fields[i].name, &first);
	return first == i;
}

static void collect_names(struct survey_run *r)
{
	struct survey *s = r->out;
	size_t kept = 0;

	for (size_t i = 0; i < r->n; i++) {
		const struct header *h = r->headers[i];
		for (size_t k = 0; k < h->n; k++) {
			if (!may_be_envelope(&h->fields[k]) || !is_first(h, k))
				continue;
			struct survey_row *row = row_of(s, h->fields[k].name);
			if (row)
				row->present++;
		}
	}
	for (size_t i = 0; i < s->nrows; i++) {
		struct survey_row row = s->rows[i];
		bool is_known = rank(sv_str(row.header)) < ARRAY_LEN(known);
		if (is_known || (size_t)row.present * RARE_ONE_OF >= r->n)
			s->rows[kept++] = row;
		else
			free(row.header);
	}
	s->nrows = kept;
}

/* ---- which one ---- */

bool survey_usable(const struct survey_row *row)
{
	return row->hits && !row->constant;
}

static int by_evidence(const void *a, const void *b)
{
	const struct survey_row *x = a, *y = b;
	size_t rank_x = rank(sv_str(x->header)), rank_y = rank(sv_str(y->header));

	if (survey_usable(x) != survey_usable(y))
		return survey_usable(x) ? -1 : 1;
	if (x->hits != y->hits)
		return x->hits < y->hits ? 1 : -1;
	if (x->distinct != y->distinct)
		return x->distinct < y->distinct ? 1 : -1;
	return rank_x != rank_y ? (rank_x > rank_y ? 1 : -1) : strcmp(x->header, y->header);
}

static void take_samples(struct survey_run *r, const struct header *headers, size_t n)
{
	r->headers = mem_alloc((n + 1) * sizeof(const struct header *));
	for (size_t i = 0; i < n; i++) {
		const struct header *h = &headers[i];
		if (h->state == HEADER_COMPLETE && h->n && h->block.len <= SURVEY_BLOCK_MAX_OCTETS)
			r->headers[r->n++] = h;
	}
	r->out->samples = (uint32_t)r->n;
	r->out->unread = (uint32_t)(n - r->n);
}

void survey(const struct resolve_rules *account, const struct header *headers, size_t n,
	struct survey *out)
{
	struct survey_run r = { .account = account, .out = out };

	*out = (struct survey){ .verdict = SURVEY_NOTHING };
	take_samples(&r, headers, n);
	survey_hosts(r.headers, r.n, out, &r.hosts);
	if (account->ntrusted_by)
		survey_list_free(&r.hosts);
	for (size_t i = 0; i < account->ntrusted_by; i++)
		survey_list_add(&r.hosts, mem_strdup(account->trusted_by[i]));
	for (size_t i = 0; i < account->nstrip_prefix; i++)
		survey_list_add(&r.prefixes, mem_strdup(account->strip_prefix[i]));
	collect_names(&r);
	for (size_t i = 0; i < out->nrows; i++)
		try_header(&r, &out->rows[i]);
	if (out->nrows)
		qsort(out->rows, out->nrows, sizeof *out->rows, by_evidence);
	if (r.n)
		survey_advise(&r);
	survey_list_free(&r.hosts);
	survey_list_free(&r.prefixes);
	free(r.headers);
}

void survey_free(struct survey *s)
{
	for (size_t i = 0; i < s->nrows; i++)
		free(s->rows[i].header);
	for (size_t i = 0; i < s->nhosts; i++)
		free(s->hosts[i].name);
	free(s->rows);
	free(s->hosts);
	survey_list_free(&s->trusted_by);
	survey_list_free(&s->strip_prefix);
	survey_list_free(&s->doubts);
	survey_list_free(&s->warnings);
	*s = (struct survey){ 0 };
}
