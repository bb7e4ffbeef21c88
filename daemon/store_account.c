/*
 * What the state knows of accounts, relays and logins; the SQLite backend's inside is store_impl.h.
 *
 * Login stamps count milliseconds since boot; those of an earlier boot are translated by the wall
 * clock when the database is opened, so that a clock step never opens or shuts the provider's door.
 */
#include "store_impl.h"

#include <stdio.h>

#define LOGIN_KEEP_MSEC (8LL * 24 * 60 * 60 * 1000) /* longer than any spacing or window */
#define LOGINS_MAX      10000 /* more than that within an hour are as good as that */

/* ---- accounts ---- */

/* The end of a query for at most one row. */
static int one_row(struct store *s, sqlite3_stmt *st, int rc, struct err *err)
{
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		store_fail(s, err, st ? sqlite3_sql(st) : "preparing a query");
	sqlite3_reset(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : -1;
}

int store_past(struct store *s, const char *account, struct account_past *past, struct err *err)
{
	sqlite3_stmt *st = store_query(s, PAST, "s", account);
	int rc = store_step(st);
	struct sched_kept *k = &past->sched;

	*past = (struct account_past){ 0 };
	if (rc == SQLITE_ROW) {
		const char *error = (const char *)sqlite3_column_text(st, 12);
		k->paused = sqlite3_column_int(st, 0);
		k->failures = (uint32_t)sqlite3_column_int64(st, 1);
		k->auth_failures = (uint32_t)sqlite3_column_int64(st, 2);
		k->busy = (uint32_t)sqlite3_column_int64(st, 3);
		k->announced = sqlite3_column_int64(st, 4);
		k->learned = sqlite3_column_int64(st, 5);
		k->learned_at = sqlite3_column_int64(st, 6);
		k->last_start = sqlite3_column_int64(st, 7);
		k->last_success = sqlite3_column_int64(st, 8);
		past->secret_mark = (uint32_t)sqlite3_column_int64(st, 9);
		past->delivered = (uint64_t)sqlite3_column_int64(st, 10);
		past->last_error_at = sqlite3_column_int64(st, 11);
		snprintf(past->last_error, sizeof past->last_error, "%s", error ? error : "");
	}
	return one_row(s, st, rc, err);
}

int store_set_past(
	struct store *s, const char *account, const struct account_past *past, struct err *err)
{
	const struct sched_kept *k = &past->sched;

	return store_change(s, err, SET_PAST, "siiiiiiiiiiis", account, (int64_t)k->failures,
		(int64_t)k->auth_failures, (int64_t)k->busy, (int64_t)k->announced,
		(int64_t)k->learned, (int64_t)k->learned_at, (int64_t)k->last_start,
		(int64_t)k->last_success, (int64_t)past->secret_mark, (int64_t)past->delivered,
		(int64_t)past->last_error_at, past->last_error);
}

int store_set_paused(struct store *s, const char *account, bool paused, struct err *err)
{
	return store_change(s, err, SET_PAUSED, "si", account, (int64_t)paused);
}

int store_counts(struct store *s, const char *account, struct message_counts *out, struct err *err)
{
	sqlite3_stmt *st = store_query(s, COUNTS, "s", account);
	int rc = store_step(st);

	*out = (struct message_counts){ 0 };
	if (rc == SQLITE_ROW) {
		out->held = (uint64_t)sqlite3_column_int64(st, 0);
		out->done = (uint64_t)sqlite3_column_int64(st, 1);
		out->discard = (uint64_t)sqlite3_column_int64(st, 2);
	}
	return one_row(s, st, rc, err);
}

int store_quit_ok(struct store *s, const char *account, bool *ok, struct err *err)
{
	sqlite3_stmt *st = store_query(s, QUIT_OK, "s", account);
	int rc = store_step(st);

	*ok = rc == SQLITE_ROW && sqlite3_column_int(st, 0);
	return one_row(s, st, rc, err);
}

int store_set_quit_ok(struct store *s, const char *account, bool ok, struct err *err)
{
	return store_change(s, err, SET_QUIT_OK, "si", account, (int64_t)ok);
}

int store_watch(struct store *s, const char *account, struct watch *w, struct err *err)
{
	sqlite3_stmt *st = store_query(s, WATCH, "s", account);
	int rc = store_step(st);

	*w = (struct watch){ 0 };
	if (rc == SQLITE_ROW)
		*w = (struct watch){ .recent = (uint64_t)sqlite3_column_int64(st, 0),
			.n = (uint32_t)sqlite3_column_int(st, 1),
			.changed = sqlite3_column_int(st, 2) };
	return one_row(s, st, rc, err);
}

int store_set_watch(struct store *s, const char *account, const struct watch *w, struct err *err)
{
	return store_change(s, err, SET_WATCH, "siii", account, (int64_t)w->recent, (int64_t)w->n,
		(int64_t)w->changed);
}

int store_relay_asked(struct store *s, const char *relay, wall_t *at, struct err *err)
{
	sqlite3_stmt *st = store_query(s, RELAY_ASKED, "s", relay);
	int rc = store_step(st);

	*at = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
	return one_row(s, st, rc, err);
}

int store_set_relay_asked(
	struct store *s, const char *relay, wall_t at, bool taken, struct err *err)
{
	return store_change(s, err, SET_RELAY_ASKED, "sii", relay, at, (int64_t)taken);
}

int store_alerted(struct store *s, const char *kind, const char *name, wall_t *at, struct err *err)
{
	sqlite3_stmt *st = store_query(s, ALERTED, "ss", kind, name);
	int rc = store_step(st);

	*at = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
	return one_row(s, st, rc, err);
}

int store_set_alerted(
	struct store *s, const char *kind, const char *name, wall_t at, struct err *err)
{
	return store_change(s, err, SET_ALERTED, "ssi", kind, name, at);
}

/* ---- logins ---- */

int store_hour_limit(
	struct store *s, const char *provider, uint32_t *limit, wall_t *at, struct err *err)
{
	sqlite3_stmt *st = store_query(s, HOUR_LIMIT, "s", provider);
	int rc = store_step(st);

	*limit = rc == SQLITE_ROW ? (uint32_t)sqlite3_column_int64(st, 0) : 0;
	*at = rc == SQLITE_ROW ? sqlite3_column_int64(st, 1) : 0;
	return one_row(s, st, rc, err);
}

int store_set_hour_limit(
	struct store *s, const char *provider, uint32_t limit, wall_t at, struct err *err)
{
	return store_change(s, err, SET_HOUR_LIMIT, "sii", provider, (int64_t)limit, at);
}

/* A stamp of the future (a broken boot id, a foreign clock) is one of now: it must not open the
 * door. */
static msec_t age(msec_t now, msec_t stamp)
{
	return stamp < now ? now - stamp : 0;
}

/* Reads the stamps that rate_wait() needs; *ages is the caller's to free. */
static int login_ages(struct store *s, const char *provider, const char *account,
	const struct rate_rule *rule, msec_t now, msec_t *last, msec_t **ages, size_t *n)
{
	sqlite3_stmt *st = store_query(s, LOGIN_LAST, "s", account);
	int rc = store_step(st);

	*last = -1;
	if (rc == SQLITE_ROW && sqlite3_column_type(st, 0) != SQLITE_NULL)
		*last = age(now, sqlite3_column_int64(st, 0));
	sqlite3_reset(st);
	if (rc != SQLITE_ROW)
		return -1;
	*ages = mem_alloc((rule->limit + 1) * sizeof **ages);
	*n = 0;
	st = store_query(s, LOGIN_AGES, "si", provider, (int64_t)rule->limit);
	while ((rc = store_step(st)) == SQLITE_ROW && *n < rule->limit)
		(*ages)[(*n)++] = age(now, sqlite3_column_int64(st, 0));
	sqlite3_reset(st);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : -1;
}

int store_login(struct store *s, const char *provider, const char *account,
	const struct rate_rule *rule, struct clock *clock, struct login_permit *out,
	struct err *err)
{
	AUTO(mem_freep) msec_t *ages = NULL;
	msec_t now, last, keep = LOGIN_KEEP_MSEC;
	size_t n;

	if (store_commit(s, err) || redo_recover(s, err) || store_begin(s, err)) {
		store_rollback(s);
		return -1;
	}
	now = clock->now(clock); /* after the lock: a wait for it must not age the stamp */
	if (login_ages(s, provider, account, rule, now, &last, &ages, &n)) {
		store_fail(s, err, "reading logins");
		store_rollback(s);
		return -1;
	}
	struct rate_rule spacing = { .spacing_ms = rule->spacing_ms };
	out->wait_ms = rate_wait(rule, last, ages, n);
	out->limited = out->wait_ms > rate_wait(&spacing, last, ages, n);
	if (out->wait_ms) {
		store_rollback(s);
		return 0;
	}
	if (store_change(s, err, LOGIN_PURGE, "si", provider, now - keep) ||
		store_change(s, err, LOGIN_TAKE, "sssii", provider, account, s->schema.boot, now,
			clock->wall(clock)) ||
		store_commit(s, err)) {
		store_rollback(s);
		return -1;
	}
	return 0;
}

int store_logins(struct store *s, const char *provider, const struct rate_rule *rule,
	struct clock *clock, msec_t within, uint32_t *n, msec_t *wait, struct err *err)
{
	AUTO(mem_freep) msec_t *ages = mem_alloc((rule->limit + 1) * sizeof *ages);
	sqlite3_stmt *st = store_query(s, LOGIN_AGES, "si", provider, (int64_t)LOGINS_MAX);
	msec_t now = clock->now(clock);
	size_t nages = 0;
	int rc;

	*n = 0;
	while ((rc = store_step(st)) == SQLITE_ROW) {
		msec_t a = age(now, sqlite3_column_int64(st, 0));
		if (nages < rule->limit)
			ages[nages++] = a;
		if (a < within)
			++*n;
		else if (nages >= rule->limit)
			break;
	}
	sqlite3_reset(st);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return store_fail(s, err, "reading logins");
	*wait = rate_wait(rule, -1, ages, nages);
	return 0;
}
