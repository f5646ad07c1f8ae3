/* SPDX-License-Identifier: MIT */
/* The expert choice and the sum over chosen experts. Scores in float32; ties go to the lowest index. Rules:
 * DeepSeekMoE (softmax, greedy), V2 (groups by their largest score), V3 (sigmoid, choice by bias-corrected
 * score, groups by their two largest, weights from the uncorrected scores). Start at sp_op_route(). */
#include "ops/ops_parts.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static void softmax(const sp_kernels *k, int64_t n, const float *logits, float *p)
{
    memcpy(p, logits, (size_t)n * sizeof *p);
    float sum = k->exp_sum((size_t)n, k->max((size_t)n, p), p);
    k->scale((size_t)n, 1.0f / sum, p);
}

void sp_route_scores(const sp_kernels *k, sp_route_score score, int64_t n, const float *logits, float *p)
{
    if (score == SP_ROUTE_SOFTMAX)
        softmax(k, n, logits, p);
    else
        k->sigmoid((size_t)n, logits, p);
}

/* Index of the largest value, the lowest one on ties; NaN never wins. -1 if all are -inf. */
static int64_t find_largest(int64_t n, const float *x)
{
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++)
        if (x[i] > -INFINITY && (best < 0 || x[i] > x[best])) best = i;
    return best;
}

static float score_group(int64_t n, const float *x, sp_route_groups rule)
{
    float first = -INFINITY, second = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        if (x[i] > first) {
            second = first;
            first = x[i];
        } else if (x[i] > second) {
            second = x[i];
        }
    }
    if (rule == SP_ROUTE_GROUPS_MAX || n == 1) return first;
    return first + second;
}

/* Set the scores of all but the best topk_group groups to -inf. */
static void drop_groups(int64_t n_experts, float *choice, const sp_route *route, float *group_scores)
{
    int64_t size = n_experts / route->n_group;
    for (int64_t g = 0; g < route->n_group; g++)
        group_scores[g] = score_group(size, choice + g * size, route->groups);
    for (int64_t kept = 0; kept < route->topk_group; kept++) {
        int64_t best = find_largest(route->n_group, group_scores);
        if (best >= 0) group_scores[best] = -INFINITY;
    }
    for (int64_t g = 0; g < route->n_group; g++)
        if (group_scores[g] > -INFINITY)
            for (int64_t i = 0; i < size; i++) choice[g * size + i] = -INFINITY;
}

typedef struct route_job {
    const sp_ops *ops;
    const sp_tensor *logits;
    const sp_route *route;
    sp_routing *out;
    float *scratch; /* (threads, 3 E) */
} route_job;

static void choose(const route_job *job, int64_t t, float *p, float *choice, float *group_scores)
{
    const sp_route *route = job->route;
    int64_t n = job->out->n_experts;
    sp_route_scores(job->ops->kernels, route->score, n, sp_ops_row(job->logits, t), p);
    memcpy(choice, p, (size_t)n * sizeof *choice);
    if (route->bias)
        for (int64_t i = 0; i < n; i++) choice[i] += ((const float *)route->bias->data)[i];
    if (route->groups != SP_ROUTE_GROUPS_NONE && route->n_group > 1)
        drop_groups(n, choice, route, group_scores);
    int32_t *experts = job->out->experts + t * route->top_k;
    float *weights = (float *)job->out->weights->data + t * route->top_k;
    float sum = 0.0f;
    for (int64_t k = 0; k < route->top_k; k++) {
        int64_t best = find_largest(n, choice);
        if (best < 0) best = k; /* only when logits are NaN: any valid index keeps memory safe */
        experts[k] = (int32_t)best;
        weights[k] = p[best];
        sum += p[best];
        choice[best] = -INFINITY;
    }
    for (int64_t k = 0; k < route->top_k; k++)
        weights[k] = (route->normalise ? weights[k] / (sum + 1e-20f) : weights[k]) * route->scale;
}

static void route_rows(void *ctx, size_t begin, size_t end, int thread)
{
    const route_job *job = ctx;
    int64_t n = job->out->n_experts;
    float *scratch = job->scratch + thread * 3 * n;
    for (size_t t = begin; t < end; t++) choose(job, (int64_t)t, scratch, scratch + n, scratch + 2 * n);
}

/* Counting sort of the (token, slot) pairs by expert. */
static void sort_by_expert(sp_routing *r)
{
    int64_t n = r->n_tokens * r->top_k;
    memset(r->offset, 0, (size_t)(r->n_experts + 1) * sizeof *r->offset);
    for (int64_t i = 0; i < n; i++) r->offset[r->experts[i] + 1]++;
    for (int64_t e = 0; e < r->n_experts; e++) r->offset[e + 1] += r->offset[e];
    for (int64_t i = 0; i < n; i++) {
        int64_t at = r->offset[r->experts[i]]++;
        r->order[at] = (int32_t)i;
        r->tokens[at] = (int32_t)(i / r->top_k);
    }
    for (int64_t e = r->n_experts; e > 0; e--) r->offset[e] = r->offset[e - 1];
    r->offset[0] = 0;
}

/* dlogits from the gradient of the scores: both are overwritten or added to row by row. */
static void add_score_gradient(sp_route_score score, int64_t n, const float *p, const float *dp, float *dz)
{
    double mean = 0.0;
    if (score == SP_ROUTE_SOFTMAX)
        for (int64_t i = 0; i < n; i++) mean += (double)p[i] * dp[i];
    for (int64_t i = 0; i < n; i++)
        dz[i] += score == SP_ROUTE_SOFTMAX ? p[i] * (dp[i] - (float)mean) : p[i] * (1.0f - p[i]) * dp[i];
}

typedef struct route_saved {
    sp_route route; /* its bias only moves the choice: no gradient */
    const sp_routing *routing;
} route_saved;

typedef struct route_backward {
    const sp_ops *ops;
    const sp_node *node;
    float *dlogits;
    float *scratch; /* (threads, 2 E) */
} route_backward;

/* The choice is a constant. w_k = c p_k, or with normalisation c p_k / sum: dp_k = c / sum (dw_k - sum of dw_j
 * p_j / sum). */
static void backward_route_rows(void *ctx, size_t begin, size_t end, int thread)
{
    const route_backward *job = ctx;
    const route_saved *saved = job->node->saved;
    const sp_route *route = &saved->route;
    int64_t n = saved->routing->n_experts, top_k = route->top_k;
    float *p = job->scratch + thread * 2 * n, *dp = p + n;
    for (int64_t t = (int64_t)begin; t < (int64_t)end; t++) {
        const int32_t *experts = saved->routing->experts + t * top_k;
        const float *dw = job->node->grad + t * top_k;
        sp_route_scores(job->ops->kernels, route->score, n, sp_ops_row(job->node->inputs[0], t), p);
        memset(dp, 0, (size_t)n * sizeof *dp);
        double sum = 0.0, mean = 0.0;
        for (int64_t k = 0; route->normalise && k < top_k; k++) {
            sum += p[experts[k]];
            mean += (double)dw[k] * p[experts[k]];
        }
        float factor = route->normalise ? (float)(1.0 / (sum + 1e-20)) : 1.0f;
        for (int64_t k = 0; k < top_k; k++)
            dp[experts[k]] = route->scale * factor * (dw[k] - (float)mean * factor);
        add_score_gradient(route->score, n, p, dp, job->dlogits + t * n);
    }
}

static void backward_route(sp_ops *ops, const sp_node *node)
{
    const route_saved *saved = node->saved;
    route_backward job = {ops, node, sp_tape_grad(ops, node->inputs[0]), NULL};
    if (!job.dlogits) return;
    job.scratch = sp_ops_alloc(ops, (size_t)(sp_pool_threads(ops->pool) * 2 * saved->routing->n_experts),
                               sizeof *job.scratch);
    if (job.scratch) sp_pool_run(ops->pool, (size_t)saved->routing->n_tokens, 4, backward_route_rows, &job);
}

sp_routing *sp_op_route(sp_ops *ops, const sp_tensor *logits, const sp_route *route)
{
    if (!logits) return NULL;
    int64_t n_tokens = sp_tensor_rows(logits), n_experts = sp_tensor_cols(logits),
            n = n_tokens * route->top_k;
    assert(route->top_k <= n_experts && n <= INT32_MAX);
    sp_routing *r = sp_arena_alloc(ops->arena, sizeof *r);
    sp_tensor *weights = sp_ops_new(ops, n_tokens, route->top_k);
    int32_t *lists = sp_arena_alloc(ops->arena, (size_t)n * 3 * sizeof *lists);
    int64_t *offset = sp_arena_alloc(ops->arena, (size_t)(n_experts + 1) * sizeof *offset);
    float *scratch =
        sp_arena_alloc(ops->arena, (size_t)(sp_pool_threads(ops->pool) * 3 * n_experts) * sizeof *scratch);
    if (!r || !weights || !lists || !offset || !scratch) {
        if (ops->status == SP_OK) ops->status = SP_E_NOMEM;
        return NULL;
    }
    *r = (sp_routing){n_tokens, n_experts, route->top_k, lists, weights, lists + n, lists + 2 * n, offset};
    route_job job = {ops, logits, route, r, scratch};
    sp_pool_run(ops->pool, (size_t)n_tokens, 4, route_rows, &job);
    sort_by_expert(r);
    if (ops->tape) {
        const route_saved *saved = sp_ops_keep(ops, &(route_saved){*route, r}, sizeof *saved);
        if (saved) sp_tape_record(ops, weights, &logits, 1, backward_route, saved);
    }
    return r;
}

/* --- the sum over chosen experts --------------------------------------------------------------------------
 */

typedef struct combine_job {
    const sp_ops *ops;
    const sp_tensor *x;
    const sp_routing *routing;
    const int32_t *place; /* (T * K): row of x of each (token, slot) */
    sp_tensor *y;
} combine_job;

static void combine_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const combine_job *job = ctx;
    int64_t top_k = job->routing->top_k;
    size_t n = (size_t)sp_tensor_cols(job->x);
    for (int64_t t = (int64_t)begin; t < (int64_t)end; t++) {
        float *y = (float *)job->y->data + t * (int64_t)n;
        memset(y, 0, n * sizeof *y);
        const float *weights = (const float *)job->routing->weights->data + t * top_k;
        for (int64_t k = 0; k < top_k; k++)
            job->ops->kernels->axpy(n, weights[k], sp_tensor_row(job->x, job->place[t * top_k + k]), y);
    }
}

typedef struct combine_backward {
    const sp_ops *ops;
    const sp_node *node;
    float *dx, *dweights;
    bool fresh; /* dx: every row of x belongs to one token */
} combine_backward;

/* dx = weight dy, dweight = dy x; a row of x belongs to one token alone. */
static void backward_combine_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const combine_backward *job = ctx;
    const sp_tensor *x = job->node->inputs[0], *weights = job->node->inputs[1];
    const int32_t *place = job->node->saved;
    const sp_kernels *kernels = job->ops->kernels;
    int64_t n = sp_tensor_cols(x), top_k = sp_tensor_cols(weights);
    for (int64_t t = (int64_t)begin; t < (int64_t)end; t++) {
        const float *dy = job->node->grad + t * n, *w = sp_ops_row(weights, t);
        for (int64_t k = 0; k < top_k; k++) {
            int64_t row = place[t * top_k + k];
            if (job->fresh) memset(job->dx + row * n, 0, (size_t)n * sizeof *job->dx);
            if (job->dx) kernels->axpy((size_t)n, w[k], dy, job->dx + row * n);
            if (job->dweights)
                job->dweights[t * top_k + k] += kernels->dot((size_t)n, sp_ops_row(x, row), dy);
        }
    }
}

static void backward_combine(sp_ops *ops, const sp_node *node)
{
    combine_backward job = {.ops = ops, .node = node};
    job.dx = sp_tape_grad_fresh(ops, node->inputs[0], &job.fresh);
    job.dweights = sp_tape_grad(ops, node->inputs[1]);
    sp_pool_run(ops->pool, (size_t)sp_tensor_rows(node->output), 4, backward_combine_rows, &job);
}

sp_tensor *sp_op_combine(sp_ops *ops, const sp_tensor *x, const sp_routing *routing)
{
    if (!x || !routing) return NULL;
    int64_t n = routing->n_tokens * routing->top_k;
    assert(sp_tensor_rows(x) == n);
    sp_tensor *y = sp_ops_new(ops, routing->n_tokens, sp_tensor_cols(x));
    int32_t *place = sp_arena_alloc(ops->arena, (size_t)n * sizeof *place);
    if (!place && ops->status == SP_OK) ops->status = SP_E_NOMEM;
    if (!y || !place) return NULL;
    for (int64_t i = 0; i < n; i++) place[routing->order[i]] = (int32_t)i;
    combine_job job = {ops, x, routing, place, y};
    sp_pool_run(ops->pool, (size_t)routing->n_tokens, 4, combine_rows, &job);
    if (ops->tape)
        sp_tape_record(ops, y, (const sp_tensor *[]){x, routing->weights}, 2, backward_combine, place);
    return y;
}
