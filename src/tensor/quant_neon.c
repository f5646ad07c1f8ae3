/* SPDX-License-Identifier: MIT */
/* NEON rows that make activation rows and unpack the common quantised formats: bit for bit those of
 * quant_scalar.c. Formats without rows here stay scalar; products are in matmul_neon.c. */
#include "tensor/kernel_rows.h"

#if defined(__aarch64__)

#include <math.h>

#include "tensor/blocks_neon.h"
#include "tensor/lanes.h"

/* dst[16] = d * q - m when has_min, else d * q. */
static inline void write_16(int8x16_t q, float d, int has_min, float m, float *dst)
{
    int16x8_t half[2] = {vmovl_s8(vget_low_s8(q)), vmovl_high_s8(q)};
    for (int i = 0; i < 4; i++) {
        int32x4_t four = i % 2 ? vmovl_high_s16(half[i / 2]) : vmovl_s16(vget_low_s16(half[i / 2]));
        float32x4_t v = vmulq_n_f32(vcvtq_f32_s32(four), d);
        vst1q_f32(dst + 4 * i, has_min ? vsubq_f32(v, vdupq_n_f32(m)) : v);
    }
}

/* x + m and x - (-m) are the same. */
#define UNPACK_32(type, has_min, min_of)                                                                     \
    static void unpack_##type##_neon(size_t n, const void *src, float *dst)                                  \
    {                                                                                                        \
        const sp_block_##type *b = src;                                                                      \
        for (size_t i = 0; i < n / 32; i++) {                                                                \
            bytes_32 q = load_##type(b + i);                                                                 \
            float d = load_half(b[i].d), m = -min_of(b + i);                                                 \
            write_16(q.a, d, has_min, m, dst + 32 * i);                                                      \
            write_16(q.b, d, has_min, m, dst + 32 * i + 16);                                                 \
        }                                                                                                    \
    }

#define NO_MIN(b) 0.0f
#define MIN_OF(b) load_half((b)->m)

UNPACK_32(q8_0, 0, NO_MIN)
UNPACK_32(q4_0, 0, NO_MIN)
UNPACK_32(q4_1, 1, MIN_OF)
UNPACK_32(q5_0, 0, NO_MIN)
UNPACK_32(q5_1, 1, MIN_OF)
UNPACK_32(iq4_nl, 0, NO_MIN)

/* The common decoder, then wide arithmetic. */
#define UNPACK_256(type, has_min)                                                                            \
    static void unpack_##type##_neon(size_t n, const void *src, float *dst)                                  \
    {                                                                                                        \
        const sp_block_##type *b = src;                                                                      \
        for (size_t i = 0; i < n / 256; i++) {                                                               \
            sp_dec256 dec;                                                                                   \
            sp_decode_##type(b + i, &dec);                                                                   \
            int8x16_t offset = vdupq_n_s8((int8_t)dec.offset);                                               \
            for (int k = 0; k < 16; k++) {                                                                   \
                int8x16_t q = vsubq_s8(vld1q_s8(dec.q + 16 * k), offset);                                    \
                float d = dec.d * (float)dec.scale[k], m = dec.dmin * (float)dec.min[k];                     \
                write_16(q, d, has_min, m, dst + 256 * i + 16 * k);                                          \
            }                                                                                                \
        }                                                                                                    \
    }

UNPACK_256(q2_k, 1)
UNPACK_256(q3_k, 0)
UNPACK_256(q4_k, 1)
UNPACK_256(q5_k, 1)
UNPACK_256(q6_k, 0)
UNPACK_256(iq4_xs, 0)

/* --- activation rows --- */

static inline uint32_t find_amax_bits(int n, const float *x)
{
    uint32x4_t m = vdupq_n_u32(0), mask = vdupq_n_u32(0x7fffffffu);
    for (int i = 0; i < n; i += 4) m = vmaxq_u32(m, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + i)), mask));
    return vmaxvq_u32(m);
}

static inline int16x8_t round_8(const float *x, float inverse)
{
    int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), inverse));
    int32x4_t b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), inverse));
    return vcombine_s16(vmovn_s32(a), vmovn_s32(b));
}

/* n = 32 or 256; returns d; sums[k] of each 16. */
static inline float quantize_block(int n, const float *x, int8_t *q, int16_t *sums)
{
    uint32_t bits = find_amax_bits(n, x);
    if (bits < ACT_MIN_BITS || bits >= ACT_INF_BITS) {
        memset(q, 0, (size_t)n);
        memset(sums, 0, (size_t)n / 16 * sizeof *sums);
        return bits < ACT_MIN_BITS ? 0.0f : NAN;
    }
    float amax;
    memcpy(&amax, &bits, sizeof amax);
    float inverse = 127.0f / amax;
    for (int k = 0; k < n / 16; k++) {
        int16x8_t a = round_8(x + 16 * k, inverse), b = round_8(x + 16 * k + 8, inverse);
        vst1q_s8(q + 16 * k, vcombine_s8(vmovn_s16(a), vmovn_s16(b)));
        sums[k] = vaddvq_s16(vaddq_s16(a, b));
    }
    return amax / 127.0f;
}

static void quantize_q8_neon(size_t n, const float *src, void *dst)
{
    sp_act_q8 *a = dst;
    for (size_t b = 0; b < n / 32; b++) {
        int16_t sums[2];
        float d = quantize_block(32, src + 32 * b, a[b].q, sums);
        a[b].d = sp_round_scale(d);
        a[b].s = sp_round_scale(d * (float)(sums[0] + sums[1]));
    }
}

static void quantize_q8k_neon(size_t n, const float *src, void *dst)
{
    sp_act_q8k *a = dst;
    for (size_t b = 0; b < n / 256; b++) a[b].d = quantize_block(256, src + 256 * b, a[b].q, a[b].sums);
}

#define SET_ROWS(k, dtype, type) (k)->unpack[dtype] = unpack_##type##_neon

void sp_fill_quant_neon(sp_kernels *k)
{
    SET_ROWS(k, SP_DTYPE_Q8_0, q8_0);
    SET_ROWS(k, SP_DTYPE_Q4_0, q4_0);
    SET_ROWS(k, SP_DTYPE_Q4_1, q4_1);
    SET_ROWS(k, SP_DTYPE_Q5_0, q5_0);
    SET_ROWS(k, SP_DTYPE_Q5_1, q5_1);
    SET_ROWS(k, SP_DTYPE_IQ4_NL, iq4_nl);
    SET_ROWS(k, SP_DTYPE_Q2_K, q2_k);
    SET_ROWS(k, SP_DTYPE_Q3_K, q3_k);
    SET_ROWS(k, SP_DTYPE_Q4_K, q4_k);
    SET_ROWS(k, SP_DTYPE_Q5_K, q5_k);
    SET_ROWS(k, SP_DTYPE_Q6_K, q6_k);
    SET_ROWS(k, SP_DTYPE_IQ4_XS, iq4_xs);
    k->quantize[SP_ACT_Q8] = quantize_q8_neon;
    k->quantize[SP_ACT_Q8K] = quantize_q8k_neon;
}

#endif
