/*
 * A small HTTP server; see http.h.
 *
 * Owns the listening socket and the clients. A client is READING until its header is whole, then
 * WRITING, then LINGERING: a close with octets unread would be a reset, which takes the answer from
 * the peer's hands.
 */
#include "http.h"

#include "listen.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum phase { READING, WRITING, LINGERING };

struct client {
	struct http *http;
	int fd;
	enum phase phase;
	bool is_local;
	struct event *readable, *writable, *deadline;
	char head[HTTP_HEAD_OCTETS];
	size_t len, dropped;
	struct strbuf out;
	size_t sent;
	TAILQ_ENTRY(client) entry;
};

struct http {
	struct env *env;
	struct http_ops ops;
	char *address; /* NULL: nowhere */
	int fd;
	struct event *acceptable, *retry;
	size_t nclients;
	TAILQ_HEAD(, client) clients; /* in the order in which they came */
};

static void arm(struct event *ev, msec_t ms)
{
	event_add(ev, &(struct timeval){ .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 });
}

static void client_free(struct client *c)
{
	TAILQ_REMOVE(&c->http->clients, c, entry);
	c->http->nclients--;
	event_free(c->readable);
	event_free(c->writable);
	event_free(c->deadline);
	close(c->fd);
	strbuf_free(&c->out);
	free(c);
}

/* ---- answers ---- */

static const struct refusal {
	int status;
	const char *reason, *text;
} refusals[] = {
	{ 200, "OK", NULL },
	{ 400, "Bad Request", "this is no HTTP request\n" },
	{ 404, "Not Found", NULL },
	{ 405, "Method Not Allowed", "only GET and HEAD\n" },
	{ 413, "Content Too Large", "no body is taken here\n" },
	{ 421, "Misdirected Request", NULL },
	{ 431, "Request Header Fields Too Large", "the request's header is too long\n" },
	{ 503, "Service Unavailable", "too many connections; try again\n" },
	{ 505, "HTTP Version Not Supported", "only HTTP/1.0 and 1.1\n" },
};

static const struct refusal *refusal_of(int status)
{
	size_t i = 0;

	while (refusals[i].status != status)
		ensure(++i < ARRAY_LEN(refusals));
	return &refusals[i];
}

static void add_answer(struct strbuf *out, wall_t now, const struct http_answer *a, bool head)
{
	time_t second = now / 1000;
	struct tm tm;
	char date[40] = "";

	if (gmtime_r(&second, &tm)) /* RFC 9110 section 5.6.7; the locale is C */
		(void)strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	strbuf_addf(out,
		"HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: close\r\nContent-Type: %s\r\n"
		"Content-Length: %zu\r\nCache-Control: no-store\r\n"
		"X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
		"Cross-Origin-Resource-Policy: same-origin\r\n%s\r\n",
		a->status, refusal_of(a->status)->reason, date, a->type, a->body.len,
		a->header ? a->header : "");
	if (!head)
		strbuf_addv(out, a->body);
}

static void send_answer(struct client *c, const struct http_answer *a, bool head)
{
	add_answer(&c->out, env_wall(c->http->env), a, head);
	c->phase = WRITING;
	event_del(c->readable);
	event_add(c->writable, NULL);
	arm(c->deadline, HTTP_ANSWER_MSEC);
}

static struct http_answer refusal(int status)
{
	return (struct http_answer){ .status = status,
		.type = "text/plain; charset=utf-8",
		.header = status == 405 ? "Allow: GET, HEAD\r\n" : NULL,
		.body = sv_str(refusal_of(status)->text) };
}

/* ---- the request ---- */

struct head {
	bool get, head, old; /* old: HTTP/1.0 */
	size_t hosts;
	struct http_request request;
};

/* Cuts a line off, without its CRLF. False: it has a control character, a bare LF for one. */
static bool take_line(struct strview *rest, struct strview *line)
{
	const char *end = memmem(rest->ptr, rest->len, "\r\n", 2);

	*line = sv(rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len);
	*rest = sv_skip(*rest, line->len + 2);
	for (size_t i = 0; i < line->len; i++) {
		unsigned char ch = (unsigned char)line->ptr[i];
		if ((ch < ' ' && ch != '\t') || ch == 0x7f)
			return false;
	}
	return true;
}

/* 0, or the status of the refusal, as below. */
static int parse_request_line(struct strview line, struct head *h)
{
	struct strview method = sv_token(&line, ' '), target = sv_token(&line, ' ');

	if (!method.len || !sv_starts(target, SV("/")) || !sv_starts(line, SV("HTTP/")))
		return 400;
	h->old = sv_eq(line, SV("HTTP/1.0"));
	if (!h->old && !sv_eq(line, SV("HTTP/1.1")))
		return 505;
	h->get = sv_eq(method, SV("GET"));
	h->head = sv_eq(method, SV("HEAD"));
	h->request.path = sv_token(&target, '?');
	h->request.query = target;
	return 0;
}

static int parse_field(struct strview line, struct head *h)
{
	struct strview value = line, name = sv_token(&value, ':');
	uint64_t length;

	/* Without a colon; a continued line; a blank before the colon (RFC 9112 section 5.1) */
	if (!name.len || name.len == line.len || memchr(name.ptr, ' ', name.len) ||
		memchr(name.ptr, '\t', name.len))
		return 400;
	value = sv_trim(value);
	if (sv_ieq(name, SV("Host"))) {
		h->hosts++;
		h->request.host = value;
	}
	if (sv_ieq(name, SV("Transfer-Encoding")))
		return 413;
	if (sv_ieq(name, SV("Content-Length"))) {
		if (!sv_number(value, UINT64_MAX, &length))
			return 400;
		return length ? 413 : 0;
	}
	return 0;
}

static int parse_head(struct strview rest, struct head *h)
{
	struct strview line;
	int status;

	if (!take_line(&rest, &line))
		return 400;
	if ((status = parse_request_line(line, h)))
		return status;
	if (!h->get && !h->head)
		return 405;
	while (rest.len) {
		if (!take_line(&rest, &line))
			return 400;
		if ((status = parse_field(line, h)))
			return status;
	}
	return h->hosts == 1 || (h->old && !h->hosts) ? 0 : 400;
}

static void take_request(struct client *c, struct strview text)
{
	struct head head = { .request.is_local = c->is_local };
	struct http_answer answer = { 0 };
	int status = parse_head(text, &head);

	/* What a relay has accepted is on record before a page takes its time. */
	turn_write_urgent(&c->http->env->turn);
	if (status)
		answer = refusal(status);
	else
		c->http->ops.answer(c->http->ops.ctx, &head.request, &answer);
	send_answer(c, &answer, head.head);
}

/* ---- clients ---- */

static void linger(struct client *c)
{
	char buf[4096];
	ssize_t n = recv(c->fd, buf, sizeof buf, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	c->dropped += n > 0 ? (size_t)n : 0;
	if (n <= 0 || c->dropped > HTTP_LINGER_OCTETS)
		client_free(c);
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
	struct client *c = ctx;

	if (c->phase == LINGERING) {
		linger(c);
		return;
	}
	ssize_t n = recv(fd, c->head + c->len, sizeof c->head - c->len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_free(c);
		return;
	}
	c->len += (size_t)n;
	const char *end = memmem(c->head, c->len, "\r\n\r\n", 4);
	if (end) {
		take_request(c, sv(c->head, (size_t)(end - c->head)));
	} else if (c->len == sizeof c->head) {
		struct http_answer answer = refusal(431);
		send_answer(c, &answer, false);
	}
}

static void on_writable(evutil_socket_t fd, short what, void *ctx)
{
	struct client *c = ctx;
	ssize_t n =
		send(fd, c->out.ptr + c->sent, c->out.len - c->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		client_free(c);
		return;
	}
	c->sent += n > 0 ? (size_t)n : 0;
	if (c->sent < c->out.len) {
		event_add(c->writable, NULL);
		return;
	}
	c->phase = LINGERING;
	strbuf_free(&c->out);
	(void)shutdown(fd, SHUT_WR); /* that fails when the peer is gone: recv() says so */
	event_add(c->readable, NULL);
	arm(c->deadline, HTTP_LINGER_MSEC);
}

static void on_deadline(evutil_socket_t fd, short what, void *ctx)
{
	client_free(ctx);
}

/* ---- who comes in ---- */

/* A slot for the next one. False: all who are here are being answered. */
static bool make_room(struct http *h)
{
	struct client *c;

	if (h->nclients < HTTP_CLIENTS_MAX)
		return true;
	TAILQ_FOREACH (c, &h->clients, entry) {
		if (c->phase == WRITING)
			continue;
		client_free(c);
		return true;
	}
	return false;
}

static void turn_away(struct http *h, int fd)
{
	AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;
	struct http_answer answer = refusal(503);

	add_answer(&out, env_wall(h->env), &answer, false);
	/* A socket that was just made takes these few octets. */
	(void)!send(fd, out.ptr, out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
}

static void welcome(struct http *h, int fd, bool is_local)
{
	struct event_base *base = h->env->loop.base;

	if (!make_room(h)) {
		turn_away(h, fd);
		return;
	}
	struct client *c = mem_zalloc(sizeof *c);
	c->http = h;
	c->fd = fd;
	c->is_local = is_local;
	c->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->writable = event_new(base, fd, EV_WRITE, on_writable, c);
	c->deadline = event_new(base, -1, 0, on_deadline, c);
	TAILQ_INSERT_TAIL(&h->clients, c, entry);
	h->nclients++;
	event_add(c->readable, NULL);
	arm(c->deadline, HTTP_REQUEST_MSEC);
}

static void take_in(struct http *h, int most)
{
	bool is_local = *h->address == 'u';

	for (int i = 0; i < most; i++) {
		int fd = accept4(h->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			welcome(h, fd, is_local);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			event_del(h->acceptable); /* it would stay acceptable: no busy loop */
			arm(h->retry, HTTP_RETRY_MSEC);
		}
		return;
	}
}

static void on_acceptable(evutil_socket_t fd, short what, void *ctx)
{
	take_in(ctx, HTTP_ACCEPTS_MAX);
}

static void on_retry(evutil_socket_t fd, short what, void *ctx)
{
	struct http *h = ctx;

	if (h->acceptable)
		event_add(h->acceptable, NULL);
}

/* ---- life ---- */

/* renewed: the file is the next one's already. */
static void stop_listening(struct http *h, bool renewed)
{
	if (!h->address)
		return;
	event_free(h->acceptable);
	h->acceptable = NULL;
	listen_close(renewed ? NULL : h->address, h->fd);
	free(h->address);
	h->address = NULL;
}

int http_listen(struct http *h, const char *address, struct err *err)
{
	bool same = h->address && address && !strcmp(h->address, address);
	int fd = -1;

	if (same && listen_is_there(address))
		return 0;
	if (address && (fd = listen_open(address, h->address ? h->fd : -1, err)) < 0)
		return -1;
	if (h->address)
		take_in(h, HTTP_CLIENTS_MAX); /* a close is a reset to who waits there */
	stop_listening(h, same);
	if (!address)
		return 0;
	h->fd = fd;
	h->address = mem_strdup(address);
	h->acceptable = event_new(h->env->loop.base, fd, EV_READ | EV_PERSIST, on_acceptable, h);
	event_add(h->acceptable, NULL);
	return 0;
}

struct http *http_new(struct env *env, const struct http_ops *ops)
{
	struct http *h = mem_zalloc(sizeof *h);

	h->env = env;
	h->ops = *ops;
	TAILQ_INIT(&h->clients);
	h->retry = event_new(env->loop.base, -1, 0, on_retry, h);
	return h;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	while (!TAILQ_EMPTY(&h->clients))
		client_free(TAILQ_FIRST(&h->clients));
	stop_listening(h, false);
	event_free(h->retry);
	free(h);
}
