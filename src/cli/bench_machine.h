/* SPDX-License-Identifier: MIT */
/* The machine's ceilings in `sputnik bench`: as rows of their own, and as shares in the rows of a model. */
#ifndef SP_CLI_BENCH_MACHINE_H
#define SP_CLI_BENCH_MACHINE_H

#include "cli/cli.h"

#include "base/mem.h"
#include "plan/cost.h"
#include "plan/machine.h"

/* What was measured, as far as it decides a token's cost. */
typedef struct sp_bench_load {
    int64_t n_rows; /* tokens that share a read of the weights */
    double depth;   /* rows of the cache that a token reads */
    double n_heads; /* logits made for a token */
    double cache_width;
    int n_threads;
    double tokens_per_s;
} sp_bench_load;

/* Append ,"bytes_per_token":... with shares of those ceilings that are known. */
sp_status sp_bench_put_cost(sp_buf *out, const sp_cost *cost, const sp_machine *machine,
                            const sp_bench_load *load, sp_error *err);

/* The rest of a line for people. */
void sp_bench_print_cost(const sp_cost *cost, const sp_machine *machine, const sp_bench_load *load);

/* Measure and print the ceilings for numbers of threads (none: 1, and one per processor) and, unless NULL, of the disk
 * that holds a file; the exit code. */
int sp_bench_machine(const sp_int_list *threads, const char *disk, int json);

#endif
