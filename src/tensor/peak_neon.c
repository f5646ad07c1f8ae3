/* SPDX-License-Identifier: MIT */
/* Arithmetic loops for every arm64 processor. Empty assembler statements as in peak_avx2.c. */
#include "tensor/peak.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#define FORGET(i) __asm__ volatile("" : "+w"(s##i));

void sp_peak_fma_neon(int64_t n_rounds)
{
    float32x4_t x = vdupq_n_f32(0.999f), y = vdupq_n_f32(0.001f);
#define DECLARE(i) float32x4_t s##i = vdupq_n_f32(i);
#define STEP(i) s##i = vfmaq_f32(s##i, x, y);
    SP_PEAK_EACH(DECLARE)
    for (int64_t r = 0; r < n_rounds; r++) {
        SP_PEAK_EACH(STEP)
        SP_PEAK_EACH(FORGET)
    }
#undef DECLARE
#undef STEP
}

#define DECLARE(i) int32x4_t s##i = vdupq_n_s32(i);

void sp_peak_mlal_neon(int64_t n_rounds)
{
    int8x16_t x = vdupq_n_s8(3), y = vdupq_n_s8(-5);
#define STEP(i)                                                                                              \
    __asm__ volatile("" : "+w"(x));                                                                          \
    s##i = vpadalq_s16(s##i, vmlal_high_s8(vmull_s8(vget_low_s8(x), vget_low_s8(y)), x, y));
    SP_PEAK_EACH(DECLARE)
    for (int64_t r = 0; r < n_rounds; r++) {
        SP_PEAK_EACH(STEP)
    }
    SP_PEAK_EACH(FORGET)
#undef STEP
}

#endif
