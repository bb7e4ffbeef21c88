/* What an account is doing; see outlook.h. Owns nothing. */
#include "outlook.h"

#include "accounts.h"

#include <inttypes.h>
#include <stdio.h>

#define SAY(o, ...) (void)snprintf((o)->text, sizeof(o)->text, __VA_ARGS__) /* cut is fine */

static void blocked(const struct account *a, struct outlook *o)
{
	if (a->sched.kept.paused) {
		o->state = o->reason = "paused";
		SAY(o, "paused by an administrator");
	} else {
		o->state = o->reason = "suspended";
		o->trouble = true;
		SAY(o, "password refused again and again");
	}
}

static void running(const struct account *a, struct outlook *o)
{
	o->state = a->fetch->logged_in ? "fetching" : "connecting";
	o->reason = "running";
	SAY(o, "a cycle is running");
}

/* It is due and has not begun. */
static void queued(const struct account *a, struct outlook *o)
{
	o->state = "waiting";
	o->queued = true;
	o->trouble = relay_is_down(a->relay);
	o->reason = o->trouble ? "relay-down" : "sessions";
	if (o->trouble)
		SAY(o, "relay %s is down", relay_conf(a->relay)->name);
	else
		SAY(o, "all sessions that max_sessions allows are taken");
}

static void scheduled(const struct account *a, struct env *env, struct outlook *o)
{
	const struct sched_kept *k = &a->sched.kept;

	o->state = "idle";
	if (k->failures) {
		o->state = o->reason = "backoff";
		o->trouble = true;
		SAY(o, "back-off after %" PRIu32 " failed %s", k->failures,
			k->failures == 1 ? "cycle" : "cycles");
	} else if (!a->sched.last_start) {
		o->reason = "start";
		SAY(o, "logins are spread after the start");
	} else if (sched_delay(&a->sched, env_wall(env)) > a->conf->interval_ms) {
		o->reason = "login-delay";
		SAY(o, "the provider asks for a longer delay");
	} else {
		o->reason = "interval";
		SAY(o, "interval");
	}
	if (a->skipped.reason) {
		o->state = "waiting";
		o->reason = a->skipped.reason;
		SAY(o, "%s", a->skipped.text);
		o->trouble = o->trouble || !strcmp(o->reason, "state");
	}
}

void outlook_of(const struct account *a, struct env *env, struct outlook *o)
{
	msec_t wait = a->sched.next_due - env_now(env);

	*o = (struct outlook){ 0 };
	if (sched_blocked(&a->sched))
		blocked(a, o);
	else if (a->fetch)
		running(a, o);
	else if (wait <= 0)
		queued(a, o);
	else
		scheduled(a, env, o);
	if (!sched_blocked(&a->sched) && !a->fetch)
		o->next_due = env_wall(env) + (wait > 0 ? wait : 0);
}
