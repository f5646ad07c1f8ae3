/* SPDX-License-Identifier: MIT */
/* Decoders of the legacy formats, the K-quants and the two IQ4 formats. Layouts: blocks.h, docs/formats.md.
 */
#include "tensor/decode.h"

const int8_t sp_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/* Nibbles of 16 bytes: the low ones are elements 0-15, the high ones 16-31. */
static void split_nibbles(const uint8_t qs[16], int8_t q[32])
{
    for (int j = 0; j < 16; j++) {
        q[j] = (int8_t)(qs[j] & 15);
        q[j + 16] = (int8_t)(qs[j] >> 4);
    }
}

void sp_decode_q4_0(const void *block, sp_dec32 *out)
{
    const sp_block_q4_0 *b = block;
    out->d = sp_load_f16(b->d);
    out->m = 0;
    split_nibbles(b->qs, out->q);
    for (int j = 0; j < 32; j++) out->q[j] = (int8_t)(out->q[j] - 8);
}

void sp_decode_q4_1(const void *block, sp_dec32 *out)
{
    const sp_block_q4_1 *b = block;
    out->d = sp_load_f16(b->d);
    out->m = sp_load_f16(b->m);
    split_nibbles(b->qs, out->q);
}

void sp_decode_q5_0(const void *block, sp_dec32 *out)
{
    const sp_block_q5_0 *b = block;
    uint32_t qh = sp_load_u32(b->qh);
    out->d = sp_load_f16(b->d);
    out->m = 0;
    split_nibbles(b->qs, out->q);
    for (int j = 0; j < 32; j++) out->q[j] = (int8_t)((out->q[j] | (int)((qh >> j) & 1u) << 4) - 16);
}

void sp_decode_q5_1(const void *block, sp_dec32 *out)
{
    const sp_block_q5_1 *b = block;
    uint32_t qh = sp_load_u32(b->qh);
    out->d = sp_load_f16(b->d);
    out->m = sp_load_f16(b->m);
    split_nibbles(b->qs, out->q);
    for (int j = 0; j < 32; j++) out->q[j] = (int8_t)(out->q[j] | (int)((qh >> j) & 1u) << 4);
}

void sp_decode_q8_0(const void *block, sp_dec32 *out)
{
    const sp_block_q8_0 *b = block;
    out->d = sp_load_f16(b->d);
    out->m = 0;
    memcpy(out->q, b->qs, 32);
}

void sp_decode_iq4_nl(const void *block, sp_dec32 *out)
{
    const sp_block_iq4_nl *b = block;
    out->d = sp_load_f16(b->d);
    out->m = 0;
    split_nibbles(b->qs, out->q);
    for (int j = 0; j < 32; j++) out->q[j] = sp_iq4_values[out->q[j]];
}

/* Two-bit fields of Q2_K and Q3_K: within a half of 128 elements, 32 bytes hold four groups of 32. */
static void split_pairs(const uint8_t qs[64], int8_t q[256])
{
    for (int i = 0; i < 256; i++) {
        int half = i / 128, group = i / 32 % 4, l = i % 32;
        q[i] = (int8_t)((qs[32 * half + l] >> (2 * group)) & 3);
    }
}

void sp_decode_q2_k(const void *block, sp_dec256 *out)
{
    const sp_block_q2_k *b = block;
    out->d = sp_load_f16(b->d);
    out->dmin = sp_load_f16(b->dmin);
    out->offset = 0;
    split_pairs(b->qs, out->q);
    for (int k = 0; k < 16; k++) {
        out->scale[k] = b->scales[k] & 15;
        out->min[k] = b->scales[k] >> 4;
    }
}

void sp_decode_q3_k(const void *block, sp_dec256 *out)
{
    const sp_block_q3_k *b = block;
    uint8_t scale[16];
    out->d = sp_load_f16(b->d);
    out->dmin = 0;
    out->offset = 4;
    split_pairs(b->qs, out->q);
    for (int i = 0; i < 256; i++) {
        out->q[i] = (int8_t)(out->q[i] | ((b->hmask[i % 32] >> (i / 32)) & 1) << 2);
    }
    sp_unpack_scales_q3_k(b->scales, scale);
    for (int k = 0; k < 16; k++) {
        out->scale[k] = (int16_t)(scale[k] - 32);
        out->min[k] = 0;
    }
}

/* 64 elements per 32 bytes: the low nibbles first, then the high ones. */
static void split_nibbles_k4(const uint8_t qs[128], int8_t q[256])
{
    for (int t = 0; t < 4; t++) {
        for (int l = 0; l < 32; l++) {
            q[64 * t + l] = (int8_t)(qs[32 * t + l] & 15);
            q[64 * t + 32 + l] = (int8_t)(qs[32 * t + l] >> 4);
        }
    }
}

static void spread_scales_k4(const uint8_t packed[12], sp_dec256 *out)
{
    uint8_t scale[8], min[8];
    sp_unpack_scales_k4(packed, scale, min);
    for (int k = 0; k < 16; k++) {
        out->scale[k] = scale[k / 2];
        out->min[k] = min[k / 2];
    }
}

void sp_decode_q4_k(const void *block, sp_dec256 *out)
{
    const sp_block_q4_k *b = block;
    out->d = sp_load_f16(b->d);
    out->dmin = sp_load_f16(b->dmin);
    out->offset = 0;
    split_nibbles_k4(b->qs, out->q);
    spread_scales_k4(b->scales, out);
}

void sp_decode_q5_k(const void *block, sp_dec256 *out)
{
    const sp_block_q5_k *b = block;
    out->d = sp_load_f16(b->d);
    out->dmin = sp_load_f16(b->dmin);
    out->offset = 0;
    split_nibbles_k4(b->qs, out->q);
    for (int i = 0; i < 256; i++) out->q[i] = (int8_t)(out->q[i] | ((b->qh[i % 32] >> (i / 32)) & 1) << 4);
    spread_scales_k4(b->scales, out);
}

void sp_decode_q6_k(const void *block, sp_dec256 *out)
{
    const sp_block_q6_k *b = block;
    out->d = sp_load_f16(b->d);
    out->dmin = 0;
    out->offset = 32;
    for (int i = 0; i < 256; i++) {
        int half = i / 128, group = i / 32 % 4, l = i % 32;
        int low = (b->ql[64 * half + 32 * (group % 2) + l] >> (4 * (group / 2))) & 15;
        int high = (b->qh[32 * half + l] >> (2 * group)) & 3;
        out->q[i] = (int8_t)(low | high << 4);
    }
    for (int k = 0; k < 16; k++) {
        out->scale[k] = b->scales[k];
        out->min[k] = 0;
    }
}

void sp_decode_iq4_xs(const void *block, sp_dec256 *out)
{
    const sp_block_iq4_xs *b = block;
    uint32_t high = sp_load_u16(b->scales_h);
    out->d = sp_load_f16(b->d);
    out->dmin = 0;
    out->offset = 0;
    for (int k = 0; k < 8; k++) {
        int scale = ((b->scales_l[k / 2] >> (4 * (k % 2))) & 15) | (int)((high >> (2 * k)) & 3u) << 4;
        split_nibbles(b->qs + 16 * k, out->q + 32 * k);
        out->scale[2 * k] = out->scale[2 * k + 1] = (int16_t)(scale - 32);
        out->min[2 * k] = out->min[2 * k + 1] = 0;
    }
    for (int i = 0; i < 256; i++) out->q[i] = sp_iq4_values[out->q[i]];
}
