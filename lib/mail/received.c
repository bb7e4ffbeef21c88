/*
 * Received: lines and the chain that they form; see received.h. Owns nothing: the views point into
 * the caller's value.
 *
 * The line mixes the server's words with the client's: an EHLO name may hold spaces, parentheses
 * and whole clauses, and the first line of the message may be folded into the last of the trace.
 * So a clause counts once: a second `by`, `for` or `;`, an unclosed comment or quote, an
 * unexpected <> or what may hide the client make the whole line malformed, and a malformed line
 * says nothing at all.
 */
#include "mail/received.h"
#include "base/encode.h"
#include "mail/scan.h"

#include <arpa/inet.h>

#define CLIENT_NAME_OCTETS 255 /* RFC 1035 section 3.1 */

enum token_kind {
	TOK_END,
	TOK_WORD,
	TOK_COMMENT,
	TOK_ANGLE,
	TOK_QUOTED,
	TOK_SEMICOLON,
	TOK_BROKEN
};

struct token {
	enum token_kind kind;
	struct strview text; /* without the brackets */
};

static const bool ends_word[256] = {
	[' '] = true,
	['\t'] = true,
	['\r'] = true,
	['\n'] = true,
	['('] = true,
	[')'] = true,
	[';'] = true,
	['<'] = true,
	['"'] = true,
};

/* The index behind the > of the path at `at`; 0: not one path in brackets. */
static size_t scan_angle(struct strview v, size_t at)
{
	for (size_t i = at + 1; i < v.len; i++) {
		if (v.ptr[i] == '>')
			return i + 1;
		if (v.ptr[i] == '"') {
			i = scan_quoted(v, i);
			if (!i--)
				return 0;
		} else if (ends_word[(unsigned char)v.ptr[i]]) {
			return 0;
		}
	}
	return 0;
}

static struct token bracketed(struct strview *rest, enum token_kind kind, size_t end)
{
	struct token t = { TOK_BROKEN, *rest };

	if (end)
		t = (struct token){ kind, sv(rest->ptr + 1, end - 2) };
	*rest = sv_skip(*rest, end ? end : rest->len);
	return t;
}

static struct token next_token(struct strview *rest)
{
	size_t i = 0;

	*rest = sv_trim(*rest);
	if (!rest->len)
		return (struct token){ TOK_END, *rest };
	switch (rest->ptr[0]) {
	case '(':
		return bracketed(rest, TOK_COMMENT, scan_comment(*rest, 0));
	case '"':
		return bracketed(rest, TOK_QUOTED, scan_quoted(*rest, 0));
	case '<':
		return bracketed(rest, TOK_ANGLE, scan_angle(*rest, 0));
	case ';':
		*rest = sv_skip(*rest, 1);
		return (struct token){ TOK_SEMICOLON, SV(";") };
	case ')':
		return bracketed(rest, TOK_BROKEN, 0);
	}
	while (i < rest->len && !ends_word[(unsigned char)rest->ptr[i]])
		i++;
	struct token t = { TOK_WORD, sv(rest->ptr, i) };
	*rest = sv_skip(*rest, i);
	return t;
}

enum clause { CLAUSE_NONE, CLAUSE_FROM, CLAUSE_BY, CLAUSE_WITH, CLAUSE_OTHER, CLAUSE_FOR };

static enum clause clause_of(struct strview word)
{
	static const struct {
		struct strview word;
		enum clause clause;
	} words[] = {
		{ { "from", 4 }, CLAUSE_FROM },
		{ { "by", 2 }, CLAUSE_BY },
		{ { "with", 4 }, CLAUSE_WITH },
		{ { "via", 3 }, CLAUSE_OTHER },
		{ { "id", 2 }, CLAUSE_OTHER },
		{ { "for", 3 }, CLAUSE_FOR },
	};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (sv_ieq(word, words[i].word))
			return words[i].clause;
	return CLAUSE_NONE;
}

struct parser {
	struct received *out;
	enum clause expect;  /* the next word is this clause's value */
	struct strview from; /* what stands behind `from`: EHLO name, except with Exim */
	bool by_seen, for_seen, date, local;
	bool two_clients; /* two comments with an address: one of them is not the server's */
};

/* An address literal's bytes, IPv4 as ::ffff:a.b.c.d. */
static bool ip_bytes(struct strview ip, unsigned char out[16])
{
	char text[INET6_ADDRSTRLEN];
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (ip.len)
		ip = sv_token(&ip, '%'); /* a zone says which link, not which address */
	if (!ip.len || ip.len >= sizeof text || memchr(ip.ptr, 0, ip.len))
		return false;
	memcpy(text, ip.ptr, ip.len);
	text[ip.len] = '\0';
	memcpy(out, mapped, sizeof mapped);
	return inet_pton(AF_INET, text, out + 12) == 1 || inet_pton(AF_INET6, text, out) == 1;
}

/* "[1.2.3.4]" or "[IPv6:::1]" at the start of *v: the address, and *v behind it; else empty. */
static struct strview take_literal(struct strview *v)
{
	unsigned char bytes[16];
	struct strview rest = sv_skip(*v, 1);

	if (!sv_starts(*v, SV("[")) || !memchr(rest.ptr, ']', rest.len))
		return SV("");
	struct strview ip = sv_token(&rest, ']');
	if (sv_istarts(ip, SV("IPv6:")))
		ip = sv_skip(ip, 5);
	if (!ip_bytes(ip, bytes))
		return SV("");
	*v = rest;
	return ip;
}

static struct strview behind_at(struct strview v)
{
	const char *at = memchr(v.ptr, '@', v.len);

	return at ? sv_skip(v, (size_t)(at - v.ptr) + 1) : v;
}

/*
 * What the server found out about its client, in parentheses before `by`. An EHLO name can bring a
 * second such comment along before it, a certificate's name one behind it: then neither is
 * believed. name [ip]     Postfix, Sendmail: verified, unless more follows ("may be forged") [ip]
 * Sendmail, Courier, Dovecot: the word before it is the EHLO name [ip] helo=x   Exim: the word
 * before it is the verified name helo=x        Exim: the word before it is [ip] ident@ip, ip qmail,
 * Exchange
 */
static void set_client(struct parser *p, struct strview ip, struct strview client)
{
	p->two_clients |= p->out->ip.len > 0;
	p->out->ip = ip;
	p->out->client = client;
}

static void read_client(struct parser *p, struct strview comment)
{
	struct strview rest = sv_trim(comment), name = SV("");
	unsigned char bytes[16];

	if (sv_istarts(rest, SV("HELO ")) || sv_istarts(rest, SV("EHLO ")))
		return;
	if (sv_istarts(rest, SV("helo=")) || sv_istarts(rest, SV("port="))) {
		rest = p->from;
	} else if (!sv_starts(rest, SV("["))) {
		name = behind_at(sv_token(&rest, ' '));
		rest = sv_trim(rest);
	}
	if (!rest.len && ip_bytes(name, bytes)) {
		set_client(p, name, SV(""));
		return;
	}
	struct strview ip = take_literal(&rest);
	if (!ip.len)
		return;
	if (rest.len || sv_ieq(name, SV("unknown")))
		name = !name.len && sv_icontains(rest, SV(" helo=")) ? p->from : SV("");
	set_client(p, ip, name);
}

static bool is_invoked(struct strview comment)
{
	return sv_starts(comment, SV("qmail ")) && sv_icontains(comment, SV(" invoked "));
}

/* An EHLO name that opens a comment, closed by a word of the client's certificate, would hide what
 * the server found out about its client one level down. */
static bool hides_client(struct strview comment)
{
	int depth = 0;

	for (size_t i = 0; i < comment.len; i++) {
		if (comment.ptr[i] == '[' && depth > 0)
			return true;
		if (comment.ptr[i] == '\\')
			i++;
		else
			depth += (comment.ptr[i] == '(') - (comment.ptr[i] == ')');
	}
	return false;
}

static bool take_comment(struct parser *p, struct strview comment)
{
	struct received *r = p->out;

	p->expect = CLAUSE_NONE;
	if (hides_client(comment))
		return false;
	if (r->has_from && !p->by_seen)
		read_client(p, comment);
	else if (!r->has_from && !p->by_seen && !p->date)
		r->invoked |= is_invoked(comment);
	return true;
}

/* False: a clause for the second time, or without its word. */
static bool take_value(struct parser *p, enum clause clause, const struct token *t)
{
	bool word = t->kind == TOK_WORD;

	switch (clause) {
	case CLAUSE_FROM:
		p->from = t->text;
		return true;
	case CLAUSE_BY:
		p->out->by = t->text;
		return word;
	case CLAUSE_WITH:
		p->local = sv_istarts(t->text, SV("LMTP")) || sv_ieq(t->text, SV("local"));
		return word;
	case CLAUSE_FOR:
		p->out->for_addr = t->text;
		return word || t->kind == TOK_ANGLE;
	case CLAUSE_OTHER:
	case CLAUSE_NONE:
		break;
	}
	return word;
}

static bool take_word(struct parser *p, const struct token *t)
{
	enum clause clause = p->expect;

	p->expect = CLAUSE_NONE;
	bool quote = t->kind == TOK_QUOTED || memchr(t->text.ptr, '"', t->text.len);
	if (quote && !p->by_seen)
		return false; /* it may hide the client as well */
	if (clause != CLAUSE_NONE)
		return take_value(p, clause, t);
	if (t->kind != TOK_WORD)
		return !p->by_seen; /* before `by` it is the EHLO name's */
	clause = clause_of(t->text);
	if (clause == CLAUSE_BY) {
		if (p->by_seen)
			return false;
		p->by_seen = true;
	} else if (clause == CLAUSE_FROM) {
		if (p->out->has_from)
			return true; /* inside an EHLO name */
		p->out->has_from = true;
	} else if (!p->by_seen) {
		return true; /* `for`, `with` before `by`: inside an EHLO name */
	} else if (clause == CLAUSE_FOR) {
		if (p->for_seen)
			return false;
		p->for_seen = true;
	}
	p->expect = clause;
	return true;
}

/* False: the line cannot be read. */
static bool take(struct parser *p, const struct token *t)
{
	switch (t->kind) {
	case TOK_BROKEN:
		return false;
	case TOK_COMMENT:
		return take_comment(p, t->text);
	case TOK_SEMICOLON:
		if (p->date)
			return false;
		p->date = true;
		return true;
	case TOK_WORD:
	case TOK_ANGLE:
	case TOK_QUOTED:
		return p->date || take_word(p, t);
	case TOK_END:
		break;
	}
	return true;
}

void received_parse(struct strview value, struct received *out)
{
	struct parser p = { .out = out, .from = SV("") };
	struct token t;

	*out = (struct received){ 0 };
	do {
		t = next_token(&value);
		if (!take(&p, &t)) {
			*out = (struct received){ .malformed = true };
			return;
		}
	} while (t.kind != TOK_END);
	if (p.by_seen || out->has_from)
		out->invoked = false;
	if (p.two_clients)
		out->ip = out->client = SV("");
	/* LMTP by pipe or socket, Exim's "with local": what stands behind `from` is no client. */
	if (p.local && !out->ip.len && !p.two_clients)
		out->has_from = false;
	if (!out->invoked && !out->has_from && !out->by.len)
		*out = (struct received){ .malformed = true };
}

bool ip_is_private(struct strview ip)
{
	static const struct {
		unsigned char prefix[16];
		unsigned bits;
	} nets[] = {
#define V4(a, b) { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b }
		{ V4(127, 0), 96 + 8 },
		{ V4(10, 0), 96 + 8 },
		{ V4(172, 16), 96 + 12 },
		{ V4(192, 168), 96 + 16 },
		{ V4(100, 64), 96 + 10 },  /* RFC 6598, carrier-grade NAT */
		{ V4(169, 254), 96 + 16 }, /* link-local */
#undef V4
		{ { [15] = 1 }, 128 },
		{ { 0xfc }, 7 },
		{ { 0xfe, 0x80 }, 10 },
	};
	unsigned char bytes[16];

	if (!ip_bytes(ip, bytes))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(nets); i++) {
		size_t whole = nets[i].bits / 8;
		unsigned mask = 0xff00u >> nets[i].bits % 8;
		if (!memcmp(bytes, nets[i].prefix, whole) &&
			(whole == 16 || !((bytes[whole] ^ nets[i].prefix[whole]) & mask & 0xff)))
			return true;
	}
	return false;
}

bool host_matches(struct strview host, struct strview pattern)
{
	if (host.len && host.ptr[host.len - 1] == '.')
		host.len--;
	if (sv_starts(pattern, SV("*."))) {
		struct strview suffix = sv_skip(pattern, 1);
		return host.len > suffix.len && sv_iends(host, suffix);
	}
	return host.len && sv_ieq(host, pattern);
}

void received_read(const struct header_field *f, struct strbuf *value, struct received *out)
{
	strbuf_clear(value);
	if (!f->too_long)
		header_unfold(f, value);
	received_parse(strbuf_view(value), out);
}

/* What a Received line is in the chain that begins at the top. */
enum link {
	LINK_SILENT,   /* qmail's "(qmail 1 invoked ...)": names nobody */
	LINK_INSIDE,   /* handed over inside the provider */
	LINK_ENTRANCE, /* the provider took it from outside */
	LINK_STRANGER  /* not the provider's, or says nothing that can be believed */
};

struct trust {
	char *const *hosts;
	size_t n;
};

static bool is_trusted(const struct trust *t, struct strview host)
{
	for (size_t i = 0; i < t->n; i++)
		if (host_matches(host, sv_str(t->hosts[i])))
			return true;
	return false;
}

static enum link link_of(const struct trust *t, const struct received *r)
{
	if (r->invoked)
		return LINK_SILENT;
	if (!is_trusted(t, r->by))
		return LINK_STRANGER;
	if (!r->has_from || ip_is_private(r->ip) || is_trusted(t, r->client) ||
		is_trusted(t, r->ip))
		return LINK_INSIDE;
	return LINK_ENTRANCE;
}

static size_t bounded(size_t index, struct strview who, const char *text, char **reason)
{
	struct strbuf b = STRBUF_INIT;

	escape_foreign(&b, who);
	strbuf_adds(&b, text);
	*reason = strbuf_take(&b);
	return index;
}

static size_t entrance(size_t index, const struct received *r, char **reason)
{
	struct strview who = r->client.len ? r->client : r->ip;

	return bounded(index, who,
		who.len ? ", the client, is not in trusted_by" : "the client is not known", reason);
}

size_t received_boundary(
	const struct header *h, char *const *trusted_by, size_t ntrusted_by, char **reason)
{
	AUTO(strbuf_free) struct strbuf value = STRBUF_INIT;
	const struct trust trust = { trusted_by, ntrusted_by };
	size_t last = h->n;
	struct received r = { 0 };
	const struct header_field *f;

	for (size_t i = 0; (f = header_find(h, SV("Received"), &i)); i++) {
		if (!ntrusted_by)
			return bounded(i, SV(""), "first Received line", reason);
		received_read(f, &value, &r);
		enum link link = link_of(&trust, &r);
		if (link == LINK_ENTRANCE)
			return entrance(i, &r, reason);
		if (link == LINK_STRANGER)
			break;
		if (link == LINK_INSIDE)
			last = i;
	}
	if (last < h->n)
		return bounded(last, SV(""), "last Received line of a host in trusted_by", reason);
	if (r.by.len)
		return bounded(h->n, r.by,
			", the host of the topmost Received line, is not in trusted_by", reason);
	return bounded(h->n, SV(""),
		ntrusted_by ? "no Received line of a host in trusted_by" : "no Received line",
		reason);
}

/* The usual form of an address; NULL: it is none. */
static char *address_text(struct strview ip)
{
	char text[INET6_ADDRSTRLEN];
	AUTO(mem_freep) char *given = mem_strndup(ip.ptr, ip.len);
	struct in6_addr a;

	if (inet_pton(AF_INET, given, &a) == 1)
		return mem_strdup(given);
	if (inet_pton(AF_INET6, given, &a) != 1)
		return NULL;
	if (IN6_IS_ADDR_V4MAPPED(&a))
		return mem_strdup(inet_ntop(AF_INET, &a.s6_addr[12], text, sizeof text));
	return mem_strdup(inet_ntop(AF_INET6, &a, text, sizeof text));
}

static bool is_host_name(struct strview name)
{
	for (size_t i = 0; i < name.len; i++) {
		int c = ascii_lower((unsigned char)name.ptr[i]);
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '.')
			return false;
	}
	return name.len && name.len <= CLIENT_NAME_OCTETS;
}

void received_client(const struct header *h, size_t boundary, char *const *trusted_by,
	size_t ntrusted_by, char **name, char **ip)
{
	AUTO(strbuf_free) struct strbuf value = STRBUF_INIT;
	const struct trust trust = { trusted_by, ntrusted_by };
	struct received r;

	*name = *ip = NULL;
	if (boundary >= h->n || !header_is(&h->fields[boundary], "Received"))
		return;
	received_read(&h->fields[boundary], &value, &r);
	if (!r.ip.len || ip_is_private(r.ip) || is_trusted(&trust, r.client) ||
		is_trusted(&trust, r.ip))
		return;
	*ip = address_text(r.ip);
	if (*ip && is_host_name(r.client))
		*name = mem_strndup(r.client.ptr, r.client.len);
}
