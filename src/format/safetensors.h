/* SPDX-License-Identifier: MIT */
/* safetensors: parse(data, length) of one file into its table of tensors. The container may hold types that
 * this program does not compute with (integer buffers, other floats): they are listed and marked, so that
 * only a model that asks for one fails. Names are copied; data stays in the caller's bytes. */
#ifndef SP_FORMAT_SAFETENSORS_H
#define SP_FORMAT_SAFETENSORS_H

#include "base/mem.h"
#include "tensor/dtype.h"

#define SP_SAFETENSORS_MAX_HEADER ((uint64_t)100000000)
#define SP_SAFETENSORS_MAX_DIMS 4

typedef struct sp_safetensors sp_safetensors;

typedef struct sp_safetensors_entry {
    const char *name;
    const char *dtype_name; /* as in the file: "BF16", "I64" */
    bool supported;         /* dtype_name is one of sp_dtype; else dtype is meaningless */
    sp_dtype dtype;
    int n_dims; /* 0 for a scalar */
    int64_t shape[SP_SAFETENSORS_MAX_DIMS];
    uint64_t begin, end; /* bytes, from the start of the file */
} sp_safetensors_entry;

/* Refused as SP_E_FORMAT, by name: a header that is no strict JSON object of the published form, more than 4
 * dimensions, sizes that differ from shape x type, holes, overlaps, data that end before or after the file.
 * Needs jansson. */
sp_status sp_safetensors_parse(sp_safetensors **st, const uint8_t *data, size_t len, sp_error *err);
void sp_safetensors_destroy(sp_safetensors *st);

size_t sp_safetensors_count(const sp_safetensors *st);
const sp_safetensors_entry *sp_safetensors_at(const sp_safetensors *st, size_t i); /* order of the data */
const sp_safetensors_entry *sp_safetensors_find(const sp_safetensors *st, const char *name);

/* A value of __metadata__, NULL if absent. */
const char *sp_safetensors_metadata(const sp_safetensors *st, const char *key);

#endif
