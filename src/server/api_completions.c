/* SPDX-License-Identifier: MIT */
/* POST /completions: text that goes on, or is filled in between a prompt and a suffix. Start at sp_handle_completions(). */
#include "server/api_parts.h"

#include <stdio.h>
#include <string.h>

/* --- writing -------------------------------------------------------------------------------------------- */

static sp_status put_choice(const sp_run *run, sp_choice *choice, const char *text, size_t len,
                            const char *reason, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, "{\"text\":", err));
    SP_TRY(sp_json_put_string(out, text, len, err));
    SP_TRY(sp_buf_printf(out, err, ",\"index\":%d,\"logprobs\":", choice->index));
    if (choice->n_samples || !reason || !run->stream)
        SP_TRY(sp_put_text_logprobs(run, choice, 0, choice->n_samples, out, err));
    else
        SP_TRY(sp_buf_puts(out, "null", err));
    SP_TRY(sp_buf_puts(out, ",\"finish_reason\":", err));
    SP_TRY(sp_put_text(out, reason, err));
    return sp_buf_puts(out, "}", err);
}

static sp_status put_chunk(sp_run *run, sp_choice *choice, const char *text, size_t len, const char *reason,
                           sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, "data: ", err));
    SP_TRY(sp_put_head(run, out, err));
    SP_TRY(put_choice(run, choice, text, len, reason, out, err));
    return sp_put_chunk_end(run, reason, out, err);
}

static sp_status begin_choice(sp_run *run, sp_choice *choice, sp_buf *out, sp_error *err)
{
    const char *echo = run->echo ? run->echo[choice->index] : NULL;
    return echo ? put_chunk(run, choice, echo, strlen(echo), NULL, out, err) : SP_OK;
}

static sp_status write_text(sp_run *run, sp_choice *choice, sp_reply_part part, const char *text, size_t len,
                            sp_buf *out, sp_error *err)
{
    (void)part;
    return put_chunk(run, choice, text, len, NULL, out, err);
}

static sp_status finish_choice(sp_run *run, sp_choice *choice, sp_buf *out, sp_error *err)
{
    return put_chunk(run, choice, "", 0, sp_choice_reason(run, choice), out, err);
}

static sp_status write_whole(sp_run *run, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_put_head(run, out, err));
    for (size_t i = 0; i < run->n_choices; i++) {
        sp_choice *choice = &run->choices[i];
        sp_buf text = {NULL, 0, 0};
        if (i) SP_TRY(sp_buf_puts(out, ",", err));
        sp_status status = sp_buf_puts(&text, run->echo ? run->echo[i] : "", err);
        if (status == SP_OK) status = sp_buf_append(&text, choice->content.data, choice->content.len, err);
        if (status == SP_OK)
            status = put_choice(run, choice, text.data, text.len, sp_choice_reason(run, choice), out, err);
        sp_buf_clear(&text);
        SP_TRY(status);
    }
    SP_TRY(sp_buf_puts(out, "],\"usage\":", err));
    SP_TRY(sp_put_usage(run, out, err));
    return sp_buf_puts(out, "}", err);
}

const sp_dialect sp_dialect_text = {
    .id_prefix = "cmpl-",
    .call_prefix = "call_",
    .object = "text_completion",
    .chunk_object = "text_completion",
    .begin = begin_choice,
    .text = write_text,
    .finish = finish_choice,
    .end = sp_put_stream_end,
    .idle = sp_put_keep_alive,
    .whole = write_whole,
    .fail = sp_put_fault,
};

/* --- prompts -------------------------------------------------------------------------------------------- */

static bool check_ids(const sp_server *server, const sp_prompt *prompt, sp_fault *fault)
{
    for (size_t k = 0; k < prompt->n_ids; k++)
        if (prompt->ids[k] >= sp_tokenizer_size(server->tokenizer))
            return sp_fault_set(fault, 400, "prompt", "invalid_value",
                                "'prompt' names the token %d, but ids end at %d", (int)prompt->ids[k],
                                (int)sp_tokenizer_size(server->tokenizer) - 1);
    return true;
}

static bool make_prompt(const sp_server *server, const sp_text_request *request, const sp_prompt *prompt,
                        sp_tokens *tokens, sp_fault *fault)
{
    sp_error err = SP_ERROR_NONE;
    sp_status status;
    tokens->n = 0;
    if (!server->tokenizer)
        return sp_fault_set(fault, 400, "model", "unsupported_value", "the model has no vocabulary");
    if (!check_ids(server, prompt, fault)) return false;
    if (request->suffix)
        status = sp_chat_render_fim(server->tokenizer, tokens, prompt->text, prompt->len, request->suffix,
                                    strlen(request->suffix), &err);
    else if (prompt->text)
        status = sp_tokenizer_encode(server->tokenizer, tokens, prompt->text, prompt->len,
                                     sp_tokenizer_adds_bos(server->tokenizer) ? SP_ENCODE_BOS : 0, &err);
    else
        status = sp_tokens_append(tokens, prompt->ids, prompt->n_ids, &err);
    if (status != SP_OK) return sp_api_fault_of(fault, request->suffix ? "suffix" : "prompt", &err);
    if (tokens->n == 0) return sp_fault_set(fault, 400, "prompt", "invalid_value", "'prompt' is empty");
    return sp_api_check_length(server, tokens->n, "prompt", fault);
}

/* What `echo` puts before the reply: the prompt as text. */
static bool make_echo(sp_run *run, size_t i, const sp_prompt *prompt, sp_fault *fault)
{
    sp_text text = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    if (!run->echo) run->echo = sp_calloc(run->n_choices, sizeof *run->echo);
    if (!run->echo) return sp_fault_nomem(fault);
    if (prompt->text) {
        run->echo[i] = sp_strndup(prompt->text, prompt->len);
    } else if (sp_tokenizer_decode(run->server->tokenizer, &text, prompt->ids, prompt->n_ids, 0, &err) ==
               SP_OK) {
        run->echo[i] = sp_strndup(text.data ? text.data : "", text.len);
    }
    sp_text_clear(&text);
    return run->echo[i] != NULL || sp_fault_nomem(fault);
}

/* --- the request ---------------------------------------------------------------------------------------- */

static bool submit_all(sp_run *run, const sp_text_request *request, sp_fault *fault)
{
    size_t n_each = run->n_choices / request->n_prompts;
    sp_tokens tokens = {NULL, 0, 0};
    sp_generate_options options;
    bool good = sp_api_options(run->server, &request->common, &options, fault);
    options.format = SP_CHAT_NONE;
    options.think_budget = -1;
    for (size_t i = 0; good && i < run->n_choices; i++) {
        const sp_prompt *prompt = &request->prompts[i / n_each];
        run->choices[i].shares_prompt = i % n_each > 0;
        if (!run->choices[i].shares_prompt) good = make_prompt(run->server, request, prompt, &tokens, fault);
        if (good && request->echo) good = make_echo(run, i, prompt, fault);
        if (good) good = sp_api_submit(run, i, &tokens, &options, NULL, fault);
        options.sampler.seed++;
    }
    sp_tokens_clear(&tokens);
    return good;
}

static void answer(sp_server *server, sp_exchange *x, const sp_key_info *key, const sp_text_request *request)
{
    const sp_request_common *c = &request->common;
    sp_fault fault = {0};
    size_t n = request->n_prompts * (c->n < 1 ? 1 : (size_t)c->n);
    if (!sp_api_check_model(server, c->model, &fault)) {
        sp_api_fail(x, &sp_dialect_text, &fault);
        return;
    }
    sp_run *run = sp_run_create(server, x, &sp_dialect_text, c->model, n);
    if (!run) sp_fault_nomem(&fault);
    if (run) {
        run->key = *key;
        run->stream = c->stream;
        run->include_usage = c->include_usage;
        run->n_logprobs = c->n_logprobs;
        if (submit_all(run, request, &fault)) {
            sp_api_answer(run);
            return;
        }
    }
    sp_run_destroy(run);
    sp_api_fail(x, &sp_dialect_text, &fault);
}

void sp_handle_completions(sp_server *server, sp_exchange *x)
{
    sp_key_info key = {0};
    sp_text_request request;
    sp_fault fault = {0};
    size_t len = 0;
    if (!sp_api_admit(server, x, &key)) return;
    const char *body = sp_exchange_body(x, &len);
    if (sp_text_request_parse(&request, body, len, &fault))
        answer(server, x, &key, &request);
    else
        sp_api_fail(x, &sp_dialect_text, &fault);
    sp_text_request_clear(&request);
}
