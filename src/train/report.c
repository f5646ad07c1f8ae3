/* SPDX-License-Identifier: MIT */
/* The page: figures, charts, heat maps of expert loads and configurations of one to four runs, from their metrics.jsonl alone.
 * Charts are rows of the table `plans`. Start at sp_report_compare(). */
#include "train/metrics.h"

#include "base/file.h"
#include "train/report_chart.h"
#include "train/report_heat.h"
#include "train/report_style.h"
#include "train/report_summary.h"
#include "train/report_text.h"

#include <math.h>
#include <string.h>

#define MAX_MAPS 16 /* layers whose loads are drawn */

typedef struct page {
    sp_buf out;
    const char *title;
    const sp_report_run *runs;
    size_t n_runs;
    sp_run_log *logs;      /* (n_runs) */
    sp_summary *summaries; /* (n_runs) */
    double last_step;
} page;

/* --- charts --------------------------------------------------------------------------------------------- */

typedef struct chart_plan {
    sp_chart chart; /* without ends and series */
    sp_run_column column;
    sp_series_kind kind;
    const char *label, *points_label;
    int points; /* a column of rare measurements in the same chart; -1: none */
    bool must_vary;
} chart_plan;

#define NO_MARK .mark = (double)NAN

static const chart_plan plans[] = {
    {{.name = "loss",
      .title = "Loss",
      .unit = "nats per token",
      .suffix = "",
      .scale = 1,
      NO_MARK,
      .log_from = 3,
      .wide = true},
     SP_RUN_LOSS,
     SP_SERIES_SMOOTHED,
     "training",
     "validation",
     SP_RUN_VALIDATION_LOSS,
     false},
    {{.name = "lr",
      .title = "Learning rate",
      .unit = "per step",
      .suffix = "",
      .scale = 1,
      NO_MARK,
      .from_zero = true},
     SP_RUN_LR,
     SP_SERIES_LINE,
     "rate",
     "",
     -1,
     false},
    {{.name = "norm",
      .title = "Gradient norm",
      .unit = "before clipping",
      .suffix = "",
      .scale = 1,
      NO_MARK,
      .from_zero = true,
      .log_from = 8},
     SP_RUN_GRAD_NORM,
     SP_SERIES_SMOOTHED,
     "norm",
     "",
     -1,
     false},
    {{.name = "load",
      .title = "Largest expert load",
      .unit = "load / mean load",
      .suffix = "",
      .scale = 1,
      .mark = SP_LOAD_LIMIT,
      .mark_label = "1.5",
      .log_from = 5},
     SP_RUN_MAX_LOAD,
     SP_SERIES_SMOOTHED,
     "load",
     "",
     -1,
     false},
    {{.name = "balance",
      .title = "Balance loss",
      .unit = "per expert layer and sequence",
      .suffix = "",
      .scale = 1,
      NO_MARK},
     SP_RUN_BALANCE_LOSS,
     SP_SERIES_SMOOTHED,
     "loss",
     "",
     -1,
     false},
    {{.name = "mtp",
      .title = "Loss on the second-next token",
      .unit = "nats per token",
      .suffix = "",
      .scale = 1,
      NO_MARK,
      .log_from = 3},
     SP_RUN_MTP_LOSS,
     SP_SERIES_SMOOTHED,
     "training",
     "",
     -1,
     false},
    {{.name = "hits",
      .title = "Second-next token predicted",
      .unit = "% of held-out tokens",
      .suffix = " %",
      .scale = 100,
      NO_MARK,
      .from_zero = true},
     SP_RUN_VALIDATION_MTP_ACCURACY,
     SP_SERIES_POINTS,
     "right",
     "",
     -1,
     false},
    {{.name = "speed",
      .title = "Speed",
      .unit = "tokens per second",
      .suffix = "",
      .scale = 1,
      NO_MARK,
      .from_zero = true},
     SP_RUN_TOKENS_PER_S,
     SP_SERIES_SMOOTHED,
     "tokens/s",
     "",
     -1,
     false},
    {{.name = "peak",
      .title = "Share of the machine's measured peak",
      .unit = "%",
      .suffix = " %",
      .scale = 100,
      NO_MARK,
      .from_zero = true},
     SP_RUN_PEAK_SHARE,
     SP_SERIES_SMOOTHED,
     "share",
     "",
     -1,
     false},
    {{.name = "rows",
      .title = "Batch",
      .unit = "rows per step",
      .suffix = "",
      .scale = 1,
      NO_MARK,
      .from_zero = true},
     SP_RUN_ROWS,
     SP_SERIES_LINE,
     "rows",
     "",
     -1,
     true},
};

static bool is_worth_drawing(const page *p, const chart_plan *plan)
{
    double first = (double)NAN;
    for (size_t r = 0; r < p->n_runs; r++) {
        const double *values = p->logs[r].columns[plan->column];
        for (size_t i = 0; i < p->logs[r].n; i++) {
            if (isnan(values[i])) continue;
            if (isnan(first)) first = values[i];
            if (values[i] != (plan->must_vary ? first : 0)) return true;
        }
    }
    return false;
}

static void add_series(const page *p, sp_chart *chart, size_t run, sp_run_column column,
                       const sp_chart_series *like)
{
    const sp_run_log *log = &p->logs[run];
    sp_chart_series *series = &chart->series[chart->n_series++];
    *series = *like;
    series->x = log->steps;
    series->y = log->columns[column];
    series->n = log->n;
}

static sp_status put_chart(page *p, const chart_plan *plan, sp_error *err)
{
    sp_buf labels[SP_REPORT_MAX_RUNS] = {{NULL, 0, 0}};
    sp_chart chart = plan->chart;
    sp_status status = SP_OK;
    bool alone = p->n_runs == 1;
    chart.x_hi = p->last_step;
    for (size_t r = 0; r < p->n_runs; r++) {
        sp_chart_series like = {
            .label = alone ? plan->label : p->runs[r].label, .kind = plan->kind, .colour = (int)r};
        add_series(p, &chart, r, plan->column, &like);
    }
    for (size_t r = 0; plan->points >= 0 && r < p->n_runs; r++) {
        SP_GOTO(done, status, sp_buf_printf(&labels[r], err, "%s, %s", p->runs[r].label, plan->points_label));
        sp_chart_series like = {.label = alone ? plan->points_label : labels[r].data,
                                .kind = SP_SERIES_POINTS,
                                .colour = alone ? 1 : (int)r};
        add_series(p, &chart, r, (sp_run_column)plan->points, &like);
    }
    status = sp_report_put_chart(&p->out, &chart, err);
done:
    for (size_t r = 0; r < SP_REPORT_MAX_RUNS; r++) sp_buf_clear(&labels[r]);
    return status;
}

static sp_status put_charts(page *p, sp_error *err)
{
    SP_TRY(sp_buf_puts(
        &p->out, p->n_runs > 1 ? "<section class=\"grid runs\">\n" : "<section class=\"grid\">\n", err));
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++)
        if (is_worth_drawing(p, &plans[i])) SP_TRY(put_chart(p, &plans[i], err));
    return sp_buf_puts(&p->out,
                       "</section>\n<p class=\"soft\">Bold curves are running means over about a "
                       "twenty-fifth of the run; the pale "
                       "ones behind them visit the smallest and the largest value of each stretch.</p>\n",
                       err);
}

/* --- heat maps ------------------------------------------------------------------------------------------ */

static bool has_layer(const page *p, size_t layer)
{
    for (size_t r = 0; r < p->n_runs; r++)
        if (sp_report_has_heat(&p->logs[r].loads, layer)) return true;
    return false;
}

static sp_status put_layer(page *p, size_t layer, sp_error *err)
{
    SP_TRY(p->n_runs > 1 ? sp_buf_puts(&p->out, "<div class=\"maps\">\n", err) : SP_OK);
    for (size_t r = 0; r < p->n_runs; r++) {
        sp_heat heat = {.loads = &p->logs[r].loads,
                        .layer = layer,
                        .label = p->n_runs > 1 ? p->runs[r].label : NULL,
                        .id = layer * p->n_runs + r,
                        .x_hi = p->last_step};
        if (sp_report_has_heat(heat.loads, layer)) SP_TRY(sp_report_put_heat(&p->out, &heat, err));
    }
    return p->n_runs > 1 ? sp_buf_puts(&p->out, "</div>\n", err) : SP_OK;
}

static sp_status put_maps(page *p, sp_error *err)
{
    size_t n_layers = 0, n_maps = 0, shown = 0;
    for (size_t r = 0; r < p->n_runs; r++)
        if (p->logs[r].loads.n_layers > n_layers) n_layers = p->logs[r].loads.n_layers;
    for (size_t layer = 0; layer < n_layers; layer++) n_maps += has_layer(p, layer);
    if (n_maps == 0) return SP_OK;
    SP_TRY(sp_buf_puts(&p->out, "<h2>Expert loads</h2>\n", err));
    SP_TRY(sp_report_put_heat_key(&p->out, err));
    if (n_maps > MAX_MAPS)
        SP_TRY(sp_buf_printf(&p->out, err, "<p class=\"soft\">%d of %zu layers with experts</p>\n", MAX_MAPS,
                             n_maps));
    SP_TRY(p->n_runs == 1 ? sp_buf_puts(&p->out, "<section class=\"maps\">\n", err)
                          : sp_buf_puts(&p->out, "<section>\n", err));
    for (size_t layer = 0, i = 0; layer < n_layers; layer++) {
        if (!has_layer(p, layer)) continue;
        bool wanted = n_maps <= MAX_MAPS ||
                      i * (MAX_MAPS - 1) / (n_maps - 1) >= shown; /* first, last, evenly between */
        i++;
        if (!wanted || shown == MAX_MAPS) continue;
        shown++;
        SP_TRY(put_layer(p, layer, err));
    }
    return sp_buf_puts(&p->out, "</section>\n", err);
}

/* --- figures -------------------------------------------------------------------------------------------- */

static sp_status put_figures(page *p, sp_error *err)
{
    SP_TRY(sp_buf_puts(&p->out, "<dl class=\"figures\">\n", err));
    for (int i = 0; i < SP_SUMMARY_N_ROWS; i++) {
        const char *value = p->summaries[0].rows[i].value, *note = p->summaries[0].rows[i].note;
        if (!value[0]) continue;
        SP_TRY(sp_buf_printf(&p->out, err, "<div><dt>%s</dt><dd>%s", sp_summary_labels[i], value));
        if (note[0]) SP_TRY(sp_buf_printf(&p->out, err, "<small>%s</small>", note));
        SP_TRY(sp_buf_puts(&p->out, "</dd></div>\n", err));
    }
    return sp_buf_puts(&p->out, "</dl>\n", err);
}

static sp_status put_table_row(page *p, int row, sp_error *err)
{
    SP_TRY(sp_buf_printf(&p->out, err, "<tr><th scope=\"row\">%s</th>", sp_summary_labels[row]));
    for (size_t r = 0; r < p->n_runs; r++) {
        const char *value = p->summaries[r].rows[row].value, *note = p->summaries[r].rows[row].note;
        SP_TRY(sp_buf_printf(&p->out, err, "<td>%s", value[0] ? value : "-"));
        if (note[0]) SP_TRY(sp_buf_printf(&p->out, err, "<small>%s</small>", note));
        SP_TRY(sp_buf_puts(&p->out, "</td>", err));
    }
    return sp_buf_puts(&p->out, "</tr>\n", err);
}

static sp_status put_table(page *p, sp_error *err)
{
    SP_TRY(sp_buf_puts(&p->out, "<div class=\"scroll\"><table>\n<thead><tr><td></td>", err));
    for (size_t r = 0; r < p->n_runs; r++) {
        SP_TRY(sp_buf_puts(&p->out, "<th scope=\"col\">", err));
        SP_TRY(sp_report_puts(&p->out, p->runs[r].label, err));
        SP_TRY(sp_buf_puts(&p->out, "</th>", err));
    }
    SP_TRY(sp_buf_puts(&p->out, "</tr></thead>\n<tbody>\n", err));
    for (int i = 0; i < SP_SUMMARY_N_ROWS; i++) {
        bool has_value = false;
        for (size_t r = 0; r < p->n_runs; r++) has_value |= p->summaries[r].rows[i].value[0] != '\0';
        if (has_value) SP_TRY(put_table_row(p, i, err));
    }
    return sp_buf_puts(&p->out, "</tbody>\n</table></div>\n", err);
}

static sp_status put_warnings(page *p, sp_error *err)
{
    for (size_t r = 0; r < p->n_runs; r++) {
        const sp_run_log *log = &p->logs[r];
        if (log->n_malformed == 0) continue;
        SP_TRY(sp_buf_printf(
            &p->out, err,
            "<div class=\"warning\"><p>%zu line%s of the metrics could not be read and %s left out",
            log->n_malformed, log->n_malformed > 1 ? "s" : "", log->n_malformed > 1 ? "were" : "was"));
        if (p->n_runs > 1) {
            SP_TRY(sp_buf_puts(&p->out, ": ", err));
            SP_TRY(sp_report_puts(&p->out, p->runs[r].label, err));
        }
        SP_TRY(sp_buf_puts(&p->out, ".</p>\n<pre>", err));
        SP_TRY(sp_report_put_text(&p->out, log->malformed.data, log->malformed.len, err));
        SP_TRY(sp_buf_puts(&p->out, "</pre></div>\n", err));
    }
    return SP_OK;
}

/* --- page ----------------------------------------------------------------------------------------------- */

static sp_status put_configurations(page *p, sp_error *err)
{
    bool alone = p->n_runs == 1;
    for (size_t r = 0; r < p->n_runs; r++) {
        const char *text = p->runs[r].config_text;
        if (!text || !text[0]) continue;
        SP_TRY(sp_buf_puts(&p->out,
                           alone ? "<details open=\"open\"><summary>Configuration"
                                 : "<details><summary>Configuration, ",
                           err));
        if (!alone) SP_TRY(sp_report_puts(&p->out, p->runs[r].label, err));
        SP_TRY(sp_buf_puts(&p->out, "</summary>\n<pre>", err));
        SP_TRY(sp_report_puts(&p->out, text, err));
        SP_TRY(sp_buf_puts(&p->out, "</pre></details>\n", err));
    }
    return SP_OK;
}

static sp_status put_head(page *p, sp_error *err)
{
    SP_TRY(sp_buf_puts(&p->out,
                       "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                       "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                       "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
                       "'unsafe-inline'\"/>\n"
                       "<title>",
                       err));
    SP_TRY(sp_report_puts(&p->out, p->title, err));
    SP_TRY(sp_buf_puts(&p->out, "</title>\n<style>\n", err));
    SP_TRY(sp_buf_puts(&p->out, sp_report_style, err));
    SP_TRY(sp_buf_puts(&p->out, "</style>\n</head>\n<body>\n<header>\n<h1>", err));
    SP_TRY(sp_report_puts(&p->out, p->title, err));
    return sp_buf_puts(&p->out, "</h1>\n</header>\n<main>\n", err);
}

static sp_status put_page(page *p, sp_error *err)
{
    bool is_empty = true;
    for (size_t r = 0; r < p->n_runs; r++) is_empty &= p->logs[r].n == 0;
    SP_TRY(put_head(p, err));
    SP_TRY(put_warnings(p, err));
    if (is_empty) {
        SP_TRY(sp_buf_puts(&p->out, "<p class=\"soft\">No step has been logged yet.</p>\n", err));
    } else {
        SP_TRY(p->n_runs == 1 ? put_figures(p, err) : put_table(p, err));
        SP_TRY(put_charts(p, err));
        SP_TRY(put_maps(p, err));
    }
    SP_TRY(put_configurations(p, err));
    return sp_buf_puts(&p->out, "</main>\n</body>\n</html>\n", err);
}

sp_status sp_report_compare(const char *html_path, const char *title, const sp_report_run *runs,
                            size_t n_runs, sp_error *err)
{
    if (n_runs == 0 || n_runs > SP_REPORT_MAX_RUNS)
        return sp_fail(err, SP_E_ARGUMENT, "report: expected 1 to %d runs, found %zu", SP_REPORT_MAX_RUNS,
                       n_runs);
    page p = {.title = title, .runs = runs, .n_runs = n_runs};
    sp_status status = SP_OK;
    size_t n_read = 0;
    p.logs = sp_calloc(n_runs, sizeof *p.logs);
    p.summaries = sp_calloc(n_runs, sizeof *p.summaries);
    if (!p.logs || !p.summaries) {
        status = sp_fail_nomem(err, "report", n_runs * (sizeof *p.logs + sizeof *p.summaries));
        goto done;
    }
    for (; n_read < n_runs; n_read++) {
        sp_run_log *log = &p.logs[n_read];
        SP_GOTO(done, status, sp_run_log_read(log, runs[n_read].jsonl_path, err));
        SP_GOTO(done, status, sp_report_summarise(&p.summaries[n_read], log, err));
        if (log->n) p.last_step = fmax(p.last_step, log->steps[log->n - 1]);
    }
    SP_GOTO(done, status, put_page(&p, err));
    status = sp_file_write(html_path, &p.out, err);
done:
    for (size_t i = 0; p.logs && i < n_runs; i++) sp_run_log_clear(&p.logs[i]);
    sp_buf_clear(&p.out);
    sp_free(p.logs);
    sp_free(p.summaries);
    return status;
}

sp_status sp_report_write(const char *html_path, const char *jsonl_path, const char *title,
                          const char *config_text, sp_error *err)
{
    const sp_report_run run = {jsonl_path, title, config_text};
    return sp_report_compare(html_path, title, &run, 1, err);
}
