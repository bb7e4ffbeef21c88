/*
 * The state when the power goes, or the disk is full: what store_commit() reported durable is
 * there, nothing is there in part, and the database is whole. The power is cut at every single
 * change of a file that the life of a few messages causes.
 */
#include "power_vfs.h"
#include "store_fixture.h"

#define SEEDS 8 /* kinds of loss at each cut: nothing kept, all kept, and some of it, variously */

/* ---- the life of two messages; each step is one transaction ---- */

static int id_of(void *ctx, const struct stored_message *m)
{
	int64_t *last = ctx;

	*last = m->id > *last ? m->id : *last;
	return 0;
}

static int newest(struct fixture *fx, int64_t *id)
{
	*id = 0;
	return store_messages(fx->store, "a", id_of, id, NULL);
}

static int open_it(struct fixture *fx)
{
	struct err err;

	return store_open(fx->dir, &fx->clock, &fx->rng, &fx->store, &err);
}

static int close_and_open(struct fixture *fx)
{
	store_close(fx->store); /* the WAL moves into the database */
	fx->store = NULL;
	return open_it(fx);
}

static int login(struct fixture *fx)
{
	static const struct rate_rule rule = { .limit = 100, .window_ms = MINUTE };
	struct login_permit permit;
	struct err err;

	fx->now += MINUTE;
	return store_login(fx->store, "p", "a", &rule, &fx->clock, &permit, &err);
}

static int attempt(struct fixture *fx)
{
	int64_t id = 0;

	return store_attempt(fx->store, "a", "UID", 500, false, fx->wall, &id, NULL);
}

static int record(struct fixture *fx, enum outcome outcome)
{
	int64_t id;

	if (newest(fx, &id))
		return -1;
	return store_rcpt(fx->store, id,
		&(struct stored_rcpt){ "hans@x", false, outcome, 0, "250 Ok", 0, false }, fx->wall,
		NULL);
}

static int dot(struct fixture *fx)
{
	return record(fx, OUTCOME_DOT);
}

static int set_state(struct fixture *fx, enum message_state state)
{
	int64_t id;

	if (newest(fx, &id))
		return -1;
	return store_state(fx->store, id, state, NULL, fx->wall, NULL);
}

static int outcome(struct fixture *fx)
{
	return record(fx, OUTCOME_ACCEPTED) ? -1 : set_state(fx, MESSAGE_DONE);
}

static int deleted(struct fixture *fx)
{
	if (set_state(fx, MESSAGE_DELETED))
		return -1;
	return store_set_quit_ok(fx->store, "a", true, NULL);
}

enum strength { WRITTEN, DURABLE }; /* what the step promises */

static const struct step {
	const char *name;
	int (*fn)(struct fixture *fx);
	enum strength strength;
} steps[] = {
	{ "open", open_it, WRITTEN },
	{ "login permit", login, DURABLE },
	{ "attempt", attempt, DURABLE },
	{ "dot", dot, DURABLE },
	{ "outcome", outcome, WRITTEN },
	{ "the next attempt", attempt, DURABLE },
	{ "its dot", dot, DURABLE },
	{ "its outcome", outcome, DURABLE },
	{ "deleted", deleted, DURABLE },
	{ "another process", close_and_open, WRITTEN },
	{ "its login permit", login, DURABLE },
	{ "its attempt", attempt, DURABLE },
	{ "its dot", dot, DURABLE },
	{ "its outcome", outcome, DURABLE },
	{ "its deletion", deleted, DURABLE },
};
#define NSTEPS ARRAY_LEN(steps)

struct progress {
	size_t done;    /* steps that succeeded */
	size_t durable; /* the last of them that promised durability, and those before it */
};

/* ends_at: no step from there on. */
static struct progress live(struct fixture *fx, size_t ends_at)
{
	struct progress p = { 0 };

	for (size_t i = 0; i < ends_at; i++) {
		bool sync = steps[i].strength == DURABLE;
		if (steps[i].fn(fx))
			break;
		if (sync ? store_commit(fx->store, NULL) : store_write(fx->store, NULL))
			break;
		p.done = i + 1;
		if (sync)
			p.durable = p.done;
	}
	store_close(fx->store);
	fx->store = NULL;
	return p;
}

/* ---- what is there ---- */

static const char summary[] =
	"SELECT (SELECT count(*) FROM login) || ' logins;'"
	" || (SELECT ifnull(group_concat(' ' || id || ':' || attempts || ':' || state, ''), '')"
	" FROM message)"
	" || (SELECT ifnull(group_concat(' ' || message || ':' || outcome, ''), '') FROM rcpt)"
	" || ' quit ' || (SELECT ifnull(sum(quit_ok), '-') FROM account)";

static void ask(struct fixture *fx, const char *sql, struct strbuf *out)
{
	sqlite3 *db;
	sqlite3_stmt *st;

	assert_int_equal(sqlite3_open(fx->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	strbuf_clear(out);
	strbuf_adds(out, (const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	sqlite3_close(db);
}

/* Opens it as the next process does, and looks at what it has. */
static void look(struct fixture *fx, struct strbuf *out)
{
	fx->store = open_store(fx);
	store_close(fx->store);
	fx->store = NULL;
	ask(fx, "PRAGMA integrity_check", out);
	assert_string_equal(strbuf_str(out), "ok");
	ask(fx, summary, out);
}

/* expected[n]: what is there after n steps, when nobody cuts the power. */
static void learn(struct strbuf *expected)
{
	for (size_t n = 0; n <= NSTEPS; n++) {
		struct fixture *fx = prepare();
		void *state = fx;
		struct progress p = live(fx, n);
		assert_int_equal(p.done, n);
		look(fx, &expected[n]);
		teardown(&state);
	}
}

static void free_all(struct strbuf *expected)
{
	for (size_t n = 0; n <= NSTEPS; n++)
		strbuf_free(&expected[n]);
}

/*
 * Lives until the power goes at that change; true: what is there afterwards was there after a
 * number of steps that is not less than promised and not more than were begun.
 */
static bool keeps_its_word(
	const struct strbuf *expected, unsigned cut, unsigned seed, bool lying, bool *whole)
{
	AUTO(strbuf_free) struct strbuf found = STRBUF_INIT;
	struct power *power = power_new();
	struct fixture *fx = prepare();
	void *state = fx;
	bool kept = false;

	if (lying)
		power_lie(power);
	power_cut_at(power, cut);
	struct progress p = live(fx, NSTEPS);
	*whole = power_changes(power) < cut;
	power_restore(power, seed > POWER_SOME_KEPT ? POWER_SOME_KEPT : (enum power_loss)seed,
		cut * SEEDS + seed);
	power_free(power);
	look(fx, &found);
	for (size_t n = p.durable; n <= p.done + 1 && n <= NSTEPS; n++)
		kept |= !strcmp(strbuf_str(&found), strbuf_str(&expected[n]));
	if (!kept && !lying)
		fail_msg("cut at change %u, loss %u: promised up to \"%s\", found \"%s\"", cut,
			seed, p.durable ? steps[p.durable - 1].name : "nothing",
			strbuf_str(&found));
	teardown(&state);
	return kept;
}

static void what_is_durable_survives_power_loss(void **state)
{
	struct strbuf expected[NSTEPS + 1] = { 0 };
	unsigned cut = 1;
	bool whole = false;

	learn(expected);
	for (; !whole; cut++)
		for (unsigned seed = 0; seed < SEEDS; seed++)
			assert_true(keeps_its_word(expected, cut, seed, false, &whole));
	assert_true(cut > 2 * NSTEPS); /* at least a write and a sync each */
	free_all(expected);
}

/* The test must be able to fail: with syncs that do nothing, promises are broken. */
static void a_disk_that_lies_is_found_out(void **state)
{
	struct strbuf expected[NSTEPS + 1] = { 0 };
	unsigned broken = 0, cut = 1;
	bool whole = false;

	learn(expected);
	for (; !whole; cut++)
		broken += !keeps_its_word(expected, cut, POWER_NOTHING_KEPT, true, &whole);
	assert_true(broken > NSTEPS);
	free_all(expected);
}

/* ---- the disk is full (K13) ---- */

static void expect(struct fixture *fx, const char *text)
{
	AUTO(strbuf_free) struct strbuf found = STRBUF_INIT;

	ask(fx, summary, &found);
	assert_string_equal(strbuf_str(&found), text);
}

/* A permit that cannot be stored is none; with space again everything works as before. */
static void nothing_is_promised_on_a_full_disk(void **state)
{
	struct power *power = power_new();
	struct fixture *fx = prepare();
	void *owner = fx;

	assert_int_equal(live(fx, 0).done, 0);
	OK(open_it(fx));
	for (int round = 0; round < 2; round++) {
		power_full(power, !round);
		assert_int_equal(login(fx), round ? 0 : -1);
		OK(attempt(fx));
		assert_int_equal(store_commit(fx->store, NULL), round ? 0 : -1);
		store_rollback(fx->store);
	}
	expect(fx, "1 logins; 2:1:0 quit -"); /* 1 was taken back, and is nobody's */
	teardown(&owner);
	power_free(power);
}

/* An answer is kept in memory till it can be written; anything else is forgotten. */
static void an_outcome_is_owed_on_a_full_disk(void **state)
{
	static const struct stored_rcpt other = { "eva@x", false, OUTCOME_DOT, 0, "", 0, false };
	struct power *power = power_new();
	struct fixture *fx = prepare();
	void *owner = fx;

	OK(open_it(fx));
	OK(attempt(fx));
	OK(dot(fx));
	OK(store_commit(fx->store, NULL));
	power_full(power, true);
	OK(outcome(fx));
	OK(store_rcpt(fx->store, 1, &other, fx->wall, NULL)); /* her dot will not be sent */
	assert_int_equal(store_write(fx->store, NULL), -1);
	store_rollback(fx->store);
	assert_int_equal(store_commit(fx->store, NULL), -1); /* it is not forgotten */
	store_rollback(fx->store);
	assert_int_equal(login(fx), -1);
	expect(fx, "0 logins; 1:1:0 1:1 quit -");
	power_full(power, false);
	OK(store_commit(fx->store, NULL));
	expect(fx, "0 logins; 1:1:0 1:2 quit -");
	OK(dot(fx)); /* and it is written once: a later record stands */
	OK(store_commit(fx->store, NULL));
	expect(fx, "0 logins; 1:1:0 1:1 quit -");
	teardown(&owner);
	power_free(power);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_durable_survives_power_loss),
		cmocka_unit_test(a_disk_that_lies_is_found_out),
		cmocka_unit_test(nothing_is_promised_on_a_full_disk),
		cmocka_unit_test(an_outcome_is_owed_on_a_full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
