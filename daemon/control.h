/*
 * The control socket: who may connect, one request each, an answer that may grow, hard limits.
 *
 * A client is ours from on_request until control_end(); it can be gone before that: on_gone. What
 * the requests mean is in requests.c, how they look in core/control_line.h. A client that sends no
 * line, an endless one, or does not read costs a slot and CONTROL_IDLE_MSEC, and nobody waits.
 */
#pragma once

#include "core/control_line.h"
#include "env.h"

#define CONTROL_CLIENTS_MAX   16    /* at once; more are told so and closed */
#define CONTROL_ACCEPTS_MAX   8     /* in one turn of the loop */
#define CONTROL_IDLE_MSEC     10000 /* for the request to come; and for the answer to be taken */
#define CONTROL_ANSWER_OCTETS (8 * 1024 * 1024)
#define CONTROL_RETRY_MSEC    1000 /* out of descriptors: the next try */

struct control;
struct control_client;

struct control_ops {
	void (*on_request)(
		void *ctx, struct control_client *client, const struct control_request *request);
	/* It hung up, or did not read, before control_end(): forget it. */
	void (*on_gone)(void *ctx, struct control_client *client);
	void *ctx;
};

struct control *control_new(struct env *env, const struct control_ops *ops);
void control_free(struct control *c); /* closes everything, removes the socket; NULL is fine */
/*
 * Listens at `path`, and no longer where it did; who has connected there is served. The same path
 * again: a socket that somebody has removed is made anew. The folder is made when only that is
 * missing. A socket that nobody listens at is replaced, one that answers is not. -1: everything is
 * as it was.
 */
int control_listen(struct control *c, const char *path, struct err *err) must_check;

/* The answer, line by line; text may have several lines. Nothing goes out before this returns. */
void control_say(struct control_client *client, const char *text);
void control_complain(struct control_client *client, const char *text);
void control_end(struct control_client *client, int status); /* the client is no longer ours */
