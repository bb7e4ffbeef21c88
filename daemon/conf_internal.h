/*
 * What the parts of the configuration loader share; nobody else includes this.
 *
 * conf_scan   file -> text that libconfuse reads right, and the words used as keys
 * conf_parse  text -> struct conf_tree: sections and settings as written, each with its place
 * conf_table  settings -> typed fields, by one table that describes every key
 * conf_value  the types: one value of the text -> one field
 * conf_secret, conf_map   the files that an account names
 * conf_file   all of them in order, and what one key decides about another
 */
#pragma once

#include "base/err.h"
#include "conf_file.h"
#include "core/config.h"

#include <sys/stat.h>

#define CONF_FILE_MAX   (1024 * 1024)      /* octets of one configuration file */
#define CONF_LIST_MAX   (64 * 1024 * 1024) /* octets of a map_file or recipients_file */
#define CONF_SECRET_MAX 1024               /* octets of a password */

enum conf_kind {
	CONF_ROOT,
	CONF_PROVIDER,
	CONF_RELAY,
	CONF_ACCOUNT,
	CONF_ENVELOPE,
	CONF_KIND_COUNT
};
const char *conf_kind_name(enum conf_kind kind);

struct conf_value {
	char *text;
	int line;
};

struct conf_setting {
	char *key;
	struct conf_place place;
	struct conf_value *values;
	size_t n, cap;
	size_t confirmed; /* more than n: libconfuse saw braces, so it is a list */
};

struct conf_section {
	enum conf_kind kind;
	char *title; /* NULL: CONF_ROOT */
	struct conf_place place;
	struct conf_section *parent;
	struct conf_setting *settings;
	size_t n, cap;
	void *object; /* the struct conf_* made of it, borrowed */
};

struct conf_source {
	const char *path; /* owned by config->files */
	struct conf_place included;
	struct stat st;
};

/* Everything as written. Sections are owned here; sections[0] is CONF_ROOT, over all files. */
struct conf_tree {
	struct config *config;
	struct faults *faults;
	enum conf_secrets secrets;
	struct conf_source *sources;
	size_t nsources, cap_sources;
	struct conf_section **sections;
	size_t nsections, cap_sections;
	bool broken;  /* a syntax error hides the rest of a file: do not complain about gaps */
	bool missing; /* a file could not be read: what is not defined may be there */
};

/* conf_scan.c */

/*
 * Reads a whole regular file into out (at most max octets), and the status of what was read into
 * st. -1: *err says why, without the path.
 */
int conf_read(const char *path, size_t max, struct strbuf *out, struct stat *st, struct err *err)
	must_check;

/* `path` as seen from the file that names it: relative paths start at that file's folder. */
char *conf_resolve(const char *naming_file, const char *path);

/*
 * Comments become blanks, strings are checked, and each word that stands before "=" goes into
 * words. An empty list comes out with CONF_EMPTY_LIST as its one item. False: faults were added,
 * the text is not to be parsed.
 */
#define CONF_EMPTY_LIST "\001"
bool conf_scan(struct strview in, const char *file, struct faults *f, struct strbuf *out,
	struct string_list *words) must_check;

/* conf_parse.c */
void conf_tree_load(struct conf_tree *t, const char *path);
void conf_tree_free(struct conf_tree *t); /* wipes all values: there may be a password */
const struct conf_setting *conf_find(const struct conf_section *s, const char *key); /* or NULL */
/* The one value of a setting; NULL when it is absent or empty. */
const char *conf_text(const struct conf_section *s, const char *key);
struct conf_place conf_at(const struct conf_section *s, const char *key); /* else the section's */
const struct conf_source *conf_source_of(const struct conf_tree *t, const char *file);

/* conf_table.c */

/* Checks and stores all settings of a section into its object; defaults where there are none. */
void conf_apply(struct conf_tree *t, struct conf_section *s, struct conf_keys *keys);

/* The table row by row, for the tests: false after the last. */
struct conf_described {
	enum conf_kind kind;
	const char *name, *fallback, *min, *max; /* NULL: none */
	const struct conf_word *words;           /* NULL: any; conf_value.h */
	bool required;
};
bool conf_describe(size_t i, struct conf_described *out);

/* conf_secret.c */

/*
 * The section's one password; faults when there is none, several, or one that others may read.
 * used: the file that it names must be there, as far as t->secrets wants that.
 */
void conf_secret_load(
	struct conf_tree *t, const struct conf_section *s, bool used, struct secret *out);
/* A password without a user is one for nothing. */
void conf_secret_unused(struct conf_tree *t, const struct conf_section *s);

/* conf_map.c */
void conf_domains_normalise(
	struct conf_tree *t, const struct conf_section *s, struct string_list *domains);
void conf_map_load(struct conf_tree *t, const struct conf_section *s, struct conf_account *a);
void conf_recipients_load(
	struct conf_tree *t, const struct conf_section *s, struct conf_account *a);
