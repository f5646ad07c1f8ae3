/* SPDX-License-Identifier: MIT */
/* Rotary position embedding. Start at sp_op_rope(). */
#include "ops/ops_parts.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Rows handed to a thread at once. */
#define ROW_GRAIN 8

typedef struct rope_job {
    const sp_tensor *x;
    sp_tensor *y;
    const float *cos_sin; /* (T, dim): dim/2 cosines, then dim/2 sines */
    int64_t dim;
    int64_t n_per_row;
    bool interleaved;
} rope_job;

/* What the angles of some tokens follow from, and they. */
typedef struct sp_angles {
    const double *omega;
    int64_t dim, n_tokens;
    float factor;
    int32_t *positions; /* (T), a copy */
    float *cos_sin;     /* (T, dim) */
} sp_angles;

static void fill_angles(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const sp_angles *angles = ctx;
    int64_t half = angles->dim / 2;
    for (int64_t t = (int64_t)begin; t < (int64_t)end; t++)
        for (int64_t i = 0; i < half; i++) {
            double angle = angles->positions[t] * angles->omega[i];
            float *at = angles->cos_sin + t * angles->dim + i;
            at[0] = (float)cos(angle) * angles->factor;
            at[half] = (float)sin(angle) * angles->factor;
        }
}

static bool are_angles_of(const sp_angles *angles, const sp_rope *rope, const int32_t *positions,
                          int64_t n_tokens)
{
    return angles && angles->omega == rope->omega && angles->dim == rope->dim &&
           angles->factor == rope->factor && angles->n_tokens == n_tokens &&
           memcmp(angles->positions, positions, (size_t)n_tokens * sizeof *positions) == 0;
}

/* The last rotation's if they are the same, else new ones; NULL when out of memory. */
static const float *find_angles(sp_ops *ops, const sp_rope *rope, const int32_t *positions, int64_t n_tokens)
{
    if (are_angles_of(ops->angles, rope, positions, n_tokens)) return ops->angles->cos_sin;
    sp_angles *angles = sp_ops_alloc(ops, 1, sizeof *angles);
    int32_t *copy = sp_ops_alloc(ops, (size_t)n_tokens, sizeof *copy);
    float *cos_sin = sp_ops_alloc(ops, (size_t)(n_tokens * rope->dim), sizeof *cos_sin);
    if (!angles || !copy || !cos_sin) return NULL;
    memcpy(copy, positions, (size_t)n_tokens * sizeof *copy);
    *angles = (sp_angles){rope->omega, rope->dim, n_tokens, rope->factor, copy, cos_sin};
    sp_pool_run(ops->pool, (size_t)n_tokens, ROW_GRAIN, fill_angles, angles);
    ops->angles = angles;
    return cos_sin;
}

/* n pairs (xa[i], xb[i]). */
static void rotate_halves(int64_t n, const float *restrict xa, const float *restrict xb,
                          const float *restrict cosines, const float *restrict sines, float *restrict ya,
                          float *restrict yb)
{
    for (int64_t i = 0; i < n; i++) {
        ya[i] = xa[i] * cosines[i] - xb[i] * sines[i];
        yb[i] = xa[i] * sines[i] + xb[i] * cosines[i];
    }
}

/* n pairs (x[2 i], x[2 i + 1]). */
static void rotate_pairs(int64_t n, const float *restrict x, const float *restrict cosines,
                         const float *restrict sines, float *restrict y)
{
    for (int64_t i = 0; i < n; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        y[2 * i] = a * cosines[i] - b * sines[i];
        y[2 * i + 1] = a * sines[i] + b * cosines[i];
    }
}

static void rotate(const rope_job *job, const float *x, const float *cs, float *y)
{
    int64_t half = job->dim / 2;
    if (job->interleaved)
        rotate_pairs(half, x, cs, cs + half, y);
    else
        rotate_halves(half, x, x + half, cs, cs + half, y, y + half);
}

static void rope_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const rope_job *job = ctx;
    int64_t n = sp_tensor_cols(job->x);
    for (size_t i = begin; i < end; i++) {
        const float *x = sp_ops_row(job->x, (int64_t)i);
        float *y = sp_ops_row(job->y, (int64_t)i);
        rotate(job, x, job->cos_sin + (int64_t)i / job->n_per_row * job->dim, y);
        if (n > job->dim) memcpy(y + job->dim, x + job->dim, (size_t)(n - job->dim) * sizeof *y);
    }
}

typedef struct rope_backward {
    const rope_job *rope;
    const float *dy;
    float *dx;
    bool fresh;
} rope_backward;

/* The transpose of a rotation is the rotation by the opposite angle. */
static void backward_rope_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const rope_backward *backward = ctx;
    const rope_job *job = backward->rope;
    int64_t n = sp_tensor_cols(job->x), half = job->dim / 2;
    for (int64_t i = (int64_t)begin; i < (int64_t)end; i++) {
        const float *cs = job->cos_sin + i / job->n_per_row * job->dim, *dy = backward->dy + i * n;
        float *d = backward->dx + i * n;
        if (backward->fresh) memset(d, 0, (size_t)n * sizeof *d);
        for (int64_t j = 0; j < half; j++) {
            int64_t a = job->interleaved ? 2 * j : j, b = job->interleaved ? 2 * j + 1 : j + half;
            d[a] += dy[a] * cs[j] + dy[b] * cs[half + j];
            d[b] += dy[b] * cs[j] - dy[a] * cs[half + j];
        }
        for (int64_t j = job->dim; j < n; j++) d[j] += dy[j];
    }
}

static void backward_rope(sp_ops *ops, const sp_node *node)
{
    rope_backward job = {.rope = node->saved, .dy = node->grad};
    job.dx = sp_tape_grad_fresh(ops, node->inputs[0], &job.fresh);
    if (job.dx)
        sp_pool_run(ops->pool, (size_t)sp_tensor_rows(node->output), ROW_GRAIN, backward_rope_rows, &job);
}

sp_tensor *sp_op_rope(sp_ops *ops, const sp_tensor *x, const sp_rope *rope, const int32_t *positions,
                      int64_t n_per_row)
{
    if (!x) return NULL;
    int64_t rows = sp_tensor_rows(x), n_tokens = rows / n_per_row;
    assert(rows % n_per_row == 0 && sp_tensor_cols(x) >= rope->dim);
    sp_tensor *y = sp_ops_new(ops, rows, sp_tensor_cols(x));
    const float *cos_sin = find_angles(ops, rope, positions, n_tokens);
    if (!y || !cos_sin) return NULL;
    rope_job job = {x, y, cos_sin, rope->dim, n_per_row, rope->interleaved};
    sp_pool_run(ops->pool, (size_t)rows, sp_ops_grain(sp_tensor_cols(x)), rope_rows, &job);
    if (ops->tape) {
        rope_job *saved = sp_ops_alloc(ops, 1, sizeof *saved);
        if (!saved) return NULL;
        *saved = job;
        sp_tape_record(ops, y, &x, 1, backward_rope, saved);
    }
    return y;
}
