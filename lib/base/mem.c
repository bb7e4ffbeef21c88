/* Checked allocation; see mem.h. Owns nothing. */
#include "base/mem.h"
#include "base/log.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void ensure_failed(const char *cond, const char *file, int line)
{
	log_write(&(struct log_entry){ .event = EV_INTERNAL_ERROR,
		.reason = cond,
		.uidl = NULL,
		.text = file,
		.size = (uint64_t)line });
	abort();
}

static void *checked(void *p, size_t size)
{
	if (!p && size)
		abort();
	return p;
}

void *mem_alloc(size_t size)
{
	return checked(malloc(size), size);
}

void *mem_zalloc(size_t size)
{
	return checked(calloc(1, size), size);
}

void *mem_resize(void *p, size_t size)
{
	return checked(realloc(p, size), size);
}

char *mem_strndup(const char *s, size_t len)
{
	char *copy = mem_alloc(len + 1);

	if (len)
		memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

char *mem_strdup(const char *s)
{
	return s ? mem_strndup(s, strlen(s)) : NULL;
}

void mem_grow(void *array, size_t *cap, size_t need, size_t elem)
{
	void **p = array;

	if (need <= *cap)
		return;
	size_t next = *cap ? *cap : 8;
	while (next < need)
		next *= 2;
	ensure(next <= SIZE_MAX / elem);
	*p = mem_resize(*p, next * elem);
	*cap = next;
}

void mem_wipe(void *p, size_t len)
{
	if (len)
		explicit_bzero(p, len);
}

void mem_freep(void *pointer_variable)
{
	void **p = pointer_variable;

	free(*p);
	*p = NULL;
}
