/* SPDX-License-Identifier: MIT */
/* Owners, and sums of gradients on the way to them. Every item (a whole parameter, as Muon needs it) has one owner. Items are
 * divided in the order of memory so that the largest part costs least: where experts live apart, experts among the replicas
 * that hold them and everything else among all; else all items among all. Checkpoints stand in parallel_state.c. Start at
 * sp_parallel_create(). */
#include "train/parallel_parts.h"

#include <stdio.h>
#include <unistd.h>

#include "train/muon.h"

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
    if (kind != SP_OPTIMIZER_MUON || !sp_muon_takes(q)) return n;
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

/* Items of one class in the order of memory: those of no expert for position -1, else the experts of that position in a group.
 * Where experts do not live apart there is one class. */
static size_t list_class(const sp_parallel *p, int32_t position, size_t *items)
{
    const sp_parameters *all = p->parameters;
    int32_t n_here = all->hp.n_routed_experts / p->group_size;
    size_t n = 0;
    bool apart = p->group_size > 1;
    for (size_t i = 0; i < all->n_items && position < 0; i++)
        if (all->items[i].expert < 0) items[n++] = i;
    for (size_t i = 0; i < all->n_items; i++) {
        int32_t expert = all->items[i].expert;
        if (expert >= 0 && (apart ? expert / n_here == position : position < 0)) items[n++] = i;
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
    int32_t size = sp_comm_size(p->world);
    for (int32_t position = -1; status == SP_OK && position < p->group_size; position++) {
        item_list list = {p->parameters, p->optimizer->options.kind, items, list_class(p, position, items),
                          position < 0 ? size : size / p->group_size};
        divide(&list, part);
        for (size_t i = 0; i < list.n; i++)
            p->owners[items[i]] = position < 0 ? part[i] : position + part[i] * p->group_size;
    }
    sp_free(items);
    sp_free(part);
    return status;
}

/* --- shares ---------------------------------------------------------------------------------------------------- */

/* Where each process's part of the own class's floats begins. */
static sp_status put_share(sp_parallel *p, int32_t position, size_t *items, sp_error *err)
{
    sp_comm *comm = position < 0 ? p->world : p->replicas;
    size_t n = list_class(p, position, items), i = 0;
    int size = sp_comm_size(comm);
    int64_t *begins = sp_malloc_array((size_t)size + 1, sizeof *begins);
    if (!begins) return sp_fail_nomem(err, "owners", (uint64_t)size * sizeof *begins);
    for (int r = 0; r <= size; r++) {
        while (i < n && (position < 0 ? p->owners[items[i]] : p->owners[items[i]] / p->group_size) < r) i++;
        const sp_parameter *q = &p->parameters->items[items[i < n ? i : n - 1]];
        begins[r] = q->begin + (i < n ? 0 : sp_parameter_count(q));
    }
    p->shares[p->n_shares++] = (sp_share){comm, begins};
    return SP_OK;
}

static sp_status list_ranges(sp_parallel *p, sp_error *err)
{
    size_t n = p->parameters->n_items;
    int32_t own = sp_comm_rank(p->world);
    p->ranges = sp_malloc_array(n / 2 + 1, sizeof *p->ranges);
    if (!p->ranges) return sp_fail_nomem(err, "owners", n * sizeof *p->ranges);
    for (size_t i = 0; i < n; i++) {
        if (p->owners[i] != own) continue;
        bool continues = i > 0 && p->owners[i - 1] == own;
        if (!continues) p->ranges[p->n_ranges++].first = i;
        p->ranges[p->n_ranges - 1].end = i + 1;
    }
    return SP_OK;
}

static sp_status make_shares(sp_parallel *p, sp_error *err)
{
    size_t *items = sp_malloc_array(p->parameters->n_items, sizeof *items);
    if (!items) return sp_fail_nomem(err, "owners", p->parameters->n_items * sizeof *items);
    sp_status status = put_share(p, -1, items, err);
    if (status == SP_OK && p->group_size > 1) status = put_share(p, sp_comm_rank(p->experts), items, err);
    if (status == SP_OK) status = list_ranges(p, err);
    sp_free(items);
    return status;
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
    SP_GOTO(done, status, make_shares(p, err));
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
    for (int i = 0; i < parallel->n_shares; i++) sp_free(parallel->shares[i].begins);
    sp_free(parallel->ranges);
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
    for (int i = 0; i < p->n_shares; i++)
        SP_TRY(sp_comm_reduce_parts(p->shares[i].comm, grads, p->shares[i].begins, err));
    for (size_t i = 0; i < p->n_ranges; i++)
        *square += sp_gradient_square(p->parameters, grads, p->ranges[i].first, p->ranges[i].end, p->pool);
    return sp_comm_sum(p->world, square, 1, err);
}

/* A group of experts lies within one node, so a token that may use topk_group groups never reaches more nodes. */
static sp_status check_nodes(const sp_parallel *p, sp_error *err)
{
    const sp_hparams *hp = &p->parameters->hp;
    if (p->group_size == 1 || hp->topk_method == SP_TOPK_GREEDY || p->traffic.nodes_largest <= hp->topk_group)
        return SP_OK;
    return sp_fail(err, SP_E_RANGE, "a token's experts are on %d nodes, but its groups on %d at most",
                   p->traffic.nodes_largest, hp->topk_group);
}

sp_status sp_parallel_update(sp_parallel *p, const float *grads, sp_update update, sp_ops *ops, sp_error *err)
{
    SP_TRY(check_nodes(p, err));
    for (size_t i = 0; i < p->n_ranges; i++) {
        update.first = p->ranges[i].first;
        update.end = p->ranges[i].end;
        SP_TRY(sp_optimizer_update(p->optimizer, p->parameters, grads, &update, ops, err));
    }
    for (int i = 0; i < p->n_shares; i++)
        SP_TRY(sp_comm_gather_parts(p->shares[i].comm, p->parameters->values, p->shares[i].begins, err));
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

void sp_parallel_describe(const sp_parallel *p, char *text, size_t cap)
{
    const sp_exchange_counts *c = &p->traffic;
    text[0] = '\0';
    if (c->rows == 0) return;
    double percent = 100.0 / (double)c->rows;
    snprintf(text, cap,
             "expert rows of rank %d: %.1f %% to other processes, %.1f %% to other nodes; a token's experts "
             "were on %.2f "
             "nodes, at most on %d",
             sp_comm_rank(p->world), percent * (double)c->rows_away, percent * (double)c->rows_far,
             (double)c->nodes / (double)c->tokens, c->nodes_largest);
}
