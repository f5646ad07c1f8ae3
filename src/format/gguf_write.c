/* SPDX-License-Identifier: MIT */
/* GGUF writer. The metadata and the tensor table are collected as the bytes that the file will hold; only the
 * tensors' sizes are kept beside them. Start at sp_gguf_writer_open(). */
#include "format/gguf_write.h"

#include "base/file.h"
#include "format/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MAX_NAME_BYTES 63 /* what ggml's fixed name buffer holds */

typedef struct declared {
    char *name;
    uint64_t n_bytes;
} declared;

struct sp_gguf_writer {
    sp_writer *file;
    sp_buf kvs, table; /* as in the file */
    uint64_t n_kv;
    char **keys; /* of the n_kv entries */
    size_t keys_cap;
    declared *tensors;
    size_t n_tensors, tensors_cap;
    uint32_t alignment;
    uint64_t data_bytes; /* offset of the next declared tensor */
    uint64_t total, done;
    size_t current; /* tensor being written, and its bytes so far */
    uint64_t current_done;
    bool header_written;
};

/* Grow a table to hold one item more: the table, moved perhaps, or NULL when out of memory. */
static void *grow(void *items, size_t *cap, size_t count, size_t size)
{
    if (count < *cap) return items;
    size_t next = *cap ? 2 * *cap : 64;
    void *more = sp_realloc_array(items, next, size);
    if (more) *cap = next;
    return more;
}

static sp_status put_u32(sp_buf *buf, uint32_t v, sp_error *err)
{
    uint8_t b[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
    return sp_buf_append(buf, b, 4, err);
}

static sp_status put_u64(sp_buf *buf, uint64_t v, sp_error *err)
{
    SP_TRY(put_u32(buf, (uint32_t)v, err));
    return put_u32(buf, (uint32_t)(v >> 32), err);
}

static sp_status put_text(sp_buf *buf, const char *text, uint64_t len, sp_error *err)
{
    SP_TRY(put_u64(buf, len, err));
    return sp_buf_append(buf, text, (size_t)len, err);
}

sp_status sp_gguf_writer_open(sp_gguf_writer **writer, const char *path, sp_error *err)
{
    *writer = NULL;
    sp_gguf_writer *w = sp_calloc(1, sizeof *w);
    if (!w) return sp_fail_nomem(err, "gguf writer", sizeof *w);
    w->alignment = SP_GGUF_WRITE_ALIGNMENT;
    sp_status status = sp_writer_open(&w->file, path, err);
    if (status != SP_OK) {
        sp_free(w);
        return status;
    }
    *writer = w;
    return SP_OK;
}

void sp_gguf_writer_close(sp_gguf_writer *writer)
{
    if (!writer) return;
    sp_writer_close(writer->file);
    for (size_t i = 0; i < writer->n_kv; i++) sp_free(writer->keys[i]);
    for (size_t i = 0; i < writer->n_tensors; i++) sp_free(writer->tensors[i].name);
    sp_free(writer->keys);
    sp_free(writer->tensors);
    sp_buf_clear(&writer->kvs);
    sp_buf_clear(&writer->table);
    sp_free(writer);
}

bool sp_gguf_writer_has(const sp_gguf_writer *writer, const char *key)
{
    for (uint64_t i = 0; i < writer->n_kv; i++) {
        if (strcmp(writer->keys[i], key) == 0) return true;
    }
    return false;
}

/* An entry is appended in one piece or not at all: on failure the buffer is cut back to where it was. */
typedef struct kv_value {
    sp_gguf_type type;
    sp_gguf_type item_type;
    uint64_t count;
    const void *data; /* bytes as in the file, or NULL and strings */
    size_t n_bytes;
    const sp_gguf_string *strings;
} kv_value;

static sp_status append_kv(sp_buf *buf, const char *key, size_t key_len, const kv_value *v, sp_error *err)
{
    SP_TRY(put_text(buf, key, key_len, err));
    SP_TRY(put_u32(buf, (uint32_t)v->type, err));
    if (v->type == SP_GGUF_ARRAY) {
        SP_TRY(put_u32(buf, (uint32_t)v->item_type, err));
        SP_TRY(put_u64(buf, v->count, err));
    }
    for (uint64_t i = 0; v->strings && i < v->count; i++) {
        SP_TRY(put_text(buf, v->strings[i].data, v->strings[i].len, err));
    }
    return v->data ? sp_buf_append(buf, v->data, v->n_bytes, err) : SP_OK;
}

static sp_status put_value(sp_gguf_writer *w, const char *key, size_t key_len, const kv_value *v,
                           sp_error *err)
{
    if (w->header_written) return sp_fail(err, SP_E_ARGUMENT, "gguf: metadata after the header");
    char **keys = grow(w->keys, &w->keys_cap, (size_t)w->n_kv, sizeof *keys);
    if (!keys) return sp_fail_nomem(err, "gguf keys", w->n_kv);
    w->keys = keys;
    char *copy = sp_strndup(key, key_len);
    if (!copy) return sp_fail_nomem(err, "gguf key", key_len);
    sp_status status = SP_OK;
    size_t mark = w->kvs.len;
    if (sp_gguf_writer_has(w, copy))
        status = sp_fail(err, SP_E_ARGUMENT, "gguf: key \"%s\" was put before", copy);
    else
        status = append_kv(&w->kvs, key, key_len, v, err);
    if (status != SP_OK) {
        w->kvs.len = mark;
        sp_free(copy);
        return status;
    }
    w->keys[w->n_kv++] = copy;
    return SP_OK;
}

static sp_status put_scalar(sp_gguf_writer *w, const char *key, sp_gguf_type type, uint64_t bits, size_t size,
                            sp_error *err)
{
    uint8_t b[8];
    for (size_t i = 0; i < 8; i++) b[i] = (uint8_t)(bits >> (8 * i));
    kv_value v = {.type = type, .count = 1, .data = b, .n_bytes = size};
    return put_value(w, key, strlen(key), &v, err);
}

sp_status sp_gguf_put_u16(sp_gguf_writer *writer, const char *key, uint16_t value, sp_error *err)
{
    return put_scalar(writer, key, SP_GGUF_U16, value, 2, err);
}

sp_status sp_gguf_put_u32(sp_gguf_writer *writer, const char *key, uint32_t value, sp_error *err)
{
    return put_scalar(writer, key, SP_GGUF_U32, value, 4, err);
}

sp_status sp_gguf_put_i32(sp_gguf_writer *writer, const char *key, int32_t value, sp_error *err)
{
    return put_scalar(writer, key, SP_GGUF_I32, (uint32_t)value, 4, err);
}

sp_status sp_gguf_put_u64(sp_gguf_writer *writer, const char *key, uint64_t value, sp_error *err)
{
    return put_scalar(writer, key, SP_GGUF_U64, value, 8, err);
}

sp_status sp_gguf_put_f32(sp_gguf_writer *writer, const char *key, float value, sp_error *err)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return put_scalar(writer, key, SP_GGUF_F32, bits, 4, err);
}

sp_status sp_gguf_put_bool(sp_gguf_writer *writer, const char *key, bool value, sp_error *err)
{
    return put_scalar(writer, key, SP_GGUF_BOOL, value ? 1 : 0, 1, err);
}

sp_status sp_gguf_put_string(sp_gguf_writer *writer, const char *key, const char *text, size_t len,
                             sp_error *err)
{
    sp_gguf_string s = {text, len};
    kv_value v = {.type = SP_GGUF_STRING, .count = 1, .strings = &s};
    return put_value(writer, key, strlen(key), &v, err);
}

sp_status sp_gguf_put_strings(sp_gguf_writer *writer, const char *key, const sp_gguf_string *items, size_t n,
                              sp_error *err)
{
    kv_value v = {.type = SP_GGUF_ARRAY, .item_type = SP_GGUF_STRING, .count = n, .strings = items};
    return put_value(writer, key, strlen(key), &v, err);
}

/* Arrays of 4-byte values, written in little-endian order on any machine. */
static sp_status put_words(sp_gguf_writer *w, const char *key, sp_gguf_type type, const void *items, size_t n,
                           sp_error *err)
{
    sp_buf bytes = {0};
    sp_status status = SP_OK;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, (const char *)items + 4 * i, 4);
        SP_GOTO(done, status, put_u32(&bytes, bits, err));
    }
    kv_value v = {
        .type = SP_GGUF_ARRAY, .item_type = type, .count = n, .data = bytes.data, .n_bytes = bytes.len};
    status = put_value(w, key, strlen(key), &v, err);
done:
    sp_buf_clear(&bytes);
    return status;
}

sp_status sp_gguf_put_i32s(sp_gguf_writer *writer, const char *key, const int32_t *items, size_t n,
                           sp_error *err)
{
    return put_words(writer, key, SP_GGUF_I32, items, n, err);
}

sp_status sp_gguf_put_f32s(sp_gguf_writer *writer, const char *key, const float *items, size_t n,
                           sp_error *err)
{
    return put_words(writer, key, SP_GGUF_F32, items, n, err);
}

sp_status sp_gguf_put_kv(sp_gguf_writer *writer, const sp_gguf_kv *kv, sp_error *err)
{
    kv_value v = {.type = kv->type,
                  .item_type = kv->item_type,
                  .count = kv->count,
                  .data = kv->data,
                  .n_bytes = (size_t)kv->n_bytes};
    return put_value(writer, kv->key.data, (size_t)kv->key.len, &v, err);
}

static sp_status fail_declare(sp_error *err, const char *name, const char *text)
{
    char quoted[SP_QUOTE_CAP];
    return sp_fail(err, SP_E_ARGUMENT, "gguf: tensor %s: %s", sp_name_quote(quoted, name, strlen(name)),
                   text);
}

static sp_status measure(const char *name, sp_dtype dtype, int n_dims, const int64_t *shape, size_t *n_bytes,
                         sp_error *err)
{
    size_t len = strlen(name);
    if (len == 0 || len > MAX_NAME_BYTES) return fail_declare(err, name, "the name must have 1 to 63 bytes");
    if (n_dims < 1 || n_dims > 4) return fail_declare(err, name, "1 to 4 dimensions expected");
    if (sp_dtype_get(dtype)->ggml_type < 0) return fail_declare(err, name, "GGUF has no such type");
    for (int i = 0; i < n_dims; i++) {
        if (shape[i] < 1) return fail_declare(err, name, "dimensions must be positive");
    }
    size_t bytes = sp_dtype_row_bytes(dtype, (size_t)shape[n_dims - 1]);
    if (bytes == 0) return fail_declare(err, name, "the type's block does not divide its rows");
    for (int i = 0; i < n_dims - 1; i++) {
        if (!sp_mul_size(bytes, (size_t)shape[i], &bytes))
            return fail_declare(err, name, "the size is out of range");
    }
    *n_bytes = bytes;
    return SP_OK;
}

sp_status sp_gguf_set_alignment(sp_gguf_writer *writer, uint32_t alignment, sp_error *err)
{
    if (writer->n_tensors > 0 || alignment < SP_GGUF_WRITE_ALIGNMENT || (alignment & (alignment - 1)) != 0)
        return sp_fail(err, SP_E_ARGUMENT, "gguf: alignment %u is none, or comes too late", alignment);
    SP_TRY(sp_gguf_put_u32(writer, "general.alignment", alignment, err));
    writer->alignment = alignment;
    return SP_OK;
}

static sp_status append_tensor(sp_gguf_writer *w, const char *name, sp_dtype dtype, int n_dims,
                               const int64_t *shape, sp_error *err)
{
    SP_TRY(put_text(&w->table, name, strlen(name), err));
    SP_TRY(put_u32(&w->table, (uint32_t)n_dims, err));
    for (int i = n_dims - 1; i >= 0; i--) SP_TRY(put_u64(&w->table, (uint64_t)shape[i], err));
    SP_TRY(put_u32(&w->table, (uint32_t)sp_dtype_get(dtype)->ggml_type, err));
    return put_u64(&w->table, w->data_bytes, err);
}

sp_status sp_gguf_declare(sp_gguf_writer *writer, const char *name, sp_dtype dtype, int n_dims,
                          const int64_t *shape, sp_error *err)
{
    sp_gguf_writer *w = writer;
    size_t n_bytes = 0;
    if (w->header_written) return fail_declare(err, name, "declared after the header");
    SP_TRY(measure(name, dtype, n_dims, shape, &n_bytes, err));
    uint64_t padded = ((uint64_t)n_bytes + w->alignment - 1) & ~(uint64_t)(w->alignment - 1);
    if (padded < n_bytes || w->data_bytes + padded < w->data_bytes) {
        return fail_declare(err, name, "the file would be too large");
    }
    declared *tensors = grow(w->tensors, &w->tensors_cap, w->n_tensors, sizeof *tensors);
    if (!tensors) return sp_fail_nomem(err, "gguf tensors", w->n_tensors);
    w->tensors = tensors;
    char *copy = sp_strdup(name);
    if (!copy) return sp_fail_nomem(err, "tensor name", strlen(name));
    size_t mark = w->table.len;
    sp_status status = append_tensor(w, name, dtype, n_dims, shape, err);
    if (status != SP_OK) {
        w->table.len = mark;
        sp_free(copy);
        return status;
    }
    w->tensors[w->n_tensors++] = (declared){copy, n_bytes};
    w->data_bytes += padded;
    w->total += n_bytes;
    return SP_OK;
}

static sp_status check_names(const sp_gguf_writer *w, sp_error *err)
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

sp_status sp_gguf_write_header(sp_gguf_writer *writer, sp_error *err)
{
    if (writer->header_written) return sp_fail(err, SP_E_ARGUMENT, "gguf: the header was written before");
    SP_TRY(check_names(writer, err));
    sp_buf head = {0};
    sp_status status;
    SP_GOTO(done, status, sp_buf_append(&head, "GGUF", 4, err));
    SP_GOTO(done, status, put_u32(&head, 3, err));
    SP_GOTO(done, status, put_u64(&head, writer->n_tensors, err));
    SP_GOTO(done, status, put_u64(&head, writer->n_kv, err));
    SP_GOTO(done, status, sp_writer_write(writer->file, head.data, head.len, err));
    SP_GOTO(done, status, sp_writer_write(writer->file, writer->kvs.data, writer->kvs.len, err));
    SP_GOTO(done, status, sp_writer_write(writer->file, writer->table.data, writer->table.len, err));
    SP_GOTO(done, status, sp_writer_pad(writer->file, writer->alignment, err));
    writer->header_written = true;
done:
    sp_buf_clear(&head);
    return status;
}

sp_status sp_gguf_write_data(sp_gguf_writer *writer, const void *data, size_t n, sp_error *err)
{
    sp_gguf_writer *w = writer;
    if (!w->header_written) return sp_fail(err, SP_E_ARGUMENT, "gguf: data before the header");
    if (n == 0) return SP_OK;
    if (w->current >= w->n_tensors)
        return sp_fail(err, SP_E_ARGUMENT, "gguf: data after the last declared tensor");
    const declared *t = &w->tensors[w->current];
    if (n > t->n_bytes - w->current_done) {
        char text[128];
        snprintf(text, sizeof text, "%zu more bytes than its %" PRIu64,
                 n - (size_t)(t->n_bytes - w->current_done), t->n_bytes);
        return fail_declare(err, t->name, text);
    }
    SP_TRY(sp_writer_write(w->file, data, n, err));
    w->current_done += n;
    w->done += n;
    if (w->current_done < t->n_bytes) return SP_OK;
    w->current++;
    w->current_done = 0;
    return sp_writer_pad(w->file, w->alignment, err);
}

uint64_t sp_gguf_writer_total(const sp_gguf_writer *writer)
{
    return writer->total;
}

uint64_t sp_gguf_writer_done(const sp_gguf_writer *writer)
{
    return writer->done;
}

sp_status sp_gguf_writer_commit(sp_gguf_writer *writer, sp_error *err)
{
    if (!writer->header_written) SP_TRY(sp_gguf_write_header(writer, err));
    if (writer->current < writer->n_tensors) {
        char text[96];
        const declared *t = &writer->tensors[writer->current];
        snprintf(text, sizeof text, "only %" PRIu64 " of its %" PRIu64 " bytes were written",
                 writer->current_done, t->n_bytes);
        return fail_declare(err, t->name, text);
    }
    return sp_writer_commit(writer->file, err);
}
