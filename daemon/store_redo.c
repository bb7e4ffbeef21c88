/*
 * The redo log; see store_redo.h.
 *
 * Owns its file and its lock on it, for life: flock goes with the process. The file is a sequence
 * of blocks, each written at once: a head and changes. A block that is not whole ends the log;
 * nobody has acted on it.
 */
#include "store_impl.h"

#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOTS       16
#define FILE_OCTETS (16 * 1024 * 1024) /* that are read back; far more than a few ms bring */
/* For a process that is about to end. */
#define CLAIM_TRIES      100
#define CLAIM_PAUSE_USEC 1000

struct head {
	uint64_t tag; /* of boot and database */
	uint64_t sum;
	uint64_t octets; /* of changes behind this */
};

/* FNV-1a: tells what is torn and what is of another boot or database, not what was forged. */
static uint64_t mix(uint64_t sum, const void *data, size_t len)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ p[i]) * 0x100000001b3;
	return sum;
}

static uint64_t tag_of(const struct store *s)
{
	uint64_t sum = mix(0xcbf29ce484222325, s->schema.key, sizeof s->schema.key);

	return mix(sum, s->schema.boot, strlen(s->schema.boot));
}

static uint64_t sum_of(uint64_t tag, struct strview changes)
{
	return mix(tag, changes.ptr, changes.len);
}

void redo_init(struct redo *r)
{
	*r = (struct redo){ .whole = true, .fd = -1, .slot = -1 };
}

void redo_free(struct redo *r)
{
	strbuf_free(&r->changes);
	if (r->fd >= 0)
		close(r->fd);
}

/* ---- files ---- */

static void name_of(const struct store *s, int slot, struct strbuf *name)
{
	strbuf_clear(name);
	strbuf_addf(name, "%s-redo%d", s->path, slot);
}

static int fail(const struct store *s, int slot, struct err *err, const char *what)
{
	return err_set(
		err, ERR_LOCAL, errno, "%s-redo%d: %s: %s", s->path, slot, what, strerror(errno));
}

/* Its own log, for life: the first that nobody has, and in which nobody has left anything. */
static void take_slot(struct store *s)
{
	AUTO(strbuf_free) struct strbuf name = STRBUF_INIT, dir = STRBUF_INIT;
	struct redo *r = &s->redo;

	strbuf_adds(&dir, s->path);
	dir.ptr[strrchr(dir.ptr, '/') - dir.ptr] = '\0';
	for (int slot = 0; slot < SLOTS; slot++) {
		name_of(s, slot, &name);
		int fd = open_private(strbuf_str(&dir), strbuf_str(&name));
		if (fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB) && !lseek(fd, 0, SEEK_END)) {
			r->fd = fd;
			r->slot = slot;
			return;
		}
		if (fd < 0)
			break;
		close(fd);
	}
}

static int write_all(int fd, const char *data, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pwrite(fd, data, len, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		data += n;
		len -= (size_t)n;
		at += (uint64_t)n;
	}
	return 0;
}

int redo_append(struct store *s, struct err *err)
{
	struct redo *r = &s->redo;
	AUTO(strbuf_free) struct strbuf block = STRBUF_INIT;
	struct strview news = sv_skip(strbuf_view(&r->changes), r->safe);

	if (!s->schema.boot[0])
		return 1; /* a power loss could not be told from a kill */
	if (r->fd < 0)
		take_slot(s);
	if (r->fd < 0)
		return 1;
	if (!news.len)
		return 0;
	uint64_t tag = tag_of(s);
	struct head head = { tag, sum_of(tag, news), news.len };
	strbuf_add(&block, &head, sizeof head);
	strbuf_addv(&block, news);
	if (write_all(r->fd, block.ptr, block.len, r->end))
		return fail(s, r->slot, err, "write");
	r->end += block.len;
	r->safe = r->changes.len;
	return 0;
}

int redo_forget(struct store *s, struct err *err)
{
	struct redo *r = &s->redo;

	strbuf_clear(&r->changes);
	r->safe = 0;
	r->whole = true;
	r->first_new = 0;
	if (!r->end)
		return 0;
	if (ftruncate(r->fd, 0))
		return fail(s, r->slot, err, "truncate");
	r->end = 0;
	return 0;
}

/* ---- doing it again ---- */

static int again(struct store *s, struct strview changes, struct err *err)
{
	struct strview change;

	while (store_change_next(&changes, &change)) {
		int rc = store_change_do(s, change, err);
		if (rc)
			return rc;
	}
	return 0;
}

int redo_again(struct store *s, struct err *err)
{
	return again(s, strbuf_view(&s->redo.changes), err);
}

void redo_rollback(struct redo *r)
{
	struct strview tail = sv_skip(strbuf_view(&r->changes), r->safe), change;
	AUTO(strbuf_free) struct strbuf facts = STRBUF_INIT;

	/* A row that is gone may come back as another message's: its facts go with it. */
	while (store_change_next(&tail, &change))
		if (store_change_is_fact(change) &&
			(!r->first_new || store_change_row(change) < r->first_new))
			strbuf_addv(&facts, change);
	r->first_new = 0;
	r->changes.len = r->safe;
	strbuf_addv(&r->changes, strbuf_view(&facts));
	r->whole = true;
}

/* The changes of a log that are whole. 1: it is of another boot or database; -1: unreadable. */
static int read_log(const struct store *s, int fd, struct strbuf *changes)
{
	AUTO(strbuf_free) struct strbuf file = STRBUF_MAX(FILE_OCTETS);
	char buf[16 * 1024];
	struct head head;
	uint64_t tag = tag_of(s);
	ssize_t n;

	while ((n = pread(fd, buf, sizeof buf, (off_t)file.len)) > 0 && !file.overflow)
		strbuf_add(&file, buf, (size_t)n);
	if (n < 0)
		return -1;
	for (struct strview rest = strbuf_view(&file); rest.len >= sizeof head;) {
		memcpy(&head, rest.ptr, sizeof head);
		rest = sv_skip(rest, sizeof head);
		if (head.tag != tag)
			return !changes->len;
		struct strview block = { rest.ptr, head.octets };
		if (head.octets > rest.len || sum_of(tag, block) != head.sum)
			break;
		strbuf_addv(changes, block);
		rest = sv_skip(rest, head.octets);
	}
	return 0;
}

/* A log in which something is written, and the lock on it; -1: nothing is in it any more. */
static int claim(struct store *s, int slot, int *fd, struct err *err)
{
	AUTO(strbuf_free) struct strbuf name = STRBUF_INIT;

	name_of(s, slot, &name);
	*fd = open(strbuf_str(&name), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	for (int tries = CLAIM_TRIES; *fd >= 0 && tries; tries--) {
		if (!flock(*fd, LOCK_EX | LOCK_NB))
			return 0;
		if (!lseek(*fd, 0, SEEK_END)) { /* its owner lives */
			close(*fd);
			*fd = -1;
			return 0;
		}
		usleep(CLAIM_PAUSE_USEC); /* its owner is just ending, a transaction or itself */
	}
	err_set(err, ERR_LOCAL, errno, "%s: %s", strbuf_str(&name),
		*fd < 0 ? strerror(errno)
			: "another process has something there that it cannot store; see its log");
	if (*fd >= 0)
		close(*fd);
	return -1;
}

/* Under the lock on the database nobody who lives has anything left in his log. */
static int recover(struct store *s, int slot, struct err *err)
{
	AUTO(strbuf_free) struct strbuf changes = STRBUF_INIT;
	int fd, rc = 0;

	if (store_begin(s, err))
		return -1;
	s->redo.whole = false;
	if (claim(s, slot, &fd, err))
		rc = -1;
	else if (fd >= 0) {
		rc = read_log(s, fd, &changes);
		if (rc < 0)
			(void)fail(s, slot, err, "read");
		else if (!rc)
			rc = again(s, strbuf_view(&changes), err);
		if (rc > 0) /* or another version's: all may have been sent */
			rc = store_change(s, err, CUT_ALL, "");
	}
	if (rc || store_commit(s, err)) {
		store_rollback(s);
		rc = -1;
	} else if (fd >= 0 && ftruncate(fd, 0)) {
		rc = fail(s, slot, err, "truncate");
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

int redo_recover(struct store *s, struct err *err)
{
	AUTO(strbuf_free) struct strbuf name = STRBUF_INIT;
	struct stat st;

	for (int slot = 0; slot < SLOTS; slot++) {
		name_of(s, slot, &name);
		if (stat(strbuf_str(&name), &st)) {
			if (errno == ENOENT)
				continue;
			return err_set(err, ERR_LOCAL, errno, "%s: %s", strbuf_str(&name),
				strerror(errno));
		}
		if (slot != s->redo.slot && st.st_size && recover(s, slot, err))
			return -1;
	}
	return 0;
}
