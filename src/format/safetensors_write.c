/* SPDX-License-Identifier: MIT */
/* safetensors writer. Tensors are assigned to shards in the order of their declaration. Every shard's file
 * stays open under its temporary name until commit, so that a failed write leaves no half model behind. Start
 * at sp_safetensors_writer_open(). */
#include "format/safetensors_write.h"

#include "base/file.h"
#include "base/json.h"
#include "format/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HEADER_ALIGNMENT 8

typedef struct declared {
    char *name;
    sp_dtype dtype;
    int n_dims;
    int64_t shape[4];
    uint64_t n_bytes;
    size_t shard;
} declared;

struct sp_safetensors_writer {
    char *dir;
    const char *stem;
    uint64_t max_shard_bytes;
    declared *tensors;
    size_t n_tensors, cap;
    sp_writer **shards; /* created one after the other */
    size_t n_shards, n_open;
    size_t current;
    uint64_t current_done, total;
    bool started;
};

static sp_status fail_declare(sp_error *err, const char *name, const char *text)
{
    char quoted[SP_QUOTE_CAP];
    return sp_fail(err, SP_E_ARGUMENT, "safetensors: tensor %s: %s",
                   sp_name_quote(quoted, name, strlen(name)), text);
}

sp_status sp_safetensors_writer_open(sp_safetensors_writer **writer, const char *dir,
                                     uint64_t max_shard_bytes, sp_error *err)
{
    *writer = NULL;
    SP_TRY(sp_dir_create(dir, err));
    sp_safetensors_writer *w = sp_calloc(1, sizeof *w);
    if (!w) return sp_fail_nomem(err, "safetensors writer", sizeof *w);
    w->dir = sp_strdup(dir);
    if (!w->dir) {
        sp_free(w);
        return sp_fail_nomem(err, "safetensors writer", strlen(dir));
    }
    w->stem = "model";
    w->max_shard_bytes = max_shard_bytes;
    *writer = w;
    return SP_OK;
}

void sp_safetensors_writer_rename(sp_safetensors_writer *writer, const char *stem)
{
    writer->stem = stem;
}

void sp_safetensors_writer_close(sp_safetensors_writer *writer)
{
    if (!writer) return;
    for (size_t i = 0; i < writer->n_open; i++) sp_writer_close(writer->shards[i]);
    sp_free(writer->shards);
    for (size_t i = 0; i < writer->n_tensors; i++) sp_free(writer->tensors[i].name);
    sp_free(writer->tensors);
    sp_free(writer->dir);
    sp_free(writer);
}

sp_status sp_safetensors_declare(sp_safetensors_writer *writer, const char *name, sp_dtype dtype, int n_dims,
                                 const int64_t *shape, sp_error *err)
{
    sp_safetensors_writer *w = writer;
    if (w->started) return fail_declare(err, name, "declared after the first data");
    if (name[0] == 0 || strcmp(name, "__metadata__") == 0) return fail_declare(err, name, "no valid name");
    const sp_dtype_info *info = sp_dtype_get(dtype);
    if (!info->safetensors) return fail_declare(err, name, "safetensors has no such type");
    if (n_dims < 0 || n_dims > 4) return fail_declare(err, name, "0 to 4 dimensions expected");
    declared t = {.dtype = dtype, .n_dims = n_dims};
    size_t bytes = info->block_bytes;
    for (int i = 0; i < n_dims; i++) {
        if (shape[i] < 0 || !sp_mul_size(bytes, (size_t)shape[i], &bytes)) {
            return fail_declare(err, name, "the shape is out of range");
        }
        t.shape[i] = shape[i];
    }
    t.n_bytes = bytes;
    if (w->n_tensors == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : 64;
        declared *more = sp_realloc_array(w->tensors, cap, sizeof *more);
        if (!more) return sp_fail_nomem(err, "safetensors writer", (uint64_t)cap * sizeof *more);
        w->tensors = more;
        w->cap = cap;
    }
    t.name = sp_strdup(name);
    if (!t.name) return sp_fail_nomem(err, "tensor name", strlen(name));
    w->tensors[w->n_tensors++] = t;
    return SP_OK;
}

static sp_status check_names(const sp_safetensors_writer *w, sp_error *err)
{
    sp_names names;
    SP_TRY(sp_names_init(&names, w->n_tensors, err));
    sp_status status = SP_OK;
    for (size_t i = 0; status == SP_OK && i < w->n_tensors; i++) {
        size_t value = i;
        const char *name = w->tensors[i].name;
        if (!sp_names_add(&names, name, strlen(name), &value))
            status = fail_declare(err, name, "declared twice");
    }
    sp_names_clear(&names);
    return status;
}

/* Close the declarations: assign shards and make the table of writers. */
static sp_status start(sp_safetensors_writer *w, sp_error *err)
{
    SP_TRY(check_names(w, err));
    size_t shard = 0;
    uint64_t used = 0;
    w->total = 0;
    for (size_t i = 0; i < w->n_tensors; i++) {
        declared *t = &w->tensors[i];
        bool full = w->max_shard_bytes && used && used + t->n_bytes > w->max_shard_bytes;
        if (full) {
            shard++;
            used = 0;
        }
        t->shard = shard;
        used += t->n_bytes;
        w->total += t->n_bytes;
    }
    w->n_shards = shard + 1;
    w->shards = sp_calloc(w->n_shards, sizeof *w->shards);
    if (!w->shards) return sp_fail_nomem(err, "shard table", (uint64_t)w->n_shards * sizeof *w->shards);
    w->started = true;
    return SP_OK;
}

static void format_shard_name(const sp_safetensors_writer *w, size_t shard, char name[64])
{
    if (w->n_shards == 1)
        snprintf(name, 64, "%.20s.safetensors", w->stem);
    else
        snprintf(name, 64, "%.20s-%05zu-of-%05zu.safetensors", w->stem, shard + 1, w->n_shards);
}

static sp_status format_header(const sp_safetensors_writer *w, size_t shard, sp_buf *json, sp_error *err)
{
    SP_TRY(sp_buf_puts(json, "{\"__metadata__\":{\"format\":\"pt\"}", err));
    uint64_t at = 0;
    for (size_t i = 0; i < w->n_tensors; i++) {
        const declared *t = &w->tensors[i];
        if (t->shard != shard) continue;
        SP_TRY(sp_buf_puts(json, ",", err));
        SP_TRY(sp_json_put_string(json, t->name, strlen(t->name), err));
        SP_TRY(
            sp_buf_printf(json, err, ":{\"dtype\":\"%s\",\"shape\":[", sp_dtype_get(t->dtype)->safetensors));
        for (int k = 0; k < t->n_dims; k++) {
            SP_TRY(sp_buf_printf(json, err, "%s%" PRId64, k ? "," : "", t->shape[k]));
        }
        SP_TRY(
            sp_buf_printf(json, err, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", at, at + t->n_bytes));
        at += t->n_bytes;
    }
    SP_TRY(sp_buf_puts(json, "}", err));
    while (json->len % HEADER_ALIGNMENT) SP_TRY(sp_buf_puts(json, " ", err));
    return SP_OK;
}

static sp_status open_shard(sp_safetensors_writer *w, sp_error *err)
{
    char name[64];
    format_shard_name(w, w->n_open, name);
    char *path = sp_path_join(w->dir, name);
    if (!path) return sp_fail_nomem(err, "file name", sizeof name);
    sp_buf json = {0};
    sp_status status;
    SP_GOTO(done, status, sp_writer_open(&w->shards[w->n_open], path, err));
    size_t shard = w->n_open++;
    SP_GOTO(done, status, format_header(w, shard, &json, err));
    uint8_t length[8];
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)((uint64_t)json.len >> (8 * i));
    SP_GOTO(done, status, sp_writer_write(w->shards[shard], length, sizeof length, err));
    status = sp_writer_write(w->shards[shard], json.data, json.len, err);
done:
    sp_buf_clear(&json);
    sp_free(path);
    return status;
}

/* Step over finished and empty tensors and have the current one's shard open. */
static sp_status advance(sp_safetensors_writer *w, sp_error *err)
{
    while (w->current < w->n_tensors && w->current_done == w->tensors[w->current].n_bytes) {
        w->current++;
        w->current_done = 0;
    }
    size_t need = w->current < w->n_tensors ? w->tensors[w->current].shard + 1 : w->n_shards;
    while (w->n_open < need) SP_TRY(open_shard(w, err));
    return SP_OK;
}

sp_status sp_safetensors_write_data(sp_safetensors_writer *writer, const void *data, size_t n, sp_error *err)
{
    sp_safetensors_writer *w = writer;
    if (!w->started) SP_TRY(start(w, err));
    SP_TRY(advance(w, err));
    if (n == 0) return SP_OK;
    if (w->current >= w->n_tensors)
        return sp_fail(err, SP_E_ARGUMENT, "safetensors: data after the last tensor");
    const declared *t = &w->tensors[w->current];
    if (n > t->n_bytes - w->current_done) return fail_declare(err, t->name, "more bytes than its shape has");
    SP_TRY(sp_writer_write(w->shards[t->shard], data, n, err));
    w->current_done += n;
    return SP_OK;
}

static sp_status write_index(const sp_safetensors_writer *w, sp_error *err)
{
    sp_buf json = {0};
    sp_status status;
    char name[64];
    snprintf(name, sizeof name, "%.20s.safetensors.index.json", w->stem);
    char *path = sp_path_join(w->dir, name);
    if (!path) return sp_fail_nomem(err, "file name", strlen(w->dir));
    SP_GOTO(done, status,
            sp_buf_printf(&json, err,
                          "{\n  \"metadata\": {\"total_size\": %" PRIu64 "},\n  \"weight_map\": {",
                          w->total));
    for (size_t i = 0; i < w->n_tensors; i++) {
        const declared *t = &w->tensors[i];
        format_shard_name(w, t->shard, name);
        SP_GOTO(done, status, sp_buf_puts(&json, i ? ",\n    " : "\n    ", err));
        SP_GOTO(done, status, sp_json_put_string(&json, t->name, strlen(t->name), err));
        SP_GOTO(done, status, sp_buf_printf(&json, err, ": \"%s\"", name));
    }
    SP_GOTO(done, status, sp_buf_puts(&json, "\n  }\n}\n", err));
    status = sp_file_write(path, &json, err);
done:
    sp_buf_clear(&json);
    sp_free(path);
    return status;
}

sp_status sp_safetensors_writer_commit(sp_safetensors_writer *writer, sp_error *err)
{
    sp_safetensors_writer *w = writer;
    if (!w->started) SP_TRY(start(w, err));
    SP_TRY(advance(w, err));
    if (w->current < w->n_tensors) {
        char text[96];
        snprintf(text, sizeof text, "only %" PRIu64 " of its %" PRIu64 " bytes were written", w->current_done,
                 w->tensors[w->current].n_bytes);
        return fail_declare(err, w->tensors[w->current].name, text);
    }
    for (size_t i = 0; i < w->n_shards; i++) SP_TRY(sp_writer_commit(w->shards[i], err));
    return w->n_shards > 1 ? write_index(w, err) : SP_OK;
}
