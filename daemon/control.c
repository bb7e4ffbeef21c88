/*
 * The control socket; see control.h.
 *
 * Owns the listening socket and the clients. The first line of defence is the socket's mode, 0660
 * from the moment it exists; the second are the peer's credentials. Input is read into a fixed
 * buffer, and not at all once the request is there.
 */
#include "control.h"

#include "listen.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define GROUPS_MAX 1024 /* of a peer, that are looked at */

struct control_client {
	struct control *control;
	int fd;
	struct event *readable, *writable, *hung_up, *deadline;
	char line[CONTROL_LINE_MAX];
	size_t len;
	bool asked, ended, cut;
	struct strbuf out;
	TAILQ_ENTRY(control_client) entry;
};

struct control {
	struct env *env;
	struct control_ops ops;
	char *path;
	int fd;
	struct event *acceptable, *retry;
	size_t nclients;
	TAILQ_HEAD(, control_client) clients;
};

static void arm(struct event *ev, msec_t ms)
{
	event_add(ev, &(struct timeval){ .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 });
}

/* ---- answers ---- */

/* Whole lines only: an answer that grows beyond its limit is cut, and says so at its end. */
static void add_line(struct control_client *client, char kind, struct strview text)
{
	if (client->out.len + text.len + 2 > CONTROL_ANSWER_OCTETS) {
		client->cut = true;
		return;
	}
	strbuf_addc(&client->out, kind);
	strbuf_addv(&client->out, text);
	strbuf_addc(&client->out, '\n');
	event_add(client->writable, NULL);
}

static void add_lines(struct control_client *client, char kind, const char *text)
{
	struct strview rest = sv_str(text);

	while (rest.len)
		add_line(client, kind, sv_token(&rest, '\n'));
}

void control_say(struct control_client *client, const char *text)
{
	add_lines(client, CONTROL_SAID, text);
}

void control_complain(struct control_client *client, const char *text)
{
	add_lines(client, CONTROL_COMPLAIN, text);
}

void control_end(struct control_client *client, int status)
{
	if (client->cut)
		strbuf_addf(
			&client->out, "%cthe answer is too long and was cut\n", CONTROL_COMPLAIN);
	strbuf_addf(&client->out, "%c%d\n", CONTROL_STATUS, client->cut ? 1 : status);
	client->ended = true;
	event_del(client->hung_up); /* he may have closed his side and read on */
	event_add(client->writable, NULL);
	arm(client->deadline, CONTROL_IDLE_MSEC);
}

/* ---- clients ---- */

static void client_free(struct control_client *client)
{
	struct control *c = client->control;

	TAILQ_REMOVE(&c->clients, client, entry);
	c->nclients--;
	event_free(client->readable);
	event_free(client->writable);
	event_free(client->hung_up);
	event_free(client->deadline);
	close(client->fd);
	strbuf_free(&client->out);
	free(client);
}

static void client_gone(struct control_client *client)
{
	if (client->asked && !client->ended)
		client->control->ops.on_gone(client->control->ops.ctx, client);
	client_free(client);
}

static void take_request(struct control_client *client, struct strview line)
{
	struct control *c = client->control;
	struct control_request request;
	struct err err;

	client->asked = true;
	event_del(client->readable);
	event_del(client->deadline); /* it is our turn now */
	event_add(client->hung_up, NULL);
	if (control_parse(line, &request, &err)) {
		control_complain(client, err.text);
		control_end(client, 1);
		return;
	}
	/* What a relay has accepted is on record before an answer takes its time. */
	turn_write_urgent(&c->env->turn);
	c->ops.on_request(c->ops.ctx, client, &request);
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
	struct control_client *client = ctx;
	size_t room = sizeof client->line - client->len;
	ssize_t n = recv(fd, client->line + client->len, room, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_gone(client);
		return;
	}
	client->len += (size_t)n;
	const char *end = memchr(client->line, '\n', client->len);
	if (end) {
		take_request(client, sv(client->line, (size_t)(end - client->line)));
	} else if (client->len == sizeof client->line) {
		client->asked = true;
		event_del(client->readable);
		control_complain(client, "the request is too long");
		control_end(client, 1);
	}
}

static void on_writable(evutil_socket_t fd, short what, void *ctx)
{
	struct control_client *client = ctx;
	ssize_t n = send(fd, client->out.ptr, client->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		client_gone(client);
		return;
	}
	strbuf_consume(&client->out, n > 0 ? (size_t)n : 0);
	if (client->out.len)
		event_add(client->writable, NULL);
	else if (client->ended)
		client_free(client);
}

static void on_hung_up(evutil_socket_t fd, short what, void *ctx)
{
	client_gone(ctx); /* whoever waits for an answer keeps his side open */
}

static void on_deadline(evutil_socket_t fd, short what, void *ctx)
{
	client_gone(ctx);
}

/* ---- who may ---- */

/* The groups besides the one in its credentials: an administrator is in ours by them. */
static bool has_group(int fd, gid_t wanted)
{
	AUTO(mem_freep) gid_t *groups = mem_alloc(GROUPS_MAX * sizeof *groups);
	socklen_t len = GROUPS_MAX * sizeof *groups;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
		return false;
	for (size_t i = 0; i < len / sizeof *groups; i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

static bool may_connect(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof peer;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		return false;
	return !peer.uid || peer.uid == geteuid() || peer.gid == getegid() ||
		has_group(fd, getegid());
}

static void turn_away(int fd, const char *answer)
{
	/* A socket that was just made takes these few octets. */
	(void)!send(fd, answer, strlen(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
}

static void welcome(struct control *c, int fd)
{
	struct event_base *base = c->env->loop.base;

	if (!may_connect(fd)) {
		turn_away(fd,
			"-only root, the daemon's user and its group may talk to the daemon\n=1\n");
		return;
	}
	if (c->nclients == CONTROL_CLIENTS_MAX) {
		turn_away(fd, "-too many connections to the control socket; try again\n=1\n");
		return;
	}
	struct control_client *client = mem_zalloc(sizeof *client);
	client->control = c;
	client->fd = fd;
	client->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, client);
	client->writable = event_new(base, fd, EV_WRITE, on_writable, client);
	client->hung_up = event_new(base, fd, EV_CLOSED, on_hung_up, client);
	client->deadline = event_new(base, -1, 0, on_deadline, client);
	TAILQ_INSERT_TAIL(&c->clients, client, entry);
	c->nclients++;
	event_add(client->readable, NULL);
	arm(client->deadline, CONTROL_IDLE_MSEC);
}

static void take_in(struct control *c, int most)
{
	for (int i = 0; i < most; i++) {
		int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			welcome(c, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			event_del(c->acceptable); /* it would stay acceptable: no busy loop */
			arm(c->retry, CONTROL_RETRY_MSEC);
		}
		return;
	}
}

static void on_acceptable(evutil_socket_t fd, short what, void *ctx)
{
	take_in(ctx, CONTROL_ACCEPTS_MAX);
}

static void on_retry(evutil_socket_t fd, short what, void *ctx)
{
	struct control *c = ctx;

	if (c->acceptable)
		event_add(c->acceptable, NULL);
}

/* ---- the listening socket ---- */

/* renewed: the file is the next one's already. */
static void stop_listening(struct control *c, bool renewed)
{
	if (!c->path)
		return;
	event_free(c->acceptable);
	c->acceptable = NULL;
	if (!renewed)
		(void)unlink(c->path); /* who removed it before us did no harm */
	close(c->fd);
	free(c->path);
	c->path = NULL;
}

int control_listen(struct control *c, const char *path, struct err *err)
{
	bool same = c->path && !strcmp(c->path, path);

	if (same && listen_unix_is_there(path))
		return 0;
	int fd = listen_unix(path, err);
	if (fd < 0)
		return -1;
	if (c->path)
		take_in(c, CONTROL_CLIENTS_MAX); /* a close is a reset to who waits there */
	stop_listening(c, same);
	c->fd = fd;
	c->path = mem_strdup(path);
	c->acceptable = event_new(c->env->loop.base, fd, EV_READ | EV_PERSIST, on_acceptable, c);
	event_add(c->acceptable, NULL);
	return 0;
}

struct control *control_new(struct env *env, const struct control_ops *ops)
{
	struct control *c = mem_zalloc(sizeof *c);

	c->env = env;
	c->ops = *ops;
	TAILQ_INIT(&c->clients);
	c->retry = event_new(env->loop.base, -1, 0, on_retry, c);
	return c;
}

void control_free(struct control *c)
{
	struct control_client *client;

	if (!c)
		return;
	while ((client = TAILQ_FIRST(&c->clients))) {
		(void)!send(client->fd, client->out.ptr, client->out.len,
			MSG_DONTWAIT | MSG_NOSIGNAL); /* what goes out now; the process ends */
		client_free(client);
	}
	stop_listening(c, false);
	event_free(c->retry);
	free(c);
}
