/*
 * Programs that are run for their output; see command.h.
 *
 * Owns the pipes from the program, and the connection to the runner on which its end is told.
 * Invariant: the buffer for the output never grows, so that no copy of a secret stays behind.
 */
#include "command.h"

#include "base/encode.h"
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
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
	int end; /* of the runner's; -1: none. Closing it kills the program */
	struct stream out, errors;
	struct event *ended, *timer;
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
	stream_close(&c->out);
	stream_close(&c->errors);
	if (c->ended)
		event_free(c->ended);
	if (c->end >= 0)
		close(c->end);
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

static void fail(struct command *c, const struct err *err)
{
	strbuf_wipe(&c->out.text);
	finish(c, err);
}

/* All that the program has printed is in the pipes by now. */
static void on_ended(evutil_socket_t fd, short what, void *ctx)
{
	struct command *c = ctx;
	struct runner_end end;
	struct err err;
	ssize_t n = recv(fd, &end, sizeof end, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	read_errors(c);
	if (n != (ssize_t)sizeof end) {
		err_set(&err, ERR_LOCAL, 0, "password_command: its supervisor has ended");
		fail(c, &err);
	} else if (*end.fault) {
		err_set(&err, ERR_CONFIG, 0, "%.*s", (int)sizeof end.fault, end.fault);
		fail(c, &err);
	} else if (!read_output(c)) {
		too_much(c);
	} else if (!WIFEXITED(end.status) || WEXITSTATUS(end.status)) {
		describe(c, end.status, &err);
		fail(c, &err);
	} else {
		finish(c, NULL);
	}
}

/* ---- the start ---- */

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

static int start(
	struct command *c, struct event_base *base, int runner, const char *line, struct err *err)
{
	int ends[2] = { -1, -1 };
	int error = open_stream(base, &c->out, &ends[0], on_output, c), rc;

	if (!error)
		error = open_stream(base, &c->errors, &ends[1], on_errors, c);
	if (error)
		rc = err_set(err, ERR_LOCAL, error, "password_command: %s", strerror(error));
	else
		rc = runner_ask(runner, line, ends[0], ends[1], &c->end, err);
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		if (ends[i] >= 0)
			close(ends[i]);
	return rc;
}

int command_run(struct event_base *base, int runner, const char *line,
	const struct command_ops *ops, struct command **out, struct err *err)
{
	struct command *c = mem_zalloc(sizeof *c);

	c->ops = *ops;
	c->end = c->out.fd = c->errors.fd = -1;
	mem_grow(&c->out.text.ptr, &c->out.text.cap, COMMAND_OUTPUT_OCTETS + 2, 1);
	if (start(c, base, runner, line, err)) {
		command_free(c);
		return -1;
	}
	c->ended = event_new(base, c->end, EV_READ | EV_PERSIST, on_ended, c);
	event_add(c->ended, NULL);
	c->timer = event_new(base, -1, 0, on_timeout, c);
	event_add(c->timer,
		&(struct timeval){ .tv_sec = ops->timeout_ms / 1000,
			.tv_usec = ops->timeout_ms % 1000 * 1000 });
	*out = c;
	return 0;
}
