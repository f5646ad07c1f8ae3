/* SPDX-License-Identifier: MIT */
/* GGUF version 3 (and 2, same layout): parse(data, length) and typed look-up of metadata; the tensor table.
 * The parse result points into the caller's bytes, which must outlive it. Checked: every length against the
 * rest of the file before use, counts, types, alignment, duplicate names and keys, offsets and sizes. */
#ifndef SP_FORMAT_GGUF_H
#define SP_FORMAT_GGUF_H

#include "base/mem.h"
#include "tensor/dtype.h"

typedef struct sp_gguf sp_gguf;

typedef enum sp_gguf_type {
    SP_GGUF_U8,
    SP_GGUF_I8,
    SP_GGUF_U16,
    SP_GGUF_I16,
    SP_GGUF_U32,
    SP_GGUF_I32,
    SP_GGUF_F32,
    SP_GGUF_BOOL,
    SP_GGUF_STRING,
    SP_GGUF_ARRAY,
    SP_GGUF_U64,
    SP_GGUF_I64,
    SP_GGUF_F64
} sp_gguf_type;

typedef struct sp_gguf_string {
    const char *data; /* not NUL-terminated */
    uint64_t len;
} sp_gguf_string;

typedef struct sp_gguf_kv {
    sp_gguf_string key;
    sp_gguf_type type;
    sp_gguf_type item_type; /* of an array */
    uint64_t count;         /* items of an array, else 1 */
    const uint8_t *data;    /* first byte of the value (or of the first item) */
    uint64_t n_bytes;       /* of the value(s) */
} sp_gguf_kv;

typedef struct sp_gguf_tensor {
    sp_gguf_string name;
    sp_dtype dtype;
    int n_dims;
    int64_t shape[4]; /* outermost first, i.e. GGUF's dims reversed */
    uint64_t offset;  /* from the start of the file */
    uint64_t n_bytes;
} sp_gguf_tensor;

sp_status sp_gguf_parse(sp_gguf **gguf, const uint8_t *data, size_t len, sp_error *err);
void sp_gguf_destroy(sp_gguf *gguf);

uint32_t sp_gguf_version(const sp_gguf *gguf);
uint64_t sp_gguf_alignment(const sp_gguf *gguf);
size_t sp_gguf_kv_count(const sp_gguf *gguf);
const sp_gguf_kv *sp_gguf_kv_at(const sp_gguf *gguf, size_t i);
const sp_gguf_kv *sp_gguf_find(const sp_gguf *gguf, const char *key);
size_t sp_gguf_tensor_count(const sp_gguf *gguf);
const sp_gguf_tensor *sp_gguf_tensor_at(const sp_gguf *gguf, size_t i);

/* Typed values; any integer width is accepted for a count, f32 and f64 for reals. False if the key is absent or
 * of another kind (then *out is unchanged). */
bool sp_gguf_int(const sp_gguf *gguf, const char *key, int64_t *out);
bool sp_gguf_real(const sp_gguf *gguf, const char *key, double *out);
bool sp_gguf_bool(const sp_gguf *gguf, const char *key, bool *out);
bool sp_gguf_str(const sp_gguf *gguf, const char *key, sp_gguf_string *out);

/* Walk the items of a string array: start with *pos = 0; false at the end. */
bool sp_gguf_next_string(const sp_gguf_kv *array, uint64_t *pos, sp_gguf_string *out);
/* Item i of a numeric array as an integer / real; the caller checks i < count. */
int64_t sp_gguf_item_int(const sp_gguf_kv *array, uint64_t i);
double sp_gguf_item_real(const sp_gguf_kv *array, uint64_t i);

#endif
