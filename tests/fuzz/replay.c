/*
 * The corpus as a test, without libFuzzer: runs a target over every file of the folders in argv,
 * and over what it is up to the end of each line, for a peer may stop there.
 *
 * Fails by the target's own ensure() and the sanitizers; and when a folder has no file, as nothing
 * was tested then. The last name on stderr is the file that failed.
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_MAX_OCTETS (1024 * 1024)

static bool read_file(const char *path, struct strbuf *out)
{
	FILE *f = fopen(path, "rb");
	char buf[4096];
	size_t got;

	if (!f)
		return false;
	while (out->len < FILE_MAX_OCTETS && (got = fread(buf, 1, sizeof buf, f)) > 0)
		strbuf_add(out, buf, got);
	bool good = !ferror(f) && feof(f);
	fclose(f);
	return good;
}

/* Each run has a copy of its own, so that a read behind its end is seen. */
static void run(struct strview input)
{
	uint8_t *copy = mem_alloc(input.len ? input.len : 1);

	if (input.len)
		memcpy(copy, input.ptr, input.len);
	(void)LLVMFuzzerTestOneInput(copy, input.len); /* always 0 */
	free(copy);
}

static unsigned replay_file(const char *path)
{
	AUTO(strbuf_free) struct strbuf input = STRBUF_INIT;

	if (!read_file(path, &input)) {
		fprintf(stderr, "%s: cannot be read\n", path);
		exit(1);
	}
	fprintf(stderr, "%s\n", path);
	unsigned runs = 0;
	for (size_t len = 0; len <= input.len; len++) {
		if (len < input.len && (!len || input.ptr[len - 1] != '\n'))
			continue;
		run(sv(input.ptr, len));
		runs++;
	}
	return runs;
}

int main(int argc, char **argv)
{
	unsigned files = 0, runs = 0;

	for (int i = 1; i < argc; i++) {
		struct dirent **names;
		int n = scandir(argv[i], &names, NULL, alphasort);
		for (int k = 0; k < n; k++) {
			AUTO(strbuf_free) struct strbuf path = STRBUF_INIT;
			strbuf_addf(&path, "%s/%s", argv[i], names[k]->d_name);
			if (names[k]->d_name[0] != '.') {
				runs += replay_file(strbuf_str(&path));
				files++;
			}
			free(names[k]);
		}
		if (n >= 0)
			free(names);
	}
	printf("%u inputs, %u runs\n", files, runs);
	return files ? 0 : 1;
}
