/*
 * The daemon under test: app_run() in a child process, again and again; see sim_world.h.
 *
 * Owns the process, its configuration and its state directory. Only the child ever runs daemon
 * code, so that a killed one is replaced by a fresh fork of a process without threads. Between two
 * cycles the child has the state closed.
 */
#include "sim_world.h"

#include "app.h"
#include "conf_file.h"
#include "log_sink.h"
#include "store_sqlite.h"
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define ACCOUNT "box"

struct daemon {
	pid_t pid; /* 0: none */
	int fd;
	bool verbose;
	char dir[64];
	struct config *config;
	struct strbuf lock, slot, redo, conf; /* paths */
};

/* Of the simulated machine: a power loss begins another one. The children inherit it. */
static char boot[24];
static unsigned boots;

static const char *boot_fn(struct clock *c)
{
	return boot;
}

static void next_boot(void)
{
	snprintf(boot, sizeof boot, "boot%u", boots++);
}

/* libevent does without: one system call less in each turn of the daemon's loop. */
int timerfd_create(int clock, int flags)
{
	errno = ENOSYS;
	return -1;
}

static void write_file(const struct strbuf *path, struct strview content)
{
	int fd = open(path->ptr, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ensure(fd >= 0 && write(fd, content.ptr, content.len) == (ssize_t)content.len);
	close(fd);
}

/* ---- the process ---- */

static _Noreturn void be_the_daemon(struct daemon *d, int fd)
{
	struct app_options options = { .config_path = d->conf.ptr, .once = true, .runner = -1 };
	char status = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (d->verbose)
		log_sink_open(LOG_FORMAT_TEXT, LVL_DEBUG);
	while (read(fd, &status, 1) == 1) {
		status = (char)app_run(config_ref(d->config), &options);
		if (write(fd, &status, 1) != 1)
			break;
	}
	exit(0); /* not _exit(): the leak check comes at the end */
}

static void start_process(struct daemon *d)
{
	int pair[2];

	ensure(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	fflush(NULL); /* else it would be written twice */
	d->pid = fork();
	ensure(d->pid >= 0);
	if (!d->pid) {
		close(pair[0]);
		be_the_daemon(d, pair[1]);
	}
	close(pair[1]);
	d->fd = pair[0];
}

void daemon_start_cycle(struct daemon *d)
{
	if (!d->pid)
		start_process(d);
	disk_settle();
	ensure(send(d->fd, "", 1, MSG_NOSIGNAL) == 1);
}

int daemon_fd(const struct daemon *d)
{
	return d->pid ? d->fd : -1;
}

/* Its wait status. */
static int bury(struct daemon *d)
{
	int status = 0;

	close(d->fd);
	ensure(waitpid(d->pid, &status, 0) == d->pid);
	d->pid = 0;
	return status;
}

int daemon_take_status(struct daemon *d, struct world *w)
{
	char status;

	if (read(d->fd, &status, 1) == 1)
		return status;
	world_break(w, "the daemon died by itself (wait status %#x)", (unsigned)bury(d));
	return -1;
}

void daemon_kill(struct daemon *d, bool power)
{
	if (!d->pid)
		return;
	kill(d->pid, SIGKILL);
	(void)bury(d); /* we know why */
	if (power) {   /* the redo log stays, whole: as useless as anything that may stand there */
		disk_lose_unsynced();
		next_boot();
	}
}

void daemon_stop(struct daemon *d, struct world *w)
{
	if (!d->pid)
		return;
	shutdown(d->fd, SHUT_WR);
	int status = bury(d);
	if (status)
		world_break(
			w, "the daemon's end was not clean (wait status %#x)", (unsigned)status);
}

/* ---- life ---- */

void daemon_configure(struct daemon *d, const struct scenario *s, uint16_t pop3, uint16_t smtp)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;
	AUTO(strbuf_free) struct strbuf said = STRBUF_INIT;
	struct faults faults = { 0 };

	strbuf_addf(&text,
		"hostname = \"h.e\"\nstate_dir = \"%s\"\n"
		"provider \"p\" {\n\thost = \"127.0.0.1\"\n\tport = %u\n\ttls = \"none\"\n"
		"\tmin_interval = \"0s\"\n\tlogin_limit = 10000\n"
		"\tenvelope \"X-To\" { pick = \"all\" }\n}\n"
		"relay \"r\" {\n\thost = \"127.0.0.1\"\n\tport = %u\n\tprotocol = \"%s\"\n"
		"\ttls = \"none\"\n\tconnections = %u\n}\n"
		"account \"" ACCOUNT "\" {\n\tprovider = \"p\"\n\trelay = \"r\"\n\tuser = \"u\"\n"
		"\tpassword = \"p\"\n\tdomains = { \"f.e\" }\n\tkeep = \"%s\"\n"
		"\tdedupe = \"%s\"\n}\n",
		d->dir, pop3, smtp, s->lmtp ? "lmtp" : "smtp", s->connections,
		s->keep ? "forever" : "none", s->dedupe);
	write_file(&d->conf, strbuf_view(&text));
	config_unref(d->config);
	d->config = conf_file_load(d->conf.ptr, &faults);
	faults_print(&faults, &said);
	if (!d->config)
		fputs(strbuf_str(&said), stderr);
	ensure(d->config);
	faults_free(&faults);
	disk_forget();
	daemon_forget(d);
}

void daemon_forget(struct daemon *d)
{
	disk_reset();
	ensure(!truncate(d->redo.ptr, 0) || errno == ENOENT);
}

/*
 * What a process does only once, it need not do again after each kill: the children inherit it.
 * Also memory that was freed stays, since asking the kernel for it anew is most of a short life.
 */
static void warm_up(struct daemon *d)
{
	struct store *store;
	struct err err;
	unsigned char out[EVP_MAX_MD_SIZE];

	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TOP_PAD, 1 << 20);
	ensure(HMAC(EVP_sha256(), "", 0, out, 0, out, NULL));
	ensure(!store_open(d->dir, &system_clock, &system_rng, &store, &err));
	store_close(store);
	disk_reset();
}

struct daemon *daemon_new(bool verbose)
{
	struct daemon *d = mem_zalloc(sizeof *d);
	const char *base = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";

	d->verbose = verbose;
	snprintf(d->dir, sizeof d->dir, "%s/sim.XXXXXX", base);
	ensure(mkdtemp(d->dir));
	strbuf_addf(&d->lock, "%s/" ACCOUNT ".lock", d->dir);
	strbuf_addf(&d->slot, "%s/.session-p-0.lock", d->dir);
	strbuf_addf(&d->conf, "%s/conf", d->dir);
	strbuf_addf(&d->redo, "%s/" STORE_FILE "-redo0", d->dir);
	system_clock.boot = boot_fn;
	next_boot();
	disk_new();
	warm_up(d);
	return d;
}

void daemon_free(struct daemon *d)
{
	struct strbuf *paths[] = { &d->lock, &d->slot, &d->redo, &d->conf };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		(void)unlink(paths[i]->ptr); /* some of them are not there */
		strbuf_free(paths[i]);
	}
	(void)rmdir(d->dir); /* what is left there is worth a look */
	disk_free();
	config_unref(d->config);
	free(d);
}
