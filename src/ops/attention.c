/* SPDX-License-Identifier: MIT */
/* Causal attention with an online softmax over blocks of 64 keys, and the store into a key-value cache.
 * Latent attention is the same op: one key-value head whose values are the first columns of its keys.
 * Invariant (one answer): a query row visits the key blocks [0,64), [64,128), ... up to its own position,
 * always in this order, so its bits depend on the keys alone. Source: Milakov and Gimelshein 2018; Dao et al.
 * 2022. Start at sp_op_attention(). */
#include "ops/attention_parts.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define KEY_BLOCK 64
/* Heads of one key-value head that a work item treats together, sharing each unpacked key block. */
#define HEAD_BLOCK 8

typedef struct attention_job {
    const sp_kernels *kernels;
    const sp_tensor *q;
    const sp_attend *a;
    const sp_span *spans;
    int n_spans;
    sp_tensor *y;
    int64_t head_blocks; /* per key-value head */
    size_t scratch_floats;
    float *scratch; /* (threads, scratch_floats) */
    float *stats;   /* (T, nh, 2) each softmax's maximum and 1 / sum, for a tape; else NULL */
} attention_job;

/* What one work item keeps while it walks along the keys of one query row: HEAD_BLOCK running maxima and
 * sums, the accumulators being y's own rows. */
typedef struct walk {
    const attention_job *job;
    const sp_span *span;
    int64_t row; /* query row */
    int64_t kv_head;
    int64_t head; /* first of n_heads */
    int64_t n_heads;
    float max[HEAD_BLOCK];
    float sum[HEAD_BLOCK];
    float *scores; /* (KEY_BLOCK) */
    float *keys;   /* (KEY_BLOCK, k_dim) unpacked, unused for float32 */
    float *values; /* (KEY_BLOCK, v_dim) */
} walk;

/* A block of cache rows as floats: where they lie and their stride. */
typedef struct float_block {
    const float *data;
    int64_t stride;
} float_block;

static float_block load_block(const sp_kernels *k, const sp_tensor *rows, int64_t first, int64_t n,
                              int64_t col, int64_t dim, float *buffer)
{
    if (rows->dtype == SP_DTYPE_F32)
        return (float_block){(const float *)sp_tensor_row(rows, first) + col,
                             (int64_t)(rows->row_bytes / sizeof(float))};
    size_t offset = sp_dtype_row_bytes(rows->dtype, (size_t)col);
    for (int64_t i = 0; i < n; i++)
        k->unpack[rows->dtype]((size_t)dim, (const char *)sp_tensor_row(rows, first + i) + offset,
                               buffer + i * dim);
    return (float_block){buffer, dim};
}

/* Fold one block of keys into one head's running softmax. */
static void fold_block(walk *w, int64_t h, int64_t n, float_block keys, float_block values)
{
    const sp_kernels *k = w->job->kernels;
    const sp_attend *a = w->job->a;
    const float *q = (const float *)sp_tensor_row(w->job->q, w->row) + (w->head + h) * a->k_dim;
    float *acc = (float *)w->job->y->data + w->row * a->n_heads * a->v_dim + (w->head + h) * a->v_dim;
    for (int64_t i = 0; i < n; i++)
        w->scores[i] = a->scale * k->dot((size_t)a->k_dim, keys.data + i * keys.stride, q);
    float top = k->max((size_t)n, w->scores);
    if (top > w->max[h]) {
        float shrink = sp_expf(w->max[h] - top); /* 0 at the first block: exp(-inf) */
        k->scale((size_t)a->v_dim, shrink, acc);
        w->sum[h] *= shrink;
        w->max[h] = top;
    }
    w->sum[h] += k->exp_sum((size_t)n, w->max[h], w->scores);
    for (int64_t i = 0; i < n; i++)
        k->axpy((size_t)a->v_dim, w->scores[i], values.data + i * values.stride, acc);
}

static void walk_keys(walk *w)
{
    const attention_job *job = w->job;
    const sp_attend *a = job->a;
    const sp_tensor *k = w->span->k, *v = w->span->v;
    int64_t n_keys = w->span->position + (w->row - w->span->row) + 1;
    bool shared = k->data == v->data; /* latent: values are a part of the keys' rows */
    for (int64_t h = 0; h < w->n_heads; h++) {
        w->max[h] = -INFINITY;
        w->sum[h] = 0.0f;
        memset((float *)job->y->data + (w->row * a->n_heads + w->head + h) * a->v_dim, 0,
               (size_t)a->v_dim * sizeof(float));
    }
    for (int64_t first = 0; first < n_keys; first += KEY_BLOCK) {
        int64_t n = n_keys - first < KEY_BLOCK ? n_keys - first : KEY_BLOCK;
        float_block keys = load_block(job->kernels, k, first, n, w->kv_head * a->k_dim, a->k_dim, w->keys);
        float_block values = keys;
        if (!shared)
            values = load_block(job->kernels, v, first, n, w->kv_head * a->v_dim, a->v_dim, w->values);
        for (int64_t h = 0; h < w->n_heads; h++) fold_block(w, h, n, keys, values);
    }
    for (int64_t h = 0; h < w->n_heads; h++) {
        int64_t at = w->row * a->n_heads + w->head + h;
        job->kernels->scale((size_t)a->v_dim, 1.0f / w->sum[h], (float *)job->y->data + at * a->v_dim);
        if (!job->stats) continue;
        job->stats[2 * at] = w->max[h];
        job->stats[2 * at + 1] = 1.0f / w->sum[h];
    }
}

static const sp_span *span_of(const attention_job *job, int64_t row)
{
    for (int i = 0; i < job->n_spans; i++)
        if (row >= job->spans[i].row && row < job->spans[i].row + job->spans[i].n_rows) return &job->spans[i];
    return NULL;
}

static void attend_items(void *ctx, size_t begin, size_t end, int thread)
{
    const attention_job *job = ctx;
    const sp_attend *a = job->a;
    int64_t group = a->n_heads / a->n_kv_heads, per_row = a->n_kv_heads * job->head_blocks;
    float *scratch = job->scratch + (size_t)thread * job->scratch_floats;
    for (int64_t i = (int64_t)begin; i < (int64_t)end; i++) {
        int64_t row = i / per_row, kv_head = i % per_row / job->head_blocks,
                first = i % job->head_blocks * HEAD_BLOCK;
        walk w = {.job = job,
                  .span = span_of(job, row),
                  .row = row,
                  .kv_head = kv_head,
                  .head = kv_head * group + first};
        w.n_heads = group - first < HEAD_BLOCK ? group - first : HEAD_BLOCK;
        w.scores = scratch;
        w.keys = scratch + KEY_BLOCK;
        w.values = w.keys + KEY_BLOCK * a->k_dim;
        walk_keys(&w);
    }
}

static bool all_float(const sp_span *spans, int n_spans)
{
    for (int s = 0; s < n_spans; s++)
        if (spans[s].k->dtype != SP_DTYPE_F32 || spans[s].v->dtype != SP_DTYPE_F32) return false;
    return true;
}

static void record_attention(sp_ops *ops, const attention_job *job)
{
    const sp_attend *a = job->a;
    if (!all_float(job->spans, job->n_spans)) sp_tape_refuse(ops);
    for (int s = 0; s < job->n_spans; s++) {
        const sp_span *span = &job->spans[s];
        assert(span->k->data != span->v->data || a->n_kv_heads == 1 || a->k_dim == a->v_dim);
    }
    const sp_span *spans = sp_ops_keep(ops, job->spans, (size_t)job->n_spans * sizeof *spans);
    const sp_attention_saved *saved =
        sp_ops_keep(ops, &(sp_attention_saved){*a, spans, job->n_spans, job->stats}, sizeof *saved);
    if (spans && saved) sp_tape_record(ops, job->y, &job->q, 1, sp_attention_backward_blocks, saved);
}

sp_tensor *sp_op_attention(sp_ops *ops, const sp_tensor *q, const sp_attend *attend, const sp_span *spans,
                           int n_spans)
{
    if (!q) return NULL;
    for (int i = 0; i < n_spans; i++)
        if (!spans[i].k || !spans[i].v) return NULL;
    int64_t n_rows = sp_tensor_rows(q), group = attend->n_heads / attend->n_kv_heads;
    assert(sp_tensor_cols(q) == attend->n_heads * attend->k_dim);
    sp_tensor *y = sp_ops_new(ops, n_rows, attend->n_heads * attend->v_dim);
    attention_job job = {
        ops->kernels, q, attend, spans, n_spans, y, (group + HEAD_BLOCK - 1) / HEAD_BLOCK, 0, NULL, NULL};
    job.scratch_floats = (size_t)KEY_BLOCK * (size_t)(1 + attend->k_dim + attend->v_dim);
    job.scratch =
        sp_arena_alloc(ops->arena, (size_t)sp_pool_threads(ops->pool) * job.scratch_floats * sizeof(float));
    if (!job.scratch && ops->status == SP_OK) ops->status = SP_E_NOMEM;
    if (!y || !job.scratch) return NULL;
    if (ops->tape) {
        job.stats = sp_ops_alloc(ops, (size_t)(n_rows * attend->n_heads), 2 * sizeof *job.stats);
        if (!job.stats) return NULL;
    }
    if (sp_ops_use_blas(ops) && all_float(spans, n_spans))
        sp_attention_forward_blocks(ops, q, attend, spans, n_spans, y, job.stats);
    else
        sp_pool_run(ops->pool, (size_t)(n_rows * attend->n_kv_heads * job.head_blocks), 1, attend_items,
                    &job);
    if (ops->tape) record_attention(ops, &job);
    return y;
}

void sp_op_store(sp_ops *ops, const sp_tensor *x, int64_t row, int64_t n_rows, sp_tensor *cache,
                 int64_t position)
{
    if (!x) return;
    size_t n = (size_t)sp_tensor_cols(x);
    assert(sp_tensor_cols(cache) == (int64_t)n && position + n_rows <= sp_tensor_rows(cache));
    for (int64_t i = 0; i < n_rows; i++) {
        char *dst = (char *)cache->data + (size_t)(position + i) * cache->row_bytes;
        sp_status status = sp_dtype_pack(cache->dtype, sp_tensor_row(x, row + i), dst, n, NULL);
        if (status != SP_OK && ops->status == SP_OK) ops->status = status;
    }
}
