/* The relays of one configuration. A reload makes a new set; cycles keep what they began with. */
#pragma once

#include "send.h"

struct relays {
	struct relay **items; /* as config->relays */
	size_t n;
};

/* All or none. -1: the TLS settings of one of them are of no use. */
int relays_make(struct relays *out, struct env *env, struct config *config,
	const struct relay_ops *ops, struct err *err) must_check;
/* The one for this section of the configuration that the set was made of. */
struct relay *relays_find(const struct relays *r, const struct conf_relay *conf);
/* NULL: there is none of that name. */
struct relay *relays_named(const struct relays *r, const char *name);
void relays_stop(struct relays *r);
void relays_free(struct relays *r); /* nothing new; who still uses one keeps it */
