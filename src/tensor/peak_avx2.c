/* SPDX-License-Identifier: MIT */
/* Arithmetic loops for x86-64 processors with AVX2, and for those with AVX-VNNI. The empty assembler statements make a
 * value new to the compiler, which would otherwise move its product out of the loop. */
#include "tensor/peak.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define RENEW(v) __asm__ volatile("" : "+x"(v))
#define FORGET(i) RENEW(s##i);

void sp_peak_fma_avx2(int64_t n_rounds)
{
    __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(0.001f);
#define DECLARE(i) __m256 s##i = _mm256_set1_ps(i);
#define STEP(i) s##i = _mm256_fmadd_ps(s##i, x, y);
    SP_PEAK_EACH(DECLARE)
    for (int64_t r = 0; r < n_rounds; r++) {
        SP_PEAK_EACH(STEP)
        RENEW(x);
    }
    SP_PEAK_EACH(FORGET)
#undef DECLARE
#undef STEP
}

#define DECLARE(i) __m256i s##i = _mm256_set1_epi32(i);

void sp_peak_maddubs_avx2(int64_t n_rounds)
{
    __m256i x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(-5), ones = _mm256_set1_epi16(1);
#define STEP(i)                                                                                              \
    RENEW(x);                                                                                                \
    s##i = _mm256_add_epi32(s##i, _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), ones));
    SP_PEAK_EACH(DECLARE)
    for (int64_t r = 0; r < n_rounds; r++) {
        SP_PEAK_EACH(STEP)
    }
    SP_PEAK_EACH(FORGET)
#undef STEP
}

__attribute__((target("avxvnni"))) void sp_peak_vnni_avx2(int64_t n_rounds)
{
    __m256i x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(-5);
#define STEP(i) s##i = _mm256_dpbusd_avx_epi32(s##i, x, y);
    SP_PEAK_EACH(DECLARE)
    for (int64_t r = 0; r < n_rounds; r++) {
        SP_PEAK_EACH(STEP)
        RENEW(x);
    }
    SP_PEAK_EACH(FORGET)
#undef STEP
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

#endif
