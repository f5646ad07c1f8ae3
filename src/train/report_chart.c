/* SPDX-License-Identifier: MIT */
/* Draws curves. A series is first gathered into at most SP_CHART_BUCKETS buckets of equally many lines; the curve visits the
 * smallest and the largest value of each, so that no spike is lost, and the smoothed curve is a centred mean over buckets. Hover
 * texts are taken from all values. Start at sp_report_put_chart(). */
#include "train/report_chart.h"

#include "train/report_axis.h"

#include <math.h>
#include <string.h>

#define N_STRIPS 80
#define MAX_POINTS 250      /* more measurements are drawn as a line */
#define LARGEST_VALUE 1e150 /* beyond it a value counts as missing: differences stay finite */

typedef struct bucket {
    double x; /* mean of the values' steps */
    double sum, n;
    double min, min_x, max, max_x;
} bucket;

typedef struct curve {
    bucket *buckets;
    size_t n_buckets;
    size_t n_values;
    double first, first_x, last, last_x;
    double min, min_x, max, max_x;
} curve;

typedef struct drawing {
    const sp_chart *chart;
    curve curves[SP_CHART_MAX_SERIES];
    sp_axis x, y;
    double width, height;
    const char *variant; /* of the ids */
} drawing;

static double value_at(const sp_chart *chart, const sp_chart_series *series, size_t i)
{
    double value = series->y[i] * chart->scale;
    return fabs(value) <= LARGEST_VALUE ? value : (double)NAN;
}

/* --- gathering ------------------------------------------------------------------------------------------ */

static void add_value(bucket *b, double x, double value)
{
    if (b->n == 0 || value < b->min) {
        b->min = value;
        b->min_x = x;
    }
    if (b->n == 0 || value > b->max) {
        b->max = value;
        b->max_x = x;
    }
    b->x += (x - b->x) / (b->n + 1);
    b->sum += value;
    b->n++;
}

static sp_status gather_curve(curve *c, const sp_chart *chart, const sp_chart_series *series, sp_error *err)
{
    size_t n = series->n < SP_CHART_BUCKETS ? series->n : SP_CHART_BUCKETS;
    c->buckets = sp_calloc(n + 1, sizeof *c->buckets);
    if (!c->buckets) return sp_fail_nomem(err, "chart", (n + 1) * sizeof *c->buckets);
    c->n_buckets = n;
    bucket all = {0};
    for (size_t i = 0; i < series->n; i++) {
        double value = value_at(chart, series, i);
        if (isnan(value)) continue;
        if (all.n == 0) {
            c->first = value;
            c->first_x = series->x[i];
        }
        c->last = value;
        c->last_x = series->x[i];
        add_value(&all, series->x[i], value);
        add_value(&c->buckets[i * n / series->n], series->x[i], value);
    }
    c->n_values = (size_t)all.n;
    c->min = all.min;
    c->min_x = all.min_x;
    c->max = all.max;
    c->max_x = all.max_x;
    return SP_OK;
}

static sp_status gather(drawing *d, const sp_chart *chart, sp_error *err)
{
    *d = (drawing){.chart = chart};
    for (size_t i = 0; i < chart->n_series; i++)
        SP_TRY(gather_curve(&d->curves[i], chart, &chart->series[i], err));
    return SP_OK;
}

static void clear_curves(drawing *d)
{
    for (size_t i = 0; i < SP_CHART_MAX_SERIES; i++) sp_free(d->curves[i].buckets);
}

/* Axes over all curves; false if there is no value. */
static bool fit_axes(drawing *d)
{
    const sp_chart *chart = d->chart;
    double lo = HUGE_VAL, hi = -HUGE_VAL;
    for (size_t i = 0; i < chart->n_series; i++) {
        const curve *c = &d->curves[i];
        if (c->n_values == 0) continue;
        lo = fmin(lo, c->min);
        hi = fmax(hi, c->max);
    }
    if (lo > hi) return false;
    if (!isnan(chart->mark)) {
        lo = fmin(lo, chart->mark);
        hi = fmax(hi, chart->mark);
    }
    d->y = (sp_axis){.lo = lo, .hi = hi, .at_lo = d->height - 38, .at_hi = 30};
    d->y.log = chart->log_from > 0 && lo > 0 && hi / lo >= chart->log_from;
    if (!d->y.log && chart->from_zero && lo > 0) d->y.lo = 0;
    sp_axis_widen(&d->y, 0.04);
    if (!d->y.log && chart->from_zero && lo >= 0) d->y.lo = 0;
    d->x = (sp_axis){.lo = chart->x_lo, .hi = chart->x_hi, .at_lo = 68, .at_hi = d->width - 16};
    if (d->x.hi <= d->x.lo) d->x.hi = d->x.lo + 1;
    return true;
}

/* --- frame ---------------------------------------------------------------------------------------------- */

static sp_status put_x_axis(sp_buf *out, const drawing *d, sp_error *err)
{
    double ticks[SP_AXIS_MAX_TICKS];
    int n = sp_axis_ticks(&d->x, d->chart->wide && d->width > 600 ? 8 : 5, ticks);
    sp_report_number label;
    SP_TRY(sp_buf_printf(out, err,
                         "<text class=\"u\" x=\"%.0f\" y=\"%.0f\" text-anchor=\"end\">step</text>\n",
                         d->x.at_lo - 24, d->height - 14));
    for (int i = 0; i < n; i++) {
        double at = sp_axis_at(&d->x, ticks[i]);
        const char *anchor = at > d->x.at_hi - 14 ? "end" : "middle";
        SP_TRY(sp_buf_printf(out, err, "<path class=\"tick\" d=\"M%.1f %.1fv5\"/>", at, d->y.at_lo));
        SP_TRY(sp_buf_printf(out, err, "<text x=\"%.1f\" y=\"%.0f\" text-anchor=\"%s\">%s</text>\n",
                             strcmp(anchor, "end") == 0 ? d->width - 2 : at, d->height - 14, anchor,
                             sp_axis_label(&label, ticks, n, i)));
    }
    return SP_OK;
}

static sp_status put_y_axis(sp_buf *out, const drawing *d, sp_error *err)
{
    double ticks[SP_AXIS_MAX_TICKS];
    int n = sp_axis_ticks(&d->y, 5, ticks);
    sp_report_number label;
    SP_TRY(sp_buf_puts(out, "<text class=\"u\" x=\"4\" y=\"18\">", err));
    SP_TRY(sp_report_puts(out, d->chart->unit, err));
    SP_TRY(sp_buf_puts(out, d->y.log ? ", log scale</text>\n" : "</text>\n", err));
    for (int i = 0; i < n; i++) {
        double at = sp_axis_at(&d->y, ticks[i]);
        SP_TRY(sp_buf_printf(out, err, "<path class=\"grid-line\" d=\"M%.0f %.1fH%.0f\"/>", d->x.at_lo, at,
                             d->x.at_hi));
        SP_TRY(sp_buf_printf(out, err,
                             "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\" dy=\".35em\">%s</text>\n",
                             d->x.at_lo - 8, at, sp_axis_label(&label, ticks, n, i)));
    }
    return sp_buf_printf(out, err, "<path class=\"axis\" d=\"M%.0f %.1fH%.0f\"/>\n", d->x.at_lo, d->y.at_lo,
                         d->x.at_hi);
}

static sp_status put_mark(sp_buf *out, const drawing *d, sp_error *err)
{
    if (isnan(d->chart->mark)) return SP_OK;
    double at = sp_axis_at(&d->y, d->chart->mark);
    SP_TRY(
        sp_buf_printf(out, err, "<path class=\"mark\" d=\"M%.0f %.1fH%.0f\"/>", d->x.at_lo, at, d->x.at_hi));
    SP_TRY(sp_buf_printf(out, err, "<text class=\"mark-label\" x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">",
                         d->x.at_hi, at - 5));
    SP_TRY(sp_report_puts(out, d->chart->mark_label, err));
    return sp_buf_puts(out, "</text>\n", err);
}

/* --- curves --------------------------------------------------------------------------------------------- */

typedef struct pen {
    sp_buf *out;
    const drawing *d;
    bool down;
} pen;

static sp_status pen_to(pen *p, double x, double value, sp_error *err)
{
    const char *command = p->down ? "L" : "M"; /* a lone point gets its round cap from "h0" */
    const char *end = p->down ? "" : "h0";
    p->down = true;
    return sp_buf_printf(p->out, err, "%s%.1f %.1f%s", command, sp_axis_at(&p->d->x, x),
                         sp_axis_at(&p->d->y, value), end);
}

/* The smallest and the largest value of each bucket in the order of their steps. */
static sp_status put_values(sp_buf *out, const drawing *d, size_t index, const char *style, sp_error *err)
{
    const curve *c = &d->curves[index];
    const sp_chart_series *series = &d->chart->series[index];
    pen p = {out, d, false};
    SP_TRY(sp_buf_printf(out, err, "<path class=\"%s c%d\" d=\"", style, series->colour));
    for (size_t i = 0; i < c->n_buckets; i++) {
        const bucket *b = &c->buckets[i];
        if (b->n == 0) {
            if (series->kind != SP_SERIES_POINTS) p.down = false;
            continue;
        }
        bool min_first = b->min_x <= b->max_x;
        SP_TRY(pen_to(&p, min_first ? b->min_x : b->max_x, min_first ? b->min : b->max, err));
        if (b->min_x == b->max_x) continue;
        SP_TRY(pen_to(&p, min_first ? b->max_x : b->min_x, min_first ? b->max : b->min, err));
    }
    return sp_buf_puts(out, "\"/>\n", err);
}

/* Mean over the values of buckets i - reach .. i + reach, those far off counting less; fewer on both sides near an end. */
static double smooth_at(const curve *c, size_t i, size_t reach)
{
    double sum = 0, n = 0;
    if (reach > i) reach = i;
    if (reach > c->n_buckets - 1 - i) reach = c->n_buckets - 1 - i;
    for (size_t j = i - reach; j <= i + reach; j++) {
        double weight = (double)(reach + 1 - (j < i ? i - j : j - i));
        sum += weight * c->buckets[j].sum;
        n += weight * c->buckets[j].n;
    }
    return sum / n;
}

static sp_status put_smoothed(sp_buf *out, const drawing *d, size_t index, sp_error *err)
{
    const curve *c = &d->curves[index];
    pen p = {out, d, false};
    SP_TRY(sp_buf_printf(out, err, "<path class=\"line c%d\" d=\"", d->chart->series[index].colour));
    for (size_t i = 0; i < c->n_buckets; i++) {
        if (c->buckets[i].n > 0)
            SP_TRY(pen_to(&p, c->buckets[i].x, smooth_at(c, i, c->n_buckets / 40), err));
        else
            p.down = false;
    }
    return sp_buf_puts(out, "\"/>\n", err);
}

static sp_status put_curves(sp_buf *out, const drawing *d, sp_error *err)
{
    static const char *const styles[] = {"line", "raw", "thin"};
    for (size_t i = 0; i < d->chart->n_series; i++)
        if (d->curves[i].n_values) SP_TRY(put_values(out, d, i, styles[d->chart->series[i].kind], err));
    for (size_t i = 0; i < d->chart->n_series; i++)
        if (d->curves[i].n_values && d->chart->series[i].kind == SP_SERIES_SMOOTHED)
            SP_TRY(put_smoothed(out, d, i, err));
    return SP_OK;
}

/* --- hover texts ---------------------------------------------------------------------------------------- */

static sp_status put_labelled(sp_buf *out, const drawing *d, size_t index, double value, sp_error *err)
{
    sp_report_number number;
    SP_TRY(sp_report_puts(out, d->chart->series[index].label, err));
    return sp_buf_printf(out, err, " %s%s", sp_report_value(&number, value), d->chart->suffix);
}

/* What the values of one strip are, one line per series; *at[] move on to the first value beyond `x_end`. */
static sp_status put_strip_text(sp_buf *out, const drawing *d, size_t *at, double x_end, sp_error *err)
{
    bucket strips[SP_CHART_MAX_SERIES] = {{0}};
    double first = HUGE_VAL, last = -HUGE_VAL;
    sp_report_number a, b;
    for (size_t s = 0; s < d->chart->n_series; s++) {
        const sp_chart_series *series = &d->chart->series[s];
        for (; at[s] < series->n && series->x[at[s]] < x_end; at[s]++) {
            double value = value_at(d->chart, series, at[s]);
            if (isnan(value)) continue;
            add_value(&strips[s], series->x[at[s]], value);
            first = fmin(first, series->x[at[s]]);
            last = fmax(last, series->x[at[s]]);
        }
    }
    if (first > last) return SP_OK;
    SP_TRY(first == last ? sp_buf_printf(out, err, "step %s", sp_report_count(&a, first))
                         : sp_buf_printf(out, err, "steps %s to %s", sp_report_count(&a, first),
                                         sp_report_count(&b, last)));
    for (size_t s = 0; s < d->chart->n_series; s++) {
        if (strips[s].n == 0) continue;
        SP_TRY(sp_buf_puts(out, "\n", err));
        SP_TRY(put_labelled(out, d, s, strips[s].sum / strips[s].n, err));
        if (strips[s].min < strips[s].max)
            SP_TRY(sp_buf_printf(out, err, " (%s to %s)", sp_report_value(&a, strips[s].min),
                                 sp_report_value(&b, strips[s].max)));
    }
    return SP_OK;
}

static sp_status put_strips(sp_buf *out, const drawing *d, sp_error *err)
{
    size_t at[SP_CHART_MAX_SERIES] = {0}, most = 1;
    for (size_t s = 0; s < d->chart->n_series; s++)
        if (d->curves[s].n_values > most) most = d->curves[s].n_values;
    int n = most < N_STRIPS ? (int)most : N_STRIPS;
    double width = (d->x.at_hi - d->x.at_lo) / n, span = (d->x.hi - d->x.lo) / n;
    SP_TRY(sp_buf_puts(out, "<g class=\"strips\">\n", err));
    for (int i = 0; i < n; i++) {
        size_t before = out->len;
        SP_TRY(sp_buf_printf(out, err, "<rect x=\"%.1f\" y=\"%.0f\" width=\"%.1f\" height=\"%.0f\"><title>",
                             d->x.at_lo + i * width, d->y.at_hi, width, d->y.at_lo - d->y.at_hi));
        size_t text = out->len;
        SP_TRY(put_strip_text(out, d, at, i + 1 < n ? d->x.lo + (i + 1) * span : HUGE_VAL, err));
        if (out->len == text)
            out->len = before;
        else
            SP_TRY(sp_buf_puts(out, "</title></rect>\n", err));
    }
    return sp_buf_puts(out, "</g>\n", err);
}

static sp_status put_points(sp_buf *out, const drawing *d, size_t index, sp_error *err)
{
    const sp_chart_series *series = &d->chart->series[index];
    sp_report_number step;
    for (size_t i = 0; i < series->n; i++) {
        double value = value_at(d->chart, series, i);
        if (isnan(value)) continue;
        SP_TRY(sp_buf_printf(out, err,
                             "<circle class=\"c%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>step %s\n",
                             series->colour, sp_axis_at(&d->x, series->x[i]), sp_axis_at(&d->y, value),
                             sp_report_count(&step, series->x[i])));
        SP_TRY(put_labelled(out, d, index, value, err));
        SP_TRY(sp_buf_puts(out, "</title></circle>\n", err));
    }
    return SP_OK;
}

/* --- figure --------------------------------------------------------------------------------------------- */

static sp_status put_about_curve(sp_buf *out, const drawing *d, size_t index, sp_error *err)
{
    const curve *c = &d->curves[index];
    const char *suffix = d->chart->suffix;
    sp_report_number v[2], at[2];
    SP_TRY(sp_report_puts(out, d->chart->series[index].label, err));
    SP_TRY(sp_buf_printf(out, err, ": from %s%s at step %s to %s%s at step %s; ",
                         sp_report_value(&v[0], c->first), suffix, sp_report_count(&at[0], c->first_x),
                         sp_report_value(&v[1], c->last), suffix, sp_report_count(&at[1], c->last_x)));
    return sp_buf_printf(out, err, "smallest %s%s at step %s, largest %s%s at step %s. ",
                         sp_report_value(&v[0], c->min), suffix, sp_report_count(&at[0], c->min_x),
                         sp_report_value(&v[1], c->max), suffix, sp_report_count(&at[1], c->max_x));
}

static sp_status put_svg(sp_buf *out, drawing *d, const char *css, sp_error *err)
{
    const char *name = d->chart->name, *v = d->variant;
    fit_axes(d);
    SP_TRY(sp_buf_printf(out, err, "<svg class=\"%s\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" ", css, d->width,
                         d->height));
    SP_TRY(sp_buf_printf(out, err, "aria-labelledby=\"t-%s%s d-%s%s\">\n<title id=\"t-%s%s\">", name, v, name,
                         v, name, v));
    SP_TRY(sp_report_puts(out, d->chart->title, err));
    SP_TRY(sp_buf_printf(out, err, "</title>\n<desc id=\"d-%s%s\">", name, v));
    for (size_t i = 0; i < d->chart->n_series; i++)
        if (d->curves[i].n_values) SP_TRY(put_about_curve(out, d, i, err));
    SP_TRY(sp_buf_puts(out, "</desc>\n", err));
    SP_TRY(put_y_axis(out, d, err));
    SP_TRY(put_x_axis(out, d, err));
    SP_TRY(put_curves(out, d, err));
    SP_TRY(put_mark(out, d, err));
    SP_TRY(put_strips(out, d, err));
    for (size_t i = 0; i < d->chart->n_series; i++)
        if (d->chart->series[i].kind == SP_SERIES_POINTS && d->curves[i].n_values <= MAX_POINTS)
            SP_TRY(put_points(out, d, i, err));
    return sp_buf_puts(out, "</svg>\n", err);
}

static sp_status put_caption(sp_buf *out, const drawing *d, sp_error *err)
{
    static const char *const keys[] = {"key-line", "key-line", "key-point"};
    SP_TRY(sp_buf_puts(out, "<figcaption><strong>", err));
    SP_TRY(sp_report_puts(out, d->chart->title, err));
    SP_TRY(sp_buf_puts(out, "</strong>", err));
    for (size_t i = 0; d->chart->n_series > 1 && i < d->chart->n_series; i++) {
        const sp_chart_series *series = &d->chart->series[i];
        if (d->curves[i].n_values == 0) continue;
        SP_TRY(sp_buf_printf(out, err, " <span class=\"key\"><i class=\"%s c%d\"></i>", keys[series->kind],
                             series->colour));
        SP_TRY(sp_report_puts(out, series->label, err));
        SP_TRY(sp_buf_puts(out, "</span>", err));
    }
    return sp_buf_puts(out, "</figcaption>\n", err);
}

static sp_status put_figure(sp_buf *out, drawing *d, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, d->chart->wide ? "<figure class=\"both\">\n" : "<figure>\n", err));
    SP_TRY(put_caption(out, d, err));
    if (d->chart->wide) {
        d->width = 1120;
        d->height = 400;
        d->variant = "-wide";
        SP_TRY(put_svg(out, d, "chart at-wide", err));
    }
    d->width = 560;
    d->height = d->chart->wide ? 340 : 290;
    d->variant = "";
    SP_TRY(put_svg(out, d, d->chart->wide ? "chart at-narrow" : "chart", err));
    return sp_buf_puts(out, "</figure>\n", err);
}

sp_status sp_report_put_chart(sp_buf *out, const sp_chart *chart, sp_error *err)
{
    drawing d;
    sp_status status = gather(&d, chart, err);
    if (status == SP_OK && fit_axes(&d)) status = put_figure(out, &d, err);
    clear_curves(&d);
    return status;
}
