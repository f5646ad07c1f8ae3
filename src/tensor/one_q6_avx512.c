/* SPDX-License-Identifier: MIT */
/* AVX-512 matmul of a single activation row (plain decoding) for Q6_K. A weight row is read from end to end: side by side,
 * sixteen rows of 210-byte blocks get four fifths of what memory gives. A register holds 64 elements of a block, whose
 * products with their scales become the block's integer; integers and scales of sixteen rows wait, and enter the sums
 * block by block. Layouts: blocks.h and decode.c. Start at sp_matmul_one_q6_k_avx512(). */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include "tensor/one_avx512.h"

enum {
    ROWS = 16,
    SPAN = 64, /* blocks of a row that wait, at most: 16384 elements */
    BYTES = sizeof(sp_block_q6_k),
    LEAD = 4096 /* bytes between what is read and what is asked for */
};

/* Some blocks of the activation row. */
typedef struct one_span {
    int64_t n_blocks;
    __m512i q[SPAN][4];
    __m256i sums[SPAN]; /* of sixteen elements each, as words */
    float d[SPAN];
} one_span;

/* What sixteen rows have of a span, block after block of row after row. */
typedef struct waiting {
    int32_t sum[ROWS * SPAN];
    uint8_t d[ROWS * SPAN][2];
} waiting;

static void load_span(const sp_act_q8k *a, int64_t n_blocks, one_span *s)
{
    s->n_blocks = n_blocks;
    for (int64_t i = 0; i < n_blocks; i++) {
        for (int k = 0; k < 4; k++) s->q[i][k] = _mm512_loadu_si512(a[i].q + 64 * k);
        s->sums[i] = _mm256_loadu_si256((const __m256i *)a[i].sums);
        s->d[i] = a[i].d;
    }
}

/* sum + the products of quarter k with their scales, of which each belongs to eight words. */
INLINE __m512i add_quarter(__m512i sum, __m512i q, const __m512i *x, int k, __m512i scales)
{
    const __m512i first = _mm512_set_epi64(0x0003000300030003, 0x0003000300030003, 0x0002000200020002,
                                           0x0002000200020002, 0x0001000100010001, 0x0001000100010001, 0, 0);
    __m512i at = _mm512_add_epi16(first, _mm512_set1_epi16((short)(4 * k)));
    return _mm512_dpwssd_epi32(sum, _mm512_maddubs_epi16(q, x[k]), _mm512_permutexvar_epi16(at, scales));
}

/* A block's integer, in sixteen parts. Elements are read as larger by 32. */
INLINE __m512i dot_block(const sp_block_q6_k *b, const __m512i *x, __m256i sums)
{
    __m256i scales = _mm256_cvtepi8_epi16(load_16(b->scales));
    __m512i spread = _mm512_castsi256_si512(scales);
    __m512i nibble = every_byte(15), bits = every_byte(48);
    __m512i sum =
        _mm512_sub_epi32(_mm512_setzero_si512(),
                         _mm512_zextsi256_si512(_mm256_slli_epi32(_mm256_madd_epi16(scales, sums), 5)));
    for (int i = 0; i < 2; i++) {
        __m512i v = load_64(b->ql + 64 * i), h = upper_down(load_twice(b->qh + 32 * i), 2);
        __m512i q = or_and(_mm512_and_si512(v, nibble), _mm512_slli_epi16(h, 4), bits);
        sum = add_quarter(sum, q, x, 2 * i, spread);
        q = or_and(_mm512_and_si512(_mm512_srli_epi16(v, 4), nibble), h, bits);
        sum = add_quarter(sum, q, x, 2 * i + 1, spread);
    }
    return sum;
}

/* A place in some rows. */
typedef struct one_walk {
    const uint8_t *w;
    size_t gap; /* from a row's end to where the next begins */
    int64_t block, rows_left;
    ahead next;
} one_walk;

/* To the next block; at the end it stays where it is. */
INLINE void step(one_walk *o, int64_t n_blocks)
{
    bool last = o->block + 1 == n_blocks;
    if (last && o->rows_left == 1) return;
    o->w += BYTES + (last ? o->gap : 0);
    o->rows_left -= last;
    if (last && o->gap)
        o->next = begin_fetch(o->w + LEAD); /* a part of each row: not where the last one's ends */
    o->block = last ? 0 : o->block + 1;
}

/* The next four blocks' integers, in four parts each. */
INLINE __m512i dot_four(const one_span *s, one_walk *o, uint8_t (*d)[2])
{
    __m512i sum[4];
    for (int i = 0; i < 4; i++) {
        const sp_block_q6_k *b = (const sp_block_q6_k *)o->w;
        fetch_bytes(&o->next, BYTES);
        sum[i] = dot_block(b, s->q[o->block], s->sums[o->block]);
        memcpy(d[i], b->d, 2);
        step(o, s->n_blocks);
    }
    return sum_parts(sum[0], sum[1], sum[2], sum[3]);
}

static void dot_rows(const one_span *s, one_walk o, waiting *wait)
{
    const int64_t n = o.rows_left * s->n_blocks;
    for (int64_t i = 0; i < n; i += 16) {
        __m512i a = dot_four(s, &o, wait->d + i), b = dot_four(s, &o, wait->d + i + 4);
        __m512i low = add_neighbours(a, b);
        a = dot_four(s, &o, wait->d + i + 8);
        b = dot_four(s, &o, wait->d + i + 12);
        _mm512_storeu_si512(wait->sum + i, add_neighbours(low, add_neighbours(a, b)));
    }
}

/* y + the blocks of n_rows rows, in order. */
INLINE __m512 add_blocks(const one_span *s, const waiting *wait, int64_t n_rows, __m512 y)
{
    int32_t sum[ROWS] = {0};
    uint16_t d[ROWS] = {0};
    for (int64_t b = 0; b < s->n_blocks; b++) {
        for (int64_t r = 0; r < n_rows; r++) {
            sum[r] = wait->sum[r * s->n_blocks + b];
            memcpy(&d[r], wait->d[r * s->n_blocks + b], 2);
        }
        __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)d));
        __m512 value = _mm512_cvtepi32_ps(_mm512_loadu_si512(sum));
        y = _mm512_fmadd_ps(_mm512_mul_ps(scale, _mm512_set1_ps(s->d[b])), value, y);
    }
    return y;
}

/* Adds a span, which begins with block `first`, of sixteen rows from `row` on; y starts at 0 in the first. */
static void multiply_sixteen(const sp_matmul *m, const one_span *s, int64_t first, int64_t row)
{
    waiting wait;
    const int64_t n_rows = m->n_rows - row < ROWS ? m->n_rows - row : ROWS;
    const uint8_t *w = (const uint8_t *)m->w + (size_t)row * m->w_stride + (size_t)first * BYTES;
    one_walk o = {w, m->w_stride - (size_t)s->n_blocks * BYTES, 0, n_rows,
                  begin_fetch(further_on(m, w, LEAD))};
    dot_rows(s, o, &wait);
    __m512 y = begin_sums(m, row, n_rows, first == 0);
    y = n_rows == ROWS ? add_blocks(s, &wait, ROWS, y) : add_blocks(s, &wait, n_rows, y);
    store_sums(m, row, n_rows, 0, 1, &y);
}

void sp_matmul_one_q6_k_avx512(const sp_matmul *m)
{
    const int64_t n_blocks = (int64_t)m->n / 256;
    one_span s;
    for (int64_t first = 0; first < n_blocks; first += SPAN) {
        load_span((const sp_act_q8k *)m->x + first, n_blocks - first < SPAN ? n_blocks - first : SPAN, &s);
        for (int64_t row = 0; row < m->n_rows; row += ROWS) multiply_sixteen(m, &s, first, row);
    }
}

#endif
