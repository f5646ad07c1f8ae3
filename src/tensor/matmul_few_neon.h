/* SPDX-License-Identifier: MIT */
/* Matmul of up to FEW_MAX activation rows (decoding) for arm64. Four weight rows go together, block by block;
 * each register of unpacked weights serves all activation rows, and the four rows' sums stand in the lanes of
 * one register when they become float. Weights are read once, in order.
 *
 * Included by a file that defines dot_16 and dot_32 (the products of 16 or 32 weights and activations as four
 * integers, in whatever order) for its instruction set. `wide` says that |weight| may pass 64; `has_min`,
 * `halves` (a scale for each 16 elements, not 32) and the number of activation rows are constants too. */
#ifndef SP_TENSOR_MATMUL_FEW_NEON_H
#define SP_TENSOR_MATMUL_FEW_NEON_H

#if defined(__aarch64__)

#include "tensor/blocks_neon.h"
#include "tensor/matmul_neon.h"

typedef bytes_32 (*load_fn)(const void *block);
typedef void (*open_fn)(const void *block, head_256 *h);
typedef bytes_32 (*chunk_fn)(const void *block, const head_256 *h, int c);

/* The sums of four registers in four lanes. */
static inline int32x4_t add_across(const int32x4_t v[4])
{
    return vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]));
}

/* All registers are stored before the first call, so that the loop over blocks keeps them. */
ALWAYS_INLINE void store_rows(const sp_matmul *m, int64_t r, const int n_x, const float32x4_t *y)
{
    float *to = m->y + r, four[FEW_MAX][4];
    if (m->n_rows - r >= 4) {
        UNROLL for (int t = 0; t < n_x; t++) vst1q_f32(to + t * m->y_stride, y[t]);
        return;
    }
    UNROLL for (int t = 0; t < n_x; t++) vst1q_f32(four[t], y[t]);
    for (int t = 0; t < n_x; t++) memcpy(to + t * m->y_stride, four[t], (size_t)(m->n_rows - r) * sizeof *to);
}

ALWAYS_INLINE void few_32(const sp_matmul *m, const int n_x, load_fn load, size_t bytes, bool has_min,
                          bool wide)
{
    for (int64_t r = 0; r < m->n_rows; r += 4) {
        float32x4_t y[FEW_MAX];
        const uint8_t *w[4];
        point_at_rows(m, r, 0, w);
        UNROLL for (int t = 0; t < n_x; t++) y[t] = vdupq_n_f32(0);
        for (size_t i = 0; i < m->n / 32; i++) {
            int32x4_t sum[FEW_MAX][4];
            float32x4_t d = load_halves(w, 0), min = has_min ? load_halves(w, 2) : d;
            UNROLL for (int j = 0; j < 4; j++)
            {
                bytes_32 q = load(w[j]);
                w[j] += bytes;
                UNROLL for (int t = 0; t < n_x; t++) sum[t][j] = dot_32(q, act_q8(m, t)[i].q, wide);
            }
            UNROLL for (int t = 0; t < n_x; t++)
            {
                const sp_act_q8 *x = act_q8(m, t) + i;
                y[t] = vfmaq_f32(y[t], vmulq_n_f32(d, x->d), vcvtq_f32_s32(add_across(sum[t])));
                if (has_min) y[t] = vfmaq_n_f32(y[t], min, x->s);
            }
        }
        store_rows(m, r, n_x, y);
    }
}

/* min * (sum of the group's activations), as four integers. */
ALWAYS_INLINE int32x4_t dot_mins(const int16_t *min, const int16_t sums[16], bool halves)
{
    int16x8_t m = vld1q_s16(min), s0 = vld1q_s16(sums), s1 = vld1q_s16(sums + 8);
    int16x8_t s = halves ? s0 : vpaddq_s16(s0, s1);
    int32x4_t sum = vmlal_high_s16(vmull_s16(vget_low_s16(m), vget_low_s16(s)), m, s);
    if (halves) {
        int16x8_t m1 = vld1q_s16(min + 8);
        sum = vmlal_high_s16(vmlal_s16(sum, vget_low_s16(m1), vget_low_s16(s1)), m1, s1);
    }
    return sum;
}

/* One weight row's block with all activation rows: sum[t][j]. */
ALWAYS_INLINE void few_block(const sp_matmul *m, const int n_x, size_t i, int j, const uint8_t *block,
                             const head_256 *h, chunk_fn chunk, int32x4_t (*sum)[4], bool halves, bool wide)
{
    int32x4_t total[FEW_MAX];
    UNROLL for (int t = 0; t < n_x; t++) total[t] = vdupq_n_s32(0);
    UNROLL for (int c = 0; c < 8; c++)
    {
        bytes_32 q = chunk(block, h, c);
        UNROLL for (int t = 0; t < n_x; t++)
        {
            const int8_t *x = act_q8k(m, t)[i].q + 32 * c;
            if (halves) {
                total[t] = vmlaq_n_s32(total[t], dot_16(q.a, vld1q_s8(x)), h->scale[2 * c]);
                total[t] = vmlaq_n_s32(total[t], dot_16(q.b, vld1q_s8(x + 16)), h->scale[2 * c + 1]);
            } else {
                total[t] = vmlaq_n_s32(total[t], dot_32(q, x, wide), h->scale[c]);
            }
        }
    }
    UNROLL for (int t = 0; t < n_x; t++) sum[t][j] = total[t];
}

ALWAYS_INLINE void few_256(const sp_matmul *m, const int n_x, open_fn open, chunk_fn chunk, size_t bytes,
                           bool has_min, bool halves, bool wide)
{
    for (int64_t r = 0; r < m->n_rows; r += 4) {
        float32x4_t y[FEW_MAX];
        const uint8_t *w[4];
        point_at_rows(m, r, 0, w);
        UNROLL for (int t = 0; t < n_x; t++) y[t] = vdupq_n_f32(0);
        for (size_t i = 0; i < m->n / 256; i++) {
            int32x4_t sum[FEW_MAX][4], mins[FEW_MAX][4];
            float d[4], dmin[4];
            for (int j = 0; j < 4; j++) {
                head_256 h;
                open(w[j], &h);
                d[j] = h.dec.d;
                dmin[j] = h.dec.dmin;
                few_block(m, n_x, i, j, w[j], &h, chunk, sum, halves, wide);
                UNROLL for (int t = 0; has_min && t < n_x; t++) mins[t][j] =
                    dot_mins(h.dec.min, act_q8k(m, t)[i].sums, halves);
                w[j] += bytes;
            }
            UNROLL for (int t = 0; t < n_x; t++)
            {
                float dx = act_q8k(m, t)[i].d;
                y[t] = vfmaq_f32(y[t], vmulq_n_f32(vld1q_f32(d), dx), vcvtq_f32_s32(add_across(sum[t])));
                if (has_min)
                    y[t] =
                        vfmsq_f32(y[t], vmulq_n_f32(vld1q_f32(dmin), dx), vcvtq_f32_s32(add_across(mins[t])));
            }
        }
        store_rows(m, r, n_x, y);
    }
}

#define FEW_32(type, has_min, wide)                                                                          \
    static void few_##type(const sp_matmul *m)                                                               \
    {                                                                                                        \
        const size_t bytes = sizeof(sp_block_##type);                                                        \
        if (m->n_x == 1) few_32(m, 1, load_##type, bytes, has_min, wide);                                    \
        if (m->n_x == 2) few_32(m, 2, load_##type, bytes, has_min, wide);                                    \
        if (m->n_x == 3) few_32(m, 3, load_##type, bytes, has_min, wide);                                    \
    }

#define FEW_256(type, chunk, has_min, halves, wide)                                                          \
    static void few_##type(const sp_matmul *m)                                                               \
    {                                                                                                        \
        const size_t bytes = sizeof(sp_block_##type);                                                        \
        if (m->n_x == 1) few_256(m, 1, open_##type, chunk, bytes, has_min, halves, wide);                    \
        if (m->n_x == 2) few_256(m, 2, open_##type, chunk, bytes, has_min, halves, wide);                    \
        if (m->n_x == 3) few_256(m, 3, open_##type, chunk, bytes, has_min, halves, wide);                    \
    }

FEW_32(q4_0, false, false)
FEW_32(q4_1, true, false)
FEW_32(q5_0, false, false)
FEW_32(q5_1, true, false)
FEW_32(q8_0, false, true)
FEW_32(iq4_nl, false, true)
FEW_256(q2_k, chunk_q2_k, true, true, false)
FEW_256(q3_k, chunk_q3_k, false, true, false)
FEW_256(q4_k, chunk_q4_k, true, false, false)
FEW_256(q5_k, chunk_q5_k, true, false, false)
FEW_256(q6_k, chunk_q6_k, false, true, false)
FEW_256(iq4_xs, chunk_iq4_xs, false, false, true)
FEW_256(iq1_s, chunk_decoded, false, false, false)
FEW_256(iq1_m, chunk_decoded, false, true, false)
FEW_256(iq2_xxs, chunk_decoded, false, false, false)
FEW_256(iq2_xs, chunk_decoded, false, true, false)
FEW_256(iq2_s, chunk_decoded, false, true, false)
FEW_256(iq3_xxs, chunk_decoded, false, false, false)
FEW_256(iq3_s, chunk_decoded, false, false, false)

#endif
#endif
