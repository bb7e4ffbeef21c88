/* The order of a relay's hosts; see relay_hosts.h. */
#include "core/relay_hosts.h"

#include <stdlib.h>

void relay_hosts_init(struct relay_hosts *h, size_t n)
{
	ensure(n);
	*h = (struct relay_hosts){ mem_zalloc(n * sizeof *h->items), n };
}

void relay_hosts_free(struct relay_hosts *h)
{
	free(h->items);
	*h = (struct relay_hosts){ 0 };
}

/* The first from `host` on that is not left alone; n: none. */
static size_t usable(const struct relay_hosts *h, size_t host, msec_t now)
{
	while (host < h->n && now < h->items[host].retry_at)
		host++;
	return host;
}

size_t relay_hosts_first(const struct relay_hosts *h, msec_t now)
{
	size_t first = usable(h, 0, now);

	return first < h->n ? first : 0;
}

size_t relay_hosts_failed(struct relay_hosts *h, size_t host, msec_t now)
{
	struct relay_host *failed = &h->items[host];
	msec_t pause = RELAY_HOST_RETRY_MIN_MSEC;

	for (uint32_t i = 0; i < failed->failures && pause < RELAY_HOST_RETRY_MAX_MSEC; i++)
		pause *= 2;
	if (pause > RELAY_HOST_RETRY_MAX_MSEC)
		pause = RELAY_HOST_RETRY_MAX_MSEC;
	if (now >= failed->retry_at) /* else connections made side by side: that is one failure */
		failed->failures++;
	failed->retry_at = now + pause;
	size_t next = usable(h, host + 1, now);
	for (size_t i = 0; i < h->n && next == h->n; i++)
		h->items[i].retry_at = 0; /* the next round has all of them again */
	return next;
}

void relay_hosts_ready(struct relay_hosts *h, size_t host)
{
	h->items[host] = (struct relay_host){ 0 };
}

bool relay_hosts_outdated(const struct relay_hosts *h, size_t host, msec_t now)
{
	return usable(h, 0, now) < host;
}
