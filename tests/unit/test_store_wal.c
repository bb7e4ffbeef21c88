/*
 * The WAL that is written in one piece: whoever else has the database open, by SQLite's own VFS,
 * sees each commit at once and nothing but commits; an error is the commit's.
 */
#include "store_wal.h"

#include "base/mem.h"
#include "power_vfs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

struct fixture {
	struct power *power;
	char dir[32], path[64];
	sqlite3 *ours, *other;
};

static sqlite3 *opened(const char *path, const char *vfs)
{
	sqlite3 *db;

	assert_int_equal(
		sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs),
		SQLITE_OK);
	sqlite3_exec(
		db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL", NULL, NULL, NULL);
	return db;
}

static int setup(void **state)
{
	struct fixture *fx = mem_zalloc(sizeof *fx);

	snprintf(fx->dir, sizeof fx->dir, "/tmp/wal.XXXXXX");
	assert_non_null(mkdtemp(fx->dir));
	snprintf(fx->path, sizeof fx->path, "%s/db", fx->dir);
	fx->power = power_new();
	fx->ours = opened(fx->path, store_wal_vfs());
	fx->other = opened(fx->path, NULL);
	*state = fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	sqlite3_close(fx->ours);
	sqlite3_close(fx->other);
	power_free(fx->power);
	unlink(fx->path);
	rmdir(fx->dir);
	mem_freep(&fx);
	return 0;
}

static int say(struct fixture *fx, const char *sql)
{
	return sqlite3_exec(fx->ours, sql, NULL, NULL, NULL);
}

static int64_t number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	int64_t n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return n;
}

static void fill(struct fixture *fx, unsigned rows)
{
	char sql[200];

	snprintf(sql, sizeof sql,
		"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < %u)"
		" INSERT INTO t(text) SELECT hex(randomblob(500)) FROM c",
		rows);
	assert_int_equal(say(fx, sql), SQLITE_OK);
}

static void copy(const char *from, const char *to)
{
	char buf[4096];
	FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");

	assert_non_null(in);
	assert_non_null(out);
	for (size_t n; (n = fread(buf, 1, sizeof buf, in));)
		assert_int_equal(fwrite(buf, 1, n, out), n);
	fclose(in);
	fclose(out);
}

/* What a process would find that comes after kill -9 of all others: by the checksums alone. */
static int64_t recovered(struct fixture *fx, const char *sql)
{
	char paths[4][80];

	snprintf(paths[0], sizeof paths[0], "%s-wal", fx->path);
	snprintf(paths[1], sizeof paths[1], "%s.copy", fx->path);
	snprintf(paths[2], sizeof paths[2], "%s.copy-wal", fx->path);
	snprintf(paths[3], sizeof paths[3], "%s.copy-shm", fx->path);
	copy(fx->path, paths[1]);
	copy(paths[0], paths[2]);
	sqlite3 *db = opened(paths[1], "unix");
	int64_t n = number(db, sql);
	sqlite3_close(db);
	for (size_t i = 1; i < 4; i++)
		unlink(paths[i]);
	return n;
}

static void a_commit_is_one_write(void **state)
{
	struct fixture *fx = *state;

	assert_int_equal(say(fx, "CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT)"), SQLITE_OK);
	unsigned before = power_changes(fx->power);
	assert_int_equal(say(fx, "BEGIN"), SQLITE_OK);
	fill(fx, 40); /* ten pages */
	assert_int_equal(power_changes(fx->power), before);
	assert_int_equal(say(fx, "COMMIT"), SQLITE_OK);
	assert_int_equal(power_changes(fx->power), before + 1);
	assert_int_equal(number(fx->other, "SELECT count(*) FROM t"), 40);
}

/* More than the cache holds, what is written twice within a transaction, roll-backs, checkpoints by
 * either side, and a WAL that begins anew. */
static void others_see_commits_only(void **state)
{
	struct fixture *fx = *state;
	int64_t rows = 0;

	say(fx,
		"PRAGMA cache_size = 8; PRAGMA wal_autocheckpoint = 60;"
		"CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT)");
	for (unsigned i = 0; i < 120; i++) {
		unsigned more = i * 7919 % 60 + 1;
		assert_int_equal(say(fx, "BEGIN IMMEDIATE"), SQLITE_OK);
		fill(fx, more);
		assert_int_equal(
			say(fx, "UPDATE t SET text = text || id WHERE id % 5 = 0"), SQLITE_OK);
		fill(fx, 1);
		assert_int_equal(number(fx->other, "SELECT count(*) FROM t"), rows);
		assert_int_equal(number(fx->ours, "SELECT count(*) FROM t"), rows + more + 1);
		bool keep = i % 3;
		assert_int_equal(say(fx, keep ? "COMMIT" : "ROLLBACK"), SQLITE_OK);
		rows += keep ? more + 1 : 0;
		assert_int_equal(number(fx->other, "SELECT count(*) FROM t"), rows);
		assert_int_equal(recovered(fx, "SELECT count(*) FROM t"), rows);
		assert_int_equal(number(fx->ours, "SELECT count(*) FROM t"), rows);
		if (i % 17 == 0)
			sqlite3_exec(fx->other,
				"PRAGMA wal_checkpoint(RESTART);"
				"INSERT INTO t(text) VALUES('theirs'); DELETE FROM t"
				" WHERE text = 'theirs'",
				NULL, NULL, NULL);
	}
	assert_int_equal(number(fx->other,
				 "SELECT count(*) FROM pragma_integrity_check"
				 " WHERE integrity_check = 'ok'"),
		1);
}

static void an_error_is_the_commits(void **state)
{
	struct fixture *fx = *state;

	assert_int_equal(say(fx, "CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT)"), SQLITE_OK);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(say(fx, "BEGIN"), SQLITE_OK);
		fill(fx, 20);
		power_full(fx->power, true);
		assert_int_not_equal(say(fx, "COMMIT"), SQLITE_OK);
		assert_int_equal(number(fx->other, "SELECT count(*) FROM t"), 20 * i);
		power_full(fx->power, false);
		(void)say(fx, "ROLLBACK"); /* or it has been already */
		fill(fx, 20);
		assert_int_equal(number(fx->other, "SELECT count(*) FROM t"), 20 * (i + 1));
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(a_commit_is_one_write),
		TEST(others_see_commits_only),
		TEST(an_error_is_the_commits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
