/*
 * What the commands of multidropctl share: how they are called, how they end, how they speak.
 *
 * A command prints its result on stdout and its complaints on stderr, and returns the exit status.
 * Foreign bytes reach neither of them but through escape_foreign() or JSON.
 */
#pragma once

#include "conf_file.h"
#include "show.h"
#include "store_sqlite.h"

#define CTL_REFUSED 1 /* refused or failed; the reason is on stderr */

#define CTL_SAMPLES_DEFAULT 50
#define CTL_SAMPLES_MAX     500

struct ctl_call {                          /* the command line, borrowed */
	const char *config_path, *account; /* account NULL: not given */
	const char *argument;              /* what stands behind the options, or NULL */
	char *const *arguments;            /* all of it, NULL-terminated */
	const char *to;                    /* --to, or NULL */
	const char *socket;                /* --socket, or NULL */
	const char *secrets;               /* --secrets, or NULL */
	uint32_t samples;
	bool json, yes, all, wait, no_sandbox;
	bool config_given; /* config_path is --config, not the default */
};

int ctl_explain(const struct ctl_call *call);
int ctl_probe(const struct ctl_call *call);
int ctl_held_list(const struct ctl_call *call);
int ctl_held_show(const struct ctl_call *call);
int ctl_held_release(const struct ctl_call *call);
int ctl_held_discard(const struct ctl_call *call);
int ctl_trace(const struct ctl_call *call);
int ctl_import_fetchmailrc(const struct ctl_call *call);
int ctl_import_getmailrc(const struct ctl_call *call);
int ctl_import_pullmail(const struct ctl_call *call);
int ctl_adopt(const struct ctl_call *call);
int ctl_status(const struct ctl_call *call);
int ctl_fetch(const struct ctl_call *call);
int ctl_pause(const struct ctl_call *call);
int ctl_resume(const struct ctl_call *call);
int ctl_reload(const struct ctl_call *call);
int ctl_metrics(const struct ctl_call *call);

/* "multidropctl: TEXT" on stderr; returns CTL_REFUSED. */
int ctl_fail(const char *fmt, ...) format_like(1, 2);
/* After the faults of a configuration: how to get at it, if it is that it cannot be read. */
void ctl_hint_unread(const struct ctl_call *call);
/* The configuration. 0; else the exit status, and stderr says why. The caller unrefs it. */
int ctl_load(const struct ctl_call *call, enum conf_secrets secrets, struct config **config)
	must_check;
/*
 * The configuration and the account that the call names. 0; else the exit status, and stderr says
 * why: the faults as the daemon prints them. *config is the caller's to unref.
 */
int ctl_open(const struct ctl_call *call, enum conf_secrets secrets, struct config **config,
	const struct conf_account **account) must_check;
/* Can the account log in from here? 0; else the exit status, and stderr says what to do. */
int ctl_need_password(const struct conf_account *account) must_check;
/*
 * Run by root, the state's files must stay the daemon's: the rest happens as the owner of
 * state_dir, who also is who reads tls_ca_file in the daemon. 0, or the exit status.
 */
int ctl_become_owner(const char *state_dir) must_check;
/* The state of a daemon that may be running; it is not made. 0, or the exit status. */
int ctl_open_state(const struct config *config, struct store **store) must_check;
void ctl_add_time(struct strbuf *out, wall_t at); /* for people, in local time */
int ctl_print_json(json_t *take_value);           /* indented; returns 0 */
void ctl_add_foreign(struct strbuf *out, const char *text);
