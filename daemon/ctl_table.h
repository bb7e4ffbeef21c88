/*
 * A table for people: columns as wide as they need to be, as many as the terminal has room for (the
 * last one may be cut), colour where it is wanted.
 */
#pragma once

#include "base/strbuf.h"

enum colour { PLAIN, BOLD, GREEN, YELLOW, RED };

struct paper {          /* where it is printed */
	size_t columns; /* 0: as many as it takes */
	bool colours;
};
struct paper paper_of_stdout(void); /* colours: a terminal, and NO_COLOR is not set */

#define TABLE_COLUMNS_MAX 12

struct table {
	size_t columns, n, cap;
	struct cell {
		char *text;
		enum colour colour;
	} * cells; /* row by row */
};

void table_add(struct table *t, enum colour colour, const char *text); /* the next cell */
void table_print(const struct table *t, const struct paper *p);        /* to stdout */
void table_free(struct table *t);
/* A sentence: begins `indent` columns from the left, its further lines two more; nothing is cut. */
void paper_text(const struct paper *p, enum colour colour, size_t indent, const char *text);
