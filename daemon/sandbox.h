/*
 * What the process gives up for good, so that whoever takes it over by a hostile mail or server
 * gets little: docs/security.md says it in an administrator's words.
 */
#pragma once

#include "base/err.h"

/*
 * Before any secret is read: no core, no ptrace and no /proc/PID/mem for others of the same user,
 * no more privileges by set-user-ID programs. Inherited by the runner (runner.h).
 */
int sandbox_begin(struct err *err) must_check;

/* From now on only the system calls of a running daemon, in all threads to come. */
int sandbox_close(struct err *err) must_check;
