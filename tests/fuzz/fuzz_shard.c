/* SPDX-License-Identifier: MIT */
/* Fuzz target: any bytes as a token shard, as they are and with both checksums put right, so that what lies behind them is
 * reached. What parses must have rising documents and tokens inside of its vocabulary. */
#include "format/shard.h"

#include <stdlib.h>

#include "base/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

static void check(const uint8_t *data, size_t size)
{
    sp_shard shard;
    sp_error err = SP_ERROR_NONE;
    if (sp_shard_parse(&shard, data, size, &err) != SP_OK) {
        if (err.code == SP_OK || !err.text[0] || shard.n_tokens) abort();
        return;
    }
    for (uint64_t i = 0; i < shard.n_tokens; i++) {
        uint64_t d = sp_shard_find(&shard, i);
        if ((uint32_t)sp_shard_token(&shard, i) >= shard.vocab_size) abort();
        if (sp_shard_start(&shard, d) > i || sp_shard_start(&shard, d + 1) <= i) abort();
        sink += sp_shard_is_learnt(&shard, i);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(data, size);
    if (size < SP_SHARD_HEADER_BYTES) return 0;
    uint8_t *copy = malloc(size);
    if (!copy) return 0;
    memcpy(copy, data, size);
    uint64_t sum = sp_hash(SP_HASH_SEED, copy + SP_SHARD_HEADER_BYTES, size - SP_SHARD_HEADER_BYTES);
    memcpy(copy + 72, &sum, 8);
    sum = sp_hash(SP_HASH_SEED, copy, 80);
    memcpy(copy + 80, &sum, 8);
    check(copy, size);
    free(copy);
    return 0;
}
