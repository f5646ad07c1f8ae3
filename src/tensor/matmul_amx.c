/* SPDX-License-Identifier: MIT */
/* AMX (Intel from Sapphire Rapids): panels of 64 weight rows times many activation rows, bit for bit as quant_scalar.c.
 * Panels are unpacked as for AVX-512 (panel_avx512.h), whose layout is that of a weight tile. Few activation rows are
 * left to AVX-512. Correct under emulation; nobody has timed it.
 *
 * The multiplier takes one activation row per cycle and as many as 64 bytes of it, whether or not the tile has that
 * many (CPUID leaf 1EH: a grid of sixteen times sixteen groups of four). What counts is therefore
 * - full tiles of 64 bytes. The K-quants scale every 16 or 32 elements, too short for a tile and too often for taking
 *   sums out. So `fold` multiplies their scales into the elements: scale * (q - offset) fits a signed word, hence two
 *   bytes, 256 high + low, and a block of 256 is two products of 256 bytes, exact in int32. Q2_K and Q3_K fit one byte.
 * - sums that stay in tiles. Blocks of 32 have a float scale each, so every block's sums leave through memory, and
 *   their three or four vector instructions per sixteen sums bind, not the tiles.
 * Start at multiply(). */
#include "tensor/amx_tiles.h"

#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include "tensor/panel_avx512.h"

#if defined(SP_HAS_TILES)

enum { TILE_ROWS = 16 };

typedef int32_t tile_sums[TILE_ROWS][16]; /* [activation row][weight row] */

static void configure_tiles(int64_t n_rows, int bytes)
{
    sp_tile_config config = sp_tile_config_of((uint8_t)n_rows, (uint16_t)bytes);
    tile_configure(&config);
}

/* --- formats in blocks of 256 ----------------------------------------------------------------------------- */

/* scale * (q - offset), in the layout of sp_panel's q. */
typedef struct folded_panel {
    __m512i low[64];  /* unsigned; the only byte where the product fits one (Q3_K: signed, and negated) */
    __m512i high[64]; /* signed */
    __m512i mins[8];  /* factors of two sums of activations, as words */
    __m512 d, dmin;
} folded_panel;

_Static_assert(sizeof(folded_panel) == SP_MAX_PANEL, "the widest panel");

typedef enum fold_kind { FOLD_WORDS, FOLD_BYTES, FOLD_NEGATED } fold_kind;

/* Four elements times the scale of their group: even and odd ones are words by turns. */
INLINE void fold_elements(__m512i q, __m512i scale, __m512i offset, __m512i *low, __m512i *high)
{
    const __m512i low_bytes = _mm512_set1_epi16(255);
    __m512i even = _mm512_and_si512(q, low_bytes), odd = _mm512_srli_epi16(q, 8);
    even = _mm512_add_epi16(_mm512_mullo_epi16(even, scale), offset);
    odd = _mm512_add_epi16(_mm512_mullo_epi16(odd, scale), offset);
    *low = _mm512_or_si512(_mm512_and_si512(even, low_bytes), _mm512_slli_epi16(odd, 8));
    if (high) *high = _mm512_or_si512(_mm512_srli_epi16(even, 8), _mm512_andnot_si512(low_bytes, odd));
}

/* `pairs` are -scale * offset of groups of 16, unless the format has mins. */
INLINE void fold_panel(const sp_panel256 *p, int group, bool has_min, fold_kind kind, folded_panel *f)
{
    for (int g = 0; g < 16; g++) {
        __m512i scale = p->s.scale[16 * g / group], offset = _mm512_setzero_si512();
        scale = join_words(scale, scale);
        if (!has_min) {
            offset = g % 2 ? _mm512_srli_epi32(p->s.pairs[g / 2], 16) : p->s.pairs[g / 2];
            offset = join_words(offset, offset);
        }
        if (kind == FOLD_NEGATED) {
            scale = _mm512_sub_epi16(_mm512_setzero_si512(), scale);
            offset = _mm512_sub_epi16(_mm512_setzero_si512(), offset);
        }
        for (int q = 4 * g; q < 4 * g + 4; q++)
            fold_elements(p->q[q], scale, offset, f->low + q, kind == FOLD_WORDS ? f->high + q : NULL);
    }
    if (has_min)
        for (int k = 0; k < 128 / group; k++) /* both words of a group of 32 are the same */
            f->mins[k] = group == 16 ? p->s.pairs[k] : join_words(p->s.pairs[2 * k], p->s.pairs[2 * k + 1]);
    f->d = p->s.d;
    f->dmin = p->s.dmin;
}

/* A tile of 64 elements of the activation rows times one of weights. */
#define PRODUCT(sum_tile, x_tile, w_tile, weights, is_unsigned)                                              \
    do {                                                                                                     \
        tile_load(w_tile, weights, 64);                                                                      \
        if (is_unsigned)                                                                                     \
            tile_dp_unsigned_w(sum_tile, x_tile, w_tile);                                                    \
        else                                                                                                 \
            tile_dp_signed(sum_tile, x_tile, w_tile);                                                        \
    } while (0)

#define STEP_256(x_tile, k)                                                                                  \
    do {                                                                                                     \
        tile_load(x_tile, x + 64 * (k), stride);                                                             \
        PRODUCT(0, x_tile, 6, w[0] + 16 * (k), kind != FOLD_NEGATED);                                        \
        PRODUCT(1, x_tile, 7, w[1] + 16 * (k), kind == FOLD_BYTES);                                          \
        PRODUCT(2, x_tile, 6, w[2] + 16 * (k), kind != FOLD_NEGATED);                                        \
        PRODUCT(3, x_tile, 7, w[3] + 16 * (k), kind == FOLD_BYTES);                                          \
    } while (0)

/* A block of activation rows at x times the weights of four panels, or low and high bytes of two. */
INLINE void multiply_256(const __m512i *const w[4], const char *x, size_t stride, fold_kind kind,
                         tile_sums sums[4])
{
    tile_zero(0);
    tile_zero(1);
    tile_zero(2);
    tile_zero(3);
    for (int k = 0; k < 4; k += 2) {
        STEP_256(4, k);
        STEP_256(5, k + 1);
    }
    tile_store(0, sums[0], 64);
    tile_store(1, sums[1], 64);
    tile_store(2, sums[2], 64);
    tile_store(3, sums[3], 64);
}

/* An activation block's sums of 16 elements, or of 32. */
INLINE void load_sums(const sp_act_q8k *x, int group, int16_t sums[16])
{
    __m128i a = _mm_loadu_si128((const __m128i *)x->sums), b = _mm_loadu_si128((const __m128i *)x->sums + 1);
    _mm_storeu_si128((__m128i *)sums, group == 16 ? a : _mm_hadd_epi16(a, b));
    if (group == 16) _mm_storeu_si128((__m128i *)sums + 1, b);
}

/* What the tile adds to the sums of its panel; min_group 0: no mins. */
INLINE void finish_tile(const folded_panel *p, const char *x, size_t stride, int n_x, fold_kind kind,
                        int min_group, int32_t low[TILE_ROWS][16], int32_t high[TILE_ROWS][16], float *y)
{
    for (int t = 0; t < n_x; t++, x += stride, y += SP_PANEL_ROWS) {
        const sp_act_q8k *a = (const sp_act_q8k *)(const void *)x;
        __m512i sum = _mm512_load_si512(low[t]), min_sum = _mm512_setzero_si512();
        if (kind == FOLD_WORDS) sum = _mm512_add_epi32(sum, _mm512_slli_epi32(_mm512_load_si512(high[t]), 8));
        if (kind == FOLD_NEGATED) sum = _mm512_sub_epi32(_mm512_setzero_si512(), sum);
        if (min_group) {
            int16_t sums[16];
            load_sums(a, min_group, sums);
            for (int k = 0; k < 128 / min_group; k++)
                min_sum = _mm512_dpwssd_epi32(min_sum, p->mins[k], broadcast_4(sums + 2 * k));
        }
        finish_256(p->d, p->dmin, a->d, sum, min_group != 0, min_sum, y);
    }
}

INLINE void run_tile_256(const folded_panel *p, const char *x, size_t stride, int n_x, fold_kind kind,
                         int min_group, float *y)
{
    _Alignas(64) tile_sums sums[4];
    const char *q = x + offsetof(sp_act_q8k, q);
    if (kind == FOLD_WORDS) {
        for (int i = 0; i < SP_PANELS; i += 2) {
            const __m512i *const w[4] = {p[i].low, p[i].high, p[i + 1].low, p[i + 1].high};
            multiply_256(w, q, stride, kind, sums);
            finish_tile(p + i, x, stride, n_x, kind, min_group, sums[0], sums[1], y + 16 * i);
            finish_tile(p + i + 1, x, stride, n_x, kind, min_group, sums[2], sums[3], y + 16 * i + 16);
        }
    } else {
        const __m512i *const w[4] = {p[0].low, p[1].low, p[2].low, p[3].low};
        multiply_256(w, q, stride, kind, sums);
        for (int i = 0; i < SP_PANELS; i++)
            finish_tile(p + i, x, stride, n_x, kind, min_group, sums[i], NULL, y + 16 * i);
    }
}

#define TILES_256(name, kind, min_group)                                                                     \
    static void name(const void *panels, const char *x, size_t stride, int64_t n_x, int n_blocks,            \
                     sp_sum_row *y)                                                                          \
    {                                                                                                        \
        (void)n_blocks;                                                                                      \
        for (; n_x >= TILE_ROWS; n_x -= TILE_ROWS, x += TILE_ROWS * stride, y += TILE_ROWS)                  \
            run_tile_256(panels, x, stride, TILE_ROWS, kind, min_group, y[0]);                               \
        if (n_x == 0) return;                                                                                \
        configure_tiles(n_x, 64);                                                                            \
        run_tile_256(panels, x, stride, (int)n_x, kind, min_group, y[0]);                                    \
        configure_tiles(TILE_ROWS, 64);                                                                      \
    }

#define FOLD_256(name, group, has_min, kind)                                                                 \
    static void name(const sp_panel *p, void *folded)                                                        \
    {                                                                                                        \
        fold_panel(&p->k, group, has_min, kind, folded);                                                     \
    }

TILES_256(tiles_words, FOLD_WORDS, 0)
TILES_256(tiles_words_min_32, FOLD_WORDS, 32)
TILES_256(tiles_bytes_min_16, FOLD_BYTES, 16)
TILES_256(tiles_negated, FOLD_NEGATED, 0)
FOLD_256(fold_words_16, 16, false, FOLD_WORDS)
FOLD_256(fold_words_32, 32, false, FOLD_WORDS)
FOLD_256(fold_words_min_32, 32, true, FOLD_WORDS)
FOLD_256(fold_bytes_min_16, 16, true, FOLD_BYTES)
FOLD_256(fold_negated_16, 16, false, FOLD_NEGATED)

/* --- formats in blocks of 32 ------------------------------------------------------------------------------ */

/* Block b's sums. */
#define BLOCK_32(sum_tile, x_tile, w_tile)                                                                   \
    do {                                                                                                     \
        tile_zero(sum_tile);                                                                                 \
        tile_load(x_tile, x + (size_t)b * sizeof(sp_act_q8), stride);                                        \
        tile_load(w_tile, w + 8 * b, 64);                                                                    \
        tile_dp_signed(sum_tile, x_tile, w_tile);                                                            \
        tile_store(sum_tile, sums[b], 64);                                                                   \
    } while (0)

/* Four sums are under way at a time, a product being late by about as many. */
INLINE void multiply_32(const __m512i *w, const char *x, size_t stride, int n_blocks, tile_sums sums[8])
{
    for (int b = 0; b < n_blocks; b++) switch (b % 4) {
        case 0: BLOCK_32(0, 4, 6); break;
        case 1: BLOCK_32(1, 5, 7); break;
        case 2: BLOCK_32(2, 4, 6); break;
        default: BLOCK_32(3, 5, 7); break;
        }
}

INLINE void run_tile_32(const sp_panel32 *p, const char *x, size_t stride, int n_x, int n_blocks,
                        bool has_min, float *y)
{
    _Alignas(64) tile_sums sums[8];
    multiply_32(p->q, x + offsetof(sp_act_q8, q), stride, n_blocks, sums);
    for (int t = 0; t < n_x; t++, x += stride, y += SP_PANEL_ROWS) {
        const sp_act_q8 *a = (const sp_act_q8 *)(const void *)x;
        __m512 v = _mm512_loadu_ps(y);
        for (int b = 0; b < n_blocks; b++) {
            __m512 d = _mm512_mul_ps(p->d[b], _mm512_set1_ps(a[b].d));
            v = _mm512_fmadd_ps(d, _mm512_cvtepi32_ps(_mm512_load_si512(sums[b][t])), v);
            if (has_min) v = _mm512_fmadd_ps(p->m[b], _mm512_set1_ps(a[b].s), v);
        }
        _mm512_storeu_ps(y, v);
    }
}

#define TILES_32(name, has_min)                                                                              \
    static void name(const void *panels, const char *x, size_t stride, int64_t n_x, int n_blocks,            \
                     sp_sum_row *y)                                                                          \
    {                                                                                                        \
        const sp_panel *p = panels;                                                                          \
        for (; n_x >= TILE_ROWS; n_x -= TILE_ROWS, x += TILE_ROWS * stride, y += TILE_ROWS)                  \
            for (int i = 0; i < SP_PANELS; i++)                                                              \
                run_tile_32(&p[i].b, x, stride, TILE_ROWS, n_blocks, has_min, y[0] + 16 * i);                \
        if (n_x == 0) return;                                                                                \
        configure_tiles(n_x, 32);                                                                            \
        for (int i = 0; i < SP_PANELS; i++)                                                                  \
            run_tile_32(&p[i].b, x, stride, (int)n_x, n_blocks, has_min, y[0] + 16 * i);                     \
        configure_tiles(TILE_ROWS, 32);                                                                      \
    }

TILES_32(tiles_32, false)
TILES_32(tiles_32_min, true)

/* --- rows of the table ------------------------------------------------------------------------------------ */

typedef void (*fold_fn)(const sp_panel *p, void *panel);

/* For tiles of AVX-512 the tiles of AMX that take the same panels, folded. */
static const struct tiles_pair {
    sp_tiles_fn avx512, amx;
    fold_fn fold;
} tiles_pairs[] = {
    {sp_tiles_b32_avx512, tiles_32, NULL},
    {sp_tiles_b32_min_avx512, tiles_32_min, NULL},
    {sp_tiles_16_offset_avx512, tiles_words, fold_words_16},
    {sp_tiles_32_offset_avx512, tiles_words, fold_words_32},
    {sp_tiles_16_min_avx512, tiles_bytes_min_16, fold_bytes_min_16}, /* Q2_K alone */
    {sp_tiles_32_min_avx512, tiles_words_min_32, fold_words_min_32},
};

static sp_panel_format formats[SP_DTYPE_COUNT]; /* those of AVX-512 with tiles of this file */
static sp_matmul_fn narrow[SP_DTYPE_COUNT];     /* for few activation rows */

/* Folding a panel costs about what eight activation rows cost without. */
static void multiply(const sp_matmul *m, sp_dtype dtype)
{
    const sp_panel_format *f = &formats[dtype];
    if (m->n_x < (f->fold ? 2 * SP_FEW : SP_FEW + 1)) {
        narrow[dtype](m);
        return;
    }
    configure_tiles(TILE_ROWS, f->block == 256 ? 64 : 32);
    sp_matmul_panels_avx512(m, f);
    tile_release();
}

#define FORMATS(M)                                                                                           \
    M(Q4_0)                                                                                                  \
    M(Q4_1)                                                                                                  \
    M(Q5_0)                                                                                                  \
    M(Q5_1)                                                                                                  \
    M(Q8_0)                                                                                                  \
    M(Q2_K)                                                                                                  \
    M(Q3_K)                                                                                                  \
    M(Q4_K)                                                                                                  \
    M(Q5_K)                                                                                                  \
    M(Q6_K)                                                                                                  \
    M(IQ4_NL)                                                                                                \
    M(IQ4_XS)                                                                                                \
    M(IQ1_S)                                                                                                 \
    M(IQ1_M)                                                                                                 \
    M(IQ2_XXS)                                                                                               \
    M(IQ2_XS)                                                                                                \
    M(IQ2_S)                                                                                                 \
    M(IQ3_XXS)                                                                                               \
    M(IQ3_S)

#define MATMUL(type)                                                                                         \
    static void matmul_##type##_amx(const sp_matmul *m)                                                      \
    {                                                                                                        \
        multiply(m, SP_DTYPE_##type);                                                                        \
    }
FORMATS(MATMUL)

/* A row whose panels exist; others stay as they are. */
static void set_row(sp_kernels *k, sp_dtype dtype, sp_matmul_fn matmul)
{
    const sp_panel_format *base = k->panels[dtype];
    struct tiles_pair pair = {NULL, NULL, NULL};
    for (size_t i = 0; base && i < sizeof tiles_pairs / sizeof tiles_pairs[0]; i++)
        if (tiles_pairs[i].avx512 == base->tiles) pair = tiles_pairs[i];
    if (!pair.amx) return;
    if (dtype == SP_DTYPE_Q3_K) pair = (struct tiles_pair){NULL, tiles_negated, fold_negated_16};
    formats[dtype] = *base;
    formats[dtype].tiles = pair.amx;
    formats[dtype].tile_rows = TILE_ROWS;
    formats[dtype].fold = pair.fold;
    if (pair.fold) formats[dtype].panel_bytes = sizeof(folded_panel);
    narrow[dtype] = k->matmul[dtype];
    k->matmul[dtype] = matmul;
}

bool sp_fill_matmul_amx(sp_kernels *k)
{
#define SET_ROW(type) set_row(k, SP_DTYPE_##type, matmul_##type##_amx);
    FORMATS(SET_ROW)
    return true;
}

#else

bool sp_fill_matmul_amx(sp_kernels *k)
{
    (void)k;
    return false;
}

#endif
#endif
