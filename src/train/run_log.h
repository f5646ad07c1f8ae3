/* SPDX-License-Identifier: MIT */
/* A run read back from metrics.jsonl: columns of numbers, the expert loads over time in a bounded number of columns, and what
 * could not be read. Start at sp_run_log_read(). */
#ifndef SP_TRAIN_RUN_LOG_H
#define SP_TRAIN_RUN_LOG_H

#include "base/mem.h"

/* X(enum, name in the file) */
#define SP_RUN_COLUMN_LIST(X)                                                                                \
    X(SP_RUN_TOKENS, "tokens")                                                                               \
    X(SP_RUN_LOSS, "loss")                                                                                   \
    X(SP_RUN_MTP_LOSS, "mtp_loss")                                                                           \
    X(SP_RUN_BALANCE_LOSS, "balance_loss")                                                                   \
    X(SP_RUN_LR, "lr")                                                                                       \
    X(SP_RUN_GRAD_NORM, "grad_norm")                                                                         \
    X(SP_RUN_ROWS, "rows")                                                                                   \
    X(SP_RUN_TOKENS_PER_S, "tokens_per_s")                                                                   \
    X(SP_RUN_PEAK_SHARE, "peak_share")                                                                       \
    X(SP_RUN_SECONDS, "seconds")                                                                             \
    X(SP_RUN_MAX_LOAD, "max_load")                                                                           \
    X(SP_RUN_VALIDATION_LOSS, "validation_loss")                                                             \
    X(SP_RUN_VALIDATION_MTP_ACCURACY, "validation_mtp_accuracy")

typedef enum sp_run_column {
#define SP_RUN_COLUMN_ENUM(id, name) id,
    SP_RUN_COLUMN_LIST(SP_RUN_COLUMN_ENUM)
#undef SP_RUN_COLUMN_ENUM
        SP_RUN_N_COLUMNS
} sp_run_column;

#define SP_LOAD_COLUMNS 128 /* when so many are full, neighbours are merged and each holds twice the lines */

/* Expert loads of consecutive lines, averaged. */
typedef struct sp_load_column {
    double first_step, last_step;
    double n_lines;
    float *loads; /* (n_layers, n_experts) means; NaN where a line had no number */
} sp_load_column;

typedef struct sp_load_history {
    size_t n_layers, n_experts; /* of the first line that has loads; 0: none has */
    sp_load_column columns[SP_LOAD_COLUMNS];
    size_t n_columns;
    double lines_per_column;
} sp_load_history;

typedef struct sp_run_log {
    size_t n, cap;
    double *steps;                     /* (n) strictly growing */
    double *columns[SP_RUN_N_COLUMNS]; /* (n) each; NaN: null or absent; seconds are summed over resumes */
    sp_load_history loads;
    size_t n_malformed;
    sp_buf malformed;      /* what was wrong with the first of them, one per line */
    double first_nan_step; /* of a loss that is null; negative: none */
    size_t n_nan;
} sp_run_log;

/* A step that comes again replaces what was read from it on; a repeated last step only adds to it. The last line may be cut
 * short. SP_E_FORMAT if no line of a non-empty file can be read. Clear also after a failure. */
sp_status sp_run_log_read(sp_run_log *log, const char *path, sp_error *err);
void sp_run_log_clear(sp_run_log *log);

/* The last number of a column, or NaN; `at` (may be NULL) receives its line. */
double sp_run_log_last(const sp_run_log *log, sp_run_column column, size_t *at);

#endif
