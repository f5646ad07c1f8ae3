/* SPDX-License-Identifier: MIT */
/* Parameters from the layout table: items are listed, their memory is laid out, an archive in memory is filled
 * with views and bound. Start at sp_parameters_create(). */
#include "model/parameters.h"

#include "base/hash.h"
#include "base/rng.h"
#include "base/text.h"
#include "model/layout.h"
#include "model/tensor_stream.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static sp_parameter_kind kind_of(const sp_layout_item *item)
{
    const char *name = item->source;
    if (item->kind == SP_LAYOUT_EXPERTS) return SP_PARAMETER_EXPERT;
    if (sp_ends_with(name, "e_score_correction_bias")) return SP_PARAMETER_BALANCE;
    if (item->n_dims == 1) return sp_ends_with(name, ".bias") ? SP_PARAMETER_BIAS : SP_PARAMETER_NORM;
    if (sp_ends_with(name, "embed_tokens.weight")) return SP_PARAMETER_EMBED;
    if (strcmp(name, "lm_head.weight") == 0) return SP_PARAMETER_HEAD;
    if (sp_ends_with(name, "mlp.gate.weight")) return SP_PARAMETER_ROUTER;
    return SP_PARAMETER_MATRIX;
}

/* kv_b_proj stands twice in the layout, as k_b and v_b; copies of embedding and head are not trained apart. */
static bool is_trained(const sp_hparams *hp, const sp_layout_item *item)
{
    if (item->kind == SP_LAYOUT_DIVISORS || item->kind == SP_LAYOUT_V_B || item->copy_of_global) return false;
    if (sp_ends_with(item->source, "o_proj.bias")) return hp->attention_bias;
    return !item->optional || sp_ends_with(item->source, "shared_head.norm.weight");
}

static void put_item(sp_parameters *p, const sp_layout_item *item, int32_t expert)
{
    const sp_hparams *hp = &p->hp;
    sp_parameter *q = &p->items[p->n_items++];
    *q = (sp_parameter){.kind = kind_of(item), .layer = -1, .expert = expert};
    int layer;
    if (sscanf(item->source, "model.layers.%d.", &layer) == 1) q->layer = layer;
    if (expert < 0) {
        snprintf(q->name, sizeof q->name, "%s", item->source);
        q->rows = item->n_dims == 1 ? 1 : item->shape[0];
    } else {
        const char *mark = strchr(item->source, '%');
        snprintf(q->name, sizeof q->name, "%.*s%d%s", (int)(mark - item->source), item->source, expert,
                 mark + 1);
        q->rows = item->shape[1];
    }
    q->cols = item->shape[item->n_dims - 1];
    if (item->kind == SP_LAYOUT_K_B) {
        q->rows = (int64_t)hp->num_attention_heads * (hp->qk_nope_head_dim + hp->v_head_dim);
        q->cols = hp->kv_lora_rank;
    }
}

static bool is_here(const sp_parameters *p, const sp_parameter *q)
{
    return q->expert < 0 || (q->expert >= p->experts.first && q->expert < p->experts.end);
}

/* Experts stand behind everything else, so that processes which share them sum up two stretches of gradients. */
static void place_items(sp_parameters *p)
{
    for (int experts = 0; experts < 2; experts++)
        for (size_t i = 0; i < p->n_items; i++) {
            sp_parameter *q = &p->items[i];
            if ((q->expert >= 0) != experts) continue;
            q->begin = p->n_floats;
            if (is_here(p, q)) p->n_floats += sp_parameter_count(q);
        }
}

/* How many items a layout gives. */
static size_t count_items(const sp_hparams *hp, const sp_layout *layout)
{
    size_t n = 0;
    for (size_t i = 0; i < layout->n; i++) {
        const sp_layout_item *item = &layout->items[i];
        if (is_trained(hp, item)) n += item->kind == SP_LAYOUT_EXPERTS ? (size_t)item->shape[0] : 1;
    }
    return n;
}

static sp_status list_items(sp_parameters *p, sp_error *err)
{
    sp_layout layout;
    SP_TRY(sp_layout_build(&layout, &p->hp, p->hp.num_nextn_predict_layers, err));
    sp_status status = SP_OK;
    size_t n = count_items(&p->hp, &layout);
    p->items = sp_calloc(n, sizeof *p->items);
    if (!p->items) status = sp_fail_nomem(err, "parameter table", n * sizeof *p->items);
    for (size_t i = 0; p->items && i < layout.n; i++) {
        const sp_layout_item *item = &layout.items[i];
        if (!is_trained(&p->hp, item)) continue;
        int32_t n_experts = item->kind == SP_LAYOUT_EXPERTS ? (int32_t)item->shape[0] : 0;
        if (!n_experts) put_item(p, item, -1);
        for (int32_t e = 0; e < n_experts; e++) put_item(p, item, e);
    }
    sp_layout_clear(&layout);
    place_items(p);
    return status;
}

/* Views over the values under the items' names; an expert that lives elsewhere has no data. */
static sp_status fill_archive(sp_parameters *p, sp_error *err)
{
    SP_TRY(sp_archive_create(&p->archive, p->n_items, err));
    for (size_t i = 0; i < p->n_items; i++) {
        const sp_parameter *q = &p->items[i];
        bool vector = sp_parameter_is_vector(q);
        sp_tensor t = {.dtype = SP_DTYPE_F32,
                       .n_dims = vector ? 1 : 2,
                       .shape = {vector ? q->cols : q->rows, vector ? 1 : q->cols, 1, 1},
                       .row_bytes = (size_t)q->cols * sizeof(float),
                       .data = is_here(p, q) ? p->values + q->begin : NULL};
        SP_TRY(sp_archive_add(p->archive, q->name, &t, err));
    }
    return SP_OK;
}

/* The tensor that the blocks use: for experts the view in the layer's table, else the archive's own. */
static sp_tensor *find_tensor(const sp_parameters *p, const sp_parameter *q)
{
    if (q->expert < 0) return (sp_tensor *)(uintptr_t)&sp_archive_find(p->archive, q->name)->tensor;
    const sp_layer *layer = sp_weights_layer(&p->weights, &p->hp, q->layer);
    sp_tensor *views = sp_ends_with(q->name, "gate_proj.weight") ? layer->experts.gate
                       : sp_ends_with(q->name, "up_proj.weight") ? layer->experts.up
                                                                 : layer->experts.down;
    return views[q->expert].data ? &views[q->expert] : NULL;
}

static sp_status build(sp_parameters *p, sp_error *err)
{
    SP_TRY(list_items(p, err));
    size_t n_bytes = (size_t)p->n_floats * sizeof *p->values;
    p->values = sp_aligned_alloc(64, n_bytes);
    p->omega = sp_calloc((size_t)sp_hparams_rope_dim(&p->hp) / 2 + 1, sizeof *p->omega);
    if (!p->values || !p->omega) return sp_fail_nomem(err, "parameters", n_bytes);
    memset(p->values, 0, n_bytes);
    SP_TRY(fill_archive(p, err));
    SP_TRY(sp_weights_bind(&p->weights, &p->hp, p->archive, err));
    for (size_t i = 0; i < p->n_items; i++) p->items[i].tensor = find_tensor(p, &p->items[i]);
    return sp_net_bind(&p->net, &p->hp, &p->weights, p->omega, err);
}

sp_status sp_parameters_create(sp_parameters **parameters, const sp_hparams *hp, sp_expert_range experts,
                               sp_error *err)
{
    *parameters = NULL;
    sp_parameters *p = sp_calloc(1, sizeof *p);
    if (!p) return sp_fail_nomem(err, "parameters", sizeof *p);
    p->hp = *hp;
    p->experts = experts;
    sp_status status = build(p, err);
    if (status == SP_OK)
        *parameters = p;
    else
        sp_parameters_destroy(p);
    return status;
}

void sp_parameters_destroy(sp_parameters *parameters)
{
    if (!parameters) return;
    sp_weights_clear(&parameters->weights);
    sp_archive_close(parameters->archive);
    sp_free(parameters->items);
    sp_free(parameters->values);
    sp_free(parameters->omega);
    sp_free(parameters);
}

/* Projections whose output is added to the residual stream. */
static bool is_residual(const sp_parameter *q)
{
    return sp_ends_with(q->name, "o_proj.weight") || sp_ends_with(q->name, "down_proj.weight");
}

void sp_parameters_draw(sp_parameters *parameters, uint64_t seed, double deviation, bool scale_residual)
{
    double shrink = 1.0 / sqrt(2.0 * parameters->hp.num_hidden_layers);
    for (size_t i = 0; i < parameters->n_items; i++) {
        const sp_parameter *q = &parameters->items[i];
        if (!q->tensor) continue;
        float *values = parameters->values + q->begin;
        int64_t n = sp_parameter_count(q);
        float fill = q->kind == SP_PARAMETER_NORM ? 1.0f : 0.0f;
        bool constant = sp_parameter_is_vector(q);
        if (!constant)
            sp_rng_normal(seed, sp_hash(SP_HASH_SEED, q->name, strlen(q->name)), 0, values, (size_t)n);
        float scale = (float)(deviation * (scale_residual && is_residual(q) ? shrink : 1.0));
        for (int64_t k = 0; k < n; k++) values[k] = constant ? fill : values[k] * scale;
    }
}

static sp_status read_values(sp_parameters *p, const sp_parameter *q, const sp_archive *archive,
                             sp_error *err)
{
    const sp_entry *entry = sp_archive_find(archive, q->name);
    if (!entry && q->layer >= p->hp.num_hidden_layers) return SP_OK;
    if (!entry) return sp_fail(err, SP_E_FORMAT, "tensor \"%s\" is missing", q->name);
    if (entry->unsupported)
        return sp_fail(err, SP_E_UNSUPPORTED, "tensor \"%s\": type %s is not supported", q->name,
                       entry->unsupported);
    const sp_tensor *t = &entry->tensor;
    if (sp_tensor_rows(t) != q->rows || sp_tensor_cols(t) != q->cols)
        return sp_fail(err, SP_E_FORMAT, "tensor \"%s\" is %lld x %lld, expected %lld x %lld", q->name,
                       (long long)sp_tensor_rows(t), (long long)sp_tensor_cols(t), (long long)q->rows,
                       (long long)q->cols);
    for (int64_t r = 0; r < q->rows; r++) sp_tensor_read_row(t, r, p->values + q->begin + r * q->cols);
    return SP_OK;
}

/* What the tensors' shapes do not tell: more layers than are read, and how rows divide into heads. */
static sp_status check_model(const sp_hparams *own, const sp_archive *archive, sp_error *err)
{
    sp_hparams hp;
    SP_TRY(sp_hparams_from_archive(&hp, archive, err));
    const struct {
        const char *key;
        int32_t own, found;
    } rows[] = {
        {"num_hidden_layers", own->num_hidden_layers, hp.num_hidden_layers},
        {"num_attention_heads", own->num_attention_heads, hp.num_attention_heads},
        {"num_key_value_heads", own->num_key_value_heads, hp.num_key_value_heads},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].own != rows[i].found)
            return sp_fail(err, SP_E_FORMAT, "%s is %d, expected %d", rows[i].key, rows[i].found,
                           rows[i].own);
    return SP_OK;
}

sp_status sp_parameters_read(sp_parameters *parameters, const char *path, sp_error *err)
{
    sp_archive *archive;
    SP_TRY(sp_archive_open(&archive, path, err));
    sp_status status = SP_OK;
    if (sp_archive_container(archive) != SP_CONTAINER_HF)
        status =
            sp_fail(err, SP_E_UNSUPPORTED, "a run begins with a Hugging Face folder, not with a GGUF file");
    if (status == SP_OK) status = check_model(&parameters->hp, archive, err);
    for (size_t i = 0; status == SP_OK && i < parameters->n_items; i++)
        if (parameters->items[i].tensor)
            status = read_values(parameters, &parameters->items[i], archive, err);
    sp_archive_close(archive);
    return status == SP_OK ? SP_OK : sp_fail_prefix(err, status, "%s", path);
}

const sp_parameter *sp_parameters_find(const sp_parameters *parameters, const char *name)
{
    for (size_t i = 0; i < parameters->n_items; i++)
        if (strcmp(parameters->items[i].name, name) == 0) return &parameters->items[i];
    return NULL;
}
