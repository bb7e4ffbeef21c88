/*
 * Errors: a class that policy acts on, and a text that a person acts on.
 *
 * Convention of the project: a function returns 0 when fine, < 0 when it failed for good (pass it
 * up unchanged), > 0 for a named condition that the caller must handle. struct err is filled on
 * failure.
 */
#pragma once

#include "base/mem.h"
#include "base/strbuf.h"

enum err_class {
	ERR_NONE,
	ERR_NET,      /* connection refused, reset, closed early, name not found */
	ERR_TIMEOUT,  /* a deadline passed */
	ERR_TLS,      /* handshake, certificate, required TLS not offered */
	ERR_PROTO,    /* the peer broke the protocol */
	ERR_AUTH,     /* credentials refused */
	ERR_BUSY,     /* maildrop locked by another session; the password was right */
	ERR_THROTTLE, /* too many logins, says the peer */
	ERR_TEMP,     /* the peer says: later */
	ERR_PERM,     /* the peer says: never */
	ERR_LIMIT,    /* beyond one of our limits */
	ERR_UIDL,     /* the maildrop cannot be identified message by message */
	ERR_LOCAL,    /* disk, memory, descriptors of this machine */
	ERR_CONFIG,   /* only the administrator can mend it */
	ERR_CLASS_COUNT
};

struct err {
	enum err_class class;
	int code; /* errno, SMTP code or 0, as the class suggests */
	char text[320];
};

const char *err_class_name(enum err_class class); /* "NET", "TLS", ... */

/* Fills *e (which may be NULL) and returns -1, so that `return err_set(...)` reads well. */
int err_set(struct err *e, enum err_class class, int code, const char *fmt, ...) format_like(4, 5);
