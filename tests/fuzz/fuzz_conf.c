/*
 * The configuration: any text is either loaded or refused with faults that say where, without a
 * leak, twice the same, and without a word of a password.
 *
 * The first octet chooses what stands in front of the input: nothing, or an account whose password
 * is never to be seen in a fault. The input is the main file; behind an octet 0x1d it goes on in
 * `more`, behind the next in `list`, which it may name. Beside them lies a file `secret`.
 */
#include "fuzz.h"

#include "conf_internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define SECRET "Geheim9x7q"

enum file { FILE_MAIN, FILE_MORE, FILE_LIST, FILE_SECRET, FILE_COUNT };

static const char *const names[FILE_COUNT] = { "main", "more", "list", "secret" };
static const char *const prefixes[] = {
	"",
	"account \"a\" { password = \"" SECRET "\"\n",
	"account \"a\" { password = x " SECRET " ", /* it wants quotes, and an error may quote it */
	"account \"a\" { password = \"" SECRET,
	"account \"a\" { password_file = \"secret\"\n",
	"relay \"a\" { user = \"x\" password = '" SECRET "'\n",
};
static char folder[] = "/dev/shm/fuzz_conf.XXXXXX"; /* in memory: four files for each run */
static char *paths[FILE_COUNT];
static int fds[FILE_COUNT];

static void remove_files(void)
{
	for (int i = 0; i < FILE_COUNT; i++) {
		(void)unlink(paths[i]); /* there is nobody left who could be told */
		free(paths[i]);
	}
	(void)rmdir(folder);
}

static void make_files(void)
{
	ensure(mkdtemp(folder));
	for (int i = 0; i < FILE_COUNT; i++) {
		struct strbuf path = STRBUF_INIT;
		strbuf_addf(&path, "%s/%s", folder, names[i]);
		paths[i] = strbuf_take(&path);
		fds[i] = open(paths[i], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		ensure(fds[i] >= 0);
	}
	ensure(!atexit(remove_files));
}

static void fill(enum file file, struct strview text)
{
	ensure(!ftruncate(fds[file], 0));
	ensure(pwrite(fds[file], text.ptr, text.len, 0) == (ssize_t)text.len);
}

static int count_lines(struct strview text)
{
	int n = 1;

	for (size_t i = 0; i < text.len; i++)
		n += text.ptr[i] == '\n';
	return n;
}

/* An error is where somebody can mend it; a file of ours has no line behind its end. */
static void check_faults(const struct faults *f, const struct strview *texts)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct fault *fault = &f->items[i];
		ensure(*fault->text && *fault->place.file && fault->place.line >= 0);
		ensure(fault->place.line || fault->warning);
		for (int k = 0; k < FILE_COUNT; k++)
			ensure(strcmp(fault->place.file, paths[k]) ||
				fault->place.line <= count_lines(texts[k]));
	}
}

static void check_config(const struct config *c)
{
	for (size_t i = 0; i < c->naccounts; i++) {
		const struct conf_account *a = c->accounts[i];
		ensure(*a->name && a->provider && a->relay && *a->provider->host);
		ensure(a->password.bytes || a->password.command || !a->enabled);
		ensure(a->rules.mode == RESOLVE_SINGLE ? a->rules.recipient != NULL
						       : a->rules.ndomains > 0);
	}
}

static void load(const struct strview *texts, struct strbuf *said)
{
	struct faults faults = { 0 };
	struct config *c = conf_file_load(paths[FILE_MAIN], &faults);

	ensure(!c == (faults.errors > 0));
	check_faults(&faults, texts);
	if (c)
		check_config(c);
	faults_print(&faults, said);
	config_unref(c);
	faults_free(&faults);
}

static void find_socket(void)
{
	struct faults faults = { 0 };
	char *socket = conf_file_socket(paths[FILE_MAIN], &faults);

	ensure(socket || faults.errors);
	free(socket);
	faults_free(&faults);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(strbuf_free)
	struct strbuf text = STRBUF_INIT, first = STRBUF_INIT, second = STRBUF_INIT;
	struct strview texts[FILE_COUNT] = { [FILE_SECRET] = SV(SECRET "\n") };

	if (!size)
		return 0;
	if (!paths[0])
		make_files();
	struct strview in = sv((const char *)data + 1, size - 1);
	bool known = has(in, SECRET);
	strbuf_adds(&text, prefixes[data[0] % ARRAY_LEN(prefixes)]);
	strbuf_addv(&text, sv_token(&in, TURN_END));
	texts[FILE_MAIN] = strbuf_view(&text);
	texts[FILE_MORE] = sv_token(&in, TURN_END);
	texts[FILE_LIST] = in;
	for (int i = 0; i < FILE_COUNT; i++)
		fill(i, texts[i]);
	load(texts, &first);
	load(texts, &second);
	ensure(sv_eq(strbuf_view(&first), strbuf_view(&second)));
	ensure(known || !has(strbuf_view(&first), SECRET));
	find_socket();
	return 0;
}
