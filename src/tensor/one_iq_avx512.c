/* SPDX-License-Identifier: MIT */
/* AVX-512 matmuls of up to SP_FEW activation rows for the codebook formats IQ1, IQ2 and IQ3. A codebook is looked up in
 * registers: its entries are packed into bytes, and permutations of 128 bytes, chosen between by the upper bits of the
 * indices, give the entries of 64 indices at once. What comes out are planes: byte e of plane p belongs to element p of
 * entry e. So activations are brought into that order, once for sixteen weight rows, and signs are moved to them, which
 * leaves unsigned weights.
 *
 * IQ3: a block of 256 has 64 entries of four elements, a row at a time. IQ1 and IQ2: 32 of eight, two rows at a time.
 * Layouts: blocks.h and decode_iq.c. Start at multiply_few(). */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include "tensor/decode.h"
#include "tensor/one_avx512.h"

enum { PLANES = 8, IQ1_OFFSET = 9 };

/* Codebooks by index. Nibbles or pairs of bits of a byte are elements, the first ones lowest. */
static struct codebooks {
    _Alignas(64) uint8_t iq3xxs[4][256];                  /* the elements themselves */
    uint8_t iq3s[2][512];                                 /* nibbles */
    uint8_t iq2xxs[2][256], iq2xs[2][512], iq2s[2][1024]; /* 0, 1, 2 for 8, 25, 43 */
    uint8_t iq1[2][2048];                                 /* 0, 1, 2 for -1, 0, 1 */
    uint8_t signs[128];
} books;

/* A block's weights. */
typedef struct planes {
    __m512i q[PLANES]; /* unsigned, at most 62 */
    __m512i signs;     /* bits of a byte: where elements are negative */
    __m512i scale;     /* of groups of 32: int32 lanes, of 16: words */
} planes;

/* A block of an activation row. */
typedef struct act_planes {
    __m512i q[PLANES];
    __m512i start; /* of the sum: what the weights' offset adds, a lane for a group of 32 */
    __m512i pairs; /* the same where groups are of 16: times scales */
    float d;
} act_planes;

typedef struct format_iq {
    int bytes, n_planes;
    bool signs, group_16;
    int offset;   /* integers are larger than values by this */
    float factor; /* taken into d */
    /* Weight rows a and b; where there are four planes, of row a alone. */
    void (*load)(const uint8_t *a, const uint8_t *b, planes *p);
    uint16_t (*d)(const uint8_t *w); /* NULL: the half in front */
} format_iq;

/* --- codebooks ---------------------------------------------------------------------------------------------- */

/* The byte that the code of each value makes with the three others. */
static uint8_t pack_four(const uint8_t *values, uint8_t low, uint8_t middle)
{
    int v = 0;
    for (int i = 0; i < 4; i++) v |= (values[i] == low ? 0 : values[i] == middle ? 1 : 2) << (2 * i);
    return (uint8_t)v;
}

static void pack_book(const uint64_t *grid, int n, uint8_t low, uint8_t middle, uint8_t *out)
{
    for (int i = 0; i < n; i++) {
        uint8_t values[8];
        memcpy(values, &grid[i], 8);
        out[i] = pack_four(values, low, middle);
        out[n + i] = pack_four(values + 4, low, middle);
    }
}

static void pack_books(void)
{
    for (int i = 0; i < 256; i++)
        for (int p = 0; p < 4; p++) books.iq3xxs[p][i] = (uint8_t)(sp_iq3xxs_grid[i] >> (8 * p));
    for (int i = 0; i < 512; i++) {
        uint32_t v = sp_iq3s_grid[i];
        books.iq3s[0][i] = (uint8_t)((v & 15u) | (v >> 4 & 0xf0u));
        books.iq3s[1][i] = (uint8_t)((v >> 16 & 15u) | (v >> 20 & 0xf0u));
    }
    pack_book(sp_iq2xxs_grid, 256, 8, 25, books.iq2xxs[0]);
    pack_book(sp_iq2xs_grid, 512, 8, 25, books.iq2xs[0]);
    pack_book(sp_iq2s_grid, 1024, 8, 25, books.iq2s[0]);
    pack_book(sp_iq1_grid, 2048, 0xff, 0, books.iq1[0]);
    for (uint32_t i = 0; i < 128; i++) books.signs[i] = sp_iq_signs(i);
}

/* Entries of 128 by the lower seven bits of every byte. */
INLINE __m512i look_128(const uint8_t *book, __m512i index)
{
    return _mm512_permutex2var_epi8(_mm512_load_si512(book), index, _mm512_load_si512(book + 64));
}

/* Entries of more: bit[0] is the index's bit 7, and so on. */
INLINE __m512i look_256(const uint8_t *book, __m512i index, const __mmask64 bit[])
{
    return _mm512_mask_mov_epi8(look_128(book, index), bit[0], look_128(book + 128, index));
}

INLINE __m512i look_512(const uint8_t *book, __m512i index, const __mmask64 bit[])
{
    return _mm512_mask_mov_epi8(look_256(book, index, bit), bit[1], look_256(book + 256, index, bit));
}

INLINE __m512i look_1024(const uint8_t *book, __m512i index, const __mmask64 bit[])
{
    return _mm512_mask_mov_epi8(look_512(book, index, bit), bit[2], look_512(book + 512, index, bit));
}

INLINE __m512i look_2048(const uint8_t *book, __m512i index, const __mmask64 bit[])
{
    return _mm512_mask_mov_epi8(look_1024(book, index, bit), bit[3], look_1024(book + 1024, index, bit));
}

/* --- pieces ------------------------------------------------------------------------------------------------- */

INLINE __m256i load_half(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* 32 bytes of row a, 32 of row b. */
INLINE __m512i load_two(const void *a, const void *b)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(load_half(a)), load_half(b), 1);
}

INLINE __m128i load_8_two(const void *a, const void *b)
{
    return _mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)a), _mm_loadl_epi64((const __m128i *)b));
}

/* Every byte `times` times, the first ones. */
INLINE __m512i repeat_bytes(__m512i v, int times)
{
    _Alignas(64) uint8_t at[64];
    for (int i = 0; i < 64; i++) at[i] = (uint8_t)(i / times);
    return _mm512_permutexvar_epi8(_mm512_load_si512(at), v);
}

/* (v & mask) | rest */
INLINE __m512i and_or(__m512i v, __m512i mask, __m512i rest)
{
    return _mm512_ternarylogic_epi32(v, mask, rest, 0xea);
}

/* 2 s + 1, where s is the field of `bits` bits from bit `at` > 0 of every lane. */
INLINE __m512i odd_field(__m512i v, int at, int bits)
{
    return and_or(_mm512_srli_epi32(v, (unsigned)(at - 1)), _mm512_set1_epi32((2 << bits) - 2),
                  _mm512_set1_epi32(1));
}

/* 2 s + 1 of 32 bytes as words. */
INLINE __m512i odd_words(__m256i s)
{
    __m512i v = _mm512_cvtepu8_epi16(s);
    return _mm512_add_epi16(_mm512_add_epi16(v, v), _mm512_set1_epi16(1));
}

/* Sixteen nibbles of row a, of row b -> scales. */
INLINE __m512i scales_of_nibbles(const uint8_t *a, const uint8_t *b)
{
    __m128i v = load_8_two(a, b), mask = _mm_set1_epi8(15);
    __m128i low = _mm_and_si128(v, mask), high = _mm_and_si128(_mm_srli_epi16(v, 4), mask);
    return odd_words(_mm256_set_m128i(_mm_unpackhi_epi8(low, high), _mm_unpacklo_epi8(low, high)));
}

/* Sign bytes of the four fields of seven bits in each int32. */
INLINE __m512i seven_bits(__m512i v)
{
    return _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x352e2720150e0700ll), v);
}

/* Four qwords, each of four words -> of each word the bytes from bits 0, 3, 6 and 9 on. */
INLINE __m512i three_bits(__m256i v)
{
    const long long low = 0x1916131009060300ll, high = 0x3936333029262320ll;
    const __m512i at = _mm512_setr_epi64(low, high, low, high, low, high, low, high);
    __m512i twice =
        _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 0, 1, 1, 2, 2, 3, 3), _mm512_castsi256_si512(v));
    return _mm512_multishift_epi64_epi8(at, twice);
}

/* Entries of eight elements, by nibbles: element 2 i and 2 i + 1 of four out of two packed bytes. */
INLINE void planes_of_pairs(__m512i first, __m512i last, __m512i q[PLANES])
{
    const __m512i even =
        _mm512_broadcast_i32x4(_mm_setr_epi8(8, 25, 43, 0, 8, 25, 43, 0, 8, 25, 43, 0, 8, 25, 43, 0));
    const __m512i odd =
        _mm512_broadcast_i32x4(_mm_setr_epi8(8, 8, 8, 8, 25, 25, 25, 25, 43, 43, 43, 43, 0, 0, 0, 0));
    const __m512i nibble = every_byte(15);
    __m512i v[4] = {_mm512_and_si512(first, nibble), _mm512_and_si512(_mm512_srli_epi16(first, 4), nibble),
                    _mm512_and_si512(last, nibble), _mm512_and_si512(_mm512_srli_epi16(last, 4), nibble)};
    for (int i = 0; i < 4; i++) {
        q[2 * i] = _mm512_shuffle_epi8(even, v[i]);
        q[2 * i + 1] = _mm512_shuffle_epi8(odd, v[i]);
    }
}

/* Of IQ1: 8 (code - 1) + delta + 9, where `delta` is delta + 1. */
INLINE void planes_of_iq1(__m512i first, __m512i last, __m512i delta, __m512i q[PLANES])
{
    const __m512i mask = every_byte(0x18);
    for (int i = 0; i < 2; i++) {
        __m512i v = i ? last : first;
        q[4 * i] = and_or(_mm512_slli_epi16(v, 3), mask, delta);
        q[4 * i + 1] = and_or(_mm512_slli_epi16(v, 1), mask, delta);
        q[4 * i + 2] = and_or(_mm512_srli_epi16(v, 1), mask, delta);
        q[4 * i + 3] = and_or(_mm512_srli_epi16(v, 3), mask, delta);
    }
}

/* --- formats: four planes of row a -------------------------------------------------------------------------- */

INLINE void load_iq3_xxs(const uint8_t *a, const uint8_t *b, planes *p)
{
    const sp_block_iq3_xxs *w = (const sp_block_iq3_xxs *)a;
    __m512i index = _mm512_loadu_si512(w->qs), words = _mm512_castsi256_si512(load_half(w->signs));
    __mmask64 bit = _mm512_movepi8_mask(index);
    (void)b;
    for (int i = 0; i < 4; i++) p->q[i] = look_256(books.iq3xxs[i], index, &bit);
    p->signs = look_128(books.signs, repeat_bytes(seven_bits(words), 2));
    p->scale = odd_field(
        _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), words),
        28, 4);
}

INLINE void load_iq3_s(const uint8_t *a, const uint8_t *b, planes *p)
{
    const sp_block_iq3_s *w = (const sp_block_iq3_s *)a;
    const __m512i nibble = every_byte(15);
    const __m512i to_bit_1 =
        _mm512_setr_epi32(31, 31, 3, 3, 7, 7, 11, 11, 15, 15, 19, 19, 23, 23, 27, 27); /* rotations */
    __m512i index = _mm512_loadu_si512(w->qs);
    uint64_t ninth;
    (void)b;
    memcpy(&ninth, w->qh, sizeof ninth);
    const __mmask64 bit[2] = {_mm512_movepi8_mask(index), _cvtu64_mask64(ninth)};
    for (int i = 0; i < 2; i++) {
        __m512i v = look_512(books.iq3s[i], index, bit);
        p->q[2 * i] = _mm512_and_si512(v, nibble);
        p->q[2 * i + 1] = _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble);
    }
    p->signs = repeat_bytes(_mm512_castsi256_si512(load_half(w->signs)), 2);
    p->scale = and_or(_mm512_rorv_epi32(_mm512_set1_epi32((int)sp_load_u32(w->scales)), to_bit_1),
                      _mm512_set1_epi32(30), _mm512_set1_epi32(1));
}

/* --- formats: eight planes of rows a and b ------------------------------------------------------------------ */

/* Bytes first + step i of both. */
INLINE __m512i every_other(__m512i a, __m512i b, int first)
{
    _Alignas(64) uint8_t at[64];
    for (int i = 0; i < 64; i++) at[i] = (uint8_t)(2 * i + first);
    return _mm512_permutex2var_epi8(a, _mm512_load_si512(at), b);
}

INLINE void load_iq2_xxs(const uint8_t *a, const uint8_t *b, planes *p)
{
    const __m512i indices = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    __m512i va = _mm512_loadu_si512(a + offsetof(sp_block_iq2_xxs, qs));
    __m512i vb = _mm512_loadu_si512(b + offsetof(sp_block_iq2_xxs, qs));
    __m512i index = _mm512_permutex2var_epi32(va, indices, vb);
    __m512i words = _mm512_permutex2var_epi32(va, _mm512_add_epi32(indices, _mm512_set1_epi32(1)), vb);
    __mmask64 bit = _mm512_movepi8_mask(index);
    planes_of_pairs(look_256(books.iq2xxs[0], index, &bit), look_256(books.iq2xxs[1], index, &bit), p->q);
    p->signs = look_128(books.signs, seven_bits(words));
    p->scale = odd_field(words, 28, 4);
}

INLINE void load_iq2_xs(const uint8_t *a, const uint8_t *b, planes *p)
{
    __m512i va = _mm512_loadu_si512(a + offsetof(sp_block_iq2_xs, qs));
    __m512i vb = _mm512_loadu_si512(b + offsetof(sp_block_iq2_xs, qs));
    __m512i index = every_other(va, vb, 0), high = every_other(va, vb, 1);
    const __mmask64 bit[2] = {_mm512_movepi8_mask(index), _mm512_test_epi8_mask(high, every_byte(1))};
    planes_of_pairs(look_512(books.iq2xs[0], index, bit), look_512(books.iq2xs[1], index, bit), p->q);
    p->signs = look_128(books.signs, _mm512_srli_epi16(high, 1));
    p->scale =
        scales_of_nibbles(a + offsetof(sp_block_iq2_xs, scales), b + offsetof(sp_block_iq2_xs, scales));
}

INLINE void load_iq2_s(const uint8_t *a, const uint8_t *b, planes *p)
{
    const sp_block_iq2_s *wa = (const sp_block_iq2_s *)a, *wb = (const sp_block_iq2_s *)b;
    __m512i index = load_two(wa->qs, wb->qs);
    __m512i high = repeat_bytes(_mm512_castsi128_si512(load_8_two(wa->qh, wb->qh)), 4);
    const __mmask64 bit[3] = {_mm512_movepi8_mask(index),
                              _mm512_test_epi8_mask(high, _mm512_set1_epi32(0x40100401)),
                              _mm512_test_epi8_mask(high, _mm512_set1_epi32((int)0x80200802u))};
    planes_of_pairs(look_1024(books.iq2s[0], index, bit), look_1024(books.iq2s[1], index, bit), p->q);
    p->signs = load_two(wa->signs, wb->signs);
    p->scale = scales_of_nibbles(wa->scales, wb->scales);
}

INLINE void load_iq1_s(const uint8_t *a, const uint8_t *b, planes *p)
{
    const sp_block_iq1_s *wa = (const sp_block_iq1_s *)a, *wb = (const sp_block_iq1_s *)b;
    __m512i index = load_two(wa->qs, wb->qs);
    __m256i words = _mm256_set_m128i(load_16(wb->qh), load_16(wa->qh));
    __m512i high = three_bits(words), groups = _mm512_cvtepu16_epi32(words);
    const __mmask64 bit[4] = {_mm512_movepi8_mask(index), _mm512_test_epi8_mask(high, every_byte(1)),
                              _mm512_test_epi8_mask(high, every_byte(2)),
                              _mm512_test_epi8_mask(high, every_byte(4))};
    __mmask16 plus = _mm512_testn_epi32_mask(groups, _mm512_set1_epi32(0x8000));
    planes_of_iq1(look_2048(books.iq1[0], index, bit), look_2048(books.iq1[1], index, bit),
                  _mm512_maskz_mov_epi32(plus, every_byte(2)), p->q);
    p->scale = odd_field(groups, 12, 3);
}

INLINE void load_iq1_m(const uint8_t *a, const uint8_t *b, planes *p)
{
    const sp_block_iq1_m *wa = (const sp_block_iq1_m *)a, *wb = (const sp_block_iq1_m *)b;
    __m512i index = load_two(wa->qs, wb->qs);
    __m512i high = repeat_bytes(_mm512_castsi256_si512(_mm256_set_m128i(load_16(wb->qh), load_16(wa->qh))),
                                2); /* a nibble for each */
    const __mmask64 bit[4] = {_mm512_movepi8_mask(index),
                              _mm512_test_epi8_mask(high, _mm512_set1_epi16(0x1001)),
                              _mm512_test_epi8_mask(high, _mm512_set1_epi16(0x2002)),
                              _mm512_test_epi8_mask(high, _mm512_set1_epi16(0x4004))};
    __mmask64 plus = _mm512_testn_epi8_mask(high, _mm512_set1_epi16((short)0x8008));
    planes_of_iq1(look_2048(books.iq1[0], index, bit), look_2048(books.iq1[1], index, bit),
                  _mm512_maskz_mov_epi8(plus, every_byte(2)), p->q);
    __m512i scales = three_bits(_mm256_castsi128_si256(load_8_two(wa->scales, wb->scales)));
    p->scale = odd_words(_mm256_and_si256(_mm512_castsi512_si256(scales), _mm256_set1_epi8(7)));
}

/* The half whose nibbles are spread over the scales. */
INLINE uint16_t d_iq1_m(const uint8_t *w)
{
    uint64_t v;
    memcpy(&v, w + offsetof(sp_block_iq1_m, scales), sizeof v);
    return (uint16_t)((v >> 12 & 0x000f) | (v >> 24 & 0x00f0) | (v >> 36 & 0x0f00) | (v >> 48 & 0xf000));
}

/* --- activations -------------------------------------------------------------------------------------------- */

/* Byte `planes` e + p of each 64 to (64 / planes) p + e. */
INLINE __m512i order_planes(const int8_t *x, int n_planes)
{
    _Alignas(64) uint8_t at[64];
    for (int i = 0; i < 64; i++) at[i] = (uint8_t)(n_planes * (i % (64 / n_planes)) + i / (64 / n_planes));
    return _mm512_permutexvar_epi8(_mm512_load_si512(at), _mm512_loadu_si512(x));
}

INLINE void load_4_planes(const int8_t *x, __m512i q[PLANES])
{
    __m512i z[4], u[4];
    for (int i = 0; i < 4; i++) z[i] = order_planes(x + 64 * i, 4);
    u[0] = _mm512_shuffle_i32x4(z[0], z[1], 0x44);
    u[1] = _mm512_shuffle_i32x4(z[0], z[1], 0xee);
    u[2] = _mm512_shuffle_i32x4(z[2], z[3], 0x44);
    u[3] = _mm512_shuffle_i32x4(z[2], z[3], 0xee);
    q[0] = _mm512_shuffle_i32x4(u[0], u[2], 0x88);
    q[1] = _mm512_shuffle_i32x4(u[0], u[2], 0xdd);
    q[2] = _mm512_shuffle_i32x4(u[1], u[3], 0x88);
    q[3] = _mm512_shuffle_i32x4(u[1], u[3], 0xdd);
}

/* In both halves. */
INLINE void load_8_planes(const int8_t *x, __m512i q[PLANES])
{
    __m512i z[4];
    for (int i = 0; i < 4; i++) z[i] = order_planes(x + 64 * i, 8);
    __m512i low[2] = {_mm512_unpacklo_epi64(z[0], z[1]), _mm512_unpacklo_epi64(z[2], z[3])};
    __m512i high[2] = {_mm512_unpackhi_epi64(z[0], z[1]), _mm512_unpackhi_epi64(z[2], z[3])};
    for (int j = 0; j < 4; j++) {
        const __m512i at =
            _mm512_setr_epi64(2 * j, 2 * j + 1, 2 * j + 8, 2 * j + 9, 2 * j, 2 * j + 1, 2 * j + 8, 2 * j + 9);
        q[2 * j] = _mm512_permutex2var_epi64(low[0], at, low[1]);
        q[2 * j + 1] = _mm512_permutex2var_epi64(high[0], at, high[1]);
    }
}

INLINE void load_activation(const format_iq *f, const sp_act_q8k *a, act_planes *x)
{
    x->d = a->d;
    x->start = x->pairs = _mm512_setzero_si512();
    if (f->n_planes == 4)
        load_4_planes(a->q, x->q);
    else
        load_8_planes(a->q, x->q);
    if (!f->offset) return;
    x->pairs =
        _mm512_mullo_epi16(_mm512_broadcast_i64x4(load_half(a->sums)), _mm512_set1_epi16((short)-f->offset));
    x->start = _mm512_madd_epi16(x->pairs, _mm512_set1_epi16(1));
}

/* --- sixteen rows ------------------------------------------------------------------------------------------- */

/* Sums of lanes of one weight row, or of two, with n_t activation rows. */
INLINE void multiply_planes(const format_iq *f, const planes *w, const act_planes *x, int n_t, __m512i sum[])
{
    __m512i words[SP_FEW_TILE];
    for (int t = 0; t < n_t; t++) {
        words[t] = _mm512_setzero_si512();
        sum[t] = f->group_16 ? words[t] : x[t].start;
        if (f->group_16 && f->offset) sum[t] = _mm512_dpwssd_epi32(sum[t], w->scale, x[t].pairs);
    }
    for (int p = 0; p < f->n_planes; p++) {
        const __m512i bits = f->n_planes == 4 ? _mm512_set1_epi16((short)(0x1001 << p)) : every_byte(1 << p);
        __mmask64 minus = f->signs ? _mm512_test_epi8_mask(w->signs, bits) : 0;
        for (int t = 0; t < n_t; t++) {
            __m512i q = x[t].q[p];
            if (f->signs) q = _mm512_mask_sub_epi8(q, minus, _mm512_setzero_si512(), q);
            if (!f->group_16) {
                sum[t] = _mm512_dpbusd_epi32(sum[t], w->q[p], q);
                continue;
            }
            /* a word holds six products of at most 43 * 127 */
            __m512i pair = _mm512_maddubs_epi16(w->q[p], q);
            words[t] = p % 3 ? _mm512_add_epi16(words[t], pair) : pair;
            if (p % 3 == 2 || p == f->n_planes - 1) sum[t] = _mm512_dpwssd_epi32(sum[t], words[t], w->scale);
        }
    }
    for (int t = 0; t < n_t && !f->group_16; t++) sum[t] = _mm512_mullo_epi32(sum[t], w->scale);
}

/* Sums of sixteen rows: of each in a register, or of two in halves, rows 4 apart. */
INLINE __m512i sum_rows(const format_iq *f, const __m512i s[16])
{
    __m512i low = add_neighbours(sum_parts(s[0], s[1], s[2], s[3]), sum_parts(s[4], s[5], s[6], s[7]));
    if (f->n_planes == 8) return low;
    return add_neighbours(
        low, add_neighbours(sum_parts(s[8], s[9], s[10], s[11]), sum_parts(s[12], s[13], s[14], s[15])));
}

/* y + one block of sixteen rows. */
INLINE void add_block(const format_iq *f, const uint8_t *w, size_t stride, const act_planes *x, int n_t,
                      __m512 y[])
{
    __m512i sums[SP_FEW_TILE][16];
    uint16_t halves[16];
    const int n = f->n_planes == 4 ? 16 : 8;
    for (int i = 0; i < n; i++) {
        const uint8_t *a = w + (size_t)(n == 16 ? i : i / 4 * 8 + i % 4) * stride;
        __m512i sum[SP_FEW_TILE];
        planes p;
        f->load(a, a + 4 * stride, &p);
        multiply_planes(f, &p, x, n_t, sum);
        for (int t = 0; t < n_t; t++) sums[t][i] = sum[t];
    }
    for (int r = 0; r < 16; r++)
        halves[r] = f->d ? f->d(w + (size_t)r * stride) : sp_load_u16(w + (size_t)r * stride);
    __m512 d = _mm512_mul_ps(_mm512_cvtph_ps(load_half(halves)), _mm512_set1_ps(f->factor));
    for (int t = 0; t < n_t; t++)
        y[t] = _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_set1_ps(x[t].d)),
                               _mm512_cvtepi32_ps(sum_rows(f, sums[t])), y[t]);
}

/* Sixteen weight rows from `row` with n_t activation rows from `first`. */
INLINE void multiply_few(const format_iq *f, const sp_matmul *m, int64_t row, int64_t first, int n_t)
{
    const sp_act_q8k *a[SP_FEW_TILE];
    uint8_t copy[16][SP_MAX_SPAN];
    __m512 y[SP_FEW_TILE];
    sixteen g = begin_sixteen(m, row, first == 0);
    for (int t = 0; t < n_t; t++) {
        a[t] = (const sp_act_q8k *)(const void *)((const char *)m->x + (size_t)(first + t) * m->x_stride);
        y[t] = _mm512_setzero_ps();
    }
    for (size_t i = 0; i < m->n / 256; i++, g.w += f->bytes) {
        act_planes x[SP_FEW_TILE];
        size_t stride;
        const uint8_t *w = whole_rows(&g, (size_t)f->bytes, copy, &stride);
        fetch_bytes(&g.ahead, 16 * (size_t)f->bytes);
        for (int t = 0; t < n_t; t++) load_activation(f, a[t] + i, &x[t]);
        add_block(f, w, stride, x, n_t, y);
    }
    store_sums(m, row, g.n_rows, first, n_t, y);
}

INLINE void multiply_rows(const format_iq *f, const sp_matmul *m)
{
    for (int64_t row = 0; row < m->n_rows; row += 16)
        for (int64_t t = 0; t < m->n_x; t += SP_FEW_TILE) switch (m->n_x - t) {
            case 1: multiply_few(f, m, row, t, 1); break;
            case 2: multiply_few(f, m, row, t, 2); break;
            case 3: multiply_few(f, m, row, t, 3); break;
            default: multiply_few(f, m, row, t, 4); break;
            }
}

#define FEW(type, ...)                                                                                       \
    void sp_matmul_few_##type##_avx512(const sp_matmul *m)                                                   \
    {                                                                                                        \
        static const format_iq f = {                                                                         \
            .bytes = (int)sizeof(sp_block_##type), .load = load_##type, __VA_ARGS__};                        \
        multiply_rows(&f, m);                                                                                \
    }

FEW(iq3_xxs, .n_planes = 4, .signs = true, .factor = 0.25f)
FEW(iq3_s, .n_planes = 4, .signs = true, .factor = 1.0f)
FEW(iq2_xxs, .n_planes = 8, .signs = true, .factor = 0.125f)
FEW(iq2_xs, .n_planes = 8, .signs = true, .group_16 = true, .factor = 0.125f)
FEW(iq2_s, .n_planes = 8, .signs = true, .group_16 = true, .factor = 0.125f)
FEW(iq1_s, .n_planes = 8, .offset = IQ1_OFFSET, .factor = 0.125f)
FEW(iq1_m, .n_planes = 8, .group_16 = true, .offset = IQ1_OFFSET, .factor = 0.125f, .d = d_iq1_m)

void sp_pack_codebooks_avx512(void)
{
    pack_books();
}

#endif
