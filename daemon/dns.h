/*
 * Names to addresses, off the loop: getaddrinfo (which honours nsswitch and /etc/hosts) in glibc's
 * own helper threads, the answer through a pipe into the loop. A slow resolver holds up nobody
 * else.
 */
#pragma once

#include "base/err.h"

#include <event2/event.h>
#include <netdb.h>

struct dns;
struct dns_query;

/* The answer: a list, to be freed with freeaddrinfo(), or NULL and why. Never called from
 * dns_resolve. */
typedef void dns_answer_fn(void *ctx, struct addrinfo *list, const struct err *err);

struct dns *dns_new(struct event_base *base);
void dns_free(struct dns *d); /* open queries are abandoned */
struct dns_query *dns_resolve(
	struct dns *d, const char *host, uint16_t port, dns_answer_fn *fn, void *ctx);
void dns_cancel(struct dns_query *q); /* no answer follows; NULL is fine */
