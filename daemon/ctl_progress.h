/* How far the cycles are that `fetch --wait` waits for: a line on the terminal of stderr. */
#pragma once

#include "ctl_daemon.h"

#include <stdio.h>

struct ctl_progress {
	bool shown;   /* it stands on the terminal */
	msec_t pause; /* before the next look; 0: the shortest */
};

/*
 * Waits until the answer goes on, and shows meanwhile how far `request` is. Only on a terminal;
 * else it returns at once. The stream must not be buffered.
 */
void ctl_progress_wait(const struct ctl_call *call, const struct control_request *request,
	FILE *stream, struct ctl_progress *progress);
bool ctl_progress_wanted(const struct control_request *request);
void ctl_progress_wipe(struct ctl_progress *progress); /* before anything else is printed */
