/* SPDX-License-Identifier: MIT */
/* Panels in fours, for instruction sets that multiply four elements of a row at a time: all that matmul_panel_neon.h
 * asks for but unit_dot. Included by matmul_neon.c and matmul_dotprod.c alone. */
#ifndef SP_TENSOR_PANEL_FOURS_NEON_H
#define SP_TENSOR_PANEL_FOURS_NEON_H

#if defined(__aarch64__)

#include "tensor/neon.h"

/* Four elements of each of four rows, then the next four elements. */
static inline void store_16(int8_t *to, int8x16_t r0, int8x16_t r1, int8x16_t r2, int8x16_t r3)
{
    fours_s32 t = transpose(vreinterpretq_s32_s8(r0), vreinterpretq_s32_s8(r1), vreinterpretq_s32_s8(r2),
                            vreinterpretq_s32_s8(r3));
    for (int i = 0; i < 4; i++) vst1q_s8(to + 16 * i, vreinterpretq_s8_s32(t.v[i]));
}

/* Weight rows in lanes: an activation row each. */
typedef struct unit {
    int32x4_t a, b;
} unit;

static inline unit unit_mla(unit u, unit v, int32x4_t scale)
{
    return (unit){vmlaq_s32(u.a, v.a, scale), vmlaq_s32(u.b, v.b, scale)};
}

static inline unit unit_rows(unit u)
{
    return u;
}

#endif
#endif
