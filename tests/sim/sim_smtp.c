/*
 * The in-house server: SMTP (RFC 5321) or LMTP (RFC 2033); see sim_world.h.
 *
 * Owns nothing; a transaction is in its connection's dialog. A message counts as arrived when its
 * final dot has been read, whatever becomes of the reply.
 */
#include "sim_world.h"

#include <stdio.h>

static void greet(struct conn *c)
{
	conn_say(c, "220 h\r\n");
}

static void end_transaction(struct conn *c)
{
	struct dialog *d = conn_dialog(c);

	d->data = false;
	d->nrcpts = 0;
	strbuf_free(&d->content);
}

static void hello(struct conn *c, struct strview line)
{
	conn_say(c, "250-h\r\n%s250 SIZE\r\n",
		conn_world(c)->scenario->pipelining ? "250-PIPELINING\r\n" : "");
}

static void mail(struct conn *c, struct strview line)
{
	conn_world(c)->transactions++;
	end_transaction(c);
	conn_say(c, "250\r\n");
}

/* The third recipient's mailbox is busy in the first cycle, everybody's in the second. */
static bool refused(struct conn *c, const char *rcpt, enum stage stage)
{
	struct world *w = conn_world(c);
	const struct scenario *s = w->scenario;

	if (w->cycle)
		return w->cycle == 1 && s->busy == stage;
	return s->later && stage == (s->lmtp ? AT_DOT : AT_RCPT) && rcpt[0] == 'c';
}
static void rcpt(struct conn *c, struct strview line)
{
	struct dialog *d = conn_dialog(c);
	struct strview address = sv_skip(line, strlen("RCPT TO:<"));

	address = sv_token(&address, '>');
	if (d->nrcpts == RCPTS_MAX || address.len >= sizeof d->rcpts[0]) {
		world_break(conn_world(c), "a recipient too many: %.*s", SV_FMT(address));
		conn_say(c, "550 no\r\n");
		return;
	}
	snprintf(d->rcpts[d->nrcpts], sizeof d->rcpts[0], "%.*s", SV_FMT(address));
	if (refused(c, d->rcpts[d->nrcpts], AT_RCPT)) {
		conn_say(c, "450 busy\r\n");
		return;
	}
	d->nrcpts++;
	conn_say(c, "250\r\n");
}

static void data(struct conn *c, struct strview line)
{
	struct dialog *d = conn_dialog(c);

	d->data = d->nrcpts;
	conn_say(c, d->data ? "354\r\n" : "554 nobody\r\n");
}

static void accept_mail(struct conn *c)
{
	struct dialog *d = conn_dialog(c);
	struct world *w = conn_world(c);
	size_t from = conn_said(c);

	for (unsigned i = 0; i < d->nrcpts; i++) {
		bool later = refused(c, d->rcpts[i], AT_DOT);
		if (w->scenario->lmtp || !i)
			conn_say(c, later ? "450 busy\r\n" : "250\r\n");
		if (!later)
			world_arrived(w, conn_number(c), d->rcpts[i], strbuf_view(&d->content),
				conn_said(c));
	}
	conn_critical(c, from, strlen("\r\n.\r\n"));
	end_transaction(c);
}

static void rset(struct conn *c, struct strview line)
{
	end_transaction(c);
	conn_say(c, "250\r\n");
}

static void quit(struct conn *c, struct strview line)
{
	size_t from = conn_said(c);

	conn_say(c, "221\r\n");
	conn_critical(c, from, strlen("QUIT\r\n"));
	conn_bye(c);
}

static void on_content(struct conn *c, struct strview line)
{
	struct dialog *d = conn_dialog(c);

	if (sv_eq(line, SV("."))) {
		accept_mail(c);
		return;
	}
	strbuf_addv(&d->content, sv_skip(line, sv_starts(line, SV("."))));
	strbuf_adds(&d->content, "\r\n");
}

static void on_line(struct conn *c, struct strview line)
{
	static const struct {
		const char *command;
		void (*fn)(struct conn *c, struct strview line);
	} commands[] = { { "EHLO ", hello }, { "LHLO ", hello }, { "MAIL FROM:<", mail },
		{ "RCPT TO:<", rcpt }, { "DATA", data }, { "RSET", rset }, { "QUIT", quit } };

	if (conn_dialog(c)->data) {
		on_content(c, line);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (!sv_istarts(line, sv_str(commands[i].command)))
			continue;
		commands[i].fn(c, line);
		return;
	}
	world_break(conn_world(c), "an SMTP command that nobody knows: %.*s", SV_FMT(line));
	conn_say(c, "500 what\r\n");
}

const struct service smtp_service = { SMTP_OUT, SMTP_IN, greet, on_line };
