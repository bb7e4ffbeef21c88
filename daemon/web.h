/*
 * What can be read over HTTP at metrics_listen: /metrics, /healthz, /status.json and the page at /.
 *
 * An answer is kept for a second and WEB_REST times as long as it took to make, WEB_REST_MAX_MSEC
 * at most. So whoever asks for one of them without end has the loop busy for less than one part in
 * WEB_REST of the time, as long as it takes less than WEB_REST_MAX_MSEC / WEB_REST to make; the
 * routes count each for itself. Nothing here changes anything.
 */
#pragma once

#include "status.h"

#define WEB_KEEP_MSEC     1000
#define WEB_REST          100
#define WEB_REST_MAX_MSEC 60000 /* but no longer: it is to be read by a monitor */
#define WEB_RETRY_MSEC    60000 /* an address that could not be taken is tried again */

struct web;

struct web *web_new(const struct view *view);
void web_free(struct web *w); /* NULL is fine */
/*
 * metrics_listen of the current configuration counts from now on, see http_listen(). At the start
 * an address that cannot be taken is logged and tried again every minute: monitoring that is
 * missing must not keep mail from coming. -1 (a reload): refused, all is as it was.
 */
void web_start(struct web *w);
int web_reload(struct web *w, const struct config *new, struct err *err) must_check;
