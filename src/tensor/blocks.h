/* SPDX-License-Identifier: MIT */
/* Block layouts of the quantised formats, byte for byte as in GGUF files (reference: ggml-common.h of
 * llama.cpp, MIT; described in docs/formats.md). All members are bytes, so a block may stand at any address
 * and has no padding. 16- and 32-bit fields are little-endian, as are the machines we build for. */
#ifndef SP_TENSOR_BLOCKS_H
#define SP_TENSOR_BLOCKS_H

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "tensor/dtype.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "little-endian machines only"
#endif

/* Blocks of 32. d, m: f16. */
typedef struct sp_block_q4_0 {
    uint8_t d[2], qs[16];
} sp_block_q4_0;

typedef struct sp_block_q4_1 {
    uint8_t d[2], m[2], qs[16];
} sp_block_q4_1;

typedef struct sp_block_q5_0 {
    uint8_t d[2], qh[4], qs[16];
} sp_block_q5_0;

typedef struct sp_block_q5_1 {
    uint8_t d[2], m[2], qh[4], qs[16];
} sp_block_q5_1;

typedef struct sp_block_q8_0 {
    uint8_t d[2];
    int8_t qs[32];
} sp_block_q8_0;

typedef struct sp_block_iq4_nl {
    uint8_t d[2], qs[16];
} sp_block_iq4_nl;

/* Blocks of 256. d, dmin: f16. */
typedef struct sp_block_q2_k {
    uint8_t scales[16], qs[64], d[2], dmin[2];
} sp_block_q2_k;

typedef struct sp_block_q3_k {
    uint8_t hmask[32], qs[64], scales[12], d[2];
} sp_block_q3_k;

typedef struct sp_block_q4_k {
    uint8_t d[2], dmin[2], scales[12], qs[128];
} sp_block_q4_k;

typedef struct sp_block_q5_k {
    uint8_t d[2], dmin[2], scales[12], qh[32], qs[128];
} sp_block_q5_k;

typedef struct sp_block_q6_k {
    uint8_t ql[128], qh[64];
    int8_t scales[16];
    uint8_t d[2];
} sp_block_q6_k;

typedef struct sp_block_iq4_xs {
    uint8_t d[2], scales_h[2], scales_l[4], qs[128];
} sp_block_iq4_xs;

typedef struct sp_block_iq1_s {
    uint8_t d[2], qs[32], qh[16]; /* qh: u16[8] */
} sp_block_iq1_s;

typedef struct sp_block_iq1_m {
    uint8_t qs[32], qh[16], scales[8]; /* scales: u16[4]; their top nibbles are d */
} sp_block_iq1_m;

typedef struct sp_block_iq2_xxs {
    uint8_t d[2], qs[64]; /* u32[8][2] */
} sp_block_iq2_xxs;

typedef struct sp_block_iq2_xs {
    uint8_t d[2], qs[64], scales[8]; /* qs: u16[32] */
} sp_block_iq2_xs;

typedef struct sp_block_iq2_s {
    uint8_t d[2], qs[32], signs[32], qh[8], scales[8];
} sp_block_iq2_s;

typedef struct sp_block_iq3_xxs {
    uint8_t d[2], qs[64], signs[32]; /* signs: u32[8], the scale in the top four bits */
} sp_block_iq3_xxs;

typedef struct sp_block_iq3_s {
    uint8_t d[2], qs[64], qh[8], signs[32], scales[4];
} sp_block_iq3_s;

static_assert(sizeof(sp_block_q4_0) == 18 && sizeof(sp_block_q5_1) == 24 && sizeof(sp_block_q8_0) == 34,
              "layout");
static_assert(sizeof(sp_block_q2_k) == 84 && sizeof(sp_block_q3_k) == 110 && sizeof(sp_block_q4_k) == 144,
              "layout");
static_assert(sizeof(sp_block_q5_k) == 176 && sizeof(sp_block_q6_k) == 210, "layout");
static_assert(sizeof(sp_block_iq4_xs) == 136 && sizeof(sp_block_iq1_s) == 50, "layout");
static_assert(sizeof(sp_block_iq1_m) == 56 && sizeof(sp_block_iq2_xxs) == 66, "layout");
static_assert(sizeof(sp_block_iq2_xs) == 74 && sizeof(sp_block_iq2_s) == 82, "layout");
static_assert(sizeof(sp_block_iq3_xxs) == 98 && sizeof(sp_block_iq3_s) == 110, "layout");
static_assert(sizeof(sp_act_q8) == 40 && sizeof(sp_act_q8k) == 292, "layout");

static inline uint16_t sp_load_u16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t sp_load_u32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void sp_store_u16(void *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}

static inline float sp_load_f16(const void *p)
{
    return sp_f16_to_f32(sp_load_u16(p));
}

/* The eight 6-bit scales and eight 6-bit mins of Q4_K and Q5_K, one per byte: bytes 0-3 are scales 0-3 and
 * bytes 4-7 mins 0-3 in their low six bits; their top two bits extend the nibbles of bytes 8-11, which hold
 * scales 4-7 (low) and mins 4-7 (high). */
static inline void sp_unpack_scales_k4(const uint8_t s[12], uint8_t scale[8], uint8_t min[8])
{
    uint32_t a = sp_load_u32(s), b = sp_load_u32(s + 4), c = sp_load_u32(s + 8);
    uint32_t sc[2] = {a & 0x3f3f3f3fu, (c & 0x0f0f0f0fu) | ((a >> 2) & 0x30303030u)};
    uint32_t mn[2] = {b & 0x3f3f3f3fu, ((c >> 4) & 0x0f0f0f0fu) | ((b >> 2) & 0x30303030u)};
    memcpy(scale, sc, 8);
    memcpy(min, mn, 8);
}

/* The sixteen 6-bit scales of Q3_K, one per byte, still with their offset of 32. */
static inline void sp_unpack_scales_q3_k(const uint8_t s[12], uint8_t scale[16])
{
    uint32_t a = sp_load_u32(s), b = sp_load_u32(s + 4), h = sp_load_u32(s + 8);
    uint32_t sc[4] = {
        (a & 0x0f0f0f0fu) | ((h << 4) & 0x30303030u),
        (b & 0x0f0f0f0fu) | ((h << 2) & 0x30303030u),
        ((a >> 4) & 0x0f0f0f0fu) | (h & 0x30303030u),
        ((b >> 4) & 0x0f0f0f0fu) | ((h >> 2) & 0x30303030u),
    };
    memcpy(scale, sc, 16);
}

#endif
