/* Cross-checks of the configuration, and what resolvers get to see of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/config.h"

#include <stdlib.h>

struct fixture {
	struct config *c;
	struct conf_provider *p;
	struct conf_relay *r;
	struct conf_account *a;
	struct faults faults;
};

static void add_rule(struct envelope_rule **rules, size_t *n, const char *header)
{
	*rules = mem_zalloc(sizeof **rules);
	(*rules)[0].header = mem_strdup(header);
	*n = 1;
}

static int setup(void **state)
{
	struct fixture *fx = mem_zalloc(sizeof *fx);

	fx->c = config_new();
	fx->p = config_add_provider(fx->c);
	fx->p->name = mem_strdup("p");
	fx->p->host = mem_strdup("pop.example");
	fx->p->port = 995;
	fx->p->tls.mode = TLS_IMPLICIT;
	add_rule(&fx->p->envelope, &fx->p->nenvelope, "X-Envelope-To");
	fx->r = config_add_relay(fx->c);
	fx->r->name = mem_strdup("r");
	fx->r->host = mem_strdup("mail.example");
	fx->r->port = 25;
	fx->r->tls.mode = TLS_OPPORTUNISTIC;
	fx->r->dot_timeout_ms = 600000;
	fx->r->sender_fallback = mem_strdup("");
	fx->a = config_add_account(fx->c);
	fx->a->name = mem_strdup("a");
	fx->a->place = (struct conf_place){ "f", 7 };
	fx->a->provider = fx->p;
	fx->a->relay = fx->r;
	fx->a->user = mem_strdup("u");
	fx->a->interval_ms = 600000;
	fx->a->rules.unresolved = UNRESOLVED_HOLD;
	fx->a->unknown = fx->a->rejected = FAILED_HOLD;
	string_list_add(&fx->a->domains, SV("firma.example"));
	*state = fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	config_unref(fx->c);
	faults_free(&fx->faults);
	free(fx);
	return 0;
}

static void set_key(struct conf_keys *k, const char *name, int line)
{
	mem_grow(&k->items, &k->cap, k->n + 1, sizeof *k->items);
	k->items[k->n++] = (struct conf_key){ name, { "f", line } };
}

static void nothing(struct fixture *fx)
{
}
static void no_domains(struct fixture *fx)
{
	string_list_free(&fx->a->domains);
}
static void no_envelope(struct fixture *fx)
{
	fx->p->nenvelope = 0;
	free(fx->p->envelope[0].header);
	free(fx->p->envelope);
	fx->p->envelope = NULL;
}
static void guesses(struct fixture *fx)
{
	no_envelope(fx);
	fx->a->rules.unresolved = UNRESOLVED_TO_CC;
}
static void recipient(struct fixture *fx)
{
	fx->a->recipient = mem_strdup("x@firma.example");
	set_key(&fx->a->keys, "recipient", 9);
}
static void single(struct fixture *fx)
{
	no_domains(fx);
	fx->a->rules.mode = RESOLVE_SINGLE;
}
static void single_with_all(struct fixture *fx)
{
	recipient(fx);
	fx->a->rules.mode = RESOLVE_SINGLE;
	set_key(&fx->a->keys, "domains", 10);
}
static void single_with_map(struct fixture *fx)
{
	single(fx);
	recipient(fx);
	set_key(&fx->a->keys, "map_file", 11);
}
static void no_postmaster(struct fixture *fx)
{
	fx->a->rules.unresolved = UNRESOLVED_POSTMASTER;
	set_key(&fx->a->keys, "unresolved", 12);
}
static void no_postmaster_rejected(struct fixture *fx)
{
	fx->a->rejected = FAILED_POSTMASTER;
}
static void often(struct fixture *fx)
{
	fx->p->rate.spacing_ms = fx->a->interval_ms + 1;
}
static void as_often_as_allowed(struct fixture *fx)
{
	fx->p->rate.spacing_ms = fx->a->interval_ms;
}
static void lmtp_25(struct fixture *fx)
{
	fx->r->lmtp = true;
}
static void lmtp_24(struct fixture *fx)
{
	fx->r->lmtp = true;
	fx->r->port = 24;
}
static void smtp_unix(struct fixture *fx)
{
	fx->r->unix_path = mem_strdup("/run/x");
}
static void clear_relay(struct fixture *fx)
{
	fx->r->tls.mode = TLS_NONE;
}
static void clear_loopback(struct fixture *fx)
{
	fx->r->tls.mode = TLS_NONE;
	free(fx->r->host);
	fx->r->host = mem_strdup("127.0.0.1");
}
static void clear_provider(struct fixture *fx)
{
	fx->p->tls.mode = TLS_NONE;
	fx->p->port = 110;
}
static void clear_login(struct fixture *fx)
{
	clear_loopback(fx);
	fx->r->user = mem_strdup("gate");
}
static void unix_login(struct fixture *fx)
{
	fx->r->unix_path = mem_strdup("/run/x");
	fx->r->lmtp = true;
	fx->r->user = mem_strdup("gate");
}
static void unix_backup(struct fixture *fx)
{
	struct host_list *list = &fx->r->backups;

	fx->r->unix_path = mem_strdup("/run/x");
	fx->r->lmtp = true;
	mem_grow(&list->items, &list->cap, 1, sizeof *list->items);
	list->items[list->n++] = (struct conf_host){ mem_strdup("mail2"), 0 };
}
static void pin(struct fixture *fx)
{
	fx->p->tls.mode = TLS_STARTTLS;
	fx->p->port = 110;
	string_list_add(&fx->p->tls.pins, SV("x"));
}
static void pin_in_clear(struct fixture *fx)
{
	clear_loopback(fx);
	string_list_add(&fx->r->tls.pins, SV("x"));
}
static void pin_of_anybody(struct fixture *fx)
{
	fx->r->tls.mode = TLS_OPPORTUNISTIC;
	string_list_add(&fx->r->tls.pins, SV("x"));
}
static void impatient(struct fixture *fx)
{
	fx->r->dot_timeout_ms = 599999;
}
static void nowhere(struct fixture *fx)
{
	fx->a->provider = NULL;
	fx->a->relay = NULL;
}

static const struct {
	void (*change)(struct fixture *);
	int line;
	const char *text; /* a piece of the only fault; NULL: there is none */
	bool warning;
} rows[] = {
	{ nothing, 0, NULL, false },
	{ no_domains, 7, "needs domains", false },
	{ no_envelope, 7, "names an envelope header", false },
	{ guesses, 0, NULL, false },
	{ recipient, 9, "recipient has no meaning", false },
	{ single, 7, "needs recipient", false },
	{ single_with_all, 10, "domains has no meaning", false },
	{ single_with_map, 11, "map_file has no effect", true },
	{ no_postmaster, 12, "unresolved \"postmaster\" needs postmaster", false },
	{ no_postmaster_rejected, 7, "rejected \"postmaster\" needs postmaster", false },
	{ often, 7, "min_interval of provider \"p\"", true },
	{ as_often_as_allowed, 0, NULL, false },
	{ lmtp_25, 0, "must not use port 25", false },
	{ lmtp_24, 0, NULL, false },
	{ smtp_unix, 0, "needs protocol \"lmtp\"", false },
	{ clear_relay, 0, "clear text", true },
	{ clear_loopback, 0, NULL, false },
	{ clear_provider, 0, "clear text", true },
	{ clear_login, 0, "no password is said without TLS", true },
	{ unix_login, 0, "no login over a unix socket", false },
	{ unix_backup, 0, "backup_hosts has no meaning", false },
	{ pin, 0, NULL, false },
	{ pin_in_clear, 0, "tls_pin needs tls", false },
	{ pin_of_anybody, 0, "tls_pin needs tls", false },
	{ impatient, 0, "dot_timeout below 10m", true },
	{ nowhere, 0, NULL, false },
};

static void test_checks(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture *fx;
		setup((void **)&fx);
		rows[i].change(fx);
		config_check(fx->c, &fx->faults);
		assert_int_equal(fx->faults.n, rows[i].text ? 1 : 0);
		if (rows[i].text) {
			struct fault *f = &fx->faults.items[0];
			assert_non_null(strstr(f->text, rows[i].text));
			assert_int_equal(f->place.line, rows[i].line);
			assert_int_equal(f->warning, rows[i].warning);
			assert_int_equal(fx->faults.errors, !rows[i].warning);
		}
		teardown((void **)&fx);
	}
}

static void test_rules_borrow_from_the_provider(void **state)
{
	struct fixture *fx = *state;

	string_list_add(&fx->p->trusted_by, SV("mx.p.example"));
	string_list_add(&fx->p->strip_prefix, SV("firma-"));
	config_check(fx->c, &fx->faults);
	assert_string_equal(fx->a->rules.rules[0].header, "X-Envelope-To");
	assert_string_equal(fx->a->rules.trusted_by[0], "mx.p.example");
	assert_string_equal(fx->a->rules.strip_prefix[0], "firma-");
	assert_string_equal(fx->a->rules.domains[0], "firma.example");
	assert_null(fx->a->rules.sender_fixed);
	assert_string_equal(fx->a->rules.sender_fallback, "");
	assert_null(fx->a->rules.valid);
}

static void test_own_envelope_replaces_the_providers(void **state)
{
	struct fixture *fx = *state;

	add_rule(&fx->a->envelope, &fx->a->nenvelope, "Delivered-To");
	config_check(fx->c, &fx->faults);
	assert_int_equal(fx->a->rules.nrules, 1);
	assert_string_equal(fx->a->rules.rules[0].header, "Delivered-To");
}

static void test_own_mailbox_is_the_login_if_it_is_an_address(void **state)
{
	struct fixture *fx = *state;

	config_check(fx->c, &fx->faults);
	assert_null(fx->a->rules.own_mailbox);
	free(fx->a->user);
	fx->a->user = mem_strdup("sammel@firma.example");
	config_check(fx->c, &fx->faults);
	assert_string_equal(fx->a->rules.own_mailbox, "sammel@firma.example");
}

static void test_null_sender_is_not_return_path(void **state)
{
	struct fixture *fx = *state;

	fx->r->sender_mode = SENDER_NULL;
	config_check(fx->c, &fx->faults);
	assert_string_equal(fx->a->rules.sender_fixed, "");
}

static void test_lookup(void **state)
{
	struct fixture *fx = *state;

	assert_ptr_equal(config_provider(fx->c, "p"), fx->p);
	assert_ptr_equal(config_relay(fx->c, "r"), fx->r);
	assert_ptr_equal(config_account(fx->c, "a"), fx->a);
	assert_null(config_account(fx->c, "A"));
	assert_ptr_equal(config_ref(fx->c), fx->c);
	config_unref(fx->c); /* the second reference; teardown has the first */
	assert_string_equal(config_account(fx->c, "a")->name, "a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checks),
		cmocka_unit_test_setup_teardown(
			test_rules_borrow_from_the_provider, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_own_envelope_replaces_the_providers, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_own_mailbox_is_the_login_if_it_is_an_address, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_null_sender_is_not_return_path, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lookup, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
