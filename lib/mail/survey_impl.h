/*
 * What the parts of the survey share; nobody else includes this.
 *
 * survey_hosts   the provider's own hosts, from the Received lines
 * survey         the headers, each tried alone in each place
 * survey_advice  the best of them: prefix, copies, doubts, warnings
 */
#pragma once

#include "mail/survey.h"

#define SURVEY_PROVES_NAMING 3 /* so many equal values are a mailbox and no coincidence */

struct survey_trial {
	struct envelope_rule rule;
	enum survey_place place;
	uint32_t placed, hits, own, several, lines; /* lines: samples with several lines there */
	struct survey_list people;                  /* distinct addresses */
};

struct survey_run {
	const struct resolve_rules *account;
	const struct header **headers;
	size_t n;
	struct survey *out;
	struct survey_list hosts, prefixes;
	bool drop_trust; /* the configured trusted_by does not fit */
};

/* survey_hosts.c: fills out->hosts, and in `suggestion` what to put into trusted_by. */
void survey_hosts(const struct header *const *headers, size_t n, struct survey *out,
	struct survey_list *suggestion);
void survey_list_add(struct survey_list *l, char *take_item);
void survey_list_free(struct survey_list *l);

/* survey.c: adds up over all samples; a trial without a header reads `for` in Received instead. */
void survey_try(const struct survey_run *r, struct survey_trial *t);
uint32_t survey_distinct(const struct survey_list *people); /* local parts */
struct strview survey_local(const char *address);
bool survey_usable(const struct survey_row *row);

/* survey_advice.c: the verdict, with rows in order. */
void survey_advise(struct survey_run *r);
