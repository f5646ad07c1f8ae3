/* SPDX-License-Identifier: MIT */
/* Matmul of every format against the scalar version: many shapes, wide strides, canaries between output rows,
 * guard pages behind the last rows. The scalar product of all rows is made once; a product of fewer rows must
 * give the same elements, since an element depends on its two rows alone. Start at check_matmuls(). */
#ifndef MATMUL_TESTING_H
#define MATMUL_TESTING_H

#include "kernel_testing.h"

enum { MATMUL_ROWS = 100, MATMUL_X = 140, MATMUL_FIRST = 77, MATMUL_CANARY = 0x7fa5a5a5 };

/* One dtype and length: weights, activations, and what scalar makes of them. */
typedef struct matmul_case {
    sp_dtype dtype;
    fill how;
    size_t n, w_bytes, x_bytes, w_stride, x_stride;
    guarded w, x, scale; /* the last row of each ends at a guard page; scale.data NULL: none */
    float *expected;     /* (MATMUL_X, MATMUL_ROWS) */
} matmul_case;

/* Rows first_row .. and activation rows first_x .. of the case. */
static inline sp_matmul cut_matmul(const matmul_case *c, int64_t row, int64_t n_rows, int64_t first_x,
                                   int64_t n_x, float *y, int64_t y_stride)
{
    return (sp_matmul){c->n,
                       c->w.data + (size_t)row * c->w_stride,
                       c->w_stride,
                       n_rows,
                       c->x.data + (size_t)first_x * c->x_stride,
                       c->x_stride,
                       n_x,
                       y,
                       y_stride,
                       (const float *)(const void *)c->scale.data,
                       MATMUL_FIRST + row,
                       c->w.data +
                           MATMUL_ROWS * c->w_stride}; /* a guard page: it may be asked for, not read */
}

static inline void fill_matmul_case(matmul_case *c)
{
    const sp_dtype_info *info = sp_dtype_get(c->dtype);
    float *src = malloc(c->n * sizeof *src);
    if (!src) abort();
    for (size_t r = 0; r < MATMUL_ROWS; r++) fill_row(c->dtype, c->n, c->how, c->w.data + r * c->w_stride);
    for (size_t t = 0; t < MATMUL_X; t++) {
        fill_vector(c->n, c->how, src);
        if (t % 31 == 3) src[c->n / 2] = NAN; /* must stay in its own row */
        sp_kernels_for(SP_ISA_SCALAR)->quantize[info->act](c->n, src, c->x.data + t * c->x_stride);
    }
    free(src);
}

/* gap: elements (of quantised formats: bytes) between rows. */
static inline matmul_case make_matmul_case(sp_dtype dtype, size_t n, fill how, size_t gap, int with_scale)
{
    const sp_dtype_info *info = sp_dtype_get(dtype);
    matmul_case c = {.dtype = dtype, .how = how, .n = n};
    c.w_bytes = sp_dtype_row_bytes(dtype, n);
    c.x_bytes = sp_act_row_bytes(info->act, n);
    c.w_stride = c.w_bytes + gap * (info->block > 1 ? 1 : info->block_bytes);
    c.x_stride = c.x_bytes + 4 * gap;
    c.w = map_guarded((MATMUL_ROWS - 1) * c.w_stride + c.w_bytes, 0);
    c.x = map_guarded((MATMUL_X - 1) * c.x_stride + c.x_bytes, 0);
    c.expected = malloc(sizeof(float) * MATMUL_ROWS * MATMUL_X);
    if (!c.expected) abort();
    fill_matmul_case(&c);
    if (with_scale) {
        size_t n_scales = (n + 127) / 128 * ((MATMUL_FIRST + MATMUL_ROWS + 127) / 128);
        c.scale = map_guarded(n_scales * sizeof(float), 0);
        for (size_t i = 0; i < n_scales; i++) ((float *)(void *)c.scale.data)[i] = draw_float(2.0f);
    }
    sp_matmul m = cut_matmul(&c, 0, MATMUL_ROWS, 0, MATMUL_X, c.expected, MATMUL_ROWS);
    sp_kernels_for(SP_ISA_SCALAR)->matmul[dtype](&m);
    return c;
}

static inline void free_matmul_case(matmul_case *c)
{
    unmap_guarded(&c->w);
    unmap_guarded(&c->x);
    if (c->scale.data) unmap_guarded(&c->scale);
    free(c->expected);
}

/* The last n_rows and n_x of the case: 1 if any element differs or a canary is gone. */
static inline int check_cut(const sp_kernels *k, const matmul_case *c, int64_t n_rows, int64_t n_x,
                            int64_t gap)
{
    static float y[(MATMUL_ROWS + 9) * MATMUL_X];
    const uint32_t canary = MATMUL_CANARY;
    int64_t stride = n_rows + gap, row = MATMUL_ROWS - n_rows, first_x = MATMUL_X - n_x, bad = 0;
    for (int64_t i = 0; i < stride * n_x; i++) memcpy(y + i, &canary, sizeof canary);
    sp_matmul m = cut_matmul(c, row, n_rows, first_x, n_x, y, stride);
    k->matmul[c->dtype](&m);
    for (int64_t t = 0; t < n_x; t++) {
        const float *expected = c->expected + (first_x + t) * MATMUL_ROWS + row;
        bad += count_diffs((size_t)n_rows, y + t * stride, expected);
        for (int64_t r = n_rows; r < stride; r++)
            bad += memcmp(y + t * stride + r, &canary, sizeof canary) != 0;
    }
    if (bad)
        fprintf(stderr, "%s: matmul %s, n = %zu, %d rows, %d activations, y gap %d: %d values wrong\n",
                k->isa, sp_dtype_get(c->dtype)->name, c->n, (int)n_rows, (int)n_x, (int)gap, (int)bad);
    return bad != 0;
}

/* Every `step`-th of the shapes, beginning at `from`. */
static inline int check_shapes(const sp_kernels *k, const matmul_case *c, size_t from, size_t step)
{
    static const uint8_t rows[] = {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100};
    static const uint8_t xs[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 16, 17, 31, 40, 61, 140};
    int bad = 0;
    for (size_t i = from % step; i < sizeof rows * sizeof xs; i += step)
        bad += check_cut(k, c, rows[i / sizeof xs], xs[i % sizeof xs], (int64_t)(i % 3) * 4);
    return bad;
}

/* One case, which is freed, against n_tables kernel tables; every `step`-th shape. */
static inline int check_matmul_case(const sp_kernels *const tables[], int n_tables, matmul_case c,
                                    size_t step)
{
    int bad = 0;
    for (int i = 0; i < n_tables; i++) {
        bool is_scalar = tables[i] == sp_kernels_for(SP_ISA_SCALAR);
        bad += check_shapes(tables[i], &c, c.n + (size_t)c.how, is_scalar ? 16 * step : step);
    }
    free_matmul_case(&c);
    return bad;
}

/* The tables of this machine; returns their number. */
static inline int list_tables(const sp_kernels *tables[SP_ISA_COUNT])
{
    int n = 0;
    for (int isa = SP_ISA_SCALAR; isa < SP_ISA_COUNT; isa++)
        if (sp_kernels_for((sp_isa)isa)) tables[n++] = sp_kernels_for((sp_isa)isa);
    return n;
}

/* One format in all shapes. */
static inline int check_matmul(const sp_kernels *const tables[], int n_tables, sp_dtype dtype)
{
    static const size_t lengths[3][9] = {{1, 7, 8, 9, 130, 257, 384, 576, 2304},
                                         {1, 2, 5, 8, 9, 17, 40, 72, 403},
                                         {1, 2, 3, 4, 5, 7, 9, 19, 67}}; /* blocks of 1, 32, 256 */
    int bad = 0;
    size_t block = sp_dtype_get(dtype)->block;
    for (size_t i = 0; i < 9; i++) {
        size_t n = lengths[block == 1 ? 0 : block == 32 ? 1 : 2][i] * block;
        matmul_case c = make_matmul_case(dtype, n, FILL_RANDOM, i % 3 ? 5 * i : 0, 0);
        bad += check_matmul_case(tables, n_tables, c, n < 1024 ? 2 : 5);
        if (dtype != SP_DTYPE_F8_E4M3) continue;
        c = make_matmul_case(dtype, n, FILL_RANDOM, i, 1);
        bad += check_matmul_case(tables, n_tables, c, 3);
    }
    for (int how = FILL_ONES; how < FILL_COUNT; how++) {
        matmul_case c = make_matmul_case(dtype, 768, (fill)how, 0, 0);
        bad += check_matmul_case(tables, n_tables, c, 7);
    }
    return bad;
}

static inline int check_matmuls(const sp_kernels *const tables[], int n_tables)
{
    int bad = 0;
    for (int t = 0; t < SP_DTYPE_COUNT; t++) bad += check_matmul(tables, n_tables, (sp_dtype)t);
    return bad;
}

#endif
