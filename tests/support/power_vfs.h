/*
 * A disk that loses power: an SQLite VFS over the real one that remembers, per file, what a sync
 * has made durable and what was only written.
 *
 * One at a time; while it lives it is SQLite's default. Files are followed from their creation on.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct power;

struct power *power_new(void);
void power_free(struct power *p);

/* Changes of files (writes, truncations, deletions, syncs) so far. */
unsigned power_changes(const struct power *p);
/* From the n-th change on (from 1) nothing works any more. 0: never. */
void power_cut_at(struct power *p, unsigned n);
/* As long as it is full, no write succeeds. */
void power_full(struct power *p, bool full);
/* A disk that lies: syncs do nothing. */
void power_lie(struct power *p);

enum power_loss {
	POWER_NOTHING_KEPT, /* of what was not synced */
	POWER_ALL_KEPT,     /* as after kill -9 */
	POWER_SOME_KEPT     /* some writes, out of order, some of them torn, as the seed says */
};

/*
 * All files are closed: puts there what the disk has, for programs that use the real VFS, which is
 * the default from here on.
 */
void power_restore(struct power *p, enum power_loss loss, uint32_t seed);
