/* SPDX-License-Identifier: MIT */
/* Matmul of the quantised formats with baseline NEON, for arm64 processors without dot products (Cortex-A53,
 * -A57, -A72): bit for bit quant_scalar.c. Products of bytes are added in 16 bits as long as they cannot
 * overflow there. */
#include "tensor/kernel_rows.h"

#if defined(__aarch64__)

#include "tensor/blocks_neon.h"

/* Two products of |w| <= 128 and |x| <= 127 fit into 16 bits. */
static inline int32x4_t dot_16(int8x16_t w, int8x16_t x)
{
    int16x8_t sum = vmlal_high_s8(vmull_s8(vget_low_s8(w), vget_low_s8(x)), w, x);
    return vpaddlq_s16(sum);
}

/* Four products of |w| <= 64 do. */
ALWAYS_INLINE int32x4_t dot_32(bytes_32 w, const int8_t *x, bool wide)
{
    int8x16_t a = vld1q_s8(x), b = vld1q_s8(x + 16);
    int16x8_t sum = vmlal_high_s8(vmull_s8(vget_low_s8(w.a), vget_low_s8(a)), w.a, a);
    if (wide) {
        int16x8_t rest = vmlal_high_s8(vmull_s8(vget_low_s8(w.b), vget_low_s8(b)), w.b, b);
        return vpadalq_s16(vpaddlq_s16(sum), rest);
    }
    return vpaddlq_s16(vmlal_high_s8(vmlal_s8(sum, vget_low_s8(w.b), vget_low_s8(b)), w.b, b));
}

#include "tensor/matmul_few_neon.h"
#include "tensor/panel_fours_neon.h"

/* x, its four fours each in all lanes. Every product of four elements of four rows is 16 products in 16-bit
 * lanes: rows 0 and 1 in the low register, 2 and 3 in the high one. Eight products of |w| <= 32 fit, of which
 * pairs of lanes are four each. */
ALWAYS_INLINE int32x4_t add_narrow(int32x4_t sum, const int8x16_t w[4], const int8x16_t x[4])
{
    int16x8_t low = vmull_s8(vget_low_s8(w[0]), vget_low_s8(x[0])), high = vmull_high_s8(w[0], x[0]);
    UNROLL for (int i = 1; i < 4; i++)
    {
        low = vmlal_s8(low, vget_low_s8(w[i]), vget_low_s8(x[i]));
        high = vmlal_high_s8(high, w[i], x[i]);
    }
    return vpadalq_s16(sum, vpaddq_s16(low, high));
}

ALWAYS_INLINE int32x4_t add_wide(int32x4_t sum, const int8x16_t w[4], const int8x16_t x[4])
{
    int32x4_t low = vdupq_n_s32(0), high = low;
    UNROLL for (int i = 0; i < 4; i += 2)
    {
        int16x8_t l = vmull_s8(vget_low_s8(w[i]), vget_low_s8(x[i])), h = vmull_high_s8(w[i], x[i]);
        l = vmlal_s8(l, vget_low_s8(w[i + 1]), vget_low_s8(x[i + 1]));
        low = vpadalq_s16(low, l);
        high = vpadalq_s16(high, vmlal_high_s8(h, w[i + 1], x[i + 1]));
    }
    return vaddq_s32(sum, vpaddq_s32(low, high));
}

ALWAYS_INLINE int32x4_t add_products_16(int32x4_t sum, const int8x16_t w[4], int8x16_t x, bool wide)
{
    int32x4_t v = vreinterpretq_s32_s8(x);
    const int8x16_t fours[4] = {
        vreinterpretq_s8_s32(vdupq_laneq_s32(v, 0)), vreinterpretq_s8_s32(vdupq_laneq_s32(v, 1)),
        vreinterpretq_s8_s32(vdupq_laneq_s32(v, 2)), vreinterpretq_s8_s32(vdupq_laneq_s32(v, 3))};
    return wide ? add_wide(sum, w, fours) : add_narrow(sum, w, fours);
}

ALWAYS_INLINE unit unit_dot(unit u, const int8x16_t w[4], int8x16_t x0, int8x16_t x1, bool wide)
{
    return (unit){add_products_16(u.a, w, x0, wide), add_products_16(u.b, w, x1, wide)};
}

#include "tensor/matmul_panel_neon.h"

QUANT_FORMATS(MATMUL)

void sp_fill_matmul_neon(sp_kernels *k)
{
    QUANT_FORMATS(SET_MATMUL)
}

#endif
