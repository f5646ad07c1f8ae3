/* SPDX-License-Identifier: MIT */
/* AVX-512 rows for the codebook formats IQ1, IQ2 and IQ3. For few activation rows codebooks are looked up in registers
 * (one_iq_avx512.c); for many, the loaders of the AVX2 rows unpack sixteen weight rows, which then become a panel. */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include "tensor/load_iq_avx2.h"
#include "tensor/panel_avx512.h"

typedef struct format_iq {
    size_t bytes;
    void (*load)(const void *block, __m256i q[8]);
    __m256i (*scales)(const void *block); /* for spread_word: the even ones, then the odd ones */
    float (*d)(const void *block);        /* NULL: the half in front */
    int group;                            /* elements of a scale: 16 or 32 */
    int offset;                           /* makes integers unsigned */
    float factor;                         /* taken into d */
} format_iq;

/* Sixteen blocks side by side. */
typedef struct unpacked {
    uint8_t q[16][256];
    int16_t scale[16][16];
    float d[16];
} unpacked;

INLINE void unpack_row(const format_iq *f, const uint8_t *w, unpacked *u, int r)
{
    __m256i q[8], scales = f->scales(w);
    __m128i even = _mm256_castsi256_si128(scales), odd = _mm256_extracti128_si256(scales, 1);
    f->load(w, q);
    for (int c = 0; c < 8; c++)
        _mm256_storeu_si256((__m256i *)(u->q[r] + 32 * c),
                            _mm256_add_epi8(q[c], _mm256_set1_epi8((char)f->offset)));
    _mm_storeu_si128((__m128i *)u->scale[r], _mm_unpacklo_epi16(even, odd));
    _mm_storeu_si128((__m128i *)(u->scale[r] + 8), _mm_unpackhi_epi16(even, odd));
    u->d[r] = (f->d ? f->d(w) : sp_load_f16(w)) * f->factor;
}

INLINE void fill_scales(const format_iq *f, const unpacked *u, sp_scales256 *s)
{
    __m512i v[8];
    load_rows((const uint8_t *)u->scale, sizeof u->scale[0], v);
    load_rows((const uint8_t *)u->scale + 16, sizeof u->scale[0], v + 4);
    for (int k = 0; k < 8; k++) { /* groups 2 k and 2 k + 1 */
        __m512i low = _mm512_srai_epi32(_mm512_slli_epi32(v[k], 16), 16);
        s->pairs[k] = _mm512_mullo_epi16(v[k], _mm512_set1_epi16((short)-f->offset));
        if (f->group == 32) {
            s->scale[k] = low;
        } else {
            s->scale[2 * k] = low;
            s->scale[2 * k + 1] = _mm512_srai_epi32(v[k], 16);
        }
    }
    s->d = _mm512_loadu_ps(u->d);
}

INLINE void fill_panel(const format_iq *f, const uint8_t *w, size_t stride, sp_panel *p)
{
    unpacked u;
    for (int r = 0; r < 16; r++) unpack_row(f, w + (size_t)r * stride, &u, r);
    for (int run = 0; run < 16; run++) load_rows(u.q[0] + 16 * run, sizeof u.q[0], p->k.q + 4 * run);
    fill_scales(f, &u, &p->k.s);
}

#define ROWS(type, group_of, ...)                                                                            \
    static void fill_##type(const uint8_t *w, size_t stride, int n_blocks, sp_panel *p)                      \
    {                                                                                                        \
        static const format_iq f = {.bytes = sizeof(sp_block_##type),                                        \
                                    .load = load_##type,                                                     \
                                    .scales = scales_##type,                                                 \
                                    .group = group_of,                                                       \
                                    __VA_ARGS__};                                                            \
        (void)n_blocks;                                                                                      \
        fill_panel(&f, w, stride, p);                                                                        \
    }                                                                                                        \
    static const sp_panel_format panels_##type = {                                                           \
        256,  sizeof(sp_block_##type), fill_##type, sp_tiles_##group_of##_offset_avx512, SP_TILE_ROWS,       \
        NULL, sizeof(sp_panel)};                                                                             \
    static void matmul_##type##_avx512(const sp_matmul *m)                                                   \
    {                                                                                                        \
        if (m->n_x <= SP_FEW)                                                                                \
            sp_matmul_few_##type##_avx512(m);                                                                \
        else                                                                                                 \
            sp_matmul_panels_avx512(m, &panels_##type);                                                      \
    }

ROWS(iq3_xxs, 32, .offset = 64, .factor = 0.25f)
ROWS(iq3_s, 32, .offset = 64, .factor = 1.0f)
ROWS(iq2_xxs, 32, .offset = 64, .factor = 0.125f)
ROWS(iq2_xs, 16, .offset = 64, .factor = 0.125f)
ROWS(iq2_s, 16, .offset = 64, .factor = 0.125f)
ROWS(iq1_s, 32, .offset = 64, .factor = 0.125f)
ROWS(iq1_m, 16, .offset = 64, .factor = 0.125f, .d = d_iq1_m)

#define SET_ROW(k, dtype, type)                                                                              \
    (k)->panels[dtype] = &panels_##type;                                                                     \
    (k)->matmul[dtype] = matmul_##type##_avx512

void sp_fill_iq_avx512(sp_kernels *k)
{
    sp_pack_codebooks_avx512();
    SET_ROW(k, SP_DTYPE_IQ3_XXS, iq3_xxs);
    SET_ROW(k, SP_DTYPE_IQ3_S, iq3_s);
    SET_ROW(k, SP_DTYPE_IQ2_XXS, iq2_xxs);
    SET_ROW(k, SP_DTYPE_IQ2_XS, iq2_xs);
    SET_ROW(k, SP_DTYPE_IQ2_S, iq2_s);
    SET_ROW(k, SP_DTYPE_IQ1_S, iq1_s);
    SET_ROW(k, SP_DTYPE_IQ1_M, iq1_m);
}

#endif
