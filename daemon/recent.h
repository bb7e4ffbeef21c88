/*
 * The last things that the log found worth a notice or more, for the status page. In memory, a ring
 * of RECENT_MAX.
 *
 * Whoever reaches the page may read it: the sentences have no address of a sender or a recipient
 * and no name of a message.
 */
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"

#define RECENT_MAX         30
#define RECENT_TEXT_OCTETS 400

struct recent_event {
	wall_t at;
	enum log_level level;
	const char *event;             /* its name */
	char text[RECENT_TEXT_OCTETS]; /* as it came: whoever shows it escapes it */
};

struct recent {
	struct recent_event items[RECENT_MAX];
	size_t n, next;
};

/* LVL_NOTICE and what weighs more; the rest is not noted. */
void recent_note(struct recent *r, wall_t at, const struct log_entry *e, enum log_level level);
/* The i-th, the newest first; NULL: there are no more. */
const struct recent_event *recent_get(const struct recent *r, size_t i);
