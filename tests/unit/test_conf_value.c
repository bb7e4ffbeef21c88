/* Durations, sizes, pins, hosts, and the path of a socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conf_file.h"
#include "conf_value.h"

#include <stdlib.h>

static void test_units(void **state)
{
	static const struct {
		const char *text;
		int rc;
		int64_t value;
	} durations[] = { { "0", 0, 0 }, { "0s", 0, 0 }, { "90s", 0, 90000 },
		{ "1h30m", 0, 5400000 }, { "7d", 0, 604800000 }, { "", 1, 0 }, { "5", 1, 0 },
		{ "m", 1, 0 }, { "5m0", 1, 0 }, { "5 m", 1, 0 }, { "5M", 1, 0 }, { "+5m", 1, 0 },
		{ "9223372036854775s", 0, INT64_C(9223372036854775000) },
		{ "9223372036854776s", 2, 0 }, { "9223372036854775s9223372036854775s", 2, 0 } };
	static const struct {
		const char *text;
		int rc;
		uint64_t value;
	} sizes[] = { { "0", 0, 0 }, { "512K", 0, 524288 }, { "50M", 0, 52428800 },
		{ "2G", 0, UINT64_C(2147483648) }, { "1000", 0, 1000 }, { "", 1, 0 }, { "K", 1, 0 },
		{ "1k", 1, 0 }, { "1K1", 1, 0 }, { "-1", 1, 0 },
		{ "9223372036854775807", 0, INT64_MAX }, { "9223372036854775808", 2, 0 },
		{ "8388608T", 2, 0 }, { "8388607T", 0, UINT64_C(8388607) << 40 } };

	for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
		msec_t value = -1;
		assert_int_equal(
			duration_parse(sv_str(durations[i].text), &value), durations[i].rc);
		if (!durations[i].rc)
			assert_true(value == durations[i].value);
	}
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		uint64_t value = 0;
		assert_int_equal(size_parse(sv_str(sizes[i].text), &value), sizes[i].rc);
		if (!sizes[i].rc)
			assert_true(value == sizes[i].value);
	}
}

/* sockaddr_un has 108 octets, with the NUL. */
static void test_path_of_a_socket(void **state)
{
	char path[120];
	char *out = NULL;
	struct err err;

	memset(path, 'x', sizeof path);
	path[0] = '/';
	assert_int_equal(set_socket(NULL, sv(path, 106), NULL, &out, &err), 0);
	assert_int_equal(set_socket(NULL, sv(path, 107), NULL, &out, &err), 0);
	assert_int_equal(strlen(out), 107);
	assert_int_equal(set_socket(NULL, sv(path, 108), NULL, &out, &err), -1);
	assert_non_null(strstr(err.text, "longer than a socket's path may be"));
	assert_int_equal(set_socket(NULL, sv(path, 0), NULL, &out, &err), -1);
	free(out);
}

static void test_pins(void **state)
{
	static const struct {
		const char *text;
		int rc;
	} rows[] = {
		{ "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 0 }, /* 32 octets */
		{ "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", -1 },
		{ "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", -1 },
		{ "SHA256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", -1 },
		{ "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", -1 },
		{ "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", -1 },
		{ "sha256//", -1 },
		{ "", -1 },
	};
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct string_list pins = { 0 };
		if (set_pin(NULL, sv_str(rows[i].text), NULL, &pins, &err) != rows[i].rc)
			fail_msg("%s", rows[i].text);
		assert_int_equal(pins.n, rows[i].rc ? 0 : 1);
		string_list_free(&pins);
	}
}

static void test_backup_hosts(void **state)
{
	static const struct {
		const char *text, *host; /* NULL: refused */
		uint16_t port;
	} rows[] = {
		{ "mail2", "mail2", 0 },
		{ "mail2:26", "mail2", 26 },
		{ "192.0.2.7:65535", "192.0.2.7", 65535 },
		{ "2001:db8::7", "2001:db8::7", 0 },
		{ "[2001:db8::7]", "2001:db8::7", 0 },
		{ "[2001:db8::7]:26", "2001:db8::7", 26 },
		{ "mail2:0", NULL, 0 },
		{ "mail2:65536", NULL, 0 },
		{ "mail2:", NULL, 0 },
		{ "mail2:smtp", NULL, 0 },
		{ ":26", NULL, 0 },
		{ "[]:26", NULL, 0 },
		{ "[", NULL, 0 },
		{ "mail 2", NULL, 0 },
		{ "unix:/run/x", NULL, 0 },
		{ "", NULL, 0 },
	};
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct host_list list = { 0 };
		int rc = set_backup(NULL, sv_str(rows[i].text), NULL, &list, &err);
		if (rc != (rows[i].host ? 0 : -1))
			fail_msg("\"%s\"", rows[i].text);
		assert_int_equal(list.n, rows[i].host ? 1 : 0);
		if (!list.n)
			continue;
		assert_string_equal(list.items[0].host, rows[i].host);
		assert_int_equal(list.items[0].port, rows[i].port);
		free(list.items[0].host);
		free(list.items);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_path_of_a_socket),
		cmocka_unit_test(test_pins),
		cmocka_unit_test(test_backup_hosts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
