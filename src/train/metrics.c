/* SPDX-License-Identifier: MIT */
/* metrics.jsonl: one line per logged step, appended with a single write, so that a kill leaves at most one line cut short,
 * at the end. Opening drops what a resumed run will compute again: the kept lines are written to a new file that replaces
 * the old one at once. A write that fails (a full disk) is undone, so that the file never has a torn line in its middle.
 * The reader is report_read.c. Start at sp_metrics_open(). */
#include "train/metrics.h"

#include "base/file.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

struct sp_metrics {
    int fd;
    int64_t len; /* of the whole lines in the file */
    char *path;
    sp_buf line; /* kept between calls */
};

static sp_status fail_errno(sp_error *err, const char *what, const char *path)
{
    return sp_fail(err, SP_E_IO, "metrics: cannot %s \"%s\": %s", what, path, strerror(errno));
}

/* The step of one line; SP_E_FORMAT if it is no object with an integral step. */
static sp_status read_step(const char *line, size_t n, int64_t *step, sp_error *err)
{
    sp_json *root = NULL;
    SP_TRY(sp_json_parse(line, n, &root, err));
    *step = sp_json_is(root, SP_JSON_OBJECT) ? sp_json_int(sp_json_get(root, "step"), -1) : -1;
    sp_json_destroy(root);
    return *step < 0 ? sp_fail(err, SP_E_FORMAT, "expected an object with a \"step\"") : SP_OK;
}

/* Copy the lines of `map` with a step of at most `step` to the writer. */
static sp_status keep_lines(sp_writer *writer, const sp_map *map, const char *path, int64_t step,
                            sp_error *err)
{
    const char *at = (const char *)map->data, *end = at + map->len;
    for (int64_t number = 1; at < end; number++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((newline ? newline : end) - at);
        int64_t line_step = 0;
        sp_status status = read_step(at, n, &line_step, err);
        if (status == SP_E_FORMAT && !newline) break;
        if (status != SP_OK)
            return sp_fail_prefix(err, status, "metrics: \"%s\" line %lld (remove it, or the file)", path,
                                  (long long)number);
        if (line_step <= step) {
            SP_TRY(sp_writer_write(writer, at, n, err));
            SP_TRY(sp_writer_write(writer, "\n", 1, err));
        }
        at += newline ? n + 1 : n;
    }
    return SP_OK;
}

/* Replace the file by its lines up to `step`; a file that is absent counts as empty. */
static sp_status rewrite_file(const char *path, int64_t step, sp_error *err)
{
    sp_map map = {NULL, 0};
    sp_writer *writer = NULL;
    sp_status status = SP_OK;
    if (step > 0 && sp_file_exists(path)) SP_TRY(sp_map_open(&map, path, err));
    SP_GOTO(done, status, sp_writer_open(&writer, path, err));
    if (map.data) SP_GOTO(done, status, keep_lines(writer, &map, path, step, err));
    SP_GOTO(done, status, sp_writer_commit(writer, err));
done:
    sp_writer_close(writer);
    sp_map_close(&map);
    return status;
}

sp_status sp_metrics_open(sp_metrics **metrics, const char *path, int64_t step, sp_error *err)
{
    *metrics = NULL;
    SP_TRY(rewrite_file(path, step, err));
    sp_metrics *m = sp_calloc(1, sizeof *m);
    if (!m) return sp_fail_nomem(err, "metrics", sizeof *m);
    sp_status status = SP_OK;
    m->fd = -1;
    m->path = sp_strdup(path);
    if (!m->path) {
        status = sp_fail_nomem(err, "metrics", strlen(path));
        goto done;
    }
    m->fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (m->fd >= 0) m->len = (int64_t)lseek(m->fd, 0, SEEK_END);
    if (m->fd < 0 || m->len < 0) status = fail_errno(err, "open", path);
done:
    if (status == SP_OK)
        *metrics = m;
    else
        sp_metrics_close(m);
    return status;
}

/* `,"name":value`; what JSON has no number for becomes null. */
static sp_status put_number(sp_buf *line, const char *name, double value, sp_error *err)
{
    if (!isfinite(value)) return sp_buf_printf(line, err, ",\"%s\":null", name);
    return sp_buf_printf(line, err, ",\"%s\":%.9g", name, value);
}

static sp_status put_loads(sp_buf *line, const sp_step_metrics *m, sp_error *err)
{
    SP_TRY(sp_buf_puts(line, ",\"loads\":[", err));
    for (int32_t layer = 0; layer < m->n_layers; layer++) {
        const float *loads = m->loads + (size_t)layer * (size_t)m->n_experts;
        SP_TRY(sp_buf_puts(line, layer ? ",[" : "[", err));
        for (int32_t e = 0; e < m->n_experts; e++) {
            const char *comma = e ? "," : "";
            SP_TRY(isfinite(loads[e]) ? sp_buf_printf(line, err, "%s%.4g", comma, (double)loads[e])
                                      : sp_buf_printf(line, err, "%snull", comma));
        }
        SP_TRY(sp_buf_puts(line, "]", err));
    }
    return sp_buf_puts(line, "]", err);
}

static sp_status format_line(sp_buf *line, const sp_step_metrics *m, sp_error *err)
{
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"loss", m->loss},
        {"mtp_loss", m->mtp_loss},
        {"balance_loss", m->balance_loss},
        {"lr", m->lr},
        {"grad_norm", m->grad_norm},
        {"rows", m->rows},
        {"tokens_per_s", m->tokens_per_s},
        {"peak_share", m->peak_share},
        {"seconds", m->seconds},
    };
    line->len = 0;
    SP_TRY(
        sp_buf_printf(line, err, "{\"step\":%lld,\"tokens\":%lld", (long long)m->step, (long long)m->tokens));
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        SP_TRY(put_number(line, numbers[i].name, numbers[i].value, err));
    if (m->n_layers > 0 && m->n_experts > 0) {
        SP_TRY(put_number(line, "max_load", m->max_load, err));
        if (m->loads) SP_TRY(put_loads(line, m, err));
    }
    if (!(m->validation_loss < 0)) SP_TRY(put_number(line, "validation_loss", m->validation_loss, err));
    if (!(m->validation_mtp_accuracy < 0))
        SP_TRY(put_number(line, "validation_mtp_accuracy", m->validation_mtp_accuracy, err));
    return sp_buf_puts(line, "}\n", err);
}

sp_status sp_metrics_put(sp_metrics *metrics, const sp_step_metrics *m, sp_error *err)
{
    SP_TRY(format_line(&metrics->line, m, err));
    for (size_t done = 0; done < metrics->line.len;) {
        ssize_t n = write(metrics->fd, metrics->line.data + done, metrics->line.len - done);
        if (n > 0) done += (size_t)n;
        if (n > 0 || (n < 0 && errno == EINTR)) continue;
        if (n == 0) errno = ENOSPC;
        sp_status status = fail_errno(err, "write", metrics->path);
        if (ftruncate(metrics->fd, (off_t)metrics->len) != 0)
            return fail_errno(err, "undo a cut write to", metrics->path);
        return status;
    }
    metrics->len += (int64_t)metrics->line.len;
    return SP_OK;
}

void sp_metrics_close(sp_metrics *metrics)
{
    if (!metrics) return;
    if (metrics->fd >= 0) close(metrics->fd);
    sp_buf_clear(&metrics->line);
    sp_free(metrics->path);
    sp_free(metrics);
}
