/*
 * How far the cycles are that `fetch --wait` waits for; see ctl_progress.h. Owns nothing.
 *
 * It asks for the status beside the request that waits, so the daemon's answer to that stays what
 * it is in a pipe.
 */
#include "ctl_progress.h"

#include "system.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PAUSE_MSEC   500 /* the shortest */
#define PAUSE_FACTOR 20  /* times what the last answer took: a busy daemon is asked less */

bool ctl_progress_wanted(const struct control_request *request)
{
	return request->wait && isatty(STDERR_FILENO);
}

void ctl_progress_wipe(struct ctl_progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
	progress->shown = false;
}

static uint64_t number(const json_t *o, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(o, key));

	return n > 0 ? (uint64_t)n : 0;
}

static void sum_up(const json_t *status, struct strbuf *line)
{
	AUTO(strbuf_free) struct strbuf who = STRBUF_INIT;
	struct show_progress sum = { 0 };
	const json_t *account, *name = NULL;
	size_t i, n = 0;

	json_array_foreach(json_object_get(status, "accounts"), i, account)
	{
		const json_t *p = json_object_get(account, "progress");
		if (!json_is_object(p))
			continue;
		name = json_object_get(account, "name");
		n++;
		sum.done += (uint32_t)number(p, "done");
		sum.of += (uint32_t)number(p, "of");
		sum.octets += number(p, "octets");
		msec_t span = (msec_t)number(p, "duration_ms");
		sum.span = span > sum.span ? span : sum.span;
	}
	if (n == 1 && json_is_string(name))
		strbuf_adds(&who, json_string_value(name));
	else
		strbuf_addf(&who, "%zu accounts", n);
	if (n)
		show_progress(line, strbuf_str(&who), &sum);
}

/* False: the daemon does not tell. */
static bool show(const struct ctl_call *call, const struct control_request *request,
	struct ctl_progress *progress)
{
	struct control_request ask = { .verb = CONTROL_STATUS_OF, .account = request->account };
	AUTO(strbuf_free) struct strbuf said = STRBUF_INIT, line = STRBUF_INIT;
	msec_t asked = system_clock.now(&system_clock);
	struct winsize size;

	if (ctl_ask(call, &ask, &said))
		return false;
	json_t *status = json_loads(strbuf_str(&said), 0, NULL);
	sum_up(status, &line);
	json_decref(status);
	progress->pause = (system_clock.now(&system_clock) - asked) * PAUSE_FACTOR;
	ctl_progress_wipe(progress);
	size_t room = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || !size.ws_col ? 80 : size.ws_col;
	fprintf(stderr, "%.*s", (int)room - 1, strbuf_str(&line));
	progress->shown = line.len;
	return true;
}

static int pause_of(const struct ctl_progress *progress)
{
	return progress->pause > PAUSE_MSEC ? (int)progress->pause : PAUSE_MSEC;
}

void ctl_progress_wait(const struct ctl_call *call, const struct control_request *request,
	FILE *stream, struct ctl_progress *progress)
{
	struct pollfd p = { .fd = fileno(stream), .events = POLLIN };

	while (ctl_progress_wanted(request) && !poll(&p, 1, pause_of(progress)) &&
		show(call, request, progress))
		;
}
