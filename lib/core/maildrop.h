/*
 * One session's view of a maildrop: what is listed, what of it is wanted, and what may be deleted.
 *
 * THE ONLY FILE THAT MAY DELETE MAIL AT THE PROVIDER is maildrop.c: a DELE is sent only for a
 * number that maildrop_next_delete() hands out, and that is only a message whose row is DONE and
 * durable.
 *
 * A known UID alone is no identity (RFC 1939 lets servers reuse it, some let the sender choose it):
 * a message whose LIST size differs from the recorded one, whose UID is listed or recorded more
 * than once, or that was deleted already, is retrieved and compared by content before anything
 * happens to it.
 *
 * Filled in three steps: maildrop_new (STAT), maildrop_uid and maildrop_size for each (UIDL, LIST),
 * then maildrop_row for each stored row and maildrop_plan. About 60 octets and its UID per message.
 */
#pragma once

#include "core/config.h"
#include "core/store.h"

/* A message that failed so often is held; those behind it go on. */
#define MAILDROP_ATTEMPTS_MAX  10
#define MAILDROP_ATTEMPTS_TEXT "10"
/* Listings that must miss a message before its row is forgotten. */
#define MAILDROP_MISSING_MAX 2
/* Without UIDL: so many are delivered, then QUIT makes that stick before the next ones. */
#define MAILDROP_BATCH 20
/* A deferral may lie this far ahead; what lies further is a clock that went back. */
#define MAILDROP_DEFER_MAX_MSEC (60 * 60 * 1000)
/* Cycles in which a message that came shorter than listed is left alone. */
#define MAILDROP_TRUNCATED_CYCLES 3

enum item_state {
	ITEM_UNUSABLE, /* listed without a UID that can be kept: left alone */
	ITEM_WANTED,   /* to be retrieved */
	ITEM_VERIFY,   /* to be retrieved and compared with what is recorded */
	ITEM_FETCHING, /* RETR is under way, or it is being delivered */
	ITEM_DONE,     /* delivered, durably */
	ITEM_DELETING, /* DELE sent */
	ITEM_GONE,     /* DELE answered +OK: counts at QUIT */
	ITEM_LEFT,     /* stays for a later cycle */
	ITEM_HELD      /* stays for a person */
};

struct item {
	int64_t row; /* 0: none yet */
	uint64_t octets;
	wall_t done_at;
	wall_t retry_at; /* deferred: not before */
	int64_t probe;   /* row of earlier attempts whose content nobody has seen; 0: none */
	uint32_t uid;    /* offset into maildrop.uids */
	uint32_t attempts, deferrals, probe_attempts;
	uint8_t state;    /* enum item_state */
	uint8_t nrows;    /* recorded rows of this UID; 2: two or more */
	uint8_t recorded; /* enum message_state of the row */
	bool verify;      /* compare the content before it is delivered */
	bool discard;     /* DONE, and a person said that it goes, whatever `keep` says */
	bool size_differs;
	bool probe_held; /* `probe` waits for a person */
	bool cut;        /* see stored_message; a row of its UID is */
	bool retrieved;  /* in this session */
};

struct maildrop {
	const struct conf_account *account;
	struct item *items; /* [0] is message number 1 */
	uint32_t n;
	struct strbuf uids; /* NUL-terminated strings */
	uint32_t *order;    /* item indices sorted by UID */
	struct absent {
		int64_t row;
		uint32_t missing;
	} * absent; /* recorded, but not listed */
	size_t nabsent, cap_absent;
	uint32_t next_wanted, next_delete; /* cursors */
	uint32_t round;              /* of next_wanted: messages with so many failed attempts */
	uint32_t wanted, held, left; /* counts after the plan */
	bool delete_only; /* the server may drop what is retrieved: clean up first, retrieve next
			     time */
	bool retr_deletes;
	bool no_uidl; /* the server has no UIDL: the content is the identity */
};

/* Does a message wait for its next try? */
bool maildrop_deferred(wall_t retry_at, wall_t now);
void maildrop_init(struct maildrop *m, const struct conf_account *account, bool retr_deletes);
void maildrop_free(struct maildrop *m);
void maildrop_count(struct maildrop *m, uint32_t count);
void maildrop_uid(struct maildrop *m, uint32_t number, struct strview uid);
void maildrop_size(struct maildrop *m, uint32_t number, uint64_t octets);
/*
 * The server has no UIDL. Messages are named by number and size until their content is known (so
 * that one that fails again and again is found out), and each is compared by content. After LIST.
 */
void maildrop_without_uidl(struct maildrop *m);
/* After the last UID and before the first row. */
void maildrop_listed(struct maildrop *m);
void maildrop_row(struct maildrop *m, const struct stored_message *row);
/* After the last row: nothing is known of the message, and no other shares its UID. */
bool maildrop_may_adopt(const struct maildrop *m, uint32_t number);
/* Does another message of this UID stand for that row already? */
bool maildrop_claimed(const struct maildrop *m, uint32_t number, int64_t row);
void maildrop_plan(struct maildrop *m, wall_t now); /* decides for every message */

struct item *maildrop_item(struct maildrop *m, uint32_t number);
const char *maildrop_item_uid(const struct maildrop *m, uint32_t number);

/*
 * The next message to retrieve, oldest (lowest number) first; 0: none. It is FETCHING from then on.
 * Messages that have failed come last, those with the fewest attempts first: none waits for one
 * that kills the process.
 */
uint32_t maildrop_next_wanted(struct maildrop *m);
/* The octets of the next one without taking it; 0: none left. */
uint64_t maildrop_peek_wanted(struct maildrop *m);
/* Has the next one failed before? It is to be retrieved alone: its neighbours would be charged. */
bool maildrop_peek_suspect(struct maildrop *m);

/* Held by the plan (larger than max_size, too many attempts), and not yet recorded as such. */
bool maildrop_newly_held(const struct maildrop *m, uint32_t number);

/* How a retrieved message ended. `done` only after its outcome is durable. */
void maildrop_done(struct maildrop *m, uint32_t number, wall_t done_at);
void maildrop_left(struct maildrop *m, uint32_t number);
void maildrop_held(struct maildrop *m, uint32_t number);

/* The next message that may be deleted now; 0: none. It is DELETING from then on. */
uint32_t maildrop_next_delete(struct maildrop *m, wall_t now);
void maildrop_deleted(struct maildrop *m, uint32_t number, bool ok);

/*
 * May this session end with QUIT? Not when the server drops what was retrieved and something
 * retrieved is not delivered (RFC 2449 EXPIRE 0): then the connection is dropped, and DELEs count
 * next time.
 */
bool maildrop_may_quit(const struct maildrop *m);
