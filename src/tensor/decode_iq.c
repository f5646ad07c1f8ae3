/* SPDX-License-Identifier: MIT */
/* Decoders of the codebook formats IQ1, IQ2 and IQ3: groups of eight (IQ3: four) elements are indices into a
 * grid, with signs and scales beside them. Their fractional scales and the +-1/8 of IQ1 become integers by a
 * power of two taken into d, which is exact. Facts: ggml-common.h and gguf/quants.py of llama.cpp (MIT). */
#include "tensor/decode.h"

static void init_iq(sp_dec256 *out, float d)
{
    out->d = d;
    out->dmin = 0;
    out->offset = 0;
    memset(out->min, 0, sizeof out->min);
}

/* q = grid bytes, negated where the sign bit is set. */
static void apply_signs(const void *grid, uint8_t signs, int n, int8_t *q)
{
    const uint8_t *g = grid;
    for (int i = 0; i < n; i++) q[i] = (int8_t)((signs >> i) & 1 ? -g[i] : g[i]);
}

/* value = d (0.5 + s) / 4 * grid = (d / 8) (2 s + 1) * grid, for all IQ2 formats. */
void sp_decode_iq2_xxs(const void *block, sp_dec256 *out)
{
    const sp_block_iq2_xxs *b = block;
    init_iq(out, sp_load_f16(b->d) * 0.125f);
    for (int k = 0; k < 8; k++) {
        uint32_t word = sp_load_u32(b->qs + 8 * k + 4);
        out->scale[2 * k] = out->scale[2 * k + 1] = (int16_t)(2 * (word >> 28) + 1);
        for (int l = 0; l < 4; l++) {
            uint8_t signs = sp_iq_signs((word >> (7 * l)) & 127u);
            apply_signs(&sp_iq2xxs_grid[b->qs[8 * k + l]], signs, 8, out->q + 32 * k + 8 * l);
        }
    }
}

static void spread_nibble_scales(const uint8_t scales[8], int16_t scale[16])
{
    for (int k = 0; k < 8; k++) {
        scale[2 * k] = (int16_t)(2 * (scales[k] & 15) + 1);
        scale[2 * k + 1] = (int16_t)(2 * (scales[k] >> 4) + 1);
    }
}

void sp_decode_iq2_xs(const void *block, sp_dec256 *out)
{
    const sp_block_iq2_xs *b = block;
    init_iq(out, sp_load_f16(b->d) * 0.125f);
    spread_nibble_scales(b->scales, out->scale);
    for (int g = 0; g < 32; g++) {
        uint32_t word = sp_load_u16(b->qs + 2 * g);
        apply_signs(&sp_iq2xs_grid[word & 511u], sp_iq_signs(word >> 9), 8, out->q + 8 * g);
    }
}

void sp_decode_iq2_s(const void *block, sp_dec256 *out)
{
    const sp_block_iq2_s *b = block;
    init_iq(out, sp_load_f16(b->d) * 0.125f);
    spread_nibble_scales(b->scales, out->scale);
    for (int g = 0; g < 32; g++) {
        int index = b->qs[g] | ((b->qh[g / 4] >> (2 * (g % 4))) & 3) << 8;
        apply_signs(&sp_iq2s_grid[index], b->signs[g], 8, out->q + 8 * g);
    }
}

/* value = d (0.5 + s) / 2 * grid = (d / 4) (2 s + 1) * grid. */
void sp_decode_iq3_xxs(const void *block, sp_dec256 *out)
{
    const sp_block_iq3_xxs *b = block;
    init_iq(out, sp_load_f16(b->d) * 0.25f);
    for (int k = 0; k < 8; k++) {
        uint32_t word = sp_load_u32(b->signs + 4 * k);
        out->scale[2 * k] = out->scale[2 * k + 1] = (int16_t)(2 * (word >> 28) + 1);
        for (int l = 0; l < 4; l++) {
            uint8_t signs = sp_iq_signs((word >> (7 * l)) & 127u);
            int8_t *q = out->q + 32 * k + 8 * l;
            apply_signs(&sp_iq3xxs_grid[b->qs[8 * k + 2 * l]], signs, 4, q);
            apply_signs(&sp_iq3xxs_grid[b->qs[8 * k + 2 * l + 1]], signs >> 4, 4, q + 4);
        }
    }
}

void sp_decode_iq3_s(const void *block, sp_dec256 *out)
{
    const sp_block_iq3_s *b = block;
    init_iq(out, sp_load_f16(b->d));
    for (int k = 0; k < 8; k++) {
        int s = (b->scales[k / 2] >> (4 * (k % 2))) & 15;
        out->scale[2 * k] = out->scale[2 * k + 1] = (int16_t)(2 * s + 1);
    }
    for (int g = 0; g < 64; g++) {
        int index = b->qs[g] | ((b->qh[g / 8] >> (g % 8)) & 1) << 8;
        apply_signs(&sp_iq3s_grid[index], (uint8_t)(b->signs[g / 2] >> (4 * (g % 2))), 4, out->q + 4 * g);
    }
}

/* value = d (2 s + 1) (grid +- 1/8) = (d / 8) (2 s + 1) (8 grid +- 1). */
static void add_delta(uint64_t grid, int delta, int8_t q[8])
{
    int8_t g[8];
    memcpy(g, &grid, 8);
    for (int i = 0; i < 8; i++) q[i] = (int8_t)(8 * g[i] + delta);
}

void sp_decode_iq1_s(const void *block, sp_dec256 *out)
{
    const sp_block_iq1_s *b = block;
    init_iq(out, sp_load_f16(b->d) * 0.125f);
    for (int k = 0; k < 8; k++) {
        uint32_t qh = sp_load_u16(b->qh + 2 * k);
        out->scale[2 * k] = out->scale[2 * k + 1] = (int16_t)(2 * ((qh >> 12) & 7u) + 1);
        for (int l = 0; l < 4; l++) {
            uint32_t index = b->qs[4 * k + l] | ((qh >> (3 * l)) & 7u) << 8;
            add_delta(sp_iq1_grid[index], qh & 0x8000u ? -1 : 1, out->q + 32 * k + 8 * l);
        }
    }
}

void sp_decode_iq1_m(const void *block, sp_dec256 *out)
{
    const sp_block_iq1_m *b = block;
    uint32_t d = 0;
    for (int w = 0; w < 4; w++) {
        uint32_t word = sp_load_u16(b->scales + 2 * w);
        d |= (word >> 12) << (4 * w);
        for (int k = 0; k < 4; k++) out->scale[4 * w + k] = (int16_t)(2 * ((word >> (3 * k)) & 7u) + 1);
    }
    init_iq(out, sp_f16_to_f32((uint16_t)d) * 0.125f);
    for (int g = 0; g < 32; g++) {
        uint32_t high = (uint32_t)(b->qh[g / 2] >> (4 * (g % 2)));
        uint32_t index = b->qs[g] | (high & 7u) << 8;
        add_delta(sp_iq1_grid[index], high & 8u ? -1 : 1, out->q + 8 * g);
    }
}
