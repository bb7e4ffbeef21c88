/*
 * The state in SQLite; see core/store.h for what it promises.
 *
 * WAL: a transaction is written at its end, and synced when store_commit() says so, by SQLite's own
 * file, or by the syncer after store_end(); together that is synchronous=FULL with the sync in our
 * hand. One connection, one open transaction that collects the changes of many turns of the event
 * loop, and a redo log of what somebody relies on meanwhile. A statement is prepared when it is
 * first used, and kept; what begins and ends a transaction, when the database is opened.
 */
#include "store_impl.h"
#include "store_wal.h"
#include "system.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * For `--once` beside a daemon: a busy one has the lock for 50 milliseconds, and again after far
 * less than one. SQLite's own pauses would miss that.
 */
#define BUSY_TRIES      20000
#define BUSY_PAUSE_USEC 500

static int on_busy(void *ctx, int tries)
{
	usleep(BUSY_PAUSE_USEC);
	return tries < BUSY_TRIES;
}

int store_fail(struct store *s, struct err *err, const char *what)
{
	return store_schema_fail(s->db, s->path, what, err);
}

/* ---- statements ---- */

static int bind_text(sqlite3_stmt *st, int i, const char *text, size_t max)
{
	return sqlite3_bind_text(st, i, text, text ? (int)strnlen(text, max) : 0, SQLITE_STATIC);
}

sqlite3_stmt *store_statement(struct store *s, enum statement which)
{
	if (!s->stmts[which])
		(void)sqlite3_prepare_v3(s->db, store_sql[which], -1, SQLITE_PREPARE_PERSISTENT,
			&s->stmts[which], NULL);
	return s->stmts[which];
}

static sqlite3_stmt *bind(struct store *s, enum statement which, const char *fmt, va_list ap)
{
	sqlite3_stmt *st = store_statement(s, which);
	int rc = SQLITE_OK;

	if (!st)
		return NULL;
	sqlite3_reset(st);
	for (int i = 1; *fmt; fmt++, i++) {
		if (*fmt == 'i')
			rc |= sqlite3_bind_int64(st, i, va_arg(ap, int64_t));
		else if (*fmt == 's')
			rc |= bind_text(st, i, va_arg(ap, const char *), INT_MAX);
		else if (*fmt == 't')
			rc |= bind_text(st, i, va_arg(ap, const char *), STORE_TEXT_OCTETS);
		else
			rc |= sqlite3_bind_blob(st, i, va_arg(ap, const void *),
				STORE_DIGEST_OCTETS, SQLITE_STATIC);
	}
	ensure(rc == SQLITE_OK);
	return st;
}

sqlite3_stmt *store_query(struct store *s, enum statement which, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	sqlite3_stmt *st = bind(s, which, fmt, ap);
	va_end(ap);
	return st;
}

int store_step(sqlite3_stmt *st)
{
	return st ? sqlite3_step(st) : SQLITE_ERROR;
}

static int step_once(struct store *s, enum statement which, sqlite3_stmt *st, struct err *err)
{
	int rc = store_step(st);

	sqlite3_reset(st);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : store_fail(s, err, store_sql[which]);
}

/* A fact is kept whatever fails, from before the transaction on: nobody tells it a second time. */
static int change(struct store *s, struct err *err, bool fact, enum statement which,
	const char *fmt, va_list ap)
{
	struct strbuf *changes = &s->redo.changes;

	if (!fact && store_begin(s, err))
		return -1;
	size_t at = changes->len;
	store_change_encode(changes, fact, which, fmt, ap);
	if (store_begin(s, err))
		return -1;
	int rc = store_change_do(s, sv_skip(strbuf_view(changes), at), err);
	bool lazy = which == SET_WATCH || which == ATTEMPT_MORE || which == ATTEMPT_NEW;
	s->urgent |= !lazy;
	s->redo.whole &= store_change_is_redone(which) || which == SET_WATCH;
	if (!fact && (rc || !store_change_is_redone(which)))
		changes->len = at;
	return rc;
}

int store_change(struct store *s, struct err *err, enum statement which, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int rc = change(s, err, false, which, fmt, ap);
	va_end(ap);
	return rc;
}

int store_fact(struct store *s, struct err *err, enum statement which, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int rc = change(s, err, true, which, fmt, ap);
	va_end(ap);
	return rc;
}

/* What a failed transaction leaves comes first: nothing may be built upon its absence. */
int store_begin(struct store *s, struct err *err)
{
	if (s->open)
		return 0;
	if (step_once(s, BEGIN, s->stmts[BEGIN], err))
		return -1;
	s->open = true;
	s->urgent = s->redo.changes.len;
	if (!redo_again(s, err))
		return 0;
	store_rollback(s);
	return -1;
}

/* A column that is never NULL, or whose NULL is an empty text. */
static const char *text(sqlite3_stmt *st, int i)
{
	const char *value = (const char *)sqlite3_column_text(st, i);

	return value ? value : "";
}

/* ---- messages ---- */

/* A row that went with a transaction that failed: what is told of its message must not look stored.
 */
static int change_existing(struct store *s, int64_t id, int rc, struct err *err)
{
	if (rc || sqlite3_changes(s->db))
		return rc;
	return err_set(err, ERR_LOCAL, 0, "%s: the record of message %lld is gone", s->path,
		(long long)id);
}

int store_messages(
	struct store *s, const char *account, store_message_fn *fn, void *ctx, struct err *err)
{
	sqlite3_stmt *st = store_query(s, MESSAGES, "ss", account, s->schema.boot);
	int rc;

	while ((rc = store_step(st)) == SQLITE_ROW) {
		struct stored_message m = {
			.id = sqlite3_column_int64(st, 0),
			.uid = text(st, 1),
			.octets = (uint64_t)sqlite3_column_int64(st, 2),
			.attempts = (uint32_t)sqlite3_column_int(st, 3),
			.state = (enum message_state)sqlite3_column_int(st, 4),
			.done_at = sqlite3_column_int64(st, 5),
			.missing = (uint32_t)sqlite3_column_int(st, 6),
			.retry_at = sqlite3_column_int64(st, 7),
			.deferrals = (uint32_t)sqlite3_column_int(st, 8),
			.digest = sqlite3_column_int(st, 9),
			.cut = sqlite3_column_int(st, 10),
		};
		if (fn(ctx, &m))
			break;
	}
	sqlite3_reset(st);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : store_fail(s, err, "reading messages");
}

int store_attempt(struct store *s, const char *account, const char *uid, uint64_t octets,
	bool first, wall_t now, int64_t *id, struct err *err)
{
	if (*id)
		return store_change(s, err, ATTEMPT_MORE, "ii", *id, (int64_t)octets);
	if (store_change(s, err, ATTEMPT_NEW, "ssiiis", account, uid, (int64_t)octets, now,
		    s->next_id, first && s->schema.boot[0] ? s->schema.boot : NULL))
		return -1;
	*id = sqlite3_last_insert_rowid(s->db);
	s->next_id = *id + 1;
	s->redo.first_new = s->redo.first_new ? s->redo.first_new : *id;
	return 0;
}

int store_left(struct store *s, int64_t id, bool charged, struct err *err)
{
	return store_change(s, err, LEFT, "iis", id, (int64_t)!charged, s->schema.boot);
}

int store_defer(struct store *s, int64_t id, bool charged, wall_t retry_at, struct err *err)
{
	return store_change(s, err, DEFER, "iiis", id, (int64_t)!charged, retry_at, s->schema.boot);
}

int store_rename(struct store *s, int64_t id, const char *uid, struct err *err)
{
	return store_change(s, err, RENAME, "is", id, uid);
}

static void note_identity(struct store *s, ...)
{
	va_list ap;

	va_start(ap, s);
	store_change_encode(&s->redo.changes, false, IDENTIFY, "idtts", ap);
	va_end(ap);
}

int store_identify(struct store *s, int64_t id, const struct message_identity *what,
	char **redirect, struct err *err)
{
	if (store_begin(s, err))
		return -1;
	sqlite3_stmt *st = store_query(s, IDENTIFY, "idtts", id, what->digest, what->message_id,
		what->sender, what->relay);
	int rc = store_step(st);

	*redirect = rc == SQLITE_ROW ? mem_strdup((const char *)sqlite3_column_text(st, 0)) : NULL;
	sqlite3_reset(st);
	if (rc == SQLITE_DONE)
		return 1;
	if (rc != SQLITE_ROW)
		return store_fail(s, err, "identifying a message");
	note_identity(s, id, what->digest, what->message_id, what->sender, what->relay);
	return 0;
}

bool store_knows_cuts(const struct store *s)
{
	return s->schema.boot[0];
}

int store_same(struct store *s, const char *account, int64_t except, const char *uid,
	const uint8_t digest[STORE_DIGEST_OCTETS], uint32_t nth, struct stored_message *found,
	struct err *err)
{
	sqlite3_stmt *st =
		store_query(s, SAME, "ssdii", account, uid, digest, except, (int64_t)nth);
	int rc = store_step(st);

	*found = (struct stored_message){ 0 };
	if (rc == SQLITE_ROW) {
		found->id = sqlite3_column_int64(st, 0);
		found->state = (enum message_state)sqlite3_column_int(st, 1);
		found->attempts = (uint32_t)sqlite3_column_int(st, 2);
		found->deferrals = (uint32_t)sqlite3_column_int(st, 3);
		found->retry_at = sqlite3_column_int64(st, 4);
	}
	sqlite3_reset(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : store_fail(s, err, "comparing messages");
}

int store_state(struct store *s, int64_t id, enum message_state state, const char *reason,
	wall_t now, struct err *err)
{
	return change_existing(s, id,
		store_change(
			s, err, STATE, "iisis", id, (int64_t)state, reason, now, s->schema.boot),
		err);
}

int store_missing(struct store *s, int64_t id, uint32_t listings, struct err *err)
{
	return store_change(s, err, MISSING, "ii", id, (int64_t)listings);
}

int store_forget(struct store *s, int64_t id, wall_t now, struct err *err)
{
	return store_change(s, err, FORGET, "ii", id, now);
}

int store_remove(struct store *s, int64_t id, struct err *err)
{
	if (store_change(s, err, REMOVE_RCPTS, "i", id))
		return -1;
	return store_change(s, err, REMOVE, "i", id);
}

/* ---- recipients ---- */

int store_rcpts(struct store *s, int64_t id, store_rcpt_fn *fn, void *ctx, struct err *err)
{
	sqlite3_stmt *st = store_query(s, RCPTS, "i", id);
	int rc;

	while ((rc = store_step(st)) == SQLITE_ROW) {
		struct stored_rcpt r = {
			.address = text(st, 0),
			.postmaster = sqlite3_column_int(st, 1),
			.outcome = (enum outcome)sqlite3_column_int(st, 2),
			.code = sqlite3_column_int(st, 3),
			.reply = text(st, 4),
			.at = sqlite3_column_int64(st, 5),
			.in_doubt = sqlite3_column_int(st, 6),
		};
		if (fn(ctx, &r))
			break;
	}
	sqlite3_reset(st);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : store_fail(s, err, "reading recipients");
}

int store_rcpt(
	struct store *s, int64_t id, const struct stored_rcpt *r, wall_t now, struct err *err)
{
	bool fact = r->outcome != OUTCOME_PENDING && r->outcome != OUTCOME_DOT;
	int rc = (fact ? store_fact : store_change)(s, err, RCPT, "isiiisii", id, r->address,
		(int64_t)r->postmaster, (int64_t)r->outcome, (int64_t)r->code, r->reply, now,
		(int64_t)r->in_doubt);

	return change_existing(s, id, rc, err);
}

/* ---- duplicates ---- */

int store_dedupe_seen(struct store *s, const char *account, const char *recipient,
	const uint8_t digest[STORE_DIGEST_OCTETS], wall_t since, struct dedupe_note *seen,
	struct err *err)
{
	sqlite3_stmt *st = store_query(s, DEDUPE_SEEN, "sdsi", account, digest, recipient, since);
	int rc = store_step(st);

	*seen = (struct dedupe_note){ 0 };
	if (rc == SQLITE_ROW) {
		seen->message = sqlite3_column_int64(st, 0);
		snprintf(seen->doubt_id, sizeof seen->doubt_id, "%s", text(st, 1));
	}
	sqlite3_reset(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0
						     : store_fail(s, err, "looking for duplicates");
}

int store_dedupe_note(struct store *s, const char *account, const char *recipient,
	const uint8_t digest[STORE_DIGEST_OCTETS], const struct dedupe_note *note, wall_t now,
	struct err *err)
{
	if (!note->doubt_id[0]) {
		if (store_fact(
			    s, err, DEDUPE_SURE, "sdsi", account, digest, recipient, note->message))
			return -1;
		if (sqlite3_changes(s->db))
			return 0;
	}
	return (note->doubt_id[0] ? store_change : store_fact)(s, err, DEDUPE_NOTE, "sdsiis",
		account, digest, recipient, now, note->message,
		note->doubt_id[0] ? note->doubt_id : NULL);
}

int store_dedupe_drop(struct store *s, const char *account, const char *recipient,
	const uint8_t digest[STORE_DIGEST_OCTETS], int64_t message, struct err *err)
{
	return store_fact(s, err, DEDUPE_DROP, "sdsi", account, digest, recipient, message);
}

int store_dedupe_purge(struct store *s, const char *account, wall_t before, struct err *err)
{
	return store_change(s, err, DEDUPE_PURGE, "si", account, before);
}

/* ---- transactions ---- */

bool store_dirty(const struct store *s)
{
	return s->open;
}

bool store_owes(const struct store *s)
{
	return !s->open && s->redo.changes.len;
}

bool store_urgent(const struct store *s)
{
	return s->open && s->urgent;
}

/* A log that is not empty has all that it may do again: done from its beginning, it must not end
 * before what the database has. */
static int end_transaction(struct store *s, struct err *err)
{
	if (s->redo.end && redo_append(s, err) < 0)
		return -1;
	if (step_once(s, COMMIT, s->stmts[COMMIT], err))
		return -1;
	s->open = s->urgent = false;
	s->ended++;
	return redo_forget(s, err);
}

int store_write(struct store *s, struct err *err)
{
	if (!s->open)
		return 0;
	int rc = s->redo.whole ? redo_append(s, err) : 1;
	if (rc > 0)
		return end_transaction(s, err);
	s->urgent &= rc < 0;
	return rc;
}

static int end(struct store *s, struct err *err)
{
	if (s->redo.changes.len && store_begin(s, err))
		return -1;
	return s->open ? end_transaction(s, err) : 0;
}

/* What synchronous=FULL does at the end of each commit, when we say so: the WAL holds everything.
 */
int store_commit(struct store *s, struct err *err)
{
	sqlite3_file *wal = NULL;

	if (end(s, err))
		return -1;
	if (s->synced == s->ended)
		return 0;
	int rc = sqlite3_file_control(s->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
	if (rc == SQLITE_OK && wal && wal->pMethods)
		rc = wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
	else
		rc = SQLITE_IOERR_FSYNC;
	if (rc != SQLITE_OK)
		return err_set(err, ERR_LOCAL, rc, "%s: cannot be made durable: %s", s->path,
			sqlite3_errstr(rc));
	s->synced = s->ended;
	return 0;
}

/* The first time the WAL's name has to be made durable, which SQLite does with the WAL. */
int store_end(struct store *s, struct err *err)
{
	return s->synced ? end(s, err) : store_commit(s, err);
}

uint64_t store_unsynced(const struct store *s)
{
	return s->synced == s->ended ? 0 : s->ended;
}

void store_synced(struct store *s, uint64_t mark)
{
	if (mark > s->synced)
		s->synced = mark;
}

void store_rollback(struct store *s)
{
	if (s->open)
		(void)step_once(
			s, ROLLBACK, s->stmts[ROLLBACK], NULL); /* an error here changes nothing */
	s->open = s->urgent = false;
	redo_rollback(&s->redo);
}

const uint8_t *store_key(const struct store *s)
{
	return s->schema.key;
}

/* ---- opening ---- */

static int set_up(struct store *s, struct clock *clock, struct rng *rng, struct err *err)
{
	if (store_schema_open(s->db, s->path, clock, rng, &s->schema, err))
		return -1;
	for (enum statement i = BEGIN; i <= ROLLBACK; i++)
		if (!store_statement(s, i))
			return store_fail(s, err, store_sql[i]);
	return 0;
}

/*
 * Whoever may put a file into the directory decides what counts as delivered, and a link there
 * would lead our writing elsewhere. SQLite itself follows none from its other files.
 */
static int check_place(const char *state_dir, const char *path, struct err *err)
{
	struct stat st;

	if (stat(state_dir, &st) || !S_ISDIR(st.st_mode))
		return err_set(err, ERR_LOCAL, ENOTDIR, "state_dir %s: %s; create it for this user",
			state_dir, stat(state_dir, &st) ? strerror(errno) : "not a directory");
	if (st.st_mode & S_IWOTH)
		return err_set(err, ERR_LOCAL, EPERM,
			"state_dir %s: others may write to it; chmod 700 it", state_dir);
	bool others = !geteuid() && st.st_uid;
	if (!lstat(path, &st) && !S_ISREG(st.st_mode))
		return err_set(err, ERR_LOCAL, ELOOP, "%s: not a regular file", path);
	/* Else SQLite would make it root's; its other files take this one's owner. */
	int fd = others ? open_private(state_dir, path) : -1;
	if (fd >= 0)
		close(fd);
	return 0;
}

int store_open(const char *state_dir, struct clock *clock, struct rng *rng, struct store **out,
	struct err *err)
{
	AUTO(strbuf_free) struct strbuf path = STRBUF_INIT;

	strbuf_addf(&path, "%s/" STORE_FILE, state_dir);
	if (check_place(state_dir, path.ptr, err))
		return -1;
	mode_t mask = umask(0077);
	struct store *s = mem_zalloc(sizeof *s);
	s->path = mem_strdup(path.ptr);
	redo_init(&s->redo);
	int rc = sqlite3_open_v2(strbuf_str(&path), &s->db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, store_wal_vfs());
	sqlite3_busy_handler(s->db, on_busy, NULL);
	if (rc != SQLITE_OK)
		store_fail(s, err, "open");
	else
		rc = set_up(s, clock, rng, err) || redo_recover(s, err);
	umask(mask);
	if (rc) {
		store_close(s);
		return -1;
	}
	*out = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	store_rollback(s);
	redo_free(&s->redo);
	for (int i = 0; i < STATEMENT_COUNT; i++)
		sqlite3_finalize(s->stmts[i]);
	sqlite3_close(s->db);
	mem_wipe(&s->schema, sizeof s->schema);
	free(s->path);
	free(s);
}
