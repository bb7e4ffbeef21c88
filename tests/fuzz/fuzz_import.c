/*
 * Other fetchers' configurations: the first octet says whose, the rest is the file.
 *
 * Either there are faults, each in a line that the file has, or a text: printable, with a section
 * for each account, and passwords that a password file can hold.
 */
#include "core/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const struct import *i)
{
	AUTO(import_secrets_free) struct import_secrets secrets = { 0 };
	AUTO(strbuf_free) struct strbuf out = STRBUF_INIT;
	size_t accounts = 0;

	import_print(i, "/run", &secrets, &out);
	for (size_t k = 0; k < out.len; k++)
		ensure(strchr("\n\t", out.ptr[k])
				? out.ptr[k] != '\0'
				: (unsigned char)out.ptr[k] >= ' ' && out.ptr[k] != 0x7f);
	for (const char *at = out.ptr; (at = strstr(at, "\naccount \"")); at++)
		accounts++;
	ensure(accounts == i->n && i->n > 0);
	for (size_t k = 0; k < secrets.n; k++)
		ensure(secrets.items[k].password.len > 0 &&
			!strpbrk(secrets.items[k].password.ptr, "\r\n"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static import_reader *const readers[] = { import_fetchmailrc, import_getmailrc,
		import_pullmail };
	AUTO(import_free) struct import i = { 0 };
	int lines = 1;

	if (!size)
		return 0;
	for (size_t k = 1; k < size; k++)
		lines += data[k] == '\n';
	readers[data[0] % ARRAY_LEN(readers)](&i, "rc", sv((const char *)data + 1, size - 1));
	for (size_t k = 0; k < i.faults.n; k++)
		ensure(i.faults.items[k].place.line >= 0 && i.faults.items[k].place.line <= lines &&
			*i.faults.items[k].text);
	if (!i.faults.errors)
		check_text(&i);
	return 0;
}
