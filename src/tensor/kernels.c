/* SPDX-License-Identifier: MIT */
/* The kernel tables: built once per process, each instruction set's table from the scalar rows upward. Rows
 * that an instruction set does not have stay scalar. Start at sp_kernels_get. */
#include "tensor/kernels.h"

#include <pthread.h>
#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
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

/* Tiles of 16 rows of 64 bytes, as many as matmul_amx.c names, and a multiplier that takes whole ones. */
static bool has_full_tiles(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid_count(0x1d, 1, &a, &b, &c, &d)) return false; /* palette 1 */
    if (b >> 16 < 8 || (b & 0xffff) < 64 || (c & 0xffff) < 16) return false;
    if (!__get_cpuid_count(0x1e, 0, &a, &b, &c, &d)) return false;
    return (b & 0xff) >= 16 && (b >> 8 & 0xffff) >= 64;
}

/* The kernel saves tiles only for programs that have asked for it (Documentation/arch/x86/xstate.rst). The permission
 * is the process's, so its threads have it too. */
static bool is_granted_tiles(void)
{
#if defined(__linux__) && defined(SYS_arch_prctl)
    enum { REQUEST_PERMISSION = 0x1023, TILE_CONFIG = 17, TILE_DATA = 18 }; /* asm/prctl.h; bits of XCR0 */
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if (!(low & 1u << TILE_CONFIG) || !(low & 1u << TILE_DATA)) return false;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
}

static bool has_amx(void)
{
    unsigned a, b, c, d;
    if (!has_avx512() || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    bool has_tile = d & 1u << 24, has_int8 = d & 1u << 25;
    return has_tile && has_int8 && has_full_tiles() && is_granted_tiles();
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
        sp_fill_float_matmul_avx512(&tables[SP_ISA_AVX512]);
        sp_fill_iq_avx512(&tables[SP_ISA_AVX512]);
        sp_fill_attend_avx512(&tables[SP_ISA_AVX512]);
        sp_fill_gemm_avx512(&tables[SP_ISA_AVX512]);
        sp_fill_train_avx512(&tables[SP_ISA_AVX512]);
    }
    if (has_amx()) {
        tables[SP_ISA_AMX] = tables[SP_ISA_AVX512];
        tables[SP_ISA_AMX].isa = "amx";
        present[SP_ISA_AMX] = sp_fill_matmul_amx(&tables[SP_ISA_AMX]);
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
