/* SPDX-License-Identifier: MIT */
/* Conversion: the common frame, and GGUF to GGUF. Tensors of the wanted type are copied byte for byte; all
 * others go through floats. Start at sp_convert(). */
#include "model/convert.h"

#include "model/convert_parts.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define QUANTIZATION_VERSION 2 /* of ggml's block layouts */
#define EXPERT_ALIGNMENT 4096  /* direct reads begin on a block of the disk */

sp_dtype sp_conversion_type(const sp_conversion *c, const char *name, int n_dims, const int64_t *shape)
{
    sp_dtype dtype = sp_mixture_choose(c->mixture, &c->facts, name, n_dims, shape);
    if (n_dims < 2) return dtype;
    for (size_t i = 0; i < c->options->n_overrides; i++) {
        const sp_type_override *o = &c->options->overrides[i];
        if (strstr(name, o->part)) return sp_mixture_fallback(o->dtype, shape[n_dims - 1]);
    }
    return dtype;
}

sp_dtype sp_conversion_retype(const sp_conversion *c, const char *name, int n_dims, const int64_t *shape,
                              sp_dtype dtype)
{
    if (c->mixture) return sp_conversion_type(c, name, n_dims, shape);
    for (size_t i = 0; n_dims > 1 && i < c->options->n_overrides; i++) {
        const sp_type_override *o = &c->options->overrides[i];
        if (strstr(name, o->part)) return sp_mixture_fallback(o->dtype, shape[n_dims - 1]);
    }
    return dtype;
}

sp_status sp_conversion_put_type(const sp_conversion *c, sp_error *err)
{
    SP_TRY(sp_gguf_put_u32(c->writer, "general.file_type", sp_mixture_file_type(c->mixture), err));
    return sp_gguf_put_u32(c->writer, "general.quantization_version", QUANTIZATION_VERSION, err);
}

sp_status sp_conversion_check_entry(const sp_entry *entry, sp_error *err)
{
    if (!entry->unsupported) return SP_OK;
    return sp_fail(err, SP_E_UNSUPPORTED, "tensor \"%.200s\": type %s is not supported", entry->name,
                   entry->unsupported);
}

/* --- GGUF to GGUF --------------------------------------------------------------------------------------- */

static bool key_is(const sp_gguf_kv *kv, const char *key)
{
    return kv->key.len == strlen(key) && memcmp(kv->key.data, key, (size_t)kv->key.len) == 0;
}

/* Keys that describe the file rather than the model. */
static bool is_file_key(const sp_gguf_kv *kv)
{
    static const char *const keys[] = {"general.file_type", "general.quantization_version",
                                       "general.alignment", "split.no",
                                       "split.count",       "split.tensors.count"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (key_is(kv, keys[i])) return true;
    }
    return false;
}

/* Keys that the caller has another value for. */
static bool is_replaced(const sp_conversion *c, const sp_gguf_kv *kv)
{
    return (c->options->name && key_is(kv, "general.name")) ||
           (c->options->temperature && key_is(kv, "general.sampling.temp"));
}

static sp_status copy_metadata(const sp_conversion *c, sp_error *err)
{
    const char *name = c->options->name;
    const sp_gguf *gguf = sp_archive_gguf(c->archive);
    for (size_t i = 0; i < sp_gguf_kv_count(gguf); i++) {
        const sp_gguf_kv *kv = sp_gguf_kv_at(gguf, i);
        bool kept =
            !c->mixture && (key_is(kv, "general.file_type") || key_is(kv, "general.quantization_version"));
        if ((kept || !is_file_key(kv)) && !is_replaced(c, kv)) SP_TRY(sp_gguf_put_kv(c->writer, kv, err));
    }
    if (name) SP_TRY(sp_gguf_put_string(c->writer, "general.name", name, strlen(name), err));
    if (c->options->temperature)
        SP_TRY(sp_gguf_put_f32(c->writer, "general.sampling.temp", (float)*c->options->temperature, err));
    if (c->options->experts == SP_CONVERT_ADJACENT)
        SP_TRY(sp_gguf_set_alignment(c->writer, EXPERT_ALIGNMENT, err));
    return c->mixture ? sp_conversion_put_type(c, err) : SP_OK;
}

static void fill_row(const void *ctx, int64_t unit, float *rows, float *scratch)
{
    (void)scratch;
    sp_tensor_read_row(ctx, unit, rows);
}

static void copy_row(const void *ctx, int64_t unit, void *out)
{
    const sp_tensor *t = ctx;
    memcpy(out, sp_tensor_row(t, unit), t->row_bytes);
}

static sp_status write_entry(sp_conversion *c, const sp_entry *e, sp_error *err)
{
    const sp_tensor *t = &e->tensor;
    sp_tensor_source source = {.dtype = sp_conversion_retype(c, e->name, t->n_dims, t->shape, t->dtype),
                               .cols = sp_tensor_cols(t),
                               .rows_per_unit = 1,
                               .n_units = sp_tensor_rows(t),
                               .fill = fill_row,
                               .ctx = t};
    if (source.dtype == t->dtype) source.copy = copy_row;
    return sp_tensor_stream_put(&c->stream, &source, e->name, err);
}

static sp_status convert_gguf(sp_conversion *c, sp_error *err)
{
    SP_TRY(copy_metadata(c, err));
    c->facts.tied = sp_archive_find(c->archive, "output.weight") == NULL;
    for (size_t i = 0; i < sp_archive_count(c->archive); i++) {
        const sp_entry *e = sp_archive_at(c->archive, i);
        SP_TRY(sp_conversion_check_entry(e, err));
        if (sp_conversion_moves_experts(c, e)) {
            SP_TRY(sp_conversion_declare_experts(c, e, err));
            continue;
        }
        sp_dtype dtype = sp_conversion_retype(c, e->name, e->tensor.n_dims, e->tensor.shape, e->tensor.dtype);
        SP_TRY(sp_gguf_declare(c->writer, e->name, dtype, e->tensor.n_dims, e->tensor.shape, err));
    }
    SP_TRY(sp_gguf_write_header(c->writer, err));
    for (size_t i = 0; i < sp_archive_count(c->archive); i++) {
        const sp_entry *e = sp_archive_at(c->archive, i);
        bool moves = sp_conversion_moves_experts(c, e);
        SP_TRY((moves ? sp_conversion_write_experts : write_entry)(c, e, err));
    }
    return SP_OK;
}

/* --- frame ---------------------------------------------------------------------------------------------- */

static sp_status check_target(const sp_archive *archive, const char *dst, sp_error *err)
{
    for (size_t i = 0; i < sp_archive_file_count(archive); i++) {
        if (strcmp(sp_archive_file(archive, i), dst) == 0) {
            return sp_fail(err, SP_E_IO, "\"%s\" is read and cannot be written at the same time", dst);
        }
    }
    return SP_OK;
}

static sp_status convert_archive(sp_conversion *c, const char *dst, sp_error *err)
{
    const sp_convert_options *o = c->options;
    bool hf = sp_archive_container(c->archive) == SP_CONTAINER_HF;
    SP_TRY(check_target(c->archive, dst, err));
    if (hf && (!c->mixture || o->experts == SP_CONVERT_ADJACENT))
        return sp_fail(err, SP_E_ARGUMENT, "%s: is for GGUF files; convert to GGUF first",
                       c->mixture ? "adjacent experts" : "type \"keep\"");
    SP_TRY(sp_hparams_from_archive(&c->hp, c->archive, err));
    c->facts.n_blocks = c->hp.num_hidden_layers + (hf ? 0 : c->hp.num_nextn_predict_layers);
    c->facts.heads_per_kv = c->hp.num_attention_heads / c->hp.num_key_value_heads;
    SP_TRY(sp_gguf_writer_open(&c->writer, dst, err));
    c->stream = (sp_tensor_stream){
        .writer = c->writer, .pool = o->pool, .progress = o->progress, .progress_ctx = o->progress_ctx};
    SP_TRY(hf ? sp_conversion_from_hf(c, err) : convert_gguf(c, err));
    return sp_gguf_writer_commit(c->writer, err);
}

static sp_status check_overrides(const sp_convert_options *options, sp_error *err)
{
    for (size_t i = 0; i < options->n_overrides; i++) {
        const sp_dtype_info *info = sp_dtype_get(options->overrides[i].dtype);
        if (!info->packable || info->ggml_type < 0) {
            return sp_fail(err, SP_E_ARGUMENT, "type %s cannot be written to GGUF", info->name);
        }
    }
    return SP_OK;
}

sp_status sp_convert(const char *src, const char *dst, const sp_convert_options *options, sp_error *err)
{
    sp_conversion c = {.options = options};
    sp_archive *archive = NULL;
    sp_status status;
    if (strcasecmp(options->type, "keep") != 0)
        SP_GOTO(done, status, sp_mixture_find(&c.mixture, options->type, err));
    SP_GOTO(done, status, check_overrides(options, err));
    SP_GOTO(done, status, sp_archive_open(&archive, src, err));
    c.archive = archive;
    status = convert_archive(&c, dst, err);
done:
    sp_free(c.expert_layers);
    sp_tensor_stream_clear(&c.stream);
    sp_gguf_writer_close(c.writer);
    sp_archive_close(archive);
    return status;
}
