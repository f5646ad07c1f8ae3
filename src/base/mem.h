/* SPDX-License-Identifier: MIT */
/* Heap memory, growing byte buffers and arenas. Every allocation of the library passes here, so that a test
 * can make the n-th one fail (sp_mem_fail_after) and sizes are checked for overflow in one place.
 * All functions are safe to call from any thread; an arena or buffer belongs to one thread at a time. */
#ifndef SP_BASE_MEM_H
#define SP_BASE_MEM_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* NULL on failure. A size of 0 yields a unique non-NULL pointer. */
void *sp_malloc(size_t n_bytes);
void *sp_calloc(size_t count, size_t size); /* zeroed; overflow-checked */
void *sp_malloc_array(size_t count, size_t size);
void *sp_realloc_array(void *ptr, size_t count, size_t size); /* ptr stays valid on failure */
void *sp_aligned_alloc(size_t alignment, size_t n_bytes);     /* free with sp_free */

/* Zeroed memory from a huge page's edge on, in huge pages where the system grants them, resident only as it is touched. To
 * be given back with the same size. NULL on failure. */
void *sp_pages_map(size_t n_bytes);
void sp_pages_unmap(void *pages, size_t n_bytes); /* accepts NULL */

char *sp_strdup(const char *text);
char *sp_strndup(const char *text, size_t n); /* copies exactly n bytes and appends NUL */
void sp_free(void *ptr);                      /* accepts NULL */

/* a*b and a+b with overflow detection: false when the result does not fit. */
bool sp_mul_size(size_t a, size_t b, size_t *out);
bool sp_add_size(size_t a, size_t b, size_t *out);

/* Test hook: after n further successful allocations every allocation fails until reset with a negative n. */
void sp_mem_fail_after(int64_t n);

/* Growing byte buffer with a maximum. Zero-initialise; `data` is always NUL-terminated once non-NULL. */
typedef struct sp_buf {
    char *data;
    size_t len;
    size_t cap;
} sp_buf;

#define SP_BUF_MAX ((size_t)1 << 40)

sp_status sp_buf_reserve(sp_buf *buf, size_t extra, sp_error *err);
sp_status sp_buf_append(sp_buf *buf, const void *data, size_t n, sp_error *err);
sp_status sp_buf_puts(sp_buf *buf, const char *text, sp_error *err);
sp_status sp_buf_printf(sp_buf *buf, sp_error *err, const char *fmt, ...) SP_PRINTF(3, 4);
void sp_buf_clear(sp_buf *buf); /* frees; the buffer can be used again */

/* Arena: bump allocation, 64-byte aligned, freed or reset as a whole. Blocks are kept on reset. */
typedef struct sp_arena sp_arena;

sp_arena *sp_arena_create(size_t block_bytes); /* NULL when out of memory */
void sp_arena_destroy(sp_arena *arena);
void *sp_arena_alloc(sp_arena *arena, size_t n_bytes); /* not zeroed; NULL when out of memory */
void sp_arena_reset(sp_arena *arena);
size_t sp_arena_used(const sp_arena *arena);

/* Give back everything allocated since the mark was taken (stack discipline). */
typedef struct sp_arena_mark {
    void *block;
    size_t used;
} sp_arena_mark;
sp_arena_mark sp_arena_save(const sp_arena *arena);
void sp_arena_restore(sp_arena *arena, sp_arena_mark mark);

#endif
