/* SPDX-License-Identifier: MIT */
/* What fits into which memory, and how fast that would be. A token reads the shared weights and its experts from memory,
 * and from disk the experts that are not there: the expected time is the sum of both. Start at
 * sp_model_plan_experts(). */
#include "infer/expert_store_parts.h"
#include "infer/expert_stream.h"
#include "infer/session_parts.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RESERVE_BYTES ((uint64_t)300 << 20)
#define MEASURED_READS 12 /* experts */
#define MEASURED_MEMORY ((size_t)256 << 20)

/* Activations of the rows that are evaluated at once, one layer's. Measured on V3's shape: 1.94 MB a row, of which this
 * says 1.96. */
static uint64_t activation_bytes(const sp_model *model, const sp_session_options *o)
{
    const sp_hparams *hp = sp_model_net(model)->hp;
    bool latent = sp_arch_get(hp->arch)->attention == SP_ATTENTION_LATENT;
    int64_t nh = hp->num_attention_heads, h = hp->hidden_size, n_ctx = sp_session_context(model, o);
    int64_t attention = latent ? nh * (2 * (hp->qk_nope_head_dim + hp->qk_rope_head_dim) +
                                       3 * hp->kv_lora_rank + hp->qk_rope_head_dim + hp->v_head_dim)
                               : 6 * nh * hp->head_dim;
    int64_t experts = (int64_t)hp->num_experts_per_tok * 2 * (h + hp->moe_intermediate_size);
    int64_t dense = 3 * (int64_t)hp->intermediate_size;
    int64_t n_rows = o->n_batch > 0 ? o->n_batch : SP_SESSION_BATCH_DEFAULT;
    if (n_rows > n_ctx) n_rows = n_ctx;
    return (uint64_t)(n_rows * (attention + (experts > dense ? experts : dense) + 10 * h)) * sizeof(float);
}

static uint64_t session_bytes(const sp_model *model, const sp_session_options *o, int32_t n_sessions)
{
    const sp_net *net = sp_model_net(model);
    int64_t n_ctx = sp_session_context(model, o);
    const sp_dtype_info *info = sp_dtype_get(sp_session_cache_dtype(o));
    uint64_t elements = (uint64_t)sp_cache_row_elements(net->hp);
    uint64_t per_layer = (elements * info->block_bytes + info->block - 1) / info->block;
    uint64_t layers = (uint64_t)net->hp->num_hidden_layers + (net->weights->n_mtp > 0);
    uint64_t row = per_layer * layers + (net->weights->n_mtp > 0 ? (uint64_t)net->hp->hidden_size * 4 : 0);
    return row * (uint64_t)n_ctx * (uint64_t)(n_sessions > 0 ? n_sessions : 1);
}

/* Layers that a token passes through and that have experts: prediction layers are not counted. */
static int64_t count_expert_layers(const sp_net *net)
{
    int64_t n = 0;
    for (int32_t i = 0; i < net->hp->num_hidden_layers; i++) n += net->weights->layers[i].router != NULL;
    return n;
}

static uint64_t prediction_bytes(const sp_net *net)
{
    uint64_t n = 0;
    for (int32_t i = 0; i < net->weights->n_mtp; i++) {
        const sp_tensor *own = net->weights->mtp[i].eh_proj;
        n += (uint64_t)sp_tensor_rows(own) * own->row_bytes;
    }
    return n;
}

static int compare_down(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* Share of the uses that the best n_slots experts had. */
static bool learn_hit_rate(const sp_model *model, const sp_expert_layout *l, const char *path,
                           sp_expert_plan *plan)
{
    size_t n = (size_t)l->n_layers * (size_t)l->n_experts;
    double *scores = path ? sp_calloc(n, sizeof *scores) : NULL;
    double all = 0, best = 0;
    if (scores &&
        sp_hot_read(scores, l->n_layers, l->n_experts, sp_expert_fingerprint(model), path, NULL) == SP_OK) {
        qsort(scores, n, sizeof *scores, compare_down);
        for (size_t i = 0; i < n; i++) {
            all += scores[i];
            if (i < (size_t)plan->n_slots) best += scores[i];
        }
    }
    sp_free(scores);
    if (!(all > 0)) return false;
    plan->hit_rate = best / all;
    return true;
}

static sp_status fill_plan(const sp_model *model, const sp_expert_options *options, const sp_expert_layout *l,
                           sp_expert_plan *plan, sp_error *err)
{
    static const sp_session_options defaults = SP_SESSION_OPTIONS_DEFAULTS;
    const sp_session_options *session = options->session ? options->session : &defaults;
    const sp_net *net = sp_model_net(model);
    plan->shared_bytes = l->shared_bytes;
    plan->session_bytes = session_bytes(model, session, options->n_sessions);
    plan->reserve_bytes = RESERVE_BYTES + activation_bytes(model, session);
    plan->expert_bytes = l->expert_bytes;
    plan->slot_bytes = sp_expert_slot_bytes(&l->store);
    plan->n_experts = l->n_present;
    plan->n_used = count_expert_layers(net) * net->hp->num_experts_per_tok;
    plan->used_bytes = l->shared_bytes - prediction_bytes(net);
    uint64_t fixed = plan->shared_bytes + plan->session_bytes + plan->reserve_bytes;
    plan->least_ram = fixed + (uint64_t)net->hp->num_experts_per_tok * plan->slot_bytes;
    if (options->ram_bytes < plan->least_ram)
        return sp_fail(
            err, SP_E_LIMIT,
            "memory: %.0f MiB is too little: shared weights %.0f MiB, sessions %.0f MiB, the rest and one "
            "layer's experts %.0f MiB; expected at least %.0f MiB",
            (double)options->ram_bytes / 0x1p20, ceil((double)plan->shared_bytes / 0x1p20),
            ceil((double)plan->session_bytes / 0x1p20),
            ceil((double)(plan->least_ram - plan->shared_bytes - plan->session_bytes) / 0x1p20),
            ceil((double)plan->least_ram / 0x1p20));
    plan->n_slots = (int64_t)((options->ram_bytes - fixed) / plan->slot_bytes);
    if (plan->n_slots > plan->n_experts) plan->n_slots = plan->n_experts;
    plan->hit_rate = (double)plan->n_slots / (double)plan->n_experts;
    plan->learned = learn_hit_rate(model, l, options->hot_path, plan);
    return SP_OK;
}

sp_status sp_model_plan_experts(const sp_model *model, const sp_expert_options *options, sp_expert_plan *plan,
                                sp_error *err)
{
    sp_expert_layout layout;
    memset(plan, 0, sizeof *plan);
    SP_TRY(sp_expert_layout_init(&layout, model, err));
    sp_status status = fill_plan(model, options, &layout, plan, err);
    sp_expert_layout_clear(&layout);
    return status;
}

/* --- measuring ------------------------------------------------------------------------------------------ */

static size_t list_pieces(sp_read_piece *pieces, const sp_expert_place *place, char *data)
{
    size_t n = 0;
    for (int s = 0; s < place->n_spans; s++) {
        const sp_expert_span *span = &place->span[s];
        for (size_t at = 0; at < span->n_bytes; at += SP_READ_PIECE) {
            size_t left = span->n_bytes - at;
            sp_read_piece *p = &pieces[n++];
            *p = (sp_read_piece){
                .file = span->file, .offset = span->offset + at, .data = data + span->at + at};
            p->n_bytes = left < SP_READ_PIECE ? left : SP_READ_PIECE;
        }
    }
    return n;
}

/* Experts at random, each into the same places: what the disk gives when nothing else is to be done. */
static sp_status measure_disk(const sp_expert_layout *l, size_t slot_bytes, sp_expert_plan *plan,
                              sp_error *err)
{
    size_t n_keys = (size_t)l->n_layers * (size_t)l->n_experts, n = 0, n_bytes = 0;
    size_t cap = MEASURED_READS * (slot_bytes / SP_READ_PIECE + 4);
    sp_read_piece *pieces = sp_calloc(cap, sizeof *pieces);
    char *data = sp_aligned_alloc((size_t)2 << 20, slot_bytes * MEASURED_READS);
    sp_status status = SP_OK;
    if (!pieces || !data) status = sp_fail_nomem(err, "measuring the disk", slot_bytes * MEASURED_READS);
    if (status == SP_OK) memset(data, 0, slot_bytes * MEASURED_READS);
    for (uint64_t i = 0, found = 0; status == SP_OK && found < MEASURED_READS; i++) {
        uint32_t block[4];
        sp_expert_place place;
        sp_rng_block((uint64_t)(sp_seconds() * 1e6), 0, i, block);
        sp_expert_place_make(&place, l->parts[block[0] % n_keys]);
        if (place.n_pieces == 0) continue;
        n += list_pieces(pieces + n, &place, data + slot_bytes * found++);
    }
    for (size_t i = 0; i < n; i++) n_bytes += pieces[i].n_bytes;
    double start = sp_seconds();
    if (status == SP_OK) status = sp_read_pieces(l->files, l->n_files, SP_READER_AUTO, 16, pieces, n, err);
    plan->disk_per_s = (double)n_bytes / (sp_seconds() - start);
    sp_free(data);
    sp_free(pieces);
    return status;
}

typedef struct sum_job {
    const uint64_t *words;
    uint64_t sums[SP_POOL_MAX_THREADS];
} sum_job;

static void sum_words(void *ctx, size_t begin, size_t end, int thread)
{
    sum_job *job = ctx;
    uint64_t a = 0, b = 0, c = 0, d = 0;
    for (size_t i = begin; i + 4 <= end; i += 4) {
        a += job->words[i];
        b += job->words[i + 1];
        c += job->words[i + 2];
        d += job->words[i + 3];
    }
    job->sums[thread] += a + b + c + d;
}

static sp_status measure_memory(int32_t n_threads, sp_expert_plan *plan, sp_error *err)
{
    sp_pool *pool = NULL;
    sum_job *job = sp_calloc(1, sizeof *job);
    uint64_t *words = sp_aligned_alloc((size_t)2 << 20, MEASURED_MEMORY);
    sp_status status = SP_OK;
    size_t n = MEASURED_MEMORY / sizeof *words;
    if (!job || !words) status = sp_fail_nomem(err, "measuring memory", MEASURED_MEMORY);
    if (status == SP_OK) status = sp_pool_create(&pool, n_threads, err);
    if (status == SP_OK) {
        memset(words, 1, MEASURED_MEMORY);
        job->words = words;
        for (int i = 0; i < 3; i++) {
            double start = sp_seconds();
            sp_pool_run(pool, n, 1 << 17, sum_words, job);
            double per_s = (double)MEASURED_MEMORY / (sp_seconds() - start);
            if (per_s > plan->memory_per_s) plan->memory_per_s = per_s;
        }
    }
    sp_pool_destroy(pool);
    sp_free(words);
    sp_free(job);
    return status;
}

sp_status sp_model_measure_experts(const sp_model *model, const sp_expert_options *options,
                                   sp_expert_plan *plan, sp_error *err)
{
    sp_expert_layout layout;
    SP_TRY(sp_expert_layout_init(&layout, model, err));
    sp_status status = measure_disk(&layout, plan->slot_bytes, plan, err);
    sp_expert_layout_clear(&layout);
    if (status == SP_OK) status = measure_memory(options->n_threads, plan, err);
    if (status != SP_OK) return status;
    double expert = (double)plan->expert_bytes / (double)plan->n_experts,
           used = (double)plan->n_used * expert;
    double memory_s = ((double)plan->used_bytes + used) / plan->memory_per_s;
    double disk_s = (1 - plan->hit_rate) * used / plan->disk_per_s;
    plan->tokens_per_s = 1 / (memory_s + disk_s);
    return SP_OK;
}
