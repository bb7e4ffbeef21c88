/*
 * The provider's hosts, read off the Received lines; see survey.h. Owns nothing but what it adds to
 * the survey.
 *
 * The line on top is the provider's: the message was fetched there. The next one is his too if the
 * one above it was a hand-over inside his walls: local, from a private address, or from a client
 * whose verified name is of the same domain. Where that ends, strangers begin; a name that only a
 * stranger wrote is never suggested.
 */
#include "mail/received.h"
#include "mail/survey_impl.h"

#include <stdlib.h>

#define HOSTS_MAX       64
#define SUGGEST_ONE_OF  10 /* a host that fewer than one in so many samples name is no pattern */
#define REGISTRY_OCTETS 3  /* "co.uk", "com.br": a short label before a country is a registry */

void survey_list_add(struct survey_list *l, char *take_item)
{
	mem_grow(&l->items, &l->cap, l->n + 1, sizeof *l->items);
	l->items[l->n++] = take_item;
}

void survey_list_free(struct survey_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i]);
	free(l->items);
	*l = (struct survey_list){ 0 };
}

/* What stands behind the first label, if that is somebody's domain; else empty. */
static struct strview house_of(struct strview host)
{
	struct strview rest = host;

	(void)sv_token(&rest, '.');
	struct strview tail = rest, label = sv_token(&tail, '.');
	bool registry = tail.len == 2 && label.len <= REGISTRY_OCTETS;
	return tail.len && !registry ? rest : SV("");
}

static bool same_house(struct strview a, struct strview b)
{
	struct strview house = house_of(a);

	return sv_ieq(a, b) || (house.len && sv_ieq(house, house_of(b)));
}

/* Normalised, as trusted_by takes it; NULL: an address, or no name at all. The caller frees. */
static char *host_name(struct strview name)
{
	for (size_t i = 0; i < name.len; i++) {
		int c = ascii_lower((unsigned char)name.ptr[i]);
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '.')
			return NULL;
	}
	char *normal = domain_normal(name);
	size_t len = normal ? strlen(normal) : 0;
	if (len && (normal[len - 1] < '0' || normal[len - 1] > '9'))
		return normal;
	free(normal);
	return NULL;
}

/* last[i]: the sample, counted from 1, in which host i was seen last. */
static void count_host(struct survey *s, const char *name, size_t *last, size_t sample)
{
	for (size_t i = 0; i < s->nhosts; i++) {
		if (strcmp(s->hosts[i].name, name))
			continue;
		s->hosts[i].seen += last[i] != sample;
		last[i] = sample;
		return;
	}
	if (s->nhosts == HOSTS_MAX)
		return;
	mem_grow(&s->hosts, &s->cap_hosts, s->nhosts + 1, sizeof *s->hosts);
	s->hosts[s->nhosts] = (struct survey_host){ .name = mem_strdup(name), .seen = 1 };
	last[s->nhosts++] = sample;
}

static void walk_chain(
	const struct header *h, struct survey *s, size_t *last, size_t sample, struct strbuf *value)
{
	AUTO(strbuf_free) struct strbuf walls = STRBUF_INIT; /* of this host we are inside */
	const struct header_field *f;
	struct received r;

	for (size_t i = 0; (f = header_find(h, SV("Received"), &i)); i++) {
		received_read(f, value, &r);
		if (r.invoked)
			continue;
		AUTO(mem_freep) char *by = host_name(r.by);
		if (r.malformed || !by || (walls.len && !same_house(r.by, strbuf_view(&walls))))
			return;
		count_host(s, by, last, sample);
		strbuf_clear(&walls);
		if (!r.has_from || ip_is_private(r.ip))
			continue; /* inside, whatever the other host calls itself */
		if (!same_house(r.client, r.by))
			return;
		strbuf_addv(&walls, r.by);
	}
}

static bool listed(const struct survey_list *l, const char *item)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->items[i], item))
			return true;
	return false;
}

/* Two hosts of one domain stand for all of them: providers add machines. */
static void suggest(struct survey *s, size_t i, struct survey_list *suggestion)
{
	struct strbuf item = STRBUF_INIT;
	struct strview me = sv_str(s->hosts[i].name), house = house_of(me);

	for (size_t k = 0; k < s->nhosts && house.len && !item.len; k++)
		if (k != i && sv_ieq(house_of(sv_str(s->hosts[k].name)), house))
			strbuf_addf(&item, "*.%.*s", SV_FMT(house));
	if (!item.len)
		strbuf_addv(&item, me);
	s->hosts[i].suggested = true;
	if (listed(suggestion, strbuf_str(&item)))
		strbuf_free(&item);
	else
		survey_list_add(suggestion, strbuf_take(&item));
}

static int by_count(const void *a, const void *b)
{
	const struct survey_host *x = a, *y = b;

	return x->seen != y->seen ? (x->seen < y->seen ? 1 : -1) : strcmp(x->name, y->name);
}

void survey_hosts(const struct header *const *headers, size_t n, struct survey *out,
	struct survey_list *suggestion)
{
	AUTO(strbuf_free) struct strbuf value = STRBUF_INIT;
	size_t last[HOSTS_MAX] = { 0 };

	for (size_t i = 0; i < n; i++)
		walk_chain(headers[i], out, last, i + 1, &value);
	if (out->nhosts)
		qsort(out->hosts, out->nhosts, sizeof *out->hosts, by_count);
	for (size_t i = 0; i < out->nhosts; i++)
		if ((size_t)out->hosts[i].seen * SUGGEST_ONE_OF >= n)
			suggest(out, i, suggestion);
}
