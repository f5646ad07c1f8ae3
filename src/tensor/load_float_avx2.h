/* SPDX-License-Identifier: MIT */
/* AVX2 loaders of the unquantised formats: 16 elements from element i of a row on as floats, and one element.
 * For files compiled for AVX2 + FMA + F16C. */
#ifndef SP_TENSOR_LOAD_FLOAT_AVX2_H
#define SP_TENSOR_LOAD_FLOAT_AVX2_H

#include "tensor/avx2.h"

#if defined(__AVX2__)

static inline void load_f32(const void *row, size_t i, __m256 w[2])
{
    const float *p = (const float *)row + i;
    w[0] = _mm256_loadu_ps(p);
    w[1] = _mm256_loadu_ps(p + 8);
}

static inline void load_f16(const void *row, size_t i, __m256 w[2])
{
    const uint16_t *p = (const uint16_t *)row + i;
    w[0] = _mm256_cvtph_ps(load_16(p));
    w[1] = _mm256_cvtph_ps(load_16(p + 8));
}

static inline void load_bf16(const void *row, size_t i, __m256 w[2])
{
    const uint16_t *p = (const uint16_t *)row + i;
    w[0] = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_16(p)), 16));
    w[1] = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_16(p + 8)), 16));
}

/* E4M3 moved into half format has an exponent 8 too small, and its sign a copy where the exponent begins; codes
 * 0x7f and 0xff become NaN. */
static inline void load_f8_e4m3(const void *row, size_t i, __m256 w[2])
{
    const __m256i top = _mm256_set1_epi16(0x3f80);
    const __m256 rest = _mm256_set1_ps(256.0f);
    __m256i v = _mm256_slli_epi16(_mm256_cvtepu8_epi16(load_16((const uint8_t *)row + i)), 8);
    v = _mm256_and_si256(_mm256_srai_epi16(v, 1), _mm256_set1_epi16((short)0xbfff));
    v = _mm256_or_si256(v, _mm256_cmpeq_epi16(_mm256_and_si256(v, top), top));
    w[0] = _mm256_mul_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(v)), rest);
    w[1] = _mm256_mul_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(v, 1)), rest);
}

static inline float get_f32(const void *row, size_t i)
{
    return ((const float *)row)[i];
}

static inline float get_f16(const void *row, size_t i)
{
    return sp_f16_to_f32(((const uint16_t *)row)[i]);
}

static inline float get_bf16(const void *row, size_t i)
{
    return sp_bf16_to_f32(((const uint16_t *)row)[i]);
}

static inline float get_f8_e4m3(const void *row, size_t i)
{
    return sp_e4m3_to_f32(((const uint8_t *)row)[i]);
}

#endif
#endif
