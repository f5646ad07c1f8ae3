/* SPDX-License-Identifier: MIT */
/* Experts of a GGUF file in another layout: stacked (one tensor of three dimensions per kind of matrix, or gate and up in
 * one) to adjacent (a matrix per expert, an expert's three after each other), and back. Bytes are copied wherever the type
 * stays. Start at sp_conversion_moves_experts(). Names: gguf's tensor names, the single ones from before experts were
 * stacked. */
#include "model/convert_parts.h"

#include <stdio.h>
#include <string.h>

static const char *const part_names[] = {"gate", "up", "down"};
enum { N_PARTS = 3 };

/* An expert's matrix inside a tensor. */
typedef struct matrix {
    const sp_tensor *tensor;
    int64_t first, rows;
} matrix;

/* Layer of an expert tensor's name, -1 if it is none; whether it is a single one's. */
static int32_t parse_name(const char *name, bool *single)
{
    int layer = -1, expert = -1, used = 0;
    char part[16];
    *single = false;
    if (sscanf(name, "blk.%d.ffn_%15[a-z_]%n", &layer, part, &used) != 2 || layer < 0) return -1;
    const char *rest = name + used;
    for (int i = 0; i < N_PARTS; i++) {
        char stacked[24];
        snprintf(stacked, sizeof stacked, "%s_exps", part_names[i]);
        if (strcmp(part, stacked) == 0 && strcmp(rest, ".weight") == 0) return layer;
        if (strcmp(part, part_names[i]) == 0 && sscanf(rest, ".%d.weight%n", &expert, &used) == 1 &&
            rest[used] == '\0' && expert >= 0) {
            *single = true;
            return layer;
        }
    }
    return strcmp(part, "gate_up_exps") == 0 && strcmp(rest, ".weight") == 0 ? layer : -1;
}

bool sp_conversion_moves_experts(const sp_conversion *c, const sp_entry *entry)
{
    bool single;
    int32_t layer = parse_name(entry->name, &single);
    if (c->hp.n_routed_experts == 0 || layer < 0 || layer >= sp_hparams_all_layers(&c->hp)) return false;
    return single || c->options->experts == SP_CONVERT_ADJACENT;
}

/* Whether this is the first call for the layer in this round: 0 declares, 1 writes. */
static sp_status begin_layer(sp_conversion *c, int32_t layer, int round, bool *first, sp_error *err)
{
    size_t n = (size_t)sp_hparams_all_layers(&c->hp);
    if (!c->expert_layers) c->expert_layers = sp_calloc(n, sizeof *c->expert_layers);
    if (!c->expert_layers) return sp_fail_nomem(err, "experts", n);
    *first = (c->expert_layers[layer] & (1u << round)) == 0;
    c->expert_layers[layer] |= (uint8_t)(1u << round);
    return SP_OK;
}

static const sp_entry *find(const sp_conversion *c, int32_t layer, const char *part, const char *end)
{
    char name[96];
    snprintf(name, sizeof name, "blk.%d.ffn_%s%s.weight", layer, part, end);
    return sp_archive_find(c->archive, name);
}

/* Expert e's matrix, checked: rows (f or h) and columns as the model has them. */
static sp_status find_matrix(const sp_conversion *c, int32_t layer, int part, int64_t e, matrix *m,
                             sp_error *err)
{
    char end[32];
    int64_t h = c->hp.hidden_size, f = c->hp.moe_intermediate_size, n = c->hp.n_routed_experts;
    int64_t rows = part == 2 ? h : f, cols = part == 2 ? f : h;
    snprintf(end, sizeof end, ".%lld", (long long)e);
    const sp_entry *entry = find(c, layer, part_names[part], end);
    int64_t all = rows;
    *m = (matrix){NULL, 0, rows};
    if (!entry) {
        entry = find(c, layer, part_names[part], "_exps");
        m->first = e * rows;
        all = n * rows;
    }
    if (!entry && part < 2) {
        entry = find(c, layer, "gate_up", "_exps");
        m->first = (2 * e + part) * rows;
        all = 2 * n * rows;
    }
    if (!entry)
        return sp_fail(err, SP_E_FORMAT, "tensor \"blk.%d.ffn_%s_exps.weight\" is missing", layer,
                       part_names[part]);
    SP_TRY(sp_conversion_check_entry(entry, err));
    if (sp_tensor_rows(&entry->tensor) != all || sp_tensor_cols(&entry->tensor) != cols)
        return sp_fail(err, SP_E_FORMAT, "tensor \"%.200s\": expected %lld rows of %lld, found %lld of %lld",
                       entry->name, (long long)all, (long long)cols,
                       (long long)sp_tensor_rows(&entry->tensor), (long long)sp_tensor_cols(&entry->tensor));
    m->tensor = &entry->tensor;
    return SP_OK;
}

/* The types are those that the stacked tensors would get. */
static sp_dtype type_of(const sp_conversion *c, int32_t layer, int part, const matrix *m)
{
    char name[96];
    int64_t shape[3] = {c->hp.n_routed_experts, m->rows, sp_tensor_cols(m->tensor)};
    snprintf(name, sizeof name, "blk.%d.ffn_%s_exps.weight", layer, part_names[part]);
    return sp_conversion_retype(c, name, 3, shape, m->tensor->dtype);
}

static void single_name(char name[96], int32_t layer, int part, int64_t e)
{
    snprintf(name, 96, "blk.%d.ffn_%s.%lld.weight", layer, part_names[part], (long long)e);
}

static sp_status declare_adjacent(sp_conversion *c, int32_t layer, sp_error *err)
{
    for (int64_t e = 0; e < c->hp.n_routed_experts; e++) {
        for (int part = 0; part < N_PARTS; part++) {
            char name[96];
            matrix m;
            SP_TRY(find_matrix(c, layer, part, e, &m, err));
            int64_t shape[2] = {m.rows, sp_tensor_cols(m.tensor)};
            single_name(name, layer, part, e);
            SP_TRY(sp_gguf_declare(c->writer, name, type_of(c, layer, part, &m), 2, shape, err));
        }
    }
    return SP_OK;
}

static sp_status declare_stacked(sp_conversion *c, int32_t layer, sp_error *err)
{
    for (int part = 0; part < N_PARTS; part++) {
        char name[96];
        matrix m, other;
        SP_TRY(find_matrix(c, layer, part, 0, &m, err));
        for (int64_t e = 1; e < c->hp.n_routed_experts; e++) {
            SP_TRY(find_matrix(c, layer, part, e, &other, err));
            if (type_of(c, layer, part, &other) != type_of(c, layer, part, &m))
                return sp_fail(err, SP_E_UNSUPPORTED,
                               "layer %d: experts of several types cannot be stacked: give a --type", layer);
        }
        int64_t shape[3] = {c->hp.n_routed_experts, m.rows, sp_tensor_cols(m.tensor)};
        snprintf(name, sizeof name, "blk.%d.ffn_%s_exps.weight", layer, part_names[part]);
        SP_TRY(sp_gguf_declare(c->writer, name, type_of(c, layer, part, &m), 3, shape, err));
    }
    return SP_OK;
}

sp_status sp_conversion_declare_experts(sp_conversion *c, const sp_entry *entry, sp_error *err)
{
    bool single, first = false;
    int32_t layer = parse_name(entry->name, &single);
    SP_TRY(begin_layer(c, layer, 0, &first, err));
    if (!first) return SP_OK;
    return c->options->experts == SP_CONVERT_ADJACENT ? declare_adjacent(c, layer, err)
                                                      : declare_stacked(c, layer, err);
}

static void fill_row(const void *ctx, int64_t unit, float *rows, float *scratch)
{
    const matrix *m = ctx;
    (void)scratch;
    sp_tensor_read_row(m[unit / m->rows].tensor, m[unit / m->rows].first + unit % m->rows, rows);
}

static void copy_row(const void *ctx, int64_t unit, void *out)
{
    const matrix *m = ctx;
    const sp_tensor *t = m[unit / m->rows].tensor;
    memcpy(out, sp_tensor_row(t, m[unit / m->rows].first + unit % m->rows), t->row_bytes);
}

/* One tensor of n matrices. */
static sp_status put_matrices(sp_conversion *c, const matrix *m, int64_t n, sp_dtype dtype, const char *name,
                              sp_error *err)
{
    sp_tensor_source source = {.dtype = dtype,
                               .cols = sp_tensor_cols(m->tensor),
                               .rows_per_unit = 1,
                               .n_units = n * m->rows,
                               .fill = fill_row,
                               .ctx = m};
    bool same = true;
    for (int64_t i = 0; i < n; i++) same = same && m[i].tensor->dtype == dtype;
    if (same) source.copy = copy_row;
    return sp_tensor_stream_put(&c->stream, &source, name, err);
}

static sp_status write_part(sp_conversion *c, int32_t layer, int part, int64_t first, int64_t n,
                            sp_error *err)
{
    char name[96];
    matrix *m = sp_calloc((size_t)n, sizeof *m);
    sp_status status = m ? SP_OK : sp_fail_nomem(err, "experts", (uint64_t)n * sizeof *m);
    for (int64_t i = 0; i < n && status == SP_OK; i++)
        status = find_matrix(c, layer, part, first + i, &m[i], err);
    single_name(name, layer, part, first);
    if (status == SP_OK) status = put_matrices(c, m, n, type_of(c, layer, part, m), name, err);
    sp_free(m);
    return status;
}

sp_status sp_conversion_write_experts(sp_conversion *c, const sp_entry *entry, sp_error *err)
{
    bool single, first = false;
    int32_t layer = parse_name(entry->name, &single);
    int64_t n = c->hp.n_routed_experts;
    SP_TRY(begin_layer(c, layer, 1, &first, err));
    if (!first) return SP_OK;
    if (c->options->experts != SP_CONVERT_ADJACENT) {
        for (int part = 0; part < N_PARTS; part++) SP_TRY(write_part(c, layer, part, 0, n, err));
        return SP_OK;
    }
    for (int64_t e = 0; e < n; e++)
        for (int part = 0; part < N_PARTS; part++) SP_TRY(write_part(c, layer, part, e, 1, err));
    return SP_OK;
}
