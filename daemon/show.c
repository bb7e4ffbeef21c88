/* Times and foreign text; see show.h. Owns nothing. */
#include "show.h"

#include "base/encode.h"

#include <inttypes.h>
#include <time.h>

json_t *show_json_time(wall_t at)
{
	time_t seconds = (time_t)(at / 1000);
	char text[40] = "";
	struct tm tm;

	if (!at || !gmtime_r(&seconds, &tm))
		return json_null();
	(void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm); /* it fits */
	return json_string(text);
}

wall_t show_read_time(const char *text)
{
	struct tm tm = { 0 };

	return strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) ? (wall_t)timegm(&tm) * 1000 : 0;
}

json_t *show_json_text(const char *text)
{
	AUTO(strbuf_free) struct strbuf escaped = STRBUF_INIT;

	if (!text)
		return json_null();
	json_t *value = json_string(text);
	if (value)
		return value;
	escape_foreign(&escaped, sv_str(text));
	return json_string(strbuf_str(&escaped));
}

const char *show_text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

json_int_t show_number_of(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

wall_t show_time_of(const json_t *o, const char *key)
{
	return show_read_time(show_text_of(o, key));
}

void show_span(struct strbuf *out, msec_t span)
{
	int64_t s = (span + 999) / 1000, min = s / 60, h = min / 60;

	if (s < 120)
		strbuf_addf(out, "%" PRId64 " s", s > 0 ? s : 0);
	else if (min < 120)
		strbuf_addf(out, "%" PRId64 " min", min);
	else if (h < 10 && min % 60)
		strbuf_addf(out, "%" PRId64 " h %" PRId64 " min", h, min % 60);
	else if (h < 48)
		strbuf_addf(out, "%" PRId64 " h", h);
	else
		strbuf_addf(out, "%" PRId64 " d", h / 24);
}

void show_clock(struct strbuf *out, wall_t at)
{
	time_t seconds = (time_t)(at / 1000);
	char text[16] = "";
	struct tm tm;

	if (localtime_r(&seconds, &tm))
		(void)strftime(text, sizeof text, "%H:%M:%S", &tm); /* it fits */
	strbuf_adds(out, text);
}

static void add_octets(struct strbuf *out, uint64_t n)
{
	if (n < 1000)
		strbuf_addf(out, "%" PRIu64 " B", n);
	else if (n < 1000 * 1000)
		strbuf_addf(out, "%" PRIu64 " kB", n / 1000);
	else if (n < 1000 * 1000 * 1000)
		strbuf_addf(out, "%.1f MB", (double)n / 1e6);
	else
		strbuf_addf(out, "%.1f GB", (double)n / 1e9);
}

void show_progress(struct strbuf *out, const char *who, const struct show_progress *p)
{
	strbuf_addf(out, "%s: %" PRIu32 " of %" PRIu32 " message%s, ", who, p->done, p->of,
		p->of == 1 ? "" : "s");
	add_octets(out, p->octets);
	if (p->span < 1000) /* too early for a rate */
		return;
	strbuf_adds(out, ", ");
	add_octets(out, p->octets * 1000 / (uint64_t)p->span);
	strbuf_adds(out, "/s");
}
