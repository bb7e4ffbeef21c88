/* What a probe found, as text or JSON; see ctl_probe.h. Owns nothing. */
#include "ctl_probe.h"

#include "base/encode.h"

#include <inttypes.h>
#include <stdio.h>

/* Columns of the table of headers: wide enough for what servers write. */
#define NAME_COLUMNS 22

static const char *const place_text[] = {
	[PLACE_TOP] = "top",
	[PLACE_INSIDE] = "top, inside the provider",
	[PLACE_BOTTOM] = "bottom",
};
static const char *const copies_text[] = {
	[COPIES_UNKNOWN] = "not known: no message to several recipients was seen",
	[COPIES_EACH] = "one for each recipient",
	[COPIES_JOINED] = "one that lists several recipients",
};

/* Where the header stands; NULL: nowhere that the sender could not write it. */
static const char *position_of(const struct survey_row *row)
{
	if (!row->placed)
		return NULL;
	return row->mixed ? "mixed" : survey_position_name(row->best);
}

/* ---- text ---- */

static void add_row(struct strbuf *out, const struct survey *s, const struct survey_row *row)
{
	AUTO(strbuf_free) struct strbuf name = STRBUF_INIT;
	const char *position = position_of(row);

	ctl_add_foreign(&name, row->header);
	strbuf_addf(out, "  %-*s %3" PRIu32 " of %-3" PRIu32 "  %10" PRIu32 "  %-8s  %11" PRIu32,
		NAME_COLUMNS, strbuf_str(&name), row->present, s->samples, row->ours,
		position ? position : "sender's", row->distinct);
	strbuf_adds(out, row->constant ? "  always the same\n" : "\n");
}

static void add_evidence(struct strbuf *out, const struct survey *s)
{
	if (!s->nrows)
		strbuf_adds(out, "No header that could carry a recipient.\n");
	else
		strbuf_addf(out, "  %-*s %-10s  %-10s  %-8s  %s\n", NAME_COLUMNS, "header",
			"present", "in domains", "position", "local parts");
	for (size_t i = 0; i < s->nrows; i++)
		add_row(out, s, &s->rows[i]);
	for (size_t i = 0; i < s->nhosts; i++)
		strbuf_addf(out, "%s%s (%" PRIu32 ")%s",
			i ? ", " : "\nThe provider's hosts, by their Received lines: ",
			s->hosts[i].name, s->hosts[i].seen, i + 1 < s->nhosts ? "" : "\n");
}

static void add_items(struct strbuf *out, const char *title, const struct survey_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		strbuf_addf(out, "%s%s", i ? ", " : title, i ? "" : "  ");
		ctl_add_foreign(out, l->items[i]);
	}
	strbuf_adds(out, l->n ? "\n" : "");
}

/* A sentence may quote what a sender wrote. */
static void add_sentences(struct strbuf *out, const char *title, const struct survey_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		strbuf_addf(out, "%s  - ", i ? "" : title);
		ctl_add_foreign(out, l->items[i]);
		strbuf_adds(out, "\n");
	}
}

static void add_answer(struct strbuf *out, const struct survey *s)
{
	const struct survey_row *row = &s->rows[0];

	strbuf_adds(out, "\nEnvelope recipient:  ");
	ctl_add_foreign(out, row->header);
	strbuf_addf(out, ", position %s, pick %s; resolves %" PRIu32 " of %" PRIu32 "\n",
		place_text[row->best], survey_pick_name(row->pick), row->hits, s->samples);
	add_items(out, "Prefix to strip:   ", &s->strip_prefix);
	add_items(out, "Trusted hosts:     ", &s->trusted_by);
	strbuf_addf(out, "Copies:              %s\nCertainty:           %s\n",
		copies_text[s->copies], survey_certainty_name(s->certainty));
	add_sentences(out, "Not sure, or not known\n", &s->doubts);
}

static int print_text(const struct probe_report *r, const char *stanza)
{
	AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;
	const struct survey *s = r->survey;

	strbuf_addf(&out,
		"%s: %" PRIu32 " messages in the maildrop, headers of the newest %" PRIu32
		" read.\n\n",
		r->account->name, r->listed, s->samples);
	add_evidence(&out, s);
	if (s->verdict == SURVEY_FOUND)
		add_answer(&out, s);
	add_sentences(&out, "\nWarnings\n", &s->warnings);
	if (s->verdict == SURVEY_FOUND)
		strbuf_addf(&out, "\n# Replaces provider \"%s\" and account \"%s\".\n%s",
			r->account->provider->name, r->account->name, stanza);
	fputs(strbuf_str(&out), stdout);
	return 0;
}

/* ---- JSON ---- */

static json_t *json_list(const struct survey_list *l)
{
	json_t *list = json_array();

	for (size_t i = 0; i < l->n; i++)
		json_array_append_new(list, show_json_text(l->items[i]));
	return list;
}

static json_t *json_headers(const struct survey *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->nrows; i++) {
		const struct survey_row *row = &s->rows[i];
		json_array_append_new(list,
			json_pack("{s:o, s:i, s:i, s:s?, s:i, s:i, s:b}", "header",
				show_json_text(row->header), "present", (int)row->present,
				"in_domains", (int)row->ours, "position", position_of(row),
				"resolves", (int)row->hits, "local_parts", (int)row->distinct,
				"constant", row->constant));
	}
	return list;
}

static json_t *json_hosts(const struct survey *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->nhosts; i++)
		json_array_append_new(list,
			json_pack("{s:s, s:i, s:b}", "host", s->hosts[i].name, "seen",
				(int)s->hosts[i].seen, "suggested", s->hosts[i].suggested));
	return list;
}

static json_t *json_answer(const struct survey *s)
{
	const struct survey_row *row = &s->rows[0];

	if (s->verdict != SURVEY_FOUND)
		return json_null();
	return json_pack("{s:o, s:s, s:s, s:s, s:i}", "header", show_json_text(row->header),
		"position", survey_position_name(row->best), "place", survey_place_name(row->best),
		"pick", survey_pick_name(row->pick), "resolves", (int)row->hits);
}

static int print_json(const struct probe_report *r, const char *stanza)
{
	const struct survey *s = r->survey;
	bool found = s->verdict == SURVEY_FOUND;
	json_t *o = json_pack("{s:s, s:i, s:i, s:o, s:o, s:s, s:o, s:o, s:o, s:s, s:s?, s:o, s:o}",
		"account", r->account->name, "messages", (int)r->listed, "samples", (int)s->samples,
		"headers", json_headers(s), "envelope", json_answer(s), "verdict",
		survey_verdict_name(s->verdict), "strip_prefix", json_list(&s->strip_prefix),
		"trusted_by", json_list(&s->trusted_by), "by", json_hosts(s), "copies",
		survey_copies_name(s->copies), "certainty",
		found ? survey_certainty_name(s->certainty) : NULL, "doubts", json_list(&s->doubts),
		"warnings", json_list(&s->warnings));

	json_object_set_new(o, "stanza", found ? show_json_text(stanza) : json_null());
	return ctl_print_json(o);
}

int probe_print(const struct probe_report *r, bool json)
{
	AUTO(strbuf_free) struct strbuf stanza = STRBUF_INIT;

	if (r->survey->verdict == SURVEY_FOUND)
		probe_stanza(r, &stanza);
	return json ? print_json(r, strbuf_str(&stanza)) : print_text(r, strbuf_str(&stanza));
}
