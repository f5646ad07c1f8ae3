/* SPDX-License-Identifier: MIT */
/* What bpe.c (tables) and bpe_merge.c (merging) share: the two hashes and the rank look-up. */
#ifndef SP_TEXT_BPE_PARTS_H
#define SP_TEXT_BPE_PARTS_H

#include <string.h>

#include "text/bpe.h"

#define SP_BPE_NO_RANK UINT32_MAX

/* Multipliers: 2^64 and its square root divided by the golden ratio's relatives (odd, well spread bits). */
#define SP_BPE_MIX_A 0x9E3779B97F4A7C15u
#define SP_BPE_MIX_B 0xD6E8FEB86659FD93u

static inline uint64_t sp_bpe_load(const char *s, size_t n)
{
    uint32_t lo = 0, hi = 0;
    if (n >= 8) {
        uint64_t word;
        memcpy(&word, s, 8);
        return word;
    }
    if (n >= 4) {
        memcpy(&lo, s, 4);
        memcpy(&hi, s + n - 4, 4);
        return (uint64_t)hi << 32 | lo;
    }
    const unsigned char *b = (const unsigned char *)s;
    return b[0] | (uint32_t)b[n / 2] << 8 | (uint32_t)b[n - 1] << 16;
}

/* Hash of len >= 1 bytes. */
static inline uint32_t sp_bpe_hash(const char *s, size_t len)
{
    uint64_t hash = len * SP_BPE_MIX_A;
    for (; len > 8; s += 8, len -= 8) {
        hash = (hash ^ sp_bpe_load(s, 8)) * SP_BPE_MIX_B;
        hash ^= hash >> 29;
    }
    hash = (hash ^ sp_bpe_load(s, len)) * SP_BPE_MIX_B;
    hash ^= hash >> 32;
    hash *= SP_BPE_MIX_A;
    return (uint32_t)(hash >> 32);
}

static inline uint32_t sp_bpe_pair_hash(int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    key = (key ^ key >> 31) * SP_BPE_MIX_B;
    return (uint32_t)(key >> 32);
}

/* Rank of the merge of two adjacent ids, SP_BPE_NO_RANK if they do not merge. */
static inline uint32_t sp_bpe_rank(const sp_bpe *bpe, int32_t left, int32_t right)
{
    uint32_t i = sp_bpe_pair_hash(left, right) & bpe->pair_mask;
    for (; bpe->pairs[i].left >= 0; i = (i + 1) & bpe->pair_mask)
        if (bpe->pairs[i].left == left && bpe->pairs[i].right == right) return bpe->pairs[i].rank;
    return SP_BPE_NO_RANK;
}

/* Set sp_bpe_token.whole for every ordinary token that merging its own bytes yields. */
void sp_bpe_mark_whole(sp_bpe *bpe);

#endif
