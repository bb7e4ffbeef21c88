/* The command line of multidropd(8): options in, exit status out (sysexits). */
#include "app.h"
#include "conf_commands.h"
#include "conf_file.h"
#include "log_sink.h"
#include "runner.h"
#include "sandbox.h"
#include "system.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

static const char usage[] =
	"usage: multidropd [options]\n"
	"Fetches POP3 maildrops and hands the mail to the in-house server. Stays in the "
	"foreground.\n"
	"\n"
	"  -c, --config FILE       configuration (" CONF_FILE_DEFAULT ")\n"
	"  -t, --test-config       check the configuration, without the network, and exit\n"
	"  -1, --once              one cycle for every enabled account that is due, then exit\n"
	"  -a, --account NAME      with --once: only this account; may be repeated\n"
	"  -n, --dry-run           with --once: show whom new messages would go to; deliver, "
	"delete\n"
	"                          and record nothing but the login\n"
	"  -l, --log-format FORM   auto, journal, text or json (auto)\n"
	"  -v, --log-level LEVEL   error, warning, notice, info or debug (info)\n"
	"      --no-sandbox        keep privileges, core dumps and all system calls: for "
	"debugging\n"
	"  -V, --version           print the version and exit\n"
	"  -h, --help              print this and exit\n"
	"\n"
	"Exit status: 0 fine; 64 usage; 70 internal; 73 state directory or database cannot be "
	"used;\n"
	"75 with --once: an account could not finish or was not due; 78 configuration.\n";

#define NO_SANDBOX 256 /* has no letter */

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "test-config", no_argument, NULL, 't' },
	{ "once", no_argument, NULL, '1' },
	{ "account", required_argument, NULL, 'a' },
	{ "dry-run", no_argument, NULL, 'n' },
	{ "log-format", required_argument, NULL, 'l' },
	{ "log-level", required_argument, NULL, 'v' },
	{ "no-sandbox", no_argument, NULL, NO_SANDBOX },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

struct command {
	struct app_options app;
	bool test;
	enum log_format format;
	enum log_level level;
};

static int misuse(const char *what)
{
	fprintf(stderr, "multidropd: %s; see multidropd --help\n", what);
	return EX_USAGE;
}

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv, char **only, struct command *c)
{
	int option;

	while ((option = getopt_long(argc, argv, "c:t1a:nl:v:Vh", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			c->app.config_path = optarg;
			break;
		case 't':
			c->test = true;
			break;
		case '1':
			c->app.once = true;
			break;
		case 'a':
			only[c->app.nonly++] = optarg;
			break;
		case 'n':
			c->app.dry_run = true;
			break;
		case 'l':
			if (log_format_parse(optarg, &c->format))
				return misuse("--log-format is auto, journal, text or json");
			break;
		case 'v':
			if (log_level_parse(optarg, &c->level))
				return misuse(
					"--log-level is error, warning, notice, info or debug");
			break;
		case NO_SANDBOX:
			c->app.sandbox = false;
			break;
		case 'V':
			puts("multidropd " MULTIDROPD_VERSION);
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs("see multidropd --help\n", stderr);
			return EX_USAGE;
		}
	}
	if (optind < argc)
		return misuse("there are no arguments besides the options");
	if (c->app.dry_run && !c->app.once)
		return misuse("--dry-run goes with --once");
	if (c->app.nonly && !c->app.once)
		return misuse("--account goes with --once");
	return -1;
}

static void print_faults(const struct faults *faults)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;

	faults_print(faults, &text);
	fputs(strbuf_str(&text), stderr);
}

static int check_names(const struct command *c, const struct config *config)
{
	for (size_t i = 0; i < c->app.nonly; i++) {
		const char *name = c->app.only[i];
		const struct conf_account *a = config_account(config, name);
		if (!a) {
			fprintf(stderr, "multidropd: there is no account \"%s\" in %s\n", name,
				c->app.config_path);
			return EX_USAGE;
		}
		if (!a->enabled && !a->password.len && !a->password.command) {
			fprintf(stderr,
				"multidropd: the password of account \"%s\" was not read, as it is "
				"not enabled; set enabled = true\n",
				name);
			return EX_USAGE;
		}
	}
	return 0;
}

/* The runner first: once the sandbox is closed, nobody can be started. */
static int start(struct config *config, struct app_options *how)
{
	struct conf_commands commands = { .config_path = how->config_path, .config = config };
	struct runner_ops ops = conf_commands_ops(&commands);
	struct err err;

	if (!runner_start(&ops, &how->runner, &err))
		return app_run(config, how);
	log_write(&(struct log_entry){ .event = EV_SANDBOX_FAILED,
		.reason = err.text,
		.text = "multidropd cannot start" });
	config_unref(config);
	return EX_SOFTWARE;
}

int main(int argc, char **argv)
{
	AUTO(mem_freep) char **only = mem_zalloc((size_t)argc * sizeof *only);
	struct command c = { .level = LVL_INFO,
		.app = { .config_path = CONF_FILE_DEFAULT, .sandbox = true } };
	fill_standard_descriptors();
	int status = parse(argc, argv, only, &c);
	struct err err;

	if (status >= 0)
		return status;
	c.app.only = only;
	if (c.app.sandbox && sandbox_begin(&err)) {
		fprintf(stderr, "multidropd: %s\n", err.text);
		return EX_SOFTWARE;
	}
	AUTO(faults_free) struct faults faults = { 0 };
	struct config *config = conf_file_load_with(
		c.app.config_path, c.test ? CONF_SECRETS_AT_HAND : CONF_SECRETS_ALL, &faults);
	if (c.test)
		print_faults(&faults);
	else
		log_sink_open(c.format, c.level);
	if (!config) {
		app_log_faults(&faults, EV_CONFIG_REFUSED);
		return EX_CONFIG;
	}
	status = check_names(&c, config);
	if (status || c.test) {
		config_unref(config);
		if (!status)
			printf("%s: good\n", c.app.config_path);
		return status;
	}
	app_log_faults(&faults, EV_CONFIG_WARNING);
	return start(config, &c.app);
}
