/*
 * How a session begins: whom it connects to with which TLS, and what it logs in with.
 *
 * The secret is the configuration's, or what its password_command prints: that is run anew for each
 * login, and once more in the same session when the server refuses what it had printed.
 */
#pragma once

#include "command.h"
#include "core/config.h"
#include "proto/pop3.h"
#include "proto/smtp.h"
#include "transport.h"

#define LOGIN_COMMAND_MSEC 30000 /* for a password_command to end */

struct login {
	const struct secret *secret; /* borrowed */
	struct strbuf printed;       /* by the command; wiped with the next, and by login_free() */
	struct command *command;     /* running; else NULL */
	struct err refused;          /* by the server; and why there is no other, until there is */
	void (*on_secret)(void *ctx, const struct err *err); /* err NULL: there it is */
	void *ctx;
};

void login_init(struct login *l, const struct secret *secret,
	void (*on_secret)(void *ctx, const struct err *err), void *ctx);
void login_free(struct login *l); /* no callback any more */
/* 0: the secret is there; 1: on_secret will tell, in a later turn; -1: err. */
int login_get(struct login *l, struct loop *loop, struct err *err) must_check;
/*
 * The server refused it, with this error: gets another. 1, -1: as login_get(). The error, here or
 * of on_secret, is still the server's when there is no other, since a refusal counts: the command
 * failed, or prints the same again. Whoever ends the session meanwhile finds it in `refused`.
 */
int login_renew(struct login *l, struct loop *loop, const struct err *refusal, struct err *err)
	must_check;
struct strview login_secret(const struct login *l);

/* Where to, for a provider. -1: err, its TLS settings are of no use. */
int login_target(const struct conf_provider *p, struct transport_target *target, struct err *err)
	must_check;
/* Borrows from l and the account. */
struct pop3_params login_pop3_params(const struct login *l, const struct conf_account *a);
/* Borrows from l, the relay's section and helo. */
struct smtp_params login_smtp_params(
	const struct login *l, const struct conf_relay *r, const char *helo);
