/*
 * multidropctl import: the files of another fetcher in, our configuration out.
 *
 * Owns the files: it reads them whole, and with --secrets writes each password into a file of its
 * own that must not be there before. Passwords first, all or none; only then the text.
 */
#include "conf_file.h"
#include "conf_internal.h"
#include "core/import.h"
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

static int read_one(struct import *i, import_reader *reader, const char *path)
{
	AUTO(strbuf_wipe) struct strbuf text = STRBUF_INIT; /* it has passwords */
	struct stat st;
	struct err err;

	if (conf_read(path, IMPORT_FILE_MAX, &text, &st, &err))
		return ctl_fail("%s: %s", path, err.text);
	reader(i, path, strbuf_view(&text));
	return 0;
}

static int write_secret(const struct import_secret *s)
{
	int fd = open(s->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return ctl_fail("%s: %s%s", s->path, strerror(errno),
			errno == EEXIST
				? "; it is not overwritten: remove it, or take another folder"
				: "");
	/* 0600 whatever the umask has taken off; short writes are no case for a kilobyte. */
	bool fine = !fchmod(fd, 0600) &&
		write(fd, s->password.ptr, s->password.len) == (ssize_t)s->password.len &&
		!fsync(fd);
	int why = errno;
	fine = !close(fd) && fine;
	if (fine)
		return 0;
	(void)unlink(s->path); /* it is of no use */
	return ctl_fail("%s: cannot be written: %s", s->path, strerror(why));
}

static int write_secrets(const struct import_secrets *secrets)
{
	for (size_t i = 0; i < secrets->n; i++)
		if (write_secret(&secrets->items[i])) {
			while (i)
				(void)unlink(secrets->items[--i].path); /* ours, of this run */
			return CTL_REFUSED;
		}
	return 0;
}

static int print(const struct import *i, const char *dir)
{
	AUTO(import_secrets_free) struct import_secrets secrets = { 0 };
	AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;
	AUTO(mem_freep) char *whole = dir ? realpath(dir, NULL) : NULL;

	if (dir && !whole)
		return ctl_fail("--secrets %s: %s", dir, strerror(errno));
	import_print(i, dir ? whole : MULTIDROPD_SYSCONFDIR, dir ? &secrets : NULL, &out);
	int status = write_secrets(&secrets);
	if (!status)
		fputs(strbuf_str(&out), stdout);
	return status;
}

static int import(const struct ctl_call *call, import_reader *reader)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;
	AUTO(import_free) struct import i = { 0 };
	int status = 0;

	for (char *const *path = call->arguments; *path && !status; path++)
		status = read_one(&i, reader, *path);
	if (status)
		return status;
	if (!i.faults.errors)
		return print(&i, call->secrets);
	faults_print(&i.faults, &text);
	fputs(strbuf_str(&text), stderr);
	return EX_CONFIG;
}

int ctl_import_fetchmailrc(const struct ctl_call *call)
{
	return import(call, import_fetchmailrc);
}

int ctl_import_getmailrc(const struct ctl_call *call)
{
	return import(call, import_getmailrc);
}

int ctl_import_pullmail(const struct ctl_call *call)
{
	return import(call, import_pullmail);
}
