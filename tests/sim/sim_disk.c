/*
 * The disk: SQLite's files as memory that the daemon's processes share; see sim_world.h.
 *
 * Owns the memory. A process that is killed leaves there what it had written, and a power loss what
 * had been synced of the WAL. That is a fraction of the system calls of a file system, and what a
 * life costs is mostly those. There never is a second process at the database: locks are nothing,
 * and the index of the WAL is each connection's own, to be built anew as after any crash. It takes
 * the place of daemon/syncer.c, and takes its time.
 */
#include "sim_world.h"

#include "syncer.h"

#include <sched.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/mman.h>

#define FILE_MAX   (1 << 20)
#define SHM_OCTETS (1 << 15) /* what SQLite asks for at a time */
#define SLOW_TURNS 3         /* of the daemon's loop, before the disk has what it was asked for */

enum file { DATABASE, JOURNAL, WAL, FILE_COUNT };

static const char *const suffixes[FILE_COUNT] = { [JOURNAL] = "-journal", [WAL] = "-wal" };

static struct disk {
	struct {
		bool exists;
		size_t n;
		char octets[FILE_MAX];
	} files[FILE_COUNT];
	size_t synced; /* octets of the WAL that a power loss leaves */
	unsigned long syncs;
} * disk;

static struct strbuf kept; /* the database to begin a run with */

struct open_file {
	sqlite3_file base;
	enum file which;
	void *shm;
};

static enum file which(const char *path)
{
	size_t len = strlen(path);

	for (enum file i = JOURNAL; i < FILE_COUNT; i++)
		if (len > strlen(suffixes[i]) &&
			!strcmp(path + len - strlen(suffixes[i]), suffixes[i]))
			return i;
	return DATABASE;
}

static enum file opened(sqlite3_file *f)
{
	return ((struct open_file *)f)->which;
}

/* ---- files ---- */

static int on_close(sqlite3_file *f)
{
	free(((struct open_file *)f)->shm);
	return SQLITE_OK;
}

static int on_read(sqlite3_file *f, void *buf, int len, sqlite3_int64 at)
{
	size_t n = disk->files[opened(f)].n, want = (size_t)len, from = (size_t)at;
	size_t there = from < n ? n - from : 0;

	there = there < want ? there : want;
	memcpy(buf, disk->files[opened(f)].octets + (there ? from : 0), there);
	memset((char *)buf + there, 0, want - there);
	return there == want ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int on_write(sqlite3_file *f, const void *buf, int len, sqlite3_int64 at)
{
	size_t end = (size_t)at + (size_t)len, *n = &disk->files[opened(f)].n;
	char *octets = disk->files[opened(f)].octets;

	ensure(end <= FILE_MAX);
	if ((size_t)at > *n)
		memset(octets + *n, 0, (size_t)at - *n);
	memcpy(octets + at, buf, (size_t)len);
	*n = *n < end ? end : *n;
	return SQLITE_OK;
}

static int on_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	disk->files[opened(f)].n = (size_t)size;
	return SQLITE_OK;
}

static int on_sync(sqlite3_file *f, int flags)
{
	if (opened(f) == WAL) {
		disk->synced = disk->files[WAL].n;
		disk->syncs++;
	}
	return SQLITE_OK;
}

static int on_size(sqlite3_file *f, sqlite3_int64 *size)
{
	*size = (sqlite3_int64)disk->files[opened(f)].n;
	return SQLITE_OK;
}

static int on_lock(sqlite3_file *f, int level)
{
	return SQLITE_OK;
}

static int on_reserved(sqlite3_file *f, int *reserved)
{
	*reserved = 0;
	return SQLITE_OK;
}

static int on_control(sqlite3_file *f, int what, void *argument)
{
	return SQLITE_NOTFOUND;
}

static int sector_size(sqlite3_file *f)
{
	return 4096;
}

static int characteristics(sqlite3_file *f)
{
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE; /* as on a file system */
}

/* ---- the index of the WAL ---- */

static int shm_map(sqlite3_file *f, int region, int size, int extend, void volatile **out)
{
	struct open_file *file = (struct open_file *)f;

	ensure(!region && size == SHM_OCTETS);
	if (!file->shm && extend)
		file->shm = mem_zalloc(SHM_OCTETS);
	*out = file->shm;
	return SQLITE_OK;
}

static int shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
	return SQLITE_OK;
}

static void shm_barrier(sqlite3_file *f)
{
}

static int shm_unmap(sqlite3_file *f, int discard)
{
	struct open_file *file = (struct open_file *)f;

	free(file->shm);
	file->shm = NULL;
	return SQLITE_OK;
}

static const sqlite3_io_methods methods = { .iVersion = 2,
	.xClose = on_close,
	.xRead = on_read,
	.xWrite = on_write,
	.xTruncate = on_truncate,
	.xSync = on_sync,
	.xFileSize = on_size,
	.xLock = on_lock,
	.xUnlock = on_lock,
	.xCheckReservedLock = on_reserved,
	.xFileControl = on_control,
	.xSectorSize = sector_size,
	.xDeviceCharacteristics = characteristics,
	.xShmMap = shm_map,
	.xShmLock = shm_lock,
	.xShmBarrier = shm_barrier,
	.xShmUnmap = shm_unmap };

/* ---- names ---- */

static int on_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *f, int flags, int *got)
{
	struct open_file *file = (struct open_file *)f;

	ensure(path); /* no temporary files */
	*file = (struct open_file){ .base.pMethods = &methods, .which = which(path) };
	disk->files[file->which].exists = true;
	if (got)
		*got = flags;
	return SQLITE_OK;
}

static int on_delete(sqlite3_vfs *vfs, const char *path, int sync)
{
	disk->files[which(path)].exists = false;
	disk->files[which(path)].n = 0;
	return SQLITE_OK;
}

static int on_access(sqlite3_vfs *vfs, const char *path, int flags, int *out)
{
	enum file file = which(path);

	*out = disk->files[file].exists && (flags != SQLITE_ACCESS_EXISTS || disk->files[file].n);
	return SQLITE_OK;
}

static int full_name(sqlite3_vfs *vfs, const char *path, int max, char *out)
{
	ensure(strlen(path) < (size_t)max);
	memcpy(out, path, strlen(path) + 1);
	return SQLITE_OK;
}

static int last_error(sqlite3_vfs *vfs, int max, char *out)
{
	return 0;
}

/* ---- the wait for it, beside the loop ---- */

struct syncer {
	struct event *turn;
	unsigned left;
	size_t asked;
	syncer_fn *fn;
	void *ctx;
};

static void on_turn(evutil_socket_t fd, short what, void *ctx)
{
	struct syncer *s = ctx;

	sched_yield(); /* the world may strike now */
	if (--s->left) {
		event_active(s->turn, EV_TIMEOUT, 0);
		return;
	}
	if (s->asked > disk->synced)
		disk->synced = s->asked;
	disk->syncs++;
	s->fn(s->ctx, NULL);
}

struct syncer *syncer_new(
	struct event_base *base, const char *path, msec_t slow_ms, syncer_fn *fn, void *ctx)
{
	struct syncer *s = mem_zalloc(sizeof *s);

	s->fn = fn;
	s->ctx = ctx;
	s->turn = event_new(base, -1, 0, on_turn, s);
	return s;
}

void syncer_start(struct syncer *s)
{
	ensure(!s->left);
	s->asked = disk->files[WAL].n;
	s->left = SLOW_TURNS;
	event_active(s->turn, EV_TIMEOUT, 0);
}

void syncer_free(struct syncer *s)
{
	event_free(s->turn);
	free(s);
}

/* ---- for the world ---- */

void disk_new(void)
{
	static sqlite3_vfs vfs;

	disk = mmap(NULL, sizeof *disk, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ensure(disk != MAP_FAILED);
	(void)sqlite3_config(SQLITE_CONFIG_SINGLETHREAD); /* else it is only slower */
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	(void)sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 1200, 200);
	vfs = *sqlite3_vfs_find(NULL); /* clock, randomness */
	vfs.zName = "sim";
	vfs.szOsFile = sizeof(struct open_file);
	vfs.xOpen = on_open;
	vfs.xDelete = on_delete;
	vfs.xAccess = on_access;
	vfs.xFullPathname = full_name;
	vfs.xGetLastError = last_error;
	ensure(sqlite3_vfs_register(&vfs, true) == SQLITE_OK);
}

void disk_free(void)
{
	munmap(disk, sizeof *disk);
	strbuf_free(&kept);
}

void disk_forget(void)
{
	strbuf_clear(&kept);
}

void disk_keep(void)
{
	ensure(!disk->files[WAL].n);
	strbuf_clear(&kept);
	strbuf_add(&kept, disk->files[DATABASE].octets, disk->files[DATABASE].n);
}

void disk_reset(void)
{
	for (enum file i = 0; i < FILE_COUNT; i++) {
		disk->files[i].exists = false;
		disk->files[i].n = 0;
	}
	if (!kept.len)
		return;
	disk->files[DATABASE].exists = true;
	disk->files[DATABASE].n = kept.len;
	memcpy(disk->files[DATABASE].octets, kept.ptr, kept.len);
}

void disk_settle(void)
{
	disk->synced = disk->files[WAL].n;
}

void disk_lose_unsynced(void)
{
	if (disk->files[WAL].n > disk->synced)
		disk->files[WAL].n = disk->synced;
}

bool disk_synced(void)
{
	return disk->syncs;
}
