/*
 * What a complete listing and a confirmed QUIT change in the state: rows that are gone are
 * forgotten (by the rule of two listings), messages that the plan holds and those deleted are
 * recorded and logged.
 */
#pragma once

#include "fetch.h"

int listing_take(struct fetch *f, struct err *err) must_check;
/* The attempt of a message that is going to be retrieved; *first as for store_attempt(). */
int listing_attempt(struct fetch *f, uint32_t number, bool *first, struct err *err) must_check;
/* Records what the messages have shown of the envelope header, if that is news to the state. */
int listing_watch(struct fetch *f, struct err *err) must_check;
/* QUIT is answered; ok: what was deleted is so from now on. -1: not all of that is recorded. */
int listing_quit(struct fetch *f, bool ok, struct err *err) must_check;
/* UIDL was answered with this -ERR: goes on without UIDs, or fails the fetch. */
void listing_refused(struct fetch *f, struct strview answer);
