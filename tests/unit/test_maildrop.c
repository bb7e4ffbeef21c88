/*
 * What is fetched and what may be deleted: each kind of listed message, the guard against blind
 * DELEs, `keep`, limits, servers that drop what was retrieved, rows that are not listed any more.
 */
#include "core/maildrop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#define DAY ((msec_t)24 * 60 * 60 * 1000)

static const struct conf_account plain = { .max_size = 100000 };

struct listed {
	const char *uid;
	uint64_t octets;
};

/* Lists n messages (uid NULL ends the table early); rows and the plan come from the test. */
static void list(struct maildrop *m, const struct conf_account *account, bool retr_deletes,
	const struct listed *listed, uint32_t n)
{
	maildrop_init(m, account, retr_deletes);
	maildrop_count(m, n);
	for (uint32_t i = 0; i < n; i++) {
		maildrop_uid(m, i + 1, sv_str(listed[i].uid));
		maildrop_size(m, i + 1, listed[i].octets);
	}
	maildrop_listed(m);
}

static void row(
	struct maildrop *m, int64_t id, const char *uid, uint64_t octets, enum message_state state)
{
	maildrop_row(m,
		&(struct stored_message){
			.id = id, .uid = uid, .octets = octets, .state = state, .done_at = 1000 });
}

static enum item_state state_of(struct maildrop *m, uint32_t number)
{
	return (enum item_state)maildrop_item(m, number)->state;
}

#define ROW(i, u, o, a, s)                                                                         \
	{                                                                                          \
		.id = i, .uid = u, .octets = o, .attempts = a, .state = MESSAGE_##s,               \
		.digest = true                                                                     \
	}

/* One listed message "x" of 500 octets against what is recorded about it. */
static void classifies_each_kind_of_message(void **state)
{
	static const struct {
		const char *what;
		struct stored_message rows[2];
		size_t nrows;
		enum item_state state;
		int64_t row;
		bool newly_held;
	} rows[] = {
		{ "never seen", { { 0 } }, 0, ITEM_WANTED, 0, false },
		{ "to be tried again", { ROW(7, "x", 500, 1, NEW) }, 1, ITEM_WANTED, 7, false },
		{ "tried nine times", { ROW(7, "x", 500, 9, NEW) }, 1, ITEM_WANTED, 7, false },
		{ "tried ten times", { ROW(7, "x", 500, 10, NEW) }, 1, ITEM_HELD, 7, true },
		{ "tried eleven times", { ROW(7, "x", 500, 11, NEW) }, 1, ITEM_HELD, 7, true },
		{ "delivered", { ROW(7, "x", 500, 1, DONE) }, 1, ITEM_DONE, 7, false },
		{ "delivered, shorter", { ROW(7, "x", 501, 1, DONE) }, 1, ITEM_VERIFY, 0, false },
		{ "delivered, longer", { ROW(7, "x", 499, 1, DONE) }, 1, ITEM_VERIFY, 0, false },
		{ "half delivered, other size", { ROW(7, "x", 499, 1, NEW) }, 1, ITEM_VERIFY, 0,
			false },
		{ "deleted, yet back", { ROW(7, "x", 500, 1, DELETED) }, 1, ITEM_VERIFY, 0, false },
		{ "held", { ROW(7, "x", 500, 1, HELD) }, 1, ITEM_HELD, 7, false },
		{ "held, other size", { ROW(7, "x", 499, 1, HELD) }, 1, ITEM_VERIFY, 0, false },
		{ "recorded twice", { ROW(7, "x", 500, 1, DONE), ROW(8, "x", 500, 1, DONE) }, 2,
			ITEM_VERIFY, 0, false },
		{ "recorded twice, held", { ROW(7, "x", 500, 1, HELD), ROW(8, "x", 500, 1, HELD) },
			2, ITEM_VERIFY, 0, false },
		{ "another one recorded", { ROW(7, "X", 500, 1, DONE) }, 1, ITEM_WANTED, 0, false },
		{ "a prefix recorded", { ROW(7, "", 500, 1, DONE) }, 1, ITEM_WANTED, 0, false },
	};
	static const struct listed x = { "x", 500 };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(maildrop_free) struct maildrop m;
		list(&m, &plain, false, &x, 1);
		for (size_t k = 0; k < rows[i].nrows; k++)
			maildrop_row(&m, &rows[i].rows[k]);
		maildrop_plan(&m, 0);
		bool retrieve = rows[i].state == ITEM_WANTED || rows[i].state == ITEM_VERIFY;
		if (state_of(&m, 1) != rows[i].state)
			fail_msg("%s: %d", rows[i].what, state_of(&m, 1));
		assert_int_equal(maildrop_item(&m, 1)->row, rows[i].row);
		assert_int_equal(maildrop_item(&m, 1)->verify, rows[i].state == ITEM_VERIFY);
		assert_int_equal(maildrop_newly_held(&m, 1), rows[i].newly_held);
		assert_int_equal(m.wanted, retrieve);
		assert_int_equal(m.held, rows[i].state == ITEM_HELD);
		assert_int_equal(maildrop_peek_wanted(&m), retrieve ? 500 : 0);
		/* the guard: only what is surely the delivered message is deleted unread */
		assert_int_equal(maildrop_next_delete(&m, 0), rows[i].state == ITEM_DONE ? 1 : 0);
		assert_int_equal(maildrop_next_wanted(&m), retrieve ? 1 : 0);
		assert_int_equal(maildrop_next_wanted(&m), 0);
	}
}

static void holds_what_is_too_large(void **state)
{
	static const struct {
		uint64_t octets;
		enum item_state state;
	} rows[] = { { 99999, ITEM_WANTED }, { 100000, ITEM_WANTED }, { 100001, ITEM_HELD } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct listed x = { "x", rows[i].octets };
		AUTO(maildrop_free) struct maildrop m;
		list(&m, &plain, false, &x, 1);
		maildrop_plan(&m, 0);
		assert_int_equal(state_of(&m, 1), rows[i].state);
		assert_int_equal(maildrop_newly_held(&m, 1), rows[i].state == ITEM_HELD);
		assert_int_equal(maildrop_next_delete(&m, 0), 0);
	}
	/* max_size was lowered since: what was delivered is deleted all the same */
	const struct listed x = { "x", 200000 };
	AUTO(maildrop_free) struct maildrop m;
	list(&m, &plain, false, &x, 1);
	row(&m, 7, "x", 200000, MESSAGE_DONE);
	maildrop_plan(&m, 0);
	assert_int_equal(maildrop_next_delete(&m, 0), 1);
}

/* P27: a message without a UID is left alone; a recorded empty UID is not its name. */
static void leaves_what_has_no_uid(void **state)
{
	static const struct listed l[] = { { "a", 10 }, { "", 10 }, { NULL, 10 }, { "b", 10 } };
	AUTO(maildrop_free) struct maildrop m;

	list(&m, &plain, false, l, 4);
	row(&m, 1, "a", 10, MESSAGE_DONE);
	row(&m, 2, "", 10, MESSAGE_DONE);
	maildrop_plan(&m, 0);
	assert_int_equal(state_of(&m, 2), ITEM_UNUSABLE);
	assert_int_equal(state_of(&m, 3), ITEM_UNUSABLE);
	assert_int_equal(m.left, 2);
	assert_int_equal(maildrop_next_delete(&m, 0), 1);
	assert_int_equal(maildrop_next_delete(&m, 0), 0);
	assert_int_equal(maildrop_next_wanted(&m), 4);
	assert_int_equal(maildrop_next_wanted(&m), 0);
}

/* Listed twice under one UID: all new are fetched; a known one is compared, none deleted unseen. */
static void never_trusts_a_uid_that_is_listed_twice(void **state)
{
	static const struct listed l[] = { { "dup", 10 }, { "one", 10 }, { "dup", 10 } };
	static const enum item_state expect[] = { ITEM_WANTED, ITEM_VERIFY };

	for (int known = 0; known < 2; known++) {
		AUTO(maildrop_free) struct maildrop m;
		list(&m, &plain, false, l, 3);
		if (known)
			row(&m, 5, "dup", 10, MESSAGE_DONE);
		row(&m, 6, "one", 10, MESSAGE_DONE);
		maildrop_plan(&m, 0);
		assert_int_equal(state_of(&m, 1), expect[known]);
		assert_int_equal(state_of(&m, 3), expect[known]);
		assert_int_equal(maildrop_next_delete(&m, 0), 2);
		assert_int_equal(maildrop_next_delete(&m, 0), 0);
		assert_int_equal(maildrop_next_wanted(&m), 1);
		assert_int_equal(maildrop_next_wanted(&m), 3);
		/* one copy claims the row by its content; the other one may not claim it too */
		maildrop_item(&m, 1)->row = 5;
		assert_false(maildrop_claimed(&m, 1, 5));
		assert_true(maildrop_claimed(&m, 3, 5));
		assert_false(maildrop_claimed(&m, 3, 9));
		assert_false(maildrop_claimed(&m, 2, 5));
		maildrop_done(&m, 1, 0);
		maildrop_left(&m, 3);
		assert_int_equal(maildrop_next_delete(&m, 0), 1);
		assert_int_equal(maildrop_next_delete(&m, 0), 0);
	}
}

/* DELE only for what is done; asked after each event, also for numbers passed long ago (P44). */
static void deletes_only_what_is_done(void **state)
{
	static const struct listed l[] = { { "a", 1 }, { "b", 2 }, { "c", 3 }, { "d", 4 } };
	AUTO(maildrop_free) struct maildrop m;

	list(&m, &plain, false, l, 4);
	maildrop_plan(&m, 0);
	assert_int_equal(m.wanted, 4);
	for (uint32_t n = 1; n <= 4; n++) {
		assert_int_equal(maildrop_next_wanted(&m), n);
		assert_int_equal(maildrop_next_delete(&m, 0), 0);
	}
	maildrop_done(&m, 3, 0);
	assert_int_equal(maildrop_next_delete(&m, 0), 3);
	assert_int_equal(maildrop_next_delete(&m, 0), 0);
	maildrop_done(&m, 1, 0);
	assert_int_equal(maildrop_next_delete(&m, 0), 1);
	maildrop_left(&m, 2);
	maildrop_held(&m, 4);
	assert_int_equal(maildrop_next_delete(&m, 0), 0);
	maildrop_deleted(&m, 3, true);
	maildrop_deleted(&m, 1, false);
	assert_int_equal(state_of(&m, 3), ITEM_GONE);
	assert_int_equal(state_of(&m, 1), ITEM_LEFT);
	assert_int_equal(m.left, 2);
	assert_int_equal(m.held, 1);
	assert_int_equal(maildrop_next_delete(&m, 0), 0); /* refused once: next session */
	assert_true(maildrop_may_quit(&m));
}

static void keeps_as_long_as_asked(void **state)
{
	static const struct {
		msec_t keep;
		wall_t done_at, now;
		bool deleted;
	} rows[] = {
		{ KEEP_NONE, 0, 0, true },
		{ KEEP_NONE, 5 * DAY, 0, true }, /* no time is asked for: no clock is asked */
		{ 7 * DAY, 0, 7 * DAY - 1, false },
		{ 7 * DAY, 0, 7 * DAY, true },
		{ 7 * DAY, 0, 7 * DAY + 1, true },
		{ 7 * DAY, 50 * DAY, 0, false }, /* the clock went back: longer, never shorter */
		{ 7 * DAY, 0, -DAY, false },
		{ KEEP_FOREVER, 0, INT64_MAX, false },
		{ KEEP_FOREVER, 0, 0, false },
	};
	static const struct listed l[] = { { "a", 1 }, { "b", 2 } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct conf_account account = { .max_size = 10, .keep_ms = rows[i].keep };
		AUTO(maildrop_free) struct maildrop m;
		list(&m, &account, false, l, 2);
		maildrop_row(&m,
			&(struct stored_message){ .id = 1,
				.uid = "a",
				.octets = 1,
				.state = MESSAGE_DONE,
				.done_at = rows[i].done_at });
		maildrop_plan(&m, 0);
		assert_int_equal(maildrop_next_wanted(&m), 2); /* P02: never the known one */
		assert_int_equal(maildrop_next_wanted(&m), 0);
		maildrop_done(&m, 2, rows[i].done_at);
		if (maildrop_next_delete(&m, rows[i].now) != (rows[i].deleted ? 1 : 0))
			fail_msg("row %zu", i);
		assert_int_equal(maildrop_next_delete(&m, rows[i].now), rows[i].deleted ? 2 : 0);
	}
}

/* C10: the oldest ones first, and only so many; held and known ones do not count. */
static void fetches_so_many_a_session(void **state)
{
	static const struct listed l[] = { { "e", 1 }, { "d", 200000 }, { "c", 3 }, { "b", 4 },
		{ "a", 5 } };
	static const struct {
		uint32_t limit, wanted;
		uint32_t numbers[4]; /* 0: no more */
	} rows[] = {
		{ 0, 3, { 1, 3, 5, 0 } },
		{ 1, 1, { 1, 0, 0, 0 } },
		{ 2, 2, { 1, 3, 0, 0 } },
		{ 3, 3, { 1, 3, 5, 0 } },
		{ 4, 3, { 1, 3, 5, 0 } },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct conf_account account = { .max_size = 100,
			.fetch_limit = rows[i].limit };
		AUTO(maildrop_free) struct maildrop m;
		list(&m, &account, false, l, 5);
		row(&m, 1, "b", 4, MESSAGE_DONE);
		maildrop_plan(&m, 0);
		assert_int_equal(m.wanted, rows[i].wanted);
		for (size_t k = 0; k < 4; k++) {
			uint32_t number = rows[i].numbers[k];
			assert_int_equal(
				maildrop_peek_wanted(&m), number ? l[number - 1].octets : 0);
			assert_int_equal(maildrop_next_wanted(&m), number);
		}
		assert_int_equal(maildrop_next_delete(&m, 0), 4);
	}
}

/* K19: one that kills the process must not take its neighbours along, nor hold them up. */
static void fetches_what_has_failed_last_and_alone(void **state)
{
	static const struct listed listed[] = { { "a", 1 }, { "b", 2 }, { "c", 3 }, { "d", 4 },
		{ "e", 5 } };
	static const uint32_t attempts[] = { 9, 0, 2, 10, 2 };
	static const struct {
		uint32_t number;
		bool suspect;
	} order[] = { { 2, false }, { 3, true }, { 5, true }, { 1, true } };
	AUTO(maildrop_free) struct maildrop m;

	list(&m, &plain, false, listed, 5);
	for (uint32_t i = 0; i < 5; i++)
		if (attempts[i])
			maildrop_row(&m,
				&(struct stored_message){ .id = i + 1,
					.uid = listed[i].uid,
					.octets = i + 1,
					.attempts = attempts[i],
					.digest = true });
	maildrop_plan(&m, 0);
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		assert_int_equal(maildrop_peek_wanted(&m), order[i].number);
		assert_int_equal(maildrop_peek_suspect(&m), order[i].suspect);
		assert_int_equal(maildrop_next_wanted(&m), order[i].number);
	}
	assert_false(maildrop_peek_suspect(&m));
	assert_int_equal(maildrop_next_wanted(&m), 0);
}

static void a_listed_size_of_zero_is_fetched_too(void **state) /* P33 */
{
	static const struct listed x = { "x", 0 };
	AUTO(maildrop_free) struct maildrop m;

	list(&m, &plain, false, &x, 1);
	maildrop_plan(&m, 0);
	assert_int_equal(maildrop_peek_wanted(&m), 1); /* 0 would say: none left */
	assert_int_equal(maildrop_next_wanted(&m), 1);
}

/* P47: a server that drops what was retrieved: clean up in a session that retrieves nothing. */
static void cleans_up_before_it_retrieves(void **state)
{
	static const struct listed l[] = { { "a", 1 }, { "b", 2 } };
	static const struct {
		bool retr_deletes;
		msec_t keep;
		bool known, delete_only;
	} rows[] = {
		{ true, KEEP_NONE, true, true },
		{ true, KEEP_NONE, false, false },
		{ false, KEEP_NONE, true, false },
		{ true, KEEP_FOREVER, true, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct conf_account account = { .max_size = 10, .keep_ms = rows[i].keep };
		AUTO(maildrop_free) struct maildrop m;
		list(&m, &account, rows[i].retr_deletes, l, 2);
		if (rows[i].known)
			row(&m, 1, "a", 1, MESSAGE_DONE);
		maildrop_plan(&m, 0);
		assert_int_equal(m.delete_only, rows[i].delete_only);
		if (!rows[i].delete_only) {
			assert_int_equal(maildrop_next_wanted(&m), rows[i].known ? 2 : 1);
			continue;
		}
		assert_int_equal(maildrop_peek_wanted(&m), 0);
		assert_int_equal(maildrop_next_wanted(&m), 0);
		assert_int_equal(maildrop_next_delete(&m, 0), 1);
		assert_true(maildrop_may_quit(&m)); /* nothing was retrieved: QUIT drops none */
	}
}

/* Such a server loses at QUIT whatever was retrieved: each must be delivered, or no QUIT. */
static void quits_only_when_nothing_is_lost_by_it(void **state)
{
	static const struct listed l[] = { { "a", 1 }, { "b", 2 } };
	static const struct {
		bool retr_deletes;
		enum item_state second;
		bool may_quit;
	} rows[] = {
		{ true, ITEM_DONE, true },
		{ true, ITEM_DELETING, true },
		{ true, ITEM_GONE, true },
		{ true, ITEM_FETCHING, false },
		{ true, ITEM_LEFT, false },
		{ true, ITEM_HELD, false },
		{ true, ITEM_WANTED, true }, /* not retrieved */
		{ false, ITEM_LEFT, true },
		{ false, ITEM_FETCHING, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(maildrop_free) struct maildrop m;
		list(&m, &plain, rows[i].retr_deletes, l, 2);
		maildrop_plan(&m, 0);
		assert_int_equal(maildrop_next_wanted(&m), 1);
		maildrop_done(&m, 1, 0);
		assert_true(maildrop_may_quit(&m));
		if (rows[i].second != ITEM_WANTED) {
			assert_int_equal(maildrop_next_wanted(&m), 2);
			maildrop_item(&m, 2)->state = (uint8_t)rows[i].second;
		}
		if (maildrop_may_quit(&m) != rows[i].may_quit)
			fail_msg("row %zu", i);
	}
}

/* Absent rows count up; a row that is back counts from the start; the rest is not written. */
static void counts_listings_that_miss_a_row(void **state)
{
	static const struct listed l[] = { { "here", 1 }, { "back", 2 } };
	static const struct stored_message rows[] = {
		{ .id = 1, .uid = "here", .octets = 1 },
		{ .id = 2, .uid = "back", .octets = 2, .missing = 1 },
		{ .id = 3, .uid = "gone" },
		{ .id = 4, .uid = "gone long", .missing = 1 },
		{ .id = 5, .uid = "gone very long", .missing = 7 },
	};
	static const struct absent expect[] = { { 2, 0 }, { 3, 1 }, { 4, 2 }, { 5, 8 } };

	AUTO(maildrop_free) struct maildrop m;

	list(&m, &plain, false, l, 2);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		maildrop_row(&m, &rows[i]);
	maildrop_plan(&m, 0);
	assert_int_equal(m.nabsent, ARRAY_LEN(expect));
	for (size_t i = 0; i < ARRAY_LEN(expect); i++) {
		assert_int_equal(m.absent[i].row, expect[i].row);
		assert_int_equal(m.absent[i].missing, expect[i].missing);
	}
}

static void an_empty_maildrop_is_fine(void **state)
{
	AUTO(maildrop_free) struct maildrop m;

	list(&m, &plain, true, NULL, 0);
	row(&m, 1, "x", 1, MESSAGE_DONE);
	maildrop_plan(&m, 0);
	assert_int_equal(m.nabsent, 1);
	assert_int_equal(maildrop_next_wanted(&m), 0);
	assert_int_equal(maildrop_next_delete(&m, 0), 0);
	assert_true(maildrop_may_quit(&m));
	maildrop_free(&m); /* and once more at the end of the scope */
}

/* ---- cost ---- */

enum shape { ALL_NEW, ALL_KNOWN, ONE_UID, SHAPES };

/* CPU seconds for a whole session of n messages; half of the known ones are deleted in it. */
static double session_cost(uint32_t n, enum shape shape)
{
	AUTO(strbuf_free) struct strbuf uid = STRBUF_INIT;
	struct maildrop m;
	clock_t start = clock();
	uint32_t number, last = 0, deletes = 0;

	maildrop_init(&m, &plain, false);
	maildrop_count(&m, n);
	for (uint32_t pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < n; i++) {
			strbuf_clear(&uid);
			strbuf_addf(&uid, "UID%u-%u", shape == ONE_UID ? 0 : i * 7919 % n,
				shape == ONE_UID ? 0 : i);
			if (!pass) {
				maildrop_uid(&m, i + 1, strbuf_view(&uid));
				maildrop_size(&m, i + 1, 10);
			} else if (shape != ALL_NEW) {
				row(&m, i + 1, strbuf_str(&uid), 10, MESSAGE_DONE);
			}
		}
		if (!pass)
			maildrop_listed(&m);
	}
	maildrop_plan(&m, 0);
	for (; maildrop_peek_wanted(&m) && (number = maildrop_next_wanted(&m)); last = number) {
		assert_true(number == last + 1);
		maildrop_done(&m, number, 0);
		assert_true(maildrop_next_delete(&m, 0) == number);
		deletes++;
	}
	while (maildrop_next_delete(&m, 0))
		deletes++;
	assert_int_equal(deletes, n);
	maildrop_free(&m);
	return (double)(clock() - start) / CLOCKS_PER_SEC;
}

/*
 * 100,000 messages, new, known, and (a hostile server) all under one UID: twice as many may cost a
 * little more than twice as much, never four times. The best of three: other programs run too.
 */
static void a_large_maildrop_costs_little_more_per_message(void **state)
{
	for (enum shape shape = 0; shape < SHAPES; shape++) {
		double half = 1e9, full = 1e9;
		for (int i = 0; i < 3; i++) {
			double a = session_cost(50000, shape), b = session_cost(100000, shape);
			half = a < half ? a : half;
			full = b < full ? b : full;
		}
		if (full > 3.2 * half + 0.02)
			fail_msg("shape %d: %.3f s, then %.3f s", shape, half, full);
		assert_true(full < 10);
	}
}

#define FAR (1000 + MAILDROP_DEFER_MAX_MSEC)
/* Deferred by the relay: not before its time, and a clock that went back does not keep it for ever.
 */
static void waits_for_a_deferred_message(void **state)
{
	static const struct {
		wall_t retry_at;
		enum item_state state;
	} rows[] = { { 0, ITEM_WANTED }, { 1000, ITEM_WANTED }, { 1001, ITEM_LEFT },
		{ FAR, ITEM_LEFT }, { FAR + 1, ITEM_WANTED } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct listed x = { "x", 500 };
		struct stored_message r = { .id = 7, .uid = "x", .octets = 500, .digest = true };
		AUTO(maildrop_free) struct maildrop m;
		list(&m, &plain, false, &x, 1);
		r.retry_at = rows[i].retry_at;
		maildrop_row(&m, &r);
		maildrop_plan(&m, 1000);
		assert_int_equal(state_of(&m, 1), rows[i].state);
	}
}

/* A RETR that never brought the content. */
static void attempt(struct maildrop *m, int64_t id, const char *uid, uint32_t attempts)
{
	maildrop_row(m, &(struct stored_message){ .id = id, .uid = uid, .attempts = attempts });
}

/* Copies under one UID whose RETR fails: attempts are counted, each its own, rows do not pile up.
 */
static void counts_attempts_on_messages_to_compare(void **state)
{
	static const struct listed two[] = { { "x", 500 }, { "x", 500 } };
	AUTO(maildrop_free) struct maildrop m;

	list(&m, &plain, false, two, 2);
	row(&m, 5, "x", 500, MESSAGE_DONE);
	attempt(&m, 7, "x", MAILDROP_ATTEMPTS_MAX);
	attempt(&m, 8, "x", 3);
	maildrop_plan(&m, 0);
	assert_int_equal(state_of(&m, 1), ITEM_HELD);
	assert_int_equal(state_of(&m, 2), ITEM_VERIFY);
	assert_int_equal(maildrop_item(&m, 2)->row, 8);
	assert_int_equal(maildrop_item(&m, 2)->attempts, 3);
}

/* All is compared, identical copies each claim a row, and failed attempts are found again. */
static void does_without_uidl(void **state)
{
	static const uint64_t octets[] = { 500, 600, 500 };
	AUTO(maildrop_free) struct maildrop m;

	maildrop_init(&m, &plain, false);
	maildrop_count(&m, 3);
	for (uint32_t n = 1; n <= 3; n++)
		maildrop_size(&m, n, octets[n - 1]);
	maildrop_without_uidl(&m);
	maildrop_listed(&m);
	row(&m, 5, "sha256:aa", 500, MESSAGE_DONE);
	attempt(&m, 6, "#2:600", 4);
	maildrop_plan(&m, 0);
	assert_int_equal(state_of(&m, 1), ITEM_VERIFY);
	assert_int_equal(maildrop_item(&m, 2)->row, 6);
	assert_int_equal(maildrop_item(&m, 2)->attempts, 4);
	assert_int_equal(maildrop_next_delete(&m, 0), 0);
	maildrop_item(&m, 1)->row = 5;
	assert_true(maildrop_claimed(&m, 3, 5));
	assert_false(maildrop_claimed(&m, 1, 5));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(classifies_each_kind_of_message),
		cmocka_unit_test(waits_for_a_deferred_message),
		cmocka_unit_test(counts_attempts_on_messages_to_compare),
		cmocka_unit_test(does_without_uidl),
		cmocka_unit_test(holds_what_is_too_large),
		cmocka_unit_test(leaves_what_has_no_uid),
		cmocka_unit_test(never_trusts_a_uid_that_is_listed_twice),
		cmocka_unit_test(deletes_only_what_is_done),
		cmocka_unit_test(keeps_as_long_as_asked),
		cmocka_unit_test(fetches_so_many_a_session),
		cmocka_unit_test(fetches_what_has_failed_last_and_alone),
		cmocka_unit_test(a_listed_size_of_zero_is_fetched_too),
		cmocka_unit_test(cleans_up_before_it_retrieves),
		cmocka_unit_test(quits_only_when_nothing_is_lost_by_it),
		cmocka_unit_test(counts_listings_that_miss_a_row),
		cmocka_unit_test(an_empty_maildrop_is_fine),
		cmocka_unit_test(a_large_maildrop_costs_little_more_per_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
