/*
 * What is not well, and what to do about it; see advice.h. Owns nothing.
 *
 * One table from (state, class of the last error) to the next step: the first row that fits. "@" in
 * a sentence is the account's name.
 */
#include "advice.h"

#include "show.h"

#include <inttypes.h>
#include <stdlib.h>

#define IN_LINE(text, command) text " " command
#define AT_ONCE                "; it is tried again by itself, at once with: multidropctl fetch @"

static const struct {
	const char *state; /* of the account */
	const char *error; /* class of its last error; NULL: any */
	const char *next;
} steps[] = {
	{ "suspended", NULL, ADVICE_PASSWORD(IN_LINE) "; " ADVICE_RESUME(IN_LINE) },
	{ "paused", NULL, "it goes on with: multidropctl resume @" },
	{ "backoff", "AUTH", "check user and password" AT_ONCE },
	{ "backoff", "NET",
		"check host and port, this machine's network and its firewall" AT_ONCE },
	{ "backoff", "TIMEOUT",
		"the provider does not answer in time: check the network; a slow one needs a "
		"longer timeout" AT_ONCE },
	{ "backoff", "TLS",
		"check host, tls and the pins, and the clock of this machine; ask the provider "
		"before you trust a new certificate" AT_ONCE },
	{ "backoff", "PROTO",
		"the server did not speak POP3 as it should: check host, port and tls" AT_ONCE },
	{ "backoff", "BUSY",
		"somebody else reads this maildrop: find that program or phone and stop "
		"it" AT_ONCE },
	{ "backoff", "THROTTLE",
		"the provider wants fewer logins: raise min_interval (or lower login_limit) of the "
		"provider, and stop what else logs in there" },
	{ "backoff", "TEMP", "the provider says: later; nothing is to be done" AT_ONCE },
	{ "backoff", "PERM", "the provider refuses for good: ask it why" AT_ONCE },
	{ "backoff", "LIMIT", "the server went beyond a limit: docs/limits.md says which" AT_ONCE },
	{ "backoff", "UIDL",
		"the server cannot tell its messages apart: nothing may be deleted there; ask the "
		"provider for UIDL" },
	{ "backoff", "LOCAL",
		"look at this machine: free disk space, and the owner of state_dir" AT_ONCE },
	{ "backoff", "CONFIG", "correct the configuration, then: multidropctl reload" },
	{ "backoff", NULL, "it is tried again by itself; at once with: multidropctl fetch @" },
};

static bool is(const json_t *o, const char *key, const char *value)
{
	return !strcmp(show_text_of(o, key), value);
}

static bool is_true(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

static bool fits(size_t i, const char *state, const char *error)
{
	struct strview rest = sv_str(error), class = sv_token(&rest, ':');

	return !strcmp(steps[i].state, state) &&
		(!steps[i].error || sv_eq(class, sv_str(steps[i].error)));
}

void advice_next_step(struct strbuf *out, const char *account, const char *state, const char *error)
{
	size_t i = 0;

	while (i < ARRAY_LEN(steps) && !fits(i, state, error))
		i++;
	if (i == ARRAY_LEN(steps))
		return;
	for (const char *at = steps[i].next; *at; at++)
		if (*at == '@')
			strbuf_adds(out, account);
		else
			strbuf_addc(out, *at);
}

/* ---- the list ---- */

static struct advice *add(
	struct advice_list *list, enum advice_level level, const char *kind, const char *name)
{
	mem_grow(&list->items, &list->cap, list->n + 1, sizeof *list->items);
	struct advice *a = &list->items[list->n++];

	*a = (struct advice){
		.level = level, .subject = STRBUF_INIT, .what = STRBUF_INIT, .next = STRBUF_INIT
	};
	strbuf_addf(&a->subject, "%s%s", kind, name);
	return a;
}

static void add_age(struct strbuf *out, const json_t *status, wall_t at)
{
	show_span(out, show_read_time(show_text_of(status, "now")) - at);
}

static void add_last_error(struct strbuf *out, const json_t *status, const json_t *account)
{
	const char *error = show_text_of(account, "last_error");

	if (!*error)
		return;
	strbuf_addf(out, "%s%s (", out->len ? "; " : "", error);
	add_age(out, status, show_read_time(show_text_of(account, "last_error_at")));
	strbuf_adds(out, " ago)");
}

static void add_overdue(struct strbuf *out, const json_t *status, const json_t *account)
{
	wall_t success = show_read_time(show_text_of(account, "last_success"));

	if (!success) {
		strbuf_adds(out, "no cycle has ever ended well; ");
		return;
	}
	strbuf_adds(out, "no cycle has ended well for ");
	add_age(out, status, success);
	strbuf_adds(out, "; ");
}

static void complain(struct advice_list *list, const json_t *status, const json_t *account)
{
	const char *name = show_text_of(account, "name"), *state = show_text_of(account, "state");
	bool overdue = is_true(account, "overdue"),
	     relay = is(account, "next_reason", "relay-down");
	bool disk = is(account, "next_reason", "state");
	bool fails = overdue || disk || !strcmp(state, "suspended");
	struct advice *a = add(list, fails ? ADVICE_FAILURE : ADVICE_CONCERN, "", name);

	if (overdue)
		add_overdue(&a->what, status, account);
	strbuf_adds(&a->what, show_text_of(account, "next_text"));
	if (!relay)
		add_last_error(&a->what, status, account);
	if (disk) /* it could not even log in: its last error is another one */
		advice_next_step(&a->next, name, "backoff", "LOCAL");
	else
		advice_next_step(&a->next, name, state, show_text_of(account, "last_error"));
	if (overdue && !relay && !a->next.len)
		strbuf_adds(&a->next, "the log says more: journalctl -u multidropd");
}

static void look_at_account(struct advice_list *list, const json_t *status, const json_t *account)
{
	if (is_true(account, "trouble") || is_true(account, "overdue")) {
		complain(list, status, account);
	} else if (is(account, "state", "paused")) {
		const char *name = show_text_of(account, "name");
		struct advice *a = add(list, ADVICE_REMARK, "", name);
		strbuf_adds(&a->what, "paused by an administrator");
		advice_next_step(&a->next, name, "paused", "");
	}
}

static void look_at_relay(struct advice_list *list, const json_t *relay)
{
	const char *name = show_text_of(relay, "name");
	struct advice *a;

	if (is(relay, "state", "down")) {
		a = add(list, ADVICE_FAILURE, "relay ", name);
		strbuf_addf(&a->what, "down: %s", show_text_of(relay, "last_error"));
		strbuf_adds(&a->next,
			"mail stays at the provider until it is back; nothing is fetched for "
			"it; " ADVICE_RELAY);
	} else if (is_true(relay, "degraded")) {
		a = add(list, ADVICE_REMARK, "relay ", name);
		strbuf_adds(&a->what, "its first host is down, a backup host serves");
	}
}

static json_int_t held_in(const json_t *status)
{
	const json_t *account;
	json_int_t held = 0;
	size_t i;

	json_array_foreach(json_object_get(status, "accounts"), i, account) held +=
		json_integer_value(json_object_get(account, "held"));
	return held;
}

static void look_at_rest(struct advice_list *list, const json_t *status)
{
	json_int_t held = held_in(status);
	struct advice *a;

	if (*show_text_of(status, "state_error")) {
		a = add(list, ADVICE_FAILURE, "", "");
		strbuf_addf(&a->what, "the state cannot be written: %s",
			show_text_of(status, "state_error"));
		strbuf_adds(&a->next,
			"look at this machine: free disk space, and the owner of state_dir; "
			"nothing is deleted and no message is sent before it can be written "
			"again");
	}
	if (held) {
		a = add(list, ADVICE_CONCERN, "", "");
		strbuf_addf(
			&a->what, "%" JSON_INTEGER_FORMAT " held: waiting for a decision", held);
		strbuf_adds(&a->next, ADVICE_HELD(IN_LINE));
	}
}

void advice_of(const json_t *status, struct advice_list *out)
{
	const json_t *o;
	size_t i;

	json_array_foreach(json_object_get(status, "accounts"), i, o)
		look_at_account(out, status, o);
	json_array_foreach(json_object_get(status, "relays"), i, o) look_at_relay(out, o);
	look_at_rest(out, status);
}

void advice_free(struct advice_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		strbuf_free(&list->items[i].subject);
		strbuf_free(&list->items[i].what);
		strbuf_free(&list->items[i].next);
	}
	free(list->items);
	*list = (struct advice_list){ 0 };
}

/* ---- in one line ---- */

static void add_part(struct strbuf *out, size_t n, const char *one, const char *many)
{
	if (n)
		strbuf_addf(out, "%s%zu %s", out->len ? ", " : "", n, n == 1 ? one : many);
}

bool advice_headline(const json_t *status, struct strbuf *out)
{
	AUTO(strbuf_free) struct strbuf bad = STRBUF_INIT;
	size_t i, n = 0, paused = 0, disabled = 0, trouble = 0, down = 0;
	const json_t *o;

	json_array_foreach(json_object_get(status, "accounts"), i, o)
	{
		n++;
		paused += is(o, "state", "paused");
		disabled += is(o, "state", "disabled");
		trouble += is_true(o, "trouble") || is_true(o, "overdue");
	}
	json_array_foreach(json_object_get(status, "relays"), i, o) down += is(o, "state", "down");
	if (*show_text_of(status, "state_error"))
		strbuf_adds(&bad, "the state cannot be written");
	add_part(&bad, trouble, "account in trouble", "accounts in trouble");
	add_part(&bad, down, "relay down", "relays down");
	add_part(&bad, (size_t)held_in(status), "message held", "messages held");
	strbuf_adds(out, bad.len ? "Not all is well: " : "All is well: ");
	strbuf_addv(out, strbuf_view(&bad));
	strbuf_addf(out, "%s%zu account%s", bad.len ? "; of " : "", n, n == 1 ? "" : "s");
	if (paused)
		strbuf_addf(out, ", %zu paused", paused);
	if (disabled)
		strbuf_addf(out, ", %zu disabled", disabled);
	return !bad.len;
}

/* Success is noted at a cycle's end, so it is never older than its start. */
const char *advice_result(const json_t *account)
{
	wall_t start = show_read_time(show_text_of(account, "last_start"));

	if (is(account, "state", "connecting") || is(account, "state", "fetching"))
		return "running";
	if (!start)
		return "none yet";
	if (show_read_time(show_text_of(account, "last_success")) >= start)
		return "ok";
	return show_read_time(show_text_of(account, "last_error_at")) >= start ? "failed"
									       : "cut short";
}
