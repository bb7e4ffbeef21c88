/*
 * A TCP proxy that makes a line long and not narrow: every chunk waits for half a round trip in
 * each direction, and any number of them may be on their way. A process per connection.
 *
 * A connection reaches the other side one and a half round trips after it was made here: that puts
 * the server's greeting where it would be behind a handshake over such a line.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#include "limits.h"

#define SECOND 1000000000LL

struct chunk {
	struct chunk *next;
	long long due;     /* ns */
	size_t sent, size; /* size 0: the end of the stream */
	char data[];
};

struct direction {
	int from, to;
	bool ended;   /* the end of the stream was read */
	bool done;    /* and was passed on */
	bool blocked; /* `to` takes no more at the moment */
	struct chunk *first, **last;
};

static char buffer[256 * 1024];

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

static void pass_on(struct direction *d)
{
	while (d->first && d->first->due <= now()) {
		struct chunk *c = d->first;
		while (c->sent < c->size) {
			ssize_t n = write(d->to, c->data + c->sent, c->size - c->sent);
			d->blocked = n < 0 && errno == EAGAIN;
			if (d->blocked)
				return;
			if (n < 0)
				exit(0); /* the client or the server is gone, and so is the line */
			c->sent += (size_t)n;
		}
		if (!c->size) {
			shutdown(d->to, SHUT_WR);
			d->done = true;
		}
		d->first = c->next;
		if (!d->first)
			d->last = &d->first;
		free(c);
	}
}

static void take(struct direction *d, long long delay)
{
	ssize_t n = read(d->from, buffer, sizeof buffer);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0)
		exit(0);
	struct chunk *c = malloc(sizeof *c + (size_t)n);
	if (!c)
		err(1, "memory");
	*c = (struct chunk){ .due = now() + delay, .size = (size_t)n };
	memcpy(c->data, buffer, (size_t)n);
	*d->last = c;
	d->last = &c->next;
	d->ended = n == 0;
}

/* Both directions until both have ended. */
static void carry(int client, int server, long long delay)
{
	struct direction ways[2] = { { .from = client, .to = server },
		{ .from = server, .to = client } };
	for (int i = 0; i < 2; i++)
		ways[i].last = &ways[i].first;
	while (!ways[0].done || !ways[1].done) {
		struct pollfd fds[2] = { { .fd = client }, { .fd = server } };
		long long next = now() + SECOND;
		for (int i = 0; i < 2; i++) {
			fds[i].events |= ways[i].ended ? 0 : POLLIN;
			fds[!i].events |= ways[i].blocked ? POLLOUT : 0;
			if (ways[i].first && !ways[i].blocked && ways[i].first->due < next)
				next = ways[i].first->due;
		}
		long long left = next - now();
		struct timespec timeout = {
			.tv_nsec = left > 0 ? (left < SECOND ? left : SECOND - 1) : 0
		};
		for (int i = 0; i < 2; i++)
			if (!fds[i].events)
				fds[i].fd = -1;
		if (ppoll(fds, 2, &timeout, NULL) < 0)
			err(1, "ppoll");
		for (int i = 0; i < 2; i++) {
			if (fds[!i].revents & (POLLOUT | POLLERR | POLLHUP))
				ways[i].blocked = false;
			if (!ways[i].ended && fds[i].revents & (POLLIN | POLLERR | POLLHUP))
				take(&ways[i], delay);
			pass_on(&ways[i]);
		}
	}
}

static void serve(int client, long target, long long rtt)
{
	long long wait = rtt * 3 / 2;
	struct timespec pause = { .tv_sec = wait / SECOND, .tv_nsec = wait % SECOND };
	nanosleep(&pause, NULL);
	struct sockaddr_in address = loopback(target);
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server < 0 || connect(server, (struct sockaddr *)&address, sizeof address))
		exit(0);
	int both[2] = { client, server };
	for (int i = 0; i < 2; i++) {
		without_delay(both[i]);
		if (fcntl(both[i], F_SETFL, O_NONBLOCK))
			err(1, "O_NONBLOCK");
	}
	carry(client, server, rtt / 2);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		errx(64, "usage: delay_proxy PORT TARGET_PORT ROUND_TRIP_MS");
	long target = number(argv[2], 1, 65535);
	long long rtt = number(argv[3], 0, 10000) * 1000000LL;
	struct sockaddr_in address = loopback(number(argv[1], 1, 65535));
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
		bind(listener, (struct sockaddr *)&address, sizeof address) ||
		listen(listener, 1024))
		err(1, "port %s", argv[1]);
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (client < 0)
			err(1, "accept");
		pid_t child = fork();
		if (child < 0)
			err(1, "fork");
		if (child == 0) {
			close(listener);
			serve(client, target, rtt);
			exit(0);
		}
		close(client);
	}
}
