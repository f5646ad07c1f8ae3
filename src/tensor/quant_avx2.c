/* SPDX-License-Identifier: MIT */
/* AVX2 unpacking of the formats in blocks of 32, and activation rows: bit for bit those of quant_scalar.c. */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include <math.h>

#include "tensor/avx2.h"
#include "tensor/lanes.h"
#include "tensor/load_32_avx2.h"

/* dst[32] = d * q (+ m). */
static inline void write_32(__m256i q, __m256 d, float *dst)
{
    for (int i = 0; i < 4; i++) {
        __m128i half = i < 2 ? _mm256_castsi256_si128(q) : _mm256_extracti128_si256(q, 1);
        __m128i eight = i % 2 ? _mm_srli_si128(half, 8) : half;
        _mm256_storeu_ps(dst + 8 * i, _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight))));
    }
}

static inline void add_32(float m, float *dst)
{
    __m256 vm = _mm256_set1_ps(m);
    for (int i = 0; i < 32; i += 8) _mm256_storeu_ps(dst + i, _mm256_add_ps(_mm256_loadu_ps(dst + i), vm));
}

#define UNPACK_32(type)                                                                                      \
    static void unpack_##type##_avx2(size_t n, const void *src, float *dst)                                  \
    {                                                                                                        \
        const sp_block_##type *b = src;                                                                      \
        for (size_t i = 0; i < n / 32; i++) write_32(load_##type(b + i), spread_f16(b[i].d), dst + 32 * i);  \
    }

#define UNPACK_32_MIN(type)                                                                                  \
    static void unpack_##type##_avx2(size_t n, const void *src, float *dst)                                  \
    {                                                                                                        \
        const sp_block_##type *b = src;                                                                      \
        for (size_t i = 0; i < n / 32; i++) {                                                                \
            write_32(load_##type(b + i), spread_f16(b[i].d), dst + 32 * i);                                  \
            add_32(_cvtsh_ss(sp_load_u16(b[i].m)), dst + 32 * i);                                            \
        }                                                                                                    \
    }

UNPACK_32(q8_0)
UNPACK_32(q4_0)
UNPACK_32_MIN(q4_1)
UNPACK_32(q5_0)
UNPACK_32_MIN(q5_1)
UNPACK_32(iq4_nl)

/* n = 32 or 256; returns d. */
static inline float quantize_block(int n, const float *x, int8_t *q)
{
    uint32_t bits = find_amax_bits(n, x);
    if (bits < ACT_MIN_BITS || bits >= ACT_INF_BITS) {
        memset(q, 0, (size_t)n);
        return bits < ACT_MIN_BITS ? 0.0f : NAN;
    }
    float amax;
    memcpy(&amax, &bits, sizeof amax);
    __m256 inverse = _mm256_set1_ps(127.0f / amax);
    for (int i = 0; i < n; i += 32) _mm256_storeu_si256((__m256i *)(q + i), quantize_32(x + i, inverse));
    return amax / 127.0f;
}

static inline int sum_16(const int8_t *q)
{
    __m256i w = _mm256_cvtepi8_epi16(load_16(q));
    __m128i s = _mm_add_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
    s = _mm_madd_epi16(s, _mm_set1_epi16(1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

static void quantize_q8_avx2(size_t n, const float *src, void *dst)
{
    sp_act_q8 *a = dst;
    for (size_t b = 0; b < n / 32; b++) {
        float d = quantize_block(32, src + 32 * b, a[b].q);
        a[b].d = sp_round_scale(d);
        a[b].s = sp_round_scale(d * (float)(sum_16(a[b].q) + sum_16(a[b].q + 16)));
    }
}

static void quantize_q8k_avx2(size_t n, const float *src, void *dst)
{
    sp_act_q8k *a = dst;
    for (size_t b = 0; b < n / 256; b++) {
        a[b].d = quantize_block(256, src + 256 * b, a[b].q);
        for (int k = 0; k < 16; k++) a[b].sums[k] = (int16_t)sum_16(a[b].q + 16 * k);
    }
}

void sp_fill_quant_avx2(sp_kernels *k)
{
    k->unpack[SP_DTYPE_Q8_0] = unpack_q8_0_avx2;
    k->unpack[SP_DTYPE_Q4_0] = unpack_q4_0_avx2;
    k->unpack[SP_DTYPE_Q4_1] = unpack_q4_1_avx2;
    k->unpack[SP_DTYPE_Q5_0] = unpack_q5_0_avx2;
    k->unpack[SP_DTYPE_Q5_1] = unpack_q5_1_avx2;
    k->unpack[SP_DTYPE_IQ4_NL] = unpack_iq4_nl_avx2;
    k->quantize[SP_ACT_Q8] = quantize_q8_avx2;
    k->quantize[SP_ACT_Q8K] = quantize_q8k_avx2;
}

#endif
