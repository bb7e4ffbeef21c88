/* What is added to and removed from a header; see rewrite.h. Owns nothing. */
#include "mail/rewrite.h"

#include "base/encode.h"

/* Longest part of the id that stands in the Received line. */
#define SHORT_ID_OCTETS 16

static bool is_envelope(
	const struct header_field *f, const struct envelope_rule *rules, size_t nrules)
{
	for (size_t i = 0; i < nrules; i++)
		if (header_is(f, rules[i].header))
			return true;
	return false;
}

static bool is_removed(const struct header_field *f, const struct rewrite *r)
{
	if (r->own_alert && header_is(f, ALERT_MAIL_FIELD))
		return false;
	return header_is(f, "Return-Path") || header_is(f, "Delivered-To") ||
		sv_istarts(f->name, SV("X-Multidrop-")) || is_envelope(f, r->rules, r->nrules);
}

/* Any text, fit for a header line: printable ASCII, nothing that could end it. */
static void add_text(struct strbuf *out, const char *text)
{
	AUTO(strbuf_free) struct strbuf safe = STRBUF_INIT;

	escape_foreign(&safe, sv_str(text));
	for (size_t i = 0; i < safe.len; i++)
		if (safe.ptr[i] < ' ' || safe.ptr[i] > '~')
			safe.ptr[i] = '?';
	strbuf_addv(out, strbuf_view(&safe));
}

static void add_received(const struct rewrite *r, struct strbuf *out)
{
	strbuf_addf(out, "Received: from %s ([%s%s]) by %s (multidropd) with %s id %.*s",
		r->pop_host, strchr(r->pop_ip, ':') ? "IPv6:" : "", r->pop_ip, r->hostname,
		r->pop_tls ? "POP3S" : "POP3", SHORT_ID_OCTETS, r->id);
	if (r->rcpt)
		strbuf_addf(out, " for <%s>", r->rcpt);
	strbuf_addf(out, "; %s\r\n", r->date);
}

void rewrite_head(const struct header *h, const struct rewrite *r, struct strbuf *out)
{
	add_received(r, out);
	strbuf_addf(out, MULTIDROP_ID_FIELD ": %s\r\n", r->id);
	if (r->in_doubt)
		strbuf_adds(out, "X-Multidrop-In-Doubt: yes\r\n");
	if (r->reason) {
		strbuf_adds(out, "X-Multidrop-Reason: ");
		add_text(out, r->reason);
		strbuf_adds(out, "\r\n");
	}
	for (size_t i = 0; i < h->n; i++)
		if (!is_removed(&h->fields[i], r))
			strbuf_addv(out, h->fields[i].raw);
	if (out->ptr[out->len - 1] != '\n')
		strbuf_adds(out, "\r\n");
	strbuf_adds(out, "\r\n"); /* always: a body must not become header (CVE-2005-4348) */
}

static const char *const trace_fields[] = { "Received", "Return-Path", "Delivered-To",
	"X-Original-To", "Envelope-To", "X-Envelope-To", "X-Envelope-From", "Delivery-Date",
	"X-Delivery-Time", "X-UID", "X-UIDL", "Status", "X-Status", "Original-Recipient", "X-Orcpt",
	"X-Rcpt-To", "X-MDRcpt-To", "X-MDaemon-Deliver-To", "X-Resolved-To", "X-Delivered-To",
	"X-Apparently-To", "X-Gm-Original-To", "X-Recipient-To" };

bool rewrite_is_trace(const struct header *h, size_t i, size_t boundary,
	const struct envelope_rule *rules, size_t nrules)
{
	const struct header_field *f = &h->fields[i];

	if ((i < boundary && boundary < h->n) || is_envelope(f, rules, nrules))
		return true;
	for (size_t k = 0; k < ARRAY_LEN(trace_fields); k++)
		if (header_is(f, trace_fields[k]))
			return true;
	return false;
}
