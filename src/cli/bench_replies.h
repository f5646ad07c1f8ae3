/* SPDX-License-Identifier: MIT */
/* `sputnik bench --replies`: whole replies with and without guesses ahead, in turns. */
#ifndef SP_CLI_BENCH_REPLIES_H
#define SP_CLI_BENCH_REPLIES_H

#include "cli/cli.h"

typedef struct sp_bench_replies_args {
    const char *path;      /* messages, one a line */
    const char *speculate; /* a word of the choice */
    int64_t n_draft, n_tokens, repeats;
    double temperature;
    int no_warmup;
} sp_bench_replies_args;

/* One measurement of all replies, and what stands behind its row. */
typedef struct sp_bench_replies {
    size_t n_replies, n_tokens; /* the first token of each reply is not timed */
    double *plain, *drafted;    /* (repeats) tokens per second, sorted */
    sp_draft_stats drafts;      /* of all repeats */
} sp_bench_replies;

/* SP_E_FORMAT if a reply differs. Clear the result whatever is returned. */
sp_status sp_bench_replies_run(sp_bench_replies *result, const sp_model *model,
                               const sp_session_options *options, const sp_bench_replies_args *args,
                               sp_error *err);
void sp_bench_replies_clear(sp_bench_replies *result);

/* The row as a line, or as members of a JSON object after its first ones (",\"n_replies\":..."). */
void sp_bench_replies_print(const sp_bench_replies *result, const sp_bench_replies_args *args,
                            int64_t n_threads);
sp_status sp_bench_replies_put(sp_buf *out, const sp_bench_replies *result, const sp_bench_replies_args *args,
                               int64_t n_threads, sp_error *err);

#endif
