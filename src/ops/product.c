/* SPDX-License-Identifier: MIT */
/* The products that training is made of, over lists (grouped experts and heads need no padding). With a BLAS
 * each C is cut into tiles whose borders depend on shapes alone, and a tile is one single-threaded sgemm run by
 * a thread of the pool. Without one, work is shared out by rows of C over the kernels, and k runs in blocks so
 * that a block of B stays in the cache while several rows of C pass. Start at sp_products_run(). */
#include "ops/ops_parts.h"

#include <assert.h>
#include <string.h>

#if SP_HAVE_CBLAS

#include <cblas.h>
#include <limits.h>
#include <pthread.h>

/* Tiles are at most this tall and wide: sgemm reaches its speed from 128 x 128 on. A list that would give
 * fewer than MIN_TILES is cut finer, down to MIN_SIDE, so that some threads share it evenly. */
#define MAX_SIDE 256
#define MIN_SIDE 64
#define MIN_TILES 16
/* Tile borders are multiples of this: whole registers of C for the BLAS. */
#define SIDE_STEP 16

typedef struct tile_list {
    const sp_kernels *kernels;
    const sp_product *products;
    sp_products_mode mode;
    int64_t side;   /* target */
    int64_t *first; /* (n_products + 1) number of the first tile of each product */
} tile_list;

static int64_t tiles_along(int64_t n, int64_t side)
{
    return (n + side - 1) / side;
}

static int64_t count_tiles(const sp_product *p, int64_t side)
{
    return p->m > 0 && p->n > 0 ? tiles_along(p->m, side) * tiles_along(p->n, side) : 0;
}

/* The i-th of `count` nearly equal pieces of [0, n). */
static int64_t border(int64_t n, int64_t count, int64_t i)
{
    int64_t size = (n + count - 1) / count;
    size = (size + SIDE_STEP - 1) / SIDE_STEP * SIDE_STEP;
    return i * size < n ? i * size : n;
}

static int64_t at_least(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The pool of the ops is the only source of threads. */
static void keep_blas_to_one_thread(void)
{
#if SP_HAVE_BLAS_THREADS
    openblas_set_num_threads(1);
#endif
}

void sp_product_compute(const sp_kernels *kernels, const sp_product *p, float alpha, float beta)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)kernels;
    pthread_once(&once, keep_blas_to_one_thread);
    bool a_plain = p->a_col == 1, b_plain = p->b_col == 1;
    assert((a_plain || p->a_row == 1) && (b_plain || p->b_row == 1));
    assert(p->m <= INT_MAX && p->n <= INT_MAX && p->k <= INT_MAX);
    cblas_sgemm(CblasRowMajor, a_plain ? CblasNoTrans : CblasTrans, b_plain ? CblasNoTrans : CblasTrans,
                (int)p->m, (int)p->n, (int)p->k, alpha, p->a,
                (int)(a_plain ? at_least(p->a_row, p->k) : at_least(p->a_col, p->m)), p->b,
                (int)(b_plain ? at_least(p->b_row, p->n) : at_least(p->b_col, p->k)), beta, p->c,
                (int)at_least(p->c_row, p->n));
}

static void multiply_tile(const tile_list *list, const sp_product *p, int64_t tile)
{
    int64_t across = tiles_along(p->n, list->side), down = tiles_along(p->m, list->side);
    int64_t i = border(p->m, down, tile / across), j = border(p->n, across, tile % across);
    sp_product t = *p;
    t.m = border(p->m, down, tile / across + 1) - i;
    t.n = border(p->n, across, tile % across + 1) - j;
    if (t.m == 0 || t.n == 0) return;
    t.a += i * p->a_row;
    t.b += j * p->b_col;
    t.c += i * p->c_row + j;
    sp_product_compute(list->kernels, &t, 1.0f, list->mode == SP_PRODUCTS_ADD ? 1.0f : 0.0f);
}

static void multiply_tiles(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const tile_list *list = ctx;
    int64_t p = 0;
    for (int64_t tile = (int64_t)begin; tile < (int64_t)end; tile++) {
        while (tile >= list->first[p + 1]) p++;
        multiply_tile(list, &list->products[p], tile - list->first[p]);
    }
}

void sp_products_run(sp_ops *ops, const sp_product *products, int64_t n_products, sp_products_mode mode)
{
    if (n_products == 0) return;
    sp_arena_mark mark = sp_arena_save(ops->arena);
    tile_list list = {ops->kernels, products, mode, MAX_SIDE,
                      sp_ops_alloc(ops, (size_t)n_products + 1, sizeof *list.first)};
    if (!list.first) return;
    for (;; list.side /= 2) {
        list.first[0] = 0;
        for (int64_t i = 0; i < n_products; i++)
            list.first[i + 1] = list.first[i] + count_tiles(&products[i], list.side);
        if (list.first[n_products] >= MIN_TILES || list.side == MIN_SIDE) break;
    }
    sp_pool_run(ops->pool, (size_t)list.first[n_products], 1, multiply_tiles, &list);
    sp_arena_restore(ops->arena, mark);
}

#else

/* Multiply-adds that make a chunk worth a trip to the shared counter; rows of B kept hot; rows of C that
 * share them at least. */
#define CHUNK_WORK 65536
#define K_BLOCK 16
#define MIN_ROWS 8

typedef struct product_job {
    const sp_kernels *kernels;
    const sp_product *products;
} product_job;

static void add_rows_of_b(const sp_kernels *k, const sp_product *p, int64_t begin, int64_t end)
{
    for (int64_t l0 = 0; l0 < p->k; l0 += K_BLOCK) {
        int64_t l1 = p->k - l0 < K_BLOCK ? p->k : l0 + K_BLOCK;
        for (int64_t i = begin; i < end; i++)
            for (int64_t l = l0; l < l1; l++)
                k->axpy((size_t)p->n, p->a[i * p->a_row + l * p->a_col], p->b + l * p->b_row,
                        p->c + i * p->c_row);
    }
}

static void add_dots(const sp_kernels *k, const sp_product *p, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i++)
        for (int64_t j = 0; j < p->n; j++)
            p->c[i * p->c_row + j] +=
                k->dot[SP_DTYPE_F32]((size_t)p->k, p->b + j * p->b_col, p->a + i * p->a_row);
}

void sp_product_compute(const sp_kernels *kernels, const sp_product *p, float alpha, float beta)
{
    for (int64_t i = 0; i < p->m; i++) {
        float *c = p->c + i * p->c_row;
        if (beta == 0.0f)
            memset(c, 0, (size_t)p->n * sizeof *c);
        else
            kernels->scale((size_t)p->n, beta, c);
        for (int64_t l = 0; p->b_col == 1 && l < p->k; l++)
            kernels->axpy((size_t)p->n, alpha * p->a[i * p->a_row + l * p->a_col], p->b + l * p->b_row, c);
        for (int64_t j = 0; p->b_col != 1 && j < p->n; j++)
            c[j] +=
                alpha * kernels->dot[SP_DTYPE_F32]((size_t)p->k, p->b + j * p->b_col, p->a + i * p->a_row);
    }
}

/* Items are the rows of C of all products, one product after the other. */
static void add_items(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const product_job *job = ctx;
    const sp_product *p = job->products;
    int64_t first = 0, at = (int64_t)begin;
    while (at < (int64_t)end) {
        while (at >= first + p->m) first += p++->m;
        int64_t stop = first + p->m < (int64_t)end ? first + p->m : (int64_t)end;
        if (p->b_col == 1)
            add_rows_of_b(job->kernels, p, at - first, stop - first);
        else
            add_dots(job->kernels, p, at - first, stop - first);
        at = stop;
    }
}

void sp_products_run(sp_ops *ops, const sp_product *products, int64_t n_products, sp_products_mode mode)
{
    int64_t rows = 0, work = 0;
    for (int64_t i = 0; i < n_products; i++) {
        const sp_product *p = &products[i];
        for (int64_t r = 0; mode == SP_PRODUCTS_SET && r < p->m; r++)
            memset(p->c + r * p->c_row, 0, (size_t)p->n * sizeof *p->c);
        rows += p->m;
        work += p->m * p->n * p->k;
    }
    if (work == 0) return;
    int64_t grain = CHUNK_WORK / (work / rows + 1) + 1;
    product_job job = {ops->kernels, products};
    sp_pool_run(ops->pool, (size_t)rows, (size_t)(grain < MIN_ROWS ? MIN_ROWS : grain), add_items, &job);
}

#endif

void sp_products_add(sp_ops *ops, const sp_product *products, int64_t n_products)
{
    sp_products_run(ops, products, n_products, SP_PRODUCTS_ADD);
}
