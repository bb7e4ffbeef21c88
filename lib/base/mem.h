/*
 * Memory and invariants.
 *
 * Allocation never fails visibly: out of memory aborts. All state that matters is durable, the
 * service manager restarts us, and no error path has to be written (and left untested) for it.
 * Sizes that a peer chooses are limited by the caller before they get here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define must_check             __attribute__((warn_unused_result))
#define format_like(fmt, args) __attribute__((format(printf, fmt, args)))

/* AUTO(fn): calls fn(&variable) when the variable leaves its scope. */
#define AUTO(fn) __attribute__((cleanup(fn)))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* ensure: an invariant of ours; holds in release builds too. Never used on a peer's data. */
#define ensure(cond)                                                                               \
	((void)(__builtin_expect(!(cond), 0) ? ensure_failed(#cond, __FILE__, __LINE__) : (void)0))

_Noreturn void ensure_failed(const char *cond, const char *file, int line);

void *mem_alloc(size_t size);                 /* uninitialised; free() it */
void *mem_zalloc(size_t size);                /* zeroed; free() it */
void *mem_resize(void *p, size_t size);       /* realloc */
char *mem_strdup(const char *s);              /* NULL stays NULL */
char *mem_strndup(const char *s, size_t len); /* copies len bytes and adds a NUL */

/* Grows *array so that `need` elements of `elem` bytes fit; capacity doubles. */
void mem_grow(void *array, size_t *cap, size_t need, size_t elem);

/* Overwrites memory in a way that the compiler may not drop. */
void mem_wipe(void *p, size_t len);

/* For AUTO(): frees what the pointer variable points to. */
void mem_freep(void *pointer_variable);
