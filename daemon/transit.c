/*
 * One message on its way; see transit.h.
 *
 * Owns the spool, the header, the resolution and the outcomes. It never ends itself:
 * settle() queues the end for after the commit, and the fetch frees it there.
 */
#include "transit.h"

#include "base/encode.h"
#include "base/log.h"
#include "deliver.h"
#include "identity.h"
#include "listing.h"
#include "mail/rewrite.h"
#include "plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TRIES_MAX         3   /* connections that a message may see fail in one cycle */
#define RECEIVED_MAX      100 /* RFC 5321 section 6.3: more is a loop */
#define SIZE_SLACK_OCTETS 4   /* a listed size may count this much less than what is there */
#define READ_OCTETS       (16 * 1024)

/* ---- log ---- */

static const char *uid_of(const struct transit *t)
{
	return t->uid ? t->uid : maildrop_item_uid(&t->fetch->maildrop, t->number);
}

void transit_note(struct transit *t, struct log_entry *e)
{
	e->uidl = uid_of(t);
	e->message_id = t->message_id;
	e->sender = t->resolution.sender;
	e->own_alert = t->own_alert;
	if (t->spool)
		e->size = spool_octets(t->spool);
	fetch_log(t->fetch, e);
}

/* ---- the end ---- */

static void on_settled(void *ctx, bool durable)
{
	struct transit *t = ctx;

	if (!durable)
		transit_failed(
			t, &(struct err){ ERR_LOCAL, 0, "the state database cannot be written" });
	fetch_settled(t->fetch, t, durable ? t->settle_as : ITEM_LEFT);
}

void transit_settle(struct transit *t, enum item_state as)
{
	if (t->state == TRANSIT_SETTLED)
		return; /* transit_failed() ends the session, and that what it has not received */
	t->state = TRANSIT_SETTLED;
	t->settle_as = as;
	bool others = fetch_settling(t->fetch, t);
	/* What shares its commit with others can wait for them. */
	(others ? turn_soon : turn_after_commit)(&t->fetch->env->turn, &t->settled);
}

/* A change of the state failed: nothing of this cycle may be deleted any more. */
void transit_failed(struct transit *t, const struct err *err)
{
	t->give_up = true;
	fetch_fail(t->fetch, err);
}

/* Stays for a later cycle. uncharge: it is not the message's fault. */
void transit_leave(struct transit *t, bool uncharge)
{
	struct err err;

	if (t->row && store_left(t->fetch->env->store, t->row, !uncharge, &err))
		transit_failed(t, &err);
	transit_settle(t, ITEM_LEFT);
}

void transit_defer(struct transit *t, bool charged)
{
	struct env *env = t->fetch->env;
	struct err err;
	wall_t retry_at = env_wall(env) + delivery_backoff(t->deferrals + 1);

	if (store_defer(env->store, t->row, charged, retry_at, &err))
		transit_failed(t, &err);
	transit_settle(t, ITEM_LEFT);
}

void transit_hold(struct transit *t, const char *reason)
{
	struct env *env = t->fetch->env;
	struct err err;

	if (store_state(env->store, t->row, MESSAGE_HELD, reason, env_wall(env), &err)) {
		transit_failed(t, &err);
		transit_settle(t, ITEM_LEFT);
		return;
	}
	transit_note(t,
		&(struct log_entry){ .event = EV_MESSAGE_HELD,
			.reason = reason,
			.text = "message held; it stays on the provider's server" });
	transit_settle(t, ITEM_HELD);
}

void transit_done(struct transit *t)
{
	struct env *env = t->fetch->env;
	struct err err;

	if (t->truncated) {
		transit_hold(t, "delivered, but shorter than listed: the original is kept");
		return;
	}
	if (store_state(env->store, t->row, MESSAGE_DONE, NULL, env_wall(env), &err)) {
		transit_failed(t, &err);
		transit_settle(t, ITEM_LEFT);
		return;
	}
	transit_settle(t, ITEM_DONE);
}

/* Does a header of this name end in an id that only this installation can have made? */
static bool has_own_id(struct transit *t, struct strview name)
{
	AUTO(strbuf_free) struct strbuf value = STRBUF_INIT;
	const struct header_field *f;

	for (size_t i = 0; (f = header_find(&t->header, name, &i)); i++) {
		strbuf_clear(&value);
		header_unfold(f, &value);
		size_t front = value.len > IDENTITY_HEX ? value.len - IDENTITY_HEX : 0;
		if (identity_is_own(t->fetch->env->identity, sv_skip(strbuf_view(&value), front)))
			return true;
	}
	return false;
}

/* A message of ours that came back, or one that has seen too many servers. */
static const char *loops(struct transit *t)
{
	unsigned received = 0;

	if (has_own_id(t, SV(MULTIDROP_ID_FIELD)))
		return "mail loop: this installation has relayed the message before";
	for (size_t i = 0; i < t->header.n; i++)
		received += header_is(&t->header.fields[i], "Received");
	return received > RECEIVED_MAX ? "mail loop: more than 100 Received lines" : NULL;
}

static int parse(struct transit *t, struct err *err)
{
	char buf[READ_OCTETS];
	struct strview data;
	uint64_t at = 0;
	size_t i = 0;

	header_init(&t->header, !spool_has_crlf(t->spool));
	while (t->header.state == HEADER_MORE) {
		if (spool_read(t->spool, at, buf, sizeof buf, &data, err))
			return -1;
		if (!data.len)
			break;
		at += header_push(&t->header, data.ptr, data.len);
	}
	header_end(&t->header);
	const struct header_field *f = header_find(&t->header, SV("Message-ID"), &i);
	if (f) {
		AUTO(strbuf_free) struct strbuf value = STRBUF_INIT;
		header_unfold(f, &value);
		t->message_id = strbuf_take(&value);
	}
	return 0;
}

static void log_news(struct transit *t, enum watch_news news)
{
	const struct watch *w = &t->fetch->watch;
	char counts[80];

	if (news == WATCH_NOTHING)
		return;
	snprintf(counts, sizeof counts, "found in %" PRIu32 " of the last %" PRIu32 " messages",
		watch_found(w), w->n);
	fetch_log(t->fetch,
		&(struct log_entry){ .event = EV_ENVELOPE_CHANGED,
			.level = news == WATCH_BACK ? LVL_NOTICE : LVL_ERROR,
			.reason = counts,
			.text = news == WATCH_BACK
				? "the envelope header is back where it was expected"
				: "the envelope header has stopped coming: the provider may have "
				  "changed; see multidropctl probe" });
}

/* Is the envelope header where it is expected? Said for the message, and kept for the account: news
 * at once, lest they be told again, the rest with the next attempts. */
static int watch(struct transit *t, struct err *err)
{
	struct fetch *f = t->fetch;
	const struct resolution *r = &t->resolution;

	if (f->account->rules.mode != RESOLVE_MULTIDROP || !f->account->rules.nrules)
		return 0;
	if (r->envelope_missing)
		transit_note(t,
			&(struct log_entry){ .event = EV_ENVELOPE_MISSING,
				.reason = r->unresolved,
				.text = "no envelope header where the provider should put it" });
	enum watch_news news = watch_note(&f->watch, !r->envelope_missing);
	log_news(t, news);
	f->watch_noted = true;
	return news == WATCH_NOTHING ? 0 : listing_watch(f, err);
}

static bool is_truncated(struct transit *t)
{
	const struct conf_provider *p = t->fetch->account->provider;

	if (!p->size_check || t->listed_octets <= spool_octets(t->spool) + SIZE_SLACK_OCTETS)
		return false;
	t->truncated = t->attempts > MAILDROP_TRUNCATED_CYCLES;
	transit_note(t,
		&(struct log_entry){ .event = EV_MESSAGE_TRUNCATED,
			.text = t->truncated
				? "shorter than listed, again: delivered, the original is kept"
				: "shorter than listed: left on the server, next cycle tries "
				  "again" });
	return !t->truncated;
}

/* Without UIDL the content is the only name that lasts. */
static int name_by_content(struct transit *t, struct err *err)
{
	AUTO(strbuf_free) struct strbuf name = STRBUF_INIT;

	if (!t->fetch->maildrop.no_uidl)
		return 0;
	strbuf_adds(&name, "sha256:");
	hex_encode(&name, spool_digest(t->spool), SPOOL_DIGEST_OCTETS);
	t->uid = strbuf_take(&name);
	return store_rename(t->fetch->env->store, t->row, t->uid, err);
}

/* The recorded row of this UID and content that no other message of the listing has claimed; id 0:
 * none. */
static int find_known(struct transit *t, struct stored_message *found, struct err *err)
{
	const struct maildrop *m = &t->fetch->maildrop;

	for (uint32_t nth = 0;; nth++) {
		if (store_same(t->fetch->env->store, t->fetch->account->name, t->row, uid_of(t),
			    spool_digest(t->spool), nth, found, err))
			return -1;
		if (!found->id || !maildrop_claimed(m, t->number, found->id))
			return 0;
	}
}

/* The attempt, and the size that is listed now, are those of a row that was there already. */
static int take_over(struct transit *t, struct stored_message *found, struct err *err)
{
	struct store *store = t->fetch->env->store;

	return store_remove(store, t->row, err) ||
			store_attempt(store, t->fetch->account->name, uid_of(t), t->listed_octets,
				false, env_wall(t->fetch->env), &found->id, err)
		? -1
		: 0;
}

/* Not every recipient has it, says its row: as maildrop_plan() decides where the UID is enough. */
static bool settle_unfinished(struct transit *t, const struct stored_message *found)
{
	t->attempts = found->attempts + 1;
	t->deferrals = found->deferrals;
	if (found->attempts >= MAILDROP_ATTEMPTS_MAX)
		transit_hold(t, "failed " MAILDROP_ATTEMPTS_TEXT " times");
	else if (maildrop_deferred(found->retry_at, env_wall(t->fetch->env)))
		transit_leave(t, true);
	else
		return false; /* some of its recipients may have it: their outcomes stand there */
	return true;
}

/*
 * A message whose UID is not proof enough: is its content recorded under this UID? Identical copies
 * under one UID each claim a row of their own. True: it is settled.
 */
static bool settle_known(struct transit *t)
{
	struct item *item = maildrop_item(&t->fetch->maildrop, t->number);
	struct stored_message found;
	struct err err;

	if (find_known(t, &found, &err) || (found.id && take_over(t, &found, &err))) {
		transit_failed(t, &err);
		transit_settle(t, ITEM_LEFT);
		return true;
	}
	if (!found.id)
		return false;
	t->row = item->row = found.id;
	item->discard = found.state == MESSAGE_DISCARD;
	if (found.state == MESSAGE_NEW)
		return settle_unfinished(t, &found);
	transit_settle(t, found.state == MESSAGE_HELD ? ITEM_HELD : ITEM_DONE);
	return true;
}

static void open_spool(struct transit *t)
{
	if (!t->spool)
		t->spool = spool_new(&t->fetch->env->spool);
}

/*
 * The rest is read and dropped; the message stays, and it is not its fault. The disk's failure may
 * be one of many and is counted, what becomes of the message is said each time.
 */
static void spool_failed(struct transit *t, const struct err *err)
{
	fetch_log(t->fetch,
		&(struct log_entry){
			.event = err->class == ERR_LIMIT ? EV_LIMIT_EXCEEDED : EV_STATE_FAILED,
			.reason = err->text,
			.text = "messages cannot be spooled" });
	t->fetch->stats.deferred++;
	transit_note(t,
		&(struct log_entry){ .event = EV_MESSAGE_DEFERRED,
			.level = LVL_WARNING,
			.reason = err->text,
			.text = "the message cannot be spooled; it stays on the server" });
	t->dropped = spool_octets(t->spool) + 1;
	spool_free(t->spool);
	t->spool = NULL;
}

/*
 * Writes into the row what the message is known by. If the row is of another content, the UID was
 * reused before that one had an end: this is a message of its own.
 */
static int identify(struct transit *t, struct err *err)
{
	struct env *env = t->fetch->env;
	const struct message_identity known = { spool_digest(t->spool), t->message_id,
		t->resolution.sender, t->fetch->account->relay->name };
	int rc = store_identify(env->store, t->row, &known, &t->redirect, err);

	if (rc <= 0)
		return rc;
	t->row = 0;
	if (store_attempt(env->store, t->fetch->account->name, uid_of(t), t->listed_octets, false,
		    env_wall(env), &t->row, err))
		return -1;
	maildrop_item(&t->fetch->maildrop, t->number)->row = t->row;
	return store_identify(env->store, t->row, &known, &t->redirect, err);
}

void transit_received(struct transit *t)
{
	struct env *env = t->fetch->env;
	struct err err;
	const char *loop;

	if (!t->dropped)
		open_spool(t); /* a message of no octets brought no data */
	if (!t->dropped && spool_end(t->spool, &err))
		spool_failed(t, &err);
	if (t->dropped) {
		transit_leave(t, true);
		return;
	}
	if (parse(t, &err)) {
		transit_failed(t, &err);
		transit_settle(t, ITEM_LEFT);
		return;
	}
	t->own_alert = has_own_id(t, SV(ALERT_MAIL_FIELD));
	resolve(&t->fetch->account->rules, &t->header, &t->resolution);
	if (env->dry_run) {
		plan_print(t);
		transit_settle(t, ITEM_LEFT);
		return;
	}
	if (is_truncated(t)) {
		transit_leave(t, false);
		return;
	}
	if (name_by_content(t, &err)) {
		transit_failed(t, &err);
		transit_settle(t, ITEM_LEFT);
		return;
	}
	if (t->verify && settle_known(t))
		return;
	t->fetch->fresh++;
	if (identify(t, &err) || watch(t, &err)) {
		transit_failed(t, &err);
		transit_settle(t, ITEM_LEFT);
		return;
	}
	identity_make(
		env->identity, t->fetch->account->name, uid_of(t), spool_digest(t->spool), t->id);
	loop = t->redirect ? NULL : loops(t); /* whoever released it has seen that reason */
	if (loop)
		transit_hold(t, loop);
	else
		deliver_start(t);
}

/* ---- RETR ---- */

struct transit *transit_new(struct fetch *f, uint32_t number, const struct item *item, bool first)
{
	struct transit *t = mem_zalloc(sizeof *t);

	t->fetch = f;
	t->number = number;
	t->row = item->row;
	t->attempts = item->attempts + 1;
	t->deferrals = item->deferrals;
	t->listed_octets = item->octets;
	t->verify = item->verify;
	t->cut = item->cut;
	t->durable_dot = !first || !store_knows_cuts(f->env->store);
	TAILQ_INIT(&t->in_flight);
	step_init(&t->settled, on_settled, t);
	return t;
}

void transit_free(struct transit *t)
{
	deliver_free(t);
	step_cancel(&t->attempted);
	step_cancel(&t->settled);
	spool_free(t->spool);
	header_free(&t->header);
	resolution_free(&t->resolution);
	delivery_free(&t->delivery);
	free(t->message_id);
	free(t->client_name);
	free(t->client_ip);
	free(t->redirect);
	free(t->uid);
	free(t);
}

bool transit_data(struct transit *t, struct strview data)
{
	struct err err;

	t->state = TRANSIT_RECEIVING;
	if (t->dropped) {
		t->dropped += data.len;
		return t->dropped > t->fetch->account->max_size;
	}
	open_spool(t);
	if (spool_octets(t->spool) + data.len > t->fetch->account->max_size)
		return true;
	if (spool_add(t->spool, data, &err))
		spool_failed(t, &err);
	return false;
}

void transit_refused(struct transit *t, struct strview reply)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;
	struct pop3_reply parsed;

	strbuf_addf(&text, "%s:%u: ", t->fetch->account->provider->host,
		t->fetch->account->provider->port);
	strbuf_addv(&text, reply);
	if (!pop3_reply_parse(reply, &parsed) && sv_ieq(parsed.code, SV("UTF8"))) {
		transit_hold(t, "the provider hands it out in UTF8 mode only (RFC 6856)");
		return;
	}
	t->fetch->stats.deferred++;
	transit_note(t,
		&(struct log_entry){ .event = EV_MESSAGE_DEFERRED,
			.level = LVL_WARNING,
			.reply = strbuf_str(&text),
			.text = "the provider does not hand the message out" });
	transit_leave(t, false);
}

void transit_oversize(struct transit *t)
{
	transit_hold(t, "larger than max_size");
}

void transit_abort(struct transit *t, bool charged)
{
	if (t->state <= TRANSIT_RECEIVING)
		transit_leave(t, !charged);
}
