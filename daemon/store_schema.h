/*
 * The database file of the SQLite store: is it ours, is it of our version, and what a new one
 * holds.
 */
#pragma once

#include "base/clock.h"
#include "base/err.h"

#include <sqlite3.h>
#include <stdint.h>

#define STORE_KEY_OCTETS 16

struct store_schema {
	uint8_t key[STORE_KEY_OCTETS];
	char boot[64]; /* the id of this boot of the machine */
};

/* SQLite's last failure into *err; with what one does about it, if the file is damaged. -1. */
int store_schema_fail(sqlite3 *db, const char *path, const char *what, struct err *err);

/*
 * Sets the connection up, creates the schema in an empty file, refuses what is foreign, newer or
 * damaged, and translates login stamps of earlier boots. 0, or -1 and why, with the path in it.
 */
int store_schema_open(sqlite3 *db, const char *path, struct clock *clock, struct rng *rng,
	struct store_schema *out, struct err *err) must_check;
