/*
 * The header block; see header.h. Owns the block and the table of fields.
 *
 * Invariants: the raw octets of the fields, one after the other, are the block; the block is the
 * message from mbox_from on. While octets come in, a field knows lengths only, for the block may
 * still move; header_end() lays the views over it.
 */
#include "mail/header.h"

#include <stdlib.h>

void header_init(struct header *h, bool lf_ended)
{
	*h = (struct header){ .lf_ended = lf_ended, .state = HEADER_MORE };
}

void header_free(struct header *h)
{
	strbuf_free(&h->block);
	free(h->fields);
	*h = (struct header){ 0 };
}

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* Length of the field's name (RFC 5322 section 2.2); white space before the colon is obsolete, but
 * read (section 4.5). 0: the line begins no field. */
static size_t name_length(struct strview line)
{
	size_t name = 0;

	while (name < line.len && line.ptr[name] > ' ' && line.ptr[name] < 0x7f &&
		line.ptr[name] != ':')
		name++;
	size_t i = name;
	while (i < line.len && is_wsp(line.ptr[i]))
		i++;
	return i < line.len && line.ptr[i] == ':' ? name : 0;
}

/* The block ends before its last `drop` octets; `skip` octets more stand before the body. */
static void finish(struct header *h, enum header_state state, size_t drop, size_t skip)
{
	h->block.len -= drop;
	h->state = state;
	h->body_offset = h->mbox_from + h->block.len + skip;
}

static void add_field(struct header *h, size_t name, size_t octets)
{
	if (h->n == HEADER_FIELDS_MAX) {
		finish(h, HEADER_LIMIT, octets, 0);
		return;
	}
	mem_grow(&h->fields, &h->cap, h->n + 1, sizeof *h->fields);
	h->fields[h->n++] = (struct header_field){
		.name.len = name, .raw.len = octets, .line = (uint32_t)h->nlines, .malformed = !name
	};
}

/* A whole line stands at the end of the block; its last `eol` octets are the line end. */
static void end_line(struct header *h, size_t eol)
{
	size_t octets = h->block.len - h->line_start;
	struct strview text = sv(h->block.ptr + h->line_start, octets - eol);
	size_t name = name_length(text);

	h->nlines++;
	if (!text.len) {
		h->blank_line = true;
		finish(h, HEADER_COMPLETE, octets, octets);
	} else if (h->block.len > HEADER_BLOCK_MAX_OCTETS) {
		finish(h, HEADER_LIMIT, octets, 0);
	} else if (h->nlines == 1 && !name && sv_starts(text, SV("From "))) {
		h->mbox_from = octets;
		strbuf_clear(&h->block);
	} else if (is_wsp(text.ptr[0]) && h->n) {
		h->fields[h->n - 1].raw.len += octets;
	} else if (name || h->n) {
		add_field(h, name, octets);
	} else { /* all body: what is added on top needs a blank line of its own */
		finish(h, HEADER_COMPLETE, octets, 0);
	}
	h->line_start = h->block.len;
}

size_t header_push(struct header *h, const char *buf, size_t len)
{
	size_t taken = 0;

	while (taken < len && h->state == HEADER_MORE) {
		const char *lf = memchr(buf + taken, '\n', len - taken);
		size_t octets = lf ? (size_t)(lf - buf) + 1 - taken : len - taken;
		if (h->block.len + octets > HEADER_BLOCK_MAX_OCTETS + 2) { /* 2: the blank line */
			finish(h, HEADER_LIMIT, h->block.len - h->line_start, 0);
			break;
		}
		strbuf_add(&h->block, buf + taken, octets);
		taken += octets;
		size_t line = h->block.len - h->line_start;
		if (lf && h->lf_ended)
			end_line(h, 1);
		else if (lf && line >= 2 && h->block.ptr[h->block.len - 2] == '\r')
			end_line(h, 2);
	}
	return taken;
}

static void lay_views(struct header *h)
{
	const char *at = h->block.ptr;

	for (size_t i = 0; i < h->n; i++) {
		struct header_field *f = &h->fields[i];
		size_t colon = f->name.len;
		while (!f->malformed && at[colon] != ':')
			colon++;
		f->name.ptr = at;
		f->raw.ptr = at;
		f->value = sv_skip(f->raw, f->malformed ? 0 : colon + 1);
		f->too_long = f->raw.len > HEADER_FIELD_MAX_OCTETS;
		at += f->raw.len;
	}
}

void header_end(struct header *h)
{
	if (h->state == HEADER_MORE && h->block.len > h->line_start)
		end_line(h, 0);
	if (h->state == HEADER_MORE)
		finish(h, HEADER_COMPLETE, 0, 0);
	lay_views(h);
}

void header_unfold(const struct header_field *f, struct strbuf *out)
{
	struct strview rest = sv_trim(f->value);

	while (rest.len) {
		const char *lf = memchr(rest.ptr, '\n', rest.len);
		size_t at = lf ? (size_t)(lf - rest.ptr) : rest.len;
		bool fold = at + 1 < rest.len && is_wsp(rest.ptr[at + 1]);
		size_t keep = !lf || fold ? at : at + 1;
		if (fold && keep && rest.ptr[keep - 1] == '\r')
			keep--;
		strbuf_add(out, rest.ptr, keep);
		rest = sv_skip(rest, at + 1);
	}
}

const struct header_field *header_find(const struct header *h, struct strview name, size_t *i)
{
	for (; *i < h->n; (*i)++)
		if (sv_ieq(h->fields[*i].name, name) && !h->fields[*i].malformed)
			return &h->fields[*i];
	return NULL;
}

bool header_is(const struct header_field *f, const char *name)
{
	return sv_ieq(f->name, sv_str(name));
}
