/* SPDX-License-Identifier: MIT */
/* `sputnik tokenize`: text to ids and back. All of standard input is one text. */
#include "cli/cli.h"

#include <string.h>

#include "base/json.h"

typedef struct tokenize_args {
    int bos, special, decode, skip_special, json;
} tokenize_args;

static const tokenize_args tokenize_defaults;

static const sp_arg tokenize_table[] = {
    SP_FLAG_ROW(tokenize_args, bos, "bos", 0, "begin-of-sentence first"),
    SP_FLAG_ROW(tokenize_args, special, "special", 0, "special tokens in the text become their ids"),
    SP_FLAG_ROW(tokenize_args, decode, "decode", 0, "read ids, write their text"),
    SP_FLAG_ROW(tokenize_args, skip_special, "skip-special", 0, "with --decode: leave special tokens out"),
    SP_JSON_ROW(tokenize_args, json),
};

static sp_status put_encoded(const sp_tokenizer *tokenizer, const sp_tokens *tokens, sp_buf *out, bool json,
                             sp_error *err)
{
    if (json) SP_TRY(sp_buf_printf(out, err, "{\"n_tokens\":%zu,\"ids\":[", tokens->n));
    for (size_t i = 0; i < tokens->n; i++)
        SP_TRY(sp_buf_printf(out, err, "%s%d", i == 0 ? "" : json ? "," : " ", (int)tokens->ids[i]));
    if (!json) return sp_buf_puts(out, "\n", err);
    SP_TRY(sp_buf_puts(out, "],\"pieces\":[", err));
    for (size_t i = 0; i < tokens->n; i++) {
        size_t len = 0;
        const char *piece = sp_tokenizer_piece(tokenizer, tokens->ids[i], &len);
        if (i > 0) SP_TRY(sp_buf_puts(out, ",", err));
        SP_TRY(sp_json_put_string(out, piece ? piece : "", len, err));
    }
    return sp_buf_puts(out, "]}\n", err);
}

static sp_status encode(const sp_tokenizer *tokenizer, const tokenize_args *args, const sp_buf *in,
                        sp_buf *out, sp_error *err)
{
    sp_tokens tokens = {NULL, 0, 0};
    unsigned flags = (args->bos ? SP_ENCODE_BOS : 0u) | (args->special ? SP_ENCODE_SPECIAL : 0u);
    sp_status status = sp_tokenizer_encode(tokenizer, &tokens, in->data ? in->data : "", in->len, flags, err);
    if (status == SP_OK) status = put_encoded(tokenizer, &tokens, out, args->json, err);
    sp_tokens_clear(&tokens);
    return status;
}

static sp_status decode(const sp_tokenizer *tokenizer, const tokenize_args *args, const sp_buf *in,
                        sp_buf *out, sp_error *err)
{
    sp_tokens tokens = {NULL, 0, 0};
    sp_text text = {NULL, 0, 0};
    sp_status status;
    SP_GOTO(done, status, sp_cli_parse_ids(&tokens, in->data, in->len, err));
    SP_GOTO(done, status,
            sp_tokenizer_decode(tokenizer, &text, tokens.ids, tokens.n,
                                args->skip_special ? SP_DECODE_SKIP_SPECIAL : 0, err));
    if (args->json) {
        SP_GOTO(done, status, sp_buf_printf(out, err, "{\"n_tokens\":%zu,\"text\":", tokens.n));
        SP_GOTO(done, status, sp_json_put_string(out, text.data ? text.data : "", text.len, err));
        SP_GOTO(done, status, sp_buf_puts(out, "}\n", err));
    } else {
        SP_GOTO(done, status, sp_buf_append(out, text.data ? text.data : "", text.len, err));
    }
done:
    sp_tokens_clear(&tokens);
    sp_text_clear(&text);
    return status;
}

static int run_tokenize(const void *options, char *const *operands, int n_operands)
{
    const tokenize_args *args = options;
    sp_error err = SP_ERROR_NONE;
    sp_tokenizer *tokenizer = NULL;
    sp_buf in = {NULL, 0, 0}, out = {NULL, 0, 0};
    int code = SP_EXIT_FAILED;
    (void)n_operands;
    if (args->decode && (args->bos || args->special))
        return sp_cli_usage(&sp_command_tokenize, "--decode goes with neither --bos nor --special");
    if (!sp_cli_open_tokenizer(&tokenizer, operands[0])) return SP_EXIT_FAILED;
    sp_status status = sp_cli_read(&in, "-", &err);
    if (status == SP_OK) status = (args->decode ? decode : encode)(tokenizer, args, &in, &out, &err);
    if (status == SP_OK) {
        fwrite(out.data ? out.data : "", 1, out.len, stdout);
        code = SP_EXIT_GOOD;
    } else {
        sp_cli_fail(&err, NULL);
    }
    sp_buf_clear(&in);
    sp_buf_clear(&out);
    sp_tokenizer_close(tokenizer);
    return code;
}

const sp_command sp_command_tokenize = {
    "tokenize",
    "MODEL",
    "text on standard input to token ids, and back",
    "All of standard input is one text. Its ids go to standard output on one line, separated by\n"
    "spaces, without begin-of-sentence unless --bos. MODEL may hold a vocabulary only.",
    tokenize_table,
    sizeof tokenize_table / sizeof tokenize_table[0],
    &tokenize_defaults,
    sizeof tokenize_defaults,
    1,
    1,
    run_tokenize,
};
