/*
 * The provider: a POP3 server (RFC 1939, 2449) for one maildrop; see sim_world.h.
 *
 * Owns nothing; the listing of a session is in its dialog. Deletions count at QUIT, not before.
 */
#include "sim_world.h"

static void greet(struct conn *c)
{
	conn_say(c, "+OK\r\n");
}

static void capa(struct conn *c, struct strview argument)
{
	const struct scenario *s = conn_world(c)->scenario;

	conn_say(c, "+OK\r\nUSER\r\n%s%s.\r\n", s->no_uidl ? "" : "UIDL\r\n",
		s->pipelining ? "PIPELINING\r\n" : "");
}

static void user(struct conn *c, struct strview argument)
{
	conn_say(c, "+OK\r\n");
}

static void pass(struct conn *c, struct strview argument)
{
	struct dialog *d = conn_dialog(c);
	struct world *w = conn_world(c);

	for (unsigned i = 0; i < w->nmessages; i++)
		if (w->messages[i].listed)
			d->listed[d->nlisted++] = &w->messages[i];
	conn_say(c, "+OK\r\n");
}

static void count(struct conn *c, struct strview argument)
{
	struct dialog *d = conn_dialog(c);
	size_t octets = 0;

	for (unsigned i = 0; i < d->nlisted; i++)
		octets += d->listed[i]->text.len;
	conn_say(c, "+OK %u %zu\r\n", d->nlisted, octets);
}

static void list(struct conn *c, struct strview argument)
{
	struct dialog *d = conn_dialog(c);

	conn_say(c, "+OK\r\n");
	for (unsigned i = 0; i < d->nlisted; i++)
		conn_say(c, "%u %zu\r\n", i + 1, d->listed[i]->text.len);
	conn_say(c, ".\r\n");
}

static void uidl(struct conn *c, struct strview argument)
{
	struct dialog *d = conn_dialog(c);

	if (conn_world(c)->scenario->no_uidl) {
		conn_say(c, "-ERR\r\n");
		return;
	}
	conn_say(c, "+OK\r\n");
	for (unsigned i = 0; i < d->nlisted; i++)
		conn_say(c, "%u %s\r\n", i + 1, d->listed[i]->uid);
	conn_say(c, ".\r\n");
}

/* The message that a command names; NULL: there is none, and that has been said. */
static struct message *named(struct conn *c, struct strview argument, unsigned *index)
{
	struct dialog *d = conn_dialog(c);
	uint64_t number;

	if (!sv_number(argument, d->nlisted, &number) || !number || d->deleted[number - 1]) {
		conn_say(c, "-ERR\r\n");
		return NULL;
	}
	*index = (unsigned)number - 1;
	return d->listed[*index];
}

static void retr(struct conn *c, struct strview argument)
{
	unsigned index;
	struct message *m = named(c, argument, &index);

	if (!m)
		return;
	conn_world(c)->retrs++;
	conn_say(c, "+OK\r\n");
	for (struct strview line, rest = strbuf_view(&m->text); rest.len;) {
		line = sv_token(&rest, '\n');
		conn_say(c, "%s%.*s\n", sv_starts(line, SV(".")) ? "." : "", SV_FMT(line));
	}
	conn_say(c, ".\r\n");
}

static void dele(struct conn *c, struct strview argument)
{
	unsigned index;
	struct message *m = named(c, argument, &index);

	if (!m)
		return;
	world_dele(conn_world(c), m);
	conn_dialog(c)->deleted[index] = true;
	conn_say(c, "+OK\r\n");
}

static void noop(struct conn *c, struct strview argument)
{
	conn_say(c, "+OK\r\n");
}

static void quit(struct conn *c, struct strview argument)
{
	struct dialog *d = conn_dialog(c);
	size_t from = conn_said(c);

	for (unsigned i = 0; i < d->nlisted; i++)
		if (d->deleted[i])
			d->listed[i]->listed = false;
	conn_say(c, "+OK\r\n");
	conn_critical(c, from, strlen("QUIT\r\n"));
	conn_bye(c);
}

static void on_line(struct conn *c, struct strview line)
{
	static const struct {
		const char *verb;
		void (*fn)(struct conn *c, struct strview argument);
	} commands[] = { { "CAPA", capa }, { "USER", user }, { "PASS", pass }, { "STAT", count },
		{ "LIST", list }, { "UIDL", uidl }, { "RETR", retr }, { "DELE", dele },
		{ "NOOP", noop }, { "QUIT", quit } };
	struct strview rest = line, verb = sv_token(&rest, ' ');

	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (!sv_ieq(verb, sv_str(commands[i].verb)))
			continue;
		commands[i].fn(c, rest);
		return;
	}
	world_break(conn_world(c), "a POP3 command that nobody knows: %.*s", SV_FMT(line));
	conn_say(c, "-ERR\r\n");
}

const struct service pop3_service = { POP3_OUT, POP3_IN, greet, on_line };
