/* SPDX-License-Identifier: MIT */
/* Helpers of the NEON kernel files. The eight lanes of a sum are two registers. Baseline armv8-a: fused
 * multiply-add and half conversion are part of it; no dot-product extension is needed. */
#ifndef SP_TENSOR_NEON_H
#define SP_TENSOR_NEON_H

#if defined(__aarch64__)

#include <arm_neon.h>
#include <math.h>

#include "tensor/blocks.h"

typedef struct lanes_f32 {
    float32x4_t lo, hi; /* lanes 0-3, 4-7 */
} lanes_f32;

typedef struct lanes_s32 {
    int32x4_t lo, hi;
} lanes_s32;

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

/* Sixteen products added in fours; exact for |w| <= 128, |x| <= 127. */
static inline int32x4_t dot_fours(int8x16_t w, int8x16_t x)
{
    int16x8_t a = vmull_s8(vget_low_s8(w), vget_low_s8(x)), b = vmull_high_s8(w, x);
    return vpaddlq_s16(vpaddq_s16(a, b));
}

/* y + d * the sum of eight integers. */
static inline float add_scaled(float y, lanes_s32 sum, float d)
{
    return fmaf(d, (float)vaddvq_s32(vaddq_s32(sum.lo, sum.hi)), y);
}

#endif
#endif
