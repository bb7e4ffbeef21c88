/* Opening the SQLite backend of core/store.h. */
#pragma once

#include "core/store.h"

#define STORE_FILE "state.db" /* in state_dir; mode 0600 */

/*
 * Opens or creates the database. What exists and is not ours, newer, corrupt or not writable is
 * refused and never re-created: *err says which (the process exits with 73). state_dir itself must
 * exist.
 */
int store_open(const char *state_dir, struct clock *clock, struct rng *rng, struct store **out,
	struct err *err) must_check;
void store_close(struct store *s); /* what is not committed is rolled back; NULL is fine */
