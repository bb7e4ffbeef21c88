/*
 * What the parts of the daemon share, and the end of a turn of its loop; see env.h.
 */
#include "env.h"

#include "identity.h"
#include "log_sink.h"
#include "store_sqlite.h"
#include "system.h"

#include <stdlib.h>

/* How long at most a commit waits for the dots of others. */
#define GATHER_USEC 1000

/* How long what only identifies a message may wait for others to be written with it. */
#define LAZY_USEC 20000

static void on_gathered(evutil_socket_t fd, short what, void *ctx)
{
	struct env *env = ctx;

	env->gathered = true;
}

/*
 * Lets others catch up whose transaction is about to send its content: their dots share the commit.
 * What is answered meanwhile is written at once.
 */
static void gather(struct env *env)
{
	env->gathered = !env->approaching;
	event_add(env->gather, &(struct timeval){ .tv_usec = GATHER_USEC });
	while (env->approaching && !env->gathered) {
		(void)event_base_loop(env->loop.base, EVLOOP_ONCE);
		turn_write_urgent(&env->turn);
		turn_output(&env->turn);
	}
	event_del(env->gather);
}

static void on_lazy(evutil_socket_t fd, short what, void *ctx)
{
	struct env *env = ctx;

	turn_write(&env->turn);
}

static void bound_laziness(struct env *env)
{
	if (store_dirty(env->store) && !event_pending(env->lazy, EV_TIMEOUT, NULL))
		event_add(env->lazy, &(struct timeval){ .tv_usec = LAZY_USEC });
}

/*
 * What a relay has accepted is written before anything else: from here on kill -9 sends nothing
 * twice. The disk is waited for only when somebody needs it, and for as many at once as possible.
 */
void env_end_turn(struct env *env)
{
	turn_write_urgent(&env->turn);
	turn_output(&env->turn);
	if (!TAILQ_EMPTY(&env->turn.after_commit) || !TAILQ_EMPTY(&env->gate)) {
		gather(env);
		step_run(&env->gate, true);
		turn_commit(&env->turn);
	}
	bound_laziness(env);
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
	*env = (struct env){
		.clock = &system_clock, .rng = &system_rng, .state_dir = mem_strdup(state_dir)
	};
	env->spool.dir = env->state_dir;
	TAILQ_INIT(&env->gate);
	if (store_open(state_dir, env->clock, env->rng, &env->store, err))
		return ENV_NO_STATE;
	env->identity = identity_new(store_key(env->store));
	if (loop_init(&env->loop, env->clock, err))
		return -1;
	turn_init(&env->turn, env->store);
	env->turn.on_failure = on_failure;
	env->turn.ctx = ctx;
	env->gather = event_new(env->loop.base, -1, 0, on_gathered, env);
	env->lazy = event_new(env->loop.base, -1, 0, on_lazy, env);
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
	event_free(env->gather);
	event_free(env->lazy);
	loop_free(&env->loop);
}
