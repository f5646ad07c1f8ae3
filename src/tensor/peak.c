/* SPDX-License-Identifier: MIT */
/* The list of arithmetic loops and their scalar member. Start at sp_peak_list(). */
#include "tensor/peak.h"

static void run_scalar(int64_t n_rounds)
{
    float sum[SP_PEAK_SUMS], x = 0.999f, y = 0.001f;
    for (int i = 0; i < SP_PEAK_SUMS; i++) sum[i] = (float)i;
    for (int64_t r = 0; r < n_rounds; r++)
        for (int i = 0; i < SP_PEAK_SUMS; i++) sum[i] = sum[i] * x + y;
    volatile float sink = 0;
    for (int i = 0; i < SP_PEAK_SUMS; i++) sink = sink + sum[i];
}

static const sp_peak peaks[] = {
#if defined(__x86_64__)
    {SP_PEAK_INT8, SP_ISA_AVX2, "maddubs + madd + add, 256 bits", SP_PEAK_SUMS * 64, sp_peak_maddubs_avx2},
    {SP_PEAK_INT8, SP_ISA_AVXVNNI, "dpbusd, 256 bits", SP_PEAK_SUMS * 64, sp_peak_vnni_avx2},
    {SP_PEAK_INT8, SP_ISA_AVX512, "maddubs + madd + add, 512 bits", SP_PEAK_SUMS * 128,
     sp_peak_maddubs_avx512},
    {SP_PEAK_INT8, SP_ISA_AVX512, "dpbusd, 512 bits", SP_PEAK_SUMS * 128, sp_peak_vnni_avx512},
    {SP_PEAK_INT8, SP_ISA_AMX, "tdpbssd, full tiles", 4 * 16 * 16 * 64 * 2, sp_peak_tiles_amx},
    {SP_PEAK_FLOAT32, SP_ISA_AVX2, "fma, 256 bits", SP_PEAK_SUMS * 16, sp_peak_fma_avx2},
    {SP_PEAK_FLOAT32, SP_ISA_AVX512, "fma, 512 bits", SP_PEAK_SUMS * 32, sp_peak_fma_avx512},
#elif defined(__aarch64__)
    {SP_PEAK_INT8, SP_ISA_NEON, "smull + smlal2 + sadalp", SP_PEAK_SUMS * 32, sp_peak_mlal_neon},
    {SP_PEAK_INT8, SP_ISA_DOTPROD, "sdot", SP_PEAK_SUMS * 32, sp_peak_sdot},
    {SP_PEAK_INT8, SP_ISA_I8MM, "smmla", SP_PEAK_SUMS * 64, sp_peak_smmla},
    {SP_PEAK_FLOAT32, SP_ISA_NEON, "fmla", SP_PEAK_SUMS * 8, sp_peak_fma_neon},
#endif
    {SP_PEAK_FLOAT32, SP_ISA_SCALAR, "scalar", SP_PEAK_SUMS * 2, run_scalar},
};

const sp_peak *sp_peak_list(size_t *n)
{
    *n = sizeof peaks / sizeof peaks[0];
    return peaks;
}

uint64_t sp_peak_read(const void *data, size_t n)
{
#if defined(__x86_64__)
    if (sp_kernels_for(SP_ISA_AVX512)) return sp_peak_read_avx512(data, n);
    if (sp_kernels_for(SP_ISA_AVX2)) return sp_peak_read_avx2(data, n);
#endif
    const uint64_t *words = data;
    uint64_t a = 0, b = 0, c = 0, d = 0;
    for (size_t i = 0; i < n / sizeof *words; i += 4) {
        a ^= words[i];
        b ^= words[i + 1];
        c ^= words[i + 2];
        d ^= words[i + 3];
    }
    return a ^ b ^ c ^ d;
}
