/* SPDX-License-Identifier: MIT */
/* Attention over one segment of keys on arm64: the definition (attend_scalar.c) out of NEON rows. */
#include "tensor/kernel_rows.h"

#if defined(__aarch64__)

static void attend_neon(const sp_attend_part *a)
{
    sp_attend_by_rows(sp_kernels_for(SP_ISA_NEON), a);
}

void sp_fill_attend_neon(sp_kernels *k)
{
    k->attend = attend_neon;
}

#endif
