/*
 * The locks that a POP3 session holds while there is a connection: the account's, so that its
 * cycles never overlap, and one of the provider's max_sessions places. Both hold across processes
 * (flock in the state directory) and end with the process: none is ever stale.
 */
#pragma once

#include "core/config.h"

struct locks {
	int account, session; /* descriptors; -1: none */
};
#define NO_LOCKS ((struct locks){ -1, -1 })

#define LOCKS_ACCOUNT_BUSY  1 /* another process is at this account */
#define LOCKS_PROVIDER_FULL 2 /* other processes have all of the provider's max_sessions */
/* 0: both taken; else none is. -1 with err: the state directory cannot be written. */
int locks_take(struct locks *locks, const char *state_dir, const struct conf_account *account,
	struct err *err) must_check;
void locks_drop(struct locks *locks);
