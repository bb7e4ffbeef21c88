/*
 * The poll loop, the connections, and the mishaps; see sim_world.h.
 *
 * Owns the listeners and the connections. Everything happens in one thread and in the order of the
 * octets, so a mishap strikes behind the very octet that it names: that many are sent, or read, and
 * no more.
 */
#include "sim_world.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVICES      2
#define CONNS_MAX     8
#define PATIENCE_MSEC 20000
#define LATE_USEC     500

struct conn {
	int fd; /* -1: free */
	const struct service *service;
	struct world *w;
	unsigned number;
	struct dialog dialog;
	struct strbuf in, out;
	size_t line_end; /* where in its stream the line ends that is being served */
	bool deaf;       /* cut: what still comes is dropped */
	bool bye;
};

struct net {
	struct {
		int fd;
		const struct service *service;
	} listeners[SERVICES];
	struct conn conns[CONNS_MAX];
	unsigned accepted;
};

/* ---- for the services ---- */

struct world *conn_world(struct conn *c)
{
	return c->w;
}

struct dialog *conn_dialog(struct conn *c)
{
	return &c->dialog;
}

unsigned conn_number(const struct conn *c)
{
	return c->number;
}

size_t conn_said(const struct conn *c)
{
	return c->w->streams[c->service->out].n + c->out.len;
}

static void mark(bool *marks, size_t at)
{
	if (at <= STREAM_MAX)
		marks[at] = true;
}

void conn_say(struct conn *c, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	ensure(n >= 0 && (size_t)n < sizeof text);
	for (int i = 0; i < n; i++) {
		strbuf_addc(&c->out, text[i]);
		if (text[i] == '\n')
			mark(c->w->streams[c->service->out].line, conn_said(c));
	}
}

void conn_critical(struct conn *c, size_t from, size_t asked)
{
	for (; from <= conn_said(c); from++)
		mark(c->w->streams[c->service->out].critical, from);
	for (size_t i = 0; i <= asked; i++)
		mark(c->w->streams[c->service->in].critical, c->line_end - i);
}

void conn_bye(struct conn *c)
{
	c->bye = true;
}

/* ---- the end of a connection ---- */

static void conn_close(struct conn *c)
{
	close(c->fd);
	strbuf_free(&c->in);
	strbuf_free(&c->out);
	strbuf_free(&c->dialog.content);
	*c = (struct conn){ .fd = -1 };
}

static void close_all(struct net *n)
{
	for (size_t i = 0; i < CONNS_MAX; i++)
		if (n->conns[i].fd >= 0)
			conn_close(&n->conns[i]);
}

static void cut(struct conn *c, const struct mishap_kind *kind)
{
	struct linger hard = { .l_onoff = 1 };

	if (kind->resets) {
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
		conn_close(c);
		return;
	}
	shutdown(c->fd, SHUT_WR);
	strbuf_clear(&c->out);
	c->deaf = true;
}

static void strike(struct net *n, struct conn *c)
{
	struct world *w = c->w;
	const struct mishap_kind *kind = w->mishap.kind;

	w->mishap.kind = NULL;
	w->struck = true;
	world_unconfirmed(w, kind->loses);
	if (!kind->dies) {
		cut(c, kind);
		return;
	}
	if (kind->late)
		usleep((useconds_t)(sim_random(&w->random) % LATE_USEC));
	daemon_kill(w->daemon, kind->power);
	if (!kind->drains)
		close_all(n);
}

/* ---- octets ---- */

/* How many octets of a stream may pass until the mishap strikes. */
static size_t allowance(const struct world *w, enum stream stream)
{
	bool armed = w->mishap.kind && !w->cycle && w->mishap.stream == stream;

	return armed ? w->mishap.at - w->streams[stream].n : SIZE_MAX;
}

static void conn_flush(struct net *n, struct conn *c)
{
	size_t allowed = allowance(c->w, c->service->out);
	size_t len = c->out.len < allowed ? c->out.len : allowed;

	if (len)
		(void)send(c->fd, c->out.ptr, len, MSG_NOSIGNAL); /* it may be dead by now */
	c->w->streams[c->service->out].n += len;
	strbuf_consume(&c->out, len);
	world_sent(c->w);
	if (len == allowed)
		strike(n, c);
	else if (c->bye)
		conn_close(c);
}

static void serve(struct conn *c)
{
	for (char *end; (end = memchr(c->in.ptr, '\n', c->in.len));) {
		size_t len = (size_t)(end - c->in.ptr) + 1;
		c->line_end = c->w->streams[c->service->in].n - (c->in.len - len);
		mark(c->w->streams[c->service->in].line, c->line_end);
		c->service->line(c, sv_trim(sv(c->in.ptr, len)));
		strbuf_consume(&c->in, len);
		if (!c->in.len)
			break;
	}
}

static void conn_readable(struct net *n, struct conn *c)
{
	char buf[4096];
	struct world *w = c->w;
	size_t allowed = c->deaf ? sizeof buf : allowance(w, c->service->in);
	ssize_t len = recv(c->fd, buf, allowed < sizeof buf ? allowed : sizeof buf, 0);

	if (len <= 0) {
		conn_close(c);
		return;
	}
	if (c->deaf)
		return;
	w->streams[c->service->in].n += (size_t)len;
	if (c->service == &smtp_service)
		world_spoken(w, c->number);
	strbuf_add(&c->in, buf, (size_t)len);
	bool now = (size_t)len == allowed;
	if (now && w->mishap.kind->dies) /* before it gets an answer */
		strike(n, c);
	if (c->fd < 0)
		return;
	serve(c);
	c->bye = c->bye && !now; /* the cut is its end */
	conn_flush(n, c);
	if (now && w->mishap.kind && c->fd >= 0)
		strike(n, c);
}

static void accept_conn(struct net *n, struct world *w, size_t listener)
{
	int on = 1, fd = accept(n->listeners[listener].fd, NULL, NULL);

	for (struct conn *c = n->conns; fd >= 0 && c < n->conns + CONNS_MAX; c++) {
		if (c->fd >= 0)
			continue;
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		*c = (struct conn){ .fd = fd,
			.service = n->listeners[listener].service,
			.w = w,
			.number = n->accepted++ };
		c->service->greet(c);
		conn_flush(n, c);
		return;
	}
	ensure(fd < 0);
}

/* ---- a cycle ---- */

/* Events in the order: connections, the daemon's status, new connections. */
static nfds_t watch(struct net *n, const struct world *w, struct pollfd *fds)
{
	nfds_t count = 0;

	for (size_t i = 0; i < CONNS_MAX; i++)
		fds[count++] = (struct pollfd){ n->conns[i].fd, POLLIN, 0 };
	fds[count++] = (struct pollfd){ daemon_fd(w->daemon), POLLIN, 0 };
	for (size_t i = 0; i < SERVICES; i++)
		fds[count++] = (struct pollfd){ n->listeners[i].fd, POLLIN, 0 };
	return count;
}

static bool connected(const struct net *n)
{
	for (size_t i = 0; i < CONNS_MAX; i++)
		if (n->conns[i].fd >= 0)
			return true;
	return false;
}

int net_cycle(struct net *n, struct world *w)
{
	struct pollfd fds[CONNS_MAX + 1 + SERVICES];
	bool running = true;
	int status = -1;

	for (size_t i = 0; i < STREAM_COUNT; i++)
		w->streams[i].n = 0;
	w->retrs = w->deles = w->transactions = 0;
	daemon_start_cycle(w->daemon);
	for (;;) {
		nfds_t count = watch(n, w, fds);
		bool idle = !running && !connected(n);
		int ready = poll(fds, count, idle ? 0 : PATIENCE_MSEC);
		if (!ready && idle)
			return status;
		if (!ready) {
			world_break(w, "nothing has moved for %d s", PATIENCE_MSEC / 1000);
			daemon_kill(w->daemon, false);
			close_all(n);
			return -1;
		}
		for (size_t i = 0; i < CONNS_MAX; i++)
			if (fds[i].revents && n->conns[i].fd == fds[i].fd)
				conn_readable(n, &n->conns[i]);
		if (fds[CONNS_MAX].revents && daemon_fd(w->daemon) >= 0) {
			status = daemon_take_status(w->daemon, w);
			running = false;
		}
		for (size_t i = 0; i < SERVICES; i++)
			if (fds[CONNS_MAX + 1 + i].revents)
				accept_conn(n, w, i);
		running = running && daemon_fd(w->daemon) >= 0;
	}
}

/* ---- life ---- */

static int listen_somewhere(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ensure(fd >= 0 && !bind(fd, (struct sockaddr *)&sin, sizeof sin) && !listen(fd, 8));
	return fd;
}

struct net *net_new(void)
{
	struct net *n = mem_zalloc(sizeof *n);

	for (size_t i = 0; i < CONNS_MAX; i++)
		n->conns[i].fd = -1;
	for (size_t i = 0; i < SERVICES; i++) {
		n->listeners[i].fd = listen_somewhere();
		n->listeners[i].service = i ? &smtp_service : &pop3_service;
	}
	return n;
}

void net_free(struct net *n)
{
	close_all(n);
	for (size_t i = 0; i < SERVICES; i++)
		close(n->listeners[i].fd);
	free(n);
}

uint16_t net_port(const struct net *n, const struct service *s)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof sin;

	for (size_t i = 0; i < SERVICES; i++)
		if (n->listeners[i].service == s &&
			!getsockname(n->listeners[i].fd, (struct sockaddr *)&sin, &len))
			return ntohs(sin.sin_port);
	return 0;
}
