/* SPDX-License-Identifier: MIT */
/* A run's state between processes and one checkpoint. The first rank alone touches files, so the run's folder needs to exist on
 * its machine only, and it never holds more than one array that is not its own: floats travel one array at a time, in the order
 * of the checkpoint, which every process knows. Start at sp_parallel_save(). */
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

/* --- arrays in order ------------------------------------------------------------------------------------------- */

/* How far the journey has come. */
typedef struct journey {
    sp_parallel *parallel;
    sp_train_state *state;
    int part;
    size_t item;
    float *scratch; /* of the largest item, for what has no place here */
    bool begun;
} journey;

static sp_status make_journey(journey *j, sp_parallel *p, sp_train_state *state, sp_error *err)
{
    int64_t most = sp_checkpoint_largest(p->parameters);
    *j = (journey){.parallel = p, .state = state, .scratch = sp_malloc_array((size_t)most, sizeof(float))};
    return j->scratch ? SP_OK : sp_fail_nomem(err, "parameters on their way", (uint64_t)most * sizeof(float));
}

static const sp_parameter *item_of(const journey *j)
{
    return &j->parallel->parameters->items[j->item];
}

/* On to what a checkpoint keeps; false at the end. */
static bool find_array(journey *j)
{
    const sp_parallel *p = j->parallel;
    for (; j->part <= SP_CHECKPOINT_V; j->part++, j->item = 0)
        for (; j->item < p->parameters->n_items; j->item++)
            if (sp_checkpoint_has(p->optimizer, item_of(j), (sp_checkpoint_part)j->part)) return true;
    return false;
}

/* This process's values of the present item; NULL if it has none. */
static float *own_values(const journey *j)
{
    const sp_parameter *q = item_of(j);
    return sp_parameter_is_local(q) ? j->parallel->parameters->values + q->begin : NULL;
}

static bool is_first(const sp_parallel *p)
{
    return sp_comm_rank(p->world) == 0;
}

/* --- out ------------------------------------------------------------------------------------------------------- */

/* The present array to the first rank, from its owner, unless it is there; then on. */
static sp_status send_array(journey *j, const float **data, sp_error *err)
{
    sp_parallel *p = j->parallel;
    const sp_parameter *q = item_of(j);
    size_t n_bytes = (size_t)sp_parameter_count(q) * sizeof(float);
    bool moments = j->part != SP_CHECKPOINT_VALUE;
    bool is_shared = !moments && (p->group_size == 1 || q->expert < 0);
    int owner = is_shared ? 0 : p->owners[j->item];
    bool mine = sp_comm_rank(p->world) == owner;
    float *place = mine && !moments ? own_values(j) : j->scratch;
    if (mine && moments)
        sp_optimizer_get_moments(p->optimizer, j->part == SP_CHECKPOINT_V, q->begin, sp_parameter_count(q),
                                 place);
    *data = place;
    SP_TRY(sp_comm_pass(p->world, place, n_bytes, owner, 0, err));
    j->item++;
    return SP_OK;
}

static sp_status fetch(void *ctx, sp_checkpoint_part part, size_t item, const float **data, sp_error *err)
{
    journey *j = ctx;
    bool there = find_array(j);
    if (!there || j->part != (int)part || j->item != item)
        return sp_fail(err, SP_E_ARGUMENT, "checkpoint: array %zu is out of order", item);
    return send_array(j, data, err);
}

/* What the first rank does not ask for, because it does not write or has failed to. */
static sp_status send_rest(journey *j, sp_error *err)
{
    const float *data;
    while (find_array(j)) SP_TRY(send_array(j, &data, err));
    return SP_OK;
}

sp_status sp_parallel_save(sp_parallel *p, const sp_train_state *state, sp_error *err)
{
    const sp_train_config *c = p->config;
    journey j;
    SP_TRY(make_journey(&j, p, NULL, err));
    sp_checkpoint_source source = {p->parameters, p->optimizer, fetch, &j};
    sp_status status = SP_OK;
    if (is_first(p))
        status = sp_checkpoint_write(c->out, &source, state, c->tokenizer, c->checkpoint_keep, err);
    sp_status rest = send_rest(&j, status == SP_OK ? err : NULL);
    sp_free(j.scratch);
    return sp_parallel_agree(p, status == SP_OK ? rest : status, err);
}

/* --- in -------------------------------------------------------------------------------------------------------- */

/* The present array from the first rank, where it lies in `data`, to everybody who has values or owns moments; then on. */
static sp_status receive_array(journey *j, const void *data, sp_error *err)
{
    sp_parallel *p = j->parallel;
    const sp_parameter *q = item_of(j);
    size_t n_bytes = (size_t)sp_parameter_count(q) * sizeof(float);
    int rank = sp_comm_rank(p->world), owner = p->owners[j->item];
    bool moments = j->part != SP_CHECKPOINT_VALUE;
    float *own = moments ? NULL : own_values(j), *place = own ? own : j->scratch;
    if (data) memcpy(place, data, n_bytes);
    if (moments) {
        SP_TRY(sp_comm_pass(p->world, place, n_bytes, 0, owner, err));
        if (owner == rank)
            sp_optimizer_set_moments(p->optimizer, j->part == SP_CHECKPOINT_V, q->begin,
                                     sp_parameter_count(q), place);
    } else {
        SP_TRY(sp_comm_broadcast(p->world, place, n_bytes, 0, err));
    }
    j->item++;
    return SP_OK;
}

/* Everybody learns that the checkpoint is good before the first array travels. */
static sp_status begin_journey(journey *j, sp_status status, sp_error *err)
{
    j->begun = true;
    SP_TRY(sp_parallel_agree(j->parallel, status, err));
    return sp_comm_broadcast(j->parallel->world, j->state, sizeof *j->state, 0, err);
}

static sp_status deliver(void *ctx, sp_checkpoint_part part, size_t item, const void *data, sp_error *err)
{
    journey *j = ctx;
    if (!j->begun) SP_TRY(begin_journey(j, SP_OK, err));
    bool there = find_array(j);
    if (!there || j->part != (int)part || j->item != item)
        return sp_fail(err, SP_E_ARGUMENT, "checkpoint: array %zu is out of order", item);
    return receive_array(j, data, err);
}

sp_status sp_parallel_load(sp_parallel *p, const char *path, sp_train_state *state, sp_error *err)
{
    journey j;
    SP_TRY(make_journey(&j, p, state, err));
    sp_checkpoint_sink sink = {p->parameters, p->optimizer, deliver, &j, true};
    sp_status status;
    if (is_first(p)) {
        status = sp_checkpoint_read(path, &sink, state, err);
        if (!j.begun) status = begin_journey(&j, status, err);
    } else {
        status = begin_journey(&j, SP_OK, err);
        while (status == SP_OK && find_array(&j)) status = receive_array(&j, NULL, err);
    }
    sp_free(j.scratch);
    return status;
}
