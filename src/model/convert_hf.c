/* SPDX-License-Identifier: MIT */
/* Hugging Face to GGUF: every item of the layout is bound to its source tensors and checked, then made row by
 * row. The rearrangements (permutation, stacking, splitting of kv_b_proj) are index arithmetic on rows; only
 * k_b, which is a transpose, goes through one head at a time. Start at sp_conversion_from_hf(). */
#include "base/file.h"
#include "base/text.h"
#include "format/names.h"
#include "model/convert_parts.h"
#include "model/gguf_meta.h"
#include "model/layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* An item of the layout with what it is made of. */
typedef struct bound_item {
    const sp_layout_item *item;
    const sp_hparams *hp;
    const sp_entry **sources; /* 1, or one per expert */
    int64_t n_sources;
    sp_dtype dtype; /* in the file */
} bound_item;

typedef struct binding {
    bound_item *items;
    size_t n;
    sp_arena *arena;
} binding;

/* --- finding sources ------------------------------------------------------------------------------------ */

static const char *format_shape(char text[96], int n_dims, const int64_t *shape)
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < n_dims; i++) {
        used += (size_t)snprintf(text + used, 96 - used, "%s%" PRId64, i ? ", " : "", shape[i]);
    }
    return text;
}

static sp_status check_shape(const sp_entry *e, int n_dims, const int64_t *shape, sp_error *err)
{
    const sp_tensor *t = &e->tensor;
    SP_TRY(sp_conversion_check_entry(e, err));
    bool equal = t->n_dims == n_dims;
    for (int i = 0; equal && i < n_dims; i++) equal = t->shape[i] == shape[i];
    if (equal) return SP_OK;
    char want[96], found[96];
    return sp_fail(err, SP_E_FORMAT, "tensor \"%.200s\": expected shape (%s), found (%s)", e->name,
                   format_shape(want, n_dims, shape), format_shape(found, t->n_dims, t->shape));
}

/* What one source tensor must look like. */
static int source_shape(const sp_layout_item *item, const sp_hparams *hp, int64_t shape[3])
{
    if (item->kind == SP_LAYOUT_K_B || item->kind == SP_LAYOUT_V_B) {
        shape[0] = (int64_t)hp->num_attention_heads * (hp->qk_nope_head_dim + hp->v_head_dim);
        shape[1] = hp->kv_lora_rank;
        return 2;
    }
    int skip = item->kind == SP_LAYOUT_EXPERTS ? 1 : 0;
    for (int i = skip; i < item->n_dims; i++) shape[i - skip] = item->shape[i];
    return item->n_dims - skip;
}

static void source_name(const sp_layout_item *item, int64_t expert, char name[128])
{
    const char *mark = item->kind == SP_LAYOUT_EXPERTS ? strchr(item->source, '%') : NULL;
    if (!mark)
        snprintf(name, 128, "%s", item->source);
    else
        snprintf(name, 128, "%.*s%" PRId64 "%s", (int)(mark - item->source), item->source, expert, mark + 1);
}

static bool equals_entry(const sp_archive *archive, const sp_entry *e, const char *other)
{
    const sp_entry *o = sp_archive_find(archive, other);
    return o && !o->unsupported && !e->unsupported && o->tensor.dtype == e->tensor.dtype &&
           o->n_bytes == e->n_bytes && memcmp(o->tensor.data, e->tensor.data, (size_t)e->n_bytes) == 0;
}

/* Left out: absent where that is allowed, or a repetition of the model's embedding or head. */
static bool is_left_out(const sp_archive *archive, const sp_layout_item *item, const sp_entry *e)
{
    if (!e) return item->optional;
    return item->copy_of_global && (equals_entry(archive, e, "model.embed_tokens.weight") ||
                                    equals_entry(archive, e, "lm_head.weight"));
}

static sp_status bind_item(sp_conversion *c, binding *b, const sp_layout_item *item, sp_error *err)
{
    bound_item *bound = &b->items[b->n];
    *bound = (bound_item){.item = item, .hp = &c->hp};
    bound->n_sources = item->kind == SP_LAYOUT_EXPERTS    ? item->shape[0]
                       : item->kind == SP_LAYOUT_DIVISORS ? 0
                                                          : 1;
    bound->sources = sp_arena_alloc(b->arena, (size_t)(bound->n_sources + 1) * sizeof *bound->sources);
    if (!bound->sources) return sp_fail_nomem(err, "tensor sources", (uint64_t)bound->n_sources * 8);
    int64_t shape[3] = {1, 1, 1};
    int n_dims = source_shape(item, &c->hp, shape);
    for (int64_t i = 0; i < bound->n_sources; i++) {
        char name[128];
        source_name(item, i, name);
        const sp_entry *e = sp_archive_find(c->archive, name);
        if (is_left_out(c->archive, item, e)) return SP_OK;
        if (!e) return sp_fail(err, SP_E_FORMAT, "tensor \"%s\" is missing", name);
        SP_TRY(check_shape(e, n_dims, shape, err));
        bound->sources[i] = e;
    }
    bound->dtype = sp_conversion_type(c, item->name, item->n_dims, item->shape);
    b->n++;
    return sp_gguf_declare(c->writer, item->name, bound->dtype, item->n_dims, item->shape, err);
}

/* --- making rows ---------------------------------------------------------------------------------------- */

/* Which row of which source a row of the result is. */
static const sp_tensor *locate(const bound_item *b, int64_t row, int64_t *source_row)
{
    const sp_layout_item *item = b->item;
    const sp_hparams *hp = b->hp;
    int64_t source = 0;
    *source_row = row;
    if (item->kind == SP_LAYOUT_PERMUTE) {
        int64_t hd = item->shape[0] / item->heads, in_head = row % hd;
        *source_row = row - in_head + in_head % 2 * (hd / 2) + in_head / 2;
    } else if (item->kind == SP_LAYOUT_EXPERTS) {
        source = row / item->shape[1];
        *source_row = row % item->shape[1];
    } else if (item->kind == SP_LAYOUT_V_B) {
        int64_t vd = hp->v_head_dim, head = row / vd;
        *source_row = head * (hp->qk_nope_head_dim + vd) + hp->qk_nope_head_dim + row % vd;
    }
    return &b->sources[source]->tensor;
}

static void fill_row(const void *ctx, int64_t unit, float *rows, float *scratch)
{
    (void)scratch;
    int64_t row;
    const sp_tensor *t = locate(ctx, unit, &row);
    sp_tensor_read_row(t, row, rows);
}

static void copy_row(const void *ctx, int64_t unit, void *out)
{
    int64_t row;
    const sp_tensor *t = locate(ctx, unit, &row);
    memcpy(out, sp_tensor_row(t, row), t->row_bytes);
}

/* A permuted bias: the elements of a vector move as rows of a matrix do. */
static void fill_permuted_vector(const void *ctx, int64_t unit, float *rows, float *scratch)
{
    (void)unit;
    const bound_item *b = ctx;
    int64_t from;
    sp_tensor_read_row(&b->sources[0]->tensor, 0, scratch);
    for (int64_t i = 0; i < b->item->shape[0]; i++) {
        locate(b, i, &from);
        rows[i] = scratch[from];
    }
}

/* One head of attn_k_b (c, n): the transpose of its n rows of kv_b_proj, each of c. */
static void fill_k_b(const void *ctx, int64_t unit, float *rows, float *scratch)
{
    const bound_item *b = ctx;
    int64_t n = b->hp->qk_nope_head_dim, c = b->hp->kv_lora_rank, first = unit * (n + b->hp->v_head_dim);
    for (int64_t i = 0; i < n; i++) sp_tensor_read_row(&b->sources[0]->tensor, first + i, scratch + i * c);
    for (int64_t k = 0; k < c; k++) {
        for (int64_t i = 0; i < n; i++) rows[k * n + i] = scratch[i * c + k];
    }
}

static void fill_divisors(const void *ctx, int64_t unit, float *rows, float *scratch)
{
    (void)unit, (void)scratch;
    const bound_item *b = ctx;
    sp_layout_divisors(b->hp, rows);
}

static sp_status write_item(sp_conversion *c, const bound_item *b, sp_error *err)
{
    const sp_layout_item *item = b->item;
    int64_t cols = item->shape[item->n_dims - 1], rows = 1;
    for (int i = 0; i < item->n_dims - 1; i++) rows *= item->shape[i];
    sp_tensor_source s = {
        .dtype = b->dtype, .cols = cols, .rows_per_unit = 1, .n_units = rows, .fill = fill_row, .ctx = b};
    bool vector = item->kind == SP_LAYOUT_PERMUTE && item->n_dims == 1;
    if (vector) {
        s.fill = fill_permuted_vector;
        s.scratch_floats = (size_t)cols;
    } else if (item->kind == SP_LAYOUT_K_B) {
        s.fill = fill_k_b;
        s.rows_per_unit = item->shape[1];
        s.n_units = item->shape[0];
        s.scratch_floats = (size_t)(cols * item->shape[1]);
    } else if (item->kind == SP_LAYOUT_DIVISORS) {
        s.fill = fill_divisors;
    } else if (b->sources[0]->tensor.dtype == b->dtype) {
        bool same = true; /* experts may differ in type among themselves */
        for (int64_t i = 0; i < b->n_sources; i++) same = same && b->sources[i]->tensor.dtype == b->dtype;
        if (same) s.copy = copy_row;
    }
    return sp_tensor_stream_put(&c->stream, &s, item->name, err);
}

/* --- the file ------------------------------------------------------------------------------------------- */

/* Prediction layers that the files really hold. */
static int32_t count_mtp(const sp_conversion *c)
{
    int32_t n = 0;
    for (; n < c->hp.num_nextn_predict_layers; n++) {
        char name[96];
        snprintf(name, sizeof name, "model.layers.%d.eh_proj.weight", c->hp.num_hidden_layers + n);
        if (!sp_archive_find(c->archive, name)) break;
    }
    return n;
}

static sp_status put_vocabulary(const sp_conversion *c, sp_error *err)
{
    char *path = sp_path_join(sp_archive_path(c->archive), "tokenizer.json");
    if (!path) return sp_fail_nomem(err, "file name", 0);
    bool present = sp_file_exists(path);
    sp_free(path);
    if (!present) return sp_gguf_put_no_tokenizer(c->writer, err);
    sp_tokenizer *tokenizer;
    SP_TRY(sp_tokenizer_open(&tokenizer, sp_archive_path(c->archive), err));
    sp_status status = sp_gguf_put_tokenizer(c->writer, tokenizer, c->hp.vocab_size,
                                             sp_archive_tokenizer_config(c->archive), err);
    sp_tokenizer_close(tokenizer);
    return status;
}

static sp_status put_name(const sp_conversion *c, sp_error *err)
{
    const char *name = c->options->name;
    if (name) return sp_gguf_put_string(c->writer, "general.name", name, strlen(name), err);
    const char *path = sp_archive_path(c->archive);
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    return sp_gguf_put_string(c->writer, "general.name", path + begin, end - begin, err);
}

/* What is recommended to who samples, under llama.cpp's keys. */
static sp_status put_sampling(const sp_conversion *c, sp_error *err)
{
    sp_sampling_hint hint = sp_archive_sampling(c->archive);
    if (c->options->temperature) hint.temperature = *c->options->temperature;
    if (hint.temperature >= 0)
        SP_TRY(sp_gguf_put_f32(c->writer, "general.sampling.temp", (float)hint.temperature, err));
    if (hint.top_p < 0) return SP_OK;
    return sp_gguf_put_f32(c->writer, "general.sampling.top_p", (float)hint.top_p, err);
}

static sp_status put_metadata(const sp_conversion *c, int32_t n_mtp, sp_error *err)
{
    SP_TRY(sp_gguf_put_hparams(c->writer, &c->hp, n_mtp, err));
    SP_TRY(put_name(c, err));
    SP_TRY(put_sampling(c, err));
    SP_TRY(sp_conversion_put_type(c, err));
    return put_vocabulary(c, err);
}

/* Refuse what would be lost silently. Known to be of no use: rotary buffers of old uploads, F8 scales
 * (applied), a head that is tied, and copies that were left out. */
static sp_status check_all_used(const sp_conversion *c, const binding *b, const sp_layout *layout,
                                sp_error *err)
{
    sp_names used;
    SP_TRY(sp_names_init(&used, sp_archive_count(c->archive), err));
    for (size_t i = 0; i < b->n; i++) {
        for (int64_t k = 0; k < b->items[i].n_sources; k++) {
            const char *name = b->items[i].sources[k]->name;
            size_t value = 0;
            sp_names_add(&used, name, strlen(name), &value);
        }
    }
    for (size_t i = 0; i < layout->n; i++) {
        size_t value = 0;
        if (!layout->items[i].copy_of_global) continue;
        const sp_entry *e = sp_archive_find(c->archive, layout->items[i].source);
        if (e) sp_names_add(&used, e->name, strlen(e->name), &value);
    }
    sp_status status = SP_OK;
    for (size_t i = 0; status == SP_OK && i < sp_archive_count(c->archive); i++) {
        const char *name = sp_archive_at(c->archive, i)->name;
        size_t value;
        if (sp_names_find(&used, name, strlen(name), &value) || sp_ends_with(name, "rotary_emb.inv_freq") ||
            sp_ends_with(name, "_scale_inv")) {
            continue;
        }
        if (c->hp.tie_word_embeddings && strcmp(name, "lm_head.weight") == 0) continue;
        status =
            sp_fail(err, SP_E_UNSUPPORTED, "tensor \"%.200s\" has no place in a GGUF file of architecture %s",
                    name, sp_arch_get(c->hp.arch)->name);
    }
    sp_names_clear(&used);
    return status;
}

static sp_status convert_layout(sp_conversion *c, binding *b, const sp_layout *layout, sp_error *err)
{
    b->items = sp_arena_alloc(b->arena, layout->n * sizeof *b->items);
    if (!b->items) return sp_fail_nomem(err, "tensor table", layout->n * sizeof *b->items);
    for (size_t i = 0; i < layout->n; i++) SP_TRY(bind_item(c, b, &layout->items[i], err));
    SP_TRY(check_all_used(c, b, layout, err));
    SP_TRY(sp_gguf_write_header(c->writer, err));
    for (size_t i = 0; i < b->n; i++) SP_TRY(write_item(c, &b->items[i], err));
    return SP_OK;
}

sp_status sp_conversion_from_hf(sp_conversion *c, sp_error *err)
{
    int32_t n_mtp = count_mtp(c);
    c->facts.n_blocks += n_mtp;
    c->facts.tied = c->hp.tie_word_embeddings;
    sp_layout layout = {0};
    binding b = {.arena = sp_arena_create((size_t)1 << 18)};
    if (!b.arena) return sp_fail_nomem(err, "tensor table", (uint64_t)1 << 18);
    sp_status status;
    SP_GOTO(done, status, sp_layout_build(&layout, &c->hp, n_mtp, err));
    SP_GOTO(done, status, put_metadata(c, n_mtp, err));
    status = convert_layout(c, &b, &layout, err);
done:
    sp_layout_clear(&layout);
    sp_arena_destroy(b.arena);
    return status;
}
