/* Outcomes and their policy; see delivery.h. Owns its recipients, no message and no connection. */
#include "core/delivery.h"

#include "core/maildrop.h"

#include <assert.h>
#include <stdlib.h>

static const char *const outcomes[] = {
	[OUTCOME_PENDING] = "pending",
	[OUTCOME_DOT] = "in-doubt",
	[OUTCOME_ACCEPTED] = "accepted",
	[OUTCOME_LATER] = "later",
	[OUTCOME_UNKNOWN] = "unknown",
	[OUTCOME_REJECTED] = "rejected",
	[OUTCOME_SUPPRESSED] = "suppressed",
	[OUTCOME_DISCARDED] = "discarded",
	[OUTCOME_AGAIN] = "again",
};
static_assert(ARRAY_LEN(outcomes) == OUTCOME_AGAIN + 1, "one name per outcome");

const char *outcome_name(enum outcome o)
{
	return outcomes[o];
}

#define PATIENT_CYCLES 2

msec_t delivery_backoff(uint32_t deferrals)
{
	msec_t wait = 60 * 1000;

	if (deferrals <= PATIENT_CYCLES)
		return 0;
	for (uint32_t i = PATIENT_CYCLES + 1; i < deferrals && wait < MAILDROP_DEFER_MAX_MSEC; i++)
		wait *= 2;
	return wait < MAILDROP_DEFER_MAX_MSEC ? wait : MAILDROP_DEFER_MAX_MSEC;
}

void delivery_init(struct delivery *d, const struct conf_account *account)
{
	*d = (struct delivery){ .account = account };
}

void delivery_free(struct delivery *d)
{
	for (size_t i = 0; i < d->n; i++) {
		free(d->rcpts[i].address);
		free(d->rcpts[i].reply);
	}
	free(d->rcpts);
	free(d->reason);
	*d = (struct delivery){ 0 };
}

static struct delivery_rcpt *add(struct delivery *d, const char *address, bool postmaster)
{
	mem_grow(&d->rcpts, &d->cap, d->n + 1, sizeof *d->rcpts);
	d->rcpts[d->n] =
		(struct delivery_rcpt){ .address = mem_strdup(address), .postmaster = postmaster };
	return &d->rcpts[d->n++];
}

static struct delivery_rcpt *stand_in(const struct delivery *d)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->rcpts[i].postmaster)
			return &d->rcpts[i];
	return NULL;
}

static void set_reason(struct delivery *d, const char *reason)
{
	if (!d->reason)
		d->reason = mem_strdup(reason);
}

static void set(struct delivery_rcpt *r, enum outcome outcome, int code, const char *reply)
{
	r->outcome = outcome;
	r->code = code;
	free(r->reply);
	r->reply = mem_strdup(reply);
	r->changed = true;
}

void delivery_add(struct delivery *d, const char *address, bool unknown)
{
	struct delivery_rcpt *r = add(d, address, false);

	if (unknown)
		set(r, OUTCOME_UNKNOWN, 0, "not in recipients_file");
}

void delivery_redirect(struct delivery *d, const char *address)
{
	d->redirected = true;
	add(d, address, false);
}

void delivery_add_postmaster(struct delivery *d, const char *reason)
{
	set_reason(d, reason);
	add(d, d->account->postmaster, true);
}

void delivery_recorded(struct delivery *d, const struct stored_rcpt *s)
{
	struct delivery_rcpt *r = NULL;
	bool doubt = s->in_doubt || s->outcome == OUTCOME_DOT || s->outcome == OUTCOME_AGAIN;

	for (size_t i = 0; i < d->n && !r; i++)
		if (d->rcpts[i].postmaster == s->postmaster &&
			!ascii_strcasecmp(d->rcpts[i].address, s->address))
			r = &d->rcpts[i];
	if (!r && s->postmaster && s->outcome != OUTCOME_PENDING &&
		!(d->redirected && s->outcome == OUTCOME_AGAIN))
		r = add(d, s->address, true);        /* it stood in before: it need not again */
	d->stand_in_doubt |= doubt && s->postmaster; /* should it have to stand in again */
	if (d->redirected && !ascii_strcasecmp(d->rcpts[0].address, s->address))
		d->rcpts[0].in_doubt |= doubt; /* as stand-in, perhaps: he may have it anyway */
	if (!r)
		return; /* the map has changed: the new word counts */
	r->in_doubt |= doubt;
	if (s->outcome == OUTCOME_LATER || s->outcome == OUTCOME_PENDING ||
		s->outcome == OUTCOME_AGAIN ||
		(s->outcome == OUTCOME_DOT && d->account->in_doubt == DOUBT_RESEND))
		return; /* tried again, unless recipients_file does not have it any more */
	if (s->outcome == OUTCOME_UNKNOWN && !s->code)
		return; /* recipients_file said so, and has just been asked again */
	set(r, s->outcome, s->code, s->reply);
	r->changed = false;
}

void delivery_doubt(struct delivery *d, size_t index)
{
	struct delivery_rcpt *r = &d->rcpts[index];

	r->in_doubt = true;
	if (d->account->in_doubt == DOUBT_HOLD)
		set(r, OUTCOME_DOT, 0, "the relay may have the same content already");
}

size_t delivery_next(struct delivery *d, size_t *indices, size_t max)
{
	const struct delivery_rcpt *first = NULL;
	size_t n = 0;

	for (size_t i = 0; i < d->n && n < max; i++) {
		struct delivery_rcpt *r = &d->rcpts[i];
		if (r->outcome != OUTCOME_PENDING || r->in_flight)
			continue;
		if (first && (first->postmaster != r->postmaster || first->in_doubt != r->in_doubt))
			continue;
		first = first ? first : r;
		r->in_flight = true;
		indices[n++] = i;
	}
	return n;
}

void delivery_result(
	struct delivery *d, size_t index, enum outcome outcome, int code, const char *reply)
{
	struct delivery_rcpt *r = &d->rcpts[index];

	ensure(index < d->n && r->in_flight);
	r->in_flight = false;
	if (outcome != OUTCOME_PENDING)
		set(r, outcome, code, reply);
}

/* A recipient that the relay does not want for good: who decides what becomes of the message? */
static enum failed_policy policy_of(const struct delivery *d, const struct delivery_rcpt *r)
{
	if (r->postmaster)
		return FAILED_HOLD; /* the last resort was refused */
	return r->outcome == OUTCOME_UNKNOWN ? d->account->unknown : d->account->rejected;
}

static void explain(struct delivery *d, const struct delivery_rcpt *r)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;

	strbuf_addf(&text, "%s %s: %s", r->postmaster ? "postmaster" : "recipient", r->address,
		r->reply ? r->reply : outcome_name(r->outcome));
	set_reason(d, strbuf_str(&text));
}

/* Applies the policy to one failed recipient; true: the message has to be held. */
static bool apply_policy(struct delivery *d, size_t index)
{
	switch (policy_of(d, &d->rcpts[index])) {
	case FAILED_POSTMASTER:
		explain(d, &d->rcpts[index]);
		if (!stand_in(d))
			add(d, d->account->postmaster, true)->in_doubt = d->stand_in_doubt;
		return false;
	case FAILED_DISCARD:
		d->rcpts[index].outcome = OUTCOME_DISCARDED; /* code and reply say why */
		d->rcpts[index].changed = true;
		return false;
	case FAILED_HOLD:
		break;
	}
	if (d->rcpts[index].postmaster) { /* its reason is not the one that it was to get */
		free(d->reason);
		d->reason = NULL;
	}
	explain(d, &d->rcpts[index]);
	return true;
}

bool delivery_lost_answer(const struct delivery *d)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->rcpts[i].outcome == OUTCOME_DOT && d->rcpts[i].changed)
			return true;
	return false;
}

enum delivery_verdict delivery_verdict(struct delivery *d)
{
	bool pending = false, later = false, hold = false;

	for (size_t i = 0; i < d->n; i++) {
		switch (d->rcpts[i].outcome) {
		case OUTCOME_PENDING:
			pending = true;
			break;
		case OUTCOME_LATER:
			later = true;
			break;
		case OUTCOME_DOT: /* a reply got lost, now or in an earlier cycle */
			if (d->account->in_doubt == DOUBT_RESEND) {
				later = true;
				break;
			}
			hold = true;
			set_reason(d, "in doubt: the relay may have it, and in_doubt is hold");
			break;
		case OUTCOME_UNKNOWN:
		case OUTCOME_REJECTED:
			hold |= apply_policy(d, i);
			break;
		case OUTCOME_ACCEPTED:
		case OUTCOME_SUPPRESSED:
		case OUTCOME_DISCARDED:
		case OUTCOME_AGAIN: /* recorded only: delivery_recorded() leaves it PENDING */
			break;
		}
	}
	if (pending)
		return DELIVERY_MORE;
	if (later)
		return DELIVERY_DEFER;
	return hold ? DELIVERY_HOLD : DELIVERY_DONE;
}
