/*
 * A small HTTP/1.1 server (RFC 9112): GET and HEAD, no body taken, one request a connection, hard
 * limits. What there is to be read is in web.c.
 *
 * Clients are strangers. One that sends nothing, too much, or does not read costs a slot for a
 * while, and nobody waits for it; when all slots are taken, the one that has been silent longest
 * gives way. No callback outlives the request: an answer is made at once or not at all.
 */
#pragma once

#include "env.h"

#define HTTP_CLIENTS_MAX   32
#define HTTP_ACCEPTS_MAX   8     /* in one turn of the loop */
#define HTTP_HEAD_OCTETS   8192  /* request line and header */
#define HTTP_REQUEST_MSEC  10000 /* for all of it to come */
#define HTTP_ANSWER_MSEC   30000 /* for the answer to be taken */
#define HTTP_LINGER_MSEC   2000  /* for what a client still sends: it is read and dropped */
#define HTTP_LINGER_OCTETS 65536
#define HTTP_RETRY_MSEC    1000 /* out of descriptors: the next try */

struct http;

struct http_request {
	struct strview path, query; /* as sent, nothing is decoded */
	struct strview host;        /* empty: none */
	bool is_local;              /* over a unix socket */
};

struct http_answer {
	int status;
	const char *type;    /* of the body */
	const char *header;  /* more lines, each with its CRLF; or NULL */
	struct strview body; /* borrowed until `answer` returns */
};

struct http_ops {
	void (*answer)(void *ctx, const struct http_request *request, struct http_answer *answer);
	void *ctx;
};

struct http *http_new(struct env *env, const struct http_ops *ops);
void http_free(struct http *h); /* closes everything; NULL is fine */
/*
 * Listens at `address` (listen.h; NULL: nowhere) and no longer where it did; the new socket is
 * there before the old one goes, and who has connected to that is served. The same address again:
 * a unix socket that somebody has removed is made anew. -1: everything is as it was.
 */
int http_listen(struct http *h, const char *address, struct err *err) must_check;
