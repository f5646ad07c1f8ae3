/* SPDX-License-Identifier: MIT */
/* GGUF: parse a file in memory into its metadata table and its tensor table.
 *
 * Start at sp_gguf_parse(). Format: the GGUF specification (ggml, docs/gguf.md), versions 2 and 3.
 * Invariants while parsing:
 *  1. cursor.pos <= cursor.len; nothing is read before its length was compared with len - pos.
 *  2. Sizes from the file are never multiplied or added without an overflow check.
 *  3. A table is allocated only after its count was bounded by the bytes that are left.
 * Typed look-up of values is in gguf_get.c. */
#include "format/gguf_parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_KV ((uint64_t)1 << 16)
#define MAX_TENSORS ((uint64_t)1 << 20)
#define MIN_KV_BYTES 13     /* key length 8, type 4, value 1 */
#define MIN_TENSOR_BYTES 32 /* name length 8, n_dims 4, one dim 8, type 4, offset 8 */
#define MAX_KEY_BYTES 65535 /* of the specification */
#define MAX_NAME_BYTES 64   /* of the specification */
#define MAX_ARRAY_DEPTH 4
#define DEFAULT_ALIGNMENT 32
#define MAX_ALIGNMENT ((int64_t)1 << 20)
#define MAX_ELEMENTS ((int64_t)1 << 48)

typedef struct cursor {
    const uint8_t *data;
    size_t len, pos;
    sp_error *err;
} cursor;

/* Bytes of a scalar of each value type; 0 for strings and arrays. */
static const uint8_t scalar_bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
#define N_TYPES (sizeof scalar_bytes)

/* ggml types that exist but that this program does not read, for a better message. */
static const struct {
    uint32_t id;
    const char *name;
} foreign_types[] = {
    {9, "Q8_1"},   {15, "Q8_K"},  {24, "I8"},    {25, "I16"},   {26, "I32"},  {27, "I64"},  {28, "F64"},
    {34, "TQ1_0"}, {35, "TQ2_0"}, {39, "MXFP4"}, {40, "NVFP4"}, {41, "Q1_0"}, {42, "Q2_0"},
};

static sp_status fail_truncated(cursor *c, const char *what)
{
    return sp_fail_at(c->err, SP_E_FORMAT, (int64_t)c->pos, "gguf: the file ends inside %s", what);
}

static sp_status read_u32(cursor *c, uint32_t *out, const char *what)
{
    if (c->len - c->pos < 4) return fail_truncated(c, what);
    *out = sp_le32(c->data + c->pos);
    c->pos += 4;
    return SP_OK;
}

static sp_status read_u64(cursor *c, uint64_t *out, const char *what)
{
    if (c->len - c->pos < 8) return fail_truncated(c, what);
    *out = sp_le64(c->data + c->pos);
    c->pos += 8;
    return SP_OK;
}

static sp_status skip_bytes(cursor *c, uint64_t count, uint64_t size, const char *what)
{
    if (size && count > (c->len - c->pos) / size) {
        return sp_fail_at(c->err, SP_E_FORMAT, (int64_t)c->pos,
                          "gguf: %s claims %" PRIu64 " items of %" PRIu64 " bytes, %zu bytes are left", what,
                          count, size, c->len - c->pos);
    }
    c->pos += (size_t)(count * size);
    return SP_OK;
}

static sp_status read_string(cursor *c, sp_gguf_string *out, const char *what)
{
    uint64_t n = 0;
    SP_TRY(read_u64(c, &n, what));
    const uint8_t *start = c->data + c->pos;
    SP_TRY(skip_bytes(c, n, 1, what));
    *out = (sp_gguf_string){(const char *)start, n};
    return SP_OK;
}

/* Keys and tensor names: not empty, bounded, no NUL byte (they become C strings). */
static sp_status read_name(cursor *c, sp_gguf_string *out, uint64_t max, const char *what)
{
    size_t at = c->pos;
    SP_TRY(read_string(c, out, what));
    if (out->len == 0) return sp_fail_at(c->err, SP_E_FORMAT, (int64_t)at, "gguf: %s is empty", what);
    if (out->len > max) {
        return sp_fail_at(c->err, SP_E_FORMAT, (int64_t)at,
                          "gguf: %s has %" PRIu64 " bytes, at most %" PRIu64, what, out->len, max);
    }
    if (memchr(out->data, 0, (size_t)out->len)) {
        return sp_fail_at(c->err, SP_E_FORMAT, (int64_t)at, "gguf: %s contains a NUL byte", what);
    }
    return SP_OK;
}

static sp_status check_bools(cursor *c, const uint8_t *data, uint64_t n, const char *key)
{
    for (uint64_t i = 0; i < n; i++) {
        if (data[i] > 1) {
            return sp_fail_at(c->err, SP_E_FORMAT, (int64_t)(data + i - c->data),
                              "gguf: key %s: a boolean must be 0 or 1, not %u", key, data[i]);
        }
    }
    return SP_OK;
}

static sp_status skip_items(cursor *c, uint32_t type, uint64_t count, int depth, const char *key);

static sp_status read_array_head(cursor *c, uint32_t *item_type, uint64_t *count, const char *key)
{
    size_t at = c->pos;
    SP_TRY(read_u32(c, item_type, key));
    SP_TRY(read_u64(c, count, key));
    if (*item_type >= N_TYPES) {
        return sp_fail_at(c->err, SP_E_FORMAT, (int64_t)at,
                          "gguf: key %s: array of value type %u, known are 0 to 12", key, *item_type);
    }
    return SP_OK;
}

/* Step over `count` values of a type, checking them. */
static sp_status skip_items(cursor *c, uint32_t type, uint64_t count, int depth, const char *key)
{
    const uint8_t *start = c->data + c->pos;
    if (scalar_bytes[type]) {
        SP_TRY(skip_bytes(c, count, scalar_bytes[type], key));
        return type == SP_GGUF_BOOL ? check_bools(c, start, count, key) : SP_OK;
    }
    if (type == SP_GGUF_ARRAY && depth >= MAX_ARRAY_DEPTH) {
        return sp_fail_at(c->err, SP_E_LIMIT, (int64_t)c->pos, "gguf: key %s: arrays nested deeper than %d",
                          key, MAX_ARRAY_DEPTH);
    }
    for (uint64_t i = 0; i < count;
         i++) { /* each item takes 8 bytes at least, so the file bounds this loop */
        if (type == SP_GGUF_STRING) {
            sp_gguf_string ignored;
            SP_TRY(read_string(c, &ignored, key));
        } else {
            uint32_t inner = 0;
            uint64_t n = 0;
            SP_TRY(read_array_head(c, &inner, &n, key));
            SP_TRY(skip_items(c, inner, n, depth + 1, key));
        }
    }
    return SP_OK;
}

static sp_status read_kv(cursor *c, sp_gguf_kv *kv)
{
    SP_TRY(read_name(c, &kv->key, MAX_KEY_BYTES, "a metadata key"));
    char quoted[SP_QUOTE_CAP];
    sp_name_quote(quoted, kv->key.data, kv->key.len);
    size_t at = c->pos;
    uint32_t type = 0, item_type = 0;
    uint64_t count = 1;
    SP_TRY(read_u32(c, &type, quoted));
    if (type >= N_TYPES) {
        return sp_fail_at(c->err, SP_E_FORMAT, (int64_t)at, "gguf: key %s: value type %u, known are 0 to 12",
                          quoted, type);
    }
    int depth = 0;
    item_type = type;
    if (type == SP_GGUF_ARRAY) {
        SP_TRY(read_array_head(c, &item_type, &count, quoted));
        depth = 1;
    }
    kv->type = (sp_gguf_type)type;
    kv->item_type = (sp_gguf_type)item_type;
    kv->count = count;
    kv->data = c->data + c->pos;
    SP_TRY(skip_items(c, item_type, count, depth, quoted));
    kv->n_bytes = (uint64_t)(c->data + c->pos - kv->data);
    return SP_OK;
}

static sp_status read_kvs(cursor *c, sp_gguf *g, uint64_t n_kv)
{
    g->kvs = sp_calloc((size_t)n_kv, sizeof *g->kvs);
    if (!g->kvs) return sp_fail_nomem(c->err, "gguf metadata table", n_kv * sizeof *g->kvs);
    SP_TRY(sp_names_init(&g->keys, (size_t)n_kv, c->err));
    for (size_t i = 0; i < n_kv; i++) {
        size_t at = c->pos, index = i;
        sp_gguf_kv *kv = &g->kvs[i];
        SP_TRY(read_kv(c, kv));
        if (!sp_names_add(&g->keys, kv->key.data, (size_t)kv->key.len, &index)) {
            char quoted[SP_QUOTE_CAP];
            return sp_fail_at(c->err, SP_E_FORMAT, (int64_t)at,
                              "gguf: key %s appears twice (entries %zu and %zu)",
                              sp_name_quote(quoted, kv->key.data, kv->key.len), index, i);
        }
        g->n_kv = i + 1;
    }
    return SP_OK;
}

static sp_status read_alignment(cursor *c, sp_gguf *g)
{
    g->alignment = DEFAULT_ALIGNMENT;
    const sp_gguf_kv *kv = sp_gguf_find(g, "general.alignment");
    if (!kv) return SP_OK;
    int64_t value;
    if (!sp_gguf_int(g, "general.alignment", &value)) {
        return sp_fail_at(c->err, SP_E_FORMAT, (int64_t)(kv->data - c->data),
                          "gguf: general.alignment must be an integer");
    }
    if (value < 8 || value > MAX_ALIGNMENT || (value & (value - 1))) {
        return sp_fail_at(c->err, SP_E_FORMAT, (int64_t)(kv->data - c->data),
                          "gguf: general.alignment is %" PRId64
                          ", expected a power of two from 8 to %" PRId64,
                          value, MAX_ALIGNMENT);
    }
    g->alignment = (uint64_t)value;
    return SP_OK;
}

static sp_status fail_tensor(cursor *c, size_t index, const sp_gguf_tensor *t, size_t at, const char *text)
{
    char quoted[SP_QUOTE_CAP];
    return sp_fail_at(c->err, SP_E_FORMAT, (int64_t)at, "gguf: tensor %zu %s: %s", index,
                      sp_name_quote(quoted, t->name.data, t->name.len), text);
}

static sp_status read_type(cursor *c, size_t index, sp_gguf_tensor *t)
{
    char quoted[SP_QUOTE_CAP];
    size_t at = c->pos;
    uint32_t type = 0;
    SP_TRY(read_u32(c, &type, "the tensor table"));
    if (sp_dtype_by_ggml(type, &t->dtype)) return SP_OK;
    sp_name_quote(quoted, t->name.data, t->name.len);
    for (size_t i = 0; i < sizeof foreign_types / sizeof foreign_types[0]; i++) {
        if (foreign_types[i].id == type) {
            return sp_fail_at(c->err, SP_E_UNSUPPORTED, (int64_t)at,
                              "gguf: tensor %zu %s: type %u (%s) is not supported", index, quoted, type,
                              foreign_types[i].name);
        }
    }
    return sp_fail_at(c->err, SP_E_FORMAT, (int64_t)at, "gguf: tensor %zu %s: type %u is unknown", index,
                      quoted, type);
}

/* Dimensions, fastest first in the file; the product is bounded so that later arithmetic cannot overflow. */
static sp_status read_dims(cursor *c, size_t index, sp_gguf_tensor *t)
{
    size_t at = c->pos;
    uint32_t n_dims = 0;
    SP_TRY(read_u32(c, &n_dims, "the tensor table"));
    if (n_dims < 1 || n_dims > 4) {
        char text[64];
        snprintf(text, sizeof text, "%u dimensions, expected 1 to 4", n_dims);
        return fail_tensor(c, index, t, at, text);
    }
    t->n_dims = (int)n_dims;
    for (int i = 0; i < 4; i++) t->shape[i] = 1;
    int64_t product = 1;
    for (uint32_t i = 0; i < n_dims; i++) {
        uint64_t dim = 0;
        at = c->pos;
        SP_TRY(read_u64(c, &dim, "the tensor table"));
        if (dim == 0) return fail_tensor(c, index, t, at, "a dimension is 0");
        if (dim > (uint64_t)(MAX_ELEMENTS / product)) {
            return fail_tensor(c, index, t, at, "the product of the dimensions is out of range");
        }
        product *= (int64_t)dim;
        t->shape[n_dims - 1 - i] = (int64_t)dim;
    }
    return SP_OK;
}

static sp_status read_tensor(cursor *c, sp_gguf *g, size_t index)
{
    sp_gguf_tensor *t = &g->tensors[index];
    SP_TRY(read_name(c, &t->name, MAX_NAME_BYTES, "a tensor name"));
    SP_TRY(read_dims(c, index, t));
    size_t at = c->pos;
    SP_TRY(read_type(c, index, t));
    int64_t cols = t->shape[t->n_dims - 1], rows = 1;
    for (int i = 0; i < t->n_dims - 1; i++) rows *= t->shape[i];
    const sp_dtype_info *info = sp_dtype_get(t->dtype);
    size_t row_bytes = sp_dtype_row_bytes(t->dtype, (size_t)cols), n_bytes;
    if (row_bytes == 0) {
        char text[96];
        snprintf(text, sizeof text, "rows of %" PRId64 " elements are no multiple of %s's block of %u", cols,
                 info->label, info->block);
        return fail_tensor(c, index, t, at, text);
    }
    if (!sp_mul_size(row_bytes, (size_t)rows, &n_bytes)) {
        return fail_tensor(c, index, t, at, "the size in bytes is out of range");
    }
    t->n_bytes = n_bytes;
    at = c->pos;
    SP_TRY(read_u64(c, &t->offset, "the tensor table"));
    if (t->offset % g->alignment) {
        char text[96];
        snprintf(text, sizeof text, "offset %" PRIu64 " is no multiple of the alignment %" PRIu64, t->offset,
                 g->alignment);
        return fail_tensor(c, index, t, at, text);
    }
    return SP_OK;
}

static sp_status read_tensors(cursor *c, sp_gguf *g, uint64_t n_tensors)
{
    g->tensors = sp_calloc((size_t)n_tensors, sizeof *g->tensors);
    if (!g->tensors) return sp_fail_nomem(c->err, "gguf tensor table", n_tensors * sizeof *g->tensors);
    sp_names names;
    sp_status status = sp_names_init(&names, (size_t)n_tensors, c->err);
    for (size_t i = 0; status == SP_OK && i < n_tensors; i++) {
        size_t at = c->pos, index = i;
        SP_GOTO(done, status, read_tensor(c, g, i));
        const sp_gguf_tensor *t = &g->tensors[i];
        if (!sp_names_add(&names, t->name.data, (size_t)t->name.len, &index)) {
            char text[64];
            snprintf(text, sizeof text, "has the same name as tensor %zu", index);
            status = fail_tensor(c, i, t, at, text);
        }
        g->n_tensors = i + 1;
    }
done:
    sp_names_clear(&names);
    return status;
}

static int compare_offsets(const void *a, const void *b)
{
    const sp_gguf_tensor *x = *(const sp_gguf_tensor *const *)a, *y = *(const sp_gguf_tensor *const *)b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Data of no two tensors may share a byte; offsets are from the start of the file by now. */
static sp_status check_overlap(cursor *c, const sp_gguf *g)
{
    const sp_gguf_tensor **order = sp_malloc_array(g->n_tensors, sizeof(*order));
    if (!order) return sp_fail_nomem(c->err, "gguf tensor order", (uint64_t)g->n_tensors * sizeof *order);
    for (size_t i = 0; i < g->n_tensors; i++) order[i] = &g->tensors[i];
    qsort(order, g->n_tensors, sizeof *order, compare_offsets);
    sp_status status = SP_OK;
    for (size_t i = 1; i < g->n_tensors; i++) {
        const sp_gguf_tensor *a = order[i - 1], *b = order[i];
        if (a->offset + a->n_bytes <= b->offset) continue;
        char qa[SP_QUOTE_CAP], qb[SP_QUOTE_CAP];
        status = sp_fail_at(
            c->err, SP_E_FORMAT, (int64_t)b->offset, "gguf: the data of tensors %s and %s overlap",
            sp_name_quote(qa, a->name.data, a->name.len), sp_name_quote(qb, b->name.data, b->name.len));
        break;
    }
    sp_free(order);
    return status;
}

/* Make offsets absolute and check that all data lies inside the file. */
static sp_status place_tensors(cursor *c, sp_gguf *g)
{
    if (g->n_tensors == 0) return SP_OK;
    size_t start;
    if (!sp_add_size(c->pos, (size_t)g->alignment - 1, &start)) return fail_truncated(c, "the padding");
    start &= ~((size_t)g->alignment - 1);
    for (size_t i = 0; i < g->n_tensors; i++) {
        sp_gguf_tensor *t = &g->tensors[i];
        uint64_t room = c->len > start ? c->len - start : 0;
        if (t->offset > room || t->n_bytes > room - t->offset) {
            char quoted[SP_QUOTE_CAP];
            return sp_fail(c->err, SP_E_FORMAT,
                           "gguf: tensor %zu %s needs %" PRIu64 " bytes at offset %" PRIu64
                           " of the data, the file has %" PRIu64 " there (truncated?)",
                           i, sp_name_quote(quoted, t->name.data, t->name.len), t->n_bytes, t->offset,
                           t->offset > room ? 0 : room - t->offset);
        }
        t->offset += start;
    }
    return check_overlap(c, g);
}

static sp_status read_version(cursor *c, uint32_t *version)
{
    if (c->len < 4 || memcmp(c->data, "GGUF", 4) != 0) {
        return sp_fail_at(c->err, SP_E_FORMAT, 0, "gguf: the file does not begin with \"GGUF\"");
    }
    c->pos = 4;
    SP_TRY(read_u32(c, version, "the header"));
    if ((*version & 0xffff) == 0 && *version != 0) {
        return sp_fail_at(c->err, SP_E_UNSUPPORTED, 4,
                          "gguf: this is a big-endian file, only little-endian is supported");
    }
    if (*version == 1) {
        return sp_fail_at(c->err, SP_E_UNSUPPORTED, 4,
                          "gguf: version 1 (32-bit lengths) is not supported, convert the file to version 3");
    }
    if (*version != 2 && *version != 3) {
        return sp_fail_at(c->err, SP_E_UNSUPPORTED, 4, "gguf: version %u is unknown, supported are 2 and 3",
                          *version);
    }
    return SP_OK;
}

static sp_status read_counts(cursor *c, uint64_t *n_tensors, uint64_t *n_kv)
{
    SP_TRY(read_u64(c, n_tensors, "the header"));
    SP_TRY(read_u64(c, n_kv, "the header"));
    uint64_t left = c->len - c->pos;
    if (*n_kv > left / MIN_KV_BYTES) {
        return sp_fail_at(c->err, SP_E_FORMAT, 16,
                          "gguf: %" PRIu64 " metadata entries do not fit in %" PRIu64 " bytes", *n_kv, left);
    }
    if (*n_tensors > left / MIN_TENSOR_BYTES) {
        return sp_fail_at(c->err, SP_E_FORMAT, 8, "gguf: %" PRIu64 " tensors do not fit in %" PRIu64 " bytes",
                          *n_tensors, left);
    }
    if (*n_kv > MAX_KV || *n_tensors > MAX_TENSORS) {
        return sp_fail_at(c->err, SP_E_LIMIT, 8,
                          "gguf: %" PRIu64 " tensors and %" PRIu64
                          " metadata entries, the limits are %" PRIu64 " and %" PRIu64,
                          *n_tensors, *n_kv, MAX_TENSORS, MAX_KV);
    }
    return SP_OK;
}

sp_status sp_gguf_parse(sp_gguf **gguf, const uint8_t *data, size_t len, sp_error *err)
{
    *gguf = NULL;
    cursor c = {data, len, 0, err};
    uint32_t version = 0;
    uint64_t n_tensors = 0, n_kv = 0;
    SP_TRY(read_version(&c, &version));
    SP_TRY(read_counts(&c, &n_tensors, &n_kv));
    sp_gguf *g = sp_calloc(1, sizeof *g);
    if (!g) return sp_fail_nomem(err, "gguf", sizeof *g);
    g->version = version;
    sp_status status;
    SP_GOTO(done, status, read_kvs(&c, g, n_kv));
    SP_GOTO(done, status, read_alignment(&c, g));
    SP_GOTO(done, status, read_tensors(&c, g, n_tensors));
    SP_GOTO(done, status, place_tensors(&c, g));
    *gguf = g;
    g = NULL;
done:
    sp_gguf_destroy(g);
    return status;
}

void sp_gguf_destroy(sp_gguf *gguf)
{
    if (!gguf) return;
    sp_names_clear(&gguf->keys);
    sp_free(gguf->kvs);
    sp_free(gguf->tensors);
    sp_free(gguf);
}
