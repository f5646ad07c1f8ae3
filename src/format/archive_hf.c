/* SPDX-License-Identifier: MIT */
/* Archives: Hugging Face directories. config.json is required; the weights are model.safetensors or the files
 * that model.safetensors.index.json names. F8 tensors get the scales of "<name>_scale_inv" (DeepSeek-V3,
 * README_WEIGHTS: one float per 128 x 128 block, a multiplier). Start at sp_archive_open_hf(). */
#include "format/archive_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_JSON_BYTES ((size_t)64 << 20)
#define MAX_FILES 10000
#define F8_BLOCK 128

/* Parse dir/name; *root stays NULL when the file is absent. */
static sp_status load_json(const sp_archive *archive, const char *name, sp_json **root, sp_error *err)
{
    sp_buf buf = {0};
    sp_status status = SP_OK;
    char *path = sp_path_join(archive->path, name);
    if (!path) return sp_fail_nomem(err, "file name", strlen(name));
    if (!sp_file_exists(path)) goto done;
    SP_GOTO(done, status, sp_file_read(&buf, path, MAX_JSON_BYTES, err));
    status = sp_json_parse(buf.data ? buf.data : "", buf.len, root, err);
    if (status == SP_OK && !sp_json_is(*root, SP_JSON_OBJECT)) {
        status = sp_fail(err, SP_E_FORMAT, "a JSON object was expected");
    }
    if (status != SP_OK) sp_fail_prefix(err, status, "%s", name);
done:
    sp_buf_clear(&buf);
    sp_free(path);
    return status;
}

static bool has_file(const sp_archive *archive, const char *name)
{
    char *path = sp_path_join(archive->path, name);
    bool found = path && sp_file_exists(path);
    sp_free(path);
    return found;
}

/* A quantisation that would change what the tensors mean must be one that we know. */
static sp_status check_quantization(const sp_json *config, sp_error *err)
{
    const sp_json *q = sp_json_get(config, "quantization_config");
    if (!sp_json_is(q, SP_JSON_OBJECT)) return SP_OK;
    const char *method = sp_json_string(sp_json_get(q, "quant_method"), NULL);
    if (!method || strcmp(method, "fp8") != 0) {
        char quoted[SP_QUOTE_CAP];
        const char *shown = method ? method : "(none)";
        return sp_fail(err, SP_E_UNSUPPORTED,
                       "config.json: quantization_config.quant_method is %s, only \"fp8\" is supported",
                       sp_name_quote(quoted, shown, strlen(shown)));
    }
    const sp_json *block = sp_json_get(q, "weight_block_size");
    if (!block || (sp_json_size(block) == 2 && sp_json_int(sp_json_at(block, 0), 0) == F8_BLOCK &&
                   sp_json_int(sp_json_at(block, 1), 0) == F8_BLOCK)) {
        return SP_OK;
    }
    return sp_fail(err, SP_E_UNSUPPORTED,
                   "config.json: quantization_config.weight_block_size must be [128, 128], found [%" PRId64
                   ", %" PRId64 "]",
                   sp_json_int(sp_json_at(block, 0), 0), sp_json_int(sp_json_at(block, 1), 0));
}

/* Data that the file holds unaligned for its element type are copied, since kernels read whole elements. */
static sp_status bind_data(sp_archive *archive, sp_entry *e, const uint8_t *data, sp_error *err)
{
    size_t size = sp_dtype_get(e->tensor.dtype)->block_bytes;
    if ((uintptr_t)data % size != 0) {
        void *copy = sp_arena_alloc(archive->arena, (size_t)e->n_bytes);
        if (!copy) return sp_fail_nomem(err, e->name, e->n_bytes);
        memcpy(copy, data, (size_t)e->n_bytes);
        data = copy;
    }
    e->tensor.data = (void *)(uintptr_t)data;
    return SP_OK;
}

static sp_status enter_tensor(sp_archive *archive, size_t file, const sp_safetensors_entry *s, sp_error *err)
{
    sp_entry *e = &archive->entries[archive->n_entries];
    e->name = s->name;
    e->n_bytes = s->end - s->begin;
    e->file_offset = s->begin;
    e->file = (int)file;
    for (int i = 0; i < SP_MAX_DIMS; i++) e->tensor.shape[i] = i < s->n_dims ? s->shape[i] : 1;
    e->tensor.n_dims = s->n_dims ? s->n_dims : 1; /* a scalar is a vector of one */
    if (!s->supported) {
        e->unsupported = s->dtype_name;
        return sp_archive_enter(archive, err);
    }
    e->tensor.dtype = s->dtype;
    e->tensor.row_bytes = sp_dtype_row_bytes(s->dtype, (size_t)sp_tensor_cols(&e->tensor));
    SP_TRY(bind_data(archive, e, archive->files[file].map.data + s->begin, err));
    return sp_archive_enter(archive, err);
}

static sp_status open_file(sp_archive *archive, sp_archive_part *file, const char *name, sp_error *err)
{
    file->path = sp_path_join(archive->path, name);
    if (!file->path) return sp_fail_nomem(err, "file name", strlen(name));
    if (!sp_file_exists(file->path)) {
        return sp_fail(err, SP_E_FORMAT, "model.safetensors.index.json names \"%s\", which is missing", name);
    }
    SP_TRY(sp_map_open(&file->map, file->path, err));
    sp_status status = sp_safetensors_parse(&file->st, file->map.data, file->map.len, err);
    if (status != SP_OK) return sp_fail_prefix(err, status, "%s", name);
    return SP_OK;
}

/* The file names of the index, each once, in ascending order. The strings belong to the index. */
static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static sp_status check_file_name(const char *tensor, const char *file, size_t len, sp_error *err)
{
    char quoted[SP_QUOTE_CAP];
    if (!file) {
        return sp_fail(err, SP_E_FORMAT, "model.safetensors.index.json: weight_map[%s] must be a string",
                       sp_name_quote(quoted, tensor, strlen(tensor)));
    }
    /* Only plain names: a file outside the directory is no part of the model. */
    if (len == 0 || len > 255 || strlen(file) != len || strchr(file, '/') || file[0] == '.') {
        return sp_fail(err, SP_E_FORMAT, "model.safetensors.index.json: %s is no plain file name",
                       sp_name_quote(quoted, file, len));
    }
    return SP_OK;
}

static sp_status list_files(const sp_json *map, const char **files, size_t *n_files, sp_error *err)
{
    sp_names names;
    SP_TRY(sp_names_init(&names, MAX_FILES, err));
    sp_status status = SP_OK;
    void *iter = NULL;
    const char *tensor;
    const sp_json *value;
    *n_files = 0;
    while (sp_json_next(map, &iter, &tensor, &value)) {
        size_t len = 0, index = *n_files;
        const char *file = sp_json_string(value, &len);
        SP_GOTO(done, status, check_file_name(tensor, file, len, err));
        if (*n_files == MAX_FILES && !sp_names_find(&names, file, len, &index)) {
            status =
                sp_fail(err, SP_E_LIMIT, "model.safetensors.index.json names more than %d files", MAX_FILES);
            goto done;
        }
        if (sp_names_add(&names, file, len, &index)) files[(*n_files)++] = file;
    }
    qsort(files, *n_files, sizeof *files, compare_names);
done:
    sp_names_clear(&names);
    return status;
}

static sp_status open_files(sp_archive *archive, const char *const *names, size_t n, sp_error *err)
{
    archive->files = sp_calloc(n, sizeof *archive->files);
    if (!archive->files) return sp_fail_nomem(err, "file table", (uint64_t)n * sizeof *archive->files);
    archive->n_files = n;
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        SP_TRY(open_file(archive, &archive->files[i], names[i], err));
        total += sp_safetensors_count(archive->files[i].st);
    }
    archive->entries = sp_calloc(total, sizeof *archive->entries);
    if (!archive->entries)
        return sp_fail_nomem(err, "tensor table", (uint64_t)total * sizeof *archive->entries);
    return sp_names_init(&archive->names, total, err);
}

/* Enter the tensors of every file; with a weight_map only those that it assigns to the file. */
static sp_status enter_tensors(sp_archive *archive, const sp_json *map, sp_error *err)
{
    for (size_t i = 0; i < archive->n_files; i++) {
        const sp_safetensors *st = archive->files[i].st;
        const char *base = sp_path_base(archive->files[i].path);
        for (size_t k = 0; k < sp_safetensors_count(st); k++) {
            const sp_safetensors_entry *s = sp_safetensors_at(st, k);
            if (map) {
                const char *file = sp_json_string(sp_json_get(map, s->name), NULL);
                if (!file || strcmp(file, base) != 0) continue;
            }
            SP_TRY(enter_tensor(archive, i, s, err));
        }
    }
    if (!map || sp_json_size(map) == archive->n_entries) return SP_OK;
    void *iter = NULL;
    const char *tensor;
    const sp_json *value;
    while (sp_json_next(map, &iter, &tensor, &value)) {
        if (sp_archive_find(archive, tensor)) continue;
        char quoted[SP_QUOTE_CAP];
        return sp_fail(err, SP_E_FORMAT, "model.safetensors.index.json: tensor %s is not in \"%s\"",
                       sp_name_quote(quoted, tensor, strlen(tensor)), sp_json_string(value, NULL));
    }
    return SP_OK;
}

static sp_status open_indexed(sp_archive *archive, sp_error *err)
{
    const sp_json *map = sp_json_get(archive->index, "weight_map");
    if (!sp_json_is(map, SP_JSON_OBJECT) || sp_json_size(map) == 0) {
        return sp_fail(err, SP_E_FORMAT,
                       "model.safetensors.index.json: \"weight_map\" must be an object with entries");
    }
    const char **files = sp_malloc_array(MAX_FILES, sizeof(*files));
    if (!files) return sp_fail_nomem(err, "file table", MAX_FILES * sizeof *files);
    size_t n = 0;
    sp_status status;
    SP_GOTO(done, status, list_files(map, files, &n, err));
    SP_GOTO(done, status, open_files(archive, files, n, err));
    status = enter_tensors(archive, map, err);
done:
    sp_free(files);
    return status;
}

static sp_status open_weights(sp_archive *archive, sp_error *err)
{
    static const char single[] = "model.safetensors", index[] = "model.safetensors.index.json";
    if (has_file(archive, single)) {
        const char *const names[] = {single};
        SP_TRY(open_files(archive, names, 1, err));
        return enter_tensors(archive, NULL, err);
    }
    SP_TRY(load_json(archive, index, &archive->index, err));
    if (archive->index) return open_indexed(archive, err);
    if (has_file(archive, "pytorch_model.bin") || has_file(archive, "pytorch_model.bin.index.json")) {
        return sp_fail(
            err, SP_E_UNSUPPORTED,
            "\"%s\" holds its weights as pytorch_model.bin (Python pickles), which are not read for safety; "
            "save the model as safetensors",
            archive->path);
    }
    return sp_fail(err, SP_E_NOT_FOUND, "\"%s\" holds neither %s nor %s", archive->path, single, index);
}

static sp_status bind_scale(sp_archive *archive, sp_entry *e, sp_error *err)
{
    char name[512], quoted[SP_QUOTE_CAP];
    sp_name_quote(quoted, e->name, strlen(e->name));
    int n = snprintf(name, sizeof name, "%s_scale_inv", e->name);
    const sp_entry *scale = n > 0 && (size_t)n < sizeof name ? sp_archive_find(archive, name) : NULL;
    if (!scale)
        return sp_fail(err, SP_E_FORMAT, "tensor %s is F8_E4M3, but its \"_scale_inv\" is missing", quoted);
    int64_t rows = sp_tensor_rows(&e->tensor), cols = sp_tensor_cols(&e->tensor);
    int64_t want[2] = {(rows + F8_BLOCK - 1) / F8_BLOCK, (cols + F8_BLOCK - 1) / F8_BLOCK};
    const sp_tensor *s = &scale->tensor;
    if (scale->unsupported || s->dtype != SP_DTYPE_F32) {
        return sp_fail(err, SP_E_UNSUPPORTED, "the scales of tensor %s must be F32, they are %s", quoted,
                       scale->unsupported ? scale->unsupported : sp_dtype_get(s->dtype)->label);
    }
    if (e->tensor.n_dims != 2 || s->n_dims != 2 || s->shape[0] != want[0] || s->shape[1] != want[1]) {
        return sp_fail(err, SP_E_FORMAT,
                       "the scales of tensor %s (%" PRId64 ", %" PRId64 ") have shape (%" PRId64 ", %" PRId64
                       "), expected (%" PRId64 ", %" PRId64 ")",
                       quoted, rows, cols, s->shape[0], s->shape[1], want[0], want[1]);
    }
    e->tensor.scale = s->data;
    return SP_OK;
}

sp_status sp_archive_open_hf(sp_archive *archive, sp_error *err)
{
    archive->container = SP_CONTAINER_HF;
    SP_TRY(load_json(archive, "config.json", &archive->config, err));
    if (!archive->config) {
        return sp_fail(err, SP_E_NOT_FOUND,
                       "\"%s\" holds no config.json, so it is no Hugging Face model directory",
                       archive->path);
    }
    SP_TRY(load_json(archive, "generation_config.json", &archive->generation_config, err));
    SP_TRY(load_json(archive, "tokenizer_config.json", &archive->tokenizer_config, err));
    SP_TRY(check_quantization(archive->config, err));
    SP_TRY(open_weights(archive, err));
    for (size_t i = 0; i < archive->n_entries; i++) {
        sp_entry *e = &archive->entries[i];
        if (!e->unsupported && e->tensor.dtype == SP_DTYPE_F8_E4M3) SP_TRY(bind_scale(archive, e, err));
    }
    return SP_OK;
}
