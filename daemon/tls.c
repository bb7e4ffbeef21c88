/* TLS contexts and their errors; see tls.h. A context is counted by OpenSSL's own references. */
#include "tls.h"

#include "base/encode.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

/* The system's store is read once: parsing it costs more than a session. */
static SSL_CTX *system_ctx;

/* Where an SSL keeps the certificate that was refused: OpenSSL keeps only those that it accepts. */
static int refused_index = -1;

static void free_refused(
	void *ssl, void *cert, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
	X509_free(cert);
}

static int on_verified(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	X509 *cert = X509_STORE_CTX_get_current_cert(store);

	if (!ok && cert && !SSL_get_ex_data(ssl, refused_index) && X509_up_ref(cert) == 1)
		ensure(SSL_set_ex_data(ssl, refused_index, cert) == 1);
	return ok;
}

static SSL_CTX *context(const char *ca_file, bool verify, struct err *err)
{
	if (!ca_file && system_ctx && verify) {
		SSL_CTX_up_ref(system_ctx);
		return system_ctx;
	}
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	ensure(ctx);
	if (refused_index < 0)
		refused_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_refused);
	ensure(refused_index >= 0);
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	/* A peer that closes without close_notify: the protocol decides whether the end was legal.
	 */
	SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ctx,
		SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
			SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_verify(ctx, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, on_verified);
	if (!verify)
		return ctx;
	int ok = ca_file ? SSL_CTX_load_verify_file(ctx, ca_file)
			 : SSL_CTX_set_default_verify_paths(ctx);
	if (ok != 1) {
		err_set(err, ERR_TLS, 0, "%s: cannot be read as PEM certificates: %s",
			ca_file ? ca_file : "system trust store",
			ERR_reason_error_string(ERR_peek_last_error()));
		ERR_clear_error();
		SSL_CTX_free(ctx);
		return NULL;
	}
	if (!ca_file) {
		SSL_CTX_up_ref(ctx);
		system_ctx = ctx;
	}
	return ctx;
}

int tls_client_new(const char *name, const struct conf_tls *conf, bool verify,
	struct tls_client **out, struct err *err)
{
	SSL_CTX *ctx = context(conf->ca_file, verify, err);

	if (!ctx)
		return -1;
	*out = mem_zalloc(sizeof **out);
	**out = (struct tls_client){
		.ctx = ctx, .name = mem_strdup(name), .verify = verify, .pins = &conf->pins
	};
	return 0;
}

void tls_client_free(struct tls_client *c)
{
	if (!c)
		return;
	SSL_CTX_free(c->ctx);
	free(c->name);
	free(c);
}

SSL *tls_session(const struct tls_client *c)
{
	SSL *ssl = SSL_new(c->ctx);
	unsigned char ip[16];
	bool literal =
		inet_pton(AF_INET, c->name, ip) == 1 || inet_pton(AF_INET6, c->name, ip) == 1;

	ensure(ssl);
	if (literal) {
		ensure(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), c->name) == 1);
	} else { /* RFC 6066 section 3: no literal in SNI */
		SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
		ensure(SSL_set1_host(ssl, c->name) == 1);
		ensure(SSL_set_tlsext_host_name(ssl, c->name) == 1);
	}
	SSL_set_connect_state(ssl);
	return ssl;
}

/* RFC 7469 section 2.4: the digest of the SubjectPublicKeyInfo, as curl and others write it. */
static void add_pin(struct strbuf *out, X509 *cert)
{
	unsigned char *spki = NULL, digest[SHA256_DIGEST_LENGTH];
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki);

	ensure(len > 0 && EVP_Digest(spki, (size_t)len, digest, NULL, EVP_sha256(), NULL) == 1);
	OPENSSL_free(spki);
	strbuf_adds(out, TLS_PIN_PREFIX);
	base64_encode(out, sv((char *)digest, sizeof digest));
}

int tls_check_pin(const struct tls_client *c, SSL *ssl, struct err *err)
{
	AUTO(strbuf_free) struct strbuf pin = STRBUF_INIT;
	X509 *cert = SSL_get0_peer_certificate(ssl);

	if (!c->pins->n)
		return 0;
	if (cert)
		add_pin(&pin, cert);
	if (string_list_has(c->pins, strbuf_str(&pin)))
		return 0;
	return err_set(err, ERR_TLS, 0,
		"TLS: the certificate is valid, but its key is none of tls_pin: the server has %s",
		strbuf_str(&pin));
}

static void add_time(struct strbuf *out, const char *label, const ASN1_TIME *t)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;

	ensure(bio);
	ASN1_TIME_print(bio, t);
	long len = BIO_get_mem_data(bio, &text);
	strbuf_addf(out, "%s%.*s", label, (int)len, text);
	BIO_free(bio);
}

void tls_explain(SSL *ssl, int ssl_error, struct err *err)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;
	long verdict = SSL_get_verify_result(ssl);
	X509 *cert = SSL_get_ex_data(ssl, refused_index);
	unsigned long code = ERR_peek_error();
	bool ours = ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED;

	if (ours && verdict != X509_V_OK) {
		strbuf_addf(
			&text, "certificate refused: %s", X509_verify_cert_error_string(verdict));
		if (cert &&
			(verdict == X509_V_ERR_CERT_HAS_EXPIRED ||
				verdict == X509_V_ERR_CERT_NOT_YET_VALID)) {
			add_time(&text, " (valid from ", X509_get0_notBefore(cert));
			add_time(&text, " to ", X509_get0_notAfter(cert));
			strbuf_adds(&text, ")");
		}
	} else if (ssl_error == SSL_ERROR_SYSCALL || ssl_error == SSL_ERROR_ZERO_RETURN) {
		strbuf_addf(&text, "handshake: %s",
			errno && ssl_error == SSL_ERROR_SYSCALL ? strerror(errno)
								: "connection closed by the peer");
	} else {
		const char *reason = ERR_reason_error_string(code);
		strbuf_addf(&text, "handshake: %s", reason ? reason : "failed");
	}
	err_set(err, ERR_TLS, (int)verdict, "TLS: %s", strbuf_str(&text));
	ERR_clear_error();
}
