/* SPDX-License-Identifier: MIT */
/* The same for AVX-VNNI (Intel from Alder Lake, AMD from Zen 5 on), whose dpbusd replaces two or three
 * instructions. A compiler that does not know the extension leaves the rows of AVX2 in place. */
#include "tensor/kernel_rows.h"

#if defined(__x86_64__)

#if defined(__AVXVNNI__)
#include "tensor/matmul_avx2.h"
#endif

void sp_fill_matmul_avxvnni(sp_kernels *k)
{
#if defined(__AVXVNNI__)
    fill_matmuls(k);
#else
    (void)k;
#endif
}

#endif
