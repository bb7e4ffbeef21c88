/*
 * The SMTP/LMTP machine behind the dialog runner.
 *
 *	param tls none|opportunistic|starttls|implicit    param lmtp yes
 *	param dot_timeout SECONDS    param xforward yes
 *	param user NAME, with param password PASSWORD (secret) and param auth auto|MECHANISM
 *	do mail from=ADDRESS to=ADDRESS... [size=N] [8bit] [utf8] [never] [verify] [name=HOST]
 *[ip=IP] do header|body|lf TEXT    a piece of content do dot    do quit    do secured
 *
 * Events: starttls, ready, xforward-refused, body, done, closed, failed CLASS; the last three name
 * the outcome of each recipient, done with the code that decided it: "done accepted:250 later:452".
 */
#include "dialog.h"
#include "fixed_nonce.h"
#include "proto/smtp.h"

#include <stdlib.h>

#define MAX_RCPTS 16

struct session {
	struct smtp *smtp;
	bool by_hand;
	struct strbuf wire; /* by hand: what has left, and the runner has not taken yet */
	struct smtp_mail mail;
	struct smtp_rcpt rcpts[MAX_RCPTS];
	char *words[2 * MAX_RCPTS]; /* what mail and rcpts borrow */
	size_t nwords;
};

static const char *const tls_names[] = {
	[SMTP_TLS_NONE] = "none",
	[SMTP_TLS_OPPORTUNISTIC] = "opportunistic",
	[SMTP_TLS_STARTTLS] = "starttls",
	[SMTP_TLS_IMPLICIT] = "implicit",
};

/* "auto", or a mechanism. */
static bool find_mech(struct strview name, enum sasl_mech *mech)
{
	unsigned bits = 0;

	*mech = SASL_COUNT;
	sasl_offered(&bits, name);
	for (unsigned i = 0; i < SASL_COUNT; i++)
		if (bits & SASL_BIT(i))
			*mech = (enum sasl_mech)i;
	return bits || sv_eq(name, SV("auto"));
}

static void *session_open(const struct dialog_params *params, msec_t now)
{
	struct strview tls = dialog_param(params, "tls", "none");
	struct smtp_params p = { .helo = "mail.firma.example" };
	uint64_t dot_timeout;
	size_t i = 0;

	while (i < ARRAY_LEN(tls_names) && !sv_eq(tls, sv_str(tls_names[i])))
		i++;
	if (i == ARRAY_LEN(tls_names) ||
		!find_mech(dialog_param(params, "auth", "auto"), &p.mech) ||
		!sv_number(dialog_param(params, "dot_timeout", "600"), 86400, &dot_timeout))
		return NULL;
	p.user = dialog_param(params, "user", "");
	p.password = dialog_param(params, "password", "secret");
	p.xforward = sv_eq(dialog_param(params, "xforward", "no"), SV("yes"));
	p.tls = (enum smtp_tls)i;
	p.lmtp = sv_eq(dialog_param(params, "lmtp", "no"), SV("yes"));
	p.dot_timeout_ms = (uint32_t)dot_timeout * 1000;
	struct session *s = mem_zalloc(sizeof *s);
	s->smtp = smtp_new(&p, now);
	s->by_hand = sv_eq(dialog_param(params, "writes", ""), SV("by-hand"));
	return s;
}

static void forget_mail(struct session *s)
{
	while (s->nwords)
		free(s->words[--s->nwords]);
	s->mail = (struct smtp_mail){ .rcpts = s->rcpts };
}

static void session_close(void *m)
{
	struct session *s = m;

	smtp_free(s->smtp);
	strbuf_free(&s->wire);
	forget_mail(s);
	free(s);
}

static void tell_outcomes(const struct session *s, bool codes, struct dialog_event *to)
{
	for (size_t i = 0; i < s->mail.nrcpts; i++) {
		strbuf_addf(&to->text, " %s", smtp_outcome_name(s->rcpts[i].outcome));
		if (codes)
			strbuf_addf(&to->text, ":%d", s->rcpts[i].reply.code);
		strbuf_addf(&to->detail, " [%s]", s->rcpts[i].reply.text);
	}
}

static void translate(struct session *s, const struct smtp_event *from, struct dialog_event *to)
{
	static const char *const names[] = {
		[SMTP_NONE] = "",
		[SMTP_STARTTLS] = "starttls",
		[SMTP_READY] = "ready",
		[SMTP_XFORWARD_REFUSED] = "xforward-refused",
		[SMTP_BODY] = "body",
		[SMTP_DONE] = "done",
		[SMTP_CLOSED] = "closed",
		[SMTP_FAILED] = "failed",
	};
	bool failed = from->type == SMTP_FAILED;

	strbuf_adds(&to->text, names[from->type]);
	if (failed) {
		strbuf_addf(&to->text, " %s", err_class_name(from->err.class));
		strbuf_addf(
			&to->detail, "%s%s", from->ready_before ? "" : "relay: ", from->err.text);
	}
	to->final = failed || from->type == SMTP_CLOSED;
	if (to->final || from->type == SMTP_DONE) {
		tell_outcomes(s, from->type == SMTP_DONE, to);
		forget_mail(s);
	}
}

static size_t session_feed(void *m, struct strview in, msec_t now, struct dialog_event *ev)
{
	struct session *s = m;
	struct smtp_event event;
	size_t used = smtp_feed(s->smtp, in.ptr, in.len, now, &event);

	translate(s, &event, ev);
	return used;
}

static void session_eof(void *m, msec_t now, struct dialog_event *ev)
{
	struct session *s = m;
	struct smtp_event event;

	smtp_eof(s->smtp, now, &event);
	translate(s, &event, ev);
}

static msec_t session_deadline(void *m)
{
	return smtp_deadline(((struct session *)m)->smtp);
}

static void session_tick(void *m, msec_t now, struct dialog_event *ev)
{
	struct session *s = m;
	struct smtp_event event;

	smtp_tick(s->smtp, now, &event);
	translate(s, &event, ev);
}

static struct strview session_output(void *m)
{
	struct session *s = m;
	struct strview out = strbuf_view(&s->wire);

	if (!s->by_hand)
		smtp_output(s->smtp, &out);
	return out;
}

static void session_sent(void *m, size_t len, msec_t now)
{
	struct session *s = m;

	if (s->by_hand)
		strbuf_consume(&s->wire, len);
	else
		smtp_sent(s->smtp, len, now);
}

static bool do_write(struct session *s, struct strview args, msec_t now)
{
	struct strview out;
	uint64_t octets;

	smtp_output(s->smtp, &out);
	if (!s->by_hand || !sv_number(args, UINT32_MAX, &octets))
		return false;
	out.len = out.len < octets ? out.len : (size_t)octets;
	strbuf_addv(&s->wire, out);
	smtp_sent(s->smtp, out.len, now);
	return true;
}

static const char *word(struct session *s, struct strview text)
{
	ensure(s->nwords < ARRAY_LEN(s->words));
	return s->words[s->nwords++] = mem_strndup(text.ptr, text.len);
}

static bool mail_word(struct session *s, struct strview w)
{
	struct strview name = sv_token(&w, '=');

	if (sv_eq(name, SV("from")))
		s->mail.sender = word(s, w);
	else if (sv_eq(name, SV("to")) && s->mail.nrcpts < MAX_RCPTS)
		s->rcpts[s->mail.nrcpts++] = (struct smtp_rcpt){ .address = word(s, w) };
	else if (sv_eq(name, SV("name")))
		s->mail.client_name = word(s, w);
	else if (sv_eq(name, SV("ip")))
		s->mail.client_ip = word(s, w);
	else if (sv_eq(name, SV("size")))
		return sv_number(w, UINT64_MAX, &s->mail.octets);
	else if (sv_eq(name, SV("8bit")))
		s->mail.eightbit = true;
	else if (sv_eq(name, SV("utf8")))
		s->mail.utf8_header = true;
	else if (sv_eq(name, SV("verify")))
		s->mail.verify = true;
	else if (sv_eq(name, SV("never")))
		s->mail.notify_never = true;
	else
		return false;
	return true;
}

static bool do_mail(struct session *s, struct strview args, msec_t now, struct dialog_event *ev)
{
	struct smtp_event event;

	forget_mail(s);
	while (args.len)
		if (!mail_word(s, sv_token(&args, ' ')))
			return false;
	if (!s->mail.sender || !s->mail.nrcpts || !smtp_idle(s->smtp))
		return false;
	smtp_mail(s->smtp, &s->mail, now);
	smtp_poll(s->smtp, now, &event);
	translate(s, &event, ev);
	return true;
}

static bool session_command(
	void *m, struct strview name, struct strview args, msec_t now, struct dialog_event *ev)
{
	static const struct {
		const char *name;
		void (*call)(struct smtp *s, msec_t now);
	} plain[] = { { "dot", smtp_dot }, { "quit", smtp_quit }, { "secured", smtp_secured } };
	static const char *const parts[] = {
		[STUFF_HEADER] = "header",
		[STUFF_BODY] = "body",
		[STUFF_LF] = "lf",
	};
	struct session *s = m;

	if (sv_eq(name, SV("mail")))
		return do_mail(s, args, now, ev);
	if (sv_eq(name, SV("write")))
		return do_write(s, args, now);
	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		if (sv_eq(name, sv_str(plain[i].name)))
			return plain[i].call(s->smtp, now), true;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (sv_eq(name, sv_str(parts[i])))
			return smtp_body(s->smtp, (enum stuff_part)i, args, now), true;
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
