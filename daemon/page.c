/*
 * The status page; see page.h. Owns nothing.
 *
 * add_text() is the only way for a text that is not a literal of this file. Tables keep their
 * roles, which the style's `display` would take away on a phone.
 */
#include "page.h"

#include "advice.h"
#include "base/encode.h"
#include "show.h"

#include <inttypes.h>

struct page {
	struct strbuf *out;
	const json_t *status;
	wall_t now;
	const char *const *columns; /* of the table that is open */
	size_t column;
};

/* ---- text ---- */

static void add(struct page *p, const char *markup)
{
	strbuf_adds(p->out, markup);
}

static void add_text(struct page *p, const char *text)
{
	AUTO(strbuf_free) struct strbuf safe = STRBUF_INIT;

	escape_long(&safe, sv_str(text), PAGE_TEXT_OCTETS);
	for (const char *at = strbuf_str(&safe); *at; at++)
		switch (*at) {
		case '&':
			add(p, "&amp;");
			break;
		case '<':
			add(p, "&lt;");
			break;
		case '>':
			add(p, "&gt;");
			break;
		case '"':
			add(p, "&quot;");
			break;
		case '\'':
			add(p, "&#39;");
			break;
		default:
			strbuf_addc(p->out, *at);
		}
}

static bool is(const json_t *o, const char *key, const char *value)
{
	return !strcmp(show_text_of(o, key), value);
}

static bool is_true(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

/* ---- times ---- */

/* 3 min ago, in 7 min; the hour of the day as what the element is worth. */
static void add_time(struct page *p, wall_t at)
{
	AUTO(strbuf_free) struct strbuf span = STRBUF_INIT, clock = STRBUF_INIT;
	json_t *machine = show_json_time(at);
	bool past = at <= p->now;

	show_span(&span, past ? p->now - at : at - p->now);
	show_clock(&clock, at);
	add(p, "<time datetime=\"");
	add_text(p, json_string_value(machine));
	add(p, "\" title=\"");
	add_text(p, strbuf_str(&clock));
	strbuf_addf(p->out, "\">%s%s%s</time>", past ? "" : "in ", strbuf_str(&span),
		past ? " ago" : "");
	json_decref(machine);
}

static void add_clock(struct page *p, wall_t at)
{
	AUTO(strbuf_free) struct strbuf clock = STRBUF_INIT;

	show_clock(&clock, at);
	add_text(p, strbuf_str(&clock));
}

static void add_time_or(struct page *p, wall_t at, const char *otherwise)
{
	if (at)
		add_time(p, at);
	else
		add(p, otherwise);
}

/* ---- tables ---- */

/* columns: NULL behind the last; the first one names the row. */
static void begin_table(struct page *p, const char *caption, const char *const *columns)
{
	p->columns = columns;
	add(p, "<section><div class=\"card\"><table role=\"table\"><caption>");
	add(p, caption);
	add(p, "</caption><thead role=\"rowgroup\"><tr role=\"row\">");
	for (; *columns; columns++) {
		add(p, "<th role=\"columnheader\" scope=\"col\">");
		add(p, *columns);
		add(p, "</th>");
	}
	add(p, "</tr></thead><tbody role=\"rowgroup\">\n");
}

static void end_table(struct page *p)
{
	add(p, "</tbody></table></div></section>\n");
}

static void begin_row(struct page *p)
{
	p->column = 0;
	add(p, "<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">");
}

static void next_cell(struct page *p, const char *class)
{
	add(p, p->column++ ? "</div></td>" : "</th>");
	strbuf_addf(p->out, "<td role=\"cell\" data-label=\"%s\" class=\"%s\"><div>",
		p->columns[p->column], class);
}

static void end_row(struct page *p)
{
	add(p, "</div></td></tr>\n");
}

static void number_cell(struct page *p, const json_t *o, const char *key, const char *null)
{
	next_cell(p, "n");
	if (json_is_integer(json_object_get(o, key)))
		strbuf_addf(p->out, "%" JSON_INTEGER_FORMAT, show_number_of(o, key));
	else
		add(p, null);
}

static void add_badge(struct page *p, const char *class, const char *word)
{
	strbuf_addf(p->out, "<span class=\"badge %s\">", class);
	add_text(p, word);
	add(p, "</span>");
}

static void add_small(struct page *p, const char *text)
{
	if (!*text)
		return;
	add(p, "<small>");
	add_text(p, text);
	add(p, "</small>");
}

/* ---- the verdict ---- */

static const char *const level_class[] = {
	[ADVICE_REMARK] = "ok",
	[ADVICE_CONCERN] = "warn",
	[ADVICE_FAILURE] = "bad",
};

static void add_finding(struct page *p, const struct advice *a)
{
	static const char *const words[] = {
		[ADVICE_REMARK] = "note",
		[ADVICE_CONCERN] = "look",
		[ADVICE_FAILURE] = "failure",
	};

	add(p, "<li>");
	add_badge(p, level_class[a->level], words[a->level]);
	add(p, " <strong>");
	add_text(p, strbuf_str(&a->subject));
	add(p, a->subject.len ? ":</strong> " : "</strong>");
	add_text(p, strbuf_str(&a->what));
	if (a->next.len) {
		add(p, "<p class=\"next\"><b>What to do:</b> ");
		add_text(p, strbuf_str(&a->next));
		add(p, "</p>");
	}
	add(p, "</li>\n");
}

static void add_verdict(struct page *p, const struct advice_list *list, const char *headline)
{
	enum advice_level worst = ADVICE_REMARK;

	for (size_t i = 0; i < list->n; i++)
		if (list->items[i].level > worst)
			worst = list->items[i].level;
	strbuf_addf(p->out, "<div class=\"verdict %s\"><h1>", level_class[worst]);
	add_text(p, headline);
	add(p, "</h1>");
	if (list->n)
		add(p, "<ul>\n");
	for (int level = ADVICE_FAILURE; level >= ADVICE_REMARK; level--)
		for (size_t i = 0; i < list->n; i++)
			if ((int)list->items[i].level == level)
				add_finding(p, &list->items[i]);
	add(p, list->n ? "</ul></div>\n" : "</div>\n");
}

/* ---- what there is ---- */

static const struct {
	const char *state, *class, *words; /* NULL: why it is so, from the status */
} states[] = {
	{ "idle", "ok", "rests until its next cycle" },
	{ "waiting", "ok", NULL },
	{ "connecting", "ok", "connects to the provider" },
	{ "fetching", "ok", "a cycle is running" },
	{ "backoff", "warn", NULL },
	{ "suspended", "bad", "no more logins: the password was refused" },
	{ "paused", "off", "until somebody resumes it" },
	{ "disabled", "off", "not enabled in the configuration" },
};

static void add_state(struct page *p, const json_t *o)
{
	size_t i = 0;

	while (i + 1 < ARRAY_LEN(states) && !is(o, "state", states[i].state))
		i++;
	add_badge(p,
		is_true(o, "overdue")                                             ? "bad"
			: is_true(o, "trouble") && !strcmp(states[i].class, "ok") ? "warn"
										  : states[i].class,
		show_text_of(o, "state"));
	add_small(p, states[i].words ? states[i].words : show_text_of(o, "next_text"));
}

static void add_accounts(struct page *p)
{
	static const char *const columns[] = { "Account", "State", "Last cycle", "Last success",
		"Next cycle", "Delivered", "Held", "To delete", "Logins left", NULL };
	const json_t *o;
	size_t i;

	begin_table(p, "Accounts", columns);
	json_array_foreach(json_object_get(p->status, "accounts"), i, o)
	{
		begin_row(p);
		add_text(p, show_text_of(o, "name"));
		add_small(p, show_text_of(o, "provider"));
		next_cell(p, "");
		add_state(p, o);
		next_cell(p, "n");
		add_text(p, advice_result(o));
		if (show_time_of(o, "last_start")) {
			add(p, "<small>");
			add_time(p, show_time_of(o, "last_start"));
			add(p, "</small>");
		}
		next_cell(p, "n");
		add_time_or(p, show_time_of(o, "last_success"), "never");
		next_cell(p, "n");
		if (show_time_of(o, "next_due") && show_time_of(o, "next_due") <= p->now)
			add(p, "now");
		else
			add_time_or(p, show_time_of(o, "next_due"), "none set");
		number_cell(p, o, "delivered", "unknown");
		number_cell(p, o, "held", "unknown");
		number_cell(p, o, "pending_delete", "unknown");
		number_cell(p, o, "logins_left", "no limit");
		end_row(p);
	}
	end_table(p);
}

static void add_relays(struct page *p)
{
	static const char *const columns[] = { "Relay", "State", "Connections", "Next try", NULL };
	const json_t *o;
	size_t i;

	begin_table(p, "Relays", columns);
	json_array_foreach(json_object_get(p->status, "relays"), i, o)
	{
		bool down = is(o, "state", "down");
		begin_row(p);
		add_text(p, show_text_of(o, "name"));
		next_cell(p, "wide");
		add_badge(p,
			down                             ? "bad"
				: is_true(o, "degraded") ? "warn"
							 : "ok",
			show_text_of(o, "state"));
		add_small(p,
			is_true(o, "degraded") ? "a backup host serves"
					       : show_text_of(o, "last_error"));
		next_cell(p, "n");
		strbuf_addf(p->out,
			"%" JSON_INTEGER_FORMAT " busy, %" JSON_INTEGER_FORMAT
			" idle, %" JSON_INTEGER_FORMAT " connecting",
			show_number_of(o, "busy"), show_number_of(o, "idle"),
			show_number_of(o, "connecting"));
		next_cell(p, "n");
		add_time_or(p, show_time_of(o, "next_try"),
			down ? "with the next cycle" : "none needed");
		end_row(p);
	}
	end_table(p);
}

static void add_providers(struct page *p)
{
	static const char *const columns[] = { "Provider", "Logins", "Next login", NULL };
	const json_t *o;
	size_t i;

	begin_table(p, "Logins at providers", columns);
	json_array_foreach(json_object_get(p->status, "providers"), i, o)
	{
		AUTO(strbuf_free) struct strbuf window = STRBUF_INIT;
		show_span(&window, (msec_t)show_number_of(o, "login_window_seconds") * 1000);
		begin_row(p);
		add_text(p, show_text_of(o, "name"));
		number_cell(p, o, "logins_in_window", "unknown");
		if (show_number_of(o, "login_limit"))
			strbuf_addf(p->out, " of %" JSON_INTEGER_FORMAT,
				show_number_of(o, "login_limit"));
		strbuf_addf(p->out, " in %s", strbuf_str(&window));
		next_cell(p, "n");
		add_time_or(p, show_time_of(o, "next_login_allowed"), "now");
		end_row(p);
	}
	end_table(p);
}

static void add_events(struct page *p, const struct recent *recent)
{
	static const char *const columns[] = { "Event", "Weight", "When", "What", NULL };
	static const char *const classes[LVL_COUNT] = { "bad", "warn", "off", "off", "off" };
	const struct recent_event *e;

	begin_table(p, "Last events", columns);
	for (size_t i = 0; (e = recent_get(recent, i)); i++) {
		begin_row(p);
		add_text(p, e->event);
		next_cell(p, "");
		add_badge(p, classes[e->level], log_level_name(e->level));
		next_cell(p, "n");
		add_time(p, e->at);
		add(p, "<small>");
		add_clock(p, e->at);
		add(p, "</small>");
		next_cell(p, "wide");
		add_text(p, e->text);
		end_row(p);
	}
	end_table(p);
}

static void add_header(struct page *p, const struct page_input *in)
{
	add(p, "<header><p class=\"brand\">multidropd ");
	add_text(p, show_text_of(p->status, "version"));
	add(p, "</p><p>As of ");
	add_clock(p, p->now);
	if (show_time_of(p->status, "started")) {
		AUTO(strbuf_free) struct strbuf span = STRBUF_INIT;
		show_span(&span, p->now - show_time_of(p->status, "started"));
		strbuf_addf(p->out, ", running for %s", strbuf_str(&span));
	}
	strbuf_addf(
		p->out, in->refreshes ? ". Refreshes every %d seconds: " : ". ", PAGE_REFRESH_SEC);
	add(p,
		in->refreshes ? "<a href=\"/?still\">stop that</a>"
			      : "<a href=\"/\">Refresh by itself</a>");
	add(p, "</p></header>\n");
}

void page_render(const struct page_input *in, struct strbuf *out)
{
	struct page p = {
		.out = out, .status = in->status, .now = show_time_of(in->status, "now")
	};
	AUTO(strbuf_free) struct strbuf headline = STRBUF_INIT;
	struct advice_list list = { 0 };
	bool well = advice_headline(in->status, &headline);

	advice_of(in->status, &list);
	add(&p,
		"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
		"<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
		"<title>");
	add(&p, well ? "All is well - multidropd" : "Not all is well - multidropd");
	add(&p, "</title><style>");
	add(&p, page_style());
	add(&p, "</style></head>\n<body>");
	add_header(&p, in);
	add(&p, "<main>");
	add_verdict(&p, &list, strbuf_str(&headline));
	add_accounts(&p);
	add_relays(&p);
	add_providers(&p);
	add_events(&p, in->recent);
	add(&p,
		"</main>\n<footer><p>For programs: <a href=\"/metrics\">metrics</a>, "
		"<a href=\"/healthz\">health</a>, <a href=\"/status.json\">status</a>.</p>"
		"</footer></body></html>\n");
	advice_free(&list);
}
