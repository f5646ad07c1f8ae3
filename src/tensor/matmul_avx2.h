/* SPDX-License-Identifier: MIT */
/* AVX2 and AVX-VNNI matrix products of the quantised formats, bit for bit those of quant_scalar.c: one
 * description per format, and the rows of the kernel table. Included by matmul_avx2.c and matmul_avxvnni.c alone. */
#ifndef SP_TENSOR_MATMUL_AVX2_H
#define SP_TENSOR_MATMUL_AVX2_H

#include "tensor/load_32_avx2.h"
#include "tensor/load_iq_avx2.h"
#include "tensor/load_k_avx2.h"
#include "tensor/matmul_few_avx2.h"
#include "tensor/matmul_panel_avx2.h"

#if defined(__AVX2__)

/* From so many activation rows on, panels are worth unpacking. */
#define MANY_X 5

/* Steps: maddubs of unsigned u < 2^bits and x gives pairs of up to 254 u, of w and biased x up to 510 |w|; so many
 * of them fit into a word. Groups are of 8 or 4 fours. */
PANEL_32(u4, 8, PAIR_UNSIGNED, 1)
PANEL_32(u5, 4, PAIR_UNSIGNED, 1)
PANEL_32(s4, 8, PAIR_BIASED, 0)
PANEL_32(s5, 4, PAIR_BIASED, 0)
PANEL_32(s8, 1, PAIR_SIGNED, 0)
PANEL_256(u2_k, 4, 4, PAIR_UNSIGNED, 1, 0)
PANEL_256(u3_k, 4, 4, PAIR_UNSIGNED, 0, 1)
PANEL_256(u4_k, 8, 8, PAIR_UNSIGNED, 1, 0)
PANEL_256(u5_k, 8, 4, PAIR_UNSIGNED, 1, 0)
PANEL_256(u6_k, 4, 2, PAIR_UNSIGNED, 0, 1)
PANEL_256(s8_k, 8, 1, PAIR_SIGNED, 0, 0)
PANEL_256(s5_k, 4, 4, PAIR_BIASED, 0, 0) /* |w| <= 16 */
PANEL_256(s7_k, 4, 1, PAIR_BIASED, 0, 0) /* |w| <= 64 */

#define MATMUL_32(type, m_offset, pairs, kind, ...)                                                          \
    static void matmul_##type(const sp_matmul *m)                                                            \
    {                                                                                                        \
        static const format32 f = {.load = load_##type,                                                      \
                                   .bytes = (int)sizeof(sp_block_##type),                                    \
                                   .m_at = m_offset,                                                         \
                                   .pair = pairs,                                                            \
                                   .start = start_##kind,                                                    \
                                   .add = add_##kind,                                                        \
                                   __VA_ARGS__};                                                             \
        if (m->n_x < MANY_X)                                                                                 \
            multiply_few_32(m, &f);                                                                          \
        else                                                                                                 \
            multiply_many_32(m, &f);                                                                         \
    }

#define MATMUL_256(type, scales_fn, pairs, kind, ...)                                                        \
    static void matmul_##type(const sp_matmul *m)                                                            \
    {                                                                                                        \
        static const format256 f = {.load = load_##type,                                                     \
                                    .scales = scales_fn,                                                     \
                                    .bytes = (int)sizeof(sp_block_##type),                                   \
                                    .pair = pairs,                                                           \
                                    .start = start_##kind,                                                   \
                                    .add = add_##kind,                                                       \
                                    __VA_ARGS__};                                                            \
        if (m->n_x < MANY_X)                                                                                 \
            multiply_few_256(m, &f);                                                                         \
        else                                                                                                 \
            multiply_many_256(m, &f);                                                                        \
    }

MATMUL_32(q4_0, 0, PAIR_SIGNED, s4, .nibbles_at = 2, .bias = 8)
MATMUL_32(q4_1, 2, PAIR_UNSIGNED, u4, .nibbles_at = 4)
MATMUL_32(q5_0, 0, PAIR_SIGNED, s5, .bias = 0)
MATMUL_32(q5_1, 2, PAIR_UNSIGNED, u5, .bias = 0)
MATMUL_32(q8_0, 0, PAIR_SIGNED, s8, .bias = 0)
MATMUL_32(iq4_nl, 0, PAIR_SIGNED, s8, .bias = 0)
MATMUL_256(q2_k, scales_q2_k, PAIR_UNSIGNED, u2_k, .mins = mins_q2_k, .d_at = 80, .dmin_at = 82, .factor = 1)
MATMUL_256(q3_k, scales_q3_k, PAIR_UNSIGNED, u3_k, .offset = 4, .d_at = 108, .factor = 1)
MATMUL_256(q4_k, scales_k4, PAIR_UNSIGNED, u4_k, .mins = mins_k4, .dmin_at = 2, .factor = 1)
MATMUL_256(q5_k, scales_k4, PAIR_UNSIGNED, u5_k, .mins = mins_k4, .dmin_at = 2, .factor = 1)
MATMUL_256(q6_k, scales_q6_k, PAIR_UNSIGNED, u6_k, .offset = 32, .d_at = 208, .factor = 1)
MATMUL_256(iq4_xs, scales_iq4_xs, PAIR_SIGNED, s8_k, .factor = 1)
MATMUL_256(iq1_s, scales_iq1_s, PAIR_SIGNED, s5_k, .factor = 0.125f)
MATMUL_256(iq1_m, scales_iq1_m, PAIR_SIGNED, s5_k, .load_d = d_iq1_m, .factor = 0.125f)
MATMUL_256(iq2_xxs, scales_iq2_xxs, PAIR_SIGNED, s7_k, .factor = 0.125f)
MATMUL_256(iq2_xs, scales_iq2_xs, PAIR_SIGNED, s7_k, .factor = 0.125f)
MATMUL_256(iq2_s, scales_iq2_s, PAIR_SIGNED, s7_k, .factor = 0.125f)
MATMUL_256(iq3_xxs, scales_iq3_xxs, PAIR_SIGNED, s7_k, .factor = 0.25f)
MATMUL_256(iq3_s, scales_iq3_s, PAIR_SIGNED, s5_k, .factor = 1)

static void fill_matmuls(sp_kernels *k)
{
    k->matmul[SP_DTYPE_Q4_0] = matmul_q4_0;
    k->matmul[SP_DTYPE_Q4_1] = matmul_q4_1;
    k->matmul[SP_DTYPE_Q5_0] = matmul_q5_0;
    k->matmul[SP_DTYPE_Q5_1] = matmul_q5_1;
    k->matmul[SP_DTYPE_Q8_0] = matmul_q8_0;
    k->matmul[SP_DTYPE_IQ4_NL] = matmul_iq4_nl;
    k->matmul[SP_DTYPE_Q2_K] = matmul_q2_k;
    k->matmul[SP_DTYPE_Q3_K] = matmul_q3_k;
    k->matmul[SP_DTYPE_Q4_K] = matmul_q4_k;
    k->matmul[SP_DTYPE_Q5_K] = matmul_q5_k;
    k->matmul[SP_DTYPE_Q6_K] = matmul_q6_k;
    k->matmul[SP_DTYPE_IQ4_XS] = matmul_iq4_xs;
    k->matmul[SP_DTYPE_IQ1_S] = matmul_iq1_s;
    k->matmul[SP_DTYPE_IQ1_M] = matmul_iq1_m;
    k->matmul[SP_DTYPE_IQ2_XXS] = matmul_iq2_xxs;
    k->matmul[SP_DTYPE_IQ2_XS] = matmul_iq2_xs;
    k->matmul[SP_DTYPE_IQ2_S] = matmul_iq2_s;
    k->matmul[SP_DTYPE_IQ3_XXS] = matmul_iq3_xxs;
    k->matmul[SP_DTYPE_IQ3_S] = matmul_iq3_s;
}

#endif
#endif
