/*
 * One POP3 login from the command line, behind the daemon's gates: the account's lock, held until
 * the connection is closed, and the login permit. What is done in the session is the command's.
 */
#pragma once

#include "ctl.h"
#include "login.h"

struct ctl_session {
	const struct conf_account *account;
	/* POP3_READY is the first; STARTTLS, the answer to QUIT and failures are dealt with here.
	 */
	void (*on_event)(struct ctl_session *s, const struct pop3_event *ev);
	struct pop3 *pop3;
	struct err err; /* how it ended; class NONE: well */

	/* for ctl_session.c */
	struct loop loop;
	struct login login;
	struct transport *transport;
	struct event *timer;
	bool quitting, done;
};

/*
 * The whole session, in the daemon's sandbox unless the call does without; it is not left any more.
 * 0: there was one, *s says how it ended; else the exit status.
 */
int ctl_session_run(struct ctl_session *s, struct config *config, const struct ctl_call *call);
void ctl_session_fail(struct ctl_session *s, const struct err *err);
void ctl_session_end(struct ctl_session *s);  /* without QUIT */
void ctl_session_quit(struct ctl_session *s); /* what fails from here on, does not count */
