/*
 * What the three programs of the comparison share: buffered blocking reads, whole writes, numbers
 * of the command line. They measure what the servers can do, so they do nothing else; whatever is
 * not as they expect it ends them with a message and status 1.
 */
#pragma once
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct peer {
	int fd;
	size_t start, end; /* what was read and not yet used */
	char data[256 * 1024];
};

static inline long number(const char *text, long least, long most)
{
	char *end;
	errno = 0;
	long value = strtol(text, &end, 10);
	if (errno || end == text || *end || value < least || value > most)
		errx(64, "%s: a number from %ld to %ld is needed", text, least, most);
	return value;
}

static inline struct sockaddr_in loopback(long port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static inline void without_delay(int fd)
{
	int on = 1;
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on))
		err(1, "TCP_NODELAY");
}

static inline void peer_connect(struct peer *p, long port)
{
	struct sockaddr_in address = loopback(port);
	p->start = p->end = 0;
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&address, sizeof address))
		err(1, "port %ld", port);
	without_delay(p->fd);
}

static inline void peer_write(struct peer *p, const char *data, size_t size)
{
	while (size) {
		ssize_t n = write(p->fd, data, size);
		if (n < 0)
			err(1, "write");
		data += n;
		size -= (size_t)n;
	}
}

/* More bytes behind those that are there. */
static inline void peer_fill(struct peer *p)
{
	if (p->start == p->end)
		p->start = p->end = 0;
	if (p->end == sizeof p->data) {
		memmove(p->data, p->data + p->start, p->end - p->start);
		p->end -= p->start;
		p->start = 0;
	}
	if (p->end == sizeof p->data)
		errx(1, "the other side sends a line without an end");
	ssize_t n = read(p->fd, p->data + p->end, sizeof p->data - p->end);
	if (n < 0)
		err(1, "read");
	if (n == 0)
		errx(1, "the other side hung up");
	p->end += (size_t)n;
}

/* The next line, up to its LF, which becomes a NUL; valid until the next call. */
static inline char *peer_line(struct peer *p)
{
	size_t seen = 0;
	for (;;) {
		char *from = p->data + p->start;
		char *end = memchr(from + seen, '\n', p->end - p->start - seen);
		if (end) {
			*end = 0;
			p->start = (size_t)(end + 1 - p->data);
			return from;
		}
		seen = p->end - p->start;
		peer_fill(p);
	}
}
