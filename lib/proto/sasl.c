/*
 * SASL mechanisms; see sasl.h.
 *
 * Owns the exchange: libgsasl's session, and the line that was said last. Invariants: `round`
 * counts the messages that we have made; no copy of a secret of ours outlives the call, but the one
 * in `line`, which is wiped; so a buffer is grown before the secret gets in, because growing may
 * leave the old memory behind.
 */
#include "proto/sasl.h"

#include "base/encode.h"
#include "proto/framing.h"

#include <assert.h>
#include <gsasl.h>
#include <stdlib.h>

struct sasl {
	enum sasl_mech mech;
	struct strview user, secret;
	unsigned round;
	bool held;   /* `line` was too long for the command and waits for the first challenge */
	bool done;   /* nothing more to say; with SCRAM, the server has proved itself */
	bool failed; /* the server has told why it will refuse */
	struct strbuf line, failure;
	Gsasl *library;
	Gsasl_session *session;
};

struct row {
	const char *name;
	/* Appends message number s->round, which answers `in`, to `out`. -1: err. */
	int (*step)(struct sasl *s, struct strview in, struct strbuf *out, struct err *err);
	bool client_first, ours;
	bool readable; /* whoever sees the exchange has the password */
};

/* ---- ours ---- */

static int too_many(struct err *err)
{
	return err_set(err, ERR_PROTO, 0, "a challenge that the mechanism does not have");
}

static int step_plain(struct sasl *s, struct strview in, struct strbuf *out, struct err *err)
{
	if (s->round)
		return too_many(err);
	strbuf_addc(out, '\0'); /* RFC 4616: [authzid] NUL authcid NUL passwd */
	strbuf_addv(out, s->user);
	strbuf_addc(out, '\0');
	strbuf_addv(out, s->secret);
	s->done = true;
	return 0;
}

/* No RFC, and the texts of the two challenges differ: their order does not. */
static int step_login(struct sasl *s, struct strview in, struct strbuf *out, struct err *err)
{
	if (s->round > 1)
		return too_many(err);
	strbuf_addv(out, s->round ? s->secret : s->user);
	s->done = s->round == 1;
	return 0;
}

/* A refused token: the reason, and a message of ours without which the refusal does not come. */
static int refused_token(struct sasl *s, struct strview in, struct err *err)
{
	if (s->failed)
		return too_many(err);
	s->failed = true;
	strbuf_addv(&s->failure, in);
	return 0;
}

static int step_xoauth2(struct sasl *s, struct strview in, struct strbuf *out, struct err *err)
{
	if (s->round)
		return refused_token(s, in, err); /* answered with an empty line */
	strbuf_adds(out, "user=");
	strbuf_addv(out, s->user);
	strbuf_adds(out, "\1auth=Bearer ");
	strbuf_addv(out, s->secret);
	strbuf_adds(out, "\1\1");
	s->done = true;
	return 0;
}

static int step_oauthbearer(struct sasl *s, struct strview in, struct strbuf *out, struct err *err)
{
	if (s->round) { /* RFC 7628 section 3.2.3 */
		strbuf_addc(out, '\1');
		return refused_token(s, in, err);
	}
	strbuf_adds(out, "n,a=");
	for (size_t i = 0; i < s->user.len; i++) /* RFC 5801 section 4: saslname */
		if (s->user.ptr[i] == ',' || s->user.ptr[i] == '=')
			strbuf_adds(out, s->user.ptr[i] == ',' ? "=2C" : "=3D");
		else
			strbuf_addc(out, s->user.ptr[i]);
	strbuf_adds(out, ",\1auth=Bearer ");
	strbuf_addv(out, s->secret);
	strbuf_adds(out, "\1\1");
	s->done = true;
	return 0;
}

/* ---- libgsasl's ---- */

static int library_step(
	struct sasl *s, struct strview in, struct strbuf *out, const char *what, struct err *err)
{
	char *said = NULL;
	size_t len = 0;
	int rc = gsasl_step(s->session, in.ptr, in.len, &said, &len);

	if (rc == GSASL_OK || rc == GSASL_NEEDS_MORE) {
		mem_grow(&out->ptr, &out->cap, out->len + len + 1, 1);
		strbuf_add(out, said, len);
		mem_wipe(said, len);
		gsasl_free(said);
		s->done = rc == GSASL_OK;
		return 0;
	}
	return err_set(err, ERR_PROTO, 0, "%s: %s", what, gsasl_strerror(rc));
}

static int step_cram_md5(struct sasl *s, struct strview in, struct strbuf *out, struct err *err)
{
	if (s->round)
		return too_many(err);
	if (!in.len)
		return err_set(err, ERR_PROTO, 0, "an empty challenge");
	return library_step(s, in, out, "the challenge", err);
}

/* RFC 5802 section 5.1: r=NONCE,s=SALT,i=COUNT. Each round costs us two hashes. */
static int check_iterations(struct strview first, struct err *err)
{
	uint64_t n;

	while (first.len) {
		struct strview part = sv_token(&first, ',');
		if (!sv_starts(part, SV("i=")))
			continue;
		if (sv_number(sv_skip(part, 2), SASL_SCRAM_ITERATIONS_MAX, &n) && n)
			return 0;
		return err_set(err, ERR_LIMIT, 0,
			"an iteration count that is none, or above the limit of %u",
			SASL_SCRAM_ITERATIONS_MAX);
	}
	return 0; /* libgsasl will refuse it */
}

static int step_scram(struct sasl *s, struct strview in, struct strbuf *out, struct err *err)
{
	if (s->done || s->failed || s->round > 2)
		return too_many(err);
	if (s->round && sv_starts(in, SV("e="))) { /* section 7: why the -ERR to come will come */
		in = sv_skip(in, 2);
		return refused_token(s, in, err);
	}
	if (s->round == 1 && check_iterations(in, err) < 0)
		return -1;
	return library_step(s, in, out,
		s->round == 2 ? "the server does not prove that it knows the password"
			      : "the challenge",
		err);
}

/* ---- the table ---- */

static const struct row rows[] = {
	[SASL_SCRAM_SHA_256] = { "SCRAM-SHA-256", step_scram, true, false, false },
	[SASL_SCRAM_SHA_1] = { "SCRAM-SHA-1", step_scram, true, false, false },
	[SASL_CRAM_MD5] = { "CRAM-MD5", step_cram_md5, false, false, false },
	[SASL_PLAIN] = { "PLAIN", step_plain, true, true, true },
	[SASL_LOGIN] = { "LOGIN", step_login, false, true, true },
	[SASL_XOAUTH2] = { "XOAUTH2", step_xoauth2, true, true, true },
	[SASL_OAUTHBEARER] = { "OAUTHBEARER", step_oauthbearer, true, true, true },
};
static_assert(ARRAY_LEN(rows) == SASL_COUNT, "one row per mechanism");

const char *sasl_name(enum sasl_mech mech)
{
	return rows[mech].name;
}

void sasl_offered(unsigned *offers, struct strview name)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (sv_ieq(name, sv_str(rows[i].name)))
			*offers |= SASL_BIT(i);
}

/* RFC 4013. The exchange does the same, but too late to say what is wrong. */
static bool prepared(struct strview text)
{
	struct strbuf copy AUTO(strbuf_wipe) = STRBUF_INIT;
	char *out = NULL;

	mem_grow(&copy.ptr, &copy.cap, text.len + 1, 1);
	strbuf_addv(&copy, text);
	int rc = gsasl_saslprep(strbuf_str(&copy), 0, &out, NULL);
	mem_wipe(out, out ? strlen(out) : 0);
	gsasl_free(out);
	return rc == GSASL_OK;
}

enum sasl_mech sasl_strongest(
	unsigned offers, bool secured, struct strview user, struct strview secret)
{
	bool fit = prepared(user) && prepared(secret);

	for (unsigned i = SASL_SCRAM_SHA_256; i <= SASL_LOGIN; i++)
		if (offers & SASL_BIT(i) && (secured || !rows[i].readable) && (fit || rows[i].ours))
			return (enum sasl_mech)i;
	return SASL_COUNT;
}

/* ---- an exchange ---- */

static int open_library(struct sasl *s, struct err *err)
{
	if (!prepared(s->user) || !prepared(s->secret))
		return err_set(err, ERR_CONFIG, 0,
			"user or password has characters that %s does not allow (RFC 4013): choose "
			"another auth",
			sasl_name(s->mech));
	int rc = gsasl_init(&s->library);

	if (rc == GSASL_OK)
		rc = gsasl_client_start(s->library, sasl_name(s->mech), &s->session);
	if (rc == GSASL_OK)
		rc = gsasl_property_set_raw(s->session, GSASL_AUTHID, s->user.ptr, s->user.len);
	if (rc == GSASL_OK)
		rc = gsasl_property_set_raw(
			s->session, GSASL_PASSWORD, s->secret.ptr, s->secret.len);
	if (rc == GSASL_OK)
		return 0;
	return err_set(
		err, ERR_CONFIG, 0, "libgsasl, %s: %s", sasl_name(s->mech), gsasl_strerror(rc));
}

int sasl_new(enum sasl_mech mech, struct strview user, struct strview secret, struct sasl **out,
	struct err *err)
{
	struct sasl *s;

	/* NUL separates the two in PLAIN: checked here, base64 would hide it. */
	if (!command_safe(user) || !command_safe(secret))
		return err_set(err, ERR_CONFIG, 0, "CR, LF or NUL in user or password");
	s = mem_zalloc(sizeof *s);
	s->mech = mech;
	s->user = user;
	s->secret = secret;
	if (!rows[mech].ours && open_library(s, err) < 0) {
		sasl_free(s);
		return -1;
	}
	*out = s;
	return 0;
}

static void close_library(struct sasl *s)
{
	if (s->session) { /* libgsasl frees its copy as it is */
		char *password = (char *)gsasl_property_fast(s->session, GSASL_PASSWORD);
		mem_wipe(password, password ? strlen(password) : 0);
		gsasl_finish(s->session);
	}
	if (s->library)
		gsasl_done(s->library);
}

void sasl_free(struct sasl *s)
{
	if (!s)
		return;
	close_library(s);
	strbuf_wipe(&s->line);
	strbuf_wipe(&s->failure);
	free(s);
}

/* Room for all that a mechanism of ours says, with the user's every octet escaped. */
static size_t raw_size(const struct sasl *s)
{
	return 3 * s->user.len + s->secret.len + 32;
}

static int step(struct sasl *s, struct strview in, struct err *err)
{
	struct strbuf raw AUTO(strbuf_wipe) = STRBUF_INIT;

	mem_grow(&raw.ptr, &raw.cap, raw_size(s), 1);
	strbuf_wipe(&s->line);
	if (rows[s->mech].step(s, in, &raw, err) < 0)
		return -1;
	s->round++;
	mem_grow(&s->line.ptr, &s->line.cap, (raw.len + 2) / 3 * 4 + 1, 1);
	s->line.ptr[0] = '\0';
	base64_encode(&s->line, strbuf_view(&raw));
	return 0;
}

int sasl_begin(struct sasl *s, size_t room, struct strview *initial, struct err *err)
{
	*initial = (struct strview){ 0 };
	if (!rows[s->mech].client_first)
		return 0;
	if (step(s, SV(""), err) < 0)
		return -1;
	s->held = s->line.len > room;
	if (!s->held)
		*initial = strbuf_view(&s->line);
	return 0;
}

int sasl_answer(struct sasl *s, struct strview challenge, struct strview *line, struct err *err)
{
	struct strbuf in AUTO(strbuf_wipe) = STRBUF_INIT;
	bool held = s->held;

	s->held = false;
	if (!held && base64_decode(&in, sv_trim(challenge)))
		return err_set(err, ERR_PROTO, 0, "a challenge that is not base64");
	/* Where ours was held back the challenge only asks for it, in whatever words. */
	if (!held && step(s, sv(strbuf_str(&in), in.len), err) < 0)
		return -1;
	*line = strbuf_view(&s->line);
	return 0;
}

int sasl_accepted(const struct sasl *s, struct err *err)
{
	if (s->done && !s->held && !s->failed)
		return 0;
	return err_set(err, ERR_PROTO, 0, "the server says yes before the %s exchange is complete",
		sasl_name(s->mech));
}

struct strview sasl_failure(const struct sasl *s)
{
	return strbuf_view(&s->failure);
}

static void add_masked(struct strbuf *out, struct strview text, struct strview secret)
{
	const char *at;

	while (secret.len && text.len &&
		(at = memmem(text.ptr, text.len, secret.ptr, secret.len))) {
		size_t before = (size_t)(at - text.ptr);
		strbuf_add(out, text.ptr, before);
		strbuf_adds(out, "***");
		text = sv_skip(text, before + secret.len);
	}
	strbuf_addv(out, text);
}

void sasl_mask(struct strbuf *out, struct strview text, struct strview secret, const struct sasl *s)
{
	struct strbuf half AUTO(strbuf_wipe) = STRBUF_INIT;

	add_masked(&half, text, s ? strbuf_view(&s->line) : (struct strview){ 0 });
	add_masked(out, strbuf_view(&half), secret);
}
