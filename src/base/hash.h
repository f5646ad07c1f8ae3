/* SPDX-License-Identifier: MIT */
/* A fast 64-bit hash for look-up tables and checksums against accidents (not against attackers): multiply and
 * rotate over eight-byte words, finished by the avalanche of MurmurHash3 (Appleby, public domain). */
#ifndef SP_BASE_HASH_H
#define SP_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define SP_HASH_SEED 0x9E3779B97F4A7C15u

/* Hash n bytes on top of `seed`; feed the result back as the seed to hash several pieces. */
uint64_t sp_hash(uint64_t seed, const void *data, size_t n);

#endif
