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

/* Panel: four elements of each of four rows, then the next four elements. */
static inline void store_16(int8_t *to, int8x16_t r0, int8x16_t r1, int8x16_t r2, int8x16_t r3)
{
    store_fours(to, r0, r1, r2, r3);
}

/* Weight rows in lanes: an activation row each. */
typedef struct unit {
    int32x4_t a, b;
} unit;

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

static inline unit unit_mla(unit u, unit v, int32x4_t scale)
{
    return (unit){vmlaq_s32(u.a, v.a, scale), vmlaq_s32(u.b, v.b, scale)};
}

static inline unit unit_rows(unit u)
{
    return u;
}

#include "tensor/matmul_panel_neon.h"

#define MATMUL(type, dtype)                                                                                  \
    static void matmul_##type##_dotprod(const sp_matmul *m)                                                  \
    {                                                                                                        \
        if (m->n_x <= FEW_MAX)                                                                               \
            few_##type(m);                                                                                   \
        else                                                                                                 \
            panels_##type(m);                                                                                \
    }

QUANT_FORMATS(MATMUL)

#define SET_MATMUL(type, dtype) k->matmul[dtype] = matmul_##type##_dotprod;

void sp_fill_matmul_dotprod(sp_kernels *k)
{
    QUANT_FORMATS(SET_MATMUL)
}

#define FEW_OF(type, dtype) [dtype] = few_##type,

void sp_matmul_few_dotprod(sp_dtype dtype, const sp_matmul *m)
{
    static const sp_matmul_fn few[SP_DTYPE_COUNT] = {QUANT_FORMATS(FEW_OF)};
    few[dtype](m);
}

#endif
