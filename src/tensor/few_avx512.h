/* SPDX-License-Identifier: MIT */
/* AVX-512 matmuls of up to SP_FEW activation rows (batches, guesses ahead): runs of sixteen weight rows are multiplied
 * as they are unpacked, and never stored. Four activation rows are treated at once; the next four find the weights in
 * the cache. The weight rows that come next are asked for meanwhile, in the order of their addresses, which is what
 * fetches ahead in the caches follow.
 *
 * A format in blocks of 256 is a struct format256; ROWS_256 makes its matmul. Likewise format32 and ROWS_32. */
#ifndef SP_TENSOR_FEW_AVX512_H
#define SP_TENSOR_FEW_AVX512_H

#include "tensor/panel_avx512.h"

#if defined(__AVX512VNNI__)

/* A block comes in four steps of 64 elements, of which each half, 32 elements, is taken out of the bytes at a time: more would
 * not stay in registers beside several rows' sums. */
typedef struct format256 {
    bool spread; /* a half is not 32 elements in order, but twice sixteen, 32 apart */
    int group;   /* elements of a scale: 16 or 32 */
    bool has_min;
    void (*scales)(const uint8_t *w, size_t stride, sp_scales256 *s);
    void (*load)(const uint8_t *w, size_t stride, int step, __m512i raw[16]);
    void (*take)(const __m512i raw[16], int step, int half, __m512i q[8]);
} format256;

typedef struct format32 {
    int offset; /* of q, which is unsigned */
    bool has_min;
    void (*block)(const uint8_t *w, size_t stride, __m512i q[8], __m512 *d, __m512 *m);
} format32;

/* Q8_0 whose rows have less than SP_SHORT_Q8_0 elements (short_q8_avx512.c). */
#define SP_SHORT_Q8_0 512
void sp_matmul_short_q8_0_avx512(const sp_matmul *m);

/* The element with which register r (four elements) of half a step begins. */
INLINE int element_of(const format256 *f, int step, int half, int r)
{
    if (!f->spread) return 64 * step + 32 * half + 4 * r;
    return 128 * (step / 2) + 16 * (step % 2) + 64 * half + 32 * (r / 4) + 4 * (r % 4);
}

/* A walk over memory that is asked for in small shares. */
typedef struct ahead {
    const uint8_t *next, *due; /* the line to ask for next; up to where they are due */
} ahead;

INLINE ahead begin_fetch(const uint8_t *w)
{
    w -= (uintptr_t)w & 63;
    return (ahead){w, w};
}

/* The next `bytes`, in lines. What matters is that lines are asked for in the order of their addresses, one by one: a line
 * for every 64 bytes that are read, no more at once. Nine together every 576 bytes give a tenth less of what memory has,
 * 37 together a fifth. */
INLINE void fetch_bytes(ahead *a, size_t bytes)
{
    for (size_t i = 0; i < bytes / 64; i++) _mm_prefetch((const char *)a->next + 64 * i, _MM_HINT_T0);
    a->next += bytes / 64 * 64;
    a->due += bytes;
    if (bytes % 64 == 0 || a->due - a->next < 64) return;
    _mm_prefetch((const char *)a->next, _MM_HINT_T0);
    a->next += 64;
}

/* Sixteen rows from `row` on. */
typedef struct sixteen {
    const uint8_t *w;
    size_t stride;
    int64_t n_rows; /* that exist */
    ahead ahead;
} sixteen;

/* What is read after the sixteen rows from `row` on; NULL: not known. */
INLINE const uint8_t *next_sixteen(const sp_matmul *m, int64_t row)
{
    const uint8_t *w = m->w;
    return row + 16 < m->n_rows ? w + (size_t)(row + 16) * m->w_stride : m->next;
}

/* Asks for the first sixteen rows at once: nobody may have before, and read side by side they would come one line each at
 * a time. Where somebody has, it costs a fraction of their product. */
INLINE void fetch_first(const sp_matmul *m)
{
    const uint8_t *w = m->w, *end = w + (size_t)(m->n_rows < 16 ? m->n_rows : 16) * m->w_stride;
    for (w -= (uintptr_t)w & 63; w < end; w += 64) _mm_prefetch((const char *)w, _MM_HINT_T0);
}

/* The first activation rows to meet them ask for the next sixteen; others find their own in the cache. */
INLINE sixteen begin_sixteen(const sp_matmul *m, int64_t row, bool fetch)
{
    const uint8_t *w = (const uint8_t *)m->w + (size_t)row * m->w_stride;
    const uint8_t *next = fetch ? next_sixteen(m, row) : NULL;
    int64_t left = m->n_rows - row;
    return (sixteen){w, m->w_stride, left < 16 ? left : 16, begin_fetch(next ? next : w)};
}

/* The next `n` bytes of all sixteen rows and their distance: where they lie, or a copy in which the last row stands for
 * those that do not exist. */
INLINE const uint8_t *whole_rows(const sixteen *g, size_t n, uint8_t copy[16][SP_MAX_SPAN], size_t *stride)
{
    *stride = g->stride;
    if (g->n_rows == 16) return g->w;
    copy_rows(g->w, g->stride, g->n_rows, n, copy);
    *stride = SP_MAX_SPAN;
    return copy[0];
}

INLINE void store_sums(const sp_matmul *m, int64_t row, int64_t n_rows, int64_t first, int n_x,
                       const __m512 y[])
{
    __mmask16 mask = (__mmask16)((1u << n_rows) - 1);
    for (int t = 0; t < n_x; t++) _mm512_mask_storeu_ps(m->y + (first + t) * m->y_stride + row, mask, y[t]);
}

/* sum + scale times a group, whose elements are n registers and begin with `element`. A single activation row goes in two chains,
 * of which neither waits for the other. */
INLINE void add_group(const __m512i *q, int n, __m512i scale, const sp_act_q8k *const x[], int element,
                      int n_x, ahead *rows_ahead, size_t share, __m512i sum[])
{
    const int n_chains = n_x == 1 ? 2 : 1;
    __m512i part[2][SP_FEW_TILE];
    for (int t = 0; t < n_x; t++) part[0][t] = part[1][t] = _mm512_setzero_si512();
    for (int k = 0; k < n; k++) {
        if (k % 2 == 0) fetch_bytes(rows_ahead, share);
        __m512i *chain = part[k % n_chains];
        for (int t = 0; t < n_x; t++)
            chain[t] = _mm512_dpbusd_epi32(chain[t], q[k], broadcast_4(x[t]->q + element + 4 * k));
    }
    for (int t = 0; t < n_x; t++) {
        if (n_chains == 2) part[0][t] = _mm512_add_epi32(part[0][t], part[1][t]);
        sum[t] = _mm512_add_epi32(sum[t], _mm512_mullo_epi32(part[0][t], scale));
    }
}

/* sum + half a step. */
INLINE void add_half(const format256 *f, const __m512i q[8], int step, int half, const __m512i *scale,
                     const sp_act_q8k *const x[], int n_x, ahead *rows_ahead, size_t share, __m512i sum[])
{
    for (int r = 0; r < 8; r += f->group / 4) {
        int element = element_of(f, step, half, r);
        add_group(q + r, f->group / 4, scale[element / f->group], x, element, n_x, rows_ahead, share, sum);
    }
}

/* One block of 256 of sixteen rows. */
INLINE void add_block_256(const format256 *f, size_t bytes, const uint8_t *w, size_t stride,
                          const sp_act_q8k *const x[], int n_x, ahead *rows_ahead, __m512 y[])
{
    sp_scales256 s;
    __m512i sum[SP_FEW_TILE];
    f->scales(w, stride, &s);
    for (int t = 0; t < n_x; t++) {
        sum[t] = _mm512_setzero_si512();
        if (!f->has_min) sum[t] = add_pairs(sum[t], &s, x[t]);
    }
    for (int i = 0; i < 4; i++) {
        __m512i raw[16], q[16];
        f->load(w, stride, i, raw);
        f->take(raw, i, 0, q);
        if (n_x == 1) f->take(raw, i, 1, q + 8); /* there is room, and more to do in the meantime */
        add_half(f, q, i, 0, s.scale, x, n_x, rows_ahead, bytes / 2, sum);
        if (n_x > 1) f->take(raw, i, 1, q + 8);
        add_half(f, q + 8, i, 1, s.scale, x, n_x, rows_ahead, bytes / 2, sum);
    }
    for (int t = 0; t < n_x; t++) {
        __m512 dx = _mm512_set1_ps(x[t]->d);
        y[t] = _mm512_fmadd_ps(_mm512_mul_ps(s.d, dx), _mm512_cvtepi32_ps(sum[t]), y[t]);
        if (!f->has_min) continue;
        __m512i min_sum = add_pairs(_mm512_setzero_si512(), &s, x[t]);
        y[t] = _mm512_fnmadd_ps(_mm512_mul_ps(s.dmin, dx), _mm512_cvtepi32_ps(min_sum), y[t]);
    }
}

/* Sixteen weight rows times n_x activation rows from `first` on. */
INLINE void multiply_few_256(const format256 *f, size_t block_bytes, const sp_matmul *m, int64_t row,
                             int64_t first, int n_x)
{
    uint8_t copy[16][SP_MAX_SPAN];
    const sp_act_q8k *x[SP_FEW_TILE];
    __m512 y[SP_FEW_TILE];
    sixteen g = begin_sixteen(m, row, first == 0);
    for (int t = 0; t < n_x; t++) {
        x[t] = (const sp_act_q8k *)(const void *)((const char *)m->x + (size_t)(first + t) * m->x_stride);
        y[t] = _mm512_setzero_ps();
    }
    for (size_t i = 0; i < m->n / 256; i++, g.w += block_bytes) {
        size_t stride;
        const uint8_t *w = whole_rows(&g, block_bytes, copy, &stride);
        add_block_256(f, block_bytes, w, stride, x, n_x, &g.ahead, y);
        for (int t = 0; t < n_x; t++) x[t]++;
    }
    store_sums(m, row, g.n_rows, first, n_x, y);
}

/* One block of 32 of sixteen rows. The offset's part is summed like a weight row of that value. */
INLINE void add_block_32(const format32 *f, size_t bytes, const uint8_t *w, size_t stride,
                         const sp_act_q8 *const x[], int n_x, ahead *rows_ahead, __m512 y[])
{
    const __m512i offset = _mm512_set1_epi8((char)f->offset);
    __m512i q[8];
    __m512 d, min;
    fetch_bytes(rows_ahead, 16 * bytes);
    f->block(w, stride, q, &d, &min);
    for (int t = 0; t < n_x; t++) {
        __m512i sum = _mm512_setzero_si512(), sum2 = sum, off = sum;
        for (int k = 0; k < 8; k++) {
            __m512i b = broadcast_4(x[t]->q + 4 * k);
            if (k % 2)
                sum2 = _mm512_dpbusd_epi32(sum2, q[k], b);
            else
                sum = _mm512_dpbusd_epi32(sum, q[k], b);
            if (f->offset) off = _mm512_dpbusd_epi32(off, offset, b);
        }
        sum = _mm512_sub_epi32(_mm512_add_epi32(sum, sum2), off);
        __m512 scale = _mm512_mul_ps(d, _mm512_set1_ps(x[t]->d));
        y[t] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(sum), y[t]);
        if (f->has_min) y[t] = _mm512_fmadd_ps(min, _mm512_set1_ps(x[t]->s), y[t]);
    }
}

/* Sixteen weight rows times n_x activation rows from `first` on. */
INLINE void multiply_few_32(const format32 *f, size_t block_bytes, const sp_matmul *m, int64_t row,
                            int64_t first, int n_x)
{
    uint8_t copy[16][SP_MAX_SPAN];
    const sp_act_q8 *x[SP_FEW_TILE];
    __m512 y[SP_FEW_TILE];
    sixteen g = begin_sixteen(m, row, first == 0);
    for (int t = 0; t < n_x; t++) {
        x[t] = (const sp_act_q8 *)(const void *)((const char *)m->x + (size_t)(first + t) * m->x_stride);
        y[t] = _mm512_setzero_ps();
    }
    for (size_t i = 0; i < m->n / 32; i++, g.w += block_bytes) {
        size_t stride;
        const uint8_t *w = whole_rows(&g, block_bytes, copy, &stride);
        add_block_32(f, block_bytes, w, stride, x, n_x, &g.ahead, y);
        for (int t = 0; t < n_x; t++) x[t]++;
    }
    store_sums(m, row, g.n_rows, first, n_x, y);
}

/* 256 elements of sixteen rows as a panel. */
INLINE void fill_panel_256(const format256 *f, const uint8_t *w, size_t stride, sp_panel *p)
{
    f->scales(w, stride, &p->k.s);
    for (int i = 0; i < 4; i++) {
        __m512i raw[16], q[8];
        f->load(w, stride, i, raw);
        for (int half = 0; half < 2; half++) {
            f->take(raw, i, half, q);
            for (int r = 0; r < 8; r++) p->k.q[element_of(f, i, half, r) / 4] = q[r];
        }
    }
}

INLINE void fill_panel_32(const format32 *f, size_t block_bytes, const uint8_t *w, size_t stride,
                          int n_blocks, sp_panel *p)
{
    const __m512i top = _mm512_set1_epi8((char)0x80), offset = _mm512_set1_epi8((char)f->offset);
    for (int b = 0; b < n_blocks; b++, w += block_bytes) {
        __m512i q[8], sum = _mm512_setzero_si512();
        f->block(w, stride, q, &p->b.d[b], &p->b.m[b]);
        for (int k = 0; k < 8; k++) {
            q[k] = _mm512_sub_epi8(q[k], offset);
            p->b.q[8 * b + k] = q[k];
            sum = _mm512_dpbusd_epi32(sum, top, q[k]);
        }
        p->b.start[b] = _mm512_sub_epi32(_mm512_setzero_si512(), sum);
    }
}

/* few_<type>: a matmul of up to SP_FEW activation rows. */
#define FEW_ROWS(type, size)                                                                                 \
    static void few_##type(const sp_matmul *m)                                                               \
    {                                                                                                        \
        const size_t bytes = sizeof(sp_block_##type);                                                        \
        fetch_first(m);                                                                                      \
        for (int64_t row = 0; row < m->n_rows; row += 16)                                                    \
            for (int64_t t = 0; t < m->n_x; t += SP_FEW_TILE) switch (m->n_x - t) {                          \
                case 1: multiply_few_##size(&fields_##type, bytes, m, row, t, 1); break;                     \
                case 2: multiply_few_##size(&fields_##type, bytes, m, row, t, 2); break;                     \
                case 3: multiply_few_##size(&fields_##type, bytes, m, row, t, 3); break;                     \
                default: multiply_few_##size(&fields_##type, bytes, m, row, t, 4); break;                    \
                }                                                                                            \
    }

#define MATMUL(type, block, tiles, narrow)                                                                   \
    static sp_matmul_fn one_##type, narrow_##type;                                                           \
    static const sp_panel_format panels_##type = {                                                           \
        block, sizeof(sp_block_##type), fill_##type, tiles, SP_TILE_ROWS, NULL, sizeof(sp_panel)};           \
    static void matmul_##type##_avx512(const sp_matmul *m)                                                   \
    {                                                                                                        \
        if (m->n_x == 1)                                                                                     \
            one_##type(m);                                                                                   \
        else if (m->n_x <= (narrow))                                                                         \
            narrow_##type(m);                                                                                \
        else if (m->n_x <= SP_FEW)                                                                           \
            few_##type(m);                                                                                   \
        else                                                                                                 \
            sp_matmul_panels_avx512(m, &panels_##type);                                                      \
    }

/* matmul_<type>_avx512 for a format256 (format32) named fields_<type>; `tiles` as its group and mins say. A single
 * activation row is for one_<type>, where SET_ROW_ONE has set it (one_*_avx512.c). Else up to
 * `narrow` activation rows are left to the table that this one was built upon: there eight weight rows side by side are
 * read faster than sixteen here. */
#define ROWS_256(type, tiles, narrow)                                                                        \
    static void fill_##type(const uint8_t *w, size_t stride, int n_blocks, sp_panel *p)                      \
    {                                                                                                        \
        (void)n_blocks;                                                                                      \
        fill_panel_256(&fields_##type, w, stride, p);                                                        \
    }                                                                                                        \
    FEW_ROWS(type, 256)                                                                                      \
    MATMUL(type, 256, tiles, narrow)

#define ROWS_32(type, tiles, narrow)                                                                         \
    static void fill_##type(const uint8_t *w, size_t stride, int n_blocks, sp_panel *p)                      \
    {                                                                                                        \
        fill_panel_32(&fields_##type, sizeof(sp_block_##type), w, stride, n_blocks, p);                      \
    }                                                                                                        \
    FEW_ROWS(type, 32)                                                                                       \
    MATMUL(type, 32, tiles, narrow)

#endif
#endif
