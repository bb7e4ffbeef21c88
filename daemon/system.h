/* The real clock and the real randomness behind base/clock.h; and locks between processes. */
#pragma once

#include "base/clock.h"
#include "base/err.h"

extern struct clock system_clock; /* CLOCK_BOOTTIME and CLOCK_REALTIME */
extern struct rng system_rng;     /* getrandom(2) */

/*
 * An exclusive flock(2) on `dir`/`name`, which is created: the descriptor, to be closed for
 * release. -1 with err; -2: another process has it.
 */
int lock_file(const char *dir, const char *name, struct err *err) must_check;
