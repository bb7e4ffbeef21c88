/* The last log lines of a cycle; see report.h. Owns nothing. */
#include "report.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
	enum log_event event;
	const char *text;
} refusals[ERR_CLASS_COUNT] = {
	[ERR_AUTH] = { EV_LOGIN_FAILED, "login refused; check user and password" },
	[ERR_THROTTLE] = { EV_LOGIN_LIMITED, "the provider wants fewer logins; waiting" },
	[ERR_BUSY] = { EV_ACCOUNT_BUSY, "the maildrop is locked by another session" },
	[ERR_LIMIT] = { EV_LIMIT_EXCEEDED, "the server went beyond a limit" },
	[ERR_LOCAL] = { EV_STATE_FAILED, "this machine's disk or state failed" },
};

void report_summary(const struct fetch *f, char *text, size_t size)
{
	const struct fetch_stats *s = &f->stats;

	if (f->err.class == ERR_NONE) /* both fit, or are cut */
		(void)snprintf(text, size,
			"%" PRIu32 " listed, %" PRIu32 " delivered, %" PRIu32 " deferred, %" PRIu32
			" held, %" PRIu32 " suppressed, %" PRIu32 " deleted",
			s->listed, s->delivered, s->deferred, s->held, s->suppressed, s->deleted);
	else
		(void)snprintf(text, size, "%s:%u: %s", f->account->provider->host,
			f->account->provider->port, f->err.text);
}

void report_end(const struct fetch *f)
{
	char text[512];
	uint64_t ms = (uint64_t)(env_now(f->env) - f->started);

	report_summary(f, text, sizeof text);
	if (f->err.class == ERR_NONE) {
		fetch_log(f,
			&(struct log_entry){ .event = EV_CYCLE_FINISHED,
				.duration_ms = ms ? ms : 1,
				.text = text });
		return;
	}
	const char *class = err_class_name(f->err.class);
	if (refusals[f->err.class].text)
		fetch_log(f,
			&(struct log_entry){ .event = refusals[f->err.class].event,
				.error = class,
				.reason = f->err.text,
				.text = refusals[f->err.class].text });
	fetch_log(f,
		&(struct log_entry){ .event = EV_CYCLE_FAILED,
			.error = class,
			.reason = f->err.text,
			.duration_ms = ms ? ms : 1,
			.text = text });
}

void report_progress(const struct fetch *f, struct show_progress *out)
{
	msec_t span = f->stats.since ? env_now(f->env) - f->stats.since : 0;

	if (!f->listed)
		return;
	out->done += f->stats.settled;
	out->of += f->stats.asked + f->maildrop.wanted;
	out->octets += f->stats.octets;
	out->span = span > out->span ? span : out->span;
}
