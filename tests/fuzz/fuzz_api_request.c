/* SPDX-License-Identifier: MIT */
/* Fuzz target: any bytes as a request of the API; the first byte chooses the endpoint. What is refused must have a status and say why; what
 * is accepted must keep what the rest relies on, up to the model's prompt, and its replies must be valid JSON. */
#include "server/api_run.h"

#include "text/chat_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile size_t sink;

static void check_refusal(const sp_fault *fault)
{
    sp_buf body = {NULL, 0, 0};
    if (fault->status < 400 || fault->status > 599 || !fault->text[0]) abort();
    if (sp_put_error(&body, fault, NULL) != SP_OK || sp_rawjson_put(NULL, body.data, body.len, NULL) != SP_OK)
        abort();
    sp_buf_clear(&body);
}

static void check_range(double value, double min, double max)
{
    if (!isnan(value) && !(value >= min && value <= max)) abort();
}

static void check_common(const sp_request_common *c)
{
    if (!c->model || c->n > SP_REQUEST_CHOICES_MAX || c->n_stop > SP_REQUEST_STOPS_MAX ||
        c->n_logprobs > SP_MAX_LOGPROBS)
        abort();
    check_range(c->temperature, 0, 2);
    check_range(c->top_p, 0, 1);
    check_range(c->frequency_penalty, -2, 2);
    for (size_t i = 0; i < c->n_stop; i++)
        if (!c->stop[i][0]) abort();
    for (size_t i = 0; i < c->n_bias; i++)
        if (c->bias[i].id < 0) abort();
}

/* Rendering takes what the parser accepted, or refuses it: never anything else. */
static void render(const sp_chat_request *request, sp_chat_format format)
{
    sp_text text = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    sp_chat_options options = {request->think, 0, request->tools};
    sp_status status =
        sp_chat_render_text(format, &text, request->messages, request->n_messages, &options, &err);
    if (status != SP_OK && !err.text[0]) abort();
    sink += text.len;
    sp_text_clear(&text);
}

static void check_chat(const sp_chat_request *request)
{
    check_common(&request->common);
    if (!request->n_messages || !request->messages || request->n_tools > SP_REQUEST_TOOLS_MAX) abort();
    if (request->n_tools && sp_rawjson_put(NULL, request->tools, strlen(request->tools), NULL) != SP_OK)
        abort();
    for (size_t i = 0; i < request->n_messages; i++)
        if (!request->messages[i].content && !request->messages[i].n_tool_calls && !request->prefix) abort();
    if (request->prefix && request->messages[request->n_messages - 1].role != SP_ROLE_ASSISTANT) abort();
    if (!request->prefix) /* what is left is whole messages */
        for (int format = SP_CHAT_LLM; format < SP_CHAT_FORMAT_COUNT; format++)
            render(request, (sp_chat_format)format);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sp_fault fault = {0};
    sp_chat_request chat;
    sp_text_request text;
    sp_tokenize_request tokens;
    if (size == 0) return 0;
    const char *body = (const char *)data + 1;
    bool good = false;
    switch (data[0]) {
    case 'a':
        if ((good = sp_anthropic_request_parse(&chat, body, size - 1, false, &fault))) check_chat(&chat);
        sp_chat_request_clear(&chat);
        break;
    case 't':
        if ((good = sp_text_request_parse(&text, body, size - 1, &fault))) check_common(&text.common);
        sp_text_request_clear(&text);
        break;
    case 'k':
        good = sp_tokenize_request_parse(&tokens, body, size - 1, &fault);
        sp_tokenize_request_clear(&tokens);
        break;
    case 'd':
        good = sp_detokenize_request_parse(&tokens, body, size - 1, &fault);
        sp_tokenize_request_clear(&tokens);
        break;
    default:
        if ((good = sp_chat_request_parse(&chat, body, size - 1, &fault))) check_chat(&chat);
        sp_chat_request_clear(&chat);
    }
    if (!good) check_refusal(&fault);
    return 0;
}
