/*
 * Programs that are run for their output; see command.h.
 *
 * Owns the child, which leads a process group of its own, and the pipes from it. Invariants: the
 * buffer for the output never grows, so that no copy of a secret stays behind; a child is always
 * waited for, here and nowhere else.
 */
#include "command.h"

#include "base/encode.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define STDERR_OCTETS ESCAPE_MAX_BYTES /* of the first line that is kept */
#define READS_MAX     32               /* of stderr in one turn: twice what a pipe holds */

struct stream {
	int fd; /* -1: closed */
	struct event *readable;
	struct strbuf text;
};

struct command {
	struct command_ops ops;
	pid_t pid; /* 0: none, or waited for */
	struct stream out, errors;
	struct event *child, *timer;
};

/* ---- the end ---- */

static void stream_close(struct stream *s)
{
	if (s->readable)
		event_free(s->readable);
	if (s->fd >= 0)
		close(s->fd);
	strbuf_wipe(&s->text);
}

void command_free(struct command *c)
{
	if (!c)
		return;
	if (c->pid) {
		(void)kill(-c->pid, SIGKILL); /* it may have ended by itself */
		(void)waitpid(c->pid, NULL, 0);
	}
	stream_close(&c->out);
	stream_close(&c->errors);
	if (c->child)
		event_free(c->child);
	if (c->timer)
		event_free(c->timer);
	free(c);
}

static void finish(struct command *c, const struct err *err)
{
	struct command_ops ops = c->ops;
	struct strbuf output AUTO(strbuf_wipe) = c->out.text;

	c->out.text = STRBUF_INIT;
	command_free(c);
	if (output.len && output.ptr[output.len - 1] == '\n')
		output.len--;
	ops.on_done(ops.ctx, strbuf_view(&output), err);
}

/* ---- what it prints ---- */

/* False: it has printed more than is taken. */
static bool read_output(struct command *c)
{
	struct strbuf *text = &c->out.text;
	ssize_t n;

	while ((n = read(c->out.fd, text->ptr + text->len, text->cap - 1 - text->len)) > 0) {
		text->len += (size_t)n;
		text->ptr[text->len] = '\0';
		if (text->len > COMMAND_OUTPUT_OCTETS)
			return false;
	}
	if (!n)
		event_del(c->out.readable);
	return true;
}

/* A program that never stops complaining must not hold the loop: so much at a time. */
static void read_errors(struct command *c)
{
	char buf[4096];
	ssize_t n = -1;

	for (int i = 0; i < READS_MAX && (n = read(c->errors.fd, buf, sizeof buf)) > 0; i++)
		strbuf_add(&c->errors.text, buf,
			(size_t)n < STDERR_OCTETS - c->errors.text.len
				? (size_t)n
				: STDERR_OCTETS - c->errors.text.len);
	if (!n)
		event_del(c->errors.readable);
}

static void too_much(struct command *c)
{
	struct err err;

	err_set(&err, ERR_LIMIT, 0, "password_command printed more than %d octets",
		COMMAND_OUTPUT_OCTETS);
	strbuf_wipe(&c->out.text);
	finish(c, &err);
}

static void on_output(evutil_socket_t fd, short what, void *ctx)
{
	if (!read_output(ctx))
		too_much(ctx);
}

static void on_errors(evutil_socket_t fd, short what, void *ctx)
{
	read_errors(ctx);
}

/* ---- how it ends ---- */

static void on_timeout(evutil_socket_t fd, short what, void *ctx)
{
	struct command *c = ctx;
	struct err err;

	err_set(&err, ERR_TIMEOUT, 0, "password_command did not end within %u ms",
		c->ops.timeout_ms);
	strbuf_wipe(&c->out.text);
	finish(c, &err);
}

static void describe(struct command *c, int status, struct err *err)
{
	struct strbuf text AUTO(strbuf_free) = STRBUF_INIT;
	struct strview errors = strbuf_view(&c->errors.text);

	strbuf_addf(&text, "password_command %s %d",
		WIFSIGNALED(status) ? "was ended by signal" : "failed with exit status",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	if (errors.len) {
		strbuf_adds(&text, ": ");
		escape_foreign(&text, sv_trim(sv_token(&errors, '\n')));
	}
	err_set(err, ERR_TEMP, 0, "%s", strbuf_str(&text));
}

static void on_child(evutil_socket_t fd, short what, void *ctx)
{
	struct command *c = ctx;
	struct err err;
	int status;

	if (waitpid(c->pid, &status, WNOHANG) != c->pid)
		return; /* another one's */
	c->pid = 0;
	read_errors(c);
	if (!read_output(c)) {
		too_much(c);
	} else if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		describe(c, status, &err);
		strbuf_wipe(&c->out.text);
		finish(c, &err);
	} else {
		finish(c, NULL);
	}
}

/* ---- the start ---- */

static bool is_plain(const char *line)
{
	struct strview rest = sv_str(line), first = sv_token(&rest, ' ');

	/* "NAME=value command" is a shell's, too. */
	return !line[strcspn(line, "|&;<>()$`\\\"'*?[]#~{}!\t\r\n")] &&
		!memchr(first.ptr, '=', first.len);
}

/* The words of a plain line, or what runs the others; `words` is what argv borrows. */
static int split(
	const char *line, struct strbuf *words, char *argv[COMMAND_WORDS_MAX + 1], struct err *err)
{
	size_t n = 0;
	char *at;

	if (!is_plain(line)) {
		argv[0] = (char *)"/bin/sh";
		argv[1] = (char *)"-c";
		argv[2] = (char *)line;
		argv[3] = NULL;
		return 0;
	}
	strbuf_adds(words, line);
	for (at = words->ptr; *at; at += strspn(at, " ")) {
		if (n == COMMAND_WORDS_MAX)
			return err_set(err, ERR_CONFIG, 0, "password_command: more than %d words",
				COMMAND_WORDS_MAX);
		if (*at != ' ')
			argv[n++] = at;
		at += strcspn(at, " ");
		if (*at)
			*at++ = '\0';
	}
	argv[n] = NULL;
	return n ? 0 : err_set(err, ERR_CONFIG, 0, "password_command is empty");
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

/* No input, our ends of the pipes as output, no other descriptor of ours, no signal changed. */
static int spawn(char *argv[], const int ends[2], pid_t *pid)
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
	posix_spawn_file_actions_adddup2(&files, ends[0], 1);
	posix_spawn_file_actions_adddup2(&files, ends[1], 2);
	posix_spawn_file_actions_addclosefrom_np(&files, 3);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(
		&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	environment(strings, envp);
	int error = posix_spawnp(pid, argv[0], &files, &attributes, argv, envp);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attributes);
	for (size_t i = 0; i < ENVIRONMENT_MAX; i++)
		strbuf_free(&strings[i]);
	return error;
}

static int open_stream(struct event_base *base, struct stream *s, int *end, event_callback_fn fn,
	struct command *c)
{
	int pipes[2];

	if (pipe2(pipes, O_CLOEXEC))
		return errno;
	s->fd = pipes[0];
	*end = pipes[1];
	evutil_make_socket_nonblocking(s->fd);
	s->readable = event_new(base, s->fd, EV_READ | EV_PERSIST, fn, c);
	event_add(s->readable, NULL);
	return 0;
}

static int start(struct command *c, struct event_base *base, char *argv[])
{
	int ends[2] = { -1, -1 };
	int error = open_stream(base, &c->out, &ends[0], on_output, c);

	if (!error)
		error = open_stream(base, &c->errors, &ends[1], on_errors, c);
	if (!error)
		error = spawn(argv, ends, &c->pid);
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		if (ends[i] >= 0)
			close(ends[i]);
	return error;
}

int command_run(struct event_base *base, const char *line, const struct command_ops *ops,
	struct command **out, struct err *err)
{
	struct strbuf words AUTO(strbuf_free) = STRBUF_INIT;
	char *argv[COMMAND_WORDS_MAX + 1];

	if (split(line, &words, argv, err))
		return -1;
	struct command *c = mem_zalloc(sizeof *c);
	c->ops = *ops;
	c->out.fd = c->errors.fd = -1;
	mem_grow(&c->out.text.ptr, &c->out.text.cap, COMMAND_OUTPUT_OCTETS + 2, 1);
	c->child = evsignal_new(base, SIGCHLD, on_child, c);
	c->timer = event_new(base, -1, 0, on_timeout, c);
	event_add(c->child, NULL); /* first: the child may be quick */
	event_add(c->timer,
		&(struct timeval){ .tv_sec = ops->timeout_ms / 1000,
			.tv_usec = ops->timeout_ms % 1000 * 1000 });
	int error = start(c, base, argv);
	if (error) {
		c->pid = 0;
		command_free(c);
		return err_set(err, ERR_CONFIG, error, "password_command: %.100s: %s", argv[0],
			strerror(error));
	}
	*out = c;
	return 0;
}
