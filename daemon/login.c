/* How a session begins; see login.h. Invariant: `printed` never grows with a secret in it. */
#include "login.h"

#include "tls.h"

#include <openssl/evp.h>

void login_init(struct login *l, const struct secret *secret,
	void (*on_secret)(void *ctx, const struct err *err), void *ctx)
{
	*l = (struct login){ .secret = secret, .on_secret = on_secret, .ctx = ctx };
}

void login_free(struct login *l)
{
	command_free(l->command);
	l->command = NULL;
	strbuf_wipe(&l->printed);
}

/* No other secret, and why, unless it is the same one: the server's refusal stands. */
static const struct err *still_refused(struct login *l, const struct err *why)
{
	struct err both;

	if (!why)
		return &l->refused;
	err_set(&both, l->refused.class, l->refused.code, "%.150s; %.150s", l->refused.text,
		why->text);
	l->refused = both;
	return &l->refused;
}

static void on_done(void *ctx, struct strview output, const struct err *err)
{
	struct login *l = ctx;
	bool again = l->refused.class != ERR_NONE;
	bool same = again && sv_eq(output, strbuf_view(&l->printed));
	struct err empty;

	l->command = NULL;
	strbuf_wipe(&l->printed);
	mem_grow(&l->printed.ptr, &l->printed.cap, output.len + 1, 1);
	strbuf_addv(&l->printed, output);
	if (!err && !output.len) {
		err_set(&empty, ERR_TEMP, 0, "password_command printed nothing");
		err = &empty;
	}
	if (again && (err || same))
		err = still_refused(l, err);
	else
		l->refused.class = ERR_NONE;
	l->on_secret(l->ctx, err);
}

int login_get(struct login *l, struct loop *loop, struct err *err)
{
	const struct command_ops ops = {
		.on_done = on_done, .ctx = l, .timeout_ms = LOGIN_COMMAND_MSEC
	};

	if (!l->secret->command)
		return 0;
	return command_run(loop->base, loop->runner, l->secret->command, &ops, &l->command, err)
		? -1
		: 1;
}

int login_renew(struct login *l, struct loop *loop, const struct err *refusal, struct err *err)
{
	int rc;

	l->refused = *refusal;
	rc = login_get(l, loop, err);
	if (rc < 0)
		*err = *still_refused(l, err);
	return rc;
}

struct strview login_secret(const struct login *l)
{
	return l->secret->command ? strbuf_view(&l->printed) : sv(l->secret->bytes, l->secret->len);
}

int login_target(const struct conf_provider *p, struct transport_target *target, struct err *err)
{
	*target = (struct transport_target){ .host = p->host,
		.port = p->port,
		.tls_at_once = p->tls.mode == TLS_IMPLICIT,
		.handshake_ms = p->timeout_ms };
	if (p->tls.mode == TLS_NONE)
		return 0;
	return tls_client_new(p->host, &p->tls, true, &target->tls, err);
}

static int md5(struct strview in, uint8_t out[POP3_MD5_OCTETS])
{
	return EVP_Digest(in.ptr, in.len, out, NULL, EVP_md5(), NULL) == 1 ? 0 : -1;
}

/* SASL_COUNT: none in particular. */
static const enum sasl_mech mechanisms[] = { [AUTH_AUTO] = SASL_COUNT,
	[AUTH_USER] = SASL_COUNT,
	[AUTH_APOP] = SASL_COUNT,
	[AUTH_PLAIN] = SASL_PLAIN,
	[AUTH_LOGIN] = SASL_LOGIN,
	[AUTH_CRAM_MD5] = SASL_CRAM_MD5,
	[AUTH_SCRAM_SHA_256] = SASL_SCRAM_SHA_256,
	[AUTH_XOAUTH2] = SASL_XOAUTH2,
	[AUTH_OAUTHBEARER] = SASL_OAUTHBEARER };

static enum pop3_auth pop3_auth(enum auth_mode auth)
{
	if (mechanisms[auth] != SASL_COUNT)
		return POP3_AUTH_SASL;
	if (auth == AUTH_USER)
		return POP3_AUTH_USER;
	return auth == AUTH_APOP ? POP3_AUTH_APOP : POP3_AUTH_AUTO;
}

struct pop3_params login_pop3_params(const struct login *l, const struct conf_account *a)
{
	static const enum pop3_tls tls[] = { [TLS_NONE] = POP3_TLS_NONE,
		[TLS_STARTTLS] = POP3_TLS_STLS,
		[TLS_IMPLICIT] = POP3_TLS_IMPLICIT };
	const struct conf_provider *p = a->provider;

	return (struct pop3_params){ .user = sv_str(a->user),
		.password = login_secret(l),
		.tls = tls[p->tls.mode],
		.auth = pop3_auth(p->auth),
		.mech = mechanisms[p->auth],
		.md5 = md5,
		.renewable = l->secret->command,
		.timeout_ms = (uint32_t)p->timeout_ms,
		.lf_lines = p->lf_lines };
}

struct smtp_params login_smtp_params(
	const struct login *l, const struct conf_relay *r, const char *helo)
{
	static const enum smtp_tls tls[] = { [TLS_NONE] = SMTP_TLS_NONE,
		[TLS_OPPORTUNISTIC] = SMTP_TLS_OPPORTUNISTIC,
		[TLS_STARTTLS] = SMTP_TLS_STARTTLS,
		[TLS_IMPLICIT] = SMTP_TLS_IMPLICIT };

	return (struct smtp_params){ .helo = helo,
		.lmtp = r->lmtp,
		.tls = tls[r->tls.mode],
		.user = sv_str(r->user),
		.password = login_secret(l),
		.mech = mechanisms[r->auth],
		.xforward = r->xforward,
		.dot_timeout_ms = (uint32_t)r->dot_timeout_ms };
}
