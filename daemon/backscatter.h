/*
 * Does a relay take mail for addresses that cannot exist? Then it will bounce later, to senders who
 * are forged more often than not. Asked with one RCPT to a random local part and no DATA, once a
 * day for each relay; the answer is logged.
 */
#pragma once

#include "env.h"
#include "send.h"

#define BACKSCATTER_EVERY_MSEC (24LL * 60 * 60 * 1000)

struct backscatter; /* the questions that are out */

struct backscatter *backscatter_new(struct env *env);
void backscatter_free(struct backscatter *b); /* takes back what is out */
/* Asks, if a day has gone by since the last answer. domain: one that the relay serves. */
void backscatter_ask(struct backscatter *b, struct relay *relay, const char *domain);
