/*
 * What a complete listing changes in the state: rows that are gone are forgotten (by the rule of
 * two listings), messages that the plan holds are recorded and logged.
 */
#pragma once

#include "fetch.h"

int listing_take(struct fetch *f, struct err *err) must_check;
