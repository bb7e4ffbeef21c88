/* The programs that a configuration names; see conf_commands.h. Keeps no secret: it drops them. */
#include "conf_commands.h"

#include "conf_file.h"

static void add(struct string_list *lines, const struct secret *secret)
{
	if (secret->command)
		string_list_add(lines, sv_str(secret->command));
}

/* Takes over the reference. */
static void take(struct conf_commands *c, struct config *config)
{
	string_list_free(&c->lines);
	for (size_t i = 0; i < config->naccounts; i++)
		add(&c->lines, &config->accounts[i]->password);
	for (size_t i = 0; i < config->nrelays; i++)
		add(&c->lines, &config->relays[i]->password);
	config_unref(config);
}

static void begin(void *ctx)
{
	struct conf_commands *c = ctx;

	take(c, c->config); /* this process's copy, and its only reference */
}

static bool may_run(void *ctx, const char *line)
{
	AUTO(faults_free) struct faults faults = { 0 }; /* the daemon tells them */
	struct conf_commands *c = ctx;

	if (string_list_has(&c->lines, line))
		return true;
	struct config *config = conf_file_load_with(c->config_path, CONF_SECRETS_NONE, &faults);
	if (!config)
		return false;
	take(c, config);
	return string_list_has(&c->lines, line);
}

struct runner_ops conf_commands_ops(struct conf_commands *c)
{
	return (struct runner_ops){ .begin = begin, .may_run = may_run, .ctx = c };
}
