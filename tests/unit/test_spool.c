/*
 * A message between RETR and the relay: memory or file, and what it notes while the bytes pass,
 * which must not depend on how the network cut them.
 */
#include "spool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

struct fixture {
	char dir[32];
	struct spool_area area;
};

static int setup(void **state)
{
	struct fixture *fx = mem_zalloc(sizeof *fx);

	snprintf(fx->dir, sizeof fx->dir, "/tmp/spool.XXXXXX");
	assert_non_null(mkdtemp(fx->dir));
	fx->area.dir = fx->dir;
	*state = fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	assert_int_equal(fx->area.in_memory, 0); /* whatever a test did, it gave all back */
	assert_int_equal(fx->area.octets, 0);
	assert_int_equal(rmdir(fx->dir), 0); /* and left no file behind */
	free(fx);
	return 0;
}

static void add(struct spool *s, const char *data, size_t len)
{
	struct err err;

	assert_int_equal(spool_add(s, sv(data, len), &err), 0);
}

/* n octets in pieces of `piece`, each octet telling its place. */
static void fill(struct spool *s, size_t n, size_t piece)
{
	char buf[8192];

	for (size_t at = 0; at < n; at += piece) {
		size_t len = n - at < piece ? n - at : piece;
		for (size_t i = 0; i < len; i++)
			buf[i] = (char)('a' + (at + i) % 23);
		add(s, buf, len);
	}
}

static void expect_filled(struct spool *s, size_t n, size_t step)
{
	struct strview got;
	char buf[8192];
	size_t at = 0;

	do {
		assert_int_equal(spool_read(s, at, buf, step, &got, NULL), 0);
		assert_in_range(got.len, at < n, step); /* 0 at the end only */
		for (size_t i = 0; i < got.len; i++, at++)
			if (got.ptr[i] != (char)('a' + at % 23))
				fail_msg("octet %zu", at);
	} while (got.len);
	assert_int_equal(at, n);
	assert_int_equal(spool_read(s, n + 1, buf, step, &got, NULL), 0);
	assert_int_equal(got.len, 0);
}

static void goes_to_a_file_above_its_memory(void **state)
{
	static const struct {
		size_t octets;
		bool in_file;
	} rows[] = { { 0, false }, { 1, false }, { SPOOL_MEMORY_OCTETS - 1, false },
		{ SPOOL_MEMORY_OCTETS, false }, { SPOOL_MEMORY_OCTETS + 1, true },
		{ 3 * SPOOL_MEMORY_OCTETS + 77, true } };
	struct fixture *fx = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct spool *s = spool_new(&fx->area);
		fill(s, rows[i].octets, 4099);
		assert_int_equal(spool_end(s, NULL), 0);
		assert_int_equal(spool_octets(s), rows[i].octets);
		assert_int_equal(fx->area.in_memory, rows[i].in_file ? 0 : rows[i].octets);
		expect_filled(s, rows[i].octets, 8192);
		expect_filled(s, rows[i].octets, 1000);
		spool_free(s);
	}
	spool_free(NULL);
}

/* Many small messages at once: together they get so much memory, the next one a file. */
static void all_spools_share_one_limit(void **state)
{
	enum { COUNT = SPOOL_MEMORY_TOTAL_OCTETS / SPOOL_MEMORY_OCTETS };
	struct fixture *fx = *state;
	struct spool *full[COUNT], *next;

	for (size_t i = 0; i < COUNT; i++) {
		full[i] = spool_new(&fx->area);
		fill(full[i], SPOOL_MEMORY_OCTETS, 8192);
	}
	assert_int_equal(fx->area.in_memory, SPOOL_MEMORY_TOTAL_OCTETS); /* at the limit */
	next = spool_new(&fx->area);
	fill(next, 1, 1); /* above it */
	assert_int_equal(fx->area.in_memory, SPOOL_MEMORY_TOTAL_OCTETS);
	fill(next, 0, 1);
	spool_free(full[0]);
	assert_int_equal(fx->area.in_memory, SPOOL_MEMORY_TOTAL_OCTETS - SPOOL_MEMORY_OCTETS);
	assert_int_equal(spool_end(next, NULL), 0);
	expect_filled(next, 1, 10);
	spool_free(next);
	for (size_t i = 1; i < COUNT; i++)
		spool_free(full[i]);
}

/* What is on its way together has a limit, which one message alone is not held to. */
static void all_spools_together_have_a_limit(void **state)
{
	struct fixture *fx = *state;
	struct spool *a = spool_new(&fx->area), *b;
	struct err err;

	fx->area.octets = SPOOL_TOTAL_OCTETS - 10; /* others' */
	add(a, "0123456789", 10);
	assert_int_equal(spool_add(a, SV("x"), &err), -1);
	assert_int_equal(err.class, ERR_LIMIT);
	spool_free(a);
	assert_int_equal(fx->area.octets, SPOOL_TOTAL_OCTETS - 10);
	b = spool_new(&fx->area);
	assert_int_equal(spool_add(b, SV("0123456789x"), &err), -1);
	fx->area.octets = 0; /* they are gone */
	add(b, "0123456789x", 11);
	assert_int_equal(fx->area.octets, 11);
	spool_free(b);
}

static void sha256(struct strview a, struct strview b, uint8_t out[SPOOL_DIGEST_OCTETS])
{
	AUTO(strbuf_free) struct strbuf all = STRBUF_INIT;

	strbuf_addv(&all, a);
	strbuf_addv(&all, b);
	assert_true(EVP_Digest(strbuf_str(&all), all.len, out, NULL, EVP_sha256(), NULL));
}

struct notes {
	const char *message;
	size_t split; /* where the body begins */
	bool has_crlf, eightbit;
};

static void expect_notes(struct spool *s, const struct notes *row)
{
	struct strview all = sv_str(row->message);
	uint8_t body[SPOOL_DIGEST_OCTETS], whole[SPOOL_DIGEST_OCTETS];

	assert_int_equal(spool_end(s, NULL), 0);
	sha256(sv_skip(all, row->split), SV(""), body);
	sha256(sv(all.ptr, row->split), sv((const char *)body, sizeof body), whole);
	assert_int_equal(spool_octets(s), all.len);
	assert_int_equal(spool_split(s), row->split);
	assert_int_equal(spool_has_crlf(s), row->has_crlf);
	assert_int_equal(spool_eightbit(s), row->eightbit);
	assert_memory_equal(spool_body_digest(s), body, sizeof body);
	assert_memory_equal(spool_digest(s), whole, sizeof whole);
}

/* Each message is cut at each pair of places (so whole and in two as well), and octet by octet. */
static void notes_the_same_however_it_is_cut(void **state)
{
	static const struct notes rows[] = {
		{ "A: b\r\n\r\nbody\r\n", 8, true, false },
		{ "A: b\r\n\r\n", 8, true, false },
		{ "\r\nbody", 2, true, false }, /* begins with its blank line */
		{ "\r\n", 2, false, false },
		{ "\r\n\r\n", 2, true, false },
		{ "A: b\r\n\r\n\r\n\r\n", 8, true, false }, /* the first one counts */
		{ "A: b\r\nC: d", 10, true, false },
		{ "A: b\r\nC: d\r\n", 12, true, false },
		{ "A: b\r\n", 6, false, false }, /* its only CRLF is the server's */
		{ "A: b\n\nbody\n", 11, false, false },
		{ "A: b\n\nbody\r\n", 12, false, false },
		{ "A: b\n\nbo\r\ndy\n", 13, true, false },
		{ "A\r\r\n\r\r\n\rB", 9, true, false },
		{ "A\r\n\nB\r\n\r\n\r", 9, true, false },
		{ "\r\r\n\r\nX", 5, true, false },
		{ "\n\r\n\r\nX", 5, true, false },
		{ "A: b\r\n\r\n\xe4", 8, true, true },
		{ "A: \x80\r\n\r\nb", 8, true, true },
		{ "\xff", 1, false, true },
		{ "\x7f", 1, false, false },
		{ "", 0, false, false },
	};
	struct fixture *fx = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *m = rows[i].message;
		size_t len = strlen(m);
		struct spool *s = spool_new(&fx->area);
		for (size_t k = 0; k < len; k++)
			add(s, m + k, 1);
		expect_notes(s, &rows[i]);
		spool_free(s);
		for (size_t a = 0; a <= len; a++)
			for (size_t b = a; b <= len; b++) {
				s = spool_new(&fx->area);
				add(s, m, a);
				add(s, m + a, b - a);
				add(s, m + b, len - b);
				expect_notes(s, &rows[i]);
				spool_free(s);
			}
	}
}

/* In a file it is the same message: digest over memory and disk agree. */
static void a_file_changes_nothing_about_it(void **state)
{
	struct fixture *fx = *state;
	uint64_t others[] = { 0, SPOOL_MEMORY_TOTAL_OCTETS };
	uint8_t digests[2][SPOOL_DIGEST_OCTETS];

	for (size_t i = 0; i < 2; i++) {
		struct spool *s = spool_new(&fx->area);
		fx->area.in_memory += others[i];
		add(s, "A: b\r\n\r", 7);
		add(s, "\n", 1);
		fill(s, 200000, 8192);
		assert_int_equal(spool_end(s, NULL), 0);
		assert_int_equal(spool_split(s), 8);
		memcpy(digests[i], spool_digest(s), sizeof digests[i]);
		assert_int_equal(fx->area.in_memory, i ? others[i] : 200008);
		fx->area.in_memory -= others[i];
		spool_free(s);
	}
	assert_memory_equal(digests[0], digests[1], sizeof digests[0]);
}

/* X09: a disk that is full says so; nothing is lost but this spool. */
static void a_full_disk_is_an_error(void **state)
{
	struct fixture *fx = *state;
	struct rlimit old, small;
	struct err err = { 0 };
	char block[8192] = { 0 };
	bool failed = false;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){ SPOOL_MEMORY_OCTETS, old.rlim_max };
	signal(SIGXFSZ, SIG_IGN); /* so that write() fails, as it does on a full disk */
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	struct spool *s = spool_new(&fx->area);
	for (int i = 0; i < 100 && !failed; i++)
		failed = spool_add(s, sv(block, sizeof block), &err);
	assert_true(failed);
	assert_int_equal(err.class, ERR_LOCAL);
	assert_non_null(strstr(err.text, fx->dir));
	spool_free(s);
	/* what is collected for the next write fails at the end */
	s = spool_new(&fx->area);
	fx->area.in_memory += SPOOL_MEMORY_TOTAL_OCTETS;
	fill(s, SPOOL_MEMORY_OCTETS, 8192);
	assert_int_equal(spool_add(s, sv(block, 100), &err), 0);
	assert_int_equal(spool_end(s, &err), -1);
	fx->area.in_memory -= SPOOL_MEMORY_TOTAL_OCTETS;
	spool_free(s);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	signal(SIGXFSZ, SIG_DFL);
}

static void a_missing_directory_is_an_error(void **state)
{
	struct spool_area area = { .dir = "/nonexistent", .in_memory = SPOOL_MEMORY_TOTAL_OCTETS };
	struct spool *s = spool_new(&area);
	struct err err = { 0 };

	assert_int_equal(spool_add(s, SV("x"), &err), -1);
	assert_int_equal(err.class, ERR_LOCAL);
	assert_non_null(strstr(err.text, "/nonexistent"));
	spool_free(s);
	assert_int_equal(area.in_memory, SPOOL_MEMORY_TOTAL_OCTETS);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(goes_to_a_file_above_its_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(all_spools_share_one_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(all_spools_together_have_a_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(notes_the_same_however_it_is_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_changes_nothing_about_it, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_disk_is_an_error, setup, teardown),
		cmocka_unit_test(a_missing_directory_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
