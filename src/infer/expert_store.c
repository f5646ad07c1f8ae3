/* SPDX-License-Identifier: MIT */
/* Visits of the expert store: asking, waiting, giving back, guessing. Start at begin_visit(). */
#include "infer/expert_store_parts.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_DEPTH 16
#define TRACE_MAX ((size_t)64 << 20) /* numbers */

/* Guesses are made while this share of them comes true, and else every so many passes to find out. */
#define GUESS_SHARE 0.4
#define GUESS_RATE 0.02
#define GUESS_PROBE 16

/* States of a visit's experts. */
enum { WAITING, HANDED, DONE };

static int32_t key_of(const sp_expert_store *store, int32_t layer, int32_t expert)
{
    return layer * store->n_experts + expert;
}

/* --- visits --------------------------------------------------------------------------------------------- */

static void record_visit(sp_expert_store *store, const sp_expert_visit *visit)
{
    size_t n = store->n_trace + (size_t)visit->n + 2;
    if (!store->record || n > TRACE_MAX) return;
    if (n > store->trace_cap) {
        size_t cap = 2 * n + 4096;
        int32_t *trace = sp_realloc_array(store->trace, cap, sizeof *trace);
        if (!trace) return;
        store->trace = trace;
        store->trace_cap = cap;
    }
    store->trace[store->n_trace] = visit->layer;
    store->trace[store->n_trace + 1] = (int32_t)visit->n;
    memcpy(store->trace + store->n_trace + 2, visit->experts, (size_t)visit->n * sizeof *store->trace);
    store->n_trace = n;
}

/* What came of the last guess for this layer. */
static void count_guesses(sp_expert_store *store, const sp_expert_visit *visit)
{
    sp_expert_key *keys = store->keys + key_of(store, visit->layer, 0);
    for (int64_t i = 0; i < visit->n; i++) {
        sp_expert_key *k = &keys[visit->experts[i]];
        if (!k->guessed) continue;
        store->guess_share[k->guessed - 1] += GUESS_RATE * (1 - store->guess_share[k->guessed - 1]);
        store->stats.n_guessed++;
        store->stats.n_guessed_right++;
        k->guessed = 0;
    }
    for (int32_t e = 0; e < store->n_experts; e++) {
        if (keys[e].slot >= 0) store->slots[keys[e].slot].protected = false;
        if (!keys[e].guessed) continue;
        store->guess_share[keys[e].guessed - 1] -= GUESS_RATE * store->guess_share[keys[e].guessed - 1];
        store->stats.n_guessed++;
        keys[e].guessed = 0;
    }
}

/* Reads for what a visit waits for, as far as there are slots. True if there are new ones. */
static bool load_wanted(sp_expert_store *store, const sp_expert_visit *visit)
{
    bool any = false;
    for (int64_t i = 0; i < visit->n; i++) {
        int32_t key = key_of(store, visit->layer, visit->experts[i]);
        if (visit->state[i] != WAITING || store->keys[key].slot >= 0) continue;
        if (!sp_slot_load(store, key, false)) break;
        any = true;
    }
    return any;
}

static void begin_visit(void *ctx, sp_expert_visit *visit)
{
    sp_expert_store *store = ctx;
    pthread_mutex_lock(&store->mutex);
    store->n_passes += visit->layer <= store->policy.last_layer;
    sp_expert_policy_tick(&store->policy, visit->layer);
    record_visit(store, visit);
    count_guesses(store, visit);
    for (int64_t i = 0; i < visit->n; i++) {
        int32_t key = key_of(store, visit->layer, visit->experts[i]);
        sp_expert_key *k = &store->keys[key];
        sp_slot *slot = k->slot >= 0 ? &store->slots[k->slot] : NULL;
        if (!slot || slot->state == SP_SLOT_FAILED)
            store->stats.n_misses++;
        else if (slot->guessed)
            store->stats.n_foreseen++;
        else
            store->stats.n_hits++;
        if (slot) slot->guessed = slot->abandoned = false;
        if (slot && slot->state == SP_SLOT_LOADING && slot->next_piece > 0 && k->wanted == 0)
            slot->joined = true;
        k->wanted++;
        sp_expert_policy_use(&store->policy, (size_t)key);
    }
    sp_slot_drop_guesses(store); /* the disk is the visit's now */
    visit->n_left = visit->n;
    load_wanted(store, visit);
    pthread_mutex_unlock(&store->mutex);
    sp_reader_wake(store->reader);
}

static void give_back(sp_expert_store *store, sp_expert_visit *visit, int64_t i)
{
    int32_t key = key_of(store, visit->layer, visit->experts[i]);
    visit->state[i] = DONE;
    if (--store->keys[key].wanted == 0) sp_slot_let_go(store, key);
}

static void hand_out(const sp_expert_store *store, const sp_expert_visit *visit, int64_t i,
                     sp_ready_expert *ready)
{
    int32_t key = key_of(store, visit->layer, visit->experts[i]);
    const sp_expert_place *place = &store->places[key];
    char *slot = store->memory + (size_t)store->keys[key].slot * store->slot_bytes;
    sp_tensor *out[SP_EXPERT_PARTS] = {&ready->gate, &ready->up, &ready->down};
    ready->index = i;
    for (int p = 0; p < SP_EXPERT_PARTS; p++) {
        *out[p] = *place->tensor[p];
        out[p]->data = slot + place->at[p];
    }
}

/* Those of the visit's experts that are ready, at most cap; SP_E_IO if one could not be read. */
static sp_status collect(sp_expert_store *store, sp_expert_visit *visit, sp_ready_expert *ready, int64_t cap,
                         int64_t *n, sp_error *err)
{
    for (int64_t i = 0; i < visit->n && *n < cap; i++) {
        int32_t slot = store->keys[key_of(store, visit->layer, visit->experts[i])].slot;
        if (visit->state[i] != WAITING || slot < 0) continue;
        const sp_slot *s = &store->slots[slot];
        if (s->state == SP_SLOT_FAILED) return sp_reader_fail(store->reader, &s->failure, err);
        if (s->state != SP_SLOT_READY) continue;
        visit->state[i] = HANDED;
        visit->n_left--;
        hand_out(store, visit, i, &ready[(*n)++]);
    }
    return SP_OK;
}

static sp_status next_ready(void *ctx, sp_expert_visit *visit, sp_ready_expert *ready, int64_t cap,
                            int64_t *n, sp_error *err)
{
    sp_expert_store *store = ctx;
    sp_status status;
    *n = 0;
    pthread_mutex_lock(&store->mutex);
    bool gave = false;
    for (int64_t i = 0; i < visit->n; i++) {
        if (visit->state[i] != HANDED) continue;
        give_back(store, visit, i);
        gave = true;
    }
    if (gave) pthread_cond_broadcast(&store->changed);
    for (;;) {
        bool more = load_wanted(store, visit);
        status = collect(store, visit, ready, cap, n, err);
        if (more) {
            pthread_mutex_unlock(&store->mutex);
            sp_reader_wake(store->reader);
            pthread_mutex_lock(&store->mutex);
        }
        if (status != SP_OK || *n > 0) break;
        if (more) continue; /* something may have become ready meanwhile */
        double start = sp_seconds();
        pthread_cond_wait(&store->changed, &store->mutex);
        store->stats.wait_s += sp_seconds() - start;
    }
    pthread_mutex_unlock(&store->mutex);
    return status;
}

static void end_visit(void *ctx, sp_expert_visit *visit)
{
    sp_expert_store *store = ctx;
    pthread_mutex_lock(&store->mutex);
    for (int64_t i = 0; i < visit->n; i++)
        if (visit->state[i] != DONE) give_back(store, visit, i);
    visit->n_left = 0;
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->mutex);
}

/* --- guesses -------------------------------------------------------------------------------------------- */

static bool wants_guess(void *ctx, int32_t layer)
{
    sp_expert_store *store = ctx;
    (void)layer;
    if (store->n_slots >= (int64_t)store->n_keys) return false;
    pthread_mutex_lock(&store->mutex);
    bool wants = store->n_passes % GUESS_PROBE == 0;
    for (int i = 0; i < SP_GUESS_RANKS; i++) wants = wants || store->guess_share[i] >= GUESS_SHARE;
    pthread_mutex_unlock(&store->mutex);
    return wants;
}

static void guess_visit(void *ctx, int32_t layer, const int32_t *experts, int64_t n)
{
    sp_expert_store *store = ctx;
    int64_t most = store->n_slots / 4 + 1;
    pthread_mutex_lock(&store->mutex);
    sp_slot_drop_guesses(store);
    for (int64_t i = 0; i < n; i++) {
        int rank = i < SP_GUESS_RANKS ? (int)i : SP_GUESS_RANKS - 1;
        bool load = store->guess_share[rank] >= GUESS_SHARE;
        int32_t key = key_of(store, layer, experts[i]);
        sp_expert_key *k = &store->keys[key];
        k->guessed = (uint8_t)(rank + 1);
        if (k->slot >= 0)
            store->slots[k->slot].protected = true;
        else if (load && most > 0 && sp_slot_load(store, key, true))
            most--;
    }
    pthread_mutex_unlock(&store->mutex);
    sp_reader_wake(store->reader);
}

/* --- creation ------------------------------------------------------------------------------------------- */

size_t sp_expert_slot_bytes(const sp_expert_store_options *options)
{
    size_t most = SP_READ_ALIGN, n = (size_t)options->n_layers * (size_t)options->n_experts;
    for (size_t i = 0; i < n; i++) {
        sp_expert_place place;
        sp_expert_place_make(&place, options->parts[i]);
        size_t n_bytes = sp_expert_place_bytes(&place);
        if (n_bytes > most) most = n_bytes;
    }
    return most;
}

static sp_status reserve_slots(sp_expert_store *store, sp_error *err)
{
    if (!sp_mul_size((size_t)store->n_slots, store->slot_bytes, &store->memory_bytes))
        return sp_fail_nomem(err, "expert slots", UINT64_MAX);
    store->memory = sp_pages_map(store->memory_bytes);
    return store->memory ? SP_OK : sp_fail_nomem(err, "expert slots", store->memory_bytes);
}

static sp_status fill_store(sp_expert_store *store, const sp_expert_store_options *o, sp_error *err)
{
    SP_TRY(sp_expert_policy_init(&store->policy, store->n_keys, (size_t)store->n_slots, err));
    store->places = sp_calloc(store->n_keys, sizeof *store->places);
    store->keys = sp_calloc(store->n_keys, sizeof *store->keys);
    store->slots = sp_calloc((size_t)store->n_slots, sizeof *store->slots);
    store->loading = sp_calloc((size_t)store->n_slots, sizeof *store->loading);
    store->hot = sp_calloc(store->n_keys, sizeof *store->hot);
    if (!store->places || !store->keys || !store->slots || !store->loading || !store->hot)
        return sp_fail_nomem(err, "expert store", (uint64_t)store->n_keys * sizeof *store->places);
    for (size_t i = 0; i < store->n_keys; i++) {
        sp_expert_place_make(&store->places[i], o->parts[i]);
        store->keys[i].slot = -1;
    }
    for (int64_t i = 0; i < store->n_slots; i++) store->slots[i].key = -1;
    SP_TRY(reserve_slots(store, err));
    sp_reader_owner owner = {store, sp_slot_take, sp_slot_done};
    SP_TRY(sp_reader_create(&store->reader, o->files, o->n_files, o->reader,
                            o->depth > 0 ? o->depth : DEFAULT_DEPTH, &owner, err));
    store->stats.reader = sp_reader_kind_name(store->reader);
    return SP_OK;
}

sp_status sp_expert_store_create(sp_expert_store **out, const sp_expert_store_options *o, sp_error *err)
{
    *out = NULL;
    if (o->n_slots < 1) return sp_fail(err, SP_E_ARGUMENT, "expert store: expected at least one slot");
    sp_expert_store *store = sp_calloc(1, sizeof *store);
    if (!store) return sp_fail_nomem(err, "expert store", sizeof *store);
    pthread_mutex_init(&store->mutex, NULL);
    pthread_cond_init(&store->changed, NULL);
    store->n_layers = o->n_layers;
    store->n_experts = o->n_experts;
    store->n_keys = (size_t)o->n_layers * (size_t)o->n_experts;
    store->n_slots = o->n_slots < (int64_t)store->n_keys ? o->n_slots : (int64_t)store->n_keys;
    store->slot_bytes = sp_expert_slot_bytes(o);
    store->record = o->record != 0;
    for (int i = 0; i < SP_GUESS_RANKS; i++) store->guess_share[i] = 0.5;
    store->source = (sp_expert_source){store, begin_visit, next_ready, end_visit, guess_visit, wants_guess};
    sp_status status = fill_store(store, o, err);
    if (status == SP_OK)
        *out = store;
    else
        sp_expert_store_destroy(store);
    return status;
}

void sp_expert_store_destroy(sp_expert_store *store)
{
    if (!store) return;
    if (store->reader) {
        pthread_mutex_lock(&store->mutex);
        store->n_loading = 0; /* nothing more is taken */
        store->next_hot = store->n_hot;
        pthread_mutex_unlock(&store->mutex);
        sp_reader_destroy(store->reader);
    }
    sp_pages_unmap(store->memory, store->memory_bytes);
    sp_expert_policy_clear(&store->policy);
    pthread_cond_destroy(&store->changed);
    pthread_mutex_destroy(&store->mutex);
    sp_free(store->trace);
    sp_free(store->hot);
    sp_free(store->loading);
    sp_free(store->slots);
    sp_free(store->keys);
    sp_free(store->places);
    sp_free(store);
}

const sp_expert_source *sp_expert_store_source(const sp_expert_store *store)
{
    return &store->source;
}

/* --- scores and numbers --------------------------------------------------------------------------------- */

typedef struct scored_key {
    double score;
    int32_t key;
} scored_key;

static int compare_scores(const void *a, const void *b)
{
    const scored_key *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (x->key > y->key) - (x->key < y->key);
}

sp_status sp_expert_store_set_scores(sp_expert_store *store, const double *scores, sp_error *err)
{
    scored_key *order = sp_malloc_array(store->n_keys, sizeof *order);
    if (!order) return sp_fail_nomem(err, "hot set", (uint64_t)store->n_keys * sizeof *order);
    for (size_t i = 0; i < store->n_keys; i++) order[i] = (scored_key){scores[i], (int32_t)i};
    qsort(order, store->n_keys, sizeof *order, compare_scores);
    pthread_mutex_lock(&store->mutex);
    store->n_hot = store->next_hot = 0;
    for (size_t i = 0; i < store->n_keys; i++) {
        sp_expert_policy_set(&store->policy, i, scores[i]);
        if (order[i].score > 0 && store->n_hot < (size_t)store->n_slots &&
            store->places[order[i].key].n_pieces > 0)
            store->hot[store->n_hot++] = order[i].key;
    }
    pthread_mutex_unlock(&store->mutex);
    sp_free(order);
    sp_reader_wake(store->reader);
    return SP_OK;
}

void sp_expert_store_scores(sp_expert_store *store, double *scores)
{
    pthread_mutex_lock(&store->mutex);
    for (size_t i = 0; i < store->n_keys; i++) scores[i] = sp_expert_policy_score(&store->policy, i);
    pthread_mutex_unlock(&store->mutex);
}

void sp_expert_store_stats_get(sp_expert_store *store, sp_expert_store_stats *stats)
{
    pthread_mutex_lock(&store->mutex);
    *stats = store->stats;
    pthread_mutex_unlock(&store->mutex);
}

bool sp_expert_store_holds(sp_expert_store *store, int32_t layer, int32_t expert)
{
    pthread_mutex_lock(&store->mutex);
    int32_t slot = store->keys[key_of(store, layer, expert)].slot;
    bool holds = slot >= 0 && store->slots[slot].state == SP_SLOT_READY;
    pthread_mutex_unlock(&store->mutex);
    return holds;
}

const int32_t *sp_expert_store_trace(const sp_expert_store *store, size_t *n)
{
    *n = store->n_trace;
    return store->trace;
}
