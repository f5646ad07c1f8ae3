/* SPDX-License-Identifier: MIT */
/* What a run tells about itself: one JSON object per line in metrics.jsonl (appended; a resumed run first drops the lines past
 * its checkpoint), and report.html made from that file alone. */
#ifndef SP_TRAIN_METRICS_H
#define SP_TRAIN_METRICS_H

#include "base/mem.h"

typedef struct sp_step_metrics {
    int64_t step, tokens;                     /* steps done, tokens seen */
    double loss, mtp_loss, balance_loss;      /* mtp_loss and balance_loss 0 where there are none */
    double lr, grad_norm, rows, tokens_per_s; /* rows: of the step's batch */
    double peak_share;                        /* of the machine's measured peak, 0..1 */
    double
        seconds; /* of training up to this step; where they fall (a process that counts from 0 again) the report adds up */
    double max_load; /* largest expert load over the mean, over all layers; 0 without experts */
    int32_t n_layers, n_experts;
    const float
        *loads; /* (n_layers, n_experts) share of tokens x K that each expert got, x E (1 = balanced) */
    double validation_loss, validation_mtp_accuracy; /* negative: not measured at this step */
} sp_step_metrics;

typedef struct sp_metrics sp_metrics;

/* Open `path` for appending after dropping lines with a step above `step` (0: start afresh). SP_E_FORMAT for a line that is no
 * object with a step (a last line cut short by a kill is dropped silently). */
sp_status sp_metrics_open(sp_metrics **metrics, const char *path, int64_t step, sp_error *err);
sp_status sp_metrics_put(sp_metrics *metrics, const sp_step_metrics *m, sp_error *err); /* flushed */
void sp_metrics_close(sp_metrics *metrics);

/* report.html: self-contained (inline SVG and style, no script, no network), the same bytes for the same input. config_text is
 * shown as it is; NULL or empty: none. Lines that cannot be read are left out and named in the page; SP_E_FORMAT if no line of a
 * non-empty file can be read. */
sp_status sp_report_write(const char *html_path, const char *jsonl_path, const char *title,
                          const char *config_text, sp_error *err);

#define SP_REPORT_MAX_RUNS 4

typedef struct sp_report_run {
    const char *jsonl_path;
    const char *label;       /* in legends and tables */
    const char *config_text; /* NULL: none */
} sp_report_run;

/* The same page for 1 to SP_REPORT_MAX_RUNS runs: curves overlaid, expert loads side by side. */
sp_status sp_report_compare(const char *html_path, const char *title, const sp_report_run *runs,
                            size_t n_runs, sp_error *err);

#endif
