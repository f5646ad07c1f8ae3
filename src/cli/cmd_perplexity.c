/* SPDX-License-Identifier: MIT */
/* `sputnik perplexity`: how well a model predicts a text, and how far a second model's predictions are from
 * it.
 *
 * The convention is the field's: the text's tokens are cut into windows of n_ctx tokens, each evaluated on
 * its own (its first token replaced by begin-of-sentence where the model has one), and only the second half
 * of each window is scored, so that every scored token has at least n_ctx / 2 tokens before it. With --stride
 * n_ctx / 2 every token after the first half window is scored once. */
#include "cli/cli.h"

#include <string.h>

#include "cli/experts.h"
#include "cli/progress.h"
#include "cli/score.h"

typedef struct perplexity_args {
    sp_session_args session;
    int64_t stride, max_windows;
    const char *reference;
    int ids, json;
} perplexity_args;

static const perplexity_args perplexity_defaults = {
    {0, 512, 0, "f32", NULL, "auto", NULL, 0, "auto", 0}, 0, 0, NULL, 0, 0};

static const sp_arg perplexity_table[] = {
    SP_STRING_ROW(perplexity_args, reference, "kl-reference", 0, "MODEL2",
                  "also compare with this model's predictions"),
    SP_INT_ROW(perplexity_args, stride, "stride", 0, 0, 16777216,
               "tokens from window to window (0: the window's length)"),
    SP_INT_ROW(perplexity_args, max_windows, "windows", 0, 0, 16777216, "at most this many windows (0: all)"),
    SP_FLAG_ROW(perplexity_args, ids, "ids", 0, "FILE holds token ids, not text"),
    SP_THREADS_ROW(perplexity_args, session.n_threads),
    SP_INT_ROW(perplexity_args, session.n_ctx, "context", 'c', 4, 16777216,
               "tokens of a window (default 512)"),
    SP_BATCH_ROW(perplexity_args, session.n_batch),
    SP_CACHE_ROW(perplexity_args, session.cache_type),
    SP_EXPERT_ROWS(perplexity_args, session),
    SP_MEMORY_ROWS(perplexity_args, session),
    SP_JSON_ROW(perplexity_args, json),
};

typedef struct perplexity {
    const perplexity_args *args;
    sp_model *model, *reference;
    sp_session *session, *reference_session;
    sp_tokens tokens;
    int32_t *window; /* (n_window) */
    int32_t bos;     /* -1: windows begin as the text does */
    size_t n_window, n_windows, stride;
    sp_scores scores;
} perplexity;

static sp_status read_tokens(perplexity *p, const char *path, sp_error *err)
{
    sp_buf text = {NULL, 0, 0};
    const sp_tokenizer *tokenizer = sp_model_tokenizer(p->model);
    if (!p->args->ids && !tokenizer)
        return sp_fail(err, SP_E_UNSUPPORTED,
                       "the model's files hold no vocabulary: give token ids with --ids");
    p->bos = tokenizer && sp_tokenizer_adds_bos(tokenizer) ? sp_tokenizer_bos(tokenizer) : -1;
    sp_status status = sp_cli_read(&text, path, err);
    if (status == SP_OK && p->args->ids)
        status = sp_cli_parse_ids(&p->tokens, text.data, text.len, err);
    else if (status == SP_OK)
        status = sp_tokenizer_encode(tokenizer, &p->tokens, text.data ? text.data : "", text.len,
                                     p->bos >= 0 ? SP_ENCODE_BOS : 0u, err);
    sp_buf_clear(&text);
    return status;
}

static sp_status plan_windows(perplexity *p, sp_error *err)
{
    size_t n = p->tokens.n;
    if (n < 4) return sp_fail(err, SP_E_ARGUMENT, "the text has %zu tokens, expected at least 4", n);
    p->n_window = n < (size_t)p->args->session.n_ctx ? n : (size_t)p->args->session.n_ctx;
    p->stride = p->args->stride ? (size_t)p->args->stride : p->n_window;
    p->n_windows = (n - p->n_window) / p->stride + 1;
    if (p->args->max_windows && (size_t)p->args->max_windows < p->n_windows)
        p->n_windows = (size_t)p->args->max_windows;
    p->window = sp_malloc_array(p->n_window, sizeof *p->window);
    return p->window ? SP_OK : sp_fail_nomem(err, "window", p->n_window * sizeof *p->window);
}

static sp_status open_sessions(perplexity *p, sp_error *err)
{
    sp_session_options options;
    sp_model_info info, other;
    sp_cli_session_options(&options, &p->args->session);
    options.n_ctx = (int32_t)p->n_window;
    SP_TRY(sp_cli_begin_experts(p->model, &p->args->session, &options, 1, err));
    SP_TRY(sp_session_create(&p->session, p->model, &options, err));
    sp_model_get_info(p->model, &info);
    if (p->reference) {
        sp_model_get_info(p->reference, &other);
        if (other.vocab_size != info.vocab_size)
            return sp_fail(err, SP_E_ARGUMENT,
                           "the reference's vocabulary has %d tokens, the model's %d: expected equal ones",
                           (int)other.vocab_size, (int)info.vocab_size);
        SP_TRY(sp_session_create(&p->reference_session, p->reference, &options, err));
    }
    return sp_scores_init(&p->scores, info.vocab_size, p->reference != NULL, err);
}

static sp_status score_windows(perplexity *p, sp_error *err)
{
    sp_progress progress;
    sp_status status = SP_OK;
    size_t first = p->n_window / 2;
    sp_progress_start(&progress, "perplexity", SP_PROGRESS_ITEMS, 0);
    for (size_t w = 0; status == SP_OK && w < p->n_windows; w++) {
        sp_progress_set(&progress, w, p->n_windows);
        memcpy(p->window, p->tokens.ids + w * p->stride, p->n_window * sizeof *p->window);
        if (p->bos >= 0) p->window[0] = p->bos;
        status =
            sp_scores_add(&p->scores, p->session, p->reference_session, p->window, p->n_window, first, err);
    }
    sp_progress_finish(&progress);
    return status;
}

static sp_status report(perplexity *p, sp_error *err)
{
    sp_score_summary s;
    SP_TRY(sp_scores_summarise(&p->scores, &s, err));
    if (p->args->json) {
        printf("{\"n_tokens\":%zu,\"n_windows\":%zu,\"n_ctx\":%zu,\"stride\":%zu,\"n_scored\":%zu,\"nll\":%."
               "9g,\"nll_error\":%.9g,"
               "\"perplexity\":%.9g,\"perplexity_error\":%.9g",
               p->tokens.n, p->n_windows, p->n_window, p->stride, s.n, s.nll, s.nll_error, s.perplexity,
               s.perplexity_error);
        if (p->reference)
            printf(",\n "
                   "\"reference_perplexity\":%.9g,\"kl_mean\":%.9g,\"kl_error\":%.9g,\"kl_max\":%.9g,\"kl_"
                   "percentiles\":{"
                   "\"50\":%.9g,\"90\":%.9g,\"95\":%.9g,\"99\":%.9g},\"top1_agreement\":%.9g",
                   s.reference_perplexity, s.kl_mean, s.kl_error, s.kl_max, s.kl_p50, s.kl_p90, s.kl_p95,
                   s.kl_p99, s.top1);
        puts("}");
        return SP_OK;
    }
    printf("tokens       %zu in %zu windows of %zu, %zu scored\n", p->tokens.n, p->n_windows, p->n_window,
           s.n);
    printf("nll          %.6f +- %.6f nats per token\n", s.nll, s.nll_error);
    printf("perplexity   %.4f +- %.4f\n", s.perplexity, s.perplexity_error);
    if (!p->reference) return SP_OK;
    printf("reference    %.4f\n", s.reference_perplexity);
    printf("KL           mean %.3e +- %.1e, max %.3e\n", s.kl_mean, s.kl_error, s.kl_max);
    printf("             median %.3e, 90 %% %.3e, 95 %% %.3e, 99 %% %.3e\n", s.kl_p50, s.kl_p90, s.kl_p95,
           s.kl_p99);
    printf("same top     %.3f %%\n", 100 * s.top1);
    return SP_OK;
}

static int run_perplexity(const void *options, char *const *operands, int n_operands)
{
    sp_error err = SP_ERROR_NONE;
    perplexity p;
    memset(&p, 0, sizeof p);
    p.args = options;
    (void)n_operands;
    if (!sp_cli_open_model(&p.model, operands[0], &p.args->session)) return SP_EXIT_FAILED;
    if (p.args->reference && !sp_cli_open_model(&p.reference, p.args->reference, &p.args->session)) {
        sp_model_close(p.model);
        return SP_EXIT_FAILED;
    }
    sp_status status;
    SP_GOTO(done, status, read_tokens(&p, operands[1], &err));
    SP_GOTO(done, status, plan_windows(&p, &err));
    SP_GOTO(done, status, open_sessions(&p, &err));
    SP_GOTO(done, status, score_windows(&p, &err));
    status = report(&p, &err);
done:
    if (status != SP_OK) sp_cli_fail(&err, NULL);
    sp_scores_clear(&p.scores);
    sp_free(p.window);
    sp_tokens_clear(&p.tokens);
    sp_session_destroy(p.reference_session);
    sp_session_destroy(p.session);
    int code = sp_cli_end_experts(p.model, &p.args->session, status == SP_OK ? SP_EXIT_GOOD : SP_EXIT_FAILED);
    sp_model_close(p.reference);
    sp_model_close(p.model);
    return code;
}

const sp_command sp_command_perplexity = {
    "perplexity",
    "MODEL FILE",
    "how well a model predicts a text; distance between two models",
    "The text is cut into windows; the second half of each is scored. FILE \"-\" is standard input.\n"
    "With --kl-reference, the Kullback-Leibler divergence is that of MODEL from MODEL2, KL(MODEL2 || MODEL).",
    perplexity_table,
    sizeof perplexity_table / sizeof perplexity_table[0],
    &perplexity_defaults,
    sizeof perplexity_defaults,
    2,
    2,
    run_perplexity,
};
