/*
 * What people have to be told by mail, from the events of the log: at most one mail an hour for
 * each kind and account (or relay). What comes in between is counted and summed up in the next one.
 *
 * Decisions only, time is an argument: daemon/alerts.c sends, daemon/alert_mail.c has the words. A
 * matter stays until it has been told or has settled itself: a relay that comes back before anybody
 * could be told is one alert, "was down from .. to", or none if it was back at once (a mail server
 * that is started together with us); and an account that was resumed is none.
 */
#pragma once

#include "base/clock.h"
#include "base/log.h"

#include <stdbool.h>

#define ALERT_EVERY_MSEC  (60 * 60 * (msec_t)1000)
#define ALERT_GATHER_MSEC (5 * (msec_t)1000)  /* what comes together is told together */
#define ALERT_BLINK_MSEC  (60 * (msec_t)1000) /* a relay that is back sooner has not been down */
#define ALERT_PATIENCE    3 /* times that a mail is put off before it lets the others pass */
#define ALERT_ASIDE_MSEC  (10 * 60 * (msec_t)1000) /* until its next turn then */
#define ALERT_MATTERS     4096 /* remembered; what comes beyond it is only in the log */

enum alert_kind {
	ALERT_SUSPENDED,
	ALERT_ENVELOPE_CHANGED,
	ALERT_ENVELOPE_MISSING,
	ALERT_HELD,
	ALERT_RELAY_DOWN,
	ALERT_RELAY_UP,
	ALERT_KIND_COUNT
};
const char *alert_kind_name(enum alert_kind kind); /* the event's: "account.suspended" */

/* Of the latest event; peers' words are in them. NULL: it had none. */
enum alert_text { ALERT_PROVIDER, ALERT_REASON, ALERT_REPLY, ALERT_SENDER, ALERT_TEXT_COUNT };

struct alert {
	enum alert_kind kind;
	char *name;       /* of the account or relay */
	uint32_t count;   /* events since the last mail; ALERT_RELAY_UP: how often it was down.
			     0: nothing to tell */
	msec_t since;     /* the first of them */
	msec_t allowed;   /* no mail before it */
	bool known;       /* `allowed` says what the store has of mails of other processes */
	uint32_t put_off; /* times in a row that the relay wanted its mail later */
	wall_t first_at, last_at; /* the first and the last of them */
	wall_t down_at;           /* ALERT_RELAY_*: when it went down last */
	char *texts[ALERT_TEXT_COUNT];
};

struct alerts_book {
	struct alert *items;
	size_t n, cap;
};

void alerts_book_free(
	struct alerts_book *b); /* leaves it empty and usable; { 0 } is an empty one */
/*
 * Takes an entry of the log. The matter that it adds to, good until the next call; NULL: nobody is
 * told of it, or it settles one. Is `known` false in it (it is new, or its hour is over), the
 * caller looks up when any process has last sent its mail, sets `allowed` by that, and `known`.
 */
struct alert *alert_note(struct alerts_book *b, const struct log_entry *e, msec_t now, wall_t wall);
/* The one that waits longest of those whose time has come; NULL: none. at_once: do not gather. */
struct alert *alert_due(struct alerts_book *b, msec_t now, bool at_once);
msec_t alert_next(const struct alerts_book *b); /* when one is due; MSEC_NEVER */
struct alert *alert_find(const struct alerts_book *b, enum alert_kind kind, const char *name);
/* A mail went out, or was refused for good, when `count` had happened. */
void alert_told(struct alert *a, uint32_t count, msec_t now);
/* The relay wants its mail later. True: for the patience-th time or more, it lets others pass. */
bool alert_put_off(struct alert *a, uint32_t patience, msec_t now);
/* ALERT_RELAY_DOWN, and this relay can be used: the matter that tells of both, or NULL. */
struct alert *alert_is_back(
	struct alerts_book *b, const struct alert *down, msec_t now, wall_t wall);
