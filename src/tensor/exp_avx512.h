/* SPDX-License-Identifier: MIT */
/* The exponential of the AVX-512 kernel files, with the bits of sp_expf. Included only by files compiled for AVX-512. */
#ifndef SP_TENSOR_EXP_AVX512_H
#define SP_TENSOR_EXP_AVX512_H

#if defined(__AVX512F__)

#include <immintrin.h>

#include "tensor/kernel_rows.h"

/* sp_expf in sixteen lanes, step by step. min and max return their second operand for a NaN. */
static inline __m512 exp_16(__m512 x)
{
    x = _mm512_min_ps(_mm512_set1_ps(EXP_MAX), x);
    x = _mm512_max_ps(_mm512_set1_ps(EXP_MIN), x);
    __m512 magic = _mm512_set1_ps(EXP_MAGIC);
    __m512 shifted = _mm512_fmadd_ps(x, _mm512_set1_ps(EXP_LOG2E), magic);
    __m512 n = _mm512_sub_ps(shifted, magic);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(EXP_LN2_HI), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(EXP_LN2_LO), r);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(EXP_P4), r, _mm512_set1_ps(EXP_P3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_P2));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_P1));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_P0));
    p = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0f));

    __m512i k = _mm512_sub_epi32(_mm512_castps_si512(shifted), _mm512_set1_epi32(EXP_MAGIC_BITS));
    __m512i half = _mm512_srai_epi32(k, 1), bias = _mm512_set1_epi32(127);
    __m512i bits1 = _mm512_slli_epi32(_mm512_add_epi32(half, bias), 23);
    __m512i bits2 = _mm512_slli_epi32(_mm512_add_epi32(_mm512_sub_epi32(k, half), bias), 23);
    return _mm512_mul_ps(_mm512_mul_ps(p, _mm512_castsi512_ps(bits1)), _mm512_castsi512_ps(bits2));
}

#endif

#endif
