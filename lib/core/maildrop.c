/*
 * What to fetch and what to delete; see maildrop.h.
 *
 * Owns the listing of one session. Invariants: an item is DELETING only out of DONE; it is DONE
 * only because its one recorded row says so (same UID once, same size) or because maildrop_done()
 * was called after a commit.
 */
#include "core/maildrop.h"

#include <inttypes.h>
#include <stdlib.h>

#define ROWS_MANY        2  /* of one UID: which is whose, only the content can tell */
#define PROBE_COPIES_MAX 64 /* copies under one UID whose failed attempts are told apart */

void maildrop_init(struct maildrop *m, const struct conf_account *account, bool retr_deletes)
{
	*m = (struct maildrop){ .account = account, .retr_deletes = retr_deletes };
	strbuf_add(&m->uids, "", 1); /* offset 0: no UID */
}

void maildrop_free(struct maildrop *m)
{
	free(m->items);
	free(m->order);
	free(m->absent);
	strbuf_free(&m->uids);
	*m = (struct maildrop){ 0 };
}

void maildrop_count(struct maildrop *m, uint32_t count)
{
	ensure(!m->items);
	m->items = mem_zalloc((count ? count : 1) * sizeof *m->items);
	m->n = count;
}

struct item *maildrop_item(struct maildrop *m, uint32_t number)
{
	ensure(number >= 1 && number <= m->n);
	return &m->items[number - 1];
}

const char *maildrop_item_uid(const struct maildrop *m, uint32_t number)
{
	return m->uids.ptr + m->items[number - 1].uid;
}

void maildrop_uid(struct maildrop *m, uint32_t number, struct strview uid)
{
	if (!uid.len)
		return;
	maildrop_item(m, number)->uid = (uint32_t)m->uids.len;
	strbuf_addv(&m->uids, uid);
	strbuf_add(&m->uids, "", 1);
}

void maildrop_size(struct maildrop *m, uint32_t number, uint64_t octets)
{
	maildrop_item(m, number)->octets = octets;
}

void maildrop_without_uidl(struct maildrop *m)
{
	m->no_uidl = true;
	for (uint32_t n = 1; n <= m->n; n++) {
		struct item *it = maildrop_item(m, n);
		it->uid = (uint32_t)m->uids.len;
		strbuf_addf(&m->uids, "#%" PRIu32 ":%" PRIu64, n, it->octets);
		strbuf_add(&m->uids, "", 1);
	}
}

static const char *uid_of(const struct maildrop *m, uint32_t index)
{
	return m->uids.ptr + m->items[index].uid;
}

static int by_uid(const void *a, const void *b, void *maildrop)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	int c = strcmp(uid_of(maildrop, x), uid_of(maildrop, y));

	return c ? c : (x > y) - (x < y);
}

void maildrop_listed(struct maildrop *m)
{
	m->order = mem_alloc((m->n ? m->n : 1) * sizeof *m->order);
	for (uint32_t i = 0; i < m->n; i++)
		m->order[i] = i;
	qsort_r(m->order, m->n, sizeof *m->order, by_uid, m);
}

/* Index into order of the first item with this UID; m->n: none. */
static uint32_t find_uid(const struct maildrop *m, const char *uid)
{
	uint32_t low = 0, high = m->n;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (strcmp(uid_of(m, m->order[mid]), uid) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low < m->n && !strcmp(uid_of(m, m->order[low]), uid) ? low : m->n;
}

/* The attempt that ended with the machine is nobody's fault: its message need not wait for others,
 * and what came twice meets its first copy's mark. */
static uint32_t attempts_of(const struct stored_message *row)
{
	return row->attempts - (row->cut && row->attempts);
}

/*
 * An attempt whose content nobody has seen goes to the first message of its UID without one; one
 * that is held, of this size.
 */
static void take_probe(struct maildrop *m, uint32_t at, const struct stored_message *row)
{
	for (uint32_t end = at + PROBE_COPIES_MAX; at < m->n && at < end; at++) {
		struct item *it = &m->items[m->order[at]];
		if (strcmp(uid_of(m, m->order[at]), row->uid))
			return;
		if (it->probe || (row->state == MESSAGE_HELD && row->octets != it->octets))
			continue;
		it->probe = row->id;
		it->probe_attempts = attempts_of(row);
		it->probe_held = row->state == MESSAGE_HELD;
		return;
	}
}

void maildrop_row(struct maildrop *m, const struct stored_message *row)
{
	uint32_t at = find_uid(m, row->uid);

	if (at == m->n || row->missing) {
		uint32_t missing = at == m->n ? row->missing + 1 : 0;
		mem_grow(&m->absent, &m->cap_absent, m->nabsent + 1, sizeof *m->absent);
		m->absent[m->nabsent++] = (struct absent){ row->id, missing };
	}
	/* Without UIDL a number and a size are no name for what a person has to look at. */
	bool probe = row->state == MESSAGE_NEW || (row->state == MESSAGE_HELD && !m->no_uidl);
	if (probe && !row->digest)
		take_probe(m, at, row);
	for (; at < m->n && !strcmp(uid_of(m, m->order[at]), row->uid); at++) {
		struct item *it = &m->items[m->order[at]];
		it->cut |= row->cut;
		if (it->nrows == ROWS_MANY)
			return; /* and its copies as well: n copies x n rows would hurt */
		it->nrows++;
		it->row = row->id;
		it->attempts = attempts_of(row);
		it->deferrals = row->deferrals;
		it->retry_at = row->retry_at;
		it->recorded = (uint8_t)row->state;
		it->done_at = row->done_at;
		it->size_differs = row->octets != it->octets;
	}
}

/* Without UIDL any message may stand for it, else those of the same UID. */
bool maildrop_claimed(const struct maildrop *m, uint32_t number, int64_t row)
{
	const char *uid = maildrop_item_uid(m, number);

	for (uint32_t at = m->no_uidl ? 0 : find_uid(m, uid); at < m->n; at++) {
		const struct item *it = &m->items[m->order[at]];
		if (!m->no_uidl && strcmp(uid_of(m, m->order[at]), uid))
			return false;
		if (it->row == row && m->order[at] != number - 1)
			return true;
	}
	return false;
}

bool maildrop_may_adopt(const struct maildrop *m, uint32_t number)
{
	const struct item *it = &m->items[number - 1];
	uint32_t at = find_uid(m, uid_of(m, number - 1));
	bool shared = at + 1 < m->n && !strcmp(uid_of(m, m->order[at + 1]), uid_of(m, number - 1));

	return it->uid && !it->nrows && !shared;
}

static bool listed_once(const struct maildrop *m, uint32_t at)
{
	const char *uid = uid_of(m, m->order[at]);

	return (!at || strcmp(uid_of(m, m->order[at - 1]), uid)) &&
		(at + 1 == m->n || strcmp(uid_of(m, m->order[at + 1]), uid));
}

bool maildrop_deferred(wall_t retry_at, wall_t now)
{
	return retry_at > now && retry_at - now <= MAILDROP_DEFER_MAX_MSEC;
}

/* What a message is whose one row is surely its own. */
static enum item_state known(const struct item *it, wall_t now)
{
	switch ((enum message_state)it->recorded) {
	case MESSAGE_NEW: /* another message must not inherit who has got this one */
		if (it->size_differs)
			return ITEM_VERIFY;
		if (it->attempts >= MAILDROP_ATTEMPTS_MAX)
			return ITEM_HELD;
		return maildrop_deferred(it->retry_at, now) ? ITEM_LEFT : ITEM_WANTED;
	case MESSAGE_DONE:
	case MESSAGE_DISCARD:
		return it->size_differs ? ITEM_VERIFY : ITEM_DONE;
	case MESSAGE_DELETED: /* gone, says QUIT; here again, says UIDL: another message, perhaps */
		return ITEM_VERIFY;
	case MESSAGE_HELD:
		return it->size_differs ? ITEM_VERIFY : ITEM_HELD;
	}
	return ITEM_VERIFY;
}

static enum item_state classify(const struct maildrop *m, uint32_t at, wall_t now)
{
	const struct item *it = &m->items[m->order[at]];

	if (!it->uid)
		return ITEM_UNUSABLE;
	if (m->no_uidl || it->nrows > 1 || (it->nrows && !listed_once(m, at)))
		return ITEM_VERIFY;
	return it->nrows ? known(it, now) : ITEM_WANTED;
}

/* Which row is its own, only the content can tell; till then its attempts are counted apart. */
static enum item_state plan_verify(struct item *it)
{
	it->verify = true;
	it->row = it->probe;
	it->attempts = it->probe_attempts;
	return it->probe_held || it->attempts >= MAILDROP_ATTEMPTS_MAX ? ITEM_HELD : ITEM_VERIFY;
}

void maildrop_plan(struct maildrop *m, wall_t now)
{
	bool cleanup = false;

	for (uint32_t at = 0; at < m->n; at++) {
		struct item *it = &m->items[m->order[at]];
		enum item_state state = classify(m, at, now);
		if (state == ITEM_VERIFY)
			state = plan_verify(it);
		bool retrieve = state == ITEM_WANTED || state == ITEM_VERIFY;
		if (retrieve && it->octets > m->account->max_size)
			state = ITEM_HELD;
		it->state = (uint8_t)state;
		it->discard = state == ITEM_DONE && it->recorded == MESSAGE_DISCARD;
		m->wanted += state == ITEM_WANTED || state == ITEM_VERIFY;
		m->held += state == ITEM_HELD;
		m->left += state == ITEM_UNUSABLE || state == ITEM_LEFT;
		cleanup |= state == ITEM_DONE && (it->discard || m->account->keep_ms == KEEP_NONE);
	}
	if (m->account->fetch_limit && m->wanted > m->account->fetch_limit)
		m->wanted = m->account->fetch_limit;
	m->delete_only = m->retr_deletes && cleanup;
	if (m->delete_only)
		m->wanted = 0;
}

static bool is_wanted(const struct item *it)
{
	return it->state == ITEM_WANTED || it->state == ITEM_VERIFY;
}

/* Moves the cursor to the next message to retrieve: a round for each number of failed attempts. */
static const struct item *seek_wanted(struct maildrop *m)
{
	for (; m->wanted && m->round < MAILDROP_ATTEMPTS_MAX; m->round++, m->next_wanted = 0)
		for (; m->next_wanted < m->n; m->next_wanted++) {
			const struct item *it = &m->items[m->next_wanted];
			if (is_wanted(it) && it->attempts == m->round)
				return it;
		}
	return NULL;
}

uint64_t maildrop_peek_wanted(struct maildrop *m)
{
	const struct item *it = seek_wanted(m);

	return !it ? 0 : it->octets ? it->octets : 1;
}

bool maildrop_peek_suspect(struct maildrop *m)
{
	const struct item *it = seek_wanted(m);

	return it && it->attempts;
}

uint32_t maildrop_next_wanted(struct maildrop *m)
{
	if (!seek_wanted(m))
		return 0;
	m->wanted--;
	m->items[m->next_wanted].state = ITEM_FETCHING;
	m->items[m->next_wanted].retrieved = true;
	return ++m->next_wanted;
}

static void end_fetch(struct maildrop *m, uint32_t number, enum item_state state)
{
	struct item *it = maildrop_item(m, number);

	ensure(it->state == ITEM_FETCHING);
	it->state = (uint8_t)state;
}

void maildrop_done(struct maildrop *m, uint32_t number, wall_t done_at)
{
	end_fetch(m, number, ITEM_DONE);
	maildrop_item(m, number)->done_at = done_at;
	if (number - 1 < m->next_delete)
		m->next_delete = number - 1;
}

void maildrop_left(struct maildrop *m, uint32_t number)
{
	end_fetch(m, number, ITEM_LEFT);
	m->left++;
}

void maildrop_held(struct maildrop *m, uint32_t number)
{
	end_fetch(m, number, ITEM_HELD);
	m->held++;
}

/*
 * `keep` counts from the delivery; a clock that went back only keeps longer. It says what becomes
 * of delivered mail; what a person has discarded is nobody's to keep.
 */
static bool keep_over(const struct conf_account *account, const struct item *it, wall_t now)
{
	if (it->discard)
		return true;
	if (account->keep_ms == KEEP_FOREVER)
		return false;
	return account->keep_ms == KEEP_NONE || now - it->done_at >= account->keep_ms;
}

uint32_t maildrop_next_delete(struct maildrop *m, wall_t now)
{
	for (; m->next_delete < m->n; m->next_delete++) {
		struct item *it = &m->items[m->next_delete];
		if (it->state != ITEM_DONE || !keep_over(m->account, it, now))
			continue;
		it->state = ITEM_DELETING;
		return ++m->next_delete;
	}
	return 0;
}

void maildrop_deleted(struct maildrop *m, uint32_t number, bool ok)
{
	struct item *it = maildrop_item(m, number);

	ensure(it->state == ITEM_DELETING);
	it->state = ok ? ITEM_GONE : ITEM_LEFT;
	m->left += !ok;
}

bool maildrop_newly_held(const struct maildrop *m, uint32_t number)
{
	const struct item *it = &m->items[number - 1];

	if (it->state != ITEM_HELD || it->retrieved)
		return false;
	return it->verify ? !it->probe_held : !it->nrows || it->recorded == MESSAGE_NEW;
}

bool maildrop_may_quit(const struct maildrop *m)
{
	if (!m->retr_deletes)
		return true;
	for (uint32_t i = 0; i < m->n; i++) {
		enum item_state state = m->items[i].state;
		bool safe = state == ITEM_DONE || state == ITEM_DELETING || state == ITEM_GONE;
		if (m->items[i].retrieved && !safe)
			return false;
	}
	return true;
}
