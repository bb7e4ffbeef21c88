/*
 * multidropctl probe: one login, and the headers of the newest messages; see ctl_probe.h.
 *
 * Owns the headers. Commands after the login are STAT, TOP and QUIT and no others, so nothing can
 * change on the server; where a server deletes at QUIT what was read, QUIT stays away too.
 */
#include "ctl_probe.h"

#include "base/encode.h"
#include "ctl_session.h"

#include <stdlib.h>

struct probe {
	struct ctl_session session; /* first: its events come with it */
	uint32_t wanted;            /* --samples */
	uint32_t listed;            /* messages, by STAT */
	uint32_t asked, answered;
	struct header *headers; /* one for each message that is answered, in their order */
	size_t nheaders;
	struct strbuf refusal; /* the first -ERR to TOP */
};

/* ---- the session ---- */

static void ask(struct probe *p, uint32_t listed)
{
	msec_t now = loop_now(&p->session.loop);

	p->listed = listed;
	p->asked = listed < p->wanted ? listed : p->wanted;
	p->headers = mem_zalloc((p->asked + 1) * sizeof *p->headers);
	for (uint32_t i = 0; i < p->asked; i++)
		pop3_top(p->session.pop3, listed - p->asked + 1 + i, 0, now);
}

/* QUIT without a DELE changes nothing, unless the server deletes what was read (EXPIRE 0). */
static void finish(struct probe *p)
{
	if (p->answered < p->asked)
		return;
	if (p->session.account->provider->retr_deletes || pop3_caps(p->session.pop3)->expire_0)
		ctl_session_end(&p->session);
	else
		ctl_session_quit(&p->session);
}

static void on_refused(struct probe *p, struct strview reply)
{
	if (!p->refusal.len)
		escape_foreign(&p->refusal, reply);
	p->answered++;
	finish(p);
}

static void on_header_end(struct probe *p)
{
	header_end(&p->headers[p->nheaders++]);
	p->answered++;
	finish(p);
}

static void on_event(struct ctl_session *s, const struct pop3_event *ev)
{
	struct probe *p = (struct probe *)s;

	switch (ev->type) {
	case POP3_READY:
		pop3_stat(s->pop3, loop_now(&s->loop));
		break;
	case POP3_STAT:
		ask(p, ev->number);
		finish(p);
		break;
	case POP3_TOP_START:
		header_init(&p->headers[p->nheaders], false); /* the wire has CRLF */
		break;
	case POP3_TOP_DATA:
		(void)header_push(&p->headers[p->nheaders], ev->data.ptr, ev->data.len);
		break; /* what it does not take is body, or beyond a limit */
	case POP3_TOP_END:
		on_header_end(p);
		break;
	case POP3_TOP_ERR:
		on_refused(p, ev->reply);
		break;
	case POP3_STARTTLS: /* the session's */
	case POP3_RENEW:
	case POP3_QUIT_OK:
	case POP3_QUIT_ERR:
	case POP3_FAILED:
	case POP3_NONE:
	case POP3_UIDL_ITEM:
	case POP3_UIDL_END:
	case POP3_UIDL_ERR:
	case POP3_LIST_ITEM:
	case POP3_LIST_END:
	case POP3_RETR_START:
	case POP3_RETR_DATA:
	case POP3_RETR_END:
	case POP3_RETR_ERR:
	case POP3_DELE_OK:
	case POP3_DELE_ERR:
	case POP3_NOOP_OK:
		break;
	}
}

/* ---- what came of it ---- */

/* Without domains (mode single) the login's own are the only guess. */
static const char *assumed_domain(const struct conf_account *a)
{
	const char *at = a->rules.own_mailbox ? strrchr(a->rules.own_mailbox, '@') : NULL;

	return at ? at + 1 : NULL;
}

static int report(const struct probe *p, const struct ctl_call *call)
{
	struct resolve_rules rules = p->session.account->rules;
	struct survey s;
	struct probe_report r = { p->session.account, call->config_path, NULL, p->listed, &s };

	if (!rules.ndomains)
		r.domain = assumed_domain(p->session.account);
	AUTO(mem_freep) char *domain = domain_normal(sv_str(r.domain));
	if (domain) {
		rules.domains = &domain;
		rules.ndomains = 1;
	}
	survey(&rules, p->headers, p->nheaders, &s);
	int status = probe_print(&r, call->json);
	survey_free(&s);
	return status;
}

static int conclude(const struct probe *p, const struct ctl_call *call)
{
	if (p->session.err.class != ERR_NONE)
		return ctl_fail("%s: %s", p->session.account->name, p->session.err.text);
	if (!p->listed)
		return ctl_fail("%s: the maildrop is empty; send it a few messages first",
			p->session.account->name);
	if (!p->nheaders)
		return ctl_fail("%s: the server does not give headers alone (TOP: %s). Save a "
				"message to a file and use multidropctl explain",
			p->session.account->name, strbuf_str(&p->refusal));
	return report(p, call);
}

static int probe_account(struct probe *p, struct config *config, const struct ctl_call *call)
{
	const struct conf_account *a = p->session.account;
	int status = ctl_need_password(a);

	if (status)
		return status;
	if (!a->rules.ndomains && !assumed_domain(a))
		return ctl_fail("%s: the account has no domains, and its user is no address: "
				"which addresses are yours?",
			a->name);
	status = ctl_session_run(&p->session, config, call);
	return status ? status : conclude(p, call);
}

int ctl_probe(const struct ctl_call *call)
{
	struct probe p = { .session.on_event = on_event, .wanted = call->samples };
	struct config *config;
	int status = ctl_open(call, CONF_SECRETS_AT_HAND, &config, &p.session.account);

	if (status)
		return status;
	status = probe_account(&p, config, call);
	for (uint32_t i = 0; i < p.asked; i++)
		header_free(&p.headers[i]);
	free(p.headers);
	strbuf_free(&p.refusal);
	config_unref(config);
	return status;
}
