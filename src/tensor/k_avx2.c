/* SPDX-License-Identifier: MIT */
/* AVX2 unpacking of the K-quants and IQ4_XS: bit for bit that of quant_scalar.c. */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include "tensor/avx2.h"
#include "tensor/decode.h"

/* dst[256] from a decoded block; has_min is 0 or 1. */
static inline void write_256(const sp_dec256 *w, int has_min, float *dst)
{
    for (int k = 0; k < 16; k++) {
        __m256 d = _mm256_set1_ps(w->d * (float)w->scale[k]), m = _mm256_set1_ps(w->dmin * (float)w->min[k]);
        __m128i q = _mm_sub_epi8(load_16(w->q + 16 * k), _mm_set1_epi8((char)w->offset));
        for (int i = 0; i < 2; i++) {
            __m256 v = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(i ? _mm_srli_si128(q, 8) : q));
            v = _mm256_mul_ps(d, v);
            _mm256_storeu_ps(dst + 16 * k + 8 * i, has_min ? _mm256_sub_ps(v, m) : v);
        }
    }
}

/* Unpacking: the common decoder, then wide arithmetic. */
#define UNPACK_256(type, has_min)                                                                            \
    static void unpack_##type##_avx2(size_t n, const void *src, float *dst)                                  \
    {                                                                                                        \
        const sp_block_##type *b = src;                                                                      \
        for (size_t i = 0; i < n / 256; i++) {                                                               \
            sp_dec256 dec;                                                                                   \
            sp_decode_##type(b + i, &dec);                                                                   \
            write_256(&dec, has_min, dst + 256 * i);                                                         \
        }                                                                                                    \
    }

UNPACK_256(q2_k, 1)
UNPACK_256(q3_k, 0)
UNPACK_256(q4_k, 1)
UNPACK_256(q5_k, 1)
UNPACK_256(q6_k, 0)
UNPACK_256(iq4_xs, 0)

void sp_fill_k_avx2(sp_kernels *k)
{
    k->unpack[SP_DTYPE_Q2_K] = unpack_q2_k_avx2;
    k->unpack[SP_DTYPE_Q3_K] = unpack_q3_k_avx2;
    k->unpack[SP_DTYPE_Q4_K] = unpack_q4_k_avx2;
    k->unpack[SP_DTYPE_Q5_K] = unpack_q5_k_avx2;
    k->unpack[SP_DTYPE_Q6_K] = unpack_q6_k_avx2;
    k->unpack[SP_DTYPE_IQ4_XS] = unpack_iq4_xs_avx2;
}

#endif
