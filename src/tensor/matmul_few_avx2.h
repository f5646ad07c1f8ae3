/* SPDX-License-Identifier: MIT */
/* Few activation rows (decoding), quantised formats: eight weight rows go side by side; each of their blocks is
 * unpacked once for up to four activation rows, and the sums of the eight are added up together, so that the
 * float part runs once for all of them. Start at multiply_few_32() and multiply_few_256(). */
#ifndef SP_TENSOR_MATMUL_FEW_AVX2_H
#define SP_TENSOR_MATMUL_FEW_AVX2_H

#include "tensor/matmul_parts_avx2.h"

#if defined(__AVX2__)

/* Eight weight rows from r, n_t <= 4 activation rows from t. */
typedef struct few_tile {
    const uint8_t *w[8];
    const void *x[4];
    __m256 y[4];
} few_tile;

ALWAYS_INLINE void open_few(few_tile *tile, const sp_matmul *m, int64_t r, int64_t t, int n_t)
{
    for (int i = 0; i < 8; i++) tile->w[i] = weight_row(m, r + i);
    for (int j = 0; j < n_t; j++) {
        tile->x[j] = activation_row(m, t + j);
        tile->y[j] = _mm256_setzero_ps();
    }
}

ALWAYS_INLINE void close_few(const few_tile *tile, const sp_matmul *m, int64_t r, int64_t t, int n_t)
{
    for (int j = 0; j < n_t; j++) {
        float *y = m->y + (t + j) * m->y_stride + r, rest[8];
        if (m->n_rows - r >= 8) {
            _mm256_storeu_ps(y, tile->y[j]);
            continue;
        }
        _mm256_storeu_ps(rest, tile->y[j]);
        memcpy(y, rest, (size_t)(m->n_rows - r) * sizeof *y);
    }
}

/* y[j] += a block's integer sums of the eight rows times the scales, and the mins. */
ALWAYS_INLINE void add_floats_32(few_tile *tile, size_t block, const format32 *f, int n_t,
                                 const __m256i sums[4])
{
    size_t at = block * (size_t)f->bytes;
    __m256 d = gather_halves(tile->w, at + (size_t)f->d_at), min = _mm256_setzero_ps();
    if (f->m_at) min = gather_halves(tile->w, at + (size_t)f->m_at);
    for (int j = 0; j < n_t; j++) {
        const sp_act_q8 *x = (const sp_act_q8 *)tile->x[j] + block;
        __m256 sum = _mm256_cvtepi32_ps(sums[j]);
        tile->y[j] = _mm256_fmadd_ps(_mm256_mul_ps(d, _mm256_set1_ps(x->d)), sum, tile->y[j]);
        if (f->m_at) tile->y[j] = _mm256_fmadd_ps(min, _mm256_set1_ps(x->s), tile->y[j]);
    }
}

ALWAYS_INLINE void add_few_32(few_tile *tile, size_t block, const format32 *f, int n_t)
{
    size_t at = block * (size_t)f->bytes;
    __m256i parts[4][8], sums[4];
    for (int i = 0; i < 8; i++) {
        __m256i q = f->load(tile->w[i] + at);
        for (int j = 0; j < n_t; j++)
            parts[j][i] = multiply_fours(q, ((const sp_act_q8 *)tile->x[j])[block].q, f->pair);
    }
    for (int j = 0; j < n_t; j++) sums[j] = sum_each_of_8(parts[j]);
    add_floats_32(tile, block, f, n_t, sums);
}

/* Sums of words: of row i in the low half of s[i], of row i + 4 in the high half. Added up before they are widened:
 * 16 of the words' 32 products may stand in one word, and 15 * 127 * 16 fits. */
ALWAYS_INLINE __m256i sum_nibbles_of_8(const __m256i s[4])
{
    __m256i a = _mm256_add_epi16(_mm256_unpacklo_epi32(s[0], s[1]), _mm256_unpackhi_epi32(s[0], s[1]));
    __m256i b = _mm256_add_epi16(_mm256_unpacklo_epi32(s[2], s[3]), _mm256_unpackhi_epi32(s[2], s[3]));
    return widen_pairs(_mm256_add_epi16(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b)));
}

/* add_few_32() for nibbles: rows i and i + 4 share registers, and words are added up across lanes before they are
 * widened. */
ALWAYS_INLINE void add_few_nibbles(few_tile *tile, size_t block, const format32 *f, int n_t)
{
    const __m256i nibble = _mm256_set1_epi8(15), bias = _mm256_set1_epi8((char)f->bias);
    size_t at = block * (size_t)f->bytes + (size_t)f->nibbles_at;
    __m256i low[4], high[4], start[4], parts[4][4], sums[4];
    for (int j = 0; j < n_t; j++) {
        const int8_t *x = ((const sp_act_q8 *)tile->x[j])[block].q;
        low[j] = _mm256_broadcastsi128_si256(load_16(x));
        high[j] = _mm256_broadcastsi128_si256(load_16(x + 16));
        start[j] = _mm256_add_epi16(_mm256_maddubs_epi16(bias, low[j]), _mm256_maddubs_epi16(bias, high[j]));
    }
    for (int i = 0; i < 4; i++) {
        __m256i q = _mm256_set_m128i(load_16(tile->w[i + 4] + at), load_16(tile->w[i] + at));
        __m256i q0 = _mm256_and_si256(q, nibble), q1 = _mm256_and_si256(_mm256_srli_epi16(q, 4), nibble);
        for (int j = 0; j < n_t; j++) {
            __m256i v = _mm256_add_epi16(_mm256_maddubs_epi16(q0, low[j]), _mm256_maddubs_epi16(q1, high[j]));
            parts[j][i] = f->bias ? _mm256_sub_epi16(v, start[j]) : v;
        }
    }
    for (int j = 0; j < n_t; j++) sums[j] = sum_nibbles_of_8(parts[j]);
    add_floats_32(tile, block, f, n_t, sums);
}

ALWAYS_INLINE void multiply_tile_32(const sp_matmul *m, const format32 *f, int64_t r, int64_t t, int n_t)
{
    few_tile tile;
    open_few(&tile, m, r, t, n_t);
    for (size_t block = 0; block < m->n / 32; block++) {
        for (int i = 0; block % 4 == 0 && i < 8; i++)
            fetch_ahead(tile.w[i] + block * (size_t)f->bytes, 8 * m->w_stride, 4 * f->bytes);
        if (f->nibbles_at)
            add_few_nibbles(&tile, block, f, n_t);
        else
            add_few_32(&tile, block, f, n_t);
    }
    close_few(&tile, m, r, t, n_t);
}

ALWAYS_INLINE void multiply_few_32(const sp_matmul *m, const format32 *f)
{
    for (int64_t r = 0; r < m->n_rows; r += 8) {
        int64_t t = 0;
        for (; t + 4 <= m->n_x; t += 4) multiply_tile_32(m, f, r, t, 4);
        switch (m->n_x - t) {
        case 1: multiply_tile_32(m, f, r, t, 1); break;
        case 2: multiply_tile_32(m, f, r, t, 2); break;
        case 3: multiply_tile_32(m, f, r, t, 3); break;
        default: break;
        }
    }
}

/* One weight row's block against the activations: integer sums, and those of the mins. */
ALWAYS_INLINE void multiply_block_256(const uint8_t *w, const sp_act_q8k *const x[4], const format256 *f,
                                      int n_t, __m256i *sums, __m256i *min_sums)
{
    __m256i q[8], scales = f->scales(w), mins = _mm256_setzero_si256(), sum[4];
    f->load(w, q);
    if (f->mins) mins = f->mins(w);
    if (f->offset) mins = _mm256_mullo_epi16(order_scales(scales), _mm256_set1_epi16((short)-f->offset));
    for (int j = 0; j < n_t; j++) {
        sum[j] = _mm256_setzero_si256();
        if (f->offset) sum[j] = _mm256_madd_epi16(mins, load_32(x[j]->sums));
        if (f->mins) min_sums[8 * j] = _mm256_madd_epi16(mins, load_32(x[j]->sums));
    }
    for (int c = 0; c < 8; c++) {
        __m256i scale = spread_word(scales, c);
        for (int j = 0; j < n_t; j++)
            sum[j] = add_madd(sum[j], multiply_pairs(q[c], x[j]->q + 32 * c, f->pair), scale);
    }
    for (int j = 0; j < n_t; j++) sums[8 * j] = sum[j];
}

ALWAYS_INLINE void add_few_256(few_tile *tile, size_t block, const format256 *f, int n_t)
{
    size_t at = block * (size_t)f->bytes;
    __m256 d = gather_d256(tile->w, at, f), dmin = _mm256_setzero_ps();
    __m256i sums[4][8], min_sums[4][8];
    const sp_act_q8k *x[4];
    if (f->mins) dmin = gather_halves(tile->w, at + (size_t)f->dmin_at);
    for (int j = 0; j < n_t; j++) x[j] = (const sp_act_q8k *)tile->x[j] + block;
    for (int i = 0; i < 8; i++) multiply_block_256(tile->w[i] + at, x, f, n_t, &sums[0][i], &min_sums[0][i]);
    for (int j = 0; j < n_t; j++) {
        __m256 xd = _mm256_set1_ps(x[j]->d), sum = _mm256_cvtepi32_ps(sum_each_of_8(sums[j]));
        tile->y[j] = _mm256_fmadd_ps(_mm256_mul_ps(d, xd), sum, tile->y[j]);
        if (!f->mins) continue;
        sum = _mm256_cvtepi32_ps(sum_each_of_8(min_sums[j]));
        tile->y[j] = _mm256_fnmadd_ps(_mm256_mul_ps(dmin, xd), sum, tile->y[j]);
    }
}

ALWAYS_INLINE void multiply_tile_256(const sp_matmul *m, const format256 *f, int64_t r, int64_t t, int n_t)
{
    few_tile tile;
    open_few(&tile, m, r, t, n_t);
    for (size_t block = 0; block < m->n / 256; block++) {
        for (int i = 0; i < 8; i++)
            fetch_ahead(tile.w[i] + block * (size_t)f->bytes, 8 * m->w_stride, f->bytes);
        add_few_256(&tile, block, f, n_t);
    }
    close_few(&tile, m, r, t, n_t);
}

ALWAYS_INLINE void multiply_few_256(const sp_matmul *m, const format256 *f)
{
    for (int64_t r = 0; r < m->n_rows; r += 8) {
        int64_t t = 0;
        for (; t + 4 <= m->n_x; t += 4) multiply_tile_256(m, f, r, t, 4);
        switch (m->n_x - t) {
        case 1: multiply_tile_256(m, f, r, t, 1); break;
        case 2: multiply_tile_256(m, f, r, t, 2); break;
        case 3: multiply_tile_256(m, f, r, t, 3); break;
        default: break;
        }
    }
}

#endif
#endif
