/*
 * Sockets that the daemon listens at; see listen.h. Owns nothing: a socket is its caller's, with
 * its file.
 */
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNIX_PREFIX "unix:"

/* ---- what is written ---- */

static int no_address(struct err *err)
{
	return err_set(err, ERR_CONFIG, 0,
		"is neither ADDRESS:PORT, as in 127.0.0.1:9477 and [::1]:9477, nor unix: and an "
		"absolute path that a socket can have");
}

static int parse_unix(struct strview path, struct listen_address *out, struct err *err)
{
	if (!path.len || *path.ptr != '/' || path.len >= sizeof out->at.un.sun_path)
		return no_address(err);
	out->at.un.sun_family = AF_UNIX;
	memcpy(out->at.un.sun_path, path.ptr, path.len);
	out->len = sizeof out->at.un;
	return 0;
}

/* "127.0.0.1", "[::1]" */
static bool parse_ip(struct strview host, uint16_t port, struct listen_address *out)
{
	bool brackets = sv_starts(host, SV("[")) && sv_iends(host, SV("]"));
	char text[INET6_ADDRSTRLEN] = "";

	if (brackets)
		host = sv(host.ptr + 1, host.len - 2);
	if (!host.len || host.len >= sizeof text)
		return false;
	memcpy(text, host.ptr, host.len);
	if (brackets) {
		out->at.in6 =
			(struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port) };
		out->len = sizeof out->at.in6;
		return inet_pton(AF_INET6, text, &out->at.in6.sin6_addr) == 1;
	}
	out->at.in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
	out->len = sizeof out->at.in;
	return inet_pton(AF_INET, text, &out->at.in.sin_addr) == 1;
}

int listen_parse(struct strview text, struct listen_address *out, struct err *err)
{
	const char *colon = text.len ? memrchr(text.ptr, ':', text.len) : NULL;
	uint64_t port = 0;

	*out = (struct listen_address){ 0 };
	if (sv_starts(text, SV(UNIX_PREFIX)))
		return parse_unix(sv_skip(text, strlen(UNIX_PREFIX)), out, err);
	if (colon && sv_number(sv_skip(text, (size_t)(colon - text.ptr) + 1), UINT16_MAX, &port) &&
		port && parse_ip(sv(text.ptr, (size_t)(colon - text.ptr)), (uint16_t)port, out))
		return 0;
	return no_address(err);
}

bool listen_is_private(const struct listen_address *a)
{
	if (a->at.any.sa_family == AF_INET)
		return ntohl(a->at.in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return a->at.any.sa_family == AF_UNIX || IN6_IS_ADDR_LOOPBACK(&a->at.in6.sin6_addr);
}

/* ---- opening ---- */

static int listen_tcp(const struct listen_address *a, int old, struct err *err)
{
	int on = 1;
	int fd = socket(a->at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_set(err, ERR_LOCAL, errno, "socket: %s", strerror(errno));
	/* Connections that a daemon before us has left behind keep no port. */
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	/* One port at two addresses, one of them "all": both have to say that they share. */
	if (old >= 0) {
		(void)setsockopt(old, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
	}
	if (!bind(fd, &a->at.any, a->len) && !listen(fd, SOMAXCONN))
		return fd;
	int error = errno;
	close(fd);
	return err_set(err, ERR_LOCAL, error, "%s", strerror(error));
}

int listen_open(const char *text, int old, struct err *err)
{
	struct listen_address address;
	struct err why = { 0 };

	if (listen_parse(sv_str(text), &address, &why))
		return err_set(err, ERR_CONFIG, 0, "%s %s", text, why.text);
	if (address.at.any.sa_family == AF_UNIX)
		return listen_unix(address.at.un.sun_path, err);
	int fd = listen_tcp(&address, -1, &why);
	if (fd < 0 && why.code == EADDRINUSE && old >= 0) /* it may be ours that has the port */
		fd = listen_tcp(&address, old, &why);
	return fd < 0 ? err_set(err, ERR_LOCAL, why.code, "%s: %s", text, why.text) : fd;
}

void listen_close(const char *text, int fd)
{
	if (text && !strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)))
		(void)unlink(text + strlen(UNIX_PREFIX)); /* who removed it before us did no harm */
	close(fd);
}

bool listen_unix_is_there(const char *path)
{
	struct stat st;

	return !lstat(path, &st) && S_ISSOCK(st.st_mode);
}

bool listen_is_there(const char *text)
{
	return strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) != 0 ||
		listen_unix_is_there(text + strlen(UNIX_PREFIX));
}

/* ---- unix sockets ---- */

static int make_folder(const char *path, struct err *err)
{
	AUTO(mem_freep) char *folder = mem_strdup(path);
	char *slash = strrchr(folder, '/');

	if (!slash || slash == folder)
		return 0;
	*slash = '\0';
	if (!mkdir(folder, 0755) || errno == EEXIST)
		return 0;
	return err_set(err, ERR_LOCAL, errno, "%s: %s", folder, strerror(errno));
}

/* 0: nothing is in the way any more. */
static int clear_way(const struct sockaddr_un *address, struct err *err)
{
	const char *path = address->sun_path;
	struct stat st;

	if (lstat(path, &st))
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, ERR_LOCAL, 0, "%s is there and is no socket", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, ERR_LOCAL, errno, "socket: %s", strerror(errno));
	int rc = connect(fd, (const struct sockaddr *)address, sizeof *address);
	int error = errno;
	close(fd);
	if (rc && error == ECONNREFUSED) /* its daemon is dead */
		return unlink(path)
			? err_set(err, ERR_LOCAL, errno, "%s: %s", path, strerror(errno))
			: 0;
	return err_set(err, ERR_LOCAL, 0, "%s belongs to another process that listens there", path);
}

int listen_unix(const char *path, struct err *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof address.sun_path)
		return err_set(err, ERR_CONFIG, 0, "%s: too long for a socket", path);
	memcpy(address.sun_path, path, strlen(path));
	if (make_folder(path, err) || clear_way(&address, err))
		return -1;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, ERR_LOCAL, errno, "socket: %s", strerror(errno));
	mode_t old = umask(0117);
	int rc = bind(fd, (const struct sockaddr *)&address, sizeof address);
	int error = errno;
	umask(old);
	if (!rc && !listen(fd, SOMAXCONN))
		return fd;
	error = rc ? error : errno;
	if (!rc)
		(void)unlink(path); /* it was ours; the fault that is told is the other one */
	close(fd);
	return err_set(err, ERR_LOCAL, error, "%s: %s", path, strerror(error));
}
