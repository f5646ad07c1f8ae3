/* SPDX-License-Identifier: MIT */
/* The products that training is made of, over lists (grouped experts and heads need no padding). Each C is cut into
 * tiles whose borders depend on shapes alone, and a thread of the pool computes a tile: by the kernels where they have
 * a matrix product, else as a single-threaded sgemm. Without either, work is shared out by rows of C, and k runs in
 * blocks so that a block of B stays in the cache while several rows of C pass. Start at sp_products_both(). */
#include "ops/ops_parts.h"

#include <assert.h>
#include <string.h>

#if SP_HAVE_CBLAS
#include <cblas.h>
#include <limits.h>
#include <pthread.h>
#endif

/* --- one product ------------------------------------------------------------------------------------------ */

#if SP_HAVE_CBLAS

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

static void multiply_plainly(const sp_kernels *kernels, const sp_product *p, float alpha, float beta)
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

#else

static void multiply_plainly(const sp_kernels *kernels, const sp_product *p, float alpha, float beta)
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
            c[j] += alpha * kernels->dot((size_t)p->k, p->b + j * p->b_col, p->a + i * p->a_row);
    }
}

#endif

void sp_product_compute(const sp_kernels *kernels, const sp_product *p, float alpha, sp_products_mode mode)
{
    if (kernels->gemm)
        kernels->gemm(p, alpha, mode == SP_PRODUCTS_ADD);
    else
        multiply_plainly(kernels, p, alpha, mode == SP_PRODUCTS_ADD ? 1.0f : 0.0f);
}

/* --- lists by tiles --------------------------------------------------------------------------------------- */

/* Every tile packs its B anew (and a BLAS its A), so tiles are as wide as C where that is at most MAX_WIDE: 256 x 768 runs
 * at 99 GFLOP/s on AVX2, 256 x 256 at 86, 64 x 64 at 74. A product is cut until a tile is at most 1 / PARTS of the whole
 * list's work, so that some threads share it evenly: first in height, down to MIN_SIDE, then in width. Weights' gradients,
 * whose A is transposed and whose B is as long as the batch, are cut in width first: 256 x 128 runs at 213 GFLOP/s on
 * AVX-512 where 128 x 256 does at 200. */
#define MAX_TALL 512
#define MAX_WIDE 1024
#define MIN_SIDE 128
#define PARTS 8
/* Tile borders are multiples of this: whole registers of C for the BLAS. */
#define SIDE_STEP 16

/* How one product is cut: into down x across tiles. */
typedef struct cut {
    const sp_product *product;
    sp_products_mode mode;
    int64_t down, across;
    int64_t first; /* number of its first tile */
} cut;

typedef struct tile_list {
    const sp_kernels *kernels;
    int64_t k_step;
    cut *cuts; /* by number */
} tile_list;

/* The i-th of `count` nearly equal pieces of [0, n). */
static int64_t border(int64_t n, int64_t count, int64_t i)
{
    int64_t size = (n + count - 1) / count;
    size = (size + SIDE_STEP - 1) / SIDE_STEP * SIDE_STEP;
    return i * size < n ? i * size : n;
}

static cut cut_product(const sp_product *p, sp_products_mode mode, double most, int64_t first)
{
    cut c = {p, mode, (p->m + MAX_TALL - 1) / MAX_TALL, (p->n + MAX_WIDE - 1) / MAX_WIDE, first};
    while (c.down > 0 && c.across > 0) {
        int64_t tall = p->m / c.down, wide = p->n / c.across;
        if ((double)tall * (double)wide * (double)p->k <= most) break;
        bool high = tall >= 2 * MIN_SIDE, broad = wide >= 2 * MIN_SIDE;
        if (high && !(broad && p->a_col != 1))
            c.down *= 2;
        else if (broad)
            c.across *= 2;
        else
            break;
    }
    return c;
}

static void multiply_tile(const tile_list *list, const cut *c, int64_t tile)
{
    const sp_product *p = c->product;
    int64_t i = border(p->m, c->down, tile / c->across), j = border(p->n, c->across, tile % c->across);
    sp_product t = *p;
    t.m = border(p->m, c->down, tile / c->across + 1) - i;
    t.n = border(p->n, c->across, tile % c->across + 1) - j;
    if (t.m == 0 || t.n == 0) return;
    t.c += i * p->c_row + j;
    for (int64_t l = 0; l < p->k || l == 0; l += t.k) {
        t.k = p->k - l < list->k_step ? p->k - l : list->k_step;
        t.a = p->a + i * p->a_row + l * p->a_col;
        t.b = p->b + j * p->b_col + l * p->b_row;
        sp_product_compute(list->kernels, &t, 1.0f, l > 0 ? SP_PRODUCTS_ADD : c->mode);
        if (p->k == 0) break;
    }
}

static void multiply_tiles(void *ctx, size_t begin, size_t end, int thread)
{
    (void)thread;
    const tile_list *list = ctx;
    const cut *c = list->cuts;
    for (int64_t tile = (int64_t)begin; tile < (int64_t)end; tile++) {
        while (tile >= c->first + c->down * c->across) c++;
        multiply_tile(list, c, tile - c->first);
    }
}

static double work_of(const sp_product *products, int64_t n)
{
    double work = 0.0;
    for (int64_t i = 0; i < n; i++)
        work += (double)products[i].m * (double)products[i].n * (double)products[i].k;
    return work;
}

/* The first n_add products are add[], the others set[]. */
static void run_tiles(sp_ops *ops, const sp_product *add, int64_t n_add, const sp_product *set, int64_t n_set,
                      int64_t k_step)
{
    double most = (work_of(add, n_add) + work_of(set, n_set)) / PARTS;
    if (n_add + n_set == 0) return;
    sp_arena_mark mark = sp_arena_save(ops->arena);
    tile_list list = {ops->kernels, k_step, sp_ops_alloc(ops, (size_t)(n_add + n_set), sizeof *list.cuts)};
    int64_t n_tiles = 0;
    for (int64_t i = 0; list.cuts && i < n_add + n_set; i++) {
        list.cuts[i] = i < n_add ? cut_product(&add[i], SP_PRODUCTS_ADD, most, n_tiles)
                                 : cut_product(&set[i - n_add], SP_PRODUCTS_SET, most, n_tiles);
        n_tiles += list.cuts[i].down * list.cuts[i].across;
    }
    sp_pool_run(ops->pool, (size_t)n_tiles, 1, multiply_tiles, &list);
    sp_arena_restore(ops->arena, mark);
}

/* --- lists by rows ----------------------------------------------------------------------------------------- */

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
            p->c[i * p->c_row + j] += k->dot((size_t)p->k, p->b + j * p->b_col, p->a + i * p->a_row);
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

static void add_products(sp_ops *ops, const sp_product *products, int64_t n)
{
    int64_t rows = 0, work = 0;
    for (int64_t i = 0; i < n; i++) {
        rows += products[i].m;
        work += products[i].m * products[i].n * products[i].k;
    }
    if (work == 0) return;
    int64_t grain = CHUNK_WORK / (work / rows + 1) + 1;
    product_job job = {ops->kernels, products};
    sp_pool_run(ops->pool, (size_t)rows, (size_t)(grain < MIN_ROWS ? MIN_ROWS : grain), add_items, &job);
}

static void run_rows(sp_ops *ops, const sp_product *add, int64_t n_add, const sp_product *set, int64_t n_set)
{
    for (const sp_product *p = set; p < set + n_set; p++)
        for (int64_t i = 0; i < p->m; i++) memset(p->c + i * p->c_row, 0, (size_t)p->n * sizeof *p->c);
    add_products(ops, add, n_add);
    add_products(ops, set, n_set);
}

/* --- lists ------------------------------------------------------------------------------------------------- */

void sp_products_both(sp_ops *ops, const sp_product *add, int64_t n_add, const sp_product *set, int64_t n_set)
{
    if (sp_ops_have_gemm(ops))
        run_tiles(ops, add, n_add, set, n_set, INT64_MAX);
    else
        run_rows(ops, add, n_add, set, n_set);
}

/* By rows, sums are float32 from element to element: no pieces. */
void sp_products_stepped(sp_ops *ops, const sp_product *products, int64_t n, int64_t n_add, int64_t k_step)
{
    if (sp_ops_have_gemm(ops))
        run_tiles(ops, products, n_add, products + n_add, n - n_add, k_step);
    else
        run_rows(ops, products, n_add, products + n_add, n - n_add);
}

void sp_products_run(sp_ops *ops, const sp_product *products, int64_t n, sp_products_mode mode)
{
    bool set = mode == SP_PRODUCTS_SET;
    sp_products_both(ops, products, set ? 0 : n, products, set ? n : 0);
}

void sp_products_add(sp_ops *ops, const sp_product *products, int64_t n)
{
    sp_products_both(ops, products, n, NULL, 0);
}
