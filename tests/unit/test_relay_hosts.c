/* A relay's hosts: their order while some are down, and the way back to the first. */
#include "core/relay_hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MIN RELAY_HOST_RETRY_MIN_MSEC
#define MAX RELAY_HOST_RETRY_MAX_MSEC

static int setup(void **state)
{
	static struct relay_hosts hosts;

	relay_hosts_init(&hosts, 3);
	*state = &hosts;
	return 0;
}

static int teardown(void **state)
{
	relay_hosts_free(*state);
	return 0;
}

static void test_in_order(void **state)
{
	struct relay_hosts *h = *state;

	assert_int_equal(relay_hosts_first(h, 0), 0);
	assert_int_equal(relay_hosts_failed(h, 0, 0), 1);
	assert_int_equal(relay_hosts_failed(h, 1, 0), 2);
	relay_hosts_ready(h, 2);
	assert_int_equal(relay_hosts_first(h, 0), 2);
}

static void test_back_to_the_first(void **state)
{
	struct relay_hosts *h = *state;

	assert_int_equal(relay_hosts_failed(h, 0, 0), 1);
	relay_hosts_ready(h, 1);
	assert_int_equal(relay_hosts_first(h, MIN - 1), 1);
	assert_false(relay_hosts_outdated(h, 1, MIN - 1));
	assert_true(relay_hosts_outdated(h, 1, MIN));
	assert_int_equal(relay_hosts_first(h, MIN), 0);
	relay_hosts_ready(h, 0);
	assert_false(relay_hosts_outdated(h, 0, MIN));
	/* all is forgotten: the next failure has the shortest pause */
	assert_int_equal(relay_hosts_failed(h, 0, MIN), 1);
	assert_int_equal(relay_hosts_first(h, 2 * MIN), 0);
}

static void test_the_pause_grows(void **state)
{
	struct relay_hosts *h = *state;
	msec_t now = 0, pause = MIN;

	for (int i = 0; i < 20; i++) {
		assert_int_equal(relay_hosts_failed(h, 0, now), 1);
		assert_int_equal(relay_hosts_first(h, now + pause - 1), 1);
		now += pause;
		assert_int_equal(relay_hosts_first(h, now), 0);
		pause = 2 * pause < MAX ? 2 * pause : MAX;
	}
}

static void test_side_by_side_is_one_failure(void **state)
{
	struct relay_hosts *h = *state;

	for (int i = 0; i < 4; i++)
		assert_int_equal(relay_hosts_failed(h, 0, 0), 1);
	assert_int_equal(relay_hosts_failed(h, 0, 2 * MIN), 1);
	assert_int_equal(relay_hosts_first(h, 4 * MIN), 0);
}

static void test_none_left(void **state)
{
	struct relay_hosts *h = *state;

	assert_int_equal(relay_hosts_failed(h, 0, 0), 1);
	assert_int_equal(relay_hosts_failed(h, 1, 0), 2);
	assert_int_equal(relay_hosts_failed(h, 2, 0), 3);
	/* the relay is down, and the next round has all of them */
	assert_int_equal(relay_hosts_first(h, 1), 0);
	assert_int_equal(relay_hosts_failed(h, 0, 1), 1);
}

static void test_alone(void **state)
{
	struct relay_hosts h;

	relay_hosts_init(&h, 1);
	assert_int_equal(relay_hosts_first(&h, 0), 0);
	assert_int_equal(relay_hosts_failed(&h, 0, 0), 1);
	assert_int_equal(relay_hosts_first(&h, 0), 0);
	assert_false(relay_hosts_outdated(&h, 0, 0));
	relay_hosts_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_back_to_the_first, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_pause_grows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_side_by_side_is_one_failure, setup, teardown),
		cmocka_unit_test_setup_teardown(test_none_left, setup, teardown),
		cmocka_unit_test(test_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
