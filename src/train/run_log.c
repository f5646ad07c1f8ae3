/* SPDX-License-Identifier: MIT */
/* Reads metrics.jsonl line by line. Numbers go to growing columns; expert loads to at most SP_LOAD_COLUMNS averages, whose
 * spans double whenever they are full, so that a run of any length takes bounded memory and is read once. */
#include "train/run_log.h"

#include "base/file.h"
#include "base/json.h"

#include <math.h>
#include <string.h>

#define NAMED_LINES 5 /* malformed ones that the page quotes */

static const char *const column_names[] = {
#define SP_RUN_COLUMN_NAME(id, name) name,
    SP_RUN_COLUMN_LIST(SP_RUN_COLUMN_NAME)
#undef SP_RUN_COLUMN_NAME
};

/* --- expert loads --------------------------------------------------------------------------------------- */

/* mean[i] of n_a lines takes in the mean of n_b more. */
static void merge_means(float *mean, double n_a, const float *more, double n_b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mean[i] = (float)(((double)mean[i] * n_a + (double)more[i] * n_b) / (n_a + n_b));
}

static void merge_neighbours(sp_load_history *history)
{
    size_t n = history->n_layers * history->n_experts, half = history->n_columns / 2;
    for (size_t i = 0; i < half; i++) {
        sp_load_column a = history->columns[2 * i], b = history->columns[2 * i + 1];
        merge_means(a.loads, a.n_lines, b.loads, b.n_lines, n);
        sp_free(b.loads);
        a.n_lines += b.n_lines;
        a.last_step = b.last_step;
        history->columns[2 * i + 1].loads = NULL;
        history->columns[i] = a;
    }
    history->n_columns = half;
    history->lines_per_column *= 2;
}

/* Whether `value` is [[number, ...], ...] with rows of one length. */
static bool is_matrix(const sp_json *value, size_t *n_rows, size_t *n_cols)
{
    *n_rows = sp_json_is(value, SP_JSON_ARRAY) ? sp_json_size(value) : 0;
    *n_cols = *n_rows ? sp_json_size(sp_json_at(value, 0)) : 0;
    for (size_t i = 0; i < *n_rows; i++) {
        const sp_json *row = sp_json_at(value, i);
        if (!sp_json_is(row, SP_JSON_ARRAY) || sp_json_size(row) != *n_cols) return false;
    }
    return *n_cols > 0;
}

static sp_status read_loads(float **loads, const sp_json *value, size_t n_rows, size_t n_cols, sp_error *err)
{
    *loads = sp_malloc_array(n_rows * n_cols, sizeof **loads);
    if (!*loads) return sp_fail_nomem(err, "expert loads", n_rows * n_cols * sizeof **loads);
    for (size_t i = 0; i < n_rows; i++) {
        const sp_json *row = sp_json_at(value, i);
        for (size_t j = 0; j < n_cols; j++)
            (*loads)[i * n_cols + j] = (float)sp_json_real(sp_json_at(row, j), (double)NAN);
    }
    return SP_OK;
}

static sp_status add_loads(sp_load_history *history, const sp_json *value, double step, sp_error *err)
{
    size_t n_rows, n_cols;
    float *loads;
    if (!is_matrix(value, &n_rows, &n_cols))
        return sp_fail(err, SP_E_FORMAT, "\"loads\": expected rows of one length");
    if (history->n_layers == 0) {
        history->n_layers = n_rows;
        history->n_experts = n_cols;
        history->lines_per_column = 1;
    }
    if (n_rows != history->n_layers || n_cols != history->n_experts)
        return sp_fail(err, SP_E_FORMAT, "\"loads\": expected %zu x %zu numbers, found %zu x %zu",
                       history->n_layers, history->n_experts, n_rows, n_cols);
    sp_load_column *last = history->n_columns ? &history->columns[history->n_columns - 1] : NULL;
    if (last && step <= last->last_step) return SP_OK;
    SP_TRY(read_loads(&loads, value, n_rows, n_cols, err));
    if (last && last->n_lines < history->lines_per_column) {
        merge_means(last->loads, last->n_lines, loads, 1, n_rows * n_cols);
        sp_free(loads);
        last->n_lines++;
        last->last_step = step;
        return SP_OK;
    }
    if (history->n_columns == SP_LOAD_COLUMNS) merge_neighbours(history);
    history->columns[history->n_columns++] = (sp_load_column){step, step, 1, loads};
    return SP_OK;
}

/* --- lines ---------------------------------------------------------------------------------------------- */

static sp_status grow_columns(sp_run_log *log, sp_error *err)
{
    if (log->n < log->cap) return SP_OK;
    size_t cap = log->cap ? log->cap * 2 : 256;
    double **all[SP_RUN_N_COLUMNS + 1] = {&log->steps};
    for (int i = 0; i < SP_RUN_N_COLUMNS; i++) all[i + 1] = &log->columns[i];
    for (int i = 0; i <= SP_RUN_N_COLUMNS; i++) {
        double *grown = sp_realloc_array(*all[i], cap, sizeof *grown);
        if (!grown) return sp_fail_nomem(err, "metrics", cap * sizeof *grown);
        *all[i] = grown;
    }
    log->cap = cap;
    return SP_OK;
}

static sp_status add_line(sp_run_log *log, const sp_json *line, sp_error *err)
{
    int64_t step = sp_json_is(line, SP_JSON_OBJECT) ? sp_json_int(sp_json_get(line, "step"), -1) : -1;
    if (step < 0) return sp_fail(err, SP_E_FORMAT, "expected an object with a \"step\"");
    const sp_json *loads = sp_json_get(line, "loads");
    if (loads) SP_TRY(add_loads(&log->loads, loads, (double)step, err));
    SP_TRY(grow_columns(log, err));
    while (log->n && log->steps[log->n - 1] > (double)step) log->n--;
    bool again = log->n && log->steps[log->n - 1] == (double)step;
    size_t at = again ? log->n - 1 : log->n++;
    log->steps[at] = (double)step;
    for (int i = 0; i < SP_RUN_N_COLUMNS; i++) {
        double value = sp_json_real(sp_json_get(line, column_names[i]), (double)NAN);
        if (!again || !isnan(value)) log->columns[i][at] = value;
    }
    const sp_json *loss = sp_json_get(line, "loss");
    if (loss && sp_json_is(loss, SP_JSON_NULL) && log->n_nan++ == 0) log->first_nan_step = (double)step;
    return SP_OK;
}

/* A malformed line is noted and passed over; other failures end the reading. */
static sp_status read_line(sp_run_log *log, const char *text, size_t n, size_t number, sp_error *err)
{
    static const char place[] = "json: line 1, "; /* always line 1 of the one that is parsed */
    sp_error why = SP_ERROR_NONE;
    sp_json *line = NULL;
    sp_status status = sp_json_parse(text, n, &line, &why);
    if (status == SP_OK) status = add_line(log, line, &why);
    sp_json_destroy(line);
    if (status != SP_E_FORMAT) {
        if (status != SP_OK && err) *err = why;
        return status;
    }
    if (log->n_malformed++ >= NAMED_LINES) return SP_OK;
    const char *what =
        strncmp(why.text, place, sizeof place - 1) == 0 ? why.text + sizeof place - 1 : why.text;
    return sp_buf_printf(&log->malformed, err, "line %zu: %s\n", number, what);
}

static sp_status read_lines(sp_run_log *log, const char *text, size_t len, sp_error *err)
{
    size_t at = 0;
    for (size_t number = 1; at < len; number++) {
        const char *newline = memchr(text + at, '\n', len - at);
        size_t n = newline ? (size_t)(newline - text) - at : len - at;
        size_t n_malformed = log->n_malformed, named_len = log->malformed.len;
        SP_TRY(read_line(log, text + at, n, number, err));
        if (!newline && text[at] == '{') { /* cut short: no fault of the file */
            log->n_malformed = n_malformed;
            log->malformed.len = named_len;
        }
        at += newline ? n + 1 : n;
    }
    return SP_OK;
}

/* A resumed process counts its seconds from 0 again. */
static void sum_seconds(sp_run_log *log)
{
    double *seconds = log->columns[SP_RUN_SECONDS], before = 0, last = 0;
    for (size_t i = 0; i < log->n; i++) {
        if (isnan(seconds[i])) continue;
        if (seconds[i] < last) before += last;
        last = seconds[i];
        seconds[i] += before;
    }
}

sp_status sp_run_log_read(sp_run_log *log, const char *path, sp_error *err)
{
    sp_map map = {NULL, 0};
    *log = (sp_run_log){.first_nan_step = -1};
    SP_TRY(sp_map_open(&map, path, err));
    sp_status status = read_lines(log, (const char *)map.data, map.len, err);
    sp_map_close(&map);
    if (status == SP_OK && log->n == 0 && log->n_malformed)
        status = sp_fail(err, SP_E_FORMAT, "metrics: \"%s\" %.*s", path,
                         (int)strcspn(log->malformed.data, "\n"), log->malformed.data);
    sum_seconds(log);
    return status;
}

void sp_run_log_clear(sp_run_log *log)
{
    for (size_t i = 0; i < log->loads.n_columns; i++) sp_free(log->loads.columns[i].loads);
    for (int i = 0; i < SP_RUN_N_COLUMNS; i++) sp_free(log->columns[i]);
    sp_free(log->steps);
    sp_buf_clear(&log->malformed);
    *log = (sp_run_log){.first_nan_step = -1};
}

double sp_run_log_last(const sp_run_log *log, sp_run_column column, size_t *at)
{
    for (size_t i = log->n; i-- > 0;) {
        if (isnan(log->columns[column][i])) continue;
        if (at) *at = i;
        return log->columns[column][i];
    }
    return (double)NAN;
}
