/* The real clock and the real randomness behind base/clock.h; and locks between processes. */
#pragma once

#include "base/clock.h"
#include "base/err.h"

extern struct clock system_clock; /* CLOCK_BOOTTIME and CLOCK_REALTIME */
extern struct rng system_rng;     /* getrandom(2) */

/*
 * First of all: standard descriptors that are closed are taken, for a socket or file of ours in
 * their place would get what is printed and logged. To write there still fails.
 */
void fill_standard_descriptors(void);

/*
 * Opens a file in the state directory for reading and writing, and makes it, for its owner only. As
 * root, it is the directory's owner's: his daemon has to open it after us. -1 with errno.
 */
int open_private(const char *dir, const char *path) must_check;

/*
 * An exclusive flock(2) on `dir`/`name`, which is created: the descriptor, to be closed for
 * release. -1 with err; -2: another process has it.
 */
int lock_file(const char *dir, const char *name, struct err *err) must_check;
