/*
 * What is not well in a status, and what a person does about it: one answer for the status page,
 * /healthz, `multidropctl status` and mail to people.
 *
 * Pure: reads the object of status_json() (status.h), of this daemon or of another version; what is
 * missing in it is not complained about. The sentences are in one table (advice.c).
 */
#pragma once

#include "base/strbuf.h"

#include <jansson.h>

enum advice_level {
	ADVICE_REMARK,  /* somebody wanted it so, or it helps itself: all is well */
	ADVICE_CONCERN, /* somebody should look; mail still comes, or is tried again soon */
	ADVICE_FAILURE  /* mail does not come: /healthz says 503 */
};

struct advice {
	enum advice_level level;
	struct strbuf subject; /* "sammel", "relay house"; empty: the whole daemon */
	struct strbuf what;    /* a sentence without its subject; peers' words are in it */
	struct strbuf next;    /* what to do; empty: nothing */
};

struct advice_list { /* accounts, relays, the rest, each in the order of the status */
	struct advice *items;
	size_t n, cap;
};

void advice_of(const json_t *status, struct advice_list *out);
void advice_free(struct advice_list *list);

/*
 * "All is well: 12 accounts, 1 paused", "Not all is well: 1 account in trouble; of 3 accounts".
 * False: not all is well.
 */
bool advice_headline(const json_t *status, struct strbuf *out);

/*
 * How an account's last cycle ended: "ok", "failed", "cut short" (by us or by the relay),
 * "running", "none yet".
 */
const char *advice_result(const json_t *account);

/*
 * Steps that the mails of alert_mail.c name, too: a sentence and its command, made one piece or a
 * pair of by `as`. "@" in them is the account's name.
 */
#define ADVICE_PASSWORD(as) as("correct user or password, then:", "multidropctl reload")
#define ADVICE_RESUME(as)                                                                          \
	as("if they were right, and the provider was wrong:", "multidropctl resume @")
#define ADVICE_HELD(as) as("which messages are held, and why:", "multidropctl held list")
#define ADVICE_RELAY                                                                               \
	"look at that server, and at the network between it and this machine; it is tried again "  \
	"by itself"

/*
 * The next step alone, for an account of this state whose last error is `error` ("AUTH: ..."; its
 * first word counts). Appends nothing when nobody has to do anything.
 */
void advice_next_step(
	struct strbuf *out, const char *account, const char *state, const char *error);
