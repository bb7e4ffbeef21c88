/*
 * The command lines of pullmail, as they stand in batch files and planned tasks: an account each.
 *
 * Owns nothing beyond a call. pullmail SERVER USER PASSWORD OPTIONS; options are /NAME or
 * /NAME:VALUE. Other lines of a batch file are passed over. A password is not repeated anywhere.
 */
#include "core/import.h"

#include <stdlib.h>

#define WORDS_MAX 64 /* of a line */
#define NOWHERE   "domain.invalid"

struct reading {
	struct import *import;
	struct conf_place place;
	struct import_account *a;
};

static void set_relay(struct reading *r, struct strview value)
{
	import_set(r->a, KEY_RELAY_HOST, "%.*s", SV_FMT(value));
}

/* A number, or the service's own name, which is the default. */
static void set_port(struct reading *r, enum import_key key, struct strview value,
	struct strview name, uint64_t usual)
{
	uint64_t port = 0;

	if (sv_ieq(value, name))
		return;
	if (!sv_number(value, UINT16_MAX, &port) || !port)
		fault_add(&r->import->faults, r->place,
			"/ps and /ss want the number of a port, or pop3 and smtp");
	else if (port != usual)
		import_set(r->a, key, "%u", (unsigned)port);
}

static void set_pop3_port(struct reading *r, struct strview value)
{
	set_port(r, KEY_PORT, value, SV("pop3"), 110);
}

static void set_smtp_port(struct reading *r, struct strview value)
{
	set_port(r, KEY_RELAY_PORT, value, SV("smtp"), 25);
}

static void set_timeout(struct reading *r, struct strview value)
{
	import_note(r->a, IMPORT_PROVIDER,
		"/t:%.*s: a session is given up after 60s without progress, the default.",
		SV_FMT(value));
}

static void set_recipient(struct reading *r, struct strview value)
{
	import_set(r->a, KEY_RECIPIENT, "%.*s", SV_FMT(value));
}

static void set_envelope(struct reading *r, struct strview value)
{
	while (value.len && value.ptr[value.len - 1] == ':')
		value.len--;
	import_set(r->a, KEY_ENVELOPE, "%.*s", SV_FMT(value));
	import_note(r->a, IMPORT_ACCOUNT,
		IMPORT_DECIDE "pullmail took the header wherever it stood; here it has to stand "
			      "where only the provider can write. `multidropctl probe` finds "
			      "position and trusted_by.");
}

static void set_nothing(struct reading *r, struct strview value)
{
	import_note_all(r->import,
		"/le, /lw, /li: everything is in the journal, --log-level "
		"says how much.");
}

static const struct {
	const char *name;
	bool has_value;
	void (*set)(struct reading *r, struct strview value);
} options[] = {
	{ "s", true, set_relay },
	{ "ps", true, set_pop3_port },
	{ "ss", true, set_smtp_port },
	{ "le", false, set_nothing },
	{ "lw", false, set_nothing },
	{ "li", false, set_nothing },
	{ "t", true, set_timeout },
	{ "to", true, set_recipient },
	{ "r", true, set_envelope },
};

/* ---- a line ---- */

/* Cuts a word off the line; quotes may stand around any part of it, as cmd.exe has it. */
static bool next_word(struct strview *line, struct strbuf *word)
{
	bool inside = false;

	strbuf_clear(word);
	*line = sv_trim(*line);
	if (!line->len)
		return false;
	while (line->len && (inside || !strchr(" \t", line->ptr[0]))) {
		if (line->ptr[0] == '"')
			inside = !inside;
		else
			strbuf_addc(word, line->ptr[0]);
		*line = sv_skip(*line, 1);
	}
	return true;
}

/* "pullmail", "C:\Tools\PULLMAIL.EXE", "@pullmail". */
static bool is_program(struct strview word)
{
	size_t at = word.len;

	while (at && !strchr("\\/@", word.ptr[at - 1]))
		at--;
	word = sv_skip(word, at);
	return sv_ieq(word, SV("pullmail")) || sv_ieq(word, SV("pullmail.exe"));
}

static bool is_comment(struct strview line)
{
	line = sv_trim(line);
	while (line.len && line.ptr[0] == '@')
		line = sv_skip(line, 1);
	return sv_ieq(line, SV("rem")) || sv_istarts(line, SV("rem ")) ||
		sv_starts(line, SV("::")) || sv_starts(line, SV("#"));
}

static void take_option(struct reading *r, struct strview word)
{
	struct strview value = sv_skip(word, 1), name = sv_token(&value, ':');

	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		if (!sv_ieq(name, sv_str(options[i].name)))
			continue;
		if (options[i].has_value && !value.len)
			fault_add(&r->import->faults, r->place, "/%s wants a value: /%s:VALUE",
				options[i].name, options[i].name);
		else
			options[i].set(r, value);
		return;
	}
	fault_add(&r->import->faults, r->place,
		"an option that pullmail has not; known are /s: /ps: /ss: /t: /to: /r: /le /lw "
		"/li");
}

static void map_recipients(struct reading *r)
{
	const char *user = import_get(r->a, KEY_USER), *sign = strchr(user, '@');

	if (import_get(r->a, KEY_RECIPIENT)) {
		import_set(r->a, KEY_MODE, "single");
		string_list_free(&r->a->values[KEY_ENVELOPE]);
		return;
	}
	if (!import_get(r->a, KEY_ENVELOPE)) {
		import_set(r->a, KEY_ENVELOPE, "X-Envelope-To");
		import_note(r->a, IMPORT_ACCOUNT,
			IMPORT_DECIDE
			"without /r pullmail believed Apparently-To and To, which any "
			"sender can write and blind copies are not in. Nothing is "
			"guessed here: find the provider's envelope header "
			"(`multidropctl probe`). Until then everything is unresolved. "
			"unresolved = \"to-cc\" in the account comes nearest to what "
			"was.");
	}
	import_set(r->a, KEY_DOMAINS, "%s", sign && sign[1] ? sign + 1 : NOWHERE);
	import_note(r->a, IMPORT_ACCOUNT,
		IMPORT_DECIDE "pullmail delivered for any domain, also outside of the house. Here "
			      "an address counts inside `domains` only: list yours. Name a "
			      "postmaster, too; without one what is unresolved is held.");
}

/* What stands behind the program's name. */
static void take_command(struct reading *r, struct strview line)
{
	static const char *const wanted = "a pullmail command is: pullmail SERVER USER PASSWORD "
					  "/OPTIONS";
	AUTO(strbuf_wipe) struct strbuf word = STRBUF_INIT;
	size_t words = 0;

	while (next_word(&line, &word) && strbuf_str(&word)[0] != '>' && words < WORDS_MAX) {
		if (words > 2)
			take_option(r, strbuf_view(&word));
		else if (words == 2)
			r->a->password = mem_strdup(strbuf_str(&word));
		else
			import_set(r->a, words ? KEY_USER : KEY_HOST, "%s", strbuf_str(&word));
		words++;
	}
	if (words < 3) {
		fault_add(&r->import->faults, r->place, "%s", wanted);
		return;
	}
	if (strchr(r->a->password, '%'))
		import_note(r->a, IMPORT_ACCOUNT,
			IMPORT_DECIDE "the password holds a %%, which may have been a variable of "
				      "the batch file: look at the password file.");
	if (!import_get(r->a, KEY_RELAY_HOST))
		import_set(r->a, KEY_RELAY_HOST, "localhost");
	import_tls(r->a, "none");
	map_recipients(r);
}

static void take_line(struct import *i, struct conf_place place, struct strview line)
{
	struct reading r = { i, place, NULL };
	AUTO(strbuf_wipe) struct strbuf word = STRBUF_INIT;

	if (is_comment(line))
		return;
	while (next_word(&line, &word))
		if (is_program(strbuf_view(&word))) {
			r.a = import_add_account(i, place);
			if (r.a)
				take_command(&r, line);
			return;
		}
}

void import_pullmail(struct import *i, const char *file, struct strview text)
{
	size_t from = i->n;

	if (text.len && memchr(text.ptr, '\0', text.len)) {
		fault_add(&i->faults, (struct conf_place){ file, 1 },
			"the file holds a NUL: save it as plain text");
		return;
	}
	for (int number = 1; text.len; number++)
		take_line(i, (struct conf_place){ file, number }, sv_token(&text, '\n'));
	if (i->n == from)
		fault_add(&i->faults, (struct conf_place){ file, 0 },
			"no line calls pullmail: there is nothing to take over");
	else
		import_note_all(i,
			"pullmail was run by something else, such as a planned task, which has to "
			"stop. `interval` is the default, 10m. Look whether what it took is "
			"still at the provider: if so, adopt it before the first cycle, or it "
			"comes again.");
	import_check(i, from);
}
