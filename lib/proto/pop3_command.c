/*
 * The commands after the login; see pop3.h and pop3_impl.h.
 *
 * Owns the queue. Invariants: commands leave in order and are answered in order; [head, next) are
 * on the wire, [next, n) wait.
 */
#include "proto/pop3_impl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* "TOP", two numbers of ten digits, spaces and CRLF, rounded up. */
#define QUEUED_COMMAND_MAX_OCTETS 32

/* ---- what the answers mean ---- */

static int status_stat(struct pop3 *p, const struct pop3_reply *r, struct pop3_event *ev)
{
	if (pop3_stat_parse(r->text, &p->count, &ev->octets))
		return pop3_err_said(p, ERR_PROTO, "bad answer to STAT", r->text);
	if (p->count > POP3_LISTING_MAX)
		return err_set(&p->err, ERR_LIMIT, 0,
			"%u messages in the maildrop, the limit is %u", p->count, POP3_LISTING_MAX);
	ev->number = p->count;
	return 0;
}

static int status_listing(struct pop3 *p, const struct pop3_reply *r, struct pop3_event *ev)
{
	free(p->seen);
	p->seen = mem_zalloc(p->count / 8 + 1);
	return 0;
}

/* A number twice would make the count right and the listing wrong. */
static int mark_listed(struct pop3 *p, uint32_t number)
{
	uint8_t bit = (uint8_t)(1 << number % 8);

	if (p->seen[number / 8] & bit)
		return err_set(&p->err, ERR_PROTO, 0, "%s: message %u is listed twice",
			pop3_state_name(p), number);
	p->seen[number / 8] |= bit;
	return 0;
}

static int item_uidl(struct pop3 *p, struct strview line, struct pop3_event *ev)
{
	if (pop3_uidl_parse(line, p->count, &ev->number, &ev->uid) == 1)
		return pop3_err_said(p, ERR_PROTO, "bad line in the answer to UIDL", line);
	return mark_listed(p, ev->number);
}

static int item_list(struct pop3 *p, struct strview line, struct pop3_event *ev)
{
	if (pop3_list_parse(line, p->count, &ev->number, &ev->octets))
		return pop3_err_said(p, ERR_PROTO, "bad line in the answer to LIST", line);
	return mark_listed(p, ev->number);
}

static const struct command_row commands[] = {
	[CMD_STAT] = { "STAT", .end = POP3_STAT, .status = status_stat },
	[CMD_UIDL] = { "UIDL", 0, BODY_LINES, POP3_NONE, POP3_UIDL_ITEM, POP3_UIDL_END,
		POP3_UIDL_ERR, status_listing, item_uidl },
	[CMD_LIST] = { "LIST", 0, BODY_LINES, POP3_NONE, POP3_LIST_ITEM, POP3_LIST_END,
		.status = status_listing, .item = item_list },
	[CMD_RETR] = { "RETR", 1, BODY_CONTENT, POP3_RETR_START, POP3_RETR_DATA, POP3_RETR_END,
		POP3_RETR_ERR },
	[CMD_TOP] = { "TOP", 2, BODY_CONTENT, POP3_TOP_START, POP3_TOP_DATA, POP3_TOP_END,
		POP3_TOP_ERR },
	[CMD_DELE] = { "DELE", 1, .end = POP3_DELE_OK, .err = POP3_DELE_ERR },
	[CMD_NOOP] = { "NOOP", .end = POP3_NOOP_OK },
	[CMD_QUIT] = { "QUIT", .end = POP3_QUIT_OK, .err = POP3_QUIT_ERR },
};
static_assert(ARRAY_LEN(commands) == CMD_COUNT, "one row per command");

const struct command_row *pop3_answering_row(const struct pop3 *p)
{
	return &commands[pop3_answering(p)->kind];
}

/* ---- the queue ---- */

static int say_command(struct pop3 *p, struct command *c)
{
	const struct command_row *row = &commands[c->kind];
	char args[QUEUED_COMMAND_MAX_OCTETS];
	size_t before = p->out.len;
	int len = 0;

	if (row->args == 1)
		len = snprintf(args, sizeof args, "%u", c->number);
	else if (row->args == 2)
		len = snprintf(args, sizeof args, "%u %u", c->number, c->lines);
	if (pop3_say(p, row->verb, sv(row->args ? args : NULL, (size_t)len)) < 0)
		return -1;
	c->octets = (uint8_t)(p->out.len - before);
	p->flight_octets += c->octets;
	return 0;
}

/* RFC 2449 section 6.6: the group must fit into the window, or both sides may wait for ever. */
static bool window_open(const struct pop3 *p)
{
	size_t flight = p->next - p->head;

	if (!p->caps.pipelining)
		return !flight;
	return flight < POP3_WINDOW_COMMANDS &&
		p->flight_octets + QUEUED_COMMAND_MAX_OCTETS <= POP3_WINDOW_OCTETS;
}

static void pump(struct pop3 *p, msec_t now)
{
	bool was_idle = !pop3_answering(p);

	while (p->next < p->n && window_open(p))
		ensure(say_command(p, &p->queue[p->next++]) == 0);
	if (was_idle)
		pop3_await_answer(p, now);
}

static void enqueue(struct pop3 *p, struct command c, msec_t now)
{
	ensure(p->state == ST_READY && !p->quit_asked);
	if (p->n == p->cap && p->head > p->cap / 2) { /* rather move than grow */
		memmove(p->queue, p->queue + p->head, (p->n - p->head) * sizeof *p->queue);
		p->next -= p->head;
		p->n -= p->head;
		p->head = 0;
	}
	mem_grow(&p->queue, &p->cap, p->n + 1, sizeof *p->queue);
	p->queue[p->n++] = c;
	pump(p, now);
}

void pop3_answered(struct pop3 *p, msec_t now)
{
	const struct command *c = pop3_answering(p);

	p->body = BODY_NONE;
	p->flight_octets -= c->octets;
	p->head++;
	if (p->head == p->n)
		p->head = p->next = p->n = 0;
	if (c->kind == CMD_QUIT) {
		pop3_go(p, ST_CLOSED, now, NULL);
		return;
	}
	pop3_await_answer(p, now);
	pump(p, now);
}

/* ---- answers in the order of the commands ---- */

/* Nobody asked: the server says goodbye (autologout), or we are out of step. */
static enum state unasked(struct pop3 *p, const struct pop3_reply *r)
{
	if (r->ok)
		return pop3_refused(p, ERR_PROTO, "an answer that no command asked for", r);
	return pop3_refused(p, pop3_error_class(r), "the server ends the session", r);
}

void pop3_answer(struct pop3 *p, struct strview line, const struct pop3_reply *r, msec_t now,
	struct pop3_event *ev)
{
	const struct command *c = pop3_answering(p);

	if (!c) {
		pop3_go(p, unasked(p, r), now, ev);
		return;
	}
	const struct command_row *row = pop3_answering_row(p);
	if (!r->ok && !row->err) {
		pop3_go(p, pop3_refused(p, pop3_error_class(r), row->verb, r), now, ev);
		return;
	}
	ev->number = c->number;
	ev->reply = line;
	if (r->ok && row->status && row->status(p, r, ev) < 0) {
		pop3_go(p, ST_FAILED, now, ev);
	} else if (r->ok && row->body) {
		ev->type = row->start;
		pop3_body_begin(p, row->body, now);
		unstuff_init(&p->unstuff, p->params.lf_lines);
	} else {
		ev->type = r->ok ? row->end : row->err;
		pop3_answered(p, now);
	}
}

/* ---- the driver's side ---- */

void pop3_stat(struct pop3 *p, msec_t now)
{
	p->stat_asked = true;
	enqueue(p, (struct command){ .kind = CMD_STAT }, now);
}

void pop3_uidl(struct pop3 *p, msec_t now)
{
	ensure(p->stat_asked);
	enqueue(p, (struct command){ .kind = CMD_UIDL }, now);
}

void pop3_list(struct pop3 *p, msec_t now)
{
	ensure(p->stat_asked);
	enqueue(p, (struct command){ .kind = CMD_LIST }, now);
}

void pop3_retr(struct pop3 *p, uint32_t number, msec_t now)
{
	enqueue(p, (struct command){ .kind = CMD_RETR, .number = number }, now);
}

void pop3_top(struct pop3 *p, uint32_t number, uint32_t lines, msec_t now)
{
	enqueue(p, (struct command){ .kind = CMD_TOP, .number = number, .lines = lines }, now);
}

void pop3_dele(struct pop3 *p, uint32_t number, msec_t now)
{
	enqueue(p, (struct command){ .kind = CMD_DELE, .number = number }, now);
}

void pop3_noop(struct pop3 *p, msec_t now)
{
	enqueue(p, (struct command){ .kind = CMD_NOOP }, now);
}

void pop3_quit(struct pop3 *p, msec_t now)
{
	enqueue(p, (struct command){ .kind = CMD_QUIT }, now);
	p->quit_asked = true;
}

size_t pop3_pending(const struct pop3 *p)
{
	return p->n - p->head;
}
