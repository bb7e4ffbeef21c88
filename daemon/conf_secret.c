/*
 * Where the password of an account or relay comes from, and whether others could read it there.
 *
 * The mode is looked at on the opened descriptor, so that what was checked is what is read. No
 * fault ever shows a secret; buffers are wiped.
 */
#include "conf_internal.h"

#include <stdlib.h>
#include <unistd.h>

struct origin {
	const char *key;
	mode_t refused; /* bits of the mode that give the secret away */
};

/* systemd passes credentials as 0400 or, through its access list, 0440. */
static const struct origin origins[] = {
	{ "password", 0077 },
	{ "password_file", 0077 },
	{ "password_credential", 0037 },
	{ "password_command", 0 },
};

/* The one origin that the section names, or NULL after a fault. */
static const struct origin *only_origin(struct conf_tree *t, const struct conf_section *s)
{
	const struct origin *found = NULL;

	for (size_t i = 0; i < ARRAY_LEN(origins); i++) {
		if (!conf_text(s, origins[i].key))
			continue;
		if (found) {
			fault_add(t->faults, conf_at(s, origins[i].key),
				"%s beside %s: there is one password", origins[i].key, found->key);
			return NULL;
		}
		found = &origins[i];
	}
	if (!found)
		fault_add(t->faults, s->place,
			"%s \"%s\" has no password: set password_file, password_credential, "
			"password_command or password",
			conf_kind_name(s->kind), s->title);
	return found;
}

/*
 * Root checks the configuration for a daemon that runs as somebody else: that user owns the state
 * directory.
 */
static bool is_ours(const struct conf_tree *t, uid_t owner)
{
	struct stat state;

	if (owner == 0 || owner == geteuid())
		return true;
	return geteuid() == 0 && t->config->state_dir && !stat(t->config->state_dir, &state) &&
		owner == state.st_uid;
}

static bool is_private(struct conf_tree *t, struct conf_place place, const struct origin *o,
	const char *path, const struct stat *st)
{
	if (!is_ours(t, st->st_uid)) {
		fault_add(t->faults, place,
			"%s %s: owned by uid %u, which is neither root nor the daemon's user",
			o->key, path, (unsigned)st->st_uid);
		return false;
	}
	if (st->st_mode & o->refused) {
		fault_add(t->faults, place, "%s %s: mode %04o lets others read it; chmod 600 it",
			o->key, path, (unsigned)(st->st_mode & 07777));
		return false;
	}
	return true;
}

static void drop_newline(struct strbuf *b)
{
	if (b->len && b->ptr[b->len - 1] == '\n')
		b->len--;
	else
		return;
	if (b->len && b->ptr[b->len - 1] == '\r')
		b->len--;
}

static void store(struct conf_tree *t, struct conf_place place, const struct origin *o,
	struct strview bytes, struct secret *out)
{
	const char *fault = NULL;

	if (!bytes.len)
		fault = "is empty";
	else if (bytes.len > CONF_SECRET_MAX)
		fault = "is longer than 1024 octets";
	else if (memchr(bytes.ptr, '\r', bytes.len) || memchr(bytes.ptr, '\n', bytes.len) ||
		memchr(bytes.ptr, '\0', bytes.len))
		fault = "has a CR, LF or NUL in it";
	if (fault) {
		fault_add(t->faults, place, "%s: the password %s", o->key, fault);
		return;
	}
	out->bytes = mem_strndup(bytes.ptr, bytes.len);
	out->len = bytes.len;
}

static void load_file(struct conf_tree *t, struct conf_place place, const struct origin *o,
	const char *path, struct secret *out)
{
	struct strbuf bytes AUTO(strbuf_wipe) = STRBUF_INIT;
	struct stat st;
	struct err err;

	/* Two more than the limit for the newline, one more to see that it was passed. */
	if (conf_read(path, CONF_SECRET_MAX + 3, &bytes, &st, &err) < 0) {
		fault_add(t->faults, place, "%s %s: %s", o->key, path, err.text);
		return;
	}
	if (!is_private(t, place, o, path, &st))
		return;
	drop_newline(&bytes);
	store(t, place, o, strbuf_view(&bytes), out);
}

static void load_credential(struct conf_tree *t, struct conf_place place, const struct origin *o,
	const char *name, struct secret *out)
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	struct strbuf path AUTO(strbuf_free) = STRBUF_INIT;

	if (strchr(name, '/') || name[0] == '.') {
		fault_add(
			t->faults, place, "%s takes the name of a credential, not a path", o->key);
		return;
	}
	if ((!folder || !*folder) && t->secrets != CONF_SECRETS_ALL) {
		fault_warn(t->faults, place,
			"%s %s: not checked, only the service can read it ($CREDENTIALS_DIRECTORY "
			"is not set)",
			o->key, name);
		return;
	}
	if (!folder || !*folder) {
		fault_add(t->faults, place,
			"%s %s: $CREDENTIALS_DIRECTORY is not set; it is there when systemd starts "
			"the service",
			o->key, name);
		return;
	}
	strbuf_addf(&path, "%s/%s", folder, name);
	load_file(t, place, o, strbuf_str(&path), out);
}

/* A password in the configuration makes that file a secret file, of a disabled account too. */
static void load_inline(struct conf_tree *t, const struct conf_section *s, const struct origin *o,
	struct secret *out)
{
	struct conf_place place = conf_at(s, o->key);
	const struct conf_source *source = conf_source_of(t, place.file);

	if (!is_private(t, place, o, "in this file", &source->st))
		return;
	store(t, place, o, sv_str(conf_text(s, o->key)), out);
}

void conf_secret_load(
	struct conf_tree *t, const struct conf_section *s, bool used, struct secret *out)
{
	const struct origin *o = only_origin(t, s);

	if (!o)
		return;
	used = used && t->secrets != CONF_SECRETS_NONE;
	struct conf_place place = conf_at(s, o->key);
	const char *value = conf_text(s, o->key);
	if (o == &origins[0]) {
		load_inline(t, s, o, out);
	} else if (o == &origins[1] && used) {
		char *path AUTO(mem_freep) = conf_resolve(place.file, value);
		load_file(t, place, o, path, out);
	} else if (o == &origins[2] && used) {
		load_credential(t, place, o, value, out);
	} else if (o == &origins[3]) {
		out->command = mem_strdup(value);
	}
}

void conf_secret_unused(struct conf_tree *t, const struct conf_section *s)
{
	for (size_t i = 0; i < ARRAY_LEN(origins); i++)
		if (conf_text(s, origins[i].key))
			fault_add(t->faults, conf_at(s, origins[i].key), "%s without user",
				origins[i].key);
}
