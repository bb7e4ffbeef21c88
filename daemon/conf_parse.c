/*
 * libconfuse's part: text to sections and settings as written, each with its place.
 *
 * Owns the tree. libconfuse knows no types here: every word that the file uses as a key is declared
 * as a list of strings in every section, so that an unknown key or a wrong type never stops it and
 * one run shows all faults. It has no user pointer either; the first option of every section, a
 * function that is never called, carries the parser's. Files are parsed one after the other, an
 * included one after the one that includes it, so its lexer never nests.
 */
#include "conf_internal.h"

#include <assert.h>
#include <confuse.h>
#include <stdio.h>
#include <stdlib.h>

#define OPEN_MAX 3 /* file, section, envelope */

struct parser {
	struct conf_tree *tree;
	const char *file;
	struct string_list words;
	struct {
		const cfg_t *cfg;
		struct conf_section *section;
	} open[OPEN_MAX];
	size_t nopen;
	struct conf_place last_secret;
	bool stopped;    /* libconfuse gave up and said why */
	char opening[2]; /* any value will do */
};

static const char *const kind_names[] = { "file", "provider", "relay", "account", "envelope" };
static_assert(ARRAY_LEN(kind_names) == CONF_KIND_COUNT, "one name per kind");

const char *conf_kind_name(enum conf_kind kind)
{
	return kind_names[kind];
}

const struct conf_setting *conf_find(const struct conf_section *s, const char *key)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->settings[i].key, key))
			return &s->settings[i];
	return NULL;
}

const char *conf_text(const struct conf_section *s, const char *key)
{
	const struct conf_setting *set = conf_find(s, key);

	return set && set->n && *set->values[0].text ? set->values[0].text : NULL;
}

struct conf_place conf_at(const struct conf_section *s, const char *key)
{
	const struct conf_setting *set = conf_find(s, key);

	return set ? set->place : s->place;
}

const struct conf_source *conf_source_of(const struct conf_tree *t, const char *file)
{
	for (size_t i = 0; i < t->nsources; i++)
		if (t->sources[i].path == file)
			return &t->sources[i];
	return NULL;
}

static struct conf_section *section_new(
	struct conf_tree *t, enum conf_kind kind, const char *title, struct conf_place place)
{
	struct conf_section *s = mem_zalloc(sizeof *s);

	s->kind = kind;
	s->title = mem_strdup(title);
	s->place = place;
	mem_grow(&t->sections, &t->cap_sections, t->nsections + 1, sizeof *t->sections);
	t->sections[t->nsections++] = s;
	return s;
}

static void setting_free(struct conf_setting *set)
{
	for (size_t i = 0; i < set->n; i++) {
		mem_wipe(set->values[i].text, strlen(set->values[i].text));
		free(set->values[i].text);
	}
	free(set->values);
	free(set->key);
}

void conf_tree_free(struct conf_tree *t)
{
	for (size_t i = 0; i < t->nsections; i++) {
		struct conf_section *s = t->sections[i];
		for (size_t j = 0; j < s->n; j++)
			setting_free(&s->settings[j]);
		free(s->settings);
		free(s->title);
		free(s);
	}
	free(t->sections);
	free(t->sources);
}

static struct parser *parser_of(const cfg_t *cfg)
{
	return (struct parser *)(void *)cfg->opts[0].simple_value.ptr;
}

static struct conf_place here(const cfg_t *cfg)
{
	return (struct conf_place){ parser_of(cfg)->file, cfg->line };
}

/* Sections that have ended are still on the stack until somebody outside of them speaks. */
static struct conf_section *current(const cfg_t *cfg)
{
	struct parser *p = parser_of(cfg);

	while (p->nopen > 1 && p->open[p->nopen - 1].cfg != cfg)
		p->nopen--;
	return p->open[p->nopen - 1].section;
}

static enum conf_kind kind_of(const char *name)
{
	for (enum conf_kind k = CONF_PROVIDER; k < CONF_ENVELOPE; k++)
		if (!strcmp(kind_names[k], name))
			return k;
	return CONF_ENVELOPE;
}

/* libconfuse sets the defaults of a section when it meets its brace: the only sign it gives. */
static int on_open(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	struct parser *p = parser_of(cfg);
	enum conf_kind kind = kind_of(cfg->name);
	struct conf_section *s = section_new(p->tree, kind, cfg->title, here(cfg));

	p->nopen = kind == CONF_ENVELOPE ? 2 : 1;
	s->parent = p->open[p->nopen - 1].section;
	p->open[p->nopen].cfg = cfg;
	p->open[p->nopen++].section = s;
	*(const char **)result = "";
	return 0;
}

static struct conf_setting *setting_new(
	struct conf_section *s, const char *key, struct conf_place place, struct faults *f)
{
	const struct conf_setting *first = conf_find(s, key);

	if (first)
		fault_add(f, place, "%s is set twice; first at %s:%d", key, first->place.file,
			first->place.line);
	mem_grow(&s->settings, &s->cap, s->n + 1, sizeof *s->settings);
	s->settings[s->n++] = (struct conf_setting){ .key = mem_strdup(key), .place = place };
	return &s->settings[s->n - 1];
}

/* The setting that libconfuse is reading: always the section's youngest of that name. */
static struct conf_setting *youngest(struct conf_section *s, const char *key)
{
	for (size_t i = s->n; i--;)
		if (!strcmp(s->settings[i].key, key))
			return &s->settings[i];
	return NULL;
}

static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	struct parser *p = parser_of(cfg);
	struct conf_section *s = current(cfg);
	/* nvalues counts this one; it starts again at each "=" and goes on at "+=" */
	struct conf_setting *set = opt->nvalues > 1 ? youngest(s, opt->name) : NULL;

	if (!set)
		set = setting_new(s, opt->name, here(cfg), p->tree->faults);
	if (sv_starts(sv_str(opt->name), SV("password")))
		p->last_secret = here(cfg);
	if (strcmp(value, CONF_EMPTY_LIST)) {
		mem_grow(&set->values, &set->cap, set->n + 1, sizeof *set->values);
		set->values[set->n++] = (struct conf_value){ mem_strdup(value), cfg->line };
	}
	*(const char **)result = ""; /* libconfuse need not keep a copy of a password */
	return 0;
}

static int on_valid(cfg_t *cfg, cfg_opt_t *opt)
{
	struct conf_setting *set = youngest(current(cfg), opt->name);

	if (set)
		set->confirmed++;
	return 0;
}

static void add_source(struct conf_tree *t, const char *path, struct conf_place included)
{
	string_list_add(&t->config->files, sv_str(path));
	mem_grow(&t->sources, &t->cap_sources, t->nsources + 1, sizeof *t->sources);
	t->sources[t->nsources++] = (struct conf_source){
		.path = t->config->files.items[t->config->files.n - 1],
		.included = included,
	};
}

static int on_include(cfg_t *cfg, cfg_opt_t *opt, int argc, const char **argv)
{
	struct parser *p = parser_of(cfg);
	char *path AUTO(mem_freep) = NULL;

	if (argc != 1 || !*argv[0]) {
		fault_add(p->tree->faults, here(cfg), "include takes the name of one file");
		return 0;
	}
	path = conf_resolve(p->file, argv[0]);
	add_source(p->tree, path, here(cfg));
	return 0;
}

static void on_error(cfg_t *cfg, const char *fmt, va_list ap) format_like(2, 0);

static void on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	struct parser *p = parser_of(cfg);
	char text[256];

	p->tree->broken = p->stopped = true;
	/* What follows an unquoted password with a blank in it would be quoted here. */
	if (p->last_secret.file && p->last_secret.line == cfg->line) {
		fault_add(p->tree->faults, here(cfg), "a password must stand in quotes");
		return;
	}
	if (!strcmp(fmt, "no such option '%s'")) {
		fault_add(p->tree->faults, here(cfg),
			"unknown section \"%s\", or a = is missing behind it",
			va_arg(ap, const char *));
		return;
	}
	vsnprintf(text, sizeof text, fmt, ap);
	fault_add(p->tree->faults, here(cfg), "%s", text);
}

static int never(cfg_t *cfg, cfg_opt_t *opt, int argc, const char **argv)
{
	return -1;
}

static bool is_reserved(enum conf_kind kind, const char *word)
{
	switch (kind) {
	case CONF_ROOT:
		return !strcmp(word, "include") || kind_of(word) != CONF_ENVELOPE;
	case CONF_PROVIDER:
	case CONF_ACCOUNT:
		return !strcmp(word, kind_names[CONF_ENVELOPE]);
	case CONF_RELAY:
	case CONF_ENVELOPE:
	case CONF_KIND_COUNT:
		break;
	}
	return false;
}

/* The options of one kind of section, at most words + 6 of them; the caller frees. */
static cfg_opt_t *options(struct parser *p, enum conf_kind kind, cfg_opt_t *subs, size_t nsubs)
{
	cfg_opt_t carrier = CFG_FUNC("{parser}", never);
	cfg_opt_t opened = CFG_STR_CB("{open}", NULL, CFGF_NONE, on_open);
	cfg_opt_t include = CFG_FUNC("include", on_include);
	cfg_opt_t end = CFG_END();
	cfg_opt_t *opts = mem_alloc((p->words.n + 6) * sizeof *opts);
	size_t n = 0;

	carrier.simple_value.ptr = (void **)(void *)p;
	opened.def.parsed = p->opening;
	opts[n++] = carrier;
	if (kind == CONF_ROOT)
		opts[n++] = include;
	else
		opts[n++] = opened;
	for (size_t i = 0; i < nsubs; i++)
		opts[n++] = subs[i];
	for (size_t i = 0; i < p->words.n; i++) {
		cfg_opt_t key = CFG_STR_LIST_CB(p->words.items[i], NULL, CFGF_NONE, on_value);
		key.validcb = on_valid;
		if (!is_reserved(kind, p->words.items[i]))
			opts[n++] = key;
	}
	opts[n] = end;
	return opts;
}

static cfg_t *cfg_new(struct parser *p)
{
	cfg_opt_t *envelope = options(p, CONF_ENVELOPE, NULL, 0);
	cfg_opt_t inner = CFG_SEC("envelope", envelope, CFGF_MULTI | CFGF_TITLE);
	cfg_opt_t *provider = options(p, CONF_PROVIDER, &inner, 1);
	cfg_opt_t *relay = options(p, CONF_RELAY, NULL, 0);
	cfg_opt_t *account = options(p, CONF_ACCOUNT, &inner, 1);
	cfg_opt_t sections[] = {
		CFG_SEC("provider", provider, CFGF_MULTI | CFGF_TITLE),
		CFG_SEC("relay", relay, CFGF_MULTI | CFGF_TITLE),
		CFG_SEC("account", account, CFGF_MULTI | CFGF_TITLE),
	};
	cfg_opt_t *root = options(p, CONF_ROOT, sections, ARRAY_LEN(sections));
	cfg_t *cfg = cfg_init(root, CFGF_NONE); /* takes copies */

	ensure(cfg);
	free(root);
	free(account);
	free(relay);
	free(provider);
	free(envelope);
	cfg_set_error_function(cfg, on_error);
	return cfg;
}

static int line_reached(const struct parser *p, const cfg_t *cfg)
{
	int line = cfg->line;

	for (size_t i = 1; i < p->nopen; i++)
		if (p->open[i].cfg->line > line)
			line = p->open[i].cfg->line;
	return line;
}

static void parse_text(
	struct conf_tree *t, const char *file, struct strbuf *text, const struct string_list *words)
{
	struct parser p = { .tree = t, .file = file, .words = *words, .opening = "x" };
	FILE *stream = text->len ? fmemopen(text->ptr, text->len, "r") : NULL;
	cfg_t *cfg;

	if (!stream)
		return;
	p.open[p.nopen++].section = t->sections[0];
	cfg = cfg_new(&p);
	if (cfg_parse_fp(cfg, stream) != CFG_SUCCESS && !p.stopped) {
		/* At "" in the place of a name it stops without a word, and all behind it is lost.
		 */
		fault_add(t->faults, (struct conf_place){ file, line_reached(&p, cfg) },
			"\"\" stands where a name is expected");
		t->broken = true;
	}
	fclose(stream);
	cfg_free(cfg);
}

/* A file that is read twice is either a loop or defines everything twice. */
static bool read_before(struct conf_tree *t, size_t i)
{
	const struct conf_source *me = &t->sources[i];

	for (size_t j = 0; j < i; j++) {
		const struct conf_source *other = &t->sources[j];
		if (other->st.st_dev != me->st.st_dev || other->st.st_ino != me->st.st_ino)
			continue;
		fault_add(t->faults, me->included, "include \"%s\": this file is read already",
			me->path);
		return true;
	}
	return false;
}

static void load_source(struct conf_tree *t, size_t i)
{
	struct strbuf raw AUTO(strbuf_wipe) = STRBUF_INIT;
	struct strbuf text AUTO(strbuf_wipe) = STRBUF_INIT;
	struct string_list words AUTO(string_list_free) = { 0 };
	const char *path = t->sources[i].path;
	struct err err;

	if (conf_read(path, CONF_FILE_MAX, &raw, &t->sources[i].st, &err) < 0) {
		fault_add(t->faults, t->sources[i].included, i ? "include \"%s\": %s" : "%s: %s",
			i ? path : "cannot be read", err.text);
		t->missing = true;
		return;
	}
	if (read_before(t, i))
		return;
	if (conf_scan(strbuf_view(&raw), path, t->faults, &text, &words))
		parse_text(t, path, &text, &words);
	else
		t->broken = true;
}

void conf_tree_load(struct conf_tree *t, const char *path)
{
	struct conf_place top;

	add_source(t, path, (struct conf_place){ 0 });
	top = (struct conf_place){ t->sources[0].path, 0 };
	t->sources[0].included = top;
	section_new(t, CONF_ROOT, NULL, top);
	for (size_t i = 0; i < t->nsources; i++)
		load_source(t, i);
}
