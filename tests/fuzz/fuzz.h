/*
 * What the targets share: the entry point, and for the protocol machines an input in turns.
 *
 * A target's first octets choose the scene: parameters, and the seed that the cuts come from. What
 * follows is text in turns, each ended by one of enum turn_end: the server says a turn before it
 * waits for us. A machine gets each turn twice, in one play whole and in another in pieces, and
 * must do the same in both.
 */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "base/strbuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum turn_end {
	TURN_END = '\x1d',    /* the server waits */
	TURN_SILENT = '\x1c', /* ... too long: the deadline passes */
	TURN_PAUSE = '\x1e',  /* we had stopped reading */
	TURN_LAST = 0         /* there is no more */
};

/* Cuts the next turn off *rest. */
static inline struct strview next_turn(struct strview *rest, enum turn_end *end)
{
	struct strview turn = *rest;
	size_t n = 0;

	while (n < rest->len && (rest->ptr[n] < TURN_SILENT || rest->ptr[n] > TURN_PAUSE))
		n++;
	*end = n < rest->len ? (enum turn_end)rest->ptr[n] : TURN_LAST;
	turn.len = n;
	*rest = sv_skip(*rest, n + 1);
	return turn;
}

struct cut {
	uint32_t state;    /* xorshift; 0: nothing is cut */
	bool within_lines; /* never right behind a LF */
};

/* The next piece of `rest`; at least an octet of what is not empty. */
static inline struct strview next_piece(struct cut *c, struct strview rest)
{
	struct strview piece = rest;

	if (!c->state || !rest.len)
		return piece;
	c->state ^= c->state << 13;
	c->state ^= c->state >> 17;
	c->state ^= c->state << 5;
	piece.len = 1 + c->state % (c->state & 0x10000 ? 3 : 61);
	if (piece.len > rest.len)
		piece.len = rest.len;
	while (c->within_lines && piece.len < rest.len && piece.ptr[piece.len - 1] == '\n')
		piece.len++;
	return piece;
}

static inline bool has(struct strview text, const char *word)
{
	return text.len && memmem(text.ptr, text.len, word, strlen(word));
}
