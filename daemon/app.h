/*
 * The daemon: one event loop, the relays, the accounts, signals, reload, and the way out.
 */
#pragma once

#include "base/log.h"
#include "core/config.h"

struct app_options {
	const char *config_path; /* read again at SIGHUP */
	bool once, dry_run;
	bool sandbox;      /* sandbox_close() once everything is open */
	int runner;        /* starts programs (runner.h); -1: nobody does */
	char *const *only; /* with once: these accounts; none: all */
	size_t nonly;
};

/* A log entry per fault: errors as `event`, warnings as config.warning. */
void app_log_faults(const struct faults *faults, enum log_event event);

/* Runs until it is told to stop, or until every account had its cycle. Takes over the reference. */
int app_run(struct config *config, const struct app_options *options);
