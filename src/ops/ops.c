/* SPDX-License-Identifier: MIT */
/* The op context, views, and the elementwise and row-wise ops. Products stand in linear.c, attention in
 * attention.c, the expert choice in route.c. Start at sp_ops_new(). */
#include "ops/ops_parts.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void sp_ops_init(sp_ops *ops, sp_pool *pool, sp_arena *arena)
{
    *ops = (sp_ops){.kernels = sp_kernels_get(), .pool = pool, .arena = arena};
}

void sp_ops_restore(sp_ops *ops, sp_arena_mark mark)
{
    sp_arena_restore(ops->arena, mark);
    sp_ops_forget(ops);
}

void sp_ops_forget(sp_ops *ops)
{
    for (int a = 0; a < SP_ACT_COUNT; a++) ops->act_of[a] = NULL;
    ops->angles = NULL;
}

void *sp_ops_alloc(sp_ops *ops, size_t count, size_t size)
{
    size_t n_bytes;
    void *ptr = sp_mul_size(count, size, &n_bytes) ? sp_arena_alloc(ops->arena, n_bytes) : NULL;
    if (!ptr && ops->status == SP_OK) ops->status = SP_E_NOMEM;
    return ptr;
}

void *sp_ops_keep(sp_ops *ops, const void *value, size_t n_bytes)
{
    void *copy = sp_ops_alloc(ops, 1, n_bytes);
    if (copy) memcpy(copy, value, n_bytes);
    return copy;
}

static sp_tensor *new_view(sp_ops *ops, void *data, int64_t rows, int64_t cols, size_t row_bytes)
{
    sp_tensor *t = sp_ops_alloc(ops, 1, sizeof *t);
    if (t)
        *t = (sp_tensor){.dtype = SP_DTYPE_F32,
                         .n_dims = 2,
                         .shape = {rows, cols, 1, 1},
                         .row_bytes = row_bytes,
                         .data = data};
    return t;
}

sp_tensor *sp_ops_new(sp_ops *ops, int64_t rows, int64_t cols)
{
    size_t count;
    if (!sp_mul_size((size_t)rows, (size_t)cols, &count)) count = SIZE_MAX;
    float *data = NULL;
    if (ops->tape && count <= SIZE_MAX / sizeof *data)
        data = sp_tape_take(ops, count * sizeof *data);
    else
        data = sp_ops_alloc(ops, count, sizeof *data);
    return data ? new_view(ops, data, rows, cols, (size_t)cols * sizeof(float)) : NULL;
}

static bool is_contiguous(const sp_tensor *t)
{
    return t->row_bytes == (size_t)sp_tensor_cols(t) * sizeof(float);
}

/* --- views ------------------------------------------------------------------------------------------------
 */

/* y (=, +=) x over rows whose strides (in elements) differ. */
typedef struct add_job {
    const sp_ops *ops;
    const float *x;
    float *y;
    int64_t x_row, y_row, n;
    bool set;
} add_job;

static void add_strided(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const add_job *job = ctx;
    for (int64_t i = (int64_t)begin; i < (int64_t)end; i++) {
        const float *x = job->x + i * job->x_row;
        float *y = job->y + i * job->y_row;
        if (job->set)
            memcpy(y, x, (size_t)job->n * sizeof *y);
        else
            job->ops->kernels->add((size_t)job->n, x, y);
    }
}

/* Add rows of dy (stride dy_row) to the whole gradient of x. */
static void add_to_gradient(sp_ops *ops, const sp_tensor *x, const float *dy, int64_t dy_row)
{
    int64_t n = sp_tensor_cols(x);
    add_job job = {ops, dy, NULL, dy_row, n, n, false};
    job.y = sp_tape_grad_fresh(ops, x, &job.set);
    if (job.y)
        sp_pool_run(ops->pool, (size_t)sp_tensor_rows(x), sp_ops_grain(sp_tensor_cols(x)), add_strided, &job);
}

/* Columns col .. col + n - 1 of row i of d += rows i share .. i share + share - 1 of dy, in order; the whole row of d
 * (d_row wide) is 0 before if `set`. */
typedef struct share_job {
    const sp_ops *ops;
    const float *dy;
    float *d;
    int64_t dy_row, d_row, col, n, share;
    bool set;
} share_job;

static void add_shared_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const share_job *job = ctx;
    for (int64_t i = (int64_t)begin; i < (int64_t)end; i++) {
        float *d = job->d + i * job->d_row;
        if (job->set) memset(d, 0, (size_t)job->d_row * sizeof *d);
        for (int64_t j = 0; j < job->share; j++)
            job->ops->kernels->add((size_t)job->n, job->dy + (i * job->share + j) * job->dy_row,
                                   d + job->col);
    }
}

/* d(x)[.., col..] += d(columns). */
static void backward_columns(sp_ops *ops, const sp_node *node)
{
    const sp_tensor *x = node->inputs[0];
    const int64_t *col = node->saved;
    int64_t n = sp_tensor_cols(node->output);
    share_job job = {ops, node->grad, NULL, n, sp_tensor_cols(x), *col, n, 1, false};
    job.d = sp_tape_grad_fresh(ops, x, &job.set);
    if (job.d)
        sp_pool_run(ops->pool, (size_t)sp_tensor_rows(x), sp_ops_grain(sp_tensor_cols(x)), add_shared_rows,
                    &job);
}

/* A reshaped tensor's gradient is x's, and that of some rows is a stretch of x's. */
static sp_tensor *record_view(sp_ops *ops, sp_tensor *y, const sp_tensor *x, int64_t first)
{
    if (y) sp_tape_alias(ops, y, x, first);
    return y;
}

sp_tensor *sp_op_reshape(sp_ops *ops, const sp_tensor *x, int64_t rows, int64_t cols)
{
    if (!x) return NULL;
    assert(is_contiguous(x) && rows * cols == sp_tensor_rows(x) * sp_tensor_cols(x));
    return record_view(ops, new_view(ops, x->data, rows, cols, (size_t)cols * sizeof(float)), x, 0);
}

sp_tensor *sp_op_columns(sp_ops *ops, const sp_tensor *x, int64_t col, int64_t n_cols)
{
    if (!x) return NULL;
    assert(col >= 0 && col + n_cols <= sp_tensor_cols(x));
    sp_tensor *y = new_view(ops, (float *)x->data + col, sp_tensor_rows(x), n_cols, x->row_bytes);
    if (!y || !ops->tape) return y;
    const int64_t *saved = sp_ops_keep(ops, &col, sizeof col);
    if (!saved) return NULL;
    sp_tape_record(ops, y, &x, 1, backward_columns, saved);
    return y;
}

sp_tensor *sp_op_rows(sp_ops *ops, const sp_tensor *x, int64_t row, int64_t n_rows)
{
    if (!x) return NULL;
    assert(row >= 0 && row + n_rows <= sp_tensor_rows(x));
    return record_view(ops, new_view(ops, sp_ops_row(x, row), n_rows, sp_tensor_cols(x), x->row_bytes), x,
                       row * sp_tensor_cols(x));
}

static void backward_dense(sp_ops *ops, const sp_node *node)
{
    add_to_gradient(ops, node->inputs[0], node->grad, sp_tensor_cols(node->output));
}

sp_tensor *sp_op_dense(sp_ops *ops, const sp_tensor *x)
{
    if (!x) return NULL;
    int64_t n = sp_tensor_cols(x);
    sp_tensor *y = sp_ops_new(ops, sp_tensor_rows(x), n);
    if (!y) return NULL;
    add_job job = {ops, x->data, y->data, sp_ops_stride(x), n, n, true};
    sp_pool_run(ops->pool, (size_t)sp_tensor_rows(x), sp_ops_grain(sp_tensor_cols(x)), add_strided, &job);
    sp_tape_record(ops, y, &x, 1, backward_dense, NULL);
    return y;
}

/* --- rows by index ----------------------------------------------------------------------------------------
 */

typedef struct pick_job {
    const sp_ops *ops;
    const sp_tensor *table;
    const int32_t *ids;
    sp_tensor *y;
} pick_job;

/* F8 rows need their block scales; all other formats unpack as they are. */
void sp_ops_unpack_row(const sp_kernels *k, const sp_tensor *w, int64_t row, float *dst)
{
    int64_t n = sp_tensor_cols(w);
    k->unpack[w->dtype]((size_t)n, sp_tensor_row(w, row), dst);
    if (!w->scale) return;
    const float *scale = w->scale + row / 128 * ((n + 127) / 128);
    for (int64_t i = 0; i < n; i++) dst[i] *= scale[i / 128];
}

static void pick_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const pick_job *job = ctx;
    for (size_t i = begin; i < end; i++)
        sp_ops_unpack_row(job->ops->kernels, job->table, job->ids[i], sp_ops_row(job->y, (int64_t)i));
}

/* Columns handed to a thread at once by sums over rows. */
#define COLUMN_GRAIN 64

typedef struct pick_backward {
    const sp_ops *ops;
    const sp_node *node;
    float *dtable;
} pick_backward;

static void backward_pick_columns(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const pick_backward *job = ctx;
    const int32_t *ids = job->node->saved;
    int64_t n = sp_tensor_cols(job->node->output);
    for (int64_t i = 0; i < sp_tensor_rows(job->node->output); i++)
        job->ops->kernels->add(end - begin, job->node->grad + i * n + begin,
                               job->dtable + ids[i] * n + begin);
}

/* d(table)[ids[i]] += d(y)[i], in order of i; threads share out columns. */
static void backward_pick(sp_ops *ops, const sp_node *node)
{
    pick_backward job = {ops, node, sp_tape_grad(ops, node->inputs[0])};
    if (job.dtable)
        sp_pool_run(ops->pool, (size_t)sp_tensor_cols(node->output), COLUMN_GRAIN, backward_pick_columns,
                    &job);
}

sp_tensor *sp_op_embed(sp_ops *ops, const sp_tensor *table, const int32_t *ids, int64_t n_ids)
{
    if (!table) return NULL;
    sp_tensor *y = sp_ops_new(ops, n_ids, sp_tensor_cols(table));
    if (!y) return NULL;
    pick_job job = {ops, table, ids, y};
    sp_pool_run(ops->pool, (size_t)n_ids, sp_ops_grain(sp_tensor_cols(table)), pick_rows, &job);
    if (ops->tape) sp_tape_record(ops, y, &table, 1, backward_pick, ids);
    return y;
}

sp_tensor *sp_op_gather(sp_ops *ops, const sp_tensor *x, const int32_t *index, int64_t n)
{
    return sp_op_embed(ops, x, index, n);
}

/* --- RMSNorm ----------------------------------------------------------------------------------------------
 */

typedef struct norm_job {
    const sp_ops *ops;
    const sp_tensor *x;
    const float *w;
    sp_tensor *y;
    float eps;
} norm_job;

static void norm_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const norm_job *job = ctx;
    const sp_kernels *k = job->ops->kernels;
    size_t n = (size_t)sp_tensor_cols(job->x);
    for (size_t i = begin; i < end; i++) {
        const float *x = sp_ops_row(job->x, (int64_t)i);
        float mean = k->sum_squares(n, x) / (float)n;
        k->scale_mul(n, 1.0f / sqrtf(mean + job->eps), x, job->w, sp_ops_row(job->y, (int64_t)i));
    }
}

typedef struct norm_saved {
    const float *w;
    float eps;
} norm_saved;

typedef struct norm_backward {
    const sp_ops *ops;
    const sp_node *node;
    float *dx, *dw;
    float *r; /* (T) */
    bool fresh;
} norm_backward;

/* With r = 1/sqrt(mean(x^2) + eps), y = r w x: dx = r (w dy - x r^2 mean(w dy x)). */
static void backward_norm_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const norm_backward *job = ctx;
    const norm_saved *saved = job->node->saved;
    const sp_tensor *x = job->node->inputs[0];
    int64_t n = sp_tensor_cols(x);
    for (int64_t i = (int64_t)begin; i < (int64_t)end; i++) {
        const float *xi = sp_ops_row(x, i), *dy = job->node->grad + i * n;
        float r = 1.0f / sqrtf(job->ops->kernels->sum_squares((size_t)n, xi) / (float)n + saved->eps);
        job->r[i] = r;
        if (!job->dx) continue;
        float dot = job->ops->kernels->dot_product((size_t)n, saved->w, dy, xi);
        float rc[2] = {r, dot / (float)n * r * r};
        if (job->fresh) memset(job->dx + i * n, 0, (size_t)n * sizeof *job->dx);
        job->ops->kernels->norm_grad((size_t)n, rc, xi, saved->w, dy, job->dx + i * n);
    }
}

/* dw = sum over rows, in order, of r x dy. */
static void backward_norm_columns(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const norm_backward *job = ctx;
    const sp_tensor *x = job->node->inputs[0];
    int64_t n = sp_tensor_cols(x);
    for (int64_t i = 0; i < sp_tensor_rows(x); i++) {
        const float *xi = sp_ops_row(x, i), *dy = job->node->grad + i * n;
        job->ops->kernels->axpy_product(end - begin, job->r[i], xi + begin, dy + begin, job->dw + begin);
    }
}

static void backward_norm(sp_ops *ops, const sp_node *node)
{
    int64_t rows = sp_tensor_rows(node->output), n = sp_tensor_cols(node->output);
    norm_backward job = {.ops = ops, .node = node};
    job.dx = sp_tape_grad_fresh(ops, node->inputs[0], &job.fresh);
    job.dw = sp_tape_grad(ops, node->inputs[1]);
    job.r = sp_ops_alloc(ops, (size_t)rows, sizeof *job.r);
    if (!job.r) return;
    sp_pool_run(ops->pool, (size_t)rows, sp_ops_grain(n), backward_norm_rows, &job);
    if (job.dw) sp_pool_run(ops->pool, (size_t)n, COLUMN_GRAIN, backward_norm_columns, &job);
}

sp_tensor *sp_op_rms_norm(sp_ops *ops, const sp_tensor *x, const sp_tensor *w, float eps)
{
    if (!x) return NULL;
    int64_t n = sp_tensor_cols(x);
    assert(sp_tensor_cols(w) == n);
    sp_tensor *y = sp_ops_new(ops, sp_tensor_rows(x), n);
    const float *weights = w->data;
    if (w->dtype != SP_DTYPE_F32) {
        float *unpacked = sp_ops_alloc(ops, (size_t)n, sizeof *unpacked);
        if (unpacked) ops->kernels->unpack[w->dtype]((size_t)n, w->data, unpacked);
        weights = unpacked;
    }
    if (!y || !weights) return NULL;
    norm_job job = {ops, x, weights, y, eps};
    sp_pool_run(ops->pool, (size_t)sp_tensor_rows(x), sp_ops_grain(sp_tensor_cols(x)), norm_rows, &job);
    if (ops->tape) {
        norm_saved *saved = sp_ops_alloc(ops, 1, sizeof *saved);
        if (!saved) return NULL;
        *saved = (norm_saved){weights, eps};
        sp_tape_record(ops, y, (const sp_tensor *[]){x, w}, 2, backward_norm, saved);
    }
    return y;
}

/* --- elementwise ------------------------------------------------------------------------------------------
 */

typedef struct pair_job {
    const sp_ops *ops;
    const sp_tensor *a, *b;
    sp_tensor *y;
} pair_job;

static void add_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const pair_job *job = ctx;
    size_t n = (size_t)sp_tensor_cols(job->y);
    for (size_t i = begin; i < end; i++) {
        job->ops->kernels->sum(n, sp_ops_row(job->a, (int64_t)i), sp_ops_row(job->b, (int64_t)i),
                               sp_ops_row(job->y, (int64_t)i));
    }
}

static void backward_add(sp_ops *ops, const sp_node *node)
{
    for (int i = 0; i < 2; i++)
        add_to_gradient(ops, node->inputs[i], node->grad, sp_tensor_cols(node->output));
}

sp_tensor *sp_op_add(sp_ops *ops, const sp_tensor *a, const sp_tensor *b)
{
    if (!a || !b) return NULL;
    assert(sp_tensor_rows(a) == sp_tensor_rows(b) && sp_tensor_cols(a) == sp_tensor_cols(b));
    sp_tensor *y = sp_ops_new(ops, sp_tensor_rows(a), sp_tensor_cols(a));
    if (!y) return NULL;
    pair_job job = {ops, a, b, y};
    sp_pool_run(ops->pool, (size_t)sp_tensor_rows(a), sp_ops_grain(sp_tensor_cols(a)), add_rows, &job);
    if (ops->tape) sp_tape_record(ops, y, (const sp_tensor *[]){a, b}, 2, backward_add, NULL);
    return y;
}

static void concat_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const pair_job *job = ctx;
    size_t na = (size_t)sp_tensor_cols(job->a), nb = (size_t)sp_tensor_cols(job->b);
    int64_t share = sp_tensor_rows(job->a) / sp_tensor_rows(job->b);
    for (size_t i = begin; i < end; i++) {
        float *y = sp_ops_row(job->y, (int64_t)i);
        memcpy(y, sp_ops_row(job->a, (int64_t)i), na * sizeof *y);
        memcpy(y + na, sp_ops_row(job->b, (int64_t)i / share), nb * sizeof *y);
    }
}

static void backward_concat(sp_ops *ops, const sp_node *node)
{
    const sp_tensor *a = node->inputs[0], *b = node->inputs[1];
    int64_t cols = sp_tensor_cols(node->output), na = sp_tensor_cols(a), nb = sp_tensor_cols(b);
    share_job job = {ops,  node->grad + na, NULL, cols, nb, 0, nb, sp_tensor_rows(a) / sp_tensor_rows(b),
                     false};
    add_to_gradient(ops, a, node->grad, cols);
    job.d = sp_tape_grad_fresh(ops, b, &job.set);
    if (job.d)
        sp_pool_run(ops->pool, (size_t)sp_tensor_rows(b), sp_ops_grain(sp_tensor_cols(b)), add_shared_rows,
                    &job);
}

sp_tensor *sp_op_concat(sp_ops *ops, const sp_tensor *a, const sp_tensor *b)
{
    if (!a || !b) return NULL;
    assert(sp_tensor_rows(a) % sp_tensor_rows(b) == 0);
    sp_tensor *y = sp_ops_new(ops, sp_tensor_rows(a), sp_tensor_cols(a) + sp_tensor_cols(b));
    if (!y) return NULL;
    pair_job job = {ops, a, b, y};
    sp_pool_run(ops->pool, (size_t)sp_tensor_rows(a), sp_ops_grain(sp_tensor_cols(a)), concat_rows, &job);
    if (ops->tape) sp_tape_record(ops, y, (const sp_tensor *[]){a, b}, 2, backward_concat, NULL);
    return y;
}

/* Columns handed to a thread at once: a single wide row is shared too. */
#define SWIGLU_COLUMNS 1024

static void swiglu_stretch(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const pair_job *job = ctx;
    int64_t n = sp_tensor_cols(job->y), per_row = (n + SWIGLU_COLUMNS - 1) / SWIGLU_COLUMNS;
    for (size_t i = begin; i < end; i++) {
        int64_t row = (int64_t)i / per_row, col = (int64_t)i % per_row * SWIGLU_COLUMNS;
        int64_t width = n - col < SWIGLU_COLUMNS ? n - col : SWIGLU_COLUMNS;
        job->ops->kernels->swiglu((size_t)width, sp_ops_row(job->a, row) + col, sp_ops_row(job->b, row) + col,
                                  sp_ops_row(job->y, row) + col);
    }
}

typedef struct swiglu_backward {
    const sp_kernels *kernels;
    const sp_node *node;
    float *dgate, *dup;
    float *nowhere; /* (threads, n) takes what nobody asks for; NULL if both are asked for */
    bool fresh_gate, fresh_up;
} swiglu_backward;

static void backward_swiglu_rows(void *ctx, size_t begin, size_t end, int thread)
{
    const swiglu_backward *job = ctx;
    int64_t n = sp_tensor_cols(job->node->output);
    float *nowhere = job->nowhere ? job->nowhere + thread * n : NULL;
    for (int64_t i = (int64_t)begin; i < (int64_t)end; i++) {
        if (job->fresh_gate) memset(job->dgate + i * n, 0, (size_t)n * sizeof *job->dgate);
        if (job->fresh_up) memset(job->dup + i * n, 0, (size_t)n * sizeof *job->dup);
        job->kernels->swiglu_grad((size_t)n, sp_ops_row(job->node->inputs[0], i),
                                  sp_ops_row(job->node->inputs[1], i), job->node->grad + i * n,
                                  job->dgate ? job->dgate + i * n : nowhere,
                                  job->dup ? job->dup + i * n : nowhere);
    }
}

static void backward_swiglu(sp_ops *ops, const sp_node *node)
{
    swiglu_backward job = {.kernels = ops->kernels, .node = node};
    job.dgate = sp_tape_grad_fresh(ops, node->inputs[0], &job.fresh_gate);
    job.dup = sp_tape_grad_fresh(ops, node->inputs[1], &job.fresh_up);
    if (!job.dgate && !job.dup) return;
    if (!job.dgate || !job.dup) {
        size_t n = (size_t)(sp_pool_threads(ops->pool) * sp_tensor_cols(node->output));
        job.nowhere = sp_ops_alloc(ops, n, sizeof *job.nowhere);
        if (!job.nowhere) return;
        memset(job.nowhere, 0, n * sizeof *job.nowhere);
    }
    sp_pool_run(ops->pool, (size_t)sp_tensor_rows(node->output), 1, backward_swiglu_rows, &job);
}

sp_tensor *sp_op_swiglu(sp_ops *ops, const sp_tensor *gate, const sp_tensor *up)
{
    if (!gate || !up) return NULL;
    assert(sp_tensor_rows(gate) == sp_tensor_rows(up) && sp_tensor_cols(gate) == sp_tensor_cols(up));
    sp_tensor *y = sp_ops_new(ops, sp_tensor_rows(gate), sp_tensor_cols(gate));
    if (!y) return NULL;
    pair_job job = {ops, gate, up, y};
    size_t per_row = ((size_t)sp_tensor_cols(gate) + SWIGLU_COLUMNS - 1) / SWIGLU_COLUMNS;
    sp_pool_run(ops->pool, (size_t)sp_tensor_rows(gate) * per_row, 1, swiglu_stretch, &job);
    if (ops->tape) sp_tape_record(ops, y, (const sp_tensor *[]){gate, up}, 2, backward_swiglu, NULL);
    return y;
}
