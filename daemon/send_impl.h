/*
 * Inside of the relay, shared by send.c (the pool and its jobs) and session.c (one connection).
 */
#pragma once

#include "base/log.h"
#include "core/relay_hosts.h"
#include "env.h"
#include "login.h"
#include "send.h"

enum session_state { SESSION_CONNECTING, SESSION_IDLE, SESSION_BUSY, SESSION_LEAVING };

struct session {
	struct relay *relay;
	size_t host;                 /* see relay_host() */
	struct login login;          /* its command runs before the connection is made */
	struct transport *transport; /* NULL until then */
	struct smtp *smtp;           /* NULL until connected */
	enum session_state state;
	struct relay_job *job;
	bool sending; /* the body is going out */
	bool dot_sent;
	uint32_t messages; /* served */
	uint64_t offset;   /* of the body, next to read */
	msec_t idle_since;
	struct event *timer;
	struct step recorded, flush;
	TAILQ_ENTRY(session) entry;
};

struct relay {
	unsigned refs;
	struct env *env;
	struct config *config;
	const struct conf_relay *conf;
	struct relay_ops ops;
	struct smtp_pool pool;
	struct err fault; /* of the last connect that failed */
	bool probe, stopping, retiring;
	struct relay_hosts hosts;
	bool degraded;                  /* its first host is down, others are not */
	bool xforward_refused;          /* said so once */
	TAILQ_HEAD(, session) sessions; /* the one used last in front */
	TAILQ_HEAD(, relay_job) jobs;
	size_t njobs;
	struct event *timer;
	struct step dispatch;
};

/* send.c */
void relay_wake(struct relay *r); /* something changed: look for work with the next output */
void relay_note(const struct relay *r, enum log_event event, const char *reply,
	const struct err *err, const char *text);
/* No host could be made ready: that is the relay's fault, not a message's. */
void relay_connect_failed(struct relay *r, const struct err *err, const char *reply);
void relay_set_outcomes(struct relay_job *job, enum smtp_outcome from, enum smtp_outcome to);
void relay_arm(struct event *timer, msec_t now, msec_t at); /* MSEC_NEVER: off */
int relay_make_tls(const struct conf_relay *conf, const char *host, struct tls_client **tls,
	struct err *err) must_check;

/* session.c */
void session_open(struct relay *r);
void session_assign(struct session *s, struct relay_job *job); /* idle -> busy */
void session_leave(struct session *s);                         /* idle -> QUIT */
void session_free(struct session *s); /* closes at once; the pool's counts are the caller's */
