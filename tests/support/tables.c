/*
 * Prints the tables that are a contract with administrators, as JSON: keys, events, metrics. The
 * manual is held to them by tests/lint/test_manual.py. Owns nothing.
 */
#include "base/log.h"
#include "conf_internal.h"
#include "conf_value.h"
#include "core/metrics.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *keys(void)
{
	json_t *list = json_array();
	struct conf_described row;

	for (size_t i = 0; conf_describe(i, &row); i++) {
		json_t *words = json_array();
		for (const struct conf_word *w = row.words; w && w->text; w++)
			json_array_append_new(words, json_string(w->text));
		json_array_append_new(list,
			json_pack("{s:s, s:s, s:s?, s:s?, s:s?, s:o, s:b}", "section",
				conf_kind_name(row.kind), "name", row.name, "default", row.fallback,
				"min", row.min, "max", row.max, "words", words, "required",
				row.required));
	}
	return list;
}

static json_t *events(void)
{
	json_t *list = json_array();

	for (enum log_event e = 0; e < EV_COUNT; e++)
		json_array_append_new(list,
			json_pack("{s:s, s:s}", "name", log_event_name(e), "level",
				log_level_name(log_event_level(e))));
	return list;
}

int main(void)
{
	AUTO(strbuf_free) struct strbuf metrics = STRBUF_INIT;
	struct metrics none = { 0 };

	metrics_print(&none, &metrics);
	json_t *all = json_pack("{s:o, s:o, s:s}", "keys", keys(), "events", events(), "metrics",
		strbuf_str(&metrics));
	char *text = json_dumps(all, JSON_INDENT(1));
	puts(text);
	free(text);
	json_decref(all);
	metrics_free(&none);
	return 0;
}
