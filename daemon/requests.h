/*
 * What the daemon does when multidropctl asks (core/control_line.h): a function for each verb.
 *
 * A person's word changes when an account is due, never a limit: fetch passes the same gates as the
 * schedule, and its answer says which one was closed and until when.
 */
#pragma once

#include "status.h"

struct requests;

struct requests_ops {
	/* Reads the configuration again; what there is to say about it, one line each, is added to
	 * `faults`. False: it was refused and the old one stays. */
	bool (*reload)(void *ctx, struct strbuf *faults);
	void *ctx;
};

struct requests *requests_new(const struct view *view, const struct requests_ops *ops);
void requests_free(struct requests *c); /* NULL is fine */
/* The control socket is at `path` from now on; see control_listen(). */
int requests_listen(struct requests *c, const char *path, struct err *err) must_check;

/* accounts_run() has had its turn: who asked for a cycle hears what became of that. */
void requests_scheduled(struct requests *c);
void requests_cycle_ended(struct requests *c, const struct account *a, const struct fetch *f);
