/*
 * The grammar of a fetchmailrc: tokens, and the entries that they build.
 *
 * Owns the entries for the time of a call; the words are in import_fetchmail_words.c. They count as
 * words only where they are not quoted and no name is wanted. What is written may be a password, so
 * no message repeats it.
 */
#include "core/import_fetchmail.h"

#include <stdlib.h>

#define NUMBER_MAX INT32_MAX

/* Words that are no option, but end a list. */
static const char *const structure[] = { "set", "poll", "skip", "server", "defaults", "user",
	"username", "here", "there", "no" };
static const char *const noise[] = { "and", "with", "has", "wants", "options" };

/* ---- tokens ---- */

enum kind { END, WORD, QUOTED, DIGITS, EQUALS };

struct parser {
	struct import *import;
	const char *file;
	struct strview rest;
	int line, next_line; /* of the token, of what follows it */
	enum kind kind;
	struct strbuf token;
	bool failed;

	struct fm_entry set, defaults, server, user;
	struct fm_entry *entry; /* that options go to; NULL: none yet */
	enum fm_scope scope;    /* GLOBAL: in `set`, or outside of all */
	bool in_defaults, have_server, have_user;
};

static void fail(struct parser *p, const char *what)
{
	if (!p->failed)
		fault_add(&p->import->faults, (struct conf_place){ p->file, p->line }, "%s", what);
	p->failed = true;
	p->kind = END;
}

static bool among(const char *const *words, size_t n, struct strview word)
{
	for (size_t i = 0; i < n; i++)
		if (sv_eq(word, sv_str(words[i])))
			return true;
	return false;
}

static char take(struct parser *p)
{
	char c = p->rest.ptr[0];

	p->next_line += c == '\n';
	p->rest = sv_skip(p->rest, 1);
	return c;
}

/* Digits of the base, at most `max` of them; -1: none. */
static int escape_number(struct parser *p, int base, size_t max)
{
	int value = -1;

	for (size_t i = 0; i < max && p->rest.len; i++) {
		char c = (char)ascii_lower((unsigned char)p->rest.ptr[0]);
		int digit = c >= '0' && c <= '9' ? c - '0'
			: c >= 'a' && c <= 'f'   ? c - 'a' + 10
						 : 16;
		if (digit >= base)
			break;
		value = (value < 0 ? 0 : value * base) + digit;
		(void)take(p); /* looked at above */
	}
	return value;
}

/* Behind a backslash: fetchmail's own escapes, which are not quite those of C. */
static void escape(struct parser *p)
{
	static const char letters[] = "ntbr", meant[] = "\n\t\b\r";
	char c = p->rest.len ? p->rest.ptr[0] : '\0';
	const char *letter = c ? strchr(letters, c) : NULL;
	int value = 0;

	if (c >= '1' && c <= '9') {
		value = escape_number(p, 10, 3);
	} else if (p->rest.len) {
		(void)take(p); /* is c */
		if (c == '\n')
			return; /* the line goes on */
		value = c == '0' ? escape_number(p, 8, 3) : c == 'x' ? escape_number(p, 16, 2) : c;
		value = letter ? meant[letter - letters] : value;
	}
	if (value <= 0 || value > UINT8_MAX)
		fail(p, "an escape in a string is no character: \\nnn, \\0ooo or \\xhh, not 0");
	else
		strbuf_addc(&p->token, (char)value);
}

static void quoted(struct parser *p)
{
	char quote = take(p);

	p->kind = QUOTED;
	while (p->rest.len && p->rest.ptr[0] != quote) {
		char c = take(p);
		if (c == '\\')
			escape(p);
		else if (c)
			strbuf_addc(&p->token, c);
		else
			fail(p, "a string holds a NUL");
	}
	if (p->rest.len)
		(void)take(p); /* the quote */
	else
		fail(p, "a string that begins here has no end: close the quote");
}

static void unquoted(struct parser *p)
{
	bool digits = true;

	while (p->rest.len && p->rest.ptr[0] && !strchr(" \t\r\n,;:=", p->rest.ptr[0])) {
		char c = take(p);
		digits = digits && c >= '0' && c <= '9';
		if (c == '\\')
			escape(p);
		else
			strbuf_addc(&p->token, c);
	}
	if (p->rest.len && !p->rest.ptr[0])
		fail(p, "the file holds a NUL: it is no text");
	else
		p->kind = digits ? DIGITS : WORD;
}

static void skip_blanks(struct parser *p)
{
	while (p->rest.len && (strchr(" \t\r\n,;:#", p->rest.ptr[0])) && p->rest.ptr[0]) {
		bool comment = p->rest.ptr[0] == '#';
		while (comment && p->rest.len && p->rest.ptr[0] != '\n')
			(void)take(p); /* of the comment */
		if (!comment)
			(void)take(p); /* a blank */
	}
}

/* The next token. as_name: it is a name, even if it reads like a noise word. */
static void next(struct parser *p, bool as_name)
{
	do {
		strbuf_wipe(&p->token); /* it may have been a password */
		skip_blanks(p);
		p->line = p->next_line;
		p->kind = END;
		if (!p->rest.len || p->failed)
			return;
		if (p->rest.ptr[0] == '=') {
			(void)take(p); /* is the token */
			p->kind = EQUALS;
		} else if (p->rest.ptr[0] == '"' || p->rest.ptr[0] == '\'') {
			quoted(p);
		} else {
			unquoted(p);
		}
	} while (p->kind == WORD && !as_name &&
		among(noise, ARRAY_LEN(noise), strbuf_view(&p->token)));
}

static bool at(const struct parser *p, const char *word)
{
	return p->kind == WORD && sv_eq(strbuf_view(&p->token), sv_str(word));
}

/* ---- entries ---- */

static void entry_free(struct fm_entry *e)
{
	for (size_t i = 0; i < FM_FIELDS; i++) {
		for (size_t k = 0; k < e->values[i].n; k++) /* passwords are among them */
			mem_wipe(e->values[i].items[k], strlen(e->values[i].items[k]));
		string_list_free(&e->values[i]);
	}
	for (size_t i = 0; i < IMPORT_SECTIONS; i++)
		string_list_free(&e->notes[i]);
	*e = (struct fm_entry){ 0 };
}

const struct string_list *fm_list(const struct fm_entry *e, enum fm_field field)
{
	for (; e->parent && !e->values[field].n; e = e->parent)
		;
	return &e->values[field];
}

const char *fm_text(const struct fm_entry *e, enum fm_field field)
{
	const struct string_list *l = fm_list(e, field);

	return l->n ? l->items[0] : NULL;
}

bool fm_on(const struct fm_entry *e, enum fm_field field)
{
	const char *text = fm_text(e, field);

	return text && !strcmp(text, "on");
}

static void put(struct fm_entry *e, enum fm_field field, struct strview value)
{
	string_list_free(&e->values[field]);
	string_list_add(&e->values[field], value);
}

static void end_user(struct parser *p)
{
	if (p->have_user && !p->in_defaults && !p->failed)
		fm_map(p->import, p->file, &p->user, &p->set);
	entry_free(&p->user);
	p->have_user = false;
}

/* A server without a user is that of the defaults, or nobody's. */
static void end_server(struct parser *p)
{
	if (p->have_server && !p->have_user && !p->in_defaults && !p->failed)
		fm_map(p->import, p->file, &p->server, &p->set);
	end_user(p);
	entry_free(&p->server);
	p->have_server = false;
}

static void begin_server(struct parser *p)
{
	bool skip = at(p, "skip"), defaults = at(p, "defaults");

	end_server(p);
	p->server.line = p->line;
	p->in_defaults = defaults;
	p->have_server = true;
	p->scope = SERVER;
	p->entry = defaults ? &p->defaults : &p->server;
	if (defaults) {
		next(p, false);
		return;
	}
	p->server.parent = &p->defaults;
	put(&p->server, FM_SKIP, skip ? SV("on") : SV("off"));
	next(p, true);
	if (p->kind != WORD && p->kind != QUOTED) {
		fail(p, "the name of a server is wanted behind poll or skip");
		return;
	}
	put(&p->server, FM_NAME, strbuf_view(&p->token));
	next(p, false);
}

static void enter_user(struct parser *p)
{
	end_user(p);
	p->scope = USER;
	p->have_user = true;
	p->entry = p->in_defaults ? &p->defaults : &p->user;
	p->user.parent = &p->server;
	p->user.line = p->line;
}

static void begin_user(struct parser *p)
{
	AUTO(strbuf_free) struct strbuf name = STRBUF_INIT;

	if (!p->have_server) {
		fail(p, "a user stands behind a poll or skip and its server");
		return;
	}
	enter_user(p);
	next(p, true);
	if (p->kind == END || p->kind == EQUALS) {
		fail(p, "a name is wanted behind user");
		return;
	}
	strbuf_addv(&name, strbuf_view(&p->token));
	next(p, false);
	if (at(p, "here"))
		string_list_add(&p->entry->values[FM_LOCALS], strbuf_view(&name));
	else
		put(p->entry, FM_USER, strbuf_view(&name));
	if (at(p, "here") || at(p, "there"))
		next(p, false);
}

/* ---- options ---- */

/* Nothing that could be an item of a list. */
static bool ends_list(const struct parser *p)
{
	struct strview word = strbuf_view(&p->token);

	if (p->kind != WORD)
		return p->kind == END || p->kind == EQUALS;
	return among(structure, ARRAY_LEN(structure), word) || fm_option_named(word, false) ||
		(sv_starts(word, SV("no")) && fm_option_named(sv_skip(word, 2), false));
}

static void name_wanted(struct parser *p, const struct fm_option *o)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;

	strbuf_addf(&text, "%s wants a %s behind it", o->word,
		o->arguments == NUMBER || o->arguments == NUMBERS ? "number" : "name");
	fail(p, strbuf_str(&text));
}

static void take_name(struct parser *p, const struct fm_option *o)
{
	uint64_t number;

	if (p->kind == END || p->kind == EQUALS ||
		(o->arguments == NUMBER &&
			(p->kind != DIGITS ||
				!sv_number(strbuf_view(&p->token), NUMBER_MAX, &number)))) {
		name_wanted(p, o);
		return;
	}
	put(p->entry, o->field, strbuf_view(&p->token));
	next(p, false);
}

static void take_names(struct parser *p, const struct fm_option *o, struct string_list *items)
{
	if (p->kind == END || p->kind == EQUALS)
		name_wanted(p, o);
	for (bool first = true; !p->failed && (first || !ends_list(p)); first = false) {
		AUTO(strbuf_free) struct strbuf item = STRBUF_INIT;
		strbuf_addv(&item, strbuf_view(&p->token));
		next(p, false);
		if (p->kind == EQUALS && o->arguments == LOCALS) {
			next(p, true);
			if (p->kind == END || p->kind == EQUALS)
				name_wanted(p, o);
			strbuf_addc(&item, '=');
			strbuf_addv(&item, strbuf_view(&p->token));
			next(p, false);
		}
		string_list_add(items, strbuf_view(&item));
	}
}

/* `is NAMES here`, or `is NAME there`, which names the remote user. */
static void take_locals(struct parser *p, const struct fm_option *o)
{
	struct string_list names = { 0 };

	take_names(p, o, &names);
	if (at(p, "there") && names.n)
		put(p->entry, FM_USER, sv_str(names.items[0]));
	else
		for (size_t i = 0; i < names.n; i++)
			string_list_add(&p->entry->values[FM_LOCALS], sv_str(names.items[i]));
	if (at(p, "here") || at(p, "there"))
		next(p, false);
	string_list_free(&names);
}

static void take_header(struct parser *p, const struct fm_option *o)
{
	bool skips = p->kind == DIGITS;

	put(p->entry, FM_ENVELOPE_SKIP, skips ? strbuf_view(&p->token) : SV("0"));
	if (skips)
		next(p, true);
	take_name(p, o);
}

static void note(struct parser *p, const struct fm_option *o)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;
	bool decide = sv_starts(sv_str(o->note), SV(IMPORT_DECIDE));

	strbuf_addf(&text, "%s%s (%s:%d): %s", decide ? IMPORT_DECIDE : "", o->word, p->file,
		p->line, o->note + (decide ? strlen(IMPORT_DECIDE) : 0));
	if (o->scope == GLOBAL || p->entry == &p->defaults)
		import_note_all(p->import, "%s", strbuf_str(&text));
	else
		string_list_add(&p->entry->notes[o->section], strbuf_view(&text));
}

static void take_arguments(struct parser *p, const struct fm_option *o)
{
	struct string_list *values = &p->entry->values[o->field];

	switch (o->arguments) {
	case FLAG:
		put(p->entry, o->field, SV("on"));
		break;
	case NAME:
	case NUMBER:
		take_name(p, o);
		break;
	case NAMES:
	case NUMBERS:
		take_names(p, o, values);
		break;
	case LOCALS:
		take_locals(p, o);
		break;
	case HEADER:
		take_header(p, o);
		break;
	}
}

/* An option whose word is the current token; `no` stood before it, or is its beginning. */
static void take_option(struct parser *p, bool in_set)
{
	struct strview word = strbuf_view(&p->token);
	bool off = at(p, "no");

	if (off) {
		next(p, false);
		word = strbuf_view(&p->token);
	}
	const struct fm_option *o = p->kind == WORD ? fm_option_named(word, in_set) : NULL;
	if (!o && !off && p->kind == WORD && sv_starts(word, SV("no"))) {
		o = fm_option_named(sv_skip(word, 2), in_set);
		off = true;
	}
	if (!o || (off && o->arguments != FLAG && o->arguments != HEADER)) {
		fail(p,
			"a word that is no option of fetchmail; was a password or a name left "
			"unquoted?");
		return;
	}
	if (!p->entry) {
		fail(p, "an option stands before the first poll, skip or defaults");
		return;
	}
	if (o->scope == USER && p->scope == SERVER && !p->in_defaults)
		enter_user(p);
	if (o->scope == SERVER && p->scope == USER && !p->in_defaults) {
		fail(p,
			"an option of the server stands behind a `user`; move it before the first "
			"one");
		return;
	}
	if (o->note && !off)
		note(p, o);
	next(p, o->arguments != FLAG && !off);
	if (off)
		put(p->entry, o->field, o->arguments == FLAG ? SV("off") : SV(""));
	else if (o->arguments == FLAG)
		put(p->entry, o->field, SV("on"));
	else
		take_arguments(p, o);
}

static void take_statement(struct parser *p)
{
	if (at(p, "poll") || at(p, "skip") || at(p, "server") || at(p, "defaults")) {
		begin_server(p);
	} else if (at(p, "user") || at(p, "username")) {
		begin_user(p);
	} else if (at(p, "set")) {
		struct fm_entry *entry = p->entry;
		p->entry = &p->set;
		next(p, false);
		take_option(p, true);
		p->entry = entry;
	} else {
		take_option(p, false);
	}
}

void import_fetchmailrc(struct import *i, const char *file, struct strview text)
{
	struct parser p = { .import = i, .file = file, .rest = text, .line = 1, .next_line = 1 };
	size_t from = i->n;

	next(&p, false);
	while (p.kind != END && !p.failed)
		take_statement(&p);
	end_server(&p);
	entry_free(&p.set);
	entry_free(&p.defaults);
	strbuf_wipe(&p.token);
	if (!p.failed && i->n == from)
		fault_add(&i->faults, (struct conf_place){ file, 0 },
			"no poll and no skip: there is nothing to take over");
	import_check(i, from);
}
