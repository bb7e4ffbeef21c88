/*
 * Received lines: a client that introduces itself with a clever name makes the line unreadable at
 * worst, and never says for the server who it was, who wrote the line, or for whom.
 *
 * The first octet chooses how a server writes its line, or that the input is all of one; up to a LF
 * the input is the EHLO name in it (behind a TAB: the name in the client's certificate), what
 * follows are header lines that the client sent below it.
 */
#include "fuzz.h"
#include "mail/received.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define IP    "192.0.2.66"
#define NAME  "e.example"
#define HOST  "mx.p.example"
#define RCPT  "sales@firma.example"
#define DATE  "; Mon, 1 Jan 2024 00:00:00 +0000"
#define TRAIL " by " HOST " (Postfix) with ESMTP id 1 for <" RCPT ">" DATE

/* Where `strict`, the server takes no EHLO name that is not a word. */
static const struct line {
	const char *before, *behind; /* the EHLO name */
	const char *end;             /* behind the certificate's name; NULL: there is none */
	const char *client, *rcpt;
	bool strict;
} lines[] = {
	{ "from ", " (" NAME " [" IP "])" TRAIL, NULL, NAME, RCPT, false },
	{ "from ", " (unknown [" IP "])" TRAIL, NULL, "", RCPT, false },
	{ "from ", " (" NAME " [" IP "] (may be forged))" TRAIL, NULL, "", RCPT, false },
	{ "from ", " (" NAME " [" IP "]) (using TLSv1.3) (Client CN \"", "\", Issuer \"x\")" TRAIL,
		NAME, RCPT, false },
	{ "from " NAME " ([" IP "] helo=",
		") by " HOST
		" with esmtp (Exim 4.96) (envelope-from <a@b.example>) id 1 for " RCPT DATE,
		NULL, NAME, RCPT, true },
	{ "from [" IP "] (helo=", ") by " HOST " with esmtp (Exim 4.96) id 1 for " RCPT DATE, NULL,
		"", RCPT, true },
	{ "from unknown (HELO ", ") (" IP ") by " HOST " with SMTP" DATE, NULL, "", "", true },
	{ "from ", " ([" IP "]) by " HOST " with LMTP id 1 for <" RCPT ">" DATE, NULL, "", RCPT,
		true },
};

static char host[] = HOST;
static char *const trusted[] = { host };

static bool within(struct strview part, struct strview whole)
{
	return !part.len || (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

static bool is_ip(struct strview ip)
{
	char text[INET6_ADDRSTRLEN + 1];
	unsigned char bytes[16];

	ip = sv_token(&ip, '%');
	if (ip.len >= sizeof text)
		return false;
	memcpy(text, ip.ptr, ip.len);
	text[ip.len] = '\0';
	return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

static void check_form(const struct received *r, struct strview value)
{
	ensure(within(r->by, value) && within(r->client, value) && within(r->ip, value) &&
		within(r->for_addr, value));
	ensure(!r->malformed ||
		(!r->by.len && !r->client.len && !r->ip.len && !r->for_addr.len && !r->has_from &&
			!r->invoked));
	ensure(!r->ip.len || is_ip(r->ip));
	ensure(!r->client.len || r->ip.len);
	ensure(r->has_from || !r->ip.len);
}

static void check_raw(struct strview value)
{
	struct received r;

	received_parse(value, &r);
	check_form(&r, value);
}

/* What the server found out, or nothing. */
static bool is_or_none(struct strview found, const char *truth)
{
	return !found.len || sv_eq(found, sv_str(truth));
}

static void check_line(const struct line *line, struct strview value)
{
	struct received r;

	received_parse(value, &r);
	check_form(&r, value);
	ensure(is_or_none(r.by, HOST) && is_or_none(r.ip, IP));
	ensure(is_or_none(r.client, line->client) && is_or_none(r.for_addr, line->rcpt));
	ensure(r.malformed || (r.has_from && !r.invoked));
}

/* The client is nobody whom the provider knows: below his line all is the sender's. */
static void check_chain(struct strview value, struct strview below)
{
	AUTO(strbuf_free) struct strbuf msg = STRBUF_INIT;
	struct header h;
	char *reason = NULL, *name = NULL, *ip = NULL;

	strbuf_adds(&msg, "Received: ");
	strbuf_addv(&msg, value);
	strbuf_adds(&msg, "\r\n");
	strbuf_addv(&msg, below);
	header_init(&h, false);
	(void)header_push(&h, msg.ptr, msg.len); /* what is not header is no matter */
	header_end(&h);
	size_t boundary = received_boundary(&h, trusted, ARRAY_LEN(trusted), &reason);
	ensure(reason && (boundary == 0 || boundary == h.n));
	if (boundary < h.n)
		received_client(&h, boundary, trusted, ARRAY_LEN(trusted), &name, &ip);
	ensure(!ip || !strcmp(ip, IP));
	ensure(!name || !strcmp(name, NAME));
	free(name);
	free(ip);
	free(reason);
	header_free(&h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(strbuf_free) struct strbuf value = STRBUF_INIT;

	if (!size)
		return 0;
	struct strview input = sv((const char *)data + 1, size - 1);
	size_t scene = data[0] % (ARRAY_LEN(lines) + 1);
	if (scene == ARRAY_LEN(lines)) {
		check_raw(input);
		return 0;
	}
	const struct line *line = &lines[scene];
	struct strview certificate = sv_token(&input, '\n');
	struct strview ehlo = line->end ? sv_token(&certificate, '\t') : certificate;
	strbuf_adds(&value, line->before);
	for (size_t i = 0; i < ehlo.len; i++) {
		bool odd = ehlo.ptr[i] <= ' ' || strchr("()<>\";\\", ehlo.ptr[i]);
		strbuf_addc(&value, line->strict && odd ? '?' : ehlo.ptr[i]);
	}
	strbuf_adds(&value, line->behind);
	if (line->end) {
		strbuf_addv(&value, certificate);
		strbuf_adds(&value, line->end);
	}
	check_line(line, strbuf_view(&value));
	check_chain(strbuf_view(&value), input);
	return 0;
}
