/* SPDX-License-Identifier: MIT */
/* NEON rows for activation rows and the common quantised formats: bit for bit those of quant_scalar.c.
 * Formats without rows here stay scalar. */
#include "tensor/kernel_rows.h"

#if defined(__aarch64__)

#include <math.h>

#include "tensor/decode.h"
#include "tensor/lanes.h"
#include "tensor/neon.h"

/* 32 weights as signed bytes: elements 0-15 and 16-31. */
typedef struct bytes_32 {
    int8x16_t a, b;
} bytes_32;

static inline bytes_32 split_nibbles(const uint8_t qs[16])
{
    uint8x16_t v = vld1q_u8(qs);
    return (bytes_32){vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15))),
                      vreinterpretq_s8_u8(vshrq_n_u8(v, 4))};
}

static inline bytes_32 load_q8_0(const sp_block_q8_0 *b)
{
    return (bytes_32){vld1q_s8(b->qs), vld1q_s8(b->qs + 16)};
}

static inline bytes_32 load_q4_0(const sp_block_q4_0 *b)
{
    bytes_32 q = split_nibbles(b->qs);
    return (bytes_32){vsubq_s8(q.a, vdupq_n_s8(8)), vsubq_s8(q.b, vdupq_n_s8(8))};
}

static inline bytes_32 load_q4_1(const sp_block_q4_1 *b)
{
    return split_nibbles(b->qs);
}

/* Sixteen bits (bytes p[0], p[1]) to `value` where set. */
static inline int8x16_t spread_bits(const uint8_t p[2], int8_t value)
{
    static const uint8_t bits[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t v = vcombine_u8(vdup_n_u8(p[0]), vdup_n_u8(p[1]));
    return vandq_s8(vreinterpretq_s8_u8(vtstq_u8(v, vld1q_u8(bits))), vdupq_n_s8(value));
}

static inline bytes_32 join_fifth_bits(bytes_32 q, const uint8_t qh[4])
{
    return (bytes_32){vorrq_s8(q.a, spread_bits(qh, 16)), vorrq_s8(q.b, spread_bits(qh + 2, 16))};
}

static inline bytes_32 load_q5_0(const sp_block_q5_0 *b)
{
    bytes_32 q = join_fifth_bits(split_nibbles(b->qs), b->qh);
    return (bytes_32){vsubq_s8(q.a, vdupq_n_s8(16)), vsubq_s8(q.b, vdupq_n_s8(16))};
}

static inline bytes_32 load_q5_1(const sp_block_q5_1 *b)
{
    return join_fifth_bits(split_nibbles(b->qs), b->qh);
}

static inline bytes_32 look_up_iq4(const uint8_t qs[16])
{
    int8x16_t values = vld1q_s8(sp_iq4_values);
    bytes_32 q = split_nibbles(qs);
    return (bytes_32){vqtbl1q_s8(values, vreinterpretq_u8_s8(q.a)),
                      vqtbl1q_s8(values, vreinterpretq_u8_s8(q.b))};
}

static inline bytes_32 load_iq4_nl(const sp_block_iq4_nl *b)
{
    return look_up_iq4(b->qs);
}

static inline lanes_s32 dot_32(bytes_32 w, const int8_t *x)
{
    return (lanes_s32){dot_fours(w.a, vld1q_s8(x)), dot_fours(w.b, vld1q_s8(x + 16))};
}

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
#define ROWS_32(type, has_min, min_of, sum_of)                                                               \
    static float dot_##type##_neon(size_t n, const void *w, const void *x)                                   \
    {                                                                                                        \
        const sp_block_##type *b = w;                                                                        \
        const sp_act_q8 *a = x;                                                                              \
        float y = 0;                                                                                         \
        for (size_t i = 0; i < n / 32; i++) {                                                                \
            y = add_scaled(y, dot_32(load_##type(b + i), a[i].q), sp_load_f16(b[i].d) * a[i].d);             \
            if (has_min) y = fmaf(min_of(b + i), sum_of(a + i), y);                                          \
        }                                                                                                    \
        return y;                                                                                            \
    }                                                                                                        \
    MATMUL_BY_DOTS(type, neon)                                                                               \
    static void unpack_##type##_neon(size_t n, const void *src, float *dst)                                  \
    {                                                                                                        \
        const sp_block_##type *b = src;                                                                      \
        for (size_t i = 0; i < n / 32; i++) {                                                                \
            bytes_32 q = load_##type(b + i);                                                                 \
            float d = sp_load_f16(b[i].d), m = -min_of(b + i);                                               \
            write_16(q.a, d, has_min, m, dst + 32 * i);                                                      \
            write_16(q.b, d, has_min, m, dst + 32 * i + 16);                                                 \
        }                                                                                                    \
    }

#define NO_MIN(b) 0.0f
#define MIN_OF(b) sp_load_f16((b)->m)
#define SUM_OF(a) (a)->s

ROWS_32(q8_0, 0, NO_MIN, SUM_OF)
ROWS_32(q4_0, 0, NO_MIN, SUM_OF)
ROWS_32(q4_1, 1, MIN_OF, SUM_OF)
ROWS_32(q5_0, 0, NO_MIN, SUM_OF)
ROWS_32(q5_1, 1, MIN_OF, SUM_OF)
ROWS_32(iq4_nl, 0, NO_MIN, SUM_OF)

/* --- blocks of 256 --- */

/* sum + scale * (q . x) of 32 elements, a scale for each 16. */
static inline lanes_s32 add_chunk(lanes_s32 sum, bytes_32 q, const int8_t *x, int s0, int s1)
{
    lanes_s32 d = dot_32(q, x);
    return (lanes_s32){vmlaq_n_s32(sum.lo, d.lo, s0), vmlaq_n_s32(sum.hi, d.hi, s1)};
}

/* Sixteen integers times the sixteen sums, added in pairs. */
static inline lanes_s32 dot_sums(int16x8_t m0, int16x8_t m1, const int16_t sums[16])
{
    int16x8_t s0 = vld1q_s16(sums), s1 = vld1q_s16(sums + 8);
    int32x4_t a = vmull_s16(vget_low_s16(m0), vget_low_s16(s0)), b = vmull_high_s16(m0, s0);
    int32x4_t c = vmull_s16(vget_low_s16(m1), vget_low_s16(s1)), d = vmull_high_s16(m1, s1);
    return (lanes_s32){vpaddq_s32(a, b), vpaddq_s32(c, d)};
}

static inline lanes_s32 zero_sums(void)
{
    return (lanes_s32){vdupq_n_s32(0), vdupq_n_s32(0)};
}

static inline lanes_s32 negative_times(lanes_s32 v, int offset)
{
    return (lanes_s32){vmulq_n_s32(v.lo, -offset), vmulq_n_s32(v.hi, -offset)};
}

/* Bits `shift` (may be negative: left) of two registers, masked, joined to low parts. */
static inline int8x16_t join_high(uint8x16_t low, uint8x16_t high, int shift, uint8_t mask)
{
    uint8x16_t moved = vshlq_u8(high, vdupq_n_s8((int8_t)-shift));
    return vreinterpretq_s8_u8(vorrq_u8(low, vandq_u8(moved, vdupq_n_u8(mask))));
}

static inline uint8x16_t take_bits(uint8x16_t v, int shift, uint8_t mask)
{
    return vandq_u8(vshlq_u8(v, vdupq_n_s8((int8_t)-shift)), vdupq_n_u8(mask));
}

/* Mins of Q4_K and Q5_K, each twice. */
static inline lanes_s32 dot_mins_k4(const uint8_t min[8], const int16_t sums[16])
{
    uint8x8_t m = vld1_u8(min);
    int16x8_t m0 = vreinterpretq_s16_u16(vmovl_u8(vzip1_u8(m, m)));
    int16x8_t m1 = vreinterpretq_s16_u16(vmovl_u8(vzip2_u8(m, m)));
    return dot_sums(m0, m1, sums);
}

static float dot_q4_k_neon(size_t n, const void *w, const void *x)
{
    const sp_block_q4_k *b = w;
    const sp_act_q8k *a = x;
    float y = 0;
    for (size_t i = 0; i < n / 256; i++, b++, a++) {
        uint8_t scale[8], min[8];
        lanes_s32 sum = zero_sums();
        sp_unpack_scales_k4(b->scales, scale, min);
        for (int t = 0; t < 4; t++) {
            bytes_32 p = split_nibbles(b->qs + 32 * t), q = split_nibbles(b->qs + 32 * t + 16);
            bytes_32 low = {p.a, q.a}, high = {p.b, q.b};
            sum = add_chunk(sum, low, a->q + 64 * t, scale[2 * t], scale[2 * t]);
            sum = add_chunk(sum, high, a->q + 64 * t + 32, scale[2 * t + 1], scale[2 * t + 1]);
        }
        y = add_scaled(y, sum, sp_load_f16(b->d) * a->d);
        y = add_scaled(y, dot_mins_k4(min, a->sums), -(sp_load_f16(b->dmin) * a->d));
    }
    return y;
}
MATMUL_BY_DOTS(q4_k, neon)

static float dot_q5_k_neon(size_t n, const void *w, const void *x)
{
    const sp_block_q5_k *b = w;
    const sp_act_q8k *a = x;
    float y = 0;
    for (size_t i = 0; i < n / 256; i++, b++, a++) {
        uint8_t scale[8], min[8];
        uint8x16_t h0 = vld1q_u8(b->qh), h1 = vld1q_u8(b->qh + 16);
        lanes_s32 sum = zero_sums();
        sp_unpack_scales_k4(b->scales, scale, min);
        for (int c = 0; c < 8; c++) {
            uint8x16_t q0 = vld1q_u8(b->qs + 32 * (c / 2)), q1 = vld1q_u8(b->qs + 32 * (c / 2) + 16);
            bytes_32 q = {join_high(take_bits(q0, 4 * (c % 2), 15), h0, c - 4, 16),
                          join_high(take_bits(q1, 4 * (c % 2), 15), h1, c - 4, 16)};
            sum = add_chunk(sum, q, a->q + 32 * c, scale[c], scale[c]);
        }
        y = add_scaled(y, sum, sp_load_f16(b->d) * a->d);
        y = add_scaled(y, dot_mins_k4(min, a->sums), -(sp_load_f16(b->dmin) * a->d));
    }
    return y;
}
MATMUL_BY_DOTS(q5_k, neon)

static float dot_q6_k_neon(size_t n, const void *w, const void *x)
{
    const sp_block_q6_k *b = w;
    const sp_act_q8k *a = x;
    float y = 0;
    for (size_t i = 0; i < n / 256; i++, b++, a++) {
        int8x16_t s = vld1q_s8(b->scales);
        lanes_s32 sum = negative_times(dot_sums(vmovl_s8(vget_low_s8(s)), vmovl_high_s8(s), a->sums), 32);
        for (int c = 0; c < 8; c++) {
            const uint8_t *ql = b->ql + 64 * (c / 4) + 32 * (c % 2), *qh = b->qh + 32 * (c / 4);
            int g = c % 4, low = 4 * (g / 2), high = 2 * g - 4;
            bytes_32 q = {join_high(take_bits(vld1q_u8(ql), low, 15), vld1q_u8(qh), high, 48),
                          join_high(take_bits(vld1q_u8(ql + 16), low, 15), vld1q_u8(qh + 16), high, 48)};
            sum = add_chunk(sum, q, a->q + 32 * c, b->scales[2 * c], b->scales[2 * c + 1]);
        }
        y = add_scaled(y, sum, sp_load_f16(b->d) * a->d);
    }
    return y;
}
MATMUL_BY_DOTS(q6_k, neon)

static float dot_q2_k_neon(size_t n, const void *w, const void *x)
{
    const sp_block_q2_k *b = w;
    const sp_act_q8k *a = x;
    float y = 0;
    for (size_t i = 0; i < n / 256; i++, b++, a++) {
        uint8x16_t m = vshrq_n_u8(vld1q_u8(b->scales), 4);
        lanes_s32 sum = zero_sums();
        lanes_s32 mins = dot_sums(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(m))),
                                  vreinterpretq_s16_u16(vmovl_high_u8(m)), a->sums);
        for (int c = 0; c < 8; c++) {
            const uint8_t *qs = b->qs + 32 * (c / 4);
            bytes_32 q = {vreinterpretq_s8_u8(take_bits(vld1q_u8(qs), 2 * (c % 4), 3)),
                          vreinterpretq_s8_u8(take_bits(vld1q_u8(qs + 16), 2 * (c % 4), 3))};
            sum = add_chunk(sum, q, a->q + 32 * c, b->scales[2 * c] & 15, b->scales[2 * c + 1] & 15);
        }
        y = add_scaled(y, sum, sp_load_f16(b->d) * a->d);
        y = add_scaled(y, mins, -(sp_load_f16(b->dmin) * a->d));
    }
    return y;
}
MATMUL_BY_DOTS(q2_k, neon)

static float dot_q3_k_neon(size_t n, const void *w, const void *x)
{
    const sp_block_q3_k *b = w;
    const sp_act_q8k *a = x;
    float y = 0;
    for (size_t i = 0; i < n / 256; i++, b++, a++) {
        uint8_t packed[16];
        int8_t scale[16];
        sp_unpack_scales_q3_k(b->scales, packed);
        int8x16_t s = vsubq_s8(vreinterpretq_s8_u8(vld1q_u8(packed)), vdupq_n_s8(32));
        vst1q_s8(scale, s);
        uint8x16_t h0 = vld1q_u8(b->hmask), h1 = vld1q_u8(b->hmask + 16);
        lanes_s32 sum = negative_times(dot_sums(vmovl_s8(vget_low_s8(s)), vmovl_high_s8(s), a->sums), 4);
        for (int c = 0; c < 8; c++) {
            const uint8_t *qs = b->qs + 32 * (c / 4);
            bytes_32 q = {join_high(take_bits(vld1q_u8(qs), 2 * (c % 4), 3), h0, c - 2, 4),
                          join_high(take_bits(vld1q_u8(qs + 16), 2 * (c % 4), 3), h1, c - 2, 4)};
            sum = add_chunk(sum, q, a->q + 32 * c, scale[2 * c], scale[2 * c + 1]);
        }
        y = add_scaled(y, sum, sp_load_f16(b->d) * a->d);
    }
    return y;
}
MATMUL_BY_DOTS(q3_k, neon)

static float dot_iq4_xs_neon(size_t n, const void *w, const void *x)
{
    const sp_block_iq4_xs *b = w;
    const sp_act_q8k *a = x;
    float y = 0;
    for (size_t i = 0; i < n / 256; i++, b++, a++) {
        uint32_t high = sp_load_u16(b->scales_h);
        lanes_s32 sum = zero_sums();
        for (int c = 0; c < 8; c++) {
            int s = ((b->scales_l[c / 2] >> (4 * (c % 2))) & 15) | (int)((high >> (2 * c)) & 3u) << 4;
            sum = add_chunk(sum, look_up_iq4(b->qs + 16 * c), a->q + 32 * c, s - 32, s - 32);
        }
        y = add_scaled(y, sum, sp_load_f16(b->d) * a->d);
    }
    return y;
}
MATMUL_BY_DOTS(iq4_xs, neon)

/* Unpacking: the common decoder, then wide arithmetic. */
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

#define SET_ROWS(k, dtype, type)                                                                             \
    (k)->matmul[dtype] = matmul_##type##_neon;                                                               \
    (k)->unpack[dtype] = unpack_##type##_neon

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
