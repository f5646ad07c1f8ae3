/* SPDX-License-Identifier: MIT */
/* Loops that do nothing but one kind of arithmetic, or nothing but read memory: the ceilings that a kernel's speed is
 * compared with. Measuring them is plan/machine's. */
#ifndef SP_TENSOR_PEAK_H
#define SP_TENSOR_PEAK_H

#include "tensor/kernels.h"

typedef enum sp_peak_kind { SP_PEAK_INT8, SP_PEAK_FLOAT32 } sp_peak_kind;

typedef struct sp_peak {
    sp_peak_kind kind;
    sp_isa isa;       /* run it only where sp_kernels_for(isa) is not NULL */
    const char *name; /* the instructions */
    int ops;          /* operations of one round: a multiplication and an addition are two */
    void (*run)(int64_t n_rounds);
} sp_peak;

/* Of the processor family that this program is built for; scalar float32 among them. */
const sp_peak *sp_peak_list(size_t *n);

/* Read n bytes, a multiple of 256, with the widest loads; the value keeps the loads from being left out. */
uint64_t sp_peak_read(const void *data, size_t n);

/* Independent sums of each loop: more than the instruction's latency times those begun in a cycle. */
#define SP_PEAK_SUMS 12
#define SP_PEAK_EACH(M, ...)                                                                                 \
    M(0, __VA_ARGS__)                                                                                        \
    M(1, __VA_ARGS__)                                                                                        \
    M(2, __VA_ARGS__)                                                                                        \
    M(3, __VA_ARGS__)                                                                                        \
    M(4, __VA_ARGS__)                                                                                        \
    M(5, __VA_ARGS__)                                                                                        \
    M(6, __VA_ARGS__)                                                                                        \
    M(7, __VA_ARGS__)                                                                                        \
    M(8, __VA_ARGS__)                                                                                        \
    M(9, __VA_ARGS__)                                                                                        \
    M(10, __VA_ARGS__)                                                                                       \
    M(11, __VA_ARGS__)

/* Makes a value new to the compiler, which would otherwise move its product out of the loop, or leave it out. */
#define SP_PEAK_RENEW(v, in) __asm__ volatile("" : "+" in(v));

#define SP_PEAK_DECLARE(i, sums, spread) sums s##i = spread(i);
#define SP_PEAK_STEP(i, step, in)                                                                            \
    SP_PEAK_RENEW(x, in)                                                                                     \
    s##i = step(s##i, x, y);
#define SP_PEAK_KEEP(i, in) SP_PEAK_RENEW(s##i, in)

/* A row of the list: a round is s = step(s, x, y) for every sum s. `in` is the assembler's letter for the registers. */
#define SP_PEAK_LOOP(name, in, sums, spread_sum, factors, x_value, y_value, step)                            \
    void name(int64_t n_rounds)                                                                              \
    {                                                                                                        \
        factors x = x_value, y = y_value;                                                                    \
        SP_PEAK_EACH(SP_PEAK_DECLARE, sums, spread_sum)                                                      \
        for (int64_t r = 0; r < n_rounds; r++) {                                                             \
            SP_PEAK_EACH(SP_PEAK_STEP, step, in)                                                             \
        }                                                                                                    \
        SP_PEAK_EACH(SP_PEAK_KEEP, in)                                                                       \
    }

/* Rows of the instruction sets. */
void sp_peak_fma_avx2(int64_t n_rounds);
void sp_peak_maddubs_avx2(int64_t n_rounds);
void sp_peak_vnni_avx2(int64_t n_rounds);
void sp_peak_fma_avx512(int64_t n_rounds);
void sp_peak_maddubs_avx512(int64_t n_rounds);
void sp_peak_vnni_avx512(int64_t n_rounds);
void sp_peak_tiles_amx(int64_t n_rounds);
uint64_t sp_peak_read_avx2(const void *data, size_t n);
uint64_t sp_peak_read_avx512(const void *data, size_t n);
void sp_peak_fma_neon(int64_t n_rounds);
void sp_peak_mlal_neon(int64_t n_rounds);
void sp_peak_sdot(int64_t n_rounds);
void sp_peak_smmla(int64_t n_rounds);

#endif
