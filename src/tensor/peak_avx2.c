/* SPDX-License-Identifier: MIT */
/* Arithmetic loops for x86-64 processors with AVX2, and for those with AVX-VNNI. */
#include "tensor/peak.h"

#if defined(__x86_64__)

#include <immintrin.h>

static inline __m256i add_maddubs(__m256i sum, __m256i x, __m256i y)
{
    __m256i words = _mm256_maddubs_epi16(x, y);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(words, _mm256_set1_epi16(1)));
}

uint64_t sp_peak_read_avx2(const void *data, size_t n)
{
    const __m256i *p = data;
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    for (size_t i = 0; i < n / sizeof *p; i += 4) {
        a = _mm256_xor_si256(a, _mm256_loadu_si256(p + i));
        b = _mm256_xor_si256(b, _mm256_loadu_si256(p + i + 1));
        c = _mm256_xor_si256(c, _mm256_loadu_si256(p + i + 2));
        d = _mm256_xor_si256(d, _mm256_loadu_si256(p + i + 3));
    }
    a = _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d));
    return (uint64_t)_mm256_extract_epi64(a, 0) ^ (uint64_t)_mm256_extract_epi64(a, 3);
}

#define LOOP_INT8(name, step)                                                                                \
    SP_PEAK_LOOP(name, "x", __m256i, _mm256_set1_epi32, __m256i, _mm256_set1_epi8(3), _mm256_set1_epi8(-5),  \
                 step)

SP_PEAK_LOOP(sp_peak_fma_avx2, "x", __m256, _mm256_set1_ps, __m256, _mm256_set1_ps(0.999f),
             _mm256_set1_ps(0.001f), _mm256_fmadd_ps)
LOOP_INT8(sp_peak_maddubs_avx2, add_maddubs)
__attribute__((target("avxvnni"))) LOOP_INT8(sp_peak_vnni_avx2, _mm256_dpbusd_avx_epi32)

#endif
