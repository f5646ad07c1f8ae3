/* SPDX-License-Identifier: MIT */
/* One decoder per quantised format: from a stored block to small integers and float scales. The scalar unpack
 * and dot kernels (quant_scalar.c) are loops over these, so that a format is defined in one place.
 * The integers of a format are chosen so that dot products of them are exact in int32. */
#ifndef SP_TENSOR_DECODE_H
#define SP_TENSOR_DECODE_H

#include "tensor/blocks.h"

/* A block of 32: value[i] = d * q[i] (+ m where the format has mins). */
typedef struct sp_dec32 {
    float d, m;
    int8_t q[32];
} sp_dec32;

/* A block of 256: value[i] = (d * scale[i/16]) * (q[i] - offset) (- dmin * min[i/16] where it has mins). */
typedef struct sp_dec256 {
    float d, dmin;
    int offset;
    int8_t q[256];
    int16_t scale[16], min[16];
} sp_dec256;

typedef void (*sp_dec32_fn)(const void *block, sp_dec32 *out);
typedef void (*sp_dec256_fn)(const void *block, sp_dec256 *out);

void sp_decode_q4_0(const void *block, sp_dec32 *out);
void sp_decode_q4_1(const void *block, sp_dec32 *out);
void sp_decode_q5_0(const void *block, sp_dec32 *out);
void sp_decode_q5_1(const void *block, sp_dec32 *out);
void sp_decode_q8_0(const void *block, sp_dec32 *out);
void sp_decode_iq4_nl(const void *block, sp_dec32 *out);

void sp_decode_q2_k(const void *block, sp_dec256 *out);
void sp_decode_q3_k(const void *block, sp_dec256 *out);
void sp_decode_q4_k(const void *block, sp_dec256 *out);
void sp_decode_q5_k(const void *block, sp_dec256 *out);
void sp_decode_q6_k(const void *block, sp_dec256 *out);
void sp_decode_iq4_xs(const void *block, sp_dec256 *out);
void sp_decode_iq1_s(const void *block, sp_dec256 *out);
void sp_decode_iq1_m(const void *block, sp_dec256 *out);
void sp_decode_iq2_xxs(const void *block, sp_dec256 *out);
void sp_decode_iq2_xs(const void *block, sp_dec256 *out);
void sp_decode_iq2_s(const void *block, sp_dec256 *out);
void sp_decode_iq3_xxs(const void *block, sp_dec256 *out);
void sp_decode_iq3_s(const void *block, sp_dec256 *out);

/* The sixteen values of IQ4_NL and IQ4_XS. */
extern const int8_t sp_iq4_values[16];

/* Codebooks of the IQ1..IQ3 formats, bytes in little-endian words (iq_tables.c). */
extern const uint64_t sp_iq1_grid[2048];   /* eight signed bytes -1, 0, 1 */
extern const uint64_t sp_iq2xxs_grid[256]; /* eight bytes 8, 25, 43 */
extern const uint64_t sp_iq2xs_grid[512];
extern const uint64_t sp_iq2s_grid[1024];
extern const uint32_t sp_iq3xxs_grid[256]; /* four bytes 4, 12 .. 44, 62 */
extern const uint32_t sp_iq3s_grid[512];   /* four odd bytes 1 .. 15 */

/* Seven stored sign bits; the eighth makes the number of ones even. */
static inline uint8_t sp_iq_signs(uint32_t seven)
{
    uint32_t p = seven ^ (seven >> 4);
    p ^= p >> 2;
    p ^= p >> 1;
    return (uint8_t)(seven | ((p & 1u) << 7));
}

#endif
