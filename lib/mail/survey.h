/*
 * Which header of a maildrop carries the envelope recipient? Evidence from many header blocks, and
 * the rules that follow from it.
 *
 * Nothing here judges a message itself: each header is tried as the only rule of resolve(), in each
 * position, and what resolves most and names more than one person is the answer. So the advice
 * holds by construction: what was counted here is what the daemon will do.
 *
 * Owns its result; reads the rules and the headers.
 */
#pragma once

#include "mail/resolve.h"

#define SURVEY_BLOCK_MAX_OCTETS (64 * 1024) /* larger header blocks are left out */
#define SURVEY_ENOUGH           20          /* samples; with fewer the answer is called uncertain */
#define SURVEY_ROWS_MAX         64          /* header names that are looked into */

/* Where a header stands. The first two are position "top" in the configuration. */
enum survey_place {
	PLACE_TOP,    /* above the first Received line */
	PLACE_INSIDE, /* below it, above the trust boundary that trusted_by makes */
	PLACE_BOTTOM, /* the last of its name, below the author's lines */
	PLACE_COUNT
};

struct survey_list {
	char **items;
	size_t n, cap;
};

struct survey_row { /* a header name */
	char *header;
	uint32_t present;       /* samples that have it anywhere */
	enum survey_place best; /* where most of them have it */
	enum envelope_pick pick;
	uint32_t placed;   /* samples that have it in that place */
	uint32_t hits;     /* samples that resolve by it alone */
	uint32_t ours;     /* hits, and samples in which it names the POP3 mailbox */
	uint32_t several;  /* samples in which one line of it names several people */
	uint32_t distinct; /* local parts, of values in that place, prefix removed */
	bool constant;     /* always the same local part: it names the mailbox */
	bool mixed;        /* some samples have it in another of the places */
};

struct survey_host {
	char *name;
	uint32_t seen;  /* samples in whose unbroken chain from the top it is the `by` */
	bool suggested; /* it, or a wildcard over it, is in `trusted_by` */
};

enum survey_verdict {
	SURVEY_FOUND,
	SURVEY_CONSTANT, /* what is there always says the same: it names the mailbox */
	SURVEY_NOTHING   /* no header that answers for most of the samples */
};

enum survey_copies {
	COPIES_UNKNOWN,
	COPIES_EACH,  /* one per recipient */
	COPIES_JOINED /* one that lists several recipients */
};

enum survey_certainty { CERTAINTY_WEAK, CERTAINTY_LIKELY, CERTAINTY_HIGH };

struct survey {
	uint32_t samples;
	uint32_t unread;         /* too large or no header at all: not among the samples */
	struct survey_row *rows; /* the best first */
	size_t nrows, cap_rows;
	struct survey_host *hosts;
	size_t nhosts, cap_hosts;
	enum survey_verdict verdict;
	enum survey_certainty certainty;
	enum survey_copies copies;
	/* With SURVEY_FOUND, rows[0] is the envelope header, and with it go: */
	struct survey_list trusted_by, strip_prefix;
	struct survey_list doubts;   /* why it is not surer */
	struct survey_list warnings; /* what the administrator has to know */
};

/*
 * account: domains, own mailbox, recipients_file; its strip_prefix and trusted_by are kept where
 * they fit. The headers are complete (header_end was called).
 */
void survey(const struct resolve_rules *account, const struct header *headers, size_t n,
	struct survey *out);
void survey_free(struct survey *s);

const char *survey_place_name(enum survey_place p);         /* "top", "inside", "bottom" */
const char *survey_position_name(enum survey_place p);      /* "top", "bottom" */
const char *survey_pick_name(enum envelope_pick pick);      /* "first", "last", "all" */
const char *survey_verdict_name(enum survey_verdict v);     /* "found", "constant", "nothing" */
const char *survey_copies_name(enum survey_copies c);       /* "unknown", "each", "joined" */
const char *survey_certainty_name(enum survey_certainty c); /* "weak", "likely", "high" */
