/* SPDX-License-Identifier: MIT */
/* Arithmetic loops for every arm64 processor. */
#include "tensor/peak.h"

#if defined(__aarch64__)

#include <arm_neon.h>

static inline int32x4_t add_mlal(int32x4_t sum, int8x16_t x, int8x16_t y)
{
    return vpadalq_s16(sum, vmlal_high_s8(vmull_s8(vget_low_s8(x), vget_low_s8(y)), x, y));
}

SP_PEAK_LOOP(sp_peak_fma_neon, "w", float32x4_t, vdupq_n_f32, float32x4_t, vdupq_n_f32(0.999f),
             vdupq_n_f32(0.001f), vfmaq_f32)
SP_PEAK_LOOP(sp_peak_mlal_neon, "w", int32x4_t, vdupq_n_s32, int8x16_t, vdupq_n_s8(3), vdupq_n_s8(-5),
             add_mlal)

#endif
