/*
 * Who is this message for; see resolve.h. Owns the resolution until it is returned, and nothing of
 * the rules or the header.
 *
 * Three steps. The boundary: how far down the block the provider's own words reach. The lines: each
 * line of each rule's header is weighed by itself, in the order of the message, and what is not in
 * its place is not even parsed. The decision: the first rule with a usable address, alone.
 *
 * Invariants: no address reaches `recipients` but through weigh() (which holds it to `domains`) or
 * from the administrator (map, postmaster, single); doubt makes a message unresolved, never a
 * guess.
 */
#include "mail/resolve.h"
#include "base/encode.h"
#include "mail/received.h"

#include <assert.h>
#include <stdlib.h>

struct rule_state {
	struct strview name;
	size_t last;       /* index of the last field of that name */
	size_t naddresses; /* seen in the fields that count */
	bool over;         /* more than RESOLVE_RECIPIENTS_MAX */
};

/* A usable address, not chosen yet; its candidate says where it comes from. */
struct found {
	struct address addr;
	size_t candidate, rule;
};

struct run {
	const struct resolve_rules *rules;
	const struct header *h;
	struct resolution *out;
	struct rule_state *state; /* one per rule, and one for the fallback policies */
	struct found *found;
	size_t nfound, cap_found;
	char **seen; /* the recipients' keys */
	size_t nseen, cap_seen;
	struct strbuf value, key; /* scratch */
	size_t top_end;           /* fields before it are the provider's */
	size_t author_end;        /* fields from it on are below From, To and Subject */
	bool no_trusted_host, stray_line, over;
};

static const struct {
	const char *name,
		*reason; /* reason: why it left the message unresolved, behind the header's name */
} verdicts[] = {
	[VERDICT_CHOSEN] = { "chosen", NULL },
	[VERDICT_UNTRUSTED_POSITION] = { "untrusted-position",
		" stands only where the sender can write it" },
	[VERDICT_FOREIGN_DOMAIN] = { "foreign-domain", " holds no address inside domains" },
	[VERDICT_MALFORMED] = { "malformed", " holds no usable address" },
	[VERDICT_SUPERSEDED] = { "superseded", NULL },
	[VERDICT_OWN_MAILBOX] = { "own-mailbox",
		" names the POP3 mailbox itself, not the recipient: configure another header" },
};
static_assert(ARRAY_LEN(verdicts) == VERDICT_COUNT, "one row per verdict");

const char *verdict_name(enum verdict v)
{
	return verdicts[v].name;
}

static const char *const actions[] = {
	[ACTION_DELIVER] = "deliver",
	[ACTION_POSTMASTER] = "postmaster",
	[ACTION_HOLD] = "hold",
};

const char *resolve_action_name(enum resolve_action a)
{
	return actions[a];
}

/* Lines that only the author's program writes. */
static bool is_authors(const struct header_field *f)
{
	return header_is(f, "From") || header_is(f, "To") || header_is(f, "Subject");
}

static void find_boundary(struct run *r)
{
	const struct header *h = r->h;
	size_t author = h->n;

	for (size_t i = 0; i < h->n; i++) {
		r->stray_line |= h->fields[i].malformed;
		if (is_authors(&h->fields[i])) {
			author = author < i ? author : i;
			r->author_end = i + 1;
		}
	}
	r->out->boundary = received_boundary(
		h, r->rules->trusted_by, r->rules->ntrusted_by, &r->out->boundary_reason);
	r->no_trusted_host = r->rules->ntrusted_by && r->out->boundary == h->n;
	if (!r->rules->ntrusted_by && r->out->boundary == h->n)
		r->out->boundary = author; /* nothing came by SMTP: above it is the provider's */
	r->top_end = r->no_trusted_host ? 0 : r->out->boundary;
}

/* NULL: the field stands where the rule expects the provider's own; else why not. */
static const char *misplaced(const struct run *r, size_t rule, size_t i)
{
	if (r->no_trusted_host)
		return "no Received line of a host in trusted_by";
	switch (r->rules->rules[rule].position) {
	case POSITION_TOP:
		return i < r->top_end ? NULL : "below the trust boundary";
	case POSITION_BOTTOM:
		break;
	}
	if (i != r->state[rule].last)
		return "not the last line of that name";
	if (i < r->author_end)
		return "not below the author's own lines";
	/* Servers disagree whether a stray line ends the block, and so where its bottom is. */
	return r->stray_line ? "a line that is no header field makes the bottom uncertain" : NULL;
}

static size_t add_candidate(struct run *r, const char *header, uint32_t line, char *take_value,
	enum verdict verdict, const char *detail)
{
	struct resolution *out = r->out;

	mem_grow(&out->candidates, &out->cap_candidates, out->ncandidates + 1,
		sizeof *out->candidates);
	out->candidates[out->ncandidates] = (struct candidate){ .header = mem_strdup(header),
		.line = line,
		.value = take_value,
		.verdict = verdict,
		.detail = mem_strdup(detail) };
	return out->ncandidates++;
}

static char *escaped(struct strview v)
{
	struct strbuf text = STRBUF_INIT;

	escape_foreign(&text, v);
	return strbuf_take(&text);
}

static bool is_inside(const struct resolve_rules *rules, const char *domain)
{
	struct strview name = sv_str(domain);

	for (size_t i = 0; i < rules->ndomains; i++) {
		struct strview d = sv_str(rules->domains[i]);
		if (sv_eq(name, d))
			return true;
		if (sv_starts(d, SV(".")) && (sv_iends(name, d) || sv_eq(name, sv_skip(d, 1))))
			return true;
	}
	return false;
}

static bool is_own(const struct resolve_rules *rules, const struct address *a)
{
	struct address own;

	if (!rules->own_mailbox || address_parse(sv_str(rules->own_mailbox), &own, NULL))
		return false;
	bool same = address_same(&own, a);
	address_free(&own);
	return same;
}

/* What the map and recipients_file are sorted by: everything in lower case. */
static const char *key_of(struct run *r, const struct address *a)
{
	struct strview local = address_local(a);

	strbuf_clear(&r->key);
	for (size_t i = 0; i < local.len; i++)
		strbuf_addc(&r->key, (char)ascii_lower((unsigned char)local.ptr[i]));
	strbuf_addc(&r->key, '@');
	strbuf_adds(&r->key, a->domain);
	return strbuf_str(&r->key);
}

static int compare_key(const void *key, const void *element) /* which begins with its key */
{
	return strcmp(key, *(char *const *)element);
}

static const void *find_key(const char *key, const void *sorted, size_t n, size_t size)
{
	return n ? bsearch(key, sorted, n, size, compare_key) : NULL;
}

static bool is_valid(const struct resolve_rules *rules, const char *key)
{
	return find_key(key, rules->valid, rules->nvalid, sizeof *rules->valid);
}

/* Takes the longest literal prefix that fits off the local part, once. */
static bool strip_prefix(struct run *r, struct address *a)
{
	const struct resolve_rules *rules = r->rules;
	struct strview local = sv(a->text, a->at);
	size_t cut = 0;

	for (size_t i = 0; i < rules->nstrip_prefix; i++) {
		struct strview p = sv_str(rules->strip_prefix[i]);
		if (p.len > cut && p.len < local.len && sv_starts(local, p) &&
			!memchr("./|", local.ptr[p.len], 3)) /* no address without it */
			cut = p.len;
	}
	if (!cut || is_valid(rules, key_of(r, a)))
		return false;
	memmove(a->text, a->text + cut, strlen(a->text + cut) + 1);
	a->at -= cut;
	return true;
}

/* May the message go to this address? Takes it over when it may. */
static void weigh(struct run *r, size_t rule, const char *header, uint32_t line, struct address *a)
{
	const struct resolve_rules *rules = r->rules;
	enum verdict verdict = VERDICT_SUPERSEDED; /* until it is chosen */
	char *value = mem_strdup(a->text);
	const char *detail = "a usable address in its place";

	if (is_own(rules, a)) {
		verdict = VERDICT_OWN_MAILBOX;
	} else if (!is_inside(rules, a->domain)) {
		verdict = VERDICT_FOREIGN_DOMAIN;
		detail = "the domain is not in domains";
	} else if (rule < rules->nrules && strip_prefix(r, a)) { /* no prefix in To and `for` */
		detail = "prefix removed";
		verdict = is_own(rules, a) ? VERDICT_OWN_MAILBOX : verdict;
	}
	if (verdict == VERDICT_OWN_MAILBOX)
		detail = "this is the POP3 mailbox itself";
	size_t candidate = add_candidate(r, header, line, value, verdict, detail);
	if (verdict != VERDICT_SUPERSEDED)
		return;
	mem_grow(&r->found, &r->cap_found, r->nfound + 1, sizeof *r->found);
	r->found[r->nfound++] = (struct found){ *a, candidate, rule };
	*a = (struct address){ 0 };
}

static void weigh_value(
	struct run *r, size_t rule, const char *header, uint32_t line, struct strview value)
{
	AUTO(address_list_free) struct address_list list = { 0 };
	struct rule_state *st = &r->state[rule];

	if (!st->over)
		address_parse_list(value, &list);
	st->naddresses += list.n;
	st->over |= list.too_many || st->naddresses > RESOLVE_RECIPIENTS_MAX;
	if (st->over) {
		add_candidate(r, header, line, escaped(value), VERDICT_MALFORMED,
			"over the limit of addresses");
		return;
	}
	for (size_t i = 0; i < list.n; i++)
		weigh(r, rule, header, line, &list.items[i]);
	if (list.malformed || !list.n)
		add_candidate(r, header, line, escaped(value), VERDICT_MALFORMED,
			list.malformed ? strbuf_str(&list.reason) : "no address");
}

static void weigh_field(struct run *r, size_t rule, const char *header, size_t i, const char *why)
{
	const struct header_field *f = &r->h->fields[i];

	strbuf_clear(&r->value);
	header_unfold(f, &r->value);
	if (why) {
		add_candidate(r, header, f->line, escaped(strbuf_view(&r->value)),
			VERDICT_UNTRUSTED_POSITION, why);
		return;
	}
	r->state[rule].over |= f->too_long;
	weigh_value(r, rule, header, f->line, strbuf_view(&r->value));
}

static void weigh_lines(struct run *r)
{
	const struct resolve_rules *rules = r->rules;
	const struct header_field *fields = r->h->fields;

	for (size_t k = 0; k < rules->nrules; k++) {
		size_t last = r->h->n;
		r->state[k].name = sv_str(rules->rules[k].header);
		while (last > 0 && !sv_ieq(fields[last - 1].name, r->state[k].name))
			last--;
		r->state[k].last = last - 1; /* of no use when there is none */
	}
	for (size_t i = 0; i < r->h->n; i++) {
		for (size_t k = 0; k < rules->nrules; k++) {
			if (!sv_ieq(fields[i].name, r->state[k].name))
				continue;
			const char *why = misplaced(r, k, i);
			r->out->envelope_missing &= why != NULL;
			weigh_field(r, k, rules->rules[k].header, i, why);
		}
	}
}

static bool seen_before(struct run *r, const char *key)
{
	for (size_t i = 0; i < r->nseen; i++) /* never more than RESOLVE_RECIPIENTS_MAX + 1 */
		if (!strcmp(r->seen[i], key))
			return true;
	mem_grow(&r->seen, &r->cap_seen, r->nseen + 1, sizeof *r->seen);
	r->seen[r->nseen++] = mem_strdup(key);
	return false;
}

/* c: the line that says so; NULL: the administrator. */
static void push_recipient(struct resolution *out, char *take_address, const char *original,
	const struct candidate *c, bool unknown)
{
	mem_grow(&out->recipients, &out->cap_recipients, out->nrecipients + 1,
		sizeof *out->recipients);
	out->recipients[out->nrecipients++] = (struct resolved_recipient){ .address = take_address,
		.original = mem_strdup(original),
		.header = mem_strdup(c ? c->header : ""),
		.line = c ? c->line : 0,
		.unknown = unknown };
}

static void add_recipient(struct run *r, char *take_address, const char *original,
	const struct candidate *c, bool known)
{
	const char *key = take_address; /* the administrator's words, should they be no address */
	struct address a;

	if (!address_parse(sv_str(take_address), &a, NULL)) {
		key = key_of(r, &a);
		address_free(&a);
	}
	if (r->over || seen_before(r, key)) {
		free(take_address);
		return;
	}
	push_recipient(r->out, take_address, original, c, !known && !is_valid(r->rules, key));
	r->over = r->nseen > RESOLVE_RECIPIENTS_MAX;
}

static_assert(offsetof(struct map_entry, left) == 0, "compare_key reads it");

/* Longest match first: the whole address, then its domain. */
static const struct map_entry *map_find(struct run *r, const struct address *a)
{
	const struct resolve_rules *rules = r->rules;
	const char *key = key_of(r, a);
	size_t at = r->key.len - strlen(a->domain) - 1;

	const struct map_entry *e = find_key(key, rules->map, rules->nmap, sizeof *rules->map);
	if (e)
		return e;
	r->key.ptr[at - 1] = '*';
	return find_key(key + at - 1, rules->map, rules->nmap, sizeof *rules->map);
}

static void set_detail(struct candidate *c, const char *text, const char *more)
{
	struct strbuf detail = STRBUF_INIT;

	strbuf_adds(&detail, text);
	strbuf_adds(&detail, more);
	free(c->detail);
	c->detail = strbuf_take(&detail);
}

static void deliver_to(struct run *r, const struct address *a, struct candidate *c)
{
	bool known = !r->rules->valid || is_valid(r->rules, key_of(r, a));
	const struct map_entry *e = map_find(r, a);

	c->verdict = VERDICT_CHOSEN;
	if (e)
		set_detail(c, "mapped by ", e->left);
	else
		add_recipient(r, mem_strdup(a->text), a->text, c, known);
	for (size_t i = 0; e && i < e->nright; i++) {
		struct strbuf target = STRBUF_INIT;
		bool keeps_local = sv_starts(sv_str(e->right[i]), SV("*@"));
		if (keeps_local)
			strbuf_add(&target, a->text, a->at);
		strbuf_adds(&target, e->right[i] + (keeps_local ? 1 : 0));
		add_recipient(r, strbuf_take(&target), a->text, c, known || !keeps_local);
	}
}

/* False: the rule has no usable address. `pick` chooses among the lines that have one. */
static bool choose(struct run *r, size_t rule, enum envelope_pick pick)
{
	struct candidate *all = r->out->candidates;
	const struct candidate *picked = NULL;

	r->over |= r->state[rule].over;
	if (r->over)
		return true;
	for (size_t i = 0; i < r->nfound; i++)
		if (r->found[i].rule == rule && (!picked || pick == PICK_LAST))
			picked = &all[r->found[i].candidate];
	for (size_t i = 0; picked && i < r->nfound; i++) {
		struct candidate *c = &all[r->found[i].candidate];
		if (r->found[i].rule == rule && (pick == PICK_ALL || c->line == picked->line))
			deliver_to(r, &r->found[i].addr, c);
	}
	return picked;
}

static void received_for(struct run *r)
{
	struct strview name = SV("Received");
	const struct header_field *f;
	struct received rc;

	if (r->no_trusted_host)
		return;
	for (size_t i = 0; (f = header_find(r->h, name, &i)) && i <= r->out->boundary; i++) {
		received_read(f, &r->value, &rc);
		if (rc.for_addr.len)
			weigh_value(r, r->rules->nrules, "Received", f->line, rc.for_addr);
	}
}

static void to_cc(struct run *r)
{
	static const char *const names[] = { "To", "Cc", "Resent-To", "Resent-Cc" };

	for (size_t i = 0; i < r->h->n; i++)
		for (size_t k = 0; k < ARRAY_LEN(names); k++)
			if (header_is(&r->h->fields[i], names[k]))
				weigh_field(r, r->rules->nrules, names[k], i, NULL);
}

/* What the administrator allowed where no rule answers. */
static void fall_back(struct run *r)
{
	switch (r->rules->unresolved) {
	case UNRESOLVED_POSTMASTER:
	case UNRESOLVED_HOLD:
		return;
	case UNRESOLVED_RECEIVED_FOR:
		received_for(r);
		/* The lowest: nearest to what the outside wrote, before any alias. */
		(void)choose(r, r->rules->nrules, PICK_LAST); /* none: unresolved */
		return;
	case UNRESOLVED_TO_CC:
		to_cc(r);
		(void)choose(r, r->rules->nrules, PICK_ALL);
		return;
	}
}

static void decide(struct run *r)
{
	bool decided = false;

	for (size_t k = 0; k < r->rules->nrules && !decided; k++)
		decided = choose(r, k, r->rules->rules[k].pick);
	if (!decided)
		fall_back(r);
}

static void free_recipients(struct resolution *out)
{
	for (size_t i = 0; i < out->nrecipients; i++) {
		free(out->recipients[i].address);
		free(out->recipients[i].original);
		free(out->recipients[i].header);
	}
	out->nrecipients = 0;
}

static char *reason_of(const struct run *r)
{
	static const enum verdict order[] = { VERDICT_OWN_MAILBOX, VERDICT_FOREIGN_DOMAIN,
		VERDICT_MALFORMED, VERDICT_UNTRUSTED_POSITION };
	struct strbuf text = STRBUF_INIT;

	if (r->h->state == HEADER_LIMIT)
		return mem_strdup("the header block is over a limit");
	if (r->over)
		return mem_strdup("more addresses, or a longer line of them, than the limit");
	if (r->no_trusted_host)
		return mem_strdup(r->out->boundary_reason);
	for (size_t k = 0; k < ARRAY_LEN(order); k++) {
		for (size_t i = 0; i < r->out->ncandidates; i++) {
			if (r->out->candidates[i].verdict != order[k])
				continue;
			strbuf_adds(&text, r->out->candidates[i].header);
			strbuf_adds(&text, verdicts[order[k]].reason);
			return strbuf_take(&text);
		}
	}
	return mem_strdup("no envelope header");
}

static void give_up(struct run *r)
{
	const struct resolve_rules *rules = r->rules;
	struct resolution *out = r->out;
	bool postmaster = rules->unresolved == UNRESOLVED_POSTMASTER && rules->postmaster;

	out->unresolved = reason_of(r);
	out->action = postmaster ? ACTION_POSTMASTER : ACTION_HOLD;
	free_recipients(out);
	for (size_t i = 0; i < out->ncandidates; i++)
		if (out->candidates[i].verdict == VERDICT_CHOSEN)
			out->candidates[i].verdict = VERDICT_SUPERSEDED;
	if (postmaster)
		push_recipient(out, mem_strdup(rules->postmaster), rules->postmaster, NULL, false);
}

static void explain_superseded(struct run *r)
{
	const char *by = r->out->unresolved ? "the message is over a limit"
					    : "another line or an earlier rule decided";

	for (size_t i = 0; i < r->nfound; i++) {
		struct candidate *c = &r->out->candidates[r->found[i].candidate];
		if (c->verdict == VERDICT_SUPERSEDED)
			set_detail(c, by, "");
	}
}

static void set_sender(struct run *r)
{
	const struct resolve_rules *rules = r->rules;
	const struct header_field *f = NULL;
	size_t i = 0;

	if (!rules->sender_fixed)
		f = header_find(r->h, SV("Return-Path"), &i);
	if (f && i < r->top_end) {
		strbuf_clear(&r->value);
		header_unfold(f, &r->value);
		if (!reverse_path_parse(strbuf_view(&r->value), &r->out->sender))
			return;
	}
	const char *sender = rules->sender_fixed ? rules->sender_fixed : rules->sender_fallback;
	r->out->sender = mem_strdup(sender ? sender : "");
}

static void run_free(struct run *r)
{
	for (size_t i = 0; i < r->nfound; i++)
		address_free(&r->found[i].addr);
	for (size_t i = 0; i < r->nseen; i++)
		free(r->seen[i]);
	free(r->found);
	free(r->seen);
	free(r->state);
	strbuf_free(&r->value);
	strbuf_free(&r->key);
}

void resolve(const struct resolve_rules *rules, const struct header *h, struct resolution *out)
{
	struct run r = { .rules = rules, .h = h, .out = out };
	bool multidrop = rules->mode == RESOLVE_MULTIDROP, fit = h->state != HEADER_LIMIT;

	*out = (struct resolution){ .action = ACTION_DELIVER };
	out->envelope_missing = multidrop && fit && rules->nrules;
	r.state = mem_zalloc((rules->nrules + 1) * sizeof *r.state);
	find_boundary(&r);
	set_sender(&r);
	if (!multidrop) {
		push_recipient(out, mem_strdup(rules->recipient), rules->recipient, NULL, false);
	} else if (fit) {
		weigh_lines(&r);
		decide(&r);
	}
	if (!out->nrecipients || r.over)
		give_up(&r);
	explain_superseded(&r);
	run_free(&r);
}

void resolution_free(struct resolution *r)
{
	free_recipients(r);
	for (size_t i = 0; i < r->ncandidates; i++) {
		free(r->candidates[i].header);
		free(r->candidates[i].value);
		free(r->candidates[i].detail);
	}
	free(r->recipients);
	free(r->candidates);
	free(r->sender);
	free(r->unresolved);
	free(r->boundary_reason);
	*r = (struct resolution){ 0 };
}
