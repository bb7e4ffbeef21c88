/*
 * The limit on the POP3 side: drains maildrops, one after the other, and throws the mail away. RETR
 * and DELE are pipelined, `-w` messages ahead; `-k` keeps the mail. Prints messages and octets.
 */
#include "limits.h"

static struct peer peer;
static long messages, octets;

static void say(const char *text)
{
	peer_write(&peer, text, strlen(text));
}

static void expect_ok(void)
{
	char *line = peer_line(&peer);
	if (strncmp(line, "+OK", 3))
		errx(1, "the POP3 server says %s", line);
}

/* The lines of a message, up to the one with a single dot. */
static void skip_message(void)
{
	/* How much of CR LF . CR LF was seen, from the state behind a line end. */
	static const char end[] = "\r\n.\r\n";
	int seen = 2;
	for (;;) {
		char *from = peer.data + peer.start, *stop = peer.data + peer.end, *at = from;
		while (at < stop && seen < 5) {
			if (seen == 0 && *at != '\r') {
				at = memchr(at, '\r', (size_t)(stop - at));
				if (!at) {
					at = stop;
					break;
				}
			}
			seen = *at == end[seen] ? seen + 1 : *at == '\r';
			at++;
		}
		octets += at - from;
		peer.start += (size_t)(at - from);
		if (seen == 5)
			return;
		peer_fill(&peer);
	}
}

static void ask(long n, bool keep)
{
	char command[64];
	snprintf(command, sizeof command, keep ? "RETR %ld\r\n" : "RETR %ld\r\nDELE %ld\r\n", n, n);
	say(command);
}

static void drain(long port, const char *user, const char *password, long window, bool keep)
{
	char command[512];
	peer_connect(&peer, port);
	expect_ok();
	snprintf(command, sizeof command, "USER %s\r\n", user);
	say(command);
	expect_ok();
	snprintf(command, sizeof command, "PASS %s\r\n", password);
	say(command);
	expect_ok();
	say("STAT\r\n");
	char *answer = peer_line(&peer);
	if (strncmp(answer, "+OK ", 4))
		errx(1, "the POP3 server says %s", answer);
	long count = strtol(answer + 4, NULL, 10), asked = 0;
	for (long n = 1; n <= count; n++) {
		while (asked < count && asked < n + window - 1)
			ask(++asked, keep);
		expect_ok();
		skip_message();
		if (!keep)
			expect_ok();
	}
	messages += count;
	say("QUIT\r\n");
	expect_ok();
	close(peer.fd);
}

int main(int argc, char **argv)
{
	long window = 32;
	bool keep = false;
	int option;
	while ((option = getopt(argc, argv, "w:k")) != -1) {
		if (option == 'w')
			window = number(optarg, 1, 1000);
		else if (option == 'k')
			keep = true;
		else
			return 64;
	}
	if (argc - optind < 3)
		errx(64, "usage: pop3_drain [-k] [-w window] PORT PASSWORD USER...");
	long port = number(argv[optind], 1, 65535);
	for (int i = optind + 2; i < argc; i++)
		drain(port, argv[i], argv[optind + 1], window, keep);
	printf("%ld %ld\n", messages, octets);
	return 0;
}
