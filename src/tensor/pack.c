/* SPDX-License-Identifier: MIT */
/* sp_dtype_pack: checks, the unquantised formats, and the table of quantisers (pack_legacy.c, pack_k.c). */
#include "tensor/pack.h"

#include <math.h>

void sp_pack_f32(size_t n, const float *src, void *dst)
{
    memcpy(dst, src, n * sizeof(float));
}

void sp_pack_f16(size_t n, const float *src, void *dst)
{
    uint16_t *out = dst;
    for (size_t i = 0; i < n; i++) out[i] = sp_f32_to_f16(src[i]);
}

void sp_pack_bf16(size_t n, const float *src, void *dst)
{
    uint16_t *out = dst;
    for (size_t i = 0; i < n; i++) out[i] = sp_f32_to_bf16(src[i]);
}

static void pack_f8_e4m3(size_t n, const float *src, void *dst)
{
    uint8_t *out = dst;
    for (size_t i = 0; i < n; i++) out[i] = sp_f32_to_e4m3(src[i]);
}

static const sp_pack_fn pack_rows[SP_DTYPE_COUNT] = {
    [SP_DTYPE_F32] = sp_pack_f32,       [SP_DTYPE_F16] = sp_pack_f16,   [SP_DTYPE_BF16] = sp_pack_bf16,
    [SP_DTYPE_F8_E4M3] = pack_f8_e4m3,  [SP_DTYPE_Q4_0] = sp_pack_q4_0, [SP_DTYPE_Q4_1] = sp_pack_q4_1,
    [SP_DTYPE_Q5_0] = sp_pack_q5_0,     [SP_DTYPE_Q5_1] = sp_pack_q5_1, [SP_DTYPE_Q8_0] = sp_pack_q8_0,
    [SP_DTYPE_Q2_K] = sp_pack_q2_k,     [SP_DTYPE_Q3_K] = sp_pack_q3_k, [SP_DTYPE_Q4_K] = sp_pack_q4_k,
    [SP_DTYPE_Q5_K] = sp_pack_q5_k,     [SP_DTYPE_Q6_K] = sp_pack_q6_k, [SP_DTYPE_IQ4_NL] = sp_pack_iq4_nl,
    [SP_DTYPE_IQ4_XS] = sp_pack_iq4_xs,
};

sp_status sp_dtype_pack(sp_dtype dtype, const float *src, void *dst, size_t n, sp_error *err)
{
    const sp_dtype_info *info = sp_dtype_get(dtype);
    if (!pack_rows[dtype])
        return sp_fail(err, SP_E_UNSUPPORTED, "pack: %s can be read but not written", info->label);
    if (n % info->block != 0) {
        return sp_fail(err, SP_E_ARGUMENT, "pack: %s needs a multiple of %d elements, got %zu", info->label,
                       info->block, n);
    }
    bool any_value = dtype == SP_DTYPE_F32 || dtype == SP_DTYPE_F16 || dtype == SP_DTYPE_BF16;
    for (size_t i = 0; i < n && !any_value; i++) {
        if (!isfinite(src[i])) {
            return sp_fail(err, SP_E_RANGE, "pack: %s cannot hold %f (element %zu)", info->label,
                           (double)src[i], i);
        }
    }
    pack_rows[dtype](n, src, dst);
    return SP_OK;
}
