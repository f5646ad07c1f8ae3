/* SPDX-License-Identifier: MIT */
/* AVX-512 matmul of a single activation row (plain decoding) for Q8_0, which memory bounds: a weight row is read from
 * end to end, since memory gives most where addresses follow each other. Sixteen blocks of a row stand in the lanes of
 * a register, and so do those of the activation row, once for all rows. Their integers and scales wait until sixteen
 * rows have theirs; then they are turned, so that rows stand in lanes, and each block enters the rows' sums in order.
 * Start at sp_matmul_one_q8_0_avx512(). */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include "tensor/one_avx512.h"

enum {
    BLOCKS = 16, /* that become one register */
    SPAN = 24,   /* registers of a row that wait, at most: 12288 elements */
    BYTES = sizeof(sp_block_q8_0),
    /* Memory is asked for evenly: eight lines with each piece of a row, which is 8.5 long, and as many for each piece when
     * sixteen rows are added up. That is a seventeenth part of the time, and by so much less the lead shrinks before. */
    SHARE = 512,
    LEAD = 3072 /* bytes between what is read and what is asked for, at least */
};

/* Sixteen blocks of the activation row. */
typedef struct one_piece {
    __m512i q[8];  /* elements 4k..4k+3 of block i in lane i */
    __m512i start; /* -128 times the sums of q: weights are read as q + 128 */
    __m512 d;
} one_piece;

/* Block integers and scales of sixteen rows. */
typedef struct waiting {
    __m512 sum[16], d[16];
} waiting;

/* Of a row. */
typedef struct one_span {
    int n_blocks, n_pieces, n_last; /* n_last: blocks of the last piece */
    one_piece x[SPAN];
} one_span;

static void load_piece(const sp_act_q8 *a, int n_blocks, one_piece *x)
{
    sp_act_q8 copy[BLOCKS];
    float d[BLOCKS];
    memset(copy, 0, sizeof copy);
    memcpy(copy, a, (size_t)n_blocks * sizeof *a);
    for (int i = 0; i < BLOCKS; i++) d[i] = copy[i].d;
    x->d = _mm512_loadu_ps(d);
    load_rows_32((const uint8_t *)copy[0].q, sizeof *a, x->q);
    __m512i sum = _mm512_setzero_si512();
    for (int k = 0; k < 8; k++) sum = _mm512_dpbusd_epi32(sum, every_byte(0x80), x->q[k]);
    x->start = _mm512_sub_epi32(_mm512_setzero_si512(), sum);
}

/* Blocks `first` .. of the activation row, as many as there are or fit. */
static void load_span(const sp_matmul *m, size_t first, one_span *s)
{
    size_t n = m->n / 32 - first;
    if (n > SPAN * BLOCKS) n = SPAN * BLOCKS;
    s->n_blocks = (int)n;
    s->n_pieces = (int)((n + BLOCKS - 1) / BLOCKS);
    s->n_last = (int)n - BLOCKS * (s->n_pieces - 1);
    for (int p = 0; p < s->n_pieces; p++)
        load_piece((const sp_act_q8 *)m->x + first + (size_t)(p * BLOCKS),
                   p + 1 < s->n_pieces ? BLOCKS : s->n_last, &s->x[p]);
}

/* Sixteen blocks of a weight row. */
INLINE void multiply_piece(const uint8_t *w, const one_piece *x, const uint8_t *next, __m512 *sum, __m512 *d)
{
    __m512i q[8], head[4], part[2] = {x->start, _mm512_setzero_si512()};
    load_rows(w, BYTES, head);
    load_rows_32(w + offsetof(sp_block_q8_0, qs), BYTES, q);
    for (int k = 0; k < 8; k++) {
        part[k % 2] = _mm512_dpbusd_epi32(part[k % 2], _mm512_xor_si512(q[k], every_byte(0x80)), x->q[k]);
        _mm_prefetch((const char *)next + 64 * k, _MM_HINT_T0);
    }
    *sum = _mm512_cvtepi32_ps(_mm512_add_epi32(part[0], part[1]));
    *d = _mm512_mul_ps(low_half(head[0]), x->d);
}

/* Blocks that do not exist are zeros: what comes of them is not used. */
static void multiply_last(const uint8_t *w, int n_blocks, const one_piece *x, const uint8_t *next,
                          __m512 *sum, __m512 *d)
{
    uint8_t copy[BLOCKS * BYTES] = {0};
    memcpy(copy, w, (size_t)(n_blocks * BYTES));
    multiply_piece(copy, x, next, sum, d);
}

/* Rows become lanes: 16 x 16. */
INLINE void turn(const __m512 in[16], __m512 out[16])
{
    __m512i v[16], u[4];
    for (int i = 0; i < 4; i++) { /* in each part of v[4 i + k] four rows of one column */
        __m512i z[4] = {_mm512_castps_si512(in[4 * i]), _mm512_castps_si512(in[4 * i + 1]),
                        _mm512_castps_si512(in[4 * i + 2]), _mm512_castps_si512(in[4 * i + 3])};
        turn_parts(z, v + 4 * i);
    }
    for (int k = 0; k < 4; k++) { /* part p of v[4 r + k]: rows 4 r .. 4 r + 3 of column 4 p + k */
        u[0] = _mm512_shuffle_i32x4(v[k], v[4 + k], 0x44);
        u[1] = _mm512_shuffle_i32x4(v[k], v[4 + k], 0xee);
        u[2] = _mm512_shuffle_i32x4(v[8 + k], v[12 + k], 0x44);
        u[3] = _mm512_shuffle_i32x4(v[8 + k], v[12 + k], 0xee);
        out[k] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(u[0], u[2], 0x88));
        out[4 + k] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(u[0], u[2], 0xdd));
        out[8 + k] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(u[1], u[3], 0x88));
        out[12 + k] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(u[1], u[3], 0xdd));
    }
}

/* y + n_blocks blocks of sixteen rows, in order. */
INLINE __m512 add_blocks(const waiting *wait, int n_blocks, __m512 y)
{
    __m512 sums[16], ds[16];
    turn(wait->sum, sums);
    turn(wait->d, ds);
    for (int i = 0; i < n_blocks; i++) y = _mm512_fmadd_ps(ds[i], sums[i], y);
    return y;
}

/* A span of a row. */
static void multiply_row(const one_span *s, const uint8_t *w, int64_t row, const uint8_t *next, waiting *wait)
{
    const int n_whole = s->n_last < BLOCKS ? s->n_pieces - 1 : s->n_pieces;
    for (int p = 0; p < n_whole; p++, w += BLOCKS * BYTES, next += SHARE)
        multiply_piece(w, &s->x[p], next, &wait[p].sum[row], &wait[p].d[row]);
    if (n_whole < s->n_pieces)
        multiply_last(w, s->n_last, &s->x[n_whole], next, &wait[n_whole].sum[row], &wait[n_whole].d[row]);
}

/* Adds a span of sixteen rows from `row` on; y starts at 0 in the first. */
static void multiply_sixteen(const sp_matmul *m, const one_span *s, size_t first, int64_t row)
{
    waiting wait[SPAN];
    const int64_t n = m->n_rows - row < 16 ? m->n_rows - row : 16;
    const uint8_t *w = (const uint8_t *)m->w + (size_t)row * m->w_stride + first * BYTES;
    const uint8_t *next = further_on(m, w, LEAD + (size_t)s->n_pieces * SHARE);
    const bool whole = (size_t)s->n_blocks * BYTES == m->w_stride;
    const size_t step = whole ? (size_t)s->n_pieces * SHARE : m->w_stride;
    for (int64_t r = 0; r < n; r++, w += m->w_stride, next += step) multiply_row(s, w, r, next, wait);
    for (int p = 0; p < s->n_pieces; p++)
        for (int64_t r = n; r < 16; r++) wait[p].sum[r] = wait[p].d[r] = _mm512_setzero_ps();
    __m512 y = begin_sums(m, row, n, first == 0);
    for (int p = 0; p < s->n_pieces; p++) {
        for (int i = 0; i < SHARE; i += 64) _mm_prefetch((const char *)next + p * SHARE + i, _MM_HINT_T0);
        y = add_blocks(&wait[p], p + 1 < s->n_pieces ? BLOCKS : s->n_last, y);
    }
    store_sums(m, row, n, 0, 1, &y);
}

void sp_matmul_one_q8_0_avx512(const sp_matmul *m)
{
    one_span s;
    for (size_t first = 0; first < m->n / 32; first += SPAN * BLOCKS) {
        load_span(m, first, &s);
        for (int64_t row = 0; row < m->n_rows; row += 16) multiply_sixteen(m, &s, first, row);
    }
}

#endif
