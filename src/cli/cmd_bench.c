/* SPDX-License-Identifier: MIT */
/* `sputnik bench`: tokens per second of prompt evaluation and of decoding, through the same session calls
 * that every other command uses. One row per combination of sizes, depth, sessions and threads; each is
 * measured `repeats` times after a warm-up. A row gives the median and the spread (largest minus smallest).
 */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/pool.h"
#include "base/rng.h"
#include "cli/bench_experts.h"
#include "cli/bench_machine.h"
#include "cli/bench_replies.h"
#include "cli/experts.h"

typedef struct bench_args {
    sp_int_list prompt, gen, depth, threads, sessions;
    int64_t repeats, n_batch;
    const char *cache_type;
    sp_session_args session; /* for --ram and memory */
    sp_bench_replies_args replies;
    const char *disk, *replay;
    int no_warmup, machine, json;
} bench_args;

/* Tokens of a reply unless -n says so, and the context that holds it. */
#define REPLY_TOKENS 512

static const bench_args bench_defaults = {
    .repeats = 3, .cache_type = "f16", .session = SP_SESSION_ARGS_DEFAULTS, .replies = {.speculate = "auto"}};

static const sp_arg bench_table[] = {
    SP_INTS_ROW(bench_args, prompt, "prompt", 'p', 0, 1048576, "prompt lengths (default 512; 0: none)"),
    SP_INTS_ROW(bench_args, gen, "gen", 'n', 0, 1048576, "tokens to decode (default 64; 0: none)"),
    SP_INTS_ROW(bench_args, depth, "depth", 'd', 0, 1048576, "tokens already in the session (default 0)"),
    SP_INTS_ROW(bench_args, threads, "threads", 't', 0, 256, "threads (default: one per processor)"),
    SP_INTS_ROW(bench_args, sessions, "sessions", 0, 1, 1024, "sessions that decode together (default 1)"),
    SP_INT_ROW(bench_args, repeats, "repeats", 'r', 1, 1000, "measurements per row"),
    SP_BATCH_ROW(bench_args, n_batch),
    SP_CACHE_ROW(bench_args, cache_type),
    SP_EXPERT_ROWS(bench_args, session),
    SP_MEMORY_ROWS(bench_args, session),
    SP_STRING_ROW(bench_args, replay, "replay", 0, "FILE",
                  "hit rates of a cache of experts on a trace or zipf:X; MODEL may be left out"),
    SP_STRING_ROW(bench_args, replies.path, "replies", 0, "FILE",
                  "replies to messages, one a line, with and without guesses ahead"),
    SP_FLOAT_ROW(bench_args, replies.temperature, "temp", 0, 0, 100, "with --replies: temperature"),
    SP_DRAFT_ROWS(bench_args, replies.speculate, replies.n_draft),
    SP_FLAG_ROW(bench_args, no_warmup, "no-warmup", 0, "measure the first run too"),
    SP_FLAG_ROW(bench_args, machine, "machine", 0, "measure the machine's ceilings; MODEL may be left out"),
    SP_STRING_ROW(bench_args, disk, "disk", 0, "FILE", "with --machine: random direct reads of a large file"),
    SP_JSON_ROW(bench_args, json),
};

#define MAX_REPEATS 1000
#define MAX_SESSIONS 1024

/* One measurement and what it needs. */
typedef struct bench_row {
    int64_t n_prompt, n_gen, depth, n_sessions, threads;
    double samples[MAX_REPEATS]; /* tokens per second, sorted after the run */
    size_t n_samples;
    sp_expert_stats before; /* the samples, with --ram */
} bench_row;

typedef struct bench {
    const bench_args *args;
    sp_model *model;
    sp_model_info info;
    sp_cost cost;
    sp_machine machine; /* empty without --machine */
    const char *path;
    char cpu[96];
    size_t n_rows;
    bench_row row;
    sp_session *sessions[MAX_SESSIONS];
    int32_t *tokens; /* (depth + n_prompt + n_gen) */
} bench;

/* Token p of timeline `variant`: an ordinary id; equal up to the depth, so that the part before it is kept
 * between runs. */
static int32_t pick_token(const bench *b, uint64_t variant, int64_t p)
{
    uint32_t block[4];
    sp_rng_block(1234, p < b->row.depth ? 0 : variant, (uint64_t)p, block);
    return (int32_t)(block[0] % (uint32_t)b->info.vocab_size);
}

/* Timeline of this run up to the depth. The first token after it must differ from the last run's, or it would
 * be kept. */
static sp_status fill_depth(bench *b, uint64_t variant, int64_t n_total, sp_error *err)
{
    int64_t depth = b->row.depth;
    for (int64_t p = 0; p < n_total; p++) b->tokens[p] = pick_token(b, variant, p);
    b->tokens[depth] = (int32_t)(variant % (uint64_t)b->info.vocab_size);
    for (int64_t s = 0; depth > 0 && s < b->row.n_sessions; s++)
        SP_TRY(sp_session_sync(b->sessions[s], b->tokens, (size_t)depth, err));
    return SP_OK;
}

static sp_status measure_prompt(bench *b, uint64_t variant, double *per_s, sp_error *err)
{
    int64_t n = b->row.depth + b->row.n_prompt;
    SP_TRY(fill_depth(b, variant, n, err));
    double start = sp_seconds();
    SP_TRY(sp_session_sync(b->sessions[0], b->tokens, (size_t)n, err));
    *per_s = (double)b->row.n_prompt / (sp_seconds() - start);
    return SP_OK;
}

static sp_status measure_decode(bench *b, uint64_t variant, double *per_s, sp_error *err)
{
    int64_t depth = b->row.depth, n_gen = b->row.n_gen, n_sessions = b->row.n_sessions;
    const int32_t *next[MAX_SESSIONS];
    int32_t ids[MAX_SESSIONS];
    size_t one[MAX_SESSIONS];
    SP_TRY(fill_depth(b, variant, depth + n_gen, err));
    if (n_sessions > 1 && depth == 0) /* several sessions advance from a first token */
        for (int64_t s = 0; s < n_sessions; s++) SP_TRY(sp_session_sync(b->sessions[s], b->tokens, 1, err));
    double start = sp_seconds();
    for (int64_t i = 0; i < n_gen; i++) {
        if (n_sessions == 1) {
            SP_TRY(sp_session_sync(b->sessions[0], b->tokens, (size_t)(depth + i + 1), err));
            continue;
        }
        for (int64_t s = 0; s < n_sessions; s++) {
            /* each its own: equal tokens would choose the same experts */
            ids[s] = pick_token(b, variant * MAX_SESSIONS + (uint64_t)s, depth + i);
            next[s] = &ids[s];
            one[s] = 1;
        }
        SP_TRY(sp_session_advance(b->sessions, next, one, (size_t)n_sessions, err));
    }
    *per_s = (double)(n_gen * n_sessions) / (sp_seconds() - start);
    return SP_OK;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static sp_status measure(bench *b, sp_error *err)
{
    bench_row *row = &b->row;
    row->n_samples = 0;
    int64_t n_runs = b->args->repeats + (b->args->no_warmup ? 0 : 1);
    for (int64_t run = 0; run < n_runs; run++) {
        double per_s = 0;
        if (run == n_runs - b->args->repeats) sp_model_expert_stats(b->model, &row->before);
        SP_TRY((row->n_prompt > 0 ? measure_prompt : measure_decode)(b, (uint64_t)run + 1, &per_s, err));
        if (run > 0 || b->args->no_warmup) row->samples[row->n_samples++] = per_s;
    }
    qsort(row->samples, row->n_samples, sizeof row->samples[0], compare_doubles);
    return SP_OK;
}

static double median(const bench_row *row)
{
    size_t n = row->n_samples;
    return n % 2 ? row->samples[n / 2] : 0.5 * (row->samples[n / 2 - 1] + row->samples[n / 2]);
}

/* What a token of the row costs. */
static sp_bench_load row_load(const bench *b)
{
    const bench_row *row = &b->row;
    int64_t n_batch = b->args->n_batch ? b->args->n_batch : SP_SESSION_BATCH_DEFAULT;
    int64_t n = row->n_prompt ? row->n_prompt : row->n_gen;
    sp_bench_load load = {
        .n_rows = row->n_sessions, .depth = (double)row->depth + 0.5 * (double)n, .n_heads = 1};
    if (row->n_prompt > 0) {
        load.n_rows = n < n_batch ? n : n_batch;
        load.depth /= (double)load.n_rows; /* rows of a batch share a load of the cache */
        load.n_heads = 1.0 / (double)n;
    }
    load.cache_width = sp_cost_cache_width(b->args->cache_type);
    load.n_threads = (int)row->threads;
    load.tokens_per_s = median(row);
    return load;
}

/* Where the experts of the samples came from. */
static sp_status put_experts(const bench *b, sp_buf *out, sp_error *err)
{
    sp_expert_stats s;
    const sp_expert_stats *was = &b->row.before;
    if (!sp_model_expert_stats(b->model, &s)) return SP_OK;
    double hits = (double)(s.n_hits - was->n_hits), foreseen = (double)(s.n_foreseen - was->n_foreseen);
    double wanted = hits + foreseen + (double)(s.n_misses - was->n_misses);
    double guessed = (double)(s.n_guessed - was->n_guessed);
    double right = (double)(s.n_guessed_right - was->n_guessed_right);
    return sp_buf_printf(out, err,
                         ",\"experts\":{\"n_slots\":%lld,\"hit_rate\":%.6g,\"foreseen\":%.0f,\"read_bytes\":%"
                         ".0f,\"reads\":%.0f,\"wait_s\":%.6g,"
                         "\"guessed\":%.0f,\"guessed_right\":%.0f,\"reader\":\"%s\"}",
                         (long long)s.n_slots, wanted > 0 ? hits / wanted : 0.0, foreseen,
                         (double)(s.n_read_bytes - was->n_read_bytes), (double)(s.n_reads - was->n_reads),
                         s.wait_s - was->wait_s, guessed, right, s.reader);
}

/* The members that every row begins with. */
static sp_status put_json_head(const bench *b, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, b->n_rows ? ",\n {\"model\":" : "[{\"model\":", err));
    SP_TRY(sp_cli_put_text(out, b->path, err));
    SP_TRY(sp_buf_puts(out, ",\"architecture\":", err));
    SP_TRY(sp_cli_put_text(out, b->info.architecture, err));
    SP_TRY(sp_buf_puts(out, ",\"cpu\":", err));
    SP_TRY(sp_cli_put_text(out, b->cpu, err));
    return sp_buf_printf(
        out, err, ",\"version\":\"%s\",\"n_params\":%lld,\"n_bytes\":%lld,\"cache_type\":\"%s\"", SP_VERSION,
        (long long)b->info.n_params, (long long)b->info.n_bytes, b->args->cache_type);
}

static sp_status put_json_row(const bench *b, sp_buf *out, sp_error *err)
{
    const bench_row *row = &b->row;
    SP_TRY(put_json_head(b, out, err));
    SP_TRY(sp_buf_printf(
        out, err,
        ",\"n_prompt\":%lld,"
        "\"n_gen\":%lld,\"depth\":%lld,\"n_sessions\":%lld,\"threads\":%lld,\"tokens_per_s\":%.6g,"
        "\"spread\":%.6g,\"samples\":[",
        (long long)row->n_prompt, (long long)row->n_gen, (long long)row->depth, (long long)row->n_sessions,
        (long long)row->threads, median(row), row->samples[row->n_samples - 1] - row->samples[0]));
    for (size_t i = 0; i < row->n_samples; i++)
        SP_TRY(sp_buf_printf(out, err, "%s%.6g", i ? "," : "", row->samples[i]));
    SP_TRY(sp_buf_puts(out, "]", err));
    sp_bench_load load = row_load(b);
    SP_TRY(sp_bench_put_cost(out, &b->cost, &b->machine, &load, err));
    SP_TRY(put_experts(b, out, err));
    return sp_buf_puts(out, "}", err);
}

static void print_model(const bench *b)
{
    char count[32], size[32];
    printf("%s: %s, %s parameters, %s; %s\n", b->path, b->info.architecture,
           sp_cli_count(count, (double)b->info.n_params), sp_cli_size(size, (double)b->info.n_bytes), b->cpu);
}

static sp_status report_row(bench *b, sp_error *err)
{
    const bench_row *row = &b->row;
    if (b->args->json) {
        sp_buf line = {NULL, 0, 0};
        sp_status status = put_json_row(b, &line, err);
        if (status == SP_OK) fwrite(line.data, 1, line.len, stdout);
        sp_buf_clear(&line);
        SP_TRY(status);
    } else {
        if (b->n_rows == 0) {
            print_model(b);
            printf("%-8s %8s %8s %8s %8s   %s\n", "what", "tokens", "depth", "sessions", "threads",
                   "tokens per second");
        }
        printf("%-8s %8lld %8lld %8lld %8lld   %.2f (%.2f to %.2f)", row->n_prompt ? "prompt" : "decode",
               (long long)(row->n_prompt ? row->n_prompt : row->n_gen), (long long)row->depth,
               (long long)row->n_sessions, (long long)row->threads, median(row), row->samples[0],
               row->samples[row->n_samples - 1]);
        sp_bench_load load = row_load(b);
        sp_bench_print_cost(&b->cost, &b->machine, &load);
    }
    fflush(stdout);
    b->n_rows++;
    return SP_OK;
}

/* Sessions and tokens for one row, measured and reported. */
static sp_status run_row(bench *b, int64_t n_prompt, int64_t n_gen, sp_error *err)
{
    bench_row *row = &b->row;
    sp_session_args session_args = {
        .n_threads = row->threads, .n_batch = b->args->n_batch, .cache_type = b->args->cache_type};
    sp_session_options options;
    sp_status status = SP_OK;
    row->n_prompt = n_prompt;
    row->n_gen = n_gen;
    if (n_prompt == 0 && n_gen == 0) return SP_OK;
    if (n_prompt > 0) row->n_sessions = 1;
    sp_cli_session_options(&options, &session_args);
    options.n_ctx = (int32_t)(row->depth + n_prompt + n_gen + 1);
    b->tokens = sp_malloc_array((size_t)options.n_ctx, sizeof *b->tokens);
    if (!b->tokens) return sp_fail_nomem(err, "tokens", (uint64_t)options.n_ctx * sizeof *b->tokens);
    for (int64_t s = 0; s < row->n_sessions; s++)
        SP_GOTO(done, status, sp_session_create(&b->sessions[s], b->model, &options, err));
    SP_GOTO(done, status, measure(b, err));
    status = report_row(b, err);
done:
    for (int64_t s = 0; s < row->n_sessions; s++) {
        sp_session_destroy(b->sessions[s]);
        b->sessions[s] = NULL;
    }
    sp_free(b->tokens);
    b->tokens = NULL;
    return status;
}

static sp_status report_replies(bench *b, const sp_bench_replies_args *args, const sp_bench_replies *result,
                                sp_error *err)
{
    sp_buf line = {NULL, 0, 0};
    if (!b->args->json) {
        if (b->n_rows == 0) print_model(b);
        sp_bench_replies_print(result, args, b->row.threads);
        return SP_OK;
    }
    sp_status status = put_json_head(b, &line, err);
    if (status == SP_OK) status = sp_bench_replies_put(&line, result, args, b->row.threads, err);
    if (status == SP_OK) status = sp_buf_puts(&line, "}", err);
    if (status == SP_OK) fwrite(line.data, 1, line.len, stdout);
    sp_buf_clear(&line);
    return status;
}

/* The row of --replies for one number of threads. */
static sp_status run_replies(bench *b, sp_error *err)
{
    sp_session_args session_args = {
        .n_threads = b->row.threads, .n_batch = b->args->n_batch, .cache_type = b->args->cache_type};
    sp_bench_replies_args args = b->args->replies;
    sp_bench_replies result;
    sp_session_options options;
    sp_cli_session_options(&options, &session_args);
    args.repeats = b->args->repeats;
    args.no_warmup = b->args->no_warmup;
    args.n_tokens = b->args->gen.n ? b->args->gen.items[0] : REPLY_TOKENS;
    sp_status status = sp_bench_replies_run(&result, b->model, &options, &args, err);
    if (status == SP_OK) status = report_replies(b, &args, &result, err);
    sp_bench_replies_clear(&result);
    b->n_rows++;
    return status;
}

static void read_cpu_name(char *out, size_t cap)
{
    snprintf(out, cap, "unknown processor");
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (!file) return;
    char line[256];
    while (fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(out, cap, "%.90s", colon[1] ? colon + 2 : "");
        break;
    }
    fclose(file);
}

static int64_t largest(const int64_t *items, size_t n)
{
    int64_t most = items[0];
    for (size_t i = 1; i < n; i++)
        if (items[i] > most) most = items[i];
    return most;
}

static sp_status begin_experts(bench *b, int64_t n_ctx, int64_t n_sessions, sp_error *err)
{
    sp_session_args args = b->args->session;
    sp_session_options options;
    args.cache_type = b->args->cache_type;
    sp_cli_session_options(&options, &args);
    options.n_ctx = (int32_t)n_ctx;
    options.n_batch = (int32_t)b->args->n_batch;
    return sp_cli_begin_experts(b->model, &args, &options, (int32_t)n_sessions, err);
}

static sp_status run_all(bench *b, sp_error *err)
{
    static const int64_t prompt_default[] = {512}, gen_default[] = {64}, depth_default[] = {0},
                         threads_default[] = {0}, sessions_default[] = {1};
    const bench_args *args = b->args;
#define LIST_OR_DEFAULT(name)                                                                                \
    const int64_t *name = args->name.n ? args->name.items : name##_default;                                  \
    size_t n_##name = args->name.n ? args->name.n : 1
    LIST_OR_DEFAULT(prompt);
    LIST_OR_DEFAULT(gen);
    LIST_OR_DEFAULT(depth);
    LIST_OR_DEFAULT(threads);
    LIST_OR_DEFAULT(sessions);
#undef LIST_OR_DEFAULT
    SP_TRY(begin_experts(b, largest(prompt, n_prompt) + largest(gen, n_gen) + largest(depth, n_depth) + 1,
                         largest(sessions, n_sessions), err));
    for (size_t t = 0; t < n_threads; t++) {
        b->row.threads = threads[t] ? threads[t] : sp_cpu_count();
        if (args->machine) SP_TRY(sp_machine_measure(&b->machine, (int)b->row.threads, err));
        if (args->replies.path) {
            SP_TRY(run_replies(b, err));
            continue;
        }
        for (size_t d = 0; d < n_depth; d++) {
            b->row.depth = depth[d];
            for (size_t i = 0; i < n_prompt; i++) SP_TRY(run_row(b, prompt[i], 0, err));
            for (size_t i = 0; i < n_gen * n_sessions; i++) {
                b->row.n_sessions = sessions[i % n_sessions];
                SP_TRY(run_row(b, 0, gen[i / n_sessions], err));
            }
        }
    }
    return SP_OK;
}

static int run_bench(const void *options, char *const *operands, int n_operands)
{
    sp_error err = SP_ERROR_NONE;
    sp_model *model = NULL;
    const bench_args *args = options;
    if (args->disk && !args->machine) return sp_cli_usage(&sp_command_bench, "--disk needs --machine");
    if (args->replay) return sp_bench_replay(args->replay, args->json);
    if (n_operands == 0 && args->machine) {
        sp_cli_place_memory(args->session.numa);
        return sp_bench_machine(&args->threads, args->disk, args->json);
    }
    if (n_operands == 0) return sp_cli_usage(&sp_command_bench, "MODEL is missing");
    bench *b = sp_calloc(1, sizeof *b);
    if (!b) return sp_cli_say("out of memory");
    if (!sp_cli_open_model(&model, operands[0], &args->session)) {
        sp_free(b);
        return SP_EXIT_FAILED;
    }
    b->args = args;
    b->model = model;
    b->path = operands[0];
    sp_model_get_info(model, &b->info);
    sp_cost_of_model(&b->cost, model);
    read_cpu_name(b->cpu, sizeof b->cpu);
    sp_status status = run_all(b, &err);
    if (b->args->json) puts(b->n_rows ? "]" : "[]");
    if (status != SP_OK) sp_cli_fail(&err, NULL);
    int code = sp_cli_end_experts(model, &args->session, status == SP_OK ? SP_EXIT_GOOD : SP_EXIT_FAILED);
    sp_model_close(model);
    sp_free(b);
    return code;
}

const sp_command sp_command_bench = {
    "bench",
    "[MODEL]",
    "tokens per second of prompts and of decoding",
    "Every combination of the lists is one row: median and range over the repeats. With --json a list of\n"
    "{\"n_prompt\", \"n_gen\", \"depth\", \"n_sessions\", \"threads\", \"tokens_per_s\", \"spread\", "
    "\"samples\", ...};\n"
    "n_prompt is 0 for decoding, n_gen is 0 for prompts, spread is the largest minus the smallest sample.\n"
    "bytes_per_token are the bytes of weights and cache that a token has to read, int8_ops_per_token two "
    "for\n"
    "each multiplication with a weight. With --machine the shares of the measured ceilings follow; without "
    "a\n"
    "MODEL the ceilings themselves are the rows: {\"what\", \"how\", \"threads\", \"per_s\"}.\n"
    "With --replies the rows are whole replies, at most -n tokens each (512), each made with and without "
    "guesses\n"
    "ahead, in turns; it fails if they differ.",
    bench_table,
    sizeof bench_table / sizeof bench_table[0],
    &bench_defaults,
    sizeof bench_defaults,
    0,
    1,
    run_bench,
};
