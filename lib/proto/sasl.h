/*
 * SASL mechanisms (RFC 4422): which one, and what the client says. No I/O; what POP3 (RFC 5034) and
 * SMTP (RFC 4954) have in common stands here, their command lines do not.
 *
 * Ours: PLAIN (RFC 4616), LOGIN, XOAUTH2, OAUTHBEARER (RFC 7628). libgsasl's: CRAM-MD5 (RFC 2195),
 * SCRAM (RFC 5802, 7677) and with it the only random number of the wire protocols, SCRAM's nonce.
 *
 * An exchange: sasl_new, sasl_begin for the command, sasl_answer for each challenge, sasl_accepted
 * when the server says that all is well. Each mechanism knows how many challenges it expects, so a
 * server that never stops asking is stopped.
 */
#pragma once

#include "base/err.h"
#include "base/strbuf.h"

/* Those that may be chosen for a server come first, the strongest in front. */
enum sasl_mech {
	SASL_SCRAM_SHA_256,
	SASL_SCRAM_SHA_1,
	SASL_CRAM_MD5,
	SASL_PLAIN,
	SASL_LOGIN,
	SASL_XOAUTH2,
	SASL_OAUTHBEARER,
	SASL_COUNT /* none */
};
#define SASL_BIT(mech) (1u << (mech))

/* What a server may make us compute before it has proved anything: about 0.1 s. */
#define SASL_SCRAM_ITERATIONS_MAX 100000

const char *sasl_name(enum sasl_mech mech);
/* Adds the mechanism of this name to a set of SASL_BIT()s; names that are not known change nothing.
 */
void sasl_offered(unsigned *offers, struct strview name);
/*
 * The strongest of those offered that works with this user and password; SASL_COUNT: none. One that
 * shows the password to whoever listens is chosen only if the stream is secured, and CRAM-MD5 and
 * SCRAM only if both can be prepared for them (RFC 4013: UTF-8, no control characters).
 */
enum sasl_mech sasl_strongest(
	unsigned offers, bool secured, struct strview user, struct strview secret);

struct sasl;

/* user and secret (a password or token) are borrowed until sasl_free(). -1: err, class CONFIG. */
int sasl_new(enum sasl_mech mech, struct strview user, struct strview secret, struct sasl **out,
	struct err *err) must_check;
void sasl_free(struct sasl *s); /* wipes what it had of the secret */

/*
 * What follows the mechanism's name in the command, base64. A NULL pointer: nothing, as the server
 * speaks first, or as it is longer than `room`: then it answers the first challenge. -1: err, the
 * exchange cannot begin.
 */
int sasl_begin(struct sasl *s, size_t room, struct strview *initial, struct err *err) must_check;
/*
 * challenge: what follows "+ " or "334 ". The line to be said, valid until the next call. -1: err;
 * the exchange is to be cancelled with "*".
 */
int sasl_answer(struct sasl *s, struct strview challenge, struct strview *line, struct err *err)
	must_check;
/* The server says yes. -1: err; it does so too early, or did not prove that it knows the password.
 */
int sasl_accepted(const struct sasl *s, struct err *err) must_check;
/* What the server said about a refused token, decoded; may be empty. */
struct strview sasl_failure(const struct sasl *s);

/*
 * Appends `text` of the server, with *** for the secret and for the line that was said last: some
 * servers echo what they did not understand. s may be NULL.
 */
void sasl_mask(
	struct strbuf *out, struct strview text, struct strview secret, const struct sasl *s);
