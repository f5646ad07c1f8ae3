/* SPDX-License-Identifier: MIT */
/* Data for the kernel tests: random numbers, guarded memory, rows of every format, comparison of bits. */
#ifndef KERNEL_TESTING_H
#define KERNEL_TESTING_H

#include "tensor/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t rng_state = 1;

static inline uint32_t draw(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return (uint32_t)(rng_state >> 32);
}

static inline float draw_float(float magnitude)
{
    return ((float)draw() * 0x1p-31f - 1.0f) * magnitude;
}

/* Memory that ends (or begins) at an inaccessible page. */
typedef struct guarded {
    uint8_t *base, *data; /* mapping; n_bytes that end at the guard page */
    size_t mapped;
} guarded;

/* `shift` bytes of slack are left before the guard page: an unaligned address, when odd. */
static inline guarded map_guarded(size_t n_bytes, size_t shift)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t body = (n_bytes + shift + page - 1) / page * page;
    guarded g = {NULL, NULL, body + 2 * page};
    g.base = mmap(NULL, g.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.base == MAP_FAILED) abort();
    mprotect(g.base, page, PROT_NONE);
    mprotect(g.base + page + body, page, PROT_NONE);
    g.data = g.base + page + body - n_bytes - shift;
    return g;
}

static inline void unmap_guarded(guarded *g)
{
    munmap(g->base, g->mapped);
}

/* Where a block keeps its half-precision factors; -1: none. IQ1_M spreads its own over four words. */
static const struct {
    int d, m;
} half_at[SP_DTYPE_COUNT] = {
    [SP_DTYPE_F32] = {-1, -1},     [SP_DTYPE_F16] = {-1, -1},   [SP_DTYPE_BF16] = {-1, -1},
    [SP_DTYPE_F8_E4M3] = {-1, -1}, [SP_DTYPE_Q4_0] = {0, -1},   [SP_DTYPE_Q4_1] = {0, 2},
    [SP_DTYPE_Q5_0] = {0, -1},     [SP_DTYPE_Q5_1] = {0, 2},    [SP_DTYPE_Q8_0] = {0, -1},
    [SP_DTYPE_Q2_K] = {80, 82},    [SP_DTYPE_Q3_K] = {108, -1}, [SP_DTYPE_Q4_K] = {0, 2},
    [SP_DTYPE_Q5_K] = {0, 2},      [SP_DTYPE_Q6_K] = {208, -1}, [SP_DTYPE_IQ4_NL] = {0, -1},
    [SP_DTYPE_IQ4_XS] = {0, -1},   [SP_DTYPE_IQ1_S] = {0, -1},  [SP_DTYPE_IQ1_M] = {-1, -1},
    [SP_DTYPE_IQ2_XXS] = {0, -1},  [SP_DTYPE_IQ2_XS] = {0, -1}, [SP_DTYPE_IQ2_S] = {0, -1},
    [SP_DTYPE_IQ3_XXS] = {0, -1},  [SP_DTYPE_IQ3_S] = {0, -1},
};

typedef enum fill { FILL_RANDOM, FILL_ONES, FILL_ZEROS, FILL_HIGH, FILL_LOW, FILL_COUNT } fill;

static inline void put_half(uint8_t *p, float v)
{
    uint16_t h = sp_f32_to_f16(v);
    memcpy(p, &h, 2);
}

static inline void fill_float_row(sp_dtype dtype, size_t n, fill how, uint8_t *row)
{
    for (size_t i = 0; i < n; i++) {
        float v = how == FILL_RANDOM  ? draw_float(2.0f)
                  : how == FILL_ZEROS ? 0.0f
                  : how == FILL_LOW   ? -440.0f
                                      : 440.0f;
        if (how == FILL_HIGH && i % 3 == 0) v = -0x1p-24f * (float)(i % 7); /* subnormal halves */
        if (dtype == SP_DTYPE_F32) memcpy(row + 4 * i, &v, 4);
        if (dtype == SP_DTYPE_F16) put_half(row + 2 * i, v);
        if (dtype == SP_DTYPE_F8_E4M3)
            row[i] =
                how == FILL_RANDOM ? (uint8_t)(draw() % 255 == 127 ? 0 : draw() & 0x77) : sp_f32_to_e4m3(v);
        uint16_t h = sp_f32_to_bf16(v);
        if (dtype == SP_DTYPE_BF16) memcpy(row + 2 * i, &h, 2);
    }
}

static inline void fill_row(sp_dtype dtype, size_t n, fill how, uint8_t *row)
{
    static const uint8_t pattern[FILL_COUNT] = {0, 0xff, 0x00, 0x7f, 0x80};
    const sp_dtype_info *info = sp_dtype_get(dtype);
    if (info->block == 1) {
        fill_float_row(dtype, n, how, row);
        return;
    }
    for (size_t b = 0; b < n / info->block; b++, row += info->block_bytes) {
        for (int i = 0; i < info->block_bytes; i++)
            row[i] = how == FILL_RANDOM ? (uint8_t)draw() : pattern[how];
        float d = how == FILL_RANDOM ? draw_float(0.1f) : how == FILL_LOW ? -65504.0f : 65504.0f;
        if (half_at[dtype].d >= 0) put_half(row + half_at[dtype].d, d);
        if (half_at[dtype].m >= 0)
            put_half(row + half_at[dtype].m, how == FILL_RANDOM ? draw_float(0.1f) : d);
        if (dtype == SP_DTYPE_IQ1_M) { /* exponent field below all ones */
            row[55] &= 0x3f;
        }
    }
}

static inline void fill_vector(size_t n, fill how, float *x)
{
    for (size_t i = 0; i < n; i++) {
        switch (how) {
        case FILL_RANDOM: x[i] = draw_float(draw() % 64 == 0 ? 40.0f : 1.0f); break;
        case FILL_ONES: x[i] = 1e3f; break; /* all integers 127 */
        case FILL_ZEROS: x[i] = 0.0f; break;
        case FILL_HIGH: x[i] = i % 2 ? -3e4f : 3e4f; break;
        default: x[i] = draw() % 2 ? 1e-38f : -1e-40f; break;
        }
    }
}

/* Equal bits, all NaN being one. */
static inline int differs(float a, float b)
{
    if (isnan(a) && isnan(b)) return 0;
    return memcmp(&a, &b, sizeof a) != 0;
}

static inline int count_diffs(size_t n, const float *a, const float *b)
{
    int bad = 0;
    for (size_t i = 0; i < n; i++) bad += differs(a[i], b[i]);
    return bad;
}

static inline int report(int bad, const sp_kernels *k, const char *what, const char *type, size_t n)
{
    if (bad)
        fprintf(stderr, "%s: %s %s, n = %zu: %d values differ from scalar\n", k->isa, what, type, n, bad);
    return bad;
}

#endif
