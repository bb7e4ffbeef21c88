/*
 * The address lists of an account: domains, map, map_file, recipients_file.
 *
 * All keys are normalised for comparison here (local part and domain in lower case, domain as
 * A-label), sorted, and free of duplicates, so that the resolver can search them. Targets keep the
 * administrator's spelling.
 */
#include "conf_internal.h"

#include <stdlib.h>

#define FILE_FAULTS_MAX 20 /* shown of one list file: it may be the wrong file altogether */

struct map_line {
	struct map_entry entry;
	struct conf_place place;
};

struct lists {
	struct conf_tree *tree;
	const struct conf_account *account;
	struct map_line *lines;
	size_t n, cap;
	struct string_list *valid;
};

typedef void line_fn(struct lists *l, struct strview line, struct conf_place place);

static char *domain_with_prefix(const char *prefix, struct strview domain)
{
	char *normal AUTO(mem_freep) = domain_normal(domain);
	struct strbuf out = STRBUF_INIT;

	if (!normal)
		return NULL;
	strbuf_addf(&out, "%s%s", prefix, normal);
	return strbuf_take(&out);
}

void conf_domains_normalise(
	struct conf_tree *t, const struct conf_section *s, struct string_list *domains)
{
	const struct conf_setting *set = conf_find(s, "domains");

	for (size_t i = 0; set && i < set->n; i++) {
		const char *text = set->values[i].text;
		bool dot = *text == '.';
		char *normal AUTO(mem_freep) =
			domain_with_prefix(dot ? "." : "", sv_str(text + dot));
		if (normal)
			string_list_add(domains, sv_str(normal));
		else
			fault_add(t->faults,
				(struct conf_place){ set->place.file, set->values[i].line },
				"domains \"%s\" is not a domain name", text);
	}
}

/* "local@domain" or "*@domain" as it is compared; NULL and err when it is neither. */
static char *normal_key(struct strview text, struct err *err)
{
	struct address a = { 0 };
	struct strbuf key = STRBUF_INIT;

	if (sv_starts(text, SV("*@"))) {
		char *all = domain_with_prefix("*@", sv_skip(text, 2));
		if (!all)
			err_set(err, ERR_CONFIG, 0, "the domain is none");
		return all;
	}
	if (address_parse(text, &a, err) < 0)
		return NULL;
	for (size_t i = 0; i <= a.at; i++)
		strbuf_addc(&key, (char)ascii_lower((unsigned char)a.text[i]));
	strbuf_adds(&key, a.domain);
	address_free(&a);
	return strbuf_take(&key);
}

static bool in_domains(const struct string_list *domains, const char *key)
{
	struct strview domain = sv_str(strrchr(key, '@') + 1);

	for (size_t i = 0; i < domains->n; i++) {
		struct strview d = sv_str(domains->items[i]);
		if (sv_eq(domain, d) || (d.len && d.ptr[0] == '.' && sv_iends(domain, d)))
			return true;
	}
	return false;
}

static bool add_target(
	struct map_entry *e, struct strview text, struct conf_place place, struct faults *f)
{
	struct err err = { 0 };
	char *key AUTO(mem_freep) = normal_key(text, &err);

	if (!key) {
		fault_add(f, place, "map target \"%.*s\" is neither an address nor *@DOMAIN: %s",
			SV_FMT(text), err.text);
		return false;
	}
	e->right = mem_resize(e->right, (e->nright + 1) * sizeof *e->right);
	e->right[e->nright++] = mem_strndup(text.ptr, text.len);
	return true;
}

static void add_map_line(struct lists *l, struct strview line, struct conf_place place)
{
	struct faults *f = l->tree->faults;
	struct strview rest = line;
	struct strview left = sv_trim(sv_token(&rest, '='));
	struct err err = { 0 };
	struct map_entry e = { .left = normal_key(left, &err) };

	if (!e.left)
		fault_add(f, place, "map \"%.*s\" is neither an address nor *@DOMAIN: %s",
			SV_FMT(left), err.text);
	else if (l->account->domains.n && !in_domains(&l->account->domains, e.left))
		fault_warn(
			f, place, "map \"%s\" never applies: its domain is not in domains", e.left);
	if (!sv_trim(rest).len)
		fault_add(f, place, "a map line reads ADDRESS = ADDRESS, ...");
	while (sv_trim(rest).len)
		add_target(&e, sv_trim(sv_token(&rest, ',')), place, f);
	if (!e.left)
		e.left = mem_strdup(""); /* refused already; keeps its place in the list */
	mem_grow(&l->lines, &l->cap, l->n + 1, sizeof *l->lines);
	l->lines[l->n++] = (struct map_line){ e, place };
}

static void add_recipient(struct lists *l, struct strview line, struct conf_place place)
{
	struct err err = { 0 };
	char *key AUTO(mem_freep) = normal_key(line, &err);

	if (key && *key != '*')
		string_list_add(l->valid, sv_str(key));
	else
		fault_add(l->tree->faults, place, "\"%.*s\" is not a mail address%s%s",
			SV_FMT(line), key ? "" : ": ", key ? "" : err.text);
}

/* A # begins a comment at the start of a line or after a blank: local parts may have one. */
static struct strview without_comment(struct strview line)
{
	for (size_t i = 0; i < line.len; i++)
		if (line.ptr[i] == '#' && (!i || line.ptr[i - 1] == ' ' || line.ptr[i - 1] == '\t'))
			return sv_trim(sv(line.ptr, i));
	return sv_trim(line);
}

/* Hands each line of the file that `key` names to fn. False: there is none, or a fault was added.
 */
static bool each_line(struct lists *l, const struct conf_section *s, const char *key, line_fn *fn)
{
	struct strbuf bytes AUTO(strbuf_free) = STRBUF_INIT;
	struct conf_place at = conf_at(s, key);
	const char *value = conf_text(s, key);
	struct faults *f = l->tree->faults;
	size_t faults = f->n;
	struct stat st;
	struct err err;

	if (!value)
		return false;
	char *path AUTO(mem_freep) = conf_resolve(at.file, value);
	if (conf_read(path, CONF_LIST_MAX, &bytes, &st, &err) < 0) {
		fault_add(f, at, "%s %s: %s", key, path, err.text);
		return false;
	}
	struct string_list *files = &l->tree->config->files;
	string_list_add(files, sv_str(path));
	struct conf_place place = { files->items[files->n - 1], 0 };
	struct strview rest = strbuf_view(&bytes);
	while (rest.len && f->n < faults + FILE_FAULTS_MAX) {
		struct strview line = without_comment(sv_token(&rest, '\n'));
		place.line++;
		if (line.len)
			fn(l, line, place);
	}
	if (rest.len)
		fault_add(f, place, "too many faults; the rest of this file was not read");
	return true;
}

static int compare_lines(const void *a, const void *b)
{
	const struct map_line *x = a, *y = b;
	int order = strcmp(x->entry.left, y->entry.left);

	return order ? order : x->place.line - y->place.line;
}

static void refuse_duplicates(const struct lists *l)
{
	for (size_t i = 1; i < l->n; i++) {
		const struct map_line *a = &l->lines[i - 1], *b = &l->lines[i];
		if (*b->entry.left && !strcmp(a->entry.left, b->entry.left))
			fault_add(l->tree->faults, b->place,
				"\"%s\" is mapped twice; first at %s:%d", b->entry.left,
				a->place.file, a->place.line);
	}
}

/* The line that an address would meet next: its own, else the one of its whole domain. l->n: none.
 */
static size_t next_line(const struct lists *l, const char *target)
{
	char *key AUTO(mem_freep) = normal_key(sv_str(target), NULL);
	struct strbuf all AUTO(strbuf_free) = STRBUF_INIT;

	strbuf_addf(&all, "*%s", strrchr(key, '@'));
	const char *keys[] = { key, strbuf_str(&all) };
	for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
		size_t low = 0, high = l->n;
		while (low < high) {
			size_t mid = low + (high - low) / 2;
			if (strcmp(l->lines[mid].entry.left, keys[k]) < 0)
				low = mid + 1;
			else
				high = mid;
		}
		if (low < l->n && !strcmp(l->lines[low].entry.left, keys[k]))
			return low;
	}
	return l->n;
}

/*
 * The map is applied once, so a loop would not hang anything; but an administrator who wrote one
 * expects something that will not happen. A line that names its own left side keeps a copy there,
 * and is fine. Depth first, on a stack of our own: a map_file may chain thousands of lines.
 */
static void refuse_loops(const struct lists *l)
{
	enum colour { NEW, OPEN, DONE };
	enum colour *colour AUTO(mem_freep) = mem_zalloc(l->n * sizeof *colour);
	size_t *cursor AUTO(mem_freep) = mem_zalloc(l->n * sizeof *cursor);
	size_t *stack AUTO(mem_freep) = mem_zalloc(l->n * sizeof *stack);

	for (size_t start = 0; start < l->n; start++) {
		size_t depth = 0;
		if (colour[start] == NEW)
			stack[depth++] = start, colour[start] = OPEN;
		while (depth) {
			size_t here = stack[depth - 1];
			const struct map_line *line = &l->lines[here];
			if (cursor[here] == line->entry.nright) {
				colour[here] = DONE;
				depth--;
				continue;
			}
			const char *target = line->entry.right[cursor[here]++];
			size_t next = next_line(l, target);
			if (next == l->n || next == here || colour[next] == DONE)
				continue;
			if (colour[next] == NEW) {
				stack[depth++] = next, colour[next] = OPEN;
				continue;
			}
			fault_add(l->tree->faults, line->place,
				"map \"%s\" = \"%s\" leads back to \"%s\" of %s:%d",
				line->entry.left, target, l->lines[next].entry.left,
				l->lines[next].place.file, l->lines[next].place.line);
		}
	}
}

void conf_map_load(struct conf_tree *t, const struct conf_section *s, struct conf_account *a)
{
	const struct conf_setting *set = conf_find(s, "map");
	struct lists l = { .tree = t, .account = a };

	for (size_t i = 0; set && i < set->n; i++)
		add_map_line(&l, sv_str(set->values[i].text),
			(struct conf_place){ set->place.file, set->values[i].line });
	each_line(&l, s, "map_file", add_map_line);
	if (l.n) {
		qsort(l.lines, l.n, sizeof *l.lines, compare_lines);
		refuse_duplicates(&l);
		refuse_loops(&l);
		a->map = mem_alloc(l.n * sizeof *a->map);
	}
	for (size_t i = 0; i < l.n; i++)
		a->map[a->nmap++] = l.lines[i].entry;
	free(l.lines);
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void conf_recipients_load(struct conf_tree *t, const struct conf_section *s, struct conf_account *a)
{
	struct lists l = { .tree = t, .account = a, .valid = &a->valid };

	if (!each_line(&l, s, "recipients_file", add_recipient))
		return;
	if (a->valid.n)
		qsort(a->valid.items, a->valid.n, sizeof *a->valid.items, compare_strings);
	else /* an empty list would read as "not set", and accept everything */
		fault_add(t->faults, conf_at(s, "recipients_file"),
			"recipients_file lists no address");
}
