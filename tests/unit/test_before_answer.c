/*
 * What a relay has accepted is written before a page or the answer to a command is made, however
 * long that takes: a kill meanwhile sends nothing twice. What may wait, waits. The store here
 * is a fake that notes when it is written. And whoever waits at a socket that makes way for another
 * has his answer too.
 */
#include "control.h"
#include "http.h"
#include "system.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct store {
	struct strbuf seen; /* in order: + written, A an answer was made */
	bool open, urgent;
};

bool store_dirty(const struct store *s)
{
	return s->open;
}

bool store_urgent(const struct store *s)
{
	return s->open && s->urgent;
}

int store_write(struct store *s, struct err *err)
{
	if (s->open)
		strbuf_addc(&s->seen, '+');
	s->open = false;
	return 0;
}

int store_commit(struct store *s, struct err *err)
{
	return store_write(s, err);
}

int store_end(struct store *s, struct err *err)
{
	return store_write(s, err);
}

uint64_t store_unsynced(const struct store *s)
{
	return 0;
}

void store_synced(struct store *s, uint64_t mark)
{
}

void store_rollback(struct store *s)
{
	fail();
}

struct fixture {
	struct env env;
	struct store store;
	char folder[40], path[60];
};

static int setup(void **state)
{
	struct fixture *fx = mem_zalloc(sizeof *fx);
	struct err err;

	fx->env.clock = &system_clock;
	fx->env.store = &fx->store;
	turn_init(&fx->env.turn, &fx->store);
	assert_int_equal(loop_init(&fx->env.loop, &system_clock, &err), 0);
	snprintf(fx->folder, sizeof fx->folder, "/tmp/multidropd-answer-XXXXXX");
	assert_non_null(mkdtemp(fx->folder));
	snprintf(fx->path, sizeof fx->path, "unix:%s/socket", fx->folder);
	*state = fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	loop_free(&fx->env.loop);
	assert_int_equal(rmdir(fx->folder), 0);
	strbuf_free(&fx->store.seen);
	mem_freep(&fx);
	return 0;
}

static const char *socket_path(const struct fixture *fx)
{
	return fx->path + strlen("unix:");
}

static int connected(const struct fixture *fx, const char *request)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path(fx));
	assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(write(fd, request, strlen(request)), strlen(request));
	return fd;
}

static void turn_until_answered(struct fixture *fx)
{
	while (!strchr(strbuf_str(&fx->store.seen), 'A'))
		assert_int_equal(event_base_loop(fx->env.loop.base, EVLOOP_ONCE), 0);
}

/* Sends a request, and turns the loop until its answer was made: in what order, with the write? */
static void ask(struct fixture *fx, const char *request, bool urgent, const char *seen)
{
	fx->store.open = true;
	fx->store.urgent = urgent;
	strbuf_clear(&fx->store.seen);
	int fd = connected(fx, request);
	turn_until_answered(fx);
	assert_string_equal(strbuf_str(&fx->store.seen), seen);
	close(fd);
}

/* He has asked, and the socket where nobody has looked after him yet is gone. */
static void is_not_sent_away(struct fixture *fx, int fd)
{
	char buf[1];

	assert_int_equal(recv(fd, buf, sizeof buf, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN); /* no end, no reset */
	turn_until_answered(fx);
	close(fd);
}

static void answer_page(void *ctx, const struct http_request *request, struct http_answer *answer)
{
	struct fixture *fx = ctx;

	strbuf_addc(&fx->store.seen, 'A');
	*answer = (struct http_answer){ .status = 200, .type = "text/plain", .body = SV("ok\n") };
}

static void before_a_page(void **state)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
	struct fixture *fx = *state;
	struct http_ops ops = { .answer = answer_page, .ctx = fx };
	struct http *http = http_new(&fx->env, &ops);
	struct err err;

	assert_int_equal(http_listen(http, fx->path, &err), 0);
	ask(fx, request, true, "+A");
	ask(fx, request, false, "A");
	strbuf_clear(&fx->store.seen);
	int fd = connected(fx, request);
	assert_int_equal(unlink(socket_path(fx)), 0);
	assert_int_equal(http_listen(http, fx->path, &err), 0);
	is_not_sent_away(fx, fd);
	http_free(http);
}

static void on_request(
	void *ctx, struct control_client *client, const struct control_request *request)
{
	struct fixture *fx = ctx;

	strbuf_addc(&fx->store.seen, 'A');
	control_end(client, 0);
}

static void on_gone(void *ctx, struct control_client *client)
{
	fail();
}

static void before_an_answer_to_a_command(void **state)
{
	struct fixture *fx = *state;
	struct control_ops ops = { .on_request = on_request, .on_gone = on_gone, .ctx = fx };
	struct control *control = control_new(&fx->env, &ops);
	struct err err;

	assert_int_equal(control_listen(control, socket_path(fx), &err), 0);
	ask(fx, "control/1 status\n", true, "+A");
	ask(fx, "control/1 status\n", false, "A");
	strbuf_clear(&fx->store.seen);
	int fd = connected(fx, "control/1 status\n");
	assert_int_equal(unlink(socket_path(fx)), 0);
	assert_int_equal(control_listen(control, socket_path(fx), &err), 0);
	is_not_sent_away(fx, fd);
	control_free(control);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(before_a_page, setup, teardown),
		cmocka_unit_test_setup_teardown(before_an_answer_to_a_command, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
