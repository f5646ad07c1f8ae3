/* SPDX-License-Identifier: MIT */
/* Chat completions as they are written: one body, or chunks of a stream of events. Start at the table at the end. */
#include "server/api_run.h"

#include <string.h>

static sp_status put_call(const sp_run_call *call, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, "\"id\":", err));
    SP_TRY(sp_put_text(out, call->id, err));
    SP_TRY(sp_buf_puts(out, ",\"type\":\"function\",\"function\":{\"name\":", err));
    SP_TRY(sp_put_text(out, call->name, err));
    SP_TRY(sp_buf_puts(out, ",\"arguments\":", err));
    SP_TRY(
        sp_json_put_string(out, call->arguments.len ? call->arguments.data : "", call->arguments.len, err));
    return sp_buf_puts(out, "}}", err);
}

/* --- a stream ------------------------------------------------------------------------------------------- */

static sp_status open_chunk(sp_run *run, const sp_choice *choice, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, "data: ", err));
    SP_TRY(sp_put_head(run, out, err));
    return sp_buf_printf(out, err, "{\"index\":%d,\"delta\":{", choice->index);
}

/* Ends the delta and the chunk. */
static sp_status close_chunk(const sp_run *run, const char *reason, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, ",\"finish_reason\":", err));
    SP_TRY(sp_put_text(out, reason, err));
    SP_TRY(sp_buf_puts(out, "}", err));
    return sp_put_chunk_end(run, reason, out, err);
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

static sp_status write_call(sp_run *run, sp_choice *choice, size_t i, sp_buf *out, sp_error *err)
{
    SP_TRY(open_chunk(run, choice, out, err));
    SP_TRY(sp_buf_printf(out, err, "\"tool_calls\":[{\"index\":%zu,", i));
    SP_TRY(put_call(&choice->calls[i], out, err));
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
    return close_chunk(run, sp_choice_reason(run, choice), out, err);
}

/* --- one body ------------------------------------------------------------------------------------------- */

static sp_status put_message(const sp_run *run, const sp_choice *choice, sp_buf *out, sp_error *err)
{
    bool silent = choice->n_calls && !choice->content.len;
    SP_TRY(sp_buf_puts(out, "{\"role\":\"assistant\",\"content\":", err));
    if (silent)
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
        SP_TRY(sp_buf_printf(out, err, i ? ",{\"index\":%zu," : ",\"tool_calls\":[{\"index\":%zu,", i));
        SP_TRY(put_call(&choice->calls[i], out, err));
    }
    return sp_buf_puts(out, choice->n_calls ? "]}" : "}", err);
}

static sp_status write_whole(sp_run *run, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_put_head(run, out, err));
    for (size_t i = 0; i < run->n_choices; i++) {
        const sp_choice *choice = &run->choices[i];
        SP_TRY(sp_buf_printf(out, err, "%s{\"index\":%d,\"message\":", i ? "," : "", choice->index));
        SP_TRY(put_message(run, choice, out, err));
        SP_TRY(sp_buf_puts(out, ",\"logprobs\":", err));
        SP_TRY(sp_put_chat_logprobs(run, choice, 0, choice->n_samples, out, err));
        SP_TRY(sp_buf_printf(out, err, ",\"finish_reason\":\"%s\"}", sp_choice_reason(run, choice)));
    }
    SP_TRY(sp_buf_puts(out, "],\"usage\":", err));
    SP_TRY(sp_put_usage(run, out, err));
    return sp_buf_puts(out, "}", err);
}

const sp_dialect sp_dialect_chat = {
    .id_prefix = "chatcmpl-",
    .call_prefix = "call_",
    .object = "chat.completion",
    .chunk_object = "chat.completion.chunk",
    .begin = begin_choice,
    .text = write_text,
    .call = write_call,
    .call_text = write_call_text,
    .finish = finish_choice,
    .end = sp_put_stream_end,
    .idle = sp_put_keep_alive,
    .whole = write_whole,
    .fail = sp_put_fault,
};
