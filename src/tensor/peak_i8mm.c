/* SPDX-License-Identifier: MIT */
/* Arithmetic loops for arm64 processors with dot products, and for those with 8-bit matrix products. */
#include "tensor/peak.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#define DECLARE(i) int32x4_t s##i = vdupq_n_s32(i);
#define RENEW(v) __asm__ volatile("" : "+w"(v))
#define FORGET(i) RENEW(s##i);

void sp_peak_sdot(int64_t n_rounds)
{
    int8x16_t x = vdupq_n_s8(3), y = vdupq_n_s8(-5);
#define STEP(i) s##i = vdotq_s32(s##i, x, y);
    SP_PEAK_EACH(DECLARE)
    for (int64_t r = 0; r < n_rounds; r++) {
        SP_PEAK_EACH(STEP)
        RENEW(x);
    }
    SP_PEAK_EACH(FORGET)
#undef STEP
}

void sp_peak_smmla(int64_t n_rounds)
{
    int8x16_t x = vdupq_n_s8(3), y = vdupq_n_s8(-5);
#define STEP(i) s##i = vmmlaq_s32(s##i, x, y);
    SP_PEAK_EACH(DECLARE)
    for (int64_t r = 0; r < n_rounds; r++) {
        SP_PEAK_EACH(STEP)
        RENEW(x);
    }
    SP_PEAK_EACH(FORGET)
#undef STEP
}

#endif
