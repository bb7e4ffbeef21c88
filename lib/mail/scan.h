/*
 * The two lexical traps that Received lines and address lists share: quoted strings and comments
 * (RFC 5322 sections 3.2.4 and 3.2.2). What is inside them is never syntax.
 */
#pragma once

#include "base/strbuf.h"

/* v.ptr[at] is the opening quote. The index behind the closing one; 0: it never ends. */
static inline size_t scan_quoted(struct strview v, size_t at)
{
	for (size_t i = at + 1; i < v.len; i++) {
		if (v.ptr[i] == '\\')
			i++;
		else if (v.ptr[i] == '"')
			return i + 1;
	}
	return 0;
}

/* v.ptr[at] is the opening parenthesis; comments nest. The index behind the closing one, or 0. */
static inline size_t scan_comment(struct strview v, size_t at)
{
	size_t depth = 0;

	for (size_t i = at; i < v.len; i++) {
		if (v.ptr[i] == '\\')
			i++;
		else if (v.ptr[i] == '(')
			depth++;
		else if (v.ptr[i] == ')' && --depth == 0)
			return i + 1;
	}
	return 0;
}
