/*
 * A relay: the in-house server, a pool of SMTP or LMTP sessions to it, and the jobs that wait for
 * one.
 *
 * A job is one transaction: one message, one set of recipients. The relay borrows it from
 * relay_submit() until on_done. The relay tries each job once; what is to be tried again, and how
 * often, its owner says with a new job. While the relay is down, jobs come back at once with
 * SMTP_CONNECTION.
 */
#pragma once

#include "core/config.h"
#include "core/smtp_pool.h"
#include "proto/smtp.h"
#include "spool.h"
#include "transport.h"
#include "turn.h"

/* Output that a session may have waiting before more of the message is read. */
#define RELAY_OUTPUT_OCTETS (128 * 1024)

struct env;
struct relay;

struct relay_job {
	struct smtp_mail mail; /* sender, rcpts with outcomes, flags */
	struct strbuf head;    /* all header lines as they go out, and the blank line */
	struct spool *spool;
	uint64_t body_offset;
	bool lf_ended;
	bool body_begun;  /* out: the relay has said 354 */
	bool durable_dot; /* the record of its dot has to survive the machine */
	/* All content is on its way but the dot: record it. -1: it could not be; no dot is sent. */
	int (*on_dot)(struct relay_job *job);
	void (*on_done)(struct relay_job *job); /* every recipient has its outcome */
	TAILQ_ENTRY(relay_job) entry;
};

struct relay_ops {
	void (*on_up)(void *ctx, struct relay *relay);   /* it was down, and is not any more */
	void (*on_down)(void *ctx, struct relay *relay); /* waiting jobs have been handed back */
	void *ctx;
};

/* config is referenced for the relay's life. -1: its TLS settings are of no use. */
int relay_new(struct env *env, struct config *config, const struct conf_relay *conf,
	const struct relay_ops *ops, struct relay **out, struct err *err) must_check;
struct relay *relay_ref(struct relay *r);
void relay_unref(struct relay *r); /* the last one closes its sessions */

/*
 * Before the first job: `old`, of the same name, made way for this one. If it was down so is this
 * one, until it has proven the contrary; it is tried at once.
 */
void relay_inherit(struct relay *r, const struct relay *old);

const struct conf_relay *relay_conf(const struct relay *r);
void relay_submit(struct relay *r, struct relay_job *job);
/*
 * Takes a job back that has not sent its final dot: true, and on_done will not come. False: it is
 * past the dot; on_done will come.
 */
bool relay_cancel(struct relay *r, struct relay_job *job);
bool relay_is_down(const struct relay *r);
bool relay_is_degraded(const struct relay *r); /* its first host is down, another serves */
const struct smtp_pool *relay_pool(const struct relay *r);
const char *relay_fault(const struct relay *r); /* why it is down; "" when it is not */
void relay_probe(
	struct relay *r); /* while down: connect when the pause is over, even without a job */
void relay_stop(struct relay *r);   /* closes idle sessions; waiting jobs come back, no new ones */
void relay_retire(struct relay *r); /* serves what its owners still have, keeps nothing open */
