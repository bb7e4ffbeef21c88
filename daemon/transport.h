/*
 * A byte stream to a peer: TCP or a unix socket, with TLS from the start, later (STLS, STARTTLS) or
 * never.
 *
 * Owns the descriptor and the TLS state; knows no protocol. Output stays with the protocol machine:
 * transport_write takes what the kernel takes now, and on_writable says when more fits. Input comes
 * in one shared buffer per loop and is gone after on_data returns.
 *
 * All addresses of a name are tried, each with its own connect timeout. Callbacks may call
 * transport_free(): the memory lives until loop_reap() at the end of the turn, no callback follows.
 */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "base/strbuf.h"

#include <event2/event.h>

#define TRANSPORT_CONNECT_MSEC  10000 /* per address */
#define TRANSPORT_BUFFER_OCTETS (64 * 1024)

struct tls_client; /* tls.h */
struct transport;

struct loop { /* what all transports of a process share */
	struct event_base *base;
	struct clock *clock;
	char *buffer;           /* TRANSPORT_BUFFER_OCTETS */
	struct transport *dead; /* to be freed at the end of the turn */
	struct dns *dns;
	int runner; /* starts programs (runner.h), borrowed; -1: nobody does */
};

int loop_init(struct loop *loop, struct clock *clock, struct err *err) must_check;
void loop_free(struct loop *loop);
void loop_reap(struct loop *loop); /* after each turn */
msec_t loop_now(const struct loop *loop);

struct transport_target {
	const char *host, *unix_path; /* one of them */
	uint16_t port;
	struct tls_client *tls; /* NULL: clear text; else at once, or at transport_starttls */
	bool tls_at_once;
	bool first; /* its input is looked at before that of the others */
	msec_t handshake_ms;
};

struct transport_ops {
	void (*on_open)(void *ctx); /* connected; with tls_at_once, or after starttls: secured */
	void (*on_data)(void *ctx, const char *buf, size_t len);
	void (*on_writable)(void *ctx);
	void (*on_closed)(void *ctx, const struct err *err); /* NULL: end of stream */
};

struct transport *transport_open(struct loop *loop, const struct transport_target *target,
	const struct transport_ops *ops, void *ctx);
void transport_starttls(struct transport *t); /* on_open follows, or on_closed */
/* Takes as much as goes out now; less than len: on_writable will come. */
size_t transport_write(struct transport *t, const char *buf, size_t len);
void transport_ask_writable(struct transport *t); /* on_writable will come, in a later turn */
void transport_free(struct transport *t);         /* closes; NULL is fine */

bool transport_is_open(const struct transport *t);
const char *transport_peer_ip(const struct transport *t); /* "192.0.2.1", "" for unix */
/* "TLSv1.3 TLS_AES_256_GCM_SHA384", or "" in clear text. */
const char *transport_cipher(struct transport *t);
