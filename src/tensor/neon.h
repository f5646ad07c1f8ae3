/* SPDX-License-Identifier: MIT */
/* Helpers of the arm64 kernel files that need no more than baseline armv8-a, which has fused multiply-add and
 * half conversion. The eight lanes of a float sum are two registers. */
#ifndef SP_TENSOR_NEON_H
#define SP_TENSOR_NEON_H

#if defined(__aarch64__)

#include <arm_neon.h>
#include <string.h>

#include "tensor/blocks.h"

/* Kernels are written once as functions of constants and inlined into each row of the table. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

typedef struct lanes_f32 {
    float32x4_t lo, hi; /* lanes 0-3, 4-7 */
} lanes_f32;

static inline lanes_f32 zero_lanes(void)
{
    return (lanes_f32){vdupq_n_f32(0), vdupq_n_f32(0)};
}

/* sp_lanes_sum of two registers. */
static inline float sum_lanes(lanes_f32 v)
{
    float32x4_t a = vaddq_f32(v.lo, v.hi);                       /* 0+4 1+5 2+6 3+7 */
    float32x2_t b = vadd_f32(vget_low_f32(a), vget_high_f32(a)); /* (0+4)+(2+6) (1+5)+(3+7) */
    return vget_lane_f32(b, 0) + vget_lane_f32(b, 1);
}

static inline void store_lanes(lanes_f32 v, float out[8])
{
    vst1q_f32(out, v.lo);
    vst1q_f32(out + 4, v.hi);
}

/* A 4 x 4 matrix transposed. */
typedef struct fours_s32 {
    int32x4_t v[4];
} fours_s32;

static inline fours_s32 transpose(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d)
{
    int64x2_t ab0 = vreinterpretq_s64_s32(vtrn1q_s32(a, b)), ab1 = vreinterpretq_s64_s32(vtrn2q_s32(a, b));
    int64x2_t cd0 = vreinterpretq_s64_s32(vtrn1q_s32(c, d)), cd1 = vreinterpretq_s64_s32(vtrn2q_s32(c, d));
    return (fours_s32){
        {vreinterpretq_s32_s64(vtrn1q_s64(ab0, cd0)), vreinterpretq_s32_s64(vtrn1q_s64(ab1, cd1)),
         vreinterpretq_s32_s64(vtrn2q_s64(ab0, cd0)), vreinterpretq_s32_s64(vtrn2q_s64(ab1, cd1))}};
}

/* The halves at four addresses. */
static inline float32x4_t load_halves(const uint8_t *const p[4], size_t at)
{
    uint16x4_t v = vdup_n_u16(0);
    v = vld1_lane_u16((const void *)(p[0] + at), v, 0);
    v = vld1_lane_u16((const void *)(p[1] + at), v, 1);
    v = vld1_lane_u16((const void *)(p[2] + at), v, 2);
    v = vld1_lane_u16((const void *)(p[3] + at), v, 3);
    return vcvt_f32_f16(vreinterpret_f16_u16(v));
}

static inline float load_half(const uint8_t p[2])
{
    float16_t h;
    memcpy(&h, p, sizeof h);
    return (float)h;
}

#endif
#endif
