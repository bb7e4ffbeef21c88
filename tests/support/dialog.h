/*
 * Dialogs: scripts of what a peer says, what the machine must answer and report.
 *
 *	# comment
 *	param KEY VALUE     before the first step; what the driver's open() reads
 *	S: TEXT             the server says TEXT and CRLF     S- TEXT   without CRLF
 *	C: TEXT             the machine must say this next    C- TEXT   without CRLF
 *	E: TEXT [-- WORDS]  the machine must report this event next; WORDS occur in its free text
 *	E? TEXT             the event may be reported here (some splits of the input show it)
 *	do COMMAND ARGS     the driver calls the machine
 *	eof                 the server closes the connection
 *	wait 60s            time passes; the machine is ticked if its deadline does
 *	end                 nothing more is said or reported
 *
 * TEXT knows \r \n \0 \\ \xHH; S*3: says the line three times. Data events that follow each other
 * and have the same head count as one. What the machine says must be asked for (C) before the
 * server speaks again, so nothing is ever said unnoticed.
 *
 * Each script runs whole (all S up to the next other step in one feed), byte by byte, and split at
 * random; the random seeds are 1 to 20 and a failure names its own.
 */
#pragma once

#include "base/clock.h"
#include "base/strbuf.h"

struct dialog_param {
	const char *key, *value; /* value: escapes resolved, NUL-terminated */
	size_t len;
};

struct dialog_params {
	struct dialog_param *list;
	size_t n, cap;
};

/* The value of a `param` line, else `otherwise`. Lives as long as the script. */
struct strview dialog_param(
	const struct dialog_params *params, const char *key, const char *otherwise);

/* What a driver reports: empty text means nothing happened. */
struct dialog_event {
	struct strbuf text;   /* "stat 3 320"; of a data event its head, "retr-data 1" */
	struct strbuf data;   /* of a data event: the piece */
	struct strbuf detail; /* text for people, which E: asks for behind "--" */
	bool is_data;
	bool final; /* the machine must not be used any more */
};

/* A protocol machine behind the runner. Each call reports up to one event in *ev (empty on entry).
 */
struct dialog_driver {
	void *(*open)(const struct dialog_params *params, msec_t now); /* NULL: bad parameters */
	void (*close)(void *m);
	size_t (*feed)(void *m, struct strview in, msec_t now, struct dialog_event *ev);
	void (*eof)(void *m, msec_t now, struct dialog_event *ev);
	msec_t (*deadline)(void *m);
	void (*tick)(void *m, msec_t now, struct dialog_event *ev);
	struct strview (*output)(void *m);
	void (*sent)(void *m, size_t len, msec_t now);
	/* `do`: false when there is no such command. `args` is what follows the first word. */
	bool (*command)(void *m, struct strview name, struct strview args, msec_t now,
		struct dialog_event *ev);
};

/* Runs all *.dialog of the folders (or files) in argv; the exit status of main. */
int dialog_main(const struct dialog_driver *driver, int argc, char **argv);
