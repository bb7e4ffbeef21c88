/*
 * The state of the whole daemon, for `multidropctl status`, for Prometheus, and as one line for the
 * service manager.
 */
#pragma once

#include "accounts.h"
#include "core/metrics.h"
#include "relays.h"
#include "show.h"

struct view { /* borrowed; `config` is where the current one stands, across reloads */
	struct env *env;
	struct config *const *config;
	struct accounts *accounts;
	const struct relays *relays;
	struct sched_time started;
};

/* The object of `status`; only: of this account, NULL: of all. The caller's to decref. */
json_t *status_json(const struct view *v, const char *only);
void status_line(const struct view *v, struct strbuf *out);
/* Sets the gauges of env->metrics. */
void status_gauges(const struct view *v);
