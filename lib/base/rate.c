/* Login limits; see rate.h. */
#include "base/rate.h"

msec_t rate_wait(const struct rate_rule *rule, msec_t last, const msec_t *ages, size_t n)
{
	msec_t wait = 0;

	if (last >= 0 && last < rule->spacing_ms)
		wait = rule->spacing_ms - last;
	if (rule->limit && n >= rule->limit) {
		/* The login that has to leave the window before there is room for one more. */
		msec_t age = ages[rule->limit - 1];
		if (age < rule->window_ms && rule->window_ms - age > wait)
			wait = rule->window_ms - age;
	}
	return wait;
}
