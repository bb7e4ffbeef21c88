/* What tells messages apart: ids that nobody can forge, and content that is the same in each copy.
 */
#include "identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const uint8_t key[16] = "0123456789abcdef", other_key[16] = "0123456789abcdeg";
static struct identity *ours, *others;
static const uint8_t digest[STORE_DIGEST_OCTETS] = "d", other_digest[STORE_DIGEST_OCTETS] = "e";

/* The same message has the same id at each redelivery; anything else has another one. */
static void an_id_names_one_message(void **state)
{
	const struct {
		struct identity *with;
		const char *account, *uid;
		const uint8_t *digest;
	} rows[] = {
		{ ours, "sammel", "17", digest },
		{ others, "sammel", "17", digest },
		{ ours, "sammel2", "17", digest },
		{ ours, "sammel", "18", digest },
		{ ours, "sammel", "17", other_digest },
		{ ours, "sammel1", "7", digest }, /* no two parts run into each other */
		{ ours, "sammel17", "", digest },
	};
	char ids[ARRAY_LEN(rows)][IDENTITY_HEX + 1], again[IDENTITY_HEX + 1];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		identity_make(rows[i].with, rows[i].account, rows[i].uid, rows[i].digest, ids[i]);
		identity_make(rows[i].with, rows[i].account, rows[i].uid, rows[i].digest, again);
		assert_string_equal(ids[i], again);
		assert_int_equal(strspn(ids[i], "0123456789abcdef"), IDENTITY_HEX);
		assert_int_equal(strlen(ids[i]), IDENTITY_HEX);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(ids[i], ids[k]);
	}
}

static void knows_its_own_ids(void **state)
{
	char id[IDENTITY_HEX + 1];
	struct strview view = { id, IDENTITY_HEX };

	identity_make(ours, "sammel", "17", digest, id);
	assert_true(identity_is_own(ours, view));
	assert_false(identity_is_own(others, view));
	for (size_t i = 0; i < IDENTITY_HEX; i++) { /* each octet counts */
		char was = id[i];
		id[i] = was == '0' ? '1' : '0';
		assert_false(identity_is_own(ours, view));
		id[i] = 'x';
		assert_false(identity_is_own(ours, view));
		id[i] = was;
		assert_false(identity_is_own(ours, sv(id, i)));
	}
	assert_false(identity_is_own(ours, sv(id, IDENTITY_HEX + 1)));
	assert_false(identity_is_own(ours, SV("")));
	assert_true(identity_is_own(ours, view));
}

static struct envelope_rule rule = { .header = (char[]){ "X-My-Envelope" } };
static const struct resolve_rules rules = { .rules = &rule, .nrules = 1 };

/* boundary: index of the first field that is not the provider's. */
static void content_of(
	const char *message, size_t len, size_t boundary, uint8_t out[STORE_DIGEST_OCTETS])
{
	struct spool_area area = { .dir = "/tmp" };
	struct spool *spool = spool_new(&area);
	struct header h;
	struct err err;

	assert_int_equal(spool_add(spool, sv(message, len), &err), 0);
	assert_int_equal(spool_end(spool, &err), 0);
	header_init(&h, !spool_has_crlf(spool));
	header_push(&h, message, len);
	header_end(&h);
	assert_int_equal(identity_content(spool, &h, boundary, &rules, out, &err), 0);
	header_free(&h);
	spool_free(spool);
}

static void two_copies_have_one_content(void **state)
{
	static const struct {
		const char *a, *b;
		size_t boundary;
		bool same;
	} rows[] = {
		{ "S: x\r\n\r\nbody", "S: x\r\n\r\nbody", 0, true },
		{ "S: x\r\n\r\nbody", "S: y\r\n\r\nbody", 0, false },
		{ "S: x\r\n\r\nbody", "S: x\r\n\r\nBody", 0, false },
		{ "S: x\r\n\r\nbody", "S: x\r\nT: \r\n\r\nbody", 0, false },
		{ "S: x\r\n\r\nbody", "S: x\r\nbody: \r\n\r\n", 0, false },
		/* trace and envelope lines are the way, not the letter */
		{ "Received: a\r\nS: x\r\n\r\nbody", "Received: b\r\n c\r\nS: x\r\n\r\nbody", 0,
			true },
		{ "S: x\r\nX-My-Envelope: a@x\r\n\r\nbody", "S: x\r\n\r\nbody", 0, true },
		{ "Delivered-To: a\r\nX-UIDL: 1\r\nS: x\r\n\r\nb", "X-UIDL: 2\r\nS: x\r\n\r\nb", 0,
			true },
		/* above the boundary the provider writes, below it the sender does */
		{ "X-Spam: 1\r\nS: x\r\n\r\nb", "X-Spam: 2\r\nS: x\r\n\r\nb", 1, true },
		{ "X-Spam: 1\r\nS: x\r\n\r\nb", "X-Spam: 2\r\nS: x\r\n\r\nb", 0, false },
		{ "X-Spam: 1\r\nS: x\r\n\r\nb", "X-Spam: 2\r\nS: x\r\n\r\nb", 2, false },
		/* an mbox line is not part of it */
		{ "From a Mon\r\nS: x\r\n\r\nb", "S: x\r\n\r\nb", 0, true },
		/* LF-ended, or no header at all: all of the body counts */
		{ "S: x\n\nbody", "S: x\n\nbody", 0, true },
		{ "S: x\n\nbody", "S: x\n\nbode", 0, false },
		{ "Received: a\nS: x\n\nbody", "S: x\n\nbody", 0, true },
		{ "no header\r\n\r\nb", "No header\r\n\r\nb", 0, false },
		{ "no header\r\n\r\nb", "no header\r\n\r\nc", 0, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t a[STORE_DIGEST_OCTETS], b[STORE_DIGEST_OCTETS];
		content_of(rows[i].a, strlen(rows[i].a), rows[i].boundary, a);
		content_of(rows[i].b, strlen(rows[i].b), rows[i].boundary, b);
		if (!memcmp(a, b, sizeof a) != rows[i].same)
			fail_msg("row %zu", i);
	}
}

/* The part between the parsed header and the spool's own body is read in pieces. */
static void a_large_body_counts_to_its_last_octet(void **state)
{
	static const size_t places[] = { 8, 5000, 16 * 1024 + 7, 16 * 1024 + 8, 99999 };
	uint8_t a[STORE_DIGEST_OCTETS], b[STORE_DIGEST_OCTETS];
	static char message[100000];

	for (int lf = 0; lf < 2; lf++) {
		memset(message, 'x', sizeof message);
		memcpy(message, lf ? "S: xyz\n\n" : "S: x\r\n\r\n", 8);
		content_of(message, sizeof message, 0, a);
		for (size_t i = 0; i < ARRAY_LEN(places); i++) {
			message[places[i]] = 'y';
			content_of(message, sizeof message, 0, b);
			assert_memory_not_equal(a, b, sizeof a);
			message[places[i]] = 'x';
		}
	}
}

static int set_up(void **state)
{
	ours = identity_new(key);
	others = identity_new(other_key);
	return 0;
}

static int tear_down(void **state)
{
	identity_free(ours);
	identity_free(others);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_id_names_one_message),
		cmocka_unit_test(knows_its_own_ids),
		cmocka_unit_test(two_copies_have_one_content),
		cmocka_unit_test(a_large_body_counts_to_its_last_octet),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
