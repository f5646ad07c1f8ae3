/* SPDX-License-Identifier: MIT */
/* Token shards: what `data pack` writes and training reads. Layout, little-endian:
 *   0 magic "SPSHARD\n"    8 u32 version (1)     12 u32 bytes per token (2 or 4)
 *  16 u64 n_tokens        24 u64 n_documents     32 u32 flags (1: mask)   36 u32 vocab_size
 *  40 32 bytes: hash of the vocabulary           72 u64 sp_hash of all that follows the header
 *  80 u64 sp_hash of bytes 0-79                  88 zeros up to 128
 * 128 tokens, zeros to a multiple of 8; u64 (n_documents + 1) starts of the documents, 0 first and n_tokens last, rising;
 *     with a mask: a bit per token, lowest first, 1 where the token is learnt; zeros to a multiple of 8. Nothing after it. */
#ifndef SP_FORMAT_SHARD_H
#define SP_FORMAT_SHARD_H

#include <string.h>

#include "base/file.h"

#define SP_SHARD_HEADER_BYTES 128

typedef struct sp_shard {
    const uint8_t *tokens, *starts, *mask; /* mask NULL: every token is learnt */
    uint64_t n_tokens, n_documents;
    uint32_t token_bytes, vocab_size;
    uint8_t vocab_hash[32];
    sp_map map; /* of sp_shard_open */
} sp_shard;

/* Look at a shard's bytes, which must outlive it. Everything is checked, both sums and every token included.
 * SP_E_FORMAT says what is wrong and where; SP_E_UNSUPPORTED: another version. */
sp_status sp_shard_parse(sp_shard *shard, const uint8_t *data, size_t len, sp_error *err);

sp_status sp_shard_open(sp_shard *shard, const char *path, sp_error *err);
void sp_shard_close(sp_shard *shard);

static inline int32_t sp_shard_token(const sp_shard *shard, uint64_t i)
{
    uint16_t narrow;
    uint32_t wide;
    if (shard->token_bytes == 2) {
        memcpy(&narrow, shard->tokens + 2 * i, 2);
        return narrow;
    }
    memcpy(&wide, shard->tokens + 4 * i, 4);
    return (int32_t)wide;
}

static inline bool sp_shard_is_learnt(const sp_shard *shard, uint64_t i)
{
    return !shard->mask || (shard->mask[i / 8] >> (i % 8) & 1);
}

/* Start of document i <= n_documents; the document that holds token i < n_tokens (binary search). */
uint64_t sp_shard_start(const sp_shard *shard, uint64_t document);
uint64_t sp_shard_find(const sp_shard *shard, uint64_t token);

/* A shard in memory, document by document. Zero-initialise; vocab_size and vocab_hash are set by the caller. */
typedef struct sp_shard_builder {
    sp_buf tokens; /* uint16_t or uint32_t */
    sp_buf starts; /* uint64_t, without the last */
    sp_buf mask;   /* a byte per token */
    uint64_t n_tokens, n_documents, n_learnt;
    uint32_t vocab_size;
    uint8_t vocab_hash[32];
} sp_shard_builder;

/* learnt: a byte per token, NULL: all. An empty document is left out. SP_E_RANGE for an id outside the vocabulary. */
sp_status sp_shard_add(sp_shard_builder *builder, const int32_t *ids, const uint8_t *learnt, size_t n,
                       sp_error *err);
/* The file's bytes, appended. */
sp_status sp_shard_build(const sp_shard_builder *builder, sp_buf *out, sp_error *err);
/* Write the file: whole or not at all. */
sp_status sp_shard_save(const sp_shard_builder *builder, const char *path, sp_error *err);
void sp_shard_builder_clear(sp_shard_builder *builder);

#endif
