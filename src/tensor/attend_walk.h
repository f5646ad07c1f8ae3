/* SPDX-License-Identifier: MIT */
/* The walk over one segment of keys that the vector versions of attention's kernel share: vectors in tiles, keys in
 * blocks. For many tiles keys and values are converted to float32 once per block, for few while they are used. A file
 * per instruction set gives the inner loops (attend_isa). Private to src/tensor. */
#ifndef SP_TENSOR_ATTEND_WALK_H
#define SP_TENSOR_ATTEND_WALK_H

#include "tensor/kernel_rows.h"

#include <string.h>

#define ATTEND_TILE_MAX 8
#define ATTEND_FEW_TILES 3 /* up to here converting elements once for all tiles costs more than it saves */

/* Query vectors that share each load; n_keys ascends. */
typedef struct attend_tile {
    int n;
    const float *q[ATTEND_TILE_MAX];
    float *scores[ATTEND_TILE_MAX]; /* (SP_ATTEND_SEGMENT) */
    float *y[ATTEND_TILE_MAX];
    int64_t n_keys[ATTEND_TILE_MAX];
} attend_tile;

/* Where elements are read from: a row format, or keys as pack() left them. */
typedef enum attend_source { FROM_F32, FROM_F16, FROM_BF16, FROM_Q8_0, FROM_PANEL } attend_source;

/* Rows [first, end) of the segment; `rows` is where row `first` is. */
typedef struct attend_rows {
    const char *rows;
    size_t stride;
    int64_t first, end;
    const char
        *ahead; /* what will be read next, as far from it as `rows` reaches; NULL: nothing to ask for */
    size_t ahead_stride, ahead_bytes; /* per row */
} attend_rows;

/* Ask for a byte of row i of what will be read next. */
static inline void attend_fetch_at(const attend_rows *r, int64_t i, size_t at)
{
    __builtin_prefetch(r->ahead + (size_t)(i - r->first) * r->ahead_stride + at, 0, 3);
}

static inline void attend_fetch(const attend_rows *r, int64_t i)
{
    if (!r->ahead) return;
    for (size_t at = 0; at < r->ahead_bytes; at += 64) attend_fetch_at(r, i, at);
}

/* Several walks over the same rows share what will be read next: each asks for a part of it with each row, in the order of
 * addresses, so that requests come evenly. */
typedef struct attend_share {
    const char *at; /* NULL: nothing to ask for */
    size_t bytes, step;
} attend_share;

static inline attend_share attend_share_of(const attend_rows *r, int64_t walk, int64_t n_walks)
{
    size_t bytes = r->ahead_bytes / (size_t)n_walks, n = (size_t)(r->end - r->first);
    if (!r->ahead) return (attend_share){NULL, 0, 0};
    if (r->ahead_stride == r->ahead_bytes)
        return (attend_share){r->ahead + (size_t)walk * n * bytes, bytes, bytes};
    return (attend_share){walk == 0 ? r->ahead : NULL, r->ahead_bytes, r->ahead_stride};
}

static inline void attend_fetch_share(attend_share *s)
{
    if (!s->at) return;
    for (size_t at = 0; at < s->bytes; at += 64) __builtin_prefetch(s->at + at, 0, 3);
    s->at += s->step;
}

/* While element i of a group of keys is at hand, ask for a part of the group that comes a block later: a line of each
 * row at a time, so that requests do not pile up. */
static inline __attribute__((always_inline)) void attend_fetch_group(const attend_rows *keys, int64_t first,
                                                                     int n, int64_t i, attend_source from)
{
    int64_t line = from == FROM_PANEL ? 8 : from == FROM_F32 ? 16 : from == FROM_Q8_0 ? 64 : 32;
    size_t at = (size_t)(i / line) * 64;
    if (i % line != 0 || !keys->ahead || at >= keys->ahead_bytes) return;
    for (int j = 0; j < n; j++) attend_fetch_at(keys, first + j, at);
}

/* Rows first .. first + n - 1; past the end the last is repeated. */
static inline void attend_group(const attend_rows *keys, int64_t first, int n, const char *row[])
{
    for (int j = 0; j < n; j++) {
        int64_t key = first + j < keys->end ? first + j : keys->end - 1;
        row[j] = keys->rows + (size_t)(key - keys->first) * keys->stride;
    }
}

/* End of those rows that a vector with n_keys sees. */
static inline int64_t attend_seen(const attend_rows *rows, int64_t n_keys)
{
    return n_keys < rows->first ? rows->first : n_keys < rows->end ? n_keys : rows->end;
}

/* Scores of the keys for a tile; it may write some beyond keys->end, up to a multiple of 8. */
typedef void (*attend_score_fn)(int64_t k_dim, float scale, const attend_tile *tile, const attend_rows *keys);

/* The inner loops of one storage format. */
typedef struct attend_format {
    attend_score_fn score;
    void (*pack)(int64_t k_dim, const attend_rows *keys, float *panel);
    void (*add)(int64_t v_dim, const attend_tile *tile, const attend_rows *values);
    sp_unpack_fn unpack;
} attend_format;

/* And of one instruction set. */
typedef struct attend_isa {
    int tile; /* vectors of a tile, <= ATTEND_TILE_MAX */
    void (*softmax)(int64_t n, float *scores, float *max, float *sum);
    attend_score_fn score_panel;
    attend_format formats[SP_DTYPE_Q8_0 + 1];
} attend_isa;

/* The formats of a file that names its functions score_f16 and so on. */
#define ATTEND_FORMATS                                                                                       \
    {                                                                                                        \
        [SP_DTYPE_F32] = {score_f32, pack_f32, add_f32, unpack_f32},                                         \
        [SP_DTYPE_F16] = {score_f16, pack_f16, add_f16, unpack_f16},                                         \
        [SP_DTYPE_BF16] = {score_bf16, pack_bf16, add_bf16, unpack_bf16},                                    \
        [SP_DTYPE_Q8_0] = {score_q8_0, pack_q8_0, add_q8_0, unpack_q8_0},                                    \
    }

/* Vectors [first, first + n). */
static inline attend_tile attend_tile_at(const sp_attend_part *a, int64_t first, int n)
{
    attend_tile t = {.n = n};
    for (int i = 0; i < n; i++) {
        int64_t row = (first + i) / a->n_heads;
        t.q[i] = a->q + row * a->q_stride + (first + i) % a->n_heads * a->k_dim;
        t.scores[i] = a->scratch + (first + i) * SP_ATTEND_SEGMENT;
        t.y[i] = a->y + (first + i) * a->v_dim;
        t.n_keys[i] = sp_attend_keys(a, row);
    }
    return t;
}

/* The vectors of a part in tiles whose sizes differ by one at most. */
typedef struct attend_tiles {
    int64_t n;
    attend_tile tile[(SP_ATTEND_VECTORS + 2) / 3];
} attend_tiles;

static inline void attend_lay_tiles(const sp_attend_part *a, const attend_isa *isa, attend_tiles *tiles)
{
    int64_t n_vectors = a->n_rows * a->n_heads;
    tiles->n = (n_vectors + isa->tile - 1) / isa->tile;
    for (int64_t i = 0; i < tiles->n; i++) {
        int64_t first = n_vectors * i / tiles->n;
        tiles->tile[i] = attend_tile_at(a, first, (int)(n_vectors * (i + 1) / tiles->n - first));
    }
}

/* Keys of a block. Few vectors do not use a block often, so it should stay in a core's nearest cache. */
static inline int64_t attend_block_keys(const sp_attend_part *a, int64_t dim)
{
    return dim <= 256 || a->n_rows * a->n_heads > 32 ? SP_ATTEND_BLOCK : SP_ATTEND_BLOCK / 4;
}

/* Keys or values from `first` to the block's end. After the block comes the next; after the last keys the values, after
 * the last values the next segment's keys. */
static inline attend_rows attend_block(const sp_attend_part *a, bool values, int64_t first, int64_t end)
{
    const char *k = a->k, *v = a->v;
    size_t k_bytes = sp_dtype_row_bytes(a->k_dtype, (size_t)a->k_dim);
    size_t v_bytes = sp_dtype_row_bytes(a->v_dtype, (size_t)a->v_dim);
    int64_t n = attend_block_keys(a, values ? a->v_dim : a->k_dim), next = first + n;
    attend_rows r = {.stride = values ? a->v_stride : a->k_stride};
    r.first = first;
    r.end = next < end ? next : end;
    r.rows = (values ? v : k) + (size_t)first * r.stride;
    r.ahead = r.rows + (size_t)n * r.stride;
    r.ahead_stride = r.stride;
    r.ahead_bytes = values ? v_bytes : k_bytes;
    if (k == v && values && next < end) r.ahead = NULL; /* near since the keys were read */
    if (next < end) return r;
    r.ahead = values ? k + SP_ATTEND_SEGMENT * a->k_stride : k == v ? NULL : v;
    r.ahead_stride = values ? a->k_stride : a->v_stride;
    r.ahead_bytes = values ? k_bytes : v_bytes;
    if (values && end < SP_ATTEND_SEGMENT) r.ahead = NULL;
    return r;
}

static inline void attend_score_block(const sp_attend_part *a, const attend_isa *isa,
                                      const attend_tiles *tiles, attend_rows keys, float *panel)
{
    const attend_format *format = &isa->formats[a->k_dtype];
    attend_score_fn score = format->score;
    int64_t end = keys.end;
    if (tiles->n > ATTEND_FEW_TILES) {
        attend_rows now = keys;
        now.ahead = NULL; /* the first tile asks */
        format->pack(a->k_dim, &now, panel);
        score = isa->score_panel;
        keys.rows = (const char *)panel;
    }
    for (const attend_tile *t = tiles->tile; t < tiles->tile + tiles->n; t++) {
        keys.end = end;
        keys.end = attend_seen(&keys, t->n_keys[t->n - 1]);
        if (keys.end > keys.first) score(a->k_dim, a->scale, t, &keys);
        keys.ahead = NULL;
    }
}

static inline void attend_value_block(const sp_attend_part *a, const attend_isa *isa,
                                      const attend_tiles *tiles, attend_rows values, float *buffer)
{
    const attend_format *format = &isa->formats[a->v_dtype];
    if (tiles->n > ATTEND_FEW_TILES && a->v_dtype != SP_DTYPE_F32) {
        for (int64_t i = values.first; i < values.end; i++) {
            attend_fetch(&values, i);
            format->unpack((size_t)a->v_dim, values.rows + (size_t)(i - values.first) * values.stride,
                           buffer + (i - values.first) * a->v_dim);
        }
        format = &isa->formats[SP_DTYPE_F32];
        values.rows = (const char *)buffer;
        values.stride = (size_t)a->v_dim * sizeof *buffer;
        values.ahead = NULL;
    }
    for (const attend_tile *t = tiles->tile; t < tiles->tile + tiles->n; t++) {
        if (t->n_keys[t->n - 1] > values.first) format->add(a->v_dim, t, &values);
        values.ahead = NULL;
    }
}

static inline void attend_walk(const sp_attend_part *a, const attend_isa *isa)
{
    int64_t n_vectors = a->n_rows * a->n_heads, n_all = sp_attend_keys(a, a->n_rows - 1);
    float *panel = a->scratch + n_vectors * SP_ATTEND_SEGMENT, *buffer = panel + SP_ATTEND_BLOCK * a->k_dim;
    attend_tiles tiles;
    attend_lay_tiles(a, isa, &tiles);
    for (int64_t first = 0; first < n_all; first += attend_block_keys(a, a->k_dim))
        attend_score_block(a, isa, &tiles, attend_block(a, false, first, n_all), panel);
    for (int64_t j = 0; j < n_vectors; j++)
        isa->softmax(sp_attend_keys(a, j / a->n_heads), a->scratch + j * SP_ATTEND_SEGMENT, a->max + j,
                     a->sum + j);
    memset(a->y, 0, (size_t)(n_vectors * a->v_dim) * sizeof *a->y);
    for (int64_t first = 0; first < n_all; first += attend_block_keys(a, a->v_dim))
        attend_value_block(a, isa, &tiles, attend_block(a, true, first, n_all), buffer);
}

#endif
