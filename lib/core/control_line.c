/* The requests of the control socket; see control_line.h. Which verb takes what is a table. */
#include "core/control_line.h"

#include "base/encode.h"

enum who { NOBODY, MAY_NAME, MUST_NAME, NAME_OR_ALL };

static const struct {
	const char *name;
	enum who who;
	bool wait;
} verbs[CONTROL_VERB_COUNT] = {
	[CONTROL_STATUS_OF] = { "status", MAY_NAME, false },
	[CONTROL_FETCH] = { "fetch", NAME_OR_ALL, true },
	[CONTROL_PAUSE] = { "pause", MUST_NAME, false },
	[CONTROL_RESUME] = { "resume", MUST_NAME, false },
	[CONTROL_RELOAD] = { "reload", NOBODY, false },
	[CONTROL_METRICS] = { "metrics", NOBODY, false },
};

static bool is_printable(struct strview v)
{
	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.ptr[i] <= ' ' || (unsigned char)v.ptr[i] >= 0x7f)
			return false;
	return v.len;
}

static bool find_verb(struct strview name, enum control_verb *out)
{
	for (size_t i = 0; i < CONTROL_VERB_COUNT; i++)
		if (sv_eq(name, sv_str(verbs[i].name))) {
			*out = (enum control_verb)i;
			return true;
		}
	return false;
}

static int refuse(struct err *err, const char *what, struct strview word)
{
	AUTO(strbuf_free) struct strbuf shown = STRBUF_INIT;

	escape_foreign(&shown, word);
	return err_set(err, ERR_PROTO, 0, "%s \"%s\"", what, strbuf_str(&shown));
}

static int take_account(struct strview *rest, struct control_request *r, struct err *err)
{
	enum who who = verbs[r->verb].who;

	if (!rest->len && (who == MUST_NAME || who == NAME_OR_ALL))
		return err_set(err, ERR_PROTO, 0, "%s needs an account", verbs[r->verb].name);
	if (!rest->len || who == NOBODY)
		return 0;
	struct strview word = sv_token(rest, ' ');
	if (!is_printable(word))
		return refuse(err, "no name of an account:", word);
	r->all = sv_eq(word, SV("*"));
	if (r->all && who != NAME_OR_ALL)
		return err_set(err, ERR_PROTO, 0, "%s takes one account", verbs[r->verb].name);
	if (!r->all)
		r->account = word;
	return 0;
}

int control_parse(struct strview line, struct control_request *out, struct err *err)
{
	struct strview rest = line, version = sv_token(&rest, ' ');

	*out = (struct control_request){ 0 };
	if (!sv_eq(version, SV(CONTROL_PROTOCOL)))
		return err_set(err, ERR_PROTO, 0,
			"the daemon speaks " CONTROL_PROTOCOL
			" and was asked in another way; use the "
			"multidropctl of its version");
	struct strview verb = sv_token(&rest, ' ');
	if (!find_verb(verb, &out->verb))
		return refuse(err, "the daemon knows no command", verb);
	if (take_account(&rest, out, err))
		return -1;
	if (verbs[out->verb].wait && sv_eq(rest, SV("wait"))) {
		out->wait = true;
		rest.len = 0;
	}
	return rest.len ? refuse(err, "one word too many:", rest) : 0;
}

int control_format(struct strbuf *out, const struct control_request *r)
{
	if (r->account.len && !is_printable(r->account)) /* a LF in it would be a second line */
		return -1;
	strbuf_addf(out, CONTROL_PROTOCOL " %s", verbs[r->verb].name);
	if (r->all || r->account.len) {
		strbuf_addc(out, ' ');
		strbuf_addv(out, r->all ? SV("*") : r->account);
	}
	strbuf_adds(out, r->wait ? " wait\n" : "\n");
	return 0;
}
