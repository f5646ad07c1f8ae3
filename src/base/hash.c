/* SPDX-License-Identifier: MIT */
/* The 64-bit hash. Start at sp_hash(). */
#include "base/hash.h"

#include <string.h>

static uint64_t mix(uint64_t h, uint64_t word)
{
    h ^= word * 0x87C37B91114253D5u;
    h = h << 27 | h >> 37;
    return h * 0x4CF5AD432745937Fu + 0x52DCE729u;
}

static uint64_t avalanche(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xFF51AFD7ED558CCDu;
    h ^= h >> 33;
    h *= 0xC4CEB9FE1A85EC53u;
    return h ^ h >> 33;
}

uint64_t sp_hash(uint64_t seed, const void *data, size_t n)
{
    const unsigned char *bytes = data;
    uint64_t h = seed, word;
    size_t left = n;
    for (; left >= 8; left -= 8, bytes += 8) {
        memcpy(&word, bytes, 8);
        h = mix(h, word);
    }
    word = 0;
    for (size_t i = 0; i < left; i++) word |= (uint64_t)bytes[i] << (8 * i);
    return avalanche(mix(h, word) ^ n);
}
