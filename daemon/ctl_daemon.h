/* The running daemon, asked over its control socket (core/control_line.h). */
#pragma once

#include "core/control_line.h"
#include "ctl.h"

/*
 * Asks, and returns the exit status of the answer. Its result goes to stdout as it comes, or with
 * `said` there; its complaints to stderr. EX_UNAVAILABLE: no daemon, or it did not end its answer;
 * stderr says which socket was tried and what to do.
 */
int ctl_ask(const struct ctl_call *call, const struct control_request *request, struct strbuf *said)
	must_check;
