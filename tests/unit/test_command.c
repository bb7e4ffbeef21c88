/* Programs that are run for what they print: real ones, on a loop of the test's own. */
#include "command.h"
#include "runner.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MSEC 20000 /* of the test: a program that should end does so sooner */

struct outcome {
	struct event_base *base;
	unsigned calls;
	struct strbuf output;
	struct err err;
};

static void on_done(void *ctx, struct strview output, const struct err *err)
{
	struct outcome *o = ctx;

	o->calls++;
	strbuf_addv(&o->output, output);
	o->err = err ? *err : (struct err){ 0 };
	event_base_loopbreak(o->base);
}

static void begin(void *ctx)
{
}

static bool may_run(void *ctx, const char *line)
{
	return !strstr(line, "stranger");
}

/* For this test alone: it has the environment of now. */
static int start_runner(void)
{
	const struct runner_ops ops = { .begin = begin, .may_run = may_run };
	struct err err;
	int fd;

	assert_int_equal(runner_start(&ops, &fd, &err), 0);
	return fd;
}

static int runner;

static int set_up(void **state)
{
	runner = start_runner();
	return 0;
}

static int tear_down(void **state)
{
	close(runner);
	assert_int_equal(waitpid(-1, NULL, 0) > 0, 1); /* it ends with us */
	return 0;
}

static struct outcome run(struct event_base *base, const char *line, uint32_t timeout_ms)
{
	struct outcome o = { .base = base };
	const struct command_ops ops = { on_done, &o, timeout_ms };
	struct command *c;

	if (command_run(base, runner, line, &ops, &c, &o.err))
		return o;
	event_base_dispatch(base);
	assert_int_equal(o.calls, 1);
	return o;
}

/* What it printed and how it failed, in one string. */
static void expect(struct event_base *base, const char *line, const char *output, const char *error)
{
	struct outcome o = run(base, line, PATIENCE_MSEC);

	assert_string_equal(strbuf_str(&o.output), output);
	if (!*error)
		assert_int_equal(o.err.class, ERR_NONE);
	else if (!strstr(o.err.text, error))
		fail_msg("%s: \"%s\" is not in \"%s\"", line, error, o.err.text);
	strbuf_free(&o.output);
}

static void test_output(void **state)
{
	static const struct {
		const char *line, *output, *error;
	} rows[] = {
		/* plain: words and blanks, no shell */
		{ "echo token", "token", "" },
		{ "  echo   a  b  ", "a b", "" },
		{ "echo -n token", "token", "" },
		{ "/bin/echo --user=me", "--user=me", "" },
		/* a shell's: quotes, expansions, pipes, assignments */
		{ "printf 'a b\\n\\n'", "a b\n", "" },
		{ "echo $((2 + 3))", "5", "" },
		{ "echo a | tr a b", "b", "" },
		{ "X=1 env -u PATH /usr/bin/printenv X", "1", "" },
		{ "true", "", "" },
		/* failures */
		{ "false", "", "password_command failed with exit status 1" },
		{ "printf token; exit 3", "", "failed with exit status 3" },
		{ "echo token; kill -9 $$", "", "was ended by signal 9" },
		{ "printf 'no\\033[2J network\\nsecond\\n' >&2; exit 4", "",
			"exit status 4: no\\x1b[2J network" },
		{ "/usr/bin/no-such-helper", "", "/usr/bin/no-such-helper: No such file" },
		{ "   ", "", "is empty" },
		{ "echo stranger", "", "is not in the configuration" },
	};
	struct event_base *base = event_base_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect(base, rows[i].line, rows[i].output, rows[i].error);
	event_base_free(base);
}

static void test_only_the_first_line_of_errors(void **state)
{
	struct event_base *base = event_base_new();
	struct outcome o = run(base, "echo one >&2; echo two >&2; exit 1", PATIENCE_MSEC);

	assert_non_null(strstr(o.err.text, ": one"));
	assert_null(strstr(o.err.text, "two"));
	strbuf_free(&o.output);
	event_base_free(base);
}

static void test_output_limit(void **state)
{
	static const struct {
		uint32_t octets;
		enum err_class class;
	} rows[] = { { COMMAND_OUTPUT_OCTETS - 1, ERR_NONE }, { COMMAND_OUTPUT_OCTETS, ERR_NONE },
		{ COMMAND_OUTPUT_OCTETS + 1, ERR_LIMIT }, { 100 * 1000 * 1000, ERR_LIMIT } };
	struct event_base *base = event_base_new();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char line[100];
		snprintf(line, sizeof line, "head -c %u /dev/zero", rows[i].octets);
		struct outcome o = run(base, line, PATIENCE_MSEC);
		assert_int_equal(o.err.class, rows[i].class);
		assert_int_equal(o.output.len, rows[i].class ? 0 : rows[i].octets);
		strbuf_free(&o.output);
	}
	event_base_free(base);
}

static void test_errors_are_drained(void **state)
{
	struct event_base *base = event_base_new();

	expect(base, "head -c 1000000 /dev/zero >&2; echo token", "token", "");
	event_base_free(base);
}

/* Its children go with it: nobody may hold the pipe and the time. */
static void test_timeout(void **state)
{
	struct event_base *base = event_base_new();
	struct outcome o = run(base, "sleep 1000 & sleep 1000", 50);

	assert_int_equal(o.err.class, ERR_TIMEOUT);
	strbuf_free(&o.output);
	event_base_free(base);
}

static void test_environment(void **state)
{
	struct event_base *base = event_base_new();
	int old = runner, fresh;

	setenv("HOME", "/var/somebody", 1);
	setenv("PATH", "/usr/bin:/bin", 1);
	setenv("CREDENTIALS_DIRECTORY", "/run/c", 1);
	setenv("SOMETHING_ELSE", "x", 1);
	runner = fresh = start_runner();
	expect(base, "env", "PATH=/usr/bin:/bin\nHOME=/var/somebody\nCREDENTIALS_DIRECTORY=/run/c",
		"");
	unsetenv("CREDENTIALS_DIRECTORY");
	close(fresh);
	runner = old;
	event_base_free(base);
}

/* No descriptor of ours, no ignored signal, no input: what a child of a daemon may expect. */
static void test_nothing_is_inherited(void **state)
{
	struct event_base *base = event_base_new();
	int fd = dup(1);

	assert_true(fd > 2);
	signal(SIGPIPE, SIG_IGN);
	expect(base, "ls -1 /proc/self/fd | head -n -1", "0\n1\n2", "");
	expect(base, "kill -PIPE $$", "", "was ended by signal 13");
	expect(base, "cat", "", "");
	close(fd);
	event_base_free(base);
}

static void test_freed_while_it_runs(void **state)
{
	struct event_base *base = event_base_new();
	struct outcome o = { .base = base };
	const struct command_ops ops = { on_done, &o, PATIENCE_MSEC };
	struct command *c;

	assert_int_equal(command_run(base, runner, "sleep 1000", &ops, &c, &o.err), 0);
	command_free(c);
	event_base_dispatch(base);
	assert_int_equal(o.calls, 0);
	event_base_free(base);
}

static void test_two_at_once(void **state)
{
	struct event_base *base = event_base_new();
	struct outcome first = { .base = base }, second = { .base = base };
	const struct command_ops a = { on_done, &first, PATIENCE_MSEC };
	const struct command_ops b = { on_done, &second, PATIENCE_MSEC };
	struct command *c;

	assert_int_equal(command_run(base, runner, "echo one", &a, &c, &first.err), 0);
	assert_int_equal(command_run(base, runner, "echo two", &b, &c, &second.err), 0);
	while (!first.calls || !second.calls)
		event_base_loop(base, EVLOOP_ONCE);
	assert_string_equal(strbuf_str(&first.output), "one");
	assert_string_equal(strbuf_str(&second.output), "two");
	strbuf_free(&first.output);
	strbuf_free(&second.output);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_output, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_only_the_first_line_of_errors, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_output_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_errors_are_drained, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_timeout, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_environment, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nothing_is_inherited, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_freed_while_it_runs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_two_at_once, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
