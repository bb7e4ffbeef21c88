/*
 * Addresses; see address.h. Owns nothing: the texts belong to the struct address they are in.
 *
 * One pass over the value, a token at a time, into one element (what stands between two commas).
 * An element gives at most one address, and gives none when there is any doubt which one is meant:
 * two of them side by side are malformed, not a choice.
 */
#include "mail/address.h"
#include "base/encode.h"
#include "mail/scan.h"

#include <idn2.h>
#include <stdlib.h>

#define LABEL_OCTETS 63 /* RFC 1035 section 2.3.4 */

enum token_kind { TOK_END, TOK_ATOM, TOK_QUOTED, TOK_CHAR, TOK_BROKEN };

struct token {
	enum token_kind kind;
	char c;      /* TOK_CHAR */
	bool spaced; /* white space, or the start, stands before it */
	struct strview text;
};

struct lexer {
	struct strview rest;
	bool started;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* Bytes of an atom (RFC 5322 section 3.2.3) with the dots of a dot-atom; RFC 6531: and UTF-8. */
static bool is_atom(unsigned char c)
{
	static const bool special[256] = {
		['('] = true,
		[')'] = true,
		['<'] = true,
		['>'] = true,
		['['] = true,
		[']'] = true,
		[':'] = true,
		[';'] = true,
		['@'] = true,
		['\\'] = true,
		[','] = true,
		['"'] = true,
		[0x7f] = true,
	};

	return c > ' ' && !special[c];
}

/* Passes white space and comments; false: a comment never ends. */
static bool skip_space(struct lexer *lx, bool *spaced)
{
	while (lx->rest.len) {
		if (is_space(lx->rest.ptr[0])) {
			*spaced = true;
			lx->rest = sv_skip(lx->rest, 1);
		} else if (lx->rest.ptr[0] == '(') {
			size_t end = scan_comment(lx->rest, 0);
			if (!end)
				return false;
			lx->rest = sv_skip(lx->rest, end);
		} else {
			break;
		}
	}
	return true;
}

static struct token next_token(struct lexer *lx)
{
	struct token t = { .kind = TOK_END, .spaced = !lx->started };
	size_t end = 0;

	lx->started = true;
	if (!skip_space(lx, &t.spaced)) {
		t.kind = TOK_BROKEN;
		return t;
	}
	if (!lx->rest.len)
		return t;
	t.c = lx->rest.ptr[0];
	if (t.c == '"') {
		end = scan_quoted(lx->rest, 0);
		t.kind = end ? TOK_QUOTED : TOK_BROKEN;
	} else {
		while (end < lx->rest.len && is_atom((unsigned char)lx->rest.ptr[end]))
			end++;
		t.kind = end ? TOK_ATOM : TOK_CHAR;
		end = end ? end : 1;
	}
	t.text = sv(lx->rest.ptr, end);
	lx->rest = sv_skip(lx->rest, end);
	return t;
}

static bool is_ascii(struct strview v)
{
	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.ptr[i] >= 0x80)
			return false;
	return true;
}

/* May it stand in a command? Control characters and invalid UTF-8 may not; what the log would have
 * to escape, a backslash aside, is no part of an address either. */
static bool is_text(struct strview local)
{
	AUTO(strbuf_free) struct strbuf escaped = STRBUF_INIT;
	size_t len = 0;

	for (size_t i = 0; i < local.len; i++) {
		if ((unsigned char)local.ptr[i] < ' ' || local.ptr[i] == 0x7f)
			return false;
		len += local.ptr[i] == '\\' ? 2 : 1;
	}
	if (is_ascii(local))
		return true;
	escape_foreign(&escaped, local);
	return escaped.len == len;
}

static bool is_dot_atom(struct strview v)
{
	char before = '.';

	for (size_t i = 0; i < v.len; before = v.ptr[i++])
		if (!is_atom((unsigned char)v.ptr[i]) || (v.ptr[i] == '.' && before == '.'))
			return false;
	return before != '.';
}

/* NULL: a local part that may go to the wire; else why not. */
static const char *refuse_local(struct strview local, bool quoted)
{
	struct strview bare = quoted ? sv(local.ptr + 1, local.len - 2) : local;

	if (!bare.len)
		return "no local part";
	if (local.len > ADDRESS_LOCAL_OCTETS)
		return "the local part is too long";
	if (bare.ptr[0] == '|' || bare.ptr[0] == '/')
		return "a pipe or a path";
	if (!is_text(bare))
		return "control characters or invalid UTF-8";
	if (!quoted && !is_dot_atom(local))
		return "a dot out of place";
	return NULL;
}

static bool is_domain_byte(char c)
{
	/* No host has an underscore in its name, but mail domains of Windows networks do. */
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool is_domain(struct strview v)
{
	if (!v.len || v.len > ADDRESS_DOMAIN_OCTETS || v.ptr[v.len - 1] == '.')
		return false;
	while (v.len) {
		struct strview label = sv_token(&v, '.');
		if (!label.len || label.len > LABEL_OCTETS || label.ptr[0] == '-' ||
			label.ptr[label.len - 1] == '-')
			return false;
		for (size_t i = 0; i < label.len; i++)
			if (!is_domain_byte(label.ptr[i]))
				return false;
	}
	return true;
}

static struct strview without_dot(struct strview domain)
{
	if (domain.len && domain.ptr[domain.len - 1] == '.')
		domain.len--;
	return domain;
}

char *domain_normal(struct strview domain)
{
	domain = without_dot(domain);
	if (!domain.len || domain.len > ADDRESS_DOMAIN_OCTETS || memchr(domain.ptr, 0, domain.len))
		return NULL;
	char *name = mem_strndup(domain.ptr, domain.len);
	for (size_t i = 0; i < domain.len; i++)
		name[i] = (char)ascii_lower((unsigned char)name[i]);
	if (!is_ascii(domain)) {
		/* Neither UTS 46 nor NFC: both would make a k of the KELVIN SIGN. */
		uint8_t *ascii = NULL;
		int rc = idn2_lookup_u8((const uint8_t *)name, &ascii, IDN2_NO_TR46);
		free(name);
		name = rc == IDN2_OK ? mem_strdup((const char *)ascii) : NULL;
		idn2_free(ascii);
	}
	if (name && is_domain(sv_str(name)))
		return name;
	free(name);
	return NULL;
}

/* NULL: *out is the address; else why it is none. */
static const char *build(
	struct strview local, bool quoted, struct strview domain, struct address *out)
{
	const char *bad = refuse_local(local, quoted);

	if (bad)
		return bad;
	char *normal = domain_normal(domain);
	if (!normal)
		return "not a domain name";
	/* A relay without SMTPUTF8 understands the A-label as well. */
	domain = is_ascii(domain) ? without_dot(domain) : sv_str(normal);
	out->at = local.len;
	out->domain = normal;
	out->text = mem_alloc(local.len + 1 + domain.len + 1);
	memcpy(out->text, local.ptr, local.len);
	out->text[local.len] = '@';
	memcpy(out->text + local.len + 1, domain.ptr, domain.len);
	out->text[local.len + 1 + domain.len] = '\0';
	return NULL;
}

struct element {
	struct strview local; /* the latest word: what an @ behind it would make a local part */
	struct strview domain;
	bool seen, quoted, at;
	bool open, closed; /* < and > were seen */
	bool route;        /* inside a source route, which falls away (RFC 5321 appendix C) */
	const char *bad;   /* why this is no address */
};

struct parser {
	struct lexer lx;
	struct element e;
	struct address_list *out;
	bool group; /* behind "name:" */
	bool stop;  /* the rest of the value is not for us */
};

static void fail(struct element *e, const char *why)
{
	e->bad = e->bad ? e->bad : why;
}

/* "x@yahoo.example via 192.0.2.42; Mon, ...": Yahoo's X-Apparently-To. */
static bool is_via(const struct parser *p, const struct token *t)
{
	struct strview next = sv_trim(p->lx.rest);

	return sv_ieq(t->text, SV("via")) && next.len &&
		(next.ptr[0] == '[' || (next.ptr[0] >= '0' && next.ptr[0] <= '9'));
}

static void take_word(struct parser *p, const struct token *t)
{
	struct element *e = &p->e;

	if (e->route)
		return;
	if (e->at && !e->domain.len) {
		e->domain = t->text;
		if (t->kind == TOK_QUOTED)
			fail(e, "not a domain name");
	} else if (e->at || e->closed) {
		p->stop = !e->bad && is_via(p, t);
		if (!p->stop)
			fail(e, "more words behind the address");
	} else if (e->local.len && (e->open || !t->spaced)) {
		fail(e, "the local part is not one word");
	} else {
		e->local = t->text;
		e->quoted = t->kind == TOK_QUOTED;
	}
}

static void take_at(struct element *e)
{
	if (e->route)
		return;
	if (e->open && !e->local.len && !e->at)
		e->route = true;
	else if (e->at || e->closed)
		fail(e, "more than one @");
	else if (!e->local.len)
		fail(e, "no local part");
	else
		e->at = true;
}

/* What the element lacks to be an address; NULL: nothing, and it is in *out. */
static const char *close_element(const struct element *e, struct address *out)
{
	if (e->bad)
		return e->bad;
	if (e->open)
		return "a < without its >";
	if (e->closed && !e->local.len)
		return "the null path";
	if (!e->at)
		return "no @";
	return e->domain.len ? build(e->local, e->quoted, e->domain, out) : "no domain";
}

static void end_element(struct parser *p)
{
	struct address_list *l = p->out;
	struct address a = { 0 };
	const char *bad = p->e.seen ? close_element(&p->e, &a) : NULL;

	if (bad) {
		if (!l->malformed++)
			strbuf_adds(&l->reason, bad);
	} else if (a.text && l->n == ADDRESS_MAX) {
		address_free(&a);
		l->too_many = p->stop = true;
	} else if (a.text) {
		mem_grow(&l->items, &l->cap, l->n + 1, sizeof *l->items);
		l->items[l->n++] = a;
	}
	p->e = (struct element){ 0 };
}

/* "rfc822;" of X-Orcpt and Original-Recipient (RFC 3798), "utf-8;" (RFC 6533). */
static bool is_address_type(const struct element *e)
{
	return !e->bad && !e->at && !e->open && !e->closed &&
		(sv_ieq(e->local, SV("rfc822")) || sv_ieq(e->local, SV("utf-8")));
}

static void take_colon(struct parser *p)
{
	struct element *e = &p->e;

	if (e->route) {
		e->route = false;
	} else if (p->group || e->at || e->open || e->closed) {
		fail(e, "a colon out of place");
	} else {
		p->group = true;
		*e = (struct element){ 0 };
	}
}

static void take_char(struct parser *p, char c)
{
	struct element *e = &p->e;

	switch (c) {
	case '@':
		take_at(e);
		break;
	case '<': /* what came before is a display name, whatever it looks like */
		if (e->open || e->closed)
			fail(e, "more than one <");
		else
			*e = (struct element){ .seen = true, .open = true };
		break;
	case '>':
		if (!e->open || e->route)
			fail(e, "a > without its <");
		e->open = false;
		e->closed = true;
		break;
	case ':':
		take_colon(p);
		break;
	case ',':
		if (!e->route)
			end_element(p);
		break;
	case ';':
		if (!p->group && is_address_type(e)) {
			*e = (struct element){ 0 };
			break;
		}
		end_element(p);
		p->group = false;
		break;
	case '[':
		fail(e, e->at && !e->domain.len ? "an address literal" : "a [ out of place");
		break;
	default:
		fail(e, "a character out of place");
		break;
	}
}

static void parse(struct parser *p)
{
	while (!p->stop) {
		struct token t = next_token(&p->lx);
		if (t.kind == TOK_END)
			break;
		p->e.seen |= t.c != ',' && t.c != ';'; /* nothing between two of them is no fault */
		switch (t.kind) {
		case TOK_ATOM:
		case TOK_QUOTED:
			take_word(p, &t);
			break;
		case TOK_CHAR:
			take_char(p, t.c);
			break;
		case TOK_BROKEN:
			p->e.bad = "a quote or a comment never ends";
			p->stop = true;
			break;
		case TOK_END:
			break;
		}
	}
	end_element(p);
}

void address_parse_list(struct strview value, struct address_list *out)
{
	struct parser p = { .lx = { .rest = value }, .out = out };

	*out = (struct address_list){ 0 };
	parse(&p);
}

void address_free(struct address *a)
{
	free(a->text);
	free(a->domain);
	*a = (struct address){ 0 };
}

void address_list_free(struct address_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		address_free(&l->items[i]);
	free(l->items);
	strbuf_free(&l->reason);
	*l = (struct address_list){ 0 };
}

int address_parse(struct strview text, struct address *out, struct err *err)
{
	struct lexer lx = { .rest = text };
	struct token local = next_token(&lx), at = next_token(&lx), domain = next_token(&lx);
	const char *bad = "not one plain address";

	*out = (struct address){ 0 };
	/* That the three tokens are all of it rules out white space and comments, too. */
	if ((local.kind == TOK_ATOM || local.kind == TOK_QUOTED) && at.c == '@' &&
		domain.kind == TOK_ATOM && local.text.len + 1 + domain.text.len == text.len)
		bad = build(local.text, local.kind == TOK_QUOTED, domain.text, out);
	if (bad)
		return err_set(err, ERR_CONFIG, 0, "%.*s: %s", SV_FMT(text), bad);
	return 0;
}

struct strview address_local(const struct address *a)
{
	struct strview local = sv(a->text, a->at);

	if (local.len > 2 && local.ptr[0] == '"' && is_dot_atom(sv(local.ptr + 1, local.len - 2)))
		return sv(local.ptr + 1, local.len - 2);
	return local;
}

bool address_same(const struct address *a, const struct address *b)
{
	return !strcmp(a->domain, b->domain) && sv_ieq(address_local(a), address_local(b));
}

int reverse_path_parse(struct strview value, char **out)
{
	AUTO(address_list_free) struct address_list list = { 0 };

	value = sv_trim(value);
	*out = NULL;
	for (size_t i = 0; i < value.len; i++)
		if ((unsigned char)value.ptr[i] <= ' ')
			return 1;
	if (sv_eq(value, SV("<>"))) {
		*out = mem_strdup("");
		return 0;
	}
	address_parse_list(value, &list);
	if (list.n != 1 || list.malformed)
		return 1;
	*out = list.items[0].text;
	list.items[0].text = NULL;
	return 0;
}
