/*
 * Between the grammar of a fetchmailrc (import_fetchmail.c) and its meaning
 * (import_fetchmail_map.c).
 *
 * An entry holds what was written, as text: a server's options, or a user's. What an entry does not
 * say its parent says: user, server, defaults.
 */
#pragma once

#include "core/import.h"

enum fm_field {
	FM_NONE, /* an option that has no field: only its note counts */
	FM_NAME, /* the poll name */
	FM_SKIP,
	FM_VIA,
	FM_PROTOCOL,
	FM_SERVICE,
	FM_AUTH,
	FM_TIMEOUT,
	FM_INTERVAL,
	FM_ENVELOPE, /* the header; "" after `no envelope` */
	FM_ENVELOPE_SKIP,
	FM_QVIRTUAL,
	FM_LOCALDOMAINS,
	FM_AKA,
	FM_ESMTP_NAME,
	FM_ESMTP_PASSWORD,
	FM_USER,
	FM_PASSWORD,
	FM_LOCALS, /* "name", "left=right" or "*" */
	FM_SSL,
	FM_SSLPROTO,
	FM_SSLCERTCK,
	FM_SSLCERTFILE,
	FM_SMTPHOST,
	FM_SMTPADDRESS,
	FM_SMTPNAME,
	FM_LMTP,
	FM_KEEP,
	FM_LIMIT,
	FM_FETCHLIMIT,
	FM_BATCHLIMIT,
	FM_MDA,
	FM_DAEMON, /* `set` */
	FM_POSTMASTER,
	FM_FIELDS
};

enum fm_scope { GLOBAL, SERVER, USER };
enum fm_arguments { FLAG, NAME, NUMBER, NAMES, NUMBERS, LOCALS, HEADER };

struct fm_option {
	const char *word;
	enum fm_scope scope;
	enum fm_arguments arguments;
	enum fm_field field;
	enum import_section section;
	const char *note; /* what to say when it is switched on; NULL: nothing */
};
/* The option of that name, among those of `set` or all others; NULL: none. */
const struct fm_option *fm_option_named(struct strview word, bool in_set);

struct fm_entry {
	const struct fm_entry *parent; /* NULL: of none */
	int line;
	struct string_list values[FM_FIELDS];
	struct string_list notes[IMPORT_SECTIONS];
};

/* The values of a field, from the entry or the nearest parent that has some; never NULL. */
const struct string_list *fm_list(const struct fm_entry *e, enum fm_field field);
const char *fm_text(const struct fm_entry *e, enum fm_field field); /* the first; or NULL */
bool fm_on(const struct fm_entry *e, enum fm_field field);          /* a flag; false if not given */

/* One user of a server, with all that the file says about it; `set` has the global options. */
void fm_map(struct import *i, const char *file, const struct fm_entry *user,
	const struct fm_entry *set);
