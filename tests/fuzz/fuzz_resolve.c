/*
 * Header and resolver: whatever a sender sends, he does not choose the recipient.
 *
 * The first octet chooses the scene, the rest is the sender's: a whole message, what stands below
 * the provider's lines, or an EHLO name and a certificate's name inside the provider's line. What
 * the provider wrote names sales@firma.example; the sender may make the message unresolved, but may
 * not send it elsewhere.
 */
#include "mail/resolve.h"

#include <stdlib.h>

#define LAST                                                                                       \
	" by mx.p.example (Postfix) with ESMTP id 1 for <sales@firma.example>; Mon, 1 Jan "        \
	"2024\r\n"

static char top_name[] = "X-Envelope-To", bottom_name[] = "Envelope-To", domain[] = "firma.example",
	    subdomains[] = ".sub.example", host[] = "*.p.example", prefix[] = "1-";
static char *const domains[] = { domain, subdomains }, *const hosts[] = { host },
		   *const prefixes[] = { prefix };
static const struct envelope_rule all_rules[] = { { top_name, POSITION_TOP, PICK_LAST },
	{ bottom_name, POSITION_BOTTOM, PICK_ALL } };

enum scene { SCENE_MESSAGE, SCENE_BELOW, SCENE_EHLO, SCENE_COUNT };

static void build(enum scene scene, struct strview input, struct strbuf *msg)
{
	struct strview cn;

	switch (scene) {
	case SCENE_MESSAGE:
		strbuf_addv(msg, input);
		break;
	case SCENE_BELOW:
		strbuf_adds(msg,
			"X-Envelope-To: <sales@firma.example>\r\n"
			"Received: from e.example (e.example [192.0.2.66])" LAST);
		strbuf_addv(msg, input);
		break;
	case SCENE_EHLO:
		strbuf_adds(msg, "Received: from ");
		strbuf_addv(msg, sv_token(&input, '\n'));
		strbuf_adds(msg, " (e.example [192.0.2.66])");
		cn = sv_token(&input, '\n'); /* what the client's certificate says */
		if (cn.len) {
			strbuf_adds(msg, " (Client CN \"");
			strbuf_addv(msg, cn);
			strbuf_adds(msg, "\", Issuer \"x\" (not verified))");
		}
		strbuf_adds(msg,
			LAST "X-Envelope-To: <ceo@firma.example>\r\n"
			     "Received: from x (x [192.0.2.66]) by mx.p.example"
			     " for <ceo@firma.example>; Mon\r\n\r\n");
		break;
	case SCENE_COUNT:
		break;
	}
}

static void check_block(const struct header *h, struct strview msg)
{
	const char *at = h->block.ptr;

	for (size_t i = 0; i < h->n; at += h->fields[i++].raw.len)
		ensure(h->fields[i].raw.ptr == at);
	ensure(!h->n || at == h->block.ptr + h->block.len);
	ensure(h->mbox_from + h->block.len <= h->body_offset && h->body_offset <= msg.len);
	ensure(!h->block.len || !memcmp(h->block.ptr, msg.ptr + h->mbox_from, h->block.len));
}

static void check_recipients(const struct resolution *r, enum scene scene)
{
	ensure((r->action == ACTION_DELIVER) == !r->unresolved);
	ensure((r->nrecipients == 0) == (r->action == ACTION_HOLD));
	ensure(r->sender && r->nrecipients <= RESOLVE_RECIPIENTS_MAX);
	for (size_t i = 0; i < r->nrecipients; i++) {
		struct strview a = sv_str(r->recipients[i].address);
		ensure(sv_iends(a, SV("@firma.example")) || sv_iends(a, SV("@firma.example.")) ||
			sv_iends(a, SV("sub.example")));
		ensure(scene == SCENE_MESSAGE || r->unresolved ||
			sv_eq(a, SV("sales@firma.example")));
	}
	for (size_t i = 0; i < r->ncandidates; i++)
		ensure(r->candidates[i].value && r->candidates[i].detail && r->candidates[i].line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(strbuf_free) struct strbuf msg = STRBUF_INIT;
	AUTO(resolution_free) struct resolution r = { 0 };
	struct header h;

	if (!size)
		return 0;
	enum scene scene = (enum scene)(data[0] % SCENE_COUNT);
	bool honest = scene != SCENE_MESSAGE;
	struct resolve_rules rules = { .own_mailbox = "box@firma.example",
		.rules = all_rules,
		.nrules = honest ? 1 : ARRAY_LEN(all_rules),
		.strip_prefix = prefixes,
		.nstrip_prefix = ARRAY_LEN(prefixes),
		.trusted_by = hosts,
		.ntrusted_by = honest || data[0] & 4 ? ARRAY_LEN(hosts) : 0,
		.domains = domains,
		.ndomains = ARRAY_LEN(domains),
		.unresolved = (enum unresolved_policy)(data[0] >> 3 & 3),
		.postmaster = "postmaster@firma.example" };
	if (honest && rules.unresolved == UNRESOLVED_TO_CC)
		rules.unresolved = UNRESOLVED_RECEIVED_FOR; /* To is the sender's to write */
	struct strview input = sv((const char *)data + 1, size - 1);
	build(scene, input, &msg);
	header_init(&h, data[0] & 128);
	for (size_t at = 0; at < msg.len && h.state == HEADER_MORE;)
		at += header_push(&h, msg.ptr + at, msg.len - at < 61 ? msg.len - at : 61);
	header_end(&h);
	check_block(&h, strbuf_view(&msg));
	resolve(&rules, &h, &r);
	check_recipients(&r, scene);
	header_free(&h);
	return 0;
}
