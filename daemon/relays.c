/* Made and let go together; see relays.h. */
#include "relays.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

int relays_make(struct relays *out, struct env *env, struct config *config,
	const struct relay_ops *ops, struct err *err)
{
	struct relays r = { .items = mem_zalloc((config->nrelays + 1) * sizeof *r.items) };

	for (; r.n < config->nrelays; r.n++)
		if (relay_new(env, config, config->relays[r.n], ops, &r.items[r.n], err)) {
			relays_free(&r);
			return -1;
		}
	*out = r;
	return 0;
}

struct relay *relays_find(const struct relays *r, const struct conf_relay *conf)
{
	for (size_t i = 0; i < r->n; i++)
		if (relay_conf(r->items[i]) == conf)
			return r->items[i];
	ensure(!"an account's relay exists");
	return NULL;
}

struct relay *relays_named(const struct relays *r, const char *name)
{
	for (size_t i = 0; i < r->n; i++)
		if (!strcmp(relay_conf(r->items[i])->name, name))
			return r->items[i];
	return NULL;
}

void relays_stop(struct relays *r)
{
	for (size_t i = 0; i < r->n; i++)
		relay_stop(r->items[i]);
}

void relays_free(struct relays *r)
{
	for (size_t i = 0; i < r->n; i++) {
		relay_retire(r->items[i]);
		relay_unref(r->items[i]);
	}
	free(r->items);
	*r = (struct relays){ 0 };
}
