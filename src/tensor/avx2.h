/* SPDX-License-Identifier: MIT */
/* Helpers of the AVX2 kernel files: lane sums, integer products, scales spread over chunks, floats to bytes. Included only by
 * files compiled for AVX2 + FMA + F16C (every Intel from Haswell, every AMD from Zen on). */
#ifndef SP_TENSOR_AVX2_H
#define SP_TENSOR_AVX2_H

#if defined(__AVX2__)

#include <immintrin.h>

#include "tensor/blocks.h"

/* sp_lanes_sum of a register. */
static inline float sum_lanes(__m256 v)
{
    __m128 a = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1)); /* 0+4 1+5 2+6 3+7 */
    __m128 b = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

/* sp_lanes_sum of four registers. */
static inline __m128 sum_lanes_of_4(const __m256 acc[4])
{
    __m128 s[4];
    for (int i = 0; i < 4; i++)
        s[i] = _mm_add_ps(_mm256_castps256_ps128(acc[i]), _mm256_extractf128_ps(acc[i], 1));
    __m128 a = _mm_add_ps(_mm_unpacklo_ps(s[0], s[1]), _mm_unpackhi_ps(s[0], s[1]));
    __m128 b = _mm_add_ps(_mm_unpacklo_ps(s[2], s[3]), _mm_unpackhi_ps(s[2], s[3]));
    return _mm_add_ps(_mm_movelh_ps(a, b), _mm_movehl_ps(b, a));
}

static inline __m256i load_32(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static inline __m128i load_16(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

static inline __m128i load_8(const void *p)
{
    return _mm_loadl_epi64((const __m128i *)p);
}

/* The f16 at p in all eight lanes. */
static inline __m256 spread_f16(const void *p)
{
    return _mm256_set1_ps(_cvtsh_ss(sp_load_u16(p)));
}

/* 16 bytes -> 32 nibbles: the low ones, then the high ones. */
static inline __m256i load_nibbles(const void *p)
{
    __m128i v = load_16(p);
    __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(v), _mm_srli_epi16(v, 4), 1);
    return _mm256_and_si256(both, _mm256_set1_epi8(15));
}

/* 0xff in byte i where bit i of the mask is set. */
static inline __m256i spread_bits(uint32_t mask)
{
    const __m256i select = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2,
                                            2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201ull);
    __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32((int)mask), select);
    return _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
}

/* Signed bytes w times signed bytes x (no -128 in x), summed in pairs; exact for |w| <= 128. */
static inline __m256i mul_signed(__m256i w, __m256i x)
{
    return _mm256_maddubs_epi16(_mm256_sign_epi8(w, w), _mm256_sign_epi8(x, w));
}

/* Pairs of int16 added to int32. */
static inline __m256i widen_pairs(__m256i v)
{
    return _mm256_madd_epi16(v, _mm256_set1_epi16(1));
}

/* Word c of each 128-bit half, repeated over that half. */
static inline __m256i spread_word(__m256i words, int c)
{
    return _mm256_shuffle_epi8(words, _mm256_set1_epi16((short)(0x0100 + 0x0202 * c)));
}

/* Eight scales as words, the same in both halves: for spread_word where a chunk of 32 has one scale. */
static inline __m256i both_halves(__m128i words)
{
    return _mm256_broadcastsi128_si256(words);
}

/* Sixteen byte scales: even ones to the low half, odd ones to the high half, as words: for spread_word where
 * each 16 elements have a scale. */
static inline __m256i split_even_odd(__m128i bytes)
{
    const __m128i order = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    return _mm256_cvtepi8_epi16(_mm_shuffle_epi8(bytes, order));
}

/* Largest magnitude of n floats (a multiple of 8) as bits. */
static inline uint32_t find_amax_bits(int n, const float *x)
{
    const __m256i mask = _mm256_set1_epi32(0x7fffffff);
    __m256i m = _mm256_setzero_si256();
    for (int i = 0; i < n; i += 8) m = _mm256_max_epi32(m, _mm256_and_si256(load_32(x + i), mask));
    __m128i a = _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
    a = _mm_max_epi32(a, _mm_shuffle_epi32(a, 0x4e));
    a = _mm_max_epi32(a, _mm_shuffle_epi32(a, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(a);
}

static inline __m256i round_8(const float *x, __m256 inverse)
{
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
}

/* 32 floats to bytes. The packs work within halves, so groups of four bytes are put back in order. */
static inline __m256i quantize_32(const float *x, __m256 inverse)
{
    __m256i a = _mm256_packs_epi32(round_8(x, inverse), round_8(x + 8, inverse));
    __m256i b = _mm256_packs_epi32(round_8(x + 16, inverse), round_8(x + 24, inverse));
    __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), order);
}

#endif
#endif
