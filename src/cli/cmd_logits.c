/* SPDX-License-Identifier: MIT */
/* `sputnik logits`: the raw logits of a token list, float32 little-endian, (n_tokens, vocab_size). */
#include "cli/cli.h"

#include <string.h>
#include <unistd.h>

#include "cli/experts.h"
#include "cli/term.h"

typedef struct logits_args {
    sp_session_args session;
    sp_int_list tokens;
    const char *tokens_file;
    int last, json;
} logits_args;

static const logits_args logits_defaults = {SP_SESSION_ARGS_DEFAULTS, {NULL, 0}, NULL, 0, 0};

static const sp_arg logits_table[] = {
    SP_INTS_ROW(logits_args, tokens, "tokens", 0, 0, INT32_MAX, "the token ids"),
    SP_STRING_ROW(logits_args, tokens_file, "tokens-file", 0, "FILE",
                  "read the ids from a file (-: standard input)"),
    SP_FLAG_ROW(logits_args, last, "last", 0, "only the logits after the last token"),
    SP_SESSION_ROWS(logits_args, session),
    SP_JSON_ROW(logits_args, json),
};

typedef struct logits_out {
    int32_t vocab_size;
    bool json;
    size_t n_written;
    sp_buf line;
} logits_out;

static int write_row(void *ctx, size_t position, const float *logits)
{
    logits_out *out = ctx;
    (void)position;
    if (!out->json) {
        /* Every supported host is little-endian, so the bytes are those of memory. */
        size_t n = fwrite(logits, sizeof *logits, (size_t)out->vocab_size, stdout);
        out->n_written++;
        return n != (size_t)out->vocab_size;
    }
    out->line.len = 0;
    sp_status status = sp_buf_puts(&out->line, out->n_written++ ? ",\n[" : "[", NULL);
    for (int32_t i = 0; status == SP_OK && i < out->vocab_size; i++) {
        if (i > 0) status = sp_buf_puts(&out->line, ",", NULL);
        if (status == SP_OK) status = sp_cli_put_number(&out->line, (double)logits[i], NULL);
    }
    if (status == SP_OK) status = sp_buf_puts(&out->line, "]", NULL);
    if (status == SP_OK) fwrite(out->line.data, 1, out->line.len, stdout);
    return status != SP_OK;
}

static sp_status collect_tokens(const logits_args *args, sp_tokens *tokens, sp_error *err)
{
    if (!args->tokens_file) {
        for (size_t i = 0; i < args->tokens.n; i++)
            SP_TRY(sp_tokens_push(tokens, (int32_t)args->tokens.items[i], err));
        return SP_OK;
    }
    sp_buf text = {NULL, 0, 0};
    sp_status status = sp_cli_read(&text, args->tokens_file, err);
    if (status == SP_OK) status = sp_cli_parse_ids(tokens, text.data, text.len, err);
    sp_buf_clear(&text);
    return status;
}

static sp_status write_logits(sp_session *session, const logits_args *args, const sp_tokens *tokens,
                              sp_error *err)
{
    sp_model_info info;
    sp_model_get_info(sp_session_model(session), &info);
    logits_out out = {info.vocab_size, args->json != 0, 0, {NULL, 0, 0}};
    size_t first = args->last ? tokens->n - 1 : 0;
    if (args->json)
        printf("{\"n_tokens\":%zu,\"first\":%zu,\"vocab_size\":%d,\"logits\":[\n", tokens->n, first,
               (int)info.vocab_size);
    sp_status status = sp_session_score(session, tokens->ids, tokens->n, first, write_row, &out, err);
    if (status == SP_OK && args->json) fputs("\n]}\n", stdout);
    sp_buf_clear(&out.line);
    return status;
}

static int run_logits(const void *options, char *const *operands, int n_operands)
{
    const logits_args *args = options;
    sp_error err = SP_ERROR_NONE;
    sp_model *model = NULL;
    sp_session *session = NULL;
    sp_tokens tokens = {NULL, 0, 0};
    sp_session_options session_options;
    sp_status status;
    (void)n_operands;
    if ((args->tokens.n > 0) == (args->tokens_file != NULL))
        return sp_cli_usage(&sp_command_logits, "expected one of --tokens and --tokens-file");
    if (!args->json && sp_term_is_tty(STDOUT_FILENO))
        return sp_cli_usage(
            &sp_command_logits,
            "standard output is a terminal, the logits are bytes: redirect them or use --json");
    if (!sp_cli_open_model(&model, operands[0], &args->session)) return SP_EXIT_FAILED;
    SP_GOTO(done, status, collect_tokens(args, &tokens, &err));
    if (tokens.n == 0) {
        status = sp_fail(&err, SP_E_ARGUMENT, "token ids: found none, expected at least one");
        goto done;
    }
    sp_cli_session_options(&session_options, &args->session);
    if (session_options.n_ctx == 0) session_options.n_ctx = (int32_t)tokens.n;
    SP_GOTO(done, status, sp_cli_begin_experts(model, &args->session, &session_options, 1, &err));
    SP_GOTO(done, status, sp_session_create(&session, model, &session_options, &err));
    status = write_logits(session, args, &tokens, &err);
done:
    if (status != SP_OK && sp_cli_flush() == SP_EXIT_GOOD) sp_cli_fail(&err, NULL);
    sp_session_destroy(session);
    sp_tokens_clear(&tokens);
    int code = sp_cli_end_experts(model, &args->session, status == SP_OK ? SP_EXIT_GOOD : SP_EXIT_FAILED);
    sp_model_close(model);
    return code;
}

const sp_command sp_command_logits = {
    "logits",
    "MODEL",
    "raw logits of a token list, float32, on standard output",
    "Writes little-endian float32 values of shape (n_tokens, vocab_size), row by row.",
    logits_table,
    sizeof logits_table / sizeof logits_table[0],
    &logits_defaults,
    sizeof logits_defaults,
    1,
    1,
    run_logits,
};
