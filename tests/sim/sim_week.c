/*
 * The life of a daemon for a week; see week.h.
 *
 * Owns time, and two processes' worth of state: the daemon, and a --once that comes at random. They
 * share the state directory as real ones do. Says what it counted, and fails with the first rule
 * that was broken.
 */
#include "week.h"

#include "identity.h"
#include "store_sqlite.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A process: its view of the state, and its accounts. */
struct process {
	struct env env;
	struct accounts accounts;
	struct relays relays;
	msec_t wake;
	bool lives;
};

static struct process daemon_process, once_process;
static char state_dir[] = "/tmp/week.XXXXXX";

/* The disk is not what this is about: SQLite's syncs cost nothing here. */
int fdatasync(int fd)
{
	return 0;
}

/* ---- clock and log ---- */

static msec_t now_fn(struct clock *c)
{
	return week.now;
}

static wall_t wall_fn(struct clock *c)
{
	return week.now + week.wall_offset;
}

static void fill_fn(struct rng *r, void *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (uint8_t)week_random(256);
}

static void on_log(const struct log_entry *e, enum log_level level)
{
	if (e->event == EV_STATE_FAILED)
		week_broken("%s: %s", e->reason, e->text);
	week.suspensions += e->event == EV_ACCOUNT_SUSPENDED;
}

/* ---- the configuration ---- */

static const struct {
	enum kind kind;
	uint32_t limit, sessions;
	msec_t intervals[2];
} kinds[KINDS] = {
	{ PATIENT, 100, 4, { 5 * MINUTE, 15 * MINUTE } },
	{ NARROW, 12, 4, { 5 * MINUTE, 5 * MINUTE } },
	{ SLOW, 60, 6, { 15 * MINUTE, 30 * MINUTE } },
	{ LOCKED, 60, 4, { 20 * MINUTE, 30 * MINUTE } },
	{ ANNOUNCES, 60, 4, { 5 * MINUTE, 20 * MINUTE } },
	{ NAMES, 60, 4, { 5 * MINUTE, 20 * MINUTE } },
	{ HINTS, 60, 4, { 5 * MINUTE, 20 * MINUTE } },
	{ DISGUISES, 60, 4, { 20 * MINUTE, 30 * MINUTE } },
	{ DOWN, 60, 8, { 20 * MINUTE, 30 * MINUTE } },
	{ FLAKY, 60, 4, { 20 * MINUTE, 30 * MINUTE } },
};

static struct config *make_config(void)
{
	struct config *c = config_new();
	struct conf_relay *relay = config_add_relay(c);
	struct conf_provider *p = NULL;

	c->state_dir = mem_strdup(state_dir);
	c->max_sessions = 64;
	relay->name = mem_strdup("r");
	for (size_t i = 0; i < BOXES; i++) {
		size_t site = i / (BOXES / SITES), kind = site % KINDS;
		if (i % (BOXES / SITES) == 0) {
			p = config_add_provider(c);
			p->name = mem_strdup(week.sites[site].name);
			p->host = mem_strdup("h");
			p->max_sessions = kinds[kind].sessions;
			p->rate = (struct rate_rule){ 5 * MINUTE, kinds[kind].limit, WINDOW };
		}
		struct conf_account *a = config_add_account(c);
		a->name = mem_strdup(week.boxes[i].name);
		a->user = mem_strdup(week.boxes[i].name);
		a->password.bytes = mem_strdup(week.boxes[i].wrong ? "wrong" : "right");
		a->password.len = 5;
		a->provider = p;
		a->relay = relay;
		a->enabled = true;
		a->interval_ms = kinds[kind].intervals[i % 2];
	}
	return c;
}

static void make_world(void)
{
	for (size_t i = 0; i < SITES; i++) {
		struct site *s = &week.sites[i];
		snprintf(s->name, sizeof s->name, "p%zu", i % 100);
		s->kind = kinds[i % KINDS].kind;
		s->down_from = week_random(16) * HOUR;
	}
	for (size_t i = 0; i < BOXES; i++) {
		struct box *b = &week.boxes[i];
		snprintf(b->name, sizeof b->name, "a%zu", i % 1000);
		b->site = &week.sites[i / (BOXES / SITES)];
		b->wrong = i % 50 == 7;
	}
}

/* The sections that the provider's checks compare with. */
static void use_config(struct config *c)
{
	config_unref(week.config);
	week.config = c;
	for (size_t i = 0; i < SITES; i++)
		week.sites[i].conf = c->providers[i];
}

/* ---- processes ---- */

static void on_wake(void *ctx)
{
	((struct process *)ctx)->wake = week.now;
}

static void on_ended(void *ctx, const struct account *a, const struct fetch *f)
{
}

static void begin(struct process *p, bool once)
{
	struct accounts_ops ops = { .wake = on_wake, .ended = on_ended, .ctx = p };
	struct relay_ops relay_ops = { 0 };
	struct err err;

	p->env = (struct env){ .clock = &week.clock, .rng = &week.rng };
	if (store_open(state_dir, &week.clock, &week.rng, &p->env.store, &err) ||
		relays_make(&p->relays, &p->env, week.config, &relay_ops, &err))
		week_broken("%s", err.text);
	p->env.identity = identity_new(store_key(p->env.store));
	accounts_init(&p->accounts, &p->env, once, &ops);
	accounts_apply(&p->accounts, week.config, &p->relays, NULL, 0, !once);
	p->wake = week.now;
	p->lives = true;
}

static void end(struct process *p)
{
	for (size_t i = week.nrunning; i; i--) {
		struct box *b = week.running[i - 1];
		if (b->fetch->env == &p->env)
			week_kill(b);
	}
	accounts_clear(&p->accounts);
	relays_free(&p->relays);
	identity_free(p->env.identity);
	store_close(p->env.store);
	p->lives = false;
}

/* The end of a turn of its loop: no transaction stays open for the other process to wait for. */
static void write_down(struct process *p)
{
	struct err err;

	if (p->lives && store_write(p->env.store, &err))
		week_broken("%s", err.text);
}

static void turn(struct process *p)
{
	if (!p->lives)
		return;
	if (p->wake <= week.now)
		p->wake = accounts_run(&p->accounts);
	write_down(p);
	if (p->accounts.once && accounts_finished(&p->accounts) && accounts_idle(&p->accounts))
		end(p);
}

/* ---- what happens to a daemon ---- */

static void reload(void)
{
	struct relay_ops relay_ops = { 0 };
	struct relays relays, old = daemon_process.relays;
	struct err err;

	use_config(make_config());
	if (relays_make(&relays, &daemon_process.env, week.config, &relay_ops, &err))
		week_broken("%s", err.text);
	daemon_process.relays = relays;
	accounts_apply(&daemon_process.accounts, week.config, &relays, NULL, 0, false);
	relays_free(&old);
	on_wake(&daemon_process);
}

static void kill_and_restart(void)
{
	end(&daemon_process);
	begin(&daemon_process, false);
	week_expect_all(MINUTE); /* it spreads them */
}

static void come_once(void)
{
	if (!once_process.lives)
		begin(&once_process, true);
}

static void all_due(void)
{
	accounts_due_now(&daemon_process.accounts);
}

static void set_the_clock(void)
{
	week.wall_offset += (msec_t)week_random(2 * 3600 * 1000) - HOUR;
}

struct event_plan {
	void (*fn)(void);
	msec_t first, every; /* every: on average; 0: once */
	msec_t next;
};

static struct event_plan *relay_event(void);

/* A laptop lid: hours without a turn of the loop. */
static void suspend(void)
{
	msec_t asleep = HOUR + week_random(3600 * 1000);

	week.now += asleep;
	if (!week.relay_down)
		week.lost += asleep;
	week_expect_all(5 * MINUTE);
}

static void toggle_relay(void)
{
	relay_event()->every = week.relay_down ? 20 * HOUR : 2 * HOUR;
	week.relay_down = !week.relay_down;
	if (week.relay_down)
		week.lost_since = week.now;
	else
		week.lost += week.now - week.lost_since;
	on_wake(&daemon_process);
	for (size_t i = 0; i < BOXES; i++)
		week.boxes[i].expected = MSEC_NEVER;
	if (!week.relay_down) /* the waiting ones come in the order of their waiting */
		week_expect_all(5 * MINUTE);
}

static void correct_passwords(void)
{
	for (size_t i = 0; i < BOXES; i++)
		week.boxes[i].wrong = false;
	reload();
}

static struct event_plan events[] = {
	{ reload, HOUR, 3 * HOUR, 0 },
	{ kill_and_restart, 5 * HOUR, 9 * HOUR, 0 },
	{ come_once, 20 * MINUTE, HOUR, 0 },
	{ all_due, 30 * MINUTE, 2 * HOUR, 0 },
	{ set_the_clock, 2 * HOUR, 11 * HOUR, 0 },
	{ suspend, 30 * HOUR, 40 * HOUR, 0 },
	{ toggle_relay, 15 * HOUR, 20 * HOUR, 0 },
	{ correct_passwords, 4 * DAY, 0, 0 },
};

static struct event_plan *relay_event(void)
{
	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		if (events[i].fn == toggle_relay)
			return &events[i];
	return NULL;
}

static void happen(msec_t start)
{
	for (size_t i = 0; i < ARRAY_LEN(events); i++) {
		if (!events[i].next)
			events[i].next = start + events[i].first;
		if (week.now < events[i].next)
			continue;
		events[i].fn();
		write_down(&daemon_process);
		write_down(&once_process);
		events[i].next = events[i].every
			? week.now + events[i].every / 2 + week_random((uint32_t)events[i].every)
			: MSEC_NEVER;
	}
}

static msec_t next_moment(void)
{
	msec_t at = daemon_process.wake;

	if (once_process.lives && once_process.wake < at)
		at = once_process.wake;
	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		if (events[i].next < at)
			at = events[i].next;
	for (size_t i = 0; i < week.nrunning; i++)
		if (week.running[i]->ends < at)
			at = week.running[i]->ends;
	return at > week.now ? at : week.now;
}

static void live(void)
{
	msec_t start = week.now;

	while (week.now < start + WEEK && !week.broken[0]) {
		happen(start);
		for (size_t i = week.nrunning; i; i--)
			if (i <= week.nrunning && week.running[i - 1]->ends <= week.now) {
				week_end(week.running[i - 1]);
				write_down(&daemon_process);
				write_down(&once_process);
			}
		turn(&daemon_process);
		turn(&once_process);
		week.now = next_moment();
	}
}

/* ---- the verdict ---- */

/* What a week may cost the provider in refusals, and how long good mail may have waited. */
static const struct {
	const char *name;
	uint32_t throttled, refused, longest; /* most, for one account */
	msec_t gap;
} verdicts[KINDS] = {
	[PATIENT] = { "patient", 0, 0, 0, 18 * MINUTE },
	[NARROW] = { "narrow", 0, 0, 0, 60 * MINUTE },
	[SLOW] = { "slow", 0, 0, 0, 60 * MINUTE },
	[LOCKED] = { "locked", 0, 0, 9, 5 * HOUR },
	[ANNOUNCES] = { "announces", 0, 0, 0, 25 * MINUTE },
	[NAMES] = { "names a delay", 9, 0, 2, 40 * MINUTE },
	[HINTS] = { "hints", 40, 0, 4, 60 * MINUTE },
	[DISGUISES] = { "disguises", 0, 9, 3, 4 * HOUR },
	[DOWN] = { "down", 0, 0, 20, 9 * HOUR },
	[FLAKY] = { "flaky", 0, 0, 9, 6 * HOUR },
};

static void judge(const struct box *b)
{
	enum kind k = b->site->kind;
	bool corrected = b - week.boxes >= 0 && (b - week.boxes) % 50 == 7;

	if (corrected) {
		if (b->refused != SCHED_AUTH_FAILURES_MAX || !b->good)
			week_broken("%s: a wrong password was tried %u times, %u good after",
				b->name, b->refused, b->good);
		return;
	}
	if (b->throttled > verdicts[k].throttled || b->refused > verdicts[k].refused ||
		b->longest > verdicts[k].longest || b->gap > verdicts[k].gap)
		week_broken("%s (%s): %u throttled, %u refused, %u failures in a row, %lld s gap",
			b->name, verdicts[k].name, b->throttled, b->refused, b->longest,
			(long long)(b->gap / 1000));
	msec_t waited = week.now - week.lost - b->last_good;
	if (week.now > b->expected || waited > verdicts[k].gap)
		week_broken("%s (%s): starved at the end: %lld s", b->name, verdicts[k].name,
			(long long)(waited / 1000));
}

static void print_kinds(void)
{
	printf("%-14s %8s %8s %9s %8s %8s %10s\n", "provider", "logins", "good", "throttled",
		"refused", "in a row", "gap (min)");
	for (size_t k = 0; k < KINDS; k++) {
		uint32_t logins = 0, good = 0, throttled = 0, refused = 0, longest = 0;
		msec_t gap = 0;
		for (size_t i = 0; i < BOXES; i++) {
			const struct box *b = &week.boxes[i];
			if (b->site->kind != k || i % 50 == 7)
				continue;
			logins += b->logins;
			good += b->good;
			throttled += b->throttled;
			refused += b->refused;
			longest = b->longest > longest ? b->longest : longest;
			gap = b->gap > gap ? b->gap : gap;
		}
		printf("%-14s %8u %8u %9u %8u %8u %10lld\n", verdicts[k].name, logins, good,
			throttled, refused, longest, (long long)(gap / MINUTE));
	}
}

static void remove_state(void)
{
	char command[64];

	snprintf(command, sizeof command, "rm -rf %s", state_dir);
	if (system(command))
		fprintf(stderr, "%s is left\n", state_dir);
}

int main(void)
{
	week = (struct week){ .clock = { .now = now_fn, .wall = wall_fn },
		.rng.fill = fill_fn,
		.now = 100 * HOUR,
		.wall_offset = 1700000000 * SECOND };
	ensure(mkdtemp(state_dir));
	log_sink = on_log;
	make_world();
	use_config(make_config());
	begin(&daemon_process, false);
	week_expect_all(MINUTE);
	live();
	end(&daemon_process);
	if (once_process.lives)
		end(&once_process);
	if (week.relay_down)
		week.lost += week.now - week.lost_since;
	for (size_t i = 0; i < BOXES && !week.broken[0]; i++)
		judge(&week.boxes[i]);
	print_kinds();
	printf("%u suspensions, %u probes of the relay\n", week.suspensions, week.probes);
	config_unref(week.config);
	remove_state();
	if (week.broken[0])
		printf("BROKEN: %s\n", week.broken);
	return week.broken[0] ? 1 : 0;
}
