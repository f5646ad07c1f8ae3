/* SPDX-License-Identifier: MIT */
/* A run's state between processes and one checkpoint. The first rank alone touches files, so the run's folder needs to exist on
 * its machine only. On the way out it holds all moments (and, where experts live apart, all parameters) for as long as it
 * writes. Items travel one by one in their order. Start at sp_parallel_save(). */
#include "train/parallel_parts.h"

#include <string.h>

sp_status sp_parallel_agree(sp_parallel *p, sp_status status, sp_error *err)
{
    if (sp_comm_size(p->world) == 1) return status;
    sp_error shared = SP_ERROR_NONE;
    if (status != SP_OK && err) shared = *err;
    shared.code = status;
    SP_TRY(sp_comm_broadcast(p->world, &shared, sizeof shared, 0, err));
    if (shared.code == SP_OK) return status;
    if (err) *err = shared;
    return shared.code;
}

static bool is_first(const sp_parallel *p)
{
    return sp_comm_rank(p->world) == 0;
}

/* Everything at once, on the first rank. */
typedef struct whole_state {
    sp_parameters *parameters;
    sp_optimizer *optimizer;
} whole_state;

static void clear_whole(const sp_parallel *p, whole_state *w)
{
    if (w->parameters != p->parameters) sp_parameters_destroy(w->parameters);
    if (w->optimizer != p->optimizer) sp_optimizer_destroy(w->optimizer);
    memset(w, 0, sizeof *w);
}

/* Room for it on the first rank: its own where nothing is missing there. Everybody knows how it went. */
static sp_status make_whole(sp_parallel *p, whole_state *w, sp_error *err)
{
    memset(w, 0, sizeof *w);
    sp_status status = SP_OK;
    bool one = sp_comm_size(p->world) == 1;
    if (one || p->group_size == 1) w->parameters = p->parameters;
    if (one) w->optimizer = p->optimizer;
    if (one) return SP_OK;
    const sp_hparams *hp = &p->parameters->hp;
    if (is_first(p) && !w->parameters)
        status = sp_parameters_create(&w->parameters, hp, (sp_expert_range){0, hp->n_routed_experts}, err);
    if (is_first(p) && status == SP_OK)
        status = sp_optimizer_create(&w->optimizer, w->parameters, &p->optimizer->options, err);
    status = sp_parallel_agree(p, status, err);
    if (status != SP_OK) clear_whole(p, w);
    return status;
}

/* n floats of `from` to `to`, which may be the same process. Pointers of other processes are not looked at. */
static sp_status move_floats(sp_parallel *p, const float *src, int from, float *dst, int to, int64_t n,
                             sp_error *err)
{
    int rank = sp_comm_rank(p->world);
    size_t n_bytes = (size_t)n * sizeof *src;
    if (rank == from && from == to) memcpy(dst, src, n_bytes);
    void *data = rank == from ? (void *)(uintptr_t)src : dst;
    return sp_comm_pass(p->world, data, n_bytes, from, to, err);
}

/* --- out ------------------------------------------------------------------------------------------------------- */

static float *at(float *values, const sp_parameter *q)
{
    return values ? values + q->begin : NULL;
}

static sp_status collect(sp_parallel *p, const whole_state *w, sp_error *err)
{
    for (size_t i = 0; i < p->parameters->n_items; i++) {
        const sp_parameter *own = &p->parameters->items[i];
        const sp_parameter *all = w->parameters ? &w->parameters->items[i] : own;
        int64_t n = sp_parameter_count(own);
        int from = p->owners[i];
        float *m = w->optimizer ? w->optimizer->m : NULL, *v = w->optimizer ? w->optimizer->v : NULL;
        SP_TRY(move_floats(p, at(p->optimizer->m, own), from, at(m, all), 0, n, err));
        SP_TRY(move_floats(p, at(p->optimizer->v, own), from, at(v, all), 0, n, err));
        if (p->group_size == 1) continue;
        float *values = w->parameters ? w->parameters->values : NULL;
        SP_TRY(move_floats(p, at(p->parameters->values, own), from, at(values, all), 0, n, err));
    }
    return SP_OK;
}

sp_status sp_parallel_save(sp_parallel *p, const sp_train_state *state, sp_error *err)
{
    const sp_train_config *c = p->config;
    whole_state w;
    SP_TRY(make_whole(p, &w, err));
    sp_status status = sp_comm_size(p->world) > 1 ? collect(p, &w, err) : SP_OK;
    if (status == SP_OK && is_first(p))
        status = sp_checkpoint_save(c->out, w.parameters, w.optimizer, state, c->tokenizer,
                                    c->checkpoint_keep, err);
    clear_whole(p, &w);
    return sp_parallel_agree(p, status, err);
}

/* --- in -------------------------------------------------------------------------------------------------------- */

/* Values to everybody who has the item: `scratch` takes the others'. */
static sp_status spread_values(sp_parallel *p, const whole_state *w, float *scratch, sp_error *err)
{
    for (size_t i = 0; i < p->parameters->n_items; i++) {
        const sp_parameter *own = &p->parameters->items[i];
        size_t n_bytes = (size_t)sp_parameter_count(own) * sizeof(float);
        float *values = sp_parameter_is_local(own) ? at(p->parameters->values, own) : scratch;
        if (is_first(p) && w->parameters != p->parameters)
            memcpy(values, at(w->parameters->values, &w->parameters->items[i]), n_bytes);
        SP_TRY(sp_comm_broadcast(p->world, values, n_bytes, 0, err));
    }
    return SP_OK;
}

static sp_status spread_moments(sp_parallel *p, const whole_state *w, sp_error *err)
{
    for (size_t i = 0; i < p->parameters->n_items; i++) {
        const sp_parameter *own = &p->parameters->items[i];
        const sp_parameter *all = w->parameters ? &w->parameters->items[i] : own;
        int64_t n = sp_parameter_count(own);
        int to = p->owners[i];
        float *m = w->optimizer ? w->optimizer->m : NULL, *v = w->optimizer ? w->optimizer->v : NULL;
        SP_TRY(move_floats(p, at(m, all), 0, at(p->optimizer->m, own), to, n, err));
        SP_TRY(move_floats(p, at(v, all), 0, at(p->optimizer->v, own), to, n, err));
    }
    return SP_OK;
}

static sp_status spread(sp_parallel *p, const whole_state *w, sp_train_state *state, sp_error *err)
{
    int64_t most = 1;
    for (size_t i = 0; i < p->parameters->n_items; i++) {
        int64_t n = sp_parameter_count(&p->parameters->items[i]);
        if (n > most) most = n;
    }
    float *scratch = sp_malloc_array((size_t)most, sizeof *scratch);
    if (!scratch) return sp_fail_nomem(err, "parameters on their way", (uint64_t)most * sizeof *scratch);
    sp_status status = sp_comm_broadcast(p->world, state, sizeof *state, 0, err);
    if (status == SP_OK) status = spread_values(p, w, scratch, err);
    if (status == SP_OK) status = spread_moments(p, w, err);
    sp_free(scratch);
    return status;
}

sp_status sp_parallel_load(sp_parallel *p, const char *path, sp_train_state *state, sp_error *err)
{
    whole_state w;
    SP_TRY(make_whole(p, &w, err));
    sp_status status = SP_OK;
    if (is_first(p)) status = sp_checkpoint_load(path, w.parameters, w.optimizer, state, err);
    status = sp_parallel_agree(p, status, err);
    if (status == SP_OK && sp_comm_size(p->world) > 1) status = spread(p, &w, state, err);
    clear_whole(p, &w);
    return status;
}
