/*
 * SASL mechanisms (RFC 4422): which one, and what the client says. No I/O, no library state kept
 * beyond the exchange. Mechanisms so far: PLAIN (RFC 4616).
 */
#pragma once

#include "base/strbuf.h"

/* Appends base64("\0user\0password"). Both without NUL, which the configuration has checked. */
void sasl_plain(struct strbuf *out, struct strview user, struct strview password);

/*
 * Appends `text` of the server, with *** for the password and for the response that says it: some
 * servers echo what they did not understand.
 */
void sasl_mask(
	struct strbuf *out, struct strview text, struct strview user, struct strview password);
