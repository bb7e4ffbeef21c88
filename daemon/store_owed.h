/*
 * Outcomes that are not written yet: what a relay has answered stays true when a transaction fails.
 * Every entry owns its strings.
 */
#pragma once

#include "core/store.h"

#include <sys/queue.h>

struct owed {
	int64_t message;
	struct stored_rcpt rcpt;
	wall_t at;
	TAILQ_ENTRY(owed) entry;
};

TAILQ_HEAD(owed_list, owed); /* in the order in which they came */

void owed_add(struct owed_list *list, int64_t message, const struct stored_rcpt *rcpt, wall_t at);
void owed_clear(struct owed_list *list);
