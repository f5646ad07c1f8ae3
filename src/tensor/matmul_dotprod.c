/* SPDX-License-Identifier: MIT */
/* Matmul of the quantised formats for arm64 processors with dot products (sdot: Cortex-A55, -A76, Neoverse N1,
 * Apple M1 and later): bit for bit quant_scalar.c. One instruction multiplies and adds 16 bytes. */
#include "tensor/kernel_rows.h"

#if defined(__aarch64__)

#include "tensor/blocks_neon.h"

static inline int32x4_t dot_16(int8x16_t w, int8x16_t x)
{
    return vdotq_s32(vdupq_n_s32(0), w, x);
}

static inline int32x4_t dot_32(bytes_32 w, const int8_t *x, bool wide)
{
    (void)wide;
    return vdotq_s32(vdotq_s32(vdupq_n_s32(0), w.a, vld1q_s8(x)), w.b, vld1q_s8(x + 16));
}

#include "tensor/matmul_few_neon.h"
#include "tensor/panel_fours_neon.h"

#define DOT_LANE(i)                                                                                          \
    u.a = vdotq_laneq_s32(u.a, w[i], x0, i);                                                                 \
    u.b = vdotq_laneq_s32(u.b, w[i], x1, i)

ALWAYS_INLINE unit unit_dot(unit u, const int8x16_t w[4], int8x16_t x0, int8x16_t x1, bool wide)
{
    (void)wide;
    DOT_LANE(0);
    DOT_LANE(1);
    DOT_LANE(2);
    DOT_LANE(3);
    return u;
}

#include "tensor/matmul_panel_neon.h"

QUANT_FORMATS(MATMUL)

void sp_fill_matmul_dotprod(sp_kernels *k)
{
    QUANT_FORMATS(SET_MATMUL)
}

#endif
