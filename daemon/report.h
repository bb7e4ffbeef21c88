/* What the log says when a cycle has ended: one line for its result, one more for a refused login.
 */
#pragma once

#include "fetch.h"

void report_end(const struct fetch *f);
/* Its result in one sentence. */
void report_summary(const struct fetch *f, char *text, size_t size);
