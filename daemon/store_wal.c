/*
 * Collects what is appended to the WAL; see store_wal.h.
 *
 * Owns, for each open WAL, SQLite's own file and what is not written yet. Invariant: behind the
 * last octet of a commit's frame nothing is left in memory, so that an error is the commit's, and
 * no process is told by the WAL's index of a frame that is not in the file. Frames before it are
 * nobody's but the transaction's, which reads them through us. What is not appended (checksums made
 * anew, frames of a transaction that was rolled back) is written as SQLite says it.
 *
 * The format: https://www.sqlite.org/fileformat2.html#walformat
 */
#include "store_wal.h"

#include "base/strbuf.h"

#include <sqlite3.h>

#define VFS_NAME            "multidropd"
#define FRAME_HEADER_OCTETS 24 /* its second 32 bits: not 0 in a commit's last frame */
#define COLLECT_OCTETS      (128 * 1024)

struct wal {
	sqlite3_file base;
	sqlite3_file *file; /* behind this struct */
	struct strbuf collected;
	sqlite3_int64 at, end; /* of what is collected; of everything since the WAL's start */
	bool commit;           /* the last header was one of a commit */
};

static struct wal *wal(sqlite3_file *f)
{
	return (struct wal *)f;
}

static int write_out(struct wal *w)
{
	int rc = SQLITE_OK;

	if (w->collected.len)
		rc = w->file->pMethods->xWrite(
			w->file, w->collected.ptr, (int)w->collected.len, w->at);
	strbuf_clear(&w->collected);
	return rc;
}

static int on_write(sqlite3_file *f, const void *data, int octets, sqlite3_int64 at)
{
	struct wal *w = wal(f);
	const unsigned char *size = (const unsigned char *)data + 4;
	bool append = at == 0 || at >= w->end;
	int rc = SQLITE_OK;

	if (octets == FRAME_HEADER_OCTETS)
		w->commit = size[0] | size[1] | size[2] | size[3];
	bool goes_on = append && at == w->at + (sqlite3_int64)w->collected.len &&
		w->collected.len + (size_t)octets <= COLLECT_OCTETS;
	if (!goes_on)
		rc = write_out(w);
	if (rc)
		return rc;
	if (at == 0 || at + octets > w->end)
		w->end = at + octets;
	if (!append || octets > COLLECT_OCTETS)
		return w->file->pMethods->xWrite(w->file, data, octets, at);
	if (!w->collected.len)
		w->at = at;
	strbuf_add(&w->collected, data, (size_t)octets);
	return octets != FRAME_HEADER_OCTETS && w->commit ? write_out(w) : SQLITE_OK;
}

/* What is collected now belongs to a transaction that never ended. */
static int on_close(sqlite3_file *f)
{
	strbuf_free(&wal(f)->collected);
	return wal(f)->file->pMethods->xClose(wal(f)->file);
}

/* ---- the rest is the file's own, behind what is collected ---- */

static int on_read(sqlite3_file *f, void *out, int octets, sqlite3_int64 at)
{
	int rc = write_out(wal(f));

	return rc ? rc : wal(f)->file->pMethods->xRead(wal(f)->file, out, octets, at);
}

static int on_truncate(sqlite3_file *f, sqlite3_int64 octets)
{
	int rc = write_out(wal(f));

	return rc ? rc : wal(f)->file->pMethods->xTruncate(wal(f)->file, octets);
}

static int on_sync(sqlite3_file *f, int flags)
{
	int rc = write_out(wal(f));

	return rc ? rc : wal(f)->file->pMethods->xSync(wal(f)->file, flags);
}

static int on_size(sqlite3_file *f, sqlite3_int64 *octets)
{
	int rc = write_out(wal(f));

	return rc ? rc : wal(f)->file->pMethods->xFileSize(wal(f)->file, octets);
}

static int on_lock(sqlite3_file *f, int level)
{
	return wal(f)->file->pMethods->xLock(wal(f)->file, level);
}

static int on_unlock(sqlite3_file *f, int level)
{
	return wal(f)->file->pMethods->xUnlock(wal(f)->file, level);
}

static int on_check_lock(sqlite3_file *f, int *held)
{
	return wal(f)->file->pMethods->xCheckReservedLock(wal(f)->file, held);
}

static int on_control(sqlite3_file *f, int what, void *arg)
{
	return wal(f)->file->pMethods->xFileControl(wal(f)->file, what, arg);
}

static int on_sector_size(sqlite3_file *f)
{
	return wal(f)->file->pMethods->xSectorSize(wal(f)->file);
}

static int on_characteristics(sqlite3_file *f)
{
	return wal(f)->file->pMethods->xDeviceCharacteristics(wal(f)->file);
}

/* Version 1: no shared memory, no mapping; a WAL has neither. */
static const sqlite3_io_methods wal_methods = { .iVersion = 1,
	.xClose = on_close,
	.xRead = on_read,
	.xWrite = on_write,
	.xTruncate = on_truncate,
	.xSync = on_sync,
	.xFileSize = on_size,
	.xLock = on_lock,
	.xUnlock = on_unlock,
	.xCheckReservedLock = on_check_lock,
	.xFileControl = on_control,
	.xSectorSize = on_sector_size,
	.xDeviceCharacteristics = on_characteristics };

static int on_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *f, int flags, int *out)
{
	sqlite3_vfs *below = vfs->pAppData;

	if (!(flags & SQLITE_OPEN_WAL))
		return below->xOpen(below, path, f, flags, out);
	*wal(f) = (struct wal){ .file = (sqlite3_file *)(wal(f) + 1) };
	int rc = below->xOpen(below, path, wal(f)->file, flags, out);
	if (wal(f)->file->pMethods)
		f->pMethods = &wal_methods;
	return rc;
}

const char *store_wal_vfs(void)
{
	static sqlite3_vfs vfs;
	sqlite3_vfs *below = sqlite3_vfs_find(NULL);

	if (vfs.pAppData == below)
		return VFS_NAME;
	if (vfs.pAppData)
		sqlite3_vfs_unregister(&vfs);
	vfs = *below; /* all but opening is its own, and gets it as the first argument */
	vfs.pNext = NULL;
	vfs.zName = VFS_NAME;
	vfs.pAppData = below;
	vfs.szOsFile = below->szOsFile + (int)sizeof(struct wal);
	vfs.xOpen = on_open;
	ensure(sqlite3_vfs_register(&vfs, 0) == SQLITE_OK);
	return VFS_NAME;
}
