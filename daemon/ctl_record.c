/* A message of the state as people and programs read it; see ctl_record.h. Owns nothing. */
#include "ctl_record.h"

#include <assert.h>
#include <inttypes.h>

/* Where a message is: while its UID is known, and when it has left the server. */
static const struct {
	const char *name, *here, *gone;
} places[] = {
	[MESSAGE_NEW] = { "waiting", "on the provider's server, not delivered to everybody yet",
		"gone from the provider's server before everybody had it" },
	[MESSAGE_DONE] = { "delivered", "done; on the provider's server as long as `keep` says",
		"done; gone from the provider's server" },
	[MESSAGE_DELETED] = { "deleted", "deleted at the provider", "deleted at the provider" },
	[MESSAGE_HELD] = { "held", "held on the provider's server",
		"was held; gone from the provider's server" },
	[MESSAGE_DISCARD] = { "discarding",
		"on the provider's server, deleted there in the next cycle",
		"gone from the provider's server" },
};

static const char *const outcomes[] = {
	[OUTCOME_PENDING] = "not delivered yet",
	[OUTCOME_DOT] = "in doubt: the relay may have it",
	[OUTCOME_ACCEPTED] = "delivered",
	[OUTCOME_LATER] = "deferred",
	[OUTCOME_UNKNOWN] = "refused",
	[OUTCOME_REJECTED] = "refused",
	[OUTCOME_SUPPRESSED] = "suppressed as a duplicate",
	[OUTCOME_DISCARDED] = "discarded, as `unknown` says",
	[OUTCOME_AGAIN] = "was in doubt, to be sent again",
};
static_assert(ARRAY_LEN(outcomes) == OUTCOME_AGAIN + 1, "one text per outcome");

static bool is_gone(const struct stored_record *r)
{
	return r->forgotten_at && r->state != MESSAGE_DELETED;
}

static wall_t since(const struct stored_record *r)
{
	if (is_gone(r))
		return r->forgotten_at;
	return r->state_at ? r->state_at : r->first_at;
}

static void add_where(const struct stored_record *r, struct strbuf *out)
{
	strbuf_adds(out, is_gone(r) ? places[r->state].gone : places[r->state].here);
	strbuf_adds(out, r->state == MESSAGE_DELETED ? " " : ", since ");
	ctl_add_time(out, since(r));
	if (r->retry_at && r->state == MESSAGE_NEW && !is_gone(r)) {
		strbuf_adds(out, ", not tried before ");
		ctl_add_time(out, r->retry_at);
	}
	if (r->reason) {
		strbuf_adds(out, ": ");
		ctl_add_foreign(out, r->reason);
	}
}

/* ---- text ---- */

struct text {
	const struct stored_record *record;
	struct strbuf *out;
};

static int add_rcpt(void *ctx, const struct stored_rcpt *r)
{
	const struct text *t = ctx;

	strbuf_adds(t->out, "    ");
	ctl_add_foreign(t->out, r->address);
	strbuf_addf(t->out, "%s: %s ", r->postmaster ? " (standing in)" : "", outcomes[r->outcome]);
	ctl_add_time(t->out, r->at);
	if (r->outcome == OUTCOME_ACCEPTED && t->record->relay)
		strbuf_addf(t->out, " to %s", t->record->relay);
	strbuf_adds(t->out, *r->reply ? ": " : "");
	ctl_add_foreign(t->out, r->reply);
	strbuf_adds(t->out, "\n");
	return 0;
}

int record_text(
	struct store *store, const struct stored_record *r, struct strbuf *out, struct err *err)
{
	struct text t = { r, out };

	strbuf_addf(out, "%" PRId64 "  ", r->id);
	ctl_add_time(out, r->first_at);
	strbuf_adds(out, "  ");
	ctl_add_foreign(out, r->message_id ? r->message_id : "(no Message-ID known)");
	strbuf_addf(out, "\n    account %s, UIDL ", r->account);
	ctl_add_foreign(out, r->uid);
	strbuf_addf(out, ", %" PRIu64 " octets, attempts %" PRIu32, r->octets, r->attempts);
	if (r->sender) {
		strbuf_adds(out, ", from <");
		ctl_add_foreign(out, r->sender);
		strbuf_adds(out, ">");
	}
	if (r->redirect)
		strbuf_addf(out, ", released to %s", r->redirect);
	strbuf_adds(out, "\n");
	if (store_rcpts(store, r->id, add_rcpt, &t, err))
		return -1;
	strbuf_adds(out, "    now: ");
	add_where(r, out);
	strbuf_adds(out, "\n");
	return 0;
}

/* ---- JSON ---- */

static int append_rcpt(void *ctx, const struct stored_rcpt *r)
{
	json_array_append_new(ctx,
		json_pack("{s:o, s:b, s:s, s:o, s:o}", "address", show_json_text(r->address),
			"postmaster", r->postmaster, "outcome", outcome_name(r->outcome), "reply",
			show_json_text(r->reply), "at", show_json_time(r->at)));
	return 0;
}

json_t *record_json(struct store *store, const struct stored_record *r, struct err *err)
{
	AUTO(strbuf_free) struct strbuf where = STRBUF_INIT;
	json_t *rcpts = json_array();

	if (store_rcpts(store, r->id, append_rcpt, rcpts, err)) {
		json_decref(rcpts);
		return NULL;
	}
	add_where(r, &where);
	return json_pack(
		"{s:I, s:o, s:o, s:o, s:o, s:I, s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id",
		(json_int_t)r->id, "account", show_json_text(r->account), "uidl",
		show_json_text(r->uid), "message_id", show_json_text(r->message_id), "sender",
		show_json_text(r->sender), "size", (json_int_t)r->octets, "attempts",
		(json_int_t)r->attempts, "state", is_gone(r) ? "gone" : places[r->state].name,
		"where", show_json_text(strbuf_str(&where)), "since", show_json_time(since(r)),
		"first_seen", show_json_time(r->first_at), "relay", show_json_text(r->relay),
		"reason", show_json_text(r->reason), "redirect", show_json_text(r->redirect),
		"recipients", rcpts);
}
