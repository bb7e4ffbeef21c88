/*
 * SASL mechanisms; see sasl.h.
 *
 * Owns nothing. Invariant: no copy of a secret outlives the call, but the one in `out`; so `out` is
 * grown before the secret gets in, because growing may leave the old memory behind.
 */
#include "proto/sasl.h"
#include "base/encode.h"

void sasl_plain(struct strbuf *out, struct strview user, struct strview password)
{
	struct strbuf raw = STRBUF_INIT; /* RFC 4616: [authzid] NUL authcid NUL passwd */
	size_t len = user.len + password.len + 2;

	mem_grow(&raw.ptr, &raw.cap, len + 1, 1);
	strbuf_addc(&raw, '\0');
	strbuf_addv(&raw, user);
	strbuf_addc(&raw, '\0');
	strbuf_addv(&raw, password);
	mem_grow(&out->ptr, &out->cap, out->len + (len + 2) / 3 * 4 + 1, 1);
	base64_encode(out, strbuf_view(&raw));
	strbuf_wipe(&raw);
}

static void add_masked(struct strbuf *out, struct strview text, struct strview secret)
{
	const char *at;

	while (secret.len && (at = memmem(text.ptr, text.len, secret.ptr, secret.len))) {
		size_t before = (size_t)(at - text.ptr);
		strbuf_add(out, text.ptr, before);
		strbuf_adds(out, "***");
		text = sv_skip(text, before + secret.len);
	}
	strbuf_addv(out, text);
}

void sasl_mask(
	struct strbuf *out, struct strview text, struct strview user, struct strview password)
{
	struct strbuf plain AUTO(strbuf_wipe) = STRBUF_INIT;
	struct strbuf blob AUTO(strbuf_wipe) = STRBUF_INIT;

	if (password.len)
		sasl_plain(&blob, user, password);
	add_masked(&plain, text, strbuf_view(&blob));
	add_masked(out, strbuf_view(&plain), password);
}
