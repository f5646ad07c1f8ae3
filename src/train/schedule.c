/* SPDX-License-Identifier: MIT */
/* Schedules, computed from the step alone. Rows are counted in whole numbers, so that the rows of all steps before
 * any step are exact. Sources of V3's figures: schedule.h. */
#include "train/schedule.h"

#include <math.h>

#define PI 3.14159265358979323846

/* DeepSeek-V3 report, 4.2: trillions of tokens at which the learning rate changes, of 14.8; 2.2e-4 falls to 2.2e-5, then
 * to 7.3e-6. */
#define V3_TOKENS 14.8
#define V3_FALL 10.0
#define V3_LOW 14.3
#define V3_LAST 14.633
#define V3_LOW_FACTOR 0.1
#define V3_LAST_FACTOR (7.3 / 220.0)

static double position_of(const sp_schedule *schedule, int64_t step)
{
    return schedule->steps > 0 ? (double)step / (double)schedule->steps : 0.0;
}

/* Half a cosine from 1 at x = 0 to `low` at x = 1. */
static double cosine(double x, double low)
{
    return low + (1.0 - low) * 0.5 * (1.0 + cos(PI * x));
}

/* 0 at the last step of the warm-up (the first step without one), 1 at the last step and after it. */
static double share_after_warmup(const sp_schedule *s, int64_t step)
{
    int64_t from = s->warmup_steps > 0 ? s->warmup_steps - 1 : 0, last = s->steps - 1;
    if (step <= from) return 0.0;
    return step >= last ? 1.0 : (double)(step - from) / (double)(last - from);
}

static double v3_factor(double position)
{
    double tokens = position * V3_TOKENS;
    if (tokens < V3_FALL) return 1.0;
    if (tokens < V3_LOW) return cosine((tokens - V3_FALL) / (V3_LOW - V3_FALL), V3_LOW_FACTOR);
    return tokens < V3_LAST ? V3_LOW_FACTOR : V3_LAST_FACTOR;
}

static double lr_factor(const sp_schedule *s, int64_t step)
{
    double position = position_of(s, step), end = s->lr_end_factor;
    switch (s->kind) {
    case SP_LR_CONSTANT: return 1.0;
    case SP_LR_COSINE: return cosine(share_after_warmup(s, step), end);
    case SP_LR_LINEAR: return 1.0 + (end - 1.0) * share_after_warmup(s, step);
    case SP_LR_MULTISTEP: return position >= s->second_drop ? 0.1 : position >= s->first_drop ? 0.316 : 1.0;
    case SP_LR_V3: return v3_factor(position);
    }
    return 1.0;
}

/* The warm-up's step k of n has (k + 1) / n of the rate, so that no step is lost to a rate of 0. */
double sp_schedule_lr(const sp_schedule *schedule, int64_t step)
{
    if (step < schedule->warmup_steps)
        return schedule->lr * (double)(step + 1) / (double)schedule->warmup_steps;
    return schedule->lr * lr_factor(schedule, step);
}

/* --- rows -------------------------------------------------------------------------------------------------- */

/* Rows grow by `jump` at steps ceil(k length / n_jumps), k = 1 .. n_jumps. */
typedef struct ramp {
    int64_t first, jump, n_jumps, length;
} ramp;

static int64_t whole_multiple(int64_t rows, int64_t multiple)
{
    return rows < multiple ? multiple : rows - rows % multiple;
}

static ramp ramp_of(const sp_schedule *s)
{
    int64_t jump = s->rows_multiple > 0 ? s->rows_multiple : 1;
    int64_t last = whole_multiple(s->rows, jump);
    int64_t length = (int64_t)floor(s->rows_ramp * (double)s->steps + 0.5);
    if (length <= 0 || s->rows_first <= 0 || s->rows_first >= last) return (ramp){last, jump, 0, 1};
    int64_t first = whole_multiple(s->rows_first, jump);
    return (ramp){first, jump, (last - first) / jump, length};
}

static int64_t step_of_jump(const ramp *r, int64_t k)
{
    return (k * r->length + r->n_jumps - 1) / r->n_jumps;
}

int64_t sp_schedule_rows(const sp_schedule *schedule, int64_t step)
{
    ramp r = ramp_of(schedule);
    if (r.n_jumps == 0 || step >= r.length) return r.first + r.n_jumps * r.jump;
    return r.first + step * r.n_jumps / r.length * r.jump;
}

int64_t sp_schedule_first_row(const sp_schedule *schedule, int64_t step)
{
    ramp r = ramp_of(schedule);
    int64_t rows = r.first * step;
    for (int64_t k = 1; k <= r.n_jumps && step_of_jump(&r, k) < step; k++)
        rows += (step - step_of_jump(&r, k)) * r.jump;
    return rows;
}

/* --- weights and rates ------------------------------------------------------------------------------------- */

double sp_schedule_mtp_weight(const sp_schedule *schedule, int64_t step)
{
    bool later = position_of(schedule, step) >= schedule->mtp_later_from;
    return later ? schedule->mtp_later_weight : schedule->mtp_weight;
}

double sp_schedule_bias_rate(const sp_schedule *schedule, int64_t step)
{
    return position_of(schedule, step) < schedule->bias_rate_until ? schedule->bias_rate : 0.0;
}
