/*
 * What the readers of other fetchers' configurations share; see import.h.
 *
 * Owns the accounts and their passwords.
 */
#include "core/import.h"

#include "base/encode.h"
#include "mail/address.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define PASSWORD_MAX 1024 /* as password_file takes */

struct import_account *import_add_account(struct import *i, struct conf_place place)
{
	if (i->n == IMPORT_ACCOUNTS_MAX) {
		fault_add(&i->faults, place, "more than %d accounts", IMPORT_ACCOUNTS_MAX);
		return NULL;
	}
	mem_grow(&i->accounts, &i->cap, i->n + 1, sizeof *i->accounts);
	i->accounts[i->n] = (struct import_account){ .place = place };
	return &i->accounts[i->n++];
}

static void add_text(struct string_list *l, const char *fmt, va_list ap) format_like(2, 0);

static void add_text(struct string_list *l, const char *fmt, va_list ap)
{
	char *text = NULL;

	ensure(vasprintf(&text, fmt, ap) >= 0);
	if (!string_list_has(l, text))
		string_list_add(l, sv_str(text));
	free(text);
}

void import_set(struct import_account *a, enum import_key key, const char *fmt, ...)
{
	struct string_list old = a->values[key];
	va_list ap;

	a->values[key] = (struct string_list){ 0 };
	va_start(ap, fmt);
	add_text(&a->values[key], fmt, ap);
	va_end(ap);
	string_list_free(&old); /* only now: an argument may have been the old value */
}

void import_add(struct import_account *a, enum import_key key, struct strview item)
{
	string_list_add(&a->values[key], item);
}

const char *import_get(const struct import_account *a, enum import_key key)
{
	return a->values[key].n ? a->values[key].items[0] : NULL;
}

void import_note(struct import_account *a, enum import_section section, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_text(&a->notes[section], fmt, ap);
	va_end(ap);
}

void import_note_all(struct import *i, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_text(&i->notes, fmt, ap);
	va_end(ap);
}

void import_map(struct import_account *a, const char *left, const char *right)
{
	const struct string_list *map = &a->values[KEY_MAP];
	AUTO(strbuf_free) struct strbuf line = STRBUF_INIT;

	if (sv_starts(sv_str(left), SV("*@")) && !ascii_strcasecmp(left, right))
		return; /* an address may have to be excepted from its domain's line */
	strbuf_addf(&line, "%s = ", left);
	for (size_t i = 0; i < map->n; i++)
		if (sv_istarts(sv_str(map->items[i]), strbuf_view(&line)))
			return;
	strbuf_adds(&line, right);
	import_add(a, KEY_MAP, strbuf_view(&line));
}

void import_tls(struct import_account *a, const char *tls)
{
	import_set(a, KEY_TLS, "%s", tls);
	if (!strcmp(tls, "none"))
		import_note(a, IMPORT_PROVIDER,
			IMPORT_DECIDE "the password crosses the network in clear text, as before. "
				      "Most providers have tls = \"implicit\" on port 995.");
}

static bool printable(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

static void check_password(struct import *i, const struct import_account *a, const char *password)
{
	if (password && (strpbrk(password, "\r\n") || !*password))
		fault_add(&i->faults, a->place,
			"the password is empty or holds a line end: no login can say it; correct "
			"it");
	if (password && strlen(password) > PASSWORD_MAX)
		fault_add(&i->faults, a->place,
			"the password has more than %d octets: no password_file holds it",
			PASSWORD_MAX);
}

static void check_address(struct import *i, const struct import_account *a, struct strview text)
{
	AUTO(strbuf_free) struct strbuf shown = STRBUF_INIT, plain = STRBUF_INIT;
	struct address parsed = { 0 };
	struct err err;

	/* "*@domain" of a map has an address's form but for its star. */
	strbuf_adds(&plain, sv_starts(text, SV("*@")) ? "x" : "");
	strbuf_addv(&plain, sv_skip(text, sv_starts(text, SV("*@"))));
	if (!address_parse(strbuf_view(&plain), &parsed, &err)) {
		address_free(&parsed);
		return;
	}
	escape_foreign(&shown, text);
	fault_add(&i->faults, a->place,
		"mail would be for \"%s\", which is no mail address (%s); write NAME@DOMAIN there",
		strbuf_str(&shown), err.text);
}

static void check_map(struct import *i, const struct import_account *a, struct strview line)
{
	struct strview left = sv_trim(sv_token(&line, '='));

	check_address(i, a, left);
	while (line.len)
		check_address(i, a, sv_trim(sv_token(&line, ',')));
}

static void check_domain(struct import *i, const struct import_account *a, const char *text)
{
	AUTO(mem_freep) char *normal = domain_normal(sv_str(text + (*text == '.')));
	AUTO(strbuf_free) struct strbuf shown = STRBUF_INIT;

	if (normal)
		return;
	escape_foreign(&shown, sv_str(text));
	fault_add(&i->faults, a->place, "\"%s\" is no domain; correct it", strbuf_str(&shown));
}

static void check_account(struct import *i, const struct import_account *a)
{
	static const enum import_key addresses[] = { KEY_RECIPIENT, KEY_POSTMASTER };
	const struct string_list *map = &a->values[KEY_MAP], *domains = &a->values[KEY_DOMAINS];

	check_password(i, a, a->password);
	check_password(i, a, a->relay_password);
	for (size_t k = 0; k < ARRAY_LEN(addresses); k++)
		if (import_get(a, addresses[k]))
			check_address(i, a, sv_str(import_get(a, addresses[k])));
	for (size_t k = 0; k < map->n; k++)
		check_map(i, a, sv_str(map->items[k]));
	for (size_t k = 0; k < domains->n; k++)
		check_domain(i, a, domains->items[k]);
}

void import_check(struct import *i, size_t from)
{
	for (size_t n = from; n < i->n; n++) {
		const struct import_account *a = &i->accounts[n];
		bool fine = true;
		for (size_t key = 0; key < IMPORT_KEYS; key++)
			for (size_t k = 0; k < a->values[key].n; k++)
				fine = fine && printable(a->values[key].items[k]);
		if (!fine)
			fault_add(&i->faults, a->place,
				"a value of this entry holds a control character; remove it");
		check_account(i, a);
	}
}

static void free_password(char *password)
{
	if (password)
		mem_wipe(password, strlen(password));
	free(password);
}

void import_free(struct import *i)
{
	for (size_t n = 0; n < i->n; n++) {
		struct import_account *a = &i->accounts[n];
		for (size_t key = 0; key < IMPORT_KEYS; key++)
			string_list_free(&a->values[key]);
		for (size_t s = 0; s < IMPORT_SECTIONS; s++)
			string_list_free(&a->notes[s]);
		free_password(a->password);
		free_password(a->relay_password);
	}
	free(i->accounts);
	string_list_free(&i->notes);
	faults_free(&i->faults);
	*i = (struct import){ 0 };
}
