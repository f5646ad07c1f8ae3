/* SPDX-License-Identifier: MIT */
/* Pieces of JSON that dialects share: errors, usage, log-probabilities. */
#include "server/api_run.h"

#include "text/utf8.h"

#include <string.h>

sp_status sp_put_text(sp_buf *out, const char *text, sp_error *err)
{
    return text ? sp_json_put_string(out, text, strlen(text), err) : sp_buf_puts(out, "null", err);
}

static const char *error_type(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 402: return "insufficient_balance";
    case 429: return "rate_limit_error";
    default: return status < 500 ? "invalid_request_error" : "server_error";
    }
}

sp_status sp_put_error(sp_buf *out, const sp_fault *fault, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, "{\"error\":{\"message\":", err));
    SP_TRY(sp_put_text(out, fault->text, err));
    SP_TRY(sp_buf_printf(out, err, ",\"type\":\"%s\",\"param\":", error_type(fault->status)));
    SP_TRY(sp_put_text(out, fault->param[0] ? fault->param : NULL, err));
    SP_TRY(sp_buf_puts(out, ",\"code\":", err));
    SP_TRY(sp_put_text(out, fault->code[0] ? fault->code : NULL, err));
    return sp_buf_puts(out, "}}", err);
}

sp_status sp_put_usage(const sp_run *run, sp_buf *out, sp_error *err)
{
    sp_run_usage u = sp_run_usage_of(run);
    return sp_buf_printf(out, err,
                         "{\"prompt_tokens\":%zu,\"completion_tokens\":%zu,\"total_tokens\":%zu,"
                         "\"prompt_tokens_details\":{\"cached_tokens\":%zu},"
                         "\"completion_tokens_details\":{\"reasoning_tokens\":%zu},"
                         "\"prompt_cache_hit_tokens\":%zu,\"prompt_cache_miss_tokens\":%zu}",
                         u.n_prompt, u.n_reply, u.n_prompt + u.n_reply, u.n_cached, u.n_reasoning, u.n_cached,
                         u.n_prompt - u.n_cached);
}

/* --- what OpenAI's two dialects share --------------------------------------------------------------------- */

const char *sp_choice_reason(const sp_run *run, const sp_choice *choice)
{
    switch (choice->finish) {
    case SP_FINISH_LENGTH:
    case SP_FINISH_CONTEXT:
    case SP_FINISH_LOOP: return "length";
    case SP_FINISH_CANCELLED: return "insufficient_system_resource";
    default: return sp_choice_calls(run, choice) ? "tool_calls" : "stop";
    }
}

static sp_status write_head(const sp_run *run, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, "{\"id\":", err));
    SP_TRY(sp_put_text(out, run->id, err));
    SP_TRY(sp_buf_printf(out, err, ",\"object\":\"%s\",\"created\":%lld,\"model\":",
                         run->stream ? run->dialect->chunk_object : run->dialect->object,
                         (long long)run->created));
    SP_TRY(sp_put_text(out, run->model, err));
    SP_TRY(sp_buf_puts(out, ",\"system_fingerprint\":", err));
    SP_TRY(sp_put_text(out, run->server->fingerprint, err));
    return sp_buf_puts(out, ",\"choices\":[", err);
}

sp_status sp_put_head(sp_run *run, sp_buf *out, sp_error *err)
{
    if (!run->head.len) SP_TRY(write_head(run, &run->head, err));
    return sp_buf_append(out, run->head.data, run->head.len, err);
}

sp_status sp_put_chunk_end(const sp_run *run, const char *reason, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, "]", err));
    /* with include_usage the figures have a chunk of their own; else they are on the last one, as the vendor has it */
    if (run->include_usage)
        SP_TRY(sp_buf_puts(out, ",\"usage\":null", err));
    else if (reason && run->n_done == run->n_choices) {
        SP_TRY(sp_buf_puts(out, ",\"usage\":", err));
        SP_TRY(sp_put_usage(run, out, err));
    }
    return sp_buf_puts(out, "}\n\n", err);
}

sp_status sp_put_stream_end(sp_run *run, sp_buf *out, sp_error *err)
{
    if (run->include_usage) {
        SP_TRY(sp_buf_puts(out, "data: ", err));
        SP_TRY(sp_put_head(run, out, err));
        SP_TRY(sp_buf_puts(out, "],\"usage\":", err));
        SP_TRY(sp_put_usage(run, out, err));
        SP_TRY(sp_buf_puts(out, "}\n\n", err));
    }
    return sp_buf_puts(out, "data: [DONE]\n\n", err);
}

sp_status sp_put_keep_alive(sp_run *run, sp_buf *out, sp_error *err)
{
    (void)run;
    return sp_buf_puts(out, ": keep-alive\n\n", err);
}

sp_status sp_put_fault(bool event, const sp_fault *fault, sp_buf *out, sp_error *err)
{
    if (event) SP_TRY(sp_buf_puts(out, "data: ", err));
    SP_TRY(sp_put_error(out, fault, err));
    return event ? sp_buf_puts(out, "\n\n", err) : SP_OK;
}

/* --- log-probabilities ---------------------------------------------------------------------------------- */

static sp_status put_token(const sp_run *run, int32_t id, sp_buf *out, sp_error *err)
{
    size_t len = 0;
    const char *piece = run->server->tokenizer ? sp_tokenizer_piece(run->server->tokenizer, id, &len) : "";
    return sp_json_put_string(out, piece ? piece : "", len, err);
}

/* A likelihood of 0 has no JSON; the field writes -9999 for it. */
static double finite_logprob(float logprob)
{
    return logprob > -9999.0f ? (double)logprob : -9999.0;
}

/* "token":...,"logprob":...,"bytes":[...] */
static sp_status put_token_logprob(const sp_run *run, int32_t id, float logprob, sp_buf *out, sp_error *err)
{
    size_t len = 0;
    const char *piece = run->server->tokenizer ? sp_tokenizer_piece(run->server->tokenizer, id, &len) : "";
    SP_TRY(sp_buf_puts(out, "\"token\":", err));
    SP_TRY(put_token(run, id, out, err));
    SP_TRY(sp_buf_printf(out, err, ",\"logprob\":%.9g,\"bytes\":[", finite_logprob(logprob)));
    for (size_t i = 0; i < len; i++)
        SP_TRY(sp_buf_printf(out, err, "%s%d", i ? "," : "", (unsigned char)piece[i]));
    return sp_buf_puts(out, "]", err);
}

/* Alternatives that were asked for, at most; the sampler may report one for its own sake. */
static int32_t count_top(const sp_run *run, const sp_sample *sample)
{
    return sample->n_top < run->n_logprobs ? sample->n_top : (int32_t)run->n_logprobs;
}

sp_status sp_put_chat_logprobs(const sp_run *run, const sp_choice *choice, size_t from, size_t to,
                               sp_buf *out, sp_error *err)
{
    if (run->n_logprobs < 0) return sp_buf_puts(out, "null", err);
    SP_TRY(sp_buf_puts(out, "{\"content\":[", err));
    for (size_t i = from; i < to; i++) {
        const sp_sample *sample = &choice->samples[i];
        SP_TRY(sp_buf_puts(out, i > from ? ",{" : "{", err));
        SP_TRY(put_token_logprob(run, sample->id, sample->logprob, out, err));
        SP_TRY(sp_buf_puts(out, ",\"top_logprobs\":[", err));
        for (int32_t k = 0; k < count_top(run, sample); k++) {
            SP_TRY(sp_buf_puts(out, k ? ",{" : "{", err));
            SP_TRY(put_token_logprob(run, sample->top_ids[k], sample->top_logprobs[k], out, err));
            SP_TRY(sp_buf_puts(out, "}", err));
        }
        SP_TRY(sp_buf_puts(out, "]}", err));
    }
    return sp_buf_puts(out, "],\"refusal\":null}", err);
}

/* Characters that begin in a token. */
static size_t count_characters(const char *piece, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) n += ((unsigned char)piece[i] & 0xC0) != 0x80;
    return n;
}

static sp_status put_top_object(const sp_run *run, const sp_sample *sample, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, "{", err));
    for (int32_t k = 0; k < count_top(run, sample); k++) {
        if (k) SP_TRY(sp_buf_puts(out, ",", err));
        SP_TRY(put_token(run, sample->top_ids[k], out, err));
        SP_TRY(sp_buf_printf(out, err, ":%.9g", finite_logprob(sample->top_logprobs[k])));
    }
    return sp_buf_puts(out, "}", err);
}

sp_status sp_put_text_logprobs(const sp_run *run, sp_choice *choice, size_t from, size_t to, sp_buf *out,
                               sp_error *err)
{
    if (run->n_logprobs < 0) return sp_buf_puts(out, "null", err);
    SP_TRY(sp_buf_puts(out, "{\"text_offset\":[", err));
    for (size_t i = from; i < to; i++) {
        size_t len = 0;
        const char *piece = sp_tokenizer_piece(run->server->tokenizer, choice->samples[i].id, &len);
        SP_TRY(sp_buf_printf(out, err, "%s%zu", i > from ? "," : "", choice->text_offset));
        choice->text_offset += count_characters(piece, len);
    }
    SP_TRY(sp_buf_puts(out, "],\"token_logprobs\":[", err));
    for (size_t i = from; i < to; i++)
        SP_TRY(sp_buf_printf(out, err, "%s%.9g", i > from ? "," : "",
                             finite_logprob(choice->samples[i].logprob)));
    SP_TRY(sp_buf_puts(out, "],\"tokens\":[", err));
    for (size_t i = from; i < to; i++) {
        if (i > from) SP_TRY(sp_buf_puts(out, ",", err));
        SP_TRY(put_token(run, choice->samples[i].id, out, err));
    }
    SP_TRY(sp_buf_puts(out, "],\"top_logprobs\":[", err));
    for (size_t i = from; i < to; i++) {
        if (i > from) SP_TRY(sp_buf_puts(out, ",", err));
        SP_TRY(put_top_object(run, &choice->samples[i], out, err));
    }
    return sp_buf_puts(out, "]}", err);
}
