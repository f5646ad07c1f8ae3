/* SPDX-License-Identifier: MIT */
/* The op context, views, and the elementwise and row-wise ops. Products stand in linear.c, attention in
 * attention.c, the expert choice in route.c. Start at sp_ops_new(). */
#include "ops/ops.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Rows handed to a thread at once by cheap ops. */
#define ROW_GRAIN 8

void sp_ops_init(sp_ops *ops, sp_pool *pool, sp_arena *arena)
{
    *ops = (sp_ops){.kernels = sp_kernels_get(), .pool = pool, .arena = arena};
}

static void *alloc(sp_ops *ops, size_t count, size_t size)
{
    size_t n_bytes;
    void *ptr = sp_mul_size(count, size, &n_bytes) ? sp_arena_alloc(ops->arena, n_bytes) : NULL;
    if (!ptr && ops->status == SP_OK) ops->status = SP_E_NOMEM;
    return ptr;
}

static sp_tensor *new_view(sp_ops *ops, void *data, int64_t rows, int64_t cols, size_t row_bytes)
{
    sp_tensor *t = alloc(ops, 1, sizeof *t);
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
    float *data = alloc(ops, count, sizeof *data);
    return data ? new_view(ops, data, rows, cols, (size_t)cols * sizeof(float)) : NULL;
}

static inline float *row_of(const sp_tensor *t, int64_t row)
{
    return (float *)((char *)t->data + (size_t)row * t->row_bytes);
}

static bool is_contiguous(const sp_tensor *t)
{
    return t->row_bytes == (size_t)sp_tensor_cols(t) * sizeof(float);
}

/* --- views ------------------------------------------------------------------------------------------------
 */

typedef struct view_saved {
    int64_t row, col;
} view_saved;

/* d(x)[row.., col..] += d(view), element by element in x's own layout. */
static void backward_view(sp_ops *ops, const sp_node *node)
{
    const sp_tensor *x = node->inputs[0], *y = node->output;
    const view_saved *at = node->saved;
    float *dx = sp_tape_grad(ops, x);
    if (!dx) return;
    int64_t y_cols = sp_tensor_cols(y), y_rows = sp_tensor_rows(y), x_cols = sp_tensor_cols(x);
    if (sp_tensor_rows(x) * x_cols == y_rows * y_cols) { /* reshape */
        ops->kernels->add((size_t)(y_rows * y_cols), node->grad, dx);
        return;
    }
    for (int64_t r = 0; r < y_rows; r++)
        ops->kernels->add((size_t)y_cols, node->grad + r * y_cols, dx + (at->row + r) * x_cols + at->col);
}

static sp_tensor *record_view(sp_ops *ops, sp_tensor *y, const sp_tensor *x, int64_t row, int64_t col)
{
    if (!y || !ops->tape) return y;
    view_saved *saved = alloc(ops, 1, sizeof *saved);
    if (!saved) return NULL;
    *saved = (view_saved){row, col};
    sp_tape_record(ops, y, &x, 1, backward_view, saved);
    return y;
}

sp_tensor *sp_op_reshape(sp_ops *ops, const sp_tensor *x, int64_t rows, int64_t cols)
{
    if (!x) return NULL;
    assert(is_contiguous(x) && rows * cols == sp_tensor_rows(x) * sp_tensor_cols(x));
    return record_view(ops, new_view(ops, x->data, rows, cols, (size_t)cols * sizeof(float)), x, 0, 0);
}

sp_tensor *sp_op_columns(sp_ops *ops, const sp_tensor *x, int64_t col, int64_t n_cols)
{
    if (!x) return NULL;
    assert(col >= 0 && col + n_cols <= sp_tensor_cols(x));
    return record_view(ops, new_view(ops, (float *)x->data + col, sp_tensor_rows(x), n_cols, x->row_bytes), x,
                       0, col);
}

sp_tensor *sp_op_rows(sp_ops *ops, const sp_tensor *x, int64_t row, int64_t n_rows)
{
    if (!x) return NULL;
    assert(row >= 0 && row + n_rows <= sp_tensor_rows(x));
    return record_view(ops, new_view(ops, row_of(x, row), n_rows, sp_tensor_cols(x), x->row_bytes), x, row,
                       0);
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
static void unpack_row(const sp_kernels *k, const sp_tensor *w, int64_t row, float *dst)
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
        unpack_row(job->ops->kernels, job->table, job->ids[i], row_of(job->y, (int64_t)i));
}

/* d(table)[ids[i]] += d(y)[i], in order of i. */
static void backward_pick(sp_ops *ops, const sp_node *node)
{
    float *dx = sp_tape_grad(ops, node->inputs[0]);
    if (!dx) return;
    const int32_t *ids = node->saved;
    int64_t n = sp_tensor_cols(node->output);
    for (int64_t i = 0; i < sp_tensor_rows(node->output); i++)
        ops->kernels->add((size_t)n, node->grad + i * n, dx + ids[i] * n);
}

sp_tensor *sp_op_embed(sp_ops *ops, const sp_tensor *table, const int32_t *ids, int64_t n_ids)
{
    if (!table) return NULL;
    sp_tensor *y = sp_ops_new(ops, n_ids, sp_tensor_cols(table));
    if (!y) return NULL;
    pick_job job = {ops, table, ids, y};
    sp_pool_run(ops->pool, (size_t)n_ids, ROW_GRAIN, pick_rows, &job);
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
        const float *x = row_of(job->x, (int64_t)i);
        float mean = k->sum_squares(n, x) / (float)n;
        k->scale_mul(n, 1.0f / sqrtf(mean + job->eps), x, job->w, row_of(job->y, (int64_t)i));
    }
}

typedef struct norm_saved {
    const float *w;
    float eps;
} norm_saved;

/* With r = 1/sqrt(mean(x^2) + eps), y = r w x: dx = r (w dy - x r^2 mean(w dy x)), dw = sum over rows of r x
 * dy. */
static void backward_norm(sp_ops *ops, const sp_node *node)
{
    const sp_tensor *x = node->inputs[0];
    const norm_saved *saved = node->saved;
    float *dx = sp_tape_grad(ops, x), *dw = sp_tape_grad(ops, node->inputs[1]);
    int64_t n = sp_tensor_cols(x);
    for (int64_t i = 0; i < sp_tensor_rows(x); i++) {
        const float *xi = row_of(x, i), *dy = node->grad + i * n;
        float r = 1.0f / sqrtf(ops->kernels->sum_squares((size_t)n, xi) / (float)n + saved->eps);
        double dot = 0.0;
        for (int64_t j = 0; j < n; j++) dot += (double)(saved->w[j] * dy[j]) * xi[j];
        float c = (float)(dot / (double)n) * r * r;
        for (int64_t j = 0; dx && j < n; j++) dx[i * n + j] += r * (saved->w[j] * dy[j] - xi[j] * c);
        for (int64_t j = 0; dw && j < n; j++) dw[j] += r * xi[j] * dy[j];
    }
}

sp_tensor *sp_op_rms_norm(sp_ops *ops, const sp_tensor *x, const sp_tensor *w, float eps)
{
    if (!x) return NULL;
    int64_t n = sp_tensor_cols(x);
    assert(sp_tensor_cols(w) == n);
    sp_tensor *y = sp_ops_new(ops, sp_tensor_rows(x), n);
    const float *weights = w->data;
    if (w->dtype != SP_DTYPE_F32) {
        float *unpacked = alloc(ops, (size_t)n, sizeof *unpacked);
        if (unpacked) ops->kernels->unpack[w->dtype]((size_t)n, w->data, unpacked);
        weights = unpacked;
    }
    if (!y || !weights) return NULL;
    norm_job job = {ops, x, weights, y, eps};
    sp_pool_run(ops->pool, (size_t)sp_tensor_rows(x), ROW_GRAIN, norm_rows, &job);
    if (ops->tape) {
        norm_saved *saved = alloc(ops, 1, sizeof *saved);
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
        float *y = row_of(job->y, (int64_t)i);
        memcpy(y, row_of(job->a, (int64_t)i), n * sizeof *y);
        job->ops->kernels->add(n, row_of(job->b, (int64_t)i), y);
    }
}

static void backward_add(sp_ops *ops, const sp_node *node)
{
    size_t count = (size_t)(sp_tensor_rows(node->output) * sp_tensor_cols(node->output));
    for (int i = 0; i < 2; i++) {
        float *dx = sp_tape_grad(ops, node->inputs[i]);
        if (dx) ops->kernels->add(count, node->grad, dx);
    }
}

sp_tensor *sp_op_add(sp_ops *ops, const sp_tensor *a, const sp_tensor *b)
{
    if (!a || !b) return NULL;
    assert(sp_tensor_rows(a) == sp_tensor_rows(b) && sp_tensor_cols(a) == sp_tensor_cols(b));
    sp_tensor *y = sp_ops_new(ops, sp_tensor_rows(a), sp_tensor_cols(a));
    if (!y) return NULL;
    pair_job job = {ops, a, b, y};
    sp_pool_run(ops->pool, (size_t)sp_tensor_rows(a), ROW_GRAIN, add_rows, &job);
    if (ops->tape) sp_tape_record(ops, y, (const sp_tensor *[]){a, b}, 2, backward_add, NULL);
    return y;
}

static void concat_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const pair_job *job = ctx;
    size_t na = (size_t)sp_tensor_cols(job->a), nb = (size_t)sp_tensor_cols(job->b);
    for (size_t i = begin; i < end; i++) {
        float *y = row_of(job->y, (int64_t)i);
        memcpy(y, row_of(job->a, (int64_t)i), na * sizeof *y);
        memcpy(y + na, row_of(job->b, (int64_t)i), nb * sizeof *y);
    }
}

static void backward_concat(sp_ops *ops, const sp_node *node)
{
    int64_t cols = sp_tensor_cols(node->output), col = 0;
    for (int k = 0; k < 2; k++) {
        const sp_tensor *x = node->inputs[k];
        float *dx = sp_tape_grad(ops, x);
        int64_t n = sp_tensor_cols(x);
        for (int64_t i = 0; dx && i < sp_tensor_rows(x); i++)
            ops->kernels->add((size_t)n, node->grad + i * cols + col, dx + i * n);
        col += n;
    }
}

sp_tensor *sp_op_concat(sp_ops *ops, const sp_tensor *a, const sp_tensor *b)
{
    if (!a || !b) return NULL;
    assert(sp_tensor_rows(a) == sp_tensor_rows(b));
    sp_tensor *y = sp_ops_new(ops, sp_tensor_rows(a), sp_tensor_cols(a) + sp_tensor_cols(b));
    if (!y) return NULL;
    pair_job job = {ops, a, b, y};
    sp_pool_run(ops->pool, (size_t)sp_tensor_rows(a), ROW_GRAIN, concat_rows, &job);
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
        job->ops->kernels->swiglu((size_t)width, row_of(job->a, row) + col, row_of(job->b, row) + col,
                                  row_of(job->y, row) + col);
    }
}

/* y = s(g) g u with s the logistic function: du = s g dy, dg = u dy (s + g s (1 - s)). */
static void backward_swiglu(sp_ops *ops, const sp_node *node)
{
    const sp_tensor *gate = node->inputs[0], *up = node->inputs[1];
    float *dgate = sp_tape_grad(ops, gate), *dup = sp_tape_grad(ops, up);
    int64_t n = sp_tensor_cols(gate);
    for (int64_t i = 0; i < sp_tensor_rows(gate); i++) {
        const float *g = row_of(gate, i), *u = row_of(up, i), *dy = node->grad + i * n;
        for (int64_t j = 0; j < n; j++) {
            float s = 1.0f / (1.0f + sp_expf(-g[j]));
            if (dup) dup[i * n + j] += s * g[j] * dy[j];
            if (dgate) dgate[i * n + j] += u[j] * dy[j] * (s + g[j] * s * (1.0f - s));
        }
    }
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

/* --- rotary position embedding ----------------------------------------------------------------------------
 */

typedef struct rope_job {
    const sp_tensor *x;
    sp_tensor *y;
    const float *cos_sin; /* (T, dim): dim/2 cosines, then dim/2 sines */
    int64_t dim;
    int64_t n_per_row;
    bool interleaved;
} rope_job;

static void rotate(const rope_job *job, const float *x, const float *cs, float *y)
{
    int64_t half = job->dim / 2;
    for (int64_t i = 0; i < half; i++) {
        int64_t a = job->interleaved ? 2 * i : i, b = job->interleaved ? 2 * i + 1 : i + half;
        float c = cs[i], s = cs[half + i], xa = x[a], xb = x[b];
        y[a] = xa * c - xb * s;
        y[b] = xa * s + xb * c;
    }
}

static void rope_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const rope_job *job = ctx;
    int64_t n = sp_tensor_cols(job->x);
    for (size_t i = begin; i < end; i++) {
        const float *x = row_of(job->x, (int64_t)i);
        float *y = row_of(job->y, (int64_t)i);
        rotate(job, x, job->cos_sin + (int64_t)i / job->n_per_row * job->dim, y);
        if (n > job->dim) memcpy(y + job->dim, x + job->dim, (size_t)(n - job->dim) * sizeof *y);
    }
}

/* The transpose of a rotation is the rotation by the opposite angle. */
static void backward_rope(sp_ops *ops, const sp_node *node)
{
    const rope_job *job = node->saved;
    float *dx = sp_tape_grad(ops, node->inputs[0]);
    if (!dx) return;
    int64_t n = sp_tensor_cols(job->x), half = job->dim / 2;
    for (int64_t i = 0; i < sp_tensor_rows(job->x); i++) {
        const float *cs = job->cos_sin + i / job->n_per_row * job->dim, *dy = node->grad + i * n;
        float *d = dx + i * n;
        for (int64_t j = 0; j < half; j++) {
            int64_t a = job->interleaved ? 2 * j : j, b = job->interleaved ? 2 * j + 1 : j + half;
            d[a] += dy[a] * cs[j] + dy[b] * cs[half + j];
            d[b] += dy[b] * cs[j] - dy[a] * cs[half + j];
        }
        for (int64_t j = job->dim; j < n; j++) d[j] += dy[j];
    }
}

sp_tensor *sp_op_rope(sp_ops *ops, const sp_tensor *x, const sp_rope *rope, const int32_t *positions,
                      int64_t n_per_row)
{
    if (!x) return NULL;
    int64_t rows = sp_tensor_rows(x), n_tokens = rows / n_per_row, half = rope->dim / 2;
    assert(rows % n_per_row == 0 && sp_tensor_cols(x) >= rope->dim);
    sp_tensor *y = sp_ops_new(ops, rows, sp_tensor_cols(x));
    float *cos_sin = alloc(ops, (size_t)(n_tokens * rope->dim), sizeof *cos_sin);
    if (!y || !cos_sin) return NULL;
    for (int64_t t = 0; t < n_tokens; t++) {
        for (int64_t i = 0; i < half; i++) {
            double angle = positions[t] * rope->omega[i];
            cos_sin[t * rope->dim + i] = (float)cos(angle) * rope->factor;
            cos_sin[t * rope->dim + half + i] = (float)sin(angle) * rope->factor;
        }
    }
    rope_job job = {x, y, cos_sin, rope->dim, n_per_row, rope->interleaved};
    sp_pool_run(ops->pool, (size_t)rows, ROW_GRAIN, rope_rows, &job);
    if (ops->tape) {
        rope_job *saved = alloc(ops, 1, sizeof *saved);
        if (!saved) return NULL;
        *saved = job;
        sp_tape_record(ops, y, &x, 1, backward_rope, saved);
    }
    return y;
}
