/* SPDX-License-Identifier: MIT */
/* AVX-512 matmuls of a single activation row (plain decoding) for Q2_K and Q3_K. Here a register holds 64 elements of
 * one weight row: a block's quarters are multiplied in pairs to words, and those with their scales to int32. The
 * registers of sixteen rows are then added up together, so that the float part runs once for all of them. Layouts:
 * blocks.h and decode.c. Start at multiply_one(). */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include "tensor/decode.h"
#include "tensor/one_avx512.h"

/* A block of the activation row. */
typedef struct one_block {
    __m512i x[4];      /* quarters: k is elements 32 k .. and 128 + 32 k .. */
    __m512i offset[4]; /* what the format's offset adds to each word */
    __m512i sums[2];   /* what mins multiply, in each 128-bit part */
    float d;
} one_block;

typedef struct format_one {
    int bytes, d_at; /* d_at: of four bytes, d and dmin or, without mins, two others and d */
    int shift;       /* a row's integer is 2^shift times too large */
    int offset;      /* integers are larger than values by this */
    void (*sums)(const int16_t *sums, __m512i out[2]);                    /* NULL: no mins */
    __m512i (*mins)(const uint8_t *w, size_t stride, const one_block *x); /* of rows 0, 4, 8, 12 */
    __m512i (*dot)(const uint8_t *w, const one_block *x);
} format_one;

/* --- pieces ------------------------------------------------------------------------------------------------- */

/* Bytes a, b, c, d of every 128-bit part as words (at = 0) or as words' upper bytes (at = 1): one in each part. */
INLINE __m512i spread_scales(__m512i scales, int a, int b, int c, int d, int at)
{
    const int none = 0x80;
#define SPREAD(i) (at ? none | (i) << 8 : (i) | none << 8)
    const __m512i order = _mm512_inserti64x4(
        _mm512_castsi256_si512(_mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_set1_epi16((short)SPREAD(a))), _mm_set1_epi16((short)SPREAD(b)), 1)),
        _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi16((short)SPREAD(c))),
                                _mm_set1_epi16((short)SPREAD(d)), 1),
        1);
#undef SPREAD
    return _mm512_shuffle_epi8(scales, order);
}

/* sum + scales times the words of a quarter. */
INLINE __m512i add_quarter(__m512i sum, __m512i q, const one_block *x, int k, int offset, __m512i scales)
{
    __m512i words = _mm512_maddubs_epi16(q, x->x[k]);
    if (offset) words = _mm512_sub_epi16(words, x->offset[k]);
    return _mm512_dpwssd_epi32(sum, words, scales);
}

/* --- formats ------------------------------------------------------------------------------------------------ */

INLINE __m512i dot_q2_k(const uint8_t *w, const one_block *x)
{
    const sp_block_q2_k *b = (const sp_block_q2_k *)w;
    __m512i v = load_64(b->qs), three = every_byte(3), sum = _mm512_setzero_si512();
    __m512i scales = _mm512_and_si512(_mm512_broadcast_i32x4(load_16(b->scales)), every_byte(15));
    sum = add_quarter(sum, _mm512_and_si512(v, three), x, 0, 0, spread_scales(scales, 0, 1, 8, 9, 0));
    sum = add_quarter(sum, _mm512_and_si512(_mm512_srli_epi16(v, 2), three), x, 1, 0,
                      spread_scales(scales, 2, 3, 10, 11, 0));
    sum = add_quarter(sum, _mm512_and_si512(_mm512_srli_epi16(v, 4), three), x, 2, 0,
                      spread_scales(scales, 4, 5, 12, 13, 0));
    return add_quarter(sum, _mm512_and_si512(_mm512_srli_epi16(v, 6), three), x, 3, 0,
                       spread_scales(scales, 6, 7, 14, 15, 0));
}

/* Sums as 16 h + l, bytes both, since they meet mins that are bytes. */
INLINE void sums_q2_k(const int16_t *sums, __m512i out[2])
{
    __m256i v = _mm256_loadu_si256((const __m256i *)sums);
    out[0] = _mm512_broadcast_i32x4(_mm256_cvtepi16_epi8(_mm256_srai_epi16(v, 4)));
    out[1] = _mm512_broadcast_i32x4(_mm256_cvtepi16_epi8(_mm256_and_si256(v, _mm256_set1_epi16(15))));
}

/* A min stands in the upper nibble: left there, it is 16 times as large. */
INLINE __m512i mins_q2_k(const uint8_t *w, size_t stride, const one_block *x)
{
    __m512i v = load_4_rows(w, stride), nibble = every_byte(15);
    __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_andnot_si512(nibble, v), x->sums[0]);
    return _mm512_dpbusd_epi32(sum, _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble), x->sums[1]);
}

/* The sixteen scales less 32 (sp_unpack_scales_q3_k), out of the block's last sixteen bytes. */
INLINE __m128i scales_of_q3_k(const uint8_t *w)
{
    const __m128i low = _mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9);
    const __m128i high = _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13);
    const __m128i low_bits = _mm_setr_epi8(0, 8, 16, 24, 32, 40, 48, 56, 4, 12, 20, 28, 36, 44, 52, 60);
    const __m128i high_bits = _mm_setr_epi8(60, 4, 12, 20, 30, 38, 46, 54, 0, 8, 16, 24, 34, 42, 50, 58);
    __m128i v = load_16(w + sizeof(sp_block_q3_k) - 16);
    __m128i l = _mm_multishift_epi64_epi8(low_bits, _mm_shuffle_epi8(v, low));
    __m128i h = _mm_multishift_epi64_epi8(high_bits, _mm_shuffle_epi8(v, high));
    l = _mm_ternarylogic_epi32(_mm_and_si128(l, _mm_set1_epi8(15)), h, _mm_set1_epi8(48), 0xf8);
    return _mm_sub_epi8(l, _mm_set1_epi8(32));
}

INLINE __m512i dot_q3_k(const uint8_t *w, const one_block *x)
{
    const sp_block_q3_k *b = (const sp_block_q3_k *)w;
    __m512i v = load_64(b->qs), h = upper_down(load_twice(b->hmask), 4), sum = _mm512_setzero_si512();
    __m512i three = every_byte(3), four = every_byte(4);
    __m512i scales = _mm512_broadcast_i32x4(scales_of_q3_k(w));
    __m512i q = or_and(_mm512_and_si512(v, three), _mm512_slli_epi16(h, 2), four);
    sum = add_quarter(sum, q, x, 0, 1, spread_scales(scales, 0, 1, 8, 9, 1));
    q = or_and(_mm512_and_si512(_mm512_srli_epi16(v, 2), three), _mm512_slli_epi16(h, 1), four);
    sum = add_quarter(sum, q, x, 1, 1, spread_scales(scales, 2, 3, 10, 11, 1));
    q = or_and(_mm512_and_si512(_mm512_srli_epi16(v, 4), three), h, four);
    sum = add_quarter(sum, q, x, 2, 1, spread_scales(scales, 4, 5, 12, 13, 1));
    q = or_and(_mm512_and_si512(_mm512_srli_epi16(v, 6), three), _mm512_srli_epi16(h, 1), four);
    return add_quarter(sum, q, x, 3, 1, spread_scales(scales, 6, 7, 14, 15, 1));
}

/* --- sixteen rows ------------------------------------------------------------------------------------------- */

INLINE one_block load_block(const format_one *f, const sp_act_q8k *a)
{
    one_block x;
    for (int k = 0; k < 4; k++) {
        x.x[k] =
            _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(a->q + 32 * k))),
                               _mm256_loadu_si256((const __m256i *)(a->q + 128 + 32 * k)), 1);
        if (f->offset) x.offset[k] = _mm512_maddubs_epi16(every_byte(f->offset), x.x[k]);
    }
    if (f->sums) f->sums(a->sums, x.sums);
    x.d = a->d;
    return x;
}

INLINE __m512i dot_4_rows(const format_one *f, const uint8_t *w, size_t stride, const one_block *x,
                          ahead *rows_ahead)
{
    __m512i row[4];
    for (int i = 0; i < 4; i++) {
        fetch_bytes(rows_ahead, (size_t)f->bytes);
        row[i] = f->dot(w + (size_t)i * stride, x);
    }
    return sum_parts(row[0], row[1], row[2], row[3]);
}

/* The four bytes at w of sixteen rows. */
INLINE __m512i load_words(const uint8_t *w, size_t stride)
{
    __m128i part[4];
    for (int i = 0; i < 4; i++, w += 4 * stride)
        part[i] = _mm_setr_epi32((int)sp_load_u32(w), (int)sp_load_u32(w + stride),
                                 (int)sp_load_u32(w + 2 * stride), (int)sp_load_u32(w + 3 * stride));
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set_m128i(part[1], part[0])),
                              _mm256_set_m128i(part[3], part[2]), 1);
}

/* y + one block of sixteen rows. */
INLINE __m512 add_one(const format_one *f, const uint8_t *w, size_t stride, const one_block *x,
                      ahead *rows_ahead, __m512 y)
{
    __m512i a = dot_4_rows(f, w, stride, x, rows_ahead);
    __m512i b = dot_4_rows(f, w + 4 * stride, stride, x, rows_ahead);
    __m512i low = add_neighbours(a, b);
    a = dot_4_rows(f, w + 8 * stride, stride, x, rows_ahead);
    b = dot_4_rows(f, w + 12 * stride, stride, x, rows_ahead);
    __m512i sum = add_neighbours(low, add_neighbours(a, b)), ds = load_words(w + f->d_at, stride);
    if (f->shift) sum = _mm512_srai_epi32(sum, (unsigned)f->shift);
    __m512 dx = _mm512_set1_ps(x->d), d = f->sums ? low_half(ds) : high_half(ds);
    y = _mm512_fmadd_ps(_mm512_mul_ps(d, dx), _mm512_cvtepi32_ps(sum), y);
    if (!f->sums) return y;
    sum = sum_parts(f->mins(w, stride, x), f->mins(w + stride, stride, x), f->mins(w + 2 * stride, stride, x),
                    f->mins(w + 3 * stride, stride, x));
    return _mm512_fnmadd_ps(_mm512_mul_ps(high_half(ds), dx), _mm512_cvtepi32_ps(sum), y);
}

INLINE void multiply_one(const format_one *f, const sp_matmul *m)
{
    const size_t bytes = (size_t)f->bytes;
    uint8_t copy[16][SP_MAX_SPAN];
    fetch_first(m);
    for (int64_t row = 0; row < m->n_rows; row += 16) {
        sixteen g = begin_sixteen(m, row, true);
        const sp_act_q8k *a = m->x;
        __m512 y = _mm512_setzero_ps();
        for (size_t i = 0; i < m->n / 256; i++, g.w += bytes) {
            size_t stride;
            const uint8_t *w = whole_rows(&g, bytes, copy, &stride);
            one_block x = load_block(f, a + i);
            y = add_one(f, w, stride, &x, &g.ahead, y);
        }
        store_sums(m, row, g.n_rows, 0, 1, &y);
    }
}

#define ONE(type, ...)                                                                                       \
    void sp_matmul_one_##type##_avx512(const sp_matmul *m)                                                   \
    {                                                                                                        \
        static const format_one f = {.bytes = (int)sizeof(sp_block_##type), .dot = dot_##type, __VA_ARGS__}; \
        multiply_one(&f, m);                                                                                 \
    }

ONE(q2_k, .d_at = 80, .sums = sums_q2_k, .mins = mins_q2_k)
ONE(q3_k, .d_at = 106, .offset = 4, .shift = 8)

#endif
