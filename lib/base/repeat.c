/*
 * Counting of failures that repeat; see repeat.h.
 *
 * A slot is there for at most a window after the last entry of its subject. `written` is the budget
 * of lines in that time and survives an end, so that failing now and then floods no log either.
 */
#include "base/repeat.h"

#include <stdlib.h>
#include <string.h>

enum text { ACCOUNT, PROVIDER, RELAY, ERROR, REASON, REPLY, TEXT, TEXT_COUNT };

static const size_t offsets[TEXT_COUNT] = {
	[ACCOUNT] = offsetof(struct log_entry, account),
	[PROVIDER] = offsetof(struct log_entry, provider),
	[RELAY] = offsetof(struct log_entry, relay),
	[ERROR] = offsetof(struct log_entry, error),
	[REASON] = offsetof(struct log_entry, reason),
	[REPLY] = offsetof(struct log_entry, reply),
	[TEXT] = offsetof(struct log_entry, text),
};

struct repeat_slot {
	enum log_event event;
	enum log_level level;
	char *texts[TEXT_COUNT]; /* of the latest entry that was not written */
	msec_t since, end;       /* last line; of this window */
	uint64_t counted;
	bool over;
	uint32_t variants[REPEAT_BURST]; /* a ring: what has been said since the latest end */
	unsigned nvariants, written;     /* all that went into the ring; lines in this window */
};

static const char *text_of(const struct log_entry *e, enum text which)
{
	return *(const char *const *)((const char *)e + offsets[which]);
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

/* FNV-1a without digits: serial numbers, times and ports make no difference. */
static uint32_t variant_of(const struct log_entry *e)
{
	uint32_t hash = 2166136261;

	for (enum text i = REASON; i < TEXT_COUNT; i++)
		for (const char *p = text_of(e, i); p && *p; p++)
			if (*p < '0' || *p > '9')
				hash = (hash ^ (unsigned char)*p) * 16777619;
	return hash;
}

static void keep_latest(struct repeat_slot *s, const struct log_entry *e)
{
	s->event = e->event;
	for (enum text i = 0; i < TEXT_COUNT; i++) {
		free(s->texts[i]);
		s->texts[i] = mem_strdup(text_of(e, i));
	}
}

/*
 * A relay's comings and goings are one subject: each is news, and the summary of a flood of them is
 * the last, so that it tells how things are.
 */
static bool is_change(enum log_event event)
{
	return event == EV_RELAY_UP || event == EV_RELAY_DOWN;
}

static msec_t window_of(enum log_event event)
{
	return is_change(event) ? REPEAT_CHANGE_MSEC : REPEAT_MSEC;
}

static bool is_subject(const struct repeat_slot *s, const struct log_entry *e)
{
	if (!same(s->texts[ACCOUNT], e->account) || !same(s->texts[RELAY], e->relay))
		return false;
	if (is_change(e->event))
		return is_change(s->event);
	return s->event == e->event && same(s->texts[ERROR], e->error);
}

static struct repeat_slot *find(struct repeat *r, const struct log_entry *e)
{
	for (size_t i = 0; i < r->n; i++) {
		struct repeat_slot *s = &r->slots[i];
		if (is_subject(s, e))
			return s;
	}
	return NULL;
}

static struct repeat_slot *add(struct repeat *r, const struct log_entry *e, msec_t now)
{
	if (r->n == REPEAT_SLOTS)
		return NULL;
	mem_grow(&r->slots, &r->cap, r->n + 1, sizeof *r->slots);
	struct repeat_slot *s = &r->slots[r->n++];
	*s = (struct repeat_slot){ .end = now + window_of(e->event) };
	keep_latest(s, e);
	return s;
}

static void drop(struct repeat *r, struct repeat_slot *s)
{
	for (enum text i = 0; i < TEXT_COUNT; i++)
		free(s->texts[i]);
	*s = r->slots[--r->n];
}

static bool is_news(const struct repeat_slot *s, uint32_t variant)
{
	for (unsigned i = 0; i < s->nvariants && i < REPEAT_BURST; i++)
		if (s->variants[i] == variant && !is_change(s->event))
			return false;
	return s->written < REPEAT_BURST;
}

bool repeat_admit(struct repeat *r, const struct log_entry *e, enum log_level level, msec_t now)
{
	uint32_t variant = variant_of(e);

	if (!log_event_counted(e->event))
		return true;
	struct repeat_slot *s = find(r, e);
	if (!s)
		s = add(r, e, now);
	if (!s)
		return true;
	if (is_news(s, variant)) {
		s->variants[s->nvariants++ % REPEAT_BURST] = variant;
		s->written++;
		if (!s->counted)
			s->since = now;
		return true;
	}
	keep_latest(s, e);
	s->level = level;
	s->counted++;
	return false;
}

static bool ends(const struct log_entry *e, const struct repeat_slot *s)
{
	if (e->event == EV_CYCLE_FINISHED)
		return e->account && same(s->texts[ACCOUNT], e->account);
	return is_change(e->event) && !is_change(s->event) && !s->texts[ACCOUNT] &&
		same(s->texts[RELAY], e->relay);
}

void repeat_end(struct repeat *r, const struct log_entry *e)
{
	for (size_t i = 0; i < r->n; i++) {
		struct repeat_slot *s = &r->slots[i];
		if (!ends(e, s))
			continue;
		s->over = true;
		s->nvariants = 0;
	}
}

static void sum_up(struct repeat_slot *s, msec_t now, struct repeat_summary *out)
{
	*out = (struct repeat_summary){
		.entry = { .event = s->event,
			.account = s->texts[ACCOUNT],
			.provider = s->texts[PROVIDER],
			.relay = s->texts[RELAY],
			.error = s->texts[ERROR],
			.reason = s->texts[REASON],
			.reply = s->texts[REPLY],
			.text = s->texts[TEXT],
			.repeated = s->counted },
		.level = s->level,
		.age = now - s->since,
	};
	s->counted = 0;
	s->since = now;
}

bool repeat_next(struct repeat *r, msec_t now, bool all, struct repeat_summary *out)
{
	size_t i = 0;

	while (i < r->n) {
		struct repeat_slot *s = &r->slots[i];
		bool late = now >= s->end;
		if (late && !s->counted) {
			drop(r, s);
			continue;
		}
		if (late) {
			s->end = now + window_of(s->event);
			s->written = 0;
		}
		bool over = s->over && s->written < REPEAT_BURST;
		s->over = false;
		if (s->counted && (late || over || all)) {
			s->written += over;
			sum_up(s, now, out);
			return true;
		}
		i++;
	}
	return false;
}

void repeat_free(struct repeat *r)
{
	while (r->n)
		drop(r, &r->slots[r->n - 1]);
	free(r->slots);
	*r = (struct repeat){ 0 };
}
