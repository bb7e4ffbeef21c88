/*
 * Providers and relay of the simulated week, in the place of fetch.c and send.c; see week.h.
 *
 * Each login is looked at by the provider: spacing and limit as configured, sessions at once, two
 * cycles of one account, a login while the relay is down. Nothing here knows how the daemon
 * decides.
 */
#include "week.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct week week;

/* splitmix64: the same week every time. */
uint32_t week_random(uint32_t n)
{
	uint64_t z = (week.random += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (uint32_t)((z ^ (z >> 31)) % n);
}

void week_broken(const char *fmt, ...)
{
	va_list ap;

	if (week.broken[0])
		return;
	va_start(ap, fmt);
	vsnprintf(week.broken, sizeof week.broken, fmt, ap);
	va_end(ap);
}

static msec_t expected(const struct box *b, msec_t interval)
{
	if (b->site->kind != PATIENT || b->wrong || week.relay_down)
		return MSEC_NEVER;
	return week.now + interval + interval / 10;
}

void week_expect_all(msec_t grace)
{
	for (size_t i = 0; i < BOXES; i++) {
		struct box *b = &week.boxes[i];
		msec_t at = expected(b, week.config->accounts[i]->interval_ms);
		b->expected = at == MSEC_NEVER ? at : at + grace;
	}
}

/* ---- the rules, seen from the provider's side ---- */

/* Logins of a site within `span` before now, counting back. */
static uint32_t logins_within(const struct site *s, msec_t span)
{
	uint32_t n = 0;

	while (n < LOGINS && n < s->nlogins &&
		week.now - s->logins[(s->nlogins - 1 - n) % LOGINS] < span)
		n++;
	return n;
}

static void check_login(const struct box *b, const struct conf_account *conf)
{
	const struct site *s = b->site;
	const struct conf_provider *p = s->conf;

	if (b->fetch)
		week_broken("%s: two cycles at once", b->name);
	if (week.relay_down)
		week_broken("%s: a login while the relay is down", b->name);
	if (b->last_login && week.now - b->last_login < p->rate.spacing_ms)
		week_broken(
			"%s: logins %lld ms apart", b->name, (long long)(week.now - b->last_login));
	if (logins_within(s, p->rate.window_ms) >= p->rate.limit)
		week_broken("%s: more than login_limit", s->name);
	if (s->sessions >= p->max_sessions)
		week_broken("%s: more than max_sessions", s->name);
	if (week.now > b->expected)
		week_broken("%s: starved for %lld s over its time", b->name,
			(long long)((week.now - b->expected) / 1000));
}

/* ---- how a session ends ---- */

static void fault(struct fetch *f, enum err_class class, int code, const char *text)
{
	err_set(&f->err, class, code, "login refused: %s", text);
}

static void log_in(struct fetch *f, msec_t delay)
{
	f->logged_in = true;
	f->login_delay_ms = delay;
}

/* As a server that wants `spacing` between two logins of a user. */
static bool too_soon(const struct box *b, msec_t spacing)
{
	return b->last_login && week.now - b->last_login < spacing;
}

static void answer(struct box *b, struct fetch *f)
{
	struct site *s = b->site;
	msec_t since_midnight = week.now % DAY;

	switch (s->kind) {
	case PATIENT:
	case NARROW:
	case SLOW:
	case KINDS:
		log_in(f, 0);
		break;
	case LOCKED:
		if (!week_random(8))
			fault(f, ERR_BUSY, 0, "[IN-USE]");
		else
			log_in(f, 0);
		break;
	case ANNOUNCES:
		if (too_soon(b, 15 * MINUTE))
			fault(f, ERR_THROTTLE, 0, "[LOGIN-DELAY]");
		else
			log_in(f, 15 * MINUTE);
		break;
	case NAMES:
		if (too_soon(b, 12 * MINUTE))
			fault(f, ERR_THROTTLE, 12 * 60, "only every 12 minutes");
		else
			log_in(f, 0);
		break;
	case HINTS:
		if (too_soon(b, 11 * MINUTE))
			fault(f, ERR_THROTTLE, 0, "too many");
		else
			log_in(f, 0);
		break;
	case DISGUISES:
		if (logins_within(s, HOUR) > 40)
			fault(f, ERR_AUTH, 0, "login incorrect");
		else
			log_in(f, 0);
		break;
	case DOWN:
		if (since_midnight >= s->down_from && since_midnight < s->down_from + 7 * HOUR)
			fault(f, ERR_NET, 0, "connection refused");
		else
			log_in(f, 0);
		break;
	case FLAKY:
		if (!week_random(5))
			fault(f, week_random(4) ? ERR_TEMP : ERR_PERM, 0, "not now");
		else
			log_in(f, 0);
		break;
	}
	if (b->wrong && f->logged_in) {
		f->logged_in = false;
		fault(f, ERR_AUTH, 1, "[AUTH] wrong password");
	}
}

static void note_outcome(struct box *b, const struct fetch *f)
{
	if (f->logged_in) {
		if (b->last_good && week.now - week.lost - b->last_good > b->gap)
			b->gap = week.now - week.lost - b->last_good;
		b->last_good = week.now - week.lost;
		b->good++;
		b->row = 0;
		return;
	}
	b->throttled += f->err.class == ERR_THROTTLE;
	b->refused += f->err.class == ERR_AUTH;
	if (++b->row > b->longest)
		b->longest = b->row;
}

static msec_t duration(const struct site *s)
{
	if (s->kind == SLOW && !week_random(10))
		return 2 * MINUTE + week_random(15 * 60) * SECOND;
	if (s->kind == DOWN)
		return 1 + week_random(60) * SECOND;
	return 200 + week_random(4000);
}

/* ---- in the place of fetch.c ---- */

/* "a17" is the 17th. */
static uint64_t box_number(const char *name)
{
	uint64_t n;

	ensure(sv_number(sv_str(name + 1), BOXES - 1, &n));
	return n;
}

struct fetch *fetch_new(struct env *env, struct config *config, const struct conf_account *account,
	struct relay *relay, struct locks locks, uint64_t cycle,
	void (*on_end)(void *ctx, struct fetch *f), void *ctx)
{
	struct fetch *f = mem_zalloc(sizeof *f);
	struct box *b = &week.boxes[box_number(account->name)];
	struct site *s = b->site;

	f->env = env;
	f->config = config_ref(config);
	f->account = account;
	f->relay = relay;
	f->locks = locks;
	f->on_end = on_end;
	f->ctx = ctx;
	f->started = week.now;
	check_login(b, account);
	answer(b, f);
	note_outcome(b, f);
	s->logins[s->nlogins++ % LOGINS] = week.now;
	s->sessions++;
	b->logins++;
	b->fetch = f;
	b->last_login = week.now;
	b->ends = week.now + duration(s);
	b->expected = expected(b, account->interval_ms);
	week.running[week.nrunning++] = b;
	return f;
}

static void off_the_list(struct box *b)
{
	for (size_t i = 0; i < week.nrunning; i++)
		if (week.running[i] == b)
			week.running[i] = week.running[--week.nrunning];
	b->fetch = NULL;
	b->site->sessions--;
}

void week_end(struct box *b)
{
	struct fetch *f = b->fetch;

	off_the_list(b);
	f->on_end(f->ctx, f);
}

void week_kill(struct box *b)
{
	struct fetch *f = b->fetch;
	struct account *a = f->ctx;

	off_the_list(b);
	a->fetch = NULL;
	a->running_at->sessions--;
	fetch_free(f);
}

void fetch_free(struct fetch *f)
{
	locks_drop(&f->locks); /* as the kernel does when a process dies */
	config_unref(f->config);
	free(f);
}

void fetch_stop(struct fetch *f)
{
}

void fetch_relay_down(struct fetch *f)
{
}

void fetch_log(const struct fetch *f, struct log_entry *e)
{
	e->account = f->account->name;
	log_write(e);
}

/* ---- in the place of send.c: one relay, up or down ---- */

struct relay {
	const struct conf_relay *conf;
	unsigned refs;
};

int relay_new(struct env *env, struct config *config, const struct conf_relay *conf,
	const struct relay_ops *relay_ops, struct relay **out, struct err *err)
{
	*out = mem_zalloc(sizeof **out);
	**out = (struct relay){ .conf = conf, .refs = 1 };
	return 0;
}

struct relay *relay_ref(struct relay *r)
{
	r->refs++;
	return r;
}

void relay_unref(struct relay *r)
{
	if (r && !--r->refs)
		free(r);
}

const struct conf_relay *relay_conf(const struct relay *r)
{
	return r->conf;
}

bool relay_is_down(const struct relay *r)
{
	return week.relay_down;
}

void relay_probe(struct relay *r)
{
	week.probes++;
}

void relay_stop(struct relay *r)
{
}

void relay_retire(struct relay *r)
{
}
