/* Decisions of a relay's pool; see smtp_pool.h. Invariant: connecting + idle + busy + leaving <=
 * max_connections. */
#include "core/smtp_pool.h"

enum pool_step smtp_pool_step(const struct smtp_pool *p, size_t jobs, msec_t now)
{
	uint32_t all = p->connecting + p->idle + p->busy + p->leaving;

	if (!jobs)
		return POOL_WAIT;
	if (p->idle)
		return POOL_USE_IDLE;
	if (all >= p->max_connections || now < p->retry_at)
		return POOL_WAIT;
	/* One probe while down; else one connection per waiting job, however many are allowed. */
	return p->connecting < (p->down ? 1 : jobs) ? POOL_OPEN : POOL_WAIT;
}

void smtp_pool_opening(struct smtp_pool *p)
{
	p->connecting++;
}

void smtp_pool_ready(struct smtp_pool *p, bool *came_up)
{
	ensure(p->connecting);
	p->connecting--;
	p->idle++;
	*came_up = p->down;
	p->down = false;
	p->failures = 0;
	p->retry_at = 0;
}

void smtp_pool_failed(struct smtp_pool *p, msec_t now, uint32_t chance, bool *went_down)
{
	msec_t wait = SMTP_POOL_RETRY_MIN_MSEC;

	ensure(p->connecting);
	p->connecting--;
	for (uint32_t i = 0; i < p->failures && wait < SMTP_POOL_RETRY_MAX_MSEC; i++)
		wait *= 2;
	if (wait > SMTP_POOL_RETRY_MAX_MSEC)
		wait = SMTP_POOL_RETRY_MAX_MSEC;
	p->failures++;
	/* With another session at work it is a limit that was hit, not a dead server. */
	*went_down = !p->down && !p->idle && !p->busy;
	p->down |= *went_down;
	p->retry_at = now + wait + (msec_t)(chance % (uint64_t)(wait / 10));
}

void smtp_pool_busy(struct smtp_pool *p)
{
	ensure(p->idle);
	p->idle--;
	p->busy++;
}

void smtp_pool_done(struct smtp_pool *p)
{
	ensure(p->busy);
	p->busy--;
	p->idle++;
}

void smtp_pool_leaving(struct smtp_pool *p)
{
	ensure(p->idle);
	p->idle--;
	p->leaving++;
}

void smtp_pool_lost(uint32_t *place)
{
	ensure(*place);
	--*place;
}

bool smtp_pool_retire(const struct smtp_pool *p, uint32_t messages)
{
	return p->max_messages && messages >= p->max_messages;
}
