/*
 * What people ask and decide: held messages, the history behind `trace`, adopting a maildrop.
 *
 * A message leaves its row behind when it is forgotten: out of the way of the UID lookups (a
 * partial index), found by store_trace() until store_purge() ends it, in small portions.
 */
#include "store_impl.h"

static const char *text(sqlite3_stmt *st, int i)
{
	return (const char *)sqlite3_column_text(st, i);
}

/* The columns are RECORD_COLUMNS of store_sql.c. */
static int read_records(
	struct store *s, sqlite3_stmt *st, store_record_fn *fn, void *ctx, struct err *err)
{
	int rc;

	while ((rc = store_step(st)) == SQLITE_ROW) {
		struct stored_record r = {
			.id = sqlite3_column_int64(st, 0),
			.account = text(st, 1),
			.uid = text(st, 2),
			.octets = (uint64_t)sqlite3_column_int64(st, 3),
			.attempts = (uint32_t)sqlite3_column_int(st, 4),
			.state = (enum message_state)sqlite3_column_int(st, 5),
			.first_at = sqlite3_column_int64(st, 6),
			.done_at = sqlite3_column_int64(st, 7),
			.state_at = sqlite3_column_int64(st, 8),
			.forgotten_at = sqlite3_column_int64(st, 9),
			.retry_at = sqlite3_column_int64(st, 10),
			.message_id = text(st, 11),
			.sender = text(st, 12),
			.relay = text(st, 13),
			.reason = text(st, 14),
			.redirect = text(st, 15),
		};
		if (fn(ctx, &r))
			break;
	}
	sqlite3_reset(st);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : store_fail(s, err, "reading messages");
}

int store_record(struct store *s, int64_t id, store_record_fn *fn, void *ctx, struct err *err)
{
	return read_records(s, store_query(s, RECORD, "i", id), fn, ctx, err);
}

int store_held(struct store *s, store_record_fn *fn, void *ctx, struct err *err)
{
	return read_records(s, store_query(s, HELD, ""), fn, ctx, err);
}

int store_trace(struct store *s, const char *pattern, uint32_t max, store_record_fn *fn, void *ctx,
	struct err *err)
{
	sqlite3_stmt *st =
		store_query(s, TRACE, "tii", pattern, (int64_t)STORE_TRACE_REPLY_MIN, (int64_t)max);

	return read_records(s, st, fn, ctx, err);
}

int store_release(struct store *s, int64_t id, const char *redirect, wall_t now, struct err *err)
{
	if (store_change(s, err, RELEASE, "isi", id, redirect, now))
		return -1;
	if (!sqlite3_changes(s->db))
		return 1;
	return store_change(s, err, RELEASE_RCPTS, "i", id);
}

int store_discard(struct store *s, int64_t id, wall_t now, struct err *err)
{
	if (store_change(s, err, DISCARD, "ii", id, now))
		return -1;
	return sqlite3_changes(s->db) ? 0 : 1;
}

int store_adopt(struct store *s, const char *account, const char *uid, uint64_t octets, wall_t now,
	struct err *err)
{
	return store_change(s, err, ADOPT, "ssii", account, uid, (int64_t)octets, now);
}

int store_purge(struct store *s, wall_t before, uint32_t max, struct err *err)
{
	if (store_change(s, err, PURGE_RCPTS, "ii", before, (int64_t)max))
		return -1;
	return store_change(s, err, PURGE, "ii", before, (int64_t)max);
}
