/*
 * The dialog runner; see dialog.h.
 *
 * A script is read into steps once and played several times. A play owns the machine, the input
 * that was not fed yet, what the machine said and was not asked for, and the events likewise. The
 * first thing that goes wrong is printed, with file and line, and ends the play.
 */
#include "dialog.h"
#include "base/encode.h"

#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define RANDOM_ROUNDS 20
#define START_MS      1000000 /* any time but zero */

enum step_kind {
	STEP_SERVER,
	STEP_CLIENT,
	STEP_EVENT,
	STEP_MAYBE_EVENT,
	STEP_DO,
	STEP_EOF,
	STEP_WAIT,
	STEP_END
};

struct step {
	enum step_kind kind;
	unsigned line;
	uint64_t msec;        /* wait */
	struct strbuf text;   /* escapes resolved, repeated, with CRLF where it belongs */
	struct strbuf detail; /* words behind "--" */
};

struct script {
	const char *path;
	struct strbuf file;
	struct dialog_params params;
	struct step *steps;
	size_t n, cap;
};

struct strview dialog_param(
	const struct dialog_params *params, const char *key, const char *otherwise)
{
	for (size_t i = 0; i < params->n; i++)
		if (!strcmp(params->list[i].key, key))
			return sv(params->list[i].value, params->list[i].len);
	return sv_str(otherwise);
}

/* ---- reading ---- */

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef", *at = c ? strchr(digits, ascii_lower(c)) : NULL;

	return at ? (int)(at - digits) : -1;
}

static bool unescape(struct strbuf *out, struct strview in)
{
	static const char names[] = "rn0\\", values[] = "\r\n\0\\";

	for (size_t i = 0; i < in.len; i++) {
		if (in.ptr[i] != '\\') {
			strbuf_addc(out, in.ptr[i]);
			continue;
		}
		if (++i == in.len)
			return false;
		const char *at = strchr(names, in.ptr[i]);
		if (at && *at) {
			strbuf_addc(out, values[at - names]);
		} else if (in.ptr[i] == 'x' && i + 2 < in.len && hex_digit(in.ptr[i + 1]) >= 0 &&
			hex_digit(in.ptr[i + 2]) >= 0) {
			strbuf_addc(out,
				(char)(hex_digit(in.ptr[i + 1]) << 4 | hex_digit(in.ptr[i + 2])));
			i += 2;
		} else {
			return false;
		}
	}
	return true;
}

/* ": TEXT", "- TEXT", "*3: TEXT" behind the S or C. */
static bool read_speech(struct step *s, struct strview rest)
{
	struct strbuf once AUTO(strbuf_free) = STRBUF_INIT;
	uint64_t times = 1;

	if (sv_starts(rest, SV("*"))) {
		size_t digits = strspn(rest.ptr + 1, "0123456789");
		if (!sv_number(sv(rest.ptr + 1, digits), 10000000, &times))
			return false;
		rest = sv_skip(rest, 1 + digits);
	}
	bool crlf = sv_starts(rest, SV(":"));
	if (!crlf && !sv_starts(rest, SV("-")))
		return false;
	rest = sv_skip(rest, sv_starts(sv_skip(rest, 1), SV(" ")) ? 2 : 1);
	if (!unescape(&once, rest))
		return false;
	if (crlf)
		strbuf_adds(&once, "\r\n");
	for (uint64_t i = 0; i < times; i++)
		strbuf_addv(&s->text, strbuf_view(&once));
	return true;
}

static bool read_event(struct step *s, struct strview rest)
{
	const char *words = memmem(rest.ptr, rest.len, " -- ", 4);

	if (words) {
		size_t at = (size_t)(words - rest.ptr);
		if (!unescape(&s->detail, sv_skip(rest, at + 4)))
			return false;
		rest.len = at;
	}
	return unescape(&s->text, rest);
}

static bool read_wait(struct step *s, struct strview rest)
{
	bool ms = sv_iends(rest, SV("ms"));

	if (!ms && !sv_iends(rest, SV("s")))
		return false;
	rest.len -= ms ? 2 : 1;
	if (!sv_number(rest, 1000000000, &s->msec))
		return false;
	s->msec *= ms ? 1 : 1000;
	return true;
}

static bool read_text(struct step *s, struct strview rest)
{
	return unescape(&s->text, rest);
}

static bool read_nothing(struct step *s, struct strview rest)
{
	return !rest.len;
}

static const struct {
	const char *word;
	enum step_kind kind;
	bool (*read)(struct step *s, struct strview rest);
} words[] = {
	{ "S", STEP_SERVER, read_speech },
	{ "C", STEP_CLIENT, read_speech },
	{ "E: ", STEP_EVENT, read_event },
	{ "E? ", STEP_MAYBE_EVENT, read_event },
	{ "do ", STEP_DO, read_text },
	{ "eof", STEP_EOF, read_nothing },
	{ "wait ", STEP_WAIT, read_wait },
	{ "end", STEP_END, read_nothing },
};

static bool read_param(struct script *script, struct strview rest)
{
	struct strbuf value = STRBUF_INIT;
	struct strview key = sv_token(&rest, ' ');
	struct dialog_params *params = &script->params;

	if (!key.len || script->n || !unescape(&value, rest)) {
		strbuf_free(&value);
		return false;
	}
	mem_grow(&params->list, &params->cap, params->n + 1, sizeof *params->list);
	struct dialog_param *p = &params->list[params->n++];
	p->key = mem_strndup(key.ptr, key.len);
	p->len = value.len;
	p->value = strbuf_take(&value);
	return true;
}

static bool read_line(struct script *script, struct strview line, unsigned number)
{
	if (!line.len || line.ptr[0] == '#')
		return true;
	if (sv_starts(line, SV("param ")))
		return read_param(script, sv_skip(line, 6));
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (!sv_starts(line, sv_str(words[i].word)))
			continue;
		mem_grow(&script->steps, &script->cap, script->n + 1, sizeof *script->steps);
		struct step *s = &script->steps[script->n++];
		*s = (struct step){ .kind = words[i].kind, .line = number };
		return words[i].read(s, sv_skip(line, strlen(words[i].word)));
	}
	return false;
}

static bool read_file(struct strbuf *out, const char *path)
{
	char buf[4096];
	size_t n;
	FILE *f = fopen(path, "rb");

	if (!f)
		return false;
	while ((n = fread(buf, 1, sizeof buf, f)) > 0)
		strbuf_add(out, buf, n);
	return fclose(f) == 0;
}

static bool read_script(struct script *script)
{
	unsigned number = 0;

	if (!read_file(&script->file, script->path)) {
		fprintf(stderr, "%s: cannot be read\n", script->path);
		return false;
	}
	for (struct strview rest = strbuf_view(&script->file); rest.len;) {
		struct strview line = sv_token(&rest, '\n');
		if (!read_line(script, line, ++number)) {
			fprintf(stderr, "%s:%u: not a step: %.*s\n", script->path, number,
				SV_FMT(line));
			return false;
		}
	}
	if (script->n && script->steps[script->n - 1].kind == STEP_END)
		return true;
	fprintf(stderr, "%s: does not end with `end`\n", script->path);
	return false;
}

static void free_script(struct script *script)
{
	for (size_t i = 0; i < script->n; i++) {
		strbuf_free(&script->steps[i].text);
		strbuf_free(&script->steps[i].detail);
	}
	for (size_t i = 0; i < script->params.n; i++) {
		free((char *)script->params.list[i].key);
		free((char *)script->params.list[i].value);
	}
	free(script->params.list);
	free(script->steps);
	strbuf_free(&script->file);
}

/* ---- playing ---- */

enum split { SPLIT_WHOLE, SPLIT_BYTES, SPLIT_RANDOM };

struct play {
	const struct dialog_driver *driver;
	const struct script *script;
	const struct step *step;
	enum split split;
	uint32_t seed, random;
	void *machine;
	msec_t now;
	struct strbuf input, said;
	struct dialog_event *events; /* [first, n) were not asked for yet */
	size_t first, n, cap;
	bool over; /* a final event was reported */
	bool failed;
};

static void fail(struct play *p, const char *what, struct strview got, struct strview want)
{
	static const char *const names[] = { "whole", "byte by byte", "random split" };
	struct strbuf text AUTO(strbuf_free) = STRBUF_INIT;

	if (p->failed)
		return;
	p->failed = true;
	strbuf_addf(&text, "%s:%u (%s", p->script->path, p->step->line, names[p->split]);
	if (p->split == SPLIT_RANDOM)
		strbuf_addf(&text, ", seed %u", p->seed);
	strbuf_addf(&text, "): %s\n", what);
	if (got.ptr) {
		strbuf_adds(&text, "\tgot:  ");
		escape_foreign(&text, got);
		strbuf_adds(&text, "\n");
	}
	if (want.ptr) {
		strbuf_adds(&text, "\twant: ");
		escape_foreign(&text, want);
		strbuf_adds(&text, "\n");
	}
	fputs(strbuf_str(&text), stderr);
}

static void fail_plain(struct play *p, const char *what)
{
	fail(p, what, (struct strview){ 0 }, (struct strview){ 0 });
}

static size_t piece_size(struct play *p, size_t len)
{
	switch (p->split) {
	case SPLIT_WHOLE:
		return len;
	case SPLIT_BYTES:
		return 1;
	case SPLIT_RANDOM:
		p->random = p->random * 1664525 + 1013904223;
		return 1 + (p->random >> 8) % (len < 40 ? len : 40);
	}
	return len;
}

/* An event's whole text, as E: writes it. */
static void event_text(struct strbuf *out, const struct dialog_event *ev)
{
	strbuf_addv(out, strbuf_view(&ev->text));
	if (ev->is_data) {
		strbuf_addc(out, ' ');
		strbuf_addv(out, strbuf_view(&ev->data));
	}
}

static void free_event(struct dialog_event *ev)
{
	strbuf_free(&ev->text);
	strbuf_free(&ev->data);
	strbuf_free(&ev->detail);
}

/* Takes over *ev. */
static void reported(struct play *p, struct dialog_event *ev)
{
	struct dialog_event *last = p->n > p->first ? &p->events[p->n - 1] : NULL;

	p->over |= ev->final;
	if (!ev->text.len ||
		(last && last->is_data && ev->is_data &&
			sv_eq(strbuf_view(&last->text), strbuf_view(&ev->text)))) {
		if (ev->text.len)
			strbuf_addv(&last->data, strbuf_view(&ev->data));
		free_event(ev);
		return;
	}
	mem_grow(&p->events, &p->cap, p->n + 1, sizeof *p->events);
	p->events[p->n++] = *ev;
}

static void take_output(struct play *p)
{
	for (struct strview out; !p->over && (out = p->driver->output(p->machine)).len;) {
		size_t n = piece_size(p, out.len);
		strbuf_add(&p->said, out.ptr, n);
		p->driver->sent(p->machine, n, p->now);
	}
}

/* Each piece is an allocation of its own, so that AddressSanitizer sees one octet too far. */
static void feed_piece(struct play *p, struct strview piece)
{
	char *copy AUTO(mem_freep) = mem_alloc(piece.len);
	struct dialog_event ev = { 0 };

	memcpy(copy, piece.ptr, piece.len);
	size_t used = p->driver->feed(p->machine, sv(copy, piece.len), p->now, &ev);
	if (used > piece.len || (!used && !ev.text.len))
		fail_plain(p, "feed() took too much, or nothing");
	else
		strbuf_consume(&p->input, used);
	reported(p, &ev);
	take_output(p);
}

static void feed_all(struct play *p)
{
	while (p->input.len && !p->over && !p->failed)
		feed_piece(p, sv(p->input.ptr, piece_size(p, p->input.len)));
}

static void silence(struct play *p)
{
	if (p->said.len)
		fail(p, "the machine said something else before", strbuf_view(&p->said), SV(""));
}

static void step_server(struct play *p)
{
	silence(p);
	strbuf_addv(&p->input, strbuf_view(&p->step->text));
}

static void step_client(struct play *p)
{
	struct strview want = strbuf_view(&p->step->text);

	feed_all(p);
	if (!sv_starts(strbuf_view(&p->said), want))
		fail(p, "the machine says something else", strbuf_view(&p->said), want);
	else
		strbuf_consume(&p->said, want.len);
}

static void step_event(struct play *p)
{
	struct strbuf got AUTO(strbuf_free) = STRBUF_INIT;
	struct strview want = strbuf_view(&p->step->text);
	bool maybe = p->step->kind == STEP_MAYBE_EVENT;

	feed_all(p);
	if (p->first == p->n) {
		if (!maybe)
			fail(p, "no event", (struct strview){ 0 }, want);
		return;
	}
	struct dialog_event *ev = &p->events[p->first];
	event_text(&got, ev);
	if (!sv_eq(strbuf_view(&got), want)) {
		strbuf_addf(&got, " -- %s", strbuf_str(&ev->detail));
		if (!maybe)
			fail(p, "another event", strbuf_view(&got), want);
		return;
	}
	if (!sv_icontains(strbuf_view(&ev->detail), strbuf_view(&p->step->detail)))
		fail(p, "another text", strbuf_view(&ev->detail), strbuf_view(&p->step->detail));
	free_event(ev);
	p->first++;
}

static void step_do(struct play *p)
{
	struct strview args = strbuf_view(&p->step->text);
	struct strview name = sv_token(&args, ' ');
	struct dialog_event ev = { 0 };

	feed_all(p);
	if (p->over)
		fail_plain(p, "the machine is over");
	else if (!p->driver->command(p->machine, name, args, p->now, &ev))
		fail_plain(p, "the driver has no such command");
	reported(p, &ev);
	take_output(p);
}

static void step_eof(struct play *p)
{
	struct dialog_event ev = { 0 };

	feed_all(p);
	silence(p);
	if (!p->over)
		p->driver->eof(p->machine, p->now, &ev);
	reported(p, &ev);
}

static void step_wait(struct play *p)
{
	struct dialog_event ev = { 0 };

	feed_all(p);
	silence(p);
	p->now += (msec_t)p->step->msec;
	if (!p->over && p->driver->deadline(p->machine) <= p->now)
		p->driver->tick(p->machine, p->now, &ev);
	reported(p, &ev);
}

static void step_end(struct play *p)
{
	struct strbuf got AUTO(strbuf_free) = STRBUF_INIT;

	feed_all(p);
	silence(p);
	if (p->first == p->n)
		return;
	event_text(&got, &p->events[p->first]);
	strbuf_addf(&got, " -- %s", strbuf_str(&p->events[p->first].detail));
	fail(p, "an event that nobody asked for", strbuf_view(&got), SV(""));
}

static void (*const play_step[])(struct play *p) = {
	[STEP_SERVER] = step_server,
	[STEP_CLIENT] = step_client,
	[STEP_EVENT] = step_event,
	[STEP_MAYBE_EVENT] = step_event,
	[STEP_DO] = step_do,
	[STEP_EOF] = step_eof,
	[STEP_WAIT] = step_wait,
	[STEP_END] = step_end,
};

static bool play(const struct dialog_driver *driver, const struct script *script, enum split split,
	uint32_t seed)
{
	struct play p = {
		.driver = driver, .script = script, .step = script->steps, .split = split
	};

	p.seed = p.random = seed;
	p.now = START_MS;
	p.machine = driver->open(&script->params, p.now);
	if (!p.machine) {
		fail_plain(&p, "bad param lines");
		return false;
	}
	take_output(&p);
	for (size_t i = 0; i < script->n && !p.failed; i++) {
		p.step = &script->steps[i];
		play_step[p.step->kind](&p);
	}
	driver->close(p.machine);
	while (p.first < p.n)
		free_event(&p.events[p.first++]);
	free(p.events);
	strbuf_free(&p.input);
	strbuf_free(&p.said);
	return !p.failed;
}

static bool run_script(const struct dialog_driver *driver, const char *path)
{
	struct script script = { .path = path };
	bool good = read_script(&script) && play(driver, &script, SPLIT_WHOLE, 0) &&
		play(driver, &script, SPLIT_BYTES, 0);

	for (uint32_t seed = 1; good && seed <= RANDOM_ROUNDS; seed++)
		good = play(driver, &script, SPLIT_RANDOM, seed);
	free_script(&script);
	return good;
}

int dialog_main(const struct dialog_driver *driver, int argc, char **argv)
{
	size_t bad = 0, all = 0;

	for (int i = 1; i < argc; i++) {
		struct strbuf pattern AUTO(strbuf_free) = STRBUF_INIT;
		glob_t found = { 0 };
		strbuf_adds(&pattern, argv[i]);
		if (!sv_iends(strbuf_view(&pattern), SV(".dialog")))
			strbuf_adds(&pattern, "/*.dialog");
		if (glob(strbuf_str(&pattern), 0, NULL, &found))
			found.gl_pathc = 0;
		for (size_t k = 0; k < found.gl_pathc; k++)
			bad += !run_script(driver, found.gl_pathv[k]);
		all += found.gl_pathc;
		globfree(&found);
	}
	printf("%zu dialogs, %zu failed\n", all, bad);
	return bad || !all;
}
