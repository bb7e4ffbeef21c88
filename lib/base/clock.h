/*
 * Time and chance as vtables: the real ones live in daemon/, the fakes in tests.
 *
 * msec_t is monotonic and counts suspend (CLOCK_BOOTTIME); all logic uses it. wall_t is the civil
 * clock, for stored rows and message headers only: a step of it must not stop, burst or purge
 * anything.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef int64_t msec_t; /* milliseconds since boot */
typedef int64_t wall_t; /* milliseconds since 1970-01-01T00:00:00Z */

#define MSEC_NEVER INT64_MAX

struct clock {
	msec_t (*now)(struct clock *);
	wall_t (*wall)(struct clock *);
	/* A name of this boot, as long as the clock; "" or no function: it has none that we know.
	 */
	const char *(*boot)(struct clock *);
};

static inline const char *clock_boot(struct clock *c)
{
	return c->boot ? c->boot(c) : "";
}

struct rng {
	void (*fill)(struct rng *, void *buf, size_t len);
};
