/* SPDX-License-Identifier: MIT */
/* What a trainer minimises: each token's negative log-likelihood, fused with the head's product so that
 * logits exist for some rows at a time only (computed again in the backward pass), sums with weights, and the
 * sequence-wise balance loss of DeepSeek-V3 (report, equations 17 to 20). Start at sp_op_token_loss(). */
#include "ops/ops_parts.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Logits that exist at a time: 16 MiB. A recorded pass whose logits fit in 32 MiB keeps them as probabilities instead
 * of computing them again. */
#define CHUNK_FLOATS ((int64_t)1 << 22)
#define KEEP_FLOATS ((int64_t)1 << 23)

/* --- negative log-likelihood ------------------------------------------------------------------------------
 */

typedef struct nll_saved {
    const int32_t *targets; /* (T) */
    float *lse;             /* (T) log of the sum of exp(logits) */
    sp_tensor *kept;        /* (T, V) probabilities, NULL if they are computed again */
} nll_saved;

typedef struct nll_job {
    const sp_ops *ops;
    const nll_saved *saved;
    int64_t first;     /* row of the chunk's first logits */
    sp_tensor *logits; /* (chunk, V); the backward pass turns them into their gradient */
    float *y;          /* forward: (T) */
    const float *dy;   /* backward: (T) */
} nll_job;

static int64_t chunk_rows(int64_t n_rows, int64_t vocab_size)
{
    int64_t rows = CHUNK_FLOATS / vocab_size + 1;
    return rows < n_rows ? rows : n_rows;
}

/* Logits of some rows, recorded nowhere. */
static sp_tensor *chunk_logits(sp_ops *ops, const sp_tensor *hidden, const sp_tensor *head, int64_t first,
                               int64_t n)
{
    sp_ops plain = {.kernels = ops->kernels,
                    .pool = ops->pool,
                    .arena = ops->arena,
                    .status = ops->status,
                    .training = ops->training || ops->tape};
    sp_tensor *logits = sp_op_linear(&plain, sp_op_rows(&plain, hidden, first, n), head, NULL);
    ops->status = plain.status;
    return logits;
}

static void nll_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const nll_job *job = ctx;
    const sp_kernels *k = job->ops->kernels;
    size_t n = (size_t)sp_tensor_cols(job->logits);
    for (int64_t i = (int64_t)begin; i < (int64_t)end; i++) {
        int64_t t = job->first + i;
        int32_t target = job->saved->targets[t];
        job->y[t] = 0.0f;
        if (target < 0) continue;
        assert((size_t)target < n);
        float *logits = sp_ops_row(job->logits, i), hit = logits[target], top = k->max(n, logits);
        float sum = k->exp_sum(n, top, logits);
        double lse = top + log((double)sum);
        if (job->saved->kept) k->scale(n, 1.0f / sum, logits);
        job->saved->lse[t] = (float)lse;
        job->y[t] = (float)(lse - hit);
    }
}

/* dlogits = (softmax - onehot) dy, in place. */
static void nll_gradient_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const nll_job *job = ctx;
    const sp_kernels *k = job->ops->kernels;
    size_t n = (size_t)sp_tensor_cols(job->logits);
    for (int64_t i = (int64_t)begin; i < (int64_t)end; i++) {
        int64_t t = job->first + i;
        int32_t target = job->saved->targets[t];
        float *d = sp_ops_row(job->logits, i);
        if (target < 0) {
            memset(d, 0, n * sizeof *d);
            continue;
        }
        if (!job->saved->kept) k->exp_sum(n, job->saved->lse[t], d);
        d[target] -= 1.0f;
        k->scale(n, job->dy[t], d);
    }
}

static void backward_nll(sp_ops *ops, const sp_node *node)
{
    const sp_tensor *hidden = node->inputs[0], *head = node->inputs[1];
    const nll_saved *saved = node->saved;
    bool fresh;
    float *dw = sp_tape_grad(ops, head), *dx = sp_tape_grad_fresh(ops, hidden, &fresh);
    int64_t n_rows = sp_tensor_rows(hidden), n_in = sp_tensor_cols(hidden), n_out = sp_tensor_rows(head);
    int64_t chunk = saved->kept ? n_rows : chunk_rows(n_rows, n_out);
    for (int64_t first = 0; first < n_rows; first += chunk) {
        int64_t n = n_rows - first < chunk ? n_rows - first : chunk;
        sp_arena_mark mark = sp_arena_save(ops->arena);
        nll_job job = {ops, saved, first, saved->kept, NULL, node->grad};
        if (!job.logits) job.logits = chunk_logits(ops, hidden, head, first, n);
        if (!job.logits) return;
        sp_pool_run(ops->pool, (size_t)n, 1, nll_gradient_rows, &job);
        const float *dy = job.logits->data;
        sp_product products[2] = {
            {n_out, n_in, n, dy, 1, n_out, sp_ops_row(hidden, first), sp_ops_stride(hidden), 1, dw, n_in},
            {n, n_in, n_out, dy, n_out, 1, head->data, sp_ops_stride(head), 1, dx ? dx + first * n_in : NULL,
             n_in}};
        int64_t skip = dw ? 0 : 1, n_add = dx && !fresh ? 2 : 1;
        sp_products_both(ops, products + skip, n_add - skip, products + n_add, dx ? 2 - n_add : 0);
        sp_arena_restore(ops->arena, mark);
    }
}

/* Losses of rows in chunks, or of all at once and keeping them; false when out of memory. */
static bool run_nll(sp_ops *ops, const sp_tensor *hidden, const sp_tensor *head, nll_saved *now, float *y)
{
    int64_t n_rows = sp_tensor_rows(hidden), chunk = chunk_rows(n_rows, sp_tensor_rows(head));
    if (ops->tape && n_rows * sp_tensor_rows(head) <= KEEP_FLOATS) {
        now->kept = chunk_logits(ops, hidden, head, 0, n_rows);
        nll_job job = {ops, now, 0, now->kept, y, NULL};
        if (now->kept) sp_pool_run(ops->pool, (size_t)n_rows, 1, nll_rows, &job);
        return now->kept != NULL;
    }
    for (int64_t first = 0; first < n_rows; first += chunk) {
        int64_t n = n_rows - first < chunk ? n_rows - first : chunk;
        sp_arena_mark mark = sp_arena_save(ops->arena);
        nll_job job = {ops, now, first, chunk_logits(ops, hidden, head, first, n), y, NULL};
        if (!job.logits) return false;
        sp_pool_run(ops->pool, (size_t)n, 1, nll_rows, &job);
        sp_arena_restore(ops->arena, mark);
    }
    return true;
}

sp_tensor *sp_op_token_loss(sp_ops *ops, const sp_tensor *hidden, const sp_tensor *head,
                            const int32_t *targets)
{
    if (!hidden || !head) return NULL;
    int64_t n_rows = sp_tensor_rows(hidden);
    sp_tensor *y = sp_ops_new(ops, n_rows, 1);
    float *lse = sp_ops_alloc(ops, (size_t)n_rows, sizeof *lse);
    nll_saved now = {targets, lse, NULL};
    if (!y || !lse || !run_nll(ops, hidden, head, &now, y->data)) return NULL;
    if (ops->tape) {
        if (head->dtype != SP_DTYPE_F32) sp_tape_refuse(ops);
        const nll_saved *saved = sp_ops_keep(ops, &now, sizeof now);
        if (saved) sp_tape_record(ops, y, (const sp_tensor *[]){hidden, head}, 2, backward_nll, saved);
    }
    return y;
}

/* --- sums -------------------------------------------------------------------------------------------------
 */

static void backward_weighted_sum(sp_ops *ops, const sp_node *node)
{
    float *dx = sp_tape_grad(ops, node->inputs[0]);
    const float *weights = node->saved;
    for (int64_t i = 0; dx && i < sp_tensor_rows(node->inputs[0]); i++) dx[i] += node->grad[0] * weights[i];
}

sp_tensor *sp_op_weighted_sum(sp_ops *ops, const sp_tensor *x, const float *weights)
{
    if (!x) return NULL;
    assert(sp_tensor_cols(x) == 1);
    sp_tensor *y = sp_ops_new(ops, 1, 1);
    if (!y) return NULL;
    double sum = 0.0;
    for (int64_t i = 0; i < sp_tensor_rows(x); i++) sum += (double)weights[i] * *sp_ops_row(x, i);
    *(float *)y->data = (float)sum;
    if (ops->tape) sp_tape_record(ops, y, &x, 1, backward_weighted_sum, weights);
    return y;
}

sp_tensor *sp_op_cross_entropy(sp_ops *ops, const sp_tensor *hidden, const sp_tensor *head,
                               const int32_t *targets)
{
    sp_tensor *losses = sp_op_token_loss(ops, hidden, head, targets);
    if (!losses) return NULL;
    int64_t n_rows = sp_tensor_rows(hidden), n_targets = 0;
    float *weights = sp_ops_alloc(ops, (size_t)n_rows, sizeof *weights);
    if (!weights) return NULL;
    for (int64_t t = 0; t < n_rows; t++) n_targets += targets[t] >= 0;
    for (int64_t t = 0; t < n_rows; t++) weights[t] = targets[t] >= 0 ? 1.0f / (float)n_targets : 0.0f;
    return sp_op_weighted_sum(ops, losses, weights);
}

static void backward_scale(sp_ops *ops, const sp_node *node)
{
    float *dx = sp_tape_grad(ops, node->inputs[0]);
    const float *factor = node->saved;
    size_t n = (size_t)sp_tensor_cols(node->output);
    for (int64_t i = 0; dx && i < sp_tensor_rows(node->output); i++)
        ops->kernels->axpy(n, *factor, node->grad + (size_t)i * n, dx + (size_t)i * n);
}

sp_tensor *sp_op_scale(sp_ops *ops, const sp_tensor *x, float factor)
{
    if (!x) return NULL;
    size_t n = (size_t)sp_tensor_cols(x);
    sp_tensor *y = sp_ops_new(ops, sp_tensor_rows(x), (int64_t)n);
    if (!y) return NULL;
    for (int64_t i = 0; i < sp_tensor_rows(x); i++) {
        memcpy(sp_ops_row(y, i), sp_ops_row(x, i), n * sizeof(float));
        ops->kernels->scale(n, factor, sp_ops_row(y, i));
    }
    if (ops->tape) {
        const float *saved = sp_ops_keep(ops, &factor, sizeof factor);
        if (saved) sp_tape_record(ops, y, &x, 1, backward_scale, saved);
    }
    return y;
}

/* --- the balance of experts -------------------------------------------------------------------------------
 */

typedef struct balance_saved {
    sp_route_score score;
    int n_sequences;
    const int64_t *begins; /* (n_sequences + 1) */
    const float *load;     /* (n_sequences, E) f: 1 for a fair share */
} balance_saved;

/* Scores of one row, normalised to sum 1; returns their sum before. */
static double share_scores(sp_ops *ops, sp_route_score score, const sp_tensor *logits, int64_t t, float *p)
{
    int64_t n = sp_tensor_cols(logits);
    sp_route_scores(ops->kernels, score, n, sp_ops_row(logits, t), p);
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += p[i];
    for (int64_t i = 0; i < n; i++) p[i] = (float)(p[i] / sum);
    return sum;
}

/* With s' = s / sum of s: ds_i = (ds'_i - sum of ds'_j s'_j) / sum, and ds'_i = dy f_i / (T n_sequences). */
static void backward_balance(sp_ops *ops, const sp_node *node)
{
    const sp_tensor *logits = node->inputs[0];
    const balance_saved *saved = node->saved;
    int64_t n = sp_tensor_cols(logits);
    float *dz = sp_tape_grad(ops, logits), *p = sp_ops_alloc(ops, (size_t)n, sizeof *p);
    if (!dz || !p) return;
    for (int s = 0; s < saved->n_sequences; s++) {
        const float *load = saved->load + s * n;
        int64_t begin = saved->begins[s], end = saved->begins[s + 1];
        double factor = node->grad[0] / ((double)(end - begin) * saved->n_sequences);
        for (int64_t t = begin; t < end; t++) {
            double sum = share_scores(ops, saved->score, logits, t, p), mean = 0.0;
            for (int64_t i = 0; i < n; i++) mean += (double)load[i] * p[i];
            for (int64_t i = 0; i < n; i++) {
                double slope = saved->score == SP_ROUTE_SIGMOID ? 1.0 - p[i] * sum : 1.0;
                dz[t * n + i] += (float)(factor * (load[i] - mean) * p[i] * slope);
            }
        }
    }
}

/* f_i = E / (K T) times how often expert i is among the K best by score alone; returns sum of f_i P_i. */
static double measure_balance(sp_ops *ops, const sp_tensor *logits, const sp_balance *balance, int s,
                              float *f)
{
    int64_t n = sp_tensor_cols(logits), begin = balance->begins[s], end = balance->begins[s + 1];
    float *p = sp_ops_alloc(ops, (size_t)n, sizeof *p);
    double *share = sp_ops_alloc(ops, (size_t)n, sizeof *share), sum = 0.0;
    if (!p || !share) return 0.0;
    memset(share, 0, (size_t)n * sizeof *share);
    memset(f, 0, (size_t)n * sizeof *f);
    for (int64_t t = begin; t < end; t++) {
        share_scores(ops, balance->score, logits, t, p);
        for (int64_t i = 0; i < n; i++) share[i] += p[i];
        for (int64_t k = 0; balance->chosen && k < balance->top_k; k++)
            f[balance->chosen[t * balance->top_k + k]] += 1.0f;
        for (int64_t k = 0; !balance->chosen && k < balance->top_k; k++) {
            int64_t best = 0;
            for (int64_t i = 1; i < n; i++)
                if (p[i] > p[best]) best = i;
            p[best] = -1.0f;
            f[best] += 1.0f;
        }
    }
    double n_tokens = (double)(end - begin);
    for (int64_t i = 0; i < n; i++) {
        f[i] = (float)(f[i] * (double)n / ((double)balance->top_k * n_tokens));
        sum += f[i] * share[i] / n_tokens;
    }
    return sum;
}

sp_tensor *sp_op_balance_loss(sp_ops *ops, const sp_tensor *logits, const sp_balance *balance)
{
    if (!logits) return NULL;
    int64_t n = sp_tensor_cols(logits);
    sp_tensor *y = sp_ops_new(ops, 1, 1);
    float *load = sp_ops_alloc(ops, (size_t)(balance->n_sequences * n), sizeof *load);
    if (!y || !load) return NULL;
    double sum = 0.0;
    for (int s = 0; s < balance->n_sequences; s++)
        sum += measure_balance(ops, logits, balance, s, load + s * n);
    *(float *)y->data = (float)(sum / balance->n_sequences);
    if (ops->tape) {
        const balance_saved *saved =
            sp_ops_keep(ops, &(balance_saved){balance->score, balance->n_sequences, balance->begins, load},
                        sizeof *saved);
        if (saved) sp_tape_record(ops, y, &logits, 1, backward_balance, saved);
    }
    return y;
}
