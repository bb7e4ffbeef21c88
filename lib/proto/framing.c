/*
 * Lines, dot-unstuffing, dot-stuffing; see framing.h.
 *
 * Owns nothing but the piece of an unfinished line. Invariants: content is scanned with memchr and
 * handed on as spans of the input, never byte by byte; each decoder's state is what the bytes
 * before the input left behind, so any split of the input gives the same output.
 */
#include "proto/framing.h"

/* ---- lines ---- */

void line_init(struct line_reader *r, size_t max_octets, bool lf_lines)
{
	*r = (struct line_reader){ .line = STRBUF_MAX(max_octets + 1), .lf_lines = lf_lines };
}

void line_free(struct line_reader *r)
{
	strbuf_free(&r->line);
}

/* A CR at the end counts only once it is clear that no LF follows. */
static bool line_too_long(const struct line_reader *r, size_t len, bool cr)
{
	return len - cr >= r->line.max;
}

static bool ends_in_cr(struct strview v)
{
	return v.len && v.ptr[v.len - 1] == '\r';
}

enum line_result line_feed(
	struct line_reader *r, const char *buf, size_t len, size_t *used, struct strview *line)
{
	const char *lf = len ? memchr(buf, '\n', len) : NULL;
	struct strview v = sv(buf, lf ? (size_t)(lf - buf) : len);

	if (r->ready)
		strbuf_clear(&r->line);
	r->ready = false;
	*used = v.len + (lf != NULL);
	bool cr = ends_in_cr(v.len ? v : strbuf_view(&r->line));
	if (line_too_long(r, r->line.len + v.len, cr))
		return LINE_TOO_LONG;
	if (!lf || r->line.len) {
		strbuf_addv(&r->line, v);
		v = strbuf_view(&r->line);
	}
	if (!lf)
		return LINE_MORE;
	r->ready = true;
	if (!cr && !r->lf_lines)
		return LINE_BARE_LF;
	*line = sv(v.ptr, v.len - cr);
	return LINE_OK;
}

/* ---- unstuffing ---- */

enum unstuff_state {
	UNSTUFF_BOL,    /* a line starts here: a dot would be stuffing or the end */
	UNSTUFF_MID,    /* within a line */
	UNSTUFF_CR,     /* within a line, and its last octet was CR */
	UNSTUFF_DOT,    /* a dot at the start of a line, held back */
	UNSTUFF_DOT_CR, /* ... and a CR, held back too */
};

void unstuff_init(struct unstuff *u, bool lf_lines)
{
	*u = (struct unstuff){ .state = UNSTUFF_BOL, .lf_lines = lf_lines };
}

/*
 * The length of the content at p, within a line; leaves the state behind it. Runs over any number
 * of lines until one that starts with a dot, with lf_lines until a LF that needs a CR.
 */
static size_t content_run(struct unstuff *u, const char *p, size_t len)
{
	bool cr = u->state == UNSTUFF_CR; /* before p */

	for (size_t at = 0;;) {
		const char *lf = memchr(p + at, '\n', len - at);
		if (!lf) {
			u->state = p[len - 1] == '\r' ? UNSTUFF_CR : UNSTUFF_MID;
			return len;
		}
		size_t end = (size_t)(lf - p);
		if (end ? p[end - 1] == '\r' : cr) {
			u->state = UNSTUFF_BOL;
			if (end + 1 == len || p[end + 1] == '.')
				return end + 1;
		} else if (u->lf_lines) {
			u->state = UNSTUFF_MID;
			return end;
		}
		at = end + 1;
		if (at == len) { /* a bare LF as the last octet starts no line */
			u->state = UNSTUFF_MID;
			return len;
		}
	}
}

/* The octets at the start of a line that decide: true as long as there is nothing to hand out. */
static bool skip_dot(struct unstuff *u, char c)
{
	if (u->state == UNSTUFF_BOL && c == '.')
		u->state = UNSTUFF_DOT;
	else if (u->state == UNSTUFF_DOT && c == '\r')
		u->state = UNSTUFF_DOT_CR;
	else
		return false;
	return true;
}

enum unstuff_result unstuff_feed(
	struct unstuff *u, const char *buf, size_t len, size_t *used, struct strview *data)
{
	size_t n = 0;

	while (n < len && skip_dot(u, buf[n]))
		n++;
	*used = n;
	if (n == len)
		return UNSTUFF_MORE;
	if (buf[n] == '\n' &&
		(u->state == UNSTUFF_DOT_CR || (u->lf_lines && u->state == UNSTUFF_DOT))) {
		*used = n + 1;
		return UNSTUFF_END;
	}
	if (u->state == UNSTUFF_DOT_CR) {
		u->state = UNSTUFF_CR; /* the dot was stuffing, and the CR is content after all */
		*data = SV("\r");
		return UNSTUFF_DATA;
	}
	if (u->state != UNSTUFF_CR)
		u->state = UNSTUFF_MID;
	*data = sv(buf + n, content_run(u, buf + n, len - n));
	if (!data->len) { /* only with lf_lines: at a LF that needs a CR */
		u->state = UNSTUFF_BOL;
		*used = n + 1;
		*data = SV("\r\n");
	} else {
		*used = n + data->len;
	}
	return UNSTUFF_DATA;
}

/* ---- stuffing ---- */

enum stuff_state {
	STUFF_BOL, /* a line starts here: a dot is doubled */
	STUFF_MID,
	STUFF_CR, /* a CR was taken and not written: LF or something else decides what it was */
};

void stuff_init(struct stuff *s)
{
	s->state = STUFF_BOL;
}

/* How much may be copied as it is: up to a bare CR or LF, an open CR, or a line with a dot. */
static size_t clean_run(struct strview v)
{
	size_t at = 0;

	do {
		const char *lf = memchr(v.ptr + at, '\n', v.len - at);
		size_t end = lf ? (size_t)(lf - v.ptr) : v.len;
		const char *cr = memchr(v.ptr + at, '\r', end - at);
		if (cr && !(lf && cr + 1 == lf))
			return (size_t)(cr - v.ptr);
		if (!lf || !cr)
			return end;
		at = end + 1;
	} while (at < v.len && v.ptr[at] != '.');
	return at;
}

/* Writes what stands for a line end or for an octet that may not leave, and the state after it. */
static void stuff_put(struct stuff *s, struct strbuf *out, bool line_end)
{
	strbuf_addv(out, line_end ? SV("\r\n") : SV(" "));
	s->state = line_end ? STUFF_BOL : STUFF_MID;
}

/* What clean_run stopped at, if it was not a dot; returns how many octets that took. */
static size_t stuff_special(
	struct stuff *s, enum stuff_part part, struct strview v, struct strbuf *out)
{
	if (!v.len || v.ptr[0] == '.')
		return 0;
	if (v.ptr[0] == '\n')
		stuff_put(s, out, part != STUFF_HEADER);
	else if (v.len == 1)
		s->state = STUFF_CR;
	else
		stuff_put(s, out, false);
	return 1;
}

void stuff_feed(struct stuff *s, enum stuff_part part, struct strview data, struct strbuf *out)
{
	if (s->state == STUFF_CR && data.len) {
		bool line_end = data.ptr[0] == '\n';
		stuff_put(s, out, line_end);
		data = sv_skip(data, line_end);
	}
	while (data.len) {
		if (s->state == STUFF_BOL && data.ptr[0] == '.')
			strbuf_addc(out, '.');
		size_t n = clean_run(data);
		strbuf_add(out, data.ptr, n);
		if (n)
			s->state = data.ptr[n - 1] == '\n' ? STUFF_BOL : STUFF_MID;
		data = sv_skip(data, n);
		data = sv_skip(data, stuff_special(s, part, data, out));
	}
}

void stuff_end(struct stuff *s, struct strbuf *out)
{
	if (s->state == STUFF_CR)
		stuff_put(s, out, false);
	if (s->state == STUFF_MID)
		stuff_put(s, out, true);
}

/* ---- commands ---- */

bool command_safe(struct strview s)
{
	return !s.len ||
		!(memchr(s.ptr, '\r', s.len) || memchr(s.ptr, '\n', s.len) ||
			memchr(s.ptr, '\0', s.len));
}
