/* SPDX-License-Identifier: MIT */
/* Evaluated prefixes shared by sessions: a tree over token ids in units of SP_PREFIX_UNIT tokens, kept as a table in which a unit is found
 * by the hash of all ids up to and with its own. A unit holds the cache rows of its tokens for all layers (and, where the model predicts
 * several tokens, the hidden states). Used by one thread at a time; only sp_prefix_cache_get_stats may be called beside it. */
#ifndef SP_INFER_PREFIX_CACHE_H
#define SP_INFER_PREFIX_CACHE_H

#include <sputnik/session.h>

#include <stdbool.h>

#define SP_PREFIX_UNIT 64

typedef struct sp_prefix_cache sp_prefix_cache;

typedef struct sp_prefix_cache_options {
    uint64_t memory_bytes; /* budget of rows in memory; 0: nothing is remembered in memory */
    const char *
        dir; /* where units are written that leave memory, and all of them at the end, and looked for after a restart; made if
                              missing; NULL: nowhere */
    uint64_t disk_bytes; /* budget of this model's files in that folder */
} sp_prefix_cache_options;

/* Rows are those of sessions of this model with this cache type. Errors: SP_E_IO (the folder cannot be used), SP_E_NOMEM. */
sp_status sp_prefix_cache_create(sp_prefix_cache **cache, const sp_model *model, sp_cache_type type,
                                 const sp_prefix_cache_options *options, sp_error *err);
void sp_prefix_cache_destroy(
    sp_prefix_cache *cache); /* what is in memory goes to disk first, if there is a folder; accepts NULL */

/* How many of tokens[0..n) are known from the start on, in memory or on disk; a multiple of SP_PREFIX_UNIT. */
size_t sp_prefix_cache_match(sp_prefix_cache *cache, const int32_t *tokens, size_t n);

/* Make the session's timeline the longest known prefix of tokens[0..n), if that is longer than what it shares with them already; at most n - 1
 * tokens, so that the last is evaluated. *n_loaded: tokens copied. A file that is damaged is removed and counts as unknown. */
sp_status sp_prefix_cache_load(sp_prefix_cache *cache, sp_session *session, const int32_t *tokens, size_t n,
                               size_t *n_loaded, sp_error *err);

/* Remember the whole units of the session's timeline. Lack of memory or disk is no error: less is remembered. */
void sp_prefix_cache_store(sp_prefix_cache *cache, const sp_session *session);

/* Wait until what is on its way to the disk is there. */
void sp_prefix_cache_flush(sp_prefix_cache *cache);

typedef struct sp_prefix_cache_stats {
    uint64_t n_units, n_bytes, n_disk_units, n_disk_bytes;
    uint64_t n_hit_tokens, n_disk_hit_tokens; /* given to sessions from memory and from disk */
    uint64_t n_miss_tokens;                   /* in whole units that had to be evaluated */
    uint64_t n_evicted, n_damaged; /* units out of memory; files that were not what they should be */
} sp_prefix_cache_stats;

void sp_prefix_cache_get_stats(const sp_prefix_cache *cache, sp_prefix_cache_stats *stats);

#endif
