/*
 * multidropctl adopt: one login, and everything that is listed and unknown counts as delivered.
 *
 * Owns the listing of that session. Nothing is retrieved, nothing is deleted; the rows are durable
 * before QUIT. Messages that cannot be told apart by their UID are left to be fetched.
 */
#include "core/maildrop.h"
#include "ctl_session.h"
#include "system.h"

#include <inttypes.h>
#include <stdio.h>

struct adopt {
	struct ctl_session session; /* first: its events come with it */
	const struct config *config;
	struct maildrop maildrop;
	uint32_t adopted, known;
};

static int on_row(void *ctx, const struct stored_message *row)
{
	struct adopt *a = ctx;

	maildrop_row(&a->maildrop, row);
	return 0;
}

static int record(struct adopt *a, struct store *store, struct err *err)
{
	const char *account = a->session.account->name;
	struct maildrop *m = &a->maildrop;
	wall_t now = system_clock.wall(&system_clock);

	if (store_messages(store, account, on_row, a, err))
		return -1;
	for (uint32_t n = 1; n <= m->n; n++) {
		const struct item *it = maildrop_item(m, n);
		a->known += it->nrows > 0;
		if (!maildrop_may_adopt(m, n))
			continue;
		if (store_adopt(store, account, maildrop_item_uid(m, n), it->octets, now, err))
			return -1;
		a->adopted++;
	}
	return store_commit(store, err);
}

static void on_listed(struct adopt *a)
{
	struct store *store;
	struct err err;

	maildrop_listed(&a->maildrop);
	if (store_open(a->config->state_dir, &system_clock, &system_rng, &store, &err)) {
		ctl_session_fail(&a->session, &err);
		return;
	}
	int rc = record(a, store, &err);
	store_close(store);
	if (rc)
		ctl_session_fail(&a->session, &err);
	else
		ctl_session_quit(&a->session);
}

static void on_event(struct ctl_session *s, const struct pop3_event *ev)
{
	struct adopt *a = (struct adopt *)s;
	struct err err;

	switch (ev->type) {
	case POP3_READY:
		pop3_stat(s->pop3, loop_now(&s->loop));
		pop3_uidl(s->pop3, loop_now(&s->loop));
		pop3_list(s->pop3, loop_now(&s->loop));
		break;
	case POP3_STAT:
		maildrop_count(&a->maildrop, ev->number);
		break;
	case POP3_UIDL_ITEM:
		maildrop_uid(&a->maildrop, ev->number, ev->uid);
		break;
	case POP3_LIST_ITEM:
		maildrop_size(&a->maildrop, ev->number, ev->octets);
		break;
	case POP3_LIST_END:
		on_listed(a);
		break;
	case POP3_UIDL_ERR:
		err_set(&err, ERR_UIDL, 0, "the server has no UIDL: nothing can be adopted");
		ctl_session_fail(s, &err);
		break;
	case POP3_STARTTLS: /* the session's */
	case POP3_RENEW:
	case POP3_QUIT_OK:
	case POP3_QUIT_ERR:
	case POP3_FAILED:
	case POP3_NONE:
	case POP3_UIDL_END:
	case POP3_RETR_START:
	case POP3_RETR_DATA:
	case POP3_RETR_END:
	case POP3_RETR_ERR:
	case POP3_DELE_OK:
	case POP3_DELE_ERR:
	case POP3_TOP_START:
	case POP3_TOP_DATA:
	case POP3_TOP_END:
	case POP3_TOP_ERR:
	case POP3_NOOP_OK:
		break;
	}
}

/* What `keep` does with them from now on. */
static const char *fate(const struct conf_account *account)
{
	if (account->keep_ms == KEEP_FOREVER)
		return "they stay on the server, as `keep` says";
	return account->keep_ms == KEEP_NONE
		? "the next cycle deletes them at the provider"
		: "they are deleted at the provider when the time that "
		  "`keep` gives is over, counted from now";
}

static int report(const struct adopt *a)
{
	const struct conf_account *account = a->session.account;
	uint32_t left = a->maildrop.n - a->adopted - a->known;

	if (a->session.err.class != ERR_NONE)
		return ctl_fail("%s: %s", account->name, a->session.err.text);
	printf("%s: %" PRIu32 " of %" PRIu32 " messages adopted, %" PRIu32 " were known already\n",
		account->name, a->adopted, a->maildrop.n, a->known);
	if (a->adopted)
		printf("%s\n", fate(account));
	if (left)
		printf("%" PRIu32 " share a UIDL or have none: they will be fetched\n", left);
	return 0;
}

int ctl_adopt(const struct ctl_call *call)
{
	struct adopt a = { .session.on_event = on_event };
	struct ctl_call named = *call;
	struct config *config;

	named.account = call->argument;
	int status = ctl_open(&named, CONF_SECRETS_AT_HAND, &config, &a.session.account);
	if (status)
		return status;
	const struct conf_account *account = a.session.account;
	a.config = config;
	maildrop_init(&a.maildrop, account, false);
	status = ctl_need_password(account);
	if (!status && account->keep_ms != KEEP_FOREVER && !call->yes)
		status = ctl_fail("%s: adopted messages count as delivered: %s. If that is meant, "
				  "repeat it with --yes; else set keep = \"forever\" first",
			account->name, fate(account));
	if (!status)
		status = ctl_session_run(&a.session, config, call);
	if (!status)
		status = report(&a);
	maildrop_free(&a.maildrop);
	config_unref(config);
	return status;
}
