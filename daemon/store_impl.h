/*
 * The inside of the SQLite store, for daemon/store_*.c only.
 *
 * store_sqlite   messages, recipients; transactions, opening
 * store_account  accounts, relays, logins
 * store_change   a change as octets: how it is made, and made again
 * store_redo     the redo log of them
 * store_history  what people ask and decide: held messages, trace, adopt
 * store_sql      the text of every statement
 */
#pragma once

#include "store_redo.h"
#include "store_schema.h"
#include "store_sqlite.h"

#include <stdarg.h>

/* A text of a message that is only there to be found and shown is cut here. */
#define STORE_TEXT_OCTETS 512

enum statement {
	BEGIN, /* these three are prepared when the database is opened */
	COMMIT,
	ROLLBACK,
	MESSAGES,
	ATTEMPT_NEW,
	ATTEMPT_MORE,
	CUT_ALL,
	LEFT,
	DEFER,
	RENAME,
	IDENTIFY,
	SAME,
	STATE,
	MISSING,
	FORGET,
	REMOVE_RCPTS,
	REMOVE,
	PURGE_RCPTS,
	PURGE,
	RCPTS,
	RCPT,
	DEDUPE_SEEN,
	DEDUPE_NOTE,
	DEDUPE_SURE,
	DEDUPE_DROP,
	DEDUPE_PURGE,
	QUIT_OK,
	SET_QUIT_OK,
	PAST,
	SET_PAST,
	SET_PAUSED,
	COUNTS,
	WATCH,
	SET_WATCH,
	RELAY_ASKED,
	SET_RELAY_ASKED,
	ALERTED,
	SET_ALERTED,
	HOUR_LIMIT,
	SET_HOUR_LIMIT,
	LOGIN_LAST,
	LOGIN_AGES,
	LOGIN_PURGE,
	LOGIN_TAKE,
	RECORD,
	HELD,
	TRACE,
	RELEASE,
	RELEASE_RCPTS,
	DISCARD,
	ADOPT,
	STATEMENT_COUNT
};
extern const char *const store_sql[STATEMENT_COUNT];

struct store {
	sqlite3 *db;
	sqlite3_stmt *stmts[STATEMENT_COUNT];
	struct redo redo;
	bool open;       /* a transaction is open */
	bool urgent;     /* see store_urgent() */
	int64_t next_id; /* of a message: the id of one that was rolled back is never another's */
	/* Transactions that were ended; and so many of them the disk has. */
	uint64_t ended, synced;
	char *path;
	struct store_schema schema;
};

int store_fail(struct store *s, struct err *err, const char *what); /* fills *err; -1 */
/*
 * Values by format: i int64, s string (NULL stays NULL), t string that is cut at STORE_TEXT_OCTETS,
 * d digest. A query is the caller's to step and reset; one that cannot be prepared is NULL, and
 * fails at its first step like any other. A change is part of the open transaction, which it opens
 * if need be, and is done on return.
 */
sqlite3_stmt *store_query(struct store *s, enum statement which, const char *fmt, ...);
int store_step(sqlite3_stmt *st); /* what sqlite3_step() says */
int store_change(struct store *s, struct err *err, enum statement which, const char *fmt, ...)
	must_check;
/* What it says is true whatever becomes of the transaction. */
int store_fact(struct store *s, struct err *err, enum statement which, const char *fmt, ...)
	must_check;
int store_begin(struct store *s, struct err *err) must_check;
sqlite3_stmt *store_statement(struct store *s, enum statement which); /* NULL: see sqlite3_errmsg */

/* ---- a change as octets ---- */

void store_change_encode(
	struct strbuf *out, bool fact, enum statement which, const char *fmt, va_list ap);
/* Is it one of those that may be made again, from the redo log? */
bool store_change_is_redone(enum statement which);
bool store_change_next(struct strview *rest, struct strview *change); /* false: none is left */
bool store_change_is_fact(struct strview change);
int64_t store_change_row(struct strview change); /* that its first value names; 0: none */
/* 1: a statement that this program does not have. */
int store_change_do(struct store *s, struct strview change, struct err *err) must_check;
