/*
 * The configuration, as everything else sees it: complete, checked, immutable after load.
 *
 * Owner: reference-counted; a running cycle keeps the configuration that it began with alive across
 * a reload. daemon/conf_file.c reads the file into it; config_check() holds what can be said
 * without files: cross references and combinations. All times in ms, all sizes in octets.
 */
#pragma once

#include "base/clock.h"
#include "base/rate.h"
#include "base/strbuf.h"
#include "mail/resolve.h"

enum tls_mode { TLS_NONE, TLS_OPPORTUNISTIC, TLS_STARTTLS, TLS_IMPLICIT };
enum auth_mode {
	AUTH_AUTO,
	AUTH_USER,
	AUTH_PLAIN,
	AUTH_LOGIN,
	AUTH_CRAM_MD5,
	AUTH_SCRAM_SHA_256,
	AUTH_APOP,
	AUTH_XOAUTH2,
	AUTH_OAUTHBEARER
};
enum failed_policy { FAILED_POSTMASTER, FAILED_HOLD, FAILED_DISCARD };
enum doubt_policy { DOUBT_RESEND, DOUBT_HOLD };
enum sender_mode { SENDER_RETURN_PATH, SENDER_NULL, SENDER_FIXED };

#define KEEP_NONE    0
#define KEEP_FOREVER MSEC_NEVER

/* Where something stands in the files, for messages. `file` is owned by the config, in a fault by
 * the faults; line 0 is the file as a whole. */
struct conf_place {
	const char *file;
	int line;
};

struct string_list {
	char **items;
	size_t n, cap;
};

/* The keys that a section writes out, so that a check can say which line to change, and tell a
 * default from a decision. `name` is a literal of the key table. */
struct conf_key {
	const char *name;
	struct conf_place place;
};
struct conf_keys {
	struct conf_key *items;
	size_t n, cap;
};

/* A secret has a type of its own, so that nothing prints it by accident; wiped when freed. */
struct secret {
	char *bytes;
	size_t len;
	char *command; /* prints it, at each login; then there are no bytes. NULL: none */
};

#define TLS_PIN_PREFIX "sha256//"
#define TLS_PIN_OCTETS 32 /* of its digest */

struct conf_tls {
	enum tls_mode mode;
	char *ca_file;           /* NULL: the system's store */
	struct string_list pins; /* TLS_PIN_PREFIX and base64; empty: any key */
};

struct conf_provider {
	struct conf_place place;
	struct conf_keys keys;
	char *name;
	char *host;
	uint16_t port;
	struct conf_tls tls;
	enum auth_mode auth;
	struct rate_rule rate; /* min_interval, login_limit, login_window */
	uint32_t max_sessions;
	msec_t timeout_ms;
	bool retr_deletes, size_check, lf_lines;
	struct string_list trusted_by, strip_prefix;
	struct envelope_rule *envelope;
	size_t nenvelope;
};

struct conf_host {
	char *host;
	uint16_t port; /* 0: the relay's */
};
struct host_list {
	struct conf_host *items;
	size_t n, cap;
};

struct conf_relay {
	struct conf_place place;
	struct conf_keys keys;
	char *name;
	char *host;      /* or NULL when unix_path is set */
	char *unix_path; /* LMTP only */
	uint16_t port;
	struct host_list backups; /* see relay_host() */
	bool lmtp;
	struct conf_tls tls;
	char *user; /* NULL: no login */
	struct secret password;
	enum auth_mode auth;
	uint32_t connections, max_messages, max_recipients;
	msec_t idle_timeout_ms, dot_timeout_ms;
	enum sender_mode sender_mode;
	char *sender;          /* SENDER_FIXED */
	char *sender_fallback; /* "" is null */
	bool notify_never, xforward;
};

struct conf_account {
	struct conf_place place;
	struct conf_keys keys;
	char *name;
	const struct conf_provider *provider;
	const struct conf_relay *relay;
	bool enabled;
	char *user;
	struct secret password;
	msec_t interval_ms;
	struct string_list domains, valid;
	char *recipient, *postmaster;
	struct envelope_rule *envelope; /* its own, which replace the provider's */
	size_t nenvelope;
	struct map_entry *map;
	size_t nmap;
	struct resolve_rules rules; /* borrows from this, the provider and the relay */
	enum failed_policy unknown, rejected;
	msec_t keep_ms; /* KEEP_NONE, KEEP_FOREVER, or that long after delivery */
	uint64_t max_size;
	uint32_t fetch_limit; /* 0: none */
	msec_t dedupe_ms;     /* 0: off */
	enum doubt_policy in_doubt;
};

struct config {
	unsigned refs;
	struct conf_keys keys;
	char *hostname, *state_dir, *control_socket;
	char *metrics_listen; /* "127.0.0.1:9477", "[::1]:9477", "unix:/path"; NULL: off */
	uint32_t max_sessions;
	char *alert_to;                       /* NULL: nobody */
	const struct conf_relay *alert_relay; /* set when alert_to is */
	struct conf_provider **providers;
	size_t nproviders, cap_providers;
	struct conf_relay **relays;
	size_t nrelays, cap_relays;
	struct conf_account **accounts;
	size_t naccounts, cap_accounts;
	struct string_list files; /* every file read; places point here */
};

struct config *config_new(void); /* one reference, empty */
struct config *config_ref(struct config *c);
void config_unref(struct config *c); /* NULL is fine; wipes the secrets with the last one */

struct conf_provider *config_add_provider(struct config *c); /* zeroed */
struct conf_relay *config_add_relay(struct config *c);
struct conf_account *config_add_account(struct config *c);

const struct conf_provider *config_provider(const struct config *c, const char *name); /* or NULL */
const struct conf_relay *config_relay(const struct config *c, const char *name);
const struct conf_account *config_account(const struct config *c, const char *name);

/* 0 is the relay's own, the others are its backup_hosts; index <= backups.n. Borrowed. */
struct conf_host relay_host(const struct conf_relay *r, size_t index);

void string_list_add(struct string_list *l, struct strview s);
void string_list_free(struct string_list *l);
bool string_list_has(const struct string_list *l, const char *s);

/* The key's place, or NULL when the section leaves it to its default. */
const struct conf_place *conf_key_place(const struct conf_keys *k, const char *name);

/* Faults and warnings, collected so that one run shows them all; the loader prints them in file
 * order. */
struct fault {
	struct conf_place place;
	bool warning;
	char *text;
};
struct faults {
	struct fault *items;
	size_t n, cap;
	size_t errors;            /* of them not warnings */
	struct string_list files; /* places point here: faults outlive a refused configuration */
};
void fault_add(struct faults *f, struct conf_place place, const char *fmt, ...) format_like(3, 4);
void fault_warn(struct faults *f, struct conf_place place, const char *fmt, ...) format_like(3, 4);
void faults_free(struct faults *f);

/* Appends a text as a configuration file has it: in quotes, with what needs it escaped. */
void config_quote(struct strbuf *out, const char *text);

/*
 * Cross-checks within and between sections (names resolved already), and fills each account's
 * `rules`.
 */
void config_check(struct config *c, struct faults *f);
