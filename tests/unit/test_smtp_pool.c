/* The relay's pool: how many connections, one probe while it is down, back-off, retirement. */
#include "core/smtp_pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void decides_the_next_step(void **state)
{
	static const struct {
		struct smtp_pool p;
		size_t jobs;
		msec_t now;
		enum pool_step step;
	} rows[] = {
		{ { .max_connections = 4 }, 0, 0, POOL_WAIT },
		{ { .max_connections = 4 }, 1, 0, POOL_OPEN },
		{ { .max_connections = 4, .idle = 1 }, 0, 0, POOL_WAIT },
		{ { .max_connections = 4, .idle = 1, .busy = 3 }, 1, 0, POOL_USE_IDLE },
		/* one connection per waiting job, not more */
		{ { .max_connections = 4, .connecting = 1 }, 1, 0, POOL_WAIT },
		{ { .max_connections = 4, .connecting = 1 }, 2, 0, POOL_OPEN },
		{ { .max_connections = 4, .busy = 3 }, 1, 0, POOL_OPEN },
		/* S19: whatever a session does, it counts */
		{ { .max_connections = 4, .busy = 4 }, 50, 0, POOL_WAIT },
		{ { .max_connections = 4, .connecting = 4 }, 50, 0, POOL_WAIT },
		{ { .max_connections = 4, .leaving = 4 }, 50, 0, POOL_WAIT },
		{ { .max_connections = 4, .connecting = 1, .busy = 2, .leaving = 1 }, 50, 0,
			POOL_WAIT },
		{ { .max_connections = 4, .connecting = 1, .busy = 1, .leaving = 1 }, 50, 0,
			POOL_OPEN },
		/* S35: down: one probe, and not before its time */
		{ { .max_connections = 4, .down = true, .retry_at = 100 }, 50, 99, POOL_WAIT },
		{ { .max_connections = 4, .down = true, .retry_at = 100 }, 50, 100, POOL_OPEN },
		{ { .max_connections = 4, .down = true, .retry_at = 100, .connecting = 1 }, 50, 100,
			POOL_WAIT },
		{ { .max_connections = 4, .down = true, .retry_at = 100 }, 0, 100, POOL_WAIT },
		/* an idle session is used, whatever happened to another one's connect */
		{ { .max_connections = 4, .idle = 1, .retry_at = 100 }, 1, 50, POOL_USE_IDLE },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (smtp_pool_step(&rows[i].p, rows[i].jobs, rows[i].now) != rows[i].step)
			fail_msg("row %zu", i);
}

static uint32_t sessions(const struct smtp_pool *p)
{
	return p->connecting + p->idle + p->busy + p->leaving;
}

static uint32_t chance_of(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Something happens to one session, if one is where it can happen. */
static void happen(struct smtp_pool *p, uint32_t what, msec_t now)
{
	bool ignored;

	switch (what % 8) {
	case 0:
	case 1:
		if (p->connecting)
			smtp_pool_ready(p, &ignored);
		break;
	case 2:
		if (p->connecting)
			smtp_pool_failed(p, now, what, &ignored);
		break;
	case 3:
	case 4:
		if (p->busy)
			smtp_pool_done(p);
		break;
	case 5:
		if (p->busy)
			smtp_pool_lost(&p->busy);
		break;
	case 6:
		if (p->idle)
			smtp_pool_leaving(p);
		break;
	default:
		if (p->leaving)
			smtp_pool_lost(&p->leaving);
	}
}

/* S19: 20,000 steps of a pool with any luck: never above its maximum, one probe while down. */
static void never_opens_more_than_allowed(void **state)
{
	for (uint32_t max = 1; max <= 5; max++) {
		struct smtp_pool p = { .max_connections = max };
		uint32_t seed = max, most = 0, probes = 0;
		for (msec_t now = 0; now < 20000000; now += 1000) {
			uint32_t luck = chance_of(&seed);
			enum pool_step step = smtp_pool_step(&p, luck % 7, now);
			if (step == POOL_OPEN) {
				assert_true(!p.down || (!p.connecting && now >= p.retry_at));
				probes += p.down;
				smtp_pool_opening(&p);
			} else if (step == POOL_USE_IDLE) {
				smtp_pool_busy(&p);
			}
			assert_in_range(sessions(&p), 0, max);
			most = sessions(&p) > most ? sessions(&p) : most;
			happen(&p, chance_of(&seed), now);
		}
		assert_int_equal(most, max); /* what may be used is used */
		assert_true(probes > 0);
	}
}

static void backoff_grows_is_capped_and_ends(void **state)
{
	static const msec_t waits[] = { 5000, 10000, 20000, 40000, 80000, 160000, 300000, 300000 };
	struct smtp_pool p = { .max_connections = 2 };
	msec_t now = 1000;
	bool changed;

	for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
		assert_int_equal(smtp_pool_step(&p, 9, now), POOL_OPEN);
		smtp_pool_opening(&p);
		smtp_pool_failed(&p, now, 0, &changed);
		assert_int_equal(changed, i == 0); /* relay.down is said once */
		assert_int_equal(p.retry_at - now, waits[i]);
		assert_int_equal(smtp_pool_step(&p, 9, p.retry_at - 1), POOL_WAIT);
		now = p.retry_at;
	}
	smtp_pool_opening(&p);
	smtp_pool_ready(&p, &changed);
	assert_true(changed); /* relay.up */
	assert_false(p.down);
	smtp_pool_busy(&p);
	assert_int_equal(smtp_pool_step(&p, 9, now), POOL_OPEN); /* no pause is left over */
	smtp_pool_opening(&p);
	smtp_pool_ready(&p, &changed);
	assert_false(changed);
	smtp_pool_lost(&p.idle);
	smtp_pool_lost(&p.busy);
	smtp_pool_opening(&p);
	smtp_pool_failed(&p, now, 0, &changed);
	assert_true(changed);
	assert_int_equal(p.retry_at - now, SMTP_POOL_RETRY_MIN_MSEC);
}

static void jitter_stays_within_a_tenth(void **state)
{
	static const uint32_t chances[] = { 0, 1, 499, 500, 501, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_LEN(chances); i++) {
		struct smtp_pool p = { .max_connections = 1 };
		bool changed;
		smtp_pool_opening(&p);
		smtp_pool_failed(&p, 0, chances[i], &changed);
		assert_in_range(p.retry_at, SMTP_POOL_RETRY_MIN_MSEC,
			SMTP_POOL_RETRY_MIN_MSEC + SMTP_POOL_RETRY_MIN_MSEC / 10 - 1);
	}
}

/* The relay takes no more connections than it has: that is its limit, it is not down. */
static void a_refused_extra_connection_is_no_outage(void **state)
{
	struct smtp_pool p = { .max_connections = 4, .busy = 1, .connecting = 1 };
	bool changed;

	smtp_pool_failed(&p, 1000, 0, &changed);
	assert_false(changed);
	assert_false(p.down);
	assert_int_equal(smtp_pool_step(&p, 5, 1000), POOL_WAIT);
	smtp_pool_done(&p);
	assert_int_equal(smtp_pool_step(&p, 5, 1000), POOL_USE_IDLE);
}

/* S18: a pooled connection that the peer closed while idle is no failure: a fresh one at once. */
static void a_session_lost_while_idle_costs_nothing(void **state)
{
	struct smtp_pool p = { .max_connections = 1, .idle = 1 };

	smtp_pool_lost(&p.idle);
	assert_int_equal(sessions(&p), 0);
	assert_int_equal(p.failures, 0);
	assert_int_equal(smtp_pool_step(&p, 1, 0), POOL_OPEN);
}

static void retires_after_so_many_messages(void **state)
{
	struct smtp_pool p = { .max_messages = 100 };

	assert_false(smtp_pool_retire(&p, 99));
	assert_true(smtp_pool_retire(&p, 100));
	assert_true(smtp_pool_retire(&p, 101));
	p.max_messages = 0;
	assert_false(smtp_pool_retire(&p, UINT32_MAX));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(decides_the_next_step),
		cmocka_unit_test(never_opens_more_than_allowed),
		cmocka_unit_test(backoff_grows_is_capped_and_ends),
		cmocka_unit_test(jitter_stays_within_a_tenth),
		cmocka_unit_test(a_refused_extra_connection_is_no_outage),
		cmocka_unit_test(a_session_lost_while_idle_costs_nothing),
		cmocka_unit_test(retires_after_so_many_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
