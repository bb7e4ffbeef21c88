/*
 * The programs that a configuration names, for the runner (runner.h): their lines and nothing else
 * of it. Reads the file again when it is asked for one that it does not know, since the daemon may
 * have reloaded it.
 */
#pragma once

#include "core/config.h"
#include "runner.h"

struct conf_commands {
	const char *config_path;
	struct config *config; /* as loaded at the start; borrowed */
	struct string_list lines;
};

struct runner_ops conf_commands_ops(struct conf_commands *c);
