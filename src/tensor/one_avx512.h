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

#endif
#endif
