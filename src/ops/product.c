/* SPDX-License-Identifier: MIT */
/* The accumulating product of backward passes. Work is shared out by rows of C over all products of a list
 * (grouped experts and heads need no padding); k runs in blocks so that a block of B stays in the cache while
 * several rows of C pass. Start at sp_products_add(). */
#include "ops/ops_parts.h"

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

void sp_products_add(sp_ops *ops, const sp_product *products, int64_t n_products)
{
    int64_t rows = 0, work = 0;
    for (int64_t i = 0; i < n_products; i++) {
        rows += products[i].m;
        work += products[i].m * products[i].n * products[i].k;
    }
    if (work == 0) return;
    int64_t grain = CHUNK_WORK / (work / rows + 1) + 1;
    product_job job = {ops->kernels, products};
    sp_pool_run(ops->pool, (size_t)rows, (size_t)(grain < MIN_ROWS ? MIN_ROWS : grain), add_items, &job);
}
