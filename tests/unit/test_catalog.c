/* The journal's catalog has an entry for each MESSAGE_ID of the log, for the right event, and no
 * other; docs/troubleshooting.md has a heading for each event, and no other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "conf_internal.h"

static struct strbuf catalog, page;

/* The entry of that id: from its "-- " line to the next one's. Empty: there is none, or two. */
static struct strview entry_of(const char *id)
{
	AUTO(strbuf_free) struct strbuf mark = STRBUF_INIT;

	strbuf_addf(&mark, "\n-- %s\n", id);
	const char *start = strstr(catalog.ptr, mark.ptr);
	if (!start || strstr(start + 1, mark.ptr))
		return SV("");
	start += mark.len;
	const char *end = strstr(start, "\n-- ");
	return sv(start, end ? (size_t)(end - start) : strlen(start));
}

static void each_id_has_its_entry(void **state)
{
	for (int i = 0; i < EV_COUNT; i++) {
		AUTO(strbuf_free) struct strbuf event = STRBUF_INIT;
		const char *id = log_event_id((enum log_event)i);
		if (!id)
			continue;
		struct strview entry = entry_of(id);
		if (!entry.len)
			fail_msg("%s: not one entry for %s", log_event_name((enum log_event)i), id);
		strbuf_addf(&event, "\nEvent: %s\n\n", log_event_name((enum log_event)i));
		char *text AUTO(mem_freep) = mem_strndup(entry.ptr, entry.len);
		assert_true(sv_starts(entry, SV("Subject: ")));
		assert_non_null(strstr(text, "\nDefined-By: multidropd\n\n"));
		const char *said = strstr(text, event.ptr);
		if (!said)
			fail_msg("%s: the entry of its id is another event's",
				log_event_name((enum log_event)i));
		assert_in_range(strlen(said + event.len), 80, 2000); /* what it means, what to do */
	}
}

static void there_is_no_other_entry(void **state)
{
	size_t entries = 0, ids = 0;

	for (const char *p = catalog.ptr; (p = strstr(p, "\n-- ")); p++)
		entries++;
	for (int i = 0; i < EV_COUNT; i++)
		ids += log_event_id((enum log_event)i) != NULL;
	assert_int_equal(entries, ids);
}

/* The next name in a heading of the page, "### `a.b`, `c.d`"; empty: there is none. */
static struct strview next_heading(const char **at)
{
	for (const char *start; (start = strchr(*at, '`'));) {
		const char *end = strchr(start + 1, '`'), *line = start;
		assert_non_null(end);
		*at = end + 1;
		while (line > page.ptr && line[-1] != '\n')
			line--;
		if (!strncmp(line, "### ", 4))
			return sv(start + 1, (size_t)(end - start - 1));
	}
	return SV("");
}

static void each_event_has_its_heading(void **state)
{
	unsigned seen[EV_COUNT] = { 0 };
	const char *at = strbuf_str(&page);

	for (struct strview name; (name = next_heading(&at)).len;) {
		int i = 0;
		while (i < EV_COUNT && !sv_eq(name, sv_str(log_event_name((enum log_event)i))))
			i++;
		if (i == EV_COUNT)
			fail_msg("%.*s: no event", SV_FMT(name));
		seen[i]++;
	}
	for (int i = 0; i < EV_COUNT; i++)
		if (seen[i] != 1)
			fail_msg("%s: %u headings", log_event_name((enum log_event)i), seen[i]);
}

static int read_texts(void **state)
{
	struct stat st;
	struct err err;

	return conf_read(CATALOG, CONF_FILE_MAX, &catalog, &st, &err) ||
		conf_read(TROUBLESHOOTING, CONF_FILE_MAX, &page, &st, &err);
}

static int free_texts(void **state)
{
	strbuf_free(&catalog);
	strbuf_free(&page);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_id_has_its_entry),
		cmocka_unit_test(there_is_no_other_entry),
		cmocka_unit_test(each_event_has_its_heading),
	};

	return cmocka_run_group_tests(tests, read_texts, free_texts);
}
