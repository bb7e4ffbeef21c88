/*
 * The sandbox: each call in a child that has closed it, since nobody gets out again. Built without
 * sanitizers, for which it is wider.
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KILLED 1000 /* by the filter */

/* The errno with which the call fails after sandbox_close(); 0; or KILLED. */
static int outcome(int (*call)(void))
{
	struct err err;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		if (sandbox_begin(&err) || sandbox_close(&err))
			_exit(255);
		errno = 0;
		_exit(call() < 0 ? errno : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? KILLED : -WTERMSIG(status);
	return WEXITSTATUS(status);
}

#define CALL(name, expression)                                                                     \
	static int name(void)                                                                      \
	{                                                                                          \
		return (expression);                                                               \
	}

static char *const argv[] = { (char *)"true", NULL }, *const envp[] = { NULL };
static struct iovec place = { .iov_base = &place, .iov_len = 1 }, there;

/* Nobody's programs, nobody's memory, none of the kernel's wide doors. */
CALL(run_program, execve("/bin/true", argv, envp))
CALL(run_descriptor, syscall(SYS_execveat, 0, "", argv, envp, AT_EMPTY_PATH))
CALL(trace, (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL))
CALL(read_parent, (int)process_vm_readv(getppid(), &place, 1, &there, 1, 0))
CALL(write_parent, (int)process_vm_writev(getppid(), &place, 1, &there, 1, 0))
CALL(take_descriptor, (int)syscall(SYS_pidfd_getfd, 0, 0, 0))
CALL(new_namespace, (int)syscall(SYS_unshare, 0))
CALL(enter_namespace, (int)syscall(SYS_setns, 0, 0))
CALL(mount_something, (int)syscall(SYS_mount, "none", "/mnt", "tmpfs", 0, NULL))
CALL(load_bpf, (int)syscall(SYS_bpf, 0, NULL, 0))
CALL(load_module, (int)syscall(SYS_init_module, NULL, 0, ""))
CALL(load_kernel, (int)syscall(SYS_kexec_load, 0, 0, NULL, 0))
CALL(open_events, (int)syscall(SYS_perf_event_open, NULL, 0, 0, -1, 0))
CALL(handle_faults, (int)syscall(SYS_userfaultfd, 0))
CALL(open_ring, (int)syscall(SYS_io_uring_setup, 1, NULL))

/* Nothing that the daemon does, but something that a library might try. */
CALL(new_process, fork())
CALL(signal_parent, kill(getppid(), 0))
CALL(become_nobody, setuid(65534))
CALL(change_root, chroot("/"))
CALL(talk_to_kernel, socket(AF_NETLINK, SOCK_RAW, 0))
CALL(talk_raw, socket(AF_PACKET, SOCK_RAW, 0))
CALL(be_dumpable, prctl(PR_SET_DUMPABLE, 1))
CALL(allow_cores, setrlimit(RLIMIT_CORE, &(struct rlimit){ 1, 1 }))
CALL(raise_limit, prlimit(0, RLIMIT_NOFILE, &(struct rlimit){ 8, 8 }, NULL))
CALL(type_into_terminal, (int)syscall(SYS_ioctl, 0, 0x5412 /* TIOCSTI */, "x"))
CALL(keep_keys, (int)syscall(SYS_keyctl, 0, 0, 0, 0, 0))
CALL(make_link, symlink("/etc/passwd", ""))

static int map(int protection)
{
	return mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1
											      : 0;
}

CALL(write_code, map(PROT_READ | PROT_WRITE | PROT_EXEC))

static int make_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

/* What it goes on doing. */
static void *thread(void *arg)
{
	return arg;
}

static int start_thread(void)
{
	pthread_t id;
	void *back = NULL;

	errno = pthread_create(&id, NULL, thread, &place);
	return errno || pthread_join(id, &back) || back != &place ? -1 : 0;
}

/* With the libraries that nsswitch.conf names, which are loaded now. */
static int resolve(void)
{
	struct addrinfo *list = NULL;
	int rc = getaddrinfo("localhost", "110", NULL, &list);

	if (!rc)
		freeaddrinfo(list);
	return rc ? -1 : 0;
}

CALL(read_file, open("/etc/passwd", O_RDONLY | O_CLOEXEC))
CALL(spool_file, open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600))
CALL(connect_out, socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0))
CALL(ask_name, prctl(PR_GET_NAME, (char[16]){ "" })) /* libsystemd aborts if it fails */
CALL(ask_limit, getrlimit(RLIMIT_NOFILE, &(struct rlimit){ 0 }))
CALL(map_memory, map(PROT_READ | PROT_WRITE))

static void test_calls(void **state)
{
	static const struct {
		const char *name;
		int (*call)(void);
		int expected;
	} rows[] = {
#define ROW(call, expected) { #call, call, expected }
		ROW(run_program, KILLED),
		ROW(run_descriptor, KILLED),
		ROW(trace, KILLED),
		ROW(read_parent, KILLED),
		ROW(write_parent, KILLED),
		ROW(take_descriptor, KILLED),
		ROW(new_namespace, KILLED),
		ROW(enter_namespace, KILLED),
		ROW(mount_something, KILLED),
		ROW(load_bpf, KILLED),
		ROW(load_module, KILLED),
		ROW(load_kernel, KILLED),
		ROW(open_events, KILLED),
		ROW(handle_faults, KILLED),
		ROW(open_ring, KILLED),

		ROW(new_process, ENOSYS),
		ROW(signal_parent, ENOSYS),
		ROW(become_nobody, ENOSYS),
		ROW(change_root, ENOSYS),
		ROW(talk_to_kernel, EAFNOSUPPORT),
		ROW(talk_raw, ENOSYS),
		ROW(be_dumpable, ENOSYS),
		ROW(allow_cores, ENOSYS),
		ROW(raise_limit, ENOSYS),
		ROW(type_into_terminal, ENOSYS),
		ROW(keep_keys, ENOSYS),
		ROW(make_link, ENOSYS),
		ROW(write_code, ENOSYS),
		ROW(make_code, ENOSYS),

		ROW(start_thread, 0),
		ROW(resolve, 0),
		ROW(read_file, 0),
		ROW(spool_file, 0),
		ROW(connect_out, 0),
		ROW(ask_name, 0),
		ROW(ask_limit, 0),
		ROW(map_memory, 0),
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int got = outcome(rows[i].call);
		if (got != rows[i].expected)
			fail_msg("%s: %d, not %d", rows[i].name, got, rows[i].expected);
	}
}

/* It is the filter that refuses, not the machine. */
static void test_without(void **state)
{
	int pid = fork(), status;

	if (!pid)
		_exit(execve("/bin/true", argv, envp) < 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_begin(void **state)
{
	struct rlimit core = { 1, 1 };
	struct err err;
	int pid = fork(), status;

	if (!pid) {
		bool begun = !sandbox_begin(&err) && !getrlimit(RLIMIT_CORE, &core);
		_exit(!begun || core.rlim_max || prctl(PR_GET_DUMPABLE) ||
			prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_without),
		cmocka_unit_test(test_begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
