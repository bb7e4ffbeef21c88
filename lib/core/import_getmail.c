/*
 * A getmailrc: one account a file.
 *
 * Owns the settings of the file for the time of a call. getmail writes into files and programs of
 * this machine, multidropd hands mail to a mail server: whose Maildir it was becomes whose address
 * it is.
 */
#include "core/import_getmail.h"

#include <stdlib.h>

#define SETTINGS_MAX 10000
#define SIZE_MIN     1024 /* the range of max_size */
#define MESSAGES_MAX 1000000

/* Keys that have a note of their own, and those that need none; all others are unknown. */
static const struct {
	const char *section, *key;
	enum import_section in;
	const char *note;
} notes[] = {
	{ "retriever", "type", IMPORT_PROVIDER, NULL },
	{ "retriever", "server", IMPORT_PROVIDER, NULL },
	{ "retriever", "port", IMPORT_PROVIDER, NULL },
	{ "retriever", "username", IMPORT_PROVIDER, NULL },
	{ "retriever", "password", IMPORT_PROVIDER, NULL },
	{ "retriever", "password_command", IMPORT_PROVIDER, NULL },
	{ "retriever", "use_apop", IMPORT_PROVIDER, NULL },
	{ "retriever", "use_xoauth2", IMPORT_PROVIDER, NULL },
	{ "retriever", "timeout", IMPORT_PROVIDER, NULL },
	{ "retriever", "ca_certs", IMPORT_PROVIDER, NULL },
	{ "retriever", "envelope_recipient", IMPORT_PROVIDER, NULL },
	{ "retriever", "delete_dup_msgids", IMPORT_ACCOUNT,
		"messages that share a UIDL are all delivered" },
	{ "retriever", "use_kerberos", IMPORT_PROVIDER, "there is no Kerberos here" },
	{ "retriever", "keyfile", IMPORT_PROVIDER, "there are no client certificates here" },
	{ "retriever", "certfile", IMPORT_PROVIDER, "there are no client certificates here" },
	{ "retriever", "ssl_ciphers", IMPORT_PROVIDER, "the system's OpenSSL decides" },
	{ "retriever", "ssl_version", IMPORT_PROVIDER, "TLS 1.2 or newer, always" },
	{ "retriever", "ssl_fingerprints", IMPORT_PROVIDER,
		IMPORT_DECIDE "what is pinned here is the key, not the certificate: "
			      "multidropd.conf(5) shows how, under tls_pin" },
	{ "retriever", "ssl_cert_hostname", IMPORT_PROVIDER,
		IMPORT_DECIDE "the certificate must be for `host`: write the name there that is "
			      "in it" },
	{ "destination", "type", IMPORT_RELAY, NULL },
	{ "options", "delete", IMPORT_ACCOUNT, NULL },
	{ "options", "delete_after", IMPORT_ACCOUNT, NULL },
	{ "options", "max_message_size", IMPORT_ACCOUNT, NULL },
	{ "options", "max_messages_per_session", IMPORT_ACCOUNT, NULL },
	{ "options", "read_all", IMPORT_ACCOUNT, NULL },
	{ "options", "verbose", IMPORT_ACCOUNT, NULL },
	{ "options", "received", IMPORT_ACCOUNT, NULL },
	{ "options", "delivered_to", IMPORT_ACCOUNT, NULL },
	{ "options", "message_log", IMPORT_ACCOUNT, NULL },
	{ "options", "message_log_syslog", IMPORT_ACCOUNT, NULL },
	{ "options", "message_log_verbose", IMPORT_ACCOUNT, NULL },
	{ "options", "logfile", IMPORT_ACCOUNT, NULL },
	{ "options", "fingerprint", IMPORT_ACCOUNT, NULL },
	{ "options", "to_oldmail_on_each_mail", IMPORT_ACCOUNT, NULL },
	{ "options", "skip_imap_fetch_size", IMPORT_ACCOUNT, NULL },
	{ "options", "use_netrc", IMPORT_ACCOUNT, "no .netrc is read" },
	{ "options", "netrc_file", IMPORT_ACCOUNT, "no .netrc is read" },
	{ "options", "delete_bigger_than", IMPORT_ACCOUNT,
		"nothing is deleted for its size; what is over max_size is held" },
	{ "options", "max_bytes_per_session", IMPORT_ACCOUNT,
		"there is fetch_limit, which counts messages" },
};

/* ---- the file ---- */

static void fail(struct gm *r, int line, const char *text)
{
	fault_add(&r->import->faults, (struct conf_place){ r->file, line }, "%s", text);
}

const char *gm_get(const struct gm *r, const char *section, const char *key)
{
	for (size_t i = r->n; i > 0; i--)
		if (!strcmp(r->settings[i - 1].section, section) &&
			!strcmp(r->settings[i - 1].key, key))
			return r->settings[i - 1].value;
	return NULL;
}

static bool is_true(const char *value)
{
	static const char *const words[] = { "true", "yes", "on", "1" };

	for (size_t i = 0; value && i < ARRAY_LEN(words); i++)
		if (!ascii_strcasecmp(value, words[i]))
			return true;
	return false;
}

/* A number that is given and above 0; else 0. */
uint64_t gm_number(const struct gm *r, const char *section, const char *key)
{
	const char *text = gm_get(r, section, key);
	uint64_t value = 0;

	return text && sv_number(sv_str(text), UINT32_MAX, &value) ? value : 0;
}

static char *lower(struct strview text)
{
	char *copy = mem_strndup(text.ptr, text.len);

	for (char *c = copy; *c; c++)
		*c = (char)ascii_lower((unsigned char)*c);
	return copy;
}

static void add_setting(struct gm *r, const char *section, struct strview line, int number)
{
	size_t end = 0;

	while (end < line.len && line.ptr[end] != '=' && line.ptr[end] != ':')
		end++;
	struct strview key = sv_trim(sv(line.ptr, end)), value = sv_trim(sv_skip(line, end + 1));
	if (!section || end == line.len || !key.len) {
		fail(r, number, "neither [section], KEY = VALUE nor a comment");
		return;
	}
	if (r->n == SETTINGS_MAX) {
		fail(r, number, "too many lines for a getmailrc");
		return;
	}
	mem_grow(&r->settings, &r->cap, r->n + 1, sizeof *r->settings);
	r->settings[r->n++] = (struct gm_setting){ mem_strdup(section), lower(key),
		mem_strndup(value.ptr, value.len), number };
}

/* An indented line belongs to the value before. */
static void add_line(struct gm *r, struct strview line)
{
	struct gm_setting *s = &r->settings[r->n - 1];
	struct strbuf value = STRBUF_INIT;

	strbuf_addf(&value, "%s\n%.*s", s->value, SV_FMT(sv_trim(line)));
	mem_wipe(s->value, strlen(s->value));
	free(s->value);
	s->value = strbuf_take(&value);
}

static void read_file(struct gm *r, struct strview text)
{
	AUTO(mem_freep) char *section = NULL;
	size_t in_section = 0; /* r->n at its beginning */

	if (text.len && memchr(text.ptr, '\0', text.len)) {
		fail(r, 1, "the file holds a NUL: it is no text");
		return;
	}
	for (int number = 1; text.len; number++) {
		struct strview line = sv_token(&text, '\n'), bare = sv_trim(line);
		if (!bare.len || bare.ptr[0] == '#' || bare.ptr[0] == ';')
			continue;
		if ((line.ptr[0] == ' ' || line.ptr[0] == '\t') && r->n > in_section) {
			add_line(r, line);
		} else if (bare.ptr[0] == '[' && bare.ptr[bare.len - 1] == ']') {
			free(section);
			section = mem_strndup(bare.ptr + 1, bare.len - 2);
			in_section = r->n;
		} else {
			add_setting(r, section, bare, number);
		}
	}
}

/* The strings of a Python tuple, nested ones in reading order; false: it is none. */
static bool tuple(struct strview text, struct string_list *out)
{
	while (text.len) {
		AUTO(strbuf_free) struct strbuf item = STRBUF_INIT;
		char c = text.ptr[0];
		bool raw = (c == 'r' || c == 'R') && text.len > 1 && strchr("'\"", text.ptr[1]);
		text = sv_skip(text, raw ? 2 : 1);
		if (c == '#')
			(void)sv_token(&text, '\n'); /* a comment */
		if (strchr(" \t\r\n(),#", c))
			continue;
		char quote = raw ? text.ptr[-1] : c;
		if (quote != '\'' && quote != '"')
			return false;
		while (text.len && text.ptr[0] != quote) {
			bool escaped = text.ptr[0] == '\\' && text.len > 1;
			if (escaped && (raw || !strchr("\\'\"", text.ptr[1])))
				strbuf_addc(&item, '\\');
			strbuf_addc(&item, text.ptr[escaped]);
			text = sv_skip(text, escaped ? 2 : 1);
		}
		if (!text.len)
			return false;
		text = sv_skip(text, 1);
		string_list_add(out, strbuf_view(&item));
	}
	return true;
}

void gm_tuple(struct gm *r, const char *section, const char *key, struct string_list *out)
{
	const char *value = gm_get(r, section, key);

	if (!value || tuple(sv_str(value), out))
		return;
	for (size_t i = 0; i < r->n; i++)
		if (r->settings[i].value == value)
			fail(r, r->settings[i].line, "no tuple of quoted strings: (\"a\", \"b\")");
}

static void add_note(struct gm *r, const struct gm_setting *s)
{
	static const char *const sections[] = { "retriever", "options" };

	for (size_t i = 0; i < ARRAY_LEN(notes); i++) {
		if (strcmp(notes[i].section, s->section) || strcmp(notes[i].key, s->key))
			continue;
		if (notes[i].note && ascii_strcasecmp(s->value, "false") && strcmp(s->value, "0"))
			import_note(r->a, notes[i].in, "%s (%s:%d): %s.", s->key, r->file, s->line,
				notes[i].note);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(sections); i++)
		if (!strcmp(s->section, sections[i]))
			import_note(r->a, IMPORT_ACCOUNT, "%s (%s:%d) has no equivalent here.",
				s->key, r->file, s->line);
	if (!strncmp(s->section, "filter", 6))
		import_note(r->a, IMPORT_ACCOUNT,
			IMPORT_DECIDE "[%s]: there are no filters here; the mail server behind has "
				      "them.",
			s->section);
}

/* ---- the provider ---- */

static void map_envelope(struct gm *r)
{
	const char *text = gm_get(r, "retriever", "envelope_recipient");
	struct strview position = sv_str(text), header = sv_token(&position, ':');
	uint64_t n = 1;

	if (!text || !header.len || (position.len && !sv_number(sv_trim(position), 100, &n))) {
		fail(r, r->a->place.line,
			"a multidrop retriever needs envelope_recipient = HEADER:POSITION");
		return;
	}
	import_set(r->a, KEY_ENVELOPE, "%.*s", SV_FMT(sv_trim(header)));
	import_note(r->a, IMPORT_ACCOUNT,
		IMPORT_DECIDE "getmail counted the header's lines from the top and believed that "
			      "one; here it has to stand where only the provider can write. "
			      "`multidropctl probe` finds position and trusted_by.");
	if (n > 1)
		import_set(r->a, KEY_PICK, "last");
	if (n > 1)
		import_note(r->a, IMPORT_ACCOUNT,
			"Position %u: the last of the provider's own is taken here.", (unsigned)n);
}

static void map_tls(struct gm *r, bool ssl)
{
	const char *ca = gm_get(r, "retriever", "ca_certs");

	import_tls(r->a, ssl ? "implicit" : "none");
	if (!ssl)
		return;
	if (!ca)
		import_note(r->a, IMPORT_PROVIDER,
			"Certificates are always checked here; getmail did so with ca_certs only.");
	else if (*ca && ca[strlen(ca) - 1] != '/')
		import_set(r->a, KEY_TLS_CA_FILE, "%s", ca);
}

static void map_retriever(struct gm *r)
{
	const char *type = gm_get(r, "retriever", "type"),
		   *server = gm_get(r, "retriever", "server");
	bool pop3 = type && (strstr(type, "POP3") || strstr(type, "SDPS"));
	bool ssl = type && strstr(type, "SSL");
	uint64_t port = gm_number(r, "retriever", "port");
	uint64_t timeout = gm_number(r, "retriever", "timeout");

	if (!type || !server || !gm_get(r, "retriever", "username")) {
		fail(r, r->a->place.line, "[retriever] needs type, server and username");
		return;
	}
	r->multidrop = !strncmp(type, "Multidrop", 9);
	import_set(r->a, KEY_HOST, "%s", server);
	import_set(r->a, KEY_USER, "%s", gm_get(r, "retriever", "username"));
	if (port && port <= UINT16_MAX && port != (ssl ? 995 : 110))
		import_set(r->a, KEY_PORT, "%u", (unsigned)port);
	map_tls(r, ssl);
	if (is_true(gm_get(r, "retriever", "use_apop")))
		import_set(r->a, KEY_AUTH, "apop");
	if (is_true(gm_get(r, "retriever", "use_xoauth2")))
		import_set(r->a, KEY_AUTH, "xoauth2");
	if (timeout)
		import_set(r->a, KEY_TIMEOUT, "%us", (unsigned)(timeout < 3600 ? timeout : 3600));
	if (!pop3) {
		import_set(r->a, KEY_ENABLED, "false");
		import_note(r->a, IMPORT_ACCOUNT,
			IMPORT_DECIDE "%s: IMAP is not spoken here. If the provider has POP3 as "
				      "well, correct host and tls and set enabled = true.",
			type);
	}
	if (r->multidrop)
		map_envelope(r);
}

/* The command as a shell reads it. */
static void map_password(struct gm *r)
{
	const char *password = gm_get(r, "retriever", "password");
	struct string_list words = { 0 };
	AUTO(strbuf_free) struct strbuf command = STRBUF_INIT;

	r->a->password = mem_strdup(password);
	gm_tuple(r, "retriever", "password_command", &words);
	for (size_t i = 0; i < words.n; i++) {
		bool plain = *words.items[i] != '\0';
		for (const char *c = words.items[i]; *c; c++)
			plain = plain && !strchr("'\"\\$`&|;<>()*?[]~#! \t{}", *c);
		strbuf_adds(&command, i ? " " : "");
		strbuf_adds(&command, plain ? "" : "'");
		for (const char *c = words.items[i]; *c; c++)
			strbuf_adds(&command, *c == '\'' ? "'\\''" : (char[]){ *c, '\0' });
		strbuf_adds(&command, plain ? "" : "'");
	}
	if (command.len && !password)
		import_set(r->a, KEY_PASSWORD_COMMAND, "%s", strbuf_str(&command));
	string_list_free(&words);
}

/* ---- the rest ---- */

static void map_keep(struct gm *r)
{
	const char *type = gm_get(r, "retriever", "type"), *all = gm_get(r, "options", "read_all");
	bool deletes = is_true(gm_get(r, "options", "delete"));
	uint64_t days = gm_number(r, "options", "delete_after");

	if (deletes)
		return;
	if (days)
		import_set(r->a, KEY_KEEP, "%ud", (unsigned)(days < 3650 ? days : 3650));
	else
		import_set(r->a, KEY_KEEP, "forever");
	if (!all || is_true(all))
		import_note(r->a, IMPORT_ACCOUNT,
			"getmail fetched all that was there again each time (read_all); here each "
			"message comes once.");
	if (strncmp(type, "Broken", 6))
		return;
	import_set(r->a, KEY_ENABLED, "false");
	import_note(r->a, IMPORT_ACCOUNT,
		IMPORT_DECIDE "%s, for a server without UIDL, where nothing can stay: with keep = "
			      "\"none\" and enabled = true mail is deleted once it is delivered.",
		type);
}

static void map_options(struct gm *r)
{
	uint64_t size = gm_number(r, "options", "max_message_size");
	uint64_t messages = gm_number(r, "options", "max_messages_per_session");

	map_keep(r);
	if (size)
		import_set(r->a, KEY_MAX_SIZE, "%u", (unsigned)(size < SIZE_MIN ? SIZE_MIN : size));
	if (messages)
		import_set(r->a, KEY_FETCH_LIMIT, "%u",
			(unsigned)(messages < MESSAGES_MAX ? messages : MESSAGES_MAX));
	import_note_all(r->import,
		"getmail was run by something else, such as cron, which has to stop. `interval` is "
		"the default, 10m.");
}

static void gm_free(struct gm *r)
{
	for (size_t i = 0; i < r->n; i++) {
		mem_wipe(r->settings[i].value, strlen(r->settings[i].value)); /* passwords */
		free(r->settings[i].section);
		free(r->settings[i].key);
		free(r->settings[i].value);
	}
	free(r->settings);
}

/* The line of [retriever]'s first setting: where the account stands. */
static int line_of_retriever(const struct gm *r)
{
	for (size_t i = 0; i < r->n; i++)
		if (!strcmp(r->settings[i].section, "retriever"))
			return r->settings[i].line;
	return 0;
}

void import_getmailrc(struct import *i, const char *file, struct strview text)
{
	struct gm r = { .import = i, .file = file };
	size_t from = i->n;

	read_file(&r, text);
	r.a = import_add_account(i, (struct conf_place){ file, line_of_retriever(&r) });
	if (r.a && !i->faults.errors)
		map_retriever(&r);
	if (r.a && !i->faults.errors) {
		map_password(&r);
		gm_map_destination(&r);
		map_options(&r);
		for (size_t n = 0; n < r.n; n++)
			add_note(&r, &r.settings[n]);
	}
	gm_free(&r);
	import_check(i, from);
}
