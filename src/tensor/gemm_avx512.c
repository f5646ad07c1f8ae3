/* SPDX-License-Identifier: MIT */
/* The matrix product of training on AVX-512. A piece of k of a panel of columns of B is copied to where its rows are
 * adjacent, transposed on the way if need be: 64 KiB, which stay in the second cache while all rows of A pass. A is read
 * where it lies, an element at a time, and a tile of sums stays in registers over the piece. Start at gemm_avx512(). */
#include "tensor/gemm.h"
#include "tensor/kernel_rows.h"

#if defined(__AVX512F__)

#include <immintrin.h>
#include <string.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Vectors of a panel, and rows of a tile of 4 or 3 vectors and of 2 or 1: 24 sums, what is read of B and an element of A
 * are at most 29 of 32 registers. */
#define VECTORS 4
#define WIDTH (16 * VECTORS)
#define ROWS 6
#define NARROW_ROWS 12
/* Memory is asked for before its use where the next row lies far away, which the processor does not foresee: C of a tile
 * and A of the next one while the tile is summed, A transposed and B some rows ahead. Rows ahead: */
#define AHEAD_A 24
#define AHEAD_B 12

/* One tile's operands. Panel rows are 16 `vectors` apart. */
typedef struct tile {
    int64_t k;
    const float *a;
    int64_t a_step; /* from row to row, or from column to column if A is transposed */
    const float *panel;
    float *c;
    int64_t c_row;
    __mmask16 last; /* lanes of the last vector that exist */
    bool add;
    float scale;
} tile;

ALWAYS_INLINE void add_products(const tile *t, const int rows, const int vectors, const bool transposed,
                                __m512 sum[NARROW_ROWS][VECTORS])
{
    const float *a = t->a, *b = t->panel;
    int64_t step = t->a_step;
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) sum[r][v] = _mm512_setzero_ps();
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            _mm_prefetch((const char *)(t->c + r * t->c_row + 16 * v), _MM_HINT_T0);
    for (int64_t l = 0; l < t->k; l++, b += 16 * vectors, a += transposed ? step : 1) {
        __m512 bv[VECTORS];
        for (int v = 0; v < vectors; v++) bv[v] = _mm512_loadu_ps(b + 16 * v);
        if (transposed) _mm_prefetch((const char *)(a + rows - 1 + AHEAD_A * step), _MM_HINT_T0);
        for (int r = 0; r < rows && !transposed && l % 16 == 0; r++)
            _mm_prefetch((const char *)(a + (r + rows) * step), _MM_HINT_T0);
        for (int r = 0; r < rows; r++) {
            __m512 av = _mm512_set1_ps(transposed ? a[r] : a[r * step]);
            for (int v = 0; v < vectors; v++) sum[r][v] = _mm512_fmadd_ps(av, bv[v], sum[r][v]);
        }
    }
}

ALWAYS_INLINE void multiply_tile(const tile *t, const int rows, const int vectors, const bool transposed)
{
    __m512 sum[NARROW_ROWS][VECTORS], scale = _mm512_set1_ps(t->scale);
    add_products(t, rows, vectors, transposed, sum);
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) {
            float *c = t->c + r * t->c_row + 16 * v;
            __mmask16 lanes = v == vectors - 1 ? t->last : 0xffff;
            __m512 y = t->add ? _mm512_fmadd_ps(scale, sum[r][v], _mm512_maskz_loadu_ps(lanes, c))
                              : _mm512_mul_ps(scale, sum[r][v]);
            _mm512_mask_storeu_ps(c, lanes, y);
        }
}

#define TILE(n)                                                                                              \
    case n: multiply_tile(t, n, vectors, transposed); break

ALWAYS_INLINE void multiply_wide(const tile *t, int rows, const int vectors, const bool transposed)
{
    switch (rows) {
        TILE(1);
        TILE(2);
        TILE(3);
        TILE(4);
        TILE(5);
    default: multiply_tile(t, ROWS, vectors, transposed); break;
    }
}

ALWAYS_INLINE void multiply_narrow(const tile *t, int rows, const int vectors, const bool transposed)
{
    switch (rows) {
        TILE(1);
        TILE(2);
        TILE(3);
        TILE(4);
        TILE(5);
        TILE(6);
        TILE(7);
        TILE(8);
        TILE(9);
        TILE(10);
        TILE(11);
    default: multiply_tile(t, NARROW_ROWS, vectors, transposed); break;
    }
}

#define TILES(name, shape, vectors)                                                                          \
    static void name(const tile *t, int rows, bool transposed)                                               \
    {                                                                                                        \
        if (transposed)                                                                                      \
            shape(t, rows, vectors, true);                                                                   \
        else                                                                                                 \
            shape(t, rows, vectors, false);                                                                  \
    }

TILES(multiply_1, multiply_narrow, 1)
TILES(multiply_2, multiply_narrow, 2)
TILES(multiply_3, multiply_wide, 3)
TILES(multiply_4, multiply_wide, 4)

/* 16 rows of 16 floats, `step` apart, to 16 columns `width` apart. Rows beyond n_rows are 0. */
static void transpose_16(const float *src, int64_t step, int n_rows, __mmask16 columns, float *dst,
                         int64_t width)
{
    __m512 x[16], y[16];
    for (int i = 0; i < 16; i++)
        x[i] = i < n_rows ? _mm512_maskz_loadu_ps(columns, src + i * step) : _mm512_setzero_ps();
    for (int i = 0; i < 16; i += 2) {
        y[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            x[i + 2 * j] = _mm512_castpd_ps(
                _mm512_unpacklo_pd(_mm512_castps_pd(y[i + j]), _mm512_castps_pd(y[i + j + 2])));
            x[i + 2 * j + 1] = _mm512_castpd_ps(
                _mm512_unpackhi_pd(_mm512_castps_pd(y[i + j]), _mm512_castps_pd(y[i + j + 2])));
        }
    for (int j = 0; j < 4; j++) {
        y[j] = _mm512_shuffle_f32x4(x[j], x[j + 4], 0x88);
        y[j + 4] = _mm512_shuffle_f32x4(x[j], x[j + 4], 0xdd);
        y[j + 8] = _mm512_shuffle_f32x4(x[j + 8], x[j + 12], 0x88);
        y[j + 12] = _mm512_shuffle_f32x4(x[j + 8], x[j + 12], 0xdd);
    }
    for (int j = 0; j < 4; j++) {
        x[j] = _mm512_shuffle_f32x4(y[j], y[j + 8], 0x88);
        x[j + 8] = _mm512_shuffle_f32x4(y[j], y[j + 8], 0xdd);
        x[j + 4] = _mm512_shuffle_f32x4(y[j + 4], y[j + 12], 0x88);
        x[j + 12] = _mm512_shuffle_f32x4(y[j + 4], y[j + 12], 0xdd);
    }
    for (int i = 0; i < 16 && (columns >> i & 1); i++) _mm512_storeu_ps(dst + i * width, x[i]);
}

/* Rows [l, l + k) and columns [j, j + n) of B; columns up to a whole vector are 0. */
static void pack_panel(const sp_product *p, int64_t l, int64_t k, int64_t j, int64_t n, float *panel)
{
    int64_t width = (n + 15) / 16 * 16;
    if (p->b_col == 1) {
        __mmask16 last = (__mmask16)(0xffff >> (width - n));
        for (int64_t i = 0; i < k; i++)
            for (int64_t v = 0; v < width; v += 16) {
                const float *b = p->b + (l + i) * p->b_row + j + v;
                _mm_prefetch((const char *)(b + AHEAD_B * p->b_row), _MM_HINT_T0);
                _mm512_storeu_ps(panel + i * width + v,
                                 _mm512_maskz_loadu_ps(v + 16 == width ? last : (__mmask16)0xffff, b));
            }
        return;
    }
    for (int64_t v = 0; v < width; v += 16)
        for (int64_t i = 0; i < k; i += 16) {
            __mmask16 columns = (__mmask16)(k - i >= 16 ? 0xffff : (1 << (k - i)) - 1);
            transpose_16(p->b + (j + v) * p->b_col + l + i, p->b_col, n - v >= 16 ? 16 : (int)(n - v),
                         columns, panel + i * width + v, width);
        }
}

/* All rows of A times the panel that holds rows [l, l + k) and columns [j, j + n) of B. */
static void multiply_panel(const sp_product *p, float scale, bool add, int64_t l, int64_t k, int64_t j,
                           int64_t n, const float *panel)
{
    bool transposed = p->a_col != 1;
    int64_t width = (n + 15) / 16 * 16;
    tile t = {k,    NULL,     transposed ? p->a_col : p->a_row,   panel,
              NULL, p->c_row, (__mmask16)(0xffff >> (width - n)), add,
              scale};
    int most = width > 32 ? ROWS : NARROW_ROWS;
    for (int64_t i = 0; i < p->m; i += most) {
        int rows = p->m - i < most ? (int)(p->m - i) : most;
        t.a = p->a + i * p->a_row + l * p->a_col;
        t.c = p->c + i * p->c_row + j;
        switch (width / 16) {
        case 1: multiply_1(&t, rows, transposed); break;
        case 2: multiply_2(&t, rows, transposed); break;
        case 3: multiply_3(&t, rows, transposed); break;
        default: multiply_4(&t, rows, transposed); break;
        }
    }
}

static void gemm_avx512(const sp_product *p, float scale, bool add)
{
    _Alignas(64) float panel[SP_GEMM_PIECE * WIDTH];
    int64_t l = 0;
    do {
        int64_t k = p->k - l < SP_GEMM_PIECE ? p->k - l : SP_GEMM_PIECE;
        for (int64_t j = 0; j < p->n; j += WIDTH) {
            int64_t n = p->n - j < WIDTH ? p->n - j : WIDTH;
            pack_panel(p, l, k, j, n, panel);
            multiply_panel(p, scale, add || l > 0, l, k, j, n, panel);
        }
        l += SP_GEMM_PIECE;
    } while (l < p->k);
}

void sp_fill_gemm_avx512(sp_kernels *k)
{
    k->gemm = gemm_avx512;
}

#endif
