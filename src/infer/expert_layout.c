/* SPDX-License-Identifier: MIT */
/* Finding a model's experts in its files: bound matrices point into the mapped files, whose entries say where they lie.
 * Start at sp_expert_layout_init(). */
#include "infer/expert_stream.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* Entries by the address of their bytes. */
typedef struct entry_place {
    const char *begin, *end;
    size_t index;
} entry_place;

static int compare_places(const void *a, const void *b)
{
    const entry_place *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

static const entry_place *find_place(const entry_place *places, size_t n, const char *data)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (places[mid].end <= data)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n && places[low].begin <= data ? &places[low] : NULL;
}

static entry_place *sort_entries(const sp_archive *archive, size_t *n)
{
    size_t count = sp_archive_count(archive);
    entry_place *places = sp_malloc_array(count, sizeof *places);
    *n = 0;
    for (size_t i = 0; places && i < count; i++) {
        const sp_entry *e = sp_archive_at(archive, i);
        const char *data = e->tensor.data;
        if (data && e->n_bytes > 0) places[(*n)++] = (entry_place){data, data + e->n_bytes, i};
    }
    if (places) qsort(places, *n, sizeof *places, compare_places);
    return places;
}

static sp_status find_parts(sp_expert_layout *l, const sp_model *model, const entry_place *places,
                            size_t n_places, sp_error *err)
{
    const sp_net *net = sp_model_net(model);
    const sp_archive *archive = sp_model_archive(model);
    for (int32_t i = 0; i < l->n_layers; i++) {
        const sp_layer *layer = sp_weights_layer(net->weights, net->hp, i);
        if (!layer->router) continue;
        for (int32_t e = 0; e < l->n_experts; e++) {
            const sp_tensor *tensor[SP_EXPERT_PARTS] = {&layer->experts.gate[e], &layer->experts.up[e],
                                                        &layer->experts.down[e]};
            for (int p = 0; p < SP_EXPERT_PARTS; p++) {
                const char *data = tensor[p]->data;
                const entry_place *place = find_place(places, n_places, data);
                if (!place) return sp_fail(err, SP_E_UNSUPPORTED, "experts: layer %d is in no file", i);
                const sp_entry *entry = sp_archive_at(archive, place->index);
                l->parts[(int64_t)i * l->n_experts + e][p] = (sp_expert_part){
                    tensor[p], entry->file, entry->file_offset + (uint64_t)(data - place->begin)};
                l->kind[place->index] = SP_ENTRY_EXPERT;
                l->expert_bytes += (uint64_t)sp_tensor_rows(tensor[p]) * tensor[p]->row_bytes;
            }
            l->n_present++;
        }
    }
    return SP_OK;
}

static void choose_shared(sp_expert_layout *l, const sp_model *model)
{
    const sp_net *net = sp_model_net(model);
    const sp_archive *archive = sp_model_archive(model);
    for (size_t i = 0; i < sp_archive_count(archive); i++) {
        const sp_entry *e = sp_archive_at(archive, i);
        bool table = &e->tensor == net->weights->embed && net->weights->embed != net->weights->head;
        if (l->kind[i] == SP_ENTRY_EXPERT || e->tensor.n_dims < 2 || !e->tensor.data || table) continue;
        if (sp_ends_with(e->name, "_scale_inv")) continue;
        l->kind[i] = SP_ENTRY_SHARED;
        l->shared_bytes += e->n_bytes;
    }
}

sp_status sp_expert_layout_init(sp_expert_layout *l, const sp_model *model, sp_error *err)
{
    const sp_net *net = sp_model_net(model);
    const sp_archive *archive = sp_model_archive(model);
    memset(l, 0, sizeof *l);
    if (net->hp->n_routed_experts == 0)
        return sp_fail(err, SP_E_UNSUPPORTED,
                       "experts: the model has no routed experts that could stay on disk");
    l->n_layers = net->hp->num_hidden_layers + net->weights->n_mtp;
    l->n_experts = net->hp->n_routed_experts;
    l->n_files = (int)sp_archive_file_count(archive);
    size_t n_keys = (size_t)l->n_layers * (size_t)l->n_experts, n_places = 0;
    l->files = sp_calloc((size_t)l->n_files + 1, sizeof *l->files);
    l->parts = sp_calloc(n_keys, sizeof *l->parts);
    l->kind = sp_calloc(sp_archive_count(archive) + 1, sizeof *l->kind);
    entry_place *places = sort_entries(archive, &n_places);
    sp_status status;
    if (!l->files || !l->parts || !l->kind || !places) {
        status = sp_fail_nomem(err, "places of experts", (uint64_t)n_keys * sizeof *l->parts);
        goto done;
    }
    for (int i = 0; i < l->n_files; i++) l->files[i] = sp_archive_file(archive, (size_t)i);
    SP_GOTO(done, status, find_parts(l, model, places, n_places, err));
    if (l->n_present == 0) {
        status = sp_fail(err, SP_E_UNSUPPORTED, "experts: no layer of the model has any");
        goto done;
    }
    choose_shared(l, model);
    l->store = (sp_expert_store_options){.files = l->files,
                                         .n_files = l->n_files,
                                         .n_layers = l->n_layers,
                                         .n_experts = l->n_experts,
                                         .parts = (const sp_expert_part(*)[SP_EXPERT_PARTS])l->parts};
done:
    sp_free(places);
    if (status != SP_OK) sp_expert_layout_clear(l);
    return status;
}

void sp_expert_layout_clear(sp_expert_layout *l)
{
    sp_free(l->files);
    sp_free(l->parts);
    sp_free(l->kind);
    memset(l, 0, sizeof *l);
}

uint64_t sp_expert_fingerprint(const sp_model *model)
{
    const sp_net *net = sp_model_net(model);
    const sp_hparams *hp = net->hp;
    int64_t facts[] = {hp->arch,       hp->hidden_size,           hp->num_hidden_layers, hp->n_routed_experts,
                       hp->vocab_size, hp->moe_intermediate_size, net->weights->n_params};
    return sp_hash(SP_HASH_SEED, facts, sizeof facts);
}
