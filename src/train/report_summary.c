/* SPDX-License-Identifier: MIT */
/* Final loss, best validation, tokens, time, speed and balance of a run, as text. Start at sp_report_summarise(). */
#include "train/report_summary.h"

#include "train/report_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const sp_summary_labels[SP_SUMMARY_N_ROWS] = {
    "Loss at the end",
    "Best validation loss",
    "Validation loss at the end",
    "Second-next token predicted",
    "Steps",
    "Tokens",
    "Time",
    "Tokens per second",
    "Share of the measured peak",
    "Largest expert load / mean",
    "Expert load above 1.5 x mean",
    "Loss not a number",
};

static void set_row(sp_summary *summary, sp_summary_row row, const char *value, const char *note)
{
    snprintf(summary->rows[row].value, sizeof summary->rows[row].value, "%s", value);
    snprintf(summary->rows[row].note, sizeof summary->rows[row].note, "%s", note);
}

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median and largest of the numbers of a column from line `first` on; NaN if there is none. */
static sp_status find_median(double *median, double *largest, const double *column, size_t first, size_t n,
                             sp_error *err)
{
    size_t count = 0;
    *median = *largest = (double)NAN;
    double *sorted = sp_malloc_array(n - first + 1, sizeof *sorted);
    if (!sorted) return sp_fail_nomem(err, "median", (n - first + 1) * sizeof *sorted);
    for (size_t i = first; i < n; i++)
        if (!isnan(column[i])) sorted[count++] = column[i];
    if (count) {
        qsort(sorted, count, sizeof *sorted, compare_numbers);
        *median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
        *largest = sorted[count - 1];
    }
    sp_free(sorted);
    return SP_OK;
}

static void add_loss(sp_summary *summary, const sp_run_log *log)
{
    const double *loss = log->columns[SP_RUN_LOSS];
    size_t wanted = log->n / 100 ? log->n / 100 : 1, n = 0;
    double sum = 0;
    char note[64] = "";
    sp_report_number number;
    for (size_t i = log->n; i-- > 0 && n < wanted;) {
        if (isnan(loss[i])) continue;
        sum += loss[i];
        n++;
    }
    if (n == 0) return;
    if (n > 1) snprintf(note, sizeof note, "mean of the last %zu lines", n);
    set_row(summary, SP_SUMMARY_LOSS, sp_report_value(&number, sum / (double)n), note);
}

static void add_validation(sp_summary *summary, const sp_run_log *log)
{
    const double *loss = log->columns[SP_RUN_VALIDATION_LOSS];
    size_t best = log->n, last = 0;
    char note[64];
    sp_report_number value, step;
    for (size_t i = 0; i < log->n; i++)
        if (!isnan(loss[i]) && (best == log->n || loss[i] < loss[best])) best = i;
    if (best < log->n) {
        snprintf(note, sizeof note, "at step %s", sp_report_count(&step, log->steps[best]));
        set_row(summary, SP_SUMMARY_BEST, sp_report_value(&value, loss[best]), note);
        double end = sp_run_log_last(log, SP_RUN_VALIDATION_LOSS, &last);
        snprintf(note, sizeof note, "at step %s", sp_report_count(&step, log->steps[last]));
        if (last != best) set_row(summary, SP_SUMMARY_LAST, sp_report_value(&value, end), note);
    }
    double accuracy = sp_run_log_last(log, SP_RUN_VALIDATION_MTP_ACCURACY, &last);
    if (isnan(accuracy)) return;
    snprintf(value.text, sizeof value.text, "%.1f %%", 100 * accuracy);
    snprintf(note, sizeof note, "of held-out tokens, at step %s", sp_report_count(&step, log->steps[last]));
    set_row(summary, SP_SUMMARY_MTP, value.text, note);
}

static void add_totals(sp_summary *summary, const sp_run_log *log)
{
    sp_report_number number;
    double tokens = sp_run_log_last(log, SP_RUN_TOKENS, NULL),
           seconds = sp_run_log_last(log, SP_RUN_SECONDS, NULL);
    set_row(summary, SP_SUMMARY_STEPS, sp_report_count(&number, log->steps[log->n - 1]), "");
    if (tokens > 0) set_row(summary, SP_SUMMARY_TOKENS, sp_report_short(&number, tokens, 3), "");
    if (seconds > 0) set_row(summary, SP_SUMMARY_TIME, sp_report_time(&number, seconds), "");
}

static sp_status add_speed(sp_summary *summary, const sp_run_log *log, sp_error *err)
{
    double median, largest;
    sp_report_number number;
    SP_TRY(find_median(&median, &largest, log->columns[SP_RUN_TOKENS_PER_S], 0, log->n, err));
    if (median > 0) set_row(summary, SP_SUMMARY_SPEED, sp_report_count(&number, median), "median");
    SP_TRY(find_median(&median, &largest, log->columns[SP_RUN_PEAK_SHARE], 0, log->n, err));
    if (median > 0) {
        snprintf(number.text, sizeof number.text, "%.0f %%", 100 * median);
        set_row(summary, SP_SUMMARY_PEAK, number.text, "median");
    }
    return SP_OK;
}

static sp_status add_balance(sp_summary *summary, const sp_run_log *log, sp_error *err)
{
    const double *loads = log->columns[SP_RUN_MAX_LOAD];
    double median, largest;
    size_t n_over = 0, n = 0, last = 0;
    char note[80], value[48];
    sp_report_number number;
    for (size_t i = 0; i < log->n; i++) {
        if (!(loads[i] > 0)) continue;
        n++;
        if (loads[i] <= SP_LOAD_LIMIT) continue;
        n_over++;
        last = i;
    }
    if (n == 0) return SP_OK;
    SP_TRY(find_median(&median, &largest, loads, log->n - (log->n + 9) / 10, log->n, err));
    snprintf(note, sizeof note, "median of the last tenth, at most %s", sp_report_value(&number, largest));
    set_row(summary, SP_SUMMARY_LOAD, sp_report_value(&number, median), note);
    snprintf(value, sizeof value, "%.3g %%", 100 * (double)n_over / (double)n);
    snprintf(note, sizeof note, "of lines, last at step %s", sp_report_count(&number, log->steps[last]));
    set_row(summary, SP_SUMMARY_OVER, n_over ? value : "never", n_over ? note : "");
    return SP_OK;
}

static void add_nan(sp_summary *summary, const sp_run_log *log)
{
    char value[48], note[32];
    sp_report_number number;
    if (log->n_nan == 0) return;
    snprintf(value, sizeof value, "at step %.24s", sp_report_count(&number, log->first_nan_step));
    snprintf(note, sizeof note, "%zu line%s", log->n_nan, log->n_nan > 1 ? "s" : "");
    set_row(summary, SP_SUMMARY_NAN, value, note);
}

sp_status sp_report_summarise(sp_summary *summary, const sp_run_log *log, sp_error *err)
{
    memset(summary, 0, sizeof *summary);
    if (log->n == 0) return SP_OK;
    add_loss(summary, log);
    add_validation(summary, log);
    add_totals(summary, log);
    add_nan(summary, log);
    SP_TRY(add_speed(summary, log, err));
    return add_balance(summary, log, err);
}
