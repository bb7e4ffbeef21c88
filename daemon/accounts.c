/* The set of accounts and the order in which they start; see accounts.h. */
#include "accounts.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

/* ---- the set ---- */

void accounts_init(struct accounts *as, struct env *env, bool once, const struct accounts_ops *ops)
{
	*as = (struct accounts){ .env = env, .once = once, .ops = *ops };
	TAILQ_INIT(&as->list);
	TAILQ_INIT(&as->providers);
}

struct account *accounts_find(const struct accounts *as, const char *name)
{
	struct account *a;

	TAILQ_FOREACH (a, &as->list, entry)
		if (!strcmp(a->name, name) && !a->removed)
			return a;
	return NULL;
}

static struct provider_run *provider(struct accounts *as, const char *name)
{
	struct provider_run *p;

	TAILQ_FOREACH (p, &as->providers, entry)
		if (!strcmp(p->name, name))
			return p;
	p = provider_new(name);
	TAILQ_INSERT_TAIL(&as->providers, p, entry);
	return p;
}

static void drop(struct accounts *as, struct account *a)
{
	TAILQ_REMOVE(&as->list, a, entry);
	account_free(a);
}

void accounts_clear(struct accounts *as)
{
	struct provider_run *p;

	while (!TAILQ_EMPTY(&as->list))
		drop(as, TAILQ_FIRST(&as->list));
	while ((p = TAILQ_FIRST(&as->providers))) {
		TAILQ_REMOVE(&as->providers, p, entry);
		provider_free(p);
	}
}

static bool selected(const struct conf_account *conf, char *const *only, size_t n)
{
	if (!n)
		return conf->enabled;
	for (size_t i = 0; i < n; i++)
		if (!strcmp(only[i], conf->name))
			return true;
	return false;
}

void accounts_apply(struct accounts *as, struct config *config, const struct relays *relays,
	char *const *only, size_t n, bool spread)
{
	struct account *a, *next;
	struct provider_run *p;

	TAILQ_FOREACH (p, &as->providers, entry)
		p->limited_until = 0; /* the limit may be another now */
	for (a = TAILQ_FIRST(&as->list); a; a = next) {
		next = TAILQ_NEXT(a, entry);
		const struct conf_account *conf = config_account(config, a->name);
		if (conf && selected(conf, only, n))
			continue;
		a->removed = true;
		if (!a->fetch)
			drop(as, a);
	}
	for (size_t i = 0; i < config->naccounts; i++) {
		const struct conf_account *conf = config->accounts[i];
		if (!selected(conf, only, n))
			continue;
		struct account *fresh = NULL;
		a = accounts_find(as, conf->name);
		if (!a) {
			fresh = a = account_new(as, conf->name);
			sched_init(&a->sched, env_now(as->env), spread ? conf->interval_ms : 0, i,
				config->naccounts);
			TAILQ_INSERT_TAIL(&as->list, a, entry);
		}
		account_configure(a, config, conf, relays_find(relays, conf->relay),
			provider(as, conf->provider->name));
		if (fresh)
			account_begin(fresh, as->env);
	}
}

/* ---- cycles ---- */

static void on_cycle_end(void *ctx, struct fetch *f)
{
	struct account *a = ctx;
	struct accounts *as = a->set;

	as->sessions--;
	account_ended(a, as->env, f);
	as->ops.ended(as->ops.ctx, a, f);
	fetch_free(f);
	if (a->removed)
		drop(as, a);
	as->ops.wake(as->ops.ctx);
}

/* --once with a relay that is down and has been probed in vain: there is nothing to wait for. */
static bool hopeless(const struct accounts *as, const struct account *a)
{
	return as->once && relay_is_down(a->relay);
}

static bool waits(const struct accounts *as, const struct account *a)
{
	return !a->fetch && !a->removed && !(as->once && a->finished);
}

static int by_due(const void *x, const void *y)
{
	const struct account *const *a = x, *const *b = y;
	msec_t da = (*a)->sched.due_since, db = (*b)->sched.due_since;

	return (da > db) - (da < db);
}

/* The accounts that are due, longest first. n: how many; the array is the caller's to free. */
static struct account **due_accounts(struct accounts *as, msec_t now, size_t *n)
{
	struct account *a, **due = NULL;
	size_t cap = 0;

	*n = 0;
	TAILQ_FOREACH (a, &as->list, entry) {
		if (!waits(as, a) || !sched_due(&a->sched, now))
			continue;
		mem_grow(&due, &cap, *n + 1, sizeof *due);
		due[(*n)++] = a;
	}
	if (*n)
		qsort(due, *n, sizeof *due, by_due);
	return due;
}

/* When the first of those that are not due will be. The due ones wait for what wakes us itself. */
static msec_t next_due(const struct accounts *as, msec_t now)
{
	msec_t next = MSEC_NEVER;
	const struct account *a;

	TAILQ_FOREACH (a, &as->list, entry)
		if (waits(as, a) && !sched_blocked(&a->sched) && a->sched.next_due > now &&
			a->sched.next_due < next)
			next = a->sched.next_due;
	return next;
}

msec_t accounts_run(struct accounts *as)
{
	msec_t now = env_now(as->env); /* once: who becomes due meanwhile is not forgotten */
	size_t n;

	if (as->stopping)
		return MSEC_NEVER;
	AUTO(mem_freep) struct account **due = due_accounts(as, now, &n);
	for (size_t i = 0; i < n; i++) {
		struct account *a = due[i];
		if (hopeless(as, a))
			account_give_up(a);
		else if (as->sessions < a->config->max_sessions &&
			account_try(a, as->env, on_cycle_end, a) == ACCOUNT_STARTED)
			as->sessions++;
	}
	return next_due(as, now);
}

void accounts_due_now(struct accounts *as)
{
	struct account *a;

	TAILQ_FOREACH (a, &as->list, entry)
		if (!a->fetch)
			sched_due_now(&a->sched, env_now(as->env));
	as->ops.wake(as->ops.ctx);
}

void accounts_relay_down(struct accounts *as, const struct relay *relay)
{
	struct account *a;

	TAILQ_FOREACH (a, &as->list, entry)
		if (a->fetch && a->fetch->relay == relay)
			fetch_relay_down(a->fetch);
}

void accounts_stop(struct accounts *as)
{
	struct account *a;

	as->stopping = true;
	TAILQ_FOREACH (a, &as->list, entry)
		if (a->fetch)
			fetch_stop(a->fetch);
}

bool accounts_idle(const struct accounts *as)
{
	return !as->sessions;
}

bool accounts_finished(const struct accounts *as)
{
	const struct account *a;

	TAILQ_FOREACH (a, &as->list, entry)
		if (!a->finished)
			return false;
	return true;
}

bool accounts_failed(const struct accounts *as)
{
	const struct account *a;

	TAILQ_FOREACH (a, &as->list, entry)
		if (a->failed || !a->finished)
			return true;
	return false;
}
