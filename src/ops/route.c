/* SPDX-License-Identifier: MIT */
/* The expert choice and the sum over chosen experts. Scores in float32; ties go to the lowest index. Rules:
 * DeepSeekMoE (softmax, greedy), V2 (groups by their largest score), V3 (sigmoid, choice by bias-corrected
 * score, groups by their two largest, weights from the uncorrected scores). Start at sp_op_route(). */
#include "ops/ops.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static void softmax(const sp_kernels *k, int64_t n, const float *logits, float *p)
{
    memcpy(p, logits, (size_t)n * sizeof *p);
    float sum = k->exp_sum((size_t)n, k->max((size_t)n, p), p);
    k->scale((size_t)n, 1.0f / sum, p);
}

static void sigmoid(int64_t n, const float *logits, float *p)
{
    for (int64_t i = 0; i < n; i++) p[i] = 1.0f / (1.0f + sp_expf(-logits[i]));
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
    const float *logits = sp_tensor_row(job->logits, t);
    if (route->score == SP_ROUTE_SOFTMAX)
        softmax(job->ops->kernels, n, logits, p);
    else
        sigmoid(n, logits, p);
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
    sp_tape_refuse(ops);
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
    sp_tape_refuse(ops);
    return y;
}
