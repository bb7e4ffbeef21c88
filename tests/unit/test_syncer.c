/*
 * The wait for the disk beside the loop: each question has one answer, from the loop. That the disk
 * has the data then is fdatasync's matter, and tests/sim's what happens before it has.
 */
#include "syncer.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#define NEVER 3600000 /* ms, far longer than a test */

struct fixture {
	struct event_base *base;
	struct syncer *syncer;
	char path[32];
	int fd;
	unsigned answers;
	bool failed;
	struct err err; /* of the last answer */
};

/* The disk: its answer can be held back. */
static int held[2] = { -1, -1 };

int fdatasync(int fd)
{
	char go;

	if (held[0] >= 0)
		assert_int_equal(read(held[0], &go, 1), 1);
	return (int)syscall(SYS_fdatasync, fd);
}

static void on_answer(void *ctx, const struct err *err)
{
	struct fixture *fx = ctx;

	fx->answers++;
	fx->failed = err;
	if (err)
		fx->err = *err;
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

	fx->syncer = syncer_new(fx->base, fx->path, NEVER, on_answer, fx);
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(write(fx->fd, "x", 1), 1);
		syncer_start(fx->syncer);
		assert_int_equal(fx->answers, i - 1); /* not from within */
		event_base_loop(fx->base, EVLOOP_ONCE);
		assert_int_equal(fx->answers, i);
		assert_false(fx->failed);
	}
}

static void a_refusal_is_an_answer(void **state)
{
	struct fixture *fx = *state;

	fx->syncer = syncer_new(fx->base, "/dev/null", NEVER, on_answer, fx);
	syncer_start(fx->syncer);
	event_base_loop(fx->base, EVLOOP_ONCE);
	assert_int_equal(fx->answers, 1);
	assert_true(fx->failed);
	assert_int_equal(fx->err.class, ERR_LOCAL);
	assert_string_equal(fx->err.text, "/dev/null: cannot be made durable: Invalid argument");
}

/* It is waited for all the same. */
static void a_disk_that_does_not_answer_is_told_of(void **state)
{
	struct fixture *fx = *state;

	assert_int_equal(pipe(held), 0);
	fx->syncer = syncer_new(fx->base, fx->path, 1, on_answer, fx);
	syncer_start(fx->syncer);
	event_base_loop(fx->base, EVLOOP_ONCE);
	assert_int_equal(fx->answers, 1);
	assert_true(fx->failed);
	assert_int_equal(fx->err.class, ERR_TIMEOUT);
	assert_non_null(strstr(fx->err.text, fx->path));
	assert_int_equal(write(held[1], "", 1), 1);
	event_base_loop(fx->base, EVLOOP_ONCE);
	assert_int_equal(fx->answers, 2);
	assert_false(fx->failed);
	close(held[0]);
	close(held[1]);
	held[0] = -1;
}

static void it_may_end_with_a_question_open(void **state)
{
	struct fixture *fx = *state;

	fx->syncer = syncer_new(fx->base, fx->path, NEVER, on_answer, fx);
	syncer_start(fx->syncer);
	syncer_free(fx->syncer);
	fx->syncer = NULL;
	event_base_loop(fx->base, EVLOOP_NONBLOCK);
	assert_int_equal(fx->answers, 0);
}

static void there_is_none_for_a_file_that_is_not_there(void **state)
{
	struct fixture *fx = *state;

	assert_null(syncer_new(fx->base, "/tmp/syncer.none/none", NEVER, on_answer, fx));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(every_question_has_its_answer),
		TEST(a_refusal_is_an_answer),
		TEST(a_disk_that_does_not_answer_is_told_of),
		TEST(it_may_end_with_a_question_open),
		TEST(there_is_none_for_a_file_that_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
