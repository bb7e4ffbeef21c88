/*
 * Between the file and libconfuse: reads the file whole and makes a text of it that libconfuse 3.3
 * reads the way an administrator does.
 *
 * libconfuse miscounts lines after a comment, takes a comment inside a list for a syntax error,
 * accepts a section without an end, drops unquoted `*` and `+`, and puts the environment into
 * "${NAME}". So comments become blanks here, every newline stays where it is, and what would be
 * misread is a fault with its line. Owns nothing beyond a call.
 */
#include "conf_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DEPTH_MAX 8 /* section, envelope, list: 3 are in use */

static int read_all(int fd, size_t max, struct strbuf *out, struct err *err)
{
	char buf[16384];
	ssize_t got;

	while ((got = read(fd, buf, sizeof buf)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_set(err, ERR_LOCAL, errno, "%s", strerror(errno));
		if (out->len + (size_t)got > max)
			return err_set(err, ERR_LIMIT, 0, "larger than %zu octets", max);
		strbuf_add(out, buf, (size_t)got);
		mem_wipe(buf, (size_t)got);
	}
	return 0;
}

int conf_read(const char *path, size_t max, struct strbuf *out, struct stat *st, struct err *err)
{
	/* O_NONBLOCK: opening a FIFO must not hang a reload. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int rc;

	if (fd < 0)
		return err_set(err, ERR_LOCAL, errno, "%s", strerror(errno));
	if (fstat(fd, st) < 0)
		rc = err_set(err, ERR_LOCAL, errno, "%s", strerror(errno));
	else if (!S_ISREG(st->st_mode))
		rc = err_set(err, ERR_CONFIG, 0, "not a regular file");
	else
		rc = read_all(fd, max, out, err);
	close(fd);
	return rc;
}

char *conf_resolve(const char *naming_file, const char *path)
{
	const char *slash = strrchr(naming_file, '/');
	struct strbuf full = STRBUF_INIT;

	if (*path != '/' && slash)
		strbuf_add(&full, naming_file, (size_t)(slash + 1 - naming_file));
	strbuf_adds(&full, path);
	return strbuf_take(&full);
}

struct scan {
	struct strview rest;
	struct conf_place place;
	struct faults *faults;
	struct strbuf *out;
	struct string_list *words;
	struct {
		int line;
		bool list;
	} open[DEPTH_MAX];
	size_t depth;
	enum { PARENS_NONE, PARENS_OPEN, PARENS_NAMED } parens;
	char before; /* the last octet that was neither blank nor comment; a string counts as '"' */
	bool password;     /* the last key is one */
	int bare_password; /* the line of its value without quotes, if nothing else followed */
};

static char peek(const struct scan *s, size_t i)
{
	return i < s->rest.len ? s->rest.ptr[i] : '\0';
}

static void take(struct scan *s, size_t n)
{
	s->before = s->rest.ptr[n - 1];
	strbuf_add(s->out, s->rest.ptr, n);
	s->rest = sv_skip(s->rest, n);
}

static void blank(struct scan *s)
{
	bool newline = peek(s, 0) == '\n';

	s->place.line += newline;
	strbuf_addc(s->out, newline ? '\n' : ' ');
	s->rest = sv_skip(s->rest, 1);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_word(char c)
{
	return c && !is_blank(c) && !strchr("#\"'={}()+,*$", c);
}

static void line_comment(struct scan *s)
{
	while (s->rest.len && peek(s, 0) != '\n')
		blank(s);
}

static void block_comment(struct scan *s)
{
	struct conf_place start = s->place;

	while (s->rest.len && !sv_starts(s->rest, SV("*/")))
		blank(s);
	if (!s->rest.len)
		fault_add(s->faults, start, "the comment that begins here has no end");
	for (int i = 0; i < 2 && s->rest.len; i++)
		blank(s);
}

/* Whether the next octets of a string are an escape, and how many octets it has. 0: a wrong one. */
static size_t escape_len(const struct scan *s, char quote)
{
	if (peek(s, 0) != '\\')
		return 1;
	if (peek(s, 1) == quote || peek(s, 1) == '\\')
		return 2;
	return quote == '\'' ? 1 : 0;
}

static void quoted(struct scan *s)
{
	char quote = peek(s, 0);

	take(s, 1);
	while (s->rest.len && peek(s, 0) != quote && peek(s, 0) != '\n') {
		size_t len = escape_len(s, quote);
		if (!len)
			fault_add(s->faults, s->place,
				"in double quotes a backslash is written \\\\ (or use single "
				"quotes)");
		if (peek(s, 0) == '$' && quote == '"')
			strbuf_addc(s->out, '\\'); /* else "${NAME}" is the environment's */
		take(s, len ? len : 1);
	}
	if (peek(s, 0) != quote) {
		fault_add(s->faults, s->place, "the string has no closing %c on its line", quote);
		s->rest.len = s->depth = 0; /* what follows would be guesswork */
		return;
	}
	take(s, 1);
	s->before = '"';
}

static void word(struct scan *s)
{
	size_t len = 0, next;

	while (is_word(peek(s, len)))
		len++;
	if (s->bare_password == s->place.line) {
		fault_add(s->faults, s->place, "a password must stand in quotes");
		s->rest.len = s->depth = 0; /* its second half is nobody's to read */
		return;
	}
	for (next = len; is_blank(peek(s, next));)
		next++;
	if (peek(s, next) == '=' || (peek(s, next) == '+' && peek(s, next + 1) == '=')) {
		char *key = mem_strndup(s->rest.ptr, len);
		if (!string_list_has(s->words, key))
			string_list_add(s->words, sv_str(key));
		free(key);
		s->password = sv_starts(s->rest, SV("password"));
	} else if (s->password && s->before == '=') {
		s->bare_password = s->place.line;
	}
	take(s, len);
}

static void open_brace(struct scan *s)
{
	if (s->depth == DEPTH_MAX) {
		fault_add(s->faults, s->place, "braces are nested too deeply");
		s->rest.len = 0;
		return;
	}
	s->open[s->depth].line = s->place.line;
	s->open[s->depth++].list = s->before == '=';
	take(s, 1);
}

static void close_brace(struct scan *s)
{
	if (!s->depth) {
		fault_add(s->faults, s->place, "this } closes nothing");
		s->rest = sv_skip(s->rest, 1);
		return;
	}
	if (s->open[--s->depth].list && s->before == '{')
		strbuf_adds(s->out, "\"" CONF_EMPTY_LIST "\"");
	s->bare_password = 0;
	take(s, 1);
}

/*
 * One name, and the end. libconfuse keeps the arguments of a call that breaks off for good, and a
 * daemon is told to reload often.
 */
static void parens(struct scan *s, char c)
{
	bool name = c == '"' || c == '\'' || is_word(c);

	if (s->parens == PARENS_NONE && c == '(')
		s->parens = PARENS_OPEN;
	else if (s->parens == PARENS_OPEN && name)
		s->parens = PARENS_NAMED;
	else if (s->parens == PARENS_NAMED && c == ')')
		s->parens = PARENS_NONE;
	else if (s->parens != PARENS_NONE) {
		fault_add(s->faults, s->place, "include takes the name of one file");
		s->parens = PARENS_NONE;
	}
}

static void punctuation(struct scan *s)
{
	char c = peek(s, 0);

	if ((c == '=' || c == '(') && s->before == '"')
		fault_add(s->faults, s->place, "the name before %c is written without quotes", c);
	if (c == '*' || c == '$' || (c == '+' && peek(s, 1) != '='))
		fault_add(s->faults, s->place, "a value with %c in it must stand in quotes", c);
	take(s, 1);
}

static void step(struct scan *s)
{
	char c = peek(s, 0);

	if (is_blank(c)) {
		blank(s);
		return;
	}
	if (c == '#' || sv_starts(s->rest, SV("//"))) {
		line_comment(s);
		return;
	}
	if (sv_starts(s->rest, SV("/*"))) {
		block_comment(s);
		return;
	}
	parens(s, c);
	if (c == '"' || c == '\'')
		quoted(s);
	else if (c == '{')
		open_brace(s);
	else if (c == '}')
		close_brace(s);
	else if (is_word(c))
		word(s);
	else
		punctuation(s);
}

bool conf_scan(struct strview in, const char *file, struct faults *f, struct strbuf *out,
	struct string_list *words)
{
	struct scan s = {
		.rest = in, .place = { file, 1 }, .faults = f, .out = out, .words = words
	};
	size_t errors = f->errors;

	if (in.len && memchr(in.ptr, '\0', in.len)) {
		fault_add(f, s.place, "the file has a NUL octet in it");
		return false;
	}
	while (s.rest.len)
		step(&s);
	if (s.parens != PARENS_NONE)
		fault_add(f, s.place, "include takes the name of one file");
	for (size_t i = 0; i < s.depth; i++)
		fault_add(f, (struct conf_place){ file, s.open[i].line },
			"the { on this line is never closed");
	return f->errors == errors;
}
