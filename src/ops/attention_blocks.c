/* SPDX-License-Identifier: MIT */
/* Causal attention of training by blocks of query rows: scores, outputs and all gradients are matrix products
 * over the keys up to the block's last row. Where one key-value head serves all heads (latent attention), the
 * heads of a block's rows are one taller matrix. Blocks, and the parts into which a span's backward pass is
 * split, are functions of shapes alone; a part adds its blocks up in order. With p the softmax of s = scale q k
 * and o = sum of p v: ds = p (do v - do o), dq = scale ds k, dk = scale ds q, dv = p do. Start at
 * sp_attention_forward_blocks(). */
#include "ops/attention_parts.h"

#include <math.h>
#include <string.h>

/* Rows of a block's matrices aimed at (flattened heads count as rows), rows of the batch at most, and how many
 * scores a thread keeps at a time: 4 MiB. */
#define MATRIX_ROWS 256
#define MAX_ROWS 64
#define MIN_ROWS 4
#define MAX_SCORES ((int64_t)1 << 20)
/* A backward pass is cut into about this many parts, so that some threads share it evenly. */
#define PARTS 8

/* One block of query rows of one head, or of all heads at once. */
typedef struct block {
    const sp_span *span;
    int64_t first, n_rows; /* within the span */
    int64_t head;
} block;

typedef struct attention {
    sp_ops *ops;
    const sp_attend *a;
    const sp_tensor *q;
    bool flat;     /* heads of a row are rows of one matrix */
    int64_t group; /* heads per matrix row block: n_heads if flat, else 1 */
} attention;

/* The matrix of a block within a tensor of heads (T, nh dim): its first element and the stride of its rows. */
static float *head_rows(const block *b, float *data, int64_t stride, int64_t dim)
{
    return data + (b->span->row + b->first) * stride + b->head * dim;
}

static int64_t row_stride(const attention *at, int64_t stride, int64_t dim)
{
    return at->flat ? dim : stride;
}

static int64_t matrix_rows(const attention *at, const block *b)
{
    return b->n_rows * at->group;
}

static int64_t keys_of(const block *b)
{
    return b->span->position + b->first + b->n_rows;
}

/* Distance of two rows of a block's scores: whole registers of the kernels. */
static int64_t score_stride(const block *b)
{
    return (keys_of(b) + 7) / 8 * 8;
}

/* Keys that row i of a block's matrix sees. */
static int64_t visible_keys(const attention *at, const block *b, int64_t i)
{
    return b->span->position + b->first + i / at->group + 1;
}

static int64_t kv_head_of(const attention *at, const block *b)
{
    return b->head * at->a->n_kv_heads / at->a->n_heads;
}

static attention describe(sp_ops *ops, const sp_attend *a, const sp_tensor *q)
{
    bool flat = a->n_kv_heads == 1 && sp_ops_stride(q) == a->n_heads * a->k_dim;
    return (attention){ops, a, q, flat, flat ? a->n_heads : 1};
}

/* Rows of the batch in a block of this span. */
static int64_t block_rows(const attention *at, const sp_span *span)
{
    int64_t rows = MATRIX_ROWS / at->group, n_keys = span->position + span->n_rows;
    if (rows > MAX_ROWS) rows = MAX_ROWS;
    if (rows < MIN_ROWS) rows = MIN_ROWS;
    while (rows > 1 && rows * at->group * n_keys > MAX_SCORES) rows /= 2;
    int64_t count = (span->n_rows + rows - 1) / rows;
    return (span->n_rows + count - 1) / count;
}

static int64_t count_blocks(const attention *at, const sp_span *span)
{
    int64_t rows = block_rows(at, span);
    return (span->n_rows + rows - 1) / rows;
}

static block block_at(const attention *at, const sp_span *span, int64_t i, int64_t head)
{
    int64_t rows = block_rows(at, span), first = i * rows, left = span->n_rows - first;
    return (block){span, first, left < rows ? left : rows, head};
}

/* Take row i of a block's scores out of the view of keys that it may not see, up to a whole register; returns how
 * many scores the kernels then treat. exp makes them 0. */
static size_t mask_row(const attention *at, const block *b, int64_t i, float *row)
{
    int64_t n = visible_keys(at, b, i), end = (n + 7) / 8 * 8;
    for (int64_t j = n; j < end; j++) row[j] = -INFINITY;
    return (size_t)end;
}

/* The largest block's scores. */
static int64_t score_floats(const attention *at, const sp_span *spans, int n_spans)
{
    int64_t most = 0;
    for (int s = 0; s < n_spans; s++) {
        int64_t n = block_rows(at, &spans[s]) * at->group * (spans[s].position + spans[s].n_rows + 7);
        if (n > most) most = n;
    }
    return most;
}

/* p (rows, keys) = scale q k, not masked. */
static void score_block(const attention *at, const block *b, float *p)
{
    const sp_attend *a = at->a;
    int64_t q_row = sp_ops_stride(at->q), n_keys = keys_of(b);
    sp_product product = {matrix_rows(at, b),
                          n_keys,
                          a->k_dim,
                          head_rows(b, at->q->data, q_row, a->k_dim),
                          row_stride(at, q_row, a->k_dim),
                          1,
                          (float *)b->span->k->data + kv_head_of(at, b) * a->k_dim,
                          1,
                          sp_ops_stride(b->span->k),
                          p,
                          score_stride(b)};
    sp_product_compute(at->ops->kernels, &product, a->scale, SP_PRODUCTS_SET);
}

/* --- forward ----------------------------------------------------------------------------------------------
 */

typedef struct forward_job {
    attention at;
    const block *blocks;
    sp_tensor *y;
    float *stats;
    int64_t n_floats;
    float *scratch; /* (threads, n_floats) */
} forward_job;

/* Scores become probabilities, 0 where a row may not look. */
static void run_block(const forward_job *job, const block *b, float *p)
{
    const attention *at = &job->at;
    const sp_attend *a = at->a;
    const sp_kernels *k = at->ops->kernels;
    int64_t n_keys = keys_of(b), stride = score_stride(b), y_row = a->n_heads * a->v_dim,
            rows = matrix_rows(at, b);
    int64_t y_stride = row_stride(at, y_row, a->v_dim);
    float *y = head_rows(b, job->y->data, y_row, a->v_dim);
    score_block(at, b, p);
    sp_product out = {rows, a->v_dim, n_keys, p, stride, 1, NULL, sp_ops_stride(b->span->v), 1, y, y_stride};
    out.b = (float *)b->span->v->data + kv_head_of(at, b) * a->v_dim;
    for (int64_t i = 0; i < rows; i++) {
        float *row = p + i * stride;
        size_t n = mask_row(at, b, i, row);
        float top = k->max(n, row), scale = 1.0f / k->exp_sum(n, top, row);
        k->scale(n, scale, row);
        memset(row + n, 0, ((size_t)stride - n) * sizeof *row);
        if (!job->stats) continue;
        float *stats = job->stats +
                       2 * ((b->span->row + b->first + i / at->group) * a->n_heads + b->head + i % at->group);
        stats[0] = top;
        stats[1] = scale;
    }
    sp_product_compute(k, &out, 1.0f, SP_PRODUCTS_SET);
}

static void run_blocks(void *ctx, size_t begin, size_t end, int thread)
{
    const forward_job *job = ctx;
    for (size_t i = begin; i < end; i++)
        run_block(job, &job->blocks[i], job->scratch + thread * job->n_floats);
}

void sp_attention_forward_blocks(sp_ops *ops, const sp_tensor *q, const sp_attend *a, const sp_span *spans,
                                 int n_spans, sp_tensor *y, float *stats)
{
    attention at = describe(ops, a, q);
    int64_t n_blocks = 0, heads = at.flat ? 1 : a->n_heads, n = 0;
    for (int s = 0; s < n_spans; s++) n_blocks += count_blocks(&at, &spans[s]) * heads;
    sp_arena_mark mark = sp_arena_save(ops->arena);
    forward_job job = {at, NULL, y, stats, score_floats(&at, spans, n_spans), NULL};
    block *blocks = sp_ops_alloc(ops, (size_t)n_blocks, sizeof *blocks);
    job.scratch = sp_ops_alloc(ops, (size_t)(sp_pool_threads(ops->pool) * job.n_floats), sizeof *job.scratch);
    if (blocks && job.scratch) {
        for (int s = 0; s < n_spans; s++)
            for (int64_t i = count_blocks(&at, &spans[s]) - 1; i >= 0; i--) /* the longest first */
                for (int64_t h = 0; h < heads; h++) blocks[n++] = block_at(&at, &spans[s], i, h);
        job.blocks = blocks;
        sp_pool_run(ops->pool, (size_t)n_blocks, 1, run_blocks, &job);
    }
    sp_arena_restore(ops->arena, mark);
}

/* --- backward ---------------------------------------------------------------------------------------------
 */

/* Blocks part, part + n_parts, ... of one span and key-value head. A span of several parts gives each part
 * gradients of its own, which are added in order afterwards. */
typedef struct part {
    const sp_span *span;
    int64_t kv_head, index, n_parts;
    float *dk, *dv; /* NULL where nobody asks */
    int64_t dk_row, dv_row;
} part;

typedef struct backward_job {
    attention at;
    const sp_attention_saved *saved;
    const sp_node *node;
    float *dq;
    const part *parts;
    int64_t n_floats;
    float *scratch; /* (threads, 2 n_floats) p and ds */
} backward_job;

/* p as the forward pass had it. */
static void repeat_softmax(const backward_job *job, const block *b, float *p)
{
    const attention *at = &job->at;
    const sp_kernels *k = at->ops->kernels;
    int64_t stride = score_stride(b);
    score_block(at, b, p);
    for (int64_t i = 0; i < matrix_rows(at, b); i++) {
        int64_t row = b->span->row + b->first + i / at->group;
        const float *stats = job->saved->stats + 2 * (row * at->a->n_heads + b->head + i % at->group);
        size_t n = mask_row(at, b, i, p + i * stride);
        k->exp_sum(n, stats[0], p + i * stride);
        k->scale(n, stats[1], p + i * stride);
        memset(p + i * stride + n, 0, ((size_t)stride - n) * sizeof *p);
    }
}

/* ds, which holds do v, becomes scale p (ds - do o). */
static void softmax_gradient(const backward_job *job, const block *b, const float *p, float *ds)
{
    const attention *at = &job->at;
    const sp_attend *a = at->a;
    const sp_kernels *k = at->ops->kernels;
    int64_t n_keys = keys_of(b), pitch = score_stride(b), y_row = a->n_heads * a->v_dim,
            stride = row_stride(at, y_row, a->v_dim);
    const float *dy = head_rows(b, job->node->grad, y_row, a->v_dim);
    const float *y = head_rows(b, job->node->output->data, y_row, a->v_dim);
    for (int64_t i = 0; i < matrix_rows(at, b); i++) {
        float mean = k->dot((size_t)a->v_dim, dy + i * stride, y + i * stride);
        k->softmax_grad((size_t)n_keys, mean, a->scale, p + i * pitch, ds + i * pitch);
    }
}

static void backward_block(const backward_job *job, const part *to, const block *b, float *p, float *ds)
{
    const attention *at = &job->at;
    const sp_attend *a = at->a;
    const sp_span *span = b->span;
    int64_t n_keys = keys_of(b), pitch = score_stride(b), rows = matrix_rows(at, b),
            q_row = sp_ops_stride(at->q);
    int64_t y_row = a->n_heads * a->v_dim, y_stride = row_stride(at, y_row, a->v_dim);
    int64_t dq_row = a->n_heads * a->k_dim, q_stride = row_stride(at, q_row, a->k_dim);
    const float *dy = head_rows(b, job->node->grad, y_row, a->v_dim);
    const float *q = head_rows(b, at->q->data, q_row, a->k_dim);
    const float *k = (float *)span->k->data + to->kv_head * a->k_dim;
    const float *v = (float *)span->v->data + to->kv_head * a->v_dim;
    repeat_softmax(job, b, p);
    sp_product dv = {n_keys, a->v_dim, rows, p, 1, pitch, dy, y_stride, 1, to->dv, to->dv_row};
    if (to->dv) sp_product_compute(at->ops->kernels, &dv, 1.0f, SP_PRODUCTS_ADD);
    sp_product dp = {rows, n_keys, a->v_dim, dy, y_stride, 1, v, 1, sp_ops_stride(span->v), ds, pitch};
    sp_product_compute(at->ops->kernels, &dp, 1.0f, SP_PRODUCTS_SET);
    softmax_gradient(job, b, p, ds);
    sp_product dk = {n_keys, a->k_dim, rows, ds, 1, pitch, q, q_stride, 1, to->dk, to->dk_row};
    if (to->dk) sp_product_compute(at->ops->kernels, &dk, 1.0f, SP_PRODUCTS_ADD);
    if (!job->dq) return;
    sp_product dq = {rows,
                     a->k_dim,
                     n_keys,
                     ds,
                     pitch,
                     1,
                     k,
                     sp_ops_stride(span->k),
                     1,
                     NULL,
                     row_stride(at, dq_row, a->k_dim)};
    dq.c = head_rows(b, job->dq, dq_row, a->k_dim);
    sp_product_compute(at->ops->kernels, &dq, 1.0f, SP_PRODUCTS_ADD);
}

static void backward_parts(void *ctx, size_t begin, size_t end, int thread)
{
    const backward_job *job = ctx;
    const attention *at = &job->at;
    float *p = job->scratch + thread * 2 * job->n_floats, *ds = p + job->n_floats;
    int64_t per_kv = at->a->n_heads / at->a->n_kv_heads, heads = at->flat ? 1 : per_kv;
    for (size_t i = begin; i < end; i++) {
        const part *to = &job->parts[i];
        int64_t n_keys = to->span->position + to->span->n_rows;
        if (to->n_parts > 1 && to->dk) memset(to->dk, 0, (size_t)(n_keys * to->dk_row) * sizeof *to->dk);
        if (to->n_parts > 1 && to->dv) memset(to->dv, 0, (size_t)(n_keys * to->dv_row) * sizeof *to->dv);
        for (int64_t n = to->index; n < count_blocks(at, to->span); n += to->n_parts)
            for (int64_t h = 0; h < heads; h++) {
                block b = block_at(at, to->span, n, to->kv_head * per_kv + h);
                backward_block(job, to, &b, p, ds);
            }
    }
}

/* Add the parts of one key-value head: rows [begin, end) of its keys. */
typedef struct gather_job {
    const sp_kernels *kernels;
    const part *parts; /* (n_parts) of one head */
    const sp_attend *a;
    float *dk, *dv;
    int64_t dk_row, dv_row;
} gather_job;

static void gather_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const gather_job *job = ctx;
    const sp_attend *a = job->a;
    for (int64_t row = (int64_t)begin; row < (int64_t)end; row++)
        for (int64_t i = 0; i < job->parts[0].n_parts; i++) {
            const part *from = &job->parts[i];
            if (job->dk)
                job->kernels->add((size_t)a->k_dim, from->dk + row * a->k_dim, job->dk + row * job->dk_row);
            if (job->dv)
                job->kernels->add((size_t)a->v_dim, from->dv + row * a->v_dim, job->dv + row * job->dv_row);
        }
}

/* How many parts a span is worth, of `total` query-key pairs in all. */
static int64_t count_parts(const attention *at, const sp_span *span, double total)
{
    double pairs = (double)span->n_rows * ((double)span->position + 0.5 * (double)span->n_rows);
    int64_t n = (int64_t)(pairs / total * PARTS / (double)at->a->n_kv_heads + 0.5);
    int64_t n_blocks = count_blocks(at, span);
    if (n > n_blocks) n = n_blocks;
    return n > 1 ? n : 1;
}

/* Where the gradients of one key-value head begin. */
typedef struct target {
    float *dk, *dv;
    int64_t dk_row, dv_row;
} target;

static target target_of(sp_ops *ops, const sp_attend *a, const sp_span *span, int64_t kv_head)
{
    float *dk = sp_tape_grad(ops, span->k), *dv = span->v == span->k ? dk : sp_tape_grad(ops, span->v);
    return (target){dk ? dk + kv_head * a->k_dim : NULL, dv ? dv + kv_head * a->v_dim : NULL,
                    sp_tensor_cols(span->k), sp_tensor_cols(span->v)};
}

/* Fill the parts of one span; false when out of memory. */
static bool plan_span(const attention *at, const sp_span *span, int64_t n_parts, part *parts)
{
    const sp_attend *a = at->a;
    int64_t n_keys = span->position + span->n_rows;
    for (int64_t h = 0; h < a->n_kv_heads; h++) {
        target t = target_of(at->ops, a, span, h);
        for (int64_t i = 0; i < n_parts; i++) {
            part *to = &parts[h * n_parts + i];
            *to = (part){span, h, i, n_parts, t.dk, t.dv, t.dk_row, t.dv_row};
            if (n_parts == 1) continue;
            float *own = sp_ops_alloc(at->ops, (size_t)(n_keys * (a->k_dim + a->v_dim)), sizeof *own);
            if (!own) return false;
            if (t.dk) to->dk = own;
            if (t.dv) to->dv = own + n_keys * a->k_dim;
            to->dk_row = a->k_dim;
            to->dv_row = a->v_dim;
        }
    }
    return true;
}

static void gather_span(const attention *at, const part *parts)
{
    const sp_span *span = parts[0].span;
    for (int64_t h = 0; parts[0].n_parts > 1 && h < at->a->n_kv_heads; h++) {
        target t = target_of(at->ops, at->a, span, h);
        gather_job job = {at->ops->kernels, parts + h * parts[0].n_parts, at->a, t.dk, t.dv, t.dk_row,
                          t.dv_row};
        sp_pool_run(at->ops->pool, (size_t)(span->position + span->n_rows), 16, gather_rows, &job);
    }
}

/* Spans whose keys and values no other of them shares. */
static void backward_spans(sp_ops *ops, backward_job *job, const sp_span *spans, int n_spans)
{
    const attention *at = &job->at;
    double total = 0.0;
    int64_t n = 0;
    for (int s = 0; s < n_spans; s++) {
        total += (double)spans[s].n_rows * ((double)spans[s].position + 0.5 * (double)spans[s].n_rows);
        sp_tape_grad(ops, spans[s].k); /* before the mark */
        sp_tape_grad(ops, spans[s].v);
    }
    for (int s = 0; s < n_spans; s++) n += count_parts(at, &spans[s], total) * at->a->n_kv_heads;
    sp_arena_mark mark = sp_arena_save(ops->arena);
    job->n_floats = score_floats(at, spans, n_spans);
    job->scratch =
        sp_ops_alloc(ops, (size_t)(sp_pool_threads(ops->pool) * job->n_floats), 2 * sizeof *job->scratch);
    part *parts = sp_ops_alloc(ops, (size_t)n, sizeof *parts);
    bool ready = job->scratch && parts && ops->status == SP_OK;
    n = 0;
    for (int s = 0; s < n_spans && ready; s++) {
        int64_t n_parts = count_parts(at, &spans[s], total);
        ready = plan_span(at, &spans[s], n_parts, parts + n);
        n += n_parts * at->a->n_kv_heads;
    }
    if (ready) {
        job->parts = parts;
        sp_pool_run(ops->pool, (size_t)n, 1, backward_parts, job);
        for (const part *p = parts; p < parts + n; p += p->n_parts * at->a->n_kv_heads) gather_span(at, p);
    }
    sp_arena_restore(ops->arena, mark);
}

/* Whether the gradients of two tensors have elements in common (views of one tensor may). */
static bool share_gradient(sp_ops *ops, const sp_tensor *a, const sp_tensor *b)
{
    const float *da = sp_tape_grad(ops, a), *db = sp_tape_grad(ops, b);
    return da && db && da < db + sp_tensor_rows(b) * sp_tensor_cols(b) &&
           db < da + sp_tensor_rows(a) * sp_tensor_cols(a);
}

/* Spans [0, n) share nothing with span n. */
static bool stands_alone(sp_ops *ops, const sp_span *spans, int n)
{
    for (int s = 0; s < n; s++)
        if (share_gradient(ops, spans[s].k, spans[n].k) || share_gradient(ops, spans[s].v, spans[n].v))
            return false;
    return true;
}

void sp_attention_backward_blocks(sp_ops *ops, const sp_node *node)
{
    const sp_attention_saved *saved = node->saved;
    backward_job job = {.at = describe(ops, &saved->a, node->inputs[0]), .saved = saved, .node = node};
    job.dq = sp_tape_grad(ops, node->inputs[0]);
    for (int first = 0, n; first < saved->n_spans; first += n) {
        const sp_span *spans = saved->spans + first;
        for (n = 1; first + n < saved->n_spans && stands_alone(ops, spans, n); n++) continue;
        backward_spans(ops, &job, spans, n);
    }
}
