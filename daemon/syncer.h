/*
 * The wait for the disk, beside the loop: a thread that does nothing but fdatasync() of one file.
 *
 * The loop goes on meanwhile; what it writes then is not part of what it is told about.
 */
#pragma once

#include <event2/event.h>

#define SYNCER_SLOW      (-1)
#define SYNCER_SLOW_MSEC 30000

struct syncer;

/*
 * path: of a file that is there, and stays. fn: from the loop, with errno's value or 0, once for
 * each syncer_start(); with SYNCER_SLOW before that, if it takes so long. NULL: there can be none,
 * for lack of threads or descriptors; who gets that waits himself.
 */
struct syncer *syncer_new(
	struct event_base *base, const char *path, void (*fn)(void *ctx, int error), void *ctx);
void syncer_start(struct syncer *s); /* all that is written by now; not twice before an answer */
void syncer_free(struct syncer *s);  /* waits for the disk if it has to; no answer after it */
