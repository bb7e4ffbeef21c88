/*
 * The process that may start programs; see runner.h.
 *
 * One loop that takes requests; each gets a supervisor of its own, a fork of the runner, that
 * spawns the program as the leader of a session, waits for it or for the asking side to hang up,
 * and ends. Invariant: nothing here outlives the socket that it was asked on.
 */
#include "runner.h"

#include "base/strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FD_OUTPUT, FD_ERRORS, FD_END, FD_COUNT };

#define REQUESTS 3 /* the descriptor that the runner is asked on, behind stderr */

union control { /* descriptors beside a message */
	struct cmsghdr header;
	char room[CMSG_SPACE(FD_COUNT * sizeof(int))];
};

/* ---- the program ---- */

static bool is_plain(const char *line)
{
	struct strview rest = sv_str(line), first = sv_token(&rest, ' ');

	/* "NAME=value command" is a shell's, too. */
	return !line[strcspn(line, "|&;<>()$`\\\"'*?[]#~{}!\t\r\n")] &&
		!memchr(first.ptr, '=', first.len);
}

/* Cuts a plain line into words; the others are for the shell. NULL, or what is wrong with it. */
static const char *split(char *line, char *argv[RUNNER_WORDS_MAX + 1])
{
	size_t n = 0;

	if (!is_plain(line)) {
		argv[0] = (char *)"/bin/sh";
		argv[1] = (char *)"-c";
		argv[2] = line;
		argv[3] = NULL;
		return NULL;
	}
	for (char *at = line; *at; at += strspn(at, " ")) {
		if (n == RUNNER_WORDS_MAX)
			return "has too many words";
		if (*at != ' ')
			argv[n++] = at;
		at += strcspn(at, " ");
		if (*at)
			*at++ = '\0';
	}
	argv[n] = NULL;
	return n ? NULL : "is empty";
}

#define ENVIRONMENT_MAX 4

static void environment(struct strbuf strings[ENVIRONMENT_MAX], char *envp[ENVIRONMENT_MAX])
{
	static const struct {
		const char *name, *otherwise;
	} names[] = { { "PATH", "/usr/local/bin:/usr/bin:/bin" }, { "HOME", NULL },
		{ "CREDENTIALS_DIRECTORY", NULL } };
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *value = getenv(names[i].name);
		if (!value && !names[i].otherwise)
			continue;
		strbuf_addf(
			&strings[n], "%s=%s", names[i].name, value ? value : names[i].otherwise);
		envp[n] = strings[n].ptr;
		n++;
	}
	envp[n] = NULL;
}

/* No input, the ends of the pipes as output, no other descriptor, no signal changed. */
static int spawn(char *argv[], const int fds[FD_COUNT], pid_t *pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	struct strbuf strings[ENVIRONMENT_MAX] = { 0 };
	char *envp[ENVIRONMENT_MAX];
	sigset_t all, none;

	sigfillset(&all);
	sigemptyset(&none);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, fds[FD_OUTPUT], 1);
	posix_spawn_file_actions_adddup2(&files, fds[FD_ERRORS], 2);
	posix_spawn_file_actions_addclosefrom_np(&files, 3);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(
		&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	environment(strings, envp);
	return posix_spawnp(pid, argv[0], &files, &attributes, argv, envp);
}

/* ---- a supervisor ---- */

static _Noreturn void tell(const int fds[FD_COUNT], const struct runner_end *end)
{
	/* Who has hung up does not want to know. */
	(void)!send(fds[FD_END], end, sizeof *end, MSG_NOSIGNAL);
	_exit(0);
}

static _Noreturn void wait_for(pid_t pid, const int fds[FD_COUNT])
{
	struct runner_end end = { 0 };
	struct pollfd polled[] = { { .fd = pidfd_open(pid, 0), .events = POLLIN },
		{ .fd = fds[FD_END] } }; /* POLLHUP comes unasked */

	ensure(polled[0].fd >= 0);
	while (poll(polled, ARRAY_LEN(polled), -1) < 0)
		ensure(errno == EINTR);
	if (!polled[0].revents)
		(void)kill(-pid, SIGKILL); /* it may be ending by itself */
	ensure(waitpid(pid, &end.status, 0) == pid);
	tell(fds, &end);
}

static _Noreturn void supervise(char *line, bool allowed, const int fds[FD_COUNT])
{
	char *argv[RUNNER_WORDS_MAX + 1];
	struct runner_end end = { 0 };
	const char *fault = allowed ? split(line, argv) : "is not in the configuration: reload it";
	pid_t pid;

	(void)signal(SIGCHLD, SIG_DFL); /* cannot fail; else there was nothing to wait for */
	if (fault) {
		snprintf(end.fault, sizeof end.fault, "password_command %s", fault);
		tell(fds, &end);
	}
	int error = spawn(argv, fds, &pid);
	if (error) {
		snprintf(end.fault, sizeof end.fault, "password_command: %.100s: %s", argv[0],
			strerror(error));
		tell(fds, &end);
	}
	close(fds[FD_OUTPUT]);
	close(fds[FD_ERRORS]);
	wait_for(pid, fds);
}

/* ---- the runner ---- */

/* False: the other side has ended, or says what it cannot say. */
static bool next_request(char line[RUNNER_LINE_MAX], int fds[FD_COUNT])
{
	union control control;
	struct iovec piece = { line, RUNNER_LINE_MAX };
	struct msghdr m = { .msg_iov = &piece,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control };
	ssize_t n;

	while ((n = recvmsg(REQUESTS, &m, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
		;
	const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(FD_COUNT * sizeof(int)) ||
		m.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || line[n - 1])
		return false;
	memcpy(fds, CMSG_DATA(c), FD_COUNT * sizeof(int));
	return true;
}

/* Stderr stays: a fault of ours is to be seen. */
static void keep_only(int socket)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	ensure(null >= 0 && dup2(null, 0) == 0 && dup2(null, 1) == 1);
	ensure(dup2(socket, REQUESTS) == REQUESTS);
	ensure(!close_range(REQUESTS + 1, ~0U, 0));
}

static _Noreturn void serve(const struct runner_ops *ops, int socket)
{
	/* Its end is that of the process that asks, which a service manager tells first. */
	static const int ignored[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD };
	char line[RUNNER_LINE_MAX];
	int fds[FD_COUNT];

	for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);  /* cannot fail */
	(void)prctl(PR_SET_NAME, "multidropd-run"); /* for ps */
	keep_only(socket);
	ops->begin(ops->ctx);
	while (next_request(line, fds)) {
		bool allowed = ops->may_run(ops->ctx, line);
		pid_t pid = fork();
		if (!pid)
			supervise(line, allowed, fds);
		for (size_t i = 0; i < FD_COUNT; i++)
			close(fds[i]); /* without a child the asking side sees the end */
	}
	_exit(0);
}

int runner_start(const struct runner_ops *ops, int *fd, struct err *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return err_set(err, ERR_LOCAL, errno, "socketpair: %s", strerror(errno));
	pid_t pid = fork();
	if (!pid)
		serve(ops, pair[1]);
	int error = errno;
	close(pair[1]);
	if (pid > 0) {
		*fd = pair[0];
		return 0;
	}
	close(pair[0]);
	return err_set(err, ERR_LOCAL, error, "fork: %s", strerror(error));
}

/* ---- the asking side ---- */

static bool put_request(int fd, const char *line, const int fds[FD_COUNT])
{
	union control control = { 0 };
	struct iovec piece = { (char *)line, strlen(line) + 1 };
	struct msghdr m = { .msg_iov = &piece,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(FD_COUNT * sizeof(int));
	memcpy(CMSG_DATA(c), fds, FD_COUNT * sizeof(int));
	return sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

int runner_ask(int fd, const char *line, int output, int errors, int *end, struct err *err)
{
	int pair[2];

	if (strlen(line) >= RUNNER_LINE_MAX)
		return err_set(err, ERR_CONFIG, 0, "password_command is longer than %d octets",
			RUNNER_LINE_MAX - 1);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return err_set(err, ERR_LOCAL, errno, "socketpair: %s", strerror(errno));
	bool sent = put_request(fd, line, (const int[]){ output, errors, pair[1] });
	int error = errno;
	close(pair[1]);
	if (sent) {
		*end = pair[0];
		return 0;
	}
	close(pair[0]);
	return err_set(err, ERR_LOCAL, error,
		"password_command: the process that runs it does not answer (%s); restart "
		"multidropd",
		strerror(error));
}
