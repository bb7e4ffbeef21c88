/*
 * What is shipped beside the program: the sample and the provider sections pass the check, and the
 * sample has each key of the table. The manual is held to it by tests/lint/test_manual.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conf_internal.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static char conf_dir[PATH_MAX];

static void read_text(const char *dir, const char *name, struct strbuf *out)
{
	char path[PATH_MAX];
	struct stat st;
	struct err err;

	assert_true(snprintf(path, sizeof path, "%.2000s/%s", dir, name) > 0);
	assert_int_equal(conf_read(path, CONF_FILE_MAX, out, &st, &err), 0);
}

/* Loads DIR/NAME; the only words may be `warning`. */
static void check_shipped(const char *name, const char *warning)
{
	char path[PATH_MAX];
	struct faults faults = { 0 };
	struct config *c;

	snprintf(path, sizeof path, "%.2000s/%s", conf_dir, name);
	c = conf_file_load(path, &faults);
	assert_non_null(c);
	assert_int_equal(c->nproviders, 1);
	assert_int_equal(faults.n, warning ? 1 : 0);
	if (warning)
		assert_string_equal(faults.items[0].text, warning);
	config_unref(c);
	faults_free(&faults);
}

static void test_shipped_files_pass(void **state)
{
	static const char *const providers[] = {
		"providers.d/gmx.conf",
		"providers.d/hetzner.conf",
		"providers.d/ionos.conf",
		"providers.d/strato.conf",
		"providers.d/webde.conf",
	};

	for (size_t i = 0; i < ARRAY_LEN(providers); i++)
		check_shipped(providers[i], "no account is defined");
	check_shipped("multidropd.conf", NULL);
}

static void test_sample_passes_from_its_own_folder(void **state)
{
	struct faults faults = { 0 };
	struct config *c;

	assert_int_equal(chdir(conf_dir), 0);
	c = conf_file_load("multidropd.conf", &faults);
	assert_non_null(c);
	config_unref(c);
	faults_free(&faults);
}

/* Kinds of sections by the word that opens them; a leading # is part of the sample. */
static enum conf_kind kind_of(struct strview word)
{
	for (enum conf_kind k = 0; k < CONF_KIND_COUNT; k++)
		if (sv_eq(word, sv_str(conf_kind_name(k))))
			return k;
	return CONF_KIND_COUNT;
}

static void note(struct string_list *keys, enum conf_kind kind, struct strview name)
{
	char text[200];

	snprintf(text, sizeof text, "%s.%.*s", conf_kind_name(kind), SV_FMT(name));
	if (!string_list_has(keys, text))
		string_list_add(keys, sv_str(text));
}

static struct strview first_word(struct strview v)
{
	size_t len = 0;

	while (len < v.len &&
		(ascii_lower((unsigned char)v.ptr[len]) != v.ptr[len] ||
			(v.ptr[len] >= 'a' && v.ptr[len] <= 'z') || v.ptr[len] == '_'))
		len++;
	return sv(v.ptr, len);
}

static void keys_of_sample(struct strview text, struct string_list *keys)
{
	enum conf_kind kind = CONF_ROOT, outer = CONF_ROOT;
	bool in_list = false;

	while (text.len) {
		struct strview line = sv_trim(sv_token(&text, '\n'));
		if (sv_starts(line, SV("#")))
			line = sv_trim(sv_skip(line, 1));
		struct strview word = first_word(line), rest = sv_trim(sv_skip(line, word.len));
		enum conf_kind opened = kind_of(word);
		if (word.len && sv_starts(rest, SV("="))) {
			note(keys, kind, word);
			in_list = sv_iends(line, SV("{"));
		} else if (opened < CONF_KIND_COUNT && sv_starts(rest, SV("\""))) {
			outer = opened == CONF_ENVELOPE ? kind : CONF_ROOT;
			kind = opened;
		} else if (sv_eq(line, SV("}")) && in_list) {
			in_list = false;
		} else if (sv_eq(line, SV("}")) && kind != CONF_ROOT) {
			kind = outer;
			outer = CONF_ROOT;
		}
	}
}

static void compare_with_table(const struct string_list *keys)
{
	struct string_list known AUTO(string_list_free) = { 0 };
	struct conf_described row;

	for (size_t i = 0; conf_describe(i, &row); i++)
		note(&known, row.kind, sv_str(row.name));
	for (size_t i = 0; i < known.n; i++)
		if (!string_list_has(keys, known.items[i]))
			fail_msg("%s is missing", known.items[i]);
	for (size_t i = 0; i < keys->n; i++)
		if (!string_list_has(&known, keys->items[i]))
			fail_msg("%s is no key", keys->items[i]);
}

static void test_sample_has_every_key(void **state)
{
	struct strbuf text AUTO(strbuf_free) = STRBUF_INIT;
	struct string_list keys AUTO(string_list_free) = { 0 };

	read_text(conf_dir, "multidropd.conf", &text);
	keys_of_sample(strbuf_view(&text), &keys);
	compare_with_table(&keys);
}

/* The build passes absolute names; the source tree is what stands before ours. */
static int find_tree(void **state)
{
	static const char me[] = "tests/unit/test_conf_shipped.c";
	size_t len = sizeof __FILE__ - sizeof me;
	char here[PATH_MAX];

	if (!getcwd(here, sizeof here))
		return -1;
	snprintf(conf_dir, sizeof conf_dir, "%.2000s/%.*sconf", *__FILE__ == '/' ? "" : here,
		(int)len, __FILE__);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shipped_files_pass),
		cmocka_unit_test(test_sample_has_every_key),
		cmocka_unit_test(test_sample_passes_from_its_own_folder),
	};

	return cmocka_run_group_tests(tests, find_tree, NULL);
}
