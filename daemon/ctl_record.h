/* A message of the state as people and programs read it. */
#pragma once

#include "ctl.h"

/* Several lines: what it is, who has got it, where it is now. 0, or -1: *err says why. */
int record_text(
	struct store *store, const struct stored_record *r, struct strbuf *out, struct err *err);
/* The same as an object. NULL: *err says why. */
json_t *record_json(struct store *store, const struct stored_record *r, struct err *err);
