/*
 * A provider at run time: what its accounts have in common, by its name, across configurations.
 *
 * Knows its sessions, the end of a used-up login_limit, and a limit that nobody told: some hosters
 * answer "login incorrect" when it is "too often". A password that was right a moment ago seldom is
 * wrong now, and two seldom become wrong within the hour; so such a refusal is taken for a limit,
 * and from then on all accounts together stay below what was too much, for a day.
 */
#pragma once

#include "fetch.h"

/* After so many logins within an hour, a refused password may be a limit in disguise. */
#define PROVIDER_MANY_LOGINS  10
#define PROVIDER_DOUBT_MSEC   (60 * 60 * 1000)
#define PROVIDER_LEARNED_MSEC (24 * 60 * 60 * 1000)

struct provider_run {
	char *name;
	size_t sessions;      /* running here */
	msec_t limited_until; /* its login_limit is used up until then */
	char *refused;        /* the account whose refusal was in doubt last, or NULL */
	msec_t refused_at;
	TAILQ_ENTRY(provider_run) entry;
};

struct provider_run *provider_new(const char *name);
void provider_free(struct provider_run *p);
/* ms until the disguised limit lets one more login through; 0: now. */
int provider_wait(const struct provider_run *p, struct env *env, msec_t *wait, struct err *err)
	must_check;
/*
 * A cycle has ended with f->err: if that is a limit in disguise, makes ERR_THROTTLE of it. right:
 * when its password was right last, by the wall clock (0: never); failed: its last cycle did, too.
 */
void provider_read_refusal(struct provider_run *p, struct fetch *f, wall_t right, bool failed);
