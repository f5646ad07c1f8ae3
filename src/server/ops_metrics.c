/* SPDX-License-Identifier: MIT */
/* /metrics: the text format of Prometheus, version 0.0.4. */
#include "server/ops_parts.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static sp_status put_head(sp_buf *out, const char *name, const char *type, const char *help, sp_error *err)
{
    return sp_buf_printf(out, err, "# HELP sputnik_%s %s\n# TYPE sputnik_%s %s\n", name, help, name, type);
}

static sp_status put_value(sp_buf *out, const char *name, const char *type, const char *help, double value,
                           sp_error *err)
{
    SP_TRY(put_head(out, name, type, help, err));
    return sp_buf_printf(out, err, "sputnik_%s %.17g\n", name, value);
}

static sp_status put_times(sp_buf *out, const char *name, const char *help, const sp_ops_times *times,
                           sp_error *err)
{
    uint64_t n = 0;
    SP_TRY(put_head(out, name, "histogram", help, err));
    for (int i = 0; i < SP_OPS_BUCKETS; i++) {
        n += times->counts[i];
        SP_TRY(sp_buf_printf(out, err, "sputnik_%s_bucket{le=\"%g\"} %llu\n", name, sp_ops_bounds[i],
                             (unsigned long long)n));
    }
    n += times->counts[SP_OPS_BUCKETS];
    return sp_buf_printf(out, err,
                         "sputnik_%s_bucket{le=\"+Inf\"} %llu\nsputnik_%s_sum %.6f\nsputnik_%s_count %llu\n",
                         name, (unsigned long long)n, name, times->sum, name, (unsigned long long)n);
}

static sp_status put_requests(sp_buf *out, const sp_ops *ops, sp_error *err)
{
    SP_TRY(put_head(out, "requests_total", "counter", "Requests by route and status.", err));
    for (size_t i = 0; i < ops->n_rows; i++)
        SP_TRY(sp_buf_printf(out, err, "sputnik_requests_total{route=\"%s\",status=\"%d\"} %llu\n",
                             ops->rows[i].route, ops->rows[i].status, (unsigned long long)ops->rows[i].n));
    SP_TRY(put_times(out, "answer_seconds", "From a request's first line to the end of a generated answer.",
                     &ops->answer, err));
    SP_TRY(put_times(out, "first_token_seconds",
                     "From a request's first line to the first piece of a streamed answer.", &ops->first,
                     err));
    return put_value(out, "sent_bytes_total", "counter", "Bytes of answers.", (double)ops->n_bytes, err);
}

typedef struct metric {
    const char *name, *type, *help;
    double value;
} metric;

static sp_status put_metrics(sp_buf *out, const metric *metrics, size_t n, sp_error *err)
{
    for (size_t i = 0; i < n; i++)
        SP_TRY(put_value(out, metrics[i].name, metrics[i].type, metrics[i].help, metrics[i].value, err));
    return SP_OK;
}

static sp_status put_engine(sp_buf *out, const sp_scheduler_stats *s, sp_error *err)
{
    const metric metrics[] = {
        {"prompt_tokens_total", "counter", "Prompt tokens, cached ones included.", (double)s->prompt_tokens},
        {"cached_tokens_total", "counter", "Prompt tokens that came from the cache.",
         (double)s->cached_tokens},
        {"reply_tokens_total", "counter", "Tokens of replies, reasoning included.", (double)s->reply_tokens},
        {"reasoning_tokens_total", "counter", "Tokens of reasoning.", (double)s->reasoning_tokens},
        {"drafted_tokens_total", "counter", "Guesses that were evaluated ahead of a reply.",
         (double)s->drafted_tokens},
        {"accepted_tokens_total", "counter", "Those of them that came true.", (double)s->accepted_tokens},
        {"jobs_total", "counter", "Replies begun or queued.", (double)s->n_jobs},
        {"jobs_cancelled_total", "counter", "Replies whose client left.", (double)s->n_cancelled},
        {"jobs_failed_total", "counter", "Replies that failed in the engine.", (double)s->n_failed},
        {"steps_total", "counter", "Passes through the model.", (double)s->n_steps},
        {"busy_seconds_total", "counter", "Time in which the engine worked.", s->busy_s},
        {"slots", "gauge", "Replies that can be generated at once.", s->n_slots},
        {"running", "gauge", "Replies that are being generated.", s->n_running},
        {"waiting", "gauge", "Replies that wait for a slot.", s->n_waiting},
    };
    return put_metrics(out, metrics, sizeof metrics / sizeof metrics[0], err);
}

static sp_status put_prefixes(sp_buf *out, const sp_prefix_cache_stats *p, sp_error *err)
{
    const metric metrics[] = {
        {"prefix_units", "gauge", "Units of the prefix cache in memory.", (double)p->n_units},
        {"prefix_bytes", "gauge", "Their bytes.", (double)p->n_bytes},
        {"prefix_disk_units", "gauge", "Units of the prefix cache on disk.", (double)p->n_disk_units},
        {"prefix_disk_bytes", "gauge", "Their bytes.", (double)p->n_disk_bytes},
        {"prefix_hit_tokens_total", "counter", "Tokens found in the prefix cache.", (double)p->n_hit_tokens},
        {"prefix_disk_hit_tokens_total", "counter", "Those of them that came from disk.",
         (double)p->n_disk_hit_tokens},
        {"prefix_miss_tokens_total", "counter", "Tokens looked for in vain.", (double)p->n_miss_tokens},
        {"prefix_evicted_total", "counter", "Units that left the memory.", (double)p->n_evicted},
        {"prefix_damaged_total", "counter", "Files that were damaged and removed.", (double)p->n_damaged},
    };
    return put_metrics(out, metrics, sizeof metrics / sizeof metrics[0], err);
}

static double resident_bytes(void)
{
    long long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file) return 0;
    if (fscanf(file, "%lld %lld", &size, &resident) != 2) resident = 0;
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

sp_status sp_ops_write_metrics(sp_server *server, sp_buf *out, sp_error *err)
{
    sp_scheduler_stats stats;
    memset(&stats, 0, sizeof stats);
    if (server->scheduler) sp_scheduler_get_stats(server->scheduler, &stats);
    if (server->ops) {
        pthread_mutex_lock(&server->ops->lock);
        sp_status status = put_requests(out, server->ops, err);
        pthread_mutex_unlock(&server->ops->lock);
        SP_TRY(status);
    }
    SP_TRY(put_engine(out, &stats, err));
    SP_TRY(put_prefixes(out, &stats.prefixes, err));
    SP_TRY(put_value(out, "resident_bytes", "gauge", "Memory of the process.", resident_bytes(), err));
    return put_value(out, "uptime_seconds", "gauge", "Since the start.",
                     (double)(time(NULL) - server->started), err);
}
