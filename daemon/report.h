/*
 * What people are told of a cycle: how far it is, and, in the log, how it ended (one line for its
 * result, one more for a refused login).
 */
#pragma once

#include "fetch.h"
#include "show.h"

void report_end(const struct fetch *f);
/* Its result in one sentence. */
void report_summary(const struct fetch *f, char *text, size_t size);
/* How far it is, added to *out; nothing before its listing is complete. */
void report_progress(const struct fetch *f, struct show_progress *out);
