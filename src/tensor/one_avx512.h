/* SPDX-License-Identifier: MIT */
/* What the AVX-512 matmuls of a single activation row share (one_k_avx512.c, one_32_avx512.c): loads of several rows,
 * and sums across the parts of registers. */
#ifndef SP_TENSOR_ONE_AVX512_H
#define SP_TENSOR_ONE_AVX512_H

#include "tensor/few_avx512.h"

#if defined(__AVX512VNNI__)

INLINE __m128i load_16(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

INLINE __m512i every_byte(int v)
{
    return _mm512_set1_epi8((char)v);
}

/* Sixteen bytes of rows 0, 4, 8 and 12. */
INLINE __m512i load_4_rows(const uint8_t *w, size_t stride)
{
    __m512i v = _mm512_castsi128_si512(load_16(w));
    v = _mm512_inserti32x4(v, load_16(w + 4 * stride), 1);
    v = _mm512_inserti32x4(v, load_16(w + 8 * stride), 2);
    return _mm512_inserti32x4(v, load_16(w + 12 * stride), 3);
}

/* Elements of two registers added up crosswise: in each part a0 + a2, b0 + b2, a1 + a3, b1 + b3. */
INLINE __m512i add_crosswise(__m512i a, __m512i b)
{
    return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

/* In each part: the sums of that part of a, b, c and d. */
INLINE __m512i sum_parts(__m512i a, __m512i b, __m512i c, __m512i d)
{
    a = add_crosswise(a, b);
    c = add_crosswise(c, d);
    return _mm512_add_epi32(_mm512_unpacklo_epi64(a, c), _mm512_unpackhi_epi64(a, c));
}

/* Parts of a, then of b: the first plus the second, the third plus the fourth. */
INLINE __m512i add_neighbours(__m512i a, __m512i b)
{
    return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
}

INLINE __m512i load_64(const void *p)
{
    return _mm512_loadu_si512(p);
}

/* 32 bytes in both halves. */
INLINE __m512i load_twice(const void *p)
{
    return _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)p));
}

/* a | (b & c) */
INLINE __m512i or_and(__m512i a, __m512i b, __m512i c)
{
    return _mm512_ternarylogic_epi32(a, b, c, 0xf8);
}

/* Words of the upper half moved down by n. */
INLINE __m512i upper_down(__m512i v, int n)
{
    return _mm512_srlv_epi16(v, _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16((short)n), 1));
}

/* Where to ask for lines while w is read from end to end: `lead` bytes further on, behind the last row in what comes next. */
INLINE const uint8_t *further_on(const sp_matmul *m, const uint8_t *w, size_t lead)
{
    const uint8_t *end = (const uint8_t *)m->w + (size_t)m->n_rows * m->w_stride, *next = w + lead;
    return next >= end && m->next ? (const uint8_t *)m->next + (next - end) : next;
}

/* Sums so far of n_rows rows: zeros where nothing was added yet. */
INLINE __m512 begin_sums(const sp_matmul *m, int64_t row, int64_t n_rows, bool first)
{
    __mmask16 mask = (__mmask16)((1u << n_rows) - 1);
    return first ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, m->y + row);
}

#endif
#endif
