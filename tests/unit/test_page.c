/* The status page and its ring of events: what strangers say is text there, and nothing else. */
#include "page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define HOSTILE                                                                                    \
	"</td><script>alert(1)</script><img src=x onerror='a' b=\"c\">&amp;\x1b[31m\xe2\x80\xae"

static const char status_text[] =
	"{\"version\": \"1\", \"now\": \"2026-11-24T12:00:00Z\", \"started\": "
	"\"2026-11-24T09:00:00Z\", \"accounts\": [], \"providers\": [], \"relays\": []}";

static json_t *status_of(void)
{
	json_t *status = json_loads(status_text, 0, NULL);

	assert_non_null(status);
	return status;
}

static void render(const json_t *status, const struct recent *recent, struct strbuf *out)
{
	struct page_input in = { status, recent, true };

	page_render(&in, out);
	assert_false(out->overflow);
}

static size_t count(const char *text, const char *needle)
{
	size_t n = 0;

	for (const char *at = strstr(text, needle); at; at = strstr(at + 1, needle))
		n++;
	return n;
}

/* Every element that begins also ends, in order; attributes are in double quotes. */
static void is_well_formed(const char *text)
{
	char *open[64] = { 0 };
	size_t depth = 0;

	text = strstr(text, "<html");
	for (const char *at = strchr(text, '<'); at; at = strchr(at + 1, '<')) {
		bool end = at[1] == '/';
		size_t len = strspn(at + 1 + end, "abcdefghijklmnopqrstuvwxyz123456789");
		const char *close = strchr(at, '>');
		assert_true(len && close);
		assert_int_equal(count(strndupa(at, (size_t)(close - at)), "\"") % 2, 0);
		if (!strncmp(at + 1, "meta", 4))
			continue;
		if (!end) {
			assert_true(depth < ARRAY_LEN(open));
			open[depth++] = mem_strndup(at + 1, len);
			continue;
		}
		assert_true(depth && strlen(open[depth - 1]) == len);
		assert_memory_equal(open[depth - 1], at + 2, len);
		free(open[--depth]);
	}
	assert_int_equal(depth, 0);
}

/* The same page, with and without hostile text, has the same elements. */
static void strangers_words_are_text(void **state)
{
	static const struct {
		const char *list, *keys[12];
	} rows[] = {
		{ "accounts",
			{ "name", "provider", "state", "next_text", "last_error", "next_due" } },
		{ "relays", { "name", "state", "last_error", "next_try" } },
		{ "providers", { "name", "next_login_allowed" } },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t k = 0; rows[i].keys[k]; k++) {
			AUTO(strbuf_free) struct strbuf page = STRBUF_INIT;
			static struct recent none;
			json_t *status = status_of(), *item = json_object();
			json_object_set_new(item, "name", json_string("sammel"));
			json_object_set_new(item, "state",
				json_string(*rows[i].list == 'a' ? "waiting" : "down"));
			json_object_set_new(item, "trouble", json_true());
			json_object_set_new(item, rows[i].keys[k], json_string(HOSTILE));
			json_array_append_new(json_object_get(status, rows[i].list), item);
			render(status, &none, &page);
			is_well_formed(strbuf_str(&page));
			assert_null(strstr(strbuf_str(&page), "<script"));
			assert_null(strstr(strbuf_str(&page), "<img"));
			assert_null(strchr(strbuf_str(&page), '\x1b'));
			assert_null(strstr(strbuf_str(&page), "\xe2\x80\xae"));
			json_decref(status);
		}
	}
}

static void hostile_text_is_shown_as_it_is(void **state)
{
	AUTO(strbuf_free) struct strbuf page = STRBUF_INIT;
	json_t *status = status_of();
	struct recent recent = { 0 };
	struct log_entry e = { .event = EV_CYCLE_FAILED, .account = "sammel", .reason = HOSTILE };

	recent_note(&recent, 1732448953999, &e, LVL_WARNING);
	render(status, &recent, &page);
	is_well_formed(strbuf_str(&page));
	assert_non_null(strstr(strbuf_str(&page),
		"sammel: : &lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x "
		"onerror=&#39;a&#39; b=&quot;c&quot;&gt;&amp;amp;\\x1b[31m\\xe2\\x80\\xae"));
	json_decref(status);
}

static void an_empty_status_is_a_page(void **state)
{
	AUTO(strbuf_free) struct strbuf page = STRBUF_INIT;
	json_t *status = json_object();
	static struct recent none;

	render(status, &none, &page);
	is_well_formed(strbuf_str(&page));
	assert_non_null(strstr(strbuf_str(&page), "<title>All is well - multidropd</title>"));
	json_decref(status);
}

static void every_cell_has_its_label(void **state)
{
	AUTO(strbuf_free) struct strbuf page = STRBUF_INIT;
	json_t *status = status_of(), *item = json_pack("{s:s}", "name", "sammel");
	static struct recent none;

	json_array_append(json_object_get(status, "accounts"), item);
	json_array_append(json_object_get(status, "relays"), item);
	json_array_append_new(json_object_get(status, "providers"), item);
	render(status, &none, &page);
	const char *text = strbuf_str(&page);
	size_t tables = count(text, "<table");
	assert_int_equal(tables, 4);
	assert_int_equal(count(text, "<caption>"), tables);
	assert_int_equal(count(text, "scope=\"row\""), 3);
	/* the events have no row here, of four columns; the others have one each */
	assert_int_equal(count(text, "<td "), count(text, "scope=\"col\"") - 4 - 3);
	assert_int_equal(count(text, "data-label=\"Held\""), 1);
	json_decref(status);
}

/* ---- the ring ---- */

static void note(struct recent *r, int i, enum log_level level)
{
	char text[20];

	snprintf(text, sizeof text, "Nr %d", i);
	recent_note(r, i, &(struct log_entry){ .event = EV_RELAY_UP, .text = text }, level);
}

static void the_ring_has_the_last_ones(void **state)
{
	static struct recent r;

	assert_null(recent_get(&r, 0));
	for (int i = 0; i < RECENT_MAX; i++) {
		note(&r, i, LVL_NOTICE);
		note(&r, 1000 + i, LVL_INFO);
		assert_int_equal(recent_get(&r, 0)->at, i);
		assert_int_equal(recent_get(&r, (size_t)i)->at, 0);
		assert_null(recent_get(&r, (size_t)i + 1));
	}
	note(&r, RECENT_MAX, LVL_ERROR);
	assert_int_equal(recent_get(&r, 0)->at, RECENT_MAX);
	assert_int_equal(recent_get(&r, RECENT_MAX - 1)->at, 1);
	assert_null(recent_get(&r, RECENT_MAX));
}

static void nobody_is_named_there(void **state)
{
	static const struct log_entry rows[] = {
		{ .recipient = "hans@firma.example", .reason = "550 <hans@firma.example>" },
		{ .sender = "hans@x.example", .reason = "hans is over quota" },
		{ .message_id = "<hans@x>", .reason = "<hans@x> seen" },
		{ .uidl = "hans-1", .reason = "hans-1 is twice" },
		{ .event = EV_RELAY_WARNING, .error = "TEMP", .reason = "421 <hans@x> bye" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct recent r = { 0 };
		struct log_entry e = rows[i];
		if (e.event != EV_RELAY_WARNING)
			e.event = EV_MESSAGE_HELD;
		e.account = "sammel";
		e.text = "held";
		e.reply = "550 hans";
		recent_note(&r, 1, &e, LVL_WARNING);
		assert_string_equal(recent_get(&r, 0)->text, "sammel: held");
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(strangers_words_are_text),
		cmocka_unit_test(hostile_text_is_shown_as_it_is),
		cmocka_unit_test(an_empty_status_is_a_page),
		cmocka_unit_test(every_cell_has_its_label),
		cmocka_unit_test(the_ring_has_the_last_ones),
		cmocka_unit_test(nobody_is_named_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
