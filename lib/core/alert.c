/*
 * What people are told by mail, and when; see alert.h.
 *
 * A matter is a kind and a name. It is kept, with nothing to tell, until its hour is over: that is
 * the memory of the limit.
 */
#include "core/alert.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	enum log_event event;
	bool of_relay; /* its name is the relay's, else the account's */
} kinds[] = {
	[ALERT_SUSPENDED] = { EV_ACCOUNT_SUSPENDED, false },
	[ALERT_ENVELOPE_CHANGED] = { EV_ENVELOPE_CHANGED, false },
	[ALERT_ENVELOPE_MISSING] = { EV_ENVELOPE_MISSING, false },
	[ALERT_HELD] = { EV_MESSAGE_HELD, false },
	[ALERT_RELAY_DOWN] = { EV_RELAY_DOWN, true },
	[ALERT_RELAY_UP] = { EV_RELAY_UP, true },
};
static_assert(ARRAY_LEN(kinds) == ALERT_KIND_COUNT, "one row per kind");

static const size_t offsets[ALERT_TEXT_COUNT] = {
	[ALERT_PROVIDER] = offsetof(struct log_entry, provider),
	[ALERT_REASON] = offsetof(struct log_entry, reason),
	[ALERT_REPLY] = offsetof(struct log_entry, reply),
	[ALERT_SENDER] = offsetof(struct log_entry, sender),
};

const char *alert_kind_name(enum alert_kind kind)
{
	return log_event_name(kinds[kind].event);
}

static void drop(struct alerts_book *b, size_t i)
{
	for (size_t k = 0; k < ALERT_TEXT_COUNT; k++)
		free(b->items[i].texts[k]);
	free(b->items[i].name);
	b->items[i] = b->items[--b->n];
}

void alerts_book_free(struct alerts_book *b)
{
	while (b->n)
		drop(b, b->n - 1);
	free(b->items);
	*b = (struct alerts_book){ 0 };
}

static struct alert *find(const struct alerts_book *b, enum alert_kind kind, const char *name)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->items[i].kind == kind && !strcmp(b->items[i].name, name))
			return &b->items[i];
	return NULL;
}

static void forget_old(struct alerts_book *b, msec_t now)
{
	for (size_t i = b->n; i--;)
		if (!b->items[i].count && b->items[i].allowed <= now)
			drop(b, i);
}

static struct alert *matter(
	struct alerts_book *b, enum alert_kind kind, const char *name, msec_t now)
{
	struct alert *a = find(b, kind, name);

	if (a) {
		if (!a->count && a->allowed <= now)
			a->known = false; /* another process may have told it since */
		return a;
	}
	forget_old(b, now);
	if (b->n == ALERT_MATTERS)
		return NULL;
	mem_grow(&b->items, &b->cap, b->n + 1, sizeof *b->items);
	a = &b->items[b->n++];
	*a = (struct alert){ .kind = kind, .name = mem_strdup(name), .allowed = now };
	return a;
}

static void settle(struct alerts_book *b, enum alert_kind kind, const char *name)
{
	struct alert *a = find(b, kind, name);

	if (a)
		a->count = 0;
}

static void add(struct alert *a, uint32_t n, msec_t now, wall_t wall)
{
	if (!a->count) {
		a->since = now;
		a->first_at = wall;
		a->put_off = 0;
	}
	a->count += n;
	a->last_at = wall;
}

/*
 * It is back: how often it was down since the last mail that said so. What is to be told of its
 * going down is part of that now.
 */
static struct alert *note_up(struct alerts_book *b, const char *name, msec_t now, wall_t wall)
{
	struct alert *a = matter(b, ALERT_RELAY_UP, name, now); /* first: it may move the other */
	struct alert *down = find(b, ALERT_RELAY_DOWN, name);

	if (!a) {
		if (down)
			down->count = 0; /* no room to say that it is back; it is not down */
		return NULL;
	}
	if (down && down->count && now - down->since < ALERT_BLINK_MSEC) {
		down->count = 0;
		return NULL;
	}
	add(a, down && down->count ? down->count : 1, now, wall);
	a->down_at = down ? down->down_at : 0;
	if (down)
		down->count = 0;
	return a;
}

/* It is down again before anybody was told that it is back: that is how things are. */
static struct alert *note_down(struct alerts_book *b, const char *name, msec_t now, wall_t wall)
{
	struct alert *a = matter(b, ALERT_RELAY_DOWN, name, now);
	struct alert *up = find(b, ALERT_RELAY_UP, name);

	if (!a)
		return NULL;
	add(a, 1 + (up ? up->count : 0), now, wall);
	a->down_at = wall;
	if (up)
		up->count = 0;
	return a;
}

static void keep_texts(struct alert *a, const struct log_entry *e)
{
	for (size_t i = 0; i < ALERT_TEXT_COUNT; i++) {
		free(a->texts[i]);
		a->texts[i] = mem_strdup(*(const char *const *)((const char *)e + offsets[i]));
	}
}

/* The event ends a matter; what has not been told of it needs not be told any more. */
static bool settles(struct alerts_book *b, const struct log_entry *e)
{
	if (!e->account)
		return false;
	if (e->event == EV_ACCOUNT_RESUMED) {
		settle(b, ALERT_SUSPENDED, e->account);
		return true;
	}
	if (e->event == EV_ENVELOPE_CHANGED && e->level == LVL_NOTICE) { /* it is back */
		settle(b, ALERT_ENVELOPE_CHANGED, e->account);
		return true;
	}
	return false;
}

struct alert *alert_note(struct alerts_book *b, const struct log_entry *e, msec_t now, wall_t wall)
{
	enum alert_kind kind = 0;
	struct alert *a;

	if (settles(b, e) || e->own_alert)
		return NULL;
	while (kind < ALERT_KIND_COUNT && kinds[kind].event != e->event)
		kind++;
	if (kind == ALERT_KIND_COUNT)
		return NULL;
	const char *name = kinds[kind].of_relay ? e->relay : e->account;
	if (!name)
		return NULL;
	if (kind == ALERT_RELAY_DOWN) {
		a = note_down(b, name, now, wall);
	} else if (kind == ALERT_RELAY_UP) {
		a = note_up(b, name, now, wall);
	} else {
		a = matter(b, kind, name, now);
		if (a)
			add(a, 1, now, wall);
	}
	if (a)
		keep_texts(a, e);
	return a;
}

static msec_t due_at(const struct alert *a, bool at_once)
{
	msec_t gather = a->kind == ALERT_RELAY_DOWN ? ALERT_BLINK_MSEC : ALERT_GATHER_MSEC;
	msec_t gathered = at_once ? a->since : a->since + gather;

	return gathered > a->allowed ? gathered : a->allowed;
}

struct alert *alert_due(struct alerts_book *b, msec_t now, bool at_once)
{
	struct alert *first = NULL;

	for (size_t i = 0; i < b->n; i++) {
		struct alert *a = &b->items[i];
		if (a->count && due_at(a, at_once) <= now && (!first || a->since < first->since))
			first = a;
	}
	return first;
}

msec_t alert_next(const struct alerts_book *b)
{
	msec_t next = MSEC_NEVER;

	for (size_t i = 0; i < b->n; i++)
		if (b->items[i].count && due_at(&b->items[i], false) < next)
			next = due_at(&b->items[i], false);
	return next;
}

struct alert *alert_find(const struct alerts_book *b, enum alert_kind kind, const char *name)
{
	return find(b, kind, name);
}

void alert_told(struct alert *a, uint32_t count, msec_t now)
{
	a->count -= count < a->count ? count : a->count;
	a->since = now;
	a->first_at = a->last_at; /* all that is left came while the mail was on its way */
	a->allowed = now + ALERT_EVERY_MSEC;
	a->put_off = 0;
}

bool alert_put_off(struct alert *a, uint32_t patience, msec_t now)
{
	if (++a->put_off < patience)
		return false;
	a->allowed = now + ALERT_ASIDE_MSEC;
	return true;
}

struct alert *alert_is_back(
	struct alerts_book *b, const struct alert *down, msec_t now, wall_t wall)
{
	AUTO(mem_freep) char *name = mem_strdup(down->name);

	return note_up(b, name, now, wall);
}
