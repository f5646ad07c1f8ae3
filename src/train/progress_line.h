/* SPDX-License-Identifier: MIT */
/* The line that a terminal shows while a run trains: "step 1200/6000  loss 0.8123  val 0.79  lr 1.2e-3  6.1k tok/s (68 % of
 * peak)  load 1.21  left 42 min". Only the text: who prints it decides where. */
#ifndef SP_TRAIN_PROGRESS_LINE_H
#define SP_TRAIN_PROGRESS_LINE_H

#include "train/metrics.h"

typedef struct sp_progress_options {
    int64_t total_steps;
    double validation_loss; /* the last one measured; negative: none. That of the step itself comes first */
    double seconds_left;    /* negative: as long per step as so far */
    int width;              /* columns at most; parts of less weight go first */
} sp_progress_options;

/* Fills `out` (at least 1 byte) with ASCII text of at most min(width, cap - 1) columns, NUL-terminated; returns its length. */
int sp_progress_line_format(char *out, size_t cap, const sp_step_metrics *m,
                            const sp_progress_options *options);

#endif
