/*
 * Between a getmailrc as a file (import_getmail.c) and whom its [destination] is for
 * (import_getmail_to.c).
 */
#pragma once

#include "core/import.h"

struct gm_setting {
	char *section, *key, *value; /* lines of a value end in \n */
	int line;
};

struct gm {
	struct import *import;
	const char *file;
	struct gm_setting *settings;
	size_t n, cap;
	struct import_account *a;
	bool multidrop;
};

const char *gm_get(const struct gm *r, const char *section, const char *key); /* or NULL */
uint64_t gm_number(const struct gm *r, const char *section, const char *key); /* 0: not given */
/* The strings of a tuple, nested ones in reading order. */
void gm_tuple(struct gm *r, const char *section, const char *key, struct string_list *out);

/* Relay, mode, recipients. */
void gm_map_destination(struct gm *r);
