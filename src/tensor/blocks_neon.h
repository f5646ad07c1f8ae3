/* SPDX-License-Identifier: MIT */
/* Weights of the quantised formats as signed bytes, 32 at a time, in registers: all that the arm64 kernels know
 * of a format. Formats of 32: load_<type>. Formats of 256: open_<type> reads a block's scales, chunk_<type> its
 * c-th 32 weights, less their offset. The codebook formats are decoded by the common decoder when opened. */
#ifndef SP_TENSOR_BLOCKS_NEON_H
#define SP_TENSOR_BLOCKS_NEON_H

#if defined(__aarch64__)

#include "tensor/decode.h"
#include "tensor/neon.h"

/* Elements 0-15 and 16-31. */
typedef struct bytes_32 {
    int8x16_t a, b;
} bytes_32;

/* What a block of 256 has beside its weights. Formats whose scales (and mins) span 32 elements fill the first
 * eight of scale and dec.min. dec.d and dec.dmin are always set, dec.q by the common decoder alone. */
typedef struct head_256 {
    sp_dec256 dec;
    int32_t scale[16];
} head_256;

static inline bytes_32 subtract(bytes_32 q, int8_t offset)
{
    return (bytes_32){vsubq_s8(q.a, vdupq_n_s8(offset)), vsubq_s8(q.b, vdupq_n_s8(offset))};
}

static inline bytes_32 split_nibbles(const uint8_t qs[16])
{
    uint8x16_t v = vld1q_u8(qs);
    return (bytes_32){vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15))),
                      vreinterpretq_s8_u8(vshrq_n_u8(v, 4))};
}

/* --- blocks of 32 --- */

static inline bytes_32 load_q8_0(const void *block)
{
    const sp_block_q8_0 *b = block;
    return (bytes_32){vld1q_s8(b->qs), vld1q_s8(b->qs + 16)};
}

static inline bytes_32 load_q4_0(const void *block)
{
    const sp_block_q4_0 *b = block;
    return subtract(split_nibbles(b->qs), 8);
}

static inline bytes_32 load_q4_1(const void *block)
{
    const sp_block_q4_1 *b = block;
    return split_nibbles(b->qs);
}

/* Sixteen bits (bytes p[0], p[1]) to `value` where set. */
static inline int8x16_t spread_bits(const uint8_t p[2], int8_t value)
{
    static const uint8_t bits[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t v = vcombine_u8(vdup_n_u8(p[0]), vdup_n_u8(p[1]));
    return vandq_s8(vreinterpretq_s8_u8(vtstq_u8(v, vld1q_u8(bits))), vdupq_n_s8(value));
}

static inline bytes_32 join_fifth_bits(bytes_32 q, const uint8_t qh[4])
{
    return (bytes_32){vorrq_s8(q.a, spread_bits(qh, 16)), vorrq_s8(q.b, spread_bits(qh + 2, 16))};
}

static inline bytes_32 load_q5_0(const void *block)
{
    const sp_block_q5_0 *b = block;
    return subtract(join_fifth_bits(split_nibbles(b->qs), b->qh), 16);
}

static inline bytes_32 load_q5_1(const void *block)
{
    const sp_block_q5_1 *b = block;
    return join_fifth_bits(split_nibbles(b->qs), b->qh);
}

static inline bytes_32 look_up_iq4(const uint8_t qs[16])
{
    int8x16_t values = vld1q_s8(sp_iq4_values);
    bytes_32 q = split_nibbles(qs);
    return (bytes_32){vqtbl1q_s8(values, vreinterpretq_u8_s8(q.a)),
                      vqtbl1q_s8(values, vreinterpretq_u8_s8(q.b))};
}

static inline bytes_32 load_iq4_nl(const void *block)
{
    const sp_block_iq4_nl *b = block;
    return look_up_iq4(b->qs);
}

/* --- blocks of 256 --- */

static inline void store_scales_8(int16x8_t v, int32_t *scale)
{
    vst1q_s32(scale, vmovl_s16(vget_low_s16(v)));
    vst1q_s32(scale + 4, vmovl_high_s16(v));
}

static inline void store_scales_16(int8x16_t v, int32_t *scale)
{
    store_scales_8(vmovl_s8(vget_low_s8(v)), scale);
    store_scales_8(vmovl_high_s8(v), scale + 8);
}

/* v >> shift for a shift that is a constant once the loops over chunks are unrolled. */
ALWAYS_INLINE uint8x16_t shift_right(uint8x16_t v, int shift)
{
    switch (shift) {
    case -4: return vshlq_n_u8(v, 4);
    case -3: return vshlq_n_u8(v, 3);
    case -2: return vshlq_n_u8(v, 2);
    case -1: return vshlq_n_u8(v, 1);
    case 1: return vshrq_n_u8(v, 1);
    case 2: return vshrq_n_u8(v, 2);
    case 3: return vshrq_n_u8(v, 3);
    case 4: return vshrq_n_u8(v, 4);
    case 5: return vshrq_n_u8(v, 5);
    case 6: return vshrq_n_u8(v, 6);
    default: return v;
    }
}

ALWAYS_INLINE uint8x16_t take_bits(uint8x16_t v, int shift, uint8_t mask)
{
    uint8x16_t moved = shift_right(v, shift);
    return shift > 0 && (0xff >> shift) == mask ? moved : vandq_u8(moved, vdupq_n_u8(mask));
}

ALWAYS_INLINE int8x16_t join(uint8x16_t low, uint8x16_t high)
{
    return vreinterpretq_s8_u8(vorrq_u8(low, high));
}

static inline void open_k4(const uint8_t d[2], const uint8_t dmin[2], const uint8_t scales[12], head_256 *h)
{
    uint8_t scale[8], min[8];
    h->dec.d = load_half(d);
    h->dec.dmin = load_half(dmin);
    sp_unpack_scales_k4(scales, scale, min);
    store_scales_8(vreinterpretq_s16_u16(vmovl_u8(vld1_u8(scale))), h->scale);
    vst1q_s16(h->dec.min, vreinterpretq_s16_u16(vmovl_u8(vld1_u8(min))));
}

static inline void open_q4_k(const void *block, head_256 *h)
{
    const sp_block_q4_k *b = block;
    open_k4(b->d, b->dmin, b->scales, h);
}

ALWAYS_INLINE uint8x16_t take_nibbles(const uint8_t *qs, int c)
{
    return take_bits(vld1q_u8(qs + 32 * (c / 2)), 4 * (c % 2), 15);
}

ALWAYS_INLINE bytes_32 chunk_q4_k(const void *block, const head_256 *h, int c)
{
    const sp_block_q4_k *b = block;
    (void)h;
    return (bytes_32){vreinterpretq_s8_u8(take_nibbles(b->qs, c)),
                      vreinterpretq_s8_u8(take_nibbles(b->qs + 16, c))};
}

static inline void open_q5_k(const void *block, head_256 *h)
{
    const sp_block_q5_k *b = block;
    open_k4(b->d, b->dmin, b->scales, h);
}

ALWAYS_INLINE bytes_32 chunk_q5_k(const void *block, const head_256 *h, int c)
{
    const sp_block_q5_k *b = block;
    uint8x16_t high0 = vld1q_u8(b->qh), high1 = vld1q_u8(b->qh + 16), bit = vdupq_n_u8(16);
    (void)h;
    return (bytes_32){join(take_nibbles(b->qs, c), vandq_u8(shift_right(high0, c - 4), bit)),
                      join(take_nibbles(b->qs + 16, c), vandq_u8(shift_right(high1, c - 4), bit))};
}

static inline void open_q6_k(const void *block, head_256 *h)
{
    const sp_block_q6_k *b = block;
    h->dec.d = load_half(b->d);
    h->dec.dmin = 0;
    store_scales_16(vld1q_s8(b->scales), h->scale);
}

ALWAYS_INLINE bytes_32 chunk_q6_k(const void *block, const head_256 *h, int c)
{
    const sp_block_q6_k *b = block;
    const uint8_t *ql = b->ql + 64 * (c / 4) + 32 * (c % 2), *qh = b->qh + 32 * (c / 4);
    int low = 4 * (c % 4 / 2), high = 2 * (c % 4) - 4;
    uint8x16_t high0 = vld1q_u8(qh), high1 = vld1q_u8(qh + 16), bits = vdupq_n_u8(48);
    (void)h;
    bytes_32 q = {join(take_bits(vld1q_u8(ql), low, 15), vandq_u8(shift_right(high0, high), bits)),
                  join(take_bits(vld1q_u8(ql + 16), low, 15), vandq_u8(shift_right(high1, high), bits))};
    return subtract(q, 32);
}

static inline void open_q2_k(const void *block, head_256 *h)
{
    const sp_block_q2_k *b = block;
    uint8x16_t v = vld1q_u8(b->scales), min = vshrq_n_u8(v, 4);
    h->dec.d = load_half(b->d);
    h->dec.dmin = load_half(b->dmin);
    store_scales_16(vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15))), h->scale);
    vst1q_s16(h->dec.min, vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(min))));
    vst1q_s16(h->dec.min + 8, vreinterpretq_s16_u16(vmovl_high_u8(min)));
}

ALWAYS_INLINE uint8x16_t take_pairs(const uint8_t *qs, int c)
{
    return take_bits(vld1q_u8(qs + 32 * (c / 4)), 2 * (c % 4), 3);
}

ALWAYS_INLINE bytes_32 chunk_q2_k(const void *block, const head_256 *h, int c)
{
    const sp_block_q2_k *b = block;
    (void)h;
    return (bytes_32){vreinterpretq_s8_u8(take_pairs(b->qs, c)),
                      vreinterpretq_s8_u8(take_pairs(b->qs + 16, c))};
}

static inline void open_q3_k(const void *block, head_256 *h)
{
    const sp_block_q3_k *b = block;
    uint8_t packed[16];
    h->dec.d = load_half(b->d);
    h->dec.dmin = 0;
    sp_unpack_scales_q3_k(b->scales, packed);
    store_scales_16(vsubq_s8(vreinterpretq_s8_u8(vld1q_u8(packed)), vdupq_n_s8(32)), h->scale);
}

ALWAYS_INLINE bytes_32 chunk_q3_k(const void *block, const head_256 *h, int c)
{
    const sp_block_q3_k *b = block;
    uint8x16_t high0 = vld1q_u8(b->hmask), high1 = vld1q_u8(b->hmask + 16), bit = vdupq_n_u8(4);
    (void)h;
    bytes_32 q = {join(take_pairs(b->qs, c), vandq_u8(shift_right(high0, c - 2), bit)),
                  join(take_pairs(b->qs + 16, c), vandq_u8(shift_right(high1, c - 2), bit))};
    return subtract(q, 4);
}

/* Six-bit scales less 32: four low bits in scales_l, two high ones in scales_h. */
static inline void open_iq4_xs(const void *block, head_256 *h)
{
    static const int16_t places[8] = {0, -2, -4, -6, -8, -10, -12, -14};
    const sp_block_iq4_xs *b = block;
    uint8x8_t l = vreinterpret_u8_u32(vdup_n_u32(sp_load_u32(b->scales_l)));
    uint16x8_t low = vmovl_u8(vzip1_u8(vand_u8(l, vdup_n_u8(15)), vshr_n_u8(l, 4)));
    uint16x8_t high = vshlq_u16(vdupq_n_u16(sp_load_u16(b->scales_h)), vld1q_s16(places));
    uint16x8_t all = vorrq_u16(low, vshlq_n_u16(vandq_u16(high, vdupq_n_u16(3)), 4));
    h->dec.d = load_half(b->d);
    h->dec.dmin = 0;
    store_scales_8(vsubq_s16(vreinterpretq_s16_u16(all), vdupq_n_s16(32)), h->scale);
}

static inline bytes_32 chunk_iq4_xs(const void *block, const head_256 *h, int c)
{
    const sp_block_iq4_xs *b = block;
    (void)h;
    return look_up_iq4(b->qs + 16 * c);
}

/* --- codebook formats --- */

static inline bytes_32 chunk_decoded(const void *block, const head_256 *h, int c)
{
    (void)block;
    return (bytes_32){vld1q_s8(h->dec.q + 32 * c), vld1q_s8(h->dec.q + 32 * c + 16)};
}

/* A scale for each 16 elements, or for each 32. */
#define OPEN_16(type)                                                                                        \
    static inline void open_##type(const void *block, head_256 *h)                                           \
    {                                                                                                        \
        sp_decode_##type(block, &h->dec);                                                                    \
        store_scales_8(vld1q_s16(h->dec.scale), h->scale);                                                   \
        store_scales_8(vld1q_s16(h->dec.scale + 8), h->scale + 8);                                           \
    }

#define OPEN_32(type)                                                                                        \
    static inline void open_##type(const void *block, head_256 *h)                                           \
    {                                                                                                        \
        sp_decode_##type(block, &h->dec);                                                                    \
        store_scales_8(vuzp1q_s16(vld1q_s16(h->dec.scale), vld1q_s16(h->dec.scale + 8)), h->scale);          \
    }

OPEN_32(iq1_s)
OPEN_16(iq1_m)
OPEN_32(iq2_xxs)
OPEN_16(iq2_xs)
OPEN_16(iq2_s)
OPEN_32(iq3_xxs)
OPEN_32(iq3_s)

#endif
#endif
