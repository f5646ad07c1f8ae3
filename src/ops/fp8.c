/* SPDX-License-Identifier: MIT */
/* Simulation of DeepSeek-V3's FP8 products (report, section 3.3) in float32: operands are rounded to E4M3 under
 * scales of their own (activations and gradients per 128 elements along k, weights per 128 x 128 block), and sums
 * over k are made 128 elements at a time, then added in float32. The matrix units' shorter sums within 128 elements
 * are not simulated. Start at sp_products_fp8(). */
#include "ops/ops_parts.h"

#include <math.h>
#include <string.h>

#define TILE 128
#define E4M3_MAX 448.0f
/* Below 2^-6 E4M3's steps are 2^-9: adding and taking away 1.5 x 2^14 rounds to them. */
#define E4M3_NORMAL 0x1p-6f
#define E4M3_MAGIC 0x1.8p14f

/* A matrix in memory, (rows, cols), k along one of them. */
typedef struct operand {
    const float *src;
    int64_t stride, rows, cols;
    int64_t tile_rows, tile_cols; /* of one scale */
    float *dst;                   /* (rows, cols) */
} operand;

/* Nearest value of E4M3 for |x| <= 448, ties to even. */
static inline float round_e4m3(float x)
{
    if (x != x) return x;
    if (fabsf(x) < E4M3_NORMAL) return (x + E4M3_MAGIC) - E4M3_MAGIC;
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    u = (u + 0x7ffffu + (u >> 20 & 1u)) & ~0xfffffu; /* 3 of 23 fraction bits stay */
    memcpy(&x, &u, sizeof x);
    return x;
}

/* One tile under one scale. A tile of zeros, or with a value that is no number, stays as it is. */
static void round_tile(const operand *o, int64_t row, int64_t col)
{
    int64_t row_end = row + o->tile_rows < o->rows ? row + o->tile_rows : o->rows;
    int64_t col_end = col + o->tile_cols < o->cols ? col + o->tile_cols : o->cols;
    float most = 0.0f;
    for (int64_t i = row; i < row_end; i++)
        for (int64_t j = col; j < col_end; j++) {
            float magnitude = fabsf(o->src[i * o->stride + j]);
            most = magnitude > most ? magnitude : most;
        }
    float scale = most / E4M3_MAX, inverse = E4M3_MAX / most;
    bool plain = !(most > 0.0f) || !isfinite(inverse) || !isfinite(most);
    for (int64_t i = row; i < row_end; i++)
        for (int64_t j = col; j < col_end; j++) {
            float x = o->src[i * o->stride + j];
            o->dst[i * o->cols + j] = plain ? x : round_e4m3(x * inverse) * scale;
        }
}

/* Scales of 128 rows x 1 column, along the rows: 128 rows at a time. */
static void round_columns(const operand *o, int64_t row)
{
    int64_t row_end = row + TILE < o->rows ? row + TILE : o->rows;
    for (int64_t col = 0; col < o->cols; col += TILE) {
        int64_t n = o->cols - col < TILE ? o->cols - col : TILE;
        float most[TILE] = {0}, scale[TILE], inverse[TILE];
        for (int64_t i = row; i < row_end; i++)
            for (int64_t j = 0; j < n; j++) {
                float magnitude = fabsf(o->src[i * o->stride + col + j]);
                most[j] = magnitude > most[j] ? magnitude : most[j];
            }
        for (int64_t j = 0; j < n; j++) {
            scale[j] = most[j] / E4M3_MAX;
            inverse[j] = E4M3_MAX / most[j];
            if (!(most[j] > 0.0f) || !isfinite(inverse[j]) || !isfinite(most[j])) inverse[j] = 0.0f;
        }
        for (int64_t i = row; i < row_end; i++)
            for (int64_t j = 0; j < n; j++) {
                float x = o->src[i * o->stride + col + j];
                o->dst[i * o->cols + col + j] =
                    inverse[j] == 0.0f ? x : round_e4m3(x * inverse[j]) * scale[j];
            }
    }
}

/* Items are stretches of 128 rows. */
static void round_stretches(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const operand *o = ctx;
    for (int64_t s = (int64_t)begin; s < (int64_t)end; s++) {
        int64_t row = s * TILE, stop = row + TILE < o->rows ? row + TILE : o->rows;
        if (o->tile_cols == 1) {
            round_columns(o, row);
            continue;
        }
        for (; row < stop; row += o->tile_rows)
            for (int64_t col = 0; col < o->cols; col += o->tile_cols) round_tile(o, row, col);
    }
}

/* A rounded copy of a matrix of which `along_cols` says that k runs along its columns; NULL when out of memory. */
static float *round_operand(sp_ops *ops, operand o, bool along_cols, bool weight)
{
    o.tile_rows = weight || !along_cols ? TILE : 1;
    o.tile_cols = weight || along_cols ? TILE : 1;
    o.dst = sp_ops_alloc(ops, (size_t)(o.rows * o.cols), sizeof *o.dst);
    if (o.dst) sp_pool_run(ops->pool, (size_t)((o.rows + TILE - 1) / TILE), 1, round_stretches, &o);
    return o.dst;
}

/* p over rounded copies of its operands. */
static bool round_product(sp_ops *ops, sp_product *p, bool weight)
{
    bool a_plain = p->a_col == 1, b_plain = p->b_col == 1;
    operand a = {.src = p->a, .stride = a_plain ? p->a_row : p->a_col};
    operand b = {.src = p->b, .stride = b_plain ? p->b_row : p->b_col};
    a.rows = a_plain ? p->m : p->k;
    a.cols = a_plain ? p->k : p->m;
    b.rows = b_plain ? p->k : p->n;
    b.cols = b_plain ? p->n : p->k;
    p->a = round_operand(ops, a, a_plain, false);
    p->b = round_operand(ops, b, !b_plain, weight);
    p->a_row = a_plain ? p->k : 1;
    p->a_col = a_plain ? 1 : p->m;
    p->b_row = b_plain ? p->n : 1;
    p->b_col = b_plain ? 1 : p->k;
    return p->a && p->b;
}

void sp_products_fp8(sp_ops *ops, const sp_product *products, int64_t n, int64_t n_add, int64_t n_plain)
{
    sp_arena_mark mark = sp_arena_save(ops->arena);
    sp_product *rounded = sp_ops_alloc(ops, (size_t)n + 1, sizeof *rounded);
    bool ready = rounded != NULL;
    for (int64_t i = 0; i < n && ready; i++) {
        rounded[i] = products[i];
        ready = round_product(ops, &rounded[i], i >= n_plain);
    }
    if (ready) sp_products_stepped(ops, rounded, n, n_add, TILE);
    sp_arena_restore(ops->arena, mark);
}
