/* SPDX-License-Identifier: MIT */
/* Causal attention: which query vectors share which keys, and the merge of segments. Latent attention is the same op:
 * one key-value head whose values are the first columns of its keys.
 * Invariant (one answer): a query row's keys are cut at positions 256, 512, ... (SP_ATTEND_SEGMENT); each segment up
 * to the row's own position has a softmax of its own (tensor/attend.h), and they are merged in order (merge()), so
 * its bits depend on the keys alone. How rows and heads stand together in tiles, and whether one thread walks all
 * segments of a tile or threads share them, decides the speed alone.
 * Sources: Milakov and Gimelshein 2018; Dao et al. 2022, 2023. Start at sp_op_attention(). */
#include "ops/attention_parts.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Columns of keys and values up to which a tile has SP_ATTEND_VECTORS vectors, so that converting keys costs little;
 * beyond, half of them, for a core's cache. */
#define NARROW_COLUMNS 512
/* Fewest heads into which a tile is cut so that all threads have work. */
#define TILE_HEADS_MIN 4
/* Work per thread below which segments are shared out. */
#define PIECES_PER_THREAD 4
/* Multiply-adds that one thread does sooner than two begin. */
#define SMALL_WORK 524288
/* Floats of segments that wait to be merged: 16 MiB. */
#define WAITING_FLOATS ((int64_t)4 << 20)

/* Some rows of a span and some heads of one key-value head. */
typedef struct tile {
    const sp_span *span;
    int64_t row, n_rows; /* query rows */
    int64_t head, n_heads;
    int64_t kv_head;
    int64_t n_segments; /* that its last row sees */
    int64_t vector;     /* number of vectors in the tiles before */
} tile;

typedef struct attention_job {
    const sp_kernels *kernels;
    const sp_tensor *q;
    const sp_attend *a;
    sp_tensor *y;
    float *stats; /* (T, nh, 2) each softmax's maximum and 1 / sum, for a tape; else NULL */
    const tile *tiles;
    int64_t n_tiles;
    int64_t n_vectors; /* of all tiles */
    size_t scratch_floats;
    float *scratch; /* (threads, scratch_floats) */
    /* where segments are shared out */
    int64_t segment, n_segments; /* of all tiles at once */
    float *waiting;              /* (n_segments, n_vectors, v_dim + 2) */
    float *state;                /* (n_vectors, 2) running maximum and sum */
} attention_job;

/* --- merging ---------------------------------------------------------------------------------------------- */

/* A softmax under way: y is the weighted sum of values, not divided by sum. */
typedef struct softmax {
    float *max, *sum;
    float *y; /* (v_dim) */
} softmax;

static void open_softmax(softmax s, int64_t v_dim)
{
    *s.max = -INFINITY;
    *s.sum = 0.0f;
    memset(s.y, 0, (size_t)v_dim * sizeof *s.y);
}

/* Exponent of the factor that the smaller maximum's side gets. */
static float merge_exponent(softmax s, softmax part)
{
    return *part.max > *s.max ? *s.max - *part.max : *part.max - *s.max; /* -inf at the first segment */
}

/* Add what the next segment has; factor = exp(merge_exponent()). */
static void merge(const sp_kernels *k, softmax s, softmax part, float factor, int64_t v_dim)
{
    if (*part.max > *s.max) {
        *s.max = *part.max;
        k->scale((size_t)v_dim, factor, s.y);
        k->axpy((size_t)v_dim, 1.0f, part.y, s.y);
        *s.sum = factor * *s.sum + *part.sum;
    } else {
        k->axpy((size_t)v_dim, factor, part.y, s.y);
        *s.sum = *s.sum + factor * *part.sum;
    }
}

static void close_softmax(const attention_job *job, softmax s, int64_t at)
{
    float inverse = 1.0f / *s.sum;
    job->kernels->scale((size_t)job->a->v_dim, inverse, s.y);
    if (!job->stats) return;
    job->stats[2 * at] = *s.max;
    job->stats[2 * at + 1] = inverse;
}

/* --- tiles ------------------------------------------------------------------------------------------------ */

/* Vector i of a tile in y and stats: its row times heads, its head. */
static int64_t place_of(const attention_job *job, const tile *t, int64_t i)
{
    return (t->row + i / t->n_heads) * job->a->n_heads + t->head + i % t->n_heads;
}

/* Row `position` of a key-value head: heads stand one after the other, or side by side in each row. */
static const char *kv_row(const sp_tensor *rows, int64_t kv_head, int64_t position, int64_t dim)
{
    if (rows->n_dims == 3) return sp_tensor_row(rows, kv_head * rows->shape[1] + position);
    return (const char *)sp_tensor_row(rows, position) +
           sp_dtype_row_bytes(rows->dtype, (size_t)(kv_head * dim));
}

/* First row of a tile that sees keys of a segment. */
static int64_t first_row(const tile *t, int64_t segment)
{
    int64_t position = t->span->position + t->row - t->span->row, start = segment * SP_ATTEND_SEGMENT;
    return start > position ? start - position : 0;
}

/* One segment for the vectors that see it; y, max and sum are those of the tile's vectors from first_row() on. */
static void attend_segment(const attention_job *job, const tile *t, int64_t segment, softmax out,
                           float *scratch)
{
    const sp_attend *a = job->a;
    const sp_tensor *k = t->span->k, *v = t->span->v;
    int64_t start = segment * SP_ATTEND_SEGMENT, row = first_row(t, segment);
    int64_t position = t->span->position + t->row + row - t->span->row;
    sp_attend_part part = {.k_dtype = k->dtype,
                           .v_dtype = v->dtype,
                           .k = kv_row(k, t->kv_head, start, a->k_dim),
                           .v = kv_row(v, t->kv_head, start, a->v_dim),
                           .k_stride = k->row_bytes,
                           .v_stride = v->row_bytes,
                           .k_dim = a->k_dim,
                           .v_dim = a->v_dim,
                           .scale = a->scale,
                           .q = (const float *)sp_tensor_row(job->q, t->row + row) + t->head * a->k_dim,
                           .q_stride = sp_ops_stride(job->q),
                           .n_rows = t->n_rows - row,
                           .n_heads = t->n_heads,
                           .n_keys = position + 1 - start,
                           .y = out.y,
                           .max = out.max,
                           .sum = out.sum,
                           .scratch = scratch};
    job->kernels->attend(&part);
}

/* What one thread keeps for the vectors of a tile. */
typedef struct walk {
    softmax part; /* of the segment at hand */
    float *max, *sum, *factor;
} walk;

/* Merge a segment's outcome, whose first vector is the tile's vector `first`. */
static void merge_tile(const attention_job *job, const tile *t, const walk *w, int64_t first)
{
    int64_t n = t->n_rows * t->n_heads, v_dim = job->a->v_dim;
    float *y = job->y->data;
    for (int64_t i = first; i < n; i++)
        w->factor[i] = merge_exponent((softmax){w->max + i, w->sum + i, NULL},
                                      (softmax){w->part.max + i - first, w->part.sum + i - first, NULL});
    job->kernels->exp_sum((size_t)(n - first), 0.0f, w->factor + first);
    for (int64_t i = first; i < n; i++)
        merge(job->kernels, (softmax){w->max + i, w->sum + i, y + place_of(job, t, i) * v_dim},
              (softmax){w->part.max + i - first, w->part.sum + i - first, w->part.y + (i - first) * v_dim},
              w->factor[i], v_dim);
}

/* All segments of a tile on one thread: scratch is the kernel's, then what the walk keeps. */
static void walk_tile(const attention_job *job, const tile *t, float *scratch)
{
    int64_t n = t->n_rows * t->n_heads, v_dim = job->a->v_dim;
    float *own = scratch + sp_attend_scratch(n, job->a->k_dim, v_dim), *rest = own + n * v_dim;
    walk w = {{rest, rest + n, own}, rest + 2 * n, rest + 3 * n, rest + 4 * n};
    float *y = job->y->data;
    for (int64_t i = 0; i < n; i++)
        open_softmax((softmax){w.max + i, w.sum + i, y + place_of(job, t, i) * v_dim}, v_dim);
    for (int64_t s = 0; s < t->n_segments; s++) {
        attend_segment(job, t, s, w.part, scratch);
        merge_tile(job, t, &w, first_row(t, s) * t->n_heads);
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t at = place_of(job, t, i);
        close_softmax(job, (softmax){w.max + i, w.sum + i, y + at * v_dim}, at);
    }
}

static void walk_tiles(void *ctx, size_t begin, size_t end, int thread)
{
    const attention_job *job = ctx;
    for (size_t i = begin; i < end; i++)
        walk_tile(job, &job->tiles[i], job->scratch + (size_t)thread * job->scratch_floats);
}

/* --- segments shared out ---------------------------------------------------------------------------------- */

/* Where the outcome of a segment waits for the tile's vectors: y of all of them, then max, then sum. */
static softmax waiting_at(const attention_job *job, const tile *t, int64_t segment)
{
    int64_t width = job->a->v_dim + 2, n = t->n_rows * t->n_heads;
    float *y = job->waiting + ((segment - job->segment) * job->n_vectors + t->vector) * width;
    return (softmax){y + n * job->a->v_dim, y + n * (job->a->v_dim + 1), y};
}

static void attend_pieces(void *ctx, size_t begin, size_t end, int thread)
{
    const attention_job *job = ctx;
    for (size_t i = begin; i < end; i++) {
        const tile *t = &job->tiles[(int64_t)i % job->n_tiles];
        int64_t segment = job->segment + (int64_t)i / job->n_tiles;
        if (segment < t->n_segments)
            attend_segment(job, t, segment, waiting_at(job, t, segment),
                           job->scratch + (size_t)thread * job->scratch_floats);
    }
}

/* Merge what waits for one vector of all tiles. */
static void merge_vectors(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const attention_job *job = ctx;
    const tile *t = job->tiles;
    int64_t v_dim = job->a->v_dim;
    for (int64_t j = (int64_t)begin; j < (int64_t)end; j++) {
        while (j >= t->vector + t->n_rows * t->n_heads) t++;
        int64_t i = j - t->vector, at = place_of(job, t, i), end_segment = job->segment + job->n_segments;
        softmax s = {job->state + 2 * j, job->state + 2 * j + 1, (float *)job->y->data + at * v_dim};
        if (job->segment == 0) open_softmax(s, v_dim);
        for (int64_t n = job->segment; n < end_segment && n < t->n_segments; n++) {
            int64_t from = i - first_row(t, n) * t->n_heads;
            if (from < 0) continue;
            softmax part = waiting_at(job, t, n);
            part = (softmax){part.max + from, part.sum + from, part.y + from * v_dim};
            merge(job->kernels, s, part, sp_expf(merge_exponent(s, part)), v_dim);
        }
        if (end_segment >= t->n_segments && job->segment < t->n_segments) close_softmax(job, s, at);
    }
}

/* In waves of segments, so that memory does not grow with the keys. */
static void share_segments(sp_ops *ops, attention_job *job)
{
    int64_t width = job->a->v_dim + 2, most = 0, wave = WAITING_FLOATS / (job->n_vectors * width);
    for (int64_t i = 0; i < job->n_tiles; i++)
        if (job->tiles[i].n_segments > most) most = job->tiles[i].n_segments;
    if (wave < 1) wave = 1;
    if (wave > most) wave = most;
    job->waiting = sp_ops_alloc(ops, (size_t)(wave * job->n_vectors * width), sizeof *job->waiting);
    job->state = sp_ops_alloc(ops, (size_t)job->n_vectors, 2 * sizeof *job->state);
    if (!job->waiting || !job->state) return;
    for (job->segment = 0; job->segment < most; job->segment += wave) {
        job->n_segments = most - job->segment < wave ? most - job->segment : wave;
        sp_pool_run(ops->pool, (size_t)(job->n_segments * job->n_tiles), 1, attend_pieces, job);
        sp_pool_run(ops->pool, (size_t)job->n_vectors, 1, merge_vectors, job);
    }
}

/* --- planning --------------------------------------------------------------------------------------------- */

/* How spans are cut into tiles. */
typedef struct cut {
    int64_t n_rows;  /* of a tile, at most */
    int64_t n_heads; /* likewise */
} cut;

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Lay out tiles, the last rows of each span first since they see most keys; only counted if tiles is NULL.
 * *n_pieces: segments of all tiles. */
static int64_t lay_tiles(const sp_attend *a, const sp_span *spans, int n_spans, cut c, tile *tiles,
                         int64_t *n_pieces)
{
    int64_t n = 0, vector = 0, group = a->n_heads / a->n_kv_heads;
    *n_pieces = 0;
    for (int s = 0; s < n_spans; s++)
        for (int64_t i = ceil_div(spans[s].n_rows, c.n_rows) - 1; i >= 0; i--)
            for (int64_t h = 0; h < a->n_kv_heads * ceil_div(group, c.n_heads); h++) {
                int64_t row = i * c.n_rows, kv_head = h % a->n_kv_heads, head = h / a->n_kv_heads * c.n_heads;
                tile t = {&spans[s],
                          spans[s].row + row,
                          spans[s].n_rows - row,
                          kv_head * group + head,
                          group - head,
                          kv_head,
                          0,
                          vector};
                if (t.n_rows > c.n_rows) t.n_rows = c.n_rows;
                if (t.n_heads > c.n_heads) t.n_heads = c.n_heads;
                t.n_segments = ceil_div(spans[s].position + row + t.n_rows, SP_ATTEND_SEGMENT);
                if (tiles) tiles[n] = t;
                n++;
                vector += t.n_rows * t.n_heads;
                *n_pieces += t.n_segments;
            }
    return n;
}

static int compare_tiles(const void *x, const void *y)
{
    const tile *a = x, *b = y;
    int64_t difference = b->n_segments * b->n_rows * b->n_heads - a->n_segments * a->n_rows * a->n_heads;
    if (difference == 0) difference = a->vector - b->vector;
    return difference < 0 ? -1 : difference > 0;
}

/* Tiles for some threads; false when out of memory. */
static bool plan_tiles(sp_ops *ops, attention_job *job, const sp_span *spans, int n_spans, bool *shared)
{
    const sp_attend *a = job->a;
    int64_t group = a->n_heads / a->n_kv_heads, n_threads = sp_pool_threads(ops->pool), n_pieces;
    int64_t most = a->k_dim + a->v_dim <= NARROW_COLUMNS ? SP_ATTEND_VECTORS : SP_ATTEND_VECTORS / 2;
    cut c = {1, group < most ? group : most};
    c.n_rows = most / c.n_heads;
    int64_t n = lay_tiles(a, spans, n_spans, c, NULL, &n_pieces), longest = 0, total = 0;
    while (n_pieces < 2 * n_threads && c.n_heads > TILE_HEADS_MIN) {
        c.n_heads = (c.n_heads + 1) / 2;
        n = lay_tiles(a, spans, n_spans, c, NULL, &n_pieces);
    }
    tile *tiles = sp_ops_alloc(ops, (size_t)n, sizeof *tiles);
    if (!tiles) return false;
    lay_tiles(a, spans, n_spans, c, tiles, &n_pieces);
    for (int64_t i = 0; i < n; i++) {
        int64_t work = tiles[i].n_segments * tiles[i].n_rows * tiles[i].n_heads;
        total += work;
        if (work > longest) longest = work;
        job->n_vectors += tiles[i].n_rows * tiles[i].n_heads;
    }
    *shared = n_threads > 1 && longest * n_threads * PIECES_PER_THREAD > total && n_pieces > n;
    if (!*shared) qsort(tiles, (size_t)n, sizeof *tiles, compare_tiles);
    job->tiles = tiles;
    job->n_tiles = n;
    int64_t vectors = c.n_rows * c.n_heads;
    job->scratch_floats =
        sp_attend_scratch(vectors, a->k_dim, a->v_dim) + (size_t)(vectors * (a->v_dim + 5)) + 63;
    job->scratch_floats &= ~(size_t)63;
    job->scratch = sp_ops_alloc(ops, (size_t)n_threads * job->scratch_floats, sizeof *job->scratch);
    return job->scratch != NULL;
}

/* --- the op ----------------------------------------------------------------------------------------------- */

static bool all_float(const sp_span *spans, int n_spans)
{
    for (int s = 0; s < n_spans; s++)
        if (spans[s].k->dtype != SP_DTYPE_F32 || spans[s].v->dtype != SP_DTYPE_F32) return false;
    return true;
}

static void record_attention(sp_ops *ops, const attention_job *job, const sp_span *spans, int n_spans)
{
    const sp_attend *a = job->a;
    if (!all_float(spans, n_spans)) sp_tape_refuse(ops);
    for (int s = 0; s < n_spans; s++) {
        const sp_span *span = &spans[s];
        assert(span->k->data != span->v->data || a->n_kv_heads == 1 || a->k_dim == a->v_dim);
    }
    const sp_span *kept = sp_ops_keep(ops, spans, (size_t)n_spans * sizeof *spans);
    const sp_attention_saved *saved =
        sp_ops_keep(ops, &(sp_attention_saved){*a, kept, n_spans, job->stats}, sizeof *saved);
    if (kept && saved) sp_tape_record(ops, job->y, &job->q, 1, sp_attention_backward_blocks, saved);
}

/* Whether other threads would come too late. */
static bool is_small(const attention_job *job, const sp_span *spans, int n_spans)
{
    int64_t work = 0;
    for (int s = 0; s < n_spans; s++) work += (spans[s].position + spans[s].n_rows) * spans[s].n_rows;
    return work * job->a->n_heads * (job->a->k_dim + job->a->v_dim) < SMALL_WORK;
}

/* By the kernels, in inference's order. Its memory is given back. */
static void attend(sp_ops *ops, attention_job *job, const sp_span *spans, int n_spans)
{
    bool shared;
    sp_arena_mark mark = sp_arena_save(ops->arena);
    if (plan_tiles(ops, job, spans, n_spans, &shared)) {
        if (shared)
            share_segments(ops, job);
        else
            sp_pool_run(ops->pool, (size_t)job->n_tiles,
                        is_small(job, spans, n_spans) ? (size_t)job->n_tiles : 1, walk_tiles, job);
    }
    sp_arena_restore(ops->arena, mark);
}

sp_tensor *sp_op_attention(sp_ops *ops, const sp_tensor *q, const sp_attend *a, const sp_span *spans,
                           int n_spans)
{
    if (!q) return NULL;
    for (int i = 0; i < n_spans; i++) {
        if (!spans[i].k || !spans[i].v) return NULL;
        assert(sp_attend_reads(spans[i].k->dtype) && sp_attend_reads(spans[i].v->dtype));
    }
    int64_t n_rows = sp_tensor_rows(q);
    assert(sp_tensor_cols(q) == a->n_heads * a->k_dim);
    attention_job job = {.kernels = ops->kernels, .q = q, .a = a};
    job.y = sp_ops_new(ops, n_rows, a->n_heads * a->v_dim);
    if (!job.y) return NULL;
    if (ops->tape) {
        job.stats = sp_ops_alloc(ops, (size_t)(n_rows * a->n_heads), 2 * sizeof *job.stats);
        if (!job.stats) return NULL;
    }
    if (sp_ops_use_gemm(ops) && all_float(spans, n_spans))
        sp_attention_forward_blocks(ops, q, a, spans, n_spans, job.y, job.stats);
    else
        attend(ops, &job, spans, n_spans);
    if (ops->status != SP_OK) return NULL;
    if (ops->tape) record_attention(ops, &job, spans, n_spans);
    return job.y;
}

/* --- the cache -------------------------------------------------------------------------------------------- */

typedef struct store_job {
    sp_store_fn store;
    const sp_tensor *x;
    int64_t row, position;
    sp_tensor *cache;
} store_job;

static void store_rows(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const store_job *job = ctx;
    const sp_tensor *cache = job->cache;
    int64_t dim = sp_tensor_cols(cache);
    for (int64_t i = (int64_t)begin; i < (int64_t)end; i++)
        for (int64_t h = 0; h < cache->shape[0]; h++)
            job->store((size_t)dim, (const float *)sp_tensor_row(job->x, job->row + i) + h * dim,
                       (char *)cache->data +
                           (size_t)(h * cache->shape[1] + job->position + i) * cache->row_bytes);
}

void sp_op_store(sp_ops *ops, const sp_tensor *x, int64_t row, int64_t n_rows, sp_tensor *cache,
                 int64_t position)
{
    if (!x) return;
    assert(cache->n_dims == 3 && sp_attend_reads(cache->dtype) && position + n_rows <= cache->shape[1]);
    assert(cache->shape[0] * cache->shape[2] == sp_tensor_cols(x));
    store_job job = {ops->kernels->store[cache->dtype], x, row, position, cache};
    sp_pool_run(ops->pool, (size_t)n_rows, 16, store_rows, &job);
}
