/* Text in columns; see ctl_table.h. Width counts characters: names and texts are UTF-8. */
#include "ctl_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define GAP     2  /* blanks between columns */
#define CUT_MIN 10 /* of the last one, if it is cut */

struct paper paper_of_stdout(void)
{
	const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
	struct paper p = { 0 };
	struct winsize size;

	if (!isatty(STDOUT_FILENO))
		return p;
	p.colours = !(no_colour && *no_colour) && term && strcmp(term, "dumb") != 0;
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
		p.columns = size.ws_col;
	return p;
}

static size_t width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80; /* not a UTF-8 continuation */
	return n;
}

/* How many octets of text are its first n characters. */
static size_t octets(const char *text, size_t n)
{
	size_t i = 0;

	for (; text[i]; i++)
		if (((unsigned char)text[i] & 0xc0) != 0x80 && !n--)
			break;
	return i;
}

static void put(const struct paper *p, enum colour colour, const char *text, size_t len)
{
	static const char *const codes[] = { "", "\033[1m", "\033[32m", "\033[33m", "\033[31m" };
	bool coloured = p->colours && colour != PLAIN;

	printf("%s%.*s%s", coloured ? codes[colour] : "", (int)len, text,
		coloured ? "\033[0m" : "");
}

static void put_line(const struct paper *p, enum colour colour, size_t indent, struct strbuf *line)
{
	printf("%*s", (int)indent, "");
	put(p, colour, strbuf_str(line), line->len);
	putchar('\n');
	strbuf_clear(line);
}

void paper_text(const struct paper *p, enum colour colour, size_t indent, const char *text)
{
	AUTO(strbuf_free) struct strbuf line = STRBUF_INIT;
	struct strview rest = sv_str(text);
	size_t at = indent;

	while (rest.len) {
		AUTO(strbuf_free) struct strbuf longer = STRBUF_INIT;
		struct strview word = sv_token(&rest, ' ');
		strbuf_addf(
			&longer, "%s%s%.*s", strbuf_str(&line), line.len ? " " : "", SV_FMT(word));
		if (line.len && p->columns && at + width(strbuf_str(&longer)) > p->columns) {
			put_line(p, colour, at, &line);
			at = indent + 2;
		}
		strbuf_addf(&line, "%s%.*s", line.len ? " " : "", SV_FMT(word));
	}
	put_line(p, colour, at, &line);
}

void table_add(struct table *t, enum colour colour, const char *text)
{
	mem_grow(&t->cells, &t->cap, t->n + 1, sizeof *t->cells);
	t->cells[t->n++] = (struct cell){ mem_strdup(text), colour };
}

static void print_row(const struct table *t, size_t row, const size_t *widths, size_t shown,
	const struct paper *p)
{
	size_t at = 0;

	for (size_t i = 0; i < shown; i++) {
		const struct cell *c = &t->cells[row * t->columns + i];
		size_t w = width(c->text), room = p->columns ? p->columns - at : w;
		put(p, c->colour, c->text, octets(c->text, room < w ? room : w));
		if (i + 1 == shown)
			break;
		printf("%*s", (int)(widths[i] - w + GAP), "");
		at += widths[i] + GAP;
	}
	putchar('\n');
}

/* How many columns are shown: those that fit, and the beginning of the last one. */
static size_t fitting(const struct table *t, const size_t *widths, const struct paper *p)
{
	size_t n = 1, at = widths[0];

	while (n < t->columns) {
		size_t needs = n + 1 == t->columns && widths[n] > CUT_MIN ? CUT_MIN : widths[n];
		if (p->columns && at + GAP + needs > p->columns)
			break;
		at += GAP + widths[n++];
	}
	return n;
}

void table_print(const struct table *t, const struct paper *p)
{
	size_t widths[TABLE_COLUMNS_MAX] = { 0 };

	ensure(t->columns && t->columns <= TABLE_COLUMNS_MAX && t->n % t->columns == 0);
	for (size_t i = 0; i < t->n; i++) {
		size_t w = width(t->cells[i].text);
		if (w > widths[i % t->columns])
			widths[i % t->columns] = w;
	}
	for (size_t row = 0; row < t->n / t->columns; row++)
		print_row(t, row, widths, fitting(t, widths, p), p);
}

void table_free(struct table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i].text);
	free(t->cells);
	*t = (struct table){ 0 };
}
