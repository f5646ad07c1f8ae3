/* SPDX-License-Identifier: MIT */
/* A keyed bijection of [0, n): a Feistel network over the smallest even number of bits that holds n, walked
 * until it lands inside (at most 4 steps on average). The value is a pure function of (key, n, i), so that a
 * shuffled order needs no table and any place in it can be named. After Luby and Rackoff 1988; cycle walking
 * after Black and Rogaway 2002. */
#ifndef SP_BASE_PERMUTE_H
#define SP_BASE_PERMUTE_H

#include <stdint.h>

typedef struct sp_permute {
    uint64_t n;
    uint64_t key;
    int half_bits;
} sp_permute;

/* n >= 1 and below 2^62. The same (seed, stream, n) always gives the same order. */
void sp_permute_init(sp_permute *permute, uint64_t n, uint64_t seed, uint64_t stream);

/* i < n. Allocates nothing; any number of threads. */
uint64_t sp_permute_at(const sp_permute *permute, uint64_t i);

/* 64 well mixed bits of three numbers. */
uint64_t sp_mix64(uint64_t a, uint64_t b, uint64_t c);

#endif
