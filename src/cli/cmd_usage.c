/* SPDX-License-Identifier: MIT */
/* `sputnik usage`: what a server's ledger adds up to, by day, key and model, and what the vendor would have taken for it. */
#include "cli/store.h"

#include <string.h>
#include <time.h>

#include "base/json.h"

typedef struct usage_args {
    const char *store, *from, *to, *key, *model, *by;
    int csv, json;
} usage_args;

static const usage_args usage_defaults = {.by = "all"};

static const sp_arg usage_table[] = {
    SP_STORE_ROW(usage_args, store),
    SP_STRING_ROW(usage_args, from, "from", 0, "YYYY-MM-DD", "first day, UTC (the ledger's first)"),
    SP_STRING_ROW(usage_args, to, "to", 0, "YYYY-MM-DD", "last day, UTC (today)"),
    SP_STRING_ROW(usage_args, key, "key", 0, "KEY", "only this key, by id or name"),
    SP_STRING_ROW(usage_args, model, "model", 0, "NAME", "only this model"),
    SP_CHOICE_ROW(usage_args, by, "by", 0, "all|day|key|model",
                  "a line per day, key and model, or per one of them"),
    SP_FLAG_ROW(usage_args, csv, "csv", 0, "write CSV"),
    SP_JSON_ROW(usage_args, json),
};

/* A line of the report; texts that the lines are not by are empty. */
typedef struct usage_sum {
    char day[16], key_id[SP_KEY_ID_CAP], key_name[SP_KEY_NAME_CAP], model[160];
    uint64_t n_requests, n_hit, n_miss, n_reply, n_reasoning;
    int64_t cost, vendor_cost;
} usage_sum;

typedef struct usage_report {
    const usage_args *args;
    usage_sum *lines;
    size_t n;
    usage_sum total;
    bool failed;
} usage_report;

static void add_counts(usage_sum *sum, const sp_usage_line *line)
{
    sum->n_requests += line->n_requests;
    sum->n_hit += line->n_hit;
    sum->n_miss += line->n_miss;
    sum->n_reply += line->n_reply;
    sum->n_reasoning += line->n_reasoning;
    sum->cost += line->cost;
    sum->vendor_cost += line->vendor_cost;
}

static bool is_same(const usage_sum *a, const usage_sum *b)
{
    return strcmp(a->day, b->day) == 0 && strcmp(a->key_id, b->key_id) == 0 &&
           strcmp(a->model, b->model) == 0;
}

static int take_line(void *ctx, const sp_usage_line *line)
{
    usage_report *report = ctx;
    const usage_args *args = report->args;
    const char *by = args->by;
    usage_sum sum = {.day = ""};
    size_t i = by[0] == 'k' || by[0] == 'm' || report->n == 0 ? 0 : report->n - 1; /* lines come by day */
    if (args->key && strcmp(args->key, line->key_id) != 0 && strcmp(args->key, line->key_name) != 0) return 0;
    if (args->model && strcmp(args->model, line->model) != 0) return 0;
    if (by[0] == 'a' || by[0] == 'd') snprintf(sum.day, sizeof sum.day, "%s", line->day);
    if (by[0] == 'a' || by[0] == 'm') snprintf(sum.model, sizeof sum.model, "%s", line->model);
    if (by[0] == 'a' || by[0] == 'k') {
        snprintf(sum.key_id, sizeof sum.key_id, "%s", line->key_id);
        snprintf(sum.key_name, sizeof sum.key_name, "%s", line->key_name);
    }
    while (i < report->n && !is_same(&report->lines[i], &sum)) i++;
    if (i == report->n) {
        usage_sum *lines = sp_realloc_array(report->lines, report->n + 1, sizeof *lines);
        if (!lines) {
            report->failed = true;
            return 1;
        }
        report->lines = lines;
        report->lines[report->n++] = sum;
    }
    add_counts(&report->lines[i], line);
    add_counts(&report->total, line);
    return 0;
}

/* ---- writing ---- */

static const char *name_of(const usage_sum *sum)
{
    return sum->key_name[0] ? sum->key_name : sum->key_id[0] ? sum->key_id : "-";
}

static void print_line(const usage_sum *sum, const char *day, const char *key, const char *model)
{
    char cost[32], vendor[32];
    printf("%-10s  %-18s  %-22s %9llu %12llu %12llu %12llu %12s %12s\n", day, key, model,
           (unsigned long long)sum->n_requests, (unsigned long long)(sum->n_hit + sum->n_miss),
           (unsigned long long)sum->n_hit, (unsigned long long)sum->n_reply,
           sp_cli_short_dollars(cost, sum->cost), sp_cli_short_dollars(vendor, sum->vendor_cost));
}

static void print_table(const usage_report *report)
{
    printf("%-10s  %-18s  %-22s %9s %12s %12s %12s %12s %12s\n", "day", "key", "model", "requests", "prompt",
           "from cache", "reply", "cost $", "vendor's $");
    for (size_t i = 0; i < report->n; i++) {
        const usage_sum *sum = &report->lines[i];
        bool by_key = report->args->by[0] == 'a' || report->args->by[0] == 'k';
        print_line(sum, sum->day, by_key ? name_of(sum) : "", sum->model);
    }
    print_line(&report->total, "total", "", "");
}

/* In quotes where it needs them (RFC 4180). */
static void print_field(const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, stdout);
        return;
    }
    putchar('"');
    for (; *text; text++) {
        if (*text == '"') putchar('"');
        putchar(*text);
    }
    putchar('"');
}

static void print_csv(const usage_report *report)
{
    puts("day,key_id,key_name,model,requests,prompt_cache_hit_tokens,prompt_cache_miss_tokens,completion_"
         "tokens,"
         "reasoning_tokens,cost_usd,vendor_cost_usd");
    for (size_t i = 0; i < report->n; i++) {
        const usage_sum *sum = &report->lines[i];
        char cost[32], vendor[32];
        printf("%s,%s,", sum->day, sum->key_id);
        print_field(sum->key_name);
        putchar(',');
        print_field(sum->model);
        printf(",%llu,%llu,%llu,%llu,%llu,%s,%s\n", (unsigned long long)sum->n_requests,
               (unsigned long long)sum->n_hit, (unsigned long long)sum->n_miss,
               (unsigned long long)sum->n_reply, (unsigned long long)sum->n_reasoning,
               sp_cli_dollars(cost, sum->cost), sp_cli_dollars(vendor, sum->vendor_cost));
    }
}

static sp_status put_text(sp_buf *out, const char *name, const char *text, sp_error *err)
{
    if (!text[0]) return SP_OK;
    SP_TRY(sp_buf_printf(out, err, "\"%s\":", name));
    SP_TRY(sp_cli_put_text(out, text, err));
    return sp_buf_puts(out, ",", err);
}

static sp_status put_sum(sp_buf *out, const usage_sum *sum, sp_error *err)
{
    char cost[32], vendor[32];
    SP_TRY(sp_buf_puts(out, "{", err));
    SP_TRY(put_text(out, "day", sum->day, err));
    SP_TRY(put_text(out, "key_id", sum->key_id, err));
    SP_TRY(put_text(out, "key_name", sum->key_name, err));
    SP_TRY(put_text(out, "model", sum->model, err));
    return sp_buf_printf(
        out, err,
        "\"requests\":%llu,\"prompt_cache_hit_tokens\":%llu,\"prompt_cache_miss_tokens\":%llu,"
        "\"completion_tokens\":%llu,\"reasoning_tokens\":%llu,\"cost_usd\":%s,"
        "\"vendor_cost_usd\":%s}",
        (unsigned long long)sum->n_requests, (unsigned long long)sum->n_hit, (unsigned long long)sum->n_miss,
        (unsigned long long)sum->n_reply, (unsigned long long)sum->n_reasoning,
        sp_cli_dollars(cost, sum->cost), sp_cli_dollars(vendor, sum->vendor_cost));
}

static sp_status put_json(sp_buf *out, const usage_report *report, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, "{\"lines\":[", err));
    for (size_t i = 0; i < report->n; i++) {
        SP_TRY(sp_buf_puts(out, i ? ",\n " : "\n ", err));
        SP_TRY(put_sum(out, &report->lines[i], err));
    }
    SP_TRY(sp_buf_puts(out, "],\n\"total\":", err));
    SP_TRY(put_sum(out, &report->total, err));
    return sp_buf_puts(out, "}\n", err);
}

static sp_status print_json(const usage_report *report, sp_error *err)
{
    sp_buf out = {NULL, 0, 0};
    sp_status status = put_json(&out, report, err);
    if (status == SP_OK) fwrite(out.data, 1, out.len, stdout);
    sp_buf_clear(&out);
    return status;
}

/* ---- the command ---- */

/* "2026-11-28" to its first second; `otherwise` for NULL; false if it is no day. */
static bool parse_day(const char *text, int64_t otherwise, int64_t *seconds)
{
    struct tm utc = {.tm_mday = 0};
    int n = 0;
    *seconds = otherwise;
    if (!text) return true;
    if (sscanf(text, "%4d-%2d-%2d%n", &utc.tm_year, &utc.tm_mon, &utc.tm_mday, &n) != 3 || text[n] || n != 10)
        return false;
    utc.tm_year -= 1900;
    utc.tm_mon -= 1;
    struct tm same = utc;
    *seconds = (int64_t)timegm(&same); /* which turns February 30 into March 2 */
    return same.tm_mon == utc.tm_mon && same.tm_mday == utc.tm_mday;
}

static int run_usage(const void *options, char *const *operands, int n_operands)
{
    const usage_args *args = options;
    sp_error err = SP_ERROR_NONE;
    usage_report report = {.args = args};
    sp_meter *meter = NULL;
    int64_t from, to;
    (void)operands, (void)n_operands;
    if (args->csv && args->json)
        return sp_cli_usage(&sp_command_usage, "--csv and --json exclude each other");
    if (!parse_day(args->from, 0, &from))
        return sp_cli_usage(&sp_command_usage, "option --from: found \"%.40s\", expected a day as 2026-11-28",
                            args->from);
    if (!parse_day(args->to, INT64_MAX - 86400, &to))
        return sp_cli_usage(&sp_command_usage, "option --to: found \"%.40s\", expected a day as 2026-11-28",
                            args->to);
    if (!sp_cli_open_store(&meter, args->store, false)) return SP_EXIT_FAILED;
    sp_status status = sp_meter_report(meter, from, to + 86400, take_line, &report, &err);
    if (status == SP_OK && report.failed) status = sp_fail_nomem(&err, "report", 0);
    if (status == SP_OK && args->json)
        status = print_json(&report, &err);
    else if (status == SP_OK && args->csv)
        print_csv(&report);
    else if (status == SP_OK)
        print_table(&report);
    if (status != SP_OK) sp_cli_fail(&err, NULL);
    sp_free(report.lines);
    sp_meter_close(meter);
    return status == SP_OK ? SP_EXIT_GOOD : SP_EXIT_FAILED;
}

const sp_command sp_command_usage = {
    "usage",
    "",
    "tokens and money of a server's requests, by day, key and model",
    "Costs are booked at the server's prices when a request ends; beside them stands what the vendor's\n"
    "API would have taken. Days are UTC.",
    usage_table,
    sizeof usage_table / sizeof usage_table[0],
    &usage_defaults,
    sizeof usage_defaults,
    0,
    0,
    run_usage,
};
