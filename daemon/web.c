/*
 * The pages of metrics_listen; see web.h.
 *
 * Owns the HTTP server, the ring of the last events, and the kept answers.
 */
#include "web.h"

#include "advice.h"
#include "base/encode.h"
#include "http.h"
#include "log_sink.h"
#include "page.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <stdlib.h>

struct web;

static int make_metrics(struct web *w, struct strbuf *out);
static int make_health(struct web *w, struct strbuf *out);
static int make_status(struct web *w, struct strbuf *out);
static int make_page(struct web *w, struct strbuf *out);
static int make_still_page(struct web *w, struct strbuf *out);

#define PLAIN_TEXT "text/plain; charset=utf-8"

static const struct route {
	const char *path, *query; /* NULL: any */
	const char *type;
	int (*make)(struct web *w, struct strbuf *out); /* the status */
	bool refreshes;
} routes[] = {
	{ "/metrics", NULL, "text/plain; version=0.0.4; charset=utf-8", make_metrics, false },
	{ "/healthz", NULL, PLAIN_TEXT, make_health, false },
	{ "/status.json", NULL, "application/json", make_status, false },
	{ "/", "still", "text/html; charset=utf-8", make_still_page, false },
	{ "/", NULL, "text/html; charset=utf-8", make_page, true },
};

struct web {
	struct view view;
	struct http *http;
	struct recent recent;
	struct strbuf policy; /* header lines: Refresh, and what every answer has */
	struct {
		struct strbuf body;
		int status;
		msec_t until;
	} kept[ARRAY_LEN(routes)];
	struct event *retry;
};

/* ---- what is answered ---- */

static int make_metrics(struct web *w, struct strbuf *out)
{
	status_gauges(&w->view);
	metrics_print(w->view.env->metrics, out);
	return 200;
}

/* A line for each failure; peers' words are in them. */
static int make_health(struct web *w, struct strbuf *out)
{
	json_t *status = status_json(&w->view, NULL);
	struct advice_list list = { 0 };

	advice_of(status, &list);
	for (size_t i = 0; i < list.n; i++) {
		const struct advice *a = &list.items[i];
		if (a->level < ADVICE_FAILURE)
			continue;
		strbuf_addf(out, "%s%s", strbuf_str(&a->subject), a->subject.len ? ": " : "");
		escape_long(out, strbuf_view(&a->what), PAGE_TEXT_OCTETS);
		strbuf_addc(out, '\n');
	}
	advice_free(&list);
	json_decref(status);
	if (out->len)
		return 503;
	strbuf_adds(out, "ok\n");
	return 200;
}

static int make_status(struct web *w, struct strbuf *out)
{
	json_t *status = status_json(&w->view, NULL);
	char *text = json_dumps(status, JSON_COMPACT);

	json_decref(status);
	ensure(text);
	strbuf_addf(out, "%s\n", text);
	free(text);
	return 200;
}

static int render(struct web *w, bool refreshes, struct strbuf *out)
{
	json_t *status = status_json(&w->view, NULL);
	struct page_input in = { status, &w->recent, refreshes };

	page_render(&in, out);
	json_decref(status);
	return 200;
}

static int make_page(struct web *w, struct strbuf *out)
{
	return render(w, true, out);
}

static int make_still_page(struct web *w, struct strbuf *out)
{
	return render(w, false, out);
}

/* ---- who asks ---- */

static bool is_address(struct strview host)
{
	char text[INET6_ADDRSTRLEN] = "";
	struct in6_addr any;
	bool brackets = sv_starts(host, SV("[")) && sv_iends(host, SV("]"));

	if (brackets)
		host = sv(host.ptr + 1, host.len - 2);
	if (host.len >= sizeof text)
		return false;
	memcpy(text, host.ptr ? host.ptr : "", host.len);
	return inet_pton(brackets ? AF_INET6 : AF_INET, text, &any) == 1;
}

/*
 * A page from elsewhere whose name suddenly leads here (DNS rebinding) is not answered in the eyes
 * of a browser: it would ask with that name.
 */
static bool is_for_us(const struct web *w, const struct http_request *r)
{
	struct strview host = r->host;
	const char *colon = host.len ? memrchr(host.ptr, ':', host.len) : NULL;

	if (r->is_local || !host.len)
		return true;
	if (colon && !memchr(colon, ']', (size_t)(host.ptr + host.len - colon)))
		host.len = (size_t)(colon - host.ptr);
	return is_address(host) || sv_ieq(host, SV("localhost")) ||
		sv_ieq(host, sv_str((*w->view.config)->hostname));
}

static size_t route_of(const struct http_request *r)
{
	size_t i = 0;

	while (i < ARRAY_LEN(routes) &&
		(!sv_eq(r->path, sv_str(routes[i].path)) ||
			(routes[i].query && !sv_eq(r->query, sv_str(routes[i].query)))))
		i++;
	return i;
}

static void refuse(struct http_answer *a, int status, const char *text)
{
	a->status = status;
	a->type = PLAIN_TEXT;
	a->body = sv_str(text);
}

static void answer(void *ctx, const struct http_request *request, struct http_answer *a)
{
	struct web *w = ctx;
	size_t i = route_of(request);
	msec_t now = env_now(w->view.env);

	a->header = strchr(strbuf_str(&w->policy), '\n') + 1; /* without Refresh */
	if (!is_for_us(w, request)) {
		refuse(a, 421,
			"ask by IP address, as localhost, or by the hostname of the "
			"configuration\n");
		return;
	}
	if (i == ARRAY_LEN(routes)) {
		refuse(a, 404, "there are /, /metrics, /healthz and /status.json\n");
		return;
	}
	if (now >= w->kept[i].until) {
		strbuf_clear(&w->kept[i].body);
		w->kept[i].status = routes[i].make(w, &w->kept[i].body);
		msec_t took = env_now(w->view.env) - now;
		w->kept[i].until = now + WEB_KEEP_MSEC +
			(took < WEB_REST_MAX_MSEC / WEB_REST ? took * WEB_REST : WEB_REST_MAX_MSEC);
	}
	a->status = w->kept[i].status;
	a->type = routes[i].type;
	a->body = strbuf_view(&w->kept[i].body);
	if (routes[i].refreshes)
		a->header = strbuf_str(&w->policy);
}

/* ---- life ---- */

static void note_event(void *ctx, const struct log_entry *e, enum log_level level)
{
	struct web *w = ctx;

	recent_note(&w->recent, env_wall(w->view.env), e, level);
}

static void make_policy(struct strbuf *out)
{
	AUTO(strbuf_free) struct strbuf hash = STRBUF_INIT;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len;

	ensure(EVP_Digest(page_style(), strlen(page_style()), digest, &len, EVP_sha256(), NULL));
	base64_encode(&hash, sv((const char *)digest, len));
	strbuf_addf(out,
		"Refresh: %d\r\n"
		"Content-Security-Policy: default-src 'none'; style-src 'sha256-%s'; "
		"frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n",
		PAGE_REFRESH_SEC, strbuf_str(&hash));
}

static void try_again(struct web *w, const struct err *err)
{
	event_add(w->retry, &(struct timeval){ .tv_sec = WEB_RETRY_MSEC / 1000 });
	log_write(&(struct log_entry){ .event = EV_METRICS_FAILED,
		.reason = err->text,
		.text = "nobody can read metrics and status page; it is tried again every "
			"minute" });
}

void web_start(struct web *w)
{
	struct err err;

	if (http_listen(w->http, (*w->view.config)->metrics_listen, &err))
		try_again(w, &err);
}

static void on_retry(evutil_socket_t fd, short what, void *ctx)
{
	web_start(ctx);
}

int web_reload(struct web *w, const struct config *new, struct err *err)
{
	const struct conf_place *place = conf_key_place(&new->keys, "metrics_listen");
	struct err why;

	if (http_listen(w->http, new->metrics_listen, &why)) {
		const char *now = (*w->view.config)->metrics_listen;
		if (now && !strcmp(now, new->metrics_listen)) {
			try_again(w, &why); /* nothing new in the file: no reason to refuse it */
			return 0;
		}
		return err_set(err, ERR_CONFIG, why.code, "%s:%d: metrics_listen %s",
			place ? place->file : "-", place ? place->line : 0, why.text);
	}
	event_del(w->retry);
	return 0;
}

struct web *web_new(const struct view *view)
{
	struct web *w = mem_zalloc(sizeof *w);
	struct http_ops ops = { .answer = answer, .ctx = w };

	w->view = *view;
	w->http = http_new(view->env, &ops);
	w->retry = event_new(view->env->loop.base, -1, 0, on_retry, w);
	make_policy(&w->policy);
	log_sink_also(note_event, w);
	return w;
}

void web_free(struct web *w)
{
	if (!w)
		return;
	log_sink_also(NULL, NULL);
	http_free(w->http);
	event_free(w->retry);
	strbuf_free(&w->policy);
	for (size_t i = 0; i < ARRAY_LEN(routes); i++)
		strbuf_free(&w->kept[i].body);
	free(w);
}
