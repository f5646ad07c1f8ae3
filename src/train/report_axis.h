/* SPDX-License-Identifier: MIT */
/* An axis of a chart: from values to drawing units, linear or logarithmic, with ticks at round numbers. */
#ifndef SP_TRAIN_REPORT_AXIS_H
#define SP_TRAIN_REPORT_AXIS_H

#include "train/report_text.h"

#define SP_AXIS_MAX_TICKS 12

typedef struct sp_axis {
    double lo, hi; /* values at both ends; finite, lo < hi; positive where log */
    double at_lo, at_hi;
    bool log;
} sp_axis;

/* Bring lo and hi apart and leave room of `margin` (a share of the length) at both ends. */
void sp_axis_widen(sp_axis *axis, double margin);

double sp_axis_at(const sp_axis *axis, double value);

/* At most SP_AXIS_MAX_TICKS round values within the axis, growing, about `wanted`; returns their number. */
int sp_axis_ticks(const sp_axis *axis, int wanted, double ticks[SP_AXIS_MAX_TICKS]);

/* The i-th tick's label, with the digits that tell it from its neighbours. */
const char *sp_axis_label(sp_report_number *number, const double *ticks, int n, int i);

#endif
