/*
 * What an account is doing, when it logs in next, and why not sooner: for people and for `status`.
 *
 * Decides nothing: it reads what account.c and the schedule have decided. The names of the states
 * and of the reasons are a contract with scripts.
 */
#pragma once

#include "account.h"

struct outlook {
	const char *state;  /* idle waiting connecting fetching backoff suspended paused */
	const char *reason; /* interval backoff login-delay start limit not-due locked state
			       relay-down sessions running paused suspended */
	char text[240];     /* the reason in words, without a time */
	wall_t next_due;    /* 0: there is none, or nobody can say */
	bool queued;        /* due; it begins as soon as there is a slot or the relay is back */
	bool trouble;       /* somebody should look */
};

void outlook_of(const struct account *a, struct env *env, struct outlook *out);
