/*
 * A thread that waits for the disk; see syncer.h.
 *
 * Owns the thread and all descriptors. `error` and `ending` are handed over by the two eventfds:
 * whoever has written to one does not touch them before he has read from the other.
 */
#include "syncer.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STACK_OCTETS (64 * 1024)

struct syncer {
	int fd, go, done;
	pthread_t thread;
	bool started;
	atomic_bool ending;
	atomic_int error;
	struct event *answered, *slow;
	msec_t slow_ms;
	char *path;
	syncer_fn *fn;
	void *ctx;
};

static void tell(int fd)
{
	while (eventfd_write(fd, 1) && errno == EINTR)
		;
}

static bool hear(int fd)
{
	eventfd_t n;
	int rc;

	while ((rc = eventfd_read(fd, &n)) && errno == EINTR)
		;
	return !rc;
}

static void *work(void *arg)
{
	struct syncer *s = arg;

	while (hear(s->go) && !s->ending) {
		s->error = fdatasync(s->fd) ? errno : 0;
		tell(s->done);
	}
	return NULL;
}

static void on_answer(evutil_socket_t fd, short what, void *arg)
{
	struct syncer *s = arg;
	struct err err;

	if (!hear(s->done))
		return;
	event_del(s->slow);
	if (s->error)
		err_set(&err, ERR_LOCAL, s->error, "%s: cannot be made durable: %s", s->path,
			strerror(s->error));
	s->fn(s->ctx, s->error ? &err : NULL);
}

static void on_slow(evutil_socket_t fd, short what, void *arg)
{
	struct syncer *s = arg;
	struct err err;

	err_set(&err, ERR_TIMEOUT, 0, "%s: the disk has not answered for %lld s; look at it",
		s->path, (long long)s->slow_ms / 1000);
	s->fn(s->ctx, &err);
}

/* Signals are the loop's. */
static bool start_thread(struct syncer *s)
{
	pthread_attr_t attributes;
	sigset_t all, before;

	sigfillset(&all);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_OCTETS);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	s->started = !pthread_create(&s->thread, &attributes, work, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return s->started;
}

struct syncer *syncer_new(
	struct event_base *base, const char *path, msec_t slow_ms, syncer_fn *fn, void *ctx)
{
	struct syncer *s = mem_zalloc(sizeof *s);

	s->path = mem_strdup(path);
	s->slow_ms = slow_ms;
	s->fn = fn;
	s->ctx = ctx;
	s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	s->go = eventfd(0, EFD_CLOEXEC);
	s->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->fd < 0 || s->go < 0 || s->done < 0 || !start_thread(s)) {
		syncer_free(s);
		return NULL;
	}
	s->answered = event_new(base, s->done, EV_READ | EV_PERSIST, on_answer, s);
	event_add(s->answered, NULL);
	s->slow = event_new(base, -1, 0, on_slow, s);
	return s;
}

void syncer_start(struct syncer *s)
{
	event_add(s->slow,
		&(struct timeval){
			.tv_sec = s->slow_ms / 1000, .tv_usec = s->slow_ms % 1000 * 1000 });
	tell(s->go);
}

void syncer_free(struct syncer *s)
{
	if (!s)
		return;
	if (s->started) {
		s->ending = true;
		tell(s->go);
		pthread_join(s->thread, NULL);
	}
	if (s->answered)
		event_free(s->answered);
	if (s->slow)
		event_free(s->slow);
	int fds[] = { s->fd, s->go, s->done };
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(s->path);
	free(s);
}
