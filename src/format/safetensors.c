/* SPDX-License-Identifier: MIT */
/* safetensors: the header is checked completely before any entry is handed out. Start at
 * sp_safetensors_parse(). Format: github.com/huggingface/safetensors, README ("Format"). Invariants of a
 * parsed table:
 *  1. Entries are sorted by begin; the first begins where the header ends, each next where the one before
 * ends, the last ends at the end of the file.
 *  2. For every type of known size, end - begin = product(shape) x size. */
#include "format/safetensors.h"

#include "base/json.h"
#include "format/gguf_parts.h"
#include "format/names.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ELEMENTS ((int64_t)1 << 48)
#define MAX_ENTRIES ((size_t)1 << 21)

struct sp_safetensors {
    sp_json *header;
    sp_safetensors_entry *entries;
    size_t count;
    sp_names names;
};

/* Types of the format and their bits per element, so that sizes are checked even where the type is not read.
 */
static const struct {
    const char *name;
    unsigned bits;
} known_types[] = {
    {"BOOL", 8},        {"U8", 8},          {"I8", 8},      {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8},
    {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
    {"I32", 32},        {"U32", 32},        {"F32", 32},    {"F64", 64},    {"I64", 64},    {"U64", 64},
    {"C64", 64},        {"F4", 4},          {"F6_E2M3", 6}, {"F6_E3M2", 6},
};

static unsigned find_bits(const char *dtype_name)
{
    for (size_t i = 0; i < sizeof known_types / sizeof known_types[0]; i++) {
        if (strcmp(known_types[i].name, dtype_name) == 0) return known_types[i].bits;
    }
    return 0;
}

static sp_status fail_entry(sp_error *err, const char *name, const char *text)
{
    char quoted[SP_QUOTE_CAP];
    return sp_fail(err, SP_E_FORMAT, "safetensors: tensor %s: %s", sp_name_quote(quoted, name, strlen(name)),
                   text);
}

static sp_status read_shape(sp_safetensors_entry *e, const sp_json *shape, int64_t *elements, sp_error *err)
{
    if (!sp_json_is(shape, SP_JSON_ARRAY)) return fail_entry(err, e->name, "\"shape\" must be an array");
    size_t n = sp_json_size(shape);
    if (n > SP_SAFETENSORS_MAX_DIMS) {
        char text[64];
        snprintf(text, sizeof text, "%zu dimensions, at most %d", n, SP_SAFETENSORS_MAX_DIMS);
        return fail_entry(err, e->name, text);
    }
    e->n_dims = (int)n;
    *elements = 1;
    for (size_t i = 0; i < n; i++) {
        const sp_json *item = sp_json_at(shape, i);
        int64_t dim = sp_json_is(item, SP_JSON_INT) ? sp_json_int(item, -1) : -1;
        if (dim < 0) return fail_entry(err, e->name, "\"shape\" must hold integers from 0 on");
        e->shape[i] = dim;
        if (dim != 0 && *elements > MAX_ELEMENTS / dim) {
            return fail_entry(err, e->name, "the product of the dimensions is out of range");
        }
        *elements *= dim;
    }
    return SP_OK;
}

/* Offsets are relative to the data; they become absolute here. */
static sp_status read_offsets(sp_safetensors_entry *e, const sp_json *offsets, uint64_t start, uint64_t len,
                              sp_error *err)
{
    const sp_json *b = sp_json_at(offsets, 0), *z = sp_json_at(offsets, 1);
    if (sp_json_size(offsets) != 2 || !sp_json_is(b, SP_JSON_INT) || !sp_json_is(z, SP_JSON_INT)) {
        return fail_entry(err, e->name, "\"data_offsets\" must be two integers");
    }
    int64_t begin = sp_json_int(b, -1), end = sp_json_int(z, -1);
    uint64_t room = len - start;
    if (begin < 0 || end < begin) return fail_entry(err, e->name, "\"data_offsets\" must ascend from 0");
    if ((uint64_t)end > room) {
        char text[128];
        snprintf(text, sizeof text,
                 "data end at %" PRId64 ", the file has %" PRIu64 " bytes of data (truncated?)", end, room);
        return fail_entry(err, e->name, text);
    }
    e->begin = start + (uint64_t)begin;
    e->end = start + (uint64_t)end;
    return SP_OK;
}

static sp_status check_size(const sp_safetensors_entry *e, int64_t elements, sp_error *err)
{
    unsigned bits = find_bits(e->dtype_name);
    if (bits == 0) return SP_OK; /* of a type that we do not know nothing can be said */
    uint64_t want = ((uint64_t)elements * bits + 7) / 8;
    if (want == e->end - e->begin) return SP_OK;
    char text[128];
    snprintf(text, sizeof text, "shape and type %s need %" PRIu64 " bytes, the data have %" PRIu64,
             e->dtype_name, want, e->end - e->begin);
    return fail_entry(err, e->name, text);
}

static sp_status read_entry(sp_safetensors_entry *e, const char *name, const sp_json *value, uint64_t start,
                            uint64_t len, sp_error *err)
{
    e->name = name;
    if (name[0] == 0) return sp_fail(err, SP_E_FORMAT, "safetensors: a tensor name is empty");
    if (!sp_json_is(value, SP_JSON_OBJECT)) return fail_entry(err, name, "an object was expected");
    size_t n;
    e->dtype_name = sp_json_string(sp_json_get(value, "dtype"), &n);
    if (!e->dtype_name || strlen(e->dtype_name) != n || n == 0 || n > 32) {
        return fail_entry(err, name, "\"dtype\" must be a short string");
    }
    e->supported = sp_dtype_by_safetensors(e->dtype_name, &e->dtype);
    int64_t elements = 0;
    SP_TRY(read_shape(e, sp_json_get(value, "shape"), &elements, err));
    SP_TRY(read_offsets(e, sp_json_get(value, "data_offsets"), start, len, err));
    return check_size(e, elements, err);
}

static sp_status check_metadata(const sp_json *metadata, sp_error *err)
{
    if (!sp_json_is(metadata, SP_JSON_OBJECT)) {
        return sp_fail(err, SP_E_FORMAT, "safetensors: \"__metadata__\" must be an object");
    }
    void *iter = NULL;
    const char *key;
    const sp_json *value;
    while (sp_json_next(metadata, &iter, &key, &value)) {
        if (!sp_json_is(value, SP_JSON_STRING)) {
            return sp_fail(err, SP_E_FORMAT, "safetensors: \"__metadata__\" must map strings to strings");
        }
    }
    return SP_OK;
}

static sp_status read_entries(sp_safetensors *st, uint64_t start, uint64_t len, sp_error *err)
{
    size_t n = sp_json_size(st->header);
    if (n > MAX_ENTRIES)
        return sp_fail(err, SP_E_LIMIT, "safetensors: %zu tensors, at most %zu", n, MAX_ENTRIES);
    st->entries = sp_calloc(n, sizeof *st->entries);
    if (!st->entries) return sp_fail_nomem(err, "safetensors table", (uint64_t)n * sizeof *st->entries);
    void *iter = NULL;
    const char *key;
    const sp_json *value;
    while (sp_json_next(st->header, &iter, &key, &value)) {
        if (strcmp(key, "__metadata__") == 0) {
            SP_TRY(check_metadata(value, err));
            continue;
        }
        SP_TRY(read_entry(&st->entries[st->count], key, value, start, len, err));
        st->count++;
    }
    return SP_OK;
}

static int compare_entries(const void *a, const void *b)
{
    const sp_safetensors_entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Establish invariant 1. */
static sp_status check_cover(sp_safetensors *st, uint64_t start, uint64_t len, sp_error *err)
{
    qsort(st->entries, st->count, sizeof *st->entries, compare_entries);
    uint64_t at = start;
    for (size_t i = 0; i < st->count; i++) {
        const sp_safetensors_entry *e = &st->entries[i];
        if (e->begin < at) return fail_entry(err, e->name, "its data overlap those of another tensor");
        if (e->begin > at) return fail_entry(err, e->name, "there is a hole before its data");
        at = e->end;
    }
    if (at == len) return SP_OK;
    return sp_fail_at(err, SP_E_FORMAT, (int64_t)at, "safetensors: %" PRIu64 " bytes after the last tensor",
                      len - at);
}

static sp_status index_names(sp_safetensors *st, sp_error *err)
{
    SP_TRY(sp_names_init(&st->names, st->count, err));
    for (size_t i = 0; i < st->count; i++) {
        const char *name = st->entries[i].name;
        size_t value = i;
        if (!sp_names_add(&st->names, name, strlen(name), &value)) {
            return fail_entry(err, name, "the name appears twice");
        }
    }
    return SP_OK;
}

static sp_status read_header(sp_safetensors *st, const uint8_t *data, size_t len, uint64_t *start,
                             sp_error *err)
{
    if (len < 8)
        return sp_fail_at(err, SP_E_FORMAT, 0, "safetensors: the file has %zu bytes, at least 8 expected",
                          len);
    uint64_t n = sp_le64(data);
    if (n > SP_SAFETENSORS_MAX_HEADER) {
        return sp_fail_at(err, SP_E_FORMAT, 0, "safetensors: header of %" PRIu64 " bytes, at most %" PRIu64,
                          n, SP_SAFETENSORS_MAX_HEADER);
    }
    if (n > len - 8) {
        return sp_fail_at(err, SP_E_FORMAT, 0, "safetensors: header of %" PRIu64 " bytes, %zu are left", n,
                          len - 8);
    }
    if (n < 2 || data[8] != '{') {
        return sp_fail_at(err, SP_E_FORMAT, 8, "safetensors: the header does not begin with \"{\"");
    }
    sp_status status = sp_json_parse((const char *)data + 8, (size_t)n, &st->header, err);
    if (status != SP_OK) return sp_fail_prefix(err, status, "safetensors: header");
    *start = 8 + n;
    return SP_OK;
}

sp_status sp_safetensors_parse(sp_safetensors **st, const uint8_t *data, size_t len, sp_error *err)
{
    *st = NULL;
    sp_safetensors *s = sp_calloc(1, sizeof *s);
    if (!s) return sp_fail_nomem(err, "safetensors", sizeof *s);
    sp_status status;
    uint64_t start = 0;
    SP_GOTO(done, status, read_header(s, data, len, &start, err));
    SP_GOTO(done, status, read_entries(s, start, len, err));
    SP_GOTO(done, status, check_cover(s, start, len, err));
    SP_GOTO(done, status, index_names(s, err));
    *st = s;
    s = NULL;
done:
    sp_safetensors_destroy(s);
    return status;
}

void sp_safetensors_destroy(sp_safetensors *st)
{
    if (!st) return;
    sp_names_clear(&st->names);
    sp_free(st->entries);
    sp_json_destroy(st->header);
    sp_free(st);
}

size_t sp_safetensors_count(const sp_safetensors *st)
{
    return st->count;
}

const sp_safetensors_entry *sp_safetensors_at(const sp_safetensors *st, size_t i)
{
    return i < st->count ? &st->entries[i] : NULL;
}

const sp_safetensors_entry *sp_safetensors_find(const sp_safetensors *st, const char *name)
{
    size_t i;
    return sp_names_find(&st->names, name, strlen(name), &i) ? &st->entries[i] : NULL;
}

const char *sp_safetensors_metadata(const sp_safetensors *st, const char *key)
{
    return sp_json_string(sp_json_get(sp_json_get(st->header, "__metadata__"), key), NULL);
}
