/* SPDX-License-Identifier: MIT */
/* Export to a Hugging Face folder: tensors keep their names and shapes and change their type; config.json is the source's with the new
 * type. The folder is built beside its place and renamed. Start at sp_export_hf(). */
#include "model/export_hf.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/text.h"
#include "format/archive.h"
#include "format/safetensors_write.h"
#include "model/hf_dir.h"
#include "model/hparams.h"

typedef struct exporting {
    const sp_export_options *options;
    const sp_archive *archive;
    const char *dir; /* under its temporary name */
    sp_safetensors_writer *writer;
    float *row;           /* one row as floats */
    void *packed;         /* and in the target type */
    size_t n_cols;        /* of both */
    uint64_t done, total; /* bytes of tensors */
} exporting;

/* Scales of F8 weights are applied; rotary buffers of old uploads are computed anew. */
static bool is_left_out(const sp_entry *e)
{
    return sp_ends_with(e->name, "_scale_inv") || sp_ends_with(e->name, "rotary_emb.inv_freq");
}

static sp_dtype target_type(const exporting *x, const sp_entry *e)
{
    return sp_ends_with(e->name, "e_score_correction_bias") ? SP_DTYPE_F32 : x->options->dtype;
}

static uint64_t tensor_bytes(const exporting *x, const sp_entry *e)
{
    size_t n_cols = (size_t)sp_tensor_cols(&e->tensor);
    return (uint64_t)sp_tensor_rows(&e->tensor) * sp_dtype_row_bytes(target_type(x, e), n_cols);
}

/* --- weights -------------------------------------------------------------------------------------------- */

static sp_status declare_all(exporting *x, sp_error *err)
{
    for (size_t i = 0; i < sp_archive_count(x->archive); i++) {
        const sp_entry *e = sp_archive_at(x->archive, i);
        if (is_left_out(e)) continue;
        if (e->unsupported)
            return sp_fail(err, SP_E_UNSUPPORTED, "tensor \"%.200s\": type %s is not supported", e->name,
                           e->unsupported);
        size_t n_cols = (size_t)sp_tensor_cols(&e->tensor);
        if (n_cols > x->n_cols) x->n_cols = n_cols;
        x->total += tensor_bytes(x, e);
        SP_TRY(sp_safetensors_declare(x->writer, e->name, target_type(x, e), e->tensor.n_dims,
                                      e->tensor.shape, err));
    }
    x->row = sp_malloc_array(x->n_cols + 1, sizeof *x->row);
    x->packed = sp_malloc_array(x->n_cols + 1, sizeof *x->row);
    return x->row && x->packed ? SP_OK : sp_fail_nomem(err, "row", x->n_cols * sizeof *x->row);
}

static sp_status write_tensor(exporting *x, const sp_entry *e, sp_error *err)
{
    const sp_tensor *t = &e->tensor;
    sp_dtype dtype = target_type(x, e);
    size_t n_cols = (size_t)sp_tensor_cols(t);
    for (int64_t row = 0; row < sp_tensor_rows(t); row++) {
        const void *bytes = sp_tensor_row(t, row);
        if (t->dtype != dtype) {
            sp_tensor_read_row(t, row, x->row);
            sp_status status = sp_dtype_pack(dtype, x->row, x->packed, n_cols, err);
            if (status != SP_OK) return sp_fail_prefix(err, status, "tensor \"%.200s\"", e->name);
            bytes = x->packed;
        }
        SP_TRY(sp_safetensors_write_data(x->writer, bytes, sp_dtype_row_bytes(dtype, n_cols), err));
    }
    x->done += tensor_bytes(x, e);
    const sp_export_options *o = x->options;
    bool go_on = !o->progress || o->progress(o->progress_ctx, x->done, x->total);
    return go_on ? SP_OK : sp_fail(err, SP_E_CANCELLED, "cancelled");
}

static sp_status write_weights(exporting *x, sp_error *err)
{
    SP_TRY(sp_safetensors_writer_open(&x->writer, x->dir, x->options->max_shard_bytes, err));
    SP_TRY(declare_all(x, err));
    for (size_t i = 0; i < sp_archive_count(x->archive); i++) {
        const sp_entry *e = sp_archive_at(x->archive, i);
        if (!is_left_out(e)) SP_TRY(write_tensor(x, e, err));
    }
    return sp_safetensors_writer_commit(x->writer, err);
}

/* --- other files ---------------------------------------------------------------------------------------- */

/* The source's config.json without what describes its storage. */
static sp_status write_config(const exporting *x, sp_error *err)
{
    sp_buf json = {NULL, 0, 0};
    void *iter = NULL;
    const char *key;
    const sp_json *value;
    sp_dtype dtype = x->options->dtype;
    const char *name = dtype == SP_DTYPE_F32 ? "float32" : dtype == SP_DTYPE_F16 ? "float16" : "bfloat16";
    sp_status status;
    SP_GOTO(done, status, sp_buf_puts(&json, "{", err));
    while (sp_json_next(sp_archive_config(x->archive), &iter, &key, &value)) {
        if (strcmp(key, "quantization_config") == 0 || strcmp(key, "torch_dtype") == 0 ||
            strcmp(key, "dtype") == 0)
            continue;
        SP_GOTO(done, status, sp_buf_puts(&json, "\n  ", err));
        SP_GOTO(done, status, sp_json_put_string(&json, key, strlen(key), err));
        SP_GOTO(done, status, sp_buf_puts(&json, ": ", err));
        SP_GOTO(done, status, sp_json_dump(&json, value, SP_JSON_PYTHON, err));
        SP_GOTO(done, status, sp_buf_puts(&json, ",", err));
    }
    SP_GOTO(done, status, sp_buf_printf(&json, err, "\n  \"torch_dtype\": \"%s\"\n}\n", name));
    status = sp_hf_put_text(x->dir, "config.json", &json, err);
done:
    sp_buf_clear(&json);
    return status;
}

static sp_status export_archive(exporting *x, sp_error *err)
{
    sp_hparams hp;
    sp_dtype dtype = x->options->dtype;
    if (dtype != SP_DTYPE_F32 && dtype != SP_DTYPE_F16 && dtype != SP_DTYPE_BF16)
        return sp_fail(err, SP_E_ARGUMENT, "type %s: a Hugging Face folder is written as bf16, f16 or f32",
                       sp_dtype_get(dtype)->name);
    if (sp_archive_container(x->archive) != SP_CONTAINER_HF)
        return sp_fail(err, SP_E_UNSUPPORTED,
                       "\"%s\" is a GGUF file; a Hugging Face folder is made from another one",
                       sp_archive_path(x->archive));
    SP_TRY(sp_hparams_from_archive(&hp, x->archive, err));
    SP_TRY(sp_dir_create(x->dir, err));
    SP_TRY(write_weights(x, err));
    SP_TRY(sp_hf_copy_tokenizer(x->dir, sp_archive_path(x->archive), err));
    SP_TRY(sp_hf_copy_file(x->dir, sp_archive_path(x->archive), "generation_config.json", err));
    SP_TRY(write_config(x, err));
    return sp_dir_sync(x->dir, err);
}

static sp_status check_place(const char *dst, sp_error *err)
{
    sp_names_list list = {NULL, 0, 0};
    if (!sp_file_exists(dst)) return SP_OK;
    SP_TRY(sp_dir_list(&list, dst, err));
    size_t n = list.n;
    sp_names_list_clear(&list);
    return n == 0 ? SP_OK : sp_fail(err, SP_E_IO, "folder \"%s\" is not empty", dst);
}

sp_status sp_export_hf(const char *src, const char *dst, const sp_export_options *options, sp_error *err)
{
    size_t n = strlen(dst), n_hidden;
    while (n > 1 && dst[n - 1] == '/') n--;
    exporting x = {.options = options};
    sp_archive *archive = NULL;
    char *path = sp_strndup(dst, n), *hidden = NULL;
    sp_status status = SP_OK;
    if (path && sp_add_size(n, 32, &n_hidden)) hidden = sp_malloc(n_hidden);
    if (!hidden) {
        status = sp_fail_nomem(err, "path", n);
        goto done;
    }
    snprintf(hidden, n_hidden, "%s.tmp.%ld", path, (long)getpid());
    SP_GOTO(done, status, check_place(path, err));
    SP_GOTO(done, status, check_place(hidden, err));
    SP_GOTO(done, status, sp_archive_open(&archive, src, err));
    x.archive = archive;
    x.dir = hidden;
    status = export_archive(&x, err);
    sp_safetensors_writer_close(x.writer);
    if (status == SP_OK) status = sp_dir_place(hidden, path, err);
    sp_dir_remove(hidden, NULL); /* after a failure; after success at most the empty folder that was there */
done:
    sp_free(x.row);
    sp_free(x.packed);
    sp_archive_close(archive);
    sp_free(hidden);
    sp_free(path);
    return status;
}
