/*
 * Times and foreign text as people and programs read them, in multidropctl and in what the daemon
 * answers it.
 */
#pragma once

#include "base/clock.h"
#include "base/strbuf.h"

#include <jansson.h>

json_t *show_json_time(wall_t at);        /* RFC 3339, UTC; 0 is null */
wall_t show_read_time(const char *text);  /* the way back; 0: none, or not such a text */
json_t *show_json_text(const char *text); /* what is not UTF-8 is escaped; NULL is null */
/* Of an object that may come from another version: what is missing is "" and 0. */
const char *show_text_of(const json_t *o, const char *key);
json_int_t show_number_of(const json_t *o, const char *key);
wall_t show_time_of(const json_t *o, const char *key);
/* "40 s", "12 min", "3 h 20 min", "4 d": for people, rounded to what matters. */
void show_span(struct strbuf *out, msec_t span);

struct show_progress {     /* of a cycle, or of several together */
	uint32_t done, of; /* messages; of 0: there is nothing to show */
	uint64_t octets;   /* that came so far */
	msec_t span;       /* since the first of them */
};
/* "sammel: 3 of 12 messages, 1.2 MB, 340 kB/s" */
void show_progress(struct strbuf *out, const char *who, const struct show_progress *p);
void show_clock(struct strbuf *out, wall_t at); /* "10:42:07", local time */
