/*
 * Addresses: whatever a header says, what is read out of it may go to the wire, stands in it word
 * for word, and is read again as itself.
 *
 * The first octet chooses the scene: a header's value, a display name or a comment beside an honest
 * address, an address of the configuration, a domain, or a Return-Path.
 */
#include "fuzz.h"
#include "mail/address.h"

#include <stdlib.h>

#define HONEST "sales@firma.example"

enum scene {
	SCENE_VALUE,
	SCENE_NAME,    /* "..." <sales@firma.example> */
	SCENE_COMMENT, /* (...) sales@firma.example (...) */
	SCENE_CONFIG,
	SCENE_DOMAIN,
	SCENE_PATH,
	SCENE_COUNT
};

static bool stands_in(struct strview value, struct strview word)
{
	return word.len && value.len && memmem(value.ptr, value.len, word.ptr, word.len);
}

static bool is_ascii(struct strview v)
{
	size_t i = 0;

	while (i < v.len && (unsigned char)v.ptr[i] < 0x80)
		i++;
	return i == v.len;
}

/* Comparable: normalising it again changes nothing. */
static void check_domain(const char *normal)
{
	char *again = domain_normal(sv_str(normal));

	ensure(again && !strcmp(again, normal));
	ensure(*normal && strlen(normal) <= ADDRESS_DOMAIN_OCTETS);
	for (const char *p = normal; *p; p++)
		ensure((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || strchr(".-_", *p));
	free(again);
}

static void check_again(const struct address *a)
{
	AUTO(address_list_free) struct address_list list = { 0 };
	AUTO(strbuf_free) struct strbuf path = STRBUF_INIT;
	struct address plain;
	struct err err;
	char *sender;

	ensure(!address_parse(sv_str(a->text), &plain, &err));
	ensure(!strcmp(plain.text, a->text) && !strcmp(plain.domain, a->domain));
	ensure(address_same(&plain, a));
	address_free(&plain);
	strbuf_addf(&path, "<%s>", a->text);
	address_parse_list(strbuf_view(&path), &list);
	ensure(list.n == 1 && !list.malformed && !strcmp(list.items[0].text, a->text));
	if (!reverse_path_parse(strbuf_view(&path), &sender)) {
		ensure(!strcmp(sender, a->text));
		free(sender);
	} else {
		ensure(strchr(a->text, ' '));
	}
}

static void check_address(const struct address *a, struct strview value)
{
	struct strview text = sv_str(a->text), local = sv(text.ptr, a->at);
	struct strview domain = sv_skip(text, a->at + 1);
	bool quoted = local.len && local.ptr[0] == '"';

	ensure(a->at < text.len && a->text[a->at] == '@');
	ensure(local.len && local.len <= ADDRESS_LOCAL_OCTETS);
	ensure(stands_in(value, local));
	ensure(stands_in(value, domain) || !is_ascii(value));
	ensure(local.ptr[quoted] != '|' && local.ptr[quoted] != '/');
	for (size_t i = 0; i < text.len; i++) {
		ensure((unsigned char)text.ptr[i] >= ' ' && text.ptr[i] != 0x7f);
		ensure(quoted || !strchr(" <>(),;:\"[]\\", text.ptr[i]));
	}
	check_domain(a->domain);
	check_again(a);
}

static void check_value(struct strview value)
{
	AUTO(address_list_free) struct address_list list = { 0 };

	address_parse_list(value, &list);
	ensure(list.n <= ADDRESS_MAX);
	ensure(!list.malformed == !list.reason.len);
	for (size_t i = 0; i < list.n; i++)
		check_address(&list.items[i], value);
}

/* What stands in quotes or in a comment is nobody's address and hides none. */
static void check_beside(struct strview input, bool comment)
{
	AUTO(address_list_free) struct address_list list = { 0 };
	AUTO(strbuf_free) struct strbuf value = STRBUF_INIT;

	strbuf_addc(&value, comment ? '(' : '"');
	for (size_t i = 0; i < input.len; i++) {
		if (input.ptr[i] && strchr("()\"\\", input.ptr[i]))
			strbuf_addc(&value, '\\');
		strbuf_addc(&value, input.ptr[i]);
	}
	strbuf_adds(&value, comment ? ") " HONEST : "\" <" HONEST ">");
	address_parse_list(strbuf_view(&value), &list);
	ensure(list.n == 1 && !list.malformed && !strcmp(list.items[0].text, HONEST));
}

static void check_path(struct strview value)
{
	char *sender;

	if (reverse_path_parse(value, &sender)) {
		ensure(!sender);
		return;
	}
	for (const char *p = sender; *p; p++)
		ensure((unsigned char)*p > ' ' && *p != 0x7f && (*p != '>' || *sender == '"'));
	ensure(!*sender || strchr(sender, '@'));
	ensure(strlen(sender) <= ADDRESS_LOCAL_OCTETS + 1 + ADDRESS_DOMAIN_OCTETS);
	free(sender);
}

static void check_config(struct strview text)
{
	struct address a;
	struct err err;

	if (address_parse(text, &a, &err)) {
		ensure(*err.text && !a.text);
		return;
	}
	check_address(&a, text);
	address_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *domain;

	if (!size)
		return 0;
	struct strview input = sv((const char *)data + 1, size - 1);
	switch ((enum scene)(data[0] % SCENE_COUNT)) {
	case SCENE_VALUE:
		check_value(input);
		break;
	case SCENE_NAME:
	case SCENE_COMMENT:
		check_beside(input, data[0] % SCENE_COUNT == SCENE_COMMENT);
		break;
	case SCENE_CONFIG:
		check_config(input);
		break;
	case SCENE_DOMAIN:
		domain = domain_normal(input);
		if (domain)
			check_domain(domain);
		/* what only looks like ASCII never becomes it */
		ensure(!domain || is_ascii(input) || strstr(domain, "xn--"));
		free(domain);
		break;
	case SCENE_PATH:
		check_path(input);
		break;
	case SCENE_COUNT:
		break;
	}
	return 0;
}
