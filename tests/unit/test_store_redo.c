/*
 * The redo log: what a process had written survives its death, and that of the machine ends it.
 * Each test lets a child die; its parent is the next process, or one beside it.
 */
#include "store_fixture.h"
#include "store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define BOOT "0123456789abcdef"

static bool no_truncation, no_reading;

int ftruncate(int fd, off_t octets)
{
	if (!no_truncation)
		return (int)syscall(SYS_ftruncate, fd, octets);
	errno = EIO;
	return -1;
}

/* Of logs; SQLite has files of its own to read. */
ssize_t pread(int fd, void *buf, size_t len, off_t at)
{
	char link[32], path[128] = "";

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	if (!no_reading || readlink(link, path, sizeof path - 1) < 0 || !strstr(path, "-redo"))
		return (ssize_t)syscall(SYS_pread64, fd, buf, len, at);
	errno = EIO;
	return -1;
}

struct rows {
	char text[200]; /* "address=outcome ..." */
};

static int add_row(void *ctx, const struct stored_rcpt *r)
{
	struct rows *rows = ctx;
	size_t n = strlen(rows->text);

	snprintf(rows->text + n, sizeof rows->text - n, "%s%s=%s", n ? " " : "", r->address,
		outcome_name(r->outcome));
	return 0;
}

static void expect(struct fixture *fx, int64_t id, const char *text)
{
	struct rows rows = { "" };

	OK(store_rcpts(fx->store, id, add_row, &rows, NULL));
	assert_string_equal(rows.text, text);
}

static int keep(void *ctx, const struct stored_message *m)
{
	struct stored_message *out = ctx;

	*out = *m;
	return 0;
}

static struct stored_message message(struct fixture *fx)
{
	struct stored_message m = { 0 };

	OK(store_messages(fx->store, "a", keep, &m, NULL));
	m.uid = NULL;
	return m;
}

static void record(struct fixture *fx, int64_t id, const char *who, enum outcome outcome)
{
	struct stored_rcpt r = { .address = who, .outcome = outcome, .code = 250, .reply = "ok" };

	OK(store_rcpt(fx->store, id, &r, fx->wall, NULL));
}

static int64_t attempt(struct fixture *fx, bool first)
{
	int64_t id = 0;

	OK(store_attempt(fx->store, "a", "UID", 500, first, fx->wall, &id, NULL));
	OK(store_commit(fx->store, NULL));
	return id;
}

static void identify(struct fixture *fx, int64_t id)
{
	static const uint8_t digest[STORE_DIGEST_OCTETS] = { 1, 2, 3 };
	const struct message_identity known = { digest, "<m@x>", NULL, "house" };
	char *redirect;

	OK(store_identify(fx->store, id, &known, &redirect, NULL));
	assert_null(redirect);
}

static void permit(struct fixture *fx)
{
	static const struct rate_rule rule = { .limit = 100, .window_ms = MINUTE };
	struct login_permit out;

	fx->now += MINUTE;
	OK(store_login(fx->store, "p", "a", &rule, &fx->clock, &out, NULL));
	assert_int_equal(out.wait_ms, 0);
}

static off_t log_octets(struct fixture *fx, int slot)
{
	char path[80];
	struct stat st;

	snprintf(path, sizeof path, "%s-redo%d", fx->path, slot);
	return stat(path, &st) ? -1 : st.st_size;
}

/* A process that opens the state, does something and dies as by kill -9. */
static void die(struct fixture *fx, void (*life)(struct fixture *fx))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		fx->store = open_store(fx);
		life(fx);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int begin(void **state)
{
	struct fixture *fx = prepare();

	no_truncation = no_reading = false;

	fx->boot = BOOT;
	*state = fx;
	return 0;
}

/* ---- */

static void writes_and_dies(struct fixture *fx)
{
	int64_t id = attempt(fx, true);

	identify(fx, id);
	record(fx, id, "hans@x", OUTCOME_DOT);
	record(fx, id, "eva@x", OUTCOME_DOT);
	OK(store_write(fx->store, NULL));
	assert_true(log_octets(fx, 0) > 0 && store_dirty(fx->store) && !store_urgent(fx->store));
	record(fx, id, "hans@x", OUTCOME_ACCEPTED);
	OK(store_write(fx->store, NULL));
	record(fx, id, "eva@x", OUTCOME_ACCEPTED); /* nobody was told */
	OK(store_state(fx->store, id, MESSAGE_DONE, NULL, fx->wall, NULL));
}

/* K06, P: killed after the dot and after its answer. */
static void what_is_written_survives_the_process(void **state)
{
	struct fixture *fx = *state;

	die(fx, writes_and_dies);
	fx->store = open_store(fx);
	expect(fx, 1, "eva@x=in-doubt hans@x=accepted");
	assert_true(message(fx).digest && !message(fx).cut);
	assert_int_equal(message(fx).state, MESSAGE_NEW);
	assert_int_equal(log_octets(fx, 0), 0);
	record(fx, 1, "hans@x", OUTCOME_AGAIN); /* it was done again once: this stands */
	OK(store_commit(fx->store, NULL));
	reopen(fx);
	expect(fx, 1, "eva@x=in-doubt hans@x=again");
}

/* `--once` was killed beside the daemon, which knows of it before its next login. */
static void a_living_process_learns_of_it(void **state)
{
	struct fixture *fx = *state;
	struct store *living = open_store(fx);

	die(fx, writes_and_dies);
	fx->store = living;
	expect(fx, 1, "");
	permit(fx);
	expect(fx, 1, "eva@x=in-doubt hans@x=accepted");
	assert_int_equal(log_octets(fx, 0), 0);
}

static void writes_beside(struct fixture *fx)
{
	record(fx, 1, "eva@x", OUTCOME_DOT);
	OK(store_write(fx->store, NULL));
}

/* Each has a log of its own, and nobody does again what a living process has in hand. */
static void each_process_has_its_own(void **state)
{
	struct fixture *fx = *state;

	fx->store = open_store(fx);
	attempt(fx, true);
	record(fx, 1, "hans@x", OUTCOME_DOT);
	OK(store_write(fx->store, NULL));
	OK(store_commit(fx->store, NULL));
	struct store *living = fx->store;
	die(fx, writes_beside);
	fx->store = living;
	assert_int_equal(log_octets(fx, 0), 0);
	assert_true(log_octets(fx, 1) > 0);
	record(fx, 1, "hans@x", OUTCOME_ACCEPTED);
	OK(store_write(fx->store, NULL));
	assert_true(log_octets(fx, 0) > 0);
	permit(fx);
	expect(fx, 1, "eva@x=in-doubt hans@x=accepted");
	assert_int_equal(log_octets(fx, 1), 0);
}

/* ---- the machine went down ---- */

/* What stands in the log is of no use then; the attempt, which is durable, says "in doubt". */
static void a_log_of_another_boot_counts_for_nothing(void **state)
{
	struct fixture *fx = *state;

	die(fx, writes_and_dies);
	fx->boot = "another";
	fx->store = open_store(fx);
	expect(fx, 1, "");
	assert_true(message(fx).cut);
	assert_int_equal(log_octets(fx, 0), 0);
	fx->boot = BOOT; /* and if it was one that only called itself so, what it saw stays true */
	reopen(fx);
	assert_true(message(fx).cut);
}

static void the_end_of_an_attempt_ends_the_doubt(void **state)
{
	struct fixture *fx = *state;
	int64_t id;

	fx->store = open_store(fx);
	id = attempt(fx, true);
	for (int how = 0; how < 4; how++) {
		if (how == 0)
			OK(store_left(fx->store, id, false, NULL));
		else if (how == 1)
			OK(store_left(fx->store, id, true, NULL));
		else if (how == 2)
			OK(store_defer(fx->store, id, true, 0, NULL));
		else
			OK(store_state(fx->store, id, MESSAGE_HELD, "x", fx->wall, NULL));
		OK(store_commit(fx->store, NULL));
		fx->boot = "another";
		reopen(fx);
		assert_false(message(fx).cut);
		tamper(fx, "UPDATE message SET boot = '" BOOT "'");
		fx->boot = BOOT;
		reopen(fx);
	}
	fx->boot = "another"; /* a cut attempt stays one, whatever a later one comes to */
	reopen(fx);
	OK(store_defer(fx->store, id, true, 0, NULL));
	OK(store_commit(fx->store, NULL));
	assert_true(message(fx).cut);
}

/* Without a name for this boot a power loss cannot be told from a kill: the old way. */
static void without_a_boot_there_is_no_log(void **state)
{
	struct fixture *fx = *state;

	fx->boot = "";
	fx->store = open_store(fx);
	assert_false(store_knows_cuts(fx->store));
	attempt(fx, true);
	record(fx, 1, "hans@x", OUTCOME_DOT);
	OK(store_write(fx->store, NULL));
	assert_false(store_dirty(fx->store));
	assert_int_equal(log_octets(fx, 0), -1);
	fx->boot = BOOT;
	reopen(fx);
	assert_false(message(fx).cut);
}

/* ---- a log that is not whole ---- */

static void learn(struct fixture *fx, struct strbuf *log)
{
	char path[80], buf[4096];

	snprintf(path, sizeof path, "%s-redo0", fx->path);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, buf, sizeof buf);
	assert_true(n > 0 && n < (ssize_t)sizeof buf);
	strbuf_add(log, buf, (size_t)n);
	close(fd);
}

static void put_log(struct fixture *fx, const char *octets, size_t n)
{
	char path[80];

	snprintf(path, sizeof path, "%s-redo0", fx->path);
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(write(fd, octets, n), (ssize_t)n);
	close(fd);
}

/* At each length, and with each octet wrong: the whole blocks before it count, in their order. */
static void a_torn_log_counts_as_far_as_it_is_whole(void **state)
{
	struct fixture *fx = *state;
	AUTO(strbuf_free) struct strbuf log = STRBUF_INIT;
	unsigned seen[3] = { 0 };

	die(fx, writes_and_dies);
	learn(fx, &log);
	for (size_t n = 0; n < 2 * log.len; n++) {
		bool torn = n < log.len;
		if (!torn)
			log.ptr[n - log.len] ^= 0x55;
		put_log(fx, log.ptr, torn ? n : log.len);
		if (!torn)
			log.ptr[n - log.len] ^= 0x55;
		fx->store = open_store(fx);
		struct rows rows = { "" };
		OK(store_rcpts(fx->store, 1, add_row, &rows, NULL));
		unsigned which = !rows.text[0] ? 0 : strstr(rows.text, "accepted") ? 2 : 1;
		seen[which]++;
		assert_true(which < 2); /* the last block is never whole */
		if (which)
			assert_string_equal(rows.text, "eva@x=in-doubt hans@x=in-doubt");
		store_close(fx->store);
		fx->store = NULL;
		tamper(fx, "DELETE FROM rcpt");
	}
	assert_true(seen[0] > 100 && seen[1] > 100);
}

/* The database was made anew: the log is of another. */
static void a_log_of_another_database_counts_for_nothing(void **state)
{
	struct fixture *fx = *state;

	die(fx, writes_and_dies);
	assert_int_equal(unlink(fx->path), 0);
	fx->next_random = 77;
	fx->store = open_store(fx);
	attempt(fx, true);
	expect(fx, 1, "");
	assert_int_equal(log_octets(fx, 0), 0);
}

static void writes_what_nobody_knows(struct fixture *fx)
{
	attempt(fx, true);
	record(fx, 1, "hans@x", OUTCOME_DOT);
	fx->store->redo.changes.ptr[sizeof(uint32_t)] ^= 0x55; /* a statement of another version */
	OK(store_write(fx->store, NULL));
}

static void a_log_of_another_version_puts_all_in_doubt(void **state)
{
	struct fixture *fx = *state;

	die(fx, writes_what_nobody_knows);
	fx->store = open_store(fx);
	expect(fx, 1, "");
	assert_true(message(fx).cut);
}

/* ---- the transaction goes on ---- */

/* Dots have gone out on the strength of what is written: no rollback takes that back. */
static void a_rollback_keeps_what_is_written(void **state)
{
	struct fixture *fx = *state;

	fx->store = open_store(fx);
	attempt(fx, true);
	record(fx, 1, "hans@x", OUTCOME_DOT);
	OK(store_write(fx->store, NULL));
	record(fx, 1, "hans@x", OUTCOME_ACCEPTED); /* a fact */
	record(fx, 1, "eva@x", OUTCOME_DOT);       /* its dot will not be sent */
	store_rollback(fx->store);
	expect(fx, 1, "");
	OK(store_commit(fx->store, NULL));
	expect(fx, 1, "hans@x=accepted");
	assert_int_equal(log_octets(fx, 0), 0);
	reopen(fx);
	expect(fx, 1, "hans@x=accepted");
}

/* The relay has answered while another process had the database: nobody will say it again. */
static void a_fact_outlives_a_transaction_that_never_began(void **state)
{
	struct stored_rcpt accepted = { .address = "hans@x", .outcome = OUTCOME_ACCEPTED };
	struct fixture *fx = *state;
	sqlite3 *other;

	fx->store = open_store(fx);
	sqlite3_busy_timeout(fx->store->db, 0);
	attempt(fx, true);
	record(fx, 1, "hans@x", OUTCOME_DOT);
	OK(store_commit(fx->store, NULL));
	assert_int_equal(sqlite3_open(fx->path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(store_rcpt(fx->store, 1, &accepted, fx->wall, NULL), -1);
	assert_true(store_owes(fx->store));
	assert_int_equal(store_commit(fx->store, NULL), -1);
	sqlite3_close(other);
	OK(store_commit(fx->store, NULL));
	assert_false(store_owes(fx->store));
	expect(fx, 1, "hans@x=accepted");
}

/* A row that was rolled back is another message's later on, or another process's. */
static void what_is_said_of_a_row_that_is_gone_goes_with_it(void **state)
{
	struct fixture *fx = *state;
	int64_t id = 0, others = 0;

	fx->store = open_store(fx);
	OK(store_attempt(fx->store, "a", "UID", 500, false, fx->wall, &id, NULL));
	record(fx, id, "hans@x", OUTCOME_SUPPRESSED);
	store_rollback(fx->store);
	assert_false(store_owes(fx->store));
	struct store *beside = open_store(fx);
	OK(store_attempt(beside, "a", "OTHER", 500, false, fx->wall, &others, NULL));
	OK(store_commit(beside, NULL));
	store_close(beside);
	assert_int_equal(others, id);
	OK(store_commit(fx->store, NULL));
	expect(fx, others, "");
}

static void dies_before_it_forgets(struct fixture *fx)
{
	attempt(fx, true);
	record(fx, 1, "hans@x", OUTCOME_DOT);
	OK(store_write(fx->store, NULL));
	record(fx, 1, "hans@x", OUTCOME_ACCEPTED);
	OK(store_left(fx->store, 1, true, NULL)); /* not one that is done again: that ends it */
	no_truncation = true;
	assert_int_equal(store_write(fx->store, NULL), -1);
}

/* Killed between COMMIT and truncation: done again, the log must not take back what came last. */
static void a_log_ends_where_its_transaction_ends(void **state)
{
	struct fixture *fx = *state;

	die(fx, dies_before_it_forgets);
	assert_true(log_octets(fx, 0) > 0);
	fx->store = open_store(fx);
	expect(fx, 1, "hans@x=accepted");
}

static void refused(struct fixture *fx, const char *why)
{
	struct store *s;
	struct err err;

	assert_int_equal(store_open(fx->dir, &fx->clock, &fx->rng, &s, &err), -1);
	if (!strstr(err.text, why))
		fail_msg("\"%s\" does not say \"%s\"", err.text, why);
	assert_true(log_octets(fx, 0) > 0);
}

/* Nobody may log in while it is unknown what a dead process has delivered. */
static void what_a_log_cannot_tell_is_waited_for(void **state)
{
	struct fixture *fx = *state;
	char path[80];

	die(fx, writes_and_dies);
	no_reading = true;
	refused(fx, "-redo0: read: ");
	no_reading = false;
	snprintf(path, sizeof path, "%s-redo0", fx->path);
	int another = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(flock(another, LOCK_EX), 0);
	refused(fx, "-redo0: another process has something there");
	close(another);
	no_truncation = true;
	refused(fx, "-redo0: truncate: ");
	no_truncation = false;
	fx->store = open_store(fx);
	expect(fx, 1, "eva@x=in-doubt hans@x=accepted");
}

/* The id of a row that is only in a log could be given to another message. */
static void who_gets_an_id_is_in_the_database(void **state)
{
	struct fixture *fx = *state;
	int64_t id = 0;

	fx->store = open_store(fx);
	OK(store_attempt(fx->store, "a", "UID", 500, false, fx->wall, &id, NULL));
	assert_false(store_urgent(fx->store)); /* nothing is lost with it alone */
	record(fx, id, "hans@x", OUTCOME_DOT);
	OK(store_write(fx->store, NULL));
	assert_false(store_dirty(fx->store));
	assert_true(log_octets(fx, 0) <= 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(what_is_written_survives_the_process),
		TEST(a_living_process_learns_of_it),
		TEST(each_process_has_its_own),
		TEST(a_log_of_another_boot_counts_for_nothing),
		TEST(the_end_of_an_attempt_ends_the_doubt),
		TEST(without_a_boot_there_is_no_log),
		TEST(a_torn_log_counts_as_far_as_it_is_whole),
		TEST(a_log_of_another_database_counts_for_nothing),
		TEST(a_log_of_another_version_puts_all_in_doubt),
		TEST(a_rollback_keeps_what_is_written),
		TEST(a_fact_outlives_a_transaction_that_never_began),
		TEST(what_is_said_of_a_row_that_is_gone_goes_with_it),
		TEST(a_log_ends_where_its_transaction_ends),
		TEST(what_a_log_cannot_tell_is_waited_for),
		TEST(who_gets_an_id_is_in_the_database),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
