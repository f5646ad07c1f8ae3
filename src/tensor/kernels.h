/* SPDX-License-Identifier: MIT */
/* The kernel table. Every row has one complete scalar version, which is its specification; files per
 * instruction set (kernels_avx2.c, kernels_neon.c) override rows. The table is chosen once, at run time.
 *
 * One answer: all versions of a row give the same bits. Sums of float formats therefore run in eight lanes on
 * every machine: element i of a row adds to lane i mod 8 by fused multiply-add, in order of i; the lanes are
 * added at the end as ((0+4)+(2+6)) + ((1+5)+(3+7)) (sp_lanes_sum). A quantised dot has one sum: the integer
 * sum of a whole block is exact, in whatever order, and enters it by one fused multiply-add per block, in order
 * of blocks (quant_scalar.c). Rows never alias; n is a multiple of the format's block; pointers need no
 * alignment beyond that of their element type. */
#ifndef SP_TENSOR_KERNELS_H
#define SP_TENSOR_KERNELS_H

#include "tensor/attend.h"
#include "tensor/dtype.h"
#include "tensor/gemm.h"

/* Weight rows times activation rows: y[t * y_stride + r] = dot(row r of w, row t of x), 0 <= r < n_rows,
 * 0 <= t < n_x. Each element's bits depend on its two rows alone, so any cut of either side gives them. */
typedef struct sp_matmul {
    size_t n;        /* elements of a row, a multiple of the format's block */
    const void *w;   /* first row in the format */
    size_t w_stride; /* bytes from row to row */
    int64_t n_rows;
    const void *x;   /* first row in the format's act form */
    size_t x_stride; /* bytes */
    int64_t n_x;
    float *y;
    int64_t y_stride; /* floats */
    /* F8 alone: scales of the 128 x 128 blocks, ceil(n / 128) in a row, of the whole matrix, of which w's first
     * row is row `first`. Each 128 columns are summed by themselves, times their scale, added in order. NULL: 1. */
    const float *scale;
    int64_t first;
    const void
        *next; /* weight rows that are probably read after these, to be asked for ahead; NULL: not known */
} sp_matmul;

typedef void (*sp_matmul_fn)(const sp_matmul *m);
typedef void (*sp_unpack_fn)(size_t n, const void *src, float *dst);
typedef void (*sp_act_fn)(size_t n, const float *src, void *dst);

/* Constants of one AdamW step (train/optimizer.c): every operation is rounded by itself.
 *   g <- grad_scale g; m <- beta1 m + rest1 g; v <- beta2 v + rest2 (g g); w <- keep w - (step m) / (sqrt(v) unbias + eps) */
typedef struct sp_adamw {
    float grad_scale, beta1, rest1, beta2, rest2, unbias, eps, step, keep;
} sp_adamw;

typedef struct sp_kernels {
    const char *isa; /* "scalar", "avx2", "avxvnni", "avx512", "amx", "neon", "dotprod", "i8mm" */

    sp_matmul_fn matmul[SP_DTYPE_COUNT]; /* few activation rows (decoding) and many (prompts) */
    /* How the rows of AVX-512 make panels of weights, which AMX multiplies by other instructions; NULL: not so. */
    const struct sp_panel_format *panels[SP_DTYPE_COUNT];
    sp_unpack_fn unpack[SP_DTYPE_COUNT]; /* row of the dtype -> float[n]; F8 without its block scale */
    sp_act_fn quantize[SP_ACT_COUNT];    /* float[n] -> activation row; SP_ACT_F32 copies */

    float (*dot)(size_t n, const float *x, const float *y); /* in eight lanes, as matmul of F32 */
    float (*sum_squares)(size_t n, const float *x);
    void (*axpy)(size_t n, float a, const float *x, float *y);                      /* y = fma(a, x, y) */
    void (*scale)(size_t n, float a, float *x);                                     /* x = a x */
    void (*add)(size_t n, const float *x, float *y);                                /* y = x + y */
    void (*scale_mul)(size_t n, float a, const float *x, const float *w, float *y); /* y = (a x) w */
    void (*swiglu)(size_t n, const float *gate, const float *up, float *y); /* silu(gate) up; y may be gate */
    float (*max)(size_t n, const float *x);                                 /* n >= 1 */
    float (*exp_sum)(size_t n, float shift,
                     float *x); /* x = exp(x - shift); returns the sum in eight lanes */
    void (*sum)(size_t n, const float *a, const float *b, float *y); /* y = a + b */
    void (*sigmoid)(size_t n, const float *x, float *y);             /* y = 1 / (1 + exp(-x)); y may be x */
    sp_attend_fn attend;                                             /* attend.h */
    sp_store_fn
        store[SP_DTYPE_COUNT]; /* float[n] -> cache row; the formats of sp_attend_reads(), else NULL */
    /* backward passes (train_scalar.c) */
    float (*dot_product)(size_t n, const float *x, const float *y,
                         const float *z); /* sum of (x y) z, in eight lanes */
    void (*axpy_product)(size_t n, float a, const float *x, const float *y,
                         float *z); /* z = fma(a x, y, z) */
    void (*softmax_grad)(size_t n, float mean, float scale, const float *p,
                         float *d); /* d = scale (p (d - mean)) */
    void (*norm_grad)(size_t n, const float *rc, const float *x, const float *w, const float *dy,
                      float *dx); /* dx = dx + rc[0] (w dy - rc[1] x) */
    void (*swiglu_grad)(size_t n, const float *gate, const float *up, const float *dy, float *dgate,
                        float *dup); /* adds to dgate and dup */
    void (*adamw)(size_t n, const sp_adamw *a, const float *g, float *w, float *m, float *v);
    sp_gemm_fn gemm; /* NULL where a BLAS does as well (ops/product.c) */
} sp_kernels;

/* CPU features that may be masked away, for tests and for --cpu. */
typedef enum sp_isa {
    SP_ISA_SCALAR,
    SP_ISA_AVX2,    /* with FMA and F16C: Intel from Haswell, AMD from Zen */
    SP_ISA_AVXVNNI, /* Intel from Alder Lake, AMD from Zen 5 */
    SP_ISA_AVX512,  /* F, BW, VL, DQ, VBMI and VNNI: Intel from Ice Lake, AMD from Zen 4 */
    SP_ISA_AMX, /* TILE and INT8, over AVX-512: Intel from Sapphire Rapids; tested under emulation alone */
    SP_ISA_NEON,
    SP_ISA_DOTPROD, /* sdot: Cortex-A55, -A76, Neoverse N1, Apple M1 and later */
    SP_ISA_I8MM,    /* and smmla: Neoverse V1 and N2, Cortex-A510 and -A710, Apple M2 and later */
    SP_ISA_COUNT
} sp_isa;

/* The best table of this machine; built on first use, thread-safe, never fails. */
const sp_kernels *sp_kernels_get(void);

/* The table of one instruction set, NULL where this machine or build has none. For tests. */
const sp_kernels *sp_kernels_for(sp_isa isa);

/* exp(x) as the kernels compute it (within 2 ulp of the exact value; 0 below -104, inf above 88.7). */
float sp_expf(float x);

/* Index of the largest of n values, the first of equals; n >= 1. */
static inline int64_t sp_find_largest(const float *values, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (values[i] > values[best]) best = i;
    return best;
}

#endif
