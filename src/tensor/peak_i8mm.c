/* SPDX-License-Identifier: MIT */
/* Arithmetic loops for arm64 processors with dot products, and for those with 8-bit matrix products. */
#include "tensor/peak.h"

#if defined(__aarch64__)

#include <arm_neon.h>

SP_PEAK_LOOP(sp_peak_sdot, "w", int32x4_t, vdupq_n_s32, int8x16_t, vdupq_n_s8(3), vdupq_n_s8(-5), vdotq_s32)
SP_PEAK_LOOP(sp_peak_smmla, "w", int32x4_t, vdupq_n_s32, int8x16_t, vdupq_n_s8(3), vdupq_n_s8(-5), vmmlaq_s32)

#endif
