/*
 * What there is to know about a run, and the verdict; see sim_world.h.
 *
 * Owns the messages and the list of copies. A rule that is broken is noted when it is seen, the
 * first one stands: all after it may be its consequence.
 */
#include "sim_world.h"

#include <stdarg.h>
#include <stdio.h>

#define DOMAIN "f.e"

static const char *const people[] = { "a@" DOMAIN, "b@" DOMAIN, "c@" DOMAIN };

/* splitmix64: the same seed, the same samples and delays. */
uint64_t sim_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

void world_break(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->broken[0])
		return;
	va_start(ap, fmt);
	vsnprintf(w->broken, sizeof w->broken, fmt, ap);
	va_end(ap);
}

/* ---- the maildrop ---- */

/* `again`: a UID that was used before; the message is of another size, as LIST will tell. */
static void put(struct world *w, const char *uid, unsigned nrcpts, bool again)
{
	struct message *m = &w->messages[w->nmessages];

	ensure(w->nmessages < MESSAGES_MAX);
	snprintf(m->uid, sizeof m->uid, "%s", uid);
	m->nrcpts = nrcpts;
	m->listed = true;
	strbuf_adds(&m->text, "X-To: ");
	for (unsigned i = 0; i < nrcpts; i++) {
		m->rcpts[i] = people[i];
		strbuf_addf(&m->text, "%s%s", i ? ", " : "", people[i]);
	}
	strbuf_adds(&m->text, "\r\n");
	m->kept = m->text.len;
	strbuf_addf(&m->text, "From: s@x\r\nMessage-ID: <%u@x>\r\n\r\n", w->nmessages);
	strbuf_adds(&m->text, again ? ".again\r\n.\r\n" : ".\r\nx\r\n");
	w->nmessages++;
}

void world_free(struct world *w)
{
	for (unsigned i = 0; i < w->nmessages; i++)
		strbuf_free(&w->messages[i].text);
	w->nmessages = 0;
}

void world_reset(struct world *w)
{
	world_free(w);
	memset(w->messages, 0, sizeof w->messages);
	memset(w->copies, 0, sizeof w->copies);
	w->ncopies = w->cycle = 0;
	w->struck = false;
	w->broken[0] = '\0';
	put(w, "u1", 1, false);
	put(w, "u2", 2, false);
	put(w, "u3", 3, false);
}

void world_reuse_uids(struct world *w)
{
	for (unsigned i = 0; i < 3; i++)
		if (!w->messages[i].listed)
			put(w, w->messages[i].uid, 1, true);
}

bool world_untouched(const struct world *w)
{
	return w->scenario->no_uidl && w->scenario->keep;
}

unsigned world_listed(const struct world *w)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w->nmessages; i++)
		n += w->messages[i].listed;
	return n;
}

static unsigned copies_of(const struct world *w, unsigned message, unsigned rcpt)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w->ncopies; i++)
		n += w->copies[i].message == message && w->copies[i].rcpt == rcpt;
	return n;
}

void world_dele(struct world *w, struct message *m)
{
	unsigned number = (unsigned)(m - w->messages);

	w->deles++;
	m->dele |= !w->cycle;
	if (w->scenario->keep)
		world_break(w, "DELE of message %u, which is to be kept", number);
	for (unsigned i = 0; i < m->nrcpts; i++)
		if (!copies_of(w, number, i))
			world_break(w, "DELE of message %u, and %s does not have it", number,
				m->rcpts[i]);
}

/* ---- arrivals ---- */

static struct strview field(struct strview content, const char *name)
{
	for (struct strview line; (line = sv_token(&content, '\n')).len > 1;)
		if (sv_istarts(line, sv_str(name)))
			return sv_trim(sv_skip(line, strlen(name)));
	return sv("", 0);
}

/* The message that the content ends with, octet by octet; -1: torn or changed. */
static int recognise(const struct world *w, struct strview content)
{
	for (unsigned i = 0; i < w->nmessages; i++) {
		const struct strbuf *text = &w->messages[i].text;
		struct strview kept = sv_skip(strbuf_view(text), w->messages[i].kept);
		struct strview added = sv("", 0);
		if (content.len > kept.len)
			added = sv_skip(content, content.len - kept.len);
		if (sv_eq(added, kept))
			return (int)i;
	}
	return -1;
}

static int position(const struct message *m, const char *rcpt)
{
	for (unsigned i = 0; i < m->nrcpts; i++)
		if (!strcmp(m->rcpts[i], rcpt))
			return (int)i;
	return -1;
}

void world_arrived(
	struct world *w, unsigned conn, const char *rcpt, struct strview content, size_t reply_end)
{
	int message = recognise(w, content);
	int who = message < 0 ? -1 : position(&w->messages[message], rcpt);
	struct copy *c = &w->copies[w->ncopies];
	struct strview id = field(content, "X-Multidrop-Id:");

	if (message < 0) {
		world_break(w, "something that was never in the maildrop arrived for %s", rcpt);
	} else if (who < 0) {
		world_break(w, "message %d arrived for %s", message, rcpt);
	} else if (w->ncopies == COPIES_MAX) {
		world_break(w, "copies without end");
	} else {
		*c = (struct copy){ .message = (unsigned)message,
			.rcpt = (unsigned)who,
			.cycle = w->cycle,
			.conn = conn,
			.marked = field(content, "X-Multidrop-In-Doubt:").len,
			.reply_end = reply_end };
		snprintf(c->id, sizeof c->id, "%.*s", SV_FMT(id));
		w->ncopies++;
	}
}

void world_sent(struct world *w)
{
	for (unsigned i = 0; i < w->ncopies; i++)
		if (w->copies[i].cycle == w->cycle)
			w->copies[i].answered |= w->copies[i].reply_end <= w->streams[SMTP_OUT].n;
}

void world_spoken(struct world *w, unsigned conn)
{
	for (unsigned i = 0; i < w->ncopies; i++)
		if (w->copies[i].cycle == w->cycle && w->copies[i].conn == conn)
			w->copies[i].spoken |= w->copies[i].answered;
}

void world_unconfirmed(struct world *w, bool forget)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w->ncopies; i++) {
		struct copy *c = &w->copies[i];
		if (!c->answered && forget)
			continue;
		if (!c->answered)
			c->reply_end = SIZE_MAX;
		w->copies[n++] = *c;
	}
	w->ncopies = n;
}

/* ---- the verdict ---- */

/*
 * Must the daemon know of this copy, so that it may not send another? A live one knows what it was
 * told. A killed one had written the outcome down before it said the next word to anybody. When
 * the machine goes down as well, it had to be on the disk before the DELE.
 */
static bool world_known(const struct world *w, const struct copy *c, const struct mishap *mishap)
{
	bool alive = !w->struck || !mishap->kind->dies || c->cycle;

	if (alive)
		return c->answered;
	return w->messages[c->message].dele || (c->spoken && !mishap->kind->power);
}

static unsigned judge_recipient(
	struct world *w, unsigned message, unsigned rcpt, const struct mishap *mishap)
{
	const struct copy *first = NULL, *before = NULL;
	unsigned n = 0;

	for (unsigned i = 0; i < w->ncopies; i++) {
		const struct copy *c = &w->copies[i];
		if (c->message != message || c->rcpt != rcpt)
			continue;
		first = first ? first : c;
		if (before && !c->marked)
			world_break(
				w, "message %u came to %s again, unmarked", message, people[rcpt]);
		if (before && world_known(w, before, mishap))
			world_break(w, "message %u came to %s again without need", message,
				people[rcpt]);
		if (!c->id[0] || strcmp(c->id, first->id))
			world_break(w, "message %u came to %s with another X-Multidrop-Id", message,
				people[rcpt]);
		if (!w->struck && c->marked)
			world_break(w, "message %u is marked, and nothing happened", message);
		before = c;
		n++;
	}
	if (!n && !world_untouched(w))
		world_break(w, "message %u is LOST for %s", message, people[rcpt]);
	return n ? n - 1 : 0;
}

void world_judge(struct world *w, const struct mishap *mishap)
{
	w->extra = w->marked = 0;
	for (unsigned m = 0; m < w->nmessages; m++)
		for (unsigned r = 0; r < w->messages[m].nrcpts; r++)
			w->extra += judge_recipient(w, m, r, mishap);
	for (unsigned i = 0; i < w->ncopies; i++)
		w->marked += w->copies[i].marked;
	if (world_listed(w) != (w->scenario->keep ? w->nmessages : 0))
		world_break(w, "%u messages are in the maildrop at the end", world_listed(w));
	if (world_untouched(w) && w->ncopies)
		world_break(w, "delivered without a UID to know it by");
}
