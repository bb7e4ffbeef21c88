/*
 * multidropctl probe: one login, and the headers of the newest messages; see ctl_probe.h.
 *
 * Owns the account's lock, the connection, the POP3 machine and the headers. Commands after the
 * login are STAT, TOP and QUIT and no others, so nothing can change on the server; where a server
 * deletes at QUIT what was read, QUIT stays away too. The login permit is the only state written.
 */
#include "ctl_probe.h"

#include "base/encode.h"
#include "proto/pop3.h"
#include "store_sqlite.h"
#include "system.h"
#include "tls.h"
#include "transport.h"

#include <grp.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct probe {
	const struct conf_account *account;
	struct loop loop;
	struct transport *transport;
	struct pop3 *pop3;
	struct event *timer;
	uint32_t wanted; /* --samples */
	uint32_t listed; /* messages, by STAT */
	uint32_t asked, answered;
	struct header *headers; /* one for each message that is answered, in their order */
	size_t nheaders;
	struct strbuf refusal; /* the first -ERR to TOP */
	struct err err;        /* class NONE: fine so far */
	bool quitting, done;
};

static void flush(struct probe *p);

/* ---- the session ---- */

static void end(struct probe *p)
{
	transport_free(p->transport);
	p->transport = NULL;
	p->done = true;
}

static void fail(struct probe *p, const struct err *err)
{
	if (!p->quitting) /* after the last header the server may end it as it likes */
		p->err = *err;
	end(p);
}

static void ask(struct probe *p, uint32_t listed)
{
	msec_t now = loop_now(&p->loop);

	p->listed = listed;
	p->asked = listed < p->wanted ? listed : p->wanted;
	p->headers = mem_zalloc((p->asked + 1) * sizeof *p->headers);
	for (uint32_t i = 0; i < p->asked; i++)
		pop3_top(p->pop3, listed - p->asked + 1 + i, 0, now);
}

/* QUIT without a DELE changes nothing, unless the server deletes what was read (EXPIRE 0). */
static void finish(struct probe *p)
{
	if (p->answered < p->asked)
		return;
	p->quitting = true;
	if (p->account->provider->retr_deletes || pop3_caps(p->pop3)->expire_0)
		end(p);
	else
		pop3_quit(p->pop3, loop_now(&p->loop));
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

static void on_event(struct probe *p, const struct pop3_event *ev)
{
	switch (ev->type) {
	case POP3_STARTTLS:
		transport_starttls(p->transport);
		break;
	case POP3_READY:
		pop3_stat(p->pop3, loop_now(&p->loop));
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
	case POP3_QUIT_OK:
	case POP3_QUIT_ERR: /* nothing was to be deleted */
		end(p);
		break;
	case POP3_FAILED:
		fail(p, &ev->err);
		break;
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

static void on_open(void *ctx)
{
	struct probe *p = ctx;
	const struct conf_account *a = p->account;
	static const enum pop3_tls tls[] = { [TLS_NONE] = POP3_TLS_NONE,
		[TLS_STARTTLS] = POP3_TLS_STLS,
		[TLS_IMPLICIT] = POP3_TLS_IMPLICIT };
	static const enum pop3_auth auth[] = { [AUTH_AUTO] = POP3_AUTH_AUTO,
		[AUTH_USER] = POP3_AUTH_USER,
		[AUTH_PLAIN] = POP3_AUTH_PLAIN };
	const struct pop3_params params = { .user = sv_str(a->user),
		.password = sv(a->password.bytes, a->password.len),
		.tls = tls[a->provider->tls.mode],
		.auth = auth[a->provider->auth],
		.timeout_ms = (uint32_t)a->provider->timeout_ms,
		.lf_lines = a->provider->lf_lines };

	if (p->pop3)
		pop3_secured(p->pop3, loop_now(&p->loop));
	else
		p->pop3 = pop3_new(&params, loop_now(&p->loop));
	flush(p);
}

static void on_data(void *ctx, const char *buf, size_t len)
{
	struct probe *p = ctx;
	struct pop3_event ev;

	while (len && !p->done) {
		size_t n = pop3_feed(p->pop3, buf, len, loop_now(&p->loop), &ev);
		buf += n;
		len -= n;
		on_event(p, &ev);
	}
	flush(p);
}

static void on_writable(void *ctx)
{
	flush(ctx);
}

static void on_closed(void *ctx, const struct err *err)
{
	struct probe *p = ctx;
	struct pop3_event ev = { .type = POP3_FAILED };

	if (!err && p->pop3)
		pop3_eof(p->pop3, loop_now(&p->loop), &ev);
	else if (!err)
		err_set(&ev.err, ERR_NET, 0, "connection closed before the greeting");
	fail(p, err ? err : &ev.err);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct probe *p = ctx;
	struct pop3_event ev;

	if (p->done || !p->pop3)
		return;
	pop3_tick(p->pop3, loop_now(&p->loop), &ev);
	on_event(p, &ev);
	flush(p);
}

static void flush(struct probe *p)
{
	struct strview out;
	msec_t now = loop_now(&p->loop);

	if (p->done || !p->pop3 || !transport_is_open(p->transport))
		return;
	pop3_output(p->pop3, &out);
	if (out.len)
		pop3_sent(p->pop3, transport_write(p->transport, out.ptr, out.len));
	msec_t at = pop3_deadline(p->pop3);
	if (at == MSEC_NEVER)
		return;
	at = at > now ? at - now : 0;
	event_add(p->timer, &(struct timeval){ .tv_sec = at / 1000, .tv_usec = at % 1000 * 1000 });
}

static const struct transport_ops ops = {
	.on_open = on_open,
	.on_data = on_data,
	.on_writable = on_writable,
	.on_closed = on_closed,
};

static void run_session(struct probe *p, struct tls_client *take_tls)
{
	const struct conf_provider *provider = p->account->provider;
	const struct transport_target target = { .host = provider->host,
		.port = provider->port,
		.tls = take_tls,
		.tls_at_once = provider->tls.mode == TLS_IMPLICIT,
		.handshake_ms = provider->timeout_ms };

	p->timer = event_new(p->loop.base, -1, 0, on_timer, p);
	p->transport = transport_open(&p->loop, &target, &ops, p);
	while (!p->done) {
		ensure(event_base_loop(p->loop.base, EVLOOP_ONCE) >= 0);
		loop_reap(&p->loop);
	}
	event_free(p->timer);
	pop3_free(p->pop3);
}

/* ---- the gates before it, which are the daemon's ---- */

/*
 * Run by root, the state's files must stay the daemon's: the rest happens as their owner, who also
 * is who reads tls_ca_file in the daemon.
 */
static int become_owner(const char *state_dir)
{
	struct stat st;

	if (stat(state_dir, &st))
		return ctl_fail("state_dir %s cannot be used; multidropd makes it", state_dir);
	if (geteuid() || !st.st_uid)
		return 0;
	if (setgroups(0, NULL) || setgid(st.st_gid) || setuid(st.st_uid))
		return ctl_fail(
			"cannot become uid %u, the owner of %s", (unsigned)st.st_uid, state_dir);
	return 0;
}

static int refuse_login(const struct conf_account *a, const struct login_permit *permit)
{
	time_t at = (time_t)((system_clock.wall(&system_clock) + permit->wait_ms + 999) / 1000);
	char when[40] = "";
	struct tm tm;

	if (localtime_r(&at, &tm))
		(void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S%z", &tm);
	return ctl_fail("%s: no login now: %s; the next one is allowed in %" PRId64 " s, at %s",
		a->name,
		permit->limited ? "the provider's login_limit is used up"
				: "min_interval is not over",
		(permit->wait_ms + 999) / 1000, when);
}

static int take_permit(const struct config *config, const struct conf_account *a)
{
	struct login_permit permit;
	struct store *store;
	struct err err;

	if (store_open(config->state_dir, &system_clock, &system_rng, &store, &err))
		return ctl_fail("%s", err.text);
	int rc = store_login(store, a->provider->name, a->name, &a->provider->rate, &system_clock,
		&permit, &err);
	store_close(store);
	if (rc)
		return ctl_fail("%s", err.text);
	return permit.wait_ms ? refuse_login(a, &permit) : 0;
}

static int log_in(struct probe *p, const struct config *config)
{
	const struct conf_provider *provider = p->account->provider;
	struct tls_client *tls = NULL;
	struct err err;

	if (loop_init(&p->loop, &system_clock, &err))
		return ctl_fail("%s", err.text);
	if (provider->tls.mode != TLS_NONE &&
		tls_client_new(provider->host, provider->tls.ca_file, true, &tls, &err))
		return ctl_fail("%s", err.text);
	(void)signal(SIGPIPE, SIG_IGN);               /* cannot fail */
	int status = take_permit(config, p->account); /* last: it counts from here */
	if (status) {
		tls_client_free(tls);
		return status;
	}
	run_session(p, tls);
	return 0;
}

static int log_in_locked(struct probe *p, const struct config *config)
{
	AUTO(strbuf_free) struct strbuf name = STRBUF_INIT;
	struct err err;

	strbuf_addf(&name, "%s.lock", p->account->name);
	int lock = lock_file(config->state_dir, strbuf_str(&name), &err);
	if (lock == -2)
		return ctl_fail("%s: another process is fetching this account; try again later",
			p->account->name);
	if (lock < 0)
		return ctl_fail("%s", err.text);
	int status = log_in(p, config);
	close(lock);
	if (p->loop.base)
		loop_free(&p->loop);
	return status;
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
	struct resolve_rules rules = p->account->rules;
	struct survey s;
	struct probe_report r = { p->account, call->config_path, NULL, p->listed, &s };

	if (!rules.ndomains)
		r.domain = assumed_domain(p->account);
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
	if (p->err.class != ERR_NONE)
		return ctl_fail("%s: %s", p->account->name, p->err.text);
	if (!p->listed)
		return ctl_fail("%s: the maildrop is empty; send it a few messages first",
			p->account->name);
	if (!p->nheaders)
		return ctl_fail("%s: the server does not give headers alone (TOP: %s). Save a "
				"message to a file and use multidropctl explain",
			p->account->name, strbuf_str(&p->refusal));
	return report(p, call);
}

static int probe_account(struct probe *p, const struct config *config, const struct ctl_call *call)
{
	const struct conf_account *a = p->account;

	if (!a->enabled)
		return ctl_fail(
			"%s: the account is not enabled: its password is not read", a->name);
	if (!a->rules.ndomains && !assumed_domain(a))
		return ctl_fail("%s: the account has no domains, and its user is no address: "
				"which addresses are yours?",
			a->name);
	int status = become_owner(config->state_dir);
	if (!status)
		status = log_in_locked(p, config);
	return status ? status : conclude(p, call);
}

int ctl_probe(const struct ctl_call *call)
{
	struct probe p = { .wanted = call->samples };
	struct config *config;
	int status = ctl_open(call, &config, &p.account);

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
