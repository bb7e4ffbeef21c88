/*
 * Opening the state database; see store_schema.h. Owns nothing: connection and result are the
 * caller's.
 */
#include "store_schema.h"

#include "base/encode.h"

#include <stdio.h>

#define SCHEMA_VERSION 4
#define APPLICATION_ID 0x6d647064 /* "mdpd" */
#define BUSY_TRIES     200
#define BUSY_PAUSE_MS  20
#define WAY_OUT                                                                                    \
	"; stop multidropd and restore a backup, or move it away: all that is still listed is "    \
	"then delivered once more"

#define ACCOUNT_TABLE                                                                              \
	"CREATE TABLE account(name TEXT PRIMARY KEY, quit_ok INTEGER NOT NULL DEFAULT 0,"          \
	" paused INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0,"                 \
	" auth_failures INTEGER NOT NULL DEFAULT 0, busy INTEGER NOT NULL DEFAULT 0,"              \
	" announced INTEGER NOT NULL DEFAULT 0, learned INTEGER NOT NULL DEFAULT 0,"               \
	" learned_at INTEGER NOT NULL DEFAULT 0, last_start INTEGER NOT NULL DEFAULT 0,"           \
	" last_success INTEGER NOT NULL DEFAULT 0, secret_mark INTEGER NOT NULL DEFAULT 0,"        \
	" delivered INTEGER NOT NULL DEFAULT 0, last_error_at INTEGER NOT NULL DEFAULT 0,"         \
	" last_error TEXT) WITHOUT ROWID;"
#define PROVIDER_TABLE                                                                             \
	"CREATE TABLE provider(name TEXT PRIMARY KEY, hour_limit INTEGER NOT NULL,"                \
	" at INTEGER NOT NULL) WITHOUT ROWID;"

static const char schema[] =
	"CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;" ACCOUNT_TABLE
		PROVIDER_TABLE
	"CREATE TABLE watch(account TEXT PRIMARY KEY, recent INTEGER NOT NULL, n INTEGER NOT NULL,"
	" changed INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE relay(name TEXT PRIMARY KEY, asked_at INTEGER NOT NULL,"
	" takes_unknown INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE message(id INTEGER PRIMARY KEY, account TEXT NOT NULL, uid TEXT NOT NULL,"
	" octets INTEGER NOT NULL, attempts INTEGER NOT NULL, state INTEGER NOT NULL,"
	" missing INTEGER NOT NULL DEFAULT 0, retry_at INTEGER NOT NULL DEFAULT 0,"
	" deferrals INTEGER NOT NULL DEFAULT 0, first_at INTEGER NOT NULL,"
	" done_at INTEGER NOT NULL DEFAULT 0, state_at INTEGER NOT NULL DEFAULT 0,"
	" forgotten_at INTEGER, digest BLOB, message_id TEXT, sender TEXT, relay TEXT, reason TEXT,"
	" redirect TEXT, boot TEXT);"
	"CREATE INDEX message_uid ON message(account, uid) WHERE forgotten_at IS NULL;"
	"CREATE INDEX message_forgotten ON message(forgotten_at) WHERE forgotten_at IS NOT NULL;"
	"CREATE TABLE rcpt(message INTEGER NOT NULL, address TEXT NOT NULL COLLATE NOCASE,"
	" postmaster INTEGER NOT NULL, outcome INTEGER NOT NULL, code INTEGER NOT NULL,"
	" reply TEXT, at INTEGER NOT NULL, in_doubt INTEGER NOT NULL DEFAULT 0,"
	" PRIMARY KEY(message, address, postmaster)) WITHOUT ROWID;"
	"CREATE TABLE dedupe(account TEXT NOT NULL, digest BLOB NOT NULL,"
	" recipient TEXT NOT NULL COLLATE NOCASE, at INTEGER NOT NULL, message INTEGER NOT NULL,"
	" doubt_id TEXT, PRIMARY KEY(account, digest, recipient)) WITHOUT ROWID;"
	"CREATE INDEX dedupe_at ON dedupe(account, at);"
	"CREATE TABLE login(provider TEXT NOT NULL, account TEXT NOT NULL, boot TEXT NOT NULL,"
	" boot_ms INTEGER NOT NULL, wall_ms INTEGER NOT NULL);"
	"CREATE INDEX login_provider ON login(provider, boot_ms);"
	"CREATE INDEX login_account ON login(account, boot_ms);";

/* From version [i] to the next; there was no version 0. */
static const char *const migrations[SCHEMA_VERSION] = { NULL,
	"ALTER TABLE rcpt ADD COLUMN in_doubt INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE account RENAME TO account_1;" ACCOUNT_TABLE
	"INSERT INTO account(name, quit_ok) SELECT name, quit_ok FROM account_1;"
	"DROP TABLE account_1;" PROVIDER_TABLE,
	"ALTER TABLE dedupe ADD COLUMN doubt_id TEXT;",
	"ALTER TABLE message ADD COLUMN boot TEXT;" };

/* The newest column of each table. Statements are prepared late; a gap is to be found at once. */
static const struct {
	const char *table, *column;
} newest[] = { { "account", "last_error" }, { "provider", "at" }, { "watch", "changed" },
	{ "relay", "takes_unknown" }, { "message", "boot" }, { "rcpt", "in_doubt" },
	{ "dedupe", "doubt_id" }, { "login", "wall_ms" } };

struct file {
	sqlite3 *db;
	const char *path;
	struct store_schema *out;
};

/* Where it was found says nothing about damage, and the log has room for 200 octets. */
int store_schema_fail(sqlite3 *db, const char *path, const char *what, struct err *err)
{
	int code = sqlite3_extended_errcode(db), kind = code & 0xff;

	if (kind == SQLITE_CORRUPT || kind == SQLITE_NOTADB)
		return err_set(err, ERR_LOCAL, code, "%s: %s" WAY_OUT, path, sqlite3_errmsg(db));
	return err_set(err, ERR_LOCAL, code, "%s: %s (in %.40s)", path, sqlite3_errmsg(db), what);
}

static int fail(struct file *f, struct err *err, const char *what)
{
	return store_schema_fail(f->db, f->path, what, err);
}

static int exec(struct file *f, const char *text, struct err *err)
{
	return sqlite3_exec(f->db, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(f, err, text);
}

static int pragma_int(struct file *f, const char *text, int64_t *out, struct err *err)
{
	sqlite3_stmt *st;

	if (sqlite3_prepare_v2(f->db, text, -1, &st, NULL) != SQLITE_OK)
		return fail(f, err, text);
	int rc = sqlite3_step(st);
	*out = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? 0 : fail(f, err, text);
}

static int create(struct file *f, struct rng *rng, struct err *err)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;

	rng->fill(rng, f->out->key, STORE_KEY_OCTETS);
	strbuf_adds(&text, schema);
	strbuf_adds(&text, "INSERT INTO meta(name, value) VALUES('key', x'");
	hex_encode(&text, f->out->key, STORE_KEY_OCTETS);
	strbuf_addf(&text, "'); PRAGMA application_id = %d; PRAGMA user_version = %d;",
		APPLICATION_ID, SCHEMA_VERSION);
	return exec(f, strbuf_str(&text), err);
}

/* The schema is there, ours and of a version that can be used; or nothing is: *version 0. */
static int check_schema(struct file *f, int64_t *version, struct err *err)
{
	int64_t app, tables;

	if (pragma_int(f, "PRAGMA application_id", &app, err) ||
		pragma_int(f, "PRAGMA user_version", version, err) ||
		pragma_int(f, "SELECT count(*) FROM sqlite_master", &tables, err))
		return -1;
	if (!tables && !*version && !app)
		return 0;
	if (app != APPLICATION_ID)
		return err_set(err, ERR_LOCAL, 0,
			"%s is not a database of multidropd; move it away or set another state_dir",
			f->path);
	bool known = *version >= 0 && *version < SCHEMA_VERSION && migrations[*version];
	if (*version != SCHEMA_VERSION && !known)
		return err_set(err, ERR_LOCAL, 0,
			"%s has schema %lld, this program knows %d; install the version that wrote "
			"it",
			f->path, (long long)*version, SCHEMA_VERSION);
	return 0;
}

/* Creates the schema, or brings an older one up to date. Within a transaction. */
static int prepare(struct file *f, struct rng *rng, struct err *err)
{
	AUTO(strbuf_free) struct strbuf done = STRBUF_INIT;
	int64_t version;

	if (check_schema(f, &version, err))
		return -1;
	if (!version)
		return create(f, rng, err);
	if (version == SCHEMA_VERSION)
		return 0;
	for (; version < SCHEMA_VERSION; version++)
		if (exec(f, migrations[version], err))
			return -1;
	strbuf_addf(&done, "PRAGMA user_version = %d", SCHEMA_VERSION);
	return exec(f, strbuf_str(&done), err);
}

static int check_tables(struct file *f, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(newest); i++)
		if (sqlite3_table_column_metadata(f->db, "main", newest[i].table, newest[i].column,
			    NULL, NULL, NULL, NULL, NULL) != SQLITE_OK)
			return fail(f, err, "the schema");
	return 0;
}

static int load_key(struct file *f, struct err *err)
{
	sqlite3_stmt *st;
	int rc = sqlite3_prepare_v2(
		f->db, "SELECT value FROM meta WHERE name = 'key'", -1, &st, NULL);

	if (rc != SQLITE_OK)
		return fail(f, err, "reading the key");
	rc = sqlite3_step(st);
	bool good = rc == SQLITE_ROW && sqlite3_column_bytes(st, 0) == STORE_KEY_OCTETS;
	if (good)
		memcpy(f->out->key, sqlite3_column_blob(st, 0), STORE_KEY_OCTETS);
	sqlite3_finalize(st);
	return good ? 0 : err_set(err, ERR_LOCAL, 0, "%s: its key is missing" WAY_OUT, f->path);
}

/* Stamps of an earlier boot, told by the wall clock; a stamp in its future is taken for now. */
static int translate_logins(struct file *f, struct clock *clock, struct err *err)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;

	snprintf(f->out->boot, sizeof f->out->boot, "%s", clock_boot(clock));
	strbuf_addf(&text,
		"UPDATE login SET boot_ms = %lld - max(0, %lld - wall_ms), boot = '%s'"
		" WHERE boot <> '%s' OR boot_ms > %lld",
		(long long)clock->now(clock), (long long)clock->wall(clock), f->out->boot,
		f->out->boot, (long long)clock->now(clock));
	return exec(f, strbuf_str(&text), err);
}

/*
 * Switching to WAL does not wait for a busy database as everything else does: several processes
 * that start at the same moment would fail each other.
 */
static int switch_to_wal(struct file *f, struct err *err)
{
	for (int tries = BUSY_TRIES; tries; tries--) {
		int rc = sqlite3_exec(f->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
		if (rc == SQLITE_OK)
			return 0;
		if ((rc & 0xff) != SQLITE_BUSY)
			break;
		sqlite3_sleep(
			BUSY_PAUSE_MS); /* at start-up only: there is no loop yet to hold up */
	}
	return fail(f, err, "PRAGMA journal_mode = WAL");
}

int store_schema_open(sqlite3 *db, const char *path, struct clock *clock, struct rng *rng,
	struct store_schema *out, struct err *err)
{
	struct file f = { db, path, out };
	int64_t version;

	/*
	 * WAL stays in the file: look whose it is first. EXTRA, while there is a rollback journal:
	 * one that comes back after a power cut would undo the whole database.
	 */
	if (exec(&f, "PRAGMA trusted_schema = OFF; PRAGMA synchronous = EXTRA; BEGIN", err) ||
		check_schema(&f, &version, err) || exec(&f, "COMMIT", err) ||
		switch_to_wal(&f, err) ||
		exec(&f,
			"PRAGMA synchronous = NORMAL; PRAGMA cache_size = -2048;"
			"BEGIN IMMEDIATE",
			err) ||
		prepare(&f, rng, err) || check_tables(&f, err) || load_key(&f, err) ||
		translate_logins(&f, clock, err))
		return -1;
	return exec(&f, "COMMIT", err);
}
