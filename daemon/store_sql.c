/*
 * The statements of the SQLite store; see store_impl.h. The tables are in store_schema.c.
 *
 * The way of a message touches one row of `message`, found by its id, and its rows of `rcpt`. What
 * people ask (TRACE) may read everything: their questions are rare, and an index for each would
 * cost every message.
 */
#include "store_impl.h"

#include <assert.h>

/* As store_history.c reads them. */
#define RECORD_COLUMNS                                                                             \
	"id, account, uid, octets, attempts, state, first_at, done_at, state_at, forgotten_at,"    \
	" retry_at, message_id, sender, relay, reason, redirect"
#define OLDEST_FORGOTTEN                                                                           \
	"SELECT id FROM message WHERE forgotten_at < ?1 ORDER BY forgotten_at, id LIMIT ?2"

const char *const store_sql[] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[MESSAGES] = "SELECT id, uid, octets, attempts, state, done_at, missing, retry_at,"
		     " deferrals, digest IS NOT NULL, boot <> ?2 FROM message"
		     " WHERE account = ?1 AND forgotten_at IS NULL",
	/* ?5: beyond each id that a transaction may have given and not kept */
	[ATTEMPT_NEW] =
		"INSERT INTO message(id, account, uid, octets, attempts, state, first_at, boot)"
		" VALUES(max(?5, (SELECT coalesce(max(id), 0) + 1 FROM message)), ?1, ?2,"
		" ?3, 1, 0, ?4, ?6)",
	[ATTEMPT_MORE] = "UPDATE message SET attempts = attempts + 1, octets = ?2 WHERE id = ?1",
	[CUT_ALL] = "UPDATE message SET boot = 'lost' WHERE boot IS NOT NULL",
	[LEFT] = "UPDATE message SET attempts = max(attempts - ?2, 0), boot = nullif(boot, ?3)"
		 " WHERE id = ?1",
	[DEFER] = "UPDATE message SET attempts = max(attempts - ?2, 0), deferrals = deferrals + 1,"
		  " retry_at = ?3, boot = nullif(boot, ?4) WHERE id = ?1",
	[RENAME] = "UPDATE message SET uid = ?2 WHERE id = ?1",
	[IDENTIFY] = "UPDATE message SET digest = ?2, message_id = ?3, sender = ?4, relay = ?5"
		     " WHERE id = ?1 AND (digest IS NULL OR digest = ?2) RETURNING redirect",
	[SAME] = "SELECT id, state, attempts, deferrals, retry_at FROM message"
		 " WHERE account = ?1 AND uid = ?2 AND digest = ?3"
		 " AND forgotten_at IS NULL AND id <> ?4 ORDER BY id LIMIT 1 OFFSET ?5",
	/* 1: DONE; 2: DELETED, which keeps the reason for it */
	[STATE] = "UPDATE message SET state = ?2, state_at = ?4,"
		  " reason = CASE WHEN ?2 = 2 THEN reason ELSE ?3 END,"
		  " done_at = CASE WHEN ?2 = 1 THEN ?4 ELSE done_at END,"
		  " boot = nullif(boot, ?5) WHERE id = ?1",
	[MISSING] = "UPDATE message SET missing = ?2 WHERE id = ?1",
	[FORGET] = "UPDATE message SET forgotten_at = ?2 WHERE id = ?1",
	[REMOVE_RCPTS] = "DELETE FROM rcpt WHERE message = ?1",
	[REMOVE] = "DELETE FROM message WHERE id = ?1",
	[PURGE_RCPTS] = "DELETE FROM rcpt WHERE message IN (" OLDEST_FORGOTTEN ")",
	[PURGE] = "DELETE FROM message WHERE id IN (" OLDEST_FORGOTTEN ")",
	[RCPTS] = "SELECT address, postmaster, outcome, code, reply, at, in_doubt FROM rcpt"
		  " WHERE message = ?1",
	[RCPT] = "INSERT INTO rcpt(message, address, postmaster, outcome, code, reply, at,"
		 " in_doubt) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8"
		 " WHERE EXISTS(SELECT 1 FROM message WHERE id = ?1) ON CONFLICT DO UPDATE SET"
		 " outcome = ?4, code = ?5, reply = ?6, at = ?7, in_doubt = ?8",
	[DEDUPE_SEEN] = "SELECT message, doubt_id FROM dedupe"
			" WHERE account = ?1 AND digest = ?2 AND recipient = ?3 AND at >= ?4",
	[DEDUPE_NOTE] = "INSERT OR REPLACE INTO dedupe(account, digest, recipient, at, message,"
			" doubt_id) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
	/* What the index is over stays: its pages need not be written for each message */
	[DEDUPE_SURE] = "UPDATE dedupe SET message = ?4, doubt_id = NULL"
			" WHERE account = ?1 AND digest = ?2 AND recipient = ?3",
	[DEDUPE_DROP] = "DELETE FROM dedupe"
			" WHERE account = ?1 AND digest = ?2 AND recipient = ?3 AND message = ?4",
	[DEDUPE_PURGE] = "DELETE FROM dedupe WHERE account = ?1 AND at < ?2",
	[QUIT_OK] = "SELECT quit_ok FROM account WHERE name = ?1",
	[SET_QUIT_OK] = "INSERT INTO account(name, quit_ok) VALUES(?1, ?2)"
			" ON CONFLICT DO UPDATE SET quit_ok = ?2",
	[PAST] = "SELECT paused, failures, auth_failures, busy, announced, learned, learned_at,"
		 " last_start, last_success, secret_mark, delivered, last_error_at, last_error"
		 " FROM account WHERE name = ?1",
	[SET_PAST] = "INSERT INTO account(name, failures, auth_failures, busy, announced, learned,"
		     " learned_at, last_start, last_success, secret_mark, delivered, last_error_at,"
		     " last_error) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
		     " ON CONFLICT DO UPDATE SET failures = ?2, auth_failures = ?3, busy = ?4,"
		     " announced = ?5, learned = ?6, learned_at = ?7, last_start = ?8,"
		     " last_success = ?9, secret_mark = ?10, delivered = ?11, last_error_at = ?12,"
		     " last_error = ?13",
	[SET_PAUSED] = "INSERT INTO account(name, paused) VALUES(?1, ?2)"
		       " ON CONFLICT DO UPDATE SET paused = ?2",
	/* 1 DONE, 3 HELD, 4 DISCARD */
	[COUNTS] = "SELECT count(*) FILTER (WHERE state = 3), count(*) FILTER (WHERE state = 1),"
		   " count(*) FILTER (WHERE state = 4)"
		   " FROM message WHERE account = ?1 AND forgotten_at IS NULL",
	[WATCH] = "SELECT recent, n, changed FROM watch WHERE account = ?1",
	[SET_WATCH] = "INSERT OR REPLACE INTO watch(account, recent, n, changed)"
		      " VALUES(?1, ?2, ?3, ?4)",
	[RELAY_ASKED] = "SELECT asked_at FROM relay WHERE name = ?1",
	[SET_RELAY_ASKED] = "INSERT OR REPLACE INTO relay(name, asked_at, takes_unknown)"
			    " VALUES(?1, ?2, ?3)",
	[ALERTED] = "SELECT value FROM meta WHERE name = 'alert/' || ?1 || '/' || ?2",
	[SET_ALERTED] = "INSERT OR REPLACE INTO meta(name, value)"
			" VALUES('alert/' || ?1 || '/' || ?2, ?3)",
	[HOUR_LIMIT] = "SELECT hour_limit, at FROM provider WHERE name = ?1",
	[SET_HOUR_LIMIT] = "INSERT OR REPLACE INTO provider(name, hour_limit, at)"
			   " VALUES(?1, ?2, ?3)",
	[LOGIN_LAST] = "SELECT max(boot_ms) FROM login WHERE account = ?1",
	[LOGIN_AGES] = "SELECT boot_ms FROM login WHERE provider = ?1"
		       " ORDER BY boot_ms DESC LIMIT ?2",
	[LOGIN_PURGE] = "DELETE FROM login WHERE provider = ?1 AND boot_ms < ?2",
	[LOGIN_TAKE] = "INSERT INTO login(provider, account, boot, boot_ms, wall_ms)"
		       " VALUES(?1, ?2, ?3, ?4, ?5)",
	[RECORD] = "SELECT " RECORD_COLUMNS " FROM message WHERE id = ?1",
	[HELD] = "SELECT " RECORD_COLUMNS " FROM message"
		 " WHERE state = 3 AND forgotten_at IS NULL ORDER BY id",
	[TRACE] = "SELECT " RECORD_COLUMNS " FROM message WHERE uid = ?1"
		  " OR message_id IN (?1, '<' || ?1 || '>') OR sender = ?1 COLLATE NOCASE"
		  " OR id IN (SELECT message FROM rcpt WHERE address = ?1"
		  " OR (length(?1) >= ?2 AND instr(reply, ?1))) ORDER BY id DESC LIMIT ?3",
	[RELEASE] = "UPDATE message SET state = 0, state_at = ?3, attempts = 0, deferrals = 0,"
		    " retry_at = 0, reason = NULL, redirect = ?2"
		    " WHERE id = ?1 AND state = 3 AND forgotten_at IS NULL",
	/* 1 DOT and 8 AGAIN: the relay may have it; 3 LATER, 4 UNKNOWN, 5 REJECTED: it has not */
	[RELEASE_RCPTS] = "UPDATE rcpt SET outcome = CASE WHEN outcome IN (1, 8) THEN 8 ELSE 0 END"
			  " WHERE message = ?1 AND outcome IN (1, 3, 4, 5, 8)",
	[DISCARD] =
		"UPDATE message SET state = 4, state_at = ?2, redirect = NULL,"
		" reason = 'discarded by an administrator; it was held: ' || coalesce(reason, '')"
		" WHERE id = ?1 AND state = 3 AND forgotten_at IS NULL",
	[ADOPT] = "INSERT INTO message(account, uid, octets, attempts, state, first_at, done_at,"
		  " state_at, reason) VALUES(?1, ?2, ?3, 0, 1, ?4, ?4, ?4,"
		  " 'adopted: taken as delivered, never fetched')",
};
static_assert(ARRAY_LEN(store_sql) == STATEMENT_COUNT, "one text per statement");
