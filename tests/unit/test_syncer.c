/*
 * The wait for the disk beside the loop: each question has one answer, from the loop. That the disk
 * has the data then is fdatasync's matter, and tests/sim's what happens before it has.
 */
#include "syncer.h"

#include "base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	struct event_base *base;
	struct syncer *syncer;
	char path[32];
	int fd;
	unsigned answers;
	int error;
};

static void on_answer(void *ctx, int error)
{
	struct fixture *fx = ctx;

	fx->answers++;
	fx->error = error;
}

static int setup(void **state)
{
	struct fixture *fx = mem_zalloc(sizeof *fx);

	fx->base = event_base_new();
	snprintf(fx->path, sizeof fx->path, "/tmp/syncer.XXXXXX");
	fx->fd = mkstemp(fx->path);
	assert_true(fx->fd >= 0);
	*state = fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	syncer_free(fx->syncer);
	event_base_free(fx->base);
	close(fx->fd);
	unlink(fx->path);
	free(fx);
	return 0;
}

static void every_question_has_its_answer(void **state)
{
	struct fixture *fx = *state;

	fx->syncer = syncer_new(fx->base, fx->path, on_answer, fx);
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(write(fx->fd, "x", 1), 1);
		syncer_start(fx->syncer);
		assert_int_equal(fx->answers, i - 1); /* not from within */
		event_base_loop(fx->base, EVLOOP_ONCE);
		assert_int_equal(fx->answers, i);
		assert_int_equal(fx->error, 0);
	}
}

static void a_refusal_is_an_answer(void **state)
{
	struct fixture *fx = *state;

	fx->syncer = syncer_new(fx->base, "/dev/null", on_answer, fx);
	syncer_start(fx->syncer);
	event_base_loop(fx->base, EVLOOP_ONCE);
	assert_int_equal(fx->answers, 1);
	assert_int_equal(fx->error, EINVAL);
}

static void it_may_end_with_a_question_open(void **state)
{
	struct fixture *fx = *state;

	fx->syncer = syncer_new(fx->base, fx->path, on_answer, fx);
	syncer_start(fx->syncer);
	syncer_free(fx->syncer);
	fx->syncer = NULL;
	event_base_loop(fx->base, EVLOOP_NONBLOCK);
	assert_int_equal(fx->answers, 0);
}

static void there_is_none_for_a_file_that_is_not_there(void **state)
{
	struct fixture *fx = *state;

	assert_null(syncer_new(fx->base, "/tmp/syncer.none/none", on_answer, fx));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(every_question_has_its_answer),
		TEST(a_refusal_is_an_answer),
		TEST(it_may_end_with_a_question_open),
		TEST(there_is_none_for_a_file_that_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
