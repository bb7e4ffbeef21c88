/*
 * The world of the simulation: a provider, an in-house server, and one daemon between them.
 *
 * The provider (sim_pop3.c) and the house (sim_smtp.c) live in this process, on one poll loop and
 * loopback sockets (sim_net.c). The daemon is the real app_run(), in a child process (sim_daemon.c)
 * that can be killed at any octet. The world knows what was in the maildrop and which copies
 * arrived, and judges (sim_world.c): no message without a copy for each recipient, no copy too many
 * but where nobody could know, and that one marked.
 *
 * A mishap strikes once, in the first cycle of a run, at an octet of one of the four streams,
 * counted over all connections of that cycle. The cycles after it are undisturbed.
 */
#pragma once

#include "base/strbuf.h"

#include <sys/types.h>

enum stream { POP3_OUT, POP3_IN, SMTP_OUT, SMTP_IN, STREAM_COUNT };

/* A way to go wrong. What it leaves open is what the daemon cannot know, see world_known(). */
struct mishap_kind {
	const char *name;
	bool resets; /* the peer closes with RST instead of FIN */
	bool loses;  /* the house forgets what it has not confirmed: it crashed, too */
	bool dies;   /* SIGKILL for the daemon */
	bool drains; /* what it had written still arrives */
	bool late;   /* up to half a millisecond later */
	bool power;  /* and what was not synced is gone */
};

struct mishap {
	const struct mishap_kind *kind; /* NULL: none, or it has struck */
	enum stream stream;
	size_t at; /* so many octets of the stream pass */
};

enum stage { NOWHERE, AT_RCPT, AT_DOT };

struct scenario {
	char name[40];
	bool lmtp, keep, pipelining, no_uidl;
	bool later;      /* one recipient is refused for now in the first cycle */
	enum stage busy; /* there all are in the second: what the first left in doubt, too */
	unsigned connections;
	const char *dedupe;
	/* One in so many places: cuts with FIN, cuts with RST, kills. */
	unsigned fin, rst, kill;
};

#define RCPTS_MAX    3
#define MESSAGES_MAX 6 /* three, and one more for each UID that is used again */
#define COPIES_MAX   64
#define STREAM_MAX   8192

struct message {
	char uid[8];
	struct strbuf text; /* as the provider has it */
	size_t kept;        /* from here on it must arrive unchanged */
	unsigned nrcpts;
	const char *rcpts[RCPTS_MAX];
	bool listed;
	bool dele; /* a DELE for it has been read in the first cycle */
};

struct copy {
	unsigned message, rcpt, cycle;
	unsigned conn;
	bool marked; /* X-Multidrop-In-Doubt */
	char id[64]; /* X-Multidrop-Id */
	size_t reply_end;
	bool answered; /* the reply has left, whole */
	bool spoken;   /* and the daemon has said something since, there */
};

struct passage {
	size_t n;                      /* octets so far in this cycle */
	bool line[STREAM_MAX + 1];     /* a line ends here */
	bool critical[STREAM_MAX + 1]; /* between a final dot or a QUIT and the end of its answer */
};

struct daemon;

struct world {
	const struct scenario *scenario;
	struct daemon *daemon;
	struct mishap mishap;
	unsigned cycle;
	struct passage streams[STREAM_COUNT];
	struct message messages[MESSAGES_MAX];
	unsigned nmessages;
	struct copy copies[COPIES_MAX];
	unsigned ncopies;
	unsigned retrs, deles, transactions; /* of this cycle */
	bool struck;
	unsigned marked, extra; /* of a finished run: copies with the mark, copies too many */
	uint64_t random;
	char broken[400]; /* the first promise that was broken; "": none so far */
};

/* sim_world.c */
void world_reset(struct world *w);
void world_free(struct world *w);
void world_break(struct world *w, const char *fmt, ...) format_like(2, 3);
/* UIDs of messages that are gone are given to new messages. */
void world_reuse_uids(struct world *w);
/* Without UIDs nothing can be kept and known at the same time: nothing may happen at all. */
bool world_untouched(const struct world *w);
unsigned world_listed(const struct world *w);
void world_dele(struct world *w, struct message *m);
/* One recipient's copy on connection `conn`; its reply ends at reply_end of SMTP_OUT. */
void world_arrived(
	struct world *w, unsigned conn, const char *rcpt, struct strview content, size_t reply_end);
void world_sent(struct world *w);                  /* SMTP_OUT went on */
void world_spoken(struct world *w, unsigned conn); /* the daemon said something there */
/* Replies that have not left never will; forget: nor does the house know what they were to say. */
void world_unconfirmed(struct world *w, bool forget);
/* Judges a finished run, and counts. */
void world_judge(struct world *w, const struct mishap *mishap);
uint64_t sim_random(uint64_t *state);

/* sim_net.c: lines in, octets out */
struct conn;
struct net;

struct service {
	enum stream out, in;
	void (*greet)(struct conn *c);
	void (*line)(struct conn *c, struct strview line);
};

struct dialog {    /* what a service keeps of a connection */
	bool data; /* SMTP: the lines are content */
	unsigned nrcpts, nlisted;
	char rcpts[RCPTS_MAX][64];
	struct strbuf content;
	struct message *listed[MESSAGES_MAX];
	bool deleted[MESSAGES_MAX];
};

struct world *conn_world(struct conn *c);
struct dialog *conn_dialog(struct conn *c);
void conn_say(struct conn *c, const char *fmt, ...) format_like(2, 3);
unsigned conn_number(const struct conn *c);
size_t conn_said(const struct conn *c); /* where in its stream the next octet will be */
/* What is said from `from` on answers the last `asked` octets that came: a critical passage. */
void conn_critical(struct conn *c, size_t from, size_t asked);
void conn_bye(struct conn *c); /* close when all is sent */

extern const struct service pop3_service, smtp_service;

struct net *net_new(void); /* listens on ports of its own choice; aborts when it cannot */
void net_free(struct net *n);
uint16_t net_port(const struct net *n, const struct service *s);
/* One cycle of the daemon, until the last connection is gone. Its exit status; -1: it was killed.
 */
int net_cycle(struct net *n, struct world *w);

/* sim_daemon.c */
struct daemon *daemon_new(bool verbose); /* aborts when it cannot */
void daemon_free(struct daemon *d);
void daemon_configure(struct daemon *d, const struct scenario *s, uint16_t pop3, uint16_t smtp);
void daemon_start_cycle(struct daemon *d);
void daemon_forget(struct daemon *d);                      /* a run begins */
int daemon_fd(const struct daemon *d);                     /* -1: it is dead */
int daemon_take_status(struct daemon *d, struct world *w); /* daemon_fd() is readable */
void daemon_kill(struct daemon *d, bool power);
/* Ends the process in good order, for the sanitizers' last word. */
void daemon_stop(struct daemon *d, struct world *w);

/* sim_disk.c: all SQLite files of this process and its children, from disk_new() on */
void disk_new(void);
void disk_free(void);
void disk_forget(void);        /* a run begins without a database */
void disk_keep(void);          /* ... with the one that is there now */
void disk_reset(void);         /* a run begins */
void disk_settle(void);        /* what is there has survived */
void disk_lose_unsynced(void); /* power loss */
bool disk_synced(void);        /* has anybody ever waited for the disk? */
