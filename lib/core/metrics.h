/*
 * The numbers of the daemon, and their text for Prometheus (exposition format 0.0.4).
 *
 * Counters grow with the log: metrics_note() is given every entry about an account and counts what
 * the table in metrics.c says. Gauges are what is true now: whoever prints sets them first. The
 * names, labels and results are a contract with people's dashboards.
 */
#pragma once

#include "base/log.h"
#include "base/strbuf.h"

enum metric {
	METRIC_MESSAGES,         /* account, result */
	METRIC_CYCLES,           /* account, result */
	METRIC_CYCLE_SECONDS,    /* histogram */
	METRIC_LOGINS,           /* provider, result */
	METRIC_LOGIN_BUDGET,     /* provider */
	METRIC_LAST_SUCCESS,     /* account */
	METRIC_NEXT_DUE,         /* account */
	METRIC_HELD,             /* account */
	METRIC_RELAY_CONNS,      /* relay, state */
	METRIC_RELAY_UP,         /* relay */
	METRIC_ENVELOPE_MISSING, /* account */
	METRIC_BUILD_INFO,       /* version */
	METRIC_COUNT
};

struct metric_series {
	char *labels[2]; /* [1] NULL: the metric has one label */
	double value;
};

#define METRIC_BUCKETS 12

struct metrics {
	struct {
		struct metric_series *items; /* in the order of their labels */
		size_t n, cap;
	} series[METRIC_COUNT];
	uint64_t buckets[METRIC_BUCKETS + 1]; /* not yet added up; the last: longer than all */
	uint64_t cycle_ms;                    /* all cycles together */
};

void metrics_free(struct metrics *m); /* a zeroed one is empty and good */
/* Counts. NULL as m: nothing. */
void metrics_note(struct metrics *m, const struct log_entry *e);
/*
 * The counters of an account or provider are there from now on, at 0: increase() of a series that
 * begins with 1 is 0, and its first event would be missed.
 */
void metrics_begin_account(struct metrics *m, const char *account);
void metrics_begin_provider(struct metrics *m, const char *provider);
/* Gauges. Between clear and print each is set once; second: NULL where there is one label. */
void metrics_clear_gauges(struct metrics *m);
void metrics_set(
	struct metrics *m, enum metric metric, const char *first, const char *second, double value);
void metrics_print(const struct metrics *m, struct strbuf *out);
