/* SPDX-License-Identifier: MIT */
/* The Feistel network. Six rounds; the round function is the finaliser of SplitMix64 (Steele et al. 2014).
 * The orders are part of what a training run can be resumed from: they may not change. */
#include "base/permute.h"

enum { ROUNDS = 6 };

static uint64_t finalize(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xBF58476D1CE4E5B9u;
    x ^= x >> 27;
    x *= 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

uint64_t sp_mix64(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t x = finalize(a + 0x9E3779B97F4A7C15u);
    x = finalize((x ^ b) + 0x9E3779B97F4A7C15u);
    return finalize((x ^ c) + 0x9E3779B97F4A7C15u);
}

void sp_permute_init(sp_permute *permute, uint64_t n, uint64_t seed, uint64_t stream)
{
    permute->n = n;
    permute->key = sp_mix64(seed, stream, n);
    permute->half_bits = 1;
    while (((n - 1) >> permute->half_bits) >> permute->half_bits) permute->half_bits++;
}

static uint64_t pass(const sp_permute *permute, uint64_t i)
{
    uint64_t mask = ((uint64_t)1 << permute->half_bits) - 1;
    uint64_t left = i >> permute->half_bits, right = i & mask;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint64_t next = left ^ (finalize(permute->key + round * 0x9E3779B97F4A7C15u + right) & mask);
        left = right;
        right = next;
    }
    return left << permute->half_bits | right;
}

uint64_t sp_permute_at(const sp_permute *permute, uint64_t i)
{
    do i = pass(permute, i);
    while (i >= permute->n);
    return i;
}
