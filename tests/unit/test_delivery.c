/*
 * Outcomes and their policy: each policy against each outcome, the postmaster who stands in, what
 * an earlier cycle recorded, and which recipients share a transaction.
 */
#include "core/delivery.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static char postmaster[] = "postmaster@firma.example";

static struct conf_account account_with(
	enum failed_policy unknown, enum failed_policy rejected, enum doubt_policy in_doubt)
{
	return (struct conf_account){ .name = (char[]){ "a" },
		.postmaster = postmaster,
		.unknown = unknown,
		.rejected = rejected,
		.in_doubt = in_doubt };
}

/* Makes the next transaction; the i-th recipient overall gets outcomes[i]. Returns how many. */
static size_t transact(struct delivery *d, const enum outcome *outcomes, const char *reply)
{
	size_t indices[8], n = delivery_next(d, indices, ARRAY_LEN(indices));

	for (size_t i = 0; i < n; i++)
		delivery_result(d, indices[i], outcomes[indices[i]], 550, reply);
	return n;
}

static const struct delivery_rcpt *last(const struct delivery *d)
{
	return &d->rcpts[d->n - 1];
}

/* One recipient, no luck: the policy of its kind of failure decides, and only that one. */
static void each_policy_meets_each_outcome(void **state)
{
	static const struct {
		enum outcome outcome;
		enum failed_policy policy;
		enum delivery_verdict verdict; /* MORE: the postmaster stands in */
		enum outcome left;
	} rows[] = {
		{ OUTCOME_ACCEPTED, FAILED_HOLD, DELIVERY_DONE, OUTCOME_ACCEPTED },
		{ OUTCOME_ACCEPTED, FAILED_POSTMASTER, DELIVERY_DONE, OUTCOME_ACCEPTED },
		{ OUTCOME_ACCEPTED, FAILED_DISCARD, DELIVERY_DONE, OUTCOME_ACCEPTED },
		{ OUTCOME_SUPPRESSED, FAILED_HOLD, DELIVERY_DONE, OUTCOME_SUPPRESSED },
		{ OUTCOME_LATER, FAILED_HOLD, DELIVERY_DEFER, OUTCOME_LATER },
		{ OUTCOME_LATER, FAILED_POSTMASTER, DELIVERY_DEFER, OUTCOME_LATER },
		{ OUTCOME_LATER, FAILED_DISCARD, DELIVERY_DEFER, OUTCOME_LATER },
		{ OUTCOME_UNKNOWN, FAILED_HOLD, DELIVERY_HOLD, OUTCOME_UNKNOWN },
		{ OUTCOME_UNKNOWN, FAILED_POSTMASTER, DELIVERY_MORE, OUTCOME_UNKNOWN },
		{ OUTCOME_UNKNOWN, FAILED_DISCARD, DELIVERY_DONE, OUTCOME_DISCARDED },
		{ OUTCOME_REJECTED, FAILED_HOLD, DELIVERY_HOLD, OUTCOME_REJECTED },
		{ OUTCOME_REJECTED, FAILED_POSTMASTER, DELIVERY_MORE, OUTCOME_REJECTED },
		{ OUTCOME_REJECTED, FAILED_DISCARD, DELIVERY_DONE, OUTCOME_DISCARDED },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		/* The other policy says something else: it must not be asked. */
		enum failed_policy other =
			rows[i].policy == FAILED_HOLD ? FAILED_DISCARD : FAILED_HOLD;
		bool unknown = rows[i].outcome == OUTCOME_UNKNOWN;
		struct conf_account a = account_with(unknown ? rows[i].policy : other,
			unknown ? other : rows[i].policy, DOUBT_RESEND);
		AUTO(delivery_free) struct delivery d;
		delivery_init(&d, &a);
		delivery_add(&d, "hans@firma.example", false);
		assert_int_equal(delivery_verdict(&d), DELIVERY_MORE);
		assert_int_equal(transact(&d, &rows[i].outcome, "550 5.1.1 no"), 1);
		if (delivery_verdict(&d) != rows[i].verdict)
			fail_msg("row %zu", i);
		assert_int_equal(d.rcpts[0].outcome, rows[i].left);
		assert_int_equal(d.n, rows[i].verdict == DELIVERY_MORE ? 2 : 1);
		assert_string_equal(d.rcpts[0].reply, "550 5.1.1 no");
		assert_true(d.rcpts[0].changed);
		bool told = rows[i].verdict == DELIVERY_MORE || rows[i].verdict == DELIVERY_HOLD;
		assert_int_equal(d.reason != NULL, told);
		if (told)
			assert_string_equal(d.reason, "recipient hans@firma.example: 550 5.1.1 no");
	}
}

/* A reply got lost behind the final dot: now, or in an earlier cycle (K05, S16). */
static void in_doubt_is_sent_again_or_held(void **state)
{
	static const enum outcome dot = OUTCOME_DOT, accepted = OUTCOME_ACCEPTED;

	for (int earlier = 0; earlier < 2; earlier++) {
		for (int hold = 0; hold < 2; hold++) {
			struct conf_account a = account_with(
				FAILED_DISCARD, FAILED_DISCARD, hold ? DOUBT_HOLD : DOUBT_RESEND);
			AUTO(delivery_free) struct delivery d;
			delivery_init(&d, &a);
			delivery_add(&d, "hans@firma.example", false);
			if (earlier)
				delivery_recorded(&d,
					&(struct stored_rcpt){ "hans@firma.example", false,
						OUTCOME_DOT, 0, "", 0, false });
			else
				assert_int_equal(transact(&d, &dot, NULL), 1);
			enum delivery_verdict verdict = delivery_verdict(&d);
			assert_int_equal(d.rcpts[0].in_doubt, earlier);
			if (hold) {
				assert_int_equal(verdict, DELIVERY_HOLD);
				assert_non_null(strstr(d.reason, "in doubt"));
			} else if (earlier) {
				assert_int_equal(verdict, DELIVERY_MORE);
				assert_int_equal(transact(&d, &accepted, "250 Ok"), 1);
				assert_int_equal(delivery_verdict(&d), DELIVERY_DONE);
			} else { /* not in this cycle: the relay may still be at work on it */
				assert_int_equal(verdict, DELIVERY_DEFER);
			}
			assert_int_equal(transact(&d, &accepted, NULL), 0);
		}
	}
}

/* A person has released it: sent in spite of `in_doubt = "hold"`, and still marked. */
static void released_from_doubt_is_sent_and_marked(void **state)
{
	struct conf_account a = account_with(FAILED_HOLD, FAILED_HOLD, DOUBT_HOLD);
	AUTO(delivery_free) struct delivery d;
	size_t indices[2];

	delivery_init(&d, &a);
	delivery_add(&d, "hans@firma.example", false);
	delivery_recorded(&d,
		&(struct stored_rcpt){ .address = "hans@firma.example", .outcome = OUTCOME_AGAIN });
	assert_int_equal(delivery_verdict(&d), DELIVERY_MORE);
	assert_true(d.rcpts[0].in_doubt);
	assert_int_equal(delivery_next(&d, indices, 2), 1);
	delivery_result(&d, 0, OUTCOME_DOT, 0, NULL);
	assert_int_equal(delivery_verdict(&d), DELIVERY_HOLD); /* again */
}

/* K06: doubt outlives what later answers say, since none of them is about the copy in doubt. */
static void doubt_sticks_to_the_recipient(void **state)
{
	static const enum outcome recorded[] = { OUTCOME_PENDING, OUTCOME_DOT, OUTCOME_LATER,
		OUTCOME_AGAIN };
	struct conf_account a = account_with(FAILED_HOLD, FAILED_HOLD, DOUBT_RESEND);

	for (size_t i = 0; i < ARRAY_LEN(recorded); i++) {
		AUTO(delivery_free) struct delivery d;
		delivery_init(&d, &a);
		delivery_add(&d, "hans@firma.example", false);
		delivery_recorded(&d,
			&(struct stored_rcpt){ .address = "hans@firma.example",
				.outcome = recorded[i],
				.in_doubt = true });
		assert_int_equal(delivery_verdict(&d), DELIVERY_MORE);
		assert_true(d.rcpts[0].in_doubt);
		assert_int_equal(transact(&d, &(enum outcome){ OUTCOME_LATER }, "450"), 1);
		assert_true(d.rcpts[0].in_doubt); /* and so it is recorded */
	}
}

/*
 * The stand-in's dot was lost, then it was refused and the message held; a person released it, so
 * its row is PENDING again. Whoever stands in now may be getting a second copy.
 */
static void doubt_of_a_stand_in_outlives_a_release(void **state)
{
	struct conf_account a = account_with(FAILED_POSTMASTER, FAILED_HOLD, DOUBT_RESEND);
	AUTO(delivery_free) struct delivery d;

	delivery_init(&d, &a);
	delivery_add(&d, "hans@firma.example", false);
	delivery_recorded(&d,
		&(struct stored_rcpt){ .address = a.postmaster,
			.postmaster = true,
			.outcome = OUTCOME_PENDING,
			.in_doubt = true });
	assert_int_equal(d.n, 1);
	assert_int_equal(transact(&d, &(enum outcome){ OUTCOME_UNKNOWN }, "550"), 1);
	assert_int_equal(delivery_verdict(&d), DELIVERY_MORE);
	assert_int_equal(d.n, 2);
	assert_false(d.rcpts[0].in_doubt);
	assert_true(d.rcpts[1].postmaster && d.rcpts[1].in_doubt);
}

/* A person's word is for that address alone; the stand-in who was in doubt has nothing of it. */
static void a_redirect_revives_nobody_else(void **state)
{
	struct conf_account a = account_with(FAILED_POSTMASTER, FAILED_HOLD, DOUBT_RESEND);
	struct stored_rcpt row = { .address = a.postmaster,
		.postmaster = true,
		.outcome = OUTCOME_AGAIN,
		.in_doubt = true };

	for (int same = 0; same < 2; same++) {
		AUTO(delivery_free) struct delivery d;
		delivery_init(&d, &a);
		delivery_redirect(&d, same ? a.postmaster : "eva@firma.example");
		delivery_recorded(&d, &row);
		assert_int_equal(d.n, 1);
		assert_int_equal(d.rcpts[0].in_doubt, same); /* he may have it, as stand-in */
	}
}

/* Doubt that comes from another copy is what an own lost answer would be. */
static void doubt_of_a_copy_is_doubt(void **state)
{
	for (int hold = 0; hold < 2; hold++) {
		struct conf_account a =
			account_with(FAILED_HOLD, FAILED_HOLD, hold ? DOUBT_HOLD : DOUBT_RESEND);
		AUTO(delivery_free) struct delivery d;
		delivery_init(&d, &a);
		delivery_add(&d, "hans@firma.example", false);
		delivery_doubt(&d, 0);
		assert_true(d.rcpts[0].in_doubt);
		assert_int_equal(delivery_verdict(&d), hold ? DELIVERY_HOLD : DELIVERY_MORE);
		assert_false(!hold && delivery_lost_answer(&d));
		if (hold)
			continue;
		assert_int_equal(transact(&d, &(enum outcome){ OUTCOME_DOT }, ""), 1);
		assert_true(delivery_lost_answer(&d));
		assert_int_equal(delivery_verdict(&d), DELIVERY_DEFER);
	}
}

/* S30: 250, 452, 550: the next cycle asks the relay for the second one only. */
static void a_partial_success_never_resends(void **state)
{
	static const char *const names[] = { "a@firma.example", "b@firma.example",
		"c@firma.example" };
	static const enum outcome first[] = { OUTCOME_ACCEPTED, OUTCOME_LATER, OUTCOME_UNKNOWN };
	struct conf_account a = account_with(FAILED_DISCARD, FAILED_HOLD, DOUBT_RESEND);
	AUTO(delivery_free) struct delivery d, next;
	size_t indices[8];

	delivery_init(&d, &a);
	delivery_init(&next, &a);
	for (size_t i = 0; i < 3; i++) {
		delivery_add(&d, names[i], false);
		delivery_add(&next, names[i], false);
	}
	assert_int_equal(transact(&d, first, "reply"), 3);
	assert_int_equal(delivery_verdict(&d), DELIVERY_DEFER);
	assert_int_equal(delivery_next(&d, indices, 8), 0); /* not in this cycle either */
	for (size_t i = 0; i < 3; i++) {
		const struct delivery_rcpt *r = &d.rcpts[i];
		delivery_recorded(&next,
			&(struct stored_rcpt){ r->address, r->postmaster, r->outcome, r->code,
				r->reply, 0, false });
	}
	assert_int_equal(delivery_verdict(&next), DELIVERY_MORE);
	assert_int_equal(delivery_next(&next, indices, 8), 1);
	assert_string_equal(next.rcpts[indices[0]].address, "b@firma.example");
	delivery_result(&next, indices[0], OUTCOME_ACCEPTED, 250, "250 Ok");
	assert_int_equal(delivery_verdict(&next), DELIVERY_DONE);
	assert_false(next.rcpts[0].changed); /* nothing new to write down */
	assert_true(next.rcpts[1].changed);
}

/* Somebody who was not tried through nobody's fault goes again at once; those done do not. */
static void what_was_not_tried_goes_again(void **state)
{
	static const enum outcome cut[] = { OUTCOME_ACCEPTED, OUTCOME_PENDING };
	struct conf_account a = account_with(FAILED_HOLD, FAILED_HOLD, DOUBT_RESEND);
	AUTO(delivery_free) struct delivery d;
	size_t indices[8];

	delivery_init(&d, &a);
	delivery_add(&d, "a@firma.example", false);
	delivery_add(&d, "b@firma.example", false);
	transact(&d, cut, "250 Ok");
	assert_false(d.rcpts[1].changed);
	assert_int_equal(delivery_verdict(&d), DELIVERY_MORE);
	assert_int_equal(delivery_next(&d, indices, 8), 1);
	assert_int_equal(indices[0], 1);
	assert_int_equal(delivery_next(&d, indices, 8), 0); /* in flight: not twice */
	assert_int_equal(delivery_verdict(&d), DELIVERY_MORE);
}

static void the_postmaster_stands_in_once_with_the_first_reason(void **state)
{
	static const enum outcome no[] = { OUTCOME_UNKNOWN, OUTCOME_REJECTED, OUTCOME_UNKNOWN };
	static const enum outcome yes[] = { 0, 0, 0, OUTCOME_ACCEPTED };
	struct conf_account a = account_with(FAILED_POSTMASTER, FAILED_POSTMASTER, DOUBT_RESEND);
	AUTO(delivery_free) struct delivery d;

	delivery_init(&d, &a);
	delivery_add(&d, "a@firma.example", false);
	delivery_add(&d, "b@firma.example", false);
	delivery_add(&d, "c@firma.example", true); /* says recipients_file: never offered */
	assert_int_equal(delivery_verdict(&d), DELIVERY_MORE);
	assert_int_equal(transact(&d, no, "550 No such user"), 2);
	for (int i = 0; i < 3; i++)
		assert_int_equal(delivery_verdict(&d), DELIVERY_MORE);
	assert_int_equal(d.n, 4);
	assert_true(last(&d)->postmaster);
	assert_string_equal(last(&d)->address, postmaster);
	assert_string_equal(d.reason, "recipient c@firma.example: not in recipients_file");
	assert_int_equal(transact(&d, yes, "250 Ok"), 1);
	assert_int_equal(delivery_verdict(&d), DELIVERY_DONE);
	assert_int_equal(d.n, 4);
}

/* The last resort failed: a person has to look, and nothing is discarded (R26). */
static void a_refused_postmaster_means_hold(void **state)
{
	static const enum outcome no[] = { OUTCOME_UNKNOWN, OUTCOME_REJECTED };
	static const enum failed_policy policies[] = { FAILED_POSTMASTER, FAILED_DISCARD };

	for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
		struct conf_account a = account_with(FAILED_POSTMASTER, policies[i], DOUBT_RESEND);
		AUTO(delivery_free) struct delivery d;
		delivery_init(&d, &a);
		delivery_add(&d, "a@firma.example", false);
		transact(&d, no, "550 No such user");
		assert_int_equal(delivery_verdict(&d), DELIVERY_MORE);
		assert_int_equal(transact(&d, no, "554 Go away"), 1);
		assert_int_equal(delivery_verdict(&d), DELIVERY_HOLD);
		assert_int_equal(delivery_verdict(&d), DELIVERY_HOLD);
		assert_int_equal(d.n, 2); /* nobody stands in for the postmaster */
		assert_string_equal(d.reason, "postmaster postmaster@firma.example: 554 Go away");
	}
}

static void a_postmaster_who_is_busy_gets_it_later(void **state)
{
	static const enum outcome luck[] = { OUTCOME_UNKNOWN, OUTCOME_LATER };
	static const enum outcome yes[] = { OUTCOME_ACCEPTED, OUTCOME_ACCEPTED };
	struct conf_account a = account_with(FAILED_POSTMASTER, FAILED_HOLD, DOUBT_RESEND);
	AUTO(delivery_free) struct delivery d, next;

	delivery_init(&d, &a);
	delivery_init(&next, &a);
	delivery_add(&d, "a@firma.example", false);
	delivery_add(&next, "a@firma.example", false);
	transact(&d, luck, "550 No such user");
	assert_int_equal(delivery_verdict(&d), DELIVERY_MORE);
	transact(&d, luck, "450 Greylisted");
	assert_int_equal(delivery_verdict(&d), DELIVERY_DEFER);
	for (size_t i = 0; i < d.n; i++)
		delivery_recorded(&next,
			&(struct stored_rcpt){ d.rcpts[i].address, d.rcpts[i].postmaster,
				d.rcpts[i].outcome, d.rcpts[i].code, d.rcpts[i].reply, 0, false });
	assert_int_equal(delivery_verdict(&next), DELIVERY_MORE);
	assert_string_equal(next.reason, "recipient a@firma.example: 550 No such user");
	assert_int_equal(transact(&next, yes, "250 Ok"), 1);
	assert_int_equal(delivery_verdict(&next), DELIVERY_DONE);
}

static void nobody_found_goes_to_the_postmaster(void **state)
{
	static const enum outcome yes[] = { OUTCOME_ACCEPTED }, no[] = { OUTCOME_UNKNOWN };
	struct conf_account a = account_with(FAILED_DISCARD, FAILED_DISCARD, DOUBT_RESEND);

	for (int refused = 0; refused < 2; refused++) {
		AUTO(delivery_free) struct delivery d;
		delivery_init(&d, &a);
		delivery_add_postmaster(&d, "no envelope header");
		assert_string_equal(d.reason, "no envelope header");
		assert_int_equal(transact(&d, refused ? no : yes, "said"), 1);
		assert_int_equal(delivery_verdict(&d), refused ? DELIVERY_HOLD : DELIVERY_DONE);
	}
}

static void keeps_what_an_earlier_cycle_recorded(void **state)
{
	static const struct {
		enum outcome recorded;
		enum delivery_verdict verdict;
		size_t to_send;
	} rows[] = {
		{ OUTCOME_PENDING, DELIVERY_MORE, 1 },
		{ OUTCOME_LATER, DELIVERY_MORE, 1 },
		{ OUTCOME_DOT, DELIVERY_MORE, 1 },
		{ OUTCOME_ACCEPTED, DELIVERY_DONE, 0 },
		{ OUTCOME_SUPPRESSED, DELIVERY_DONE, 0 },
		{ OUTCOME_DISCARDED, DELIVERY_DONE, 0 },
		{ OUTCOME_UNKNOWN, DELIVERY_HOLD, 0 },
		{ OUTCOME_REJECTED, DELIVERY_HOLD, 0 },
		{ OUTCOME_AGAIN, DELIVERY_MORE, 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct conf_account a = account_with(FAILED_HOLD, FAILED_HOLD, DOUBT_RESEND);
		AUTO(delivery_free) struct delivery d;
		size_t indices[8];
		delivery_init(&d, &a);
		delivery_add(&d, "Hans@firma.example", false);
		delivery_recorded(&d,
			&(struct stored_rcpt){ "hans@Firma.example", false, rows[i].recorded, 550,
				"said", 0, false });
		assert_int_equal(delivery_verdict(&d), rows[i].verdict);
		assert_int_equal(delivery_next(&d, indices, 8), rows[i].to_send);
		assert_false(d.rcpts[0].changed);
		assert_int_equal(d.n, 1);
	}
}

static void what_is_recorded_for_somebody_else_does_not_count(void **state)
{
	struct conf_account a = account_with(FAILED_HOLD, FAILED_HOLD, DOUBT_RESEND);
	AUTO(delivery_free) struct delivery d;

	delivery_init(&d, &a);
	delivery_add(&d, postmaster, false);
	/* the map has changed since */
	delivery_recorded(&d,
		&(struct stored_rcpt){
			"old@firma.example", false, OUTCOME_UNKNOWN, 550, "", 0, false });
	assert_int_equal(d.n, 1);
	/* standing in is another mail (with the reason) than one's own */
	delivery_recorded(
		&d, &(struct stored_rcpt){ postmaster, true, OUTCOME_ACCEPTED, 250, "", 0, false });
	assert_int_equal(d.n, 2);
	assert_int_equal(d.rcpts[0].outcome, OUTCOME_PENDING);
	assert_int_equal(d.rcpts[1].outcome, OUTCOME_ACCEPTED);
	delivery_recorded(&d,
		&(struct stored_rcpt){ "p@firma.example", true, OUTCOME_PENDING, 0, "", 0, false });
	assert_int_equal(d.n, 2); /* it was never tried: it need not be */
}

/* What recipients_file says counts as of today, whatever is on record of an earlier try. */
static void recipients_file_has_the_last_word(void **state)
{
	struct conf_account a = account_with(FAILED_HOLD, FAILED_HOLD, DOUBT_RESEND);
	static const enum outcome recorded[] = { OUTCOME_UNKNOWN, OUTCOME_LATER, OUTCOME_DOT,
		OUTCOME_AGAIN };

	for (size_t i = 0; i < 2 * ARRAY_LEN(recorded); i++) {
		AUTO(delivery_free) struct delivery d;
		bool listed = i % 2;
		size_t indices[8];
		delivery_init(&d, &a);
		delivery_add(&d, "hans@firma.example", !listed);
		delivery_recorded(&d,
			&(struct stored_rcpt){ "hans@firma.example", false, recorded[i / 2], 0,
				"said earlier", 0, false });
		assert_int_equal(delivery_verdict(&d), listed ? DELIVERY_MORE : DELIVERY_HOLD);
		assert_int_equal(delivery_next(&d, indices, 8), listed);
	}
}

/* R21: transactions of at most so many, nobody left out, nobody twice. */
static void splits_at_the_maximum(void **state)
{
	static const struct {
		size_t rcpts, max, transactions;
	} rows[] = { { 99, 100, 1 }, { 100, 100, 1 }, { 101, 100, 2 }, { 1000, 100, 10 },
		{ 3, 1, 3 } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct conf_account a = account_with(FAILED_HOLD, FAILED_HOLD, DOUBT_RESEND);
		AUTO(delivery_free) struct delivery d;
		AUTO(strbuf_free) struct strbuf address = STRBUF_INIT;
		size_t indices[100], n, transactions = 0, all = 0;
		delivery_init(&d, &a);
		for (size_t k = 0; k < rows[i].rcpts; k++) {
			strbuf_clear(&address);
			strbuf_addf(&address, "u%zu@firma.example", k);
			delivery_add(&d, strbuf_str(&address), false);
		}
		for (; (n = delivery_next(&d, indices, rows[i].max)); transactions++)
			for (size_t k = 0; k < n; k++)
				assert_int_equal(indices[k], all++);
		assert_int_equal(transactions, rows[i].transactions);
		assert_int_equal(all, rows[i].rcpts);
	}
}

/* In one transaction all get the same header: own mail, in doubt and standing in do not mix. */
static void groups_by_what_stands_on_top(void **state)
{
	static const struct stored_rcpt doubts[] = {
		{ "b@firma.example", false, OUTCOME_DOT, 0, "", 0, false },
		{ "d@firma.example", false, OUTCOME_DOT, 0, "", 0, false },
		{ postmaster, true, OUTCOME_LATER, 0, "", 0, false },
	};
	static const size_t groups[][2] = { { 0, 2 }, { 1, 3 }, { 4, SIZE_MAX } };
	struct conf_account a = account_with(FAILED_HOLD, FAILED_HOLD, DOUBT_RESEND);
	AUTO(delivery_free) struct delivery d;
	size_t indices[8];

	delivery_init(&d, &a);
	delivery_add(&d, "a@firma.example", false);
	delivery_add(&d, "b@firma.example", false);
	delivery_add(&d, "c@firma.example", false);
	delivery_add(&d, "d@firma.example", false);
	for (size_t i = 0; i < ARRAY_LEN(doubts); i++)
		delivery_recorded(&d, &doubts[i]);
	for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
		size_t n = delivery_next(&d, indices, 8);
		assert_int_equal(n, groups[g][1] == SIZE_MAX ? 1 : 2);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(indices[i], groups[g][i]);
	}
	assert_int_equal(delivery_next(&d, indices, 8), 0);
}

/* A message is held for one and still wanted by another: first everybody gets his chance. */
static void holding_comes_after_trying(void **state)
{
	static const enum outcome luck[] = { OUTCOME_UNKNOWN, OUTCOME_LATER };
	struct conf_account a = account_with(FAILED_HOLD, FAILED_HOLD, DOUBT_HOLD);
	AUTO(delivery_free) struct delivery d;

	delivery_init(&d, &a);
	delivery_add(&d, "a@firma.example", true);
	delivery_add(&d, "b@firma.example", false);
	assert_int_equal(delivery_verdict(&d), DELIVERY_MORE);
	transact(&d, luck, "450 later");
	assert_int_equal(delivery_verdict(&d), DELIVERY_DEFER);
	delivery_free(&d);
	delivery_init(&d, &a);
	assert_int_equal(delivery_verdict(&d), DELIVERY_DONE); /* nobody: nothing to do */
}

static void names_its_outcomes(void **state)
{
	assert_string_equal(outcome_name(OUTCOME_ACCEPTED), "accepted");
	assert_string_equal(outcome_name(OUTCOME_DOT), "in-doubt");
	assert_string_equal(outcome_name(OUTCOME_DISCARDED), "discarded");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_policy_meets_each_outcome),
		cmocka_unit_test(in_doubt_is_sent_again_or_held),
		cmocka_unit_test(released_from_doubt_is_sent_and_marked),
		cmocka_unit_test(doubt_sticks_to_the_recipient),
		cmocka_unit_test(doubt_of_a_stand_in_outlives_a_release),
		cmocka_unit_test(a_redirect_revives_nobody_else),
		cmocka_unit_test(doubt_of_a_copy_is_doubt),
		cmocka_unit_test(a_partial_success_never_resends),
		cmocka_unit_test(what_was_not_tried_goes_again),
		cmocka_unit_test(the_postmaster_stands_in_once_with_the_first_reason),
		cmocka_unit_test(a_refused_postmaster_means_hold),
		cmocka_unit_test(a_postmaster_who_is_busy_gets_it_later),
		cmocka_unit_test(nobody_found_goes_to_the_postmaster),
		cmocka_unit_test(keeps_what_an_earlier_cycle_recorded),
		cmocka_unit_test(what_is_recorded_for_somebody_else_does_not_count),
		cmocka_unit_test(recipients_file_has_the_last_word),
		cmocka_unit_test(splits_at_the_maximum),
		cmocka_unit_test(groups_by_what_stands_on_top),
		cmocka_unit_test(holding_comes_after_trying),
		cmocka_unit_test(names_its_outcomes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
