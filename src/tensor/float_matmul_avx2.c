/* SPDX-License-Identifier: MIT */
/* AVX2 matrix products of the unquantised formats: bit for bit those of float_scalar.c. A register is the eight
 * lanes of one weight row with one activation row; four weight rows meet up to three activation rows at a time.
 * For many activation rows, weights are made floats once, a chunk of columns at a time. Start at multiply(). */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include <math.h>

#include "tensor/lanes.h"
#include "tensor/load_float_avx2.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Columns of one block scale. */
#define SCALE_COLS 128
/* Columns whose floats stay in the innermost cache, a multiple of SCALE_COLS. */
#define CHUNK_COLS 512
/* Activation rows that pass over a chunk; a multiple of three. */
#define MANY_ROWS 60

typedef struct float_format {
    int64_t many; /* activation rows from which on making floats once pays */
    void (*load)(const void *row, size_t i, __m256 w[2]);
    float (*get)(const void *row, size_t i);
} float_format;

/* Four weight rows; rows past the end are the last one. */
typedef struct float_rows {
    const char *w[4];
    const float *scales[4]; /* NULL: none */
} float_rows;

ALWAYS_INLINE void open_rows(float_rows *rows, const sp_matmul *m, int64_t r)
{
    size_t n_scales = (m->n + SCALE_COLS - 1) / SCALE_COLS;
    for (int64_t i = 0; i < 4; i++) {
        int64_t row = r + i < m->n_rows ? r + i : m->n_rows - 1;
        rows->w[i] = (const char *)m->w + (size_t)row * m->w_stride;
        rows->scales[i] = m->scale ? m->scale + (size_t)((m->first + row) / 128) * n_scales : NULL;
    }
}

ALWAYS_INLINE const float *float_row(const sp_matmul *m, int64_t t)
{
    return (const float *)(const void *)((const char *)m->x + (size_t)t * m->x_stride);
}

ALWAYS_INLINE __m128 load_scales(const float_rows *rows, size_t block)
{
    return _mm_setr_ps(rows->scales[0][block], rows->scales[1][block], rows->scales[2][block],
                       rows->scales[3][block]);
}

ALWAYS_INLINE void store_rows(const sp_matmul *m, int64_t r, int64_t t, __m128 sums)
{
    float *y = m->y + t * m->y_stride + r, rest[4];
    _mm_storeu_ps(rest, sums);
    memcpy(y, rest, (size_t)(m->n_rows - r < 4 ? m->n_rows - r : 4) * sizeof *y);
}

/* acc[j][i] += columns begin .. end - 1 of row i with those of x[j], one by one: fewer than 16, from a multiple of 8. */
ALWAYS_INLINE void add_last_columns(__m256 acc[3][4], const char *const w[4], const float *const x[3],
                                    int n_t, size_t begin, size_t end, const float_format *f)
{
    for (int j = 0; begin < end && j < n_t; j++) {
        for (int i = 0; i < 4; i++) {
            float lanes[8];
            _mm256_storeu_ps(lanes, acc[j][i]);
            for (size_t k = begin; k < end; k++) lanes[k % 8] = fmaf(f->get(w[i], k), x[j][k], lanes[k % 8]);
            acc[j][i] = _mm256_loadu_ps(lanes);
        }
    }
}

/* The same for any number of columns. */
ALWAYS_INLINE void add_columns(__m256 acc[3][4], const char *const w[4], const float *const x[3], int n_t,
                               size_t begin, size_t end, const float_format *f)
{
    size_t c = begin;
    for (; c + 16 <= end; c += 16) {
        __m256 v[2];
        for (int i = 0; i < 4; i++) {
            f->load(w[i], c, v);
            for (int j = 0; j < n_t; j++)
                acc[j][i] = _mm256_fmadd_ps(v[0], _mm256_loadu_ps(x[j] + c), acc[j][i]);
            for (int j = 0; j < n_t; j++)
                acc[j][i] = _mm256_fmadd_ps(v[1], _mm256_loadu_ps(x[j] + c + 8), acc[j][i]);
        }
    }
    add_last_columns(acc, w, x, n_t, c, end, f);
}

/* --- few activation rows: n_t <= 3, from t --- */

ALWAYS_INLINE void multiply_few(const sp_matmul *m, const float_format *f, int64_t r, int64_t t, int n_t,
                                int scaled)
{
    float_rows rows;
    const float *x[3];
    __m256 acc[3][4];
    __m128 y[3];
    size_t step = scaled ? SCALE_COLS : m->n;
    open_rows(&rows, m, r);
    for (int j = 0; j < n_t; j++) {
        x[j] = float_row(m, t + j);
        y[j] = _mm_setzero_ps();
    }
    for (size_t c = 0; c < m->n; c += step) {
        for (int j = 0; j < n_t; j++)
            for (int i = 0; i < 4; i++) acc[j][i] = _mm256_setzero_ps();
        add_columns(acc, rows.w, x, n_t, c, m->n - c < step ? m->n : c + step, f);
        for (int j = 0; j < n_t; j++) {
            __m128 sums = sum_lanes_of_4(acc[j]);
            y[j] = scaled ? _mm_add_ps(y[j], _mm_mul_ps(load_scales(&rows, c / SCALE_COLS), sums)) : sums;
        }
    }
    for (int j = 0; j < n_t; j++) store_rows(m, r, t + j, y[j]);
}

ALWAYS_INLINE void multiply_few_rows(const sp_matmul *m, const float_format *f, int scaled)
{
    for (int64_t r = 0; r < m->n_rows; r += 4) {
        int64_t t = 0;
        for (; t + 3 <= m->n_x; t += 3) multiply_few(m, f, r, t, 3, scaled);
        if (m->n_x - t == 2) multiply_few(m, f, r, t, 2, scaled);
        if (m->n_x - t == 1) multiply_few(m, f, r, t, 1, scaled);
    }
}

/* --- many activation rows --- */

/* Four weight rows with up to MANY_ROWS activation rows, some columns of them as floats. */
typedef struct float_panel {
    __m256 acc[MANY_ROWS][4];
    __m128 y[MANY_ROWS]; /* with block scales */
    float w[4][CHUNK_COLS];
} float_panel;

ALWAYS_INLINE void fill_floats(float_panel *p, const float_rows *rows, size_t begin, size_t end,
                               const float_format *f)
{
    for (int i = 0; i < 4; i++) {
        size_t c = begin;
        for (; c + 16 <= end; c += 16) {
            __m256 v[2];
            f->load(rows->w[i], c, v);
            _mm256_storeu_ps(p->w[i] + (c - begin), v[0]);
            _mm256_storeu_ps(p->w[i] + (c - begin) + 8, v[1]);
        }
        for (; c < end; c++) p->w[i][c - begin] = f->get(rows->w[i], c);
    }
}

static const float_format format_f32 = {6, load_f32, get_f32};

/* n columns of floats with three activation rows, which stay in registers. */
static void add_panel(__m256 sums[3][4], const char *const w[4], const float *const x[3], size_t n)
{
    __m256 acc[3][4]; /* a copy, which no pointer can reach */
    size_t c = 0;
    memcpy(acc, sums, sizeof acc);
    for (; c + 8 <= n; c += 8) {
        __m256 v[3];
        for (int j = 0; j < 3; j++) v[j] = _mm256_loadu_ps(x[j] + c);
        for (int i = 0; i < 4; i++) {
            __m256 row = _mm256_loadu_ps((const float *)(const void *)w[i] + c);
            for (int j = 0; j < 3; j++) acc[j][i] = _mm256_fmadd_ps(row, v[j], acc[j][i]);
        }
    }
    memcpy(sums, acc, sizeof acc);
    add_last_columns(sums, w, x, 3, c, n, &format_f32);
}

/* Columns begin .. end - 1 with all activation rows from t. */
static void add_chunk(float_panel *p, const sp_matmul *m, const float_rows *rows, int64_t t, size_t begin,
                      size_t end, const float *const w[4], bool scaled)
{
    const char *bytes[4];
    for (int i = 0; i < 4; i++) bytes[i] = (const char *)w[i];
    for (int64_t j = 0; j < MANY_ROWS && t + j < m->n_x; j += 3) {
        const float *x[3];
        for (int64_t k = 0; k < 3; k++)
            x[k] = float_row(m, t + j + k < m->n_x ? t + j + k : m->n_x - 1) + begin;
        add_panel(p->acc + j, bytes, x, end - begin);
        for (int64_t k = 0; scaled && k < 3; k++) {
            __m128 sums = _mm_mul_ps(load_scales(rows, begin / SCALE_COLS), sum_lanes_of_4(p->acc[j + k]));
            p->y[j + k] = _mm_add_ps(p->y[j + k], sums);
            for (int i = 0; i < 4; i++) p->acc[j + k][i] = _mm256_setzero_ps();
        }
    }
}

ALWAYS_INLINE void multiply_panel(const sp_matmul *m, const float_format *f, int64_t r, int64_t t,
                                  bool scaled)
{
    float_panel p;
    float_rows rows;
    size_t step = scaled ? SCALE_COLS : CHUNK_COLS;
    memset(p.acc, 0, sizeof p.acc);
    memset(p.y, 0, sizeof p.y);
    open_rows(&rows, m, r);
    for (size_t c = 0; c < m->n; c += step) {
        size_t end = m->n - c < step ? m->n : c + step;
        const float *w[4];
        if (f != &format_f32) fill_floats(&p, &rows, c, end, f);
        for (int i = 0; i < 4; i++)
            w[i] = f == &format_f32 ? (const float *)(const void *)rows.w[i] + c : p.w[i];
        add_chunk(&p, m, &rows, t, c, end, w, scaled);
    }
    for (int64_t j = 0; j < MANY_ROWS && t + j < m->n_x; j++)
        store_rows(m, r, t + j, scaled ? p.y[j] : sum_lanes_of_4(p.acc[j]));
}

ALWAYS_INLINE void multiply(const sp_matmul *m, const float_format *f, bool scaled)
{
    if (m->n_x < f->many) {
        multiply_few_rows(m, f, scaled);
        return;
    }
    for (int64_t t = 0; t < m->n_x; t += MANY_ROWS)
        for (int64_t r = 0; r < m->n_rows; r += 4) multiply_panel(m, f, r, t, scaled);
}

static void matmul_f32_avx2(const sp_matmul *m)
{
    multiply(m, &format_f32, false);
}

static void matmul_f16_avx2(const sp_matmul *m)
{
    static const float_format f = {6, load_f16, get_f16};
    multiply(m, &f, false);
}

static void matmul_bf16_avx2(const sp_matmul *m)
{
    static const float_format f = {6, load_bf16, get_bf16};
    multiply(m, &f, false);
}

static void matmul_f8_e4m3_avx2(const sp_matmul *m)
{
    static const float_format f = {4, load_f8_e4m3, get_f8_e4m3};
    if (m->scale)
        multiply(m, &f, true);
    else
        multiply(m, &f, false);
}

void sp_fill_float_matmul_avx2(sp_kernels *k)
{
    k->matmul[SP_DTYPE_F32] = matmul_f32_avx2;
    k->matmul[SP_DTYPE_F16] = matmul_f16_avx2;
    k->matmul[SP_DTYPE_BF16] = matmul_bf16_avx2;
    k->matmul[SP_DTYPE_F8_E4M3] = matmul_f8_e4m3_avx2;
}

#endif
