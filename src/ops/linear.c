/* SPDX-License-Identifier: MIT */
/* Matrix products: plain ones, and what those per head (linear_heads.c) and per expert (linear_experts.c) stand on. All
 * go through multiply_rows(), whose kernel makes each output from one weight row and one activation row, so neither
 * threads nor batch size can change its bits. Work is shared out by weight rows. Start at sp_op_linear(). */
#include "ops/linear_parts.h"

#include <assert.h>
#include <string.h>

/* Multiply-adds that make a chunk worth a trip to the shared counter, and weight rows that a chunk has at least:
 * the kernels treat so many together. */
#define CHUNK_WORK 262144
/* So many further activation rows cost what the first does, for which the weights are read. */
#define FIRST_ROW 4
#define CHUNK_ROWS 64

typedef struct quantize_job {
    sp_act_fn quantize;
    const sp_tensor *x;
    char *rows;
    size_t stride;
} quantize_job;

static void quantize_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const quantize_job *job = ctx;
    for (size_t i = begin; i < end; i++)
        job->quantize((size_t)sp_tensor_cols(job->x), sp_tensor_row(job->x, (int64_t)i),
                      job->rows + i * job->stride);
}

bool sp_linear_prepare(sp_ops *ops, const sp_tensor *x, sp_act act, sp_act_rows *out)
{
    if (act == SP_ACT_F32) {
        *out = (sp_act_rows){x->data, x->row_bytes};
        return true;
    }
    size_t stride = sp_act_row_bytes(act, (size_t)sp_tensor_cols(x));
    if (ops->act_of[act] != x) {
        int64_t n = sp_tensor_rows(x);
        char *rows = sp_arena_alloc(ops->arena, (size_t)n * stride);
        if (!rows) {
            if (ops->status == SP_OK) ops->status = SP_E_NOMEM;
            return false;
        }
        quantize_job job = {ops->kernels->quantize[act], x, rows, stride};
        sp_pool_run(ops->pool, (size_t)n, sp_ops_grain(sp_tensor_cols(x)), quantize_rows, &job);
        ops->act_of[act] = x;
        ops->act_rows[act] = rows;
    }
    *out = (sp_act_rows){ops->act_rows[act], stride};
    return true;
}

/* Rows begin .. end - 1 of w times x. next: as in sp_matmul. */
static void multiply_matrix(const sp_linear_product *p, const sp_tensor *w, sp_act_rows x, float *y,
                            int64_t begin, int64_t end, const void *next)
{
    sp_matmul m = {(size_t)sp_tensor_cols(w),
                   sp_tensor_row(w, p->w_row + begin),
                   w->row_bytes,
                   end - begin,
                   x.data,
                   x.stride,
                   p->n_x,
                   y + begin,
                   p->y_stride,
                   w->scale,
                   p->w_row + begin,
                   next};
    p->kernels->matmul[w->dtype](&m);
}

static void multiply_rows(const sp_linear_product *p, int64_t begin, int64_t end, const void *next)
{
    const void *up = p->up ? sp_tensor_row(p->up, p->w_row + begin) : next;
    multiply_matrix(p, p->w, p->x, p->y, begin, end, up);
    if (p->up) multiply_matrix(p, p->up, p->x_up, p->u, begin, end, next);
    for (int64_t t = 0; t < p->n_x && (p->bias || p->up); t++) {
        float *y = p->y + t * p->y_stride + begin;
        if (p->bias) p->kernels->add((size_t)(end - begin), p->bias + begin, y);
        if (p->up) p->kernels->swiglu((size_t)(end - begin), y, p->u + t * p->y_stride + begin, y);
    }
}

static int64_t count_chunks(const sp_linear_product *p)
{
    return (p->n_out + CHUNK_ROWS - 1) / CHUNK_ROWS;
}

typedef struct chunk_job {
    const sp_linear_product *products, *end;
} chunk_job;

/* Where the chunk after the first n of a product begins; a thread's chunks mostly follow each other. */
static const void *next_chunk(const chunk_job *job, const sp_linear_product *p, int64_t n)
{
    if (n < count_chunks(p)) return sp_tensor_row(p->w, p->w_row + n * CHUNK_ROWS);
    return p + 1 < job->end ? sp_tensor_row(p[1].w, p[1].w_row) : NULL;
}

/* Item i is the i-th chunk of weight rows, one product after the other. */
static void multiply_chunks(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const chunk_job *job = ctx;
    const sp_linear_product *p = job->products;
    int64_t first = 0;
    for (int64_t i = (int64_t)begin; i < (int64_t)end;) {
        while (i >= first + count_chunks(p)) first += count_chunks(p++);
        int64_t stop = first + count_chunks(p) < (int64_t)end ? first + count_chunks(p) : (int64_t)end;
        int64_t last = (stop - first) * CHUNK_ROWS;
        multiply_rows(p, (i - first) * CHUNK_ROWS, last < p->n_out ? last : p->n_out,
                      next_chunk(job, p, stop - first));
        i = stop;
    }
}

/* Set rows of y to the bias, which a BLAS product then adds to. */
static void spread_bias(const sp_linear_product *p)
{
    for (int64_t t = 0; t < p->n_x; t++)
        memcpy(p->y + t * p->y_stride, p->bias, (size_t)p->n_out * sizeof *p->y);
}

/* y = x W^T for float32 weights in training; all products have a bias, or none has. */
static void run_float(sp_ops *ops, const sp_linear_product *products, int64_t n_products)
{
    sp_arena_mark mark = sp_arena_save(ops->arena);
    sp_product *list = sp_ops_alloc(ops, (size_t)n_products, sizeof *list);
    if (!list) return;
    for (int64_t i = 0; i < n_products; i++) {
        const sp_linear_product *p = &products[i];
        if (p->bias) spread_bias(p);
        list[i] = (sp_product){p->n_x,
                               p->n_out,
                               sp_tensor_cols(p->w),
                               (const float *)(const void *)p->x.data,
                               (int64_t)(p->x.stride / sizeof(float)),
                               1,
                               sp_ops_row(p->w, p->w_row),
                               1,
                               sp_ops_stride(p->w),
                               p->y,
                               p->y_stride};
    }
    int64_t n_add = products[0].bias ? n_products : 0;
    if (sp_ops_use_fp8(ops))
        sp_products_fp8(ops, list, n_products, n_add, 0);
    else
        sp_products_both(ops, list, n_add, list + n_add, n_products - n_add);
    sp_arena_restore(ops->arena, mark);
}

static bool all_float(const sp_linear_product *products, int64_t n_products)
{
    for (int64_t i = 0; i < n_products; i++)
        if (products[i].w->dtype != SP_DTYPE_F32) return false;
    return true;
}

/* All chunks of some products in one job. */
static void run_chunks(sp_ops *ops, sp_linear_product *products, int64_t n_products)
{
    int64_t work = 0, n_chunks = 0;
    for (int64_t i = 0; i < n_products; i++) {
        const sp_linear_product *p = &products[i];
        n_chunks += count_chunks(p);
        work += p->n_out * sp_tensor_cols(p->w) * (p->up ? 2 : 1) * (p->n_x + FIRST_ROW - 1) / FIRST_ROW;
    }
    if (n_chunks == 0) return;
    chunk_job job = {products, products + n_products};
    int64_t n_parts = work < 2 * CHUNK_WORK ? 1 : work / CHUNK_WORK;
    sp_pool_run(ops->pool, (size_t)n_chunks, (size_t)((n_chunks + n_parts - 1) / n_parts), multiply_chunks,
                &job);
}

void sp_linear_run(sp_ops *ops, sp_linear_product *products, int64_t n_products)
{
    if (n_products == 0) return;
    if ((sp_ops_use_gemm(ops) || sp_ops_use_fp8(ops)) && all_float(products, n_products))
        run_float(ops, products, n_products);
    else
        run_chunks(ops, products, n_products);
}

/* --- y = W x + b ------------------------------------------------------------------------------------------
 */

sp_product sp_linear_dx(const sp_tensor *w, int64_t n_out, int64_t m, const float *dy, float *dx)
{
    int64_t n_in = sp_tensor_cols(w);
    return (sp_product){m, n_in, n_out, dy, n_out, 1, w->data, sp_ops_stride(w), 1, dx, n_in};
}

sp_product sp_linear_dw(int64_t n_out, int64_t n_in, int64_t m, const float *dy, const float *x,
                        int64_t x_row, float *dw)
{
    return (sp_product){n_out, n_in, m, dy, 1, n_out, x, x_row, 1, dw, n_in};
}

void sp_linear_backward(sp_ops *ops, const sp_node *node, const sp_product *products, int64_t n_dw,
                        int64_t n_dx, bool fresh)
{
    int64_t n_add = fresh ? n_dw : n_dw + n_dx;
    if (node->fp8)
        sp_products_fp8(ops, products, n_dw + n_dx, n_add, n_dw);
    else
        sp_products_both(ops, products, n_add, products + n_add, n_dw + n_dx - n_add);
}

typedef struct bias_job {
    const sp_ops *ops;
    const float *dy; /* (T, n) */
    int64_t n_rows, n;
    float *db;
} bias_job;

static void add_bias_columns(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const bias_job *job = ctx;
    for (int64_t t = 0; t < job->n_rows; t++)
        job->ops->kernels->add(end - begin, job->dy + t * job->n + begin, job->db + begin);
}

/* dx = dy W, dW += dy^T x, db += sum dy in order of rows; for float32 weights. */
static void backward_linear(sp_ops *ops, const sp_node *node)
{
    const sp_tensor *x = node->inputs[0], *w = node->inputs[1], *b = node->inputs[2];
    bool fresh;
    float *dw = sp_tape_grad(ops, w), *db = sp_tape_grad(ops, b), *dx = sp_tape_grad_fresh(ops, x, &fresh);
    int64_t n_in = sp_tensor_cols(w), n_out = sp_tensor_rows(w), n_x = sp_tensor_rows(x);
    sp_product products[2];
    int n = 0;
    if (dw) products[n++] = sp_linear_dw(n_out, n_in, n_x, node->grad, x->data, sp_ops_stride(x), dw);
    if (dx) products[n++] = sp_linear_dx(w, n_out, n_x, node->grad, dx);
    sp_linear_backward(ops, node, products, dw != NULL, dx != NULL, fresh);
    bias_job job = {ops, node->grad, n_x, n_out, db};
    if (db) sp_pool_run(ops->pool, (size_t)n_out, 64, add_bias_columns, &job);
}

void sp_linear_refuse(sp_ops *ops, const sp_tensor *w)
{
    if (w->dtype != SP_DTYPE_F32) sp_tape_refuse(ops);
}

/* y = w x + b as an item of a job; false when out of memory. */
static bool describe_linear(sp_ops *ops, const sp_tensor *x, const sp_tensor *w, const sp_tensor *b,
                            sp_linear_product *p, sp_tensor **y)
{
    assert(sp_tensor_cols(x) == sp_tensor_cols(w));
    assert(!b || b->dtype == SP_DTYPE_F32);
    int64_t n_out = sp_tensor_rows(w), n_x = sp_tensor_rows(x);
    *p = (sp_linear_product){.kernels = ops->kernels, .w = w, .n_out = n_out, .n_x = n_x, .y_stride = n_out};
    *y = sp_ops_new(ops, n_x, n_out);
    if (!*y || !sp_linear_prepare(ops, x, sp_linear_act(w), &p->x)) return false;
    p->y = (*y)->data;
    p->bias = b ? b->data : NULL;
    return true;
}

sp_tensor *sp_op_linear(sp_ops *ops, const sp_tensor *x, const sp_tensor *w, const sp_tensor *b)
{
    if (!x || !w) return NULL;
    sp_tensor *y;
    sp_linear_product p;
    if (!describe_linear(ops, x, w, b, &p, &y)) return NULL;
    sp_linear_run(ops, &p, 1);
    if (ops->tape) {
        sp_linear_refuse(ops, w);
        sp_tape_record(ops, y, (const sp_tensor *[]){x, w, b}, 3, backward_linear, NULL);
    }
    return y;
}

bool sp_linear_is_trained(const sp_ops *ops)
{
    return ops->tape || ops->training;
}

void sp_op_linears(sp_ops *ops, const sp_tensor *x, const sp_linear *linears, int n, sp_tensor **y)
{
    sp_linear_product products[SP_LINEARS_MAX];
    assert(n <= SP_LINEARS_MAX);
    bool ok = x != NULL;
    for (int i = 0; i < n; i++) {
        y[i] = NULL;
        if (sp_linear_is_trained(ops))
            y[i] = sp_op_linear(ops, x, linears[i].w, linears[i].b);
        else if (ok)
            ok = describe_linear(ops, x, linears[i].w, linears[i].b, &products[i], &y[i]);
    }
    if (ok && !sp_linear_is_trained(ops)) sp_linear_run(ops, products, n);
}

sp_tensor *sp_op_gated(sp_ops *ops, const sp_tensor *x, const sp_tensor *gate, const sp_tensor *up)
{
    if (!x) return NULL;
    if (sp_linear_is_trained(ops))
        return sp_op_swiglu(ops, sp_op_linear(ops, x, gate, NULL), sp_op_linear(ops, x, up, NULL));
    sp_linear_product p, q;
    sp_tensor *y, *u;
    if (!describe_linear(ops, x, gate, NULL, &p, &y) || !describe_linear(ops, x, up, NULL, &q, &u))
        return NULL;
    p.up = up;
    p.x_up = q.x;
    p.u = q.y;
    sp_linear_run(ops, &p, 1);
    return y;
}

sp_tensor *sp_op_linear_exact(sp_ops *ops, const sp_tensor *x, const sp_tensor *w, const sp_tensor *b)
{
    bool fp8 = ops->fp8;
    ops->fp8 = false;
    sp_tensor *y = sp_op_linear(ops, x, w, b);
    ops->fp8 = fp8;
    return y;
}
