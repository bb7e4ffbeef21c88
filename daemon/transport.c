/*
 * Sockets and TLS on the event loop; see transport.h.
 *
 * Invariants: a callback is the last thing that a handler does with a transport, or `dead` is
 * looked at after it; memory is freed only in loop_reap(). Plain sockets go straight to recv and
 * send; TLS goes through OpenSSL's own socket BIO, so there is no second buffer of ours.
 */
#include "transport.h"

#include "dns.h"
#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#define READS_PER_TURN   8  /* of TLS records, before the others have their turn */
#define READS_PER_CALL   64 /* of the socket, within one call into OpenSSL; two make a record */
#define IDLE_CALLS_MAX   16 /* so many calls in a row used all of these and brought nothing */
#define RESOLVE_MSEC     30000
#define KEEPALIVE_IDLE_S 60

/* PRIORITY_USUAL is libevent's default for two of them. */
enum { PRIORITY_FIRST, PRIORITY_USUAL, PRIORITY_COUNT };

enum transport_state { RESOLVING, CONNECTING, HANDSHAKE, OPEN, CLOSED };

struct transport {
	struct loop *loop;
	const struct transport_ops *ops;
	void *ctx;
	enum transport_state state;
	bool dead, blocked;
	int fd;
	SSL *ssl;
	int reads_left, idle_calls;
	struct tls_client *tls;
	bool tls_at_once, first;
	msec_t handshake_ms;
	struct event *readable, *writable, *timer;
	struct dns_query *query;
	struct addrinfo *addresses, *next_address;
	struct err last; /* of the addresses tried so far */
	char *host;
	char ip[INET6_ADDRSTRLEN];
	char cipher[80];
	struct transport *next_dead;
};

/* ---- loop ---- */

int loop_init(struct loop *loop, struct clock *clock, struct err *err)
{
	struct event_config *config = event_config_new();

	*loop = (struct loop){ .clock = clock, .runner = -1 };
	event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	loop->base = event_base_new_with_config(config);
	event_config_free(config);
	if (loop->base && !event_base_priority_init(loop->base, PRIORITY_COUNT))
		loop->dns = dns_new(loop->base);
	if (!loop->dns)
		return err_set(err, ERR_LOCAL, errno, "event loop: %s", strerror(errno));
	loop->buffer = mem_alloc(TRANSPORT_BUFFER_OCTETS);
	return 0;
}

void loop_free(struct loop *loop)
{
	loop_reap(loop);
	dns_free(loop->dns);
	event_base_free(loop->base);
	free(loop->buffer);
	*loop = (struct loop){ 0 };
}

msec_t loop_now(const struct loop *loop)
{
	return loop->clock->now(loop->clock);
}

void loop_reap(struct loop *loop)
{
	while (loop->dead) {
		struct transport *t = loop->dead;
		loop->dead = t->next_dead;
		free(t->host);
		free(t);
	}
}

/* ---- life ---- */

static void drop_socket(struct transport *t)
{
	if (t->readable)
		event_free(t->readable);
	if (t->writable)
		event_free(t->writable);
	t->readable = t->writable = NULL;
	SSL_free(t->ssl);
	t->ssl = NULL;
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

void transport_free(struct transport *t)
{
	if (!t || t->dead)
		return;
	t->dead = true;
	t->state = CLOSED;
	/* Be polite: close_notify, if it goes out at once. Only over a session without a fault. */
	if (t->ssl && SSL_is_init_finished(t->ssl))
		(void)SSL_shutdown(t->ssl);
	drop_socket(t);
	event_free(t->timer);
	dns_cancel(t->query);
	if (t->addresses)
		freeaddrinfo(t->addresses);
	tls_client_free(t->tls);
	t->next_dead = t->loop->dead;
	t->loop->dead = t;
}

static void closed(struct transport *t, const struct err *err)
{
	t->state = CLOSED;
	drop_socket(t);
	event_del(t->timer);
	t->ops->on_closed(t->ctx, err);
}

static void arm_timer(struct transport *t, msec_t ms)
{
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	event_add(t->timer, &tv);
}

static void opened(struct transport *t)
{
	t->state = OPEN;
	event_del(t->timer);
	t->ops->on_open(t->ctx);
}

/* ---- TLS ---- */

/*
 * Within one call OpenSSL reads on for as long as there are records without data (KeyUpdate,
 * HelloRequest): a peer who sends nothing else would have the loop for himself, and no deadline
 * would ever pass. So the socket seems to run dry after a while. A BIO callback.
 */
static long run_dry(BIO *bio, int op, const char *data, size_t len, int cmd, long arg, int ret,
	size_t *processed)
{
	struct transport *t = (struct transport *)BIO_get_callback_arg(bio);

	if (op != BIO_CB_READ || t->reads_left-- > 0)
		return ret;
	BIO_set_retry_read(bio);
	return -1;
}

static void prepare_call(struct transport *t)
{
	errno = 0;
	ERR_clear_error(); /* one thread, one queue: what another connection left is not ours */
	t->reads_left = READS_PER_CALL;
}

/* OpenSSL wants more of the peer: it comes, or it is a flood. */
static void wait_for_more(struct transport *t)
{
	struct err err;

	if (t->reads_left >= 0 || ++t->idle_calls < IDLE_CALLS_MAX)
		return;
	err_set(&err, ERR_LIMIT, 0, "TLS: one record after the other, and no data");
	closed(t, &err);
}

static void handshake(struct transport *t)
{
	struct err err;

	prepare_call(t);
	int rc = SSL_do_handshake(t->ssl);
	int why = SSL_get_error(t->ssl, rc);
	if (rc == 1 && tls_check_pin(t->tls, t->ssl, &err)) {
		closed(t, &err);
	} else if (rc == 1) {
		opened(t);
	} else if (why == SSL_ERROR_WANT_READ) {
		wait_for_more(t);
	} else if (why == SSL_ERROR_WANT_WRITE) {
		event_add(t->writable, NULL);
	} else {
		tls_explain(t->ssl, why, &err);
		closed(t, &err);
	}
}

static void start_tls(struct transport *t)
{
	t->state = HANDSHAKE;
	t->ssl = tls_session(t->tls);
	ensure(SSL_set_fd(t->ssl, t->fd) == 1);
	BIO_set_callback_arg(SSL_get_rbio(t->ssl), (char *)t);
	BIO_set_callback_ex(SSL_get_rbio(t->ssl), run_dry);
	arm_timer(t, t->handshake_ms);
	event_add(t->writable,
		NULL); /* from the loop: no callback comes out of transport_starttls() */
}

void transport_starttls(struct transport *t)
{
	ensure(t->state == OPEN && t->tls && !t->ssl);
	start_tls(t);
}

/* ---- reading ---- */

static void stream_error(struct transport *t, int error)
{
	struct err err;

	err_set(&err, error == ETIMEDOUT ? ERR_TIMEOUT : ERR_NET, error, "connection: %s",
		strerror(error));
	closed(t, &err);
}

static void read_plain(struct transport *t)
{
	ssize_t n = recv(t->fd, t->loop->buffer, TRANSPORT_BUFFER_OCTETS, 0);

	if (n > 0)
		t->ops->on_data(t->ctx, t->loop->buffer, (size_t)n);
	else if (n == 0)
		closed(t, NULL);
	else if (errno != EAGAIN && errno != EINTR)
		stream_error(t, errno);
}

static void tls_failed(struct transport *t, int rc)
{
	struct err err;
	int why = SSL_get_error(t->ssl, rc);

	if (why == SSL_ERROR_WANT_READ) {
		wait_for_more(t);
	} else if (why == SSL_ERROR_WANT_WRITE) {
		event_add(t->writable, NULL);
	} else if (why == SSL_ERROR_ZERO_RETURN) {
		closed(t, NULL);
	} else if (why == SSL_ERROR_SYSCALL) {
		stream_error(t, errno ? errno : ECONNRESET);
	} else {
		tls_explain(t->ssl, why, &err);
		closed(t, &err);
	}
}

static void read_tls(struct transport *t)
{
	for (int i = 0; i < READS_PER_TURN; i++) {
		prepare_call(t);
		int n = SSL_read(t->ssl, t->loop->buffer, TRANSPORT_BUFFER_OCTETS);
		if (n <= 0) {
			tls_failed(t, n);
			return;
		}
		t->idle_calls = 0;
		t->ops->on_data(t->ctx, t->loop->buffer, (size_t)n);
		if (t->dead || t->state != OPEN)
			return;
	}
	/* OpenSSL may hold a whole record that the socket will not announce again. */
	if (SSL_pending(t->ssl))
		event_active(t->readable, EV_READ, 0);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct transport *t = arg;

	if (t->state == HANDSHAKE)
		handshake(t);
	else if (t->state == OPEN && t->ssl)
		read_tls(t);
	else if (t->state == OPEN)
		read_plain(t);
}

/* ---- writing ---- */

size_t transport_write(struct transport *t, const char *buf, size_t len)
{
	if (t->state != OPEN || !len)
		return 0;
	prepare_call(t);
	ssize_t n = t->ssl ? SSL_write(t->ssl, buf, len > INT32_MAX ? INT32_MAX : (int)len)
			   : send(t->fd, buf, len, MSG_NOSIGNAL);
	if (n < 0)
		n = 0; /* a broken connection shows itself to the next read, with its reason */
	if ((size_t)n < len) {
		t->blocked = true;
		event_add(t->writable, NULL);
	}
	return (size_t)n;
}

void transport_ask_writable(struct transport *t)
{
	t->blocked = true;
	event_add(t->writable, NULL);
}

static void next_address(struct transport *t);

static void connected(struct transport *t)
{
	if (t->tls && t->tls_at_once)
		start_tls(t);
	else
		opened(t);
}

static void on_connect(struct transport *t)
{
	int error = 0;
	socklen_t len = sizeof error;

	getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error) {
		err_set(&t->last, ERR_NET, error, "connect to %s [%s]: %s", t->host, t->ip,
			strerror(error));
		next_address(t);
	} else {
		event_add(t->readable, NULL);
		connected(t);
	}
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct transport *t = arg;

	if (t->state == CONNECTING) {
		on_connect(t);
	} else if (t->state == HANDSHAKE) {
		handshake(t);
	} else if (t->state == OPEN && t->blocked) {
		t->blocked = false;
		t->ops->on_writable(t->ctx);
	}
}

/* ---- connecting ---- */

static void set_options(int fd)
{
	int on = 1, idle = KEEPALIVE_IDLE_S;

	/* A failure costs speed or patience, nothing else. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
}

static int try_address(struct transport *t, const struct sockaddr *sa, socklen_t len)
{
	drop_socket(t);
	t->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (t->fd < 0)
		return -1;
	if (sa->sa_family != AF_UNIX)
		set_options(t->fd);
	if (connect(t->fd, sa, len) && errno != EINPROGRESS)
		return -1;
	t->state = CONNECTING;
	t->readable = event_new(t->loop->base, t->fd, EV_READ | EV_PERSIST, on_readable, t);
	t->writable = event_new(t->loop->base, t->fd, EV_WRITE, on_writable, t);
	(void)event_priority_set(t->readable, t->first ? PRIORITY_FIRST : PRIORITY_USUAL);
	event_add(t->writable, NULL);
	arm_timer(t, TRANSPORT_CONNECT_MSEC);
	return 0;
}

static void next_address(struct transport *t)
{
	while (t->next_address) {
		struct addrinfo *ai = t->next_address;
		t->next_address = ai->ai_next;
		getnameinfo(
			ai->ai_addr, ai->ai_addrlen, t->ip, sizeof t->ip, NULL, 0, NI_NUMERICHOST);
		if (!try_address(t, ai->ai_addr, ai->ai_addrlen))
			return;
		err_set(&t->last, errno == EMFILE || errno == ENFILE ? ERR_LOCAL : ERR_NET, errno,
			"connect to %s [%s]: %s", t->host, t->ip, strerror(errno));
	}
	closed(t, &t->last);
}

static void on_resolved(void *ctx, struct addrinfo *list, const struct err *err)
{
	struct transport *t = ctx;

	t->query = NULL;
	if (!list) {
		closed(t, err);
		return;
	}
	t->addresses = t->next_address = list;
	next_address(t);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct transport *t = arg;
	struct err err;

	switch (t->state) {
	case RESOLVING:
		dns_cancel(t->query);
		t->query = NULL;
		err_set(&err, ERR_TIMEOUT, 0, "name %s: no answer in %d s", t->host,
			RESOLVE_MSEC / 1000);
		closed(t, &err);
		break;
	case CONNECTING:
		err_set(&t->last, ERR_TIMEOUT, 0, "connect to %s [%s]: no answer in %d s", t->host,
			t->ip, TRANSPORT_CONNECT_MSEC / 1000);
		next_address(t);
		break;
	case HANDSHAKE:
		err_set(&err, ERR_TIMEOUT, 0, "TLS handshake: not complete in %lld s",
			(long long)t->handshake_ms / 1000);
		closed(t, &err);
		break;
	case OPEN:
	case CLOSED:
		break;
	}
}

/* on_closed must not be called from within transport_open: the timer does it at once. */
static void on_unix_failed(evutil_socket_t fd, short what, void *arg)
{
	struct transport *t = arg;

	closed(t, &t->last);
}

static void connect_unix(struct transport *t, const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t len = strlen(path);
	bool fits = len < sizeof sun.sun_path;

	if (fits)
		memcpy(sun.sun_path, path, len + 1);
	if (fits && !try_address(t, (struct sockaddr *)&sun, sizeof sun))
		return;
	err_set(&t->last, ERR_NET, errno, "connect to %s: %s", path,
		fits ? strerror(errno) : "the path is too long for a socket");
	event_free(t->timer);
	t->timer = event_new(t->loop->base, -1, 0, on_unix_failed, t);
	arm_timer(t, 0);
}

struct transport *transport_open(struct loop *loop, const struct transport_target *target,
	const struct transport_ops *ops, void *ctx)
{
	struct transport *t = mem_zalloc(sizeof *t);

	t->loop = loop;
	t->ops = ops;
	t->ctx = ctx;
	t->fd = -1;
	t->state = RESOLVING;
	t->tls = target->tls;
	t->tls_at_once = target->tls_at_once;
	t->first = target->first;
	t->handshake_ms = target->handshake_ms;
	t->timer = event_new(loop->base, -1, 0, on_timer, t);
	t->host = mem_strdup(target->unix_path ? target->unix_path : target->host);
	if (target->unix_path) {
		connect_unix(t, target->unix_path);
	} else {
		t->query = dns_resolve(loop->dns, target->host, target->port, on_resolved, t);
		arm_timer(t, RESOLVE_MSEC);
	}
	return t;
}

bool transport_is_open(const struct transport *t)
{
	return t->state == OPEN;
}

const char *transport_peer_ip(const struct transport *t)
{
	return t->ip;
}

const char *transport_cipher(struct transport *t)
{
	if (!t->ssl || !SSL_is_init_finished(t->ssl))
		return "";
	snprintf(t->cipher, sizeof t->cipher, "%s %s", SSL_get_version(t->ssl),
		SSL_get_cipher_name(t->ssl));
	return t->cipher;
}
