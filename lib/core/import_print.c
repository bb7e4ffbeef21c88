/*
 * The configuration that an import proposes: the only place that makes text of it.
 *
 * Owns the names. Sections of the same content are one: accounts of the same provider share its
 * limits, as they must. A note is printed once.
 */
#include "base/encode.h"
#include "core/import.h"

#include <assert.h>
#include <stdlib.h>

#define COLUMNS     90 /* of a comment */
#define NAME_OCTETS 56 /* leaves room for a number; the configuration takes 64 */

static const struct {
	enum import_section section;
	const char *name;
	enum { TEXT, BARE, LIST, ENVELOPE, PICK } how; /* PICK stands in ENVELOPE's section */
} keys[] = {
	[KEY_HOST] = { IMPORT_PROVIDER, "host", TEXT },
	[KEY_PORT] = { IMPORT_PROVIDER, "port", BARE },
	[KEY_TLS] = { IMPORT_PROVIDER, "tls", TEXT },
	[KEY_TLS_CA_FILE] = { IMPORT_PROVIDER, "tls_ca_file", TEXT },
	[KEY_AUTH] = { IMPORT_PROVIDER, "auth", TEXT },
	[KEY_TIMEOUT] = { IMPORT_PROVIDER, "timeout", TEXT },
	[KEY_STRIP_PREFIX] = { IMPORT_PROVIDER, "strip_prefix", LIST },
	[KEY_RELAY_HOST] = { IMPORT_RELAY, "host", TEXT },
	[KEY_BACKUP_HOSTS] = { IMPORT_RELAY, "backup_hosts", LIST },
	[KEY_RELAY_PORT] = { IMPORT_RELAY, "port", BARE },
	[KEY_PROTOCOL] = { IMPORT_RELAY, "protocol", TEXT },
	[KEY_RELAY_USER] = { IMPORT_RELAY, "user", TEXT },
	[KEY_MAX_MESSAGES] = { IMPORT_RELAY, "max_messages", BARE },
	[KEY_ENABLED] = { IMPORT_ACCOUNT, "enabled", BARE },
	[KEY_USER] = { IMPORT_ACCOUNT, "user", TEXT },
	[KEY_PASSWORD_COMMAND] = { IMPORT_ACCOUNT, "password_command", TEXT },
	[KEY_INTERVAL] = { IMPORT_ACCOUNT, "interval", TEXT },
	[KEY_MODE] = { IMPORT_ACCOUNT, "mode", TEXT },
	[KEY_RECIPIENT] = { IMPORT_ACCOUNT, "recipient", TEXT },
	[KEY_DOMAINS] = { IMPORT_ACCOUNT, "domains", LIST },
	[KEY_MAP] = { IMPORT_ACCOUNT, "map", LIST },
	[KEY_ENVELOPE] = { IMPORT_ACCOUNT, "envelope", ENVELOPE },
	[KEY_PICK] = { IMPORT_ACCOUNT, "pick", PICK },
	[KEY_POSTMASTER] = { IMPORT_ACCOUNT, "postmaster", TEXT },
	[KEY_KEEP] = { IMPORT_ACCOUNT, "keep", TEXT },
	[KEY_MAX_SIZE] = { IMPORT_ACCOUNT, "max_size", TEXT },
	[KEY_FETCH_LIMIT] = { IMPORT_ACCOUNT, "fetch_limit", BARE },
};
static_assert(ARRAY_LEN(keys) == IMPORT_KEYS, "a row for every key");

struct section { /* one that has been printed */
	enum import_section kind;
	char *name, *body;
	const char *password; /* of a relay; or NULL */
};
struct printer {
	struct strbuf *out;
	const char *secrets_dir;
	struct import_secrets *secrets;
	struct section *sections;
	size_t n, cap;
	struct string_list notes; /* printed ones */
};

/* ---- pieces ---- */

static void add_list(struct strbuf *out, const char *name, const struct string_list *l)
{
	const char *between = l->n > 1 ? "\n\t\t" : " ";

	strbuf_addf(out, "\t%s = {", name);
	for (size_t i = 0; i < l->n; i++) {
		strbuf_addf(out, "%s%s", i ? "," : "", between);
		config_quote(out, l->items[i]);
	}
	strbuf_adds(out, l->n > 1 ? "\n\t}\n" : " }\n");
}

static void add_value(struct strbuf *out, const struct import_account *a, size_t key)
{
	const struct string_list *l = &a->values[key];
	const char *name = keys[key].name, *pick = import_get(a, KEY_PICK);

	if (!l->n || keys[key].how == PICK)
		return;
	if (keys[key].how == LIST) {
		add_list(out, name, l);
		return;
	}
	strbuf_addf(out, keys[key].how == ENVELOPE ? "\t%s " : "\t%s = ", name);
	if (keys[key].how == BARE)
		strbuf_adds(out, l->items[0]);
	else
		config_quote(out, l->items[0]);
	if (keys[key].how == ENVELOPE)
		strbuf_addf(out, " {\n\t\tposition = \"top\"\n\t\tpick = \"%s\"\n\t}",
			pick ? pick : "first");
	strbuf_addc(out, '\n');
}

static void add_values(
	struct strbuf *out, const struct import_account *a, enum import_section section)
{
	for (size_t key = 0; key < IMPORT_KEYS; key++)
		if (keys[key].section == section)
			add_value(out, a, key);
}

static void end_line(struct strbuf *out, const char *indent, struct strbuf *line)
{
	strbuf_addf(out, "%s# %s\n", indent, strbuf_str(line));
	strbuf_clear(line);
}

/* A comment; escaped word by word, since escape_foreign() cuts what is long. */
static void add_note(struct strbuf *out, const char *indent, const char *text)
{
	AUTO(strbuf_free) struct strbuf line = STRBUF_INIT;
	struct strview rest = sv_str(text);

	while (rest.len) {
		AUTO(strbuf_free) struct strbuf word = STRBUF_INIT;
		escape_foreign(&word, sv_token(&rest, ' '));
		if (line.len && line.len + 1 + word.len > COLUMNS)
			end_line(out, indent, &line);
		strbuf_addf(&line, "%s%s", line.len ? " " : "", strbuf_str(&word));
	}
	end_line(out, indent, &line);
}

static void add_notes(struct printer *p, const char *indent, const struct string_list *notes)
{
	for (size_t i = 0; i < notes->n; i++) {
		if (string_list_has(&p->notes, notes->items[i]))
			continue;
		string_list_add(&p->notes, sv_str(notes->items[i]));
		add_note(p->out, indent, notes->items[i]);
	}
}

/* ---- names ---- */

static bool taken(const struct printer *p, enum import_section kind, const char *name)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->sections[i].kind == kind && !strcmp(p->sections[i].name, name))
			return true;
	return false;
}

/* What a section may be called that is best called `wish`; the caller frees. */
static char *name_for(const struct printer *p, enum import_section kind, struct strview wish)
{
	AUTO(strbuf_free) struct strbuf stem = STRBUF_INIT;
	struct strbuf name = STRBUF_INIT;

	for (size_t i = 0; i < wish.len && stem.len < NAME_OCTETS; i++) {
		char c = (char)ascii_lower((unsigned char)wish.ptr[i]);
		bool fits = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			(stem.len && strchr("._-", c));
		strbuf_addc(&stem, fits && c ? c : '-');
	}
	strbuf_adds(&name, stem.len ? strbuf_str(&stem) : "unnamed");
	for (unsigned n = 2; taken(p, kind, strbuf_str(&name)); n++) {
		strbuf_clear(&name);
		strbuf_addf(&name, "%s-%u", strbuf_str(&stem), n);
	}
	return strbuf_take(&name);
}

/* ---- sections ---- */

static bool same_password(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* The name of a printed section with that content, or NULL. */
static const char *find(
	const struct printer *p, enum import_section kind, const char *body, const char *password)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct section *s = &p->sections[i];
		if (s->kind == kind && !strcmp(s->body, body) &&
			same_password(s->password, password))
			return s->name;
	}
	return NULL;
}

static void add_password_file(struct printer *p, const char *prefix, const char *name,
	const char *password, const struct conf_place *place)
{
	AUTO(strbuf_free) struct strbuf path = STRBUF_INIT;

	strbuf_addf(&path, "%s/%s%s.pw", p->secrets_dir, prefix, name);
	if (!password)
		strbuf_addf(p->out,
			"\t# " IMPORT_DECIDE
			"no password in %s:%d; write it into this file, mode 0600\n",
			place->file, place->line);
	else if (!p->secrets)
		strbuf_addf(p->out, "\t# write the password from %s:%d into this file, mode 0600\n",
			place->file, place->line);
	strbuf_adds(p->out, "\tpassword_file = ");
	config_quote(p->out, strbuf_str(&path));
	strbuf_addc(p->out, '\n');
	if (!password || !p->secrets)
		return;
	mem_grow(
		&p->secrets->items, &p->secrets->cap, p->secrets->n + 1, sizeof *p->secrets->items);
	p->secrets->items[p->secrets->n++] =
		(struct import_secret){ strbuf_take(&path), sv_str(password) };
}

/* Prints the section unless there is one like it; returns its name. */
static const char *add_section(struct printer *p, const struct import_account *a,
	enum import_section kind, struct strview wish, const char *references)
{
	static const char *const kinds[] = { "provider", "relay", "account" };
	struct strbuf body = STRBUF_INIT;
	const char *password = kind == IMPORT_RELAY ? a->relay_password : NULL;

	strbuf_adds(&body, references);
	add_values(&body, a, kind);
	const char *known =
		kind == IMPORT_ACCOUNT ? NULL : find(p, kind, strbuf_str(&body), password);
	if (known) {
		strbuf_free(&body);
		return known;
	}
	char *name = name_for(p, kind, wish);
	strbuf_adds(p->out, "\n");
	/* An account also has the notes of a section that had been printed before. */
	for (size_t k = kind == IMPORT_ACCOUNT ? 0 : kind; k <= kind; k++)
		add_notes(p, "", &a->notes[k]);
	strbuf_addf(p->out, "%s \"%s\" {\n%s", kinds[kind], name, strbuf_str(&body));
	if (kind == IMPORT_ACCOUNT && !import_get(a, KEY_PASSWORD_COMMAND))
		add_password_file(p, "", name, a->password, &a->place);
	if (kind == IMPORT_RELAY && import_get(a, KEY_RELAY_USER))
		add_password_file(p, "relay-", name, password, &a->place);
	strbuf_adds(p->out, "}\n");
	mem_grow(&p->sections, &p->cap, p->n + 1, sizeof *p->sections);
	p->sections[p->n++] = (struct section){ kind, name, strbuf_take(&body), password };
	return name;
}

static void add_account(struct printer *p, const struct import_account *a)
{
	AUTO(strbuf_free) struct strbuf references = STRBUF_INIT;
	struct strview user = sv_str(import_get(a, KEY_USER));
	const char *provider =
		add_section(p, a, IMPORT_PROVIDER, sv_str(import_get(a, KEY_HOST)), "");
	const char *relay = add_section(p, a, IMPORT_RELAY, SV("inhouse"), "");

	strbuf_addf(&references, "\tprovider = \"%s\"\n\trelay = \"%s\"\n", provider, relay);
	(void)add_section(p, a, IMPORT_ACCOUNT, sv_token(&user, '@'), strbuf_str(&references));
}

void import_print(const struct import *i, const char *secrets_dir, struct import_secrets *secrets,
	struct strbuf *out)
{
	struct printer p = { .out = out, .secrets_dir = secrets_dir, .secrets = secrets };

	add_note(out, "",
		"Made by `multidropctl import`. What begins with " IMPORT_DECIDE
		"is for you to decide; then `multidropd --test-config`.");
	add_notes(&p, "", &i->notes);
	for (size_t n = 0; n < i->n; n++)
		add_account(&p, &i->accounts[n]);
	for (size_t n = 0; n < p.n; n++) {
		free(p.sections[n].name);
		free(p.sections[n].body);
	}
	free(p.sections);
	string_list_free(&p.notes);
}

void import_secrets_free(struct import_secrets *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->items[i].path);
	free(s->items);
	*s = (struct import_secrets){ 0 };
}
