/*
 * The configuration file from outside: text in, faults with their places or a configuration out.
 * Each test runs in an empty folder of its own, so that places read "main.conf:LINE".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conf_internal.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PROVIDER "provider p { host = pop.example envelope \"X-Envelope-To\" { } }\n"
#define RELAY    "relay r { host = localhost }\n"
#define ACCOUNT  "account a {\nprovider = p relay = r user = u\npassword_file = pw\n"
#define DOMAINS  "domains = { \"firma.example\" }\n"
/* The first line of `more` is line 6. */
#define WITH(more)     PROVIDER RELAY ACCOUNT more DOMAINS "}\n"
#define SINGLE(more)   PROVIDER RELAY ACCOUNT more "mode = single recipient = x@firma.example\n}\n"
#define IN_RELAY(more) "relay r {\nhost = localhost\n" more "}\n" REST
#define REST           PROVIDER ACCOUNT DOMAINS "}\n"
#define IN_PROVIDER(more)                                                                          \
	"provider p {\nhost = pop.example\nenvelope \"X-Envelope-To\" { }\n" more                  \
	"}\n" RELAY ACCOUNT DOMAINS "}\n"

static char folder[] = "/tmp/multidropd-conf-XXXXXX";

static void put(const char *name, mode_t mode, const char *text)
{
	FILE *f;

	unlink(name);
	f = fopen(name, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(name, mode), 0);
}

/* Loads main.conf; the faults as printed go into out. */
static struct config *load(struct strbuf *out)
{
	struct faults faults = { 0 };
	struct config *c = conf_file_load("main.conf", &faults);

	strbuf_clear(out);
	faults_print(&faults, out);
	assert_int_equal(c == NULL, faults.errors > 0);
	faults_free(&faults);
	return c;
}

static void expect(const char *text, const char *faults)
{
	struct strbuf out AUTO(strbuf_free) = STRBUF_INIT;

	put("main.conf", 0600, text);
	config_unref(load(&out));
	if (strcmp(strbuf_str(&out), faults))
		print_message("%s\n", text);
	assert_string_equal(strbuf_str(&out), faults);
}

static struct config *accepted(const char *text)
{
	struct strbuf out AUTO(strbuf_free) = STRBUF_INIT;
	struct config *c;

	put("main.conf", 0600, text);
	c = load(&out);
	assert_string_equal(strbuf_str(&out), "");
	assert_non_null(c);
	return c;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int enter_folder(void **state)
{
	memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
	assert_non_null(mkdtemp(folder));
	assert_int_equal(chdir(folder), 0);
	put("pw", 0600, "geheim\n");
	unsetenv("STATE_DIRECTORY");
	unsetenv("RUNTIME_DIRECTORY");
	unsetenv("CREDENTIALS_DIRECTORY");
	return 0;
}

static int leave_folder(void **state)
{
	assert_int_equal(chdir("/"), 0);
	return nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static const struct {
	const char *text, *faults;
} bad[] = {
	/* syntax */
	{ "hostname = a\n\"\"\n", "main.conf:2: \"\" stands where a name is expected\n" },
	{ "account \"a {\n}\n", "main.conf:1: the string has no closing \" on its line\n" },
	{ "relay r {\nhost = h\n", "main.conf:1: the { on this line is never closed\n" },
	{ "\n}\n", "main.conf:2: this } closes nothing\n" },
	{ "\n/* no end\n\n", "main.conf:2: the comment that begins here has no end\n" },
	{ "hostname = \"a\\nb\"\n",
		"main.conf:1: in double quotes a backslash is written \\\\ (or use single "
		"quotes)\n" },
	{ "hostname = *.x\n", "main.conf:1: a value with * in it must stand in quotes\n" },
	{ "hostname = ${HOME}\n", "main.conf:1: a value with $ in it must stand in quotes\n" },
	{ "\"hostname\" = x\n", "main.conf:1: the name before = is written without quotes\n" },
	{ "\nacount a { }\n",
		"main.conf:2: unknown section \"acount\", or a = is missing behind it\n" },
	{ "hostname x\n",
		"main.conf:1: unknown section \"hostname\", or a = is missing behind it\n" },
	{ "account a { password = my secret }\n",
		"main.conf:1: a password must stand in quotes\n" },
	/* keys and types; comments count lines right */
	{ WITH("intervall = \"5m\"\n"),
		"main.conf:6: unknown key \"intervall\" in account \"a\"\n" },
	{ WITH("# c\n/* c\n c */ // c\nfoo = {}\n"),
		"main.conf:9: unknown key \"foo\" in account \"a\"\n" },
	{ "hostnam = x\n" WITH(""), "main.conf:1: unknown key \"hostnam\"\n" },
	{ WITH("interval = \"0s\"\n"),
		"main.conf:6: interval \"0s\" is out of range: 1s to 30d\n" },
	{ WITH("interval = \"-1m\"\n"),
		"main.conf:6: interval \"-1m\" is not a duration such as 90s, 10m, 1h or 7d\n" },
	{ WITH("interval = 600\n"),
		"main.conf:6: interval \"600\" is not a duration such as 90s, 10m, 1h or 7d\n" },
	{ WITH("interval = \"99999999999999999999d\"\n"),
		"main.conf:6: interval \"99999999999999999999d\" is out of range: 1s to 30d\n" },
	{ WITH("interval = \"106751991168d\"\n"),
		"main.conf:6: interval \"106751991168d\" is out of range: 1s to 30d\n" },
	{ WITH("interval = { \"5m\" }\n"), "main.conf:6: interval takes one value, not a list\n" },
	{ WITH("interval = {}\n"), "main.conf:6: interval takes one value, not a list\n" },
	{ WITH("interval = \"6m\"\n\ninterval = \"7m\"\n"),
		"main.conf:8: interval is set twice; first at main.conf:6\n" },
	{ WITH("max_size = \"5X\"\n"),
		"main.conf:6: max_size \"5X\" is not a size such as 512K, 50M or 2G\n" },
	{ WITH("max_size = 1023\n"), "main.conf:6: max_size \"1023\" is out of range: 1K to 4G\n" },
	{ WITH("fetch_limit = ten\n"), "main.conf:6: fetch_limit \"ten\" is not a whole number\n" },
	{ WITH("enabled = maybe\n"), "main.conf:6: enabled \"maybe\" is neither true nor false\n" },
	{ "max_sessions = 0\n" WITH(""),
		"main.conf:1: max_sessions \"0\" is out of range: 1 to 1024\n" },
	{ IN_PROVIDER("port = 65536\n"),
		"main.conf:4: port \"65536\" is out of range: 1 to 65535\n" },
	{ IN_PROVIDER("tls = opportunistic\n"),
		"main.conf:4: tls \"opportunistic\" is none of: implicit, starttls, none\n" },
	{ IN_PROVIDER("trusted_by = {\n\"mx.example\",\n\"*\",\n}\n"),
		"main.conf:6: trusted_by \"*\" is neither a host name nor *.DOMAIN\n" },
	{ IN_PROVIDER("envelope \"To:\" { }\n"),
		"main.conf:4: envelope \"To:\" is not the name of a header\n" },
	{ IN_PROVIDER("tls_ca_file = none.pem\n"),
		"main.conf:4: tls_ca_file none.pem: No such file or directory\n" },
	{ IN_RELAY("sender = somebody\n"),
		"main.conf:3: sender \"somebody\" is neither return-path, null nor a mail "
		"address\n" },
	/* names and references */
	{ PROVIDER WITH(""),
		"main.conf:2: provider \"p\" is defined twice; first at main.conf:1\n" },
	{ IN_PROVIDER("envelope \"x-envelope-to\" { }\n"),
		"main.conf:4: envelope \"x-envelope-to\" is defined twice; first at "
		"main.conf:3\n" },
	{ RELAY ACCOUNT DOMAINS "}\n", "main.conf:3: provider \"p\" is not defined\n" },
	{ PROVIDER ACCOUNT DOMAINS "}\n", "main.conf:3: relay \"r\" is not defined\n" },
	{ "relay \".r\" { host = h }\n" WITH(""),
		"main.conf:1: relay \".r\": a name is 1 to 64 of A-Z a-z 0-9 . _ - and begins with "
		"no dot\n" },
	{ "relay s { }\n" WITH(""), "main.conf:1: relay \"s\" has no host\n" },
	{ "relay s { host = \"\" }\n" WITH(""), "main.conf:1: host must not be empty\n" },
	/* one key and another */
	{ PROVIDER RELAY ACCOUNT "}\n",
		"main.conf:3: account \"a\": mode \"multidrop\" needs domains\n" },
	{ SINGLE(DOMAINS), "main.conf:6: domains has no meaning with mode \"single\"\n" },
	{ WITH("unknown = postmaster\n"),
		"main.conf:6: account \"a\": unknown \"postmaster\" needs postmaster\n" },
	{ WITH("interval = \"1m\"\n"),
		"main.conf:6: warning: account \"a\": interval is below the min_interval of "
		"provider \"p\", which wins\n" },
	{ IN_RELAY("protocol = lmtp\nport = 25\n"),
		"main.conf:4: relay \"r\": LMTP must not use port 25 (RFC 2033); 24 is the "
		"default\n" },
	{ IN_RELAY("dot_timeout = \"599s\"\n"),
		"main.conf:3: warning: relay \"r\": a dot_timeout below 10m invites duplicates "
		"(RFC 5321, 4.5.3.2.6)\n" },
	{ IN_PROVIDER("tls = none\n"),
		"main.conf:4: warning: provider \"p\": passwords and mail cross the network in "
		"clear text\n" },
	/* pins */
	{ IN_PROVIDER("tls_pin = { \"sha256//eA==\" }\n"),
		"main.conf:4: tls_pin \"sha256//eA==\" is not sha256// and the base64 of a SHA-256 "
		"digest\n" },
	/* the relay's login */
	{ IN_RELAY("user = u\n"),
		"main.conf:1: relay \"r\" has no password: set password_file, "
		"password_credential, password_command or password\n" },
	{ IN_RELAY("password_command = \"/bin/x\"\n"),
		"main.conf:3: password_command without user\n" },
	{ IN_RELAY("user = u password_command = \"/bin/x\" tls = none\n"),
		"main.conf:3: warning: relay \"r\": no password is said without TLS, so with tls "
		"\"none\" nothing will be delivered\n" },
	/* map */
	{ WITH("map = { \"info@firma.example\" }\n"),
		"main.conf:6: a map line reads ADDRESS = ADDRESS, ...\n" },
	{ WITH("map = {\n\"a@firma.example = b@firma.example\",\n\"A@FIRMA.example = c@x.example\" "
	       "}\n"),
		"main.conf:8: \"a@firma.example\" is mapped twice; first at main.conf:7\n" },
	{ WITH("map = {\n\"a@firma.example = b@firma.example\",\n"
	       "\"b@firma.example = c@firma.example, a@firma.example\" }\n"),
		"main.conf:8: map \"b@firma.example\" = \"a@firma.example\" leads back to "
		"\"a@firma.example\" of main.conf:7\n" },
	{ WITH("map = { \"*@sub.example = *@firma.example\" }\n"),
		"main.conf:6: warning: map \"*@sub.example\" never applies: its domain is not in "
		"domains\n" },
	{ WITH("map_file = none\n"), "main.conf:6: map_file none: No such file or directory\n" },
};

static void test_bad(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		expect(bad[i].text, bad[i].faults);
}

static void test_all_faults_at_once(void **state)
{
	expect("one = 1\nmax_sessions = -3\nprovider p {\nport = 0\ntls = maybe\nfoo = {}\n"
	       "auth = ntlm\n}\nrelay r { host = h\nsender = x\n}\naccount a {\nprovider = q\n"
	       "relay = r\nuser = u\npassword_file = none\ninterval = \"0s\"\n" DOMAINS "}\n",
		"main.conf:1: unknown key \"one\"\n"
		"main.conf:2: max_sessions \"-3\" is out of range: 1 to 1024\n"
		"main.conf:3: provider \"p\" has no host\n"
		"main.conf:4: port \"0\" is out of range: 1 to 65535\n"
		"main.conf:5: tls \"maybe\" is none of: implicit, starttls, none\n"
		"main.conf:6: unknown key \"foo\" in provider \"p\"\n"
		"main.conf:7: auth \"ntlm\" is none of: auto, user, plain, login, cram-md5, "
		"scram-sha-256, apop, xoauth2, oauthbearer\n"
		"main.conf:10: sender \"x\" is neither return-path, null nor a mail address\n"
		"main.conf:13: provider \"q\" is not defined\n"
		"main.conf:16: password_file none: No such file or directory\n"
		"main.conf:17: interval \"0s\" is out of range: 1s to 30d\n");
}

static void test_nul_and_missing_file(void **state)
{
	struct strbuf out AUTO(strbuf_free) = STRBUF_INIT;
	FILE *f = fopen("main.conf", "w");

	assert_non_null(f);
	fwrite("hostname = \0x\n", 1, 14, f);
	fclose(f);
	assert_null(load(&out));
	assert_string_equal(strbuf_str(&out), "main.conf:1: the file has a NUL octet in it\n");
	unlink("main.conf");
	assert_null(load(&out));
	assert_string_equal(
		strbuf_str(&out), "main.conf: cannot be read: No such file or directory\n");
}

/* A reload must not be disturbed by what an earlier, broken file left behind in the parser. */
static void test_good_after_bad(void **state)
{
	for (int i = 0; i < 20; i++) {
		put("inc", 0600, "hostname x y z\n");
		expect("include(\"inc\")\nrelay { }\n",
			"main.conf:2: missing title for section 'relay'\n"
			"inc:1: unknown section \"hostname\", or a = is missing behind it\n");
		config_unref(accepted(WITH("")));
	}
}

static void test_includes(void **state)
{
	assert_int_equal(mkdir("sub", 0700), 0);
	put("sub/p.conf", 0600, "include(\"more.conf\")\n" PROVIDER);
	put("sub/more.conf", 0600, RELAY);
	config_unref(accepted("include(\"sub/p.conf\")\n" ACCOUNT DOMAINS "}\n"));
	put("sub/more.conf", 0600, "\nmax_sessions = 0\n" RELAY);
	expect("include(\"sub/p.conf\")\nfoo = 1\n" ACCOUNT DOMAINS "}\n",
		"main.conf:2: unknown key \"foo\"\n"
		"sub/more.conf:2: max_sessions \"0\" is out of range: 1 to 1024\n");
	put("sub/more.conf", 0600, "\n\ninclude(\"../main.conf\")\n");
	expect("include(\"sub/p.conf\")\n" RELAY ACCOUNT DOMAINS "}\n",
		"sub/more.conf:3: include \"sub/../main.conf\": this file is read already\n");
	expect("\ninclude(\"a\"b\n", "main.conf:2: include takes the name of one file\n");
	/* what a missing file would define is not missed as well */
	expect("\ninclude(\"nowhere.conf\")\n" RELAY ACCOUNT DOMAINS "}\n",
		"main.conf:2: include \"nowhere.conf\": No such file or directory\n");
	expect("include(\"sub\")\n" WITH(""), "main.conf:1: include \"sub\": not a regular file\n");
	expect("include()\n" WITH(""), "main.conf:1: include takes the name of one file\n");
}

static void test_defaults(void **state)
{
	struct config *c = accepted(WITH(""));
	const struct conf_provider *p = config_provider(c, "p");
	const struct conf_relay *r = config_relay(c, "r");
	const struct conf_account *a = config_account(c, "a");

	assert_string_equal(c->state_dir, "/var/lib/multidropd");
	assert_string_equal(c->control_socket, "/run/multidropd/control");
	assert_true(*c->hostname);
	assert_int_equal(c->max_sessions, 64);
	assert_int_equal(p->tls.mode, TLS_IMPLICIT);
	assert_int_equal(p->port, 995);
	assert_int_equal(p->rate.spacing_ms, 300000);
	assert_int_equal(p->rate.limit, 20);
	assert_int_equal(p->rate.window_ms, 600000);
	assert_true(p->size_check && !p->lf_lines && !p->retr_deletes);
	assert_null(p->tls.ca_file);
	assert_int_equal(p->envelope[0].position, POSITION_TOP);
	assert_int_equal(p->envelope[0].pick, PICK_FIRST);
	assert_int_equal(r->port, 25);
	assert_int_equal(r->tls.mode, TLS_OPPORTUNISTIC);
	assert_int_equal(r->sender_mode, SENDER_RETURN_PATH);
	assert_string_equal(r->sender_fallback, "");
	assert_true(r->notify_never && !r->xforward && !r->lmtp);
	assert_int_equal(r->dot_timeout_ms, 600000);
	assert_true(a->enabled);
	assert_int_equal(a->interval_ms, 600000);
	assert_int_equal(a->rules.unresolved, UNRESOLVED_HOLD);
	assert_int_equal(a->unknown, FAILED_HOLD);
	assert_int_equal(a->rejected, FAILED_HOLD);
	assert_int_equal(a->keep_ms, KEEP_NONE);
	assert_int_equal(a->max_size, 100 << 20);
	assert_int_equal(a->dedupe_ms, INT64_C(3) * 86400000);
	assert_int_equal(a->in_doubt, DOUBT_RESEND);
	assert_string_equal(a->password.bytes, "geheim");
	config_unref(c);
}

static void test_defaults_that_depend(void **state)
{
	struct config *c = accepted("provider p { host = h tls = starttls }\n"
				    "relay r { host = h protocol = lmtp }\n"
				    "relay s { host = h tls = implicit }\n" ACCOUNT
				    "envelope \"X-To\" { }\npostmaster = pm@firma.example\n"
				    "keep = forever map = \"a@firma.example = a@firma.example, "
				    "B@x.example\"\n" DOMAINS "}\n");
	const struct conf_account *a = config_account(c, "a");

	assert_int_equal(config_provider(c, "p")->port, 110);
	assert_int_equal(config_relay(c, "r")->port, 24);
	assert_int_equal(config_relay(c, "s")->port, 465);
	assert_int_equal(a->rules.unresolved, UNRESOLVED_POSTMASTER);
	assert_int_equal(a->unknown, FAILED_POSTMASTER);
	assert_int_equal(a->rejected, FAILED_HOLD);
	assert_true(a->keep_ms == KEEP_FOREVER);
	assert_int_equal(a->rules.nmap, 1);
	assert_string_equal(a->rules.map[0].right[1], "B@x.example");
	config_unref(c);
}

static void test_environment_of_systemd(void **state)
{
	struct config *c;

	setenv("STATE_DIRECTORY", "/var/lib/one:/var/lib/two", 1);
	setenv("RUNTIME_DIRECTORY", "/run/one", 1);
	c = accepted("control_socket = \"/run/one/control\"\n" WITH(""));
	assert_string_equal(c->state_dir, "/var/lib/one");
	assert_string_equal(c->control_socket, "/run/one/control");
	config_unref(c);
}

static void test_values_are_taken_as_written(void **state)
{
	struct config *c = accepted(
		"provider p { host = pop.example strip_prefix = { \"${HOME}\", 'a\\b', \"q\\\"\" "
		"}\nenvelope \"X-Envelope-To\" { } }\n" RELAY ACCOUNT
		"interval = \"1h30m\" keep = \"7d\" fetch_limit = \"5\" enabled = No\n"
		"domains = { \"Firma.Example\" }\ndomains += { \".Firma.Example\" } }\n");
	const struct conf_provider *p = config_provider(c, "p");
	const struct conf_account *a = config_account(c, "a");

	assert_string_equal(p->strip_prefix.items[0], "${HOME}");
	assert_string_equal(p->strip_prefix.items[1], "a\\b");
	assert_string_equal(p->strip_prefix.items[2], "q\"");
	assert_int_equal(a->interval_ms, 5400000);
	assert_int_equal(a->keep_ms, INT64_C(7) * 86400000);
	assert_int_equal(a->fetch_limit, 5);
	assert_false(a->enabled);
	assert_string_equal(a->domains.items[0], "firma.example");
	assert_string_equal(a->domains.items[1], ".firma.example");
	config_unref(c);
}

/* mode, contents, expected: NULL is fine */
static const struct {
	mode_t mode;
	const char *text, *fault;
} secret_files[] = {
	{ 0600, "a b\t\"c\"\xff\n", NULL },
	{ 0400, "x\r\n", NULL },
	{ 0640, "geheim\n", "mode 0640 lets others read it; chmod 600 it" },
	{ 0604, "geheim\n", "mode 0604 lets others read it; chmod 600 it" },
	{ 0600, "\n", "the password is empty" },
	{ 0600, "", "the password is empty" },
	{ 0600, "a\nb\n", "the password has a CR, LF or NUL in it" },
	{ 0600, "a\n\n", "the password has a CR, LF or NUL in it" },
};

static void test_password_files(void **state)
{
	struct strbuf out AUTO(strbuf_free) = STRBUF_INIT;

	put("main.conf", 0600, WITH(""));
	for (size_t i = 0; i < ARRAY_LEN(secret_files); i++) {
		put("pw", secret_files[i].mode, secret_files[i].text);
		struct config *c = load(&out);
		assert_int_equal(c != NULL, secret_files[i].fault == NULL);
		if (secret_files[i].fault) {
			assert_non_null(strstr(strbuf_str(&out), "main.conf:5: password_file"));
			assert_non_null(strstr(strbuf_str(&out), secret_files[i].fault));
			assert_null(strstr(strbuf_str(&out), "geheim"));
		}
		config_unref(c);
	}
}

static void test_password_length(void **state)
{
	char text[CONF_SECRET_MAX + 16];
	struct strbuf out AUTO(strbuf_free) = STRBUF_INIT;

	put("main.conf", 0600, WITH(""));
	for (int len = CONF_SECRET_MAX - 1; len <= CONF_SECRET_MAX + 8; len++) {
		snprintf(text, sizeof text, "%0*d\r\n", len, 0);
		put("pw", 0600, text);
		struct config *c = load(&out);
		assert_int_equal(c != NULL, len <= CONF_SECRET_MAX);
		if (c)
			assert_int_equal(config_account(c, "a")->password.len, len);
		config_unref(c);
	}
}

static void test_password_owner(void **state)
{
	if (geteuid() != 0)
		skip();
	assert_int_equal(chown("pw", 12345, 0), 0);
	expect(WITH(""),
		"main.conf:5: password_file pw: owned by uid 12345, which is neither root nor the "
		"daemon's user\n");
}

#define INLINE                                                                                     \
	PROVIDER RELAY "account a { provider = p relay = r user = u " DOMAINS "password = "        \
		       "'ge\\h\"eim' }\n"

static void test_inline_password(void **state)
{
	struct strbuf out AUTO(strbuf_free) = STRBUF_INIT;
	struct config *c = accepted(INLINE);

	assert_string_equal(config_account(c, "a")->password.bytes, "ge\\h\"eim");
	config_unref(c);
	assert_int_equal(chmod("main.conf", 0644), 0);
	assert_null(load(&out));
	assert_string_equal(strbuf_str(&out),
		"main.conf:4: password in this file: mode 0644 lets others read it; chmod 600 "
		"it\n");
}

static void test_one_password(void **state)
{
	expect(WITH("password = x\n"),
		"main.conf:5: password_file beside password: there is one password\n");
	expect(PROVIDER RELAY "account a { provider = p relay = r user = u\n" DOMAINS "}\n",
		"main.conf:3: account \"a\" has no password: set password_file, "
		"password_credential, password_command or password\n");
	expect(WITH("password_command = \"/bin/geheim\"\n"),
		"main.conf:6: password_command beside password_file: there is one password\n");
}

static void test_disabled_account_needs_no_secret(void **state)
{
	unlink("pw");
	config_unref(accepted(WITH("enabled = false\n")));
}

#define CREDENTIAL(name)                                                                           \
	PROVIDER RELAY "account a { provider = p relay = r user = u\npassword_credential = " name  \
		       "\n" DOMAINS "}\n"

static void test_credentials(void **state)
{
	struct config *c;

	expect(CREDENTIAL("cred"),
		"main.conf:4: password_credential cred: $CREDENTIALS_DIRECTORY is not set; it is "
		"there when systemd starts the service\n");
	setenv("CREDENTIALS_DIRECTORY", ".", 1);
	put("cred", 0440, "geheim"); /* as systemd passes them */
	c = accepted(CREDENTIAL("cred"));
	assert_string_equal(config_account(c, "a")->password.bytes, "geheim");
	config_unref(c);
	put("cred", 0444, "geheim");
	expect(CREDENTIAL("cred"),
		"main.conf:4: password_credential ./cred: mode 0444 lets others read it; chmod 600 "
		"it\n");
	expect(CREDENTIAL("\"../pw\""),
		"main.conf:4: password_credential takes the name of a credential, not a path\n");
}

static void test_lists_in_files(void **state)
{
	struct config *c;
	const struct conf_account *a;

	put("map", 0644,
		"# all to Hans\n\n*@firma.example = hans@firma.example  # him\n"
		"Info#1@Firma.example=eva@firma.example,x@out.example\r\n");
	put("valid", 0644, "Hans@Firma.example\n eva@firma.example\n");
	c = accepted(WITH("map_file = map recipients_file = valid\n"));
	a = config_account(c, "a");
	assert_int_equal(a->rules.nmap, 2);
	assert_string_equal(a->rules.map[0].left, "*@firma.example");
	assert_string_equal(a->rules.map[1].left, "info#1@firma.example");
	assert_string_equal(a->rules.map[1].right[1], "x@out.example");
	assert_int_equal(a->rules.nvalid, 2);
	assert_string_equal(a->rules.valid[0], "eva@firma.example");
	assert_string_equal(a->rules.valid[1], "hans@firma.example");
	config_unref(c);

	put("map", 0644,
		"\na@firma.example = b@firma.example\nb@firma.example = *@firma.example\n");
	put("valid", 0644, "eva@firma.example\nEva <eva@firma.example>, x\n");
	struct strbuf out AUTO(strbuf_free) = STRBUF_INIT;
	put("main.conf", 0600,
		WITH("map = \"*@firma.example = a@firma.example\"\n"
		     "map_file = map recipients_file = valid\n"));
	assert_null(load(&out));
	assert_non_null(strstr(strbuf_str(&out),
		"map:3: map \"b@firma.example\" = \"*@firma.example\" leads back to "
		"\"*@firma.example\" of main.conf:6\n"));
	assert_non_null(strstr(strbuf_str(&out), "valid:2: \"Eva <eva@firma.example>, x\""));
	put("valid", 0644, "# nobody\n");
	put("map", 0644, "");
	expect(WITH("recipients_file = valid map_file = map\n"),
		"main.conf:6: recipients_file lists no address\n");
}

/* Long chains must not need a deep stack, and the wrong file must not flood the log. */
static void test_large_files(void **state)
{
	FILE *f = fopen("map", "w");
	struct strbuf out AUTO(strbuf_free) = STRBUF_INIT;
	size_t lines = 0;

	for (int i = 0; i < 20000; i++)
		fprintf(f, "u%d@firma.example = u%d@firma.example\n", i, i + 1);
	fclose(f);
	config_unref(accepted(WITH("map_file = map\n")));
	assert_non_null(f = fopen("map", "w"));
	for (int i = 0; i < 20000; i++)
		fprintf(f, "no address\n");
	fclose(f);
	assert_null(load(&out));
	for (size_t i = 0; i < out.len; i++)
		lines += out.ptr[i] == '\n';
	assert_true(lines < 30);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter_folder, leave_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_bad),
		TEST(test_all_faults_at_once),
		TEST(test_nul_and_missing_file),
		TEST(test_good_after_bad),
		TEST(test_includes),
		TEST(test_defaults),
		TEST(test_defaults_that_depend),
		TEST(test_environment_of_systemd),
		TEST(test_values_are_taken_as_written),
		TEST(test_password_files),
		TEST(test_password_length),
		TEST(test_password_owner),
		TEST(test_inline_password),
		TEST(test_one_password),
		TEST(test_disabled_account_needs_no_secret),
		TEST(test_credentials),
		TEST(test_lists_in_files),
		TEST(test_large_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
