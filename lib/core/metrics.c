/*
 * Counters, gauges and one histogram; see metrics.h.
 *
 * Series are kept sorted by their labels: found by bisection on the way of each message, printed in
 * an order that does not change.
 */
#include "core/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum type { COUNTER, GAUGE, HISTOGRAM };
static const char *const types[] = { "counter", "gauge", "histogram" };

static const struct family {
	const char *name;
	enum type type;
	const char *labels[2];
	const char *help;
} families[] = {
	[METRIC_MESSAGES] = { "messages_total", COUNTER, { "account", "result" },
		"What became of messages; delivered, deferred and suppressed count each "
		"recipient." },
	[METRIC_CYCLES] = { "cycles_total", COUNTER, { "account", "result" },
		"Fetch cycles by how they ended, or that they were skipped." },
	[METRIC_CYCLE_SECONDS] = { "cycle_seconds", HISTOGRAM, { NULL, NULL },
		"How long fetch cycles took, from the connection to the last delivery." },
	[METRIC_LOGINS] = { "logins_total", COUNTER, { "provider", "result" },
		"Logins by what the provider said to them." },
	[METRIC_LOGIN_BUDGET] = { "login_budget", GAUGE, { "provider", NULL },
		"Logins that login_limit still allows in the current login_window." },
	[METRIC_LAST_SUCCESS] = { "last_success_timestamp_seconds", GAUGE, { "account", NULL },
		"When a cycle last ended well." },
	[METRIC_NEXT_DUE] = { "next_due_timestamp_seconds", GAUGE, { "account", NULL },
		"When the next cycle is due; absent while there will be none." },
	[METRIC_HELD] = { "held", GAUGE, { "account", NULL },
		"Messages that wait for a decision." },
	[METRIC_RELAY_CONNS] = { "relay_connections", GAUGE, { "relay", "state" },
		"Connections to the relay by what they do." },
	[METRIC_RELAY_UP] = { "relay_up", GAUGE, { "relay", NULL },
		"0 while the relay cannot be used." },
	[METRIC_ENVELOPE_MISSING] = { "envelope_missing_total", COUNTER, { "account", NULL },
		"Messages without the provider's envelope header." },
	[METRIC_BUILD_INFO] = { "build_info", GAUGE, { "version", NULL }, "Always 1." },
};
static_assert(ARRAY_LEN(families) == METRIC_COUNT, "one row per metric");

/* What an event of the log counts as; the label that is not `result` is the entry's. */
static const struct rule {
	enum log_event event;
	enum metric metric;
	const char *result;
} rules[] = {
	{ EV_MESSAGE_DELIVERED, METRIC_MESSAGES, "delivered" },
	{ EV_MESSAGE_DEFERRED, METRIC_MESSAGES, "deferred" },
	{ EV_MESSAGE_HELD, METRIC_MESSAGES, "held" },
	{ EV_MESSAGE_DISCARDED, METRIC_MESSAGES, "discarded" },
	{ EV_MESSAGE_SUPPRESSED, METRIC_MESSAGES, "suppressed" },
	{ EV_MESSAGE_IN_DOUBT, METRIC_MESSAGES, "in_doubt" },
	{ EV_MESSAGE_DELETED, METRIC_MESSAGES, "deleted" },
	{ EV_MESSAGE_TRUNCATED, METRIC_MESSAGES, "truncated" },
	{ EV_CYCLE_FINISHED, METRIC_CYCLES, "finished" },
	{ EV_CYCLE_FAILED, METRIC_CYCLES, "failed" },
	{ EV_CYCLE_SKIPPED, METRIC_CYCLES, "skipped" },
	{ EV_CONNECTION_OPENED, METRIC_LOGINS, "ok" }, /* a POP3 session says so when logged in */
	{ EV_LOGIN_FAILED, METRIC_LOGINS, "failed" },
	{ EV_LOGIN_LIMITED, METRIC_LOGINS, "limited" },
	{ EV_ACCOUNT_BUSY, METRIC_LOGINS, "busy" },
	{ EV_ENVELOPE_MISSING, METRIC_ENVELOPE_MISSING, NULL },
};

static const uint64_t bounds_ms[METRIC_BUCKETS] = { 100, 500, 1000, 2000, 5000, 10000, 30000, 60000,
	120000, 300000, 900000, 3600000 };

void metrics_free(struct metrics *m)
{
	for (size_t i = 0; i < METRIC_COUNT; i++) {
		for (size_t k = 0; k < m->series[i].n; k++) {
			free(m->series[i].items[k].labels[0]);
			free(m->series[i].items[k].labels[1]);
		}
		free(m->series[i].items);
	}
	*m = (struct metrics){ 0 };
}

static int compare(const struct metric_series *s, const char *first, const char *second)
{
	int order = strcmp(s->labels[0], first);

	return order || !second ? order : strcmp(s->labels[1], second);
}

/* The series of these labels, made when there is none; good until the next one is made. */
static struct metric_series *series(
	struct metrics *m, enum metric metric, const char *first, const char *second)
{
	size_t low = 0, high = m->series[metric].n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare(&m->series[metric].items[middle], first, second);
		if (!order)
			return &m->series[metric].items[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	mem_grow(&m->series[metric].items, &m->series[metric].cap, m->series[metric].n + 1,
		sizeof *m->series[metric].items);
	struct metric_series *at = &m->series[metric].items[low];
	memmove(at + 1, at, (m->series[metric].n - low) * sizeof *at);
	m->series[metric].n++;
	*at = (struct metric_series){ .labels = { mem_strdup(first), mem_strdup(second) } };
	return at;
}

static void observe(struct metrics *m, uint64_t ms)
{
	size_t i = 0;

	while (i < METRIC_BUCKETS && ms > bounds_ms[i])
		i++;
	m->buckets[i]++;
	m->cycle_ms += ms;
}

void metrics_note(struct metrics *m, const struct log_entry *e)
{
	if (!m)
		return;
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		const struct rule *rule = &rules[i];
		const char *who = rule->metric == METRIC_LOGINS ? e->provider : e->account;
		if (rule->event == e->event && who)
			series(m, rule->metric, who, rule->result)->value += 1;
	}
	if ((e->event == EV_CYCLE_FINISHED || e->event == EV_CYCLE_FAILED) && e->duration_ms)
		observe(m, e->duration_ms);
}

static void begin(struct metrics *m, const char *who, bool provider)
{
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if ((rules[i].metric == METRIC_LOGINS) == provider)
			(void)series(m, rules[i].metric, who, rules[i].result);
}

void metrics_begin_account(struct metrics *m, const char *account)
{
	begin(m, account, false);
}

void metrics_begin_provider(struct metrics *m, const char *provider)
{
	begin(m, provider, true);
}

void metrics_clear_gauges(struct metrics *m)
{
	for (size_t i = 0; i < METRIC_COUNT; i++) {
		if (families[i].type != GAUGE)
			continue;
		for (size_t k = 0; k < m->series[i].n; k++) {
			free(m->series[i].items[k].labels[0]);
			free(m->series[i].items[k].labels[1]);
		}
		m->series[i].n = 0;
	}
}

void metrics_set(
	struct metrics *m, enum metric metric, const char *first, const char *second, double value)
{
	ensure(families[metric].type == GAUGE && !second == !families[metric].labels[1]);
	series(m, metric, first, second)->value = value;
}

/* ---- the text ---- */

/* A label's value: backslash, quote and line feed are escaped, all else stands as it is. */
static void add_label(struct strbuf *out, char before, const char *name, const char *value)
{
	strbuf_addf(out, "%c%s=\"", before, name);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			strbuf_addc(out, '\\');
		if (*value == '\n')
			strbuf_adds(out, "\\n");
		else
			strbuf_addc(out, *value);
	}
	strbuf_addc(out, '"');
}

static void add_value(struct strbuf *out, double value)
{
	if (isinf(value))
		strbuf_adds(out, value > 0 ? " +Inf\n" : " -Inf\n");
	else
		strbuf_addf(out, " %.15g\n", value); /* whole milliseconds of this century fit */
}

static void print_series(const struct family *f, const struct metric_series *s, struct strbuf *out)
{
	strbuf_addf(out, "multidropd_%s", f->name);
	add_label(out, '{', f->labels[0], s->labels[0]);
	if (f->labels[1])
		add_label(out, ',', f->labels[1], s->labels[1]);
	strbuf_addc(out, '}');
	add_value(out, s->value);
}

static void print_histogram(const struct metrics *m, const char *name, struct strbuf *out)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < METRIC_BUCKETS; i++) {
		sum += m->buckets[i];
		strbuf_addf(out, "multidropd_%s_bucket{le=\"%.15g\"} %" PRIu64 "\n", name,
			(double)bounds_ms[i] / 1000, sum);
	}
	sum += m->buckets[METRIC_BUCKETS];
	strbuf_addf(out,
		"multidropd_%s_bucket{le=\"+Inf\"} %" PRIu64 "\nmultidropd_%s_sum %.15g\n"
		"multidropd_%s_count %" PRIu64 "\n",
		name, sum, name, (double)m->cycle_ms / 1000, name, sum);
}

void metrics_print(const struct metrics *m, struct strbuf *out)
{
	for (size_t i = 0; i < METRIC_COUNT; i++) {
		const struct family *f = &families[i];
		strbuf_addf(out, "# HELP multidropd_%s %s\n# TYPE multidropd_%s %s\n", f->name,
			f->help, f->name, types[f->type]);
		if (f->type == HISTOGRAM)
			print_histogram(m, f->name, out);
		for (size_t k = 0; k < m->series[i].n; k++)
			print_series(f, &m->series[i].items[k], out);
	}
}
