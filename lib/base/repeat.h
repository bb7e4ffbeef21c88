/*
 * Failures that repeat are counted, not repeated: which entries of the log are written, and when
 * the others are summed up. Time is an argument.
 *
 * Only events that log_event_counted() names are touched: what a server, a disk or another process
 * does to us, never what became of a message. Two of them are the same when event, account, relay
 * and class of error agree, and the rest says the same but for its digits. The first is written at
 * once; what follows within REPEAT_MSEC is counted, and the count comes as one entry. A different
 * text is news and written, up to REPEAT_BURST in that time: a server that makes up a new one each
 * time gets no further. A cycle that succeeds ends what its account has, a relay that comes up or
 * goes down what that relay has: the next failure is news again.
 *
 * That a relay comes up or goes down is no failure but always news. Only beyond REPEAT_BURST in
 * REPEAT_CHANGE_MSEC is it counted, and then the sum is there within minutes and ends with how the
 * relay is now: whoever looks at the log knows that at any time.
 */
#pragma once

#include "base/clock.h"
#include "base/log.h"

#include <stdbool.h>

#define REPEAT_MSEC        (60 * 60 * (msec_t)1000)
#define REPEAT_CHANGE_MSEC (5 * 60 * (msec_t)1000) /* in place of it for relay.up, relay.down */
#define REPEAT_BURST       10                      /* lines of one event and subject in that time */
#define REPEAT_SLOTS       2048 /* subjects remembered; beyond that all is written */

struct repeat_slot;
struct repeat { /* { 0 } is an empty one */
	struct repeat_slot *slots;
	size_t n, cap;
};

struct repeat_summary {
	struct log_entry entry; /* of the latest one counted; strings are the slot's */
	enum log_level level;
	msec_t age; /* since the line that was written last */
};

/* True: the entry is to be written. Summaries that are due go before it, so take them first. */
bool repeat_admit(struct repeat *r, const struct log_entry *e, enum log_level level, msec_t now);
/* e may end what is counted: its summaries are due at once. */
void repeat_end(struct repeat *r, const struct log_entry *e);
/*
 * The next summary that is due; `all`: whatever has been counted, for the end of the process. Its
 * strings live until the next call. False: there is none.
 */
bool repeat_next(struct repeat *r, msec_t now, bool all, struct repeat_summary *out);
void repeat_free(struct repeat *r); /* leaves it empty and usable */
