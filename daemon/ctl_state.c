/*
 * multidropctl held and trace: questions to the state, and decisions written into it.
 *
 * Owns the connection to the state for one command. The daemon may run meanwhile: it reads the
 * decision at its next listing, so that nothing has to be told to it.
 */
#include "ctl_record.h"
#include "mail/address.h"
#include "system.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define TRACE_MAX 100

struct query {
	const struct ctl_call *call;
	struct config *config;
	struct store *store;
	int64_t id;        /* of the message that is asked for */
	struct strbuf out; /* text */
	json_t *list;      /* JSON */
	uint32_t found;
	struct err err; /* class NONE: fine so far */
	int status;
};

/* ---- opening and printing ---- */

static int open_query(struct query *q)
{
	int status = ctl_load(q->call, CONF_SECRETS_NONE, &q->config);

	if (status)
		return status;
	q->list = json_array();
	return ctl_open_state(q->config, &q->store);
}

static void close_query(struct query *q)
{
	store_close(q->store);
	config_unref(q->config);
	strbuf_free(&q->out);
	json_decref(q->list);
}

/* Ends a question: what was found goes to stdout. rc is the store's. */
static int print(struct query *q, int rc)
{
	if (rc || q->err.class != ERR_NONE)
		return ctl_fail("%s", q->err.text);
	if (q->call->json)
		return ctl_print_json(json_incref(q->list));
	fputs(strbuf_str(&q->out), stdout);
	return 0;
}

static int add_json(struct query *q, const struct stored_record *r)
{
	json_t *o = record_json(q->store, r, &q->err);

	return o ? json_array_append_new(q->list, o) : -1;
}

static int add_record(void *ctx, const struct stored_record *r)
{
	struct query *q = ctx;

	if (q->found++ == TRACE_MAX)
		return 1;
	if (q->call->json)
		return add_json(q, r);
	strbuf_adds(&q->out, q->found > 1 ? "\n" : "");
	return record_text(q->store, r, &q->out, &q->err);
}

/* ---- trace ---- */

static_assert(STORE_TRACE_REPLY_MIN == 5, "trace() says five");

static int trace(struct query *q)
{
	struct strview pattern = sv_str(q->call->argument);

	if (pattern.len > 1 && sv_starts(pattern, SV("<")) && pattern.ptr[pattern.len - 1] == '>')
		pattern = sv(pattern.ptr + 1, pattern.len - 2); /* as mail programs copy it */
	AUTO(mem_freep) char *text = mem_strndup(pattern.ptr, pattern.len);
	int rc = store_trace(q->store, text, TRACE_MAX + 1, add_record, q, &q->err);
	if (!rc && !q->found)
		return ctl_fail("nothing known of %s; %s", q->call->argument,
			pattern.len < STORE_TRACE_REPLY_MIN ? "in replies of the relay, only five "
							      "characters or more are looked for"
							    : "see multidropctl help trace");
	if (q->found > TRACE_MAX)
		fprintf(stderr, "multidropctl: more than %d messages; these are the newest\n",
			TRACE_MAX);
	return print(q, rc);
}

/* ---- held list, held show ---- */

static int add_held(void *ctx, const struct stored_record *r)
{
	struct query *q = ctx;
	AUTO(strbuf_free) struct strbuf sender = STRBUF_INIT;

	if (q->call->json)
		return add_json(q, r);
	if (!q->found++)
		strbuf_addf(&q->out, "%6s  %-16s  %-24s  %10s  %-32s  %s\n", "ID", "ACCOUNT",
			"SINCE", "SIZE", "SENDER", "REASON");
	ctl_add_foreign(&sender, r->sender ? r->sender : "?");
	strbuf_addf(&q->out, "%6" PRId64 "  %-16s  ", r->id, r->account);
	ctl_add_time(&q->out, r->state_at);
	strbuf_addf(&q->out, "  %10" PRIu64 "  %-32s  ", r->octets,
		sender.len ? strbuf_str(&sender) : "<>");
	ctl_add_foreign(&q->out, r->reason ? r->reason : "");
	strbuf_adds(&q->out, "\n");
	return 0;
}

static int held_list(struct query *q)
{
	return print(q, store_held(q->store, add_held, q, &q->err));
}

static int add_if_held(void *ctx, const struct stored_record *r)
{
	return r->state == MESSAGE_HELD && !r->forgotten_at ? add_record(ctx, r) : 0;
}

static int held_show(struct query *q)
{
	int rc = store_record(q->store, q->id, add_if_held, q, &q->err);

	if (!rc && q->err.class == ERR_NONE && !q->found)
		return ctl_fail(
			"there is no held message %" PRId64 "; see multidropctl held list", q->id);
	if (q->call->json && q->found) { /* one object, no array */
		json_t *one = json_incref(json_array_get(q->list, 0));
		json_decref(q->list);
		q->list = one;
	}
	return print(q, rc);
}

/* ---- held release, held discard ---- */

static int refuse_second_copy(void *ctx, const struct stored_rcpt *r)
{
	struct query *q = ctx;

	if (r->outcome == OUTCOME_ACCEPTED && !ascii_strcasecmp(r->address, q->call->to))
		q->status = ctl_fail("%s has it already", r->address);
	return q->status;
}

/* What would only be held again is refused with the way out. */
static int check_release(void *ctx, const struct stored_record *r)
{
	struct query *q = ctx;
	const struct conf_account *a = config_account(q->config, r->account);

	if (!a || !a->enabled)
		q->status =
			ctl_fail("account %s is not there or not enabled: nobody would fetch it; "
				 "set enabled = true, then multidropctl reload, then repeat this",
				r->account);
	else if (r->octets > a->max_size)
		q->status = ctl_fail("message %" PRId64 " has %" PRIu64
				     " octets, more than max_size of account %s; raise that first",
			r->id, r->octets, a->name);
	else if (q->call->to && store_rcpts(q->store, r->id, refuse_second_copy, q, &q->err))
		q->status = ctl_fail("%s", q->err.text);
	return 0;
}

/* rc is the store's: 1 for a message that is not held. */
static int decided(struct query *q, int rc, const char *what)
{
	if (rc > 0)
		return ctl_fail(
			"there is no held message %" PRId64 "; see multidropctl held list", q->id);
	if (rc < 0 || store_commit(q->store, &q->err))
		return ctl_fail("%s", q->err.text);
	printf("message %" PRId64 " %s in the next cycle\n", q->id, what);
	return 0;
}

static int held_release(struct query *q)
{
	struct address to = { 0 };
	wall_t now = system_clock.wall(&system_clock);

	if (q->call->to && address_parse(sv_str(q->call->to), &to, &q->err))
		return ctl_fail("--to %s: %s", q->call->to, q->err.text);
	if (store_record(q->store, q->id, check_release, q, &q->err))
		q->status = ctl_fail("%s", q->err.text);
	if (!q->status)
		q->status = decided(q, store_release(q->store, q->id, to.text, now, &q->err),
			to.text ? "goes to that address" : "is tried again");
	address_free(&to);
	return q->status;
}

static int held_discard(struct query *q)
{
	wall_t now = system_clock.wall(&system_clock);

	return decided(
		q, store_discard(q->store, q->id, now, &q->err), "is deleted at the provider");
}

/* ---- the commands ---- */

static int run(const struct ctl_call *call, int (*command)(struct query *q))
{
	struct query q = { .call = call };
	int status = open_query(&q);

	if (!status)
		status = command(&q);
	close_query(&q);
	return status;
}

static int run_with_id(const struct ctl_call *call, int (*command)(struct query *q))
{
	struct query q = { .call = call };
	uint64_t id;

	if (!sv_number(sv_str(call->argument), INT64_MAX, &id))
		return ctl_fail(
			"%s is no number of a message; see multidropctl held list", call->argument);
	q.id = (int64_t)id;
	int status = open_query(&q);
	if (!status)
		status = command(&q);
	close_query(&q);
	return status;
}

int ctl_held_list(const struct ctl_call *call)
{
	return run(call, held_list);
}

int ctl_held_show(const struct ctl_call *call)
{
	return run_with_id(call, held_show);
}

int ctl_held_release(const struct ctl_call *call)
{
	return run_with_id(call, held_release);
}

int ctl_held_discard(const struct ctl_call *call)
{
	return run_with_id(call, held_discard);
}

int ctl_trace(const struct ctl_call *call)
{
	return run(call, trace);
}
