/*
 * The configuration's memory and its cross-checks; see config.h.
 *
 * Owns every provider, relay and account and all they point to. config_check() never changes what
 * the administrator wrote: it only fills `rules`, which borrows from the sections. It runs on
 * incomplete configurations too (a reference that led nowhere is NULL, a refused value is missing),
 * so that one run shows all faults and none of them twice.
 */
#include "core/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define SMTP_PORT          25
#define DOT_TIMEOUT_MIN_MS (600 * INT64_C(1000)) /* RFC 5321 section 4.5.3.2.6 */

void string_list_add(struct string_list *l, struct strview s)
{
	mem_grow(&l->items, &l->cap, l->n + 1, sizeof *l->items);
	l->items[l->n++] = mem_strndup(s.ptr, s.len);
}

void string_list_free(struct string_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i]);
	free(l->items);
	*l = (struct string_list){ 0 };
}

bool string_list_has(const struct string_list *l, const char *s)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->items[i], s))
			return true;
	return false;
}

const struct conf_place *conf_key_place(const struct conf_keys *k, const char *name)
{
	for (size_t i = 0; i < k->n; i++)
		if (!strcmp(k->items[i].name, name))
			return &k->items[i].place;
	return NULL;
}

static const char *own_file(struct faults *f, const char *file)
{
	for (size_t i = 0; i < f->files.n; i++)
		if (!strcmp(f->files.items[i], file))
			return f->files.items[i];
	string_list_add(&f->files, sv_str(file));
	return f->files.items[f->files.n - 1];
}

static void fault_addv(struct faults *f, struct conf_place place, bool warning, const char *fmt,
	va_list ap) format_like(4, 0);

static void fault_addv(
	struct faults *f, struct conf_place place, bool warning, const char *fmt, va_list ap)
{
	char text[512];

	vsnprintf(text, sizeof text, fmt, ap);
	place.file = own_file(f, place.file ? place.file : "");
	mem_grow(&f->items, &f->cap, f->n + 1, sizeof *f->items);
	f->items[f->n++] = (struct fault){ place, warning, mem_strdup(text) };
	f->errors += !warning;
}

void fault_add(struct faults *f, struct conf_place place, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fault_addv(f, place, false, fmt, ap);
	va_end(ap);
}

void fault_warn(struct faults *f, struct conf_place place, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fault_addv(f, place, true, fmt, ap);
	va_end(ap);
}

void faults_free(struct faults *f)
{
	for (size_t i = 0; i < f->n; i++)
		free(f->items[i].text);
	free(f->items);
	string_list_free(&f->files);
	*f = (struct faults){ 0 };
}

static void envelope_free(struct envelope_rule *rules, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(rules[i].header);
	free(rules);
}

static void tls_free(struct conf_tls *t)
{
	free(t->ca_file);
	string_list_free(&t->pins);
}

static void provider_free(struct conf_provider *p)
{
	free(p->keys.items);
	free(p->name);
	free(p->host);
	tls_free(&p->tls);
	string_list_free(&p->trusted_by);
	string_list_free(&p->strip_prefix);
	envelope_free(p->envelope, p->nenvelope);
	free(p);
}

static void secret_free(struct secret *s)
{
	mem_wipe(s->bytes, s->len);
	free(s->bytes);
	free(s->command);
}

static void relay_free(struct conf_relay *r)
{
	free(r->keys.items);
	free(r->name);
	free(r->host);
	free(r->unix_path);
	for (size_t i = 0; i < r->backups.n; i++)
		free(r->backups.items[i].host);
	free(r->backups.items);
	tls_free(&r->tls);
	free(r->user);
	secret_free(&r->password);
	free(r->sender);
	free(r->sender_fallback);
	free(r);
}

static void map_free(struct map_entry *map, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < map[i].nright; j++)
			free(map[i].right[j]);
		free(map[i].right);
		free(map[i].left);
	}
	free(map);
}

static void account_free(struct conf_account *a)
{
	free(a->keys.items);
	free(a->name);
	free(a->user);
	secret_free(&a->password);
	string_list_free(&a->domains);
	string_list_free(&a->valid);
	free(a->recipient);
	free(a->postmaster);
	envelope_free(a->envelope, a->nenvelope);
	map_free(a->map, a->nmap);
	free(a);
}

struct config *config_new(void)
{
	struct config *c = mem_zalloc(sizeof *c);

	c->refs = 1;
	return c;
}

struct config *config_ref(struct config *c)
{
	c->refs++;
	return c;
}

void config_unref(struct config *c)
{
	if (!c || --c->refs)
		return;
	for (size_t i = 0; i < c->naccounts; i++)
		account_free(c->accounts[i]);
	for (size_t i = 0; i < c->nrelays; i++)
		relay_free(c->relays[i]);
	for (size_t i = 0; i < c->nproviders; i++)
		provider_free(c->providers[i]);
	free(c->accounts);
	free(c->relays);
	free(c->providers);
	free(c->hostname);
	free(c->state_dir);
	free(c->control_socket);
	free(c->metrics_listen);
	free(c->alert_to);
	free(c->keys.items);
	string_list_free(&c->files);
	free(c);
}

struct conf_provider *config_add_provider(struct config *c)
{
	mem_grow(&c->providers, &c->cap_providers, c->nproviders + 1, sizeof *c->providers);
	return c->providers[c->nproviders++] = mem_zalloc(sizeof(struct conf_provider));
}

struct conf_relay *config_add_relay(struct config *c)
{
	mem_grow(&c->relays, &c->cap_relays, c->nrelays + 1, sizeof *c->relays);
	return c->relays[c->nrelays++] = mem_zalloc(sizeof(struct conf_relay));
}

struct conf_account *config_add_account(struct config *c)
{
	mem_grow(&c->accounts, &c->cap_accounts, c->naccounts + 1, sizeof *c->accounts);
	return c->accounts[c->naccounts++] = mem_zalloc(sizeof(struct conf_account));
}

/* The loader refuses nameless sections, but shows their other faults first. */
static bool same_name(const char *a, const char *b)
{
	return a && !strcmp(a, b);
}

const struct conf_provider *config_provider(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->nproviders; i++)
		if (same_name(c->providers[i]->name, name))
			return c->providers[i];
	return NULL;
}

const struct conf_relay *config_relay(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->nrelays; i++)
		if (same_name(c->relays[i]->name, name))
			return c->relays[i];
	return NULL;
}

const struct conf_account *config_account(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->naccounts; i++)
		if (same_name(c->accounts[i]->name, name))
			return c->accounts[i];
	return NULL;
}

struct conf_host relay_host(const struct conf_relay *r, size_t index)
{
	if (!index)
		return (struct conf_host){ r->host, r->port };
	struct conf_host h = r->backups.items[index - 1];
	h.port = h.port ? h.port : r->port;
	return h;
}

static struct conf_place at(const struct conf_keys *k, const char *key, struct conf_place section)
{
	const struct conf_place *p = conf_key_place(k, key);

	return p ? *p : section;
}

static bool is_loopback(const char *host)
{
	/* 127.hoster.example is a name like any other. */
	return !host || !ascii_strcasecmp(host, "localhost") || !strcmp(host, "::1") ||
		(sv_starts(sv_str(host), SV("127.")) && !host[strspn(host, "0123456789.")]);
}

static void check_tls(const struct conf_tls *t, const struct conf_keys *k,
	struct conf_place section, struct faults *f)
{
	if (t->mode == TLS_NONE && t->ca_file)
		fault_add(f, at(k, "tls_ca_file", section),
			"tls_ca_file has no meaning with tls \"none\"");
	if (t->pins.n && (t->mode == TLS_NONE || t->mode == TLS_OPPORTUNISTIC))
		fault_add(f, at(k, "tls_pin", section),
			"tls_pin needs tls \"starttls\" or \"implicit\"");
}

static void check_provider(const struct conf_provider *p, struct faults *f)
{
	if (p->tls.mode == TLS_NONE && !is_loopback(p->host))
		fault_warn(f, at(&p->keys, "tls", p->place),
			"provider \"%s\": passwords and mail cross the network in clear text",
			p->name);
	if ((p->tls.mode == TLS_IMPLICIT && p->port == 110) ||
		(p->tls.mode != TLS_IMPLICIT && p->port == 995))
		fault_warn(f, at(&p->keys, "port", p->place),
			"provider \"%s\": port %u does not go with this tls; implicit uses 995, "
			"starttls 110",
			p->name, (unsigned)p->port);
	check_tls(&p->tls, &p->keys, p->place, f);
}

static void check_relay_unix(const struct conf_relay *r, struct faults *f)
{
	const struct conf_place *port = conf_key_place(&r->keys, "port");

	if (!r->lmtp)
		fault_add(f, at(&r->keys, "host", r->place),
			"relay \"%s\": a unix socket needs protocol \"lmtp\"", r->name);
	if (port)
		fault_add(f, *port, "port has no meaning with a unix socket");
	if (r->backups.n)
		fault_add(f, at(&r->keys, "backup_hosts", r->place),
			"backup_hosts has no meaning with a unix socket");
	if (r->tls.mode == TLS_STARTTLS || r->tls.mode == TLS_IMPLICIT)
		fault_add(f, at(&r->keys, "tls", r->place),
			"relay \"%s\": no TLS over a unix socket", r->name);
}

/* Over TLS only; the certificate is checked, with "opportunistic" too (daemon/send.c). */
static void check_relay_login(const struct conf_relay *r, struct faults *f)
{
	if (!r->user)
		return;
	if (r->tls.mode == TLS_NONE)
		fault_warn(f, at(&r->keys, "user", r->place),
			"relay \"%s\": no password is said without TLS, so with tls \"none\" "
			"nothing "
			"will be delivered",
			r->name);
	if (r->unix_path)
		fault_add(f, at(&r->keys, "user", r->place),
			"relay \"%s\": no login over a unix socket", r->name);
}

static void check_relay(const struct conf_relay *r, struct faults *f)
{
	if (r->unix_path)
		check_relay_unix(r, f);
	check_relay_login(r, f);
	if (r->lmtp && !r->unix_path && r->port == SMTP_PORT) /* RFC 2033 section 5 */
		fault_add(f, at(&r->keys, "port", r->place),
			"relay \"%s\": LMTP must not use port 25 (RFC 2033); 24 is the default",
			r->name);
	if (r->tls.mode == TLS_NONE && !r->unix_path && !is_loopback(r->host))
		fault_warn(f, at(&r->keys, "tls", r->place),
			"relay \"%s\": mail crosses the network in clear text", r->name);
	check_tls(&r->tls, &r->keys, r->place, f);
	if (r->dot_timeout_ms < DOT_TIMEOUT_MIN_MS)
		fault_warn(f, at(&r->keys, "dot_timeout", r->place),
			"relay \"%s\": a dot_timeout below 10m invites duplicates (RFC 5321, "
			"4.5.3.2.6)",
			r->name);
}

static void check_multidrop(const struct conf_account *a, struct faults *f)
{
	const struct conf_place *recipient = conf_key_place(&a->keys, "recipient");
	bool guesses = a->rules.unresolved == UNRESOLVED_RECEIVED_FOR ||
		a->rules.unresolved == UNRESOLVED_TO_CC;

	if (!a->domains.n && !conf_key_place(&a->keys, "domains"))
		fault_add(f, a->place, "account \"%s\": mode \"multidrop\" needs domains", a->name);
	if (recipient && a->recipient)
		fault_add(f, *recipient, "recipient has no meaning with mode \"multidrop\"");
	if (!a->rules.nrules && a->provider && !guesses)
		fault_add(f, a->place,
			"account \"%s\": neither it nor its provider names an envelope header; "
			"write an envelope section, or set unresolved to \"received-for\" or "
			"\"to-cc\"",
			a->name);
}

static void check_single(const struct conf_account *a, struct faults *f)
{
	static const char *const idle[] = { "map", "map_file", "recipients_file", "unresolved" };
	const struct conf_place *domains = conf_key_place(&a->keys, "domains");

	if (!a->recipient && !conf_key_place(&a->keys, "recipient"))
		fault_add(f, a->place, "account \"%s\": mode \"single\" needs recipient", a->name);
	if (domains && a->domains.n)
		fault_add(f, *domains, "domains has no meaning with mode \"single\"");
	for (size_t i = 0; i < ARRAY_LEN(idle); i++) {
		const struct conf_place *p = conf_key_place(&a->keys, idle[i]);
		if (p)
			fault_warn(f, *p, "%s has no effect with mode \"single\"", idle[i]);
	}
	if (a->nenvelope)
		fault_warn(f, a->place,
			"account \"%s\": envelope has no effect with mode \"single\"", a->name);
}

static void check_policies(const struct conf_account *a, struct faults *f)
{
	const struct {
		const char *key;
		bool needs;
	} policies[] = {
		{ "unresolved", a->rules.unresolved == UNRESOLVED_POSTMASTER },
		{ "unknown", a->unknown == FAILED_POSTMASTER },
		{ "rejected", a->rejected == FAILED_POSTMASTER },
	};

	if (a->postmaster || conf_key_place(&a->keys, "postmaster"))
		return;
	for (size_t i = 0; i < ARRAY_LEN(policies); i++)
		if (policies[i].needs)
			fault_add(f, at(&a->keys, policies[i].key, a->place),
				"account \"%s\": %s \"postmaster\" needs postmaster", a->name,
				policies[i].key);
}

static void fill_rules(struct conf_account *a, const char *own_mailbox)
{
	struct resolve_rules *r = &a->rules;
	const struct conf_provider *p = a->provider;

	r->recipient = a->recipient;
	r->own_mailbox = own_mailbox;
	r->rules = a->envelope;
	r->nrules = a->nenvelope;
	if (!a->nenvelope && p) {
		r->rules = p->envelope;
		r->nrules = p->nenvelope;
	}
	if (p) {
		r->strip_prefix = p->strip_prefix.items;
		r->nstrip_prefix = p->strip_prefix.n;
		r->trusted_by = p->trusted_by.items;
		r->ntrusted_by = p->trusted_by.n;
	}
	r->domains = a->domains.items;
	r->ndomains = a->domains.n;
	r->map = a->map;
	r->nmap = a->nmap;
	r->valid = a->valid.items;
	r->nvalid = a->valid.n;
	r->postmaster = a->postmaster;
	if (a->relay) {
		bool null = a->relay->sender_mode == SENDER_NULL;
		r->sender_fixed = null ? "" : a->relay->sender;
		r->sender_fallback = a->relay->sender_fallback;
	}
}

/* The POP3 login as the resolver wants it: only if it is an address. */
static const char *mailbox_of(const char *user)
{
	struct address parsed = { 0 };
	bool is_address = user && !address_parse(sv_str(user), &parsed, NULL);

	address_free(&parsed);
	return is_address ? user : NULL;
}

static void check_account(struct conf_account *a, struct faults *f)
{
	fill_rules(a, mailbox_of(a->user));
	if (a->rules.mode == RESOLVE_MULTIDROP)
		check_multidrop(a, f);
	else
		check_single(a, f);
	check_policies(a, f);
	if (a->provider && a->interval_ms < a->provider->rate.spacing_ms)
		fault_warn(f, at(&a->keys, "interval", a->place),
			"account \"%s\": interval is below the min_interval of provider \"%s\", "
			"which wins",
			a->name, a->provider->name);
}

void config_quote(struct strbuf *out, const char *text)
{
	strbuf_addc(out, '"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			strbuf_addc(out, '\\');
		strbuf_addc(out, *text);
	}
	strbuf_addc(out, '"');
}

void config_check(struct config *c, struct faults *f)
{
	for (size_t i = 0; i < c->nproviders; i++)
		check_provider(c->providers[i], f);
	for (size_t i = 0; i < c->nrelays; i++)
		check_relay(c->relays[i], f);
	for (size_t i = 0; i < c->naccounts; i++)
		check_account(c->accounts[i], f);
}
