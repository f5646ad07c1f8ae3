/* SPDX-License-Identifier: MIT */
/* Arithmetic loops for x86-64 processors with AVX-512 and its VNNI. */
#include "tensor/peak.h"

#if defined(__x86_64__)

#include <immintrin.h>

static inline __m512i add_maddubs(__m512i sum, __m512i x, __m512i y)
{
    __m512i words = _mm512_maddubs_epi16(x, y);
    return _mm512_add_epi32(sum, _mm512_madd_epi16(words, _mm512_set1_epi16(1)));
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

#define LOOP_INT8(name, step)                                                                                \
    SP_PEAK_LOOP(name, "v", __m512i, _mm512_set1_epi32, __m512i, _mm512_set1_epi8(3), _mm512_set1_epi8(-5),  \
                 step)

SP_PEAK_LOOP(sp_peak_fma_avx512, "v", __m512, _mm512_set1_ps, __m512, _mm512_set1_ps(0.999f),
             _mm512_set1_ps(0.001f), _mm512_fmadd_ps)
LOOP_INT8(sp_peak_maddubs_avx512, add_maddubs)
LOOP_INT8(sp_peak_vnni_avx512, _mm512_dpbusd_epi32)

#endif
