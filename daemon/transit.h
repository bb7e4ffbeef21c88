/*
 * One message on its way: from the RETR that asks for it to the outcome of its last recipient.
 *
 * Order, for the sake of "never lost, hardly ever twice": its attempt is durable before RETR; a
 * recipient's dot record is written before the final dot, and durable unless the attempt stands for
 * it; the outcome is durable before the maildrop hears of it (and may DELE).
 */
#pragma once

#include "core/delivery.h"
#include "fetch.h"
#include "mail/header.h"
#include "mail/resolve.h"

enum transit_state {
	TRANSIT_QUEUED, /* the attempt waits for its commit */
	TRANSIT_ASKED,  /* RETR is sent */
	TRANSIT_RECEIVING,
	TRANSIT_PARKED, /* the same content is on its way to one of its recipients: wait for that */
	TRANSIT_DELIVERING, /* jobs are with the relay */
	TRANSIT_SETTLED     /* waits for the commit of its outcome */
};

struct transit {
	struct fetch *fetch;
	uint32_t number;
	int64_t row;
	uint32_t attempts, deferrals;
	uint64_t listed_octets;
	uint64_t
		dropped; /* octets that could not be kept, as the spool has failed; 0: it has not */
	enum transit_state state;
	bool verify;      /* compare by content first */
	bool cut;         /* the machine went down in its first attempt; see stored_message */
	bool durable_dot; /* its dots wait for the disk; see store_attempt() */
	bool truncated;   /* delivered although it came shorter than listed: the original stays */
	bool give_up;     /* no further transaction in this cycle */
	bool own_alert;   /* a mail to people that this installation has sent, and that came back */
	bool broke;       /* the connection was lost while the relay took its content */
	enum item_state settle_as;
	struct spool *spool;
	struct header header;
	struct resolution resolution;
	struct delivery delivery;
	char *message_id;
	char *client_name, *client_ip; /* who handed it to the provider; NULL: not known */
	char *redirect;                /* an administrator's word where it goes, or NULL */
	char *uid;   /* without UIDL: "sha256:" and the digest, once it is known; else NULL */
	char id[64]; /* X-Multidrop-Id */
	uint8_t content[STORE_DIGEST_OCTETS]; /* without trace and envelope lines, for `dedupe` */
	unsigned jobs, tries;
	TAILQ_HEAD(, delivery_job) in_flight;
	struct step attempted, settled;
	TAILQ_ENTRY(transit) entry;
};

/* first: as for store_attempt(). */
struct transit *transit_new(struct fetch *f, uint32_t number, const struct item *item, bool first);
void transit_free(struct transit *t);

/* True: larger than max_size. What the disk has no room for is left: others may be smaller. */
bool transit_data(struct transit *t, struct strview data) must_check;
void transit_received(struct transit *t);                      /* complete: decides, delivers */
void transit_refused(struct transit *t, struct strview reply); /* -ERR to RETR */
void transit_oversize(struct transit *t);                      /* recorded as held; settles */
/* The session ended before the message was complete. charged: it may be the message's fault. */
void transit_abort(struct transit *t, bool charged);

/* ---- the ends of a message, for transit.c and deliver.c ---- */

void transit_note(struct transit *t, struct log_entry *e);  /* logs with the message's fields */
void transit_settle(struct transit *t, enum item_state as); /* after the commit, once */
void transit_leave(
	struct transit *t, bool uncharge); /* for a later cycle; uncharge: not its fault */
/* With a growing pause. charged: it may be the message's fault. */
void transit_defer(struct transit *t, bool charged);
void transit_hold(struct transit *t, const char *reason); /* for a person */
void transit_done(struct transit *t);
/* The state could not be changed: nothing of this cycle may be deleted any more. */
void transit_failed(struct transit *t, const struct err *err);
