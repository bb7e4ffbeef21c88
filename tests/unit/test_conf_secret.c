/*
 * Which of the secrets must be there for whom: the daemon, who logs in to one account, and who
 * needs none. In a folder of its own, without a password file and outside the service.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conf_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAIN(key, value)                                                                           \
	"provider p { host = pop.example envelope \"X-Envelope-To\" { } }\n"                       \
	"relay r { host = localhost }\n"                                                           \
	"account a { provider = p relay = r user = u domains = { \"firma.example\" }\n" key        \
	" = \"" value "\"\n}\n"

static char folder[] = "/tmp/multidropd-secret-XXXXXX";

static int enter_folder(void **state)
{
	unsetenv("CREDENTIALS_DIRECTORY");
	return mkdtemp(folder) ? chdir(folder) : -1;
}

static int leave_folder(void **state)
{
	(void)unlink("main.conf"); /* rmdir() tells */
	return chdir("/") || rmdir(folder);
}

static const struct {
	enum conf_secrets secrets;
	const char *text, *faults;
	bool refused;
} rows[] = {
	{ CONF_SECRETS_ALL, MAIN("password_credential", "cred"),
		"main.conf:4: password_credential cred: $CREDENTIALS_DIRECTORY is not set; it is "
		"there when systemd starts the service\n",
		true },
	{ CONF_SECRETS_AT_HAND, MAIN("password_credential", "cred"),
		"main.conf:4: warning: password_credential cred: not checked, only the service can "
		"read it ($CREDENTIALS_DIRECTORY is not set)\n",
		false },
	{ CONF_SECRETS_NONE, MAIN("password_credential", "cred"), "", false },
	{ CONF_SECRETS_AT_HAND, MAIN("password_credential", "../cred"),
		"main.conf:4: password_credential takes the name of a credential, not a path\n",
		true },
	{ CONF_SECRETS_AT_HAND, MAIN("password_file", "pw"),
		"main.conf:4: password_file pw: No such file or directory\n", true },
	{ CONF_SECRETS_NONE, MAIN("password_file", "pw"), "", false },
};

static void put(const char *text)
{
	FILE *f = fopen("main.conf", "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void test_what_is_needed(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct strbuf out AUTO(strbuf_free) = STRBUF_INIT;
		AUTO(faults_free) struct faults faults = { 0 };
		put(rows[i].text);
		struct config *c = conf_file_load_with("main.conf", rows[i].secrets, &faults);
		faults_print(&faults, &out);
		assert_string_equal(strbuf_str(&out), rows[i].faults);
		assert_int_equal(!c, rows[i].refused);
		assert_true(!c || !config_account(c, "a")->password.len);
		if (c)
			config_unref(c);
	}
}

/* The runner of commands asks without secrets, and gets what it may run. */
static void test_commands_are_no_secrets(void **state)
{
	AUTO(faults_free) struct faults faults = { 0 };

	put(MAIN("password_command", "cat pw"));
	struct config *c = conf_file_load_with("main.conf", CONF_SECRETS_NONE, &faults);
	assert_non_null(c);
	assert_string_equal(config_account(c, "a")->password.command, "cat pw");
	config_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_needed),
		cmocka_unit_test(test_commands_are_no_secrets),
	};

	return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
