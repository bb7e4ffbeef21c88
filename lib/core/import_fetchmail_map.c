/*
 * The meaning of a fetchmailrc: one user of a server becomes one account here.
 *
 * Owns nothing. The rule: the same message goes to the same people, unless fetchmail would have
 * guessed; then it is unresolved here, and a note says so.
 */
#include "core/import_fetchmail.h"

#include "mail/address.h"

#include <stdlib.h>

#define POLL_MIN_S   300 /* what most providers allow, and min_interval's default */
#define DAY_S        86400
#define SIZE_MIN     1024 /* the range of max_size */
#define MESSAGES_MAX 1000000

struct reading {
	struct import *import;
	const char *file;
	const struct fm_entry *e, *set;
	struct import_account *a;
	char *domain; /* of names without one */
};

/* A number that the parser has checked; 0: not given. */
static uint64_t number(const struct fm_entry *e, enum fm_field field)
{
	const char *text = fm_text(e, field);
	uint64_t value = 0;

	return text && sv_number(sv_str(text), INT32_MAX, &value) ? value : 0;
}

/* ---- the provider ---- */

static const struct {
	const char *word, *auth; /* auth NULL: as it is here */
	bool fetched;
	const char *note;
} protocols[] = {
	{ "pop3", NULL, true, NULL },
	{ "apop", "apop", true, NULL },
	{ "sdps", NULL, true, "SDPS is not spoken: the recipients come from a header" },
	{ "auto", NULL, true, "no protocol was named: POP3 is taken for granted" },
	{ "imap", NULL, false, NULL },
	{ "pop2", NULL, false, NULL },
	{ "kpop", NULL, false, NULL },
	{ "etrn", NULL, false, NULL },
	{ "odmr", NULL, false, NULL },
};

static void map_protocol(struct reading *r)
{
	const char *word = fm_text(r->e, FM_PROTOCOL);
	size_t i = 0;

	word = word ? word : "auto";
	while (i < ARRAY_LEN(protocols) && ascii_strcasecmp(protocols[i].word, word))
		i++;
	if (i == ARRAY_LEN(protocols)) {
		fault_add(&r->import->faults, r->a->place, "a protocol that fetchmail has not");
		return;
	}
	if (protocols[i].auth)
		import_set(r->a, KEY_AUTH, "%s", protocols[i].auth);
	if (protocols[i].note)
		import_note(r->a, IMPORT_PROVIDER, "%s.", protocols[i].note);
	if (protocols[i].fetched)
		return;
	import_set(r->a, KEY_ENABLED, "false");
	import_note(r->a, IMPORT_ACCOUNT,
		IMPORT_DECIDE "%s is not spoken here. If the provider has POP3 as well, correct "
			      "host and tls and set enabled = true.",
		protocols[i].word);
}

static void map_auth(struct reading *r)
{
	static const char *const automatic[] = { "any", "password" };
	const char *word = fm_text(r->e, FM_AUTH);

	for (size_t i = 0; word && i < ARRAY_LEN(automatic); i++)
		if (!strcmp(word, automatic[i]))
			return;
	if (!word)
		return;
	if (!strcmp(word, "cram-md5"))
		import_set(r->a, KEY_AUTH, "cram-md5");
	else
		import_note(r->a, IMPORT_PROVIDER,
			IMPORT_DECIDE "auth %s has no equivalent; `auto` takes the strongest that "
				      "the server offers.",
			word);
}

static void map_tls(struct reading *r)
{
	const char *proto = fm_text(r->e, FM_SSLPROTO), *check = fm_text(r->e, FM_SSLCERTCK);
	const char *ca = fm_text(r->e, FM_SSLCERTFILE);
	bool plain = proto && !*proto && !fm_on(r->e, FM_SSLCERTCK);

	import_tls(r->a, fm_on(r->e, FM_SSL) ? "implicit" : plain ? "none" : "starttls");
	if (!fm_on(r->e, FM_SSL) && !proto)
		import_note(r->a, IMPORT_PROVIDER,
			"Neither ssl nor sslproto was given: STARTTLS, which fetchmail 6.4 asked "
			"for as well. Where the provider has port 995, take tls = \"implicit\".");
	if (check && !strcmp(check, "off"))
		import_note(r->a, IMPORT_PROVIDER,
			IMPORT_DECIDE "no sslcertck: certificates are always checked here. Name "
				      "what signed the provider's as tls_ca_file, if the system "
				      "does not know it.");
	if (ca && !plain)
		import_set(r->a, KEY_TLS_CA_FILE, "%s", ca);
}

static void map_port(struct reading *r)
{
	static const struct {
		const char *name;
		unsigned port;
	} services[] = { { "pop3", 110 }, { "pop-3", 110 }, { "pop3s", 995 } };
	const char *service = fm_text(r->e, FM_SERVICE);
	uint64_t port = 0;

	for (size_t i = 0; service && i < ARRAY_LEN(services); i++)
		if (!strcmp(service, services[i].name))
			port = services[i].port;
	if (service && !port && (!sv_number(sv_str(service), UINT16_MAX, &port) || !port)) {
		import_note(r->a, IMPORT_PROVIDER,
			IMPORT_DECIDE "service %s: write its number as port.", service);
		return;
	}
	if (port && port != (fm_on(r->e, FM_SSL) ? 995 : 110))
		import_set(r->a, KEY_PORT, "%u", (unsigned)port);
}

static void map_provider(struct reading *r)
{
	const char *via = fm_text(r->e, FM_VIA);
	uint64_t timeout = number(r->e, FM_TIMEOUT);

	import_set(r->a, KEY_HOST, "%s", via ? via : fm_text(r->e, FM_NAME));
	map_port(r);
	map_tls(r);
	map_protocol(r);
	map_auth(r);
	if (timeout)
		import_set(r->a, KEY_TIMEOUT, "%us", (unsigned)(timeout < 3600 ? timeout : 3600));
}

/* ---- the relay ---- */

/* fetchmail's "host/port". */
static struct strview split_port(struct strview host, struct strview *port)
{
	struct strview rest = host;

	host = sv_token(&rest, '/');
	*port = rest;
	return host;
}

static void add_backup(struct reading *r, const char *first, const char *item)
{
	AUTO(strbuf_free) struct strbuf backup = STRBUF_INIT;
	struct strview port, host = split_port(sv_str(item), &port);

	if (*first == '/' || *item == '/') {
		import_note(r->a, IMPORT_RELAY,
			IMPORT_DECIDE "smtphost %s, %s: a socket and a host cannot stand in for "
				      "each other here.",
			first, item);
		return;
	}
	strbuf_addv(&backup, host);
	if (port.len)
		strbuf_addf(&backup, ":%.*s", SV_FMT(port));
	import_add(r->a, KEY_BACKUP_HOSTS, strbuf_view(&backup));
}

/* The first host; the domain of bare names if smtpaddress does not say it. */
static void map_first_host(struct reading *r, const char *item)
{
	const char *address = fm_text(r->e, FM_SMTPADDRESS);
	struct strview port = { 0 }, host = sv_str(item);
	bool socket = *item == '/', lmtp = socket || fm_on(r->e, FM_LMTP);

	if (!socket)
		host = split_port(host, &port);
	import_set(r->a, KEY_RELAY_HOST, "%s%.*s", socket ? "unix:" : "", SV_FMT(host));
	if (lmtp)
		import_set(r->a, KEY_PROTOCOL, "lmtp");
	if (port.len && !sv_eq(port, lmtp ? SV("24") : SV("25")))
		import_set(r->a, KEY_RELAY_PORT, "%.*s", SV_FMT(port));
	r->domain = address ? mem_strdup(address)
		: socket    ? mem_strdup("localhost")
			    : mem_strndup(host.ptr, host.len);
	if (!address)
		import_note(r->a, IMPORT_ACCOUNT,
			"Names without a domain get @%s, as with fetchmail, which had no "
			"smtpaddress to put there.",
			r->domain);
}

static void map_relay(struct reading *r)
{
	const struct string_list *hosts = fm_list(r->e, FM_SMTPHOST);
	const char *user = fm_text(r->e, FM_ESMTP_NAME);
	const char *password = fm_text(r->e, FM_ESMTP_PASSWORD);
	uint64_t batch = number(r->e, FM_BATCHLIMIT);

	map_first_host(r, hosts->n ? hosts->items[0] : "localhost");
	for (size_t i = 1; i < hosts->n; i++)
		add_backup(r, hosts->items[0], hosts->items[i]);
	if (batch)
		import_set(r->a, KEY_MAX_MESSAGES, "%u",
			(unsigned)(batch < MESSAGES_MAX ? batch : MESSAGES_MAX));
	if (fm_text(r->e, FM_MDA))
		import_note(r->a, IMPORT_RELAY,
			IMPORT_DECIDE
			"mail went to a program or file (mda, bsmtp). Here it goes to "
			"a mail server by SMTP or LMTP: name that server.");
	if (!user)
		return;
	import_set(r->a, KEY_RELAY_USER, "%s", user);
	r->a->relay_password = mem_strdup(password);
	import_note(r->a, IMPORT_RELAY, "The password is said over TLS only.");
}

/* ---- the recipients ---- */

static char *qualified(const struct reading *r, struct strview name)
{
	struct strbuf out = STRBUF_INIT;

	strbuf_addv(&out, name);
	if (!name.len || !memchr(name.ptr, '@', name.len))
		strbuf_addf(&out, "@%s", r->domain);
	return strbuf_take(&out);
}

static bool is_domain(const char *text)
{
	AUTO(mem_freep) char *domain = strchr(text, '.') ? domain_normal(sv_str(text)) : NULL;

	return domain != NULL;
}

/* fetchmail compares the ends of names. */
static bool is_local(const struct reading *r, const char *domain)
{
	const struct string_list *l = fm_list(r->e, FM_LOCALDOMAINS);

	for (size_t i = 0; i < l->n; i++) {
		size_t more = strlen(domain) - strlen(l->items[i]);
		if (sv_iends(sv_str(domain), sv_str(l->items[i])) &&
			(!more || domain[more - 1] == '.'))
			return true;
	}
	return false;
}

static void add_domain(struct reading *r, const char *domain)
{
	const struct string_list *known = &r->a->values[KEY_DOMAINS];

	for (size_t i = 0; i < known->n; i++)
		if (!ascii_strcasecmp(known->items[i], domain))
			return;
	import_add(r->a, KEY_DOMAINS, sv_str(domain));
}

/* All names of one domain, as `is` lists them: the named ones, and what becomes of the others. */
static void map_domain(struct reading *r, const char *domain, bool names, bool pass)
{
	const struct string_list *locals = fm_list(r->e, FM_LOCALS);
	AUTO(strbuf_free) struct strbuf left = STRBUF_INIT;
	AUTO(mem_freep) char *others = pass ? qualified(r, SV("*")) : NULL;

	add_domain(r, domain);
	if (is_local(r, domain))
		return;
	for (size_t i = 0; names && i < locals->n; i++) {
		struct strview to = sv_str(locals->items[i]), from = sv_token(&to, '=');
		AUTO(mem_freep) char *target = qualified(r, to.len ? to : from);
		if (sv_eq(from, SV("*")) || memchr(from.ptr, '@', from.len))
			continue;
		strbuf_clear(&left);
		strbuf_addf(&left, "%.*s@%s", SV_FMT(from), domain);
		import_map(r->a, strbuf_str(&left), target);
	}
	strbuf_clear(&left);
	strbuf_addf(&left, "*@%s", domain);
	import_map(r->a, strbuf_str(&left), pass ? others : import_get(r->a, KEY_POSTMASTER));
}

/* "left@domain=name", which fetchmail looks up before anything else. */
static void map_full_addresses(struct reading *r)
{
	const struct string_list *locals = fm_list(r->e, FM_LOCALS);

	for (size_t i = 0; i < locals->n; i++) {
		struct strview to = sv_str(locals->items[i]), from = sv_token(&to, '=');
		AUTO(mem_freep) char *left = mem_strndup(from.ptr, from.len);
		AUTO(mem_freep) char *target = qualified(r, to);
		if (to.len && strchr(left, '@'))
			import_map(r->a, left, target);
	}
}

static void map_domains(struct reading *r, bool pass)
{
	const struct string_list *local = fm_list(r->e, FM_LOCALDOMAINS);
	const struct string_list *aka = fm_list(r->e, FM_AKA);
	const struct string_list *locals = fm_list(r->e, FM_LOCALS);
	const enum fm_field servers[] = { FM_VIA, FM_NAME };

	map_full_addresses(r);
	for (size_t i = 0; i < local->n; i++) {
		AUTO(strbuf_free) struct strbuf below = STRBUF_INIT;
		strbuf_addf(&below, ".%s", local->items[i]);
		add_domain(r, local->items[i]);
		add_domain(r, strbuf_str(&below));
	}
	for (size_t i = 0; i < aka->n; i++)
		map_domain(r, aka->items[i], true, pass);
	for (size_t i = 0; i < ARRAY_LEN(servers); i++) {
		const char *name = fm_text(r->e, servers[i]);
		if (name && is_domain(name))
			map_domain(r, name, true, pass);
	}
	for (size_t i = 0; i < locals->n; i++) {
		struct strview to = sv_str(locals->items[i]), from = sv_token(&to, '=');
		const char *sign = to.len ? memchr(from.ptr, '@', from.len) : NULL;
		AUTO(mem_freep)
		char *domain = sign
			? mem_strndup(sign + 1, (size_t)(from.ptr + from.len - sign - 1))
			: NULL;
		if (domain)
			map_domain(r, domain, false, false);
	}
	if (!local->n && !aka->n)
		import_note(r->a, IMPORT_ACCOUNT,
			IMPORT_DECIDE "neither localdomains nor aka: fetchmail asked the DNS which "
				      "domains the server answers for. Add yours to `domains`.");
	else
		import_note(r->a, IMPORT_ACCOUNT,
			"An address counts inside `domains` only; the DNS is not asked for more.");
}

static void map_envelope(struct reading *r)
{
	const char *text = fm_text(r->e, FM_ENVELOPE), *prefix = fm_text(r->e, FM_QVIRTUAL);
	struct strview header = sv_trim(sv_str(text));

	while (header.len && header.ptr[header.len - 1] == ':')
		header.len--;
	if (!header.len || sv_ieq(header, SV("Received"))) {
		header = SV("X-Envelope-To");
		import_note(r->a, IMPORT_ACCOUNT,
			IMPORT_DECIDE
			"fetchmail guessed the recipient from Received, To and Cc, "
			"which any sender can write and blind copies are not in. "
			"Nothing is guessed here: find the provider's envelope header "
			"(`multidropctl probe`). Until then everything is unresolved. "
			"unresolved = \"received-for\" or \"to-cc\" in the account "
			"comes nearest to what was.");
	} else {
		import_note(r->a, IMPORT_ACCOUNT,
			IMPORT_DECIDE "fetchmail took the header wherever it stood; here it has to "
				      "stand where only the provider can write. `multidropctl "
				      "probe` finds position and trusted_by.");
	}
	import_set(r->a, KEY_ENVELOPE, "%.*s", SV_FMT(header));
	if (number(r->e, FM_ENVELOPE_SKIP)) {
		import_set(r->a, KEY_PICK, "last");
		import_note(r->a, IMPORT_ACCOUNT,
			"envelope %s: the first so many were skipped; the last of the provider's "
			"own is taken here.",
			fm_text(r->e, FM_ENVELOPE_SKIP));
	}
	if (prefix && *prefix)
		import_add(r->a, KEY_STRIP_PREFIX, sv_str(prefix));
}

/* All mail goes to the one name, whose left side it is that fetchmail takes: it never looks it up.
 */
static void map_single(struct reading *r, const char *local)
{
	struct strview to = sv_str(local), from = sv_token(&to, '=');
	AUTO(mem_freep)
	char *recipient = qualified(r, local ? from : sv_str(import_get(r->a, KEY_USER)));

	import_set(r->a, KEY_MODE, "single");
	import_set(r->a, KEY_RECIPIENT, "%s", recipient);
	if (local && to.len)
		import_note(r->a, IMPORT_ACCOUNT,
			IMPORT_DECIDE "is %s: with one name alone fetchmail delivers to the left "
				      "side of it. If the right one is meant, write it.",
			local);
	if (local)
		return;
	import_set(r->a, KEY_ENABLED, "false");
	import_note(r->a, IMPORT_ACCOUNT,
		IMPORT_DECIDE "no is and no to: fetchmail delivered to the user who ran it. Write "
			      "whom the mail is for, and set enabled = true.");
}

static void map_recipients(struct reading *r)
{
	const struct string_list *locals = fm_list(r->e, FM_LOCALS);
	const char *postmaster = fm_text(r->set, FM_POSTMASTER), *all = fm_text(r->e, FM_SMTPNAME);
	AUTO(mem_freep)
	char *address = qualified(r, sv_str(postmaster && *postmaster ? postmaster : "postmaster"));
	bool pass = string_list_has(locals, "*");

	import_set(r->a, KEY_POSTMASTER, "%s", address);
	if (all || (locals->n < 2 && !pass)) {
		map_single(r, all ? all : locals->n ? locals->items[0] : NULL);
		return;
	}
	map_envelope(r);
	map_domains(r, pass);
}

/* ---- the rest ---- */

static void map_limits(struct reading *r)
{
	uint64_t every = number(r->set, FM_DAEMON), cycles = number(r->e, FM_INTERVAL);
	uint64_t limit = number(r->e, FM_LIMIT), fetch = number(r->e, FM_FETCHLIMIT);

	every *= cycles ? cycles : 1;
	if (every && every < POLL_MIN_S)
		import_note(r->a, IMPORT_ACCOUNT,
			"fetchmail logged in every %u s. Most providers allow every 5m; if yours "
			"allows more, lower min_interval in its section and interval here.",
			(unsigned)every);
	if (every)
		import_set(r->a, KEY_INTERVAL, "%us",
			(unsigned)(every < POLL_MIN_S        ? POLL_MIN_S
					: every > 30 * DAY_S ? 30 * DAY_S
							     : every));
	else
		import_note_all(r->import,
			"No `set daemon`: fetchmail was run by something else, which has to stop. "
			"`interval` is the default, 10m.");
	if (limit)
		import_set(
			r->a, KEY_MAX_SIZE, "%u", (unsigned)(limit < SIZE_MIN ? SIZE_MIN : limit));
	if (fetch)
		import_set(r->a, KEY_FETCH_LIMIT, "%u",
			(unsigned)(fetch < MESSAGES_MAX ? fetch : MESSAGES_MAX));
	if (fm_on(r->e, FM_KEEP))
		import_set(r->a, KEY_KEEP, "forever");
}

static void map_notes(struct reading *r)
{
	for (const struct fm_entry *e = r->e; e; e = e->parent)
		for (size_t s = 0; s < IMPORT_SECTIONS; s++)
			for (size_t i = 0; i < e->notes[s].n; i++)
				import_note(r->a, s, "%s", e->notes[s].items[i]);
}

void fm_map(
	struct import *i, const char *file, const struct fm_entry *user, const struct fm_entry *set)
{
	struct conf_place place = { file, user->line };
	struct reading r = { i, file, user, set, import_add_account(i, place), NULL };
	const char *name = fm_text(user, FM_USER), *password = fm_text(user, FM_PASSWORD);

	if (!r.a)
		return;
	if (!name)
		fault_add(&i->faults, place,
			"no user: fetchmail would take the name of who runs it; write user NAME");
	import_note_all(i,
		"fetchmail sent bounces to the senders of what it could not deliver, and completed "
		"addresses in headers. Neither is done here: `unresolved`, `unknown` and "
		"`rejected` decide, and mail is handed on as it is.");
	import_set(r.a, KEY_USER, "%s", name ? name : "");
	if (fm_on(user, FM_SKIP))
		import_set(r.a, KEY_ENABLED, "false"); /* as it was: polled on demand only */
	r.a->password = mem_strdup(password);
	map_notes(&r);
	map_provider(&r);
	map_relay(&r);
	map_recipients(&r);
	map_limits(&r);
	free(r.domain);
}
