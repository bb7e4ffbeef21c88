/*
 * What people ask the state and decide in it: held messages, release, discard, trace, adopt; how
 * long a message is remembered that is gone, and what is noted of content in doubt.
 */
#include "store_fixture.h"

static const uint8_t digest[STORE_DIGEST_OCTETS] = "content";

static void rcpt(struct fixture *fx, int64_t id, const char *address, enum outcome outcome,
	const char *reply)
{
	OK(store_rcpt(fx->store, id,
		&(struct stored_rcpt){ .address = address, .outcome = outcome, .reply = reply },
		fx->wall, NULL));
}

static char *identify(struct fixture *fx, int64_t id, const char *message_id, const char *sender)
{
	const struct message_identity known = { digest, message_id, sender, "house" };
	char *redirect;

	OK(store_identify(fx->store, id, &known, &redirect, NULL));
	return redirect;
}

static int64_t message(
	struct fixture *fx, const char *uid, const char *message_id, const char *sender)
{
	int64_t id = 0;

	OK(store_attempt(fx->store, "a", uid, 500, false, fx->wall, &id, NULL));
	assert_null(identify(fx, id, message_id, sender));
	return id;
}

static int64_t held(struct fixture *fx, const char *uid)
{
	int64_t id = message(fx, uid, "<m@x>", "s@x");

	OK(store_state(fx->store, id, MESSAGE_HELD, "refused", fx->wall + 5, NULL));
	return id;
}

static int add_id(void *ctx, const struct stored_record *r)
{
	strbuf_addf(ctx, "%d ", (int)r->id);
	return 0;
}

static int add_record(void *ctx, const struct stored_record *r)
{
	strbuf_addf(ctx, "%s %s %d state %d: %s, %s, %s, %s, %s", r->account, r->uid,
		(int)r->attempts, r->state, r->message_id, r->sender, r->relay,
		r->reason ? r->reason : "-", r->redirect ? r->redirect : "-");
	return 0;
}

static int add_rcpt(void *ctx, const struct stored_rcpt *r)
{
	strbuf_addf(ctx, "%s %s;", r->address, outcome_name(r->outcome));
	return 0;
}

static void expect_record(struct fixture *fx, int64_t id, const char *text)
{
	AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;

	OK(store_record(fx->store, id, add_record, &out, NULL));
	assert_string_equal(strbuf_str(&out), text);
}

static void expect_rcpts(struct fixture *fx, int64_t id, const char *text)
{
	AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;

	OK(store_rcpts(fx->store, id, add_rcpt, &out, NULL));
	assert_string_equal(strbuf_str(&out), text);
}

static void expect_held(struct fixture *fx, const char *ids)
{
	AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;

	OK(store_held(fx->store, add_id, &out, NULL));
	assert_string_equal(strbuf_str(&out), ids);
}

/* F16: what is held is listed, oldest first, and survives a restart. */
static void lists_what_is_held(void **state)
{
	struct fixture *fx = *state;

	expect_held(fx, "");
	assert_int_equal(held(fx, "1"), 1);
	assert_int_equal(message(fx, "2", NULL, ""), 2);
	assert_int_equal(held(fx, "3"), 3);
	OK(store_commit(fx->store, NULL));
	reopen(fx);
	expect_held(fx, "1 3 ");
	expect_record(fx, 1, "a 1 1 state 3: <m@x>, s@x, house, refused, -");
	expect_record(fx, 9, "");
	OK(store_forget(fx->store, 1, fx->wall, NULL)); /* somebody deleted it at the provider */
	expect_held(fx, "3 ");
}

/* Who has it does not get it again; who may have it gets it marked; all others are tried again. */
static void releases_for_those_who_have_not_got_it(void **state)
{
	struct fixture *fx = *state;
	int64_t id = held(fx, "1");

	rcpt(fx, id, "a@x", OUTCOME_ACCEPTED, "250");
	rcpt(fx, id, "b@x", OUTCOME_UNKNOWN, "550");
	rcpt(fx, id, "c@x", OUTCOME_REJECTED, "554");
	rcpt(fx, id, "d@x", OUTCOME_DOT, NULL);
	rcpt(fx, id, "e@x", OUTCOME_LATER, "450");
	rcpt(fx, id, "f@x", OUTCOME_SUPPRESSED, NULL);
	rcpt(fx, id, "g@x", OUTCOME_DISCARDED, "550");
	OK(store_release(fx->store, id, NULL, fx->wall, NULL));
	expect_held(fx, "");
	expect_record(fx, id, "a 1 0 state 0: <m@x>, s@x, house, -, -");
	expect_rcpts(fx, id,
		"a@x accepted;b@x pending;c@x pending;d@x again;e@x pending;f@x suppressed;"
		"g@x discarded;");
	assert_int_equal(store_release(fx->store, id, NULL, fx->wall, NULL), 1);
	assert_int_equal(store_release(fx->store, 77, NULL, fx->wall, NULL), 1);
}

/* The redirection comes back with the identity, and the next release without one ends it. */
static void a_redirection_lasts_until_the_next_word(void **state)
{
	struct fixture *fx = *state;
	int64_t id = held(fx, "1");

	OK(store_release(fx->store, id, "eva@x", fx->wall, NULL));
	OK(store_commit(fx->store, NULL));
	reopen(fx);
	AUTO(mem_freep) char *redirect = identify(fx, id, "<m@x>", "s@x");
	assert_string_equal(redirect, "eva@x");
	OK(store_state(fx->store, id, MESSAGE_HELD, "refused", fx->wall, NULL));
	OK(store_release(fx->store, id, NULL, fx->wall, NULL));
	assert_null(identify(fx, id, "<m@x>", "s@x"));
}

static void another_content_is_another_message(void **state)
{
	static const uint8_t other[STORE_DIGEST_OCTETS] = "other";
	struct fixture *fx = *state;
	int64_t id = message(fx, "1", "<one@x>", "s@x");
	const struct message_identity known = { other, "<two@x>", "t@x", "house" };
	char *redirect = NULL;

	assert_int_equal(store_identify(fx->store, id, &known, &redirect, NULL), 1);
	assert_null(redirect);
	expect_record(fx, id, "a 1 1 state 0: <one@x>, s@x, house, -, -");
}

/* The reason outlives the deletion: trace can tell why the message is gone. */
static void discards_what_is_held(void **state)
{
	struct fixture *fx = *state;
	int64_t id = held(fx, "1"), done = message(fx, "2", NULL, "");

	OK(store_discard(fx->store, id, fx->wall, NULL));
	assert_int_equal(store_discard(fx->store, id, fx->wall, NULL), 1);
	OK(store_state(fx->store, done, MESSAGE_DONE, NULL, fx->wall, NULL));
	assert_int_equal(store_discard(fx->store, done, fx->wall, NULL), 1);
	expect_held(fx, "");
	OK(store_state(fx->store, id, MESSAGE_DELETED, NULL, fx->wall, NULL));
	expect_record(fx, id,
		"a 1 1 state 2: <m@x>, s@x, house, "
		"discarded by an administrator; it was held: refused, -");
}

static void traces_by_whatever_people_know(void **state)
{
	static const struct {
		const char *pattern, *ids;
		uint32_t max;
	} rows[] = {
		{ "<one@x>", "2 1 ", 9 },
		{ "one@x", "2 1 ", 9 },
		{ "<one@x>", "2 ", 1 }, /* the newest */
		{ "ONE@x", "", 9 },     /* a Message-ID has case */
		{ "Anna@Outside.example", "3 ", 9 },
		{ "HANS@x", "4 1 ", 9 },
		{ "U3", "3 ", 9 },
		{ "u3", "", 9 },
		{ "4BXYZ1", "1 ", 9 },
		{ "Ok", "", 9 }, /* too short to be a queue id */
		{ "BXYZ", "", 9 },
		{ "BXYZ1", "1 ", 9 },
		{ "%", "", 9 },
	};
	struct fixture *fx = *state;

	rcpt(fx, message(fx, "U1", "<one@x>", "b@x"), "hans@x", OUTCOME_ACCEPTED,
		"250 2.0.0 Ok: queued as 4BXYZ1");
	message(fx, "U2", "<one@x>", "b@x");
	message(fx, "U3", NULL, "anna@outside.example");
	rcpt(fx, message(fx, "U4", "<four@x>", NULL), "Hans@x", OUTCOME_LATER, NULL);
	for (int gone = 0; gone < 2; gone++) { /* as history too */
		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;
			OK(store_trace(
				fx->store, rows[i].pattern, rows[i].max, add_id, &out, NULL));
			if (strcmp(strbuf_str(&out), rows[i].ids) != 0)
				fail_msg("%s: %s", rows[i].pattern, strbuf_str(&out));
		}
		for (int64_t id = 1; id <= 4; id++)
			OK(store_forget(fx->store, id, fx->wall, NULL));
	}
}

static int count(void *ctx, const struct stored_message *m)
{
	++*(int *)ctx;
	return 0;
}

/* A forgotten UID is a new message when it comes back, whatever the history holds. */
static void history_is_out_of_the_way(void **state)
{
	struct fixture *fx = *state;
	struct stored_message found;
	int64_t id = message(fx, "1", "<m@x>", "s@x");
	int rows = 0;

	OK(store_same(fx->store, "a", 0, "1", digest, 0, &found, NULL));
	assert_int_equal(found.id, id);
	OK(store_forget(fx->store, id, fx->wall, NULL));
	OK(store_same(fx->store, "a", 0, "1", digest, 0, &found, NULL));
	assert_int_equal(found.id, 0);
	OK(store_messages(fx->store, "a", count, &rows, NULL));
	assert_int_equal(rows, 0);
}

static void history_ends_in_portions_oldest_first(void **state)
{
	struct fixture *fx = *state;

	for (int i = 1; i <= 5; i++) {
		int64_t id = message(fx, "u", "<m@x>", "s@x");
		rcpt(fx, id, "hans@x", OUTCOME_ACCEPTED, "250");
		if (i < 5)
			OK(store_forget(fx->store, id, 1000 - i, NULL));
	}
	static const struct {
		wall_t before;
		uint32_t max;
		const char *left;
	} rows[] = { { 996, 9, "5 4 3 2 1 " }, { 999, 1, "5 3 2 1 " }, { 999, 9, "5 1 " },
		{ 1000, 9, "5 " }, { INT64_MAX, 9, "5 " } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;
		OK(store_purge(fx->store, rows[i].before, rows[i].max, NULL));
		OK(store_trace(fx->store, "hans@x", 9, add_id, &out, NULL));
		if (strcmp(strbuf_str(&out), rows[i].left) != 0)
			fail_msg("row %zu: %s", i, strbuf_str(&out));
		expect_rcpts(fx, 4, i ? "" : "hans@x accepted;");
	}
}

static int keep(void *ctx, const struct stored_message *m)
{
	struct stored_message *out = ctx;

	*out = *m;
	out->uid = NULL; /* it was lent for the call */
	return 0;
}

static void what_is_adopted_is_done(void **state)
{
	struct fixture *fx = *state;
	struct stored_message m = { .id = -1 };

	OK(store_adopt(fx->store, "a", "1", 500, 77, NULL));
	OK(store_messages(fx->store, "a", keep, &m, NULL));
	assert_int_equal(m.state, MESSAGE_DONE);
	assert_int_equal(m.octets, 500);
	assert_int_equal(m.attempts, 0);
	assert_int_equal(m.done_at, 77); /* `keep` counts from the adoption */
	assert_false(m.digest);
}

/* What the relay may have is noted with its id, until it is known whether it has it. */
static void notes_content_in_doubt(void **state)
{
	struct dedupe_note note = { 1, "5EED" }, seen;
	struct fixture *fx = *state;

	OK(store_dedupe_note(fx->store, "a", "hans@x", digest, &note, 500, NULL));
	OK(store_commit(fx->store, NULL));
	reopen(fx);
	OK(store_dedupe_seen(fx->store, "a", "hans@x", digest, 0, &seen, NULL));
	assert_int_equal(seen.message, 1);
	assert_string_equal(seen.doubt_id, "5EED");
	OK(store_dedupe_drop(fx->store, "a", "hans@x", digest, 2, NULL)); /* another's note */
	OK(store_dedupe_seen(fx->store, "a", "hans@x", digest, 0, &seen, NULL));
	assert_int_equal(seen.message, 1);
	OK(store_dedupe_drop(fx->store, "a", "hans@x", digest, 1, NULL));
	OK(store_dedupe_seen(fx->store, "a", "hans@x", digest, 0, &seen, NULL));
	assert_int_equal(seen.message, 0);
}

/*
 * What was rolled back has no record, and its id is no other message's: whoever still holds it
 * cannot tell anything of that one.
 */
static void a_row_that_was_rolled_back_stays_away(void **state)
{
	struct stored_rcpt accepted = { .address = "hans@x", .outcome = OUTCOME_ACCEPTED };
	struct fixture *fx = *state;
	int64_t lost = 0, other = 0;
	struct err err = { 0 };

	OK(store_attempt(fx->store, "a", "UID1", 500, false, fx->wall, &lost, NULL));
	store_rollback(fx->store);
	OK(store_attempt(fx->store, "a", "UID2", 500, false, fx->wall, &other, NULL));
	OK(store_commit(fx->store, NULL));
	assert_int_not_equal(lost, other);
	assert_int_equal(store_rcpt(fx->store, lost, &accepted, fx->wall, &err), -1);
	assert_non_null(strstr(err.text, "is gone"));
	assert_int_equal(store_state(fx->store, lost, MESSAGE_DONE, NULL, fx->wall, &err), -1);
	OK(store_rcpt(fx->store, other, &accepted, fx->wall, NULL));
	OK(store_rcpt(
		fx->store, other, &accepted, fx->wall, NULL)); /* the same again is a change */
	OK(store_state(fx->store, other, MESSAGE_DONE, NULL, fx->wall, NULL));
	OK(store_commit(fx->store, NULL));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(lists_what_is_held),
		TEST(releases_for_those_who_have_not_got_it),
		TEST(a_redirection_lasts_until_the_next_word),
		TEST(another_content_is_another_message),
		TEST(discards_what_is_held),
		TEST(traces_by_whatever_people_know),
		TEST(history_is_out_of_the_way),
		TEST(history_ends_in_portions_oldest_first),
		TEST(what_is_adopted_is_done),
		TEST(notes_content_in_doubt),
		TEST(a_row_that_was_rolled_back_stays_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
