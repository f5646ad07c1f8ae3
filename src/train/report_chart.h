/* SPDX-License-Identifier: MIT */
/* A chart of the report: one <figure> with a legend and inline SVG. Values are shown by <title> elements on strips over the
 * plot, so that no script is needed. Colours come from the page's style (report_page.c): .c0 to .c3. */
#ifndef SP_TRAIN_REPORT_CHART_H
#define SP_TRAIN_REPORT_CHART_H

#include "base/mem.h"

#define SP_CHART_BUCKETS 500 /* a longer curve is drawn by the smallest and largest value of each */
#define SP_CHART_MAX_SERIES 8

typedef enum sp_series_kind {
    SP_SERIES_LINE,     /* values */
    SP_SERIES_SMOOTHED, /* a running mean over pale values */
    SP_SERIES_POINTS    /* rare measurements */
} sp_series_kind;

typedef struct sp_chart_series {
    const char *label;
    const double *x, *y; /* (n) x grows; y may be NaN */
    size_t n;
    sp_series_kind kind;
    int colour; /* 0..3 */
} sp_chart_series;

typedef struct sp_chart {
    const char *name; /* for ids: letters only, once per page */
    const char *title, *unit;
    const char *suffix;     /* after values: "", " %" */
    double scale;           /* y is drawn times this */
    double x_lo, x_hi;      /* steps at both ends */
    bool from_zero;         /* the y axis holds 0 */
    double log_from;        /* a logarithmic y axis where largest / smallest is at least this; 0: never */
    double mark;            /* a horizontal line; NaN: none */
    const char *mark_label; /* with it */
    bool wide;              /* drawn over both columns, and again at the usual size for narrow screens */
    sp_chart_series series[SP_CHART_MAX_SERIES];
    size_t n_series;
} sp_chart;

/* Appends nothing if no series has a number. */
sp_status sp_report_put_chart(sp_buf *out, const sp_chart *chart, sp_error *err);

#endif
