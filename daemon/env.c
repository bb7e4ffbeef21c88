/*
 * What the parts of the daemon share, and the end of a turn of its loop; see env.h.
 */
#include "env.h"

#include "identity.h"
#include "log_sink.h"
#include "store_sqlite.h"
#include "syncer.h"
#include "system.h"

#include <stdlib.h>

/*
 * So long at most the database is locked for others, and after so long, and a wait for the disk or
 * two, an answer of a relay is there. Until then a power loss costs a second copy, marked; and what
 * shares a wait for the disk is cheap.
 */
static const struct timeval soon = { .tv_usec = 50000 };
static const struct timeval retry = { .tv_sec = 1 }; /* after a failure */

static void on_soon(evutil_socket_t fd, short what, void *ctx)
{
	struct env *env = ctx;

	turn_due(&env->turn);
}

static void on_synced(void *ctx, const struct err *err)
{
	struct env *env = ctx;

	turn_synced(&env->turn, err);
}

/*
 * What a relay has accepted is written before anything else: from here on kill -9 sends nothing
 * twice. The disk is waited for only when somebody needs it, and for as many at once as possible.
 */
void env_end_turn(struct env *env)
{
	turn_now(&env->turn);
	if (!TAILQ_EMPTY(&env->turn.after_commit)) {
		event_del(env->soon);
		turn_commit(&env->turn);
	}
	bool more = store_dirty(env->store) || !TAILQ_EMPTY(&env->turn.soon);
	if ((more || store_owes(env->store)) && !event_pending(env->soon, EV_TIMEOUT, NULL))
		event_add(env->soon, more ? &soon : &retry);
	log_sink_flush();
	loop_reap(&env->loop);
}

void env_log(struct env *env, const struct log_entry *entry)
{
	metrics_note(env->metrics, entry);
	if (env->tell)
		env->tell(env->tell_ctx, entry);
	log_write(entry);
}

int env_open(struct env *env, const char *state_dir,
	void (*on_failure)(void *ctx, const struct err *err), void *ctx, struct err *err)
{
	AUTO(strbuf_free) struct strbuf wal = STRBUF_INIT;

	*env = (struct env){
		.clock = &system_clock, .rng = &system_rng, .state_dir = mem_strdup(state_dir)
	};
	env->spool.dir = env->state_dir;
	if (store_open(state_dir, env->clock, env->rng, &env->store, err))
		return ENV_NO_STATE;
	env->identity = identity_new(store_key(env->store));
	if (loop_init(&env->loop, env->clock, err))
		return -1;
	turn_init(&env->turn, env->store);
	env->turn.on_failure = on_failure;
	env->turn.ctx = ctx;
	env->soon = event_new(env->loop.base, -1, 0, on_soon, env);
	strbuf_addf(&wal, "%s/" STORE_FILE "-wal", state_dir);
	env->turn.syncer =
		syncer_new(env->loop.base, strbuf_str(&wal), SYNCER_SLOW_MSEC, on_synced, env);
	return 0;
}

void env_close(struct env *env)
{
	struct err err;

	if (env->store && store_commit(env->store, &err))
		env->turn.on_failure(env->turn.ctx, &err);
	identity_free(env->identity);
	store_close(env->store);
	free(env->state_dir);
	if (!env->loop.base)
		return;
	syncer_free(env->turn.syncer);
	event_free(env->soon);
	loop_free(&env->loop);
}
