/* SPDX-License-Identifier: MIT */
/* Attention over one segment of keys with AVX2, bit for bit as attend_scalar.c, and the packing of cache rows. Scores:
 * a register is the eight lanes of a key, a tile is four keys times up to three vectors. Values: a tile is 32 columns
 * times up to three vectors, over keys in order. Start at attend_walk (attend_walk.h). */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include "tensor/attend_walk.h"
#include "tensor/avx2.h"

#define INLINE static inline __attribute__((always_inline))

enum { TILE = 3, GROUP = 4, COLUMNS = 4 /* registers of a tile of values */ };

/* Elements i..i+7 of a row. */
INLINE __m256 load_8_floats(const char *row, int64_t i, attend_source from)
{
    if (from == FROM_F32) return _mm256_loadu_ps((const float *)(const void *)row + i);
    if (from == FROM_Q8_0) {
        const sp_block_q8_0 *b = (const sp_block_q8_0 *)row + i / 32;
        return _mm256_mul_ps(spread_f16(b->d),
                             _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load_8(b->qs + i % 32))));
    }
    __m128i h = load_16(row + 2 * i);
    if (from == FROM_F16) return _mm256_cvtph_ps(h);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

/* --- scores ----------------------------------------------------------------------------------------------- */

INLINE void score_tile(int64_t k_dim, float scale, const attend_tile *t, const attend_rows *keys, int n,
                       attend_source from)
{
    const float *panel = (const float *)(const void *)keys->rows;
    for (int64_t first = keys->first; first < keys->end; first += GROUP, panel += GROUP * k_dim) {
        __m256 sum[TILE][GROUP];
        const char *row[GROUP];
        if (from != FROM_PANEL) attend_group(keys, first, GROUP, row);
        for (int r = 0; r < n; r++)
            for (int j = 0; j < GROUP; j++) sum[r][j] = _mm256_setzero_ps();
        for (int64_t i = 0; i < k_dim; i += 8) {
            __m256 q[TILE];
            attend_fetch_group(keys, first, GROUP, i, from);
            for (int r = 0; r < n; r++) q[r] = _mm256_loadu_ps(t->q[r] + i);
            for (int j = 0; j < GROUP; j++) {
                __m256 k = from == FROM_PANEL ? _mm256_loadu_ps(panel + i * GROUP + 8 * j)
                                              : load_8_floats(row[j], i, from);
                for (int r = 0; r < n; r++) sum[r][j] = _mm256_fmadd_ps(k, q[r], sum[r][j]);
            }
        }
        for (int r = 0; r < n; r++)
            _mm_storeu_ps(t->scores[r] + first, _mm_mul_ps(_mm_set1_ps(scale), sum_lanes_of_4(sum[r])));
    }
}

INLINE void pack_keys(int64_t k_dim, const attend_rows *keys, float *panel, attend_source from)
{
    for (int64_t first = keys->first; first < keys->end; first += GROUP, panel += GROUP * k_dim) {
        const char *row[GROUP];
        attend_group(keys, first, GROUP, row);
        for (int64_t i = 0; i < k_dim; i += 8) {
            for (int j = 0; j < GROUP; j++)
                _mm256_storeu_ps(panel + i * GROUP + 8 * j, load_8_floats(row[j], i, from));
        }
    }
}

/* --- values ----------------------------------------------------------------------------------------------- */

/* Rows [first, end), row `first` at `row`, added to the n vectors from `v` on that see all of them: n_columns
 * registers each, from column col on. */
INLINE void add_columns(const attend_tile *t, int v, int n, int64_t col, int n_columns, const char *row,
                        size_t stride, int64_t first, int64_t end, const attend_rows *ahead,
                        attend_source from)
{
    __m256 y[TILE][COLUMNS];
    for (int r = 0; r < n; r++)
        for (int c = 0; c < n_columns; c++) y[r][c] = _mm256_loadu_ps(t->y[v + r] + col + 8 * c);
    for (int64_t key = first; key < end; key++, row += stride) {
        __m256 p[TILE];
        if (ahead) attend_fetch(ahead, key);
        for (int r = 0; r < n; r++) p[r] = _mm256_set1_ps(t->scores[v + r][key]);
        for (int c = 0; c < n_columns; c++) {
            __m256 value = load_8_floats(row, col + 8 * c, from);
            for (int r = 0; r < n; r++) y[r][c] = _mm256_fmadd_ps(p[r], value, y[r][c]);
        }
    }
    for (int r = 0; r < n; r++)
        for (int c = 0; c < n_columns; c++) _mm256_storeu_ps(t->y[v + r] + col + 8 * c, y[r][c]);
}

/* First the keys that all vectors see, then those that only later rows see. */
INLINE void add_rows(const attend_tile *t, const attend_rows *values, int64_t col, int n, int n_columns,
                     attend_source from)
{
    int64_t all = attend_seen(values, t->n_keys[0]);
    add_columns(t, 0, n, col, n_columns, values->rows, values->stride, values->first, all,
                col == 0 ? values : NULL, from);
    if (attend_seen(values, t->n_keys[n - 1]) == all) return;
    const char *row = values->rows + (size_t)(all - values->first) * values->stride;
    for (int v = 1; v < n; v++)
        add_columns(t, v, 1, col, n_columns, row, values->stride, all, attend_seen(values, t->n_keys[v]),
                    NULL, from);
}

INLINE void add_tile(int64_t v_dim, const attend_tile *t, const attend_rows *values, int n,
                     attend_source from)
{
    int64_t col = 0;
    for (; col + 8 * COLUMNS <= v_dim; col += 8 * COLUMNS) add_rows(t, values, col, n, COLUMNS, from);
    for (; col < v_dim; col += 8) add_rows(t, values, col, n, 1, from);
}

/* --- softmax ---------------------------------------------------------------------------------------------- */

static void softmax_avx2(int64_t n, float *scores, float *max, float *sum)
{
    const sp_kernels *k = sp_kernels_for(SP_ISA_AVX2);
    *max = k->max((size_t)n, scores) + 0.0f;
    *sum = k->exp_sum((size_t)n, *max, scores);
}

/* --- every format and size -------------------------------------------------------------------------------- */

#define FORMAT(name, from)                                                                                   \
    static void score_##name(int64_t k_dim, float scale, const attend_tile *t, const attend_rows *keys)      \
    {                                                                                                        \
        switch (t->n) {                                                                                      \
        case 1: score_tile(k_dim, scale, t, keys, 1, from); break;                                           \
        case 2: score_tile(k_dim, scale, t, keys, 2, from); break;                                           \
        default: score_tile(k_dim, scale, t, keys, 3, from); break;                                          \
        }                                                                                                    \
    }                                                                                                        \
    static void pack_##name(int64_t k_dim, const attend_rows *keys, float *panel)                            \
    {                                                                                                        \
        pack_keys(k_dim, keys, panel, from);                                                                 \
    }                                                                                                        \
    static void add_##name(int64_t v_dim, const attend_tile *t, const attend_rows *values)                   \
    {                                                                                                        \
        switch (t->n) {                                                                                      \
        case 1: add_tile(v_dim, t, values, 1, from); break;                                                  \
        case 2: add_tile(v_dim, t, values, 2, from); break;                                                  \
        default: add_tile(v_dim, t, values, 3, from); break;                                                 \
        }                                                                                                    \
    }                                                                                                        \
    static void unpack_##name(size_t n, const void *src, float *dst)                                         \
    {                                                                                                        \
        for (size_t i = 0; i < n; i += 8) _mm256_storeu_ps(dst + i, load_8_floats(src, (int64_t)i, from));   \
    }

FORMAT(f32, FROM_F32)
FORMAT(f16, FROM_F16)
FORMAT(bf16, FROM_BF16)
FORMAT(q8_0, FROM_Q8_0)

static void score_panel(int64_t k_dim, float scale, const attend_tile *t, const attend_rows *keys)
{
    switch (t->n) {
    case 1: score_tile(k_dim, scale, t, keys, 1, FROM_PANEL); break;
    case 2: score_tile(k_dim, scale, t, keys, 2, FROM_PANEL); break;
    default: score_tile(k_dim, scale, t, keys, 3, FROM_PANEL); break;
    }
}

static void attend_avx2(const sp_attend_part *a)
{
    static const attend_isa isa = {TILE, softmax_avx2, score_panel, ATTEND_FORMATS};
    if (a->k_dim % 8 == 0 && a->v_dim % 8 == 0)
        attend_walk(a, &isa);
    else
        sp_attend_by_rows(sp_kernels_for(SP_ISA_AVX2), a);
}

/* --- cache rows ------------------------------------------------------------------------------------------- */

static void store_f16_avx2(size_t n, const float *src, void *dst)
{
    uint16_t *out = dst;
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(void *)(out + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++) out[i] = sp_f32_to_f16(src[i]);
}

static void store_q8_0_avx2(size_t n, const float *src, void *dst)
{
    sp_block_q8_0 *b = dst;
    for (; n >= 32; n -= 32, src += 32, b++) {
        uint32_t bits = find_amax_bits(32, src);
        if (bits >= ACT_INF_BITS) { /* also for a NaN */
            memset(b, 0, sizeof *b);
            b->d[1] = 0x7e;
            continue;
        }
        float amax;
        memcpy(&amax, &bits, sizeof amax);
        uint16_t d = _cvtss_sh(amax / 127.0f, _MM_FROUND_TO_NEAREST_INT);
        float stored = _cvtsh_ss(d);
        __m256i q = quantize_32(src, _mm256_set1_ps(stored > 0.0f ? 1.0f / stored : 0.0f));
        memcpy(b->d, &d, sizeof d);
        /* where a tiny factor was rounded down, levels beyond 127 have become 127 or -128 */
        _mm256_storeu_si256((__m256i *)(void *)b->qs, _mm256_max_epi8(q, _mm256_set1_epi8(-127)));
    }
}

void sp_fill_attend_avx2(sp_kernels *k)
{
    k->attend = attend_avx2;
    k->store[SP_DTYPE_F16] = store_f16_avx2;
    k->store[SP_DTYPE_Q8_0] = store_q8_0_avx2;
}

#endif
