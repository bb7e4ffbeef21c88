/*
 * The words of a fetchmailrc: every option that fetchmail's manual documents, and what is to be
 * said about it where it has no equivalent. Owns nothing.
 */
#include "core/import_fetchmail.h"

#define P         IMPORT_PROVIDER
#define R         IMPORT_RELAY
#define A         IMPORT_ACCOUNT
#define NOT_DONE  "has no equivalent here"
#define UNCHANGED "mail is handed on as it is"

static const struct fm_option options[] = {
	{ "daemon", GLOBAL, NUMBER, FM_DAEMON, A, NULL },
	{ "postmaster", GLOBAL, NAME, FM_POSTMASTER, A, NULL },
	{ "bouncemail", GLOBAL, FLAG, FM_NONE, A, NULL }, /* said about every file */
	{ "spambounce", GLOBAL, FLAG, FM_NONE, A, "no bounce is ever sent" },
	{ "softbounce", GLOBAL, FLAG, FM_NONE, A, NULL }, /* as here: nothing is deleted */
	{ "logfile", GLOBAL, NAME, FM_NONE, A, NULL },
	{ "pidfile", GLOBAL, NAME, FM_NONE, A, NULL },
	{ "idfile", GLOBAL, NAME, FM_NONE, A, NULL },
	{ "syslog", GLOBAL, FLAG, FM_NONE, A, NULL },
	{ "invisible", GLOBAL, FLAG, FM_NONE, A, "there is always a Received line" },
	{ "showdots", GLOBAL, FLAG, FM_NONE, A, NULL },
	{ "properties", GLOBAL, NAME, FM_NONE, A, NULL },

	{ "via", SERVER, NAME, FM_VIA, P, NULL },
	{ "protocol", SERVER, NAME, FM_PROTOCOL, P, NULL },
	{ "proto", SERVER, NAME, FM_PROTOCOL, P, NULL },
	{ "port", SERVER, NAME, FM_SERVICE, P, NULL },
	{ "service", SERVER, NAME, FM_SERVICE, P, NULL },
	{ "authenticate", SERVER, NAME, FM_AUTH, P, NULL },
	{ "auth", SERVER, NAME, FM_AUTH, P, NULL },
	{ "timeout", SERVER, NUMBER, FM_TIMEOUT, P, NULL },
	{ "interval", SERVER, NUMBER, FM_INTERVAL, A, NULL },
	{ "envelope", SERVER, HEADER, FM_ENVELOPE, P, NULL },
	{ "qvirtual", SERVER, NAME, FM_QVIRTUAL, P, NULL },
	{ "localdomains", SERVER, NAMES, FM_LOCALDOMAINS, A, NULL },
	{ "local", SERVER, NAMES, FM_LOCALDOMAINS, A, NULL },
	{ "aka", SERVER, NAMES, FM_AKA, A, NULL },
	{ "dns", SERVER, FLAG, FM_NONE, A, NULL },
	{ "checkalias", SERVER, FLAG, FM_NONE, A,
		"names are never compared by address; `domains` decides" },
	{ "uidl", SERVER, FLAG, FM_NONE, A, NULL }, /* as here, always */
	{ "tracepolls", SERVER, FLAG, FM_NONE, A, "the Received line names the POP3 host anyway" },
	{ "interface", SERVER, NAME, FM_NONE, P, NOT_DONE "; see IPAddressAllow= of systemd" },
	{ "monitor", SERVER, NAME, FM_NONE, P, NOT_DONE },
	{ "plugin", SERVER, NAME, FM_NONE, P,
		IMPORT_DECIDE "connections are made directly; run the tunnel as a service of its "
			      "own and write its end as host and port" },
	{ "plugout", SERVER, NAME, FM_NONE, R, IMPORT_DECIDE "connections are made directly" },
	{ "principal", SERVER, NAME, FM_NONE, P, "there is no Kerberos here" },
	{ "esmtpname", SERVER, NAME, FM_ESMTP_NAME, R, NULL },
	{ "esmtppassword", SERVER, NAME, FM_ESMTP_PASSWORD, R, NULL },
	{ "bad-header", SERVER, NAME, FM_NONE, A,
		"a message with a bad header is neither refused nor deleted: it is resolved by "
		"what can be read, or is unresolved" },

	{ "password", USER, NAME, FM_PASSWORD, A, NULL },
	{ "pass", USER, NAME, FM_PASSWORD, A, NULL },
	{ "is", USER, LOCALS, FM_LOCALS, A, NULL },
	{ "to", USER, LOCALS, FM_LOCALS, A, NULL },
	{ "ssl", USER, FLAG, FM_SSL, P, NULL },
	{ "sslproto", USER, NAME, FM_SSLPROTO, P, NULL },
	{ "sslcertck", USER, FLAG, FM_SSLCERTCK, P, NULL },
	{ "sslcertfile", USER, NAME, FM_SSLCERTFILE, P, NULL },
	{ "sslcertpath", USER, NAME, FM_NONE, P,
		IMPORT_DECIDE "a folder of certificates is not read: put those of the provider "
			      "into one file and name it as tls_ca_file" },
	{ "sslcommonname", USER, NAME, FM_NONE, P,
		IMPORT_DECIDE "the certificate must be for `host`: write the name there that is "
			      "in it" },
	{ "sslfingerprint", USER, NAME, FM_NONE, P,
		IMPORT_DECIDE "an MD5 fingerprint pins nothing any more; multidropd.conf(5) shows "
			      "under tls_pin how to pin the key" },
	{ "sslcert", USER, NAME, FM_NONE, P, "there are no client certificates here" },
	{ "sslkey", USER, NAME, FM_NONE, P, "there are no client certificates here" },
	{ "folder", USER, NAMES, FM_NONE, A, "POP3 has no folders" },
	{ "smtphost", USER, NAMES, FM_SMTPHOST, R, NULL },
	{ "smtp", USER, NAMES, FM_SMTPHOST, R, NULL },
	{ "fetchdomains", USER, NAMES, FM_NONE, A, NOT_DONE ": it is for ETRN and ODMR" },
	{ "smtpaddress", USER, NAME, FM_SMTPADDRESS, A, NULL },
	{ "smtpname", USER, NAME, FM_SMTPNAME, A, NULL },
	{ "antispam", USER, NUMBERS, FM_NONE, A,
		"no reply makes mail disappear: `unknown` and `rejected` decide" },
	{ "mda", USER, NAME, FM_MDA, R, NULL },
	{ "bsmtp", USER, NAME, FM_MDA, R, NULL },
	{ "lmtp", USER, FLAG, FM_LMTP, R, NULL },
	{ "preconnect", USER, NAME, FM_NONE, P,
		IMPORT_DECIDE "no command is run before a connection; make it a service of its "
			      "own" },
	{ "postconnect", USER, NAME, FM_NONE, P,
		IMPORT_DECIDE "no command is run after a connection" },
	{ "keep", USER, FLAG, FM_KEEP, A, NULL },
	{ "flush", USER, FLAG, FM_NONE, A,
		"nothing is deleted but what was delivered from here, as `keep` says" },
	{ "limitflush", USER, FLAG, FM_NONE, A,
		"what is too large is held, not deleted; `multidropctl held discard` does that" },
	{ "fetchall", USER, FLAG, FM_NONE, A,
		NULL },                              /* as here: whatever is not known is fetched */
	{ "rewrite", USER, FLAG, FM_NONE, A, NULL }, /* said about every file */
	{ "stripcr", USER, FLAG, FM_NONE, A, NULL },
	{ "forcecr", USER, FLAG, FM_NONE, A, NULL }, /* as here */
	{ "pass8bits", USER, FLAG, FM_NONE, A, NULL },
	{ "dropstatus", USER, FLAG, FM_NONE, A, "Status lines stay: " UNCHANGED },
	{ "dropdelivered", USER, FLAG, FM_NONE, A,
		"Delivered-To is taken out here as well, but after it has been read; fetchmail "
		"takes it out before" },
	{ "mimedecode", USER, FLAG, FM_NONE, A, UNCHANGED },
	{ "idle", USER, FLAG, FM_NONE, A, NULL },
	{ "limit", USER, NUMBER, FM_LIMIT, A, NULL },
	{ "warnings", USER, NUMBER, FM_NONE, A,
		"what is too large is shown by `multidropctl status` and `held list`" },
	{ "batchlimit", USER, NUMBER, FM_BATCHLIMIT, R, NULL },
	{ "fetchlimit", USER, NUMBER, FM_FETCHLIMIT, A, NULL },
	{ "fetchsizelimit", USER, NUMBER, FM_NONE, A, NULL },
	{ "fastuidl", USER, NUMBER, FM_NONE, A, NULL },
	{ "expunge", USER, NUMBER, FM_NONE, A,
		"a session that breaks off loses nothing here; fetch_limit makes them shorter" },
	{ "properties", USER, NAME, FM_NONE, A, NULL },
};

const struct fm_option *fm_option_named(struct strview word, bool in_set)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if ((options[i].scope == GLOBAL) == in_set && sv_eq(word, sv_str(options[i].word)))
			return &options[i];
	return NULL;
}
