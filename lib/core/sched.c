/* The schedule of one account; see sched.h. */
#include "core/sched.h"

/* What was too short is made longer by half. */
#define LEARN_STEP(spacing) ((spacing) + (spacing) / 2)

/*
 * Up to a twentieth of the span, so that accounts do not march in step and each still comes within
 * a tenth over its interval when it has to wait for a slot.
 */
static msec_t jitter(msec_t span, uint32_t chance)
{
	return span / 20 > 0 ? (msec_t)(chance % (uint64_t)(span / 20)) : 0;
}

void sched_init(struct sched *s, msec_t now, msec_t interval, size_t index, size_t n)
{
	msec_t spread = interval < SCHED_SPREAD_MAX_MSEC ? interval : SCHED_SPREAD_MAX_MSEC;

	s->next_due = now + spread * (msec_t)index / (msec_t)(n ? n : 1);
	s->due_since = s->next_due;
}

void sched_started(struct sched *s, msec_t now, wall_t wall)
{
	s->last_start = now;
	s->kept.last_start = wall;
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

/* A stamp far ahead is of a clock that was wrong. */
static bool is_believed(const struct sched_kept *k, wall_t wall)
{
	return k->learned && wall - k->learned_at < SCHED_LEARNED_MSEC &&
		k->learned_at - wall < SCHED_LEARNED_MSEC;
}

static msec_t least(msec_t a, msec_t b)
{
	return a < b ? a : b;
}

/* "Too often": so long as the answer says, else longer than what has just been too short. */
static void learn(struct sched *s, wall_t wall, msec_t interval, msec_t told)
{
	msec_t delay = sched_delay(s, wall), spacing = interval > delay ? interval : delay;
	bool delay_known = is_believed(&s->kept, wall);

	if (told)
		delay = least(told, SCHED_DELAY_MAX_MSEC);
	else
		delay = least(LEARN_STEP(spacing), SCHED_LEARNED_MAX_MSEC);
	if (delay > s->kept.learned || !delay_known)
		s->kept.learned = delay;
	s->kept.learned_at = wall;
}

static void count(struct sched_kept *k, wall_t wall, const struct sched_result *r)
{
	if (r->logged_in)
		k->announced = least(r->announced, SCHED_DELAY_MAX_MSEC);
	if (r->cut) {
		k->auth_failures = r->logged_in ? 0 : k->auth_failures;
		return;
	}
	k->failures = r->class == ERR_NONE ? 0 : k->failures + 1;
	k->busy = r->class == ERR_BUSY ? k->busy + 1 : 0;
	if (r->class == ERR_AUTH)
		k->auth_failures++;
	else if (r->logged_in || r->class == ERR_BUSY) /* the password was right */
		k->auth_failures = 0;
	if (r->class == ERR_NONE)
		k->last_success = wall;
}

bool sched_ended(struct sched *s, msec_t now, wall_t wall, msec_t interval,
	const struct sched_result *r, uint32_t chance)
{
	bool was_suspended = sched_suspended(s);
	msec_t wait = interval, delay;

	count(&s->kept, wall, r);
	if (r->class == ERR_NONE && !r->cut)
		s->last_success = now;
	if (r->class == ERR_THROTTLE)
		learn(s, wall, interval, r->told);
	if (s->kept.failures)
		wait = backoff(interval, s->kept.failures);
	if (r->class == ERR_PERM && wait < SCHED_BACKOFF_MAX_MSEC)
		wait = SCHED_BACKOFF_MAX_MSEC;
	delay = sched_delay(s, wall);
	if (wait < delay)
		wait = delay;
	s->next_due = s->last_start + wait + jitter(wait, chance);
	if (s->next_due < now) /* it outlasted its interval: the next follows, one, not a pile */
		s->next_due = now;
	s->due_since = s->next_due;
	return sched_suspended(s) && !was_suspended;
}

void sched_wait(struct sched *s, msec_t now, msec_t wait)
{
	s->next_due = now + wait;
}

void sched_interval(struct sched *s, msec_t now, msec_t interval)
{
	if (s->kept.failures || !s->last_start || s->next_due <= now)
		return;
	s->next_due = s->last_start + interval > now ? s->last_start + interval : now;
	s->due_since = s->next_due;
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
	bool was_suspended = sched_suspended(s);

	s->kept.auth_failures = 0;
	if (was_suspended)
		sched_due_now(s, now);
	return was_suspended;
}

bool sched_due(const struct sched *s, msec_t now)
{
	return !sched_blocked(s) && now >= s->next_due;
}

bool sched_suspended(const struct sched *s)
{
	return s->kept.auth_failures >= SCHED_AUTH_FAILURES_MAX;
}

bool sched_blocked(const struct sched *s)
{
	return s->kept.paused || sched_suspended(s);
}

msec_t sched_delay(const struct sched *s, wall_t wall)
{
	const struct sched_kept *k = &s->kept;
	msec_t learned = is_believed(k, wall) ? k->learned : 0;

	return learned > k->announced ? learned : k->announced;
}

bool sched_overdue(const struct sched *s, struct sched_time at, struct sched_time start,
	msec_t interval, bool running)
{
	const struct sched_kept *k = &s->kept;
	msec_t delay = sched_delay(s, at.wall), gap = delay > interval ? delay : interval;
	msec_t limit = 2 * gap + SCHED_GRACE_MSEC;

	if (sched_blocked(s) || (running && !k->failures))
		return false;
	if (k->last_success > start.wall)
		start.wall = k->last_success;
	if (s->last_success > start.now)
		start.now = s->last_success;
	return at.wall - start.wall > limit && at.now - start.now > limit;
}
