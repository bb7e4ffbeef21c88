/*
 * Moving from another fetcher: its configuration in, the same in the keys of ours out.
 *
 * Pure: bytes in, accounts out, or faults with FILE:LINE. Each reader fills values in our own
 * vocabulary and a note for everything that has no equivalent here, was dangerous there, or is for
 * a person to decide; import_print() alone makes text of them. A password is in no value, note,
 * fault or text: it leaves by import_print()'s list of secrets.
 */
#pragma once

#include "core/config.h"

#define IMPORT_FILE_MAX     (1024 * 1024) /* octets of a file */
#define IMPORT_ACCOUNTS_MAX 10000
#define IMPORT_DECIDE       "DECIDE: " /* how a note begins that a person has to act upon */

enum import_section { IMPORT_PROVIDER, IMPORT_RELAY, IMPORT_ACCOUNT, IMPORT_SECTIONS };

enum import_key { /* the rows of the table in import_print.c, in the order of the output */
	KEY_HOST,
	KEY_PORT,
	KEY_TLS,
	KEY_TLS_CA_FILE,
	KEY_AUTH,
	KEY_TIMEOUT,
	KEY_STRIP_PREFIX,
	KEY_RELAY_HOST,
	KEY_BACKUP_HOSTS,
	KEY_RELAY_PORT,
	KEY_PROTOCOL,
	KEY_RELAY_USER,
	KEY_MAX_MESSAGES,
	KEY_ENABLED,
	KEY_USER,
	KEY_PASSWORD_COMMAND,
	KEY_INTERVAL,
	KEY_MODE,
	KEY_RECIPIENT,
	KEY_DOMAINS,
	KEY_MAP,
	KEY_ENVELOPE, /* of the account: the provider's section stays one for all */
	KEY_PICK,
	KEY_POSTMASTER,
	KEY_KEEP,
	KEY_MAX_SIZE,
	KEY_FETCH_LIMIT,
	IMPORT_KEYS
};

struct import_account {
	struct conf_place place;
	struct string_list values[IMPORT_KEYS]; /* one item, but for lists */
	struct string_list notes[IMPORT_SECTIONS];
	char *password, *relay_password; /* NULL: not there; wiped when freed */
};

struct import { /* zeroed to begin with */
	struct import_account *accounts;
	size_t n, cap;
	struct string_list notes; /* about the whole */
	struct faults faults;
};

/* A file that has to hold a password. */
struct import_secret {
	char *path;
	struct strview password; /* borrowed from the import */
};
struct import_secrets {
	struct import_secret *items;
	size_t n, cap;
};

/*
 * Each adds the accounts of one file; `file` names it in faults and notes and outlives *i. When
 * i->faults has errors afterwards, the rest of *i is good for import_free() only.
 */
typedef void import_reader(struct import *i, const char *file, struct strview text);
import_reader import_fetchmailrc, import_getmailrc, import_pullmail;

/*
 * The configuration. `secrets_dir` is where password_file points; what has to lie there goes to
 * *secrets, which may be NULL: then a comment says where to take it from.
 */
void import_print(const struct import *i, const char *secrets_dir, struct import_secrets *secrets,
	struct strbuf *out);
void import_secrets_free(struct import_secrets *s);
void import_free(struct import *i);

/* ---- for the readers ---- */

/* The new account is valid until the next one; NULL: too many, and the faults say so. */
struct import_account *import_add_account(struct import *i, struct conf_place place);
void import_set(struct import_account *a, enum import_key key, const char *fmt, ...)
	format_like(3, 4); /* replaces */
void import_add(struct import_account *a, enum import_key key, struct strview item);
const char *import_get(const struct import_account *a, enum import_key key); /* or NULL */
void import_note(struct import_account *a, enum import_section section, const char *fmt, ...)
	format_like(3, 4);
void import_note_all(struct import *i, const char *fmt, ...) format_like(2, 3); /* once */
/* The map line "left = right", unless there is one for that left side or it changes nothing. */
void import_map(struct import_account *a, const char *left, const char *right);
/* Takes the account's TLS for what it is, and says what it means when there is none. */
void import_tls(struct import_account *a, const char *tls);
/* Refuses what the configuration or a password file cannot hold; a reader's last step. */
void import_check(struct import *i, size_t from);
