/* SPDX-License-Identifier: MIT */
/* The product of two float matrices on one thread: what training is made of. */
#ifndef SP_TENSOR_GEMM_H
#define SP_TENSOR_GEMM_H

#include <stdbool.h>
#include <stdint.h>

/* k is summed in pieces of this length. */
#define SP_GEMM_PIECE 256

/* The operands: A (m, k), B (k, n), C (m, n), which is dense along its rows. Element (i, j) of X lies at
 * x[i * x_row + j * x_col]; of each of A and B one of the two distances is 1. */
typedef struct sp_product {
    int64_t m, n, k;
    const float *a;
    int64_t a_row, a_col;
    const float *b;
    int64_t b_row, b_col;
    float *c;
    int64_t c_row;
} sp_product;

/* C = scale A B, or C += scale A B (add). A piece of an element of C is a chain of fused multiply-adds from 0 in order of k;
 * C = scale piece, or C = fma(scale, piece, C) where it has a value already. So an element's bits depend on its row of A and
 * its column of B alone, and any cut of C gives them. */
typedef void (*sp_gemm_fn)(const sp_product *p, float scale, bool add);

#endif
