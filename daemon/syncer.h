/*
 * The wait for the disk, beside the loop: a thread that does nothing but fdatasync() of one file.
 *
 * The loop goes on meanwhile; what it writes then is not part of what it is told about.
 */
#pragma once

#include "base/clock.h"
#include "base/err.h"

#include <event2/event.h>

#define SYNCER_SLOW_MSEC 30000

struct syncer;

/* From the loop, once for each syncer_start(): NULL, or why not (LOCAL). Before that, once,
 * TIMEOUT: it takes long, and is waited for. */
typedef void syncer_fn(void *ctx, const struct err *err);

/*
 * path: of a file that is there, and stays. slow_ms: what is long. NULL: there can be none, for
 * lack of threads or descriptors; who gets that waits himself.
 */
struct syncer *syncer_new(
	struct event_base *base, const char *path, msec_t slow_ms, syncer_fn *fn, void *ctx);
void syncer_start(struct syncer *s); /* all that is written by now; not twice before an answer */
void syncer_free(struct syncer *s);  /* waits for the disk if it has to; no answer after it */
