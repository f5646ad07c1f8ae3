/* SPDX-License-Identifier: MIT */
/* Many activation rows (prompts), quantised formats: the blocks of 16 weight rows are unpacked into a panel in
 * the innermost cache, in which vector lanes are weight rows, and meet four activation rows at a time, whose
 * integers are spread over all lanes four by four. Sums need no adding up across lanes. Start at
 * multiply_many_32() and multiply_many_256(). */
#ifndef SP_TENSOR_MATMUL_PANEL_AVX2_H
#define SP_TENSOR_MATMUL_PANEL_AVX2_H

#include "tensor/matmul_parts_avx2.h"

#if defined(__AVX2__)

/* Activation rows that pass over a panel before it is given up; a multiple of four. */
#define PANEL_X 128

/* 8 blocks of 32 of 16 weight rows; [2]: the first and the last eight rows. */
typedef struct panel32 {
    __m256i q[64][2]; /* in lane r: the integers 4k .. 4k+3 of row r */
    __m256i start[8][2];
    __m256 d[8][2], m[8][2];
} panel32;

/* A block of 256 of 16 weight rows. */
typedef struct panel256 {
    __m256i q[64][2];
    __m256i scale[16][2]; /* in the form that add_group() wants */
    __m256i min[8][2];    /* words, for two groups each; with an offset: -offset * scale */
    __m256i start[2];     /* takes back what a bias of the activations adds */
    __m256 d[2], dmin[2];
} panel256;

/* --- unpacking --- */

/* Eight rows of 32 bytes, `stride` apart -> out[k * step]: bytes 4k .. 4k+3 of each. */
ALWAYS_INLINE void transpose_fours(const void *rows, size_t stride, __m256i *out, int step)
{
    const uint8_t *p = rows;
    for (int half = 0; half < 2; half++, p += 16, out += 4 * step) {
        __m256i v[4];
        for (int i = 0; i < 4; i++)
            v[i] = _mm256_set_m128i(load_16(p + (size_t)(i + 4) * stride), load_16(p + (size_t)i * stride));
        __m256i a = _mm256_unpacklo_epi32(v[0], v[1]), b = _mm256_unpacklo_epi32(v[2], v[3]);
        __m256i c = _mm256_unpackhi_epi32(v[0], v[1]), d = _mm256_unpackhi_epi32(v[2], v[3]);
        out[0] = _mm256_unpacklo_epi64(a, b);
        out[step] = _mm256_unpackhi_epi64(a, b);
        out[2 * step] = _mm256_unpacklo_epi64(c, d);
        out[3 * step] = _mm256_unpackhi_epi64(c, d);
    }
}

/* Scales of one group of eight rows in the form that add_group() wants. */
ALWAYS_INLINE __m256i widen_scales(__m128i words)
{
#if defined(__AVXVNNI__)
    return _mm256_cvtepi16_epi32(words);
#else
    __m256i v = _mm256_cvtepu16_epi32(words);
    return _mm256_or_si256(v, _mm256_slli_epi32(v, 16));
#endif
}

/* Scales of eight rows as spread_word wants them -> out[2 g]: those of group g. */
ALWAYS_INLINE void transpose_scales(const __m256i v[8], __m256i *out)
{
    __m256i a[8], b[8], c[8];
    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm256_unpacklo_epi16(v[2 * i], v[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_epi16(v[2 * i], v[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        b[4 * i] = _mm256_unpacklo_epi32(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm256_unpackhi_epi32(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm256_unpacklo_epi32(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm256_unpackhi_epi32(a[4 * i + 1], a[4 * i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        c[2 * i] = _mm256_unpacklo_epi64(b[i], b[i + 4]);
        c[2 * i + 1] = _mm256_unpackhi_epi64(b[i], b[i + 4]);
    }
    for (int i = 0; i < 8; i++) {
        out[4 * i] = widen_scales(_mm256_castsi256_si128(c[i]));
        out[4 * i + 2] = widen_scales(_mm256_extracti128_si256(c[i], 1));
    }
}

/* Block `block` of eight rows into half `h` of the panel. */
ALWAYS_INLINE void fill_half_256(panel256 *p, int h, const uint8_t *const w[8], size_t block,
                                 const format256 *f)
{
    size_t at = block * (size_t)f->bytes;
    __m256i q[8][8], scales[8], mins[8];
    for (int i = 0; i < 8; i++) {
        f->load(w[i] + at, q[i]);
        scales[i] = f->scales(w[i] + at);
        if (f->mins) mins[i] = f->mins(w[i] + at);
        if (f->offset)
            mins[i] = _mm256_mullo_epi16(order_scales(scales[i]), _mm256_set1_epi16((short)-f->offset));
    }
    for (int c = 0; c < 8; c++) transpose_fours(&q[0][c], sizeof q[0], &p->q[8 * c][h], 2);
    if (f->mins || f->offset) transpose_fours(mins, sizeof mins[0], &p->min[0][h], 2);
    transpose_scales(scales, &p->scale[0][h]);
    p->d[h] = gather_d256(w, at, f);
    if (f->mins) p->dmin[h] = gather_halves(w, at + (size_t)f->dmin_at);
}

/* Blocks first .. first + n_blocks - 1 likewise. */
ALWAYS_INLINE void fill_half_32(panel32 *p, int h, const uint8_t *const w[8], size_t first, int n_blocks,
                                const format32 *f)
{
    for (int b = 0; b < n_blocks; b++) {
        size_t at = (first + (size_t)b) * (size_t)f->bytes;
        __m256i q[8];
        for (int i = 0; i < 8; i++) q[i] = f->load(w[i] + at);
        transpose_fours(q, sizeof q[0], &p->q[8 * b][h], 2);
        p->d[b][h] = gather_halves(w, at + (size_t)f->d_at);
        if (f->m_at) p->m[b][h] = gather_halves(w, at + (size_t)f->m_at);
    }
}

/* --- integer sums --- */

#if defined(__AVXVNNI__)
#define PAIR_IN_PANEL(pair) ((pair) == PAIR_SIGNED ? PAIR_BIASED : (pair))
#else
#define PAIR_IN_PANEL(pair) (pair)
#endif

/* Four activations in every lane. */
ALWAYS_INLINE __m256i spread_fours(const int8_t *x, pairing pair)
{
    __m256i v = _mm256_set1_epi32((int)sp_load_u32(x));
    return pair == PAIR_BIASED ? _mm256_xor_si256(v, _mm256_set1_epi8((char)0x80)) : v;
}

/* Products of four weights and four activations of each lane as two words. */
ALWAYS_INLINE __m256i multiply_words(__m256i w, __m256i v, pairing pair)
{
    if (pair == PAIR_SIGNED) return mul_signed(w, v);
    return pair == PAIR_UNSIGNED ? _mm256_maddubs_epi16(w, v) : _mm256_maddubs_epi16(v, w);
}

/* sums[h][t] += the products of `n_k` fours from panel integers q; scale NULL: 1. Up to `steps` products of
 * maddubs fit into a word. */
ALWAYS_INLINE void add_group(__m256i sums[2][4], const __m256i (*q)[2], const int8_t *const x[4], int n_t,
                             int n_k, int steps, pairing pair, const __m256i *scale)
{
#if defined(__AVXVNNI__)
    __m256i part[2][4];
    (void)steps;
    for (int h = 0; h < 2; h++)
        for (int t = 0; t < n_t; t++) part[h][t] = scale ? _mm256_setzero_si256() : sums[h][t];
#pragma GCC unroll 8
    for (int k = 0; k < n_k; k++) {
        for (int t = 0; t < n_t; t++) {
            __m256i v = spread_fours(x[t] + 4 * k, pair);
            for (int h = 0; h < 2; h++)
                part[h][t] = pair == PAIR_UNSIGNED ? _mm256_dpbusd_avx_epi32(part[h][t], q[k][h], v)
                                                   : _mm256_dpbusd_avx_epi32(part[h][t], v, q[k][h]);
        }
    }
    for (int h = 0; h < 2; h++)
        for (int t = 0; t < n_t; t++)
            sums[h][t] =
                scale ? _mm256_add_epi32(sums[h][t], _mm256_mullo_epi32(part[h][t], scale[h])) : part[h][t];
#else
    for (int begin = 0; begin < n_k; begin += steps) {
        __m256i part[2][4];
        for (int t = 0; t < n_t; t++) {
            __m256i v = spread_fours(x[t] + 4 * begin, pair);
            for (int h = 0; h < 2; h++) part[h][t] = multiply_words(q[begin][h], v, pair);
        }
#pragma GCC unroll 8
        for (int k = begin + 1; k < begin + steps; k++) {
            for (int t = 0; t < n_t; t++) {
                __m256i v = spread_fours(x[t] + 4 * k, pair);
                for (int h = 0; h < 2; h++)
                    part[h][t] = in_order(_mm256_add_epi16(part[h][t], multiply_words(q[k][h], v, pair)));
            }
        }
        for (int h = 0; h < 2; h++)
            for (int t = 0; t < n_t; t++)
                sums[h][t] = add_madd(sums[h][t], part[h][t], scale ? scale[h] : _mm256_set1_epi16(1));
    }
#endif
}

ALWAYS_INLINE void add_groups_256(__m256i sums[2][4], const panel256 *p, const int8_t *const x[4], int n_t,
                                  int n_k, int steps, pairing pair)
{
    for (int k = 0; k < 64; k += n_k) {
        const int8_t *at[4];
        for (int t = 0; t < n_t; t++) at[t] = x[t] + 4 * k;
        add_group(sums, p->q + k, at, n_t, n_k, steps, pair, p->scale[k / 4]);
    }
}

static const int8_t zero_activations[256];

/* start = minus what activations of zero give: the bias alone. */
ALWAYS_INLINE void set_start_256(panel256 *p, int n_k, int steps, pairing pair)
{
    const int8_t *x[4] = {zero_activations};
    __m256i sums[2][4] = {{_mm256_setzero_si256()}, {_mm256_setzero_si256()}};
    add_groups_256(sums, p, x, 1, n_k, steps, pair);
    for (int h = 0; h < 2; h++) p->start[h] = _mm256_sub_epi32(_mm256_setzero_si256(), sums[h][0]);
}

ALWAYS_INLINE void set_start_32(panel32 *p, int n_blocks, int steps, pairing pair)
{
    const int8_t *x[4] = {zero_activations};
    for (int b = 0; b < n_blocks; b++) {
        __m256i sums[2][4] = {{_mm256_setzero_si256()}, {_mm256_setzero_si256()}};
        add_group(sums, p->q + 8 * b, x, 1, 8, steps, pair, NULL);
        for (int h = 0; h < 2; h++) p->start[b][h] = _mm256_sub_epi32(_mm256_setzero_si256(), sums[h][0]);
    }
}

/* sums[h][t] = the mins (or the offset) times the sums of the groups of four activation rows. */
ALWAYS_INLINE void multiply_mins(__m256i sums[2][4], const panel256 *p, const sp_act_q8k *const x[4])
{
    for (int t = 0; t < 4; t++) {
        sums[0][t] = sums[1][t] = _mm256_setzero_si256();
        for (int g = 0; g < 8; g++) {
            __m256i v = _mm256_set1_epi32((int)sp_load_u32(x[t]->sums + 2 * g));
            for (int h = 0; h < 2; h++) sums[h][t] = add_madd(sums[h][t], p->min[g][h], v);
        }
    }
}

/* --- float sums: y[t][h] += ... for four activation rows --- */

ALWAYS_INLINE void add_panel_256(const panel256 *p, const sp_act_q8k *const x[4], float *y, int n_k,
                                 int steps, pairing pair, int has_min, int has_offset)
{
    const int8_t *q[4] = {x[0]->q, x[1]->q, x[2]->q, x[3]->q};
    __m256i sums[2][4];
    for (int h = 0; h < 2; h++)
        for (int t = 0; t < 4; t++) sums[h][t] = pair == PAIR_BIASED ? p->start[h] : _mm256_setzero_si256();
    if (has_offset) multiply_mins(sums, p, x);
    add_groups_256(sums, p, q, 4, n_k, steps, pair);
    for (int h = 0; h < 2; h++) {
        for (int t = 0; t < 4; t++) {
            __m256 d = _mm256_mul_ps(p->d[h], _mm256_set1_ps(x[t]->d)),
                   v = _mm256_load_ps(y + 16 * t + 8 * h);
            _mm256_store_ps(y + 16 * t + 8 * h, _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(sums[h][t]), v));
        }
    }
    if (!has_min) return;
    multiply_mins(sums, p, x);
    for (int h = 0; h < 2; h++) {
        for (int t = 0; t < 4; t++) {
            __m256 d = _mm256_mul_ps(p->dmin[h], _mm256_set1_ps(x[t]->d)),
                   v = _mm256_load_ps(y + 16 * t + 8 * h);
            _mm256_store_ps(y + 16 * t + 8 * h, _mm256_fnmadd_ps(d, _mm256_cvtepi32_ps(sums[h][t]), v));
        }
    }
}

ALWAYS_INLINE void add_panel_32(const panel32 *p, int n_blocks, const sp_act_q8 *const x[4], float *y,
                                int steps, pairing pair, int has_min)
{
    for (int b = 0; b < n_blocks; b++) {
        const int8_t *q[4] = {x[0][b].q, x[1][b].q, x[2][b].q, x[3][b].q};
        __m256i sums[2][4];
        for (int h = 0; h < 2; h++)
            for (int t = 0; t < 4; t++)
                sums[h][t] = pair == PAIR_BIASED ? p->start[b][h] : _mm256_setzero_si256();
        add_group(sums, p->q + 8 * b, q, 4, 8, steps, pair, NULL);
        for (int h = 0; h < 2; h++) {
            for (int t = 0; t < 4; t++) {
                __m256 d = _mm256_mul_ps(p->d[b][h], _mm256_set1_ps(x[t][b].d));
                __m256 v = _mm256_load_ps(y + 16 * t + 8 * h);
                v = _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(sums[h][t]), v);
                if (has_min) v = _mm256_fmadd_ps(p->m[b][h], _mm256_set1_ps(x[t][b].s), v);
                _mm256_store_ps(y + 16 * t + 8 * h, v);
            }
        }
    }
}

/* start_<name> and add_<name>, shared by the formats of like integers. */
#define PANEL_256(name, n_k, steps, pair, has_min, has_offset)                                               \
    static void start_##name(panel256 *p)                                                                    \
    {                                                                                                        \
        if (PAIR_IN_PANEL(pair) == PAIR_BIASED) set_start_256(p, n_k, steps, PAIR_BIASED);                   \
    }                                                                                                        \
    static void add_##name(const panel256 *p, const sp_act_q8k *const x[4], float *y)                        \
    {                                                                                                        \
        add_panel_256(p, x, y, n_k, steps, PAIR_IN_PANEL(pair), has_min, has_offset);                        \
    }

#define PANEL_32(name, steps, pair, has_min)                                                                 \
    static void start_##name(panel32 *p, int n_blocks)                                                       \
    {                                                                                                        \
        if (PAIR_IN_PANEL(pair) == PAIR_BIASED) set_start_32(p, n_blocks, steps, PAIR_BIASED);               \
    }                                                                                                        \
    static void add_##name(const panel32 *p, int n_blocks, const sp_act_q8 *const x[4], float *y)            \
    {                                                                                                        \
        add_panel_32(p, n_blocks, x, y, steps, PAIR_IN_PANEL(pair), has_min);                                \
    }

/* --- products --- */

/* 16 weight rows from r and up to PANEL_X activation rows from t; y: (PANEL_X, 16). */
static void store_panel(const sp_matmul *m, int64_t r, int64_t t, const float *y)
{
    int64_t n_t = m->n_x - t < PANEL_X ? m->n_x - t : PANEL_X, n_r = m->n_rows - r < 16 ? m->n_rows - r : 16;
    for (int64_t j = 0; j < n_t; j++)
        memcpy(m->y + (t + j) * m->y_stride + r, y + 16 * j, (size_t)n_r * sizeof *y);
}

ALWAYS_INLINE void open_panel(const sp_matmul *m, int64_t r, const uint8_t *w[16], float y[16 * PANEL_X])
{
    for (int i = 0; i < 16; i++) w[i] = weight_row(m, r + i);
    memset(y, 0, 16 * PANEL_X * sizeof *y);
}

ALWAYS_INLINE void multiply_panel_256(const sp_matmul *m, const format256 *f, int64_t r, int64_t t)
{
    _Alignas(32) float y[16 * PANEL_X];
    const uint8_t *w[16];
    panel256 p;
    open_panel(m, r, w, y);
    for (size_t block = 0; block < m->n / 256; block++) {
        for (int h = 0; h < 2; h++) fill_half_256(&p, h, w + 8 * h, block, f);
        for (int i = 0; i < 16; i++) fetch_ahead(w[i] + block * (size_t)f->bytes, 16 * m->w_stride, f->bytes);
        f->start(&p);
        for (int64_t j = 0; j < PANEL_X && t + j < m->n_x; j += 4) {
            const sp_act_q8k *x[4];
            for (int i = 0; i < 4; i++) x[i] = (const sp_act_q8k *)activation_row(m, t + j + i) + block;
            f->add(&p, x, y + 16 * j);
        }
    }
    store_panel(m, r, t, y);
}

ALWAYS_INLINE void multiply_panel_32(const sp_matmul *m, const format32 *f, int64_t r, int64_t t)
{
    _Alignas(32) float y[16 * PANEL_X];
    const uint8_t *w[16];
    panel32 p;
    open_panel(m, r, w, y);
    for (size_t block = 0; block < m->n / 32; block += 8) {
        int n_blocks = m->n / 32 - block < 8 ? (int)(m->n / 32 - block) : 8;
        for (int h = 0; h < 2; h++) fill_half_32(&p, h, w + 8 * h, block, n_blocks, f);
        for (int i = 0; i < 16; i++)
            fetch_ahead(w[i] + block * (size_t)f->bytes, 16 * m->w_stride, n_blocks * f->bytes);
        f->start(&p, n_blocks);
        for (int64_t j = 0; j < PANEL_X && t + j < m->n_x; j += 4) {
            const sp_act_q8 *x[4];
            for (int i = 0; i < 4; i++) x[i] = (const sp_act_q8 *)activation_row(m, t + j + i) + block;
            f->add(&p, n_blocks, x, y + 16 * j);
        }
    }
    store_panel(m, r, t, y);
}

ALWAYS_INLINE void multiply_many_32(const sp_matmul *m, const format32 *f)
{
    for (int64_t t = 0; t < m->n_x; t += PANEL_X)
        for (int64_t r = 0; r < m->n_rows; r += 16) multiply_panel_32(m, f, r, t);
}

ALWAYS_INLINE void multiply_many_256(const sp_matmul *m, const format256 *f)
{
    for (int64_t t = 0; t < m->n_x; t += PANEL_X)
        for (int64_t r = 0; r < m->n_rows; r += 16) multiply_panel_256(m, f, r, t);
}

#endif
#endif
