/* SPDX-License-Identifier: MIT */
/* Fuzz target: any bytes as a safetensors file. What parses must cover its data without hole or overlap. */
#include "format/safetensors.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sp_safetensors *st = NULL;
    sp_error err = SP_ERROR_NONE;
    if (sp_safetensors_parse(&st, data, size, &err) != SP_OK) {
        if (st || err.code == SP_OK || !err.text[0]) abort();
        return 0;
    }
    uint64_t at = 0;
    for (size_t i = 0; i < sp_safetensors_count(st); i++) {
        const sp_safetensors_entry *e = sp_safetensors_at(st, i);
        if (e->end > size || e->end < e->begin || (i && e->begin != at)) abort();
        if (sp_safetensors_find(st, e->name) != e) abort();
        at = e->end;
        for (uint64_t k = e->begin; k < e->end; k++) sink += data[k];
        sink += strlen(e->dtype_name) + (uint64_t)e->n_dims;
    }
    if (sp_safetensors_count(st) && at != size) abort();
    if (sp_safetensors_metadata(st, "format")) sink += strlen(sp_safetensors_metadata(st, "format"));
    sp_safetensors_destroy(st);
    return 0;
}
