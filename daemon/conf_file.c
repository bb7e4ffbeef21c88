/*
 * From the file to a checked configuration: builds the objects, joins what refers to each other,
 * and fills in the defaults that depend on other keys or on the environment.
 *
 * Owns the tree for the length of a load. Nothing here stops at the first fault, except that a
 * syntax error keeps quiet about what may only be missing because it stands behind the error.
 */
#include "conf_internal.h"
#include "listen.h"

#include <stdlib.h>
#include <unistd.h>

#define NAME_MAX_OCTETS   64
#define HEADER_MAX_OCTETS 76
#define CA_FILE_MAX       (4 * 1024 * 1024)

/* The first of the folders that systemd passes in a variable, else the other. */
static char *folder(const char *variable, const char *otherwise)
{
	struct strview folders = sv_str(getenv(variable));
	struct strview first = sv_token(&folders, ':');

	return first.len ? mem_strndup(first.ptr, first.len) : mem_strdup(otherwise);
}

char *conf_default_socket(void)
{
	char *runtime AUTO(mem_freep) = folder("RUNTIME_DIRECTORY", "/run/multidropd");
	struct strbuf path = STRBUF_INIT;

	strbuf_addf(&path, "%s/control", runtime);
	return strbuf_take(&path);
}

static void root_defaults(struct config *c)
{
	char host[256] = "";

	/* No resolver here: the test of a configuration must not touch the network. */
	if (gethostname(host, sizeof host - 1) < 0 || !*host)
		c->hostname = mem_strdup("localhost");
	else
		c->hostname = mem_strdup(host);
	c->state_dir = folder("STATE_DIRECTORY", "/var/lib/multidropd");
	c->control_socket = conf_default_socket();
}

/* Names become file names, log fields and metric labels. */
static bool is_name(const char *s)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789._-";
	size_t len = strlen(s);

	return len && len <= NAME_MAX_OCTETS && *s != '.' && strspn(s, allowed) == len;
}

/* RFC 5322 section 3.6.8: ftext. */
static bool is_header(const char *s)
{
	size_t len = strlen(s);

	for (size_t i = 0; i < len; i++)
		if (s[i] < 33 || s[i] > 126 || s[i] == ':')
			return false;
	return len && len <= HEADER_MAX_OCTETS;
}

static void check_name(struct conf_tree *t, const struct conf_section *s)
{
	if (s->kind == CONF_ENVELOPE ? is_header(s->title) : is_name(s->title))
		return;
	if (s->kind == CONF_ENVELOPE)
		fault_add(t->faults, s->place, "envelope \"%s\" is not the name of a header",
			s->title);
	else
		fault_add(t->faults, s->place,
			"%s \"%s\": a name is 1 to 64 of A-Z a-z 0-9 . _ - and begins with no dot",
			conf_kind_name(s->kind), s->title);
}

/* Header names compare without case, the others exactly. */
static bool same_title(const struct conf_section *a, const struct conf_section *b)
{
	if (a->kind != b->kind || a->parent != b->parent)
		return false;
	return a->kind == CONF_ENVELOPE ? !ascii_strcasecmp(a->title, b->title)
					: !strcmp(a->title, b->title);
}

static void check_unique(struct conf_tree *t, size_t index)
{
	const struct conf_section *s = t->sections[index];

	for (size_t i = 1; i < index; i++) {
		const struct conf_section *first = t->sections[i];
		if (!same_title(first, s))
			continue;
		fault_add(t->faults, s->place, "%s \"%s\" is defined twice; first at %s:%d",
			conf_kind_name(s->kind), s->title, first->place.file, first->place.line);
		return;
	}
}

static void build_provider(struct conf_tree *t, struct conf_section *s)
{
	struct conf_provider *p = config_add_provider(t->config);

	p->place = s->place;
	p->name = mem_strdup(s->title);
	s->object = p;
	conf_apply(t, s, &p->keys);
	if (!conf_text(s, "port"))
		p->port = p->tls.mode == TLS_IMPLICIT ? 995 : 110;
}

static uint16_t relay_port(const struct conf_relay *r)
{
	if (r->lmtp)
		return 24;
	return r->tls.mode == TLS_IMPLICIT ? 465 : 25;
}

static void build_relay(struct conf_tree *t, struct conf_section *s)
{
	struct conf_relay *r = config_add_relay(t->config);

	r->place = s->place;
	r->name = mem_strdup(s->title);
	s->object = r;
	conf_apply(t, s, &r->keys);
	if (!conf_text(s, "port"))
		r->port = relay_port(r);
}

static void build_account(struct conf_tree *t, struct conf_section *s)
{
	struct conf_account *a = config_add_account(t->config);

	a->place = s->place;
	a->name = mem_strdup(s->title);
	s->object = a;
	a->rules.unresolved = UNRESOLVED_HOLD;
	a->unknown = FAILED_HOLD;
	conf_apply(t, s, &a->keys);
	if (!conf_text(s, "unresolved") && a->postmaster)
		a->rules.unresolved = UNRESOLVED_POSTMASTER;
	if (!conf_text(s, "unknown") && a->postmaster)
		a->unknown = FAILED_POSTMASTER;
	conf_domains_normalise(t, s, &a->domains);
}

static void add_rule(struct envelope_rule **rules, size_t *n, const struct envelope_rule *rule)
{
	*rules = mem_resize(*rules, (*n + 1) * sizeof **rules);
	(*rules)[(*n)++] = *rule;
}

static void build_envelope(struct conf_tree *t, struct conf_section *s)
{
	struct envelope_rule rule = { .header = mem_strdup(s->title) };

	s->object = &rule;
	conf_apply(t, s, NULL);
	s->object = NULL;
	if (s->parent->kind == CONF_PROVIDER) {
		struct conf_provider *p = s->parent->object;
		add_rule(&p->envelope, &p->nenvelope, &rule);
	} else {
		struct conf_account *a = s->parent->object;
		add_rule(&a->envelope, &a->nenvelope, &rule);
	}
}

static void build_root(struct conf_tree *t, struct conf_section *s)
{
	root_defaults(t->config);
	s->object = t->config;
	conf_apply(t, s, &t->config->keys);
}

static void (*const builders[])(struct conf_tree *, struct conf_section *) = {
	[CONF_ROOT] = build_root,
	[CONF_PROVIDER] = build_provider,
	[CONF_RELAY] = build_relay,
	[CONF_ACCOUNT] = build_account,
	[CONF_ENVELOPE] = build_envelope,
};

static void join_account(struct conf_tree *t, const struct conf_section *s)
{
	struct conf_account *a = s->object;
	const char *provider = conf_text(s, "provider");
	const char *relay = conf_text(s, "relay");

	a->provider = provider ? config_provider(t->config, provider) : NULL;
	a->relay = relay ? config_relay(t->config, relay) : NULL;
	if (provider && !a->provider && !t->missing)
		fault_add(t->faults, conf_at(s, "provider"), "provider \"%s\" is not defined",
			provider);
	if (relay && !a->relay && !t->missing)
		fault_add(t->faults, conf_at(s, "relay"), "relay \"%s\" is not defined", relay);
	conf_secret_load(t, s, a->enabled, &a->password);
	conf_map_load(t, s, a);
	conf_recipients_load(t, s, a);
}

static void check_ca_file(struct conf_tree *t, const struct conf_section *s, const char *path)
{
	struct strbuf bytes AUTO(strbuf_free) = STRBUF_INIT;
	struct stat st;
	struct err err;

	if (path && conf_read(path, CA_FILE_MAX, &bytes, &st, &err) < 0)
		fault_add(
			t->faults, conf_at(s, "tls_ca_file"), "tls_ca_file %s: %s", path, err.text);
}

static void join_relay(struct conf_tree *t, const struct conf_section *s)
{
	struct conf_relay *r = s->object;

	check_ca_file(t, s, r->tls.ca_file);
	if (conf_text(s, "user"))
		conf_secret_load(t, s, true, &r->password);
	else
		conf_secret_unused(t, s);
}

static void check_listen(struct conf_tree *t, const struct conf_section *root)
{
	const char *text = t->config->metrics_listen;
	struct listen_address address;

	if (text && !listen_parse(sv_str(text), &address, NULL) && !listen_is_private(&address))
		fault_warn(t->faults, conf_at(root, "metrics_listen"),
			"metrics_listen %s: whoever reaches that address reads names and states of "
			"accounts, without a password; let a firewall or a proxy decide who that "
			"is, or listen at 127.0.0.1:9477",
			text);
}

/* Does the administrator say that the relay takes mail for this address? */
static bool is_delivered(const struct conf_account *a, const char *address)
{
	const char *const to[] = { a->recipient, a->postmaster };

	for (size_t i = 0; i < ARRAY_LEN(to); i++)
		if (to[i] && !ascii_strcasecmp(to[i], address))
			return true;
	for (size_t i = 0; i < a->nmap; i++)
		for (size_t k = 0; k < a->map[i].nright; k++)
			if (!ascii_strcasecmp(a->map[i].right[k], address))
				return true;
	return false;
}

/* Mail to a maildrop that is emptied here, and whose address nobody has, would come back. */
static void check_alert_loop(struct conf_tree *t, const struct conf_section *s)
{
	const struct config *c = t->config;

	for (size_t i = 0; i < c->naccounts; i++) {
		const struct conf_account *a = c->accounts[i];
		if (!a->user || ascii_strcasecmp(a->user, c->alert_to) ||
			is_delivered(a, c->alert_to))
			continue;
		fault_add(t->faults, conf_at(s, "alert_to"),
			"alert_to is the maildrop of account \"%s\": alerts would come back; name "
			"an address that the relay delivers in the house",
			a->name);
	}
}

static void join_root(struct conf_tree *t, const struct conf_section *s)
{
	struct config *c = t->config;
	const char *relay = conf_text(s, "alert_relay");

	if (relay && !(c->alert_relay = config_relay(c, relay)) && !t->missing)
		fault_add(
			t->faults, conf_at(s, "alert_relay"), "relay \"%s\" is not defined", relay);
	if (relay && !conf_text(s, "alert_to"))
		fault_warn(t->faults, conf_at(s, "alert_relay"),
			"alert_relay has no effect without alert_to");
	if (!c->alert_to)
		return;
	if (!relay && c->nrelays == 1)
		c->alert_relay = c->relays[0];
	else if (!relay && !t->missing)
		fault_add(t->faults, conf_at(s, "alert_to"),
			c->nrelays ? "alert_to needs alert_relay: there are several relays"
				   : "alert_to needs a relay");
	check_alert_loop(t, s);
}

static void join(struct conf_tree *t)
{
	check_listen(t, t->sections[0]);
	for (size_t i = 0; i < t->nsections; i++) {
		struct conf_section *s = t->sections[i];
		switch (s->kind) {
		case CONF_PROVIDER:
			check_ca_file(t, s, ((struct conf_provider *)s->object)->tls.ca_file);
			break;
		case CONF_RELAY:
			join_relay(t, s);
			break;
		case CONF_ACCOUNT:
			join_account(t, s);
			break;
		case CONF_ROOT:
		case CONF_ENVELOPE:
		case CONF_KIND_COUNT:
			break;
		}
	}
	join_root(t, t->sections[0]); /* the maps of all accounts are loaded */
	if (!t->config->naccounts && !t->missing)
		fault_warn(t->faults, t->sections[0]->place, "no account is defined");
	config_check(t->config, t->faults);
}

static size_t file_rank(const struct string_list *files, const char *file)
{
	size_t i = 0;

	while (i < files->n && strcmp(files->items[i], file))
		i++;
	return i;
}

static bool comes_before(const struct string_list *files, struct conf_place a, struct conf_place b)
{
	size_t x = file_rank(files, a.file), y = file_rank(files, b.file);

	return x < y || (x == y && a.line < b.line);
}

/* Insertion: few items, nearly in order, and two faults of one line stay as they were found. */
static void sort_faults(struct faults *f, const struct string_list *files)
{
	for (size_t i = 1; i < f->n; i++) {
		struct fault moved = f->items[i];
		size_t j = i;
		for (; j && comes_before(files, moved.place, f->items[j - 1].place); j--)
			f->items[j] = f->items[j - 1];
		f->items[j] = moved;
	}
}

struct config *conf_file_load_with(
	const char *path, enum conf_secrets secrets, struct faults *faults)
{
	struct conf_tree t = { .config = config_new(), .faults = faults, .secrets = secrets };

	conf_tree_load(&t, path);
	for (size_t i = 0; i < t.nsections; i++) {
		if (t.sections[i]->title) {
			check_name(&t, t.sections[i]);
			check_unique(&t, i);
		}
		builders[t.sections[i]->kind](&t, t.sections[i]);
	}
	if (!t.broken)
		join(&t);
	sort_faults(faults, &t.config->files);
	conf_tree_free(&t);
	if (faults->errors) {
		config_unref(t.config);
		return NULL;
	}
	return t.config;
}

struct config *conf_file_load(const char *path, struct faults *faults)
{
	return conf_file_load_with(path, CONF_SECRETS_ALL, faults);
}

char *conf_file_socket(const char *path, struct faults *faults)
{
	struct conf_tree t = { .config = config_new(), .faults = faults };
	char *socket = NULL;

	conf_tree_load(&t, path);
	if (!faults->errors) {
		build_root(&t, t.sections[0]);
		socket = mem_strdup(t.config->control_socket);
	}
	conf_tree_free(&t);
	config_unref(t.config);
	return socket;
}

void faults_print(const struct faults *f, struct strbuf *out)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct fault *fault = &f->items[i];
		strbuf_adds(out, fault->place.file);
		if (fault->place.line)
			strbuf_addf(out, ":%d", fault->place.line);
		strbuf_addf(out, ": %s%s\n", fault->warning ? "warning: " : "", fault->text);
	}
}
