/* SPDX-License-Identifier: MIT */
/* Counting, the log line, /health. Metrics are in ops_metrics.c. Start at sp_ops_done(). */
#include "server/ops_parts.h"

#include "base/clock.h"
#include "base/json.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define PROMPT_LOG_BYTES ((size_t)64 << 10)

const double sp_ops_bounds[SP_OPS_BUCKETS] = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};

sp_ops *sp_ops_create(void)
{
    sp_ops *ops = sp_calloc(1, sizeof *ops);
    if (ops) pthread_mutex_init(&ops->lock, NULL);
    return ops;
}

void sp_ops_destroy(sp_ops *ops)
{
    if (!ops) return;
    pthread_mutex_destroy(&ops->lock);
    sp_free(ops);
}

/* --- counting ------------------------------------------------------------------------------------------- */

static void add_time(sp_ops_times *times, double seconds)
{
    int i = 0;
    while (i < SP_OPS_BUCKETS && seconds > sp_ops_bounds[i]) i++;
    times->counts[i]++;
    times->sum += seconds;
}

static bool is_stream(const sp_exchange *x)
{
    const char *type = sp_fields_get(&x->answer_headers, "Content-Type");
    return x->first_sent > 0 && type && strncmp(type, "text/event-stream", 17) == 0;
}

static void count(sp_ops *ops, const sp_exchange *x, double now)
{
    const char *route = x->route ? x->route->path : "other";
    size_t i = 0;
    pthread_mutex_lock(&ops->lock);
    while (i < ops->n_rows && (ops->rows[i].status != x->status || strcmp(ops->rows[i].route, route) != 0))
        i++;
    if (i == ops->n_rows && i < SP_OPS_ROWS) ops->rows[ops->n_rows++] = (sp_ops_row){route, x->status, 0};
    if (i < ops->n_rows) ops->rows[i].n++;
    if (x->has_answerer) add_time(&ops->answer, now - x->started);
    if (is_stream(x)) add_time(&ops->first, x->first_sent - x->started);
    ops->n_bytes += x->n_sent;
    pthread_mutex_unlock(&ops->lock);
}

/* --- the log -------------------------------------------------------------------------------------------- */

static sp_status put(sp_buf *line, const char *name, const char *text)
{
    SP_TRY(sp_buf_printf(line, NULL, ",\"%s\":", name));
    return sp_json_put_string(line, text, strlen(text), NULL);
}

static sp_status begin_line(sp_buf *line, const char *level, const char *event)
{
    struct timespec now;
    struct tm utc;
    char text[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    SP_TRY(sp_buf_printf(line, NULL, "{\"time\":\"%s.%03ldZ\"", text, now.tv_nsec / 1000000));
    SP_TRY(put(line, "level", level));
    return put(line, "event", event);
}

/* Notes that are whole numbers are written as numbers. */
static sp_status put_note(sp_buf *line, const sp_field *note)
{
    size_t n = strspn(note->value, "0123456789");
    bool number = n > 0 && n < 16 && note->value[n] == '\0' && (note->value[0] != '0' || n == 1);
    SP_TRY(sp_buf_puts(line, ",", NULL));
    SP_TRY(sp_json_put_string(line, note->name, strlen(note->name), NULL));
    SP_TRY(sp_buf_puts(line, ":", NULL));
    return number ? sp_buf_puts(line, note->value, NULL)
                  : sp_json_put_string(line, note->value, strlen(note->value), NULL);
}

static sp_status put_exchange(sp_buf *line, const sp_server *server, const sp_exchange *x, double now)
{
    const char *level = x->status >= 500 ? "error" : x->status >= 400 ? "warn" : "info";
    SP_TRY(begin_line(line, level, "request"));
    SP_TRY(put(line, "id", x->id));
    SP_TRY(put(line, "peer", x->peer));
    SP_TRY(put(line, "method", sp_exchange_method(x)));
    SP_TRY(put(line, "path", sp_exchange_path(x)));
    SP_TRY(sp_buf_printf(line, NULL, ",\"status\":%d,\"bytes\":%llu,\"seconds\":%.3f", x->status,
                         (unsigned long long)x->n_sent, now - x->started));
    if (is_stream(x)) SP_TRY(sp_buf_printf(line, NULL, ",\"first_s\":%.3f", x->first_sent - x->started));
    for (size_t i = 0; i < x->notes.n; i++) SP_TRY(put_note(line, &x->notes.items[i]));
    if (server->options.log_prompts && x->body.len > 0) {
        SP_TRY(sp_buf_puts(line, ",\"request\":", NULL));
        SP_TRY(sp_json_put_string(line, x->body.data,
                                  x->body.len < PROMPT_LOG_BYTES ? x->body.len : PROMPT_LOG_BYTES, NULL));
    }
    return sp_buf_puts(line, "}", NULL);
}

void sp_ops_log(sp_server *server, const char *level, const char *event, const char *text)
{
    sp_buf line = {NULL, 0, 0};
    if (server->options.log && begin_line(&line, level, event) == SP_OK &&
        put(&line, "text", text) == SP_OK && sp_buf_puts(&line, "}", NULL) == SP_OK)
        server->options.log(server->options.ctx, line.data);
    sp_buf_clear(&line);
}

void sp_ops_done(sp_server *server, sp_exchange *x)
{
    sp_buf line = {NULL, 0, 0};
    double now = sp_seconds();
    if (server->ops) count(server->ops, x, now);
    if (server->options.log && put_exchange(&line, server, x, now) == SP_OK)
        server->options.log(server->options.ctx, line.data);
    sp_buf_clear(&line);
}

/* --- endpoints ------------------------------------------------------------------------------------------ */

static sp_status put_health(sp_buf *body, sp_server *server, bool is_loading)
{
    sp_scheduler_stats stats;
    if (is_loading)
        return sp_buf_puts(body, "{\"status\":\"loading\"}", NULL); /* nothing else is known yet */
    memset(&stats, 0, sizeof stats);
    if (server->scheduler) sp_scheduler_get_stats(server->scheduler, &stats);
    SP_TRY(
        sp_buf_printf(body, NULL, "{\"status\":\"%s\",\"model\":", server->is_stopping ? "stopping" : "ok"));
    SP_TRY(sp_json_put_string(body, server->name, strlen(server->name), NULL));
    return sp_buf_printf(body, NULL, ",\"slots\":%d,\"running\":%d,\"waiting\":%d,\"context\":%d}",
                         stats.n_slots, stats.n_running, stats.n_waiting,
                         server->scheduler ? sp_scheduler_context(server->scheduler) : 0);
}

static void handle_health(sp_server *server, sp_exchange *x)
{
    sp_buf body = {NULL, 0, 0};
    bool is_loading = server->is_loading;
    if (put_health(&body, server, is_loading) == SP_OK)
        sp_exchange_reply(x, is_loading || server->is_stopping ? 503 : 200, "application/json", body.data,
                          body.len);
    else
        sp_server_fail(x, 500, NULL, NULL, "out of memory");
    sp_buf_clear(&body);
}

static void handle_metrics(sp_server *server, sp_exchange *x)
{
    sp_buf body = {NULL, 0, 0};
    if (sp_ops_write_metrics(server, &body, NULL) == SP_OK)
        sp_exchange_reply(x, 200, "text/plain; version=0.0.4; charset=utf-8", body.data, body.len);
    else
        sp_server_fail(x, 500, NULL, NULL, "out of memory");
    sp_buf_clear(&body);
}

const sp_route sp_routes_ops[] = {
    {"GET", "/health", handle_health, true},
    {"GET", "/metrics", handle_metrics, false},
    {NULL, NULL, NULL, false},
};
