/* How an address to listen at is written, and who could reach it. */
#include "listen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void addresses(void **state)
{
	static const struct {
		const char *text;
		int family; /* 0: refused */
		bool private;
	} rows[] = {
		{ "127.0.0.1:9477", AF_INET, true },
		{ "127.255.255.254:1", AF_INET, true },
		{ "126.0.0.1:9477", AF_INET, false },
		{ "128.0.0.1:9477", AF_INET, false },
		{ "0.0.0.0:65535", AF_INET, false },
		{ "192.0.2.1:9477", AF_INET, false },
		{ "[::1]:9477", AF_INET6, true },
		{ "[::]:9477", AF_INET6, false },
		{ "[2001:db8::1]:9477", AF_INET6, false },
		{ "[::ffff:192.0.2.1]:9477", AF_INET6, false },
		{ "unix:/run/x", AF_UNIX, true },
		{ "", 0, false },
		{ ":9477", 0, false },
		{ "127.0.0.1", 0, false },
		{ "127.0.0.1:", 0, false },
		{ "127.0.0.1:0", 0, false },
		{ "127.0.0.1:65536", 0, false },
		{ "127.0.0.1:94 77", 0, false },
		{ "127.1:9477", 0, false },
		{ "[127.0.0.1]:9477", 0, false },
		{ "::1:9477", 0, false },
		{ "[::1]9477", 0, false },
		{ "[::1:9477", 0, false },
		{ "[]:9477", 0, false },
		{ "localhost:9477", 0, false },
		{ "unix:", 0, false },
		{ "unix:run/x", 0, false },
		{ "/run/x", 0, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct listen_address a;
		struct err err = { 0 };
		int rc = listen_parse(sv_str(rows[i].text), &a, &err);
		if (rc != (rows[i].family ? 0 : -1))
			fail_msg("\"%s\": %d", rows[i].text, rc);
		if (rc) {
			assert_true(*err.text);
			continue;
		}
		assert_int_equal(a.at.any.sa_family, rows[i].family);
		assert_int_equal(listen_is_private(&a), rows[i].private);
	}
}

/* sun_path has 108 octets, with its end. */
static void a_path_has_its_length(void **state)
{
	struct listen_address a;
	struct err err;
	char text[5 + 108 + 1] = "unix:/";

	memset(text + 6, 'x', 106);
	assert_int_equal(listen_parse(sv(text, 5 + 107), &a, &err), 0);
	text[5 + 107] = 'x';
	assert_int_equal(listen_parse(sv(text, 5 + 108), &a, &err), -1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(a_path_has_its_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
