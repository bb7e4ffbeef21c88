/*
 * How one value is read: a setter per type, named by the rows of the key table (conf_table.c).
 * Private to the configuration loader.
 */
#pragma once

#include "conf_internal.h"

/* One of the words that a key accepts. */
struct conf_word {
	const char *text;
	unsigned value;
};

struct conf_row;

/*
 * Reads `text` into *field (NULL: only checks it); `file` is the file that it stands in. -1: err
 * has the text of the fault, to come after the key's name.
 */
typedef int conf_set_fn(const struct conf_row *row, struct strview text, const char *file,
	void *field, struct err *err);

struct conf_row {
	enum conf_kind kind;
	const char *name;
	conf_set_fn *set;
	const char *fallback;  /* as it would be written; "": unset; NULL: see conf_file.c */
	const char *min, *max; /* as they would be written */
	const struct conf_word *words; /* ends with a NULL text */
	size_t offset; /* of the field in the section's object; CONF_NO_FIELD: none */
	unsigned flags;
};
#define CONF_NO_FIELD SIZE_MAX
#define CONF_LIST     (1u << 0)
#define CONF_REQUIRED (1u << 1)
#define CONF_SECRET   (1u << 2) /* no fault may show its value */

conf_set_fn set_bool;       /* bool */
conf_set_fn set_number;     /* uint32_t */
conf_set_fn set_port;       /* uint16_t */
conf_set_fn set_duration;   /* msec_t */
conf_set_fn set_size;       /* uint64_t */
conf_set_fn set_keep;       /* msec_t: "none", "forever" or a duration */
conf_set_fn set_word;       /* an enum */
conf_set_fn set_text;       /* char * */
conf_set_fn set_path;       /* char *, as seen from `file` */
conf_set_fn set_socket;     /* the same, short enough for a unix socket */
conf_set_fn set_listen;     /* char *, "ADDRESS:PORT" or "unix:/path" */
conf_set_fn set_host;       /* char *, a name or an IP address */
conf_set_fn set_address;    /* char * */
conf_set_fn set_item;       /* struct string_list */
conf_set_fn set_pin;        /* struct string_list */
conf_set_fn set_host_item;  /* struct string_list of names, "*.NAME" too */
conf_set_fn set_backup;     /* struct host_list */
conf_set_fn set_relay_host; /* struct conf_relay */
conf_set_fn set_protocol;   /* struct conf_relay */
conf_set_fn set_sender;     /* struct conf_relay */
conf_set_fn set_fallback;   /* char *; "<>" is "" */
