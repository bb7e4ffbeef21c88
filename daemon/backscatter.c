/* The question to a relay; see backscatter.h. Owns its jobs, one per relay at most. */
#include "backscatter.h"

#include "base/encode.h"
#include "base/log.h"

#include <stdlib.h>

#define RANDOM_OCTETS 8

struct question {
	struct relay_job job; /* first: the relay hands it back */
	struct backscatter *owner;
	struct relay *relay;
	struct smtp_rcpt rcpt;
	struct strbuf address;
	bool answered;
	TAILQ_ENTRY(question) entry;
};

struct backscatter {
	struct env *env;
	TAILQ_HEAD(, question) out;
	struct step reap;
};

static void on_reap(void *ctx, bool durable);

struct backscatter *backscatter_new(struct env *env)
{
	struct backscatter *b = mem_zalloc(sizeof *b);

	b->env = env;
	TAILQ_INIT(&b->out);
	step_init(&b->reap, on_reap, b);
	return b;
}

static void question_free(struct question *q)
{
	TAILQ_REMOVE(&q->owner->out, q, entry);
	relay_unref(q->relay);
	strbuf_free(&q->address);
	free(q);
}

static void on_reap(void *ctx, bool durable)
{
	struct backscatter *b = ctx;
	struct question *q, *next;

	for (q = TAILQ_FIRST(&b->out); q; q = next) {
		next = TAILQ_NEXT(q, entry);
		if (q->answered)
			question_free(q);
	}
}

void backscatter_free(struct backscatter *b)
{
	struct question *q;

	if (!b)
		return;
	step_cancel(&b->reap);
	while ((q = TAILQ_FIRST(&b->out))) {
		if (!q->answered)
			(void)relay_cancel(q->relay, &q->job); /* no dot: always taken back */
		question_free(q);
	}
	free(b);
}

static void on_answer(struct relay_job *job)
{
	struct question *q = (struct question *)job;
	struct env *env = q->owner->env;
	const char *name = relay_conf(q->relay)->name;
	bool taken = q->rcpt.outcome == SMTP_ACCEPTED;
	struct err err;

	if (taken)
		log_write(&(struct log_entry){ .event = EV_RELAY_WARNING,
			.relay = name,
			.recipient = q->rcpt.address,
			.reason = "backscatter risk",
			.text = "it takes mail for an address that cannot exist, and will bounce "
				"it "
				"later; let it refuse unknown recipients at RCPT" });
	/* A "later" or a broken connection is no answer: it is asked again. */
	if ((taken || q->rcpt.outcome == SMTP_UNKNOWN) &&
		store_set_relay_asked(env->store, name, env_wall(env), taken, &err))
		log_write(&(struct log_entry){ .event = EV_STATE_FAILED, .reason = err.text });
	/* Not here: a relay that a reload has retired may go with its last question, and the
	 * session that brings the answer is one of its. */
	q->answered = true;
	turn_flush(&env->turn, &q->owner->reap);
}

static bool is_out(const struct backscatter *b, const struct relay *relay)
{
	const struct question *q;

	TAILQ_FOREACH (q, &b->out, entry)
		if (q->relay == relay)
			return true;
	return false;
}

static void add_random(struct env *env, struct strbuf *out)
{
	uint8_t random[RANDOM_OCTETS];

	env->rng->fill(env->rng, random, sizeof random);
	hex_encode(out, random, sizeof random);
}

void backscatter_ask(struct backscatter *b, struct relay *relay, const char *domain)
{
	struct env *env = b->env;
	wall_t asked, now = env_wall(env);
	struct err err;

	if (is_out(b, relay) || relay_is_down(relay) ||
		store_relay_asked(env->store, relay_conf(relay)->name, &asked, &err))
		return; /* a state that cannot be read shows itself elsewhere */
	if (asked <= now && now - asked < BACKSCATTER_EVERY_MSEC)
		return;
	struct question *q = mem_zalloc(sizeof *q);
	q->owner = b;
	q->relay = relay_ref(relay);
	strbuf_adds(&q->address, "no-such-user-");
	add_random(env, &q->address);
	strbuf_addf(&q->address, "@%s", domain);
	q->rcpt.address = q->address.ptr;
	q->job.mail = (struct smtp_mail){ .sender = "",
		.rcpts = &q->rcpt,
		.nrcpts = 1,
		.octets = 1,
		.notify_never = true,
		.verify = true };
	q->job.on_done = on_answer;
	TAILQ_INSERT_TAIL(&b->out, q, entry);
	relay_submit(relay, &q->job);
}
