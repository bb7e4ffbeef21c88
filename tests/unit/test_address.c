/* Addresses out of what providers write and senders try; domains; the reverse path. */
#include "mail/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define L64    "1234567890123456789012345678901234567890123456789012345678901234"
#define KELVIN "\xe2\x84\xaa"

static const struct row {
	const char *value;
	const char *want; /* addresses, a space behind each; "!" at the end: something malformed */
} rows[] = {
	/* Plain, lists, brackets. */
	{ "sales@firma.example", "sales@firma.example " },
	{ "<sales@firma.example>", "sales@firma.example " },
	{ "  < sales@firma.example >\t", "sales@firma.example " },
	{ "a@x.example, b@x.example", "a@x.example b@x.example " },
	{ "a@x.example,b@x.example,", "a@x.example b@x.example " },
	{ "<a@x.example>,, <b@x.example>", "a@x.example b@x.example " },
	{ "a@x.example; b@x.example", "a@x.example b@x.example " },
	{ "Sales.Dept+x=y@Firma.Example", "Sales.Dept+x=y@Firma.Example " },
	{ "a@x.example.", "a@x.example " },
	{ "a @ x.example", "a@x.example " },
	/* Display names and comments are never addresses. */
	{ "Sales <sales@firma.example>", "sales@firma.example " },
	{ "\"Dept, Sales <ceo@firma.example>\" <sales@firma.example>", "sales@firma.example " },
	{ "ceo@firma.example <sales@firma.example>", "sales@firma.example " },
	{ "[Liste] Sales: <sales@firma.example>", "sales@firma.example " },
	{ "sales@firma.example (ceo@firma.example)", "sales@firma.example " },
	{ "(ceo@firma.example, (x) \\) y) sales@firma.example", "sales@firma.example " },
	{ "sales(x)@(y)firma.example", "sales@firma.example " },
	{ "(ceo@firma.example)", "" },
	{ "\"ceo@firma.example\"", "!" },
	{ "=?utf-8?q?ceo=40corp=2Eexample?=", "!" },
	{ "=?utf-8?q?ceo=40corp=2Eexample?= <a@x.example>", "a@x.example " },
	/* What providers put around it. */
	{ "<sales@firma.example> (uid 0)", "sales@firma.example " },
	{ "rfc822;sales@firma.example", "sales@firma.example " },
	{ "RFC822; sales@firma.example", "sales@firma.example " },
	{ "utf-8;sales@firma.example", "sales@firma.example " },
	{ "GMX delivery to hans@gmx.example", "hans@gmx.example " },
	{ "x@yahoo.example via 192.0.2.42; Mon, 01 Jan 2024 00:00:00 +0000", "x@yahoo.example " },
	{ "x@yahoo.example via 2001:db8::1; Mon, 01 Jan 2024", "x@yahoo.example " },
	/* Quoted local parts, source routes, groups. */
	{ "\"a, b\"@x.example", "\"a, b\"@x.example " },
	{ "<\"a>b\"@x.example>", "\"a>b\"@x.example " },
	{ "\"a\\\"b@c\"@x.example", "\"a\\\"b@c\"@x.example " },
	{ "<@a.example,@b.example:u@x.example>", "u@x.example " },
	{ "<@a.example:u@x.example>, v@x.example", "u@x.example v@x.example " },
	{ "team: a@x.example, B <b@x.example>;, c@x.example",
		"a@x.example b@x.example c@x.example " },
	{ "undisclosed-recipients:;", "" },
	{ "undisclosed-recipients:", "" },
	/* R14: literal or refused, never interpreted. */
	{ "u%x@corp.example", "u%x@corp.example " },
	{ "x!u@corp.example", "x!u@corp.example " },
	{ "-f@corp.example", "-f@corp.example " },
	{ "|sh@corp.example", "!" },
	{ "\"|sh\"@corp.example", "!" },
	{ "/etc/x@corp.example", "!" },
	{ "\"|/usr/bin/vacation hans\" (uid 0)", "!" },
	{ "\"| sh a@x.example\"", "!" },
	{ "/var/mail/hans", "!" },
	/* R18: nobody. */
	{ "", "" },
	{ "<>", "!" },
	{ "hans", "!" },
	{ "@corp.example", "!" },
	{ "hans@", "!" },
	{ "<hans>", "!" },
	{ "hans@[192.0.2.1]", "!" },
	{ "<hans@[IPv6:::1]>", "!" },
	{ "<hans@x.example", "!" },
	{ "hans@x.example>", "!" },
	{ "<<hans@x.example>>", "!" },
	{ "a@b@x.example", "!" },
	{ "<a@x.example>@y.example", "!" },
	/* Doubt which one is meant. */
	{ "a@x.example b@x.example", "!" },
	{ "<a@x.example> <b@x.example>", "!" },
	{ "<a@x.example> b", "!" },
	{ "<a b@x.example>", "!" },
	{ "a\"b\"@x.example", "!" },
	{ "\"a\".b@x.example", "!" },
	{ "a(c)b@x.example", "!" },
	{ "a@x(c)y.example", "!" },
	{ "a@x .example", "!" },
	{ "a@x.example via example", "!" },
	{ "a@x.example, \"b@x.example", "a@x.example !" },
	{ "a@x.example, (b@x.example", "a@x.example !" },
	{ "a@x.example, junk, c@x.example", "a@x.example c@x.example !" },
	/* Local parts. */
	{ ".a@x.example", "!" },
	{ "a.@x.example", "!" },
	{ "a..b@x.example", "!" },
	{ "\"\"@x.example", "!" },
	{ "a\\b@x.example", "!" },
	{ "\"a\nb\"@x.example", "!" },
	{ "a\x01@x.example", "!" },
	{ "a\nb@x.example", "!" },
	{ "j\xc3\xbcrgen@x.example", "j\xc3\xbcrgen@x.example " },
	{ "j\xfcrgen@x.example", "!" },
	{ "j\xc0\xbcrgen@x.example", "!" },
	{ L64 "@x.example", L64 "@x.example " },
	{ L64 "5@x.example", "!" },
	/* Domains. */
	{ "a@b\xc3\xbc"
	  "cher.example",
		"a@xn--bcher-kva.example " },
	{ "a@xn--bcher-kva.example", "a@xn--bcher-kva.example " },
	{ "a@" KELVIN ".example", "!" },
	{ "a@x..example", "!" },
	{ "a@.x.example", "!" },
	{ "a@x.example..", "!" },
	{ "a@-x.example", "!" },
	{ "a@x%y.example", "!" },
	{ "a@" L64 ".example", "!" },
};

static void test_lists(void **state)
{
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		AUTO(strbuf_free) struct strbuf got = STRBUF_INIT;
		AUTO(address_list_free) struct address_list l;
		address_parse_list(sv_str(rows[r].value), &l);
		for (size_t i = 0; i < l.n; i++) {
			strbuf_addf(&got, "%s ", l.items[i].text);
			assert_int_equal(l.items[i].text[l.items[i].at], '@');
		}
		strbuf_adds(&got, l.malformed ? "!" : "");
		if (strcmp(strbuf_str(&got), rows[r].want))
			fail_msg("%s: %s (%s)", rows[r].value, strbuf_str(&got),
				strbuf_str(&l.reason));
		assert_int_equal(!l.malformed, !l.reason.len);
	}
}

/* P41: a NUL ends nothing, and is no part of an address. */
static void test_nul(void **state)
{
	static const char value[] = "a\0b@x.example, \"c\0\"@x.example, d@x\0.example, e@x.example";
	AUTO(address_list_free) struct address_list l;

	address_parse_list(sv(value, sizeof value - 1), &l);
	assert_int_equal(l.n, 1);
	assert_string_equal(l.items[0].text, "e@x.example");
	assert_int_equal(l.malformed, 3);
}

static void test_limit(void **state)
{
	for (size_t n = ADDRESS_MAX - 1; n <= ADDRESS_MAX + 1; n++) {
		AUTO(strbuf_free) struct strbuf value = STRBUF_INIT;
		AUTO(address_list_free) struct address_list l;
		for (size_t i = 0; i < n; i++)
			strbuf_addf(&value, "u%zu@x.example,", i);
		address_parse_list(strbuf_view(&value), &l);
		assert_int_equal(l.n, n > ADDRESS_MAX ? ADDRESS_MAX : n);
		assert_int_equal(l.too_many, n > ADDRESS_MAX);
	}
}

static void test_domains(void **state)
{
	static const struct {
		const char *domain, *want;
	} domains[] = {
		{ "Firma.EXAMPLE", "firma.example" },
		{ "firma.example.", "firma.example" },
		{ "localhost", "localhost" },
		{ "my_host.firma.example", "my_host.firma.example" },
		{ "b\xc3\xbc"
		  "cher.example",
			"xn--bcher-kva.example" },
		{ "XN--BCHER-KVA.example", "xn--bcher-kva.example" },
		{ "stra\xc3\x9f"
		  "e.example",
			"xn--strae-oqa.example" },
		{ KELVIN "undalini.example", NULL },
		{ "x.exa"
		  "\xef\xbd\x8d"
		  "ple",
			NULL }, /* FULLWIDTH M */
		{ "x\xe3\x80\x82"
		  "example",
			NULL }, /* IDEOGRAPHIC FULL STOP */
		{ "bu\xcc\x88"
		  "cher.example",
			NULL }, /* decomposed */
		{ "b\xfc"
		  "cher.example",
			NULL }, /* Latin-1 */
		{ "", NULL },
		{ ".", NULL },
		{ "a b", NULL },
		{ "a@b", NULL },
		{ "*.x.example", NULL },
		{ L64 ".x", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(domains); i++) {
		AUTO(mem_freep) char *got = domain_normal(sv_str(domains[i].domain));
		const char *want = domains[i].want;
		if (!got != !want || (got && strcmp(got, want)))
			fail_msg("%s: %s", domains[i].domain, got ? got : "NULL");
	}
}

static void test_domain_length(void **state)
{
	char name[ADDRESS_DOMAIN_OCTETS + 1];

	for (size_t i = 0; i < sizeof name; i++)
		name[i] = i % 2 ? '.' : 'a';
	AUTO(mem_freep) char *at_limit = domain_normal(sv(name, ADDRESS_DOMAIN_OCTETS));
	assert_non_null(at_limit);
	name[ADDRESS_DOMAIN_OCTETS - 1] = 'b';
	name[ADDRESS_DOMAIN_OCTETS] = 'b';
	assert_null(domain_normal(sv(name, sizeof name)));
}

static void test_same(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} pairs[] = {
		{ "Hans@Firma.example", "hans@firma.EXAMPLE.", true },
		{ "hans@b\xc3\xbc"
		  "cher.example",
			"hans@xn--bcher-kva.example", true },
		{ "\"hans\"@x.example", "HANS@x.example", true },
		{ "\"h ans\"@x.example", "hans@x.example", false },
		{ "hans@x.example", "hans@y.example", false },
		{ "hans@x.example", "hansi@x.example", false },
		{ KELVIN "@x.example", "k@x.example", false },
		{ "\xc3\xbc@x.example", "\xc3\x9c@x.example", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		AUTO(address_free) struct address a = { 0 }, b = { 0 };
		assert_int_equal(address_parse(sv_str(pairs[i].a), &a, NULL), 0);
		assert_int_equal(address_parse(sv_str(pairs[i].b), &b, NULL), 0);
		if (address_same(&a, &b) != pairs[i].same)
			fail_msg("%s %s", pairs[i].a, pairs[i].b);
	}
}

static void test_plain(void **state)
{
	static const char *const bad[] = { "", "hans", "<hans@x.example>", "Hans hans@x.example",
		" hans@x.example", "hans@x.example ", "hans@x.example,", "(c)hans@x.example",
		"a@x.example, b@x.example", "hans @x.example", "hans@[192.0.2.1]", "*@x.example..",
		"hans@x.example(c)", "hans@x.example\r\n" };
	struct address a;
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (!address_parse(sv_str(bad[i]), &a, &err))
			fail_msg("%s: %s", bad[i], a.text);
		assert_int_equal(err.class, ERR_CONFIG);
		assert_null(a.text);
	}
	assert_int_equal(address_parse(SV("Hans.M@Firma.Example."), &a, &err), 0);
	assert_string_equal(a.text, "Hans.M@Firma.Example");
	assert_string_equal(a.domain, "firma.example");
	address_free(&a);
}

static void test_reverse_path(void **state)
{
	static const struct {
		const char *value, *want;
	} paths[] = {
		{ "<s@x.example>", "s@x.example" },
		{ " s@x.example \r\n", "s@x.example" },
		{ "<>", "" },
		{ "<\"a.b\"@x.example>", "\"a.b\"@x.example" },
		{ "<bounce+hans=firma.example@x.example>", "bounce+hans=firma.example@x.example" },
		{ "<@r.example:s@x.example>", "s@x.example" },
		{ "", NULL },
		{ "< >", NULL },
		{ "<s>", NULL },
		{ "<MAILER-DAEMON>", NULL },
		{ "<s@x.example> <t@x.example>", NULL },
		{ "<s@x.example>,<t@x.example>", NULL },
		{ "S <s@x.example>", NULL },
		{ "<s@x.example>SIZE=1", NULL },
		{ "<s@x.example\r\nRCPT>", NULL },
		{ "<s@x.example", NULL },
		{ "<s@[192.0.2.1]>", NULL },
		{ "<" L64 "5@x.example>", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		AUTO(mem_freep) char *got;
		int rc = reverse_path_parse(sv_str(paths[i].value), &got);
		const char *want = paths[i].want;
		assert_int_equal(rc, want ? 0 : 1);
		if (!got != !want || (got && strcmp(got, want)))
			fail_msg("%s: %s", paths[i].value, got ? got : "NULL");
	}
}

/* Hostile values cost time in proportion to their length: four times as long, not sixteen. */
static void test_linear(void **state)
{
	static const char *const units[] = { "(", ")", "\"", ",", ";", "<", ">", "@", "[", "\\",
		"a ", "a@", "<@", "a:", "a@b.example,", "\"\"", "()", "\xc3\xbc", "via ", "\"\\",
		"<a@b.c>" };

	for (size_t u = 0; u < ARRAY_LEN(units); u++) {
		double cost[2];
		for (size_t k = 0; k < 2; k++) {
			AUTO(strbuf_free) struct strbuf value = STRBUF_INIT;
			AUTO(address_list_free) struct address_list l;
			while (value.len < (k ? 1024u : 256u) * 1024)
				strbuf_adds(&value, units[u]);
			clock_t start = clock();
			address_parse_list(strbuf_view(&value), &l);
			cost[k] = (double)(clock() - start) / CLOCKS_PER_SEC;
		}
		/* 50 ms: what a busy machine adds to a small number. */
		if (cost[1] > 8 * cost[0] + 0.05)
			fail_msg("%s: %f s, then %f s", units[u], cost[0], cost[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_domains),
		cmocka_unit_test(test_domain_length),
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_reverse_path),
		cmocka_unit_test(test_linear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
