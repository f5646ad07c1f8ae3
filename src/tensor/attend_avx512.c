/* SPDX-License-Identifier: MIT */
/* Attention over one segment of keys with AVX-512, bit for bit as attend_scalar.c. Scores: a register holds the
 * eight lanes of two keys, a tile is eight keys times up to six vectors; the lanes of eight keys are added by a
 * transposing tree in the order of sp_lanes_sum. Values: a register holds sixteen columns, a tile is 64 columns
 * times up to six vectors, over keys in order. Start at attend_walk (attend_walk.h). */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include <math.h>

#include "tensor/attend_walk.h"
#include "tensor/avx2.h"
#include "tensor/exp_avx512.h"

#define INLINE static inline __attribute__((always_inline))

/* The first n lanes of sixteen, n >= 1. */
INLINE __mmask16 first_lanes(int64_t n)
{
    return n < 16 ? (__mmask16)((1u << n) - 1) : 0xffff;
}

enum { TILE = 6, GROUP = 8, PAIRS = GROUP / 2, COLUMNS = 4 /* registers of a tile of values */ };

/* --- scores ----------------------------------------------------------------------------------------------- */

/* Eight keys; past the end the last is repeated. */
typedef struct key_group {
    const char *row[GROUP];
    __m512 d[PAIRS]; /* Q8_0: factors of the block at hand */
} key_group;

INLINE __m512 join_halves(__m256 low, __m256 high)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

/* Elements i..i+7 of keys 2p and 2p + 1. */
INLINE __m512 load_pair(key_group *g, int p, int64_t i, attend_source from)
{
    const char *a = g->row[2 * p], *b = g->row[2 * p + 1];
    if (from == FROM_F32)
        return join_halves(_mm256_loadu_ps((const float *)(const void *)a + i),
                           _mm256_loadu_ps((const float *)(const void *)b + i));
    if (from == FROM_Q8_0) {
        const sp_block_q8_0 *x = (const sp_block_q8_0 *)a + i / 32, *y = (const sp_block_q8_0 *)b + i / 32;
        if (i % 32 == 0) g->d[p] = join_halves(spread_f16(x->d), spread_f16(y->d));
        __m128i q = _mm_unpacklo_epi64(load_8(x->qs + i % 32), load_8(y->qs + i % 32));
        return _mm512_mul_ps(g->d[p], _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q)));
    }
    __m256i h = _mm256_set_m128i(load_16(b + 2 * i), load_16(a + 2 * i));
    if (from == FROM_F16) return _mm512_cvtph_ps(h);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

INLINE void open_group(key_group *g, const attend_rows *keys, int64_t first)
{
    for (int p = 0; p < PAIRS; p++) g->d[p] = _mm512_setzero_ps();
    attend_group(keys, first, GROUP, g->row);
}

/* sp_lanes_sum of eight keys. */
INLINE __m256 sum_lanes_of_8(const __m512 v[PAIRS])
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    __m512 a = _mm512_add_ps(_mm512_shuffle_f32x4(v[0], v[1], 0x88), _mm512_shuffle_f32x4(v[0], v[1], 0xdd));
    __m512 b = _mm512_add_ps(_mm512_shuffle_f32x4(v[2], v[3], 0x88), _mm512_shuffle_f32x4(v[2], v[3], 0xdd));
    __m512 c = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
    c = _mm512_add_ps(c, _mm512_permute_ps(c, 0xb1));
    return _mm512_castps512_ps256(_mm512_permutexvar_ps(order, c));
}

INLINE void score_tile(int64_t k_dim, float scale, const attend_tile *t, const attend_rows *keys, int n,
                       attend_source from)
{
    const float *panel = (const float *)(const void *)keys->rows;
    for (int64_t first = keys->first; first < keys->end; first += GROUP, panel += GROUP * k_dim) {
        __m512 sum[TILE][PAIRS];
        key_group g;
        if (from != FROM_PANEL) open_group(&g, keys, first);
        for (int r = 0; r < n; r++)
            for (int p = 0; p < PAIRS; p++) sum[r][p] = _mm512_setzero_ps();
        for (int64_t i = 0; i < k_dim; i += 8) {
            __m512 k[PAIRS];
            attend_fetch_group(keys, first, GROUP, i, from);
            for (int p = 0; p < PAIRS; p++)
                k[p] = from == FROM_PANEL ? _mm512_load_ps(panel + i * GROUP + 16 * p)
                                          : load_pair(&g, p, i, from);
            for (int r = 0; r < n; r++) {
                __m512 q = _mm512_broadcast_f32x8(_mm256_loadu_ps(t->q[r] + i));
                for (int p = 0; p < PAIRS; p++) sum[r][p] = _mm512_fmadd_ps(k[p], q, sum[r][p]);
            }
        }
        for (int r = 0; r < n; r++)
            _mm256_storeu_ps(t->scores[r] + first,
                             _mm256_mul_ps(_mm256_set1_ps(scale), sum_lanes_of_8(sum[r])));
    }
}

INLINE void pack_keys(int64_t k_dim, const attend_rows *keys, float *panel, attend_source from)
{
    for (int64_t first = keys->first; first < keys->end; first += GROUP, panel += GROUP * k_dim) {
        key_group g;
        open_group(&g, keys, first);
        for (int64_t i = 0; i < k_dim; i += 8) {
            for (int p = 0; p < PAIRS; p++)
                _mm512_store_ps(panel + i * GROUP + 16 * p, load_pair(&g, p, i, from));
        }
    }
}

/* --- values ----------------------------------------------------------------------------------------------- */

/* Columns col .. col + 15 of a row, those of the mask. */
INLINE __m512 load_columns(const char *row, int64_t col, __mmask16 mask, attend_source from)
{
    if (from == FROM_F32) return _mm512_maskz_loadu_ps(mask, (const float *)(const void *)row + col);
    if (from == FROM_Q8_0) {
        const sp_block_q8_0 *b = (const sp_block_q8_0 *)row + col / 32;
        return _mm512_mul_ps(_mm512_set1_ps(_cvtsh_ss(sp_load_u16(b->d))),
                             _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_16(b->qs + col % 32))));
    }
    __m256i h = _mm256_maskz_loadu_epi16(mask, row + 2 * col);
    if (from == FROM_F16) return _mm512_cvtph_ps(h);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* Columns from col on of some tile. */
typedef struct column_set {
    int64_t col;
    __mmask16 mask; /* of the last register */
} column_set;

/* Rows [first, end), row `first` at `row`, added to the n vectors from `v` on that see all of them: n_columns
 * registers each. */
INLINE void add_columns(const attend_tile *t, int v, int n, column_set at, int n_columns, const char *row,
                        size_t stride, int64_t first, int64_t end, attend_share next, attend_source from)
{
    __m512 y[TILE][COLUMNS], values[COLUMNS];
    for (int r = 0; r < n; r++)
        for (int c = 0; c < n_columns; c++)
            y[r][c] = _mm512_maskz_loadu_ps(at.mask, t->y[v + r] + at.col + 16 * c);
    for (int64_t key = first; key < end; key++, row += stride) {
        attend_fetch_share(&next);
        for (int c = 0; c < n_columns; c++) values[c] = load_columns(row, at.col + 16 * c, at.mask, from);
        for (int r = 0; r < n; r++) {
            __m512 p = _mm512_set1_ps(t->scores[v + r][key]);
            for (int c = 0; c < n_columns; c++) y[r][c] = _mm512_fmadd_ps(p, values[c], y[r][c]);
        }
    }
    for (int r = 0; r < n; r++)
        for (int c = 0; c < n_columns; c++)
            _mm512_mask_storeu_ps(t->y[v + r] + at.col + 16 * c, at.mask, y[r][c]);
}

/* First the keys that all vectors see, then those that only later rows see. */
INLINE void add_rows(const attend_tile *t, const attend_rows *values, column_set at, int n, int n_columns,
                     attend_share next, attend_source from)
{
    const attend_share none = {NULL, 0, 0};
    int64_t all = attend_seen(values, t->n_keys[0]);
    add_columns(t, 0, n, at, n_columns, values->rows, values->stride, values->first, all, next, from);
    if (attend_seen(values, t->n_keys[n - 1]) == all) return;
    const char *row = values->rows + (size_t)(all - values->first) * values->stride;
    for (int v = 1; v < n; v++)
        add_columns(t, v, 1, at, n_columns, row, values->stride, all, attend_seen(values, t->n_keys[v]), none,
                    from);
}

INLINE void add_tile(int64_t v_dim, const attend_tile *t, const attend_rows *values, int n,
                     attend_source from)
{
    const int64_t wide = 16 * COLUMNS, n_walks = v_dim / wide + (v_dim % wide + 15) / 16;
    int64_t col = 0, walk = 0;
    for (; col + wide <= v_dim; col += wide, walk++)
        add_rows(t, values, (column_set){col, 0xffff}, n, COLUMNS, attend_share_of(values, walk, n_walks),
                 from);
    for (; col < v_dim; col += 16, walk++) {
        column_set last = {col, first_lanes(v_dim - col)};
        add_rows(t, values, last, n, 1, attend_share_of(values, walk, n_walks), from);
    }
}

/* --- softmax ---------------------------------------------------------------------------------------------- */

/* The rest of the row up to a multiple of 16 becomes 0. */
static void softmax_avx512(int64_t n, float *scores, float *max, float *sum)
{
    __m512 most = _mm512_set1_ps(-INFINITY);
    __m256 lanes = _mm256_setzero_ps();
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 mask = first_lanes(n - i);
        most = _mm512_mask_max_ps(most, mask, _mm512_loadu_ps(scores + i), most); /* x > most ? x : most */
    }
    *max = _mm512_reduce_max_ps(most) + 0.0f;
    __m512 shift = _mm512_set1_ps(*max);
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 mask = first_lanes(n - i);
        __m512 e = _mm512_maskz_mov_ps(mask, exp_16(_mm512_sub_ps(_mm512_loadu_ps(scores + i), shift)));
        _mm512_storeu_ps(scores + i, e);
        lanes = _mm256_add_ps(lanes, _mm512_castps512_ps256(e));
        lanes = _mm256_add_ps(lanes, _mm512_extractf32x8_ps(e, 1));
    }
    *sum = sum_lanes(lanes);
}

/* --- every format and size -------------------------------------------------------------------------------- */

#define SCORE(name, from)                                                                                    \
    static void score_##name(int64_t k_dim, float scale, const attend_tile *t, const attend_rows *keys)      \
    {                                                                                                        \
        switch (t->n) {                                                                                      \
        case 1: score_tile(k_dim, scale, t, keys, 1, from); break;                                           \
        case 2: score_tile(k_dim, scale, t, keys, 2, from); break;                                           \
        case 3: score_tile(k_dim, scale, t, keys, 3, from); break;                                           \
        case 4: score_tile(k_dim, scale, t, keys, 4, from); break;                                           \
        case 5: score_tile(k_dim, scale, t, keys, 5, from); break;                                           \
        default: score_tile(k_dim, scale, t, keys, 6, from); break;                                          \
        }                                                                                                    \
    }

#define FORMAT(name, from)                                                                                   \
    SCORE(name, from)                                                                                        \
    static void pack_##name(int64_t k_dim, const attend_rows *keys, float *panel)                            \
    {                                                                                                        \
        pack_keys(k_dim, keys, panel, from);                                                                 \
    }                                                                                                        \
    static void add_##name(int64_t v_dim, const attend_tile *t, const attend_rows *values)                   \
    {                                                                                                        \
        switch (t->n) {                                                                                      \
        case 1: add_tile(v_dim, t, values, 1, from); break;                                                  \
        case 2: add_tile(v_dim, t, values, 2, from); break;                                                  \
        case 3: add_tile(v_dim, t, values, 3, from); break;                                                  \
        case 4: add_tile(v_dim, t, values, 4, from); break;                                                  \
        case 5: add_tile(v_dim, t, values, 5, from); break;                                                  \
        default: add_tile(v_dim, t, values, 6, from); break;                                                 \
        }                                                                                                    \
    }                                                                                                        \
    static void unpack_##name(size_t n, const void *src, float *dst)                                         \
    {                                                                                                        \
        unpack_row(n, src, dst, from);                                                                       \
    }

INLINE void unpack_row(size_t n, const void *src, float *dst, attend_source from)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first_lanes(n - i);
        _mm512_mask_storeu_ps(dst + i, mask, load_columns(src, (int64_t)i, mask, from));
    }
}

FORMAT(f32, FROM_F32)
FORMAT(f16, FROM_F16)
FORMAT(bf16, FROM_BF16)
FORMAT(q8_0, FROM_Q8_0)
SCORE(panel, FROM_PANEL)

static void attend_avx512(const sp_attend_part *a)
{
    static const attend_isa isa = {TILE, softmax_avx512, score_panel, ATTEND_FORMATS};
    if (a->k_dim % 8 == 0)
        attend_walk(a, &isa);
    else
        sp_attend_by_rows(sp_kernels_for(SP_ISA_AVX512), a);
}

void sp_fill_attend_avx512(sp_kernels *k)
{
    k->attend = attend_avx512;
}

#endif
