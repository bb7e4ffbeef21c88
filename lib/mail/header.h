/*
 * The header block of a message (RFC 5322 section 2.2), as bytes and fields with their places.
 *
 * Bytes are pushed, fields come out; the block is kept as it was, views point into it. A field's
 * raw bytes include its line ends, so leaving one out gives the rest byte for byte. Limits make a
 * hostile block end the parse, never the process.
 */
#pragma once

#include "base/strbuf.h"

#define HEADER_BLOCK_MAX_OCTETS (1024 * 1024)
#define HEADER_FIELDS_MAX       4000
#define HEADER_FIELD_MAX_OCTETS (256 * 1024) /* a longer field is kept, but not evaluated */

struct header_field {
	struct strview name;  /* without the colon and white space before it */
	struct strview value; /* behind the colon, folded, as it stands */
	struct strview raw;   /* the whole field with its line ends */
	uint32_t line;        /* of its first line, counted from 1 in the message as it stands */
	bool malformed;       /* a line that is no field and no continuation; name is empty */
	bool too_long;        /* above HEADER_FIELD_MAX_OCTETS */
};

enum header_state {
	HEADER_MORE,     /* the block goes on */
	HEADER_COMPLETE, /* the blank line was seen, or the message ended in its header */
	HEADER_LIMIT     /* over a limit: what was read so far is there, the message is not fit to
			    resolve */
};

struct header {
	struct strbuf block;         /* the fields' bytes, without the blank line */
	struct header_field *fields; /* in reading order */
	size_t n, cap;
	size_t body_offset; /* octets from the message's start to its body (blank line passed) */
	bool blank_line; /* false: the message ended without one, or the body began without one */
	bool lf_ended;   /* LF is the line end (message without any CRLF) */
	enum header_state state;
	size_t mbox_from; /* octets of an mbox "From " first line that was left out of the block */
	/* private */
	size_t line_start, nlines;
};

/* lf_ended: the caller knows that the message has no CRLF at all. */
void header_init(struct header *h, bool lf_ended);
void header_free(struct header *h);
/* Returns how many octets were taken; fewer than len only when the state is no longer HEADER_MORE.
 */
size_t header_push(struct header *h, const char *buf, size_t len);
/* The message ended: a block without a blank line is complete now. Views are valid from here on. */
void header_end(struct header *h);

/* The value on one line: each CRLF (LF) before white space falls away, the outer white space too.
 */
void header_unfold(const struct header_field *f, struct strbuf *out);
/* The first field of that name (without case) at or after index *i; NULL: none. *i is its index. */
const struct header_field *header_find(const struct header *h, struct strview name, size_t *i);
bool header_is(const struct header_field *f, const char *name);
