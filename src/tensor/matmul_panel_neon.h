/* SPDX-License-Identifier: MIT */
/* Matmul of many activation rows (prompts) for arm64. Blocks of up to PANEL_ROWS weight rows are unpacked to
 * signed bytes in a panel on the stack, in the order in which the instruction set's product wants them; then
 * tiles of four activation rows by eight weight rows run through it, weight rows in lanes. Sums of a tile stay
 * in registers within a panel and in the result from panel to panel. Only filling differs per format.
 *
 * Included by a file that defines, for its instruction set (rows: those of four weight rows; 16: elements):
 *   store_16(to, rows)          16 elements of four rows into the 64 bytes of a panel
 *   unit                        sums of two activation rows with four weight rows
 *   unit_dot(u, w, x0, x1, wide)  adds the products of 16 elements; wide: |weight| may pass 32
 *   unit_mla(u, v, scale)       u + v * scale of each weight row
 *   unit_rows(u)                the sums with weight rows in lanes, a register for each activation row
 *
 * Untimed: written and checked under emulation. Counted instead, in what gcc 12 makes of a tile's 1,024 products
 * of 32 elements: 128 instructions for Q4_0 with sdot, 114 with smmla, 273 without; 108, 88 and 265 for Q4_K,
 * whose blocks of 256 add some 200 for mins and floats. Start at run_panels. */
#ifndef SP_TENSOR_MATMUL_PANEL_NEON_H
#define SP_TENSOR_MATMUL_PANEL_NEON_H

#if defined(__aarch64__)

#include "tensor/blocks_neon.h"
#include "tensor/matmul_neon.h"

/* 16 KiB of weights, half of a small first-level cache. */
#define PANEL_ROWS 32
#define PANEL_K 512

typedef struct panel {
    int8_t q[PANEL_ROWS / 8][PANEL_K / 16][2][64]; /* eight rows; 16 elements; four rows */
    int32_t scale[PANEL_K / 16][PANEL_ROWS]; /* blocks of 256: of each group of 16 or 32, 16 slots a block */
    int16_t min[PANEL_K / 16][PANEL_ROWS];   /* likewise */
    float d[PANEL_K / 32][PANEL_ROWS],
        dmin[PANEL_K / 32][PANEL_ROWS]; /* of each block; formats of 32: d, m */
} panel;

/* Where a tile reads and adds: four activation rows from the panel's first block on, four rows of results. */
typedef struct tile_rows {
    const void *x[4];
    float *y[4];
    bool first; /* the results start from 0 */
} tile_rows;

typedef struct panel_format {
    size_t block, bytes;                                                /* elements and bytes of a block */
    void (*fill)(panel *p, int quad, int i, const uint8_t *const w[4]); /* block i of four rows */
    void (*run[2])(const panel *p, int eight, int n_blocks, const tile_rows *t); /* one pair of x; two */
} panel_format;

/* --- filling --- */

ALWAYS_INLINE void fill_32(panel *p, int quad, int i, const uint8_t *const w[4],
                           bytes_32 (*load)(const void *), bool has_min)
{
    bytes_32 q[4] = {load(w[0]), load(w[1]), load(w[2]), load(w[3])};
    store_16(p->q[quad / 2][2 * i][quad % 2], q[0].a, q[1].a, q[2].a, q[3].a);
    store_16(p->q[quad / 2][2 * i + 1][quad % 2], q[0].b, q[1].b, q[2].b, q[3].b);
    vst1q_f32(p->d[i] + 4 * quad, load_halves(w, 0));
    if (has_min) vst1q_f32(p->dmin[i] + 4 * quad, load_halves(w, 2));
}

/* n (a multiple of four) scales of four rows, rows into lanes. */
ALWAYS_INLINE void fill_scales(panel *p, int quad, int i, const head_256 h[4], int n)
{
    for (int g = 0; g < n; g += 4) {
        fours_s32 s = transpose(vld1q_s32(h[0].scale + g), vld1q_s32(h[1].scale + g),
                                vld1q_s32(h[2].scale + g), vld1q_s32(h[3].scale + g));
        for (int k = 0; k < 4; k++) vst1q_s32(p->scale[16 * i + g + k] + 4 * quad, s.v[k]);
    }
}

ALWAYS_INLINE void fill_256(panel *p, int quad, int i, const uint8_t *const w[4],
                            void (*open)(const void *, head_256 *),
                            bytes_32 (*chunk)(const void *, const head_256 *, int), bool has_min, bool halves)
{
    const int n_groups = halves ? 16 : 8;
    head_256 h[4];
    for (int j = 0; j < 4; j++) {
        open(w[j], h + j);
        p->d[i][4 * quad + j] = h[j].dec.d;
        p->dmin[i][4 * quad + j] = h[j].dec.dmin;
        for (int g = 0; has_min && g < n_groups; g++) p->min[16 * i + g][4 * quad + j] = h[j].dec.min[g];
    }
    fill_scales(p, quad, i, h, n_groups);
    UNROLL for (int c = 0; c < 8; c++)
    {
        bytes_32 q0 = chunk(w[0], h, c), q1 = chunk(w[1], h + 1, c);
        bytes_32 q2 = chunk(w[2], h + 2, c), q3 = chunk(w[3], h + 3, c);
        store_16(p->q[quad / 2][16 * i + 2 * c][quad % 2], q0.a, q1.a, q2.a, q3.a);
        store_16(p->q[quad / 2][16 * i + 2 * c + 1][quad % 2], q0.b, q1.b, q2.b, q3.b);
    }
}

/* --- tiles: u[pair of activation rows][four weight rows] --- */

ALWAYS_INLINE void clear_units(unit u[2][2], int pairs)
{
    UNROLL for (int k = 0; k < 2 * pairs; k++) u[k / 2][k % 2] = (unit){vdupq_n_s32(0), vdupq_n_s32(0)};
}

/* Adds the products of 16 elements, of which the first is x[t][at]. */
ALWAYS_INLINE void add_products(unit u[2][2], const int8_t w[2][64], const int8_t *const x[4], int at,
                                int pairs, bool wide)
{
    int8x16_t four[2][4];
    UNROLL for (int k = 0; k < 8; k++) four[k / 4][k % 4] = vld1q_s8(w[k / 4] + 16 * (k % 4));
    UNROLL for (int pair = 0; pair < pairs; pair++)
    {
        int8x16_t x0 = vld1q_s8(x[2 * pair] + at), x1 = vld1q_s8(x[2 * pair + 1] + at);
        u[pair][0] = unit_dot(u[pair][0], four[0], x0, x1, wide);
        u[pair][1] = unit_dot(u[pair][1], four[1], x0, x1, wide);
    }
}

ALWAYS_INLINE void load_results(const tile_rows *t, float32x4_t y[4][2], int pairs)
{
    UNROLL for (int k = 0; k < 4 * pairs; k++) y[k / 2][k % 2] =
        t->first ? vdupq_n_f32(0) : vld1q_f32(t->y[k / 2] + 4 * (k % 2));
}

ALWAYS_INLINE void store_results(const tile_rows *t, float32x4_t y[4][2], int pairs)
{
    UNROLL for (int k = 0; k < 4 * pairs; k++) vst1q_f32(t->y[k / 2] + 4 * (k % 2), y[k / 2][k % 2]);
}

ALWAYS_INLINE float32x4_t add_block(float32x4_t y, int32x4_t sum, float32x4_t d, float dx)
{
    return vfmaq_f32(y, vmulq_n_f32(d, dx), vcvtq_f32_s32(sum));
}

ALWAYS_INLINE void run_32(const panel *p, int eight, int n_blocks, const tile_rows *tile, int pairs,
                          bool has_min, bool wide)
{
    float32x4_t y[4][2];
    load_results(tile, y, pairs);
    for (int i = 0; i < n_blocks; i++) {
        const sp_act_q8 *x[4];
        const int8_t *q[4];
        unit u[2][2];
        UNROLL for (int t = 0; t < 2 * pairs; t++)
        {
            x[t] = (const sp_act_q8 *)tile->x[t] + i;
            q[t] = x[t]->q;
        }
        clear_units(u, pairs);
        add_products(u, p->q[eight][2 * i], q, 0, pairs, wide);
        add_products(u, p->q[eight][2 * i + 1], q, 16, pairs, wide);
        UNROLL for (int k = 0; k < 2; k++)
        {
            float32x4_t d = vld1q_f32(p->d[i] + 8 * eight + 4 * k);
            UNROLL for (int pair = 0; pair < pairs; pair++)
            {
                unit sum = unit_rows(u[pair][k]);
                y[2 * pair][k] = add_block(y[2 * pair][k], sum.a, d, x[2 * pair]->d);
                y[2 * pair + 1][k] = add_block(y[2 * pair + 1][k], sum.b, d, x[2 * pair + 1]->d);
            }
            if (!has_min) continue;
            float32x4_t m = vld1q_f32(p->dmin[i] + 8 * eight + 4 * k);
            UNROLL for (int t = 0; t < 2 * pairs; t++) y[t][k] = vfmaq_n_f32(y[t][k], m, x[t]->s);
        }
    }
    store_results(tile, y, pairs);
}

/* sum[t] + min * (sum of the group's activations) for eight groups of four weight rows. */
ALWAYS_INLINE void add_mins_8(int32x4_t sum[4], const int16_t *min, const int16x8_t s[4], int n_x)
{
#define ADD_GROUP(g)                                                                                         \
    do {                                                                                                     \
        int16x4_t m = vld1_s16(min + (g)*PANEL_ROWS);                                                        \
        UNROLL for (int t = 0; t < n_x; t++) sum[t] = vmlal_laneq_s16(sum[t], m, s[t], g);                   \
    } while (0)
    ADD_GROUP(0);
    ADD_GROUP(1);
    ADD_GROUP(2);
    ADD_GROUP(3);
    ADD_GROUP(4);
    ADD_GROUP(5);
    ADD_GROUP(6);
    ADD_GROUP(7);
#undef ADD_GROUP
}

ALWAYS_INLINE void subtract_mins(float32x4_t y[4][2], const panel *p, int i, int row, int k,
                                 const sp_act_q8k *const x[4], int n_x, bool halves)
{
    int16x8_t s[4];
    int32x4_t sum[4];
    float32x4_t dmin = vld1q_f32(p->dmin[i] + row);
    UNROLL for (int t = 0; t < n_x; t++)
    {
        int16x8_t s0 = vld1q_s16(x[t]->sums);
        s[t] = halves ? s0 : vpaddq_s16(s0, vld1q_s16(x[t]->sums + 8));
        sum[t] = vdupq_n_s32(0);
    }
    add_mins_8(sum, p->min[16 * i] + row, s, n_x);
    if (halves) {
        UNROLL for (int t = 0; t < n_x; t++) s[t] = vld1q_s16(x[t]->sums + 8);
        add_mins_8(sum, p->min[16 * i + 8] + row, s, n_x);
    }
    UNROLL for (int t = 0; t < n_x; t++) y[t][k] =
        vfmsq_f32(y[t][k], vmulq_n_f32(dmin, x[t]->d), vcvtq_f32_s32(sum[t]));
}

ALWAYS_INLINE void run_256(const panel *p, int eight, int n_blocks, const tile_rows *tile, int pairs,
                           bool has_min, bool halves, bool wide)
{
    const int n_groups = halves ? 16 : 8, length = halves ? 16 : 32;
    float32x4_t y[4][2];
    load_results(tile, y, pairs);
    for (int i = 0; i < n_blocks; i++) {
        const sp_act_q8k *x[4];
        const int8_t *q[4];
        unit sum[2][2];
        UNROLL for (int t = 0; t < 2 * pairs; t++)
        {
            x[t] = (const sp_act_q8k *)tile->x[t] + i;
            q[t] = x[t]->q;
        }
        clear_units(sum, pairs);
        for (int g = 0; g < n_groups; g++) {
            const int8_t(*w)[2][64] = p->q[eight] + 16 * i + g * length / 16;
            const int32_t *scale = p->scale[16 * i + g] + 8 * eight;
            unit u[2][2];
            clear_units(u, pairs);
            add_products(u, w[0], q, g * length, pairs, wide);
            if (!halves) add_products(u, w[1], q, g * length + 16, pairs, wide);
            UNROLL for (int k = 0; k < 2 * pairs; k++) sum[k / 2][k % 2] =
                unit_mla(sum[k / 2][k % 2], u[k / 2][k % 2], vld1q_s32(scale + 4 * (k % 2)));
        }
        UNROLL for (int k = 0; k < 2; k++)
        {
            int row = 8 * eight + 4 * k;
            float32x4_t d = vld1q_f32(p->d[i] + row);
            UNROLL for (int pair = 0; pair < pairs; pair++)
            {
                unit v = unit_rows(sum[pair][k]);
                y[2 * pair][k] = add_block(y[2 * pair][k], v.a, d, x[2 * pair]->d);
                y[2 * pair + 1][k] = add_block(y[2 * pair + 1][k], v.b, d, x[2 * pair + 1]->d);
            }
            if (has_min) subtract_mins(y, p, i, row, k, x, 2 * pairs, halves);
        }
    }
    store_results(tile, y, pairs);
}

/* Each kind of tile twice: one pair of activation rows, and two. */
#define TILES(name, body, ...)                                                                               \
    static void run_##name##_2(const panel *p, int eight, int n_blocks, const tile_rows *t)                  \
    {                                                                                                        \
        body(p, eight, n_blocks, t, 1, __VA_ARGS__);                                                         \
    }                                                                                                        \
    static void run_##name##_4(const panel *p, int eight, int n_blocks, const tile_rows *t)                  \
    {                                                                                                        \
        body(p, eight, n_blocks, t, 2, __VA_ARGS__);                                                         \
    }

TILES(plain_32, run_32, false, false)
TILES(min_32, run_32, true, false)
TILES(wide_32, run_32, false, true)
TILES(min_16s, run_256, true, true, false)
TILES(plain_16s, run_256, false, true, false)
TILES(wide_16s, run_256, false, true, true)
TILES(min_32s, run_256, true, false, false)
TILES(plain_32s, run_256, false, false, false)
TILES(wide_32s, run_256, false, false, true)

/* --- the whole product --- */

static void fill_panel(panel *p, const sp_matmul *m, const panel_format *f, int64_t r, int n_rows, size_t k,
                       int n_blocks)
{
    for (int quad = 0; quad < n_rows / 4; quad++) {
        const uint8_t *w[4];
        point_at_rows(m, r + 4 * quad, k / f->block * f->bytes, w);
        for (int i = 0; i < n_blocks; i++) {
            f->fill(p, quad, i, w);
            for (int j = 0; j < 4; j++) w[j] += f->bytes;
        }
    }
}

/* Eight weight rows from row r on with up to four activation rows; results that are past an edge go elsewhere. */
static void run_tile(const panel *p, const sp_matmul *m, const panel_format *f, int eight, int64_t r,
                     int64_t t, size_t k, int n_blocks)
{
    float spare[4][8];
    size_t at = f->block == 32 ? k / 32 * sizeof(sp_act_q8) : k / 256 * sizeof(sp_act_q8k);
    int n_x = (int)(m->n_x - t < 4 ? m->n_x - t : 4), n_rows = (int)(m->n_rows - r < 8 ? m->n_rows - r : 8);
    tile_rows tile = {.first = k == 0};
    for (int j = 0; j < 4; j++) {
        float *y = m->y + (t + j) * m->y_stride + r;
        tile.x[j] = (const char *)m->x + (size_t)(j < n_x ? t + j : t) * m->x_stride + at;
        tile.y[j] = j < n_x && n_rows == 8 ? y : spare[j];
        if (n_rows < 8 && j < n_x && k > 0) memcpy(spare[j], y, (size_t)n_rows * sizeof *y);
    }
    f->run[n_x > 2](p, eight, n_blocks, &tile);
    for (int j = 0; n_rows < 8 && j < n_x; j++)
        memcpy(m->y + (t + j) * m->y_stride + r, spare[j], (size_t)n_rows * sizeof(float));
}

static void run_panels(const sp_matmul *m, const panel_format *f)
{
    panel p;
    for (int64_t r = 0; r < m->n_rows; r += PANEL_ROWS) {
        int64_t left = m->n_rows - r;
        int n_rows = left < PANEL_ROWS ? (int)(left + 7) / 8 * 8 : PANEL_ROWS;
        for (size_t k = 0; k < m->n; k += PANEL_K) {
            int n_blocks = (int)((m->n - k < PANEL_K ? m->n - k : PANEL_K) / f->block);
            fill_panel(&p, m, f, r, n_rows, k, n_blocks);
            for (int64_t t = 0; t < m->n_x; t += 4)
                for (int eight = 0; eight < n_rows / 8; eight++)
                    run_tile(&p, m, f, eight, r + 8 * eight, t, k, n_blocks);
        }
    }
}

#define PANEL_32(type, kind, has_min)                                                                        \
    static void fill_##type(panel *p, int quad, int i, const uint8_t *const w[4])                            \
    {                                                                                                        \
        fill_32(p, quad, i, w, load_##type, has_min);                                                        \
    }                                                                                                        \
    static void panels_##type(const sp_matmul *m)                                                            \
    {                                                                                                        \
        static const panel_format f = {                                                                      \
            32, sizeof(sp_block_##type), fill_##type, {run_##kind##_2, run_##kind##_4}};                     \
        run_panels(m, &f);                                                                                   \
    }

#define PANEL_256(type, kind, chunk, has_min, halves)                                                        \
    static void fill_##type(panel *p, int quad, int i, const uint8_t *const w[4])                            \
    {                                                                                                        \
        fill_256(p, quad, i, w, open_##type, chunk, has_min, halves);                                        \
    }                                                                                                        \
    static void panels_##type(const sp_matmul *m)                                                            \
    {                                                                                                        \
        static const panel_format f = {                                                                      \
            256, sizeof(sp_block_##type), fill_##type, {run_##kind##_2, run_##kind##_4}};                    \
        run_panels(m, &f);                                                                                   \
    }

PANEL_32(q4_0, plain_32, false)
PANEL_32(q4_1, min_32, true)
PANEL_32(q5_0, plain_32, false)
PANEL_32(q5_1, min_32, true)
PANEL_32(q8_0, wide_32, false)
PANEL_32(iq4_nl, wide_32, false)
PANEL_256(q2_k, min_16s, chunk_q2_k, true, true)
PANEL_256(q3_k, plain_16s, chunk_q3_k, false, true)
PANEL_256(q4_k, min_32s, chunk_q4_k, true, false)
PANEL_256(q5_k, min_32s, chunk_q5_k, true, false)
PANEL_256(q6_k, plain_16s, chunk_q6_k, false, true)
PANEL_256(iq4_xs, wide_32s, chunk_iq4_xs, false, false)
PANEL_256(iq1_s, plain_32s, chunk_decoded, false, false)
PANEL_256(iq1_m, plain_16s, chunk_decoded, false, true)
PANEL_256(iq2_xxs, wide_32s, chunk_decoded, false, false)
PANEL_256(iq2_xs, wide_16s, chunk_decoded, false, true)
PANEL_256(iq2_s, wide_16s, chunk_decoded, false, true)
PANEL_256(iq3_xxs, wide_32s, chunk_decoded, false, false)
PANEL_256(iq3_s, plain_32s, chunk_decoded, false, false)

#endif
#endif
