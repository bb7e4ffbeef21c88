/* The line on a terminal that shows how far --once is. Owns its timer. */
#pragma once

#include "accounts.h"

struct progress;

/* NULL: the log is not text on a terminal. */
struct progress *progress_new(struct env *env, const struct accounts *accounts);
void progress_free(struct progress *p); /* takes the line away; NULL is fine */
