/*
 * Framing: CRLF lines with limits, the dot-unstuffing decoder (RFC 1939 section 3), the
 * dot-stuffing encoder (RFC 5321 section 4.5.2), and the project's only policy on bare CR and LF.
 *
 * All three keep a few bytes of state and no buffer of the peer's size; any split of the input
 * gives the same output.
 */
#pragma once

#include "base/strbuf.h"

/* ---- lines ---- */

struct line_reader {
	struct strbuf line; /* what came of an unfinished line; .max: the limit and a CR */
	bool lf_lines;      /* a bare LF ends a line too */
	bool ready;         /* `line` was handed out: the next call starts afresh */
};

enum line_result { LINE_MORE, LINE_OK, LINE_TOO_LONG, LINE_BARE_LF };

/* max_octets: of a line without its CRLF. */
void line_init(struct line_reader *r, size_t max_octets, bool lf_lines);
void line_free(struct line_reader *r);
/*
 * Takes bytes up to the end of one line. *used says how many were taken. LINE_OK: *line is the line
 * without its CRLF, valid until the next call or until buf goes (it points into buf when it came in
 * one piece). A CR that is not followed by LF is part of the line. LINE_BARE_LF: an LF without CR
 * where lf_lines is false: the stream cannot be trusted from here on.
 */
enum line_result line_feed(
	struct line_reader *r, const char *buf, size_t len, size_t *used, struct strview *line);

/* ---- unstuffing: what a multi-line reply carries ---- */

struct unstuff {
	uint8_t state; /* private */
	bool lf_lines; /* LF ends a line, and what comes out has CRLF instead */
};

enum unstuff_result { UNSTUFF_DATA, UNSTUFF_MORE, UNSTUFF_END };

void unstuff_init(struct unstuff *u, bool lf_lines);
/*
 * Takes some bytes (*used; with UNSTUFF_DATA it may be 0, and the next call goes on) and yields at
 * most one piece of content in *data, which points into buf or at a constant. UNSTUFF_DATA: *data
 * has content, call again with the rest. UNSTUFF_MORE: all of buf is used, nothing (more) came out.
 * UNSTUFF_END: CRLF.CRLF was seen; bytes behind it are not touched. The CRLF before the lone dot
 * belongs to the content. Bare CR and LF are content and pass; only CRLF.CRLF ends (with lf_lines
 * LF.LF does as well).
 */
enum unstuff_result unstuff_feed(
	struct unstuff *u, const char *buf, size_t len, size_t *used, struct strview *data);

/* ---- stuffing: what DATA carries ---- */

enum stuff_part {
	STUFF_HEADER, /* a bare LF or CR becomes a space: it must not create a header line */
	STUFF_BODY,   /* a bare LF becomes CRLF, a bare CR a space */
	STUFF_LF      /* the message has no CRLF at all: LF is its line end in header and body */
};

struct stuff {
	uint8_t state; /* private */
};

void stuff_init(struct stuff *s);
/* Appends `data`, stuffed and cleaned, to out. A trailing CR waits for the byte that follows. */
void stuff_feed(struct stuff *s, enum stuff_part part, struct strview data, struct strbuf *out);
/* Ends the data: a missing last CRLF is added, exactly one; the final dot is not written here. */
void stuff_end(struct stuff *s, struct strbuf *out);

/* True if s fits into a command line: no CR, LF or NUL (the one writer of commands checks this). */
bool command_safe(struct strview s);
