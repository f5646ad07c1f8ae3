/* SPDX-License-Identifier: MIT */
/* The key-value cache of one timeline: per layer a tensor of keys and one of values. Each key-value head's rows stand
 * together, so that attention reads memory in order. With latent attention there is one such head, whose row holds the
 * normalised latent and the rotated shared key, (c + r), and the values are its first c columns: `v` shares `k`'s
 * memory. */
#ifndef SP_MODEL_CACHE_H
#define SP_MODEL_CACHE_H

#include "base/mem.h"
#include "model/hparams.h"
#include "tensor/tensor.h"

typedef struct sp_cache_layer {
    sp_tensor k; /* (nkv, capacity, hd) or (1, capacity, c + r) */
    sp_tensor v; /* (nkv, capacity, hd) or a view of k */
} sp_cache_layer;

typedef struct sp_cache {
    sp_cache_layer *layers;
    int32_t n_layers;
    int64_t capacity; /* rows */
} sp_cache;

/* Rows become resident only as they are written. dtype: F32, F16, BF16 or Q8_0; SP_E_UNSUPPORTED where a head's rows are
 * no whole number of its blocks. */
sp_status sp_cache_init(sp_cache *cache, const sp_hparams *hp, int32_t n_layers, int64_t capacity,
                        sp_dtype dtype, sp_error *err);
void sp_cache_clear(sp_cache *cache);

/* Elements per token and layer. */
int64_t sp_cache_row_elements(const sp_hparams *hp);

#endif
