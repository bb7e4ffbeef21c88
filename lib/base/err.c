/* Error classes and texts; see err.h. */
#include "base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const names[] = {
	[ERR_NONE] = "NONE",
	[ERR_NET] = "NET",
	[ERR_TIMEOUT] = "TIMEOUT",
	[ERR_TLS] = "TLS",
	[ERR_PROTO] = "PROTO",
	[ERR_AUTH] = "AUTH",
	[ERR_BUSY] = "BUSY",
	[ERR_THROTTLE] = "THROTTLE",
	[ERR_TEMP] = "TEMP",
	[ERR_PERM] = "PERM",
	[ERR_LIMIT] = "LIMIT",
	[ERR_UIDL] = "UIDL",
	[ERR_LOCAL] = "LOCAL",
	[ERR_CONFIG] = "CONFIG",
};
static_assert(ARRAY_LEN(names) == ERR_CLASS_COUNT, "one name per class");

const char *err_class_name(enum err_class class)
{
	return names[class];
}

int err_set(struct err *e, enum err_class class, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -1;
	e->class = class;
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	return -1;
}
