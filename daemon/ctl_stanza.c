/*
 * The configuration that a probe proposes; see ctl_probe.h.
 *
 * Owns the tree of the configuration as written, which it reads once more: only there do file names
 * and references still look as the administrator wrote them. What the probe found replaces keys by
 * name; everything else is copied.
 */
#include "conf_internal.h"
#include "ctl_probe.h"

#include <stdlib.h>

/* Keys that the survey's rules take the place of. */
static const char *const replaced[] = { "trusted_by", "strip_prefix", "mode", "recipient" };
/* A relative path starts at the file that it stands in: elsewhere it must be whole. */
static const char *const paths[] = { "tls_ca_file", "password_file", "map_file",
	"recipients_file" };

static bool among(const char *const *words, size_t n, const char *word)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(words[i], word))
			return true;
	return false;
}

static void add_list(struct strbuf *out, const char *key, char *const *items, size_t n)
{
	if (!n)
		return;
	strbuf_addf(out, "\t%s = {", key);
	for (size_t i = 0; i < n; i++) {
		strbuf_adds(out, i ? ", " : " ");
		config_quote(out, items[i]);
	}
	strbuf_adds(out, " }\n");
}

static void add_values(struct strbuf *out, const struct conf_setting *set)
{
	bool is_path = among(paths, ARRAY_LEN(paths), set->key);
	bool braces = set->confirmed > set->n || !set->n;

	strbuf_addf(out, "\t%s = %s", set->key, braces ? "{ " : "");
	for (size_t i = 0; i < set->n; i++) {
		const char *text = set->values[i].text;
		AUTO(mem_freep)
		char *whole = is_path && *text ? conf_resolve(set->place.file, text) : NULL;
		strbuf_adds(out, i ? ", " : "");
		config_quote(out, whole ? whole : text);
	}
	strbuf_adds(out, braces ? " }\n" : "\n");
}

static void add_settings(struct strbuf *out, const struct conf_section *s, bool no_domains)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct conf_setting *set = &s->settings[i];
		if (among(replaced, ARRAY_LEN(replaced), set->key) ||
			(no_domains && !strcmp(set->key, "domains")))
			continue;
		if (strcmp(set->key, "password"))
			add_values(out, set);
		else
			strbuf_addf(out, "\t# password: keep the line %s:%d\n", set->place.file,
				set->place.line);
	}
}

static void add_rule(struct strbuf *out, const struct survey_row *row)
{
	strbuf_adds(out, "\tenvelope ");
	config_quote(out, row->header);
	strbuf_addf(out, " {\n\t\tposition = \"%s\"\n\t\tpick = \"%s\"\n\t}\n",
		survey_position_name(row->best), survey_pick_name(row->pick));
}

static const struct conf_section *find(
	const struct conf_tree *t, enum conf_kind kind, const char *title)
{
	for (size_t i = 0; i < t->nsections; i++)
		if (t->sections[i]->kind == kind && !strcmp(t->sections[i]->title, title))
			return t->sections[i];
	return NULL;
}

static void add_sharers(
	struct strbuf *out, const struct conf_tree *t, const struct conf_section *account)
{
	const char *provider = conf_text(account, "provider");

	for (size_t i = 0; i < t->nsections; i++) {
		const struct conf_section *s = t->sections[i];
		const char *theirs = s->kind == CONF_ACCOUNT ? conf_text(s, "provider") : NULL;
		if (s != account && theirs && !strcmp(theirs, provider))
			strbuf_addf(out, "# account \"%s\" uses this provider too\n", s->title);
	}
}

static void add_sections(struct strbuf *out, const struct probe_report *r,
	const struct conf_tree *t, const struct conf_section *provider,
	const struct conf_section *account)
{
	const struct survey *s = r->survey;

	add_sharers(out, t, account);
	strbuf_addf(out, "provider \"%s\" {\n", provider->title);
	add_settings(out, provider, false);
	add_list(out, "trusted_by", s->trusted_by.items, s->trusted_by.n);
	add_list(out, "strip_prefix", s->strip_prefix.items, s->strip_prefix.n);
	add_rule(out, &s->rows[0]);
	strbuf_addf(out, "}\n\naccount \"%s\" {\n", account->title);
	add_settings(out, account, r->domain);
	if (r->domain) {
		strbuf_adds(out, "\tdomains = { ");
		config_quote(out, r->domain);
		strbuf_adds(out, " }\n");
	}
	strbuf_adds(out, "}\n");
}

void probe_stanza(const struct probe_report *r, struct strbuf *out)
{
	AUTO(mem_freep) char *path = realpath(r->config_path, NULL);
	struct faults faults = { 0 };
	struct conf_tree t = { .config = config_new(), .faults = &faults };

	conf_tree_load(&t, path ? path : r->config_path);
	const struct conf_section *account = find(&t, CONF_ACCOUNT, r->account->name);
	const struct conf_section *provider = find(&t, CONF_PROVIDER, r->account->provider->name);
	if (account && provider) /* not if the file was changed meanwhile */
		add_sections(out, r, &t, provider, account);
	conf_tree_free(&t);
	config_unref(t.config);
	faults_free(&faults);
}
