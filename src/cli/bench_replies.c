/* SPDX-License-Identifier: MIT */
/* Every repeat makes all replies twice, without and with guesses ahead, each on its own session, and compares them
 * token by token. Start at sp_bench_replies_run(). */
#include "cli/bench_replies.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "cli/run_json.h"

#define MAX_MESSAGES 100000

typedef struct replies {
    const sp_model *model;
    const sp_bench_replies_args *args;
    sp_buf text;
    const char **messages; /* (n) into text */
    size_t n;
    uint64_t *hashes; /* (n) of the plain replies' tokens */
    sp_session *sessions[2];
} replies;

/* What one turn over all messages took. */
typedef struct turn {
    double seconds;
    size_t n_tokens; /* timed ones */
    sp_draft_stats drafts;
} turn;

static sp_status read_messages(replies *r, sp_error *err)
{
    SP_TRY(sp_cli_read(&r->text, r->args->path, err));
    size_t n_lines = 1;
    for (size_t i = 0; i < r->text.len; i++) n_lines += r->text.data[i] == '\n';
    if (n_lines > MAX_MESSAGES) return sp_fail(err, SP_E_LIMIT, "\"%s\": too many lines", r->args->path);
    r->messages = sp_calloc(n_lines, sizeof *r->messages);
    r->hashes = sp_calloc(n_lines, sizeof *r->hashes);
    if (!r->messages || !r->hashes) return sp_fail_nomem(err, "messages", n_lines * 16);
    for (char *line = r->text.data; line && *line;) {
        size_t len = strcspn(line, "\n");
        char *next = line[len] ? line + len + 1 : line + len;
        line[len] = '\0';
        if (len > 0) r->messages[r->n++] = line;
        line = next;
    }
    if (r->n == 0) return sp_fail(err, SP_E_FORMAT, "\"%s\": no message, expected one a line", r->args->path);
    return SP_OK;
}

static void add_drafts(sp_draft_stats *sum, const sp_generator *generator)
{
    sp_draft_stats d;
    sp_generator_drafts(generator, &d);
    sum->n_tokens += d.n_tokens;
    sum->n_passes += d.n_passes;
    sum->n_mtp_drafted += d.n_mtp_drafted;
    sum->n_mtp_accepted += d.n_mtp_accepted;
    sum->n_lookup_drafted += d.n_lookup_drafted;
    sum->n_lookup_accepted += d.n_lookup_accepted;
}

static sp_status finish_reply(sp_generator *generator, turn *t, uint64_t *hash, sp_error *err)
{
    sp_step step;
    size_t n;
    SP_TRY(sp_generator_next(generator, &step, NULL, NULL, err));
    double start = sp_seconds();
    while (step.finish == SP_FINISH_NONE) SP_TRY(sp_generator_next(generator, &step, NULL, NULL, err));
    t->seconds += sp_seconds() - start;
    const int32_t *ids = sp_generator_tokens(generator, &n);
    t->n_tokens += n > 0 ? n - 1 : 0;
    *hash = sp_hash(SP_HASH_SEED, ids, n * sizeof *ids);
    add_drafts(&t->drafts, generator);
    return SP_OK;
}

static sp_status make_reply(const replies *r, size_t i, sp_session *session, sp_speculate speculate, turn *t,
                            uint64_t *hash, sp_error *err)
{
    sp_generate_options options = SP_GENERATE_OPTIONS_DEFAULTS;
    sp_message message = {.role = SP_ROLE_USER, .content = r->messages[i]};
    sp_tokens prompt = {NULL, 0, 0};
    sp_generator *generator = NULL;
    sp_status status;
    options.format = sp_model_chat_format(r->model);
    options.sampler.temperature = (float)r->args->temperature;
    options.sampler.seed = i;
    options.max_tokens = r->args->n_tokens;
    options.speculate = speculate;
    options.n_draft = (int32_t)r->args->n_draft;
    SP_GOTO(done, status,
            sp_chat_render(options.format, sp_model_tokenizer(r->model), &prompt, &message, 1, &options.chat,
                           err));
    SP_GOTO(done, status, sp_generator_create(&generator, session, prompt.ids, prompt.n, &options, err));
    status = finish_reply(generator, t, hash, err);
done:
    sp_generator_destroy(generator);
    sp_tokens_clear(&prompt);
    return status;
}

/* All replies, plain ones or drafted ones; the latter must be the former. */
static sp_status take_turn(const replies *r, int drafted, turn *t, sp_error *err)
{
    sp_speculate speculate = drafted ? sp_cli_speculate(r->args->speculate) : SP_SPECULATE_OFF;
    memset(t, 0, sizeof *t);
    for (size_t i = 0; i < r->n; i++) {
        uint64_t hash;
        SP_TRY(make_reply(r, i, r->sessions[drafted], speculate, t, &hash, err));
        if (!drafted) r->hashes[i] = hash;
        if (hash != r->hashes[i])
            return sp_fail(err, SP_E_FORMAT, "message %zu: guessing ahead has changed the reply", i + 1);
    }
    return SP_OK;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static sp_status measure(replies *r, sp_bench_replies *result, sp_error *err)
{
    int64_t n_runs = r->args->repeats + (r->args->no_warmup ? 0 : 1), n_samples = 0;
    for (int64_t run = 0; run < n_runs; run++) {
        turn turns[2];
        for (int drafted = 0; drafted < 2; drafted++) SP_TRY(take_turn(r, drafted, &turns[drafted], err));
        if (run == 0 && n_runs > r->args->repeats) continue;
        result->plain[n_samples] = (double)turns[0].n_tokens / turns[0].seconds;
        result->drafted[n_samples++] = (double)turns[1].n_tokens / turns[1].seconds;
        result->n_tokens = turns[0].n_tokens;
        result->drafts = turns[1].drafts;
    }
    qsort(result->plain, (size_t)n_samples, sizeof *result->plain, compare_doubles);
    qsort(result->drafted, (size_t)n_samples, sizeof *result->drafted, compare_doubles);
    return SP_OK;
}

sp_status sp_bench_replies_run(sp_bench_replies *result, const sp_model *model,
                               const sp_session_options *options, const sp_bench_replies_args *args,
                               sp_error *err)
{
    replies r = {.model = model, .args = args};
    sp_status status;
    memset(result, 0, sizeof *result);
    result->plain = sp_calloc((size_t)args->repeats, sizeof *result->plain);
    result->drafted = sp_calloc((size_t)args->repeats, sizeof *result->drafted);
    if (!result->plain || !result->drafted) return sp_fail_nomem(err, "samples", 0);
    if (!sp_model_tokenizer(model) || sp_model_chat_format(model) == SP_CHAT_NONE)
        return sp_fail(err, SP_E_UNSUPPORTED, "--replies wants a model with a conversation format");
    SP_GOTO(done, status, read_messages(&r, err));
    for (int i = 0; i < 2; i++) SP_GOTO(done, status, sp_session_create(&r.sessions[i], model, options, err));
    status = measure(&r, result, err);
    result->n_replies = r.n;
done:
    for (int i = 0; i < 2; i++) sp_session_destroy(r.sessions[i]);
    sp_free(r.messages);
    sp_free(r.hashes);
    sp_buf_clear(&r.text);
    return status;
}

void sp_bench_replies_clear(sp_bench_replies *result)
{
    sp_free(result->plain);
    sp_free(result->drafted);
    result->plain = result->drafted = NULL;
}

/* --- the row -------------------------------------------------------------------------------------------- */

static double median(const double *sorted, int64_t n)
{
    return n % 2 ? sorted[n / 2] : 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]);
}

void sp_bench_replies_print(const sp_bench_replies *result, const sp_bench_replies_args *args,
                            int64_t n_threads)
{
    int64_t n = args->repeats;
    const sp_draft_stats *d = &result->drafts;
    double plain = median(result->plain, n), drafted = median(result->drafted, n);
    printf("%zu replies of %zu tokens, %lld threads: without guesses %.2f tokens per second (%.2f to %.2f)\n"
           "with guesses (%s) %.2f (%.2f to %.2f), %.3f times; the same tokens\n",
           result->n_replies, result->n_tokens, (long long)n_threads, plain, result->plain[0],
           result->plain[n - 1], args->speculate, drafted, result->drafted[0], result->drafted[n - 1],
           drafted / plain);
    printf("right: %zu of %zu guesses of the prediction layer, %zu of %zu of lookup; %.3f tokens a pass\n",
           d->n_mtp_accepted, d->n_mtp_drafted, d->n_lookup_accepted, d->n_lookup_drafted,
           d->n_passes ? (double)d->n_tokens / (double)d->n_passes : 1.0);
}

static sp_status put_samples(sp_buf *out, const char *name, const double *samples, int64_t n, sp_error *err)
{
    SP_TRY(sp_buf_printf(out, err, ",\"%s\":[", name));
    for (int64_t i = 0; i < n; i++) SP_TRY(sp_buf_printf(out, err, "%s%.6g", i ? "," : "", samples[i]));
    return sp_buf_puts(out, "]", err);
}

sp_status sp_bench_replies_put(sp_buf *out, const sp_bench_replies *result, const sp_bench_replies_args *args,
                               int64_t n_threads, sp_error *err)
{
    int64_t n = args->repeats;
    SP_TRY(sp_buf_printf(
        out, err,
        ",\"n_replies\":%zu,\"n_gen\":%zu,\"threads\":%lld,\"temperature\":%.6g,\"speculate\":\"%s\","
        "\"tokens_per_s\":%.6g,\"plain_tokens_per_s\":%.6g,\"equal\":true",
        result->n_replies, result->n_tokens, (long long)n_threads, args->temperature, args->speculate,
        median(result->drafted, n), median(result->plain, n)));
    SP_TRY(put_samples(out, "samples", result->drafted, n, err));
    SP_TRY(put_samples(out, "plain_samples", result->plain, n, err));
    SP_TRY(sp_buf_puts(out, ",\"drafts\":", err));
    return sp_run_put_drafts(out, &result->drafts, err);
}
