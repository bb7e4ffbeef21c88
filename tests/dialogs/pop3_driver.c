/*
 * The POP3 machine behind the dialog runner: parameters, commands and events by name.
 *
 * param auth auto|user|apop|MECHANISM    param renewable true: do renew PASSWORD answers its event
 */
#include "dialog.h"
#include "fixed_nonce.h"
#include "proto/pop3.h"

#include <openssl/evp.h>

static const char *const tls_names[] = {
	[POP3_TLS_NONE] = "none",
	[POP3_TLS_IMPLICIT] = "implicit",
	[POP3_TLS_STLS] = "stls",
};

static const char *const auth_names[] = {
	[POP3_AUTH_AUTO] = "auto",
	[POP3_AUTH_USER] = "user",
	[POP3_AUTH_APOP] = "apop",
};

/* How an event reads: its name, then those of number, octets and uid that it carries. */
static const struct {
	const char *name;
	bool number, octets, uid, data, reply;
} shapes[] = {
	[POP3_NONE] = { "" },
	[POP3_STARTTLS] = { "starttls" },
	[POP3_RENEW] = { "renew" },
	[POP3_READY] = { "ready" },
	[POP3_STAT] = { "stat", .number = true, .octets = true },
	[POP3_UIDL_ITEM] = { "uidl-item", .number = true, .uid = true },
	[POP3_UIDL_END] = { "uidl-end" },
	[POP3_UIDL_ERR] = { "uidl-err", .reply = true },
	[POP3_LIST_ITEM] = { "list-item", .number = true, .octets = true },
	[POP3_LIST_END] = { "list-end" },
	[POP3_RETR_START] = { "retr-start", .number = true },
	[POP3_RETR_DATA] = { "retr-data", .number = true, .data = true },
	[POP3_RETR_END] = { "retr-end", .number = true, .octets = true },
	[POP3_RETR_ERR] = { "retr-err", .number = true, .reply = true },
	[POP3_TOP_START] = { "top-start", .number = true },
	[POP3_TOP_DATA] = { "top-data", .number = true, .data = true },
	[POP3_TOP_END] = { "top-end", .number = true, .octets = true },
	[POP3_TOP_ERR] = { "top-err", .number = true, .reply = true },
	[POP3_DELE_OK] = { "dele-ok", .number = true },
	[POP3_DELE_ERR] = { "dele-err", .number = true, .reply = true },
	[POP3_NOOP_OK] = { "noop-ok" },
	[POP3_QUIT_OK] = { "quit-ok" },
	[POP3_QUIT_ERR] = { "quit-err", .reply = true },
	[POP3_FAILED] = { "failed" },
};

static bool find_name(const char *const *names, size_t n, struct strview name, size_t *at)
{
	for (*at = 0; *at < n; (*at)++)
		if (sv_eq(sv_str(names[*at]), name))
			return true;
	return false;
}

/* One of auth_names, or a mechanism. */
static bool find_auth(struct strview name, struct pop3_params *p)
{
	size_t at;
	unsigned mech = 0;

	if (find_name(auth_names, ARRAY_LEN(auth_names), name, &at)) {
		p->auth = (enum pop3_auth)at;
		return true;
	}
	sasl_offered(&mech, name);
	p->auth = POP3_AUTH_SASL;
	while (mech && !(mech & SASL_BIT(p->mech)))
		p->mech++;
	return mech;
}

static int md5(struct strview in, uint8_t out[POP3_MD5_OCTETS])
{
	return EVP_Digest(in.ptr, in.len, out, NULL, EVP_md5(), NULL) == 1 ? 0 : -1;
}

static void *session_open(const struct dialog_params *params, msec_t now)
{
	size_t tls;
	struct pop3_params p = {
		.user = dialog_param(params, "user", "mrose"),
		.password = dialog_param(params, "password", "secret"),
		.timeout_ms = 60000,
		.lf_lines = sv_eq(dialog_param(params, "lf_lines", "false"), SV("true")),
		.renewable = sv_eq(dialog_param(params, "renewable", "false"), SV("true")),
		.md5 = md5,
	};

	if (!find_name(tls_names, ARRAY_LEN(tls_names), dialog_param(params, "tls", "implicit"),
		    &tls) ||
		!find_auth(dialog_param(params, "auth", "auto"), &p))
		return NULL;
	p.tls = (enum pop3_tls)tls;
	return pop3_new(&p, now);
}

static void session_close(void *m)
{
	pop3_free(m);
}

static void translate(const struct pop3_event *from, struct dialog_event *to)
{
	strbuf_adds(&to->text, shapes[from->type].name);
	if (shapes[from->type].number)
		strbuf_addf(&to->text, " %u", from->number);
	if (shapes[from->type].octets)
		strbuf_addf(&to->text, " %llu", (unsigned long long)from->octets);
	if (shapes[from->type].uid)
		strbuf_addf(&to->text, " <%.*s>", SV_FMT(from->uid));
	if (shapes[from->type].reply)
		strbuf_addv(&to->detail, from->reply);
	to->is_data = shapes[from->type].data;
	strbuf_addv(&to->data, from->data);
	if (from->type == POP3_RENEW)
		strbuf_adds(&to->detail, from->err.text);
	if (from->type == POP3_FAILED) {
		strbuf_addf(&to->text, " %s", err_class_name(from->err.class));
		strbuf_adds(&to->detail, from->err.text);
		to->final = true;
	}
}

static size_t session_feed(void *m, struct strview in, msec_t now, struct dialog_event *ev)
{
	struct pop3_event event;
	size_t used = pop3_feed(m, in.ptr, in.len, now, &event);

	translate(&event, ev);
	return used;
}

static void session_eof(void *m, msec_t now, struct dialog_event *ev)
{
	struct pop3_event event;

	pop3_eof(m, now, &event);
	translate(&event, ev);
}

static msec_t session_deadline(void *m)
{
	return pop3_deadline(m);
}

static void session_tick(void *m, msec_t now, struct dialog_event *ev)
{
	struct pop3_event event;

	pop3_tick(m, now, &event);
	translate(&event, ev);
}

static struct strview session_output(void *m)
{
	struct strview out;

	pop3_output(m, &out);
	return out;
}

static void session_sent(void *m, size_t len, msec_t now)
{
	pop3_sent(m, len);
}

static const struct {
	const char *name;
	void (*plain)(struct pop3 *p, msec_t now);
	void (*numbered)(struct pop3 *p, uint32_t number, msec_t now);
} commands[] = {
	{ "secured", pop3_secured, NULL },
	{ "resume", pop3_resume, NULL },
	{ "stat", pop3_stat, NULL },
	{ "uidl", pop3_uidl, NULL },
	{ "list", pop3_list, NULL },
	{ "noop", pop3_noop, NULL },
	{ "quit", pop3_quit, NULL },
	{ "retr", NULL, pop3_retr },
	{ "dele", NULL, pop3_dele },
};

static bool session_command(
	void *m, struct strview name, struct strview args, msec_t now, struct dialog_event *ev)
{
	uint64_t number = 0, lines = 0;
	struct pop3_event event;

	if (sv_eq(name, SV("renew"))) {
		pop3_renew(m, args, now, &event);
		translate(&event, ev);
		return true;
	}
	if (args.len && !sv_number(sv_token(&args, ' '), UINT32_MAX, &number))
		return false;
	if (sv_eq(name, SV("top")) && sv_number(args, UINT32_MAX, &lines)) {
		pop3_top(m, (uint32_t)number, (uint32_t)lines, now);
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (!sv_eq(name, sv_str(commands[i].name)))
			continue;
		if (commands[i].plain)
			commands[i].plain(m, now);
		else
			commands[i].numbered(m, (uint32_t)number, now);
		return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	static const struct dialog_driver driver = {
		.open = session_open,
		.close = session_close,
		.feed = session_feed,
		.eof = session_eof,
		.deadline = session_deadline,
		.tick = session_tick,
		.output = session_output,
		.sent = session_sent,
		.command = session_command,
	};

	return dialog_main(&driver, argc, argv);
}
