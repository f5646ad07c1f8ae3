/* SPDX-License-Identifier: MIT */
/* AVX-512 matrix products of the unquantised formats: bit for bit those of float_scalar.c. A sum has eight lanes, so
 * a register holds four of them of four weight rows, a "quad": columns c .. c + 3 (or the four after them) of rows r,
 * r + 4, r + 8 and r + 12. Four such quads are sixteen rows, whose lanes are added up without crossing the parts of
 * registers. A few activation rows meet quads as they are made; for many, the quads of some columns of 32 rows are made
 * once and stay in the innermost caches. Rows past a multiple of sixteen and odd lengths are left to the table below.
 * Start at multiply(). */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include "tensor/one_avx512.h"

enum {
    SCALE_COLS = 128, /* columns of one block scale */
    CHUNK_COLS = 512, /* columns whose quads are made at once, a multiple of SCALE_COLS */
    CHUNK_ROWS = 2,   /* sixteens of weight rows of a chunk */
    MANY_ROWS = 132,  /* activation rows that pass over a chunk, a multiple of TILE */
    TILE = 6,         /* of them at once */
    FEW_ROWS_TILE = 3 /* the same where quads are not kept */
};

typedef struct float_format {
    size_t bytes; /* of an element */
    int64_t many; /* activation rows from which on quads are kept */
    /* Columns 4 k .. 4 k + 3, k < 4, of rows 0, 4, 8 and 12 from w on. */
    void (*load)(const uint8_t *w, size_t stride, __m512 q[4]);
} float_format;

/* --- quads of a format -------------------------------------------------------------------------------------- */

INLINE void load_f32(const uint8_t *w, size_t stride, __m512 q[4])
{
    for (int k = 0; k < 4; k++) q[k] = _mm512_castsi512_ps(load_4_rows(w + 16 * k, stride));
}

INLINE void load_f16(const uint8_t *w, size_t stride, __m512 q[4])
{
    for (int k = 0; k < 4; k += 2) {
        __m512i v = load_4_rows(w + 8 * k, stride);
        __m512 low = _mm512_cvtph_ps(_mm512_castsi512_si256(v));
        __m512 high = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(v, 1));
        q[k] = _mm512_shuffle_f32x4(low, high, 0x88);
        q[k + 1] = _mm512_shuffle_f32x4(low, high, 0xdd);
    }
}

/* The upper halves of floats: eight of each row -> two quads. */
INLINE void widen_halves(__m512i v, __m512 q[2])
{
    q[0] = _mm512_castsi512_ps(_mm512_unpacklo_epi16(_mm512_setzero_si512(), v));
    q[1] = _mm512_castsi512_ps(_mm512_unpackhi_epi16(_mm512_setzero_si512(), v));
}

INLINE void load_bf16(const uint8_t *w, size_t stride, __m512 q[4])
{
    widen_halves(load_4_rows(w, stride), q);
    widen_halves(load_4_rows(w + 16, stride), q + 2);
}

/* The two upper bytes of the float of every E4M3 code without its sign, the rest being zero: exponents move by 120; the
 * codes below 8 are multiples of 2^-9, and the last is NaN. */
#define EIGHT(e) (e) / 2, (e) / 2, (e) / 2, (e) / 2, (e) / 2, (e) / 2, (e) / 2, (e) / 2
#define EIGHTHS(e)                                                                                           \
    (e) % 2 * 128, (e) % 2 * 128 + 16, (e) % 2 * 128 + 32, (e) % 2 * 128 + 48, (e) % 2 * 128 + 64,           \
        (e) % 2 * 128 + 80, (e) % 2 * 128 + 96, (e) % 2 * 128 + 112
static const uint8_t e4m3_high[128] = {0,          0x3b,       0x3b,       0x3b,       0x3c,       0x3c,
                                       0x3c,       0x3c,       EIGHT(121), EIGHT(122), EIGHT(123), EIGHT(124),
                                       EIGHT(125), EIGHT(126), EIGHT(127), EIGHT(128), EIGHT(129), EIGHT(130),
                                       EIGHT(131), EIGHT(132), EIGHT(133), EIGHT(134), 0x43,       0x43,
                                       0x43,       0x43,       0x43,       0x43,       0x43,       0x7f};
static const uint8_t e4m3_low[128] = {0,
                                      0,
                                      0x80,
                                      0xc0,
                                      0,
                                      0x20,
                                      0x40,
                                      0x60,
                                      EIGHTHS(121),
                                      EIGHTHS(122),
                                      EIGHTHS(123),
                                      EIGHTHS(124),
                                      EIGHTHS(125),
                                      EIGHTHS(126),
                                      EIGHTHS(127),
                                      EIGHTHS(128),
                                      EIGHTHS(129),
                                      EIGHTHS(130),
                                      EIGHTHS(131),
                                      EIGHTHS(132),
                                      EIGHTHS(133),
                                      EIGHTHS(134),
                                      0x80,
                                      0x90,
                                      0xa0,
                                      0xb0,
                                      0xc0,
                                      0xd0,
                                      0xe0,
                                      0xc0};

INLINE void load_f8_e4m3(const uint8_t *w, size_t stride, __m512 q[4])
{
    __m512i v = load_4_rows(w, stride);
    __m512i low =
        _mm512_permutex2var_epi8(_mm512_loadu_si512(e4m3_low), v, _mm512_loadu_si512(e4m3_low + 64));
    __m512i high =
        _mm512_permutex2var_epi8(_mm512_loadu_si512(e4m3_high), v, _mm512_loadu_si512(e4m3_high + 64));
    high = _mm512_ternarylogic_epi32(high, v, every_byte(0x80), 0xf8); /* high | (v & sign) */
    widen_halves(_mm512_unpacklo_epi8(low, high), q);
    widen_halves(_mm512_unpackhi_epi8(low, high), q + 2);
}

/* --- sums --------------------------------------------------------------------------------------------------- */

INLINE const float *float_row(const sp_matmul *m, int64_t t)
{
    return (const float *)(const void *)((const char *)m->x + (size_t)t * m->x_stride);
}

/* Four columns of an activation row, in every part. */
INLINE __m512 spread_columns(const float *x)
{
    return _mm512_broadcast_f32x4(_mm_loadu_ps(x));
}

/* sp_lanes_sum of sixteen rows: the first and the last four lanes of each quad -> lane r is row r. */
INLINE __m512 sum_quads(const __m512 low[4], const __m512 high[4])
{
    __m512 s[4]; /* 0+4 1+5 2+6 3+7 */
    for (int g = 0; g < 4; g++) s[g] = _mm512_add_ps(low[g], high[g]);
    __m512 a = _mm512_add_ps(_mm512_shuffle_ps(s[0], s[1], 0x44), _mm512_shuffle_ps(s[0], s[1], 0xee));
    __m512 b = _mm512_add_ps(_mm512_shuffle_ps(s[2], s[3], 0x44), _mm512_shuffle_ps(s[2], s[3], 0xee));
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
}

/* Scales of the block of columns that c lies in, of rows r .. r + 15, which lie in one block of rows or two. */
INLINE __m512 load_scales(const sp_matmul *m, int64_t r, size_t c)
{
    size_t n_scales = (m->n + SCALE_COLS - 1) / SCALE_COLS;
    int64_t row = m->first + r, here = SCALE_COLS - row % SCALE_COLS;
    const float *scale = m->scale + (size_t)(row / SCALE_COLS) * n_scales + c / SCALE_COLS;
    __m512 s = _mm512_set1_ps(*scale);
    return here < 16 ? _mm512_mask_mov_ps(s, (__mmask16)(0xffffu << here), _mm512_set1_ps(scale[n_scales]))
                     : s;
}

INLINE __m512 add_scaled(__m512 y, __m512 scale, __m512 sum)
{
    return _mm512_add_ps(y, _mm512_mul_ps(scale, sum));
}

/* --- few activation rows ------------------------------------------------------------------------------------ */

typedef struct few_sums {
    __m512 low[FEW_ROWS_TILE][4], high[FEW_ROWS_TILE][4];
} few_sums;

/* Sixteen columns of quad g. */
INLINE void add_sixteen(few_sums *s, const float_format *f, const uint8_t *w, size_t stride,
                        const float *const x[], int n_t, int g, size_t c)
{
    __m512 q[4];
    f->load(w, stride, q);
    for (int k = 0; k < 4; k += 2)
        for (int j = 0; j < n_t; j++) {
            s->low[j][g] = _mm512_fmadd_ps(q[k], spread_columns(x[j] + c + 4 * k), s->low[j][g]);
            s->high[j][g] = _mm512_fmadd_ps(q[k + 1], spread_columns(x[j] + c + 4 * k + 4), s->high[j][g]);
        }
}

/* n columns of the four quads, one quad after the other. Written out, so that sums stay in registers. */
INLINE void add_some_columns(few_sums *s, const float_format *f, const sixteen *g, const float *const x[],
                             int n_t, size_t c, size_t n)
{
    const uint8_t *w = g->w + c * f->bytes;
    size_t stride = g->stride;
    for (size_t k = 0; k < n; k += 16) add_sixteen(s, f, w + k * f->bytes, stride, x, n_t, 0, c + k);
    for (size_t k = 0; k < n; k += 16) add_sixteen(s, f, w + stride + k * f->bytes, stride, x, n_t, 1, c + k);
    for (size_t k = 0; k < n; k += 16)
        add_sixteen(s, f, w + 2 * stride + k * f->bytes, stride, x, n_t, 2, c + k);
    for (size_t k = 0; k < n; k += 16)
        add_sixteen(s, f, w + 3 * stride + k * f->bytes, stride, x, n_t, 3, c + k);
}

/* Columns begin .. end - 1 of sixteen rows; of each row a cache line at a time. */
INLINE void add_columns(few_sums *s, const float_format *f, sixteen *g, const float *const x[], int n_t,
                        size_t begin, size_t end)
{
    const size_t line = 64 / f->bytes;
    size_t c = begin;
    for (; c + line <= end; c += line) {
        fetch_bytes(&g->ahead, 1024);
        add_some_columns(s, f, g, x, n_t, c, line);
    }
    for (; c < end; c += 16) add_some_columns(s, f, g, x, n_t, c, 16);
}

/* Sixteen weight rows from r with n_t activation rows from t. */
INLINE void multiply_few(const sp_matmul *m, const float_format *f, int64_t r, int64_t t, int n_t,
                         bool scaled)
{
    const float *x[FEW_ROWS_TILE];
    __m512 y[FEW_ROWS_TILE];
    sixteen g = begin_sixteen(m, r, t == 0);
    size_t step = scaled ? SCALE_COLS : m->n;
    for (int j = 0; j < n_t; j++) {
        x[j] = float_row(m, t + j);
        y[j] = _mm512_setzero_ps();
    }
    for (size_t c = 0; c < m->n; c += step) {
        few_sums s;
        for (int j = 0; j < n_t; j++)
            for (int i = 0; i < 4; i++) s.low[j][i] = s.high[j][i] = _mm512_setzero_ps();
        add_columns(&s, f, &g, x, n_t, c, m->n - c < step ? m->n : c + step);
        for (int j = 0; j < n_t; j++) {
            __m512 sum = sum_quads(s.low[j], s.high[j]);
            y[j] = scaled ? add_scaled(y[j], load_scales(m, r, c), sum) : sum;
        }
    }
    for (int j = 0; j < n_t; j++) _mm512_storeu_ps(m->y + (t + j) * m->y_stride + r, y[j]);
}

INLINE void multiply_few_rows(const sp_matmul *m, const float_format *f, bool scaled)
{
    for (int64_t r = 0; r < m->n_rows; r += 16) {
        int64_t t = 0;
        for (; t + 3 <= m->n_x; t += 3) multiply_few(m, f, r, t, 3, scaled);
        if (m->n_x - t == 2) multiply_few(m, f, r, t, 2, scaled);
        if (m->n_x - t == 1) multiply_few(m, f, r, t, 1, scaled);
    }
}

/* --- many activation rows ----------------------------------------------------------------------------------- */

/* Some columns of some weight rows, and what up to MANY_ROWS activation rows have of them so far. */
typedef struct float_chunk {
    __m512 q[CHUNK_ROWS][2][CHUNK_COLS / 8][4]; /* the first (last) four of eight columns, of four quads */
    __m512 sum[MANY_ROWS][CHUNK_ROWS][2][4];    /* without block scales */
    __m512 y[MANY_ROWS][CHUNK_ROWS];            /* with them */
} float_chunk;

/* Sixteen weight rows of a chunk and the activation rows that meet them. */
typedef struct chunk_part {
    const sp_matmul *m;
    int64_t r, t;      /* first weight row, first activation row */
    int64_t n_t;       /* activation rows */
    size_t begin, end; /* columns */
    int h;             /* place among the sixteens of the chunk */
    size_t bytes;      /* of a weight */
    const char *ahead; /* the columns that come next: asked for by the first tile */
} chunk_part;

INLINE void fill_quads(float_chunk *p, const chunk_part *at, const float_format *f)
{
    const size_t stride = at->m->w_stride;
    const uint8_t *w = (const uint8_t *)at->m->w + (size_t)at->r * stride;
    for (int g = 0; g < 4; g++, w += stride)
        for (size_t c = at->begin; c < at->end; c += 16) {
            size_t eight = (c - at->begin) / 8;
            __m512 q[4];
            f->load(w + c * f->bytes, stride, q);
            for (size_t k = 0; k < 4; k++) p->q[at->h][k % 2][eight + k / 2][g] = q[k];
        }
}

/* Asks for the share of the columns that come next which falls to step i of CHUNK_COLS / 4. */
INLINE void fetch_share(const chunk_part *at, size_t i)
{
    const size_t per_row = CHUNK_COLS / 4 / 16;
    const char *p = at->ahead + i / per_row * at->m->w_stride + i % per_row * 64 * at->bytes;
    for (size_t k = 0; k < at->bytes; k++) _mm_prefetch(p + 64 * k, _MM_HINT_T0);
}

/* A half (every other four) of n columns from `begin` on with activation rows t .. t + n_t - 1 of the part. */
INLINE void add_tile(const float_chunk *p, const chunk_part *at, int half, int64_t t, int n_t, size_t begin,
                     size_t n, __m512 sum[TILE][4])
{
    const __m512(*w)[4] = p->q[at->h][half] + begin / 8;
    const size_t first = (size_t)half * (CHUNK_COLS / 8) + begin / 8;
    const float *x[TILE];
    for (int j = 0; j < n_t; j++) x[j] = float_row(at->m, at->t + t + j) + at->begin + begin + 4 * half;
    for (size_t i = 0; i < n / 8; i++, w++) {
        __m512 q[4];
        if (t == 0) fetch_share(at, first + i);
        for (int g = 0; g < 4; g++) q[g] = w[0][g];
        for (int j = 0; j < n_t; j++) {
            __m512 v = spread_columns(x[j] + 8 * i);
            for (int g = 0; g < 4; g++) sum[j][g] = _mm512_fmadd_ps(q[g], v, sum[j][g]);
        }
    }
}

/* All columns of the chunk. */
INLINE void add_sums(float_chunk *p, const chunk_part *at, int64_t t, int n_t)
{
    for (int half = 0; half < 2; half++) {
        __m512 sum[TILE][4];
        for (int j = 0; j < n_t; j++)
            for (int g = 0; g < 4; g++) sum[j][g] = p->sum[t + j][at->h][half][g];
        add_tile(p, at, half, t, n_t, 0, at->end - at->begin, sum);
        for (int j = 0; j < n_t; j++)
            for (int g = 0; g < 4; g++) p->sum[t + j][at->h][half][g] = sum[j][g];
    }
}

/* The same with block scales. */
INLINE void add_scaled_sums(float_chunk *p, const chunk_part *at, int64_t t, int n_t)
{
    size_t n = at->end - at->begin;
    for (size_t c = 0; c < n; c += SCALE_COLS) {
        size_t here = n - c < SCALE_COLS ? n - c : SCALE_COLS;
        __m512 low[TILE][4], high[TILE][4], scale = load_scales(at->m, at->r, at->begin + c);
        for (int j = 0; j < n_t; j++)
            for (int g = 0; g < 4; g++) low[j][g] = high[j][g] = _mm512_setzero_ps();
        add_tile(p, at, 0, t, n_t, c, here, low);
        add_tile(p, at, 1, t, n_t, c, here, high);
        for (int j = 0; j < n_t; j++)
            p->y[t + j][at->h] = add_scaled(p->y[t + j][at->h], scale, sum_quads(low[j], high[j]));
    }
}

INLINE void add_rows(float_chunk *p, const chunk_part *at, int64_t t, int n_t, bool scaled)
{
    if (scaled)
        add_scaled_sums(p, at, t, n_t);
    else
        add_sums(p, at, t, n_t);
}

INLINE void add_part(float_chunk *p, const chunk_part *at, bool scaled)
{
    int64_t t = 0;
    for (; t + TILE <= at->n_t; t += TILE) add_rows(p, at, t, TILE, scaled);
    switch (at->n_t - t) {
    case 1: add_rows(p, at, t, 1, scaled); break;
    case 2: add_rows(p, at, t, 2, scaled); break;
    case 3: add_rows(p, at, t, 3, scaled); break;
    case 4: add_rows(p, at, t, 4, scaled); break;
    case 5: add_rows(p, at, t, 5, scaled); break;
    default: break;
    }
}

INLINE void store_chunk(const float_chunk *p, const chunk_part *at, bool scaled)
{
    for (int64_t j = 0; j < at->n_t; j++) {
        const __m512(*sum)[4] = p->sum[j][at->h];
        _mm512_storeu_ps(at->m->y + (at->t + j) * at->m->y_stride + at->r,
                         scaled ? p->y[j][at->h] : sum_quads(sum[0], sum[1]));
    }
}

/* Activation rows of a pass: about the same in each. */
INLINE int64_t share_rows(int64_t n_x)
{
    if (n_x <= MANY_ROWS) return MANY_ROWS;
    int64_t passes = (n_x + MANY_ROWS - 1) / MANY_ROWS, share = (n_x + passes - 1) / passes;
    return (share + TILE - 1) / TILE * TILE;
}

/* Up to 16 CHUNK_ROWS weight rows from r with n_t activation rows from t. */
INLINE void multiply_many(const sp_matmul *m, const float_format *f, int64_t r, int64_t t, int64_t n_t,
                          bool scaled)
{
    float_chunk p;
    chunk_part part[CHUNK_ROWS];
    int n = m->n_rows - r < 16 * CHUNK_ROWS ? (int)(m->n_rows - r) / 16 : CHUNK_ROWS;
    memset(p.sum, 0, scaled ? 0 : (size_t)n_t * sizeof *p.sum);
    memset(p.y, 0, scaled ? (size_t)n_t * sizeof *p.y : 0);
    for (size_t c = 0; c < m->n; c += CHUNK_COLS) {
        size_t end = m->n - c < CHUNK_COLS ? m->n : c + CHUNK_COLS;
        for (int h = 0; h < n; h++) {
            int64_t row = r + 16 * h, next = end < m->n ? row : row + 16 * CHUNK_ROWS;
            uintptr_t coming =
                (uintptr_t)m->w + (size_t)next * m->w_stride + (end < m->n ? end : 0) * f->bytes;
            part[h] = (chunk_part){m, row, t, n_t, c, end, h, f->bytes, (const char *)coming};
            fill_quads(&p, &part[h], f);
        }
        for (int h = 0; h < n; h++) add_part(&p, &part[h], scaled);
    }
    for (int h = 0; h < n; h++) store_chunk(&p, &part[h], scaled);
}

/* --- rows of the table -------------------------------------------------------------------------------------- */

/* The first rows as above, the others by the function of the table below. */
INLINE void multiply(const sp_matmul *m, const float_format *f, sp_matmul_fn narrow, bool scaled)
{
    int64_t n_rows = m->n % 16 ? 0 : m->n_rows - m->n_rows % 16, share = share_rows(m->n_x);
    sp_matmul here = *m, rest = *m;
    here.n_rows = n_rows;
    if (n_rows && m->n_x < f->many) multiply_few_rows(&here, f, scaled);
    for (int64_t t = 0; n_rows && m->n_x >= f->many && t < m->n_x; t += share)
        for (int64_t r = 0; r < n_rows; r += 16 * CHUNK_ROWS)
            multiply_many(&here, f, r, t, m->n_x - t < share ? m->n_x - t : share, scaled);
    if (n_rows == m->n_rows) return;
    rest.w = (const char *)m->w + (size_t)n_rows * m->w_stride;
    rest.n_rows -= n_rows;
    rest.first += n_rows;
    rest.y += n_rows;
    narrow(&rest);
}

static sp_matmul_fn narrow_f32, narrow_f16, narrow_bf16, narrow_f8_e4m3;

/* For few rows, floats as they lie are better read a row at a time. */
static void matmul_f32_avx512(const sp_matmul *m)
{
    static const float_format f = {4, 6, load_f32};
    if (m->n_x < f.many)
        narrow_f32(m);
    else
        multiply(m, &f, narrow_f32, false);
}

static void matmul_f16_avx512(const sp_matmul *m)
{
    static const float_format f = {2, 6, load_f16};
    multiply(m, &f, narrow_f16, false);
}

static void matmul_bf16_avx512(const sp_matmul *m)
{
    static const float_format f = {2, 10, load_bf16};
    multiply(m, &f, narrow_bf16, false);
}

static void matmul_f8_e4m3_avx512(const sp_matmul *m)
{
    static const float_format f = {1, 6, load_f8_e4m3};
    if (m->scale)
        multiply(m, &f, narrow_f8_e4m3, true);
    else
        multiply(m, &f, narrow_f8_e4m3, false);
}

#define SET_ROW(k, dtype, type)                                                                              \
    narrow_##type = (k)->matmul[dtype];                                                                      \
    (k)->matmul[dtype] = matmul_##type##_avx512

void sp_fill_float_matmul_avx512(sp_kernels *k)
{
    SET_ROW(k, SP_DTYPE_F32, f32);
    SET_ROW(k, SP_DTYPE_F16, f16);
    SET_ROW(k, SP_DTYPE_BF16, bf16);
    SET_ROW(k, SP_DTYPE_F8_E4M3, f8_e4m3);
}

#endif
