/* SPDX-License-Identifier: MIT */
/* Owners, and sums of gradients on the way to them. Every item (a whole parameter, as Muon needs it) has one owner. Items are
 * divided in their order so that the largest part costs least: experts among the replicas that hold them, everything else
 * among all. In memory experts lie between the rest, so a class consists of runs: stretches of items with one communicator.
 * Checkpoints stand in parallel_state.c. Start at sp_parallel_create(). */
#include "train/parallel_parts.h"

#include <string.h>
#include <unistd.h>

static int32_t group_size(const sp_comm *comm, const sp_train_config *config)
{
    return sp_comm_size(comm) % config->expert_ranks == 0 ? config->expert_ranks : 1;
}

sp_expert_range sp_parallel_experts(const sp_comm *comm, const sp_train_config *config)
{
    int32_t size = group_size(comm, config), n = config->hp.n_routed_experts / size;
    int32_t position = sp_comm_rank(comm) % size;
    return (sp_expert_range){position * n, (position + 1) * n};
}

/* A launcher may have bound the process to some processors, or all processes to all. */
int sp_parallel_threads(const sp_comm *comm, const sp_train_config *config)
{
    if (config->threads > 0) return config->threads;
    int bound = sp_cpu_count(), share = (int)sysconf(_SC_NPROCESSORS_ONLN) / sp_comm_neighbours(comm);
    if (share < 1) share = 1;
    return bound < share ? bound : share;
}

/* --- owners --------------------------------------------------------------------------------------------------- */

/* Nanoseconds, roughly: AdamW is bound by memory at one element each; Muon's five steps multiply (m, n) matrices, m <= n, with
 * 2 m n m + m m m multiply-adds each at 25 per nanosecond. Only the balance between owners depends on it. */
static double cost_of(const sp_parameter *q, sp_optimizer_kind kind)
{
    double n = (double)sp_parameter_count(q), m = (double)(q->rows < q->cols ? q->rows : q->cols);
    bool muon = q->kind == SP_PARAMETER_MATRIX || q->kind == SP_PARAMETER_EXPERT;
    if (kind != SP_OPTIMIZER_MUON || !muon) return n;
    return n + 5.0 * (2.0 * n * m + m * m * m) / 25.0;
}

/* Items of one class in their order. */
typedef struct item_list {
    const sp_parameters *parameters;
    sp_optimizer_kind kind;
    const size_t *items;
    size_t n;
    int32_t n_parts;
} item_list;

/* Fill parts up to `most` in order; false if there are too many. part may be NULL. */
static bool fill_parts(const item_list *list, double most, int32_t *part)
{
    int32_t at = 0;
    double sum = 0.0;
    for (size_t i = 0; i < list->n; i++) {
        double cost = cost_of(&list->parameters->items[list->items[i]], list->kind);
        if (sum > 0.0 && sum + cost > most) {
            if (++at == list->n_parts) return false;
            sum = 0.0;
        }
        sum += cost;
        if (part) part[i] = at;
    }
    return true;
}

/* Bisect the largest part's cost: a pure function of shapes, the same on every process. */
static void divide(const item_list *list, int32_t *part)
{
    double low = 0.0, high = 0.0;
    for (size_t i = 0; i < list->n; i++)
        high += cost_of(&list->parameters->items[list->items[i]], list->kind);
    for (int step = 0; step < 60; step++) {
        double middle = low + (high - low) / 2.0;
        *(fill_parts(list, middle, NULL) ? &high : &low) = middle;
    }
    fill_parts(list, high, part);
}

/* Items whose expert is in `range` ({-1, 0}: those of no expert, and all where experts do not live apart). */
static size_t list_class(const sp_parallel *p, sp_expert_range range, size_t *items)
{
    size_t n = 0;
    for (size_t i = 0; i < p->parameters->n_items; i++) {
        int32_t expert = p->group_size > 1 ? p->parameters->items[i].expert : -1;
        if (expert >= range.first && expert < range.end) items[n++] = i;
    }
    return n;
}

static sp_status assign_owners(sp_parallel *p, sp_error *err)
{
    size_t n = p->parameters->n_items;
    size_t *items = sp_malloc_array(n, sizeof *items);
    int32_t *part = sp_malloc_array(n, sizeof *part);
    p->owners = sp_malloc_array(n, sizeof *p->owners);
    sp_status status = items && part && p->owners ? SP_OK : sp_fail_nomem(err, "owners", n * 16);
    int32_t size = sp_comm_size(p->world), n_here = p->parameters->hp.n_routed_experts / p->group_size;
    for (int32_t position = -1; status == SP_OK && position < p->group_size; position++) {
        sp_expert_range range = {position * n_here, (position + 1) * n_here};
        if (position < 0) range = (sp_expert_range){-1, 0};
        item_list list = {p->parameters, p->optimizer->options.kind, items, 0,
                          position < 0 ? size : size / p->group_size};
        list.n = list_class(p, range, items);
        divide(&list, part);
        for (size_t i = 0; i < list.n; i++)
            p->owners[items[i]] = position < 0 ? part[i] : position + part[i] * p->group_size;
    }
    sp_free(items);
    sp_free(part);
    return status;
}

/* --- runs ----------------------------------------------------------------------------------------------------- */

static int32_t part_of(const sp_parallel *p, size_t i, bool apart)
{
    return apart ? p->owners[i] / p->group_size : p->owners[i];
}

/* Items [first, end) are of one class: where each process's part of their floats begins. */
static sp_status put_run(sp_parallel *p, size_t first, size_t end, sp_error *err)
{
    const sp_parameters *all = p->parameters;
    bool apart = p->group_size > 1 && all->items[first].expert >= 0;
    sp_comm *comm = apart ? p->replicas : p->world;
    int size = sp_comm_size(comm);
    sp_run *run = &p->runs[p->n_runs];
    run->begins = sp_malloc_array((size_t)size + 1, sizeof *run->begins);
    if (!run->begins) return sp_fail_nomem(err, "owners", (uint64_t)size * 8);
    p->n_runs++;
    run->comm = comm;
    run->first = run->end = first;
    size_t i = first;
    for (int r = 0; r <= size; r++) {
        while (i < end && (!sp_parameter_is_local(&all->items[i]) || part_of(p, i, apart) < r)) i++;
        run->begins[r] = i < end ? all->items[i].begin
                                 : all->items[end - 1].begin + sp_parameter_count(&all->items[end - 1]);
        if (r == sp_comm_rank(comm)) run->first = i;
        if (r == sp_comm_rank(comm) + 1) run->end = i;
    }
    return SP_OK;
}

/* Stretches of local items of one class. Experts elsewhere take no memory here and end no run. */
static sp_status list_runs(sp_parallel *p, sp_error *err)
{
    const sp_parameters *all = p->parameters;
    size_t n_most = 1, first = 0, last = 0;
    bool open = false;
    for (size_t i = 1; i < all->n_items; i++)
        n_most += (all->items[i].expert < 0) != (all->items[i - 1].expert < 0);
    p->runs = sp_calloc(n_most, sizeof *p->runs);
    if (!p->runs) return sp_fail_nomem(err, "owners", n_most * sizeof *p->runs);
    for (size_t i = 0; i < all->n_items; i++) {
        const sp_parameter *q = &all->items[i];
        if (!sp_parameter_is_local(q)) continue;
        bool changes = open && p->group_size > 1 && (q->expert < 0) != (all->items[first].expert < 0);
        if (changes) SP_TRY(put_run(p, first, last + 1, err));
        if (!open || changes) first = i;
        open = true;
        last = i;
    }
    return open ? put_run(p, first, last + 1, err) : SP_OK;
}

/* --- setting up ------------------------------------------------------------------------------------------------ */

static sp_status join_groups(sp_parallel *p, const sp_train_config *config, sp_error *err)
{
    int size = sp_comm_size(p->world), rank = sp_comm_rank(p->world);
    if (size % config->expert_ranks)
        return sp_fail(err, SP_E_ARGUMENT, "run.expert_ranks: %d does not divide the number of processes, %d",
                       config->expert_ranks, size);
    p->group_size = config->expert_ranks;
    if (p->group_size == 1) return SP_OK;
    SP_TRY(sp_comm_split(&p->experts, p->world, rank / p->group_size, err));
    SP_TRY(sp_comm_split(&p->replicas, p->world, rank % p->group_size, err));
    p->group = (sp_expert_group){p->experts, config->expert_nodes, &p->traffic};
    p->parameters->net.expert_group = &p->group;
    return SP_OK;
}

sp_status sp_parallel_create(sp_parallel **parallel, sp_comm *comm, const sp_train_config *config,
                             sp_parameters *parameters, sp_optimizer *optimizer, sp_pool *pool, sp_error *err)
{
    *parallel = NULL;
    sp_parallel *p = sp_calloc(1, sizeof *p);
    if (!p) return sp_fail_nomem(err, "parallel", sizeof *p);
    p->world = comm;
    p->config = config;
    p->parameters = parameters;
    p->optimizer = optimizer;
    p->pool = pool;
    sp_status status;
    SP_GOTO(done, status, join_groups(p, config, err));
    SP_GOTO(done, status, assign_owners(p, err));
    SP_GOTO(done, status, list_runs(p, err));
    *parallel = p;
done:
    if (status != SP_OK) sp_parallel_destroy(p);
    return status;
}

void sp_parallel_destroy(sp_parallel *parallel)
{
    if (!parallel) return;
    if (parallel->parameters->net.expert_group == &parallel->group)
        parallel->parameters->net.expert_group = NULL;
    for (size_t i = 0; i < parallel->n_runs; i++) sp_free(parallel->runs[i].begins);
    sp_free(parallel->runs);
    sp_free(parallel->owners);
    sp_comm_close(parallel->experts);
    sp_comm_close(parallel->replicas);
    sp_free(parallel);
}

int sp_parallel_owner(const sp_parallel *parallel, size_t i)
{
    return parallel->owners[i];
}

/* --- a step ---------------------------------------------------------------------------------------------------- */

int64_t sp_parallel_passes(const sp_parallel *p, int64_t n_rows, int64_t micro_rows)
{
    if (p->group_size == 1) return 0;
    int64_t size = sp_comm_size(p->world), most = (n_rows + size - 1) / size;
    return (most + micro_rows - 1) / micro_rows;
}

sp_status sp_parallel_reduce(sp_parallel *p, float *grads, double *square, sp_error *err)
{
    *square = 0.0;
    for (size_t i = 0; i < p->n_runs; i++) {
        const sp_run *run = &p->runs[i];
        SP_TRY(sp_comm_reduce_parts(run->comm, grads, run->begins, err));
        *square += sp_gradient_square(p->parameters, grads, run->first, run->end, p->pool);
    }
    return sp_comm_sum(p->world, square, 1, err);
}

sp_status sp_parallel_update(sp_parallel *p, const float *grads, sp_update update, sp_ops *ops, sp_error *err)
{
    for (size_t i = 0; i < p->n_runs; i++) {
        update.first = p->runs[i].first;
        update.end = p->runs[i].end;
        SP_TRY(sp_optimizer_update(p->optimizer, p->parameters, grads, &update, ops, err));
    }
    for (size_t i = 0; i < p->n_runs; i++)
        SP_TRY(sp_comm_gather_parts(p->runs[i].comm, p->parameters->values, p->runs[i].begins, err));
    return SP_OK;
}

sp_status sp_parallel_sum_counts(sp_parallel *p, int64_t *counts, int64_t n, sp_error *err)
{
    if (sp_comm_size(p->world) == 1) return SP_OK;
    double *sums = sp_malloc_array((size_t)n, sizeof *sums);
    if (!sums) return sp_fail_nomem(err, "expert loads", (uint64_t)n * sizeof *sums);
    for (int64_t i = 0; i < n; i++) sums[i] = (double)counts[i];
    sp_status status = sp_comm_sum(p->world, sums, (size_t)n, err);
    for (int64_t i = 0; i < n; i++) counts[i] = (int64_t)sums[i];
    sp_free(sums);
    return status;
}

sp_exchange_counts sp_parallel_traffic(sp_parallel *p)
{
    sp_exchange_counts now = p->traffic;
    memset(&p->traffic, 0, sizeof p->traffic);
    return now;
}
