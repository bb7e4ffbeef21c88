/*
 * multidropctl status: the daemon's JSON as it is, or as a page for people.
 *
 * The page: one line that says whether all is well, a line or two for each thing that is not, with
 * what to do, and tables. Owns nothing.
 */
#include "advice.h"
#include "ctl_daemon.h"
#include "ctl_table.h"
#include "show.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

struct page {
	const json_t *status;
	struct paper paper;
	wall_t now;
};

/* ---- reading it ---- */

/* The i-th of a list; NULL: there are no more. */
static const json_t *item(const struct page *page, const char *list, size_t i)
{
	return json_array_get(json_object_get(page->status, list), i);
}

static bool is_state(const json_t *o, const char *state)
{
	return !strcmp(show_text_of(o, "state"), state);
}

/* ---- cells ---- */

static void add_ago(struct strbuf *out, const struct page *page, wall_t at)
{
	if (!at) {
		strbuf_adds(out, "never");
		return;
	}
	show_span(out, page->now - at);
	strbuf_adds(out, " ago");
}

static void cell_ago(struct table *t, const struct page *page, wall_t at)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;

	add_ago(&text, page, at);
	table_add(t, PLAIN, strbuf_str(&text));
}

static void add_in(struct strbuf *out, const struct page *page, wall_t at)
{
	if (at <= page->now) {
		strbuf_adds(out, "now");
		return;
	}
	strbuf_adds(out, "in ");
	show_span(out, at - page->now);
}

static void cell_in(struct table *t, const struct page *page, wall_t at, const char *otherwise)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;

	if (at)
		add_in(&text, page, at);
	table_add(t, PLAIN, at ? strbuf_str(&text) : otherwise);
}

static void cell_number(struct table *t, enum colour colour, const json_t *o, const char *key)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;

	if (json_is_integer(json_object_get(o, key)))
		strbuf_addf(&text, "%" JSON_INTEGER_FORMAT, show_number_of(o, key));
	else
		strbuf_adds(&text, "-");
	table_add(t, colour, strbuf_str(&text));
}

static void titles(struct table *t, const char *const *names)
{
	for (; *names; names++, t->columns++)
		table_add(t, BOLD, *names);
}

/* ---- what is not well ---- */

static enum colour state_colour(const json_t *account)
{
	if (json_is_true(json_object_get(account, "trouble")))
		return RED;
	return is_state(account, "paused") || is_state(account, "waiting") ? YELLOW : PLAIN;
}

/* "; last cycle 3 min ago, next in 2 min": of all accounts. */
static void add_times(struct strbuf *out, const struct page *page)
{
	wall_t last = 0, next = 0;
	const json_t *o;

	for (size_t i = 0; (o = item(page, "accounts", i)); i++) {
		wall_t start = show_time_of(o, "last_start"), due = show_time_of(o, "next_due");
		last = start > last ? start : last;
		next = due && (!next || due < next) ? due : next;
	}
	if (last) {
		strbuf_adds(out, "; last cycle ");
		add_ago(out, page, last);
	}
	if (next) {
		strbuf_addf(out, "%s next ", last ? "," : ";");
		add_in(out, page, next);
	}
}

/* "All is well: 12 accounts, 1 paused; ...", or what is not. Then the reasons. */
static void print_top(const struct page *page)
{
	AUTO(strbuf_free) struct strbuf headline = STRBUF_INIT;
	bool well = advice_headline(page->status, &headline);
	struct advice_list list = { 0 };

	add_times(&headline, page);
	paper_text(&page->paper, well ? GREEN : RED, 0, strbuf_str(&headline));
	advice_of(page->status, &list);
	for (size_t i = 0; i < list.n; i++) {
		const struct advice *a = &list.items[i];
		AUTO(strbuf_free) struct strbuf line = STRBUF_INIT;
		strbuf_addf(&line, "%s%s%s", strbuf_str(&a->subject), a->subject.len ? ": " : "",
			strbuf_str(&a->what));
		paper_text(&page->paper, a->level == ADVICE_REMARK ? YELLOW : RED, 0,
			strbuf_str(&line));
		if (a->next.len)
			paper_text(&page->paper, PLAIN, 2, strbuf_str(&a->next));
	}
	advice_free(&list);
}

/* ---- tables ---- */

static void print_accounts(const struct page *page)
{
	static const char *const names[] = { "ACCOUNT", "STATE", "LAST CYCLE", "RESULT", "NEXT",
		"DELIVERED", "HELD", "LOGINS", "TO DELETE", "LAST SUCCESS", "WHY THEN", NULL };
	struct table t = { 0 };
	const json_t *o;
	size_t i;

	titles(&t, names);
	for (i = 0; (o = item(page, "accounts", i)); i++) {
		const char *result = advice_result(o);
		table_add(&t, PLAIN, show_text_of(o, "name"));
		table_add(&t, state_colour(o), show_text_of(o, "state"));
		cell_ago(&t, page, show_time_of(o, "last_start"));
		table_add(&t, strcmp(result, "failed") ? PLAIN : RED, result);
		cell_in(&t, page, show_time_of(o, "next_due"), "-");
		cell_number(&t, PLAIN, o, "delivered");
		cell_number(&t, show_number_of(o, "held") ? YELLOW : PLAIN, o, "held");
		cell_number(&t, PLAIN, o, "logins_left");
		cell_number(&t, PLAIN, o, "pending_delete");
		cell_ago(&t, page, show_time_of(o, "last_success"));
		table_add(&t, PLAIN, show_text_of(o, "next_text"));
	}
	table_print(&t, &page->paper);
	table_free(&t);
}

static void print_providers(const struct page *page)
{
	static const char *const names[] = { "PROVIDER", "LOGINS", "NEXT LOGIN", NULL };
	struct table t = { 0 };
	const json_t *o;
	size_t i;

	titles(&t, names);
	for (i = 0; (o = item(page, "providers", i)); i++) {
		AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;
		json_int_t limit = show_number_of(o, "login_limit");
		strbuf_addf(&text, "%" JSON_INTEGER_FORMAT, show_number_of(o, "logins_in_window"));
		if (limit)
			strbuf_addf(&text, " of %" JSON_INTEGER_FORMAT, limit);
		strbuf_adds(&text, " in ");
		show_span(&text, (msec_t)show_number_of(o, "login_window_seconds") * 1000);
		table_add(&t, PLAIN, show_text_of(o, "name"));
		table_add(&t, show_time_of(o, "next_login_allowed") ? YELLOW : PLAIN,
			strbuf_str(&text));
		cell_in(&t, page, show_time_of(o, "next_login_allowed"), "now");
	}
	table_print(&t, &page->paper);
	table_free(&t);
}

static void print_relays(const struct page *page)
{
	static const char *const names[] = { "RELAY", "STATE", "IDLE", "BUSY", "NEXT TRY", NULL };
	struct table t = { 0 };
	const json_t *o;
	size_t i;

	titles(&t, names);
	for (i = 0; (o = item(page, "relays", i)); i++) {
		bool down = is_state(o, "down");
		table_add(&t, PLAIN, show_text_of(o, "name"));
		table_add(&t, down ? RED : PLAIN, show_text_of(o, "state"));
		cell_number(&t, PLAIN, o, "idle");
		cell_number(&t, PLAIN, o, "busy");
		cell_in(&t, page, show_time_of(o, "next_try"), down ? "with the next cycle" : "-");
	}
	table_print(&t, &page->paper);
	table_free(&t);
}

static void print_page(const json_t *status)
{
	struct page page = { .status = status, .paper = paper_of_stdout() };

	page.now = show_time_of(status, "now");
	print_top(&page);
	putchar('\n');
	print_accounts(&page);
	putchar('\n');
	print_relays(&page);
	putchar('\n');
	print_providers(&page);
}

int ctl_status(const struct ctl_call *call)
{
	struct control_request request = { .verb = CONTROL_STATUS_OF,
		.account = sv_str(call->argument) };
	AUTO(strbuf_free) struct strbuf said = STRBUF_INIT;
	int rc = ctl_ask(call, &request, &said);

	if (rc)
		return rc;
	json_t *status = json_loads(strbuf_str(&said), 0, NULL);
	if (!json_is_object(status)) {
		json_decref(status);
		return ctl_fail("the daemon's answer cannot be read");
	}
	if (call->json)
		return ctl_print_json(status);
	print_page(status);
	json_decref(status);
	return 0;
}
