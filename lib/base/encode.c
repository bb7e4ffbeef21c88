/* Base64, hex, escaping of foreign text; see encode.h. */
#include "base/encode.h"

static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct strbuf *out, struct strview in)
{
	const unsigned char *p = (const unsigned char *)in.ptr;

	for (size_t i = 0; i < in.len; i += 3) {
		size_t n = in.len - i < 3 ? in.len - i : 3;
		uint32_t v = (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
			(n > 2 ? p[i + 2] : 0);
		char quad[4] = { b64[v >> 18], b64[v >> 12 & 63], n > 1 ? b64[v >> 6 & 63] : '=',
			n > 2 ? b64[v & 63] : '=' };
		strbuf_add(out, quad, 4);
	}
}

static int b64_value(char c)
{
	const char *at = c ? strchr(b64, c) : NULL;

	return at ? (int)(at - b64) : -1;
}

int base64_decode(struct strbuf *out, struct strview in)
{
	size_t start = out->len;

	if (in.len % 4)
		return 1;
	for (size_t i = 0; i < in.len; i += 4) {
		const char *q = in.ptr + i;
		bool last = i + 4 == in.len;
		size_t pad = last && q[3] == '=' ? (q[2] == '=' ? 2 : 1) : 0;
		uint32_t v = 0;
		for (size_t k = 0; k < 4; k++) {
			int d = k >= 4 - pad ? 0 : b64_value(q[k]);
			if (d < 0)
				goto bad;
			v = v << 6 | (uint32_t)d;
		}
		if ((pad == 1 && v & 0xff) || (pad == 2 && v & 0xffff))
			goto bad; /* bits that nobody would see */
		char triple[3] = { (char)(v >> 16), (char)(v >> 8), (char)v };
		strbuf_add(out, triple, 3 - pad);
	}
	return 0;
bad:
	if (out->ptr) {
		out->len = start;
		out->ptr[start] = '\0';
	}
	return 1;
}

void hex_encode(struct strbuf *out, const void *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++) {
		strbuf_addc(out, digits[p[i] >> 4]);
		strbuf_addc(out, digits[p[i] & 15]);
	}
}

int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	int lower = ascii_lower((unsigned char)c);
	return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The length of the UTF-8 sequence at p (RFC 3629: no overlong, surrogate, > U+10FFFF); 0: none. */
static size_t utf8_sequence(const unsigned char *p, size_t len, uint32_t *code)
{
	static const struct {
		unsigned char mask, lead;
		uint32_t least;
	} shape[] = { { 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 } };

	if (p[0] < 0x80) {
		*code = p[0];
		return 1;
	}
	for (size_t n = 0; n < ARRAY_LEN(shape); n++) {
		if ((p[0] & shape[n].mask) != shape[n].lead)
			continue;
		if (len < n + 2)
			return 0;
		uint32_t c = p[0] & (unsigned char)~shape[n].mask;
		for (size_t k = 1; k < n + 2; k++) {
			if ((p[k] & 0xc0) != 0x80)
				return 0;
			c = c << 6 | (p[k] & 0x3f);
		}
		bool valid = c >= shape[n].least && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
		*code = c;
		return valid ? n + 2 : 0;
	}
	return 0;
}

/* Characters that move the cursor, end the line or turn its direction in somebody's terminal. */
static bool unsafe_in_log(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) ||
		(c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

void escape_foreign(struct strbuf *out, struct strview in)
{
	escape_long(out, in, ESCAPE_MAX_BYTES);
}

void escape_long(struct strbuf *out, struct strview in, size_t max)
{
	const unsigned char *p = (const unsigned char *)in.ptr;
	size_t i = 0;

	while (i < in.len) {
		uint32_t code = 0;
		size_t n = utf8_sequence(p + i, in.len - i, &code);
		if (i + (n ? n : 1) > max) {
			strbuf_adds(out, "...");
			return;
		}
		if (n && !unsafe_in_log(code) && code != '\\') {
			strbuf_add(out, p + i, n);
		} else if (n && code == '\\') {
			strbuf_adds(out, "\\\\");
		} else {
			for (size_t k = 0; k < (n ? n : 1); k++) {
				strbuf_adds(out, "\\x");
				hex_encode(out, p + i + k, 1);
			}
		}
		i += n ? n : 1;
	}
}
