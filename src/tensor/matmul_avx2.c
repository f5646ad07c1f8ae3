/* SPDX-License-Identifier: MIT */
/* Matrix products of the quantised formats for AVX2: everything is in matmul_avx2.h. */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#include "tensor/matmul_avx2.h"

void sp_fill_matmul_avx2(sp_kernels *k)
{
    fill_matmuls(k);
}

#endif
