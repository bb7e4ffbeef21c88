/*
 * The limit on the SMTP side, where a round trip takes long: sends the same message again and again
 * over a number of connections, a process each. MAIL, RCPT and DATA are one write (RFC 2920); with
 * `-g` the final dot and the next message's group are one write as well.
 */
#include <sys/wait.h>

#include "limits.h"

static struct peer peer;

static void expect(const char *code)
{
	char *line = peer_line(&peer);
	while (!strncmp(line, code, 3) && line[3] == '-')
		line = peer_line(&peer);
	if (strncmp(line, code, 3))
		errx(1, "the SMTP server says %s", line);
}

static void say(const char *text)
{
	peer_write(&peer, text, strlen(text));
}

static void envelope_accepted(void)
{
	expect("250");
	expect("250");
	expect("354");
}

static void feed(long port, const char *envelope, const char *content, long count, bool grouped)
{
	char *last = strdup(content), *group = NULL;
	last[strlen(content) - strlen(envelope)] = 0; /* without the next message's group */
	if (!last || asprintf(&group, "%s", grouped ? content : last) < 0)
		err(1, "memory");
	peer_connect(&peer, port);
	expect("220");
	say("EHLO bench.example\r\n");
	expect("250");
	for (long i = 0; i < count; i++) {
		if (i == 0 || !grouped)
			say(envelope);
		envelope_accepted();
		say(i + 1 < count ? group : last);
		expect("250");
	}
	say("QUIT\r\n");
	expect("221");
}

/* A message of about so many octets, its final dot, and the envelope of the next. */
static char *make_content(const char *envelope, long octets)
{
	static const char head[] = "From: <anna@outside.example>\r\nSubject: bench\r\n\r\n";
	static const char line[] =
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n";
	size_t lines = (size_t)octets / (sizeof line - 1) + 1;
	char *content = malloc(sizeof head + lines * sizeof line + 3 + strlen(envelope) + 1),
	     *at = content;
	if (!content)
		err(1, "memory");
	at = mempcpy(at, head, sizeof head - 1);
	while (lines--)
		at = mempcpy(at, line, sizeof line - 1);
	at = mempcpy(at, ".\r\n", 3);
	memcpy(at, envelope, strlen(envelope) + 1);
	return content;
}

int main(int argc, char **argv)
{
	long sessions = 1, messages = 1, octets = 4096;
	const char *to = "hans@firma.example";
	bool grouped = false;
	int option;
	while ((option = getopt(argc, argv, "s:m:l:t:g")) != -1) {
		switch (option) {
		case 's':
			sessions = number(optarg, 1, 1000);
			break;
		case 'm':
			messages = number(optarg, 1, 100000000);
			break;
		case 'l':
			octets = number(optarg, 1, 1L << 30);
			break;
		case 't':
			to = optarg;
			break;
		case 'g':
			grouped = true;
			break;
		default:
			return 64;
		}
	}
	if (argc - optind != 1)
		errx(64,
			"usage: smtp_feed [-g] [-s sessions] [-m messages] [-l octets] [-t "
			"recipient] PORT");
	char envelope[512];
	snprintf(envelope, sizeof envelope,
		"MAIL FROM:<anna@outside.example>\r\nRCPT TO:<%s>\r\nDATA\r\n", to);
	char *content = make_content(envelope, octets);
	for (long i = 0; i < sessions; i++) {
		pid_t child = fork();
		if (child < 0)
			err(1, "fork");
		if (child == 0) {
			long count = messages / sessions + (i < messages % sessions);
			if (count)
				feed(number(argv[optind], 1, 65535), envelope, content, count,
					grouped);
			exit(0);
		}
	}
	int status, failed = 0;
	while (wait(&status) > 0)
		failed |= status;
	return failed != 0;
}
