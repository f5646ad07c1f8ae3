/* SPDX-License-Identifier: MIT */
/* POST /tokenize and /detokenize. Special tokens are read out of text only where the request says so. */
#include "server/api_parts.h"

#include <string.h>

static sp_status put_tokens(const sp_server *server, const sp_tokenize_request *request,
                            const sp_tokens *tokens, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, "{\"tokens\":[", err));
    for (size_t i = 0; i < tokens->n; i++) {
        size_t len = 0;
        if (i) SP_TRY(sp_buf_puts(out, ",", err));
        if (!request->with_pieces) {
            SP_TRY(sp_buf_printf(out, err, "%d", (int)tokens->ids[i]));
            continue;
        }
        const char *piece = sp_tokenizer_piece(server->tokenizer, tokens->ids[i], &len);
        SP_TRY(sp_buf_printf(out, err, "{\"id\":%d,\"piece\":", (int)tokens->ids[i]));
        SP_TRY(sp_json_put_string(out, piece ? piece : "", len, err));
        SP_TRY(sp_buf_puts(out, "}", err));
    }
    return sp_buf_printf(out, err, "],\"count\":%zu}", tokens->n);
}

static void tokenize(sp_server *server, sp_exchange *x, const sp_tokenize_request *request)
{
    sp_tokens tokens = {NULL, 0, 0};
    sp_buf body = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    unsigned flags = request->parse_special ? SP_ENCODE_SPECIAL : 0;
    if (request->add_special && sp_tokenizer_adds_bos(server->tokenizer)) flags |= SP_ENCODE_BOS;
    sp_status status = sp_tokenizer_encode(server->tokenizer, &tokens, request->content,
                                           strlen(request->content), flags, &err);
    if (status == SP_OK) status = put_tokens(server, request, &tokens, &body, &err);
    sp_api_reply_json(x, &body, status);
    sp_buf_clear(&body);
    sp_tokens_clear(&tokens);
}

static void detokenize(sp_server *server, sp_exchange *x, const sp_tokenize_request *request)
{
    sp_text text = {NULL, 0, 0};
    sp_buf body = {NULL, 0, 0};
    sp_fault fault = {0};
    sp_error err = SP_ERROR_NONE;
    sp_status status =
        sp_tokenizer_decode(server->tokenizer, &text, request->tokens, request->n_tokens, 0, &err);
    if (status == SP_E_RANGE) {
        sp_api_fault_of(&fault, "tokens", &err);
        sp_api_fail(x, &sp_dialect_chat, &fault);
    } else {
        if (status == SP_OK) status = sp_buf_puts(&body, "{\"content\":", &err);
        if (status == SP_OK) status = sp_json_put_string(&body, text.data ? text.data : "", text.len, &err);
        if (status == SP_OK) status = sp_buf_puts(&body, "}", &err);
        sp_api_reply_json(x, &body, status);
    }
    sp_buf_clear(&body);
    sp_text_clear(&text);
}

typedef bool (*parse_fn)(sp_tokenize_request *request, const char *body, size_t len, sp_fault *fault);
typedef void (*answer_fn)(sp_server *server, sp_exchange *x, const sp_tokenize_request *request);

static void handle(sp_server *server, sp_exchange *x, parse_fn parse, answer_fn answer)
{
    sp_key_info key = {0};
    sp_tokenize_request request;
    sp_fault fault = {0};
    size_t len = 0;
    if (!sp_api_admit(server, x, &key)) return;
    const char *body = sp_exchange_body(x, &len);
    bool good = parse(&request, body, len, &fault);
    if (good && !server->tokenizer)
        good = sp_fault_set(&fault, 400, "model", "unsupported_value", "the model has no vocabulary");
    if (good)
        answer(server, x, &request);
    else
        sp_api_fail(x, &sp_dialect_chat, &fault);
    sp_tokenize_request_clear(&request);
}

void sp_handle_tokenize(sp_server *server, sp_exchange *x)
{
    handle(server, x, sp_tokenize_request_parse, tokenize);
}

void sp_handle_detokenize(sp_server *server, sp_exchange *x)
{
    handle(server, x, sp_detokenize_request_parse, detokenize);
}
