/* Outcomes that are not written yet; see store_owed.h. Owns the entries of the lists. */
#include "store_owed.h"

#include <stdlib.h>

void owed_add(struct owed_list *list, int64_t message, const struct stored_rcpt *rcpt, wall_t at)
{
	struct owed *o = mem_alloc(sizeof *o);

	*o = (struct owed){ .message = message, .rcpt = *rcpt, .at = at };
	o->rcpt.address = mem_strdup(rcpt->address);
	o->rcpt.reply = rcpt->reply ? mem_strdup(rcpt->reply) : NULL;
	TAILQ_INSERT_TAIL(list, o, entry);
}

void owed_clear(struct owed_list *list)
{
	struct owed *o;

	while ((o = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, o, entry);
		free((char *)o->rcpt.address);
		free((char *)o->rcpt.reply);
		free(o);
	}
}
