/*
 * See power_vfs.h. Owns the image of every file: its durable content and, in order, the changes
 * that no sync has covered.
 *
 * A deleted file whose directory was not synced comes back; the first sync of a file makes its name
 * durable too, as SQLite's own VFS does for the files of a transaction.
 */
#include "power_vfs.h"

#include "base/mem.h"
#include "base/strbuf.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#define SECTOR 512 /* what a disk writes whole */

struct change {
	sqlite3_int64 offset;
	struct strbuf data; /* empty: the file is cut there */
	bool keep;          /* for power_restore() */
	TAILQ_ENTRY(change) entry;
};

struct image {
	char *path;
	struct strbuf durable;
	bool exists;  /* durably */
	bool deleted; /* not durably */
	TAILQ_HEAD(change_list, change) changes;
	TAILQ_ENTRY(image) entry;
};

struct power {
	sqlite3_vfs vfs, *real;
	TAILQ_HEAD(, image) images;
	unsigned changes, cut_at;
	bool full, lies;
};

struct power_file {
	sqlite3_file base;
	struct power *power;
	struct image *image; /* NULL: a temporary file */
	sqlite3_file real[];
};

static struct power_file *file_of(sqlite3_file *f)
{
	return (struct power_file *)f;
}

static sqlite3_file *real_of(sqlite3_file *f)
{
	return file_of(f)->real;
}

static struct power *power_of(sqlite3_vfs *v)
{
	return v->pAppData;
}

/* ---- images ---- */

static struct image *image_of(struct power *p, const char *path)
{
	struct image *i;

	TAILQ_FOREACH (i, &p->images, entry)
		if (!strcmp(i->path, path))
			return i;
	i = mem_zalloc(sizeof *i);
	i->path = mem_strdup(path);
	TAILQ_INIT(&i->changes);
	TAILQ_INSERT_TAIL(&p->images, i, entry);
	return i;
}

static void note(struct image *i, sqlite3_int64 offset, const void *data, int len)
{
	struct change *c = mem_zalloc(sizeof *c);

	c->offset = offset;
	strbuf_add(&c->data, data, (size_t)len);
	TAILQ_INSERT_TAIL(&i->changes, c, entry);
}

static void forget(struct image *i)
{
	struct change *c;

	while ((c = TAILQ_FIRST(&i->changes))) {
		TAILQ_REMOVE(&i->changes, c, entry);
		strbuf_free(&c->data);
		free(c);
	}
}

static void apply(struct image *i, const struct change *c, size_t len)
{
	size_t at = (size_t)c->offset;

	if (!c->data.len) {
		i->durable.len = at < i->durable.len ? at : i->durable.len;
		return;
	}
	if (!len) /* torn before its first sector */
		return;
	while (i->durable.len < at + len)
		strbuf_addc(&i->durable, '\0');
	memcpy(i->durable.ptr + at, c->data.ptr, len);
}

static void apply_all(struct image *i)
{
	const struct change *c;

	TAILQ_FOREACH (c, &i->changes, entry)
		apply(i, c, c->data.len);
	forget(i);
	i->exists = true;
}

/* The next change: is there power for it? */
static bool powered(struct power *p)
{
	p->changes++;
	return !p->cut_at || p->changes < p->cut_at;
}

/* ---- file methods ---- */

static int x_close(sqlite3_file *f)
{
	return real_of(f)->pMethods->xClose(real_of(f));
}

static int x_read(sqlite3_file *f, void *buf, int len, sqlite3_int64 offset)
{
	return real_of(f)->pMethods->xRead(real_of(f), buf, len, offset);
}

/* What is written when the power goes may be there afterwards, or not. */
static int x_write(sqlite3_file *f, const void *data, int len, sqlite3_int64 offset)
{
	struct power_file *pf = file_of(f);
	bool powers = powered(pf->power);

	if (pf->power->full)
		return SQLITE_FULL;
	if (pf->image)
		note(pf->image, offset, data, len);
	return powers ? pf->real->pMethods->xWrite(pf->real, data, len, offset)
		      : SQLITE_IOERR_WRITE;
}

static int x_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	struct power_file *pf = file_of(f);

	if (!powered(pf->power))
		return SQLITE_IOERR_TRUNCATE;
	if (pf->image)
		note(pf->image, size, "", 0);
	return pf->real->pMethods->xTruncate(pf->real, size);
}

static int x_sync(sqlite3_file *f, int flags)
{
	struct power_file *pf = file_of(f);

	if (!powered(pf->power))
		return SQLITE_IOERR_FSYNC;
	if (pf->image && !pf->power->lies)
		apply_all(pf->image);
	return SQLITE_OK; /* the real disk need not be waited for */
}

static int x_file_size(sqlite3_file *f, sqlite3_int64 *size)
{
	return real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int x_lock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int x_unlock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int x_check_lock(sqlite3_file *f, int *out)
{
	return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

static int x_control(sqlite3_file *f, int op, void *arg)
{
	return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int x_sector_size(sqlite3_file *f)
{
	return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int x_characteristics(sqlite3_file *f)
{
	return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int x_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
	return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, out);
}

static int x_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
	return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}

static void x_shm_barrier(sqlite3_file *f)
{
	real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int x_shm_unmap(sqlite3_file *f, int delete)
{
	return real_of(f)->pMethods->xShmUnmap(real_of(f), delete);
}

/* ---- VFS methods; the rest is the real one's ---- */

static int x_open(sqlite3_vfs *v, const char *path, sqlite3_file *f, int flags, int *out)
{
	static const sqlite3_io_methods methods = { .iVersion = 2, /* without memory mapping */
		.xClose = x_close,
		.xRead = x_read,
		.xWrite = x_write,
		.xTruncate = x_truncate,
		.xSync = x_sync,
		.xFileSize = x_file_size,
		.xLock = x_lock,
		.xUnlock = x_unlock,
		.xCheckReservedLock = x_check_lock,
		.xFileControl = x_control,
		.xSectorSize = x_sector_size,
		.xDeviceCharacteristics = x_characteristics,
		.xShmMap = x_shm_map,
		.xShmLock = x_shm_lock,
		.xShmBarrier = x_shm_barrier,
		.xShmUnmap = x_shm_unmap };
	struct power *p = power_of(v);
	struct power_file *pf = file_of(f);
	int rc = p->real->xOpen(p->real, path, pf->real, flags, out);

	pf->base.pMethods = rc == SQLITE_OK ? &methods : NULL;
	if (rc != SQLITE_OK)
		return rc;
	pf->power = p;
	pf->image = path ? image_of(p, path) : NULL;
	if (pf->image && pf->image->deleted) { /* a new file in the place of the old one */
		pf->image->deleted = false;
		note(pf->image, 0, "", 0);
	}
	return SQLITE_OK;
}

static int x_delete(sqlite3_vfs *v, const char *path, int sync_directory)
{
	struct power *p = power_of(v);
	struct image *i = image_of(p, path);

	if (!powered(p))
		return SQLITE_IOERR_DELETE;
	i->deleted = true;
	forget(i);
	if (sync_directory && !p->lies) {
		i->exists = false;
		strbuf_clear(&i->durable);
	}
	return p->real->xDelete(p->real, path, 0);
}

/* ---- life ---- */

struct power *power_new(void)
{
	struct power *p = mem_zalloc(sizeof *p);

	TAILQ_INIT(&p->images);
	p->real = sqlite3_vfs_find(NULL);
	p->vfs = *p->real;
	p->vfs.pNext = NULL;
	p->vfs.zName = "power";
	p->vfs.pAppData = p;
	p->vfs.szOsFile = (int)sizeof(struct power_file) + p->real->szOsFile;
	p->vfs.xOpen = x_open;
	p->vfs.xDelete = x_delete;
	ensure(sqlite3_vfs_register(&p->vfs, 1) == SQLITE_OK);
	return p;
}

void power_free(struct power *p)
{
	struct image *i;

	(void)sqlite3_vfs_unregister(&p->vfs); /* cannot fail for what is registered */
	(void)sqlite3_vfs_register(p->real, 1);
	while ((i = TAILQ_FIRST(&p->images))) {
		TAILQ_REMOVE(&p->images, i, entry);
		forget(i);
		strbuf_free(&i->durable);
		free(i->path);
		free(i);
	}
	free(p);
}

unsigned power_changes(const struct power *p)
{
	return p->changes;
}

void power_cut_at(struct power *p, unsigned n)
{
	p->cut_at = n;
}

void power_full(struct power *p, bool full)
{
	p->full = full;
}

void power_lie(struct power *p)
{
	p->lies = true;
}

/* A generator of our own, so that a seed means the same everywhere. */
static uint32_t chance(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 16;
}

/* A file that was cut short or made anew is so for every later write that survives. */
static void keep_some(struct image *i, uint32_t *seed)
{
	struct change *c;
	bool later = false;

	TAILQ_FOREACH_REVERSE(c, &i->changes, change_list, entry)
	{
		c->keep = c->data.len ? chance(seed) & 1 : later;
		later |= c->keep;
	}
	TAILQ_FOREACH (c, &i->changes, entry) {
		size_t sectors = c->data.len / SECTOR;
		bool torn = c->keep && sectors && !(chance(seed) & 3);
		if (c->keep)
			apply(i, c, torn ? chance(seed) % sectors * SECTOR : c->data.len);
		i->exists |= c->keep;
	}
	forget(i);
}

static void put_back(const struct image *i)
{
	unlink(i->path);
	if (!i->exists)
		return;
	int fd = open(i->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ensure(fd >= 0);
	ensure(write(fd, i->durable.ptr, i->durable.len) == (ssize_t)i->durable.len);
	close(fd);
}

void power_restore(struct power *p, enum power_loss loss, uint32_t seed)
{
	struct image *i;

	(void)sqlite3_vfs_register(p->real, 1); /* it is registered: only its rank changes */
	TAILQ_FOREACH (i, &p->images, entry) {
		switch (loss) {
		case POWER_NOTHING_KEPT:
			forget(i);
			break;
		case POWER_ALL_KEPT:
			if (i->deleted)
				i->exists = false;
			else
				apply_all(i);
			break;
		case POWER_SOME_KEPT:
			keep_some(i, &seed);
			if (i->deleted && chance(&seed) & 1)
				i->exists = false;
			break;
		}
		put_back(i);
	}
}
