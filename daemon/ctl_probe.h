/*
 * multidropctl probe: what its parts share.
 *
 * ctl_probe    the login and the headers, by which nothing changes on the server
 * ctl_report   what was found, as text or JSON
 * ctl_stanza   the configuration that follows from it
 */
#pragma once

#include "ctl.h"
#include "mail/survey.h"

struct probe_report {
	const struct conf_account *account;
	const char *config_path;
	const char *domain; /* the account has no domains: this one was assumed; else NULL */
	uint32_t listed;    /* messages in the maildrop */
	const struct survey *survey;
};

int probe_print(const struct probe_report *r, bool json);

/*
 * The sections of the account and its provider as the configuration writes them, with the survey's
 * rules instead of their own. Pasted over the two, it passes --test-config. A password that stands
 * in the configuration itself is not repeated: a comment says where it is.
 */
void probe_stanza(const struct probe_report *r, struct strbuf *out);
