/* SPDX-License-Identifier: MIT */
/* The library's only allocator calls, the growing buffer and the arena. Start at sp_malloc();
 * allow_allocation() is where tests make the n-th allocation fail. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Allocations left before failure; negative: no limit. The only state of this file, for tests alone. */
static _Atomic int64_t allocations_left = -1;

void sp_mem_fail_after(int64_t n)
{
    atomic_store(&allocations_left, n < 0 ? -1 : n);
}

static bool allow_allocation(void)
{
    int64_t left = atomic_load_explicit(&allocations_left, memory_order_relaxed);
    if (left < 0) return true;
    if (left == 0) return false;
    atomic_store_explicit(&allocations_left, left - 1, memory_order_relaxed);
    return true;
}

bool sp_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

bool sp_add_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

void *sp_malloc(size_t n_bytes)
{
    if (!allow_allocation()) return NULL;
    return malloc(n_bytes ? n_bytes : 1);
}

void *sp_calloc(size_t count, size_t size)
{
    size_t n_bytes;
    if (!sp_mul_size(count, size, &n_bytes) || !allow_allocation()) return NULL;
    return calloc(n_bytes ? n_bytes : 1, 1);
}

void *sp_malloc_array(size_t count, size_t size)
{
    size_t n_bytes;
    if (!sp_mul_size(count, size, &n_bytes)) return NULL;
    return sp_malloc(n_bytes);
}

void *sp_realloc_array(void *ptr, size_t count, size_t size)
{
    size_t n_bytes;
    if (!sp_mul_size(count, size, &n_bytes) || !allow_allocation()) return NULL;
    return realloc(ptr, n_bytes ? n_bytes : 1);
}

void *sp_aligned_alloc(size_t alignment, size_t n_bytes)
{
    void *ptr = NULL;
    if (!allow_allocation()) return NULL;
    if (posix_memalign(&ptr, alignment, n_bytes ? n_bytes : 1) != 0) return NULL;
    return ptr;
}

char *sp_strndup(const char *text, size_t n)
{
    size_t n_bytes;
    if (!sp_add_size(n, 1, &n_bytes)) return NULL;
    char *copy = sp_malloc(n_bytes);
    if (!copy) return NULL;
    if (n) memcpy(copy, text, n);
    copy[n] = '\0';
    return copy;
}

char *sp_strdup(const char *text)
{
    return sp_strndup(text, strlen(text));
}

void sp_free(void *ptr)
{
    free(ptr);
}

/* --- pages ---------------------------------------------------------------------------------------------- */

#define HUGE_PAGE ((size_t)1 << 21)

/* What a mapping of n_bytes takes: whole huge pages. */
static size_t whole_pages(size_t n_bytes)
{
    return (n_bytes + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
}

void *sp_pages_map(size_t n_bytes)
{
    if (n_bytes == 0 || n_bytes > SIZE_MAX - 2 * HUGE_PAGE || !allow_allocation()) return NULL;
    size_t n = whole_pages(n_bytes);
    char *all = mmap(NULL, n + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if ((void *)all == MAP_FAILED) return NULL;
    size_t before = (size_t)(-(uintptr_t)all & (HUGE_PAGE - 1)), after = HUGE_PAGE - before;
    if (before > 0) munmap(all, before);
    if (after > 0) munmap(all + before + n, after);
#if defined(MADV_HUGEPAGE)
    madvise(all + before, n, MADV_HUGEPAGE);
#endif
    return all + before;
}

void sp_pages_unmap(void *pages, size_t n_bytes)
{
    if (pages) munmap(pages, whole_pages(n_bytes));
}

/* --- growing buffer ------------------------------------------------------------------------------------- */

sp_status sp_buf_reserve(sp_buf *buf, size_t extra, sp_error *err)
{
    size_t need;
    if (!sp_add_size(buf->len, extra, &need) || need >= SP_BUF_MAX)
        return sp_fail(err, SP_E_LIMIT, "buffer: %zu + %zu bytes exceed the maximum", buf->len, extra);
    need++; /* the NUL beyond len */
    if (need <= buf->cap) return SP_OK;
    size_t cap = buf->cap ? buf->cap : 64;
    while (cap < need) cap *= 2;
    char *data = sp_realloc_array(buf->data, cap, 1);
    if (!data) return sp_fail_nomem(err, "buffer", cap);
    buf->data = data;
    buf->cap = cap;
    buf->data[buf->len] = '\0';
    return SP_OK;
}

sp_status sp_buf_append(sp_buf *buf, const void *data, size_t n, sp_error *err)
{
    SP_TRY(sp_buf_reserve(buf, n, err));
    if (n) memcpy(buf->data + buf->len, data, n);
    buf->len += n;
    buf->data[buf->len] = '\0';
    return SP_OK;
}

sp_status sp_buf_puts(sp_buf *buf, const char *text, sp_error *err)
{
    return sp_buf_append(buf, text, strlen(text), err);
}

sp_status sp_buf_printf(sp_buf *buf, sp_error *err, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    sp_status status = n < 0 ? sp_fail(err, SP_E_ARGUMENT, "buffer: bad format string") : SP_OK;
    if (status == SP_OK) status = sp_buf_reserve(buf, (size_t)n, err);
    if (status == SP_OK) {
        vsnprintf(buf->data + buf->len, (size_t)n + 1, fmt, again);
        buf->len += (size_t)n;
    }
    va_end(again);
    return status;
}

void sp_buf_clear(sp_buf *buf)
{
    sp_free(buf->data);
    *buf = (sp_buf){NULL, 0, 0};
}

/* --- arena ---------------------------------------------------------------------------------------------- */

#define ARENA_ALIGN 64
#define HUGE_PAGES_MIN ((size_t)4 << 20) /* smaller blocks are not worth it */

typedef struct arena_block {
    struct arena_block *next; /* blocks stay in the order in which they were first needed */
    size_t cap;
    size_t used;
    char *data;
} arena_block;

struct sp_arena {
    arena_block *first;
    arena_block *current; /* blocks after it are empty */
    size_t block_bytes;
};

/* Blocks that a pass streams through: fewer address translations. A refusal changes nothing. */
static void ask_for_huge_pages(char *data, size_t n_bytes)
{
#if defined(MADV_HUGEPAGE)
    uintptr_t begin = ((uintptr_t)data + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1);
    uintptr_t end = ((uintptr_t)data + n_bytes) & ~(uintptr_t)(HUGE_PAGE - 1);
    if (end > begin && end - begin >= HUGE_PAGES_MIN) madvise((void *)begin, end - begin, MADV_HUGEPAGE);
#else
    (void)data;
    (void)n_bytes;
#endif
}

static arena_block *create_block(size_t cap)
{
    arena_block *block = sp_malloc(sizeof *block);
    if (!block) return NULL;
    *block = (arena_block){NULL, cap, 0, sp_aligned_alloc(ARENA_ALIGN, cap)};
    if (!block->data) {
        sp_free(block);
        return NULL;
    }
    ask_for_huge_pages(block->data, cap);
    return block;
}

sp_arena *sp_arena_create(size_t block_bytes)
{
    sp_arena *arena = sp_malloc(sizeof *arena);
    if (arena) *arena = (sp_arena){NULL, NULL, block_bytes};
    return arena;
}

void sp_arena_destroy(sp_arena *arena)
{
    if (!arena) return;
    for (arena_block *block = arena->first, *next; block; block = next) {
        next = block->next;
        sp_free(block->data);
        sp_free(block);
    }
    sp_free(arena);
}

void *sp_arena_alloc(sp_arena *arena, size_t n_bytes)
{
    size_t need;
    if (!sp_add_size(n_bytes, ARENA_ALIGN - 1, &need)) return NULL;
    need &= ~(size_t)(ARENA_ALIGN - 1);
    arena_block *block = arena->current;
    while (block && block->cap - block->used < need) block = block->next;
    if (!block) {
        block = create_block(need > arena->block_bytes ? need : arena->block_bytes);
        if (!block) return NULL;
        arena_block **last = &arena->first;
        while (*last) last = &(*last)->next;
        *last = block;
    }
    arena->current = block;
    void *ptr = block->data + block->used;
    block->used += need;
    return ptr;
}

void sp_arena_reset(sp_arena *arena)
{
    for (arena_block *block = arena->first; block; block = block->next) block->used = 0;
    arena->current = arena->first;
}

size_t sp_arena_used(const sp_arena *arena)
{
    size_t used = 0;
    for (const arena_block *block = arena->first; block; block = block->next) used += block->used;
    return used;
}

sp_arena_mark sp_arena_save(const sp_arena *arena)
{
    return (sp_arena_mark){arena->current, arena->current ? arena->current->used : 0};
}

void sp_arena_restore(sp_arena *arena, sp_arena_mark mark)
{
    arena_block *block = mark.block ? (arena_block *)mark.block : arena->first;
    if (!block) return;
    arena->current = block;
    block->used = mark.block ? mark.used : 0;
    for (block = block->next; block; block = block->next) block->used = 0;
}
