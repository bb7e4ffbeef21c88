/* The line on a terminal that shows how far --once is; see progress.h. */
#include "progress.h"

#include "log_sink.h"
#include "report.h"

#include <stdlib.h>

#define EVERY_MSEC 200

struct progress {
	const struct accounts *accounts;
	struct event *timer;
};

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	const struct progress *p = ctx;
	AUTO(strbuf_free) struct strbuf line = STRBUF_INIT;
	struct show_progress sum = { 0 };
	const struct account *a, *running = NULL;
	size_t n = 0;

	TAILQ_FOREACH (a, &p->accounts->list, entry) {
		if (!a->fetch)
			continue;
		report_progress(a->fetch, &sum);
		running = a;
		n++;
	}
	if (sum.of && n == 1)
		show_progress(&line, running->name, &sum);
	else if (sum.of) {
		AUTO(strbuf_free) struct strbuf who = STRBUF_INIT;
		strbuf_addf(&who, "%zu accounts", n);
		show_progress(&line, strbuf_str(&who), &sum);
	}
	log_sink_live(strbuf_str(&line));
}

struct progress *progress_new(struct env *env, const struct accounts *accounts)
{
	if (!log_sink_has_live())
		return NULL;
	struct progress *p = mem_zalloc(sizeof *p);

	p->accounts = accounts;
	p->timer = event_new(env->loop.base, -1, EV_PERSIST, on_timer, p);
	event_add(p->timer, &(struct timeval){ .tv_usec = EVERY_MSEC * 1000 });
	return p;
}

void progress_free(struct progress *p)
{
	if (!p)
		return;
	event_free(p->timer);
	log_sink_live("");
	free(p);
}
