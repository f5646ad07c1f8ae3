/* SPDX-License-Identifier: MIT */
/* `sputnik bench --replay`: what a cache of experts would do with recorded or drawn uses. */
#ifndef SP_CLI_BENCH_EXPERTS_H
#define SP_CLI_BENCH_EXPERTS_H

#include "cli/cli.h"

/* `what` is a file that --expert-trace wrote, or "zipf:EXPONENT" for uses at V3's shape. Prints hit rates for several
 * sizes of the cache; the exit code. */
int sp_bench_replay(const char *what, int json);

#endif
