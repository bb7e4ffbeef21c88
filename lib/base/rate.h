/*
 * When may the next login happen? The arithmetic of the provider's patience, without a clock or
 * store.
 *
 * Two rules, both hard: an account's logins are `spacing_ms` apart, start to start, and all
 * accounts of a provider together log in at most `limit` times in any `window_ms`.
 */
#pragma once

#include "base/clock.h"

struct rate_rule {
	msec_t spacing_ms; /* between two logins of one account; 0: none */
	uint32_t limit;    /* logins of the provider per window; 0: no limit */
	msec_t window_ms;
};

/*
 * last: age in ms of this account's latest login, < 0 when there was none.
 * ages: ages in ms of the provider's logins, youngest first, n of them (older ones than the window
 *       may be left out).
 * Returns 0 when a login may happen now, else the milliseconds to wait.
 */
msec_t rate_wait(const struct rate_rule *rule, msec_t last, const msec_t *ages, size_t n);
