/* Clock, randomness, locks; see system.h. flock goes with the process: no lock is ever stale. */
#include "system.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int64_t read_clock(clockid_t id)
{
	struct timespec ts;

	ensure(!clock_gettime(id, &ts));
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static msec_t now(struct clock *c)
{
	return read_clock(CLOCK_BOOTTIME);
}

static wall_t wall(struct clock *c)
{
	return read_clock(CLOCK_REALTIME);
}

static void fill(struct rng *r, void *buf, size_t len)
{
	ensure(getrandom(buf, len, 0) == (ssize_t)len); /* up to 256 octets never come short */
}

#define BOOT_DIGITS 32

/* One writes it with dashes, the other without. False: it is none. */
static bool take_boot(const char *text, char id[BOOT_DIGITS + 1])
{
	size_t n = 0;

	for (; *text; text++)
		if (isxdigit((unsigned char)*text) && n++ < BOOT_DIGITS)
			id[n - 1] = *text;
	id[n == BOOT_DIGITS ? n : 0] = '\0';
	return id[0];
}

/* A service that sees nothing of /proc but processes gets it from its unit. */
static const char *boot(struct clock *c)
{
	static char id[BOOT_DIGITS + 1];
	const char *given = getenv("BOOT_ID");
	char text[64] = "";

	if (id[0] || (given && take_boot(given, id)))
		return id;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, text, sizeof text - 1) > 0)
		(void)take_boot(text, id); /* or we have none */
	if (fd >= 0)
		close(fd);
	return id;
}

struct clock system_clock = { .now = now, .wall = wall, .boot = boot };
struct rng system_rng = { .fill = fill };

void fill_standard_descriptors(void)
{
	int fd;

	while ((fd = open("/", O_PATH)) >= 0 && fd <= STDERR_FILENO)
		;
	if (fd >= 0)
		close(fd);
}

int open_private(const char *dir, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 && errno == EEXIST)
		return open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 && !geteuid() && (stat(dir, &st) || fchown(fd, st.st_uid, st.st_gid))) {
		int error = errno;
		unlink(path); /* nobody's else: it was not there a moment ago */
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

int lock_file(const char *dir, const char *name, struct err *err)
{
	AUTO(strbuf_free) struct strbuf path = STRBUF_INIT;

	strbuf_addf(&path, "%s/%s", dir, name);
	int fd = open_private(dir, path.ptr);
	if (fd < 0)
		return err_set(err, ERR_LOCAL, errno, "%s: %s", path.ptr, strerror(errno));
	if (!flock(fd, LOCK_EX | LOCK_NB))
		return fd;
	int error = errno;
	close(fd);
	if (error == EWOULDBLOCK)
		return -2;
	return err_set(err, ERR_LOCAL, error, "%s: %s", path.ptr, strerror(error));
}
