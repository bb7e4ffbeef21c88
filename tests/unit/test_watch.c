/* The hit rate of the envelope header: when does it speak, and when not. */
#include "core/watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A history in letters: '+' found, '-' missing. The news of the last message. */
static enum watch_news after(const char *history, struct watch *w)
{
	enum watch_news news = WATCH_NOTHING;

	for (; *history; history++)
		news = watch_note(w, *history == '+');
	return news;
}

#define PLUS_20 "++++++++++++++++++++"

static void speaks_when_a_usual_header_is_gone(void **state)
{
	static const struct {
		const char *history;
		enum watch_news last;
	} rows[] = {
		{ PLUS_20 "-----", WATCH_CHANGED },
		{ PLUS_20 "----", WATCH_NOTHING },   /* one below the run */
		{ PLUS_20 "------", WATCH_NOTHING }, /* said once, not again */
		{ PLUS_20 "----+", WATCH_NOTHING },
		{ PLUS_20 "--+-----", WATCH_CHANGED },     /* 91 % before */
		{ "+++++++++++++++-----", WATCH_CHANGED }, /* the 20th message */
		{ "++++++++++++++-----", WATCH_NOTHING },  /* only 19 */
		{ "-------------------------",
			WATCH_NOTHING }, /* never there: that is the set-up */
		{ "+-+-+-+-+-+-+-+-+-+-+------", WATCH_NOTHING }, /* never usual */
		{ PLUS_20 "-----"
			  "+++++",
			WATCH_BACK },
		{ PLUS_20 "-----"
			  "++++",
			WATCH_NOTHING },
		{ PLUS_20 PLUS_20 PLUS_20 PLUS_20 "-----",
			WATCH_CHANGED }, /* more than are remembered */
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct watch w = { 0 };
		enum watch_news news = after(rows[i].history, &w);
		if (news != rows[i].last)
			fail_msg("%s: %d", rows[i].history, news);
	}
}

static void speaks_again_after_it_was_back(void **state)
{
	struct watch w = { 0 };

	assert_int_equal(after(PLUS_20 "-----", &w), WATCH_CHANGED);
	assert_int_equal(after("+++++", &w), WATCH_BACK);
	/* It has to be usual again first: 5 of the last 30 were missing. */
	assert_int_equal(after(PLUS_20 PLUS_20 "-----", &w), WATCH_CHANGED);
}

static void counts_what_it_remembers(void **state)
{
	struct watch w = { 0 };

	after("++-", &w);
	assert_int_equal(w.n, 3);
	assert_int_equal(watch_found(&w), 2);
	after(PLUS_20 PLUS_20 PLUS_20 "+++++", &w);
	assert_int_equal(w.n, WATCH_MESSAGES);
	assert_int_equal(watch_found(&w), WATCH_MESSAGES);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(speaks_when_a_usual_header_is_gone),
		cmocka_unit_test(speaks_again_after_it_was_back),
		cmocka_unit_test(counts_what_it_remembers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
