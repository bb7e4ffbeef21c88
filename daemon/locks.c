/* See locks.h. An account's name begins with no dot, so no account can collide with the others. */
#include "locks.h"

#include "system.h"

#include <inttypes.h>
#include <unistd.h>

static int take_session(const char *state_dir, const struct conf_provider *p, struct err *err)
{
	AUTO(strbuf_free) struct strbuf name = STRBUF_INIT;
	int fd = -2;

	for (uint32_t i = 0; i < p->max_sessions && fd == -2; i++) {
		strbuf_clear(&name);
		strbuf_addf(&name, ".session-%s-%" PRIu32 ".lock", p->name, i);
		fd = lock_file(state_dir, strbuf_str(&name), err);
	}
	return fd;
}

int locks_take(struct locks *locks, const char *state_dir, const struct conf_account *account,
	struct err *err)
{
	AUTO(strbuf_free) struct strbuf name = STRBUF_INIT;

	*locks = NO_LOCKS;
	strbuf_addf(&name, "%s.lock", account->name);
	locks->account = lock_file(state_dir, strbuf_str(&name), err);
	if (locks->account < 0)
		return locks->account == -2 ? LOCKS_ACCOUNT_BUSY : -1;
	locks->session = take_session(state_dir, account->provider, err);
	if (locks->session >= 0)
		return 0;
	int rc = locks->session == -2 ? LOCKS_PROVIDER_FULL : -1;
	locks_drop(locks);
	return rc;
}

void locks_drop(struct locks *locks)
{
	if (locks->account >= 0)
		close(locks->account);
	if (locks->session >= 0)
		close(locks->session);
	*locks = NO_LOCKS;
}
