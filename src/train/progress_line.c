/* SPDX-License-Identifier: MIT */
/* Builds the parts of the line and leaves out the least important ones until the rest fits. */
#include "train/progress_line.h"

#include "train/report_text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STEP, LOSS, VALIDATION, RATE, SPEED, PEAK, LOAD, LEFT, N_PARTS };

typedef struct line_parts {
    char text[N_PARTS][64]; /* in the order of the line; empty: not shown */
} line_parts;

static double seconds_left(const sp_step_metrics *m, const sp_progress_options *options)
{
    if (options->seconds_left >= 0) return options->seconds_left;
    if (m->step <= 0 || !(m->seconds > 0)) return (double)NAN;
    return m->seconds / (double)m->step * (double)(options->total_steps - m->step);
}

static void fill_parts(line_parts *parts, const sp_step_metrics *m, const sp_progress_options *options)
{
    const size_t cap = sizeof parts->text[0];
    double validation = m->validation_loss < 0 ? options->validation_loss : m->validation_loss;
    double left = seconds_left(m, options);
    sp_report_number number;
    memset(parts, 0, sizeof *parts);
    if (options->total_steps > 0)
        snprintf(parts->text[STEP], cap, "step %lld/%lld", (long long)m->step,
                 (long long)options->total_steps);
    else
        snprintf(parts->text[STEP], cap, "step %lld", (long long)m->step);
    snprintf(parts->text[LOSS], cap, isfinite(m->loss) && fabs(m->loss) < 1e4 ? "loss %.4f" : "loss %.4g",
             m->loss);
    if (!(validation < 0)) snprintf(parts->text[VALIDATION], cap, "val %.4g", validation);
    snprintf(parts->text[RATE], cap, "lr %s", sp_report_short(&number, m->lr, 3));
    snprintf(parts->text[SPEED], cap, "%s tok/s", sp_report_short(&number, m->tokens_per_s, 2));
    if (m->peak_share > 0) snprintf(parts->text[PEAK], cap, "(%.0f %% of peak)", 100 * m->peak_share);
    if (m->n_experts > 0) snprintf(parts->text[LOAD], cap, "load %.2f", m->max_load);
    if (options->total_steps > m->step && !isnan(left))
        snprintf(parts->text[LEFT], cap, "left %s", sp_report_time(&number, left));
}

/* Two spaces between parts, one before the bracket. */
static int join_parts(char *out, size_t cap, const line_parts *parts)
{
    size_t len = 0;
    out[0] = '\0';
    for (int i = 0; i < N_PARTS; i++) {
        if (!parts->text[i][0]) continue;
        const char *gap = len == 0 ? "" : i == PEAK ? " " : "  ";
        int n = snprintf(out + len, cap - len, "%s%s", gap, parts->text[i]);
        len += (size_t)n < cap - len ? (size_t)n : cap - len - 1;
    }
    return (int)len;
}

int sp_progress_line_format(char *out, size_t cap, const sp_step_metrics *m,
                            const sp_progress_options *options)
{
    static const int order[] = {RATE, PEAK, VALIDATION, LOAD, SPEED, LEFT, LOSS}; /* the first goes first */
    char line[N_PARTS * 68];
    line_parts parts;
    fill_parts(&parts, m, options);
    int len = join_parts(line, sizeof line, &parts);
    int limit = options->width < 0 ? 0 : options->width;
    if ((size_t)limit > cap - 1) limit = (int)(cap - 1);
    for (size_t i = 0; len > limit && i < sizeof order / sizeof order[0]; i++) {
        parts.text[order[i]][0] = '\0';
        if (order[i] == SPEED) parts.text[PEAK][0] = '\0';
        len = join_parts(line, sizeof line, &parts);
    }
    if (len > limit) len = limit;
    memcpy(out, line, (size_t)len);
    out[len] = '\0';
    return len;
}
