/* SPDX-License-Identifier: MIT */
/* Round ticks: linear steps are 1, 2 or 5 times a power of ten; logarithmic ones take the coarsest set of mantissas that
 * gives enough of them. Start at sp_axis_ticks(). */
#include "train/report_axis.h"

#include <math.h>

void sp_axis_widen(sp_axis *axis, double margin)
{
    if (axis->log) {
        double ratio = pow(axis->hi / axis->lo, margin);
        if (axis->hi <= axis->lo) ratio = 1.5;
        axis->lo /= ratio;
        axis->hi *= ratio;
        return;
    }
    double room = (axis->hi - axis->lo) * margin;
    if (axis->hi <= axis->lo) room = axis->lo != 0 ? fabs(axis->lo) / 10 : 1;
    axis->lo -= room;
    axis->hi += room;
}

double sp_axis_at(const sp_axis *axis, double value)
{
    double share = axis->log ? log(value / axis->lo) / log(axis->hi / axis->lo)
                             : (value - axis->lo) / (axis->hi - axis->lo);
    return axis->at_lo + share * (axis->at_hi - axis->at_lo);
}

static int ticks_linear(const sp_axis *axis, int wanted, double *ticks)
{
    double rough = (axis->hi - axis->lo) / wanted, power = pow(10, floor(log10(rough)));
    double step = rough / power > 5 ? 10 : rough / power > 2 ? 5 : rough / power > 1 ? 2 : 1;
    step *= power;
    int n = 0;
    double first = ceil(axis->lo / step - 1e-9);
    for (int i = 0; n < SP_AXIS_MAX_TICKS; i++) {
        double value = (first + i) * step;
        if (value > axis->hi + step * 1e-9) break;
        ticks[n++] = value;
    }
    return n;
}

/* Mantissas as a bit set of 1..9; powers of ten `stride` apart. Counts on past the room in `ticks`. */
static int ticks_log(const sp_axis *axis, unsigned mantissas, int stride, double *ticks)
{
    int n = 0;
    int first = (int)floor(log10(axis->lo) / stride) * stride, last = (int)ceil(log10(axis->hi));
    for (int exponent = first; exponent <= last; exponent += stride) {
        for (int m = 1; m <= 9; m++) {
            double value = exponent < 0 ? m / pow(10, -exponent) : m * pow(10, exponent);
            if (!(mantissas >> m & 1) || value < axis->lo || value > axis->hi) continue;
            if (n < SP_AXIS_MAX_TICKS) ticks[n] = value;
            n++;
        }
    }
    return n;
}

int sp_axis_ticks(const sp_axis *axis, int wanted, double ticks[SP_AXIS_MAX_TICKS])
{
    static const unsigned sets[] = {1u << 1, 1u << 1 | 1u << 3, 1u << 1 | 1u << 2 | 1u << 5, 0xAE, 0x3FE};
    if (!axis->log) return ticks_linear(axis, wanted, ticks);
    for (int stride = 1; stride <= 512; stride *= 2) { /* many decades: every second, fourth, ... of them */
        int n = ticks_log(axis, 1u << 1, stride, ticks);
        if (n > wanted + 2) continue;
        if (stride > 1) return n;
        break;
    }
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        int n = ticks_log(axis, sets[i], 1, ticks);
        if (n >= wanted - 1 && n <= SP_AXIS_MAX_TICKS) return n;
    }
    return ticks_linear(axis, wanted, ticks);
}

const char *sp_axis_label(sp_report_number *number, const double *ticks, int n, int i)
{
    double gap = HUGE_VAL;
    if (i > 0) gap = ticks[i] - ticks[i - 1];
    if (i + 1 < n && ticks[i + 1] - ticks[i] < gap) gap = ticks[i + 1] - ticks[i];
    if (ticks[i] == 0 || fabs(ticks[i]) < gap * 1e-6) return sp_report_short(number, 0, 1);
    int digits = isfinite(gap) ? (int)(floor(log10(fabs(ticks[i]))) - floor(log10(gap) + 1e-9)) + 1 : 3;
    return sp_report_short(number, ticks[i], digits < 1 ? 1 : digits > 9 ? 9 : digits);
}
