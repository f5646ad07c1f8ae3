/* SPDX-License-Identifier: MIT */
/* Chat completions as they are written: one body, or chunks of a stream of events. Start at the table at the end. */
#include "server/api_run.h"

#include <string.h>

/* Why the reply ended. A reply that only repeated itself was cut as a too long one is, since the dialect has no word for it. */
static const char *finish_reason(const sp_run *run, const sp_choice *choice)
{
    switch (choice->finish) {
    case SP_FINISH_LENGTH:
    case SP_FINISH_CONTEXT:
    case SP_FINISH_LOOP: return "length";
    case SP_FINISH_CANCELLED: return "insufficient_system_resource";
    default: return sp_choice_calls(run, choice) ? "tool_calls" : "stop";
    }
}

/* `"id":...,"choices":` */
static sp_status write_head(const sp_run *run, const char *object, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, "{\"id\":", err));
    SP_TRY(sp_put_text(out, run->id, err));
    SP_TRY(sp_buf_printf(out, err, ",\"object\":\"%s\",\"created\":%lld,\"model\":", object,
                         (long long)run->created));
    SP_TRY(sp_put_text(out, run->model, err));
    SP_TRY(sp_buf_puts(out, ",\"system_fingerprint\":", err));
    SP_TRY(sp_put_text(out, run->server->fingerprint, err));
    return sp_buf_puts(out, ",\"choices\":[", err);
}

static sp_status put_head(sp_run *run, const char *object, sp_buf *out, sp_error *err)
{
    if (!run->head.len) SP_TRY(write_head(run, object, &run->head, err));
    return sp_buf_append(out, run->head.data, run->head.len, err);
}

static sp_status put_call(const sp_run_call *call, const char *arguments, size_t len, sp_buf *out,
                          sp_error *err)
{
    SP_TRY(sp_buf_puts(out, "\"id\":", err));
    SP_TRY(sp_put_text(out, call->id, err));
    SP_TRY(sp_buf_puts(out, ",\"type\":\"function\",\"function\":{\"name\":", err));
    SP_TRY(sp_put_text(out, call->name, err));
    SP_TRY(sp_buf_puts(out, ",\"arguments\":", err));
    SP_TRY(sp_json_put_string(out, arguments, len, err));
    return sp_buf_puts(out, "}}", err);
}

/* --- a stream ------------------------------------------------------------------------------------------- */

static sp_status open_chunk(sp_run *run, const sp_choice *choice, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, "data: ", err));
    SP_TRY(put_head(run, "chat.completion.chunk", out, err));
    return sp_buf_printf(out, err, "{\"index\":%d,\"delta\":{", choice->index);
}

/* Ends the delta and the chunk. */
static sp_status close_chunk(const sp_run *run, const char *reason, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, ",\"finish_reason\":", err));
    SP_TRY(sp_put_text(out, reason, err));
    SP_TRY(sp_buf_puts(out, "}]", err));
    /* with include_usage the figures have a chunk of their own; else they are on the last one, as the vendor has it */
    if (run->include_usage)
        SP_TRY(sp_buf_puts(out, ",\"usage\":null", err));
    else if (reason && run->n_done == run->n_choices) {
        SP_TRY(sp_buf_puts(out, ",\"usage\":", err));
        SP_TRY(sp_put_usage(run, out, err));
    }
    return sp_buf_puts(out, "}\n\n", err);
}

static sp_status begin_choice(sp_run *run, sp_choice *choice, sp_buf *out, sp_error *err)
{
    SP_TRY(open_chunk(run, choice, out, err));
    SP_TRY(sp_buf_puts(out, "\"role\":\"assistant\",", err));
    SP_TRY(sp_buf_puts(out, run->thinks ? "\"content\":null,\"reasoning_content\":\"\"" : "\"content\":\"\"",
                       err));
    SP_TRY(sp_buf_puts(out, "},\"logprobs\":null", err));
    return close_chunk(run, NULL, out, err);
}

static sp_status write_text(sp_run *run, sp_choice *choice, sp_reply_part part, const char *text, size_t len,
                            sp_buf *out, sp_error *err)
{
    bool content = part == SP_REPLY_CONTENT;
    SP_TRY(open_chunk(run, choice, out, err));
    SP_TRY(sp_buf_puts(out, content ? "\"content\":" : "\"content\":null,\"reasoning_content\":", err));
    SP_TRY(sp_json_put_string(out, text, len, err));
    if (content && run->thinks) SP_TRY(sp_buf_puts(out, ",\"reasoning_content\":null", err));
    SP_TRY(sp_buf_puts(out, "},\"logprobs\":", err));
    if (content)
        SP_TRY(sp_put_chat_logprobs(run, choice, 0, choice->n_samples, out, err));
    else
        SP_TRY(sp_buf_puts(out, "null", err));
    return close_chunk(run, NULL, out, err);
}

static sp_status write_call(sp_run *run, sp_choice *choice, size_t i, const char *arguments, size_t len,
                            sp_buf *out, sp_error *err)
{
    SP_TRY(open_chunk(run, choice, out, err));
    SP_TRY(sp_buf_printf(out, err, "\"tool_calls\":[{\"index\":%zu,", i));
    SP_TRY(put_call(&choice->calls[i], arguments, len, out, err));
    SP_TRY(sp_buf_puts(out, "]},\"logprobs\":null", err));
    return close_chunk(run, NULL, out, err);
}

static sp_status write_call_text(sp_run *run, sp_choice *choice, size_t i, const char *arguments, size_t len,
                                 sp_buf *out, sp_error *err)
{
    SP_TRY(open_chunk(run, choice, out, err));
    SP_TRY(sp_buf_printf(out, err, "\"tool_calls\":[{\"index\":%zu,\"function\":{\"arguments\":", i));
    SP_TRY(sp_json_put_string(out, arguments, len, err));
    SP_TRY(sp_buf_puts(out, "}}]},\"logprobs\":null", err));
    return close_chunk(run, NULL, out, err);
}

static sp_status finish_choice(sp_run *run, sp_choice *choice, sp_buf *out, sp_error *err)
{
    SP_TRY(open_chunk(run, choice, out, err));
    SP_TRY(sp_buf_puts(out, choice->n_calls ? "},\"logprobs\":null" : "\"content\":\"\"},\"logprobs\":null",
                       err));
    return close_chunk(run, finish_reason(run, choice), out, err);
}

static sp_status end_stream(sp_run *run, sp_buf *out, sp_error *err)
{
    if (run->include_usage) {
        SP_TRY(sp_buf_puts(out, "data: ", err));
        SP_TRY(put_head(run, "chat.completion.chunk", out, err));
        SP_TRY(sp_buf_puts(out, "],\"usage\":", err));
        SP_TRY(sp_put_usage(run, out, err));
        SP_TRY(sp_buf_puts(out, "}\n\n", err));
    }
    return sp_buf_puts(out, "data: [DONE]\n\n", err);
}

static sp_status write_idle(sp_run *run, sp_buf *out, sp_error *err)
{
    (void)run;
    return sp_buf_puts(out, ": keep-alive\n\n", err);
}

/* --- one body ------------------------------------------------------------------------------------------- */

static sp_status put_message(const sp_run *run, const sp_choice *choice, sp_buf *out, sp_error *err)
{
    bool silent = choice->n_calls && !choice->content.len;
    SP_TRY(sp_buf_puts(out, "{\"role\":\"assistant\",\"content\":", err));
    if (silent || (run->forced != SP_FORCED_NONE && choice->n_calls))
        SP_TRY(sp_buf_puts(out, "null", err));
    else
        SP_TRY(sp_json_put_string(out, choice->content.data ? choice->content.data : "", choice->content.len,
                                  err));
    if (run->thinks || choice->reasoning.len) {
        SP_TRY(sp_buf_puts(out, ",\"reasoning_content\":", err));
        SP_TRY(sp_json_put_string(out, choice->reasoning.data ? choice->reasoning.data : "",
                                  choice->reasoning.len, err));
    }
    for (size_t i = 0; i < choice->n_calls; i++) {
        const char *arguments = choice->calls[i].arguments;
        SP_TRY(sp_buf_printf(out, err, i ? ",{\"index\":%zu," : ",\"tool_calls\":[{\"index\":%zu,", i));
        SP_TRY(put_call(&choice->calls[i], arguments, strlen(arguments), out, err));
    }
    return sp_buf_puts(out, choice->n_calls ? "]}" : "}", err);
}

static sp_status write_whole(sp_run *run, sp_buf *out, sp_error *err)
{
    SP_TRY(put_head(run, "chat.completion", out, err));
    for (size_t i = 0; i < run->n_choices; i++) {
        const sp_choice *choice = &run->choices[i];
        SP_TRY(sp_buf_printf(out, err, "%s{\"index\":%d,\"message\":", i ? "," : "", choice->index));
        SP_TRY(put_message(run, choice, out, err));
        SP_TRY(sp_buf_puts(out, ",\"logprobs\":", err));
        SP_TRY(sp_put_chat_logprobs(run, choice, 0, choice->n_samples, out, err));
        SP_TRY(sp_buf_printf(out, err, ",\"finish_reason\":\"%s\"}", finish_reason(run, choice)));
    }
    SP_TRY(sp_buf_puts(out, "],\"usage\":", err));
    SP_TRY(sp_put_usage(run, out, err));
    return sp_buf_puts(out, "}", err);
}

static sp_status write_fault(bool event, const sp_fault *fault, sp_buf *out, sp_error *err)
{
    if (event) SP_TRY(sp_buf_puts(out, "data: ", err));
    SP_TRY(sp_put_error(out, fault, err));
    return event ? sp_buf_puts(out, "\n\n", err) : SP_OK;
}

const sp_dialect sp_dialect_chat = {
    .id_prefix = "chatcmpl-",
    .call_prefix = "call_",
    .begin = begin_choice,
    .text = write_text,
    .call = write_call,
    .call_text = write_call_text,
    .finish = finish_choice,
    .end = end_stream,
    .idle = write_idle,
    .whole = write_whole,
    .fail = write_fault,
};
