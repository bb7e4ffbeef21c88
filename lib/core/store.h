/*
 * The state that outlives the process: what became of each message, who logged in when.
 *
 * An interface without SQL: daemon/store_sqlite.c is the first backend. Changes collect in one open
 * transaction; nothing counts before store_commit() has returned 0 or store_synced() was told. The
 * caller orders its life by that:
 *
 *	attempt durable before RETR; dot record written before the final dot; outcome durable before
 *DELE.
 *
 * Every function returns 0, or -1 with *err filled (class LOCAL); what was not committed is then
 *gone after store_rollback(). Strings go in borrowed and come out borrowed for the call they are
 *given to.
 */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "base/rate.h"
#include "core/sched.h"
#include "core/watch.h"

#define STORE_DIGEST_OCTETS 32

/* How a message stands. Stored as numbers: never renumber. */
enum message_state {
	MESSAGE_NEW = 0,     /* not every recipient has a final outcome: to be fetched */
	MESSAGE_DONE = 1,    /* all final: may be deleted at the provider as `keep` says */
	MESSAGE_DELETED = 2, /* QUIT confirmed its DELE */
	MESSAGE_HELD = 3,    /* waits for a person; not fetched again */
	MESSAGE_DISCARD =
		4 /* a person said so: to be deleted at the provider whatever `keep` says */
};

/* How one recipient of a message stands. Stored as numbers: never renumber. */
enum outcome {
	OUTCOME_PENDING = 0,
	OUTCOME_DOT =
		1, /* a final dot is about to be sent, or was: without a later record, in doubt */
	OUTCOME_ACCEPTED = 2,   /* final: the relay has it */
	OUTCOME_LATER = 3,      /* 4xx: again in a later cycle */
	OUTCOME_UNKNOWN = 4,    /* final: 5xx at RCPT */
	OUTCOME_REJECTED = 5,   /* final: 5xx at MAIL, DATA or the dot */
	OUTCOME_SUPPRESSED = 6, /* final: this recipient had the same content within `dedupe` */
	OUTCOME_DISCARDED = 7,  /* final: policy said so */
	OUTCOME_AGAIN = 8       /* was in doubt; a person said: send it again */
};
const char *outcome_name(enum outcome o);

struct stored_message {
	int64_t id;
	const char *uid;
	uint64_t octets; /* LIST size when it was first fetched */
	uint32_t attempts;
	enum message_state state;
	wall_t done_at;  /* when it became DONE */
	wall_t retry_at; /* deferred: not before; 0: any time */
	uint32_t deferrals;
	bool digest;      /* its content was seen: it is not only an attempt */
	uint32_t missing; /* complete listings in a row without it */
	bool cut;         /* its first attempt ended with the machine: see store_attempt() */
};

struct stored_rcpt {
	const char *address;
	bool postmaster; /* stands in for the real recipients */
	enum outcome outcome;
	int code;
	const char *reply;
	wall_t at;     /* when it was recorded; store_rcpt() does not look at it */
	bool in_doubt; /* whatever the outcome: an earlier dot was never answered */
};

struct store;

/* All messages of an account, in no order; fn returns 0 to go on. */
typedef int store_message_fn(void *ctx, const struct stored_message *m);
int store_messages(struct store *s, const char *account, store_message_fn *fn, void *ctx,
	struct err *err) must_check;

/*
 * A message is going to be retrieved: a new row (id 0 on entry, *id set) or one attempt more.
 * first: its final dots may go out before their records are durable (written they are). Should the
 * machine go down before its end is recorded, it is `cut` from then on: anybody may have it.
 */
int store_attempt(struct store *s, const char *account, const char *uid, uint64_t octets,
	bool first, wall_t now, int64_t *id, struct err *err) must_check;
/* Can that be found out? Else no dot may go out before its record is durable. */
bool store_knows_cuts(const struct store *s);
/* The attempt ended in good order. charged: it counts, it may have been the message's fault. */
int store_left(struct store *s, int64_t id, bool charged, struct err *err) must_check;
/* One deferral more, not before retry_at. charged: it may be the message's fault. */
int store_defer(struct store *s, int64_t id, bool charged, wall_t retry_at, struct err *err)
	must_check;
/* Without UIDL a message gets its name only when its content is known. */
int store_rename(struct store *s, int64_t id, const char *uid, struct err *err) must_check;
/* What a message is known by, from its content and its way; NULL: it has none. */
struct message_identity {
	const uint8_t *digest; /* STORE_DIGEST_OCTETS */
	const char *message_id, *sender, *relay;
};
/*
 * 1: the row has another digest already, so it is of another message; nothing was changed.
 * *redirect: an administrator's word where this message goes, the caller's to free; NULL: none.
 */
int store_identify(struct store *s, int64_t id, const struct message_identity *what,
	char **redirect, struct err *err) must_check;
/*
 * Another row of the same UID and content: its id (0: none), state, attempts and deferrals; nth
 * chooses the first (0), second, ... such row, so that identical copies are told apart by number.
 */
int store_same(struct store *s, const char *account, int64_t except, const char *uid,
	const uint8_t digest[STORE_DIGEST_OCTETS], uint32_t nth, struct stored_message *found,
	struct err *err) must_check;
/* reason: for HELD, else NULL. now becomes done_at for DONE. */
int store_state(struct store *s, int64_t id, enum message_state state, const char *reason,
	wall_t now, struct err *err) must_check;
int store_missing(struct store *s, int64_t id, uint32_t listings, struct err *err) must_check;
/* It is gone from the provider's server: history from now on, and its UID counts no more. */
int store_forget(struct store *s, int64_t id, wall_t now, struct err *err) must_check;
/* The row was only an attempt, and its message has another: it leaves no history. */
int store_remove(struct store *s, int64_t id, struct err *err) must_check;
/* Ends the history of at most `max` messages, the oldest, that were forgotten before `before`. */
int store_purge(struct store *s, wall_t before, uint32_t max, struct err *err) must_check;

typedef int store_rcpt_fn(void *ctx, const struct stored_rcpt *r);
int store_rcpts(struct store *s, int64_t id, store_rcpt_fn *fn, void *ctx, struct err *err)
	must_check;
/*
 * The answer to a final dot is a fact that no rollback undoes, nor is a DOT that was written one:
 * if the transaction fails, they are kept in memory and go into the next one; store_commit() fails
 * until that has succeeded.
 */
int store_rcpt(struct store *s, int64_t id, const struct stored_rcpt *r, wall_t now,
	struct err *err) must_check;

/*
 * Notes of who was sent which content. One is made before the final dot, with the X-Multidrop-Id
 * under which the relay may have it then; again without, when the relay has accepted it, which
 * leaves its time as it was; and it is dropped when the relay has not.
 */
struct dedupe_note {
	int64_t message;   /* its row; 0: nothing seen */
	char doubt_id[64]; /* "": the recipient has it */
};
int store_dedupe_seen(struct store *s, const char *account, const char *recipient,
	const uint8_t digest[STORE_DIGEST_OCTETS], wall_t since, struct dedupe_note *seen,
	struct err *err) must_check;
int store_dedupe_note(struct store *s, const char *account, const char *recipient,
	const uint8_t digest[STORE_DIGEST_OCTETS], const struct dedupe_note *note, wall_t now,
	struct err *err) must_check;
int store_dedupe_drop(struct store *s, const char *account, const char *recipient,
	const uint8_t digest[STORE_DIGEST_OCTETS], int64_t message, struct err *err) must_check;
/* Notes older than `before` are of no use any more. */
int store_dedupe_purge(struct store *s, const char *account, wall_t before, struct err *err)
	must_check;

/* ---- what people ask and decide ---- */

/* All that is known of a message. */
struct stored_record {
	int64_t id;
	const char *account, *uid;
	uint64_t octets;
	uint32_t attempts;
	enum message_state state;
	wall_t first_at, done_at; /* first attempt; became DONE (0: never) */
	wall_t state_at;          /* when it got its state; 0: at first_at */
	wall_t forgotten_at;      /* 0: it is on the provider's server, as far as we know */
	wall_t retry_at;
	const char *message_id, *sender, *relay; /* NULL: it was not retrieved yet, or has none */
	const char *reason, *redirect;           /* or NULL */
};
typedef int store_record_fn(void *ctx, const struct stored_record *r);

/* History lasts so long after a message has left the provider's server. */
#define STORE_HISTORY_MSEC (30LL * 24 * 60 * 60 * 1000)
/* A trace pattern of so many octets is looked for inside the relays' replies too. */
#define STORE_TRACE_REPLY_MIN 5

int store_record(struct store *s, int64_t id, store_record_fn *fn, void *ctx, struct err *err)
	must_check; /* fn is not called when there is none */
int store_held(struct store *s, store_record_fn *fn, void *ctx, struct err *err) must_check;
/*
 * Newest first, at most `max`: messages with this Message-ID (with or without <>), recipient,
 * sender or UID, or with a reply that contains it (a queue id does).
 */
int store_trace(struct store *s, const char *pattern, uint32_t max, store_record_fn *fn, void *ctx,
	struct err *err) must_check;

/*
 * A held message is tried again from the beginning; who has it does not get it again. redirect:
 * only this address gets it, whatever the header says; NULL: who it is for. 1: it is not held.
 */
int store_release(struct store *s, int64_t id, const char *redirect, wall_t now, struct err *err)
	must_check;
int store_discard(struct store *s, int64_t id, wall_t now, struct err *err) must_check; /* 1: as
	above */
/* A message on the server that somebody else has fetched: DONE without an attempt. */
int store_adopt(struct store *s, const char *account, const char *uid, uint64_t octets, wall_t now,
	struct err *err) must_check;

/* What core/watch.h remembers of an account; zero when nothing is known. */
int store_watch(struct store *s, const char *account, struct watch *w, struct err *err) must_check;
int store_set_watch(struct store *s, const char *account, const struct watch *w, struct err *err)
	must_check;

/* When was a relay last asked for an address that cannot exist (0: never)? And its answer. */
int store_relay_asked(struct store *s, const char *relay, wall_t *at, struct err *err) must_check;
int store_set_relay_asked(
	struct store *s, const char *relay, wall_t at, bool taken, struct err *err) must_check;

/* When was people's mail of this kind about this account or relay sent last (0: never)? */
int store_alerted(struct store *s, const char *kind, const char *name, wall_t *at, struct err *err)
	must_check;
int store_set_alerted(
	struct store *s, const char *kind, const char *name, wall_t at, struct err *err) must_check;

/* What of an account outlives the process, besides its messages. Zero when nothing is known. */
struct account_past {
	struct sched_kept sched;
	uint32_t secret_mark; /* of the password that was refused: a few bits, to see that it
				 changed */
	uint64_t delivered;   /* to recipients, ever */
	wall_t last_error_at; /* 0: never */
	char last_error[400];
};
int store_past(struct store *s, const char *account, struct account_past *past, struct err *err)
	must_check;
/* All of it but sched.paused, which belongs to people. */
int store_set_past(struct store *s, const char *account, const struct account_past *past,
	struct err *err) must_check;
int store_set_paused(struct store *s, const char *account, bool paused, struct err *err) must_check;
/* An account's messages at the provider, by what they wait for. */
struct message_counts {
	uint64_t held; /* for a person */
	uint64_t done; /* for the end of `keep` */
	uint64_t discard;
};
int store_counts(struct store *s, const char *account, struct message_counts *out, struct err *err)
	must_check;

/* Did this account's last session end with a confirmed QUIT? */
int store_quit_ok(struct store *s, const char *account, bool *ok, struct err *err) must_check;
int store_set_quit_ok(struct store *s, const char *account, bool ok, struct err *err) must_check;

struct login_permit {
	msec_t wait_ms; /* 0: taken and durable; else it was not taken: so long until one may be */
	bool limited; /* it is the provider's limit that makes us wait, not the account's spacing */
};
/* One permit, across processes, in a transaction of its own (what is open is committed first). */
int store_login(struct store *s, const char *provider, const char *account,
	const struct rate_rule *rule, struct clock *clock, struct login_permit *out,
	struct err *err) must_check;

/* A limit that a provider was found to have and did not tell: logins an hour; 0: none. */
int store_hour_limit(struct store *s, const char *provider, uint32_t *limit, wall_t *at,
	struct err *err) must_check;
int store_set_hour_limit(struct store *s, const char *provider, uint32_t limit, wall_t at,
	struct err *err) must_check;

/* Logins of a provider within the last `within` ms; and when the next may be, 0: now. */
int store_logins(struct store *s, const char *provider, const struct rate_rule *rule,
	struct clock *clock, msec_t within, uint32_t *n, msec_t *wait, struct err *err) must_check;

/* 16 octets, for life: the key of X-Multidrop-Id. */
const uint8_t *store_key(const struct store *s);

/*
 * Two strengths of "stored". store_write makes what was changed survive the death of the process
 * (kill -9); the transaction may stay open, and costs no wait for the disk. store_commit ends it,
 * and makes all survive the death of the machine too: it is what "durable" means everywhere else.
 */
bool store_dirty(const struct store *s); /* a transaction is open: nobody else can write */
/* A transaction has failed, and what is true all the same waits for the next one. */
bool store_owes(const struct store *s);
/* And something in it that a dead process must not forget. What identifies a message may: it is
 * found out again. */
bool store_urgent(const struct store *s);
int store_write(struct store *s, struct err *err) must_check;
int store_commit(struct store *s, struct err *err) must_check;
/*
 * Or in two steps, for who can wait for the disk elsewhere: store_end ends the transaction. What is
 * then not durable has a mark (0: all is), to be given back when the disk has the WAL as it was
 * when the mark was asked for.
 */
int store_end(struct store *s, struct err *err) must_check;
uint64_t store_unsynced(const struct store *s);
void store_synced(struct store *s, uint64_t mark);
void store_rollback(struct store *s);
