/*
 * One value at a time: from text to a typed field, or to the reason why not. Owns nothing; strings
 * in fields are freed with the configuration.
 */
#include "conf_value.h"

#include "listen.h"

#include "base/encode.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

struct unit {
	char letter;
	uint64_t factor;
};

static const struct unit time_units[] = {
	{ 's', 1000 },
	{ 'm', 60 * 1000 },
	{ 'h', 60 * 60 * 1000 },
	{ 'd', 24 * 60 * 60 * 1000 },
};
static const struct unit size_units[] = {
	{ 'K', UINT64_C(1) << 10 },
	{ 'M', UINT64_C(1) << 20 },
	{ 'G', UINT64_C(1) << 30 },
	{ 'T', UINT64_C(1) << 40 },
};

/* Cuts NUMBER LETTER off *rest and adds it to *sum. Returns as duration_parse(). */
static int add_part(struct strview *rest, const struct unit *units, size_t n, uint64_t *sum)
{
	size_t digits = 0;
	uint64_t number;

	while (digits < rest->len && rest->ptr[digits] >= '0' && rest->ptr[digits] <= '9')
		digits++;
	if (!digits || digits == rest->len)
		return 1;
	for (size_t i = 0; i < n; i++) {
		if (units[i].letter != rest->ptr[digits])
			continue;
		if (!sv_number(
			    sv(rest->ptr, digits), (INT64_MAX - *sum) / units[i].factor, &number))
			return 2;
		*sum += number * units[i].factor;
		*rest = sv_skip(*rest, digits + 1);
		return 0;
	}
	return 1;
}

int duration_parse(struct strview text, msec_t *out)
{
	uint64_t sum = 0;
	int rc = text.len ? 0 : 1;

	if (sv_eq(text, SV("0")))
		return *out = 0, 0;
	while (!rc && text.len)
		rc = add_part(&text, time_units, ARRAY_LEN(time_units), &sum);
	if (!rc)
		*out = (msec_t)sum;
	return rc;
}

int size_parse(struct strview text, uint64_t *out)
{
	uint64_t sum = 0;
	bool plain = text.len > 0;
	int rc;

	for (size_t i = 0; i < text.len; i++)
		plain = plain && text.ptr[i] >= '0' && text.ptr[i] <= '9';
	if (plain)
		return sv_number(text, INT64_MAX, out) ? 0 : 2;
	rc = add_part(&text, size_units, ARRAY_LEN(size_units), &sum);
	if (!rc && text.len)
		rc = 1;
	if (!rc)
		*out = sum;
	return rc;
}

/* "VALUE" and what is wrong with it. */
static int bad(struct err *err, struct strview text, const char *fmt, ...) format_like(3, 4);

static int bad(struct err *err, struct strview text, const char *fmt, ...)
{
	struct strbuf shown AUTO(strbuf_free) = STRBUF_INIT;
	char why[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	escape_foreign(&shown, text);
	return err_set(err, ERR_CONFIG, 0, "\"%s\" %s", strbuf_str(&shown), why);
}

static int out_of_range(const struct conf_row *row, struct strview text, struct err *err)
{
	return bad(err, text, "is out of range: %s to %s", row->min, row->max);
}

static void store_string(void *field, struct strview text)
{
	char **string = field;

	if (!string)
		return;
	free(*string);
	*string = mem_strndup(text.ptr, text.len);
}

static int parse_bool(struct strview text)
{
	static const char *const words[] = { "false", "true", "no", "yes", "off", "on" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (sv_ieq(text, sv_str(words[i])))
			return i % 2;
	return -1;
}

int set_bool(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	int value = parse_bool(text);

	if (value < 0)
		return bad(err, text, "is neither true nor false");
	if (field)
		*(bool *)field = value;
	return 0;
}

/* The numbers of the table's own min and max are right, and a test walks them all. */
static uint64_t bound(const char *text)
{
	uint64_t n = 0;
	bool fine = sv_number(sv_str(text), UINT32_MAX, &n);

	ensure(fine);
	return n;
}

static int parse_number(
	const struct conf_row *row, struct strview text, uint64_t *out, struct err *err)
{
	struct strview digits = text.len && text.ptr[0] == '-' ? sv_skip(text, 1) : text;

	if (!digits.len)
		return bad(err, text, "is not a whole number");
	for (size_t i = 0; i < digits.len; i++)
		if (digits.ptr[i] < '0' || digits.ptr[i] > '9')
			return bad(err, text, "is not a whole number");
	if (!sv_number(text, bound(row->max), out) || *out < bound(row->min))
		return out_of_range(row, text, err);
	return 0;
}

int set_number(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	uint64_t n;

	if (parse_number(row, text, &n, err) < 0)
		return -1;
	if (field)
		*(uint32_t *)field = (uint32_t)n;
	return 0;
}

int set_port(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	uint64_t n;

	if (parse_number(row, text, &n, err) < 0)
		return -1;
	if (field)
		*(uint16_t *)field = (uint16_t)n;
	return 0;
}

int set_duration(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	msec_t value = 0, min = 0, max = 0;
	int rc = duration_parse(text, &value);
	int bounds =
		duration_parse(sv_str(row->min), &min) | duration_parse(sv_str(row->max), &max);

	ensure(!bounds);
	if (rc == 1)
		return bad(err, text, "is not a duration such as 90s, 10m, 1h or 7d");
	if (rc || value < min || value > max)
		return out_of_range(row, text, err);
	if (field)
		*(msec_t *)field = value;
	return 0;
}

int set_keep(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	msec_t *keep = field;

	if (sv_eq(text, SV("none")))
		return *keep = KEEP_NONE, 0;
	if (sv_eq(text, SV("forever")))
		return *keep = KEEP_FOREVER, 0;
	return set_duration(row, text, file, field, err);
}

int set_size(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	uint64_t value = 0, min = 0, max = 0;
	int rc = size_parse(text, &value);
	int bounds = size_parse(sv_str(row->min), &min) | size_parse(sv_str(row->max), &max);

	ensure(!bounds);
	if (rc == 1)
		return bad(err, text, "is not a size such as 512K, 50M or 2G");
	if (rc || value < min || value > max)
		return out_of_range(row, text, err);
	if (field)
		*(uint64_t *)field = value;
	return 0;
}

static int not_a_word(const struct conf_row *row, struct strview text, struct err *err)
{
	struct strbuf all AUTO(strbuf_free) = STRBUF_INIT;

	for (const struct conf_word *w = row->words; w->text; w++)
		strbuf_addf(&all, "%s%s", all.len ? ", " : "", w->text);
	return bad(err, text, "is none of: %s", strbuf_str(&all));
}

int set_word(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	static_assert(sizeof(enum tls_mode) == sizeof(unsigned), "enums are ints here");

	for (const struct conf_word *w = row->words; w->text; w++) {
		if (!sv_eq(text, sv_str(w->text)))
			continue;
		if (field)
			memcpy(field, &w->value, sizeof w->value);
		return 0;
	}
	return not_a_word(row, text, err);
}

int set_text(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	if (!text.len)
		return err_set(err, ERR_CONFIG, 0, "must not be empty");
	store_string(field, text);
	return 0;
}

int set_path(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	char *given AUTO(mem_freep) = mem_strndup(text.ptr, text.len);
	char *path AUTO(mem_freep) = conf_resolve(file ? file : "", given);

	if (!text.len)
		return err_set(err, ERR_CONFIG, 0, "must not be empty");
	store_string(field, sv_str(path));
	return 0;
}

int set_socket(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	char *path AUTO(mem_freep) = NULL;
	int rc = set_path(row, text, file, &path, err);

	if (rc)
		return rc;
	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return bad(err, sv_str(path), "is longer than a socket's path may be");
	store_string(field, sv_str(path));
	return 0;
}

int set_listen(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	struct listen_address address;
	struct err why = { 0 };

	if (listen_parse(text, &address, &why))
		return bad(err, text, "%s", why.text);
	store_string(field, text);
	return 0;
}

static bool is_host(struct strview text)
{
	char *host AUTO(mem_freep) = mem_strndup(text.ptr, text.len);
	char *domain AUTO(mem_freep) = NULL;
	struct in6_addr any;
	bool plain = text.len > 0 && text.ptr[0] != '.' && text.ptr[0] != '-';

	if (inet_pton(AF_INET6, host, &any) == 1)
		return true;
	/* names of containers and hosts files have underscores, which domains have not */
	for (size_t i = 0; i < text.len; i++) {
		int c = ascii_lower((unsigned char)text.ptr[i]);
		plain = plain &&
			((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
				c == '_');
	}
	if (plain)
		return text.len <= ADDRESS_DOMAIN_OCTETS;
	domain = domain_normal(text);
	return domain != NULL;
}

int set_host(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	if (!text.len)
		return err_set(err, ERR_CONFIG, 0, "must not be empty");
	if (!is_host(text))
		return bad(err, text, "is neither a host name nor an IP address");
	store_string(field, text);
	return 0;
}

static bool is_several(struct strview text)
{
	AUTO(address_list_free) struct address_list list = { 0 };

	address_parse_list(text, &list);
	return list.n > 1;
}

int set_address(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	struct address parsed = { 0 };
	struct err why = { 0 };

	if (address_parse(text, &parsed, &why)) {
		if (!is_several(text))
			return bad(err, text, "is not a mail address: %s", why.text);
		return bad(err, text,
			"is more than one mail address, one is expected: for several people name "
			"an alias that your mail server has for them");
	}
	store_string(field, sv_str(parsed.text));
	address_free(&parsed);
	return 0;
}

int set_item(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	if (!text.len)
		return err_set(err, ERR_CONFIG, 0, "has an empty item");
	if (field)
		string_list_add(field, text);
	return 0;
}

int set_pin(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	struct strbuf digest AUTO(strbuf_free) = STRBUF_INIT;
	struct strview base64 = sv_skip(text, strlen(TLS_PIN_PREFIX));

	if (!sv_starts(text, SV(TLS_PIN_PREFIX)) || base64_decode(&digest, base64) ||
		digest.len != TLS_PIN_OCTETS)
		return bad(err, text, "is not sha256// and the base64 of a SHA-256 digest");
	string_list_add(field, text);
	return 0;
}

int set_host_item(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	bool wild = sv_starts(text, SV("*."));
	char *name AUTO(mem_freep) = domain_normal(sv_skip(text, wild ? 2 : 0));
	struct strbuf item AUTO(strbuf_free) = STRBUF_INIT;

	if (!name)
		return bad(err, text, "is neither a host name nor *.DOMAIN");
	strbuf_addf(&item, "%s%s", wild ? "*." : "", name);
	if (field)
		string_list_add(field, strbuf_view(&item));
	return 0;
}

/* "host", "host:port", "[2001:db8::1]:port"; an IPv6 address without a port needs no brackets. */
int set_backup(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	struct host_list *list = field;
	struct strview host = text, port = { 0 };
	const char *colon = text.len ? memrchr(text.ptr, ':', text.len) : NULL;
	bool brackets = sv_starts(text, SV("["));
	uint64_t number = 0;

	if (colon &&
		(brackets ? colon[-1] == ']'
			  : !memchr(text.ptr, ':', (size_t)(colon - text.ptr)))) {
		host.len = (size_t)(colon - text.ptr);
		port = sv_skip(text, host.len + 1);
	}
	if (brackets && sv_iends(host, SV("]")))
		host = sv(host.ptr + 1, host.len - 2);
	if (!is_host(host))
		return bad(err, text, "is neither \"host\" nor \"host:port\"");
	if (port.ptr && (!sv_number(port, UINT16_MAX, &number) || !number))
		return bad(err, text, "has a port out of range: 1 to 65535");
	mem_grow(&list->items, &list->cap, list->n + 1, sizeof *list->items);
	list->items[list->n++] =
		(struct conf_host){ mem_strndup(host.ptr, host.len), (uint16_t)number };
	return 0;
}

int set_relay_host(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	struct conf_relay *r = field;

	if (!sv_starts(text, SV("unix:")))
		return set_host(row, text, file, &r->host, err);
	text = sv_skip(text, 5);
	if (!text.len || text.ptr[0] != '/' ||
		text.len >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return bad(err, text, "is no absolute path that a socket can have");
	store_string(&r->unix_path, text);
	return 0;
}

int set_protocol(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	struct conf_relay *r = field;

	r->lmtp = sv_eq(text, SV("lmtp"));
	return r->lmtp || sv_eq(text, SV("smtp")) ? 0 : not_a_word(row, text, err);
}

int set_sender(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	struct conf_relay *r = field;

	r->sender_mode = SENDER_RETURN_PATH;
	if (sv_eq(text, SV("return-path")))
		return 0;
	if (sv_eq(text, SV("null")))
		return r->sender_mode = SENDER_NULL, 0;
	r->sender_mode = SENDER_FIXED;
	if (!memchr(text.ptr, '@', text.len))
		return bad(err, text, "is neither return-path, null nor a mail address");
	return set_address(row, text, file, &r->sender, err);
}

int set_fallback(const struct conf_row *row, struct strview text, const char *file, void *field,
	struct err *err)
{
	if (!sv_eq(text, SV("<>")))
		return set_address(row, text, file, field, err);
	store_string(field, SV(""));
	return 0;
}
