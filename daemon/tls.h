/*
 * TLS as a client: what is trusted, which name is expected.
 *
 * TLS >= 1.2, SNI, chain and name checked against the configured name; on top of that, where there
 * are pins, the server's public key. A custom CA file replaces the system's store for that peer.
 * One SSL_CTX per trust set, shared by all who use it.
 */
#pragma once

#include "core/config.h"

#include <openssl/ssl.h>

struct tls_client {
	SSL_CTX *ctx;
	char *name;  /* expected: SNI and certificate; an IP literal needs an iPAddress SAN */
	bool verify; /* false: opportunistic TLS to the relay */
	const struct string_list *pins; /* borrowed */
};

/* conf is borrowed for the client's life. -1: class TLS, its CA file cannot be read. */
int tls_client_new(const char *name, const struct conf_tls *conf, bool verify,
	struct tls_client **out, struct err *err) must_check;
void tls_client_free(struct tls_client *c);
SSL *tls_session(const struct tls_client *c); /* a new connection, no descriptor yet */
/* After the handshake. -1: there are pins, and the server's key is none of them. */
int tls_check_pin(const struct tls_client *c, SSL *ssl, struct err *err) must_check;
/* What went wrong in the handshake, for people: the certificate's fault with its dates, or
 * OpenSSL's. */
void tls_explain(SSL *ssl, int ssl_error, struct err *err);
