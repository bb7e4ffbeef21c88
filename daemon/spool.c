/* Spooled messages; see spool.h. Owns its memory, and the descriptor of an unnamed file. */
#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

#define WRITE_OCTETS (64 * 1024) /* collected before one write */

struct spool {
	struct spool_area *area;
	struct strbuf memory; /* everything, or, with a file, what is not written yet */
	int fd;               /* < 0: no file */
	uint64_t written;
	uint64_t octets;
	uint64_t split; /* octets up to and with the first blank line; 0: not seen yet */
	char tail[3];   /* the last octets, while the blank line is looked for */
	size_t ntail;
	EVP_MD_CTX *md; /* of the body */
	uint8_t digest[SPOOL_DIGEST_OCTETS], body_digest[SPOOL_DIGEST_OCTETS];
	bool eightbit;
	bool crlf_inside,
		crlf_last; /* CRLF seen with something behind it; at the very end so far */
	char last;
};

struct spool *spool_new(struct spool_area *area)
{
	struct spool *s = mem_zalloc(sizeof *s);

	s->area = area;
	s->fd = -1;
	s->md = EVP_MD_CTX_new();
	s->ntail = 2; /* as if a line had ended before the first octet */
	memcpy(s->tail, "\r\n", 2);
	ensure(s->md && EVP_DigestInit_ex(s->md, EVP_sha256(), NULL) == 1);
	return s;
}

void spool_free(struct spool *s)
{
	if (!s)
		return;
	s->area->in_memory -= s->memory.len;
	s->area->octets -= s->octets;
	strbuf_free(&s->memory);
	if (s->fd >= 0)
		close(s->fd);
	EVP_MD_CTX_free(s->md);
	free(s);
}

/* The blank line may lie across pieces: look at the seam first, then into the piece. */
static void look_for_split(struct spool *s, struct strview data)
{
	char seam[6];
	size_t fore = data.len < 3 ? data.len : 3;

	memcpy(seam, s->tail, s->ntail);
	memcpy(seam + s->ntail, data.ptr, fore);
	const char *at = memmem(seam, s->ntail + fore, "\r\n\r\n", 4);
	if (at) {
		s->split = s->octets + (uint64_t)(at - seam) + 4 - s->ntail;
		return;
	}
	at = memmem(data.ptr, data.len, "\r\n\r\n", 4);
	if (at)
		s->split = s->octets + (uint64_t)(at - data.ptr) + 4;
	size_t n = s->ntail + fore;
	if (data.len > 3) {
		memcpy(s->tail, data.ptr + data.len - 3, 3);
		s->ntail = 3;
	} else {
		s->ntail = n < 3 ? n : 3;
		memcpy(s->tail, seam + n - s->ntail, s->ntail);
	}
}

static void digest_body(struct spool *s, struct strview data)
{
	if (!s->split)
		look_for_split(s, data);
	if (!s->split)
		return;
	size_t skip = s->split > s->octets ? (size_t)(s->split - s->octets) : 0;
	struct strview body = sv_skip(data, skip);
	ensure(EVP_DigestUpdate(s->md, body.ptr, body.len) == 1);
}

static void look_for_crlf(struct spool *s, struct strview data)
{
	bool seam = s->last == '\r' && data.ptr[0] == '\n';
	const char *at = memmem(data.ptr, data.len, "\r\n", 2);
	size_t end = seam ? 1 : at ? (size_t)(at - data.ptr) + 2 : 0; /* of the first; 0: none */

	s->crlf_inside = s->crlf_inside || s->crlf_last || (end && end < data.len);
	s->crlf_last = end == data.len;
}

static bool has_eightbit(struct strview data)
{
	unsigned char all = 0;

	for (size_t i = 0; i < data.len; i++)
		all |= (unsigned char)data.ptr[i];
	return all & 0x80;
}

static int write_out(struct spool *s, struct err *err)
{
	size_t done = 0;

	while (done < s->memory.len) {
		ssize_t n = write(s->fd, s->memory.ptr + done, s->memory.len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(err, ERR_LOCAL, errno, "spool in %s: %s", s->area->dir,
				strerror(n < 0 ? errno : ENOSPC));
		done += (size_t)n;
	}
	s->written += s->memory.len;
	s->area->in_memory -= s->memory.len;
	strbuf_clear(&s->memory);
	return 0;
}

static int open_file(struct spool *s, struct err *err)
{
	s->fd = open(s->area->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (s->fd < 0)
		return err_set(
			err, ERR_LOCAL, errno, "spool in %s: %s", s->area->dir, strerror(errno));
	if (write_out(s, err))
		return -1;
	strbuf_free(&s->memory);
	return 0;
}

int spool_add(struct spool *s, struct strview data, struct err *err)
{
	uint64_t others = s->area->octets - s->octets;

	if (!data.len)
		return 0;
	if (others && s->area->octets + data.len > SPOOL_TOTAL_OCTETS)
		return err_set(err, ERR_LIMIT, 0,
			"the messages on their way are %lld MiB, the limit",
			SPOOL_TOTAL_OCTETS / (1024 * 1024));
	digest_body(s, data);
	look_for_crlf(s, data);
	s->last = data.ptr[data.len - 1];
	s->eightbit = s->eightbit || has_eightbit(data);
	s->octets += data.len;
	s->area->octets += data.len;
	strbuf_addv(&s->memory, data);
	s->area->in_memory += data.len;
	if (s->fd >= 0)
		return s->memory.len >= WRITE_OCTETS ? write_out(s, err) : 0;
	if (s->memory.len > SPOOL_MEMORY_OCTETS || s->area->in_memory > SPOOL_MEMORY_TOTAL_OCTETS)
		return open_file(s, err);
	return 0;
}

/* Header (everything, where there is no blank line) and the body's digest. */
static int digest_all(struct spool *s, struct err *err)
{
	char buf[16 * 1024];
	struct strview data;

	ensure(EVP_DigestInit_ex(s->md, EVP_sha256(), NULL) == 1);
	for (uint64_t at = 0; at < s->split; at += data.len) {
		uint64_t left = s->split - at;
		size_t max = left < sizeof buf ? (size_t)left : sizeof buf;
		if (spool_read(s, at, buf, max, &data, err))
			return -1;
		ensure(EVP_DigestUpdate(s->md, data.ptr, data.len) == 1);
	}
	ensure(EVP_DigestUpdate(s->md, s->body_digest, sizeof s->body_digest) == 1);
	ensure(EVP_DigestFinal_ex(s->md, s->digest, NULL) == 1);
	return 0;
}

int spool_end(struct spool *s, struct err *err)
{
	ensure(EVP_DigestFinal_ex(s->md, s->body_digest, NULL) == 1);
	if (!s->split)
		s->split = s->octets;
	if (s->fd >= 0 && write_out(s, err))
		return -1;
	return digest_all(s, err);
}

uint64_t spool_octets(const struct spool *s)
{
	return s->octets;
}

int spool_read(struct spool *s, uint64_t offset, char *buf, size_t max, struct strview *out,
	struct err *err)
{
	uint64_t left = offset < s->octets ? s->octets - offset : 0;
	size_t want = left < max ? (size_t)left : max;

	*out = sv(buf, 0);
	if (!want)
		return 0;
	if (s->fd < 0) {
		*out = sv(s->memory.ptr + offset, want);
		return 0;
	}
	for (;;) {
		ssize_t n = pread(s->fd, buf, want, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(err, ERR_LOCAL, errno, "spool in %s: %s", s->area->dir,
				n < 0 ? strerror(errno) : "file is shorter than it was written");
		out->len = (size_t)n;
		return 0;
	}
}

const uint8_t *spool_digest(const struct spool *s)
{
	return s->digest;
}

const uint8_t *spool_body_digest(const struct spool *s)
{
	return s->body_digest;
}

uint64_t spool_split(const struct spool *s)
{
	return s->split;
}

bool spool_eightbit(const struct spool *s)
{
	return s->eightbit;
}

bool spool_has_crlf(const struct spool *s)
{
	return s->crlf_inside;
}
