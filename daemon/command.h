/*
 * A program that is run for what it prints, off the loop: it has a time and a size, no terminal, no
 * input, and of our environment only PATH, HOME and CREDENTIALS_DIRECTORY.
 *
 * A plain command line (words and blanks) is run as it is; anything that means something to a shell
 * goes to /bin/sh -c. Of its standard error the first line is told when it fails; of its output
 * never anything.
 */
#pragma once

#include "base/err.h"
#include "base/strbuf.h"

#include <event2/event.h>

#define COMMAND_OUTPUT_OCTETS (64 * 1024)

struct command;

struct command_ops {
	/* Once, from the loop; the command is gone by then. output: without its last newline, wiped
	 * after the call; err NULL: it ended well. */
	void (*on_done)(void *ctx, struct strview output, const struct err *err);
	void *ctx;
	uint32_t timeout_ms; /* then it is killed, and whatever it has started */
};

/* runner: who starts it (runner.h). -1: err, nobody does, and on_done will not come. */
int command_run(struct event_base *base, int runner, const char *line,
	const struct command_ops *ops, struct command **out, struct err *err) must_check;
void command_free(struct command *c); /* kills it; NULL is fine */
