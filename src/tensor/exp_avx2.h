/* SPDX-License-Identifier: MIT */
/* The exponential of the AVX2 kernel files, with the bits of sp_expf. Included only by files compiled for
 * AVX2 and FMA. */
#ifndef SP_TENSOR_EXP_AVX2_H
#define SP_TENSOR_EXP_AVX2_H

#if defined(__AVX2__)

#include <immintrin.h>

#include "tensor/kernel_rows.h"

/* sp_expf in eight lanes, step by step. min and max return their second operand for a NaN. */
static inline __m256 exp_lanes(__m256 x)
{
    x = _mm256_min_ps(_mm256_set1_ps(EXP_MAX), x);
    x = _mm256_max_ps(_mm256_set1_ps(EXP_MIN), x);
    __m256 magic = _mm256_set1_ps(EXP_MAGIC);
    __m256 shifted = _mm256_fmadd_ps(x, _mm256_set1_ps(EXP_LOG2E), magic);
    __m256 n = _mm256_sub_ps(shifted, magic);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(EXP_LN2_HI), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(EXP_LN2_LO), r);
    __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(EXP_P4), r, _mm256_set1_ps(EXP_P3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_P2));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_P1));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_P0));
    p = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0f));

    __m256i k = _mm256_sub_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(EXP_MAGIC_BITS));
    __m256i half = _mm256_srai_epi32(k, 1), bias = _mm256_set1_epi32(127);
    __m256i bits1 = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    __m256i bits2 = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(k, half), bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(bits1)), _mm256_castsi256_ps(bits2));
}

#endif

#endif
