/*
 * The state in a real SQLite file: what survives, what a rollback forgets, and which files
 * are refused and left as they are. (Login permits: test_store_login.c.)
 */
#include "store_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define NOBODY 65534

static void commit(struct fixture *fx)
{
	OK(store_commit(fx->store, NULL));
	assert_false(store_dirty(fx->store));
}

static int64_t attempt(struct fixture *fx, const char *uid, int64_t id)
{
	OK(store_attempt(fx->store, "a", uid, 500, false, fx->wall, &id, NULL));
	assert_true(id > 0);
	return id;
}

static int keep_message(void *ctx, const struct stored_message *m)
{
	struct stored_message *out = ctx;

	*out = *m;
	out->uid = NULL; /* it was lent for the call */
	return 0;
}

/* The row of that id of account a; state -1 if there is none. */
static struct stored_message message(struct fixture *fx)
{
	struct stored_message m = { .id = -1 };

	OK(store_messages(fx->store, "a", keep_message, &m, NULL));
	return m;
}

struct rcpts {
	struct strbuf text;
	size_t n;
};

static int keep_rcpt(void *ctx, const struct stored_rcpt *r)
{
	struct rcpts *out = ctx;

	strbuf_addf(&out->text, "%s%s %s %d %s;", r->postmaster ? "*" : "", r->address,
		outcome_name(r->outcome), r->code, r->reply);
	out->n++;
	return 0;
}

static void expect_rcpts(struct fixture *fx, int64_t id, const char *text)
{
	struct rcpts rcpts = { 0 };

	OK(store_rcpts(fx->store, id, keep_rcpt, &rcpts, NULL));
	assert_string_equal(strbuf_str(&rcpts.text), text);
	strbuf_free(&rcpts.text);
}

static void attempts_survive(void **state)
{
	struct fixture *fx = *state;
	int64_t id = attempt(fx, "UID1", 0);

	assert_true(store_dirty(fx->store));
	commit(fx);
	assert_int_equal(attempt(fx, "UID1", id), id);
	commit(fx);
	reopen(fx);
	struct stored_message m = message(fx);
	assert_int_equal(m.id, id);
	assert_int_equal(m.octets, 500);
	assert_int_equal(m.attempts, 2);
	assert_int_equal(m.state, MESSAGE_NEW);
	assert_int_equal(m.missing, 0);
	OK(store_left(fx->store, id, false, NULL));
	assert_int_equal(message(fx).attempts, 1);
	OK(store_left(fx->store, id, false, NULL));
	OK(store_left(fx->store, id, false, NULL)); /* never below nothing */
	assert_int_equal(message(fx).attempts, 0);
	struct stored_message other = { .id = -1 };
	OK(store_messages(fx->store, "b", keep_message, &other, NULL));
	assert_int_equal(other.id, -1);
}

static int stop_at_once(void *ctx, const struct stored_message *m)
{
	++*(int *)ctx;
	return 1;
}

static void reading_may_stop_early(void **state)
{
	struct fixture *fx = *state;
	int calls = 0;

	attempt(fx, "1", 0);
	attempt(fx, "2", 0);
	OK(store_messages(fx->store, "a", stop_at_once, &calls, NULL));
	assert_int_equal(calls, 1);
	commit(fx); /* the reader does not stand in its way */
}

static void outcomes_survive(void **state)
{
	static const struct stored_rcpt rcpts[] = {
		{ "Hans@firma.example", false, OUTCOME_DOT, 0, NULL, 0, false },
		{ "eva@firma.example", false, OUTCOME_LATER, 450, "450 greylisted", 0, false },
		{ "pm@firma.example", true, OUTCOME_UNKNOWN, 550, "550 no", 0, false },
		{ "pm@firma.example", false, OUTCOME_DISCARDED, 0, "", 0,
			false }, /* not the same one */
		/* a later word replaces the earlier one, whatever its case */
		{ "hans@firma.example", false, OUTCOME_ACCEPTED, 250, "250 Ok", 0, false },
	};
	struct fixture *fx = *state;
	int64_t id = attempt(fx, "UID1", 0), other = attempt(fx, "UID2", 0);

	for (size_t i = 0; i < ARRAY_LEN(rcpts); i++)
		OK(store_rcpt(fx->store, id, &rcpts[i], fx->wall, NULL));
	commit(fx);
	reopen(fx);
	expect_rcpts(fx, id,
		"eva@firma.example later 450 450 greylisted;"
		"Hans@firma.example accepted 250 250 Ok;"
		"pm@firma.example discarded 0 ;"
		"*pm@firma.example unknown 550 550 no;");
	expect_rcpts(fx, other, "");
}

static int count_doubts(void *ctx, const struct stored_rcpt *r)
{
	*(size_t *)ctx += r->in_doubt;
	return 0;
}

static size_t doubts(struct fixture *fx, int64_t id)
{
	size_t n = 0;

	OK(store_rcpts(fx->store, id, count_doubts, &n, NULL));
	return n;
}

/* K06: an earlier copy stays in doubt whatever becomes of the next one, and who is asked. */
static void doubt_survives_a_later_answer(void **state)
{
	struct stored_rcpt row = { .address = "x@y", .outcome = OUTCOME_DOT };
	struct fixture *fx = *state;
	int64_t id = attempt(fx, "UID1", 0);

	OK(store_rcpt(fx->store, id, &row, fx->wall, NULL));
	assert_int_equal(doubts(fx, id), 0); /* the record of a first dot */
	row.in_doubt = true;
	row.outcome = OUTCOME_LATER;
	OK(store_rcpt(fx->store, id, &row, fx->wall, NULL));
	OK(store_state(fx->store, id, MESSAGE_HELD, "tried long enough", fx->wall, NULL));
	OK(store_release(fx->store, id, NULL, fx->wall, NULL));
	commit(fx);
	reopen(fx);
	assert_int_equal(doubts(fx, id), 1);
}

static void a_rollback_forgets(void **state)
{
	struct fixture *fx = *state;
	int64_t id = attempt(fx, "UID1", 0);

	commit(fx);
	for (int how = 0; how < 2; how++) { /* asked for, or because the process ended */
		attempt(fx, "UID1", id);
		OK(store_state(fx->store, id, MESSAGE_DONE, NULL, fx->wall, NULL));
		OK(store_rcpt(fx->store, id,
			&(struct stored_rcpt){ "x@y", false, OUTCOME_ACCEPTED, 250, "", 0, false },
			0, NULL));
		if (how)
			reopen(fx);
		else
			store_rollback(fx->store);
		assert_false(store_dirty(fx->store));
		assert_int_equal(message(fx).attempts, 1);
		assert_int_equal(message(fx).state, MESSAGE_NEW);
		expect_rcpts(fx, id, "");
	}
	store_rollback(fx->store); /* nothing open: fine */
	OK(store_commit(fx->store, NULL));
}

/* Written: another process sees it, and the end of this one takes nothing back. */
static void what_is_written_survives_the_process(void **state)
{
	struct fixture *fx = *state;
	int64_t id = attempt(fx, "UID1", 0);

	OK(store_write(fx->store, NULL));
	assert_false(store_dirty(fx->store));
	store_rollback(fx->store);
	struct store *other = open_store(fx);
	struct stored_message m = { .id = -1 };
	OK(store_messages(other, "a", keep_message, &m, NULL));
	assert_int_equal(m.id, id);
	store_close(other);
	OK(store_commit(fx->store, NULL)); /* durable, though nothing is open any more */
	OK(store_write(fx->store, NULL));
	OK(store_commit(fx->store, NULL));
}

/* The first time it waits itself. */
static void who_ends_a_transaction_gets_a_mark(void **state)
{
	struct fixture *fx = *state;
	int64_t id = attempt(fx, "UID1", 0);

	OK(store_end(fx->store, NULL));
	assert_int_equal(store_unsynced(fx->store), 0);
	attempt(fx, "UID1", id);
	OK(store_end(fx->store, NULL));
	uint64_t first = store_unsynced(fx->store);
	attempt(fx, "UID1", id);
	OK(store_end(fx->store, NULL));
	assert_true(first && store_unsynced(fx->store) > first);
	store_synced(fx->store, store_unsynced(fx->store));
	store_synced(fx->store, first); /* a late answer */
	assert_int_equal(store_unsynced(fx->store), 0);
}

/* K13: the disk is full at the commit: it says so, and nothing of it counts; later it works. */
static void a_full_disk_fails_the_commit(void **state)
{
	struct fixture *fx = *state;
	struct rlimit old, small;
	struct err err = { 0 };
	int64_t id = attempt(fx, "UID1", 0);

	commit(fx);
	attempt(fx, "UID1", id);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){ 1, old.rlim_max };
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	int rc = store_commit(fx->store, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	signal(SIGXFSZ, SIG_DFL);
	assert_int_equal(rc, -1);
	assert_int_equal(err.class, ERR_LOCAL);
	store_rollback(fx->store);
	assert_int_equal(message(fx).attempts, 1);
	attempt(fx, "UID1", id);
	commit(fx);
	reopen(fx);
	assert_int_equal(message(fx).attempts, 2);
}

static void states_keep_the_time_of_delivery(void **state)
{
	struct fixture *fx = *state;
	int64_t id = attempt(fx, "UID1", 0);

	OK(store_state(fx->store, id, MESSAGE_HELD, "too large", 1, NULL));
	assert_int_equal(message(fx).state, MESSAGE_HELD);
	assert_int_equal(message(fx).done_at, 0);
	OK(store_state(fx->store, id, MESSAGE_DONE, NULL, 77, NULL));
	assert_int_equal(message(fx).done_at, 77);
	OK(store_state(fx->store, id, MESSAGE_DELETED, NULL, 99, NULL));
	assert_int_equal(message(fx).state, MESSAGE_DELETED);
	assert_int_equal(message(fx).done_at, 77);
}

/* The count of listings without it; once forgotten, its recipients do not come back with its id. */
static void a_forgotten_row_is_gone(void **state)
{
	struct fixture *fx = *state;
	int64_t id = attempt(fx, "UID1", 0);

	OK(store_rcpt(fx->store, id,
		&(struct stored_rcpt){ "x@y", false, OUTCOME_ACCEPTED, 250, "", 0, false }, 0,
		NULL));
	OK(store_missing(fx->store, id, 1, NULL));
	commit(fx);
	reopen(fx);
	assert_int_equal(message(fx).missing, 1);
	OK(store_missing(fx->store, id, 0, NULL));
	assert_int_equal(message(fx).missing, 0);
	OK(store_remove(fx->store, id, NULL));
	assert_int_equal(message(fx).id, -1);
	expect_rcpts(fx, attempt(fx, "UID2", 0), "");
	expect_rcpts(fx, id, "");
}

static void identify(struct fixture *fx, int64_t id, const uint8_t *digest)
{
	char *redirect;

	OK(store_identify(fx->store, id,
		&(struct message_identity){ digest, "<id@x>", "", "house" }, &redirect, NULL));
	assert_null(redirect);
}

static const uint8_t digests[][STORE_DIGEST_OCTETS] = { "one", "two" };

/* Identical copies under one UID are told apart by number, never by another UID's or account's. */
static void finds_the_same_content(void **state)
{
	struct fixture *fx = *state;
	struct stored_message found;
	int64_t ids[4];

	for (size_t i = 0; i < 4; i++) { /* two copies, another content, another UID */
		ids[i] = attempt(fx, i == 3 ? "V" : "U", 0);
		identify(fx, ids[i], digests[i == 2]);
	}
	OK(store_state(fx->store, ids[1], MESSAGE_DONE, NULL, 1, NULL));
	commit(fx);
	const struct {
		const char *account, *uid;
		int64_t except;
		uint32_t digest, nth;
		int64_t found;
		enum message_state how;
	} rows[] = {
		{ "a", "U", 0, 0, 0, ids[0], MESSAGE_NEW },
		{ "a", "U", 0, 0, 1, ids[1], MESSAGE_DONE },
		{ "a", "U", 0, 0, 2, 0, 0 },
		{ "a", "U", ids[0], 0, 0, ids[1], MESSAGE_DONE },
		{ "a", "U", ids[0], 0, 1, 0, 0 },
		{ "a", "U", 0, 1, 0, ids[2], MESSAGE_NEW },
		{ "a", "V", ids[3], 0, 0, 0, 0 },
		{ "a", "u", 0, 0, 0, 0, 0 },
		{ "b", "U", 0, 0, 0, 0, 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		OK(store_same(fx->store, rows[i].account, rows[i].except, rows[i].uid,
			digests[rows[i].digest], rows[i].nth, &found, NULL));
		if (found.id != rows[i].found || found.state != rows[i].how)
			fail_msg("row %zu", i);
	}
}

static void remembers_what_was_delivered(void **state)
{
	static const struct {
		const char *account, *recipient;
		uint32_t digest;
		wall_t since;
		int64_t seen;
	} rows[] = {
		{ "a", "hans@x", 0, 999, 2 },
		{ "a", "hans@x", 0, 1000, 2 },
		{ "a", "hans@x", 0, 1001, 0 },
		{ "a", "HANS@X", 0, 1000, 2 },
		{ "a", "eva@x", 0, 0, 0 },
		{ "a", "hans@x", 1, 0, 0 },
		{ "b", "hans@x", 0, 0, 0 },
	};
	struct fixture *fx = *state;
	struct dedupe_note seen, notes[] = { { 1, "" }, { 2, "1D" }, { 2, "" } };

	/* The last counts, from its dot on. */
	for (size_t i = 0; i < ARRAY_LEN(notes); i++)
		OK(store_dedupe_note(fx->store, "a", "hans@x", digests[0], &notes[i],
			500 + 500 * (wall_t)i, NULL));
	commit(fx);
	reopen(fx);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		OK(store_dedupe_seen(fx->store, rows[i].account, rows[i].recipient,
			digests[rows[i].digest], rows[i].since, &seen, NULL));
		if (seen.message != rows[i].seen || seen.doubt_id[0])
			fail_msg("row %zu", i);
	}
	for (wall_t before = 1000; before <= 1001; before++) {
		OK(store_dedupe_purge(fx->store, "b", 9999, NULL));
		OK(store_dedupe_purge(fx->store, "a", before, NULL));
		OK(store_dedupe_seen(fx->store, "a", "hans@x", digests[0], 0, &seen, NULL));
		assert_int_equal(seen.message, before == 1000 ? 2 : 0);
	}
}

static void remembers_a_confirmed_quit(void **state)
{
	struct fixture *fx = *state;
	bool ok = true;

	OK(store_quit_ok(fx->store, "a", &ok, NULL));
	assert_false(ok); /* never asked: not confirmed */
	OK(store_set_quit_ok(fx->store, "a", true, NULL));
	commit(fx);
	reopen(fx);
	OK(store_quit_ok(fx->store, "a", &ok, NULL));
	assert_true(ok);
	OK(store_set_quit_ok(fx->store, "a", false, NULL));
	OK(store_quit_ok(fx->store, "a", &ok, NULL));
	assert_false(ok);
}

/* ---- opening ---- */

static void the_key_is_for_life(void **state)
{
	struct fixture *fx = *state;
	struct stat st;
	uint8_t key[16];

	memcpy(key, store_key(fx->store), sizeof key);
	assert_int_equal(key[0], 1);
	reopen(fx);
	struct store *other = open_store(fx);
	assert_memory_equal(store_key(fx->store), key, sizeof key);
	assert_memory_equal(store_key(other), key, sizeof key);
	store_close(other);
	assert_int_equal(stat(fx->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void read_all(const char *path, struct strbuf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char buf[4096];
	ssize_t n;

	assert_true(fd >= 0);
	while ((n = read(fd, buf, sizeof buf)) > 0)
		strbuf_add(out, buf, (size_t)n);
	close(fd);
}

static void expect_refused(struct fixture *fx, const char *dir, const char *says)
{
	struct store *s = NULL;
	struct err err = { 0 };

	assert_int_equal(store_open(dir, &fx->clock, &fx->rng, &s, &err), -1);
	assert_null(s);
	assert_int_equal(err.class, ERR_LOCAL);
	if (!strstr(err.text, says))
		fail_msg("\"%s\" does not say \"%s\"", err.text, says);
}

static void overwrite(const char *path, const char *text, off_t at)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, text, strlen(text), at), (ssize_t)strlen(text));
	close(fd);
}

/* K15: whatever stands there and is not a usable state of ours is refused, never re-created. */
static void refuses_what_it_cannot_use(void **state)
{
	static const struct {
		const char *sql;     /* what another program did, or NULL: */
		const char *garbage; /* written over the file's beginning */
		const char *says;
	} rows[] = {
		{ "PRAGMA user_version = 5", NULL, "schema 5" },
		{ "PRAGMA user_version = 0", NULL, "schema 0" },
		{ "PRAGMA application_id = 7", NULL, "not a database of multidropd" },
		{ "PRAGMA application_id = 0", NULL, "not a database of multidropd" },
		{ "DELETE FROM meta", NULL, "key is missing; stop multidropd and restore" },
		{ "UPDATE meta SET value = x'00'", NULL, "key is missing" },
		{ "DROP TABLE message", NULL, "no such table" },
		{ "ALTER TABLE rcpt DROP COLUMN in_doubt", NULL, "no such table column" },
		{ NULL, "corrupt header", "delivered once more" },
	};
	struct fixture *fx = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(strbuf_free) struct strbuf before = STRBUF_INIT, after = STRBUF_INIT;
		store_close(fx->store);
		fx->store = NULL;
		unlink(fx->path);
		fx->store = open_store(fx);
		attempt(fx, "UID1", 0);
		commit(fx);
		store_close(fx->store);
		fx->store = NULL;
		if (rows[i].sql)
			tamper(fx, rows[i].sql);
		else
			overwrite(fx->path, rows[i].garbage, 0);
		read_all(fx->path, &before);
		expect_refused(fx, fx->dir, rows[i].says);
		read_all(fx->path, &after);
		assert_int_equal(before.len, after.len);
		assert_memory_equal(before.ptr, after.ptr, before.len);
	}
}

static void brings_an_old_schema_up_to_date(void **state)
{
	struct stored_rcpt row = { .address = "x@y", .outcome = OUTCOME_DOT, .in_doubt = true };
	struct fixture *fx = *state;
	int64_t id = attempt(fx, "UID1", 0);

	OK(store_rcpt(fx->store, id, &row, fx->wall, NULL));
	OK(store_set_quit_ok(fx->store, "a", true, NULL));
	commit(fx);
	store_close(fx->store);
	fx->store = NULL;
	tamper(fx, VERSION_1 "INSERT INTO account VALUES('a', 1)");
	fx->store = open_store(fx);
	reopen(fx); /* and it stays so */
	expect_rcpts(fx, id, "x@y in-doubt 0 ;");
	assert_int_equal(doubts(fx, id), 0);
	OK(store_rcpt(fx->store, id, &row, fx->wall, NULL));
	assert_int_equal(doubts(fx, id), 1);
	bool ok = false;
	OK(store_quit_ok(fx->store, "a", &ok, NULL));
	assert_true(ok);
	OK(store_set_paused(fx->store, "a", true, NULL));
	OK(store_set_hour_limit(fx->store, "p", 30, fx->wall, NULL));
	OK(store_dedupe_note(
		fx->store, "a", "x@y", digests[0], &(struct dedupe_note){ id, "1D" }, 500, NULL));
}

/* Another program's database is left as it is, to the last octet. */
static void leaves_a_foreign_database_alone(void **state)
{
	AUTO(strbuf_free) struct strbuf before = STRBUF_INIT, after = STRBUF_INIT;
	struct fixture *fx = *state;

	store_close(fx->store);
	fx->store = NULL;
	unlink(fx->path);
	tamper(fx, "CREATE TABLE theirs(x); INSERT INTO theirs VALUES('precious')");
	read_all(fx->path, &before);
	expect_refused(fx, fx->dir, "not a database of multidropd");
	read_all(fx->path, &after);
	assert_int_equal(before.len, after.len);
	assert_memory_equal(before.ptr, after.ptr, before.len);
}

static void a_missing_directory_is_not_made(void **state)
{
	struct fixture *fx = *state;
	struct stat st;
	char path[64];

	snprintf(path, sizeof path, "%s/none", fx->dir);
	expect_refused(fx, path, "No such file");
	assert_int_equal(stat(path, &st), -1);
	expect_refused(fx, fx->path, fx->path); /* a file */
}

/* A file that may be read only. (root may write all: then it is nobody who tries.) */
static void a_read_only_file_is_refused(void **state)
{
	struct fixture *fx = *state;
	bool root = !geteuid();

	store_close(fx->store);
	fx->store = NULL;
	assert_int_equal(chmod(fx->path, 0444), 0);
	assert_int_equal(chmod(fx->dir, 0755), 0);
	if (root)
		assert_int_equal(seteuid(NOBODY), 0);
	expect_refused(fx, fx->dir, "readonly");
	if (root)
		assert_int_equal(seteuid(0), 0);
	prctl(PR_SET_DUMPABLE, 1); /* seteuid() ended that, and the leak check needs it */
	assert_int_equal(chmod(fx->path, 0600), 0);
	fx->store = open_store(fx);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(attempts_survive),
		TEST(reading_may_stop_early),
		TEST(outcomes_survive),
		TEST(doubt_survives_a_later_answer),
		TEST(a_rollback_forgets),
		TEST(what_is_written_survives_the_process),
		TEST(who_ends_a_transaction_gets_a_mark),
		TEST(a_full_disk_fails_the_commit),
		TEST(states_keep_the_time_of_delivery),
		TEST(a_forgotten_row_is_gone),
		TEST(finds_the_same_content),
		TEST(remembers_what_was_delivered),
		TEST(remembers_a_confirmed_quit),
		TEST(the_key_is_for_life),
		TEST(refuses_what_it_cannot_use),
		TEST(brings_an_old_schema_up_to_date),
		TEST(leaves_a_foreign_database_alone),
		TEST(a_missing_directory_is_not_made),
		TEST(a_read_only_file_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
