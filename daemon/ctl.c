/* What the commands of multidropctl share; see ctl.h. Owns nothing. */
#include "ctl.h"

#include "base/encode.h"
#include "system.h"

#include <errno.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#define BE_SOMEBODY "be root or the daemon's user"

int ctl_fail(const char *fmt, ...)
{
	va_list ap;

	fputs("multidropctl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return CTL_REFUSED;
}

void ctl_hint_unread(const struct ctl_call *call)
{
	if (access(call->config_path, R_OK))
		(void)ctl_fail(errno == EACCES ? "be root, or another who may read that file"
					       : "-c FILE names another one");
}

int ctl_load(const struct ctl_call *call, enum conf_secrets secrets, struct config **config)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;
	struct faults faults = { 0 };

	*config = conf_file_load_with(call->config_path, secrets, &faults);
	faults_print(&faults, &text);
	faults_free(&faults);
	fputs(strbuf_str(&text), stderr);
	if (!*config)
		ctl_hint_unread(call);
	return *config ? 0 : EX_CONFIG;
}

int ctl_open(const struct ctl_call *call, enum conf_secrets secrets, struct config **config,
	const struct conf_account **account)
{
	AUTO(strbuf_free) struct strbuf names = STRBUF_INIT;
	int status = ctl_load(call, secrets, config);

	if (status)
		return status;
	*account = config_account(*config, call->account);
	if (*account)
		return 0;
	for (size_t i = 0; i < (*config)->naccounts; i++)
		strbuf_addf(&names, "%s%s", i ? ", " : ": ", (*config)->accounts[i]->name);
	(void)ctl_fail("there is no account \"%s\" in %s%.300s", call->account, call->config_path,
		names.len ? strbuf_str(&names) : "");
	config_unref(*config);
	return EX_USAGE;
}

int ctl_need_password(const struct conf_account *account)
{
	if (account->password.len || account->password.command)
		return 0;
	if (!account->enabled)
		return ctl_fail("%s: the account is not enabled, so its password is not read; set "
				"enabled = true, and repeat this before multidropd reloads: until "
				"then it does not fetch the account",
			account->name);
	return ctl_fail("%s: only the service can read the account's password_credential. As root, "
			"while it runs: CREDENTIALS_DIRECTORY=/run/credentials/multidropd.service "
			"multidropctl ...",
		account->name);
}

int ctl_become_owner(const char *state_dir)
{
	struct stat st;

	if (stat(state_dir, &st))
		return ctl_fail("state_dir %s: %s; %s", state_dir, strerror(errno),
			errno == EACCES ? BE_SOMEBODY : "create it for the daemon's user");
	if (geteuid() || !st.st_uid)
		return 0;
	if (setgroups(0, NULL) || setgid(st.st_gid) || setuid(st.st_uid))
		return ctl_fail(
			"cannot become uid %u, the owner of %s", (unsigned)st.st_uid, state_dir);
	return 0;
}

int ctl_open_state(const struct config *config, struct store **store)
{
	AUTO(strbuf_free) struct strbuf path = STRBUF_INIT;
	struct err err;
	int status = ctl_become_owner(config->state_dir);

	if (status)
		return status;
	strbuf_addf(&path, "%s/" STORE_FILE, config->state_dir);
	if (access(strbuf_str(&path), F_OK)) /* to look must not make one */
		return ctl_fail("%s: %s%s", strbuf_str(&path), strerror(errno),
			errno == EACCES
				? "; " BE_SOMEBODY
				: ": no state; has multidropd run with this configuration?");
	if (store_open(config->state_dir, &system_clock, &system_rng, store, &err))
		return ctl_fail("%s", err.text);
	return 0;
}

void ctl_add_time(struct strbuf *out, wall_t at)
{
	time_t seconds = (time_t)(at / 1000);
	char text[40] = "";
	struct tm tm;

	if (localtime_r(&seconds, &tm))
		(void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S%z", &tm); /* it fits */
	strbuf_adds(out, text);
}

void ctl_add_foreign(struct strbuf *out, const char *text)
{
	escape_foreign(out, sv_str(text));
}

int ctl_print_json(json_t *take_value)
{
	(void)json_dumpf(take_value, stdout, JSON_INDENT(2)); /* main looks at stdout's state */
	fputc('\n', stdout);
	json_decref(take_value);
	return 0;
}
