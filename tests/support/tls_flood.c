/*
 * A TLS server that says hello to one client and then sends records without data, as fast as they
 * go out, until the client closes. For X12: no scripting language can do that.
 *
 * usage: tls_flood CERT KEY KIND     KIND: a name of the table below
 * Prints its port on a line, and at the end why it ended and after how many records.
 */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char greeting[] = "+OK ready\r\n";

static bool key_update(SSL *ssl)
{
	return SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 && SSL_do_handshake(ssl) == 1;
}

static bool key_update_requested(SSL *ssl)
{
	return SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) == 1 && SSL_do_handshake(ssl) == 1;
}

static bool renegotiation(SSL *ssl)
{
	return SSL_renegotiate(ssl) == 1 && SSL_do_handshake(ssl) == 1;
}

static bool session_ticket(SSL *ssl)
{
	return SSL_new_session_ticket(ssl) == 1 && SSL_do_handshake(ssl) == 1;
}

static const struct {
	const char *name;
	bool (*send)(SSL *ssl);
	int version;
} kinds[] = {
	{ "key-update", key_update, TLS1_3_VERSION },
	{ "key-update-requested", key_update_requested, TLS1_3_VERSION },
	{ "session-ticket", session_ticket, TLS1_3_VERSION },
	{ "renegotiation", renegotiation, TLS1_2_VERSION },
};

static void fail(const char *what)
{
	fprintf(stderr, "%s\n", what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static int listener(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof sin;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sin, sizeof sin) || listen(fd, 5) ||
		getsockname(fd, (struct sockaddr *)&sin, &len))
		fail("socket");
	printf("%d\n", ntohs(sin.sin_port));
	fflush(stdout);
	return fd;
}

int main(int argc, char **argv)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	unsigned long records = 0;
	size_t kind = 0;

	signal(SIGPIPE, SIG_IGN);
	while (argc == 4 && kind < sizeof kinds / sizeof *kinds &&
		strcmp(kinds[kind].name, argv[3]))
		kind++;
	if (argc != 4 || kind == sizeof kinds / sizeof *kinds ||
		SSL_CTX_use_certificate_file(ctx, argv[1], SSL_FILETYPE_PEM) != 1 ||
		SSL_CTX_use_PrivateKey_file(ctx, argv[2], SSL_FILETYPE_PEM) != 1)
		fail("usage: tls_flood CERT KEY KIND");
	SSL_CTX_set_max_proto_version(ctx, kinds[kind].version);
	int fd = listener();
	SSL *ssl = SSL_new(ctx);
	SSL_set_fd(ssl, accept(fd, NULL, NULL));
	if (SSL_accept(ssl) != 1 || SSL_write(ssl, greeting, sizeof greeting - 1) <= 0)
		fail("handshake");
	while (kinds[kind].send(ssl))
		records++;
	printf("%lu\n", records);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
	return 0;
}
