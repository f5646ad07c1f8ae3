/* SPDX-License-Identifier: MIT */
/* Matmul of the quantised formats for arm64 processors with products of byte matrices (smmla: Neoverse V1 and N2,
 * Cortex-A510 and -A710, Apple M2 and later): bit for bit quant_scalar.c. One instruction multiplies two rows of
 * eight bytes with two others and adds 32 products. Few activation rows are left to the dotprod rows, which
 * every such processor has (kernels.c). */
#include "tensor/kernel_rows.h"

#if defined(__aarch64__)

#include "tensor/blocks_neon.h"

static inline int64x2_t as_s64(int8x16_t v)
{
    return vreinterpretq_s64_s8(v);
}

/* Eight elements of two rows. */
static inline int8x16_t pair_low(int8x16_t a, int8x16_t b)
{
    return vreinterpretq_s8_s64(vzip1q_s64(as_s64(a), as_s64(b)));
}

static inline int8x16_t pair_high(int8x16_t a, int8x16_t b)
{
    return vreinterpretq_s8_s64(vzip2q_s64(as_s64(a), as_s64(b)));
}

/* Panel: eight elements of rows 0 and 1, of rows 2 and 3, then the next eight elements. */
static inline void store_16(int8_t *to, int8x16_t r0, int8x16_t r1, int8x16_t r2, int8x16_t r3)
{
    vst1q_s8(to, pair_low(r0, r1));
    vst1q_s8(to + 16, pair_low(r2, r3));
    vst1q_s8(to + 32, pair_high(r0, r1));
    vst1q_s8(to + 48, pair_high(r2, r3));
}

/* a: weight rows 0 and 1 with the first activation row, then with the second; b: weight rows 2 and 3. */
typedef struct unit {
    int32x4_t a, b;
} unit;

ALWAYS_INLINE unit unit_dot(unit u, const int8x16_t w[4], int8x16_t x0, int8x16_t x1, bool wide)
{
    int8x16_t low = pair_low(x0, x1), high = pair_high(x0, x1);
    (void)wide;
    u.a = vmmlaq_s32(vmmlaq_s32(u.a, low, w[0]), high, w[2]);
    u.b = vmmlaq_s32(vmmlaq_s32(u.b, low, w[1]), high, w[3]);
    return u;
}

static inline int32x4_t join_low(int32x4_t a, int32x4_t b)
{
    return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}

static inline int32x4_t join_high(int32x4_t a, int32x4_t b)
{
    return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}

static inline unit unit_mla(unit u, unit v, int32x4_t scale)
{
    return (unit){vmlaq_s32(u.a, v.a, join_low(scale, scale)), vmlaq_s32(u.b, v.b, join_high(scale, scale))};
}

static inline unit unit_rows(unit u)
{
    return (unit){join_low(u.a, u.b), join_high(u.a, u.b)};
}

#include "tensor/matmul_panel_neon.h"

#define FEW(type, dtype)                                                                                     \
    static void few_##type(const sp_matmul *m)                                                               \
    {                                                                                                        \
        sp_kernels_for(SP_ISA_DOTPROD)->matmul[dtype](m);                                                    \
    }

QUANT_FORMATS(FEW)
QUANT_FORMATS(MATMUL)

void sp_fill_matmul_i8mm(sp_kernels *k)
{
    QUANT_FORMATS(SET_MATMUL)
}

#endif
