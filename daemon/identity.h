/*
 * What tells messages apart: the id that a relayed message carries, and the digest of its content.
 *
 * X-Multidrop-Id is a keyed hash (nobody can guess or forge it) of account, UID and content, so
 * each redelivery of the same message carries the same one; its second part proves that this
 * installation made it, which is how a mail loop is recognised.
 */
#pragma once

#include "core/config.h"
#include "core/store.h"
#include "mail/header.h"
#include "spool.h"

#define IDENTITY_HEX 48 /* characters of an id */

struct identity; /* makes keyed hashes */

struct identity *identity_new(const uint8_t *key); /* of store_key(); copied */
void identity_free(struct identity *i);

void identity_make(struct identity *with, const char *account, const char *uid,
	const uint8_t digest[STORE_DIGEST_OCTETS], char out[IDENTITY_HEX + 1]);
/* Was this id made with the same key? */
bool identity_is_own(struct identity *with, struct strview id);

/*
 * Says whether a user or a password has changed since: sixteen bits of a keyed hash, too few to
 * find the password by.
 */
uint32_t identity_secret_mark(struct identity *with, const char *user, struct strview password);

/*
 * SHA-256 of the message without its trace and envelope lines: the same for each stored copy of one
 * message. -1: the spool cannot be read.
 */
int identity_content(struct spool *spool, const struct header *h, size_t boundary,
	const struct resolve_rules *rules, uint8_t out[STORE_DIGEST_OCTETS], struct err *err)
	must_check;
