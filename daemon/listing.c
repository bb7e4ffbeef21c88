/*
 * A complete listing against the state: plan, forget, hold; see listing.h. Owns nothing.
 */
#include "listing.h"

#include "base/encode.h"
#include "base/log.h"

#include <inttypes.h>

/* Messages whose history ends in one cycle: more would hold up the loop. */
#define PURGE_MAX 200

/* Forgets what two listings in a row did not have, each after a confirmed QUIT. */
static int forget_absent(struct fetch *f, struct err *err)
{
	struct store *store = f->env->store;
	bool quit_ok;

	/* It was true of the session before this one; of this one QUIT will tell. */
	if (store_quit_ok(store, f->account->name, &quit_ok, err) ||
		(quit_ok && store_set_quit_ok(store, f->account->name, false, err)))
		return -1;
	for (size_t i = 0; i < f->maildrop.nabsent; i++) {
		const struct absent *a = &f->maildrop.absent[i];
		/* Without UIDL only an empty maildrop tells what is gone. */
		if (a->missing && (!quit_ok || (f->maildrop.no_uidl && f->maildrop.n)))
			continue;
		if (a->missing >= MAILDROP_MISSING_MAX
				? store_forget(store, a->row, env_wall(f->env), err)
				: store_missing(store, a->row, a->missing, err))
			return -1;
	}
	return 0;
}

static int record_held(struct fetch *f, uint32_t number, struct err *err)
{
	struct env *env = f->env;
	struct item *it = maildrop_item(&f->maildrop, number);
	const char *uid = maildrop_item_uid(&f->maildrop, number);
	bool large = it->octets > f->account->max_size;
	const char *reason =
		large ? "larger than max_size" : "failed " MAILDROP_ATTEMPTS_TEXT " times";

	if (!it->row &&
		store_attempt(env->store, f->account->name, uid, it->octets, false, env_wall(env),
			&it->row, err))
		return -1;
	if (store_state(env->store, it->row, MESSAGE_HELD, reason, env_wall(env), err))
		return -1;
	fetch_log(f,
		&(struct log_entry){ .event = EV_MESSAGE_HELD,
			.uidl = uid,
			.size = it->octets,
			.reason = reason,
			.text = "message held; it stays on the provider's server" });
	return 0;
}

static int record(struct fetch *f, struct err *err)
{
	msec_t dedupe = f->account->dedupe_ms;
	wall_t now = env_wall(f->env);

	if (forget_absent(f, err))
		return -1;
	for (uint32_t n = 1; n <= f->maildrop.n; n++)
		if (maildrop_newly_held(&f->maildrop, n) && record_held(f, n, err))
			return -1;
	if (!f->maildrop.wanted)
		return 0; /* nothing new: leave the notes for a cycle that writes anyway */
	if (store_purge(f->env->store, now - STORE_HISTORY_MSEC, PURGE_MAX, err))
		return -1;
	return store_dedupe_purge(f->env->store, f->account->name, now - dedupe, err);
}

static void log_unusable(struct fetch *f)
{
	for (uint32_t n = 1; n <= f->maildrop.n; n++)
		if (maildrop_item(&f->maildrop, n)->state == ITEM_UNUSABLE)
			fetch_log(f,
				&(struct log_entry){ .event = EV_MESSAGE_DEFERRED,
					.error = err_class_name(ERR_UIDL),
					.text = "listed without a usable UID: left alone" });
}

static int on_row(void *ctx, const struct stored_message *row)
{
	struct fetch *f = ctx;

	maildrop_row(&f->maildrop, row);
	return 0;
}

int listing_take(struct fetch *f, struct err *err)
{
	struct maildrop *m = &f->maildrop;

	if (m->no_uidl)
		maildrop_without_uidl(m);
	maildrop_listed(m);
	if (store_messages(f->env->store, f->account->name, on_row, f, err))
		return -1;
	if (store_watch(f->env->store, f->account->name, &f->watch, err))
		return -1;
	maildrop_plan(m, env_wall(f->env));
	f->stats.listed = m->n;
	log_unusable(f);
	return f->env->dry_run ? 0 : record(f, err);
}

/* Nothing was ever known of it, its UID is its own, and a false "in doubt" would hold nothing up.
 */
static bool is_first(const struct fetch *f, const struct item *it)
{
	return !it->nrows && !it->verify && !f->maildrop.no_uidl &&
		f->account->in_doubt == DOUBT_RESEND;
}

int listing_attempt(struct fetch *f, uint32_t number, bool *first, struct err *err)
{
	struct item *it = maildrop_item(&f->maildrop, number);

	*first = is_first(f, it);
	if (f->env->dry_run)
		return 0;
	return store_attempt(f->env->store, f->account->name,
		maildrop_item_uid(&f->maildrop, number), it->octets, *first, env_wall(f->env),
		&it->row, err);
}

int listing_watch(struct fetch *f, struct err *err)
{
	bool due = f->watch_noted && !f->env->dry_run;

	f->watch_noted = false;
	return due ? store_set_watch(f->env->store, f->account->name, &f->watch, err) : 0;
}

static int gone(struct fetch *f, struct err *err)
{
	struct env *env = f->env;

	for (uint32_t n = 1; n <= f->maildrop.n; n++) {
		struct item *it = maildrop_item(&f->maildrop, n);
		const char *uid = maildrop_item_uid(&f->maildrop, n);
		if (it->state != ITEM_GONE)
			continue;
		if (store_state(env->store, it->row, MESSAGE_DELETED, NULL, env_wall(env), err))
			return -1;
		f->stats.deleted++;
		if (it->discard)
			fetch_log(f,
				&(struct log_entry){ .event = EV_MESSAGE_DISCARDED,
					.uidl = uid,
					.text = "discarded, as an administrator decided" });
		fetch_log(f,
			&(struct log_entry){ .event = EV_MESSAGE_DELETED,
				.uidl = uid,
				.text = "deleted at the provider" });
	}
	return 0;
}

int listing_quit(struct fetch *f, bool ok, struct err *err)
{
	struct env *env = f->env;

	/* Else the rows stay DONE: DELE again while they are listed. */
	int rc = ok ? gone(f, err) : 0;
	if (store_set_quit_ok(env->store, f->account->name, ok, rc ? &(struct err){ 0 } : err))
		rc = -1;
	return rc;
}

/*
 * No UIDL. Where the server never claimed to have it, the content can tell messages apart, but only
 * if they do not stay: else all would be retrieved in every cycle.
 */
void listing_refused(struct fetch *f, struct strview answer)
{
	AUTO(strbuf_free) struct strbuf said = STRBUF_INIT;
	struct pop3_reply reply;
	struct err err;

	/* Some servers say "too often" only here. */
	bool throttle =
		!pop3_reply_parse(answer, &reply) && pop3_error_class(&reply) == ERR_THROTTLE;
	if (!throttle && !pop3_caps(f->pop3)->uidl && f->account->keep_ms == KEEP_NONE) {
		f->maildrop.no_uidl = true;
		return;
	}
	escape_foreign(&said, answer);
	err_set(&err, throttle ? ERR_THROTTLE : ERR_UIDL, 0,
		"UIDL refused (%.150s); the maildrop is left untouched", strbuf_str(&said));
	if (throttle)
		err.code = pop3_refusal_code(&reply, ERR_THROTTLE);
	fetch_fail(f, &err);
}
