/*
 * One message on its way to its recipients: which transaction is next, and what the outcomes mean.
 *
 * The policy of failures stands here and nowhere else: `unknown`, `rejected`, `in_doubt`, the
 * postmaster who stands in, and when a message is done, deferred or held. A final outcome of one
 * recipient is never touched again: a 4xx of a second one never sends the first a second copy.
 */
#pragma once

#include "core/config.h"
#include "core/store.h"

struct delivery_rcpt {
	char *address;
	bool postmaster; /* stands in for recipients that could not be served: gets the reason on
			    top */
	bool in_doubt;   /* a dot for it in an earlier cycle was not answered; sticks, since
			    no later answer says what became of that copy */
	bool in_flight;
	bool changed; /* decided in this cycle, not read from the state */
	enum outcome outcome;
	int code;
	char *reply;
};

struct delivery {
	const struct conf_account *account;
	struct delivery_rcpt *rcpts;
	size_t n, cap;
	char *reason;        /* for the postmaster and for HELD; NULL: none */
	bool redirected;     /* rcpts[0] is a person's word, whatever was sent to others */
	bool stand_in_doubt; /* an earlier stand-in may have a copy; see delivery_rcpt.in_doubt */
};

enum delivery_verdict {
	DELIVERY_MORE,  /* transactions are to be made, or under way */
	DELIVERY_DONE,  /* every recipient has a final outcome that needs nobody's decision */
	DELIVERY_DEFER, /* somebody has to be tried again in a later cycle */
	DELIVERY_HOLD   /* a person has to decide: reason says why */
};

/*
 * How long a message waits that the relay wanted later, for the n-th time (from 1): the next two
 * cycles try again, then the pause doubles from a minute to an hour.
 */
msec_t delivery_backoff(uint32_t deferrals);

void delivery_init(struct delivery *d, const struct conf_account *account);
void delivery_free(struct delivery *d);
/* A recipient that the resolver found; unknown: recipients_file does not have it. */
void delivery_add(struct delivery *d, const char *address, bool unknown);
/* An administrator's word where it goes; instead of delivery_add(). */
void delivery_redirect(struct delivery *d, const char *address);
/* The resolver found nobody: the postmaster gets it with the reason. */
void delivery_add_postmaster(struct delivery *d, const char *reason);
/* What an earlier cycle recorded; call after the adds. A recorded DOT is in doubt now. */
void delivery_recorded(struct delivery *d, const struct stored_rcpt *r);
/* The relay may have a copy for this recipient that came in on another way; as a recorded DOT. */
void delivery_doubt(struct delivery *d, size_t index);
/*
 * The next transaction: indices of recipients that may share one (same content on top), at most
 * max. They are in flight until delivery_result(). 0: nothing to send now.
 */
size_t delivery_next(struct delivery *d, size_t *indices, size_t max);
/* OUTCOME_PENDING: not tried, nobody's fault, may go again at once. */
void delivery_result(
	struct delivery *d, size_t index, enum outcome outcome, int code, const char *reply);
/* Did the answer to a dot get lost in this cycle? That is a failed attempt, not a deferral. */
bool delivery_lost_answer(const struct delivery *d);
/* Applies the policies to what is known so far; may add the postmaster. */
enum delivery_verdict delivery_verdict(struct delivery *d);
