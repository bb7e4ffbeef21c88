/*
 * Whom a getmailrc's [destination] is for.
 *
 * Owns nothing. getmail writes into files and programs of this machine, multidropd hands mail to a
 * mail server: whose Maildir it was becomes whose address it is. Nobody is guessed: where it cannot
 * be told the account is not enabled, or the map has a gap, and a note says so.
 */
#include "core/import_getmail.h"

#include "mail/address.h"

#include <stdlib.h>

#define NESTED_MAX 3 /* MultiDestinations in one another */
#define NOWHERE    "domain.invalid"

/* Whose files are at that path: the first name below one of these. */
static struct strview owner_of(const char *path)
{
	static const char *const above[] = { "~", "/home/", "/var/mail/", "/var/spool/mail/" };

	for (size_t i = 0; path && i < ARRAY_LEN(above); i++) {
		struct strview rest = sv_str(path);
		if (sv_starts(rest, sv_str(above[i]))) {
			rest = sv_skip(rest, strlen(above[i]));
			return sv_token(&rest, '/');
		}
	}
	return (struct strview){ 0 };
}

/* Whom a program is told to deliver to: `-d USER`, as dovecot-lda, maildrop and procmail have it.
 */
static void add_user_argument(struct gm *r, const char *section, struct string_list *users)
{
	struct string_list words = { 0 };

	gm_tuple(r, section, "arguments", &words);
	for (size_t i = 0; i + 1 < words.n; i++)
		if (!strcmp(words.items[i], "-d") && !strchr(words.items[i + 1], '%'))
			string_list_add(users, sv_str(words.items[i + 1]));
	string_list_free(&words);
}

/* The users that a destination is for: "[section]", or a path. None: it cannot be told. */
static void users_of(
	struct gm *r, const char *destination, struct string_list *users, unsigned depth)
{
	size_t len = strlen(destination);
	bool is_section = len > 2 && destination[0] == '[' && destination[len - 1] == ']';
	AUTO(mem_freep) char *section = is_section ? mem_strndup(destination + 1, len - 2) : NULL;
	const char *user = is_section ? gm_get(r, section, "user") : NULL;
	const char *type = is_section ? gm_get(r, section, "type") : NULL;
	struct strview owner = owner_of(!is_section ? destination
			: user                      ? NULL
						    : gm_get(r, section, "path"));
	size_t before = users->n;
	struct string_list more = { 0 };

	if (type && !strcmp(type, "MultiDestination") && depth < NESTED_MAX) {
		gm_tuple(r, section, "destinations", &more);
		for (size_t i = 0; i < more.n; i++) {
			size_t known = users->n;
			users_of(r, more.items[i], users, depth + 1);
			if (users->n == known)
				import_note(r->a, IMPORT_ACCOUNT,
					IMPORT_DECIDE "%s: whose that is cannot be told; nothing "
						      "goes there.",
					more.items[i]);
		}
		string_list_free(&more);
		return;
	}
	if (is_section)
		add_user_argument(r, section, users);
	if (users->n == before && (user || owner.len))
		string_list_add(users, user ? sv_str(user) : owner);
}

/* "a@domain, b@domain"; empty without users. */
static void addresses(struct strbuf *out, const struct string_list *users, const char *domain)
{
	for (size_t i = 0; i < users->n; i++)
		strbuf_addf(out, "%s%s%s%s", i ? ", " : "", users->items[i],
			strchr(users->items[i], '@') ? "" : "@",
			strchr(users->items[i], '@') ? "" : domain);
}

static void map_relay(struct gm *r)
{
	const char *type = gm_get(r, "destination", "type"),
		   *host = gm_get(r, "destination", "host");
	uint64_t port = gm_number(r, "destination", "port");
	bool lmtp = type && !strcmp(type, "MDA_lmtp") && host;

	if (!lmtp) {
		import_set(r->a, KEY_RELAY_HOST, "localhost");
		import_note(r->a, IMPORT_RELAY,
			IMPORT_DECIDE "getmail delivered on this machine (%s). Here mail goes to a "
				      "mail server by SMTP or LMTP: name that server.",
			type ? type : "no type");
		return;
	}
	import_set(r->a, KEY_RELAY_HOST, "%s%s", *host == '/' ? "unix:" : "", host);
	import_set(r->a, KEY_PROTOCOL, "lmtp");
	if (*host != '/' && port && port <= UINT16_MAX && port != 24)
		import_set(r->a, KEY_RELAY_PORT, "%u", (unsigned)port);
}

/* ^ and $ aside, a regular expression that is an address or "local@"; false: another one. */
static bool literal(const char *expression, struct strbuf *out)
{
	size_t len = strlen(expression);

	for (size_t i = expression[0] == '^'; i < len; i++) {
		bool escaped = expression[i] == '\\' && expression[i + 1];
		i += escaped;
		if (expression[i] == '$' && i + 1 == len)
			continue;
		if (escaped ? !strchr(".+-_@", expression[i])
			    : !!strchr("^$*+?[](){}|\\", expression[i]))
			return false;
		strbuf_addc(out, expression[i]);
	}
	return out->len && memchr(out->ptr, '@', out->len) && out->ptr[0] != '@';
}

static void add_domain(struct gm *r, const char *domain)
{
	AUTO(mem_freep) char *fits = domain_normal(sv_str(domain));

	if (fits && !string_list_has(&r->a->values[KEY_DOMAINS], fits))
		import_add(r->a, KEY_DOMAINS, sv_str(fits));
}

static void add_domains(struct gm *r, const struct string_list *locals)
{
	const char *sign = strchr(gm_get(r, "retriever", "username"), '@');

	for (size_t i = 0; i + 1 < locals->n; i += 2) {
		AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;
		const char *at = literal(locals->items[i], &text) ? strchr(text.ptr, '@') : NULL;
		if (at && at[1])
			add_domain(r, at + 1);
	}
	if (sign)
		add_domain(r, sign + 1);
	if (!r->a->values[KEY_DOMAINS].n)
		add_domain(r, NOWHERE);
	import_note(r->a, IMPORT_ACCOUNT,
		IMPORT_DECIDE "getmail delivered for any domain, also outside of the house. Here "
			      "an address counts inside `domains` only: list yours.");
}

/* One line of MultiSorter: who writes to LEFT reaches USERS. */
static void map_local(struct gm *r, const char *expression, const char *destination)
{
	const struct string_list *domains = &r->a->values[KEY_DOMAINS];
	AUTO(strbuf_free) struct strbuf left = STRBUF_INIT;
	struct string_list users = { 0 };

	users_of(r, destination, &users, 0);
	bool plain = literal(expression, &left);
	if (!plain || !users.n)
		import_note(r->a, IMPORT_ACCOUNT,
			IMPORT_DECIDE "locals \"%s\" for %s: write who that is into `map`.",
			expression, destination);
	bool whole = plain && left.ptr[left.len - 1] != '@';
	for (size_t i = 0; plain && users.n && i < (whole ? 1 : domains->n); i++) {
		AUTO(strbuf_free) struct strbuf from = STRBUF_INIT, to = STRBUF_INIT;
		strbuf_addf(&from, "%s%s", strbuf_str(&left), whole ? "" : domains->items[i]);
		addresses(&to, &users, strchr(strbuf_str(&from), '@') + 1);
		import_map(r->a, strbuf_str(&from), strbuf_str(&to));
	}
	string_list_free(&users);
}

/* Everybody else's mail goes to `users`; none: to the address itself. */
static void map_others(struct gm *r, const struct string_list *users)
{
	const struct string_list *domains = &r->a->values[KEY_DOMAINS];

	for (size_t i = 0; users->n && i < domains->n; i++) {
		AUTO(strbuf_free) struct strbuf from = STRBUF_INIT, to = STRBUF_INIT;
		strbuf_addf(&from, "*@%s", domains->items[i]);
		addresses(&to, users, domains->items[i]);
		import_map(r->a, strbuf_str(&from), strbuf_str(&to));
	}
}

static void map_multidrop(struct gm *r, const struct string_list *locals)
{
	const char *type = gm_get(r, "destination", "type"),
		   *other = gm_get(r, "destination", "default");
	const char *fallback = gm_get(r, "destination", "fallback");
	bool sorts = type && !strncmp(type, "Multi", 5) && strcmp(type, "MultiDestination");
	struct string_list users = { 0 };

	add_domains(r, locals);
	for (size_t i = 0; sorts && i + 1 < locals->n; i += 2)
		map_local(r, locals->items[i], locals->items[i + 1]);
	if (sorts && other)
		users_of(r, other, &users, 0);
	else
		users_of(r, "[destination]", &users, 0);
	if (gm_get(r, "destination", "override"))
		string_list_add(&users, sv_str(gm_get(r, "destination", "override")));
	map_others(r, &users);
	if (fallback) {
		string_list_free(&users);
		string_list_add(&users, sv_str(fallback));
	}
	if (users.n && (sorts || fallback)) {
		AUTO(strbuf_free) struct strbuf to = STRBUF_INIT;
		struct string_list first = { users.items, 1, 1 }; /* a postmaster is one */
		addresses(&to, &first, r->a->values[KEY_DOMAINS].items[0]);
		import_set(r->a, KEY_POSTMASTER, "%s", strbuf_str(&to));
	}
	string_list_free(&users);
}

/* Everything to one address, whatever the header says. */
static void map_single(struct gm *r)
{
	const char *override = gm_get(r, "destination", "override");
	const char *fallback = gm_get(r, "destination", "fallback");
	const char *other = gm_get(r, "destination", "default");
	AUTO(strbuf_free) struct strbuf to = STRBUF_INIT, last = STRBUF_INIT;
	struct string_list users = { 0 };

	if (override)
		string_list_add(&users, sv_str(override));
	else
		users_of(r, other ? other : "[destination]", &users, 0);
	bool known = users.n == 1;
	if (!known) {
		string_list_free(&users);
		string_list_add(&users, SV("postmaster"));
		import_set(r->a, KEY_ENABLED, "false");
	}
	addresses(&to, &users, "localhost");
	import_set(r->a, KEY_MODE, "single");
	import_set(r->a, KEY_RECIPIENT, "%s", strbuf_str(&to));
	import_note(r->a, IMPORT_ACCOUNT,
		known ? IMPORT_DECIDE "the recipient is whose mailbox getmail wrote to; complete "
				      "the address as your mail server knows it."
		      : IMPORT_DECIDE "whom the mail is for cannot be told from [destination], or "
				      "they are several: write the recipient (an alias of your "
				      "mail server for several) and set enabled = true.");
	string_list_free(&users);
	if (!fallback)
		return;
	string_list_add(&users, sv_str(fallback));
	addresses(&last, &users, "localhost");
	import_set(r->a, KEY_POSTMASTER, "%s", strbuf_str(&last));
	string_list_free(&users);
}

void gm_map_destination(struct gm *r)
{
	const char *type = gm_get(r, "destination", "type");
	struct string_list locals = { 0 };

	map_relay(r);
	gm_tuple(r, "destination", "locals", &locals);
	if (type && !strcmp(type, "MultiGuesser"))
		import_note(r->a, IMPORT_ACCOUNT,
			IMPORT_DECIDE
			"MultiGuesser guessed from Delivered-To, To and Cc, which any "
			"sender can write. Nothing is guessed here: with an envelope "
			"header of the provider's (`multidropctl probe`) mode = "
			"\"multidrop\" divides the mail.");
	if (r->multidrop && type && !strcmp(type, "MDA_lmtp"))
		import_note(r->a, IMPORT_ACCOUNT,
			"getmail gave LMTP the addresses in To; here the envelope header decides.");
	if (r->multidrop)
		map_multidrop(r, &locals);
	else
		map_single(r);
	string_list_free(&locals);
}
