/*
 * multidropctl(1): the table of its commands, their command lines, their help.
 *
 * Owns no state. A command is a row here and a function in ctl.h; which options it takes is part of
 * the row, so that an option it would ignore is refused instead.
 */
#include "conf_file.h"
#include "ctl.h"
#include "system.h"

#include <getopt.h>
#include <stdio.h>
#include <sysexits.h>

struct command {
	const char *name, *options; /* the letters that it takes */
	const char *arguments, *help;
	const char *about;   /* for its own --help */
	const char *example; /* the same; what stands behind its name */
	enum { NO_ARGUMENT, ARGUMENT, MAY_HAVE_ARGUMENT, ARGUMENTS } argument;
	int (*run)(const struct ctl_call *call);
};

#define IMPORT_ABOUT                                                                               \
	"Comments say what has no equivalent here, what was dangerous there, and, with DECIDE, "   \
	"what\n"                                                                                   \
	"is for you to decide. Passwords are never printed: --secrets writes each into a file of " \
	"its\n"                                                                                    \
	"own; without it, comments say what to write where. Then: multidropd --test-config.\n"

static const struct command commands[] = {
	{ "status", "csj", "[-c FILE|-s PATH] [--json] [ACCOUNT]",
		"tells whether all is well, and if not, why, and what to do",
		"The first line says whether all is well. What is not follows, with its cause and "
		"the next step,\n"
		"in red on a terminal; then accounts, relays and providers, in as many columns as "
		"fit.\n",
		"sammel", MAY_HAVE_ARGUMENT, ctl_status },
	{ "fetch", "csAw", "[-c FILE|-s PATH] [--wait] ACCOUNT|--all", "asks for a cycle now",
		"No limit is overridden: min_interval, login_limit, locks, a pause and a "
		"suspension "
		"hold.\n"
		"If there can be no cycle now, the answer says why and when the next login is "
		"allowed\n"
		"(exit status 1); it is made then.\n",
		"--wait sammel", MAY_HAVE_ARGUMENT, ctl_fetch },
	{ "pause", "cs", "[-c FILE|-s PATH] ACCOUNT", "makes no more cycles, until resume",
		"Survives a restart. A running cycle is ended: what is past its final dot is "
		"finished,\n"
		"the rest stays with the provider.\n",
		"sammel", ARGUMENT, ctl_pause },
	{ "resume", "cs", "[-c FILE|-s PATH] ACCOUNT",
		"ends a pause, or a suspension after refused passwords",
		"A corrected password ends a suspension by itself, with the next reload.\n",
		"sammel", ARGUMENT, ctl_resume },
	{ "reload", "cs", "[-c FILE|-s PATH]", "reads the configuration again, as SIGHUP does",
		"If it is refused, its faults are shown and the old one stays (exit status 1).\n",
		"", NO_ARGUMENT, ctl_reload },
	{ "metrics", "cs", "[-c FILE|-s PATH]", "prints the daemon's numbers, for Prometheus",
		"The metrics are described in multidropd(8).\n", "| grep multidropd_held",
		NO_ARGUMENT, ctl_metrics },
	{ "explain", "acj", "-a ACCOUNT [-c FILE] [--json] MESSAGE|-",
		"shows whom a message would go to, and why; offline",
		"Reads a stored message, from a file or with - from standard input, and shows its "
		"header\n"
		"with the trust boundary, the verdict on each candidate line, the recipients, the\n"
		"envelope sender and what would be done. Nothing is sent or stored.\n",
		"-a sammel message.eml", ARGUMENT, ctl_explain },
	{ "probe", "acnjN", "-a ACCOUNT [-c FILE] [--samples N] [--json] [--no-sandbox]",
		"finds the header that carries the recipient; one login",
		"Logs in once (locks, min_interval and login_limit hold as for the daemon), reads "
		"the\n"
		"headers of the newest messages with TOP, changes nothing on the server, and "
		"prints\n"
		"what each header says, and the configuration that follows from it.\n",
		"-a sammel --samples 20", NO_ARGUMENT, ctl_probe },
	{ "held list", "cj", "[-c FILE] [--json]", "lists the messages that wait for a decision",
		"They stay with the provider. Decide with release or discard.\n", "", NO_ARGUMENT,
		ctl_held_list },
	{ "held show", "cj", "[-c FILE] [--json] ID",
		"shows one of them: recipients, replies, reason",
		"ID is the number that held list shows.\n", "17", ARGUMENT, ctl_held_show },
	{ "held release", "ct", "[-c FILE] [--to ADDR] ID", "tries it again in the next cycle",
		"Those who have the message do not get it again. With --to only ADDR gets it, "
		"whatever\n"
		"its header says.\n",
		"--to eva@firma.example 17", ARGUMENT, ctl_held_release },
	{ "held discard", "c", "[-c FILE] ID", "deletes it at the provider in the next cycle",
		"Whatever `keep` says; there is no copy of it here.\n", "17", ARGUMENT,
		ctl_held_discard },
	{ "trace", "cj", "[-c FILE] [--json] PATTERN", "tells what became of a message",
		"PATTERN is a Message-ID, an address (recipient or envelope sender), a UIDL, or a "
		"part of\n"
		"the relay's reply of at least five characters, such as its queue id. Newest "
		"first;\n"
		"messages are remembered for 30 days after they have left the provider's server.\n",
		"hans@firma.example", ARGUMENT, ctl_trace },
	{ "import fetchmailrc", "S", "[--secrets DIR] FILE...",
		"prints the configuration that does what a fetchmailrc does; offline", IMPORT_ABOUT,
		"--secrets /etc/multidropd /root/.fetchmailrc", ARGUMENTS, ctl_import_fetchmailrc },
	{ "import getmailrc", "S", "[--secrets DIR] FILE...",
		"prints the configuration that does what a getmailrc does; offline", IMPORT_ABOUT,
		"/root/.getmail/getmailrc", ARGUMENTS, ctl_import_getmailrc },
	{ "import pullmail", "S", "[--secrets DIR] FILE...",
		"prints the configuration for a batch file that calls pullmail; offline",
		IMPORT_ABOUT, "pullmail.bat", ARGUMENTS, ctl_import_pullmail },
	{ "adopt", "cyN", "[-c FILE] [--yes] [--no-sandbox] ACCOUNT",
		"takes what lies in a maildrop as already delivered; one login",
		"For moving from another fetcher: nothing is fetched, nothing is deleted now. From "
		"then on\n"
		"`keep` decides about these messages as about delivered ones: unless it is "
		"\"forever\",\n"
		"they will be deleted, and --yes is asked for.\n",
		"--yes sammel", ARGUMENT, ctl_adopt },
};

static const struct option options[] = {
	{ "account", required_argument, NULL, 'a' },
	{ "config", required_argument, NULL, 'c' },
	{ "samples", required_argument, NULL, 'n' },
	{ "json", no_argument, NULL, 'j' },
	{ "to", required_argument, NULL, 't' },
	{ "yes", no_argument, NULL, 'y' },
	{ "socket", required_argument, NULL, 's' },
	{ "secrets", required_argument, NULL, 'S' },
	{ "all", no_argument, NULL, 'A' },
	{ "wait", no_argument, NULL, 'w' },
	{ "no-sandbox", no_argument, NULL, 'N' },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static const struct {
	char letter;
	const char *text;
} option_help[] = {
	{ 'a', "  -a, --account NAME   the account, as the configuration names it\n" },
	{ 'c', "  -c, --config FILE    configuration (" CONF_FILE_DEFAULT ")\n" },
	{ 's', "  -s, --socket PATH    the daemon's control_socket\n" },
	{ 'n', "      --samples N      read at most N messages, 1 to 500 (50)\n" },
	{ 'j', "      --json           print JSON\n" },
	{ 't', "      --to ADDR        deliver to this address only\n" },
	{ 'y', "      --yes            the messages may be deleted, as `keep` says\n" },
	{ 'S', "      --secrets DIR    write the passwords there, DIR/ACCOUNT.pw, mode 0600\n" },
	{ 'A', "      --all            every enabled account\n" },
	{ 'w', "      --wait           end with the cycle, and tell how it went\n" },
	{ 'N',
		"      --no-sandbox     where the kernel or a container refuses it, as for the "
		"daemon\n" },
};

static int help(void)
{
	printf("usage: multidropctl COMMAND [options]\n\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		printf("  %s %s\n      %s\n", commands[i].name, commands[i].arguments,
			commands[i].help);
	printf("  help [COMMAND]\n      this; more about a command, with an example\n"
	       "\n  -V, --version   print the version and exit\n"
	       "  -h, --help      print this and exit; behind a command: as help COMMAND\n\n"
	       "Exit status: 0 done; 1 refused or failed, with the reason on stderr; 64 usage;\n"
	       "69 daemon not reachable; 78 configuration.\n");
	return 0;
}

static int help_on(const struct command *c)
{
	printf("usage: multidropctl %s %s\n%s.\n%s%s\n", c->name, c->arguments, c->help,
		*c->about ? "\n" : "", c->about);
	for (size_t i = 0; i < ARRAY_LEN(option_help); i++)
		if (strchr(c->options, option_help[i].letter))
			fputs(option_help[i].text, stdout);
	printf("  -h, --help           print this and exit\n\nexample:\n  multidropctl %s%s%s\n",
		c->name, *c->example ? " " : "", c->example);
	return 0;
}

/* "help held": all whose name begins with these words. 0: there are none. */
static size_t help_on_words(int argc, char **argv)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		struct strview name = sv_str(commands[i].name);
		int words = 0;
		while (words < argc && sv_eq(sv_token(&name, ' '), sv_str(argv[words])))
			words++;
		if (words < argc)
			continue;
		if (n++)
			putchar('\n');
		(void)help_on(&commands[i]);
	}
	return n;
}

/* c: NULL: no command yet. */
static int misuse(const struct command *c, const char *what)
{
	fprintf(stderr, "multidropctl: %s; see multidropctl %s%s--help\n", what, c ? c->name : "",
		c ? " " : "");
	return EX_USAGE;
}

/* -1: go on; else the exit status. */
static int take_option(const struct command *c, int letter, struct ctl_call *call)
{
	uint64_t number;

	if (letter == 'h')
		return help_on(c);
	if (letter == '?')
		return misuse(c, "the command line cannot be read");
	if (!strchr(c->options, letter))
		return misuse(c, "an option that this command does not take");
	switch (letter) {
	case 'a':
		call->account = optarg;
		break;
	case 'c':
		call->config_path = optarg;
		call->config_given = true;
		break;
	case 's':
		call->socket = optarg;
		break;
	case 'S':
		call->secrets = optarg;
		break;
	case 'A':
		call->all = true;
		break;
	case 'w':
		call->wait = true;
		break;
	case 'j':
		call->json = true;
		break;
	case 'n':
		if (!sv_number(sv_str(optarg), CTL_SAMPLES_MAX, &number) || !number)
			return misuse(c, "--samples is a number from 1 to 500");
		call->samples = (uint32_t)number;
		break;
	case 't':
		call->to = optarg;
		break;
	case 'y':
		call->yes = true;
		break;
	case 'N':
		call->no_sandbox = true;
		break;
	}
	return -1;
}

/* Its argument stands last in its usage. */
static const char *missing(const struct command *c, char what[static 40])
{
	const char *blank = strrchr(c->arguments, ' ');

	(void)snprintf(what, 40, "%s is missing", blank ? blank + 1 : c->arguments);
	return what;
}

static int run_command(const struct command *c, int argc, char **argv)
{
	struct ctl_call call = { .config_path = CONF_FILE_DEFAULT, .samples = CTL_SAMPLES_DEFAULT };
	char what[40];
	int letter;

	while ((letter = getopt_long(argc, argv, "a:c:s:h", options, NULL)) != -1) {
		int status = take_option(c, letter, &call);
		if (status >= 0)
			return status;
	}
	if (strchr(c->options, 'a') && !call.account)
		return misuse(c, "--account is missing");
	if ((c->argument == ARGUMENT || c->argument == ARGUMENTS) && argc == optind)
		return misuse(c, missing(c, what));
	if (c->argument != ARGUMENTS && argc - optind > (c->argument != NO_ARGUMENT))
		return misuse(c, "too many words");
	call.argument = argv[optind];
	call.arguments = argv + optind;
	int status = c->run(&call);
	if (fflush(stdout) || ferror(stdout))
		return ctl_fail("the result could not be written");
	return status;
}

/* How many words of the command line name it; 0: not this one. */
static int matches(const struct command *c, int argc, char **argv)
{
	struct strview name = sv_str(c->name);
	int words = 0;

	while (name.len) {
		if (++words >= argc || !sv_eq(sv_token(&name, ' '), sv_str(argv[words])))
			return 0;
	}
	return words;
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	int words;

	fill_standard_descriptors();
	if (!strcmp(word, "-V") || !strcmp(word, "--version"))
		return puts("multidropctl " MULTIDROPD_VERSION) < 0;
	if (!strcmp(word, "-h") || !strcmp(word, "--help") || (!strcmp(word, "help") && argc == 2))
		return help();
	if (!strcmp(word, "help") && help_on_words(argc - 2, argv + 2))
		return 0;
	if (argc == 3 && !strcmp(argv[2], "--help") && help_on_words(1, argv + 1))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if ((words = matches(&commands[i], argc, argv))) {
			argv[words] = argv[0]; /* for getopt's complaints */
			return run_command(&commands[i], argc - words, argv + words);
		}
	if (!strcmp(word, "held") || !strcmp(word, "import")) {
		fprintf(stderr, "multidropctl: %s has %s; see multidropctl help %s\n", word,
			argc == 2 ? "parts" : "no such part", word);
		return EX_USAGE;
	}
	return misuse(NULL, *word ? "there is no such command" : "a command is missing");
}
