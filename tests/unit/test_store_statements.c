/*
 * Statements are prepared when they are first used: each of them fits the schema, a new one and one
 * that was brought up to date, and what no longer fits at that late hour fails like any other.
 */
#include "store_fixture.h"
#include "store_impl.h"

static void expect_all_fit(struct fixture *fx)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(fx->path, &db), SQLITE_OK);
	for (size_t i = 0; i < STATEMENT_COUNT; i++) {
		sqlite3_stmt *st;
		if (sqlite3_prepare_v2(db, store_sql[i], -1, &st, NULL) != SQLITE_OK)
			fail_msg("%s: %s", store_sql[i], sqlite3_errmsg(db));
		sqlite3_finalize(st);
	}
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void each_fits_a_new_schema(void **state)
{
	expect_all_fit(*state);
}

static void each_fits_an_updated_schema(void **state)
{
	struct fixture *fx = *state;

	store_close(fx->store);
	fx->store = NULL;
	tamper(fx, VERSION_1);
	fx->store = open_store(fx);
	expect_all_fit(fx);
}

/* Another program's hands on the tables of a running daemon (K15). */
static void a_late_failure_is_an_error(void **state)
{
	struct fixture *fx = *state;
	struct watch watch = { 0 };
	struct err err = { 0 };
	bool ok;

	tamper(fx, "DROP TABLE watch");
	OK(store_quit_ok(fx->store, "a", &ok, NULL)); /* now it knows the new schema */
	assert_int_equal(store_watch(fx->store, "a", &watch, &err), -1);
	assert_non_null(strstr(err.text, "no such table: watch"));
	err = (struct err){ 0 };
	assert_int_equal(store_set_watch(fx->store, "a", &watch, &err), -1);
	assert_non_null(strstr(err.text, "no such table: watch"));
	store_rollback(fx->store);
	OK(store_set_quit_ok(fx->store, "a", true, NULL)); /* all else goes on */
	OK(store_commit(fx->store, NULL));
	assert_null(fx->store->stmts[WATCH]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(each_fits_a_new_schema),
		TEST(each_fits_an_updated_schema),
		TEST(a_late_failure_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
