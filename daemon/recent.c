/* The ring of the last events; see recent.h. */
#include "recent.h"

#include <stdio.h>

/* Events of a message quote replies, and replies quote addresses; so does a transaction that broke.
 */
static bool is_private(const struct log_entry *e)
{
	return e->recipient || e->sender || e->message_id || e->uidl ||
		(e->event == EV_RELAY_WARNING && e->error);
}

static void sentence(const struct log_entry *e, struct strbuf *out)
{
	if (e->account)
		strbuf_addf(out, "%s: ", e->account);
	else if (e->relay)
		strbuf_addf(out, "relay %s: ", e->relay);
	if (e->text)
		strbuf_adds(out, e->text);
	if (is_private(e) || !e->reason || (e->text && strstr(e->text, e->reason)))
		return;
	strbuf_adds(out, ": ");
	strbuf_adds(out, e->reason);
}

void recent_note(struct recent *r, wall_t at, const struct log_entry *e, enum log_level level)
{
	struct recent_event *slot = &r->items[r->next];
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;

	if (level > LVL_NOTICE)
		return;
	sentence(e, &text);
	*slot = (struct recent_event){
		.at = at, .level = level, .event = log_event_name(e->event)
	};
	(void)snprintf(slot->text, sizeof slot->text, "%s", strbuf_str(&text)); /* cut is fine */
	r->next = (r->next + 1) % RECENT_MAX;
	r->n += r->n < RECENT_MAX;
}

const struct recent_event *recent_get(const struct recent *r, size_t i)
{
	return i < r->n ? &r->items[(r->next + RECENT_MAX - 1 - i) % RECENT_MAX] : NULL;
}
