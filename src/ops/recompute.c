/* SPDX-License-Identifier: MIT */
/* A stretch of the network whose inner activations are not kept: the forward pass runs it unrecorded and keeps its
 * input, the backward pass runs it again on a tape of its own. Source: Chen et al. 2016, arXiv:1604.06174.
 * Start at sp_op_recompute(). */
#include "ops/ops_parts.h"

#include <assert.h>
#include <string.h>

#define ROW_GRAIN 8

typedef struct recompute_saved {
    sp_recompute r; /* ctx is a copy */
    sp_tensor x;    /* the input, its data NULL if it is kept in `half` */
    uint16_t *half; /* (T, n) bfloat16 */
} recompute_saved;

/* --- bfloat16 --------------------------------------------------------------------------------------------- */

typedef struct half_job {
    const sp_kernels *kernels;
    float *x;
    uint16_t *half;
    int64_t n;
} half_job;

static void round_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const half_job *job = ctx;
    size_t at = begin * (size_t)job->n, n = (end - begin) * (size_t)job->n;
    sp_dtype_pack(SP_DTYPE_BF16, job->x + at, job->half + at, n, NULL);
    job->kernels->unpack[SP_DTYPE_BF16](n, job->half + at, job->x + at);
}

static void widen_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const half_job *job = ctx;
    size_t at = begin * (size_t)job->n, n = (end - begin) * (size_t)job->n;
    job->kernels->unpack[SP_DTYPE_BF16](n, job->half + at, job->x + at);
}

static size_t bytes_of(const sp_tensor *x)
{
    return (size_t)(sp_tensor_rows(x) * sp_tensor_cols(x)) * sizeof(float);
}

/* --- backward --------------------------------------------------------------------------------------------- */

/* The input again, as a leaf of the current tape; false when out of memory. */
static bool restore_input(sp_ops *ops, const recompute_saved *saved, sp_tensor *x)
{
    *x = saved->x;
    if (saved->half) {
        half_job job = {ops->kernels, sp_ops_alloc(ops, 1, bytes_of(x)), saved->half, sp_tensor_cols(x)};
        if (!job.x) return false;
        sp_pool_run(ops->pool, (size_t)sp_tensor_rows(x), ROW_GRAIN, widen_rows, &job);
        x->data = job.x;
    }
    x->node = NULL;
    sp_tape_leaf(ops, x);
    return x->node != NULL;
}

/* A tape of its own below the outer one, whose leaves have their gradients by now: nothing that outlives the mark
 * is allocated. Adds to dx, or sets it if it is fresh. */
static void backward_recompute(sp_ops *ops, const sp_node *node)
{
    const recompute_saved *saved = node->saved;
    sp_tape *outer = ops->tape, inner = {0};
    bool fresh;
    sp_tape_settle(ops);
    float *dx = sp_tape_grad_fresh(ops, node->inputs[0], &fresh);
    if (ops->status != SP_OK) return;
    sp_arena_mark mark = sp_arena_save(ops->arena);
    sp_tensor x;
    ops->tape = &inner;
    if (restore_input(ops, saved, &x)) {
        if (!fresh) x.node->grad = dx;
        sp_tensor *y = saved->r.fn(ops, &x, saved->r.ctx);
        if (y) sp_tape_backward(ops, y, node->grad);
        const float *own = ops->status == SP_OK ? sp_tape_grad(ops, &x) : NULL;
        if (fresh && own) memcpy(dx, own, bytes_of(&x));
    }
    ops->tape = outer;
    sp_ops_forget(ops);
    sp_arena_restore(ops->arena, mark);
}

/* --- forward ---------------------------------------------------------------------------------------------- */

/* fn's output in `y`, everything else given back. */
static void run_unrecorded(sp_ops *ops, const sp_tensor *x, const sp_recompute *r, sp_tensor *y)
{
    sp_tape *tape = ops->tape;
    bool training = ops->training;
    sp_arena_mark mark = sp_arena_save(ops->arena);
    ops->tape = NULL;
    ops->training = true;
    sp_tensor *result = r->fn(ops, x, r->ctx);
    if (result) {
        assert(bytes_of(result) == bytes_of(x) && sp_ops_stride(result) == sp_tensor_cols(x));
        memcpy(y->data, result->data, bytes_of(x));
    }
    ops->tape = tape;
    ops->training = training;
    sp_ops_forget(ops);
    sp_arena_restore(ops->arena, mark);
}

/* Keep x: as it is, or rounded, its float32 values then being nobody's after the pass. */
static recompute_saved *keep_input(sp_ops *ops, const sp_tensor *x, const sp_recompute *r)
{
    recompute_saved *saved = sp_ops_alloc(ops, 1, sizeof *saved);
    const void *ctx = sp_ops_keep(ops, r->ctx, r->ctx_bytes);
    if (!saved || !ctx) return NULL;
    *saved = (recompute_saved){*r, *x, NULL};
    saved->r.ctx = ctx;
    if (r->store != SP_RECOMPUTE_BF16) return saved;
    assert(sp_ops_stride(x) == sp_tensor_cols(x) && !(x->node && x->node->whole));
    saved->half = sp_ops_alloc(ops, bytes_of(x) / sizeof(float), sizeof *saved->half);
    if (!saved->half) return NULL;
    half_job job = {ops->kernels, x->data, saved->half, sp_tensor_cols(x)};
    sp_pool_run(ops->pool, (size_t)sp_tensor_rows(x), ROW_GRAIN, round_rows, &job);
    saved->x.data = NULL;
    return saved;
}

sp_tensor *sp_op_recompute(sp_ops *ops, const sp_tensor *x, const sp_recompute *r)
{
    if (!x) return NULL;
    if (!ops->tape) return r->fn(ops, x, r->ctx);
    recompute_saved *saved = keep_input(ops, x, r);
    void *data = saved ? sp_tape_take(ops, bytes_of(x)) : NULL;
    sp_tensor *y = data ? sp_ops_alloc(ops, 1, sizeof *y) : NULL;
    if (!y) return NULL;
    *y = *x;
    y->data = data;
    y->row_bytes = (size_t)sp_tensor_cols(x) * sizeof(float);
    y->node = NULL;
    run_unrecorded(ops, x, r, y);
    if (ops->status != SP_OK) return NULL;
    sp_tape_record(ops, y, &x, 1, backward_recompute, saved);
    if (saved->half) sp_tape_release(ops, x);
    return y;
}
