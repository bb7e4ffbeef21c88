/* Ids and content digests; see identity.h. Owns nothing. */
#include "identity.h"

#include "base/encode.h"
#include "mail/rewrite.h"

#include <assert.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>

#define KEY_OCTETS   16 /* of store_key() */
#define NAME_OCTETS  16
#define PROOF_OCTETS 8
static_assert(2 * (NAME_OCTETS + PROOF_OCTETS) == IDENTITY_HEX, "an id is name and proof");

struct identity {
	EVP_MAC_CTX *mac; /* has the key; fetching the algorithm costs more than using it */
};

struct identity *identity_new(const uint8_t *key)
{
	struct identity *i = mem_zalloc(sizeof *i);
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	char digest[] = "SHA256";
	const OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(
					      OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end() };

	i->mac = EVP_MAC_CTX_new(hmac);
	EVP_MAC_free(hmac);
	ensure(i->mac && EVP_MAC_init(i->mac, key, KEY_OCTETS, params) == 1);
	return i;
}

void identity_free(struct identity *i)
{
	if (i)
		EVP_MAC_CTX_free(i->mac);
	free(i);
}

/* A copy for each: before 3.0.3 OpenSSL's HMAC did not begin anew when it was told to. */
static void keyed(struct identity *i, struct strview data, uint8_t out[EVP_MAX_MD_SIZE])
{
	EVP_MAC_CTX *mac = EVP_MAC_CTX_dup(i->mac);
	size_t len;

	ensure(mac && EVP_MAC_update(mac, (const unsigned char *)data.ptr, data.len) == 1);
	ensure(EVP_MAC_final(mac, out, &len, EVP_MAX_MD_SIZE) == 1);
	EVP_MAC_CTX_free(mac);
}

void identity_make(struct identity *with, const char *account, const char *uid,
	const uint8_t digest[STORE_DIGEST_OCTETS], char out[IDENTITY_HEX + 1])
{
	AUTO(strbuf_free) struct strbuf data = STRBUF_INIT;
	AUTO(strbuf_free) struct strbuf hex = STRBUF_INIT;
	uint8_t name[EVP_MAX_MD_SIZE], proof[EVP_MAX_MD_SIZE];

	strbuf_add(&data, account, strlen(account) + 1);
	strbuf_add(&data, uid, strlen(uid) + 1);
	strbuf_add(&data, digest, STORE_DIGEST_OCTETS);
	keyed(with, strbuf_view(&data), name);
	keyed(with, sv((const char *)name, NAME_OCTETS), proof);
	hex_encode(&hex, name, NAME_OCTETS);
	hex_encode(&hex, proof, PROOF_OCTETS);
	memcpy(out, hex.ptr, IDENTITY_HEX + 1);
}

uint32_t identity_secret_mark(struct identity *with, const char *user, struct strview password)
{
	AUTO(strbuf_wipe) struct strbuf data = STRBUF_INIT;
	uint8_t mark[EVP_MAX_MD_SIZE];

	strbuf_adds(&data, "secret");
	strbuf_add(&data, "", 1);
	strbuf_add(&data, user, strlen(user) + 1);
	strbuf_addv(&data, password);
	keyed(with, strbuf_view(&data), mark);
	return (uint32_t)mark[0] << 8 | mark[1];
}

bool identity_is_own(struct identity *with, struct strview id)
{
	AUTO(strbuf_free) struct strbuf hex = STRBUF_INIT;
	uint8_t name[NAME_OCTETS], proof[EVP_MAX_MD_SIZE];

	if (id.len != IDENTITY_HEX)
		return false;
	for (size_t i = 0; i < NAME_OCTETS; i++) {
		int high = hex_value(id.ptr[2 * i]), low = hex_value(id.ptr[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		name[i] = (uint8_t)(high << 4 | low);
	}
	keyed(with, sv((const char *)name, NAME_OCTETS), proof);
	hex_encode(&hex, proof, PROOF_OCTETS);
	return !CRYPTO_memcmp(hex.ptr, id.ptr + 2 * NAME_OCTETS, 2 * PROOF_OCTETS);
}

/* Octets that stand between the parsed header and the part that the spool hashed by itself. */
static int digest_between(
	EVP_MD_CTX *md, struct spool *spool, uint64_t from, uint64_t to, struct err *err)
{
	char buf[16 * 1024];
	struct strview data;

	for (uint64_t at = from; at < to; at += data.len) {
		size_t max = to - at < sizeof buf ? (size_t)(to - at) : sizeof buf;
		if (spool_read(spool, at, buf, max, &data, err))
			return -1;
		ensure(EVP_DigestUpdate(md, data.ptr, data.len) == 1);
	}
	return 0;
}

int identity_content(struct spool *spool, const struct header *h, size_t boundary,
	const struct resolve_rules *rules, uint8_t out[STORE_DIGEST_OCTETS], struct err *err)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	ensure(md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1);
	for (size_t i = 0; i < h->n; i++) {
		struct strview raw = h->fields[i].raw;
		if (!rewrite_is_trace(h, i, boundary, rules->rules, rules->nrules))
			ensure(EVP_DigestUpdate(md, raw.ptr, raw.len) == 1);
	}
	int rc = digest_between(md, spool, h->body_offset, spool_split(spool), err);
	ensure(EVP_DigestUpdate(md, spool_body_digest(spool), SPOOL_DIGEST_OCTETS) == 1);
	ensure(EVP_DigestFinal_ex(md, out, NULL) == 1);
	EVP_MD_CTX_free(md);
	return rc;
}
