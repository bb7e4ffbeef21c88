/* Maildrops as providers fill them, and the rules that a survey of them finds. */
#include "mail/survey.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SAMPLES 24

#define IN "Received: from out.example (out.example [192.0.2.7])\r\n by mx.p.example id 1; date\r\n"
#define INSIDE                                                                                     \
	"Received: from mx.p.example (mx.p.example [198.51.100.9]) by box.p.example; date\r\n"
#define QMAIL   "Received: (qmail 12 invoked by uid 89); date\r\n"
#define AUTHORS "From: Anna <anna@out.example>\r\nTo: info@firma.example\r\nSubject: x\r\n"
#define FORGED  "X-Original-To: chef@firma.example\r\nX-Envelope-To: <chef@firma.example>\r\n"

static const char *const people[] = { "hans", "eva", "otto", "info", "heike" };

struct shop {
	struct header headers[SAMPLES * 2];
	size_t n;
};

static void put(struct shop *shop, const char *text)
{
	struct header *h = &shop->headers[shop->n++];

	header_init(h, false);
	header_push(h, text, strlen(text));
	header_end(h);
}

/* Each % in the shape becomes a person, another one in each message. */
static void put_shape(struct shop *shop, const char *shape, size_t nth)
{
	struct strbuf text = STRBUF_INIT;

	for (const char *c = shape; *c; c++) {
		if (*c == '%')
			strbuf_adds(&text, people[nth % ARRAY_LEN(people)]);
		else
			strbuf_addc(&text, *c);
	}
	strbuf_adds(&text, "\r\n");
	put(shop, strbuf_str(&text));
	strbuf_free(&text);
}

static void fill(struct shop *shop, const char *shape, size_t n)
{
	*shop = (struct shop){ 0 };
	for (size_t i = 0; i < n; i++)
		put_shape(shop, shape, i);
}

static void empty(struct shop *shop)
{
	for (size_t i = 0; i < shop->n; i++)
		header_free(&shop->headers[i]);
}

static char *domains[] = { (char[]){ "firma.example" } };
static const struct resolve_rules account = {
	.domains = domains, .ndomains = 1, .own_mailbox = "box17@firma.example"
};

static void add_list(struct strbuf *out, const char *name, const struct survey_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		strbuf_addf(out, "%s%s", i ? "," : name, l->items[i]);
}

/* "X-Envelope-To top first", then " strip:..." and " trust:..."; or the verdict. */
static char *summary(const struct survey *s)
{
	struct strbuf out = STRBUF_INIT;

	if (s->verdict != SURVEY_FOUND) {
		strbuf_adds(&out, survey_verdict_name(s->verdict));
		return strbuf_take(&out);
	}
	strbuf_addf(&out, "%s %s %s", s->rows[0].header, survey_place_name(s->rows[0].best),
		survey_pick_name(s->rows[0].pick));
	add_list(&out, " strip:", &s->strip_prefix);
	add_list(&out, " trust:", &s->trusted_by);
	return strbuf_take(&out);
}

static void assert_summary(const struct survey *s, const char *want, const char *name)
{
	char *got = summary(s);

	if (strcmp(got, want))
		fail_msg("%s: got \"%s\", want \"%s\"", name, got, want);
	free(got);
}

static bool says(const struct survey_list *l, const char *words)
{
	for (size_t i = 0; i < l->n; i++)
		if (strstr(l->items[i], words))
			return true;
	return false;
}

static const struct shape {
	const char *name, *text, *want;
	enum survey_copies copies;
	enum survey_certainty certainty;
} shapes[] = {
	{ "Postfix",
		"Return-Path: <a@out.example>\r\nX-Original-To: %@firma.example\r\n"
		"Delivered-To: m0123@server.p.example\r\n" IN FORGED AUTHORS,
		"X-Original-To top first", COPIES_UNKNOWN, CERTAINTY_HIGH },
	{ "Exim, one for several",
		"Envelope-to: %@firma.example,\r\n chef@firma.example\r\n" IN FORGED AUTHORS,
		"Envelope-to top first", COPIES_JOINED, CERTAINTY_HIGH },
	{ "Strato", "X-Envelope-To: <%@firma.example>\r\nX-UID: 7\r\n" IN AUTHORS,
		"X-Envelope-To top first", COPIES_UNKNOWN, CERTAINTY_HIGH },
	{ "GMX, at the bottom",
		IN "Envelope-To: <chef@firma.example>\r\n" AUTHORS
		   "Envelope-To: <%@firma.example>\r\nX-GMX-Antispam: 0\r\n",
		"Envelope-To bottom first", COPIES_UNKNOWN, CERTAINTY_HIGH },
	{ "qmail", "Delivered-To: firma.example-%@firma.example\r\n" QMAIL IN AUTHORS,
		"Delivered-To top first strip:firma.example-", COPIES_UNKNOWN, CERTAINTY_LIKELY },
	{ "Plesk", "Delivered-To: 12-%@firma.example\r\n" QMAIL IN AUTHORS,
		"Delivered-To top first strip:12-", COPIES_UNKNOWN, CERTAINTY_LIKELY },
	{ "qmail, catch-all above the person",
		"Delivered-To: firma.example-catch@firma.example\r\n" QMAIL
		"Delivered-To: firma.example-%@firma.example\r\n" QMAIL IN AUTHORS,
		"Delivered-To inside last strip:firma.example- trust:mx.p.example", COPIES_UNKNOWN,
		CERTAINTY_LIKELY },
	{ "inside the provider",
		INSIDE "X-Rcpt-To: %@firma.example\r\n" IN
		       "X-Rcpt-To: chef@firma.example\r\n" AUTHORS,
		"X-Rcpt-To inside first trust:*.p.example", COPIES_UNKNOWN, CERTAINTY_LIKELY },
	{ "a header nobody has heard of", "X-House-Rcpt: %@firma.example\r\n" IN AUTHORS,
		"X-House-Rcpt top first", COPIES_UNKNOWN, CERTAINTY_HIGH },
	{ "the better known of two equal ones",
		"Delivered-To: %@firma.example\r\nX-Original-To: %@firma.example\r\n" IN AUTHORS,
		"X-Original-To top first", COPIES_UNKNOWN, CERTAINTY_HIGH },
	{ "only the mailbox, outside", "Delivered-To: m1@server.p.example\r\n" IN AUTHORS,
		"constant", COPIES_UNKNOWN, CERTAINTY_WEAK },
	{ "only the mailbox, the login", "Delivered-To: box17@firma.example\r\n" IN AUTHORS,
		"constant", COPIES_UNKNOWN, CERTAINTY_WEAK },
	{ "always the same person", "X-Original-To: info@firma.example\r\n" IN AUTHORS, "constant",
		COPIES_UNKNOWN, CERTAINTY_WEAK },
	{ "only the sender's", IN "X-Original-To: %@firma.example\r\n" AUTHORS, "nothing",
		COPIES_UNKNOWN, CERTAINTY_WEAK },
	{ "none", IN AUTHORS, "nothing", COPIES_UNKNOWN, CERTAINTY_WEAK },
};

static void test_shapes(void **state)
{
	struct shop shop;
	struct survey s;

	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		fill(&shop, shapes[i].text, SAMPLES);
		survey(&account, shop.headers, shop.n, &s);
		assert_summary(&s, shapes[i].want, shapes[i].name);
		if (s.copies != shapes[i].copies || s.certainty != shapes[i].certainty)
			fail_msg("%s: copies %s, certainty %s", shapes[i].name,
				survey_copies_name(s.copies), survey_certainty_name(s.certainty));
		if (s.verdict != SURVEY_FOUND)
			assert_true(says(&s.warnings, "cannot be used for multidrop"));
		survey_free(&s);
		empty(&shop);
	}
}

/* The advice is used as the daemon would: every sample resolves to its person. */
static void test_advice_resolves(void **state)
{
	struct shop shop;
	struct survey s;

	for (size_t i = 0; i < ARRAY_LEN(shapes) && strcmp(shapes[i].want, "constant"); i++) {
		fill(&shop, shapes[i].text, SAMPLES);
		survey(&account, shop.headers, shop.n, &s);
		bool bottom = s.rows[0].best == PLACE_BOTTOM;
		struct envelope_rule rule = { s.rows[0].header,
			bottom ? POSITION_BOTTOM : POSITION_TOP, s.rows[0].pick };
		struct resolve_rules rules = account;
		rules.rules = &rule;
		rules.nrules = 1;
		rules.strip_prefix = s.strip_prefix.items;
		rules.nstrip_prefix = s.strip_prefix.n;
		rules.trusted_by = s.trusted_by.items;
		rules.ntrusted_by = s.trusted_by.n;
		for (size_t k = 0; k < shop.n; k++) {
			struct resolution res;
			char want[64];
			snprintf(want, sizeof want, "%s@firma.example",
				people[k % ARRAY_LEN(people)]);
			resolve(&rules, &shop.headers[k], &res);
			assert_null(res.unresolved);
			assert_string_equal(res.recipients[0].address, want);
			resolution_free(&res);
		}
		survey_free(&s);
		empty(&shop);
	}
}

static void test_counts(void **state)
{
	struct shop shop;
	struct survey s;

	fill(&shop, "X-Original-To: %@firma.example\r\nDelivered-To: m1@s.p.example\r\n" IN AUTHORS,
		SAMPLES);
	put_shape(&shop, IN AUTHORS, 0);
	put(&shop, "no header at all\r\n\r\n");
	survey(&account, shop.headers, shop.n, &s);
	assert_int_equal(s.samples, SAMPLES + 1);
	assert_int_equal(s.unread, 1);
	assert_int_equal(s.nrows, 2);
	assert_int_equal(s.rows[0].present, SAMPLES);
	assert_int_equal(s.rows[0].hits, SAMPLES);
	assert_int_equal(s.rows[0].ours, SAMPLES);
	assert_int_equal(s.rows[0].distinct, ARRAY_LEN(people));
	assert_false(s.rows[0].constant);
	assert_string_equal(s.rows[1].header, "Delivered-To");
	assert_int_equal(s.rows[1].ours, 0);
	assert_true(s.rows[1].constant);
	assert_true(says(&s.warnings, "names the mailbox"));
	assert_true(says(&s.doubts, "24 of 25"));
	assert_int_equal(s.certainty, CERTAINTY_LIKELY);
	survey_free(&s);
	empty(&shop);
}

static void test_few_messages(void **state)
{
	static const struct {
		size_t n;
		bool warns;
	} rows[] = { { 1, true }, { SURVEY_ENOUGH - 1, true }, { SURVEY_ENOUGH, false } };
	struct shop shop;
	struct survey s;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		fill(&shop, "X-Original-To: %@firma.example\r\n" IN AUTHORS, rows[i].n);
		survey(&account, shop.headers, shop.n, &s);
		assert_int_equal(s.verdict, SURVEY_FOUND);
		assert_int_equal(says(&s.doubts, "20 are wanted"), rows[i].warns);
		survey_free(&s);
		empty(&shop);
	}
	survey(&account, NULL, 0, &s);
	assert_int_equal(s.verdict, SURVEY_NOTHING);
	survey_free(&s);
}

/* Any number of header names, but no more of the unknown ones than the limit, and the known ones.
 */
static void test_limit_of_names(void **state)
{
	struct strbuf text = STRBUF_INIT;
	struct shop shop = { 0 };
	struct survey s;

	for (int i = 0; i < 2 * SURVEY_ROWS_MAX; i++)
		strbuf_addf(&text, "X-%d: hans@firma.example\r\n", i);
	strbuf_adds(&text,
		"Envelope-To: eva@firma.example\r\nDelivered-To: m1@p.example\r\n"
		"X-Last: hans@firma.example\r\n" IN AUTHORS "\r\n");
	put(&shop, strbuf_str(&text));
	survey(&account, shop.headers, shop.n, &s);
	assert_int_equal(s.nrows, SURVEY_ROWS_MAX + 2);
	assert_summary(&s, "Envelope-To top first", "known among many");
	survey_free(&s);
	empty(&shop);
	strbuf_free(&text);
}

/* A few people with hyphens in their names are no prefix. */
static void test_no_prefix_of_two(void **state)
{
	struct shop shop = { 0 };
	struct survey s;

	for (size_t i = 0; i < SAMPLES; i++)
		put(&shop,
			i % 2 ? "X-Original-To: anna-lena@firma.example\r\n" IN AUTHORS "\r\n"
			      : "X-Original-To: anna-marie@firma.example\r\n" IN AUTHORS "\r\n");
	survey(&account, shop.headers, shop.n, &s);
	assert_summary(&s, "X-Original-To top first", "two people");
	survey_free(&s);
	empty(&shop);
}

static void test_stored_once_for_each(void **state)
{
	struct shop shop;
	struct survey s;

	fill(&shop, "X-Original-To: %@firma.example\r\n" IN "Message-ID: <%@out.example>\r\n",
		SAMPLES);
	survey(&account, shop.headers, shop.n, &s);
	assert_int_equal(s.copies, COPIES_EACH);
	survey_free(&s);
	empty(&shop);
}

static const struct {
	const char *name, *first, *want; /* of `hosts`, or "" */
} chains[] = {
	{ "one host", IN, "mx.p.example" },
	{ "hand-over inside", INSIDE IN, "box.p.example,mx.p.example" },
	{ "the outside's own host is not the provider's",
		IN "Received: from x (x.out.example [192.0.2.8]) by out.example; date\r\n",
		"mx.p.example" },
	{ "a forged line with the provider's name changes nothing",
		IN "Received: from x ([10.0.0.1]) by evil.p.example; date\r\n", "mx.p.example" },
	{ "private address, any name",
		"Received: from x (x [10.1.2.3]) by store.p.example; date\r\n"
		"Received: from y (out.example [192.0.2.7]) by edge.other.example; date\r\n",
		"edge.other.example,store.p.example" },
	{ "a registry is nobody's house",
		"Received: from a.co.uk (a.co.uk [192.0.2.7]) by p.co.uk; date\r\n"
		"Received: from x by a.co.uk; date\r\n",
		"p.co.uk" },
	{ "an address is no host", "Received: from x by [192.0.2.9]; date\r\n", "" },
};

static void test_hosts(void **state)
{
	struct shop shop;
	struct survey s;

	for (size_t i = 0; i < ARRAY_LEN(chains); i++) {
		AUTO(strbuf_free) struct strbuf shape = STRBUF_INIT, got = STRBUF_INIT;
		strbuf_addf(&shape, "%s" AUTHORS, chains[i].first);
		fill(&shop, strbuf_str(&shape), 3);
		survey(&account, shop.headers, shop.n, &s);
		for (size_t k = 0; k < s.nhosts; k++)
			strbuf_addf(&got, "%s%s", k ? "," : "", s.hosts[k].name);
		if (strcmp(strbuf_str(&got), chains[i].want))
			fail_msg("%s: got \"%s\"", chains[i].name, strbuf_str(&got));
		survey_free(&s);
		empty(&shop);
	}
}

/* What the administrator wrote stays where it fits, and is left out where it does not. */
static void test_configured_trust(void **state)
{
	char *right[] = { (char[]){ "mx.p.example" } };
	char *wrong[] = { (char[]){ "mx.elsewhere.example" } };
	struct resolve_rules rules = account;
	struct shop shop;
	struct survey s;

	fill(&shop, "X-Original-To: %@firma.example\r\n" IN AUTHORS, SAMPLES);
	rules.ntrusted_by = 1;
	rules.trusted_by = right;
	survey(&rules, shop.headers, shop.n, &s);
	assert_summary(&s, "X-Original-To inside first trust:mx.p.example", "right");
	survey_free(&s);
	rules.trusted_by = wrong;
	survey(&rules, shop.headers, shop.n, &s);
	assert_summary(&s, "X-Original-To top first", "wrong");
	assert_true(says(&s.doubts, "does not fit"));
	survey_free(&s);
	empty(&shop);
}

static void test_silent_servers(void **state)
{
	struct shop shop;
	struct survey s;

	fill(&shop,
		"Received: from a (a [192.0.2.7]) by b.p.example with Microsoft SMTP Server id 1; "
		"d\r\n" AUTHORS,
		SAMPLES);
	survey(&account, shop.headers, shop.n, &s);
	assert_true(says(&s.warnings, "Exchange"));
	survey_free(&s);
	empty(&shop);
	fill(&shop,
		"Received: from a (a [192.0.2.7]) by b.p.example id 1 for <%@firma.example>; "
		"d\r\n" AUTHORS,
		SAMPLES);
	survey(&account, shop.headers, shop.n, &s);
	assert_true(says(&s.warnings, "received-for"));
	survey_free(&s);
	empty(&shop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_advice_resolves),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_few_messages),
		cmocka_unit_test(test_limit_of_names),
		cmocka_unit_test(test_no_prefix_of_two),
		cmocka_unit_test(test_stored_once_for_each),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_configured_trust),
		cmocka_unit_test(test_silent_servers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
