/* SPDX-License-Identifier: MIT */
/* AVX-512 matmul of a single activation row (plain decoding) for Q8_0, which memory bounds: a weight row is read from
 * end to end, since memory gives most where addresses follow each other; only long rows are cut into spans. Sixteen blocks of a row become sixteen
 * integers and sixteen scales, which wait until sixteen rows have theirs; then they are turned, so that rows stand in
 * lanes, and each block enters the rows' sums in order. Start at sp_matmul_one_q8_0_avx512(). */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include "tensor/decode.h"
#include "tensor/one_avx512.h"

enum {
    BLOCKS = 16, /* that become one register */
    SPAN = 4     /* registers of a row that wait, at most: 2048 elements */
};

/* Sixteen blocks of the activation row. */
typedef struct one_piece {
    __m512i q[BLOCKS / 2];
    __m512i start; /* -128 times the sums of q: weights are read as q + 128 */
    __m512 d;
} one_piece;

/* Block integers and scales of sixteen rows. */
typedef struct waiting {
    __m512 sum[SPAN][16], d[SPAN][16];
} waiting;

/* 32 bytes at a, 32 bytes at b. */
INLINE __m512i load_pair(const void *a, const void *b)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)a)),
                              _mm256_loadu_si256((const __m256i *)b), 1);
}

/* Lane i of the result: the sum of half i % 2 of s[i / 2]. */
INLINE __m512i sum_halves(const __m512i s[8])
{
    /* parts of a: blocks 0, 2, 4, 6 in the first two, 1, 3, 5, 7 in the last two; of b: those plus 8 */
    __m512i a = sum_parts(s[0], s[1], s[2], s[3]), b = sum_parts(s[4], s[5], s[6], s[7]);
    const __m512i order = _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
    return _mm512_permutexvar_epi32(order, add_neighbours(a, b));
}

/* Block i of a weight row, in the place of those that do not exist the last one. */
INLINE const sp_block_q8_0 *block_at(const sp_block_q8_0 *b, size_t n_blocks, size_t i)
{
    return b + (i < n_blocks ? i : n_blocks - 1);
}

/* The first halves of sixteen blocks as floats. */
INLINE __m512 load_scales(const sp_block_q8_0 *b, size_t n)
{
    __m128i v[2];
    for (size_t i = 0; i < 2; i++) {
        v[i] = _mm_cvtsi32_si128(sp_load_u16(block_at(b, n, 8 * i)->d));
        v[i] = _mm_insert_epi16(v[i], sp_load_u16(block_at(b, n, 8 * i + 1)->d), 1);
        v[i] = _mm_insert_epi16(v[i], sp_load_u16(block_at(b, n, 8 * i + 2)->d), 2);
        v[i] = _mm_insert_epi16(v[i], sp_load_u16(block_at(b, n, 8 * i + 3)->d), 3);
        v[i] = _mm_insert_epi16(v[i], sp_load_u16(block_at(b, n, 8 * i + 4)->d), 4);
        v[i] = _mm_insert_epi16(v[i], sp_load_u16(block_at(b, n, 8 * i + 5)->d), 5);
        v[i] = _mm_insert_epi16(v[i], sp_load_u16(block_at(b, n, 8 * i + 6)->d), 6);
        v[i] = _mm_insert_epi16(v[i], sp_load_u16(block_at(b, n, 8 * i + 7)->d), 7);
    }
    return _mm512_cvtph_ps(_mm256_set_m128i(v[1], v[0]));
}

static void load_piece(const sp_act_q8 *a, size_t n_blocks, one_piece *x)
{
    sp_act_q8 copy[BLOCKS];
    memset(copy, 0, sizeof copy);
    memcpy(copy, a, n_blocks * sizeof *a);
    __m512i sums[BLOCKS / 2];
    float d[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) d[i] = copy[i].d;
    for (int i = 0; i < BLOCKS / 2; i++) {
        x->q[i] = load_pair(copy[2 * i].q, copy[2 * i + 1].q);
        sums[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), every_byte(0x80), x->q[i]);
    }
    x->start = _mm512_sub_epi32(_mm512_setzero_si512(), sum_halves(sums));
    x->d = _mm512_loadu_ps(d);
}

/* Sixteen blocks of a weight row, of which the first n_blocks exist; what comes of the others means nothing. */
INLINE void multiply_blocks(const sp_block_q8_0 *b, size_t n_blocks, const one_piece *x, __m512 *sum,
                            __m512 *d)
{
    __m512i sums[BLOCKS / 2];
    for (size_t i = 0; i < BLOCKS / 2; i++) {
        __m512i q = load_pair(block_at(b, n_blocks, 2 * i)->qs, block_at(b, n_blocks, 2 * i + 1)->qs);
        q = _mm512_xor_si512(q, every_byte(0x80));
        sums[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q, x->q[i]);
    }
    *sum = _mm512_cvtepi32_ps(_mm512_add_epi32(sum_halves(sums), x->start));
    *d = _mm512_mul_ps(load_scales(b, n_blocks), x->d);
}

INLINE void multiply_piece(const uint8_t *w, size_t n_blocks, const one_piece *x, __m512 *sum, __m512 *d)
{
    if (n_blocks < BLOCKS)
        multiply_blocks((const sp_block_q8_0 *)w, n_blocks, x, sum, d);
    else
        multiply_blocks((const sp_block_q8_0 *)w, BLOCKS, x, sum, d);
}

/* Rows become lanes: 16 x 16. */
INLINE void turn(const __m512 in[16], __m512 out[16])
{
    __m512i v[16], u[16];
    for (int i = 0; i < 16; i += 4) { /* in each part four rows of one column */
        __m512i a = _mm512_castps_si512(in[i]), b = _mm512_castps_si512(in[i + 1]);
        __m512i c = _mm512_castps_si512(in[i + 2]), d = _mm512_castps_si512(in[i + 3]);
        __m512i ab = _mm512_unpacklo_epi32(a, b), cd = _mm512_unpacklo_epi32(c, d);
        v[i] = _mm512_unpacklo_epi64(ab, cd);
        v[i + 1] = _mm512_unpackhi_epi64(ab, cd);
        ab = _mm512_unpackhi_epi32(a, b), cd = _mm512_unpackhi_epi32(c, d);
        v[i + 2] = _mm512_unpacklo_epi64(ab, cd);
        v[i + 3] = _mm512_unpackhi_epi64(ab, cd);
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
INLINE __m512 add_blocks(const __m512 sum[16], const __m512 d[16], size_t n_blocks, __m512 y)
{
    __m512 sums[16], ds[16];
    turn(sum, sums);
    turn(d, ds);
    for (size_t i = 0; i < n_blocks; i++) y = _mm512_fmadd_ps(ds[i], sums[i], y);
    return y;
}

INLINE size_t piece_blocks(size_t n_blocks, size_t first)
{
    return n_blocks - first < BLOCKS ? n_blocks - first : BLOCKS;
}

/* A walk over sixteen rows. */
typedef struct one_walk {
    const sp_matmul *m;
    const uint8_t *w;
    int64_t n_rows; /* that exist */
    size_t span;    /* pieces that wait */
    int lines;      /* to ask for with each piece */
} one_walk;

/* A span of sixteen rows, from block `first` on, while what comes next is asked for. */
INLINE __m512 add_span(const one_walk *o, size_t first, fetched next, __m512 y)
{
    const size_t n_blocks = o->m->n / 32;
    one_piece x[SPAN];
    waiting wait;
    size_t n_pieces = (n_blocks - first + BLOCKS - 1) / BLOCKS;
    if (n_pieces > o->span) n_pieces = o->span;
    for (size_t p = 0; p < n_pieces; p++) {
        size_t at = first + p * BLOCKS;
        load_piece((const sp_act_q8 *)o->m->x + at, piece_blocks(n_blocks, at), &x[p]);
    }
    for (int64_t r = 0; r < 16; r++) {
        const uint8_t *row = o->w + (size_t)(r < o->n_rows ? r : o->n_rows - 1) * o->m->w_stride;
        for (size_t p = 0; p < n_pieces; p++) {
            size_t at = first + p * BLOCKS;
            fetch_span(&next, o->lines);
            multiply_piece(row + at * sizeof(sp_block_q8_0), piece_blocks(n_blocks, at), &x[p],
                           &wait.sum[p][r], &wait.d[p][r]);
        }
    }
    for (size_t p = 0; p < n_pieces; p++)
        y = add_blocks(wait.sum[p], wait.d[p], piece_blocks(n_blocks, first + p * BLOCKS), y);
    return y;
}

void sp_matmul_one_q8_0_avx512(const sp_matmul *m)
{
    const size_t bytes = sizeof(sp_block_q8_0), n_blocks = m->n / 32, n_pieces = (n_blocks - 1) / BLOCKS + 1;
    const bool whole = n_pieces <= SPAN;
    const size_t span = whole ? n_pieces : 1, span_bytes = whole ? n_blocks * bytes : BLOCKS * bytes;
    const int lines = lines_of_step(span_bytes, 16 * span, whole);
    for (int64_t row = 0; row < m->n_rows; row += 16) {
        sixteen g = begin_sixteen(m, row, false);
        one_walk o = {m, g.w, g.n_rows, span, lines};
        __m512 y = _mm512_setzero_ps();
        for (size_t first = 0; first < n_blocks; first += span * BLOCKS) {
            size_t end = first + span * BLOCKS;
            const uint8_t *next = end < n_blocks ? g.w + end * bytes : next_sixteen(m, row);
            y = add_span(&o, first, begin_fetch(next, m->w_stride, span_bytes, whole), y);
        }
        store_sums(m, row, g.n_rows, 0, 1, &y);
    }
}

#endif
