/*
 * All accounts at run time, and who of them may begin a cycle now.
 *
 * Who is due longest comes first, so that a provider whose limits are too narrow for its accounts
 * serves them in turn and starves none. Owns the accounts; borrows the environment. Does not know
 * of a loop: accounts_run() starts what may start and says when to call it again; whatever else
 * may have changed that (a cycle's end, a relay that is back) comes as ops.wake.
 */
#pragma once

#include "account.h"
#include "provider.h"
#include "relays.h"

struct accounts_ops {
	void (*wake)(void *ctx); /* accounts_run() is due */
	void (*ended)(void *ctx, const struct account *a, const struct fetch *f); /* its cycle */
	void *ctx;
};

struct accounts {
	struct env *env;
	struct accounts_ops ops;
	bool once, stopping;
	size_t sessions; /* running, over all */
	TAILQ_HEAD(, account) list;
	TAILQ_HEAD(, provider_run) providers;
};

void accounts_init(struct accounts *as, struct env *env, bool once, const struct accounts_ops *ops);
void accounts_clear(struct accounts *as); /* no cycle runs any more */

/*
 * Takes a configuration over: new accounts come, missing ones end and go, the others keep their
 * schedule and get the new settings with their next cycle. only: these accounts, enabled or not
 * (n 0: all that are enabled). spread: the daemon's start, where not all should log in at once.
 */
void accounts_apply(struct accounts *as, struct config *config, const struct relays *relays,
	char *const *only, size_t n, bool spread);

/* Starts cycles. Returns when to be called again: MSEC_NEVER: only for ops.wake. */
msec_t accounts_run(struct accounts *as);
void accounts_due_now(struct accounts *as); /* limits hold as ever */
void accounts_relay_down(struct accounts *as, const struct relay *relay);
void accounts_stop(struct accounts *as);
bool accounts_idle(const struct accounts *as);     /* no cycle runs */
bool accounts_finished(const struct accounts *as); /* --once: each had its cycle or can have none */
bool accounts_failed(const struct accounts *as); /* --once: one could not finish, or was not due */

struct account *accounts_find(const struct accounts *as, const char *name); /* or NULL */
