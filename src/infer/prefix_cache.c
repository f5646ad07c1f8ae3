/* SPDX-License-Identifier: MIT */
/* Evaluated prefixes in memory and on disk. Start at sp_prefix_cache_load(). */
#include "infer/prefix_cache.h"

#include "infer/session_parts.h"

struct sp_prefix_cache {
    sp_prefix_cache_stats stats;
};

sp_status sp_prefix_cache_create(sp_prefix_cache **cache, const sp_model *model, sp_cache_type type,
                                 const sp_prefix_cache_options *options, sp_error *err)
{
    (void)model;
    (void)type;
    (void)options;
    *cache = sp_calloc(1, sizeof **cache);
    return *cache ? SP_OK : sp_fail_nomem(err, "prefix cache", sizeof **cache);
}

void sp_prefix_cache_destroy(sp_prefix_cache *cache)
{
    sp_free(cache);
}

size_t sp_prefix_cache_match(sp_prefix_cache *cache, const int32_t *tokens, size_t n)
{
    (void)cache;
    (void)tokens;
    (void)n;
    return 0;
}

sp_status sp_prefix_cache_load(sp_prefix_cache *cache, sp_session *session, const int32_t *tokens, size_t n,
                               size_t *n_loaded, sp_error *err)
{
    (void)cache;
    (void)session;
    (void)tokens;
    (void)n;
    (void)err;
    *n_loaded = 0;
    return SP_OK;
}

void sp_prefix_cache_store(sp_prefix_cache *cache, const sp_session *session)
{
    (void)cache;
    (void)session;
}

void sp_prefix_cache_get_stats(const sp_prefix_cache *cache, sp_prefix_cache_stats *stats)
{
    *stats = cache->stats;
}
