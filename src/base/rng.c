/* SPDX-License-Identifier: MIT */
/* Philox 4x32-10: ten rounds of two 32x32 multiplications keyed by the seed. Constants from Salmon et al.
 * 2011. */
#include "base/rng.h"

#include <math.h>

#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u /* golden ratio */
#define PHILOX_W1 0xBB67AE85u /* sqrt(3) - 1 */

void sp_rng_block(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4])
{
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32);
    uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)PHILOX_M0 * c0;
        uint64_t p1 = (uint64_t)PHILOX_M1 * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

double sp_rng_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t r[4];
    sp_rng_block(seed, stream, index, r);
    uint64_t bits = ((uint64_t)r[0] << 32 | r[1]) >> 11;
    return (double)bits * 0x1.0p-53;
}

/* Two normal deviates from two words: radius from the first (never log of 0), angle from the second. */
static void box_muller(uint32_t a, uint32_t b, float *z0, float *z1)
{
    float u = ((float)(a >> 8) + 0.5f) * 0x1.0p-24f;
    float angle = (float)(b >> 8) * (0x1.0p-24f * 6.28318530718f);
    float radius = sqrtf(-2.0f * logf(u));
    *z0 = radius * cosf(angle);
    *z1 = radius * sinf(angle);
}

void sp_rng_normal(uint64_t seed, uint64_t stream, uint64_t first, float *out, size_t n)
{
    size_t done = 0;
    while (done < n) {
        uint64_t element = first + done;
        uint32_t r[4];
        float z[4];
        sp_rng_block(seed, stream, element / 4, r);
        box_muller(r[0], r[1], &z[0], &z[1]);
        box_muller(r[2], r[3], &z[2], &z[3]);
        for (unsigned k = (unsigned)(element % 4); k < 4 && done < n; k++) out[done++] = z[k];
    }
}
