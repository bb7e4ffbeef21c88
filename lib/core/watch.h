/*
 * Is the provider's envelope header still where it used to be? Remembers the latest messages of an
 * account and notices when a header that was (nearly) always there stops coming: the provider has
 * changed its servers. It decides nothing about a message; it is for a person to look.
 */
#pragma once

#include "base/mem.h"

#include <stdint.h>

#define WATCH_MESSAGES  64 /* remembered */
#define WATCH_MIN       20 /* before anything is said about an account */
#define WATCH_USUAL_PCT 90 /* present in so many of the older ones: it belongs there */
#define WATCH_RUN       5  /* missing in so many in a row: it has gone */

struct watch {
	uint64_t recent; /* bit 0 is the latest message; 1: the header was where it was expected */
	uint32_t n;      /* messages seen, up to WATCH_MESSAGES */
	bool changed;    /* said so, and it has not come back yet */
};

enum watch_news { WATCH_NOTHING, WATCH_CHANGED, WATCH_BACK };

enum watch_news watch_note(struct watch *w, bool found);
uint32_t watch_found(const struct watch *w); /* of the w->n remembered ones */
