/* SPDX-License-Identifier: MIT */
/* Data parallel with the optimizer's state in parts: part r is a contiguous range of whole items, balanced by elements. Start at
 * sp_parallel_reduce(). */
#include "train/parallel.h"

#include <string.h>

struct sp_parallel {
    sp_comm *comm;
    sp_parameters *parameters;
    sp_optimizer *optimizer;
    sp_pool *pool;
    size_t first, end; /* own items */
    int64_t *begins;   /* (n_ranks + 1) floats */
};

sp_expert_range sp_parallel_experts(const sp_comm *comm, const sp_train_config *config)
{
    (void)comm;
    return (sp_expert_range){0, config->hp.n_routed_experts};
}

/* Item i belongs to the rank in whose equal share of the floats its middle lies. */
static void divide_items(sp_parallel *p)
{
    const sp_parameters *all = p->parameters;
    int64_t size = sp_comm_size(p->comm), rank = sp_comm_rank(p->comm);
    p->first = p->end = 0;
    for (int64_t r = 0, i = 0; r < size; r++) {
        p->begins[r] = i < (int64_t)all->n_items ? all->items[i].begin : all->n_floats;
        if (r == rank) p->first = (size_t)i;
        for (; i < (int64_t)all->n_items; i++) {
            const sp_parameter *q = &all->items[i];
            int64_t middle = q->begin + sp_parameter_count(q) / 2;
            if (middle * size >= all->n_floats * (r + 1) && r + 1 < size) break;
        }
        if (r == rank) p->end = (size_t)i;
    }
    p->begins[size] = all->n_floats;
}

sp_status sp_parallel_create(sp_parallel **parallel, sp_comm *comm, const sp_train_config *config,
                             sp_parameters *parameters, sp_optimizer *optimizer, sp_pool *pool, sp_error *err)
{
    *parallel = NULL;
    (void)config;
    sp_parallel *p = sp_calloc(1, sizeof *p);
    if (!p) return sp_fail_nomem(err, "parallel", sizeof *p);
    *p = (sp_parallel){comm, parameters, optimizer, pool, 0, 0, NULL};
    p->begins = sp_calloc((size_t)sp_comm_size(comm) + 1, sizeof *p->begins);
    if (!p->begins) {
        sp_parallel_destroy(p);
        return sp_fail_nomem(err, "parallel", 0);
    }
    divide_items(p);
    *parallel = p;
    return SP_OK;
}

void sp_parallel_destroy(sp_parallel *parallel)
{
    if (!parallel) return;
    sp_free(parallel->begins);
    sp_free(parallel);
}

sp_status sp_parallel_reduce(sp_parallel *p, float *grads, double *square, sp_error *err)
{
    SP_TRY(sp_comm_reduce_parts(p->comm, grads, p->begins, err));
    *square = sp_gradient_square(p->parameters, grads, p->first, p->end, p->pool);
    return sp_comm_sum(p->comm, square, 1, err);
}

void sp_parallel_range(const sp_parallel *p, size_t *first, size_t *end)
{
    *first = p->first;
    *end = p->end;
}

sp_status sp_parallel_gather(sp_parallel *p, sp_error *err)
{
    return sp_comm_gather_parts(p->comm, p->parameters->values, p->begins, err);
}

sp_status sp_parallel_sum_counts(sp_parallel *p, int64_t *counts, int64_t n, sp_error *err)
{
    if (sp_comm_size(p->comm) == 1) return SP_OK;
    double *sums = sp_malloc_array((size_t)n, sizeof *sums);
    if (!sums) return sp_fail_nomem(err, "expert loads", (uint64_t)n * sizeof *sums);
    for (int64_t i = 0; i < n; i++) sums[i] = (double)counts[i];
    sp_status status = sp_comm_sum(p->comm, sums, (size_t)n, err);
    for (int64_t i = 0; i < n; i++) counts[i] = (int64_t)sums[i];
    sp_free(sums);
    return status;
}

sp_status sp_parallel_collect(sp_parallel *p, sp_parameters **whole, sp_optimizer **moments, sp_error *err)
{
    *whole = p->parameters;
    *moments = p->optimizer;
    SP_TRY(sp_comm_gather_parts(p->comm, p->optimizer->m, p->begins, err));
    return sp_comm_gather_parts(p->comm, p->optimizer->v, p->begins, err);
}

void sp_parallel_release(sp_parallel *p, sp_parameters *whole, sp_optimizer *moments)
{
    (void)p;
    (void)whole;
    (void)moments;
}

sp_status sp_parallel_agree(sp_parallel *p, sp_status status, sp_error *err)
{
    if (sp_comm_size(p->comm) == 1) return status;
    int32_t code = status;
    SP_TRY(sp_comm_broadcast(p->comm, &code, sizeof code, 0, err));
    if (code != SP_OK && sp_comm_rank(p->comm) != 0)
        return sp_fail(err, (sp_status)code, "rank 0 could not write the checkpoint");
    return (sp_status)code;
}
