/* SPDX-License-Identifier: MIT */
/* GGUF: typed look-up in the parsed metadata. Values are read byte by byte in little-endian order, since
 * nothing in the file is aligned. Start at sp_gguf_find(). */
#include "format/gguf_parts.h"

#include <string.h>

uint32_t sp_gguf_version(const sp_gguf *gguf)
{
    return gguf->version;
}

uint64_t sp_gguf_alignment(const sp_gguf *gguf)
{
    return gguf->alignment;
}

size_t sp_gguf_kv_count(const sp_gguf *gguf)
{
    return gguf->n_kv;
}

const sp_gguf_kv *sp_gguf_kv_at(const sp_gguf *gguf, size_t i)
{
    return i < gguf->n_kv ? &gguf->kvs[i] : NULL;
}

const sp_gguf_kv *sp_gguf_find(const sp_gguf *gguf, const char *key)
{
    size_t i;
    return gguf && sp_names_find(&gguf->keys, key, strlen(key), &i) ? &gguf->kvs[i] : NULL;
}

size_t sp_gguf_tensor_count(const sp_gguf *gguf)
{
    return gguf->n_tensors;
}

const sp_gguf_tensor *sp_gguf_tensor_at(const sp_gguf *gguf, size_t i)
{
    return i < gguf->n_tensors ? &gguf->tensors[i] : NULL;
}

static float read_f32(const uint8_t *p)
{
    uint32_t bits = sp_le32(p);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double read_f64(const uint8_t *p)
{
    uint64_t bits = sp_le64(p);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Integer of any width; false for other types and for values above INT64_MAX. */
static bool read_int(sp_gguf_type type, const uint8_t *p, int64_t *out)
{
    switch (type) {
    case SP_GGUF_U8: *out = *p; return true;
    case SP_GGUF_I8: *out = (int8_t)*p; return true;
    case SP_GGUF_U16: *out = sp_le16(p); return true;
    case SP_GGUF_I16: *out = (int16_t)sp_le16(p); return true;
    case SP_GGUF_U32: *out = sp_le32(p); return true;
    case SP_GGUF_I32: *out = (int32_t)sp_le32(p); return true;
    case SP_GGUF_U64:
        if (sp_le64(p) > INT64_MAX) return false;
        *out = (int64_t)sp_le64(p);
        return true;
    case SP_GGUF_I64: *out = (int64_t)sp_le64(p); return true;
    default: return false;
    }
}

bool sp_gguf_int(const sp_gguf *gguf, const char *key, int64_t *out)
{
    const sp_gguf_kv *kv = sp_gguf_find(gguf, key);
    return kv && read_int(kv->type, kv->data, out);
}

bool sp_gguf_real(const sp_gguf *gguf, const char *key, double *out)
{
    const sp_gguf_kv *kv = sp_gguf_find(gguf, key);
    if (!kv) return false;
    if (kv->type == SP_GGUF_F32)
        *out = (double)read_f32(kv->data);
    else if (kv->type == SP_GGUF_F64)
        *out = read_f64(kv->data);
    else
        return false;
    return true;
}

bool sp_gguf_bool(const sp_gguf *gguf, const char *key, bool *out)
{
    const sp_gguf_kv *kv = sp_gguf_find(gguf, key);
    if (!kv || kv->type != SP_GGUF_BOOL) return false;
    *out = *kv->data != 0;
    return true;
}

/* A string at p; its length was checked by the parser. */
static sp_gguf_string read_string(const uint8_t *p)
{
    return (sp_gguf_string){(const char *)p + 8, sp_le64(p)};
}

bool sp_gguf_str(const sp_gguf *gguf, const char *key, sp_gguf_string *out)
{
    const sp_gguf_kv *kv = sp_gguf_find(gguf, key);
    if (!kv || kv->type != SP_GGUF_STRING) return false;
    *out = read_string(kv->data);
    return true;
}

bool sp_gguf_next_string(const sp_gguf_kv *array, uint64_t *pos, sp_gguf_string *out)
{
    if (array->type != SP_GGUF_ARRAY || array->item_type != SP_GGUF_STRING || *pos >= array->n_bytes)
        return false;
    *out = read_string(array->data + *pos);
    *pos += 8 + out->len;
    return true;
}

static const uint8_t *find_item(const sp_gguf_kv *array, uint64_t i)
{
    switch (array->item_type) {
    case SP_GGUF_U8:
    case SP_GGUF_I8:
    case SP_GGUF_BOOL: return array->data + i;
    case SP_GGUF_U16:
    case SP_GGUF_I16: return array->data + 2 * i;
    case SP_GGUF_U32:
    case SP_GGUF_I32:
    case SP_GGUF_F32: return array->data + 4 * i;
    case SP_GGUF_U64:
    case SP_GGUF_I64:
    case SP_GGUF_F64: return array->data + 8 * i;
    default: return NULL;
    }
}

int64_t sp_gguf_item_int(const sp_gguf_kv *array, uint64_t i)
{
    const uint8_t *p = find_item(array, i);
    if (!p) return 0;
    if (array->item_type == SP_GGUF_BOOL) return *p;
    int64_t value = 0;
    if (read_int(array->item_type, p, &value)) return value;
    return 0;
}

double sp_gguf_item_real(const sp_gguf_kv *array, uint64_t i)
{
    const uint8_t *p = find_item(array, i);
    if (!p) return 0;
    if (array->item_type == SP_GGUF_F32) return (double)read_f32(p);
    if (array->item_type == SP_GGUF_F64) return read_f64(p);
    return (double)sp_gguf_item_int(array, i);
}
