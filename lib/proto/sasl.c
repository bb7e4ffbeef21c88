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
