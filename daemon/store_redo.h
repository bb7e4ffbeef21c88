/*
 * The redo log: what the open transaction has changed, in a file beside the database.
 *
 * Ending a transaction of SQLite costs locks, pages and checksums; appending a few hundred octets
 * to a file costs one write, and survives kill -9 as well. So store_write() appends here, and the
 * transaction goes on to collect the changes of the next messages. Whoever opens the state after a
 * process that died makes its changes once more.
 *
 * A power loss takes the log along, in part or whole, and may bring an old one back: one of another
 * boot counts for nothing, but that every message in the air may have been sent (store_attempt() in
 * core/store.h).
 *
 * One process, one log: state.db-redo0 and so on, the first that no living process has locked.
 */
#pragma once

#include "base/err.h"
#include "base/strbuf.h"

struct store;

struct redo {
	struct strbuf changes; /* of the open transaction, or of one that failed */
	size_t safe;           /* octets of them that are in the file */
	bool whole;            /* everything that the transaction changed is in `changes` */
	int fd, slot;          /* -1: none yet */
	uint64_t end;          /* of the file */
	int64_t first_new;     /* of the rows that the transaction has made; 0: none */
};

void redo_init(struct redo *r);
/* What is in the file stays there, for the next process. */
void redo_free(struct redo *r);
/* Whatever is not in the file yet goes there. 1: there is no log. */
int redo_append(struct store *s, struct err *err) must_check;
/* The transaction has ended: nothing is to be done again. */
int redo_forget(struct store *s, struct err *err) must_check;
/* The transaction has failed: what others rely on stays, to be done again in the next one. */
void redo_rollback(struct redo *r);
/* Does it all again, in the open transaction. */
int redo_again(struct store *s, struct err *err) must_check;
/* Does what processes that died had written, and forgets it. No transaction is open. */
int redo_recover(struct store *s, struct err *err) must_check;
