/*
 * Asynchronous getaddrinfo; see dns.h.
 *
 * A query belongs to the resolver until its answer came through the pipe: a cancelled one is only
 * marked, since a helper thread may be writing into it. An address needs no thread: its answer
 * takes the same way, from our own hand.
 */
#include "dns.h"

#include "base/strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

struct dns_query {
	struct gaicb gai;
	struct gaicb *list[1];
	struct addrinfo hints;
	struct dns *dns;
	dns_answer_fn *fn; /* NULL: cancelled */
	void *ctx;
	char *host;
	char port[8];
	bool known; /* rc is the answer: an address, or getaddrinfo_a() would not even take it */
	int rc;
};

struct dns {
	int pipe[2];
	struct event *readable;
	size_t open; /* queries out */
	bool dying;
};

/* Runs in a thread of glibc's: only async-signal-safe calls and nothing of ours but the pipe. */
static void answered(union sigval value)
{
	struct dns_query *q = value.sival_ptr;

	while (write(q->dns->pipe[1], &q, sizeof q) < 0 && errno == EINTR)
		;
}

static void query_free(struct dns_query *q)
{
	if (q->gai.ar_result)
		freeaddrinfo(q->gai.ar_result);
	free(q->host);
	free(q);
}

static void deliver(struct dns_query *q)
{
	int rc = q->known ? q->rc : gai_error(&q->gai);
	struct err err = { 0 };
	struct addrinfo *list = q->gai.ar_result;

	q->dns->open--;
	if (q->fn) {
		if (rc)
			err_set(&err, ERR_NET, rc, "name %s: %s", q->host, gai_strerror(rc));
		else
			q->gai.ar_result = NULL; /* the receiver's now */
		q->fn(q->ctx, rc ? NULL : list, &err);
	}
	query_free(q);
}

static void on_answers(evutil_socket_t fd, short what, void *arg)
{
	struct dns_query *q;

	while (read(fd, &q, sizeof q) == (ssize_t)sizeof q)
		deliver(q);
}

struct dns *dns_new(struct event_base *base)
{
	struct dns *d = mem_zalloc(sizeof *d);

	if (pipe2(d->pipe, O_CLOEXEC)) {
		free(d);
		return NULL;
	}
	/* Only our end must not block: a thread may wait for room. */
	fcntl(d->pipe[0], F_SETFL, O_NONBLOCK);
	d->readable = event_new(base, d->pipe[0], EV_READ | EV_PERSIST, on_answers, d);
	event_add(d->readable, NULL);
	return d;
}

void dns_free(struct dns *d)
{
	if (!d)
		return;
	event_free(d->readable);
	on_answers(d->pipe[0], EV_READ, d); /* what came in the last turn; nobody waits for it */
	if (d->open)
		return; /* a thread still knows the pipe; the process is about to end */
	close(d->pipe[0]);
	close(d->pipe[1]);
	free(d);
}

/* Never blocks: nothing is looked up. */
static bool is_address(struct dns_query *q)
{
	struct addrinfo hints = q->hints;

	hints.ai_flags |= AI_NUMERICHOST;
	return !getaddrinfo(q->host, q->port, &hints, &q->gai.ar_result);
}

struct dns_query *dns_resolve(
	struct dns *d, const char *host, uint16_t port, dns_answer_fn *fn, void *ctx)
{
	struct dns_query *q = mem_zalloc(sizeof *q);
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;

	strbuf_addf(&text, "%u", port);
	memcpy(q->port, text.ptr, text.len + 1);
	q->dns = d;
	q->fn = fn;
	q->ctx = ctx;
	q->host = mem_strdup(host);
	q->hints = (struct addrinfo){
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV
	};
	q->gai = (struct gaicb){
		.ar_name = q->host, .ar_service = q->port, .ar_request = &q->hints
	};
	q->list[0] = &q->gai;
	struct sigevent done = { .sigev_notify = SIGEV_THREAD,
		.sigev_value.sival_ptr = q,
		.sigev_notify_function = answered };
	d->open++;
	q->known = is_address(q);
	if (!q->known)
		q->known = (q->rc = getaddrinfo_a(GAI_NOWAIT, q->list, 1, &done));
	if (q->known)
		answered(done.sigev_value);
	return q;
}

void dns_cancel(struct dns_query *q)
{
	if (q)
		q->fn = NULL;
}
