/* SPDX-License-Identifier: MIT */
/* AVX-512: panels of 64 weight rows times many activation rows, bit for bit as quant_scalar.c. A tile is four
 * panels of sixteen rows times up to three activation rows: twelve integer sums, which with the twelve of the group
 * at hand fill the registers. Four elements of an activation row are broadcast, so that one vpdpbusd adds four
 * products to each of sixteen rows. Start at sp_matmul_panels_avx512. */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include "tensor/panel_avx512.h"

enum {
    TILE = SP_TILE_ROWS,
    CHUNK = 256, /* activation rows whose sums are kept */
    SHARE = 8    /* weight rows whose next span is asked for at once */
};

/* Keeps a value in its register, where the compiler would load it again for every use. */
#define PIN(v) __asm__("" : "+v"(v))

/* --- tiles of formats in blocks of 256 -------------------------------------------------------------------- */

/* A group's products from register q0 on. */
INLINE void multiply_group(const sp_panel *p, const sp_act_q8k *const x[], int n_x, int q0, int n,
                           __m512i part[SP_PANELS][TILE])
{
    for (int r = 0; r < SP_PANELS; r++)
        for (int t = 0; t < n_x; t++) part[r][t] = _mm512_setzero_si512();
    for (int q = q0; q < q0 + n; q++) {
        __m512i w[SP_PANELS];
        for (int r = 0; r < SP_PANELS; r++) {
            w[r] = p[r].k.q[q];
            if (n_x > 1) PIN(w[r]);
        }
        for (int t = 0; t < n_x; t++) {
            __m512i b = broadcast_4(x[t]->q + 4 * q);
            PIN(b);
            for (int r = 0; r < SP_PANELS; r++) part[r][t] = _mm512_dpbusd_epi32(part[r][t], w[r], b);
        }
    }
}

INLINE void run_tile_256(const sp_panel *p, const char *x, size_t stride, int n_x, int group, bool has_min,
                         sp_sum_row *y)
{
    const sp_act_q8k *rows[TILE];
    __m512i sum[SP_PANELS][TILE], part[SP_PANELS][TILE];
    for (int t = 0; t < n_x; t++) rows[t] = (const sp_act_q8k *)(const void *)(x + (size_t)t * stride);
    for (int r = 0; r < SP_PANELS; r++)
        for (int t = 0; t < n_x; t++) {
            sum[r][t] = _mm512_setzero_si512();
            if (!has_min) sum[r][t] = add_pairs(sum[r][t], &p[r].k.s, rows[t]);
        }
    for (int g = 0; g < 256 / group; g++) {
        multiply_group(p, rows, n_x, g * group / 4, group / 4, part);
        for (int r = 0; r < SP_PANELS; r++)
            for (int t = 0; t < n_x; t++)
                sum[r][t] = _mm512_add_epi32(sum[r][t], _mm512_mullo_epi32(part[r][t], p[r].k.s.scale[g]));
    }
    for (int t = 0; t < n_x; t++)
        for (int r = 0; r < SP_PANELS; r++) {
            const sp_scales256 *s = &p[r].k.s;
            __m512i min_sum = _mm512_setzero_si512();
            if (has_min) min_sum = add_pairs(min_sum, s, rows[t]);
            finish_256(s->d, s->dmin, rows[t]->d, sum[r][t], has_min, min_sum, y[t] + 16 * r);
        }
}

#define TILES_256(name, group, has_min)                                                                      \
    void name(const void *panels, const char *x, size_t stride, int64_t n_x, int n_blocks, sp_sum_row *y)    \
    {                                                                                                        \
        const sp_panel *p = panels;                                                                          \
        (void)n_blocks;                                                                                      \
        for (; n_x >= 3; n_x -= 3, x += 3 * stride, y += 3)                                                  \
            run_tile_256(p, x, stride, 3, group, has_min, y);                                                \
        if (n_x == 2) run_tile_256(p, x, stride, 2, group, has_min, y);                                      \
        if (n_x == 1) run_tile_256(p, x, stride, 1, group, has_min, y);                                      \
    }

TILES_256(sp_tiles_16_offset_avx512, 16, false)
TILES_256(sp_tiles_16_min_avx512, 16, true)
TILES_256(sp_tiles_32_offset_avx512, 32, false)
TILES_256(sp_tiles_32_min_avx512, 32, true)

/* --- tiles of formats in blocks of 32 --------------------------------------------------------------------- */

/* Activation blocks of a tile with 128 added, so that they are the unsigned factor. */
typedef struct shifted_tile {
    _Alignas(64) uint8_t q[TILE][8][32];
    const sp_act_q8 *x[TILE];
} shifted_tile;

INLINE void shift_tile(const char *x, size_t stride, int n_x, int n_blocks, shifted_tile *tile)
{
    const __m256i top = _mm256_set1_epi8((char)0x80);
    for (int t = 0; t < n_x; t++) {
        const sp_act_q8 *a = (const sp_act_q8 *)(const void *)(x + (size_t)t * stride);
        tile->x[t] = a;
        for (int b = 0; b < n_blocks; b++) {
            __m256i v = _mm256_loadu_si256((const __m256i *)a[b].q);
            _mm256_store_si256((__m256i *)tile->q[t][b], _mm256_xor_si256(v, top));
        }
    }
}

/* The products of block b, which start at -128 times the sum of q. */
INLINE void multiply_block(const sp_panel *p, const shifted_tile *tile, int n_x, int b,
                           __m512i part[SP_PANELS][TILE])
{
    for (int r = 0; r < SP_PANELS; r++)
        for (int t = 0; t < n_x; t++) part[r][t] = p[r].b.start[b];
    for (int q = 0; q < 8; q++) {
        __m512i w[SP_PANELS];
        for (int r = 0; r < SP_PANELS; r++) {
            w[r] = p[r].b.q[8 * b + q];
            if (n_x > 1) PIN(w[r]);
        }
        for (int t = 0; t < n_x; t++) {
            __m512i x = broadcast_4(tile->q[t][b] + 4 * q);
            PIN(x);
            for (int r = 0; r < SP_PANELS; r++) part[r][t] = _mm512_dpbusd_epi32(part[r][t], x, w[r]);
        }
    }
}

INLINE void run_tile_32(const sp_panel *p, const char *x, size_t stride, int n_x, int n_blocks, bool has_min,
                        sp_sum_row *y)
{
    __m512 v[SP_PANELS][TILE];
    __m512i part[SP_PANELS][TILE];
    shifted_tile tile;
    shift_tile(x, stride, n_x, n_blocks, &tile);
    for (int r = 0; r < SP_PANELS; r++)
        for (int t = 0; t < n_x; t++) v[r][t] = _mm512_loadu_ps(y[t] + 16 * r);
    for (int b = 0; b < n_blocks; b++) {
        multiply_block(p, &tile, n_x, b, part);
        for (int t = 0; t < n_x; t++) {
            __m512 dx = _mm512_set1_ps(tile.x[t][b].d), s = _mm512_set1_ps(tile.x[t][b].s);
            for (int r = 0; r < SP_PANELS; r++) {
                __m512 d = _mm512_mul_ps(p[r].b.d[b], dx);
                v[r][t] = _mm512_fmadd_ps(d, _mm512_cvtepi32_ps(part[r][t]), v[r][t]);
                if (has_min) v[r][t] = _mm512_fmadd_ps(p[r].b.m[b], s, v[r][t]);
            }
        }
    }
    for (int r = 0; r < SP_PANELS; r++)
        for (int t = 0; t < n_x; t++) _mm512_storeu_ps(y[t] + 16 * r, v[r][t]);
}

#define TILES_32(name, has_min)                                                                              \
    void name(const void *panels, const char *x, size_t stride, int64_t n_x, int n_blocks, sp_sum_row *y)    \
    {                                                                                                        \
        const sp_panel *p = panels;                                                                          \
        for (; n_x >= 3; n_x -= 3, x += 3 * stride, y += 3)                                                  \
            run_tile_32(p, x, stride, 3, n_blocks, has_min, y);                                              \
        if (n_x == 2) run_tile_32(p, x, stride, 2, n_blocks, has_min, y);                                    \
        if (n_x == 1) run_tile_32(p, x, stride, 1, n_blocks, has_min, y);                                    \
    }

TILES_32(sp_tiles_b32_avx512, false)
TILES_32(sp_tiles_b32_min_avx512, true)

/* --- matmuls ---------------------------------------------------------------------------------------------- */

/* Up to 64 weight rows. */
typedef struct row_group {
    const uint8_t *w; /* their next 256 elements */
    size_t stride;
    int64_t n_rows;
} row_group;

/* Sixteen rows from `first` on, which exist in part. */
static void unpack_panel(const sp_panel_format *f, const row_group *g, int64_t first, int n_blocks,
                         sp_panel *p)
{
    uint8_t copy[16][SP_MAX_SPAN];
    const uint8_t *w = g->w + (size_t)first * g->stride;
    int64_t left = g->n_rows - first;
    if (left >= 16) {
        f->unpack(w, g->stride, n_blocks, p);
    } else {
        copy_rows(w, g->stride, left, f->block_bytes * (size_t)n_blocks, copy);
        f->unpack(copy[0], SP_MAX_SPAN, n_blocks, p);
    }
}

static void unpack_panels(const sp_panel_format *f, const row_group *g, int n_blocks, char *panels)
{
    sp_panel unpacked;
    for (int i = 0; i < SP_PANELS; i++) {
        char *panel = panels + (size_t)i * f->panel_bytes;
        if (16 * i >= g->n_rows) {
            memcpy(panel, panels, f->panel_bytes); /* nobody reads these sums */
        } else if (f->fold) {
            unpack_panel(f, g, 16 * i, n_blocks, &unpacked);
            f->fold(&unpacked, panel);
        } else {
            unpack_panel(f, g, 16 * i, n_blocks, (sp_panel *)(void *)panel);
        }
    }
}

/* Ask for the next span of weight rows first .. stop - 1, too far apart for the processor to see them coming. */
static void fetch_rows(const row_group *g, int64_t first, int64_t stop, size_t span)
{
    for (int64_t r = first; r < stop && r < g->n_rows; r++) {
        const char *p = (const char *)g->w + (size_t)r * g->stride + span;
        for (size_t i = 0; i < span; i += 64) _mm_prefetch(p + i, _MM_HINT_T0);
        _mm_prefetch(p + span - 1, _MM_HINT_T0);
    }
}

/* Panels times all activation rows; the next span is asked for in between, in shares that the caches can take. */
static void run_tiles(const sp_panel_format *f, const char *panels, const row_group *g, const char *x,
                      size_t x_stride, int64_t n_x, int n_blocks, size_t next_span, sp_sum_row *sums)
{
    const int64_t shares = SP_PANEL_ROWS / SHARE * f->tile_rows;
    const int64_t piece = (n_x + shares - 1) / shares * f->tile_rows;
    int64_t row = 0;
    for (int64_t t = 0; t < n_x; t += piece, row += SHARE) {
        int64_t n = n_x - t < piece ? n_x - t : piece;
        if (next_span) fetch_rows(g, row, n_x - t <= piece ? SP_PANEL_ROWS : row + SHARE, next_span);
        f->tiles(panels, x + (size_t)t * x_stride, x_stride, n, n_blocks, sums + t);
    }
}

/* sums[t][r] of some weight rows and a chunk of activation rows. */
static void multiply_rows(const sp_panel_format *f, size_t n, row_group g, const char *x, size_t x_stride,
                          int64_t n_x, sp_sum_row *sums)
{
    size_t n_blocks = n / (size_t)f->block, per_span = 256 / (size_t)f->block;
    size_t x_span = f->block == 256 ? sizeof(sp_act_q8k) : per_span * sizeof(sp_act_q8);
    _Alignas(64) char panels[SP_PANELS * SP_MAX_PANEL];
    memset(sums, 0, (size_t)n_x * sizeof *sums);
    for (size_t i = 0; i < n_blocks; i += per_span) {
        int here = (int)(n_blocks - i < per_span ? n_blocks - i : per_span);
        unpack_panels(f, &g, here, panels);
        size_t next_span = i + 2 * per_span <= n_blocks ? f->block_bytes * per_span : 0;
        run_tiles(f, panels, &g, x, x_stride, n_x, here, next_span, sums);
        g.w += f->block_bytes * per_span;
        x += x_span;
    }
}

void sp_matmul_panels_avx512(const sp_matmul *m, const sp_panel_format *f)
{
    _Alignas(64) sp_sum_row sums[CHUNK];
    for (int64_t row = 0; row < m->n_rows; row += SP_PANEL_ROWS) {
        int64_t n_rows = m->n_rows - row < SP_PANEL_ROWS ? m->n_rows - row : SP_PANEL_ROWS;
        row_group g = {(const uint8_t *)m->w + (size_t)row * m->w_stride, m->w_stride, n_rows};
        for (int64_t first = 0; first < m->n_x; first += CHUNK) {
            int64_t n_x = m->n_x - first < CHUNK ? m->n_x - first : CHUNK;
            const char *x = (const char *)m->x + (size_t)first * m->x_stride;
            multiply_rows(f, m->n, g, x, m->x_stride, n_x, sums);
            for (int64_t t = 0; t < n_x; t++)
                memcpy(m->y + (first + t) * m->y_stride + row, sums[t], (size_t)n_rows * sizeof(float));
        }
    }
}

#endif
