/*
 * One fetch cycle of one account: a POP3 session, the messages that it brings, and their end.
 *
 * Made when the account is due, the permit taken and the lock held; ends through on_end exactly
 * once, when the connection is closed and the last message has its outcome. The POP3 connection may
 * go earlier than the last delivery, never the other way round.
 */
#pragma once

#include "core/maildrop.h"
#include "env.h"
#include "locks.h"
#include "login.h"
#include "proto/pop3.h"
#include "send.h"

#ifndef FETCH_WINDOW_MESSAGES    /* sim_cut has few messages, and a window to match */
#define FETCH_WINDOW_MESSAGES 48 /* retrieved or asked for, and not yet done */
#define FETCH_GROUP           24 /* settled messages that are worth a write of RETRs and DELEs */
#endif
#define FETCH_WINDOW_OCTETS                                                                        \
	(4 * 1024 * 1024) /* of them, by LIST; one message is always allowed                       \
			   */

/*
 * How long a session may last: from then on no message is asked for, and what is on its way is
 * waited for; and when it is closed, whatever it is at. A server that trickles just fast enough for
 * each answer must not keep an account for ever.
 */
#define FETCH_SESSION_MSEC     (4 * 60 * 60 * (msec_t)1000)
#define FETCH_SESSION_MAX_MSEC (5 * 60 * 60 * (msec_t)1000)

struct transit;

struct fetch_stats {
	uint32_t listed, delivered, deferred, held, deleted, suppressed;
	uint32_t asked, settled; /* messages retrieved or asked for, and those that are done with */
	uint64_t octets;         /* of them, as they come */
	msec_t since;            /* of the first; 0: none yet */
};

struct fetch {
	struct env *env;
	struct config *config;
	const struct conf_account *account;
	struct relay *relay;
	uint64_t cycle;
	struct locks locks;

	struct login login;
	struct transport *transport; /* NULL: closed */
	struct pop3 *pop3;
	struct event *timer;
	struct maildrop maildrop;
	TAILQ_HEAD(transit_list, transit) transits; /* in the order of their RETR */
	struct transit *receiving;                  /* whose data comes now */
	uint32_t in_window;
	uint64_t window_octets;
	char pop_ip[64];

	bool listed;   /* the listing is complete and planned */
	bool no_more;  /* no further RETR in this cycle */
	bool stopping; /* SIGTERM */
	bool quitting, ended;
	struct err err; /* the first thing that went wrong; class NONE: nothing */
	struct fetch_stats stats;
	uint32_t fresh;     /* messages that were not known before */
	struct watch watch; /* of the envelope header */
	bool watch_noted;   /* it has changed since it was recorded */
	unsigned undeleted; /* messages that have settled since the last group of DELE */
	msec_t started, last_command;
	bool logged_in;
	msec_t login_delay_ms; /* announced by the server; 0: none */
	struct step flush, end;

	void (*on_end)(void *ctx, struct fetch *f); /* the owner frees it there */
	void *ctx;
	TAILQ_ENTRY(fetch) entry;
};

struct fetch *fetch_new(struct env *env, struct config *config, const struct conf_account *account,
	struct relay *relay, struct locks locks, uint64_t cycle,
	void (*on_end)(void *ctx, struct fetch *f), void *ctx);
void fetch_free(struct fetch *f);
/* SIGTERM: what is past its final dot is finished, the rest stays on the server. */
void fetch_stop(struct fetch *f);
void fetch_relay_down(struct fetch *f);

/* ---- for transit.c ---- */

/* The message has its end and waits for the commit: the next one's attempt may share that. Are
 * others on their way? */
bool fetch_settling(struct fetch *f, struct transit *t);
/* The message is settled and that is durable (or needs not be): `as` is DONE, LEFT or HELD. */
void fetch_settled(struct fetch *f, struct transit *t, enum item_state as);
/* There is room for more, or something to delete. */
void fetch_pump(struct fetch *f);
/* Something of our own broke: no more RETR, no DELE, the connection is dropped. */
void fetch_fail(struct fetch *f, const struct err *err);
/* A log entry with the account's fields filled in. */
struct log_entry;
void fetch_log(const struct fetch *f, struct log_entry *entry);
