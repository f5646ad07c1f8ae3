/* SPDX-License-Identifier: MIT */
/* What changes over a run, as pure functions of the step: learning rate, rows per step, the weight of multi-token prediction,
 * the rate of the balance update. So a resumed run needs no state here. Positions are shares of the run, 0..1, of `steps`.
 * V3 (DeepSeek-V3 report, 4.2): linear warm-up; constant to 10/14.8 of the tokens; cosine to a tenth over the next 4.3/14.8;
 * constant there for 0.333/14.8; a thirtieth (7.3e-6 of 2.2e-4) for the rest. Multistep (DeepSeek LLM, V2): 0.316 and 0.1
 * from two positions on. */
#ifndef SP_TRAIN_SCHEDULE_H
#define SP_TRAIN_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum sp_lr_kind {
    SP_LR_CONSTANT,
    SP_LR_COSINE,    /* from the end of the warm-up to lr_end_factor at the last step */
    SP_LR_LINEAR,    /* the same along a straight line */
    SP_LR_MULTISTEP, /* x 0.316 from first_drop on, x 0.1 from second_drop on */
    SP_LR_V3,
} sp_lr_kind;

typedef struct sp_schedule {
    sp_lr_kind kind;
    int64_t steps, warmup_steps;
    double lr, lr_end_factor;
    double first_drop, second_drop; /* multistep: 0.8, 0.9 */
    int64_t rows_first,
        rows; /* rows per step: from rows_first in equal jumps to `rows` over rows_ramp of the run */
    int64_t rows_multiple; /* every step's rows are a multiple of this (rows of a pass) */
    double rows_ramp;      /* V3: 0.469 / 14.8; 0: `rows` from the start */
    double mtp_weight, mtp_later_weight, mtp_later_from; /* V3: 0.3, 0.1, 10 / 14.8 */
    double bias_rate, bias_rate_until;                   /* V3: 0.001, 14.3 / 14.8; 0 afterwards */
} sp_schedule;

/* Steps count from 0. */
double sp_schedule_lr(const sp_schedule *schedule, int64_t step);
int64_t sp_schedule_rows(const sp_schedule *schedule, int64_t step);
int64_t sp_schedule_first_row(const sp_schedule *schedule,
                              int64_t step); /* rows of all steps before; O(jumps) */
double sp_schedule_mtp_weight(const sp_schedule *schedule, int64_t step);
double sp_schedule_bias_rate(const sp_schedule *schedule, int64_t step);

#endif
