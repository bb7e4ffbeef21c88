/*
 * Sockets that the daemon listens at: how they are written, and how they come into being.
 *
 * A unix socket has mode 0660 from the moment it exists. Its folder is made when only that is
 * missing. One that nobody listens at is replaced, one that answers is not.
 */
#pragma once

#include "base/err.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

struct listen_address {
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	} at;
	socklen_t len;
};

/* "127.0.0.1:9477", "[::1]:9477", "unix:/path". -1: err has a sentence to come after the text. */
int listen_parse(struct strview text, struct listen_address *out, struct err *err) must_check;
/* Nobody on another machine can reach it. */
bool listen_is_private(const struct listen_address *a);

/*
 * The descriptor, which blocks nobody, or -1. `old` is one of ours that is to make way (-1: none):
 * it may have the same port at another address.
 */
int listen_open(const char *text, int old, struct err *err) must_check;
int listen_unix(const char *path, struct err *err) must_check;
/* Of listen_open(); a unix socket's file is removed, unless text is NULL. */
void listen_close(const char *text, int fd);
/* Nobody has removed its file; always true of what has none. */
bool listen_is_there(const char *text);
bool listen_unix_is_there(const char *path);
