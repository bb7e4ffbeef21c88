/*
 * What a complete listing changes in the state: rows that are gone are forgotten (by the rule of
 * two listings), messages that the plan holds are recorded and logged.
 */
#pragma once

#include "fetch.h"

int listing_take(struct fetch *f, struct err *err) must_check;
/* UIDL was answered with this -ERR: goes on without UIDs, or fails the fetch. */
void listing_refused(struct fetch *f, struct strview answer);
