/* What the commands of multidropctl share; see ctl.h. Owns nothing. */
#include "ctl.h"

#include "base/encode.h"
#include "conf_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <sysexits.h>

int ctl_fail(const char *fmt, ...)
{
	va_list ap;

	fputs("multidropctl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return CTL_REFUSED;
}

int ctl_open(
	const struct ctl_call *call, struct config **config, const struct conf_account **account)
{
	AUTO(strbuf_free) struct strbuf text = STRBUF_INIT;
	struct faults faults = { 0 };

	*config = conf_file_load(call->config_path, &faults);
	faults_print(&faults, &text);
	faults_free(&faults);
	fputs(strbuf_str(&text), stderr);
	if (!*config)
		return EX_CONFIG;
	*account = config_account(*config, call->account);
	if (*account)
		return 0;
	(void)ctl_fail("there is no account \"%s\" in %s", call->account, call->config_path);
	config_unref(*config);
	return EX_USAGE;
}

void ctl_add_foreign(struct strbuf *out, const char *text)
{
	escape_foreign(out, sv_str(text));
}

json_t *ctl_json(const char *text)
{
	AUTO(strbuf_free) struct strbuf escaped = STRBUF_INIT;

	if (!text)
		return json_null();
	json_t *value = json_string(text);
	if (value)
		return value;
	ctl_add_foreign(&escaped, text);
	return json_string(strbuf_str(&escaped));
}

int ctl_print_json(json_t *take_value)
{
	(void)json_dumpf(take_value, stdout, JSON_INDENT(2)); /* main looks at stdout's state */
	fputc('\n', stdout);
	json_decref(take_value);
	return 0;
}
