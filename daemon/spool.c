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
	EVP_MD_CTX *md;
	uint8_t digest[SPOOL_DIGEST_OCTETS];
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
	ensure(s->md && EVP_DigestInit_ex(s->md, EVP_sha256(), NULL) == 1);
	return s;
}

void spool_free(struct spool *s)
{
	if (!s)
		return;
	s->area->in_memory -= s->memory.len;
	strbuf_free(&s->memory);
	if (s->fd >= 0)
		close(s->fd);
	EVP_MD_CTX_free(s->md);
	free(s);
}

static void look_for_crlf(struct spool *s, struct strview data)
{
	if (s->crlf_inside)
		return;
	if (s->crlf_last) {
		s->crlf_inside = true;
		return;
	}
	if (s->last == '\r' && data.ptr[0] == '\n')
		s->crlf_last = true;
	const char *lf = memmem(data.ptr, data.len, "\r\n", 2);
	if (lf)
		s->crlf_last = true;
	s->crlf_inside =
		(lf && lf + 2 < data.ptr + data.len) || (s->crlf_last && !lf && data.len > 1);
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
	if (!data.len)
		return 0;
	ensure(EVP_DigestUpdate(s->md, data.ptr, data.len) == 1);
	look_for_crlf(s, data);
	s->last = data.ptr[data.len - 1];
	s->eightbit = s->eightbit || has_eightbit(data);
	s->octets += data.len;
	strbuf_addv(&s->memory, data);
	s->area->in_memory += data.len;
	if (s->fd >= 0)
		return s->memory.len >= WRITE_OCTETS ? write_out(s, err) : 0;
	if (s->memory.len > SPOOL_MEMORY_OCTETS || s->area->in_memory > SPOOL_MEMORY_TOTAL_OCTETS)
		return open_file(s, err);
	return 0;
}

int spool_end(struct spool *s, struct err *err)
{
	ensure(EVP_DigestFinal_ex(s->md, s->digest, NULL) == 1);
	return s->fd >= 0 ? write_out(s, err) : 0;
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

bool spool_eightbit(const struct spool *s)
{
	return s->eightbit;
}

bool spool_has_crlf(const struct spool *s)
{
	return s->crlf_inside;
}
