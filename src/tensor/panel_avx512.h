/* SPDX-License-Identifier: MIT */
/* Panels: how the AVX-512 rows of the kernel table multiply quantised weights. Sixteen weight rows stand in the
 * sixteen lanes of a register. Their packed bytes are moved into lanes first (load_rows) and taken apart there, so
 * that the fields of sixteen rows come out in one instruction. What comes out is a run: sixteen consecutive
 * elements in four registers, four elements of every row in each.
 *
 * For few activation rows runs are multiplied as they come (few_avx512.h). For many, the runs of 256 elements of
 * 64 rows make panels that every activation row multiplies (panel_avx512.c). A format brings only how its runs and
 * scales are unpacked (unpack_avx512.c, unpack_iq_avx512.c).
 *
 * Included only by files compiled for AVX-512 F, BW, VL, DQ, VBMI and VNNI (Intel from Ice Lake, AMD from Zen 4). */
#ifndef SP_TENSOR_PANEL_AVX512_H
#define SP_TENSOR_PANEL_AVX512_H

#if defined(__AVX512VNNI__)

#include <immintrin.h>

#include "tensor/blocks.h"
#include "tensor/kernels.h"

#define INLINE static inline __attribute__((always_inline))

/* Scales of a block of 256 of sixteen rows; lane r is row r. The block's integer is the sum over groups of scale *
 * (q . x), q being unsigned; where the format has an offset, `pairs` . sums belongs to it; where it has mins,
 * `pairs` . sums is what dmin multiplies. */
typedef struct sp_scales256 {
    __m512i scale[16]; /* int32, per group of 16 or 32 */
    __m512i pairs[8];  /* factors of the activation's sums 2k and 2k+1, as two words */
    __m512 d, dmin;
} sp_scales256;

typedef struct sp_panel256 {
    __m512i q[64]; /* unsigned bytes: elements 4k..4k+3 */
    sp_scales256 s;
} sp_panel256;

/* Up to eight blocks of 32. Here q is signed, and x + 128 stands for x: `start` is -128 times the sum of q. */
typedef struct sp_panel32 {
    __m512i q[64];
    __m512i start[8];
    __m512 d[8], m[8];
} sp_panel32;

typedef union sp_panel {
    sp_panel256 k;
    sp_panel32 b;
} sp_panel;

enum {
    SP_PANELS = 4, /* of a tile */
    SP_PANEL_ROWS = 16 * SP_PANELS,
    SP_TILE_ROWS = 3,   /* activation rows that meet them at once */
    SP_FEW = 8,         /* most activation rows that are multiplied without panels */
    SP_FEW_TILE = 4,    /* of them at once */
    SP_MAX_SPAN = 272,  /* bytes of 256 elements in the widest format, Q8_0 */
    SP_MAX_PANEL = 8832 /* bytes of the widest panel, two bytes an element (matmul_amx.c) */
};

typedef float sp_sum_row[SP_PANEL_ROWS];

/* SP_PANELS panels (sp_panel, or what `fold` made of them) times n_x activation rows `stride` bytes apart, added to y;
 * n_blocks: of 32. */
typedef void (*sp_tiles_fn)(const void *panels, const char *x, size_t stride, int64_t n_x, int n_blocks,
                            sp_sum_row *y);

void sp_tiles_16_offset_avx512(const void *panels, const char *x, size_t stride, int64_t n_x, int n_blocks,
                               sp_sum_row *y);
void sp_tiles_16_min_avx512(const void *panels, const char *x, size_t stride, int64_t n_x, int n_blocks,
                            sp_sum_row *y);
void sp_tiles_32_offset_avx512(const void *panels, const char *x, size_t stride, int64_t n_x, int n_blocks,
                               sp_sum_row *y);
void sp_tiles_32_min_avx512(const void *panels, const char *x, size_t stride, int64_t n_x, int n_blocks,
                            sp_sum_row *y);
void sp_tiles_b32_avx512(const void *panels, const char *x, size_t stride, int64_t n_x, int n_blocks,
                         sp_sum_row *y);
void sp_tiles_b32_min_avx512(const void *panels, const char *x, size_t stride, int64_t n_x, int n_blocks,
                             sp_sum_row *y);

typedef struct sp_panel_format {
    int block; /* elements: 32 or 256 */
    size_t block_bytes;
    void (*unpack)(const uint8_t *w, size_t stride, int n_blocks,
                   sp_panel *p); /* 256 elements of sixteen rows */
    sp_tiles_fn tiles;
    int64_t tile_rows;                            /* activation rows that `tiles` takes at once */
    void (*fold)(const sp_panel *p, void *panel); /* NULL: `tiles` takes what was unpacked */
    size_t panel_bytes;                           /* of what it takes, a multiple of 64 */
} sp_panel_format;

/* A matmul through panels. */
void sp_matmul_panels_avx512(const sp_matmul *m, const sp_panel_format *f);

/* Matmuls of a single activation row (one_*_avx512.c). */
void sp_matmul_one_q4_1_avx512(const sp_matmul *m);
void sp_matmul_one_q5_0_avx512(const sp_matmul *m);
void sp_matmul_one_q5_1_avx512(const sp_matmul *m);
void sp_matmul_one_iq4_nl_avx512(const sp_matmul *m);
void sp_matmul_one_iq4_xs_avx512(const sp_matmul *m);
void sp_matmul_one_q8_0_avx512(const sp_matmul *m);
void sp_matmul_one_q2_k_avx512(const sp_matmul *m);
void sp_matmul_one_q3_k_avx512(const sp_matmul *m);
void sp_matmul_one_q6_k_avx512(const sp_matmul *m);

/* Of up to SP_FEW activation rows (one_iq_avx512.c), once the codebooks are packed. */
void sp_pack_codebooks_avx512(void);
void sp_matmul_few_iq1_s_avx512(const sp_matmul *m);
void sp_matmul_few_iq1_m_avx512(const sp_matmul *m);
void sp_matmul_few_iq2_xxs_avx512(const sp_matmul *m);
void sp_matmul_few_iq2_xs_avx512(const sp_matmul *m);
void sp_matmul_few_iq2_s_avx512(const sp_matmul *m);
void sp_matmul_few_iq3_xxs_avx512(const sp_matmul *m);
void sp_matmul_few_iq3_s_avx512(const sp_matmul *m);

/* The n bytes at w of each of sixteen rows, of which n_rows exist; the others repeat the last. */
INLINE void copy_rows(const uint8_t *w, size_t stride, int64_t n_rows, size_t n,
                      uint8_t copy[16][SP_MAX_SPAN])
{
    for (int64_t r = 0; r < 16; r++) memcpy(copy[r], w + (size_t)(r < n_rows ? r : n_rows - 1) * stride, n);
}

/* Four registers, each with four bytes of one row after the other in every 128-bit part, to registers each with the
 * same four bytes of four rows in every part. */
INLINE void turn_parts(const __m512i z[4], __m512i v[4])
{
    __m512i a = _mm512_unpacklo_epi32(z[0], z[1]), b = _mm512_unpackhi_epi32(z[0], z[1]);
    __m512i c = _mm512_unpacklo_epi32(z[2], z[3]), d = _mm512_unpackhi_epi32(z[2], z[3]);
    v[0] = _mm512_unpacklo_epi64(a, c);
    v[1] = _mm512_unpackhi_epi64(a, c);
    v[2] = _mm512_unpacklo_epi64(b, d);
    v[3] = _mm512_unpackhi_epi64(b, d);
}

/* Sixteen bytes into part i of v: a masked broadcast, not an insert, with which decoding was up to a tenth slower. */
INLINE __m512i insert_16(__m512i v, const uint8_t *p, int i)
{
    return _mm512_mask_broadcast_i32x4(v, (__mmask16)(15 << 4 * i), _mm_loadu_si128((const __m128i *)p));
}

/* Sixteen bytes of each of sixteen rows: v[k] holds bytes 4k..4k+3 of row r in lane r. */
INLINE void load_rows(const uint8_t *p, size_t stride, __m512i v[4])
{
    __m512i z[4];
    for (int j = 0; j < 4; j++) {
        const uint8_t *row = p + (size_t)j * stride;
        z[j] = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)row));
        z[j] = insert_16(z[j], row + 4 * stride, 1);
        z[j] = insert_16(z[j], row + 8 * stride, 2);
        z[j] = insert_16(z[j], row + 12 * stride, 3);
    }
    turn_parts(z, v);
}

/* Thirty-two bytes of each of sixteen rows: half the loads a byte, which are what there is least of. */
INLINE void load_rows_32(const uint8_t *p, size_t stride, __m512i v[8])
{
    __m512i z[4], half[2][4];
    for (int i = 0; i < 2; i++, p += 8 * stride) {
        for (int j = 0; j < 4; j++) {
            const __m256i *row = (const __m256i *)(p + (size_t)j * stride);
            const __m256i *other = (const __m256i *)(p + (size_t)(j + 4) * stride);
            z[j] = _mm512_castsi256_si512(_mm256_loadu_si256(row));
            z[j] = _mm512_mask_broadcast_i64x4(z[j], 0xf0, _mm256_loadu_si256(other));
        }
        turn_parts(z, half[i]); /* parts: bytes 4k of four rows, 16 + 4k of the same, both of the next four */
    }
    for (int k = 0; k < 4; k++) {
        v[k] = _mm512_shuffle_i32x4(half[0][k], half[1][k], 0x88);
        v[k + 4] = _mm512_shuffle_i32x4(half[0][k], half[1][k], 0xdd);
    }
}

/* Four bytes of an activation row in every lane. */
INLINE __m512i broadcast_4(const void *p)
{
    return _mm512_set1_epi32((int)sp_load_u32(p));
}

/* The half-precision number in the low (high) word of every lane. */
INLINE __m512 low_half(__m512i v)
{
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v));
}

INLINE __m512 high_half(__m512i v)
{
    return low_half(_mm512_srli_epi32(v, 16));
}

/* Bytes masked, after a shift of each lane to the right. */
INLINE __m512i field(__m512i v, int shift, int mask)
{
    return _mm512_and_si512(_mm512_srli_epi32(v, (unsigned)shift), _mm512_set1_epi8((char)mask));
}

INLINE __m512i field_left(__m512i v, int shift, int mask)
{
    return _mm512_and_si512(_mm512_slli_epi32(v, (unsigned)shift), _mm512_set1_epi8((char)mask));
}

/* Byte j of every lane, without and with its sign. */
INLINE __m512i lane_byte(__m512i v, int j)
{
    return _mm512_and_si512(_mm512_srli_epi32(v, (unsigned)(8 * j)), _mm512_set1_epi32(255));
}

INLINE __m512i lane_byte_signed(__m512i v, int j)
{
    return _mm512_srai_epi32(_mm512_slli_epi32(v, (unsigned)(24 - 8 * j)), 24);
}

/* Two int32 as the words of a lane. */
INLINE __m512i join_words(__m512i low, __m512i high)
{
    return _mm512_mask_mov_epi16(low, 0xaaaaaaaau, _mm512_slli_epi32(high, 16));
}

/* Pairs that take `offset` off every q, from sixteen scales. */
INLINE void set_offset_16(sp_scales256 *s, int offset)
{
    for (int k = 0; k < 8; k++)
        s->pairs[k] = _mm512_mullo_epi16(join_words(s->scale[2 * k], s->scale[2 * k + 1]),
                                         _mm512_set1_epi16((short)-offset));
}

/* The same from eight. */
INLINE void set_offset_32(sp_scales256 *s, int offset)
{
    for (int k = 0; k < 8; k++)
        s->pairs[k] =
            _mm512_mullo_epi16(join_words(s->scale[k], s->scale[k]), _mm512_set1_epi16((short)-offset));
}

/* sum + pairs . sums of an activation block. */
INLINE __m512i add_pairs(__m512i sum, const sp_scales256 *s, const sp_act_q8k *x)
{
    for (int k = 0; k < 8; k++) sum = _mm512_dpwssd_epi32(sum, s->pairs[k], broadcast_4(x->sums + 2 * k));
    return sum;
}

/* y + d dx sum (- dmin dx min_sum): what a block of 256 adds to sixteen sums. */
INLINE void finish_256(__m512 d, __m512 dmin, float x_scale, __m512i sum, bool has_min, __m512i min_sum,
                       float *y)
{
    __m512 v = _mm512_loadu_ps(y), dx = _mm512_set1_ps(x_scale);
    v = _mm512_fmadd_ps(_mm512_mul_ps(d, dx), _mm512_cvtepi32_ps(sum), v);
    if (has_min) v = _mm512_fnmadd_ps(_mm512_mul_ps(dmin, dx), _mm512_cvtepi32_ps(min_sum), v);
    _mm512_storeu_ps(y, v);
}

#endif
#endif
