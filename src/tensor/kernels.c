/* SPDX-License-Identifier: MIT */
/* The kernel tables: built once per process, each instruction set's table from the scalar rows upward. Rows
 * that an instruction set does not have stay scalar. Start at sp_kernels_get. */
#include "tensor/kernels.h"

#include <pthread.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#if defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "tensor/kernel_rows.h"

static sp_kernels tables[SP_ISA_COUNT];
static bool present[SP_ISA_COUNT];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

#if defined(__x86_64__)
static bool has_avx2(void)
{
    unsigned a, b, c, d;
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return false;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

static void fill_scalar(sp_kernels *k, const char *isa)
{
    sp_fill_float_scalar(k);
    sp_fill_quant_scalar(k);
    sp_fill_train_scalar(k);
    sp_fill_attend_scalar(k);
    k->isa = isa;
}

#if defined(__x86_64__)
/* What panel_avx512.h asks for; the compiler's test includes the operating system's part. */
static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni");
}

static bool has_avxvnni(void)
{
    unsigned a, b, c, d;
    return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}

static void fill_avx2(sp_kernels *k, const char *isa)
{
    fill_scalar(k, isa);
    sp_fill_float_avx2(k);
    sp_fill_float_matmul_avx2(k);
    sp_fill_train_avx2(k);
    sp_fill_quant_avx2(k);
    sp_fill_k_avx2(k);
    sp_fill_matmul_avx2(k);
    sp_fill_attend_avx2(k);
}

static void build_x86(void)
{
    present[SP_ISA_AVX2] = has_avx2();
    if (present[SP_ISA_AVX2]) fill_avx2(&tables[SP_ISA_AVX2], "avx2");
    present[SP_ISA_AVXVNNI] = has_avxvnni();
    if (present[SP_ISA_AVXVNNI]) {
        fill_avx2(&tables[SP_ISA_AVXVNNI], "avxvnni");
        sp_fill_matmul_avxvnni(&tables[SP_ISA_AVXVNNI]);
    }
    present[SP_ISA_AVX512] = has_avx512();
    if (present[SP_ISA_AVX512]) {
        fill_avx2(&tables[SP_ISA_AVX512], "avx512");
        if (present[SP_ISA_AVXVNNI]) sp_fill_matmul_avxvnni(&tables[SP_ISA_AVX512]);
        sp_fill_quant_avx512(&tables[SP_ISA_AVX512]);
        sp_fill_attend_avx512(&tables[SP_ISA_AVX512]);
        sp_fill_gemm_avx512(&tables[SP_ISA_AVX512]);
        sp_fill_train_avx512(&tables[SP_ISA_AVX512]);
    }
}
#endif

#if defined(__aarch64__)
#if defined(__APPLE__)
static bool sysctl_says(const char *name)
{
    int value = 0;
    size_t bytes = sizeof value;
    return sysctlbyname(name, &value, &bytes, NULL, 0) == 0 && value;
}
#endif

static bool has_dotprod(void)
{
#if defined(__APPLE__)
    return sysctl_says("hw.optional.arm.FEAT_DotProd");
#elif defined(HWCAP_ASIMDDP)
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#else
    return false;
#endif
}

static bool has_i8mm(void)
{
#if defined(__APPLE__)
    return has_dotprod() && sysctl_says("hw.optional.arm.FEAT_I8MM");
#elif defined(HWCAP2_I8MM)
    return has_dotprod() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM);
#else
    return false;
#endif
}

static void fill_neon(sp_kernels *k, const char *isa)
{
    fill_scalar(k, isa);
    sp_fill_float_neon(k);
    sp_fill_quant_neon(k);
    sp_fill_matmul_neon(k);
    sp_fill_attend_neon(k);
}

static void build_arm64(void)
{
    fill_neon(&tables[SP_ISA_NEON], "neon"); /* every armv8-a processor has it */
    present[SP_ISA_NEON] = true;
    present[SP_ISA_DOTPROD] = has_dotprod();
    if (present[SP_ISA_DOTPROD]) {
        fill_neon(&tables[SP_ISA_DOTPROD], "dotprod");
        sp_fill_matmul_dotprod(&tables[SP_ISA_DOTPROD]);
    }
    present[SP_ISA_I8MM] = has_i8mm();
    if (present[SP_ISA_I8MM]) {
        fill_neon(&tables[SP_ISA_I8MM], "i8mm");
        sp_fill_matmul_i8mm(&tables[SP_ISA_I8MM]);
    }
}
#endif

static void build_tables(void)
{
    fill_scalar(&tables[SP_ISA_SCALAR], "scalar");
    present[SP_ISA_SCALAR] = true;
#if defined(__x86_64__)
    build_x86();
#endif
#if defined(__aarch64__)
    build_arm64();
#endif
}

const sp_kernels *sp_kernels_get(void)
{
    pthread_once(&tables_once, build_tables);
    for (int isa = SP_ISA_COUNT - 1; isa > SP_ISA_SCALAR; isa--) {
        if (present[isa]) return &tables[isa];
    }
    return &tables[SP_ISA_SCALAR];
}

const sp_kernels *sp_kernels_for(sp_isa isa)
{
    pthread_once(&tables_once, build_tables);
    if ((unsigned)isa >= SP_ISA_COUNT || !present[isa]) return NULL;
    return &tables[isa];
}
