/* SPDX-License-Identifier: MIT */
/* POST /anthropic/v1/messages: the same replies in Anthropic's dialect, whose streams open and close blocks. Start at
 * sp_handle_messages(). */
#include "server/api_parts.h"

#include "text/chat_json.h"

#include <string.h>

/* sp_choice.block: what is open. */
enum { BLOCK_NONE, BLOCK_THINKING, BLOCK_TEXT, BLOCK_TOOL };

static const char *stop_reason(const sp_run *run, const sp_choice *choice)
{
    if (sp_choice_calls(run, choice)) return "tool_use";
    switch (choice->finish) {
    case SP_FINISH_STOP: return "stop_sequence";
    case SP_FINISH_LENGTH:
    case SP_FINISH_CONTEXT:
    case SP_FINISH_LOOP: return "max_tokens";
    case SP_FINISH_CANCELLED: return "pause_turn";
    default: return "end_turn";
    }
}

static sp_status put_stop(const sp_run *run, const sp_choice *choice, sp_buf *out, sp_error *err)
{
    bool stopped = choice->finish == SP_FINISH_STOP && !sp_choice_calls(run, choice);
    SP_TRY(sp_buf_printf(out, err, "\"stop_reason\":\"%s\",\"stop_sequence\":", stop_reason(run, choice)));
    return sp_put_text(out, stopped ? run->stop_string : NULL, err);
}

/* In this dialect input tokens are those that no cache had. */
static sp_status put_usage(const sp_run *run, sp_buf *out, sp_error *err)
{
    sp_run_usage u = sp_run_usage_of(run);
    return sp_buf_printf(
        out, err,
        "{\"input_tokens\":%zu,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":%zu,"
        "\"output_tokens\":%zu}",
        u.n_prompt - u.n_cached, u.n_cached, u.n_reply);
}

/* `{"id":...,"model":...` */
static sp_status put_message_head(const sp_run *run, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, "{\"id\":", err));
    SP_TRY(sp_put_text(out, run->id, err));
    SP_TRY(sp_buf_puts(out, ",\"type\":\"message\",\"role\":\"assistant\",\"model\":", err));
    return sp_put_text(out, run->model, err);
}

/* --- a stream ------------------------------------------------------------------------------------------- */

static sp_status close_block(const sp_run *run, sp_choice *choice, sp_buf *out, sp_error *err)
{
    if (choice->block == BLOCK_NONE) return SP_OK;
    /* the field's clients keep a signature with the thinking; there is nothing to sign here */
    if (choice->block == BLOCK_THINKING)
        SP_TRY(
            sp_buf_printf(out, err,
                          "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":%d,"
                          "\"delta\":{\"type\":\"signature_delta\",\"signature\":\"%s\"}}\n\n",
                          choice->n_blocks - 1, run->id));
    choice->block = BLOCK_NONE;
    return sp_buf_printf(
        out, err, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":%d}\n\n",
        choice->n_blocks - 1);
}

/* Begins a block: up to its content. */
static sp_status open_block(const sp_run *run, sp_choice *choice, int block, sp_buf *out, sp_error *err)
{
    SP_TRY(close_block(run, choice, out, err));
    choice->block = block;
    return sp_buf_printf(
        out, err,
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":%d,\"content_block\":",
        choice->n_blocks++);
}

static sp_status put_delta(const sp_choice *choice, const char *type, const char *member, const char *text,
                           size_t len, sp_buf *out, sp_error *err)
{
    SP_TRY(sp_buf_printf(out, err,
                         "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":%d,"
                         "\"delta\":{\"type\":\"%s\",\"%s\":",
                         choice->n_blocks - 1, type, member));
    SP_TRY(sp_json_put_string(out, text, len, err));
    return sp_buf_puts(out, "}}\n\n", err);
}

static sp_status begin_message(sp_run *run, sp_choice *choice, sp_buf *out, sp_error *err)
{
    (void)choice;
    SP_TRY(sp_buf_puts(out, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":", err));
    SP_TRY(put_message_head(run, out, err));
    SP_TRY(sp_buf_puts(out, ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":", err));
    SP_TRY(put_usage(run, out, err));
    return sp_buf_puts(out, "}}\n\n", err);
}

static sp_status write_text(sp_run *run, sp_choice *choice, sp_reply_part part, const char *text, size_t len,
                            sp_buf *out, sp_error *err)
{
    bool thinking = part == SP_REPLY_REASONING;
    int block = thinking ? BLOCK_THINKING : BLOCK_TEXT;
    if (choice->block != block) {
        SP_TRY(open_block(run, choice, block, out, err));
        SP_TRY(sp_buf_puts(out,
                           thinking ? "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n"
                                    : "{\"type\":\"text\",\"text\":\"\"}}\n\n",
                           err));
    }
    return put_delta(choice, thinking ? "thinking_delta" : "text_delta", thinking ? "thinking" : "text", text,
                     len, out, err);
}

static sp_status write_call_text(sp_run *run, sp_choice *choice, size_t i, const char *arguments, size_t len,
                                 sp_buf *out, sp_error *err)
{
    (void)run, (void)i;
    return len ? put_delta(choice, "input_json_delta", "partial_json", arguments, len, out, err) : SP_OK;
}

static sp_status write_call(sp_run *run, sp_choice *choice, size_t i, sp_buf *out, sp_error *err)
{
    const sp_run_call *call = &choice->calls[i];
    SP_TRY(open_block(run, choice, BLOCK_TOOL, out, err));
    SP_TRY(sp_buf_puts(out, "{\"type\":\"tool_use\",\"id\":", err));
    SP_TRY(sp_put_text(out, call->id, err));
    SP_TRY(sp_buf_puts(out, ",\"name\":", err));
    SP_TRY(sp_put_text(out, call->name, err));
    return sp_buf_puts(out, ",\"input\":{}}}\n\n", err);
}

static sp_status finish_message(sp_run *run, sp_choice *choice, sp_buf *out, sp_error *err)
{
    SP_TRY(close_block(run, choice, out, err));
    SP_TRY(sp_buf_puts(out, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{", err));
    SP_TRY(put_stop(run, choice, out, err));
    SP_TRY(sp_buf_puts(out, "},\"usage\":", err));
    SP_TRY(put_usage(run, out, err));
    return sp_buf_puts(out, "}\n\n", err);
}

static sp_status end_stream(sp_run *run, sp_buf *out, sp_error *err)
{
    (void)run;
    return sp_buf_puts(out, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", err);
}

static sp_status write_idle(sp_run *run, sp_buf *out, sp_error *err)
{
    (void)run;
    return sp_buf_puts(out, ": keep-alive\n\n", err);
}

/* --- one body ------------------------------------------------------------------------------------------- */

/* A call's arguments are an object here. Of a reply that was cut they are none; what the model wrote wrongly is shown under the name that
 * the dialect's own documentation gives for it, so that the tool refuses it instead of running with less than was asked for. */
static sp_status put_input(const sp_choice *choice, const sp_run_call *call, sp_buf *out, sp_error *err)
{
    const char *text = call->arguments.len ? call->arguments.data : "{}";
    bool is_cut = choice->finish != SP_FINISH_END && choice->finish != SP_FINISH_STOP;
    if (sp_rawjson_put(NULL, text, strlen(text), NULL) == SP_OK) return sp_buf_puts(out, text, err);
    if (is_cut) return sp_buf_puts(out, "{}", err);
    SP_TRY(sp_buf_puts(out, "{\"INVALID_JSON\":", err));
    SP_TRY(sp_put_text(out, text, err));
    return sp_buf_puts(out, "}", err);
}

static sp_status put_blocks(const sp_run *run, const sp_choice *choice, sp_buf *out, sp_error *err)
{
    const char *comma = "";
    if (choice->reasoning.len) {
        SP_TRY(sp_buf_puts(out, "{\"type\":\"thinking\",\"thinking\":", err));
        SP_TRY(sp_json_put_string(out, choice->reasoning.data, choice->reasoning.len, err));
        SP_TRY(sp_buf_printf(out, err, ",\"signature\":\"%s\"}", run->id));
        comma = ",";
    }
    if (choice->content.len) {
        SP_TRY(sp_buf_printf(out, err, "%s{\"type\":\"text\",\"text\":", comma));
        SP_TRY(sp_json_put_string(out, choice->content.data, choice->content.len, err));
        SP_TRY(sp_buf_puts(out, "}", err));
        comma = ",";
    }
    for (size_t i = 0; i < choice->n_calls; i++, comma = ",") {
        const sp_run_call *call = &choice->calls[i];
        SP_TRY(sp_buf_printf(out, err, "%s{\"type\":\"tool_use\",\"id\":", comma));
        SP_TRY(sp_put_text(out, call->id, err));
        SP_TRY(sp_buf_puts(out, ",\"name\":", err));
        SP_TRY(sp_put_text(out, call->name, err));
        SP_TRY(sp_buf_puts(out, ",\"input\":", err));
        SP_TRY(put_input(choice, call, out, err));
        SP_TRY(sp_buf_puts(out, "}", err));
    }
    return SP_OK;
}

static sp_status write_whole(sp_run *run, sp_buf *out, sp_error *err)
{
    const sp_choice *choice = &run->choices[0];
    SP_TRY(put_message_head(run, out, err));
    SP_TRY(sp_buf_puts(out, ",\"content\":[", err));
    SP_TRY(put_blocks(run, choice, out, err));
    SP_TRY(sp_buf_puts(out, "],", err));
    SP_TRY(put_stop(run, choice, out, err));
    SP_TRY(sp_buf_puts(out, ",\"usage\":", err));
    SP_TRY(put_usage(run, out, err));
    return sp_buf_puts(out, "}", err);
}

static const char *error_type(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 402: return "billing_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    default: return status < 500 ? "invalid_request_error" : "api_error";
    }
}

static sp_status write_fault(bool event, const sp_fault *fault, sp_buf *out, sp_error *err)
{
    if (event) SP_TRY(sp_buf_puts(out, "event: error\ndata: ", err));
    SP_TRY(sp_buf_printf(
        out, err, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":", error_type(fault->status)));
    SP_TRY(sp_put_text(out, fault->text, err));
    return sp_buf_puts(out, event ? "}}\n\n" : "}}", err);
}

const sp_dialect sp_dialect_anthropic = {
    .id_prefix = "msg_",
    .call_prefix = "toolu_",
    .begin = begin_message,
    .text = write_text,
    .call = write_call,
    .call_text = write_call_text,
    .finish = finish_message,
    .end = end_stream,
    .idle = write_idle,
    .whole = write_whole,
    .fail = write_fault,
};

/* --- handlers ------------------------------------------------------------------------------------------- */

void sp_handle_messages(sp_server *server, sp_exchange *x)
{
    sp_key_info key = {0};
    sp_chat_request request;
    sp_fault fault = {0};
    size_t len = 0;
    if (!sp_api_admit(server, x, &key)) return;
    const char *body = sp_exchange_body(x, &len);
    if (sp_anthropic_request_parse(&request, body, len, false, &fault))
        sp_api_chat(server, x, &sp_dialect_anthropic, &key, &request);
    else
        sp_api_fail(x, &sp_dialect_anthropic, &fault);
    sp_chat_request_clear(&request);
}

void sp_handle_count_tokens(sp_server *server, sp_exchange *x)
{
    sp_key_info key = {0};
    sp_chat_request request;
    sp_chat_plan plan = {.forced = SP_FORCED_NONE};
    sp_fault fault = {0};
    sp_buf body = {NULL, 0, 0};
    size_t len = 0;
    if (!sp_api_admit(server, x, &key)) return;
    const char *text = sp_exchange_body(x, &len);
    if (sp_anthropic_request_parse(&request, text, len, true, &fault) &&
        sp_api_check_model(server, request.common.model, &fault) &&
        sp_chat_plan_make(&plan, server, &request, &fault)) {
        sp_status status = sp_buf_printf(&body, NULL, "{\"input_tokens\":%zu}", plan.prompt.n);
        sp_api_reply_json(x, &body, status);
    } else {
        sp_api_fail(x, &sp_dialect_anthropic, &fault);
    }
    sp_chat_plan_clear(&plan);
    sp_chat_request_clear(&request);
    sp_buf_clear(&body);
}
