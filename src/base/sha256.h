/* SPDX-License-Identifier: MIT */
/* SHA-256 (FIPS 180-4), streaming. A state belongs to one thread at a time. */
#ifndef SP_BASE_SHA256_H
#define SP_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct sp_sha256 {
    uint32_t state[8];
    uint64_t n_bytes; /* added so far */
    uint8_t block[64];
} sp_sha256;

void sp_sha256_init(sp_sha256 *sha);
void sp_sha256_add(sp_sha256 *sha, const void *data, size_t n);
void sp_sha256_end(sp_sha256 *sha, uint8_t digest[32]);

/* Lower-case hexadecimal digits and NUL. */
void sp_sha256_hex(const uint8_t digest[32], char hex[65]);

#endif
