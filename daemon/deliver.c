/*
 * The transactions of one message; see deliver.h.
 *
 * Owns the jobs of a transit. Outcomes are written to the store as they come; the transit is
 * settled when core/delivery.c says that nothing is left to send.
 */
#include "deliver.h"

#include "base/log.h"
#include "identity.h"
#include "mail/received.h"
#include "mail/rewrite.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#define TRIES_MAX 3 /* connections that a message may see fail in one cycle */

/* One transaction of this message. */
struct delivery_job {
	struct relay_job job; /* first: the relay hands it back */
	struct transit *transit;
	size_t *indices; /* into delivery.rcpts, beside job.mail.rcpts */
	bool dot_recorded;
	TAILQ_ENTRY(delivery_job) entry;
};

/* ---- transactions ---- */

static void job_free(struct delivery_job *j)
{
	TAILQ_REMOVE(&j->transit->in_flight, j, entry);
	j->transit->jobs--;
	strbuf_free(&j->job.head);
	free(j->job.mail.rcpts);
	free(j->indices);
	free(j);
}

static int record(struct transit *t, const struct delivery_rcpt *r, enum outcome outcome)
{
	struct env *env = t->fetch->env;
	struct stored_rcpt row = { .address = r->address,
		.postmaster = r->postmaster,
		.outcome = outcome,
		.in_doubt = r->in_doubt,
		.code = r->code,
		.reply = r->reply };
	struct err err;

	if (!store_rcpt(env->store, t->row, &row, env_wall(env), &err))
		return 0;
	transit_failed(t, &err);
	return -1;
}

/*
 * What becomes of this content for this recipient, for its other copies. A stand-in has none: he
 * gets each with its reason.
 */
static int note_content(struct transit *t, const struct delivery_rcpt *r, enum outcome outcome)
{
	struct env *env = t->fetch->env;
	const char *account = t->fetch->account->name;
	struct dedupe_note note = { .message = t->row };
	struct err err;
	int rc = 0;

	if (!t->fetch->account->dedupe_ms || r->postmaster)
		return 0;
	if (outcome == OUTCOME_DOT)
		memcpy(note.doubt_id, t->id, sizeof note.doubt_id);
	if (outcome == OUTCOME_DOT || outcome == OUTCOME_ACCEPTED)
		rc = store_dedupe_note(
			env->store, account, r->address, t->content, &note, env_wall(env), &err);
	else if (!r->in_doubt)
		rc = store_dedupe_drop(env->store, account, r->address, t->content, t->row, &err);
	if (rc)
		transit_failed(t, &err);
	return rc;
}

static int on_dot(struct relay_job *job)
{
	struct delivery_job *j = (struct delivery_job *)job;
	struct transit *t = j->transit;

	j->dot_recorded = true;
	for (size_t i = 0; i < job->mail.nrcpts; i++) {
		const struct delivery_rcpt *r = &t->delivery.rcpts[j->indices[i]];
		if (job->mail.rcpts[i].outcome == SMTP_PENDING &&
			(record(t, r, OUTCOME_DOT) || note_content(t, r, OUTCOME_DOT)))
			return -1;
	}
	return 0;
}

/* What the relay's answer to one recipient is in our terms. */
static enum outcome translate(struct transit *t, enum smtp_outcome o)
{
	switch (o) {
	case SMTP_ACCEPTED:
		return OUTCOME_ACCEPTED;
	case SMTP_LATER:
		return OUTCOME_LATER;
	case SMTP_UNKNOWN:
		return OUTCOME_UNKNOWN;
	case SMTP_REJECTED:
		return OUTCOME_REJECTED;
	case SMTP_IN_DOUBT:
		return OUTCOME_DOT;
	case SMTP_TOO_MANY:
	case SMTP_CONNECTION:
	case SMTP_PENDING:
	case SMTP_OUTCOME_COUNT:
		break;
	}
	return OUTCOME_PENDING;
}

static void log_outcome(struct transit *t, const struct delivery_rcpt *r, const char *reply)
{
	static const struct {
		enum log_event event;
		const char *text;
	} said[] = {
		[OUTCOME_DOT] = { EV_MESSAGE_IN_DOUBT,
			"the relay may have it: its answer to the message got lost" },
		[OUTCOME_ACCEPTED] = { EV_MESSAGE_DELIVERED, "delivered" },
		[OUTCOME_LATER] = { EV_MESSAGE_DEFERRED, "the relay wants it later" },
		[OUTCOME_SUPPRESSED] = { EV_MESSAGE_SUPPRESSED,
			"this recipient has the same message already" },
		[OUTCOME_DISCARDED] = { EV_MESSAGE_DISCARDED, "discarded, as `unknown` says" },
	};

	if (r->outcome < ARRAY_LEN(said) && said[r->outcome].text)
		transit_note(t,
			&(struct log_entry){ .event = said[r->outcome].event,
				.recipient = r->address,
				.reply = reply,
				.text = said[r->outcome].text });
}

static void count_outcome(struct transit *t, const struct delivery_rcpt *r)
{
	t->fetch->stats.delivered += r->outcome == OUTCOME_ACCEPTED;
	t->fetch->stats.deferred += r->outcome == OUTCOME_LATER;
}

/* "250 2.0.0 Ok", or our own words where no reply decided. */
static void reply_text(const struct smtp_reply *reply, struct strbuf *out)
{
	if (reply->code)
		strbuf_addf(out, "%d ", reply->code);
	strbuf_adds(out, reply->text);
}

static void take_outcome(struct delivery_job *j, size_t i)
{
	struct transit *t = j->transit;
	const struct smtp_rcpt *from = &j->job.mail.rcpts[i];
	struct delivery_rcpt *r = &t->delivery.rcpts[j->indices[i]];
	enum outcome outcome = translate(t, from->outcome);
	AUTO(strbuf_free) struct strbuf reply = STRBUF_INIT;

	reply_text(&from->reply, &reply);
	delivery_result(&t->delivery, j->indices[i], outcome, from->reply.code, strbuf_str(&reply));
	if (outcome == OUTCOME_PENDING && j->dot_recorded)
		outcome = OUTCOME_LATER; /* the record must not say "in doubt" */
	if (outcome != OUTCOME_PENDING && outcome != OUTCOME_DOT) {
		(void)record(t, r, outcome); /* a failure has stopped the fetch */
		if (j->dot_recorded)
			(void)note_content(t, r, outcome);
	}
	if (outcome != OUTCOME_PENDING) {
		log_outcome(t, r, strbuf_str(&reply));
		count_outcome(t, r);
	}
}

static void pump(struct transit *t);

static void on_done(struct relay_job *job)
{
	struct delivery_job *j = (struct delivery_job *)job;
	struct transit *t = j->transit;
	bool connection = false;

	for (size_t i = 0; i < job->mail.nrcpts; i++) {
		connection |= job->mail.rcpts[i].outcome == SMTP_CONNECTION;
		take_outcome(j, i);
	}
	t->broke |= connection && job->body_begun;
	if (connection && (++t->tries >= TRIES_MAX || relay_is_down(t->fetch->relay)))
		t->give_up = true;
	job_free(j);
	pump(t);
}

static void format_date(wall_t wall, char out[64])
{
	time_t seconds = wall / 1000;
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(out, 64, "%a, %d %b %Y %H:%M:%S +0000", &tm); /* the C locale's names: RFC 5322 */
}

static void build_head(struct delivery_job *j, const struct delivery_rcpt *first)
{
	struct transit *t = j->transit;
	const struct conf_account *account = t->fetch->account;
	char date[64];
	struct rewrite r = { .pop_host = account->provider->host,
		.pop_ip = t->fetch->pop_ip,
		.hostname = t->fetch->config->hostname,
		.pop_tls = account->provider->tls.mode != TLS_NONE,
		.rcpt = j->job.mail.nrcpts == 1 ? first->address : NULL,
		.date = date,
		.id = t->id,
		.in_doubt = first->in_doubt,
		.own_alert = t->own_alert,
		.reason = first->postmaster ? t->delivery.reason : NULL,
		.rules = account->rules.rules,
		.nrules = account->rules.nrules };

	format_date(env_wall(t->fetch->env), date);
	rewrite_head(&t->header, &r, &j->job.head);
}

static void submit(struct transit *t, const size_t *indices, size_t n)
{
	struct delivery_job *j = mem_zalloc(sizeof *j);
	struct smtp_rcpt *rcpts = mem_zalloc(n * sizeof *rcpts);

	j->transit = t;
	j->indices = mem_alloc(n * sizeof *j->indices);
	memcpy(j->indices, indices, n * sizeof *j->indices);
	for (size_t i = 0; i < n; i++)
		rcpts[i].address = t->delivery.rcpts[indices[i]].address;
	j->job.mail = (struct smtp_mail){ .sender = t->resolution.sender,
		.rcpts = rcpts,
		.nrcpts = n,
		.eightbit = spool_eightbit(t->spool),
		.client_name = t->client_name,
		.client_ip = t->client_ip,
		.notify_never = relay_conf(t->fetch->relay)->notify_never };
	build_head(j, &t->delivery.rcpts[indices[0]]);
	j->job.mail.octets = j->job.head.len + spool_octets(t->spool) - t->header.body_offset + 2;
	j->job.spool = t->spool;
	j->job.body_offset = t->header.body_offset;
	j->job.lf_ended = t->header.lf_ended;
	j->job.durable_dot = t->durable_dot;
	j->job.on_dot = on_dot;
	j->job.on_done = on_done;
	TAILQ_INSERT_TAIL(&t->in_flight, j, entry);
	t->jobs++;
	relay_submit(t->fetch->relay, &j->job);
}

/*
 * What no reply decided ends on record, as everything else does: who is not in recipients_file, and
 * what the policy has discarded, which the log tells, too.
 */
static void note_decisions(struct transit *t)
{
	for (size_t i = 0; i < t->delivery.n; i++) {
		struct delivery_rcpt *r = &t->delivery.rcpts[i];
		bool ours = r->outcome == OUTCOME_DISCARDED ||
			(r->outcome == OUTCOME_UNKNOWN && !r->code);
		if (!ours || !r->changed)
			continue;
		r->changed = false;
		if (record(t, r, r->outcome))
			return; /* nothing of this cycle is deleted any more */
		log_outcome(t, r, r->reply);
	}
}

/*
 * A connection that breaks again and again where the relay takes the content may be the content's
 * fault; anywhere else, and while the relay is down, it is nobody's.
 */
static void give_up(struct transit *t)
{
	if (t->fetch->stopping || relay_is_down(t->fetch->relay)) {
		transit_leave(t, true);
		return;
	}
	transit_note(t,
		&(struct log_entry){ .event = EV_MESSAGE_DEFERRED,
			.text = "connections to the relay broke in its transaction: left for a "
				"later cycle" });
	transit_defer(t, t->broke || delivery_lost_answer(&t->delivery));
}

/* Everything that can be sent now is submitted; without a job left, the message has its end. */
static void pump(struct transit *t)
{
	enum delivery_verdict verdict = delivery_verdict(&t->delivery);
	size_t max = relay_conf(t->fetch->relay)->max_recipients, n;

	note_decisions(t);
	if (verdict == DELIVERY_MORE && !t->give_up) {
		size_t *indices = mem_alloc(max * sizeof *indices);
		while ((n = delivery_next(&t->delivery, indices, max)))
			submit(t, indices, n);
		free(indices);
	}
	if (t->jobs)
		return;
	switch (verdict) {
	case DELIVERY_MORE:
		give_up(t);
		break;
	case DELIVERY_DEFER:
		transit_defer(t, delivery_lost_answer(&t->delivery));
		break;
	case DELIVERY_HOLD:
		transit_hold(t, t->delivery.reason);
		break;
	case DELIVERY_DONE:
		transit_done(t);
		break;
	}
}

/* ---- before the first transaction ---- */

static int on_recorded(void *ctx, const struct stored_rcpt *r)
{
	delivery_recorded(ctx, r);
	return 0;
}

static char *same_as(int64_t message)
{
	struct strbuf text = STRBUF_INIT;

	strbuf_addf(&text, "same content as message %" PRId64, message);
	return strbuf_take(&text);
}

static int suppress_one(struct transit *t, struct delivery_rcpt *r, int64_t seen)
{
	r->outcome = OUTCOME_SUPPRESSED;
	free(r->reply);
	r->reply = same_as(seen);
	if (record(t, r, OUTCOME_SUPPRESSED))
		return -1;
	t->fetch->stats.suppressed++;
	log_outcome(t, r, NULL);
	return 0;
}

/*
 * The relay may have this content as another message, or had it under another id: it goes out as a
 * redelivery of that one, or is held as that one is.
 */
static int doubt_one(struct transit *t, size_t i, const struct dedupe_note *seen)
{
	struct delivery_rcpt *r = &t->delivery.rcpts[i];

	memcpy(t->id, seen->doubt_id, sizeof t->id);
	if (r->in_doubt || seen->message == t->row)
		return 0; /* said and recorded already */
	delivery_doubt(&t->delivery, i);
	transit_note(t,
		&(struct log_entry){ .event = EV_MESSAGE_IN_DOUBT,
			.recipient = r->address,
			.text = "the relay may have the same content from another message" });
	return record(t, r, r->outcome);
}

/* Recipients who had the same content within `dedupe`, or may have had it. */
static int suppress(struct transit *t, struct err *err)
{
	struct env *env = t->fetch->env;
	const struct conf_account *account = t->fetch->account;
	struct dedupe_note seen;

	for (size_t i = 0; account->dedupe_ms && i < t->delivery.n; i++) {
		struct delivery_rcpt *r = &t->delivery.rcpts[i];
		if (r->outcome != OUTCOME_PENDING || r->postmaster)
			continue;
		if (store_dedupe_seen(env->store, account->name, r->address, t->content,
			    env_wall(env) - account->dedupe_ms, &seen, err))
			return -1;
		if (seen.doubt_id[0]) {
			if (doubt_one(t, i, &seen))
				return -1;
		} else if (seen.message) {
			if (suppress_one(t, r, seen.message))
				return -1;
		}
	}
	return 0;
}

/* Both on their way to one recipient at the same time, neither would see the other's note. */
static bool overlaps(const struct transit *a, const struct transit *b)
{
	if (memcmp(a->content, b->content, sizeof a->content))
		return false;
	for (size_t i = 0; i < a->delivery.n; i++)
		for (size_t k = 0; k < b->delivery.n; k++)
			if (!ascii_strcasecmp(
				    a->delivery.rcpts[i].address, b->delivery.rcpts[k].address))
				return true;
	return false;
}

static bool must_park(const struct transit *t)
{
	const struct transit *other;

	if (!t->fetch->account->dedupe_ms)
		return false;
	TAILQ_FOREACH (other, &t->fetch->transits, entry)
		if (other != t && other->state == TRANSIT_DELIVERING && overlaps(t, other))
			return true;
	return false;
}

void deliver_resume(struct transit *t)
{
	struct err err;

	if (must_park(t)) {
		t->state = TRANSIT_PARKED;
		return;
	}
	t->state = TRANSIT_DELIVERING;
	if (suppress(t, &err)) {
		transit_failed(t, &err);
		transit_settle(t, ITEM_LEFT);
		return;
	}
	pump(t);
}

/* The machine went down, and with it perhaps the record of who was sent a copy: all are in doubt.
 */
static int doubt_all(struct transit *t)
{
	struct delivery *d = &t->delivery;

	d->stand_in_doubt |= t->cut;
	for (size_t i = 0; t->cut && i < d->n; i++) {
		if (d->rcpts[i].outcome != OUTCOME_PENDING || d->rcpts[i].in_doubt)
			continue;
		if (t->redirect) /* a person's word: not to be held once more */
			d->rcpts[i].in_doubt = true;
		else
			delivery_doubt(d, i);
		if (record(t, &d->rcpts[i], d->rcpts[i].outcome))
			return -1;
	}
	return 0;
}

static void log_doubts(struct transit *t)
{
	for (size_t i = 0; i < t->delivery.n; i++)
		if (t->delivery.rcpts[i].in_doubt)
			transit_note(t,
				&(struct log_entry){ .event = EV_MESSAGE_IN_DOUBT,
					.recipient = t->delivery.rcpts[i].address,
					.text = "the relay may have an earlier copy" });
}

/* An administrator's word, then what the resolver says. */
static void add_recipients(struct transit *t)
{
	const struct resolution *r = &t->resolution;

	if (t->redirect)
		delivery_redirect(&t->delivery, t->redirect);
	else if (r->action == ACTION_POSTMASTER)
		delivery_add_postmaster(&t->delivery, r->unresolved);
	else
		for (size_t i = 0; i < r->nrecipients; i++)
			delivery_add(
				&t->delivery, r->recipients[i].address, r->recipients[i].unknown);
}

void deliver_start(struct transit *t)
{
	const struct resolution *r = &t->resolution;
	const struct conf_account *account = t->fetch->account;
	struct err err = { 0 };
	int rc = 0;

	received_client(&t->header, r->boundary, account->rules.trusted_by,
		account->rules.ntrusted_by, &t->client_name, &t->client_ip);
	delivery_init(&t->delivery, account);
	if (r->action == ACTION_HOLD && !t->redirect) {
		transit_hold(t, r->unresolved);
		return;
	}
	add_recipients(t);
	if (account->dedupe_ms)
		rc = identity_content(
			t->spool, &t->header, r->boundary, &account->rules, t->content, &err);
	if (rc || store_rcpts(t->fetch->env->store, t->row, on_recorded, &t->delivery, &err)) {
		transit_failed(t, &err);
		transit_settle(t, ITEM_LEFT);
		return;
	}
	if (doubt_all(t)) {
		transit_settle(t, ITEM_LEFT);
		return;
	}
	log_doubts(t);
	deliver_resume(t);
}

void deliver_cancel(struct transit *t)
{
	struct delivery_job *j, *next;

	t->give_up = true;
	if (t->state == TRANSIT_PARKED)
		transit_leave(t, true);
	if (t->state != TRANSIT_DELIVERING)
		return;
	for (j = TAILQ_FIRST(&t->in_flight); j; j = next) {
		next = TAILQ_NEXT(j, entry);
		if (!relay_cancel(t->fetch->relay, &j->job))
			continue;
		for (size_t i = 0; i < j->job.mail.nrcpts; i++) {
			j->job.mail.rcpts[i].outcome = SMTP_CONNECTION;
			take_outcome(j, i);
		}
		job_free(j);
	}
	if (!t->jobs)
		pump(t);
}

void deliver_free(struct transit *t)
{
	struct delivery_job *j;

	while ((j = TAILQ_FIRST(&t->in_flight)))
		job_free(j);
}
