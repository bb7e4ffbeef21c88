/* A state directory of its own, a clock and a randomness that the test sets, and the store in it.
 */
#pragma once

#include "store_sqlite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND ((msec_t)1000)
#define MINUTE (60 * SECOND)

struct fixture {
	char dir[32];
	char path[64];
	struct clock clock;
	msec_t now;
	wall_t wall;
	const char *boot; /* "": there is no redo log */
	struct rng rng;
	uint8_t next_random;
	struct store *store;
};

static inline msec_t fake_now(struct clock *c)
{
	return ((struct fixture *)((char *)c - offsetof(struct fixture, clock)))->now;
}

static inline wall_t fake_wall(struct clock *c)
{
	return ((struct fixture *)((char *)c - offsetof(struct fixture, clock)))->wall;
}

static inline const char *fake_boot(struct clock *c)
{
	return ((struct fixture *)((char *)c - offsetof(struct fixture, clock)))->boot;
}

static inline void fake_fill(struct rng *r, void *buf, size_t len)
{
	struct fixture *fx = (struct fixture *)((char *)r - offsetof(struct fixture, rng));

	memset(buf, ++fx->next_random, len);
}

static inline struct store *open_store(struct fixture *fx)
{
	struct err err = { 0 };
	struct store *s = NULL;

	if (store_open(fx->dir, &fx->clock, &fx->rng, &s, &err))
		fail_msg("%s", err.text);
	return s;
}

static inline void reopen(struct fixture *fx)
{
	store_close(fx->store);
	fx->store = open_store(fx);
}

/* Everything but the store. */
static inline struct fixture *prepare(void)
{
	struct fixture *fx = mem_zalloc(sizeof *fx);

	snprintf(fx->dir, sizeof fx->dir, "/tmp/store.XXXXXX");
	assert_non_null(mkdtemp(fx->dir));
	snprintf(fx->path, sizeof fx->path, "%s/" STORE_FILE, fx->dir);
	fx->clock = (struct clock){ .now = fake_now, .wall = fake_wall, .boot = fake_boot };
	fx->boot = "";
	fx->rng.fill = fake_fill;
	fx->now = 100 * MINUTE;
	fx->wall = 1700000000 * SECOND;
	return fx;
}

static inline int setup(void **state)
{
	struct fixture *fx = prepare();

	fx->store = open_store(fx);
	*state = fx;
	return 0;
}

static inline int teardown(void **state)
{
	static const char *const suffixes[] = { "", "-wal", "-shm", "-journal", "-redo0", "-redo1",
		"-redo2" };
	struct fixture *fx = *state;

	store_close(fx->store);
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		char path[80];
		snprintf(path, sizeof path, "%s%s", fx->path, suffixes[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(fx->dir), 0); /* nothing else was left there */
	free(fx);
	return 0;
}

/* Another program's hands on the file. */
static inline void tamper(struct fixture *fx, const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(fx->path, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s", sqlite3_errmsg(db));
	sqlite3_close(db);
}

/* Makes of an empty state what version 1 of the schema was, from before doubt had a column. */
#define VERSION_1                                                                                  \
	"ALTER TABLE dedupe DROP COLUMN doubt_id; ALTER TABLE rcpt DROP COLUMN in_doubt;"          \
	"ALTER TABLE message DROP COLUMN boot;"                                                    \
	"DROP TABLE provider; DROP TABLE account;"                                                 \
	"CREATE TABLE account(name TEXT PRIMARY KEY, quit_ok INTEGER NOT NULL) WITHOUT ROWID;"     \
	"PRAGMA user_version = 1;"

#define OK(call) assert_int_equal((call), 0)
