/*
 * Who is this message for, and why. The one place that decides it.
 *
 * Trust by position: the sender can write any header himself, so only lines that the provider
 * demonstrably added count. Rules are tried in order; the first header with a usable address
 * decides and nothing is ever joined to it. What no rule answers is unresolved: never dropped,
 * bounced or guessed. Every candidate keeps its verdict, so that an administrator sees the reason.
 *
 * Owns nothing but its result; reads the rules and the header block. Linear in the block's size.
 */
#pragma once

#include "mail/address.h"
#include "mail/header.h"

#define RESOLVE_RECIPIENTS_MAX 1000

enum resolve_mode { RESOLVE_MULTIDROP, RESOLVE_SINGLE };
enum envelope_position { POSITION_TOP, POSITION_BOTTOM };
enum envelope_pick { PICK_FIRST, PICK_LAST, PICK_ALL };
enum unresolved_policy {
	UNRESOLVED_POSTMASTER,
	UNRESOLVED_HOLD,
	UNRESOLVED_RECEIVED_FOR,
	UNRESOLVED_TO_CC
};

struct envelope_rule {
	char *header;
	enum envelope_position position;
	enum envelope_pick pick;
};

/* `left` is an address, or "*@domain"; `right` are addresses or "*@domain", at least one. */
struct map_entry {
	char *left; /* normalised for comparison: lower case, domain as A-label */
	char **right;
	size_t nright;
};

/* Everything the resolver needs to know of an account. Owned by the configuration. */
struct resolve_rules {
	enum resolve_mode mode;
	const char *recipient;   /* RESOLVE_SINGLE */
	const char *own_mailbox; /* the POP3 login when it is an address, or NULL */
	const struct envelope_rule *rules;
	size_t nrules;
	char *const *strip_prefix;
	size_t nstrip_prefix;
	char *const *trusted_by;
	size_t ntrusted_by;
	char *const *domains; /* normalised; a leading dot means: subdomains too */
	size_t ndomains;
	const struct map_entry *map; /* sorted by `left` */
	size_t nmap;
	char *const *valid; /* recipients_file: sorted, normalised; NULL: not set */
	size_t nvalid;
	enum unresolved_policy unresolved;
	const char *postmaster; /* NULL: none */
	const char *
		sender_fixed; /* relay's `sender`: NULL: return-path; "": null; else that address */
	const char *sender_fallback;
};

enum verdict {
	VERDICT_CHOSEN,
	VERDICT_UNTRUSTED_POSITION, /* below the trust boundary, or not where the rule expects it */
	VERDICT_FOREIGN_DOMAIN,
	VERDICT_MALFORMED,
	VERDICT_SUPERSEDED, /* usable, but an earlier rule or `pick` decided */
	VERDICT_OWN_MAILBOX,
	VERDICT_COUNT
};
const char *verdict_name(enum verdict v); /* "untrusted-position", ... */

struct candidate {
	char *header;
	uint32_t line;
	char *value; /* one candidate per address, or the whole value, fit for a log, where none was
			read: malformed, or not in its place and so not looked into */
	enum verdict verdict;
	char *detail; /* why, for people */
};

struct resolved_recipient {
	char *address;  /* goes to RCPT TO */
	char *original; /* as found, after prefix and before the map */
	char *header;   /* which header said so; "" in single mode and for the postmaster */
	uint32_t line;
	bool unknown; /* recipients_file is set and does not have it: not to be offered to the relay
		       */
};

enum resolve_action { ACTION_DELIVER, ACTION_POSTMASTER, ACTION_HOLD };
const char *resolve_action_name(enum resolve_action a); /* "deliver", "postmaster", "hold" */

struct resolution {
	enum resolve_action action;
	char *sender;                          /* envelope sender; "" is null */
	struct resolved_recipient *recipients; /* ACTION_POSTMASTER: the postmaster */
	size_t nrecipients, cap_recipients;
	struct candidate *candidates; /* in the order of the message; behind them those of the
					 policies received-for and to-cc */
	size_t ncandidates, cap_candidates;
	char *unresolved;      /* NULL: resolved; else the reason in a few words */
	bool envelope_missing; /* no rule's header stood where it was expected */
	size_t boundary; /* index of the field that is the trust boundary; header.n: none, then with
			    trusted_by set nothing is the provider's */
	char *boundary_reason; /* "first Received line", "client mail.example is not in trusted_by",
				  ... */
};

void resolve(const struct resolve_rules *rules, const struct header *h, struct resolution *out);
void resolution_free(struct resolution *r);
