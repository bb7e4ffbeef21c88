/* The schedule of one account; see sched.h. */
#include "core/sched.h"

/* Up to a tenth of the span, so that accounts do not march in step. */
static msec_t jitter(msec_t span, uint32_t chance)
{
	return span / 10 > 0 ? (msec_t)(chance % (uint64_t)(span / 10)) : 0;
}

void sched_init(struct sched *s, msec_t now, msec_t interval, size_t index, size_t n)
{
	msec_t spread = interval < SCHED_SPREAD_MAX_MSEC ? interval : SCHED_SPREAD_MAX_MSEC;

	*s = (struct sched){ .next_due = now + spread * (msec_t)index / (msec_t)(n ? n : 1) };
	s->due_since = s->next_due;
}

void sched_started(struct sched *s, msec_t now)
{
	s->last_start = now;
	s->next_due = MSEC_NEVER; /* until it ends: never two cycles of one account */
}

static msec_t backoff(msec_t interval, uint32_t failures)
{
	msec_t wait = interval;

	for (uint32_t i = 1; i < failures && wait < SCHED_BACKOFF_MAX_MSEC; i++)
		wait *= 2;
	/* A long interval is patience enough. */
	if (wait > SCHED_BACKOFF_MAX_MSEC)
		wait = interval > SCHED_BACKOFF_MAX_MSEC ? interval : SCHED_BACKOFF_MAX_MSEC;
	return wait;
}

bool sched_ended(
	struct sched *s, msec_t now, msec_t interval, enum err_class class, uint32_t chance)
{
	bool was_suspended = s->suspended;
	msec_t wait = interval;

	s->failures = class == ERR_NONE ? 0 : s->failures + 1;
	s->auth_failures = class == ERR_AUTH ? s->auth_failures + 1 : 0;
	if (s->failures)
		wait = backoff(interval, s->failures);
	if (class == ERR_PERM && wait < SCHED_BACKOFF_MAX_MSEC)
		wait = SCHED_BACKOFF_MAX_MSEC;
	if (wait < s->delay)
		wait = s->delay;
	s->next_due = s->last_start + wait + jitter(wait, chance);
	if (s->next_due < now) /* it outlasted its interval: the next follows, one, not a pile */
		s->next_due = now;
	s->due_since = s->next_due;
	s->suspended = s->auth_failures >= SCHED_AUTH_FAILURES_MAX;
	return s->suspended && !was_suspended;
}

void sched_wait(struct sched *s, msec_t now, msec_t wait)
{
	s->next_due = now + wait;
}

bool sched_due(const struct sched *s, msec_t now)
{
	return !s->suspended && now >= s->next_due;
}

void sched_due_now(struct sched *s, msec_t now)
{
	if (s->next_due <= now)
		return;
	s->next_due = now;
	if (s->due_since > now)
		s->due_since = now;
}

bool sched_resume(struct sched *s, msec_t now)
{
	if (!s->suspended)
		return false;
	s->suspended = false;
	s->auth_failures = 0;
	sched_due_now(s, now);
	return true;
}
