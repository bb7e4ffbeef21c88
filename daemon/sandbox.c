/*
 * The sandbox of the process; see sandbox.h.
 *
 * Owns nothing: what is given up cannot be had back. Three tables. `allowed` is what the loop, the
 * threads that resolve names and wait for the disk, SQLite, OpenSSL, the journal and the control
 * socket need. `limited` is allowed with certain arguments. `fatal` is what no version of any
 * library asks for here, only somebody who is not us: it ends the process.
 *
 * Everything else fails with ENOSYS and is logged by the kernel (audit), as if the kernel did not
 * have it yet: libraries have another way for that, so that an update of glibc does not stop the
 * mail. EPERM they take for the answer. What glibc is known to ask for in vain is not logged.
 *
 * With AddressSanitizer the process stays traceable, and what its leak check does is allowed.
 */
#include "sandbox.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#ifndef PR_SET_VMA /* malloc names its arenas */
#define PR_SET_VMA 0x53564d41
#endif

/* Names, not numbers: each architecture has its own, and lacks some. */
static const char *const allowed[] = {
	/* memory */
	"brk", "madvise", "membarrier", "memfd_create", "mremap", "munmap",
	/* threads and time; clone3: see close_quietly() */
	"clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64",
	"clock_nanosleep", "clock_nanosleep_time64", "clone3", "exit", "exit_group", "futex",
	"futex_time64", "futex_waitv", "get_robust_list", "getcpu", "gettimeofday", "nanosleep",
	"restart_syscall", "rseq", "sched_getaffinity", "sched_getparam", "sched_getscheduler",
	"sched_yield", "set_robust_list", "set_tid_address", "time", "timerfd_create",
	"timerfd_gettime", "timerfd_settime", "timerfd_settime64",
	/* signals: our own handlers, and abort() */
	"rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait",
	"rt_sigtimedwait_time64", "sigaltstack", "sigreturn", "tgkill",
	/* who and where we are */
	"getcwd", "getegid", "getegid32", "geteuid", "geteuid32", "getgid", "getgid32", "getgroups",
	"getgroups32", "getpgrp", "getpid", "getppid", "getrandom", "getresgid", "getresuid",
	"getrlimit", "getrusage", "gettid", "getuid", "getuid32", "sysinfo", "ugetrlimit", "uname",
	/* waiting */
	"epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd2",
	"poll", "ppoll", "ppoll_time64", "pselect6", "pselect6_time64", "select", "_newselect",
	/* descriptors */
	"close", "close_range", "dup", "dup2", "dup3", "fcntl", "fcntl64", "lseek", "_llseek",
	"pipe", "pipe2", "pread64", "preadv", "pwrite64", "pwritev", "read", "readv", "write",
	"writev",
	/* files: state, spool, locks, configuration, certificates, the resolver's */
	"access", "faccessat", "faccessat2", "fallocate", "fchmod", "fchown", "fchown32",
	"fdatasync", "flock", "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64", "fsync",
	"ftruncate", "ftruncate64", "getdents64", "lstat", "lstat64", "mkdir", "mkdirat",
	"newfstatat", "open", "openat", "readlink", "readlinkat", "stat", "stat64", "statfs",
	"statfs64", "statx", "umask", "unlink", "unlinkat",
	/* sockets */
	"accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt",
	"listen", "recvfrom", "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt",
	"shutdown", "socketpair"
};

static const struct {
	const char *name;
	unsigned argument;
	enum scmp_compare compare;
	scmp_datum_t a, b;
} limited[] = {
	/* no code made at run time; the libraries of the resolver are mapped from files */
	{ "mmap", 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0 },
	{ "mmap", 2, SCMP_CMP_MASKED_EQ, PROT_WRITE, 0 },
	{ "mmap2", 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0 },
	{ "mmap2", 2, SCMP_CMP_MASKED_EQ, PROT_WRITE, 0 },
	{ "mprotect", 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0 },
	/* threads, no processes */
	{ "clone", 0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD },
	/* as the service's RestrictAddressFamilies */
	{ "socket", 0, SCMP_CMP_EQ, AF_UNIX, 0 },
	{ "socket", 0, SCMP_CMP_EQ, AF_INET, 0 },
	{ "socket", 0, SCMP_CMP_EQ, AF_INET6, 0 },
	{ "socket", 0, SCMP_CMP_EQ, AF_NETLINK, 0 }, /* but see close_quietly() */
	/* stdio */
	{ "ioctl", 1, SCMP_CMP_EQ, TCGETS, 0 },
	{ "ioctl", 1, SCMP_CMP_EQ, FIONREAD, 0 },
	/* threads and malloc; libsystemd, which aborts without when a log entry needs a memfd */
	{ "prctl", 0, SCMP_CMP_EQ, PR_SET_NAME, 0 },
	{ "prctl", 0, SCMP_CMP_EQ, PR_SET_VMA, 0 },
	{ "prctl", 0, SCMP_CMP_EQ, PR_GET_NAME, 0 },
	/* asks, sets nothing */
	{ "prlimit64", 2, SCMP_CMP_EQ, 0, 0 },
};

static const char *const fatal[] = {
	/* programs */
	"execve", "execveat",
	/* other processes */
	"process_vm_readv", "process_vm_writev", "pidfd_getfd", "ptrace",
	/* the kernel: what exploits of it begin with, and what only root can do */
	"bpf", "delete_module", "finit_module", "fsmount", "fsopen", "init_module",
	"io_uring_enter", "io_uring_register", "io_uring_setup", "kexec_file_load", "kexec_load",
	"mount", "move_mount", "open_by_handle_at", "open_tree", "perf_event_open", "pivot_root",
	"reboot", "setns", "umount2", "unshare", "userfaultfd"
};

#ifdef __SANITIZE_ADDRESS__
static const char *const sanitizer[] = { "clone", "getdents", "kill", "prctl", "ptrace", "wait4" };
#else
static const char *const sanitizer[] = { NULL };
#endif

static bool is_sanitizers(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(sanitizer); i++)
		if (sanitizer[i] && !strcmp(name, sanitizer[i]))
			return true;
	return false;
}

static int refused(struct err *err, const char *what, int error)
{
	return err_set(
		err, ERR_LOCAL, error, "%s: %s; --no-sandbox does without", what, strerror(error));
}

int sandbox_begin(struct err *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return refused(err, "no_new_privs", errno);
	/* For what the runner starts. A service manager has set it and may forbid us to. */
	(void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
	/* The leak check traces its own process. */
	if (!is_sanitizers("ptrace") && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return refused(err, "dumpable", errno);
	return 0;
}

/* What this architecture or this libseccomp does not know cannot be called, or gets ENOSYS. */
static int add(scmp_filter_ctx filter, uint32_t action, const char *name,
	const struct scmp_arg_cmp *argument)
{
	int number = seccomp_syscall_resolve_name(name);

	if (number == __NR_SCMP_ERROR)
		return 0;
	return seccomp_rule_add_array(filter, action, number, argument ? 1 : 0, argument);
}

static int add_rules(scmp_filter_ctx filter)
{
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(allowed) && !rc; i++)
		rc = add(filter, SCMP_ACT_ALLOW, allowed[i], NULL);
	for (size_t i = 0; i < ARRAY_LEN(limited) && !rc; i++) {
		struct scmp_arg_cmp argument = { limited[i].argument, limited[i].compare,
			limited[i].a, limited[i].b };
		if (!is_sanitizers(limited[i].name))
			rc = add(filter, SCMP_ACT_ALLOW, limited[i].name, &argument);
	}
	for (size_t i = 0; i < ARRAY_LEN(fatal) && !rc; i++)
		if (!is_sanitizers(fatal[i]))
			rc = add(filter, SCMP_ACT_KILL_PROCESS, fatal[i], NULL);
	for (size_t i = 0; i < ARRAY_LEN(sanitizer) && !rc; i++)
		if (sanitizer[i])
			rc = add(filter, SCMP_ACT_ALLOW, sanitizer[i], NULL);
	return rc;
}

static int load(scmp_filter_ctx filter, bool logged)
{
	const struct {
		enum scmp_filter_attr attribute;
		uint32_t value;
		bool needed;
	} attributes[] = {
		{ SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS, true },
		{ SCMP_FLTATR_CTL_TSYNC, 1, true }, /* threads that there may be already */
		{ SCMP_FLTATR_CTL_LOG, logged, false },
		{ SCMP_FLTATR_CTL_OPTIMIZE, 2, false }, /* a tree: it is asked at every call */
	};
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(attributes) && !rc; i++) {
		rc = seccomp_attr_set(filter, attributes[i].attribute, attributes[i].value);
		rc = attributes[i].needed ? rc : 0;
	}
	return rc ? rc : seccomp_load(filter);
}

/* In a filter of its own, for the log is a filter's as a whole. */
static int close_quietly(void)
{
	const struct scmp_arg_cmp netlink = { 0, SCMP_CMP_EQ, AF_NETLINK, 0 };
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int rc = filter ? 0 : -ENOMEM;

	if (!rc) /* by every thread that starts; its flags cannot be looked at */
		rc = add(filter, SCMP_ACT_ERRNO(ENOSYS), "clone3", NULL);
	if (!rc) /* by names with several addresses, to sort them */
		rc = add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", &netlink);
	if (!rc)
		rc = load(filter, false);
	seccomp_release(filter);
	return rc;
}

static int close_all(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int rc = filter ? add_rules(filter) : -ENOMEM;

	if (!rc)
		rc = load(filter, true);
	seccomp_release(filter);
	return rc;
}

int sandbox_close(struct err *err)
{
	int rc = close_quietly();

	if (!rc)
		rc = close_all();
	return rc ? refused(err, "seccomp filter", -rc) : 0;
}
