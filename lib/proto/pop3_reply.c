/*
 * POP3 replies; see pop3_reply.h.
 *
 * Owns nothing: all views point into the caller's line. What servers mean by their texts stands in
 * one table, what they can do in another.
 */
#include "proto/pop3_reply.h"

#include "proto/sasl.h"

/* The next word of *rest; empty at its end. RFC 1939 says one space, some servers say more. */
static struct strview word(struct strview *rest)
{
	*rest = sv_trim(*rest);
	return sv_token(rest, ' ');
}

int pop3_reply_parse(struct strview line, struct pop3_reply *reply)
{
	struct strview status = sv_token(&line, ' ');

	*reply = (struct pop3_reply){ .ok = sv_eq(status, SV("+OK")) };
	if (!reply->ok && !sv_eq(status, SV("-ERR")))
		return 1;
	/* RFC 2449 section 8: "[" code "]" stands first or not at all. */
	const char *end = line.len && line.ptr[0] == '[' ? memchr(line.ptr, ']', line.len) : NULL;
	if (end) {
		reply->code = sv(line.ptr + 1, (size_t)(end - line.ptr) - 1);
		line = sv_skip(line, reply->code.len + 2);
	}
	reply->text = sv_trim(line);
	return 0;
}

/* Known answers, in the order in which they are tried; the words are compared without case. */
static const struct meaning {
	enum err_class class;
	const char *code;
	const char *words[6];
} meanings[] = {
	{ ERR_THROTTLE, "LOGIN-DELAY",
		{ "login allowed only every", "exceeded the login limit", "exceeded pop command",
			"too many", "too frequent" } },
	{ ERR_BUSY, "IN-USE", { "lock", "busy", "another pop", "duplicate login" } },
	{ ERR_TEMP, "SYS/TEMP", { "temporar", "unavailable", "try again" } },
	{ ERR_PERM, "SYS/PERM", { NULL } },
};

/* RFC 2449 section 8: codes are hierarchical, SYS/TEMP/x is a SYS/TEMP. */
static bool code_is(struct strview code, struct strview known)
{
	return sv_istarts(code, known) && (code.len == known.len || code.ptr[known.len] == '/');
}

static bool is_letter(char c)
{
	int lower = ascii_lower(c);

	return lower >= 'a' && lower <= 'z';
}

/* At the start of a word: a "blocked" account is not a "locked" maildrop. */
static bool says(struct strview text, struct strview words)
{
	for (bool inside = false; text.len >= words.len; text = sv_skip(text, 1)) {
		if (!inside && sv_istarts(text, words))
			return true;
		inside = is_letter(text.ptr[0]);
	}
	return false;
}

static bool means(const struct pop3_reply *reply, const struct meaning *m)
{
	if (code_is(reply->code, sv_str(m->code)))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(m->words) && m->words[i]; i++)
		if (says(reply->text, sv_str(m->words[i])))
			return true;
	return false;
}

static enum err_class classify(const struct pop3_reply *reply, enum err_class otherwise)
{
	for (size_t i = 0; i < ARRAY_LEN(meanings); i++)
		if (means(reply, &meanings[i]))
			return meanings[i].class;
	return otherwise;
}

enum err_class pop3_login_class(const struct pop3_reply *reply)
{
	return classify(reply, ERR_AUTH);
}

enum err_class pop3_error_class(const struct pop3_reply *reply)
{
	return classify(reply, ERR_TEMP);
}

/* "300 seconds", "15 minutes", "1 hour", "10min": the first number with such a unit; 0: none. */
static int seconds_named(struct strview text)
{
	static const struct {
		const char *unit;
		int seconds;
	} units[] = { { "sec", 1 }, { "min", 60 }, { "hour", 3600 } };

	while (text.len) {
		size_t digits = 0;
		uint64_t n;
		while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9')
			digits++;
		struct strview rest = sv_trim(sv_skip(text, digits));
		bool good = digits && sv_number(sv(text.ptr, digits), 24 * 60 * 60, &n);
		for (size_t i = 0; i < ARRAY_LEN(units) && good; i++)
			if (sv_istarts(rest, sv_str(units[i].unit)))
				return (int)n * units[i].seconds;
		text = sv_skip(text, digits ? digits : 1);
	}
	return 0;
}

int pop3_refusal_code(const struct pop3_reply *reply, enum err_class class)
{
	if (class == ERR_THROTTLE)
		return seconds_named(reply->text);
	return class == ERR_AUTH && code_is(reply->code, SV("AUTH"));
}

/* ---- capabilities (RFC 2449 section 6, RFC 2595, RFC 5034, RFC 6856) ---- */

static void cap_sasl(struct pop3_caps *caps, struct strview args)
{
	while (args.len)
		sasl_offered(&caps->sasl, word(&args));
}

/* A last word USER: the value may be another one once the server knows who asks. */
static void cap_user_token(struct pop3_caps *caps, struct strview args)
{
	caps->login_delay_user |= sv_ieq(word(&args), SV("USER"));
}

static void cap_expire(struct pop3_caps *caps, struct strview args)
{
	caps->expire_0 = sv_eq(word(&args), SV("0"));
	cap_user_token(caps, args);
}

static void cap_login_delay(struct pop3_caps *caps, struct strview args)
{
	uint64_t seconds;

	if (sv_number(word(&args), UINT32_MAX, &seconds))
		caps->login_delay_s = (uint32_t)seconds;
	cap_user_token(caps, args);
}

static const struct {
	const char *name;
	size_t flag; /* offset of the bool that it sets, if it has no reader */
	void (*read)(struct pop3_caps *caps, struct strview args);
} capabilities[] = {
	{ "STLS", offsetof(struct pop3_caps, stls), NULL },
	{ "USER", offsetof(struct pop3_caps, user), NULL },
	{ "UIDL", offsetof(struct pop3_caps, uidl), NULL },
	{ "TOP", offsetof(struct pop3_caps, top), NULL },
	{ "PIPELINING", offsetof(struct pop3_caps, pipelining), NULL },
	{ "RESP-CODES", offsetof(struct pop3_caps, resp_codes), NULL },
	{ "UTF8", offsetof(struct pop3_caps, utf8), NULL },
	{ "SASL", 0, cap_sasl },
	{ "EXPIRE", 0, cap_expire },
	{ "LOGIN-DELAY", 0, cap_login_delay },
};

void pop3_caps_line(struct pop3_caps *caps, struct strview line)
{
	struct strview name = word(&line);

	for (size_t i = 0; i < ARRAY_LEN(capabilities); i++) {
		if (!sv_ieq(name, sv_str(capabilities[i].name)))
			continue;
		if (capabilities[i].read)
			capabilities[i].read(caps, line);
		else
			*(bool *)((char *)caps + capabilities[i].flag) = true;
	}
}

/* ---- STAT, LIST, UIDL (RFC 1939 sections 5 and 7) ---- */

/* A message number: 1 to max. */
static bool message_number(struct strview v, uint32_t max, uint32_t *n)
{
	uint64_t number;

	if (!sv_number(v, max, &number) || !number)
		return false;
	*n = (uint32_t)number;
	return true;
}

int pop3_stat_parse(struct strview text, uint32_t *count, uint64_t *octets)
{
	uint64_t n;

	if (!sv_number(word(&text), UINT32_MAX, &n) || !sv_number(word(&text), INT64_MAX, octets))
		return 1;
	*count = (uint32_t)n;
	return 0;
}

int pop3_list_parse(struct strview line, uint32_t count, uint32_t *n, uint64_t *octets)
{
	if (!message_number(word(&line), count, n) || !sv_number(word(&line), INT64_MAX, octets))
		return 1;
	return 0;
}

static bool keepable_uid(struct strview uid)
{
	if (!uid.len || uid.len > POP3_UID_MAX_OCTETS)
		return false;
	for (size_t i = 0; i < uid.len; i++)
		if (uid.ptr[i] < 0x21 || uid.ptr[i] > 0x7e)
			return false;
	return true;
}

int pop3_uidl_parse(struct strview line, uint32_t count, uint32_t *n, struct strview *uid)
{
	*uid = (struct strview){ 0 };
	if (!message_number(word(&line), count, n))
		return 1;
	line = sv_trim(line);
	if (!keepable_uid(line))
		return 2;
	*uid = line;
	return 0;
}
