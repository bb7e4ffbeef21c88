/*
 * TLS as a client: what is trusted, which name is expected.
 *
 * TLS >= 1.2, SNI, chain and name checked against the configured name. A custom CA file replaces
 * the system's store for that peer. One SSL_CTX per trust set, shared by all who use it.
 */
#pragma once

#include "base/err.h"

#include <openssl/ssl.h>

struct tls_client {
	SSL_CTX *ctx;
	char *name;  /* expected: SNI and certificate; an IP literal needs an iPAddress SAN */
	bool verify; /* false: opportunistic TLS to the relay */
};

/* ca_file NULL: the system's store. -1: class TLS, it cannot be read. */
int tls_client_new(const char *name, const char *ca_file, bool verify, struct tls_client **out,
	struct err *err) must_check;
void tls_client_free(struct tls_client *c);
SSL *tls_session(const struct tls_client *c); /* a new connection, no descriptor yet */
/* What went wrong in the handshake, for people: the certificate's fault with its dates, or
 * OpenSSL's. */
void tls_explain(SSL *ssl, int ssl_error, struct err *err);
