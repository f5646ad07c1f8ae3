/* SPDX-License-Identifier: MIT */
/* Dispatch and return of expert rows (DeepSeek-V3 report, 3.2.2: expert parallelism; what is sent and when, not its kernels).
 * A source's rows, sorted by expert, are thereby sorted by owner; an owner gets them source after source and sorts them by
 * expert. Orders depend on the choices alone, so the same processes give the same bits. Start at sp_op_dispatch(). */
#include "ops/exchange.h"

#include "ops/ops_parts.h"

#include <assert.h>
#include <string.h>

#define ROW_GRAIN 8

struct sp_exchange {
    sp_comm *comm;
    const sp_routing *routing; /* of this process's tokens */
    sp_routing local;          /* of the experts that are here */
    int64_t *source_begins;    /* (size + 1) rows of this process by owner */
    int64_t *owner_begins;     /* (size + 1) rows that are here by source */
    int32_t *place;            /* (N) row, sorted by expert, of each row that came */
};

static void note_status(sp_ops *ops, sp_status status)
{
    if (status != SP_OK && ops->status == SP_OK) ops->status = status;
}

/* --- rows by index ------------------------------------------------------------------------------------------- */

/* Copy or add rows: dst[to[i]] (=, +=) src[from[i]]; a NULL index is i itself. */
typedef struct rows_job {
    const sp_ops *ops;
    const float *src;
    float *dst;
    int64_t src_row, dst_row, n; /* strides and width in floats */
    const int32_t *from, *to;
} rows_job;

static void copy_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const rows_job *job = ctx;
    for (size_t i = begin; i < end; i++) {
        int64_t from = job->from ? job->from[i] : (int64_t)i, to = job->to ? job->to[i] : (int64_t)i;
        memcpy(job->dst + to * job->dst_row, job->src + from * job->src_row, (size_t)job->n * sizeof(float));
    }
}

static void add_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const rows_job *job = ctx;
    for (size_t i = begin; i < end; i++) {
        int64_t from = job->from ? job->from[i] : (int64_t)i;
        job->ops->kernels->add((size_t)job->n, job->src + from * job->src_row,
                               job->dst + (int64_t)i * job->dst_row);
    }
}

/* --- the two directions --------------------------------------------------------------------------------------- */

/* rows (T K, n) sorted by expert at their source -> here (N, n) sorted by expert at their owner. */
static bool send_to_owners(sp_ops *ops, const sp_exchange *x, const float *rows, int64_t n, float *here)
{
    sp_error err = SP_ERROR_NONE;
    sp_arena_mark mark = sp_arena_save(ops->arena);
    float *came = sp_ops_alloc(ops, (size_t)(x->local.n_tokens * n), sizeof *came);
    if (!came) return false;
    sp_status status = sp_comm_exchange(x->comm, rows, x->source_begins, came, x->owner_begins,
                                        (size_t)n * sizeof *rows, &err);
    rows_job job = {ops, came, here, n, n, n, NULL, x->place};
    if (status == SP_OK) sp_pool_run(ops->pool, (size_t)x->local.n_tokens, ROW_GRAIN, copy_rows, &job);
    sp_arena_restore(ops->arena, mark);
    note_status(ops, status);
    return status == SP_OK;
}

/* The opposite. */
static bool send_to_sources(sp_ops *ops, const sp_exchange *x, const float *here, int64_t n, float *rows)
{
    sp_error err = SP_ERROR_NONE;
    sp_arena_mark mark = sp_arena_save(ops->arena);
    float *leave = sp_ops_alloc(ops, (size_t)(x->local.n_tokens * n), sizeof *leave);
    if (!leave) return false;
    rows_job job = {ops, here, leave, n, n, n, x->place, NULL};
    sp_pool_run(ops->pool, (size_t)x->local.n_tokens, ROW_GRAIN, copy_rows, &job);
    sp_status status = sp_comm_exchange(x->comm, leave, x->owner_begins, rows, x->source_begins,
                                        (size_t)n * sizeof *rows, &err);
    sp_arena_restore(ops->arena, mark);
    note_status(ops, status);
    return status == SP_OK;
}

/* --- the plan --------------------------------------------------------------------------------------------------- */

/* counts (size, n_here): how many rows each source sends to each expert here. */
static void place_rows(sp_exchange *x, const int64_t *counts, int size)
{
    int64_t n_here = x->local.n_experts, *offset = x->local.offset;
    memset(offset, 0, (size_t)(n_here + 1) * sizeof *offset);
    for (int r = 0; r < size; r++)
        for (int64_t e = 0; e < n_here; e++) offset[e + 1] += counts[r * n_here + e];
    for (int64_t e = 0; e < n_here; e++) offset[e + 1] += offset[e];
    for (int64_t r = 0, i = 0; r < size; r++)
        for (int64_t e = 0; e < n_here; e++) {
            int64_t before = offset[e];
            for (int64_t q = 0; q < r; q++) before += counts[q * n_here + e];
            for (int64_t k = 0; k < counts[r * n_here + e]; k++) x->place[i++] = (int32_t)(before + k);
        }
}

/* Everybody's counts of rows per expert here -> (size, n_here); NULL on failure. */
static int64_t *exchange_counts(sp_ops *ops, const sp_exchange *x, int size)
{
    sp_error err = SP_ERROR_NONE;
    int64_t n_here = x->local.n_experts, n = n_here * size;
    int64_t *counts = sp_ops_alloc(ops, (size_t)n * 2, sizeof *counts);
    int64_t *begins = sp_ops_alloc(ops, (size_t)size + 1, sizeof *begins);
    if (!counts || !begins) return NULL;
    for (int64_t e = 0; e < n; e++) counts[n + e] = x->routing->offset[e + 1] - x->routing->offset[e];
    for (int r = 0; r <= size; r++) begins[r] = r * n_here;
    sp_status status = sp_comm_exchange(x->comm, counts + n, begins, counts, begins, sizeof *counts, &err);
    note_status(ops, status);
    return status == SP_OK ? counts : NULL;
}

static sp_exchange *plan_exchange(sp_ops *ops, const sp_routing *routing, const sp_expert_group *group)
{
    int size = sp_comm_size(group->comm);
    int64_t n_here = routing->n_experts / size;
    assert(n_here * size == routing->n_experts);
    sp_exchange *x = sp_ops_alloc(ops, 1, sizeof *x);
    int64_t *begins = sp_ops_alloc(ops, (size_t)size * 2 + 2, sizeof *begins);
    int64_t *offset = sp_ops_alloc(ops, (size_t)n_here + 1, sizeof *offset);
    if (!x || !begins || !offset) return NULL;
    *x = (sp_exchange){.comm = group->comm,
                       .routing = routing,
                       .local = {.n_experts = n_here, .top_k = 1, .offset = offset},
                       .source_begins = begins,
                       .owner_begins = begins + size + 1};
    int64_t *counts = exchange_counts(ops, x, size);
    if (!counts) return NULL;
    x->owner_begins[0] = 0;
    for (int r = 0; r < size; r++) {
        x->source_begins[r] = routing->offset[r * n_here];
        x->owner_begins[r + 1] = x->owner_begins[r];
        for (int64_t e = 0; e < n_here; e++) x->owner_begins[r + 1] += counts[r * n_here + e];
    }
    x->source_begins[size] = routing->offset[routing->n_experts];
    x->local.n_tokens = x->owner_begins[size];
    assert(x->local.n_tokens <= INT32_MAX);
    x->place = sp_ops_alloc(ops, (size_t)x->local.n_tokens, sizeof *x->place);
    if (x->place) place_rows(x, counts, size);
    return x->place ? x : NULL;
}

/* Nodes are few; each expert's is its number over the experts per node. */
static void count_nodes(const sp_routing *routing, const sp_expert_group *group)
{
    sp_exchange_counts *c = group->counts;
    int64_t size = sp_comm_size(group->comm), rank = sp_comm_rank(group->comm), top_k = routing->top_k;
    int64_t per_rank = routing->n_experts / size, ranks = size / group->n_nodes, own = rank / ranks;
    for (int64_t t = 0; t < routing->n_tokens; t++) {
        const int32_t *experts = routing->experts + t * top_k;
        int32_t n_nodes = 0;
        for (int64_t k = 0; k < top_k; k++) {
            int64_t owner = experts[k] / per_rank, node = owner / ranks, seen = 0;
            for (int64_t j = 0; j < k; j++) seen |= experts[j] / per_rank / ranks == node;
            n_nodes += !seen;
            c->rows_away += owner != rank;
            c->rows_far += node != own;
        }
        c->nodes += n_nodes;
        if (n_nodes > c->nodes_largest) c->nodes_largest = n_nodes;
    }
    c->tokens += routing->n_tokens;
    c->rows += routing->n_tokens * top_k;
}

/* --- the ops --------------------------------------------------------------------------------------------------- */

/* dx[token] += what came back, a token's slots in order of expert. */
static void backward_dispatch(sp_ops *ops, const sp_node *node)
{
    const sp_exchange *x = node->saved;
    int64_t n = sp_tensor_cols(node->output), n_rows = x->routing->n_tokens * x->routing->top_k;
    float *dx = sp_tape_grad(ops, node->inputs[0]);
    sp_arena_mark mark = sp_arena_save(ops->arena);
    float *rows = sp_ops_alloc(ops, (size_t)(n_rows * n), sizeof *rows);
    if (!rows || !send_to_sources(ops, x, node->grad, n, rows)) return;
    for (int64_t i = 0; dx && i < n_rows; i++)
        ops->kernels->add((size_t)n, rows + i * n, dx + x->routing->tokens[i] * n);
    sp_arena_restore(ops->arena, mark);
}

sp_tensor *sp_op_dispatch(sp_ops *ops, const sp_tensor *x, const sp_routing *routing,
                          const sp_expert_group *group, const sp_exchange **exchange)
{
    *exchange = NULL;
    if (!x || !routing) return NULL;
    if (group->counts) count_nodes(routing, group);
    sp_exchange *plan = plan_exchange(ops, routing, group);
    if (!plan) return NULL;
    int64_t n = sp_tensor_cols(x), n_rows = routing->n_tokens * routing->top_k;
    sp_tensor *y = sp_ops_new(ops, plan->local.n_tokens, n);
    sp_arena_mark mark = sp_arena_save(ops->arena);
    float *rows = sp_ops_alloc(ops, (size_t)(n_rows * n), sizeof *rows);
    if (!y || !rows) return NULL;
    rows_job job = {ops, x->data, rows, sp_ops_stride(x), n, n, routing->tokens, NULL};
    sp_pool_run(ops->pool, (size_t)n_rows, ROW_GRAIN, copy_rows, &job);
    if (!send_to_owners(ops, plan, rows, n, y->data)) return NULL;
    sp_arena_restore(ops->arena, mark);
    sp_tape_record(ops, y, &x, 1, backward_dispatch, plan);
    *exchange = plan;
    return y;
}

const sp_routing *sp_exchange_routing(const sp_exchange *exchange)
{
    return exchange ? &exchange->local : NULL;
}

static void backward_return(sp_ops *ops, const sp_node *node)
{
    const sp_exchange *x = node->saved;
    int64_t n = sp_tensor_cols(node->output), n_here = x->local.n_tokens;
    float *dy = sp_tape_grad(ops, node->inputs[0]);
    sp_arena_mark mark = sp_arena_save(ops->arena);
    float *here = sp_ops_alloc(ops, (size_t)(n_here * n), sizeof *here);
    if (!here || !send_to_owners(ops, x, node->grad, n, here)) return;
    rows_job job = {ops, here, dy, n, n, n, NULL, NULL};
    if (dy) sp_pool_run(ops->pool, (size_t)n_here, ROW_GRAIN, add_rows, &job);
    sp_arena_restore(ops->arena, mark);
}

sp_tensor *sp_op_return(sp_ops *ops, const sp_tensor *y, const sp_exchange *exchange)
{
    if (!y || !exchange) return NULL;
    int64_t n = sp_tensor_cols(y);
    assert(sp_tensor_rows(y) == exchange->local.n_tokens);
    sp_tensor *rows = sp_ops_new(ops, exchange->routing->n_tokens * exchange->routing->top_k, n);
    if (!rows || !send_to_sources(ops, exchange, y->data, n, rows->data)) return NULL;
    sp_tape_record(ops, rows, &y, 1, backward_return, exchange);
    return rows;
}
