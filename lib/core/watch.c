/* The hit rate of the envelope header; see watch.h. */
#include "core/watch.h"

static uint64_t mask(uint32_t n)
{
	return n >= 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

static uint32_t count(uint64_t bits)
{
	return (uint32_t)__builtin_popcountll(bits);
}

uint32_t watch_found(const struct watch *w)
{
	return count(w->recent & mask(w->n));
}

/* The header was usual before the latest run, and missing all through it. */
static bool gone(const struct watch *w)
{
	uint32_t older = w->n - WATCH_RUN;
	uint64_t before = (w->recent >> WATCH_RUN) & mask(older);

	return !(w->recent & mask(WATCH_RUN)) && count(before) * 100 >= older * WATCH_USUAL_PCT;
}

enum watch_news watch_note(struct watch *w, bool found)
{
	w->recent = w->recent << 1 | found;
	if (w->n < WATCH_MESSAGES)
		w->n++;
	if (w->changed) {
		bool back = (w->recent & mask(WATCH_RUN)) == mask(WATCH_RUN);
		w->changed = !back;
		return back ? WATCH_BACK : WATCH_NOTHING;
	}
	if (w->n < WATCH_MIN || !gone(w))
		return WATCH_NOTHING;
	w->changed = true;
	return WATCH_CHANGED;
}
