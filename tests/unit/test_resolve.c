/* Who a message is for: what providers write, what senders forge, and what is not guessed. */
#include "resolve_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

struct account {
	struct envelope_rule envelope[8];
	char *trusted[8], *strip[8];
	struct resolve_rules rules;
};

static size_t split(const char *words, char **out)
{
	struct strview rest = sv_str(words);
	size_t n = 0;

	while (rest.len) {
		struct strview word = sv_token(&rest, ' ');
		out[n++] = mem_strndup(word.ptr, word.len);
	}
	return n;
}

static void add_rules(struct account *a, const char *text)
{
	struct strview rest = sv_str(text);

	while (rest.len) {
		struct strview rule = sv_token(&rest, ' ');
		struct strview name = sv_token(&rule, '/'), position = sv_token(&rule, '/');
		a->envelope[a->rules.nrules++] =
			(struct envelope_rule){ .header = mem_strndup(name.ptr, name.len),
				.position =
					sv_eq(position, SV("top")) ? POSITION_TOP : POSITION_BOTTOM,
				.pick = sv_eq(rule, SV("first"))  ? PICK_FIRST
					: sv_eq(rule, SV("last")) ? PICK_LAST
								  : PICK_ALL };
	}
}

static char domain1[] = "firma.example", domain2[] = ".sub.example",
	    domain3[] = "xn--bcher-kva.example", domain4[] = "alt.example";
static char *domains[] = { domain1, domain2, domain3, domain4 };
static char left1[] = "*@alt.example", left2[] = "ext@firma.example",
	    left3[] = "info@firma.example", left4[] = "sales@alt.example";
static char to_firma[] = "*@firma.example", boss[] = "boss@outside.example",
	    hans[] = "hans@firma.example", eva[] = "eva@firma.example",
	    chief[] = "chief@firma.example";
static char *right1[] = { to_firma }, *right2[] = { boss }, *right3[] = { hans, eva },
	    *right4[] = { chief };
static const struct map_entry map[] = { { left1, right1, 1 }, { left2, right2, 1 },
	{ left3, right3, 2 }, { left4, right4, 1 } };

static void account_init(struct account *a, const struct row *row)
{
	*a = (struct account){ .rules = { .own_mailbox = row->own,
				       .domains = domains,
				       .ndomains = ARRAY_LEN(domains),
				       .map = map,
				       .nmap = ARRAY_LEN(map),
				       .unresolved = row->policy,
				       .postmaster = "postmaster@firma.example",
				       .sender_fallback = "fallback@x.example" } };
	add_rules(a, row->rules ? row->rules : "X-Envelope-To/top/first");
	a->rules.rules = a->envelope;
	a->rules.trusted_by = a->trusted;
	a->rules.ntrusted_by = split(row->trusted, a->trusted);
	a->rules.strip_prefix = a->strip;
	a->rules.nstrip_prefix = split(row->strip, a->strip);
}

static void account_free(struct account *a)
{
	for (size_t i = 0; i < ARRAY_LEN(a->envelope); i++) {
		free(a->envelope[i].header);
		free(a->trusted[i]);
		free(a->strip[i]);
	}
}

static void resolve_text(
	const struct resolve_rules *rules, struct strview text, struct resolution *out)
{
	AUTO(strbuf_free) struct strbuf msg = STRBUF_INIT;
	struct header h;

	while (text.len) {
		struct strview line = text;
		line = sv_token(&text, '\n');
		strbuf_addv(&msg, line);
		if (text.ptr > line.ptr + line.len)
			strbuf_adds(&msg, "\r\n");
	}
	header_init(&h, false);
	header_push(&h, strbuf_str(&msg), msg.len);
	header_end(&h);
	resolve(rules, &h, out);
	assert_true(out->boundary <= h.n);
	header_free(&h);
}

static void list_recipients(const struct resolution *r, struct strbuf *out)
{
	for (size_t i = 0; i < r->nrecipients; i++)
		strbuf_addf(out, "%s%s%s", i ? " " : "", r->recipients[i].address,
			r->recipients[i].unknown ? "?" : "");
}

static void check_row(const struct row *row)
{
	AUTO(strbuf_free) struct strbuf got = STRBUF_INIT;
	AUTO(resolution_free) struct resolution r;
	struct account a;

	account_init(&a, row);
	resolve_text(&a.rules, sv_str(row->msg), &r);
	list_recipients(&r, &got);
	if (row->want[0] == '?') {
		bool postmaster = row->policy == UNRESOLVED_POSTMASTER;
		if (!r.unresolved || !strstr(r.unresolved, row->want + 1))
			fail_msg("%s: %s, %s", row->name, strbuf_str(&got), r.unresolved);
		assert_string_equal(strbuf_str(&got), postmaster ? "postmaster@firma.example" : "");
		assert_int_equal(r.action, postmaster ? ACTION_POSTMASTER : ACTION_HOLD);
	} else {
		if (r.unresolved || strcmp(strbuf_str(&got), row->want))
			fail_msg("%s: %s, %s", row->name, strbuf_str(&got), r.unresolved);
		assert_int_equal(r.action, ACTION_DELIVER);
	}
	if (row->sender && strcmp(r.sender, row->sender))
		fail_msg("%s: sender %s", row->name, r.sender);
	account_free(&a);
}

static void test_rows(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		check_row(&rows[i]);
}

static void test_providers(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(providers); i++)
		check_row(&providers[i]);
}

static void test_candidates(void **state)
{
	static const struct row row = { .name = "verdicts",
		"X-Envelope-To/top/first Envelope-To/top/all",
		NULL,
		"X-Envelope-To: box@firma.example\nEnvelope-To: a@firma.example\n"
		"X-Envelope-To: x@other.example, 1-b@firma.example, junk\n"
		"X-Envelope-To: info@firma.example\n" RCVD FORGED "\n",
		"",
		.own = "box@firma.example",
		.strip = "1-" };
	static const char *const want[] = { "X-Envelope-To 1 box@firma.example own-mailbox",
		"Envelope-To 2 a@firma.example superseded",
		"X-Envelope-To 3 x@other.example foreign-domain",
		"X-Envelope-To 3 1-b@firma.example chosen",
		"X-Envelope-To 3 x@other.example, 1-b@firma.example, junk malformed",
		"X-Envelope-To 4 info@firma.example superseded",
		"X-Envelope-To 6 <ceo@firma.example> untrusted-position" };
	AUTO(resolution_free) struct resolution r;
	struct account a;

	account_init(&a, &row);
	resolve_text(&a.rules, sv_str(row.msg), &r);
	assert_int_equal(r.ncandidates, ARRAY_LEN(want));
	for (size_t i = 0; i < r.ncandidates; i++) {
		AUTO(strbuf_free) struct strbuf got = STRBUF_INIT;
		const struct candidate *c = &r.candidates[i];
		strbuf_addf(&got, "%s %u %s %s", c->header, c->line, c->value,
			verdict_name(c->verdict));
		assert_string_equal(strbuf_str(&got), want[i]);
		assert_non_null(c->detail);
	}
	assert_int_equal(r.nrecipients, 1);
	assert_string_equal(r.recipients[0].original, "b@firma.example");
	assert_string_equal(r.recipients[0].header, "X-Envelope-To");
	assert_int_equal(r.recipients[0].line, 3);
	assert_string_equal(r.boundary_reason, "first Received line");
	assert_int_equal(r.boundary, 4);
	account_free(&a);
}

static void test_envelope_missing(void **state)
{
	static const struct {
		const char *msg;
		bool missing;
	} msgs[] = { { SALES TAIL, false }, { "X-Envelope-To: junk\n" TAIL, false }, { TAIL, true },
		{ RCVD FORGED, true }, { "", true } };
	static const struct row row = { .name = "", NULL, NULL, "", "" };
	struct account a;

	account_init(&a, &row);
	for (size_t i = 0; i < ARRAY_LEN(msgs); i++) {
		AUTO(resolution_free) struct resolution r;
		resolve_text(&a.rules, sv_str(msgs[i].msg), &r);
		assert_int_equal(r.envelope_missing, msgs[i].missing);
	}
	account_free(&a);
}

/* R26: postmaster where there is one, else hold; recipients_file; single mode; a fixed sender. */
static void test_modes(void **state)
{
	static char v1[] = "1-b@firma.example", v2[] = "eva@firma.example",
		    v3[] = "sales@firma.example";
	static char *valid[] = { v1, v2, v3 };
	static const struct row row = { .name = "", NULL, NULL, "", "", .strip = "1-" };
	static const struct {
		const char *msg, *want;
		bool no_postmaster, single, fixed_null;
	} modes[] = {
		{ .msg = TAIL, "postmaster@firma.example" },
		{ .msg = TAIL, "", .no_postmaster = true },
		{ .msg = "Return-Path: <s@x.example>\n" TAIL, "all@firma.example", .single = true },
		{ .msg = "Return-Path: <s@x.example>\n" TAIL,
			"all@firma.example",
			.single = true,
			.fixed_null = true },
		{ .msg = "", "all@firma.example", .single = true },
		{ .msg = "X-Envelope-To: Sales@firma.example, nobody@firma.example, "
			 "1-b@firma.example,\n"
			 " 1-c@firma.example, x@alt.example, ext@firma.example, "
			 "info@firma.example\n" TAIL,
			"Sales@firma.example nobody@firma.example? 1-b@firma.example "
			"c@firma.example? "
			"x@firma.example? boss@outside.example hans@firma.example "
			"eva@firma.example" },
	};

	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		AUTO(strbuf_free) struct strbuf got = STRBUF_INIT;
		AUTO(resolution_free) struct resolution r;
		struct account a;
		account_init(&a, &row);
		a.rules.valid = valid;
		a.rules.nvalid = ARRAY_LEN(valid);
		a.rules.postmaster = modes[i].no_postmaster ? NULL : a.rules.postmaster;
		a.rules.mode = modes[i].single ? RESOLVE_SINGLE : RESOLVE_MULTIDROP;
		a.rules.recipient = "all@firma.example";
		a.rules.sender_fixed = modes[i].fixed_null ? "" : NULL;
		resolve_text(&a.rules, sv_str(modes[i].msg), &r);
		list_recipients(&r, &got);
		assert_string_equal(strbuf_str(&got), modes[i].want);
		assert_int_equal(r.action == ACTION_HOLD, modes[i].no_postmaster);
		assert_string_equal(r.sender,
			modes[i].fixed_null                           ? ""
				: strstr(modes[i].msg, "Return-Path") ? "s@x.example"
								      : "fallback@x.example");
		account_free(&a);
	}
}

/* R21: one below, at, and one above; in one line, in many, and by way of the map. */
static void test_limits(void **state)
{
	static const struct row row = { .name = "", "X-Envelope-To/top/all", NULL, "", "" };
	static const char *const separators[] = { ",\n ", "\nX-Envelope-To: " };

	for (size_t i = 0; i < 6; i++) {
		AUTO(strbuf_free) struct strbuf msg = STRBUF_INIT;
		AUTO(resolution_free) struct resolution r;
		size_t n = RESOLVE_RECIPIENTS_MAX - 1 + i / 2;
		struct account a;
		account_init(&a, &row);
		strbuf_adds(&msg, "X-Envelope-To: ");
		for (size_t k = 0; k < n; k++)
			strbuf_addf(&msg, "%su%zu@firma.example", k ? separators[i % 2] : "", k);
		strbuf_adds(&msg, "\n" TAIL);
		resolve_text(&a.rules, strbuf_view(&msg), &r);
		if (n > RESOLVE_RECIPIENTS_MAX) {
			assert_non_null(strstr(r.unresolved, "limit"));
			assert_int_equal(r.nrecipients, 1);
			assert_string_equal(r.recipients[0].address, "postmaster@firma.example");
		} else {
			assert_null(r.unresolved);
			assert_int_equal(r.nrecipients, n);
		}
		account_free(&a);
	}
}

static void test_header_limit(void **state)
{
	static const struct row row = {
		.name = "", NULL, NULL, "", "", .policy = UNRESOLVED_TO_CC
	};
	AUTO(strbuf_free) struct strbuf msg = STRBUF_INIT;
	AUTO(resolution_free) struct resolution r;
	struct account a;

	account_init(&a, &row);
	strbuf_adds(&msg, SALES "To: a@firma.example\n");
	for (size_t i = 0; i < HEADER_FIELDS_MAX; i++)
		strbuf_adds(&msg, "A: 1\n");
	resolve_text(&a.rules, strbuf_view(&msg), &r);
	assert_non_null(strstr(r.unresolved, "limit"));
	assert_int_equal(r.action, ACTION_HOLD);
	assert_int_equal(r.nrecipients, 0);
	account_free(&a);
}

static double cost_of(const char *head, const char *unit, size_t n)
{
	static const struct row row = { .name = "",
		"X-Envelope-To/top/all Envelope-To/bottom/first",
		"*.p.example",
		"",
		"",
		.policy = UNRESOLVED_TO_CC };
	AUTO(strbuf_free) struct strbuf msg = STRBUF_INIT;
	AUTO(resolution_free) struct resolution r;
	struct account a;

	account_init(&a, &row);
	strbuf_adds(&msg, head);
	while (msg.len < n)
		strbuf_adds(&msg, unit);
	clock_t start = clock();
	resolve_text(&a.rules, strbuf_view(&msg), &r);
	account_free(&a);
	return (double)(clock() - start) / CLOCKS_PER_SEC;
}

/* Hostile blocks cost time in proportion to their length: four times as long, not sixteen. */
static void test_linear(void **state)
{
	static const char *const heads[] = { "X-Envelope-To: ", RCVD "To: ", "Received: ", INSIDE };
	static const char *const units[] = { "(", ",", "\"", ";", "<", "a@firma.example,", " for <",
		"a: b\n ", FORGED FORGED FORGED FORGED "X: " FORGED, INSIDE, "a@b.example;\nTo: " };

	for (size_t h = 0; h < ARRAY_LEN(heads); h++) {
		for (size_t u = 0; u < ARRAY_LEN(units); u++) {
			double once = cost_of(heads[h], units[u], 60 * 1024);
			double four = cost_of(heads[h], units[u], 240 * 1024);
			if (four > 8 * once + 0.05)
				fail_msg("%s %s: %f s, then %f s", heads[h], units[u], once, four);
			assert_true(cost_of(heads[h], units[u], 1024 * 1024) < 3);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_providers),
		cmocka_unit_test(test_candidates),
		cmocka_unit_test(test_envelope_missing),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_header_limit),
		cmocka_unit_test(test_linear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
