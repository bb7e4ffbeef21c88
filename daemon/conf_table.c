/*
 * The key table: every key of every section once, with its type, default, range and destination.
 *
 * Owns nothing. docs/multidropd.conf.5 and the sample have one entry for each row, and a test
 * holds them to that. What rows cannot say (one key decides about another) is in conf_file.c and
 * core/config.c.
 */
#include "conf_value.h"

#include "base/encode.h"

static const struct conf_word provider_tls[] = {
	{ "implicit", TLS_IMPLICIT },
	{ "starttls", TLS_STARTTLS },
	{ "none", TLS_NONE },
	{ NULL, 0 },
};
static const struct conf_word relay_tls[] = {
	{ "none", TLS_NONE },
	{ "opportunistic", TLS_OPPORTUNISTIC },
	{ "starttls", TLS_STARTTLS },
	{ "implicit", TLS_IMPLICIT },
	{ NULL, 0 },
};
static const struct conf_word provider_auth[] = {
	{ "auto", AUTH_AUTO },
	{ "user", AUTH_USER },
	{ "plain", AUTH_PLAIN },
	{ "login", AUTH_LOGIN },
	{ "cram-md5", AUTH_CRAM_MD5 },
	{ "scram-sha-256", AUTH_SCRAM_SHA_256 },
	{ "apop", AUTH_APOP },
	{ "xoauth2", AUTH_XOAUTH2 },
	{ "oauthbearer", AUTH_OAUTHBEARER },
	{ NULL, 0 },
};
static const struct conf_word relay_auth[] = {
	{ "auto", AUTH_AUTO },
	{ "plain", AUTH_PLAIN },
	{ "login", AUTH_LOGIN },
	{ "cram-md5", AUTH_CRAM_MD5 },
	{ "scram-sha-256", AUTH_SCRAM_SHA_256 },
	{ "xoauth2", AUTH_XOAUTH2 },
	{ "oauthbearer", AUTH_OAUTHBEARER },
	{ NULL, 0 },
};
static const struct conf_word protocols[] = {
	{ "smtp", 0 },
	{ "lmtp", 0 },
	{ NULL, 0 },
};
static const struct conf_word modes[] = {
	{ "multidrop", RESOLVE_MULTIDROP },
	{ "single", RESOLVE_SINGLE },
	{ NULL, 0 },
};
static const struct conf_word unresolved[] = {
	{ "postmaster", UNRESOLVED_POSTMASTER },
	{ "hold", UNRESOLVED_HOLD },
	{ "received-for", UNRESOLVED_RECEIVED_FOR },
	{ "to-cc", UNRESOLVED_TO_CC },
	{ NULL, 0 },
};
static const struct conf_word unknown[] = {
	{ "postmaster", FAILED_POSTMASTER },
	{ "hold", FAILED_HOLD },
	{ "discard", FAILED_DISCARD },
	{ NULL, 0 },
};
static const struct conf_word rejected[] = {
	{ "hold", FAILED_HOLD },
	{ "postmaster", FAILED_POSTMASTER },
	{ NULL, 0 },
};
static const struct conf_word in_doubt[] = {
	{ "resend", DOUBT_RESEND },
	{ "hold", DOUBT_HOLD },
	{ NULL, 0 },
};
static const struct conf_word positions[] = {
	{ "top", POSITION_TOP },
	{ "bottom", POSITION_BOTTOM },
	{ NULL, 0 },
};
static const struct conf_word picks[] = {
	{ "first", PICK_FIRST },
	{ "last", PICK_LAST },
	{ "all", PICK_ALL },
	{ NULL, 0 },
};

#define NONE CONF_NO_FIELD
#define LIST CONF_LIST
#define REQ  CONF_REQUIRED
#define PW   CONF_SECRET

/* clang-format off */
#define ROW(kind, name, set, def, min, max, words, offset, flags) \
	{ kind, name, set, def, min, max, words, offset, flags }
#define G(name, set, def, min, max, words, field, flags) \
	ROW(CONF_ROOT, name, set, def, min, max, words, field, flags)
#define P(name, set, def, min, max, words, field, flags) \
	ROW(CONF_PROVIDER, name, set, def, min, max, words, field, flags)
#define R(name, set, def, min, max, words, field, flags) \
	ROW(CONF_RELAY, name, set, def, min, max, words, field, flags)
#define A(name, set, def, min, max, words, field, flags) \
	ROW(CONF_ACCOUNT, name, set, def, min, max, words, field, flags)
#define E(name, set, def, min, max, words, field, flags) \
	ROW(CONF_ENVELOPE, name, set, def, min, max, words, field, flags)
#define IN(type, field) offsetof(struct type, field)

static const struct conf_row table[] = {
	/* key, type, default, min, max, words, field, flags */
	G("hostname", set_host, NULL, NULL, NULL, NULL, IN(config, hostname), 0),
	G("state_dir", set_path, NULL, NULL, NULL, NULL, IN(config, state_dir), 0),
	G("control_socket", set_socket, NULL, NULL, NULL, NULL, IN(config, control_socket), 0),
	G("metrics_listen", set_listen, "", NULL, NULL, NULL, IN(config, metrics_listen), 0),
	G("max_sessions", set_number, "64", "1", "1024", NULL, IN(config, max_sessions), 0),
	G("alert_to", set_address, "", NULL, NULL, NULL, IN(config, alert_to), 0),
	G("alert_relay", set_text, "", NULL, NULL, NULL, NONE, 0),

	P("host", set_host, NULL, NULL, NULL, NULL, IN(conf_provider, host), REQ),
	P("port", set_port, NULL, "1", "65535", NULL, IN(conf_provider, port), 0),
	P("tls", set_word, "implicit", NULL, NULL, provider_tls, IN(conf_provider, tls.mode), 0),
	P("tls_ca_file", set_path, "", NULL, NULL, NULL, IN(conf_provider, tls.ca_file), 0),
	P("tls_pin", set_pin, NULL, NULL, NULL, NULL, IN(conf_provider, tls.pins), LIST),
	P("auth", set_word, "auto", NULL, NULL, provider_auth, IN(conf_provider, auth), 0),
	P("min_interval", set_duration, "5m", "0s", "7d", NULL,
		IN(conf_provider, rate.spacing_ms), 0),
	P("login_limit", set_number, "20", "0", "10000", NULL, IN(conf_provider, rate.limit), 0),
	P("login_window", set_duration, "10m", "1s", "7d", NULL,
		IN(conf_provider, rate.window_ms), 0),
	P("max_sessions", set_number, "2", "1", "1024", NULL, IN(conf_provider, max_sessions), 0),
	P("timeout", set_duration, "60s", "1s", "1h", NULL, IN(conf_provider, timeout_ms), 0),
	P("retr_deletes", set_bool, "false", NULL, NULL, NULL,
		IN(conf_provider, retr_deletes), 0),
	P("size_check", set_bool, "true", NULL, NULL, NULL, IN(conf_provider, size_check), 0),
	P("lf_lines", set_bool, "false", NULL, NULL, NULL, IN(conf_provider, lf_lines), 0),
	P("trusted_by", set_host_item, NULL, NULL, NULL, NULL, IN(conf_provider, trusted_by), LIST),
	P("strip_prefix", set_item, NULL, NULL, NULL, NULL,
		IN(conf_provider, strip_prefix), LIST),

	E("position", set_word, "top", NULL, NULL, positions, IN(envelope_rule, position), 0),
	E("pick", set_word, "first", NULL, NULL, picks, IN(envelope_rule, pick), 0),

	R("host", set_relay_host, NULL, NULL, NULL, NULL, 0, REQ),
	R("backup_hosts", set_backup, NULL, NULL, NULL, NULL, IN(conf_relay, backups), LIST),
	R("port", set_port, NULL, "1", "65535", NULL, IN(conf_relay, port), 0),
	R("protocol", set_protocol, "smtp", NULL, NULL, protocols, 0, 0),
	R("tls", set_word, "opportunistic", NULL, NULL, relay_tls, IN(conf_relay, tls.mode), 0),
	R("tls_ca_file", set_path, "", NULL, NULL, NULL, IN(conf_relay, tls.ca_file), 0),
	R("tls_pin", set_pin, NULL, NULL, NULL, NULL, IN(conf_relay, tls.pins), LIST),
	R("user", set_text, "", NULL, NULL, NULL, IN(conf_relay, user), 0),
	R("password", set_text, "", NULL, NULL, NULL, NONE, PW),
	R("password_file", set_path, "", NULL, NULL, NULL, NONE, 0),
	R("password_credential", set_text, "", NULL, NULL, NULL, NONE, 0),
	R("password_command", set_text, "", NULL, NULL, NULL, NONE, PW),
	R("auth", set_word, "auto", NULL, NULL, relay_auth, IN(conf_relay, auth), 0),
	R("connections", set_number, "4", "1", "100", NULL, IN(conf_relay, connections), 0),
	R("max_messages", set_number, "100", "1", "1000000", NULL,
		IN(conf_relay, max_messages), 0),
	R("idle_timeout", set_duration, "30s", "1s", "1h", NULL,
		IN(conf_relay, idle_timeout_ms), 0),
	R("max_recipients", set_number, "100", "1", "1000", NULL,
		IN(conf_relay, max_recipients), 0),
	R("sender", set_sender, "return-path", NULL, NULL, NULL, 0, 0),
	R("sender_fallback", set_fallback, "<>", NULL, NULL, NULL,
		IN(conf_relay, sender_fallback), 0),
	R("notify_never", set_bool, "true", NULL, NULL, NULL, IN(conf_relay, notify_never), 0),
	R("xforward", set_bool, "false", NULL, NULL, NULL, IN(conf_relay, xforward), 0),
	R("dot_timeout", set_duration, "10m", "1s", "1h", NULL,
		IN(conf_relay, dot_timeout_ms), 0),

	A("provider", set_text, NULL, NULL, NULL, NULL, NONE, REQ),
	A("relay", set_text, NULL, NULL, NULL, NULL, NONE, REQ),
	A("enabled", set_bool, "true", NULL, NULL, NULL, IN(conf_account, enabled), 0),
	A("user", set_text, NULL, NULL, NULL, NULL, IN(conf_account, user), REQ),
	A("password", set_text, "", NULL, NULL, NULL, NONE, PW),
	A("password_file", set_path, "", NULL, NULL, NULL, NONE, 0),
	A("password_credential", set_text, "", NULL, NULL, NULL, NONE, 0),
	A("password_command", set_text, "", NULL, NULL, NULL, NONE, PW),
	A("interval", set_duration, "10m", "1s", "30d", NULL, IN(conf_account, interval_ms), 0),
	A("mode", set_word, "multidrop", NULL, NULL, modes, IN(conf_account, rules.mode), 0),
	A("recipient", set_address, "", NULL, NULL, NULL, IN(conf_account, recipient), 0),
	A("domains", set_item, NULL, NULL, NULL, NULL, NONE, LIST),
	A("map", set_item, NULL, NULL, NULL, NULL, NONE, LIST),
	A("map_file", set_path, "", NULL, NULL, NULL, NONE, 0),
	A("recipients_file", set_path, "", NULL, NULL, NULL, NONE, 0),
	A("postmaster", set_address, "", NULL, NULL, NULL, IN(conf_account, postmaster), 0),
	A("unresolved", set_word, NULL, NULL, NULL, unresolved,
		IN(conf_account, rules.unresolved), 0),
	A("unknown", set_word, NULL, NULL, NULL, unknown, IN(conf_account, unknown), 0),
	A("rejected", set_word, "hold", NULL, NULL, rejected, IN(conf_account, rejected), 0),
	A("keep", set_keep, "none", "1s", "3650d", NULL, IN(conf_account, keep_ms), 0),
	A("max_size", set_size, "100M", "1K", "4G", NULL, IN(conf_account, max_size), 0),
	A("fetch_limit", set_number, "0", "0", "1000000", NULL, IN(conf_account, fetch_limit), 0),
	A("dedupe", set_duration, "3d", "0s", "365d", NULL, IN(conf_account, dedupe_ms), 0),
	A("in_doubt", set_word, "resend", NULL, NULL, in_doubt, IN(conf_account, in_doubt), 0),
};
/* clang-format on */

static const struct conf_row *row_of(enum conf_kind kind, const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (table[i].kind == kind && !strcmp(table[i].name, name))
			return &table[i];
	return NULL;
}

bool conf_describe(size_t i, struct conf_described *out)
{
	if (i >= ARRAY_LEN(table))
		return false;
	*out = (struct conf_described){ table[i].kind, table[i].name, table[i].fallback,
		table[i].min, table[i].max, table[i].words, table[i].flags & CONF_REQUIRED };
	return true;
}

static void *field_of(const struct conf_row *row, const struct conf_section *s)
{
	return row->offset == CONF_NO_FIELD ? NULL : (char *)s->object + row->offset;
}

static bool has_control(struct strview text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 0x7f)
			return true;
	return false;
}

/* A refused value leaves the default, so that the cross-checks find nothing to add. */
static void store_default(const struct conf_section *s, const struct conf_row *row)
{
	struct err err;

	if (!row->fallback || !*row->fallback)
		return;
	int rc = row->set(row, sv_str(row->fallback), NULL, field_of(row, s), &err);
	ensure(!rc);
}

static void apply_value(struct conf_tree *t, const struct conf_section *s,
	const struct conf_row *row, const struct conf_value *v, const char *file)
{
	struct conf_place place = { file, v->line };
	struct strview text = sv_str(v->text);
	void *field = field_of(row, s);
	struct err err;

	if (!text.len && row->fallback && !*row->fallback)
		return;
	if (has_control(text) && !(row->flags & CONF_SECRET))
		fault_add(t->faults, place, "%s holds a control character", row->name);
	else if (row->set(row, text, file, field, &err) < 0)
		fault_add(t->faults, place, "%s %s", row->name, err.text);
	else
		return;
	store_default(s, row);
}

static void apply_setting(struct conf_tree *t, const struct conf_section *s,
	const struct conf_row *row, const struct conf_setting *set)
{
	bool braces = set->confirmed > set->n || !set->n;

	if (braces && !(row->flags & CONF_LIST)) {
		fault_add(t->faults, set->place, "%s takes one value, not a list", row->name);
		store_default(s, row);
		return;
	}
	if (set->n > 1 && !(row->flags & CONF_LIST)) {
		fault_add(t->faults, set->place, "%s takes one value", row->name);
		store_default(s, row);
		return;
	}
	for (size_t i = 0; i < set->n; i++)
		apply_value(t, s, row, &set->values[i], set->place.file);
}

static void apply_default(
	struct conf_tree *t, const struct conf_section *s, const struct conf_row *row)
{
	if (row->flags & CONF_REQUIRED && !t->broken)
		fault_add(t->faults, s->place, "%s \"%s\" has no %s", conf_kind_name(s->kind),
			s->title, row->name);
	store_default(s, row);
}

static void unknown_key(
	struct conf_tree *t, const struct conf_section *s, const struct conf_setting *set)
{
	struct strbuf key AUTO(strbuf_free) = STRBUF_INIT;

	escape_foreign(&key, sv_str(set->key));
	if (s->title)
		fault_add(t->faults, set->place, "unknown key \"%s\" in %s \"%s\"",
			strbuf_str(&key), conf_kind_name(s->kind), s->title);
	else
		fault_add(t->faults, set->place, "unknown key \"%s\"", strbuf_str(&key));
}

void conf_apply(struct conf_tree *t, struct conf_section *s, struct conf_keys *keys)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct conf_row *row = row_of(s->kind, s->settings[i].key);
		if (!row) {
			unknown_key(t, s, &s->settings[i]);
			continue;
		}
		if (!keys || !conf_text(s, row->name))
			continue;
		mem_grow(&keys->items, &keys->cap, keys->n + 1, sizeof *keys->items);
		keys->items[keys->n++] = (struct conf_key){ row->name, s->settings[i].place };
	}
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if (table[i].kind != s->kind)
			continue;
		const struct conf_setting *set = conf_find(s, table[i].name);
		if (set)
			apply_setting(t, s, &table[i], set);
		else
			apply_default(t, s, &table[i]);
	}
}
