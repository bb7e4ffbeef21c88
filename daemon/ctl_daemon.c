/*
 * The commands that only the running daemon can answer; see ctl_daemon.h. All but `status` pass its
 * answer on as it is.
 */
#include "ctl_progress.h"

#include "base/encode.h"
#include "conf_file.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#define ANSWER_SEC 30 /* longest silence of a daemon that is not asked to wait for a cycle */

/* 0; else the exit status. *path is the caller's to free. */
static int socket_path(const struct ctl_call *call, char **path)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;
	struct faults faults = { 0 };

	if (call->socket) {
		*path = mem_strdup(call->socket);
		return 0;
	}
	*path = conf_file_socket(call->config_path, &faults);
	if (!*path && !call->config_given) { /* not there, or not for us: the built-in default */
		faults_free(&faults);
		faults = (struct faults){ 0 };
		*path = conf_default_socket();
	}
	if (!*path)
		faults_print(&faults, &text);
	faults_free(&faults);
	fputs(strbuf_str(&text), stderr);
	if (!*path)
		ctl_hint_unread(call);
	return *path ? 0 : EX_CONFIG;
}

static int not_reachable(const char *path, int error)
{
	static const char other[] = "if control_socket says otherwise: -c FILE or -s PATH";
	struct stat st;

	if (error == EACCES || error == EPERM) {
		const struct group *group = stat(path, &st) ? NULL : getgrgid(st.st_gid);
		(void)ctl_fail("%s: %s; be root or in the group %s", path, strerror(error),
			group ? group->gr_name : "of the daemon");
	} else if (error == ECONNREFUSED || error == ENOENT) {
		(void)ctl_fail("%s: %s: multidropd is not running (systemctl status multidropd); "
			       "%s",
			path, error == ENOENT ? "no such socket" : "nobody listens there", other);
	} else {
		(void)ctl_fail("%s: %s", path, strerror(error));
	}
	return EX_UNAVAILABLE;
}

static int connect_to(const char *path, FILE **stream)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof address.sun_path)
		return not_reachable(path, ENAMETOOLONG);
	memcpy(address.sun_path, path, strlen(path));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) ||
		!(*stream = fdopen(fd, "r"))) {
		int error = errno;
		if (fd >= 0)
			close(fd);
		return not_reachable(path, error);
	}
	return 0;
}

/* Complaints may quote what the daemon read from elsewhere; it has escaped that. */
static void pass_on(char kind, const char *text, struct strbuf *said)
{
	if (kind == CONTROL_COMPLAIN) {
		fprintf(stderr, "%s\n", text);
	} else if (said) {
		strbuf_addf(said, "%s\n", text);
	} else {
		printf("%s\n", text);
		fflush(stdout); /* main looks at its state */
	}
}

static int read_answer(const struct ctl_call *call, const struct control_request *request,
	FILE *stream, const char *path, struct strbuf *said)
{
	struct ctl_progress progress = { 0 };
	AUTO(mem_freep) char *line = NULL;
	size_t cap = 0;
	uint64_t status;
	ssize_t n;

	while (ctl_progress_wait(call, request, stream, &progress),
		(n = getline(&line, &cap, stream)) > 1) {
		ctl_progress_wipe(&progress);
		bool whole = line[n - 1] == '\n';
		line[n - whole] = '\0';
		if (*line == CONTROL_SAID || *line == CONTROL_COMPLAIN)
			pass_on(*line, line + 1, said);
		else if (whole && *line == CONTROL_STATUS &&
			sv_number(sv_str(line + 1), 255, &status))
			return (int)status;
		else
			break;
	}
	int error = errno;
	ctl_progress_wipe(&progress);
	(void)ctl_fail(n < 0 && error == EAGAIN ? "%s: multidropd does not answer"
						: "%s: multidropd ended before its answer did",
		path);
	return EX_UNAVAILABLE;
}

int ctl_ask(const struct ctl_call *call, const struct control_request *request, struct strbuf *said)
{
	AUTO(strbuf_free) struct strbuf line = STRBUF_INIT;
	AUTO(mem_freep) char *path = NULL;
	struct timeval patience = { .tv_sec = ANSWER_SEC };
	FILE *stream;
	int status;

	if (control_format(&line, request)) {
		escape_foreign(&line, request->account);
		(void)ctl_fail("\"%s\" is no name of an account", strbuf_str(&line));
		return EX_USAGE;
	}
	if ((status = socket_path(call, &path)) || (status = connect_to(path, &stream)))
		return status;
	if (!request->wait)
		(void)setsockopt(fileno(stream), SOL_SOCKET, SO_RCVTIMEO, &patience,
			sizeof patience); /* else it waits for ever, as without it */
	/* Who is turned away is told so before he has asked: the answer is read in any case. */
	(void)!send(fileno(stream), line.ptr, line.len, MSG_NOSIGNAL);
	if (ctl_progress_wanted(request))
		setvbuf(stream, NULL, _IONBF, 0); /* else poll() does not see what was read */
	status = read_answer(call, request, stream, path, said);
	fclose(stream);
	return status;
}

static int pass(const struct ctl_call *call, enum control_verb verb)
{
	struct control_request request = { .verb = verb,
		.account = sv_str(call->argument),
		.all = call->all,
		.wait = call->wait };

	return ctl_ask(call, &request, NULL);
}

int ctl_fetch(const struct ctl_call *call)
{
	if (!call->argument == !call->all) {
		(void)ctl_fail("fetch takes an account, or --all");
		return EX_USAGE;
	}
	return pass(call, CONTROL_FETCH);
}

int ctl_pause(const struct ctl_call *call)
{
	return pass(call, CONTROL_PAUSE);
}

int ctl_resume(const struct ctl_call *call)
{
	return pass(call, CONTROL_RESUME);
}

int ctl_reload(const struct ctl_call *call)
{
	return pass(call, CONTROL_RELOAD);
}

int ctl_metrics(const struct ctl_call *call)
{
	return pass(call, CONTROL_METRICS);
}
