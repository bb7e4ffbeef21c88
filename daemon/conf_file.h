/*
 * The configuration file: libconfuse text in, struct config out, every fault with its FILE:LINE.
 *
 * One table describes every key: its type, range, default, and where it goes; a key whose function
 * does not exist yet is refused there as "not yet supported" unless it says what happens anyway.
 */
#pragma once

#include "base/err.h"
#include "core/config.h"

#define CONF_FILE_DEFAULT MULTIDROPD_SYSCONFDIR "/multidropd.conf"

/*
 * Reads `path` and all it includes, the secrets and the listed files too, and checks everything
 * that can be checked without the network. Returns the configuration (one reference), or NULL when
 * there are errors. `faults` gets errors and warnings either way.
 */
struct config *conf_file_load(const char *path, struct faults *faults);

/* The same for who needs less than the daemon does: which of the secrets must be there? */
enum conf_secrets {
	CONF_SECRETS_ALL,     /* as conf_file_load() */
	CONF_SECRETS_AT_HAND, /* a credential out of the service's hands only warns, and is empty */
	CONF_SECRETS_NONE,    /* no file of theirs is opened; commands are there */
};
struct config *conf_file_load_with(
	const char *path, enum conf_secrets secrets, struct faults *faults);

/*
 * Where the daemon of this configuration listens, without a look at what else it says or at its
 * secrets, which whoever may use the socket need not be able to read. The caller's to free; NULL:
 * the files cannot be read or parsed, and `faults` says why.
 */
char *conf_file_socket(const char *path, struct faults *faults);

char *conf_default_socket(void); /* where it does not say; the caller's to free */

/* "FILE:LINE: message" (warnings: "FILE:LINE: warning: message"), one a line, appended to out. */
void faults_print(const struct faults *f, struct strbuf *out);

/* "90s", "10m", "1h", "7d", or a sum like "1h30m"; plain "0" is 0. 0; 1: not a duration; 2: too
 * large. */
int duration_parse(struct strview text, msec_t *out) must_check;
/* "512K", "50M", "2G" or plain octets. Same returns. */
int size_parse(struct strview text, uint64_t *out) must_check;
