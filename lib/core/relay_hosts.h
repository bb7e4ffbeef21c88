/*
 * Which of a relay's hosts the next connection goes to: the first, and the others in their order
 * while it is down. Decisions only; the sessions belong to daemon/.
 *
 * A host that failed is left alone for a growing pause and then tried again, so that the mail
 * returns to the first one soon after it is back. When none is left the relay is down, and from
 * then on the pool's own pause (smtp_pool.h) is the only one.
 */
#pragma once

#include "base/clock.h"
#include "base/mem.h"

#define RELAY_HOST_RETRY_MIN_MSEC 5000
#define RELAY_HOST_RETRY_MAX_MSEC (5 * 60 * 1000)

struct relay_host {
	msec_t retry_at;   /* left alone until then */
	uint32_t failures; /* in a row */
};

struct relay_hosts {
	struct relay_host *items; /* 0 is the first */
	size_t n;
};

void relay_hosts_init(struct relay_hosts *h, size_t n); /* n >= 1 */
void relay_hosts_free(struct relay_hosts *h);
/* For a new connection. */
size_t relay_hosts_first(const struct relay_hosts *h, msec_t now);
/* The connection to `host` could not be made ready: the one to try at once; n: none is left. */
size_t relay_hosts_failed(struct relay_hosts *h, size_t host, msec_t now);
void relay_hosts_ready(struct relay_hosts *h, size_t host);
/* Is it time to look whether one before `host` is back? */
bool relay_hosts_outdated(const struct relay_hosts *h, size_t host, msec_t now);
