/* SPDX-License-Identifier: MIT */
/* Counter-based random numbers (Philox 4x32-10, Salmon et al. 2011, "Parallel random numbers: as easy as
 * 1, 2, 3"): a value is a pure function of (seed, stream, index), so any draw can be repeated or skipped
 * to. Thread-safe: no state. */
#ifndef SP_BASE_RNG_H
#define SP_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

void sp_rng_block(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4]);

/* Uniform in [0, 1) with 53 bits. */
double sp_rng_uniform(uint64_t seed, uint64_t stream, uint64_t index);

/* Fill out[n] with normal deviates of mean 0 and deviation 1 (Box-Muller), elements first..first+n-1 of the
 * stream; element i is the same whatever n and first are. */
void sp_rng_normal(uint64_t seed, uint64_t stream, uint64_t first, float *out, size_t n);

#endif
