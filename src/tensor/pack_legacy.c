/* SPDX-License-Identifier: MIT */
/* Quantisers of the formats in blocks of 32: fit the block's factors (pack_search.h), store them as halves,
 * choose each level anew for the stored factors. */
#include "tensor/pack_search.h"

/* Levels for x ~ d q + m with an integer offset added, so that they are stored unsigned. */
typedef struct level_range {
    int lo, hi;
} level_range;

static void choose_levels(const float x[32], float d, float m, level_range r, uint8_t q[32])
{
    float inverse = pack_inverse(d);
    for (int i = 0; i < 32; i++) {
        q[i] = (uint8_t)((int)pack_level((x[i] - m) * inverse, (float)r.lo, (float)r.hi) - r.lo);
    }
}

/* Low nibbles: elements 0-15, high: 16-31. */
static void join_nibbles(const uint8_t q[32], uint8_t qs[16])
{
    for (int j = 0; j < 16; j++) qs[j] = (uint8_t)((q[j] & 15) | (q[j + 16] & 15) << 4);
}

static void join_fifth_bits(const uint8_t q[32], uint8_t qh[4])
{
    uint32_t bits = 0;
    for (int j = 0; j < 32; j++) bits |= (uint32_t)(q[j] >> 4) << j;
    memcpy(qh, &bits, 4);
}

void sp_pack_q4_0(size_t n, const float *src, void *dst)
{
    sp_block_q4_0 *b = dst;
    float x[32];
    uint8_t q[32];
    for (size_t i = 0; i < n / 32; i++, b++) {
        sp_pack_load(32, src + 32 * i, x);
        float d = sp_pack_half(sp_fit_scale(32, x, -8, 7), b->d);
        choose_levels(x, d, 0, (level_range){-8, 7}, q);
        join_nibbles(q, b->qs);
    }
}

void sp_pack_q5_0(size_t n, const float *src, void *dst)
{
    sp_block_q5_0 *b = dst;
    float x[32];
    uint8_t q[32];
    for (size_t i = 0; i < n / 32; i++, b++) {
        sp_pack_load(32, src + 32 * i, x);
        float d = sp_pack_half(sp_fit_scale(32, x, -16, 15), b->d);
        choose_levels(x, d, 0, (level_range){-16, 15}, q);
        join_nibbles(q, b->qs);
        join_fifth_bits(q, b->qh);
    }
}

void sp_pack_q4_1(size_t n, const float *src, void *dst)
{
    sp_block_q4_1 *b = dst;
    float x[32];
    uint8_t q[32];
    for (size_t i = 0; i < n / 32; i++, b++) {
        sp_pack_load(32, src + 32 * i, x);
        sp_affine f = sp_fit_affine(32, x, 15, PACK_HUGE);
        float d = sp_pack_half(f.d, b->d), m = sp_pack_half(f.m, b->m);
        choose_levels(x, d, m, (level_range){0, 15}, q);
        join_nibbles(q, b->qs);
    }
}

void sp_pack_q5_1(size_t n, const float *src, void *dst)
{
    sp_block_q5_1 *b = dst;
    float x[32];
    uint8_t q[32];
    for (size_t i = 0; i < n / 32; i++, b++) {
        sp_pack_load(32, src + 32 * i, x);
        sp_affine f = sp_fit_affine(32, x, 31, PACK_HUGE);
        float d = sp_pack_half(f.d, b->d), m = sp_pack_half(f.m, b->m);
        choose_levels(x, d, m, (level_range){0, 31}, q);
        join_nibbles(q, b->qs);
        join_fifth_bits(q, b->qh);
    }
}

/* 255 levels are fine enough without a search. */
void sp_pack_q8_0(size_t n, const float *src, void *dst)
{
    sp_block_q8_0 *b = dst;
    float x[32];
    for (size_t i = 0; i < n / 32; i++, b++) {
        float amax = sp_pack_load(32, src + 32 * i, x);
        float inverse = pack_inverse(sp_pack_half(amax / 127.0f, b->d));
        for (int j = 0; j < 32; j++) b->qs[j] = (int8_t)pack_level(x[j] * inverse, -127, 127);
    }
}

void sp_pack_iq4_nl(size_t n, const float *src, void *dst)
{
    sp_block_iq4_nl *b = dst;
    float x[32];
    uint8_t q[32];
    for (size_t i = 0; i < n / 32; i++, b++) {
        sp_pack_load(32, src + 32 * i, x);
        float inverse = pack_inverse(sp_pack_half(sp_fit_scale_iq4(32, x), b->d));
        for (int j = 0; j < 32; j++) q[j] = (uint8_t)sp_iq4_nearest(x[j] * inverse);
        join_nibbles(q, b->qs);
    }
}
