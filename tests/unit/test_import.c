/* Other fetchers' configurations: what becomes of each word, and of files that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/import.h"

#include <stdio.h>

#define SECRET   "tOp-SeCrEt"
#define WANT_MAX 6
#define POLL     "poll pop.example proto pop3 "
#define USER     "user box pass " SECRET " "
#define RETRIEVE                                                                                   \
	"[retriever]\ntype=MultidropPOP3SSLRetriever\nserver=pop.example\nusername=box@f."         \
	"example\n"                                                                                \
	"password=" SECRET "\nenvelope_recipient=X-E:1\n"
#define SIMPLE                                                                                     \
	"[retriever]\ntype=SimplePOP3Retriever\nserver=pop.example\nusername=box\n"                \
	"password=" SECRET "\n"

/* The text, its line ends and comment signs gone, so that wrapping does not matter. */
static void flatten(struct strbuf *out, struct strview text)
{
	while (text.len) {
		struct strview line = sv_trim(sv_token(&text, '\n'));
		if (sv_starts(line, SV("# ")))
			line = sv_skip(line, 2);
		strbuf_addv(out, line);
		strbuf_addc(out, ' ');
	}
}

static void convert(import_reader *reader, struct strview text, struct strbuf *out, size_t *secrets)
{
	AUTO(import_free) struct import i = { 0 };
	AUTO(import_secrets_free) struct import_secrets files = { 0 };
	AUTO(strbuf_free) struct strbuf printed = STRBUF_INIT;

	reader(&i, "rc", text);
	for (size_t n = 0; n < i.faults.n; n++)
		strbuf_addf(out, "%s:%d: %s\n", i.faults.items[n].place.file,
			i.faults.items[n].place.line, i.faults.items[n].text);
	if (!i.faults.errors) {
		import_print(&i, "/run", &files, &printed);
		flatten(out, strbuf_view(&printed));
	}
	*secrets = files.n;
	for (size_t n = 0; n < files.n; n++)
		assert_true(files.items[n].password.len > 0);
}

struct row {
	const char *text;
	const char *want[WANT_MAX]; /* with a leading !: must not be there */
};

static void run(import_reader *reader, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;
		size_t secrets;
		convert(reader, sv_str(rows[i].text), &out, &secrets);
		assert_null(strstr(strbuf_str(&out), SECRET));
		for (size_t k = 0; k < WANT_MAX && rows[i].want[k]; k++) {
			const char *want = rows[i].want[k];
			bool unwanted = *want == '!';
			if (!strstr(strbuf_str(&out), want + unwanted) != unwanted)
				fail_msg("%s\n%s: %s\n%s", rows[i].text,
					unwanted ? "must not be there" : "missing", want + unwanted,
					strbuf_str(&out));
		}
	}
}

static void test_fetchmail_server(void **state)
{
	static const struct row rows[] = {
		{ POLL USER "is hans here",
			{ "provider \"pop.example\" { host = \"pop.example\" tls = \"starttls\" }",
				"relay \"inhouse\" { host = \"localhost\" }",
				"recipient = \"hans@localhost\"", "password_file = \"/run/box.pw\"",
				"!enabled", "!keep" } },
		{ POLL "port 995 " USER "ssl is a here",
			{ "tls = \"implicit\"", "!port =", "!STARTTLS" } },
		{ POLL "service pop3s " USER "ssl is a here", { "!port =" } },
		{ POLL "port 1995 " USER "is a here ssl", { "port = 1995" } },
		{ POLL "service odd " USER "is a here", { "DECIDE: service odd" } },
		{ POLL USER "is a sslproto ''", { "tls = \"none\"", "clear text" } },
		{ POLL USER "is a sslproto '' sslcertck", { "tls = \"starttls\"" } },
		{ POLL USER "is a ssl no sslcertck", { "certificates are always checked" } },
		{ POLL USER "is a ssl sslcertfile /ca", { "tls_ca_file = \"/ca\"" } },
		{ POLL USER "is a ssl sslfingerprint '00:11'", { "pins nothing any more" } },
		{ "poll a.example proto apop " USER "is a", { "auth = \"apop\"" } },
		{ "poll a.example proto IMAP " USER "is a",
			{ "enabled = false", "imap is not spoken here" } },
		{ "poll a.example " USER "is a", { "no protocol was named" } },
		{ "skip a.example proto pop3 " USER "is a", { "enabled = false" } },
		{ "server a.example proto pop3 " USER "is a",
			{ "host = \"a.example\"", "!enabled" } },
		{ "poll label via b.example proto pop3 " USER "is a",
			{ "host = \"b.example\"", "!label" } },
		{ POLL "auth cram-md5 " USER "is a", { "auth = \"cram-md5\"" } },
		{ POLL "authenticate password " USER "is a", { "!auth =" } },
		{ POLL "auth ntlm " USER "is a", { "DECIDE: auth ntlm has no equivalent" } },
		{ POLL "timeout 90 " USER "is a", { "timeout = \"90s\"" } },
		{ POLL "timeout 90000 " USER "is a", { "timeout = \"3600s\"" } },
		{ POLL "plugin 'ssh x' interface eth0 " USER "is a preconnect ls",
			{ "DECIDE: plugin (rc:1): connections are made directly",
				"interface (rc:1): has no equivalent",
				"DECIDE: preconnect (rc:1)" } },
		{ "defaults proto pop3 timeout 60 user def ssl\n\npoll a.example pass " SECRET
		  " is a",
			{ "user = \"def\"", "timeout = \"60s\"", "tls = \"implicit\"" } },
		{ POLL USER "is a ssl; user eva pass b is b ssl",
			{ "!pop.example-2", "!inhouse-2", "account \"box\"", "account \"eva\"" } },
		{ POLL USER "is a ssl user box pass b is b ssl",
			{ "account \"box-2\"", "\"/run/box-2.pw\"" } },
		{ POLL USER
			"is a ssl poll pop.example proto pop3 port 1995 user eva pass x is b ssl",
			{ "provider \"pop.example-2\"" } },
	};

	run(import_fetchmailrc, rows, ARRAY_LEN(rows));
}

static void test_fetchmail_user(void **state)
{
	static const struct row rows[] = {
		{ "set daemon 900 " POLL "interval 3 " USER "is a", { "interval = \"2700s\"" } },
		{ "set daemon 60 " POLL USER "is a", { "interval = \"300s\"", "every 60 s" } },
		{ POLL USER "is a", { "!interval =", "No `set daemon`" } },
		{ "set postmaster chef " POLL USER "is a smtpaddress f.example",
			{ "postmaster = \"chef@f.example\"", "recipient = \"a@f.example\"" } },
		{ POLL USER "is a keep", { "keep = \"forever\"" } },
		{ "defaults user x keep\n" POLL USER "is a nokeep", { "!keep =" } },
		{ POLL USER "is a limit 5 fetchlimit 7 batchlimit 9",
			{ "max_size = \"1024\"", "fetch_limit = 7", "max_messages = 9" } },
		{ POLL USER "is a limit 0 fetchlimit 0", { "!max_size =", "!fetch_limit" } },
		{ POLL USER "is a smtphost m/2525,n o/26",
			{ "host = \"m\" backup_hosts = { \"n\", \"o:26\" } port = 2525" } },
		{ POLL USER "is a smtp /run/lmtp n",
			{ "host = \"unix:/run/lmtp\"", "protocol = \"lmtp\"", "!backup",
				"recipient = \"a@localhost\"" } },
		{ POLL USER "is a smtphost m/24 lmtp", { "protocol = \"lmtp\"", "!port =" } },
		{ POLL "esmtpname u esmtppassword " SECRET " " USER "is a",
			{ "user = \"u\"", "password_file = \"/run/relay-inhouse.pw\"" } },
		{ POLL USER "is a mda '/usr/bin/procmail -d %T'", { "to a program or file" } },
		{ POLL "user hans here is box there pass " SECRET,
			{ "user = \"box\"", "recipient = \"hans@localhost\"" } },
		{ POLL USER "is a@b.example here", { "recipient = \"a@b.example\"" } },
		{ POLL USER "is a=b here", { "recipient = \"a@localhost\"", "the left side" } },
		{ POLL USER "is a b smtpname all@f.example", { "recipient = \"all@f.example\"" } },
		{ POLL USER, { "enabled = false", "DECIDE: no is and no to" } },
		{ POLL "user box is a", { "DECIDE: no password in rc:1" } },
		{ POLL "user box pass 12345 is 67", { "recipient = \"67@localhost\"" } },
		{ POLL "user box pass keep is keep keep",
			{ "recipient = \"keep@", "keep = \"for" } },
		{ POLL "user 'a\\x41\\66\\0103\"' pass x is a", { "user = \"aABC\\\"\"" } },
		{ POLL "user \"a\\\nb\" pass x is a # is c\nkeep", { "\"ab\"", "keep =" } },
		{ "set spambounce set no bouncemail set syslog " POLL USER "is a flush limitflush",
			{ "spambounce (rc:1): no bounce", "limitflush (rc:1)", "flush (rc:1)",
				"!syslog" } },
	};

	run(import_fetchmailrc, rows, ARRAY_LEN(rows));
}

static void test_fetchmail_multidrop(void **state)
{
	static const struct row rows[] = {
		{ POLL "envelope 'X-E:' localdomains f.example g.example " USER "to * here",
			{ "domains = { \"f.example\", \".f.example\", \"g.example\", "
			  "\".g.example\",",
				"envelope \"X-E\" { position = \"top\" pick = \"first\" }",
				"\"*@pop.example = *@localhost\"",
				"!\"*@f.example =", "!mode =" } },
		{ POLL "envelope X-E aka f.example " USER
		       "is hans=h eva here smtpaddress i.example",
			{ "\"hans@f.example = h@i.example\", \"eva@f.example = eva@i.example\", "
			  "\"*@f.example = postmaster@i.example\"" } },
		/* the address itself would be lost in the line of its domain */
		{ POLL "envelope X-E aka f.example " USER "is hans eva here smtpaddress f.example",
			{ "\"hans@f.example = hans@f.example\"",
				"\"*@f.example = postmaster@f.example\"" } },
		{ POLL "envelope X-E aka f.example " USER "is hans=h * smtpaddress f.example",
			{ "\"hans@f.example = h@f.example\"", "!\"*@f.example =" } },
		{ POLL "envelope X-E localdomains f.example " USER "is a@f.example=b c@h.example=d",
			{ "\"a@f.example = b@localhost\", \"c@h.example = d@localhost\"",
				"\"*@h.example = postmaster@localhost\"",
				"!\"*@f.example =", "\"h.example\"" } },
		{ POLL "envelope X-E aka sub.f.example localdomains f.example " USER "is a b",
			{ "!@sub.f.example" } },
		{ POLL "envelope X-E qvirtual f- aka f.example " USER "is *",
			{ "strip_prefix = { \"f-\" }" } },
		{ POLL "envelope 2 X-E aka f.example " USER "is *",
			{ "pick = \"last\"", "envelope 2" } },
		{ POLL "aka f.example " USER "is *",
			{ "fetchmail guessed the recipient", "envelope \"X-Envelope-To\"" } },
		{ POLL "envelope Received " USER "is a b",
			{ "fetchmail guessed", "neither localdomains nor aka" } },
		{ POLL "no envelope aka f.example " USER "is a b", { "fetchmail guessed" } },
	};

	run(import_fetchmailrc, rows, ARRAY_LEN(rows));
}

static void test_fetchmail_faults(void **state)
{
	static const struct row rows[] = {
		{ "", { "rc:0: no poll" } },
		{ "# nothing\n", { "rc:0: no poll" } },
		{ "poll", { "rc:1: the name of a server" } },
		{ "\n\npoll a user", { "rc:3: a name is wanted" } },
		{ "user a", { "rc:1: a user stands behind" } },
		{ "keep", { "rc:1: an option stands before" } },
		{ POLL USER "is a\nport 3", { "rc:2: an option of the server" } },
		{ POLL USER "is a keep\nbogus", { "rc:2: a word that is no option", "!bogus" } },
		{ POLL "user x pass a;" SECRET, { "rc:1: a word that is no option" } },
		{ POLL USER "is a no limit", { "rc:1: a word that is no option" } },
		{ POLL USER "is 'a\n\n", { "rc:1: a string that begins here has no end" } },
		{ POLL USER "is a limit x", { "rc:1: limit wants a number" } },
		{ POLL USER "is a limit 99999999999", { "rc:1: limit wants a number" } },
		{ POLL USER "is = b", { "rc:1: is wants a name" } },
		{ POLL USER "is a '\\0'", { "rc:1: an escape" } },
		{ POLL USER "is a '\\999'", { "rc:1: an escape" } },
		{ POLL "user x pass \"a\nb\" is a",
			{ "rc:1: the password is empty or holds a line" } },
		{ POLL "user x pass '' is a", { "rc:1: the password is empty" } },
		{ POLL "user \"a\nb\" pass c is a", { "rc:1: a value of this entry holds" } },
		{ POLL USER "is 'a b'", { "rc:1: mail would be for \"a b@localhost\"" } },
		{ POLL "envelope X-E aka f.example " USER "is 'a b'=c d",
			{ "rc:1: mail would be for \"a b@f.example\"" } },
		{ POLL "envelope X-E aka f.example " USER "is a='b c' d",
			{ "rc:1: mail would be for \"b c@localhost\"" } },
		{ POLL "envelope X-E localdomains 'f..example' " USER "is *",
			{ "rc:1: \"f..example\" is no domain" } },
		{ "poll a.example proto bogus " USER "is a", { "rc:1: a protocol that" } },
		{ POLL "pass " SECRET " is a", { "rc:1: no user" } },
	};

	run(import_fetchmailrc, rows, ARRAY_LEN(rows));
}

static void test_getmail(void **state)
{
	static const struct row rows[] = {
		{ RETRIEVE "[destination]\ntype=MDA_external\npath=/m\n[options]\ndelete=on",
			{ "tls = \"implicit\"", "envelope \"X-E\"", "domains = { \"f.example\" }",
				"!map", "!keep =", "!postmaster" } },
		{ RETRIEVE "[destination]\ntype=Maildir\npath=~hans/Maildir/",
			{ "\"*@f.example = hans@f.example\"", "keep = \"forever\"",
				"fetched all that was there again" } },
		{ RETRIEVE "[destination]\ntype = MultiSorter\ndefault = [d]\nlocals = (\n"
			   " ('^hans@', '[h]'), # comment\n (r'^a\\.b@f\\.example$', '~eva/M/'),\n"
			   " ('c', '[h]'))\n[h]\ntype=Mboxrd\npath=/var/mail/hans\n[d]\nuser=d\n",
			{ "\"hans@f.example = hans@f.example\", \"a.b@f.example = eva@f.example\", "
			  "\"*@f.example = d@f.example\"",
				"postmaster = \"d@f.example\"", "DECIDE: locals \"c\" for [h]" } },
		{ RETRIEVE "[destination]\ntype=MultiDestination\ndestinations=('[a]','~b/M/')\n"
			   "[a]\ntype=MDA_external\narguments=('-d','a')\n",
			{ "\"*@f.example = a@f.example, b@f.example\"" } },
		{ SIMPLE "port=1110\ntimeout=20\nuse_apop=1\n[destination]\ntype=Maildir\n"
			 "path=/var/mail/eva\n[options]\nread_all=0\ndelete_after=7\n"
			 "max_message_size=9000000\nmax_messages_per_session=3\n",
			{ "recipient = \"eva@localhost\"", "port = 1110", "tls = \"none\"",
				"keep = \"7d\" max_size = \"9000000\" fetch_limit = 3",
				"timeout = \"20s\"", "!enabled" } },
		{ SIMPLE "[destination]\ntype=MDA_lmtp\nhost=/run/l\noverride=a@b.example\n"
			 "fallback=c@b.example",
			{ "host = \"unix:/run/l\" protocol = \"lmtp\"",
				"recipient = \"a@b.example\"", "postmaster = \"c@b.example\"" } },
		{ SIMPLE "[destination]\ntype=MultiGuesser\ndefault=~a/M/\nlocals=(('x@y','~b/M/"
			 "'),)",
			{ "recipient = \"a@localhost\"", "MultiGuesser guessed" } },
		{ SIMPLE "[destination]\ntype=MDA_external\npath=/m\n",
			{ "enabled = false", "whom the mail is for cannot be told" } },
		{ SIMPLE "ssl_ciphers=x\nodd=1\n[destination]\ntype=Maildir\npath=~a/\n"
			 "[options]\nmax_bytes_per_session=0\nuse_netrc=1\n[filter-1]\ntype=x\n",
			{ "use_netrc", "odd (rc:7) has no equivalent", "DECIDE: [filter-1]",
				"!max_bytes" } },
		{ "[retriever]\ntype=SimpleIMAPSSLRetriever\nserver=a\nusername=b\n[destination]\n"
		  "type=Maildir\npath=~a/\n",
			{ "IMAP is not spoken here", "enabled = false" } },
		{ "[retriever]\ntype=BrokenUIDLPOP3Retriever\nserver=a\nusername=b\n[destination]\n"
		  "type=Maildir\npath=~a/\n",
			{ "without UIDL", "enabled = false" } },
		{ "[retriever]\ntype=SimplePOP3SSLRetriever\nserver=a\nusername=b\nca_certs=/ca\n"
		  "password_command=('p', 'it\\'s', '$x')\n[destination]\ntype=Maildir\npath=~a/\n",
			{ "password_command = \"p 'it'\\\\''s' '$x'\"", "tls_ca_file = \"/ca\"",
				"!password_file" } },
		{ "", { "rc:0: [retriever] needs" } },
		{ "[retriever]\ntype=x\n", { "rc:2: [retriever] needs" } },
		{ "x=y\n", { "rc:1: neither" } },
		{ RETRIEVE "bogus\n", { "rc:7: neither" } },
		{ "[retriever]\ntype=MultidropPOP3Retriever\nserver=a\nusername=b\n",
			{ "rc:2: a multidrop retriever needs" } },
		{ RETRIEVE "[destination]\ntype=MultiSorter\nlocals=('a','b\n",
			{ "rc:9: no tuple" } },
		{ SIMPLE "[destination]\ntype=MDA_lmtp\nhost=a\noverride=a b",
			{ "rc:2: mail would be for \"a b@localhost\"" } },
	};

	run(import_getmailrc, rows, ARRAY_LEN(rows));
}

static void test_pullmail(void **state)
{
	static const struct row rows[] = {
		{ "pullmail pop box@f.example " SECRET,
			{ "host = \"pop\"", "tls = \"none\"", "host = \"localhost\"",
				"believed Apparently-To and To", "domains = { \"f.example\" }" } },
		{ "@\"C:\\My Tools\\PullMail.EXE\" pop \"b x\" \"" SECRET "\" /R:X-E: /s:ex /ss:26",
			{ "user = \"b x\"", "envelope \"X-E\"", "host = \"ex\" port = 26",
				"domain.invalid", "!Apparently" } },
		{ "pullmail pop b " SECRET " /to:a@f.example /r:X-E /ps:pop3 /le /t:9 > log\r\n",
			{ "mode = \"single\"", "recipient = \"a@f.example\"", "!envelope",
				"!port =", "/t:9", "!domains" } },
		{ "pullmail pop b %PW%", { "may have been a variable" } },
		{ "rem pullmail a b c\n::pullmail a b c\necho hi\n", { "rc:0: no line calls" } },
		{ "echo\npullmail pop b\n", { "rc:2: a pullmail command is" } },
		{ "pullmail pop b " SECRET " /x:1", { "rc:1: an option that" } },
		{ "pullmail pop b " SECRET " /s", { "rc:1: /s wants a value" } },
		{ "pullmail pop b " SECRET " /ps:99999", { "rc:1: /ps and /ss" } },
		{ "pullmail pop b " SECRET " /to:chef", { "rc:1: mail would be for \"chef\"" } },
	};

	run(import_pullmail, rows, ARRAY_LEN(rows));
}

static const struct {
	import_reader *reader;
	const char *text;
} whole[] = {
	{ import_fetchmailrc,
		"set daemon 9 # c\ndefaults proto pop3\n poll p.example via q.example envelope 1 "
		"'X-E:' "
		"qvirtual f- no dns aka f.example g.example localdomains h.example\n user "
		"\"b\\x41\" "
		"there with password '" SECRET
		"' is a=b, c@d.example=e and f * here;\n ssl smtphost "
		"m/25,n sslproto '' no keep limit 3 user x here is y there pass '" SECRET "'" },
	{ import_getmailrc,
		RETRIEVE
		"port : 110\n[destination]\ntype=MultiSorter\ndefault=[d]\nlocals=((r'^a\\.b@',"
		"'~x/'),\n\t('c@f.example', \"[d]\"))\n[d]\nuser=d\n[options]\ndelete=1\n" },
	{ import_pullmail,
		"@c:\\x\\pullmail.exe pop \"b\" " SECRET " /s:m /ps:110 /r:X-E /t:3 >l\n" },
};

/*
 * Cut and bent at every octet: no crash, and no password in what is said, unless a bent octet has
 * made something else of it (behind `is` everything is a name).
 */
static void test_hostile(void **state)
{
	static const char bent[] = "\0\"\\=\n[";

	for (size_t i = 0; i < ARRAY_LEN(whole); i++) {
		size_t len = strlen(whole[i].text), secrets;
		for (size_t at = 0; at <= len; at++) {
			AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;
			AUTO(mem_freep) char *cut = mem_strndup(whole[i].text, at);
			convert(whole[i].reader, sv(cut, at), &out, &secrets);
			assert_true(out.len > 0);
			assert_null(strstr(strbuf_str(&out), SECRET));
		}
		for (size_t at = 0; at < len * (sizeof bent - 1); at++) {
			AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;
			AUTO(mem_freep) char *copy = mem_strdup(whole[i].text);
			copy[at / (sizeof bent - 1)] = bent[at % (sizeof bent - 1)];
			convert(whole[i].reader, sv(copy, len), &out, &secrets);
		}
	}
}

/* One below the limit, at it, and above. */
static void test_limits(void **state)
{
	for (size_t octets = 1023; octets <= 1025; octets++) {
		AUTO(strbuf_free) struct strbuf text = STRBUF_INIT, out = STRBUF_INIT;
		size_t secrets;
		strbuf_adds(&text, POLL "user b is a pass ");
		for (size_t i = 0; i < octets; i++)
			strbuf_addc(&text, 'p');
		convert(import_fetchmailrc, strbuf_view(&text), &out, &secrets);
		assert_int_equal(secrets, octets <= 1024);
		assert_int_equal(!!strstr(strbuf_str(&out), "more than 1024"), octets > 1024);
	}
	for (size_t n = IMPORT_ACCOUNTS_MAX - 1; n <= IMPORT_ACCOUNTS_MAX + 1; n++) {
		AUTO(import_free) struct import i = { 0 };
		for (size_t k = 0; k < n; k++)
			(void)import_add_account(&i, (struct conf_place){ "rc", 1 }); /* counted */
		assert_int_equal(i.faults.errors, n > IMPORT_ACCOUNTS_MAX);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fetchmail_server),
		cmocka_unit_test(test_fetchmail_user),
		cmocka_unit_test(test_fetchmail_multidrop),
		cmocka_unit_test(test_fetchmail_faults),
		cmocka_unit_test(test_getmail),
		cmocka_unit_test(test_pullmail),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
