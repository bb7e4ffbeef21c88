/* POP3 replies: what servers say, and what it must (not) be taken for. */
#include "proto/pop3_reply.h"
#include "proto/sasl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_status(void **state)
{
	static const struct {
		struct strview line;
		int want; /* 0 +OK, 1 -ERR, -1 not a reply */
		struct strview code, text;
	} rows[] = {
		{ SV("+OK"), 0, SV(""), SV("") },
		{ SV("+OK "), 0, SV(""), SV("") },
		{ SV("+OK ready <1@x>"), 0, SV(""), SV("ready <1@x>") },
		{ SV("-ERR [IN-USE] busy"), 1, SV("IN-USE"), SV("busy") },
		{ SV("-ERR [] x"), 1, SV(""), SV("x") },
		{ SV("-ERR [open"), 1, SV(""), SV("[open") },
		{ SV("-ERR see [AUTH]"), 1, SV(""), SV("see [AUTH]") },
		{ SV(""), -1, SV(""), SV("") },
		{ SV("+"), -1, SV(""), SV("") },
		{ SV("OK"), -1, SV(""), SV("") },
		{ SV("+ok"), -1, SV(""), SV("") },
		{ SV("+OKAY"), -1, SV(""), SV("") },
		{ SV(" +OK"), -1, SV(""), SV("") },
		{ SV("-ERROR"), -1, SV(""), SV("") },
		{ SV("+OK\0"), -1, SV(""), SV("") },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct pop3_reply r;
		int got = pop3_reply_parse(rows[i].line, &r) ? -1 : !r.ok;
		if (got != rows[i].want ||
			(got >= 0 && !(sv_eq(r.code, rows[i].code) && sv_eq(r.text, rows[i].text))))
			fail_msg("row %zu: \"%.*s\"", i, SV_FMT(rows[i].line));
	}
}

static void test_classes(void **state)
{
	static const struct {
		const char *line;
		enum err_class login, error;
	} rows[] = {
		{ "-ERR [LOGIN-DELAY] wait", ERR_THROTTLE, ERR_THROTTLE },
		{ "-ERR [login-delay] wait", ERR_THROTTLE, ERR_THROTTLE },
		{ "-ERR login allowed only every 15 minutes", ERR_THROTTLE, ERR_THROTTLE },
		{ "-ERR Exceeded the login limit for 15 minute period", ERR_THROTTLE,
			ERR_THROTTLE },
		{ "-ERR [AUTH] Too many connections", ERR_THROTTLE, ERR_THROTTLE },
		{ "-ERR [IN-USE] x", ERR_BUSY, ERR_BUSY },
		{ "-ERR maildrop already locked", ERR_BUSY, ERR_BUSY },
		{ "-ERR Unable to lock maildrop", ERR_BUSY, ERR_BUSY },
		{ "-ERR mailbox LOCKED by another POP session", ERR_BUSY, ERR_BUSY },
		{ "-ERR [SYS/TEMP] x", ERR_TEMP, ERR_TEMP },
		{ "-ERR [SYS/TEMP/disk] x", ERR_TEMP, ERR_TEMP },
		{ "-ERR [SYS/TEMPO] x", ERR_AUTH, ERR_TEMP },
		{ "-ERR Service temporarily unavailable", ERR_TEMP, ERR_TEMP },
		{ "-ERR [SYS/PERM] x", ERR_PERM, ERR_PERM },
		{ "-ERR [AUTH] wrong password", ERR_AUTH, ERR_TEMP },
		{ "-ERR account blocked", ERR_AUTH, ERR_TEMP },
		{ "-ERR login incorrect", ERR_AUTH, ERR_TEMP },
		{ "-ERR", ERR_AUTH, ERR_TEMP },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct pop3_reply r;
		assert_int_equal(pop3_reply_parse(sv_str(rows[i].line), &r), 0);
		if (pop3_login_class(&r) != rows[i].login || pop3_error_class(&r) != rows[i].error)
			fail_msg("%s", rows[i].line);
	}
}

static struct pop3_caps caps_of(const char *line)
{
	struct pop3_caps caps = { 0 };

	pop3_caps_line(&caps, sv_str(line));
	return caps;
}

static void test_capabilities(void **state)
{
	assert_true(caps_of("STLS").stls);
	assert_true(caps_of("stls").stls);
	assert_false(caps_of("STLSX").stls);
	assert_true(caps_of("UIDL").uidl);
	assert_true(caps_of("PIPELINING").pipelining);
	assert_true(caps_of("UTF8 USER").utf8);
	assert_true(caps_of("SASL CRAM-MD5 plain").sasl ==
		(SASL_BIT(SASL_CRAM_MD5) | SASL_BIT(SASL_PLAIN)));
	assert_false(caps_of("SASL XPLAIN PLAINX SCRAM-SHA-256-PLUS").sasl);
	assert_true(caps_of("EXPIRE 0").expire_0);
	assert_false(caps_of("EXPIRE 07").expire_0);
	assert_false(caps_of("EXPIRE NEVER").expire_0);
	assert_true(caps_of("EXPIRE 5 USER").login_delay_user);
	assert_int_equal(caps_of("LOGIN-DELAY 900").login_delay_s, 900);
	assert_false(caps_of("LOGIN-DELAY 900").login_delay_user);
	assert_true(caps_of("LOGIN-DELAY 900 USER").login_delay_user);
	assert_int_equal(caps_of("LOGIN-DELAY 99999999999").login_delay_s, 0);
	assert_int_equal(caps_of("LOGIN-DELAY -1").login_delay_s, 0);
}

static void test_stat(void **state)
{
	uint32_t count;
	uint64_t octets;

	assert_int_equal(pop3_stat_parse(SV("2 320 two messages"), &count, &octets), 0);
	assert_int_equal(count, 2);
	assert_int_equal(octets, 320);
	assert_int_equal(pop3_stat_parse(SV("4294967295 0"), &count, &octets), 0);
	assert_int_equal(count, UINT32_MAX);
	assert_int_equal(pop3_stat_parse(SV("4294967296 0"), &count, &octets), 1);
	assert_int_equal(pop3_stat_parse(SV("-1 0"), &count, &octets), 1);
	assert_int_equal(pop3_stat_parse(SV("2"), &count, &octets), 1);
	assert_int_equal(pop3_stat_parse(SV(""), &count, &octets), 1);
	assert_int_equal(pop3_stat_parse(SV("2 99999999999999999999"), &count, &octets), 1);
}

/* CVE-2001-1009: numbers of the peer are not indices. */
static const char *const bad_numbers[] = { "", "0 1", "4 1", "-1 1", "+1 1", "x 1", "1x 1",
	"4294967297 1", "99999999999999999999 1", "0x1 1" };

static void test_list(void **state)
{
	uint32_t n;
	uint64_t octets;

	for (size_t i = 0; i < ARRAY_LEN(bad_numbers); i++)
		assert_int_equal(pop3_list_parse(sv_str(bad_numbers[i]), 3, &n, &octets), 1);
	assert_int_equal(pop3_list_parse(SV("3 120"), 3, &n, &octets), 0);
	assert_int_equal(n, 3);
	assert_int_equal(octets, 120);
	assert_int_equal(pop3_list_parse(SV("1"), 3, &n, &octets), 1);
	assert_int_equal(pop3_list_parse(SV("1 -5"), 3, &n, &octets), 1);
}

static void test_uidl(void **state)
{
	char line[POP3_UID_MAX_OCTETS + 4] = "1 ";
	uint32_t n;
	struct strview uid;

	for (size_t i = 0; i < ARRAY_LEN(bad_numbers); i++)
		assert_int_equal(pop3_uidl_parse(sv_str(bad_numbers[i]), 3, &n, &uid), 1);
	assert_int_equal(pop3_uidl_parse(SV("2 whqtswO00WBw418f9t5JxYwZ"), 3, &n, &uid), 0);
	assert_int_equal(n, 2);
	assert_true(sv_eq(uid, SV("whqtswO00WBw418f9t5JxYwZ")));

	static const struct strview unusable[] = { SV("2"), SV("2 "), SV("2 a b"), SV("2 a\0b"),
		SV("2 \xc3\xa4"), SV("2 \x7f") };
	for (size_t i = 0; i < ARRAY_LEN(unusable); i++) {
		n = 0;
		assert_int_equal(pop3_uidl_parse(unusable[i], 3, &n, &uid), 2);
		assert_int_equal(n, 2);
		assert_int_equal(uid.len, 0);
	}
	memset(line + 2, 'u', POP3_UID_MAX_OCTETS + 1);
	assert_int_equal(pop3_uidl_parse(sv(line, 1 + POP3_UID_MAX_OCTETS), 3, &n, &uid), 0);
	assert_int_equal(pop3_uidl_parse(sv(line, 2 + POP3_UID_MAX_OCTETS), 3, &n, &uid), 0);
	assert_int_equal(pop3_uidl_parse(sv(line, 3 + POP3_UID_MAX_OCTETS), 3, &n, &uid), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_capabilities),
		cmocka_unit_test(test_stat),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_uidl),
	};
	return cmocka_run_group_tests_name("pop3_reply", tests, NULL, NULL);
}
