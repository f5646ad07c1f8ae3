/* SPDX-License-Identifier: MIT */
/* AVX-512 matmul of few activation rows for short rows of Q8_0, as small models have them: their weights stand in a
 * cache, so instructions bound it and not memory. Sixteen weight rows go side by side, and are turned into lanes only
 * half: a register then holds four elements of each row in two of its quarters, which are added up when a block is
 * done. That and the scales are shared by the activation rows, so a second one costs little.
 * Start at sp_matmul_short_q8_0_avx512(). */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include "tensor/few_avx512.h"

#define MAX_BLOCKS (SP_SHORT_Q8_0 / 32)
#define BLOCK_BYTES ((int64_t)sizeof(sp_block_q8_0))

/* A block of an activation row as the weights' registers want it: quarters of q[k] hold elements 4 k, 4 k + 16, 4 k and
 * 4 k + 16 and the three behind, four times each. */
typedef struct short_block {
    __m512i q[4];
    __m512i start; /* -128 times the sums of q: weights are read as q + 128 */
    float d;
} short_block;

/* Sixteen weight rows from a block on, in fours. */
typedef struct rows_16 {
    const uint8_t *fours[4];
    int64_t stride;
} rows_16;

INLINE rows_16 begin_rows(const uint8_t *w, int64_t stride)
{
    return (rows_16){{w, w + 4 * stride, w + 8 * stride, w + 12 * stride}, stride};
}

INLINE const uint8_t *row_at(const rows_16 *g, int64_t r)
{
    return g->fours[r / 4] + r % 4 * g->stride;
}

static void load_activations(const sp_matmul *m, int64_t first, int n_x, short_block x[][MAX_BLOCKS])
{
    const __m512i every = _mm512_set1_epi8((char)0x80);
    for (int t = 0; t < n_x; t++) {
        const sp_act_q8 *a =
            (const sp_act_q8 *)(const void *)((const char *)m->x + (size_t)(first + t) * m->x_stride);
        for (size_t i = 0; i < m->n / 32; i++) {
            short_block *b = &x[t][i];
            __m512i v = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)a[i].q));
            __m512i sum = _mm512_setzero_si512();
            b->q[0] = _mm512_shuffle_epi32(v, 0x00);
            b->q[1] = _mm512_shuffle_epi32(v, 0x55);
            b->q[2] = _mm512_shuffle_epi32(v, 0xaa);
            b->q[3] = _mm512_shuffle_epi32(v, 0xff);
            for (int k = 0; k < 4; k++) sum = _mm512_dpbusd_epi32(sum, every, b->q[k]);
            b->start = _mm512_sub_epi32(_mm512_setzero_si512(), sum);
            b->d = a[i].d;
        }
    }
}

/* Lane r: the scale of row r's first block in the low half, and, if `two`, that of its second one above it. */
INLINE __m512i load_scales(const rows_16 *g, bool two)
{
    const __m512i words = _mm512_set1_epi32(17 << 16);
    __m512i part[4]; /* of four rows, in each quarter */
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) {
            const uint8_t *w = row_at(g, 4 * i + j);
            __m512i v =
                two ? _mm512_loadu_si512(w) : _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)w));
            part[i] = j == 0 ? _mm512_permutexvar_epi16(words, v)
                             : _mm512_mask_permutexvar_epi16(part[i], 0x03030303u << (2 * j), words, v);
        }
    }
    part[0] = _mm512_mask_blend_epi32(0x00f0, part[0], part[1]);
    part[2] = _mm512_mask_blend_epi32(0xf000, part[2], part[3]);
    return _mm512_mask_blend_epi32(0xff00, part[0], part[2]);
}

/* Elements of rows r .. r + 3 and r + 4 .. r + 7, less their sign: quarters of q[k] are elements 4 k of the first four
 * rows, 4 k + 16 of them, and the same of the second four. */
INLINE void load_half(const rows_16 *g, int64_t at, int64_t r, __m512i q[4])
{
    __m512i z[4];
    for (int i = 0; i < 4; i++) {
        const uint8_t *a = row_at(g, r + i) + at, *b = row_at(g, r + 4 + i) + at;
        z[i] = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)a));
        z[i] = _mm512_inserti64x4(z[i], _mm256_loadu_si256((const __m256i *)b), 1);
        z[i] = _mm512_xor_si512(z[i], _mm512_set1_epi8((char)0x80));
    }
    __m512i a = _mm512_unpacklo_epi32(z[0], z[1]), b = _mm512_unpacklo_epi32(z[2], z[3]);
    q[0] = _mm512_unpacklo_epi64(a, b);
    q[1] = _mm512_unpackhi_epi64(a, b);
    a = _mm512_unpackhi_epi32(z[0], z[1]), b = _mm512_unpackhi_epi32(z[2], z[3]);
    q[2] = _mm512_unpacklo_epi64(a, b);
    q[3] = _mm512_unpackhi_epi64(a, b);
}

/* y[t] += a block of sixteen rows, whose elements stand at byte `at`, times that of each activation row. */
INLINE void add_block(const rows_16 *g, int64_t at, __m512 d, const short_block (*x)[MAX_BLOCKS], int64_t i,
                      int n_x, __m512 y[])
{
    __m512i low[4], high[4];
    load_half(g, at, 0, low);
    load_half(g, at, 8, high);
    for (int t = 0; t < n_x; t++) {
        const short_block *b = &x[t][i];
        __m512i s = b->start, u = b->start;
        for (int k = 0; k < 4; k++) {
            s = _mm512_dpbusd_epi32(s, low[k], b->q[k]);
            u = _mm512_dpbusd_epi32(u, high[k], b->q[k]);
        }
        __m512i sum = _mm512_add_epi32(_mm512_shuffle_i32x4(s, u, 0x88), _mm512_shuffle_i32x4(s, u, 0xdd));
        y[t] = _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_set1_ps(b->d)), _mm512_cvtepi32_ps(sum), y[t]);
    }
}

/* Sixteen weight rows at w, of which n_rows are wanted, from `row` on. */
INLINE void multiply_rows(const sp_matmul *m, const uint8_t *w, int64_t stride, int64_t row, int64_t n_rows,
                          int64_t first, const short_block (*x)[MAX_BLOCKS], int n_x)
{
    const int64_t n_blocks = (int64_t)m->n / 32;
    rows_16 g = begin_rows(w, stride);
    ahead next = begin_fetch(w + 16 * stride);
    __m512 y[SP_FEW_TILE];
    for (int t = 0; t < n_x; t++) y[t] = _mm512_setzero_ps();
    for (int64_t i = 0; i < n_blocks; i += 2) {
        bool two = i + 1 < n_blocks;
        __m512i scales = load_scales(&g, two);
        fetch_bytes(&next, 32 * BLOCK_BYTES);
        add_block(&g, 2, low_half(scales), x, i, n_x, y);
        if (two) add_block(&g, BLOCK_BYTES + 2, high_half(scales), x, i + 1, n_x, y);
        for (int k = 0; k < 4; k++) g.fours[k] += 2 * BLOCK_BYTES;
    }
    store_sums(m, row, n_rows, first, n_x, y);
}

INLINE void multiply_short(const sp_matmul *m, int64_t first, int n_x)
{
    short_block x[SP_FEW_TILE][MAX_BLOCKS];
    uint8_t copy[16][MAX_BLOCKS * BLOCK_BYTES];
    load_activations(m, first, n_x, x);
    int64_t stride = (int64_t)m->w_stride, row = 0;
    const uint8_t *w = m->w;
    for (; row + 16 <= m->n_rows; row += 16, w += 16 * stride)
        multiply_rows(m, w, stride, row, 16, first, x, n_x);
    if (row == m->n_rows) return;
    for (int64_t r = 0; r < 16; r++)
        memcpy(copy[r], w + (row + r < m->n_rows ? r : 0) * stride, m->n / 32 * BLOCK_BYTES);
    multiply_rows(m, copy[0], sizeof copy[0], row, m->n_rows - row, first, x, n_x);
}

void sp_matmul_short_q8_0_avx512(const sp_matmul *m)
{
    for (int64_t t = 0; t < m->n_x; t += SP_FEW_TILE) switch (m->n_x - t) {
        case 1: multiply_short(m, t, 1); break;
        case 2: multiply_short(m, t, 2); break;
        case 3: multiply_short(m, t, 3); break;
        default: multiply_short(m, t, 4); break;
        }
}

#endif
