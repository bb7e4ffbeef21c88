/*
 * The request of the control socket: what is understood comes out as it went in.
 *
 * A line that control_parse() takes and control_format() writes is the same request again, is one
 * line, and never longer than what was read.
 */
#include "core/control_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(strbuf_free) struct strbuf line = STRBUF_INIT;
	struct control_request first, second;
	struct err err;

	if (control_parse(sv((const char *)data, size), &first, &err)) {
		ensure(*err.text);
		return 0;
	}
	ensure(!control_format(&line, &first));
	ensure(line.len <= size + 1 && memchr(line.ptr, '\n', line.len) == line.ptr + line.len - 1);
	ensure(!control_parse(sv(line.ptr, line.len - 1), &second, &err));
	ensure(first.verb == second.verb && first.all == second.all && first.wait == second.wait &&
		sv_eq(first.account, second.account));
	return 0;
}
