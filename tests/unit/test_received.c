/* Received lines as servers write them, as senders forge them, and the boundary they make. */
#include "mail/received.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define DATE    "; Mon, 1 Jan 2024 00:00:00 +0100 (CET)"
#define POSTFIX " by mx.p.example (Postfix) with ESMTP id 4T for <sales@firma.example>" DATE

static const struct line {
	const char *name, *value;
	const char *want; /* "by client ip for": "-" empty; then flags: from, local, invoked, bad */
} lines[] = {
	{ "Postfix",
		"from ehlo.example (out.example [192.0.2.7]) (using TLSv1.3 with cipher X (256/256 "
		"bits)) (Client CN \"a (b) c\", Issuer \"d\" (not verified))" POSTFIX,
		"mx.p.example out.example 192.0.2.7 sales@firma.example from" },
	{ "Postfix, name not verified", "from ehlo.example (unknown [192.0.2.7])" POSTFIX,
		"mx.p.example - 192.0.2.7 sales@firma.example from" },
	{ "Postfix, IPv6", "from e (out.example [IPv6:2001:db8::7])" POSTFIX,
		"mx.p.example out.example 2001:db8::7 sales@firma.example from" },
	{ "Postfix pickup", "by web.p.example (Postfix, from userid 33)\r\n\tid 4T" DATE,
		"web.p.example - - - local" },
	{ "Postfix discard of case", "FROM e (out.example [192.0.2.7]) BY mx.p.example" DATE,
		"mx.p.example out.example 192.0.2.7 - from" },
	{ "Exim, name verified",
		"from out.example ([192.0.2.7] helo=ehlo.example) by mx.p.example with esmtps "
		"(TLS1.3) "
		"(Exim 4.96) (envelope-from <s@x.example>) id 1a for sales@firma.example" DATE,
		"mx.p.example out.example 192.0.2.7 sales@firma.example from" },
	{ "Exim, name unknown",
		"from [192.0.2.7] (helo=mx.p.example) by mx.p.example with esmtp" DATE,
		"mx.p.example - 192.0.2.7 - from" },
	{ "Exim, port", "from [192.0.2.7] (port=4711 helo=x) by mx.p.example with esmtp" DATE,
		"mx.p.example - 192.0.2.7 - from" },
	{ "Exim, local", "from root by web.p.example with local (Exim 4.96) id 1a" DATE,
		"web.p.example - - - local" },
	{ "Sendmail: name not in the parentheses proves nothing",
		"from mx.p.example ([192.0.2.7]) by mx.p.example (8.17.1/8.17.1) with ESMTP id "
		"x" DATE,
		"mx.p.example - 192.0.2.7 - from" },
	{ "Sendmail, verified, ident",
		"from e (IDENT:root@out.example [192.0.2.7]) by mx.p.example" DATE,
		"mx.p.example out.example 192.0.2.7 - from" },
	{ "Sendmail, may be forged",
		"from e (mx.p.example [192.0.2.7] (may be forged)) by mx.p.example" DATE,
		"mx.p.example - 192.0.2.7 - from" },
	{ "Courier", "from mx.p.example ([::ffff:192.0.2.7]) by mx.p.example with ESMTP; id 1",
		"mx.p.example - ::ffff:192.0.2.7 - from" },
	{ "qmail", "from unknown (HELO mx.p.example) (192.0.2.7) by mx.p.example with SMTP" DATE,
		"mx.p.example - 192.0.2.7 - from" },
	{ "qmail with ident",
		"from x.example (HELO y) (root@192.0.2.7) by mx.p.example with SMTP" DATE,
		"mx.p.example - 192.0.2.7 - from" },
	{ "qmail, literal in HELO",
		"from unknown (HELO [127.0.0.1]) (192.0.2.7) by mx.p.example" DATE,
		"mx.p.example - 192.0.2.7 - from" },
	{ "qmail invoked", "(qmail 1234 invoked by uid 89); 1 Jan 2024 00:00:00 -0000",
		"- - - - invoked" },
	{ "qmail invoked from network", "(qmail 12 invoked from network); 1 Jan 2024",
		"- - - - invoked" },
	{ "Exchange",
		"from a.example (192.0.2.7) by mx.p.example (10.0.0.1) with Microsoft SMTP Server "
		"id "
		"15.1" DATE,
		"mx.p.example - 192.0.2.7 - from" },
	{ "Google", "by 2002:a05:6a00:1:b0:1 with SMTP id x1csp" DATE,
		"2002:a05:6a00:1:b0:1 - - - local" },
	{ "Dovecot LMTP over TCP",
		"from mx.p.example ([192.0.2.7]) by box.p.example with LMTP id A== (envelope-from "
		"<s@x.example>) for <box17@p.example>" DATE,
		"box.p.example - 192.0.2.7 box17@p.example from" },
	{ "Dovecot LMTP over a socket",
		"from mx.p.example by box.p.example with LMTP id A== for <box17@p.example>" DATE,
		"box.p.example - - box17@p.example local" },
	{ "EHLO name only, no client", "from mx.p.example by mx.p.example with ESMTP id 1" DATE,
		"mx.p.example - - - from" },
	{ "address literal as EHLO name, no client", "from [127.0.0.1] by mx.p.example" DATE,
		"mx.p.example - - - from" },
	{ "trailing dot", "from e (out.example. [192.0.2.7]) by mx.p.example." DATE,
		"mx.p.example. out.example. 192.0.2.7 - from" },
	{ "quoted local part with a trap",
		"from e (o.example [192.0.2.7]) by mx.p.example for <\"x> for "
		"<ceo\"@firma.example>" DATE,
		"mx.p.example o.example 192.0.2.7 \"x> for <ceo\"@firma.example from" },
	{ "for with two addresses is none",
		"from e (o.example [192.0.2.7]) by mx.p.example for <a@x.example>, "
		"<b@x.example>" DATE,
		"- - - - bad" },
	{ "words behind the date are the folded message's",
		"from e (o.example [192.0.2.7]) by mx.p.example" DATE " for <ceo@firma.example>",
		"mx.p.example o.example 192.0.2.7 - from" },
	/* EHLO names with more in them than a name. */
	{ "EHLO with for", "from x for <ceo@firma.example> (evil.example [192.0.2.66])" POSTFIX,
		"mx.p.example evil.example 192.0.2.66 sales@firma.example from" },
	{ "EHLO with a client",
		"from mx (mx.p.example [10.0.0.1]) (evil.example [192.0.2.66])" POSTFIX,
		"mx.p.example - - sales@firma.example from" },
	{ "certificate with a client: which of the two is the server's?",
		"from x (evil.example [192.0.2.66]) (Client CN \"a) (y [127.0.0.1]) z (\", Issuer "
		"x)" POSTFIX,
		"mx.p.example - - sales@firma.example from" },
	{ "EHLO with by",
		"from x (mx [10.0.0.1]) by mx.p.example for <ceo@firma.example> (evil "
		"[192.0.2.66])" POSTFIX,
		"- - - - bad" },
	{ "EHLO with by and an open comment",
		"from x (mx [10.0.0.1]) by mx.p.example ( (evil [192.0.2.66])" POSTFIX,
		"- - - - bad" },
	{ "EHLO with by and an open quote",
		"from x (mx [10.0.0.1]) by mx.p.example \" (evil [192.0.2.66])" POSTFIX,
		"- - - - bad" },
	{ "EHLO with by, a quote that the line closes",
		"from x (mx [10.0.0.1]) by mx.p.example id \" (e [192.0.2.66]) by m for <\"a "
		"b\"@x>\"" DATE,
		"- - - - bad" },
	{ "EHLO with by and an open <",
		"from x (mx [10.0.0.1]) by mx.p.example id < (evil [192.0.2.66])" POSTFIX,
		"- - - - bad" },
	{ "EHLO with by and an end",
		"from x (mx [10.0.0.1]) by mx.p.example; (e [192.0.2.66])" POSTFIX, "- - - - bad" },
	{ "EHLO with a client and an open comment that a certificate closes",
		"from x (mx [10.0.0.1]) ( (evil [192.0.2.66]) (Client CN \")\", Issuer \"b\" (not "
		"verified))" POSTFIX,
		"- - - - bad" },
	{ "the same with an escape",
		"from x (mx [10.0.0.1]) (\\) (evil [192.0.2.66]) (Client CN \")\", Issuer \"b\" "
		"(x))" POSTFIX,
		"- - - - bad" },
	{ "EHLO with a client and an open quote that a certificate closes",
		"from x (mx [10.0.0.1]) \" (evil [192.0.2.66]) (Client CN \"x (\", Issuer \"b\" "
		"(not "
		"verified))" POSTFIX,
		"- - - - bad" },
	{ "the same in brackets",
		"from x (mx [10.0.0.1]) <\" (evil [192.0.2.66]) (Client CN \"x> (\", Issuer \"b\" "
		"(x))" POSTFIX,
		"- - - - bad" },
	{ "EHLO name `by`", "from by (evil.example [192.0.2.66])" POSTFIX,
		"mx.p.example evil.example 192.0.2.66 sales@firma.example from" },
	{ "EHLO name like qmail's", "from (qmail 1 invoked by uid 0) (evil [192.0.2.66])" POSTFIX,
		"mx.p.example evil 192.0.2.66 sales@firma.example from" },
	{ "by in a comment is none", "from x (by mx.p.example)" DATE, "- - - - from" },
	{ "no form that we know", "whatever it is" DATE, "- - - - bad" },
	{ "empty", "", "- - - - bad" },
	{ "stray )", "from x ) by mx.p.example" DATE, "- - - - bad" },
	{ "by nobody, for somebody", "by () x for a@firma.example" DATE, "- - - - bad" },
};

static void put(struct strbuf *b, struct strview v)
{
	strbuf_addv(b, v.len ? v : SV("-"));
	strbuf_addc(b, ' ');
}

static void test_lines(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		AUTO(strbuf_free) struct strbuf got = STRBUF_INIT;
		struct received r;
		received_parse(sv_str(lines[i].value), &r);
		put(&got, r.by);
		put(&got, r.client);
		put(&got, r.ip);
		put(&got, r.for_addr);
		strbuf_adds(&got,
			r.malformed          ? "bad"
				: r.invoked  ? "invoked"
				: r.has_from ? "from"
					     : "local");
		if (strcmp(strbuf_str(&got), lines[i].want))
			fail_msg("%s: %s", lines[i].name, strbuf_str(&got));
	}
}

static void test_private_addresses(void **state)
{
	static const struct {
		const char *ip;
		bool private;
	} ips[] = {
		{ "127.0.0.1", true },
		{ "127.255.255.255", true },
		{ "128.0.0.1", false },
		{ "10.0.0.1", true },
		{ "11.0.0.1", false },
		{ "9.255.255.255", false },
		{ "172.15.255.255", false },
		{ "172.16.0.0", true },
		{ "172.31.255.255", true },
		{ "172.32.0.0", false },
		{ "192.168.0.1", true },
		{ "192.169.0.1", false },
		{ "100.63.255.255", false },
		{ "100.64.0.0", true },
		{ "100.127.255.255", true },
		{ "100.128.0.0", false },
		{ "169.254.1.1", true },
		{ "169.255.1.1", false },
		{ "0.0.0.0", false },
		{ "192.0.2.1", false },
		{ "::1", true },
		{ "::2", false },
		{ "::", false },
		{ "fc00::1", true },
		{ "fdff::1", true },
		{ "fe00::1", false },
		{ "fe80::1", true },
		{ "fe80::1%eth0", true },
		{ "febf::1", true },
		{ "fec0::1", false },
		{ "2001:db8::1", false },
		{ "::ffff:10.0.0.1", true },
		{ "::ffff:192.0.2.1", false },
		{ "", false },
		{ "10.0.0", false },
		{ "10.0.0.1.evil.example", false },
		{ "localhost", false },
		{ "1111111111111111111111111111111111111111111111111111111", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(ips); i++)
		if (ip_is_private(sv_str(ips[i].ip)) != ips[i].private)
			fail_msg("%s", ips[i].ip);
}

static void test_host_matches(void **state)
{
	static const struct {
		const char *host, *pattern;
		bool match;
	} hosts[] = {
		{ "mx.p.example", "mx.p.example", true },
		{ "MX.P.Example.", "mx.p.example", true },
		{ "mx.p.example", "p.example", false },
		{ "xmx.p.example", "mx.p.example", false },
		{ "mx.p.example", "*.p.example", true },
		{ "a.b.p.example", "*.p.example", true },
		{ "p.example", "*.p.example", false },
		{ ".p.example", "*.p.example", false },
		{ "evilp.example", "*.p.example", false },
		{ "mx.p.example.evil.example", "*.p.example", false },
		{ "192.0.2.1", "192.0.2.1", true },
		{ "", "", false },
		{ "", "*.p.example", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
		if (host_matches(sv_str(hosts[i].host), sv_str(hosts[i].pattern)) != hosts[i].match)
			fail_msg("%s %s", hosts[i].host, hosts[i].pattern);
}

#define OUTSIDE "Received: from e (evil.example [192.0.2.66])" POSTFIX "\r\n"
#define INSIDE  "Received: from x (localhost [127.0.0.1])" POSTFIX "\r\n"
#define INVOKED "Received: (qmail 1 invoked by uid 89); 1 Jan 2024\r\n"

static const struct {
	const char *name, *trusted, *block;
	size_t boundary; /* 9: none */
} blocks[] = {
	{ "no trusted_by: the first line", NULL, "A: 1\r\n" INSIDE OUTSIDE, 1 },
	{ "no trusted_by, no line", NULL, "A: 1\r\n", 9 },
	{ "entrance at once", "*.p.example", OUTSIDE "A: 1\r\n" OUTSIDE, 0 },
	{ "inside, then the entrance", "*.p.example", "A: 1\r\n" INSIDE "B: 2\r\n" OUTSIDE, 3 },
	{ "client by name", "*.p.example",
		"Received: from e (a.p.example [192.0.2.1])" POSTFIX "\r\n" OUTSIDE, 1 },
	{ "client by address", "192.0.2.1 *.p.example",
		"Received: from e ([192.0.2.1])" POSTFIX "\r\n" OUTSIDE, 1 },
	{ "EHLO name is no client", "*.p.example",
		"Received: from a.p.example ([192.0.2.66])" POSTFIX "\r\n" INSIDE OUTSIDE, 0 },
	{ "qmail's own lines do not end it", "*.p.example", INVOKED INSIDE INVOKED OUTSIDE, 3 },
	{ "qmail's own lines do not carry it on", "*.p.example",
		INSIDE INVOKED "Received: from a by b.example" DATE "\r\n", 0 },
	{ "pickup", "*.p.example", "Received: by w.p.example (Postfix, from userid 1)" DATE "\r\n",
		0 },
	{ "chain breaks off: the last line that is the provider's", "*.p.example",
		INSIDE "X-Forged: 1\r\nReceived: from a ([192.0.2.1]) by evil.example" DATE "\r\n",
		0 },
	{ "no line of a trusted host", "*.q.example", INSIDE OUTSIDE, 9 },
	{ "topmost line is a stranger's", "*.p.example",
		"Received: from a ([127.0.0.1]) by other.example" DATE "\r\n" OUTSIDE, 9 },
	{ "topmost line cannot be read", "*.p.example", "Received: from (\r\n" OUTSIDE, 9 },
	{ "only qmail's own", "*.p.example", INVOKED, 9 },
	{ "no line at all", "*.p.example", "A: 1\r\n", 9 },
};

static void test_boundary(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
		struct strview rest = sv_str(blocks[i].trusted);
		char *hosts[4], *reason;
		size_t n = 0;
		struct header h;
		while (rest.len) {
			struct strview host = sv_token(&rest, ' ');
			hosts[n++] = mem_strndup(host.ptr, host.len);
		}
		header_init(&h, false);
		header_push(&h, blocks[i].block, strlen(blocks[i].block));
		header_end(&h);
		size_t got = received_boundary(&h, hosts, n, &reason);
		if (got != (blocks[i].boundary == 9 ? h.n : blocks[i].boundary))
			fail_msg("%s: %zu, %s", blocks[i].name, got, reason);
		assert_true(*reason);
		free(reason);
		header_free(&h);
		while (n)
			free(hosts[--n]);
	}
}

static const struct {
	const char *name, *trusted, *block;
	size_t boundary;
	const char *want; /* "name ip" */
} clients[] = {
	{ "the client at the entrance", "*.p.example", INSIDE OUTSIDE, 1,
		"evil.example 192.0.2.66" },
	{ "no trusted_by: the first line's", NULL, OUTSIDE, 0, "evil.example 192.0.2.66" },
	{ "no trusted_by, and the first line is inside", NULL, INSIDE OUTSIDE, 0, "- -" },
	{ "the provider's own host, by name", "*.p.example",
		"Received: from e (a.p.example [192.0.2.1])" POSTFIX "\r\n", 0, "- -" },
	{ "the provider's own host, by address", "*.p.example 192.0.2.1",
		"Received: from e (a.q.example [192.0.2.1])" POSTFIX "\r\n", 0, "- -" },
	{ "no boundary", "*.q.example", OUTSIDE, 1, "- -" },
	{ "the boundary is no Received line", NULL, "From: a@b.example\r\n", 0, "- -" },
	{ "no verified name", "*.p.example",
		"Received: from ehlo.example (unknown [192.0.2.7])" POSTFIX "\r\n", 0,
		"- 192.0.2.7" },
	{ "IPv6, as it is usually written", "*.p.example",
		"Received: from e (out.example [IPv6:2001:DB8:0:0::7])" POSTFIX "\r\n", 0,
		"out.example 2001:db8::7" },
	{ "IPv4 in IPv6", "*.p.example",
		"Received: from x.example ([::ffff:192.0.2.7]) by mx.p.example with ESMTP; id "
		"1\r\n",
		0, "- 192.0.2.7" },
	{ "not to be read", "*.p.example", "Received: from (\r\n", 0, "- -" },
	{ "a name that is none", "*.p.example",
		"Received: from e (a_b.example [192.0.2.7])" POSTFIX "\r\n", 0, "- 192.0.2.7" },
};

static void test_client(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
		struct strview rest = sv_str(clients[i].trusted);
		char *hosts[4], *name, *ip, got[400];
		size_t n = 0;
		struct header h;
		while (rest.len) {
			struct strview host = sv_token(&rest, ' ');
			hosts[n++] = mem_strndup(host.ptr, host.len);
		}
		header_init(&h, false);
		header_push(&h, clients[i].block, strlen(clients[i].block));
		header_end(&h);
		received_client(&h, clients[i].boundary, hosts, n, &name, &ip);
		snprintf(got, sizeof got, "%s %s", name ? name : "-", ip ? ip : "-");
		if (strcmp(got, clients[i].want) != 0)
			fail_msg("%s: %s", clients[i].name, got);
		free(name);
		free(ip);
		header_free(&h);
		while (n)
			free(hosts[--n]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_private_addresses),
		cmocka_unit_test(test_host_matches),
		cmocka_unit_test(test_boundary),
		cmocka_unit_test(test_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
