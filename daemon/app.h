/*
 * The daemon: one event loop, the relays, the accounts, signals, reload, and the way out.
 */
#pragma once

#include "core/config.h"

struct app_options {
	const char *config_path; /* read again at SIGHUP */
	bool once, dry_run;
	char *const *only; /* with once: these accounts; none: all */
	size_t nonly;
};

/* Runs until it is told to stop, or until every account had its cycle. Takes over the reference. */
int app_run(struct config *config, const struct app_options *options);
