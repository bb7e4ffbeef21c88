/*
 * What multidropctl and the daemon say to each other over the control socket.
 *
 *	request = "control/1" SP verb [SP ACCOUNT | SP "*"] [SP "wait"] LF
 *	answer  = *( "+" text LF | "-" text LF ) "=" status LF
 *
 * One request a connection. "+" is a line of the result, "-" one of the complaints, and the last
 * line is the exit status of the command; an answer without it was cut off. The answer's layout
 * never changes, so that every multidropctl can show what a daemon of another version says to it.
 */
#pragma once

#include "base/err.h"

#define CONTROL_PROTOCOL "control/1"
#define CONTROL_LINE_MAX 256 /* octets of a request, with its LF */

#define CONTROL_SAID     '+'
#define CONTROL_COMPLAIN '-'
#define CONTROL_STATUS   '='

enum control_verb {
	CONTROL_STATUS_OF, /* one JSON object */
	CONTROL_FETCH,
	CONTROL_PAUSE,
	CONTROL_RESUME,
	CONTROL_RELOAD,
	CONTROL_METRICS, /* Prometheus text */
	CONTROL_VERB_COUNT
};

struct control_request {
	enum control_verb verb;
	struct strview account; /* empty: none; into the line that was parsed */
	bool all;               /* "*" in its place */
	bool wait;              /* the answer ends when the cycles have ended */
};

/* A line without its LF. -1: err->text is a sentence for whoever sent it. */
int control_parse(struct strview line, struct control_request *out, struct err *err) must_check;
/* The line that control_parse() reads as `r`, with its LF. -1: no account has that name. */
int control_format(struct strbuf *out, const struct control_request *r) must_check;
