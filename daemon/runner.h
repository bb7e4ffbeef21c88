/*
 * The process that may start programs, for one that may not: forked off before the sandbox closes
 * (sandbox.h), it runs what password_command names and tells how that ended.
 *
 * It believes nobody that a line is wanted: runner_ops.may_run decides it, in the runner itself,
 * so that whoever takes the asking process over can start nothing of his own. It ends with the
 * process that started it, and a program ends with the connection that asked for it.
 */
#pragma once

#include "base/err.h"

#define RUNNER_LINE_MAX  8192 /* octets of a command line, with its NUL */
#define RUNNER_WORDS_MAX 64   /* of a plain one */

struct runner_ops {
	void (*begin)(void *ctx); /* in the runner, once; frees what it must not keep */
	bool (*may_run)(void *ctx, const char *line); /* in the runner */
	void *ctx;
};

/* Forks. *fd is where runner_ask() asks; closing it ends the runner. 0, or -1 with err. */
int runner_start(const struct runner_ops *ops, int *fd, struct err *err) must_check;

struct runner_end {      /* one packet, and the end of the connection */
	int status;      /* as of waitpid(2) */
	char fault[160]; /* not empty: it was not started */
};

/*
 * Runs a line with these descriptors as its output and errors; the caller closes his ends. *end
 * gives a struct runner_end when the program has ended; closing it kills the program and whatever
 * it has started. 0, or -1 with err.
 */
int runner_ask(int fd, const char *line, int output, int errors, int *end, struct err *err)
	must_check;
