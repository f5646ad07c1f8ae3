/* SPDX-License-Identifier: MIT */
/* Allocation of key-value caches. calloc leaves pages untouched until they are written, so a large capacity
 * costs address space alone. Start at sp_cache_init(). */
#include "model/cache.h"

#include <string.h>

int64_t sp_cache_row_elements(const sp_hparams *hp)
{
    if (sp_arch_get(hp->arch)->attention == SP_ATTENTION_LATENT)
        return (int64_t)hp->kv_lora_rank + hp->qk_rope_head_dim;
    return 2 * (int64_t)hp->num_key_value_heads * hp->head_dim;
}

static sp_status init_rows(sp_tensor *t, sp_dtype dtype, int64_t heads, int64_t rows, int64_t cols,
                           sp_error *err)
{
    size_t row_bytes = sp_dtype_row_bytes(dtype, (size_t)cols), bytes;
    if (!sp_mul_size((size_t)(heads * rows), row_bytes, &bytes)) bytes = SIZE_MAX;
    void *data = sp_calloc((size_t)(heads * rows), row_bytes);
    if (!data) return sp_fail_nomem(err, "key-value cache", bytes);
    *t = (sp_tensor){
        .dtype = dtype, .n_dims = 3, .shape = {heads, rows, cols, 1}, .row_bytes = row_bytes, .data = data};
    return SP_OK;
}

/* Keys and values of a head must be whole blocks of the format. */
static sp_status check_format(sp_dtype dtype, int64_t k_dim, int64_t v_dim, sp_error *err)
{
    const sp_dtype_info *info = sp_dtype_get(dtype);
    int64_t bad = k_dim % info->block ? k_dim : v_dim % info->block ? v_dim : 0;
    if (bad == 0) return SP_OK;
    return sp_fail(err, SP_E_UNSUPPORTED,
                   "key-value cache: %s holds multiples of %d values, this model has %lld per head",
                   info->label, info->block, (long long)bad);
}

sp_status sp_cache_init(sp_cache *cache, const sp_hparams *hp, int32_t n_layers, int64_t capacity,
                        sp_dtype dtype, sp_error *err)
{
    bool latent = sp_arch_get(hp->arch)->attention == SP_ATTENTION_LATENT;
    int64_t heads = latent ? 1 : hp->num_key_value_heads,
            cols = latent ? sp_cache_row_elements(hp) : hp->head_dim;
    int64_t v_cols = latent ? hp->kv_lora_rank : hp->head_dim;
    *cache = (sp_cache){0};
    SP_TRY(check_format(dtype, cols, v_cols, err));
    *cache = (sp_cache){sp_calloc((size_t)n_layers, sizeof(sp_cache_layer)), n_layers, capacity};
    if (!cache->layers)
        return sp_fail_nomem(err, "key-value cache", (uint64_t)n_layers * sizeof(sp_cache_layer));
    sp_status status = SP_OK;
    for (int32_t i = 0; i < n_layers && status == SP_OK; i++) {
        sp_cache_layer *layer = &cache->layers[i];
        status = init_rows(&layer->k, dtype, heads, capacity, cols, err);
        if (status == SP_OK && latent) {
            layer->v = layer->k;
            layer->v.shape[2] = v_cols;
        } else if (status == SP_OK) {
            status = init_rows(&layer->v, dtype, heads, capacity, cols, err);
        }
    }
    if (status != SP_OK) sp_cache_clear(cache);
    return status;
}

void sp_cache_clear(sp_cache *cache)
{
    for (int32_t i = 0; cache->layers && i < cache->n_layers; i++) {
        if (cache->layers[i].v.data != cache->layers[i].k.data) sp_free(cache->layers[i].v.data);
        sp_free(cache->layers[i].k.data);
    }
    sp_free(cache->layers);
    memset(cache, 0, sizeof *cache);
}
