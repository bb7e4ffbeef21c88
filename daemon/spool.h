/*
 * One message between RETR and the relay.
 *
 * In memory up to SPOOL_MEMORY_OCTETS, beyond that in an unnamed file of the state directory, so
 * that nothing has to be cleaned up after a crash. Spooling, not piping: the truncation check comes
 * before the first SMTP byte, SIZE is known, a retry needs no second RETR.
 *
 * Notes while the bytes pass what later steps need to know: digest, 8-bit octets, any CRLF inside.
 */
#pragma once

#include "base/err.h"
#include "base/strbuf.h"

#define SPOOL_MEMORY_OCTETS (256 * 1024)
/* All messages in memory together; what comes beyond it goes to a file whatever its size. */
#define SPOOL_MEMORY_TOTAL_OCTETS (4 * 1024 * 1024)
/* All messages on their way; what comes beyond it waits at the provider. One alone may be larger.
 */
#define SPOOL_TOTAL_OCTETS  (2048 * 1024 * 1024LL)
#define SPOOL_DIGEST_OCTETS 32

struct spool_area { /* shared by all spools of a process */
	const char *dir;
	uint64_t in_memory, octets; /* now; wherever they are */
};

struct spool;

struct spool *spool_new(struct spool_area *area);
void spool_free(struct spool *s);
/*
 * -1: the disk is full or broken (class LOCAL), or SPOOL_TOTAL_OCTETS are passed (LIMIT); the spool
 * is of no use any more.
 */
int spool_add(struct spool *s, struct strview data, struct err *err) must_check;
/* No more bytes: computes the digest. */
int spool_end(struct spool *s, struct err *err) must_check;

uint64_t spool_octets(const struct spool *s);
/*
 * Up to `max` octets from `offset` on: a view of the memory, or of `buf` after a read. Length 0 at
 * the end. -1: the file cannot be read.
 */
int spool_read(struct spool *s, uint64_t offset, char *buf, size_t max, struct strview *out,
	struct err *err) must_check;
/* SHA-256 of the octets behind the first blank line, and of (those before it, that digest). */
const uint8_t *spool_body_digest(const struct spool *s);
const uint8_t *spool_digest(const struct spool *s);
uint64_t spool_split(const struct spool *s); /* where that body begins; all octets: no blank line */
bool spool_eightbit(const struct spool *s);
/* True if there is a CRLF before the very end: else LF is the message's line end. */
bool spool_has_crlf(const struct spool *s);
