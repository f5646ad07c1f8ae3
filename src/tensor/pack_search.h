/* SPDX-License-Identifier: MIT */
/* Searching scales: the least-squares problems that all quantisers are made of, for one group of up to 32
 * values. Levels are chosen by trying a row of scales, refitting each in closed form, and improving the best
 * one by turns (levels for a scale, scale for the levels: Lloyd's iteration). Plain sums in a fixed order, so
 * the result is the same on every machine. */
#ifndef SP_TENSOR_PACK_SEARCH_H
#define SP_TENSOR_PACK_SEARCH_H

#include "tensor/pack.h"

#define PACK_MAX_GROUP 32

/* Magnitudes below this cannot be told from zero with a half-precision scale; none above PACK_HUGE can be
 * stored, so values are cut there and sums of squares stay finite. */
#define PACK_TINY 0x1p-60f
#define PACK_HUGE 1e9f

/* Round half to even of a value already between -2^22 and 2^22. */
static inline float pack_round(float v)
{
    return (v + 0x1.8p23f) - 0x1.8p23f;
}

static inline float pack_clamp(float v, float lo, float hi)
{
    v = v < lo ? lo : v;
    return v > hi ? hi : v;
}

/* Nearest integer level in [lo, hi]. */
static inline float pack_level(float v, float lo, float hi)
{
    return pack_round(pack_clamp(v, lo, hi));
}

static inline float pack_inverse(float d)
{
    return d > PACK_TINY || d < -PACK_TINY ? 1.0f / d : 0.0f;
}

/* Store v as a half, cut to its range; returns the stored value. */
float sp_pack_half(float v, uint8_t out[2]);

/* Copy n values cut to +-PACK_HUGE; returns the largest magnitude. */
float sp_pack_load(int n, const float *src, float *x);

/* The scale d (of either sign) that minimises the sum of (x - d q)^2, q integers in [lo, hi]. */
float sp_fit_scale(int n, const float *x, int lo, int hi);

/* The same with q from the sixteen IQ4 values. */
float sp_fit_scale_iq4(int n, const float *x);

/* Index of the IQ4 value nearest to v. */
int sp_iq4_nearest(float v);

/* x ~ d q + m, q integers in [0, hi], d >= 0. With m_max = 0 the offset must not be positive. */
typedef struct sp_affine {
    float d, m;
} sp_affine;
sp_affine sp_fit_affine(int n, const float *x, int hi, float m_max);

#endif
