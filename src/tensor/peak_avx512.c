/* SPDX-License-Identifier: MIT */
/* Arithmetic loops for x86-64 processors with AVX-512 and its VNNI. Empty assembler statements as in peak_avx2.c. */
#include "tensor/peak.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define RENEW(v) __asm__ volatile("" : "+v"(v))
#define FORGET(i) RENEW(s##i);

void sp_peak_fma_avx512(int64_t n_rounds)
{
    __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(0.001f);
#define DECLARE(i) __m512 s##i = _mm512_set1_ps(i);
#define STEP(i) s##i = _mm512_fmadd_ps(s##i, x, y);
    SP_PEAK_EACH(DECLARE)
    for (int64_t r = 0; r < n_rounds; r++) {
        SP_PEAK_EACH(STEP)
        RENEW(x);
    }
    SP_PEAK_EACH(FORGET)
#undef DECLARE
#undef STEP
}

#define DECLARE(i) __m512i s##i = _mm512_set1_epi32(i);

void sp_peak_maddubs_avx512(int64_t n_rounds)
{
    __m512i x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(-5), ones = _mm512_set1_epi16(1);
#define STEP(i)                                                                                              \
    RENEW(x);                                                                                                \
    s##i = _mm512_add_epi32(s##i, _mm512_madd_epi16(_mm512_maddubs_epi16(x, y), ones));
    SP_PEAK_EACH(DECLARE)
    for (int64_t r = 0; r < n_rounds; r++) {
        SP_PEAK_EACH(STEP)
    }
    SP_PEAK_EACH(FORGET)
#undef STEP
}

void sp_peak_vnni_avx512(int64_t n_rounds)
{
    __m512i x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(-5);
#define STEP(i) s##i = _mm512_dpbusd_epi32(s##i, x, y);
    SP_PEAK_EACH(DECLARE)
    for (int64_t r = 0; r < n_rounds; r++) {
        SP_PEAK_EACH(STEP)
        RENEW(x);
    }
    SP_PEAK_EACH(FORGET)
#undef STEP
}

uint64_t sp_peak_read_avx512(const void *data, size_t n)
{
    const __m512i *p = data;
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (size_t i = 0; i < n / sizeof *p; i += 4) {
        a = _mm512_xor_si512(a, _mm512_loadu_si512(p + i));
        b = _mm512_xor_si512(b, _mm512_loadu_si512(p + i + 1));
        c = _mm512_xor_si512(c, _mm512_loadu_si512(p + i + 2));
        d = _mm512_xor_si512(d, _mm512_loadu_si512(p + i + 3));
    }
    a = _mm512_xor_si512(_mm512_xor_si512(a, b), _mm512_xor_si512(c, d));
    return (uint64_t)_mm512_reduce_add_epi64(a);
}

#endif
