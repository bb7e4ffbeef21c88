/*
 * The status page: the object of status_json() and the last events as HTML. Pure.
 *
 * Whatever stands in them is text on the page, never markup: names, replies and errors come from
 * strangers. No script, nothing from elsewhere; the one style element is page_style(), whose hash
 * the policy of the response names.
 */
#pragma once

#include "recent.h"

#include <jansson.h>

#define PAGE_REFRESH_SEC 30
/* A cell's foreign text; whole sentences of ours, with what they quote. */
#define PAGE_TEXT_OCTETS 1000

struct page_input {
	const json_t *status;
	const struct recent *recent;
	bool refreshes; /* it says so, and how to stop that */
};

void page_render(const struct page_input *in, struct strbuf *out);
const char *page_style(void);
