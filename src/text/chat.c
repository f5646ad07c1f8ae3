/* SPDX-License-Identifier: MIT */
/* The public side of conversations: names, checks, rendering to ids and text, fill-in-the-middle. What each
 * format writes is in chat_deepseek.c and chat_qwen.c; start at sp_chat_build_conversation(). */
#include <sputnik/chat.h>

#include "text/chat_build.h"
#include "text/chat_json.h"

#include <string.h>

static const char *const format_names[SP_CHAT_FORMAT_COUNT] = {
    [SP_CHAT_NONE] = "none", [SP_CHAT_LLM] = "llm",   [SP_CHAT_CODER] = "coder",
    [SP_CHAT_V25] = "v2.5",  [SP_CHAT_R1] = "r1",     [SP_CHAT_R1_0528] = "r1-0528",
    [SP_CHAT_V31] = "v3.1",  [SP_CHAT_QWEN] = "qwen", [SP_CHAT_QWEN3] = "qwen3",
};

const char *sp_chat_format_name(sp_chat_format format)
{
    return (unsigned)format < SP_CHAT_FORMAT_COUNT ? format_names[format] : "none";
}

bool sp_chat_format_by_name(const char *name, sp_chat_format *format)
{
    for (int i = 0; i < SP_CHAT_FORMAT_COUNT; i++) {
        if (strcmp(name, format_names[i]) == 0) {
            *format = (sp_chat_format)i;
            return true;
        }
    }
    return false;
}

static sp_status check_message(const sp_chat_job *job, size_t i, sp_error *err)
{
    const sp_message *m = &job->messages[i];
    bool no_tools = job->format == SP_CHAT_LLM || job->format == SP_CHAT_CODER;
    if ((unsigned)m->role > SP_ROLE_TOOL)
        return sp_fail(err, SP_E_ARGUMENT, "chat: message %zu has the unknown role %d", i, (int)m->role);
    if (m->role != SP_ROLE_ASSISTANT && m->n_tool_calls)
        return sp_fail(err, SP_E_ARGUMENT, "chat: message %zu calls tools, but only the assistant can", i);
    if (!m->content && !m->n_tool_calls)
        return sp_fail(err, SP_E_ARGUMENT, "chat: message %zu has neither content nor tool calls", i);
    if (no_tools && (m->role == SP_ROLE_TOOL || m->n_tool_calls))
        return sp_fail(err, SP_E_UNSUPPORTED, "chat: the format \"%s\" has no tools (message %zu)",
                       sp_chat_format_name(job->format), i);
    for (size_t c = 0; c < m->n_tool_calls; c++)
        if (!m->tool_calls[c].name || !m->tool_calls[c].arguments)
            return sp_fail(err, SP_E_ARGUMENT, "chat: call %zu of message %zu lacks a name or arguments", c,
                           i);
    return SP_OK;
}

/* The tools must be an array of objects that have a function with a name. An empty array counts as none. */
static sp_status check_tools(sp_chat_job *job, const char *tools_json, sp_error *err)
{
    if (!tools_json) return SP_OK;
    size_t len = strlen(tools_json), pos = 0, n = 0;
    sp_error inner = SP_ERROR_NONE;
    if (sp_rawjson_put(NULL, tools_json, len, &inner) != SP_OK)
        return sp_fail(err, SP_E_ARGUMENT, "chat: the tools: %s", inner.text);
    sp_rawjson array = {tools_json, len}, tool, function, name;
    while (sp_rawjson_next(array, &pos, &tool)) {
        if (!sp_rawjson_member(tool, "function", &function) || !sp_rawjson_member(function, "name", &name) ||
            name.text[0] != '"')
            return sp_fail(err, SP_E_ARGUMENT, "chat: tool %zu has no function with a name", n);
        n++;
    }
    if (tools_json[strspn(tools_json, " \t\r\n")] != '[')
        return sp_fail(err, SP_E_ARGUMENT, "chat: the tools must be a JSON array");
    if (n == 0) return SP_OK;
    if (job->format == SP_CHAT_LLM || job->format == SP_CHAT_CODER)
        return sp_fail(err, SP_E_UNSUPPORTED, "chat: the format \"%s\" has no tools",
                       sp_chat_format_name(job->format));
    job->tools = tools_json;
    job->tools_len = len;
    return SP_OK;
}

sp_status sp_chat_build_conversation(sp_chat_build *build, const sp_chat_job *given, sp_error *err)
{
    sp_chat_job job = *given;
    if (job.format == SP_CHAT_NONE || (unsigned)job.format >= SP_CHAT_FORMAT_COUNT)
        return sp_fail(err, SP_E_UNSUPPORTED, "chat: this model has no conversation format");
    if (job.n_messages == 0) return sp_fail(err, SP_E_ARGUMENT, "chat: there is no message");
    for (size_t i = 0; i < job.n_messages; i++) SP_TRY(check_message(&job, i, err));
    SP_TRY(check_tools(&job, job.options->tools_json, err));
    switch (job.format) {
    case SP_CHAT_LLM: return sp_chat_write_llm(build, &job, err);
    case SP_CHAT_CODER: return sp_chat_write_coder(build, &job, err);
    case SP_CHAT_V31: return sp_chat_write_v31(build, &job, err);
    case SP_CHAT_QWEN:
    case SP_CHAT_QWEN3: return sp_chat_write_qwen(build, &job, err);
    default: return sp_chat_write_v25(build, &job, err);
    }
}

static const sp_chat_options default_options = SP_CHAT_OPTIONS_DEFAULTS;

sp_status sp_chat_render(sp_chat_format format, const sp_tokenizer *tokenizer, sp_tokens *tokens,
                         const sp_message *messages, size_t n_messages, const sp_chat_options *options,
                         sp_error *err)
{
    sp_chat_build build = {{NULL, 0, 0}, NULL, 0, 0};
    sp_chat_job job = {format, messages, n_messages, options ? options : &default_options, NULL, 0};
    size_t n_before = tokens->n;
    sp_status status = sp_chat_build_conversation(&build, &job, err);
    if (status == SP_OK) status = sp_chat_build_encode(&build, tokenizer, tokens, err);
    if (status != SP_OK) tokens->n = n_before;
    sp_chat_build_clear(&build);
    return status;
}

sp_status sp_chat_render_text(sp_chat_format format, sp_text *text, const sp_message *messages,
                              size_t n_messages, const sp_chat_options *options, sp_error *err)
{
    sp_chat_build build = {{NULL, 0, 0}, NULL, 0, 0};
    sp_chat_job job = {format, messages, n_messages, options ? options : &default_options, NULL, 0};
    sp_status status = sp_chat_build_conversation(&build, &job, err);
    if (status == SP_OK) status = sp_text_append(text, build.text.data, build.text.len, err);
    sp_chat_build_clear(&build);
    return status;
}

bool sp_chat_starts_thinking(sp_chat_format format, const sp_chat_options *options)
{
    if (!options) options = &default_options;
    if (options->no_generation_prompt) return false;
    switch (format) {
    case SP_CHAT_R1: return options->think != SP_THINK_OFF;
    case SP_CHAT_R1_0528:
    case SP_CHAT_V31: return options->think == SP_THINK_ON;
    default: return false;
    }
}

sp_chat_options sp_chat_reply_options(sp_chat_format format, const sp_message *messages, size_t n_messages,
                                      const sp_chat_options *options)
{
    sp_chat_options reply = options ? *options : default_options;
    sp_role last = n_messages ? messages[n_messages - 1].role : SP_ROLE_USER;
    bool closed = last == SP_ROLE_TOOL || (format == SP_CHAT_V31 && last != SP_ROLE_USER);
    if (closed && sp_chat_starts_thinking(format, &reply)) reply.think = SP_THINK_OFF;
    return reply;
}

/* --- fill in the middle --------------------------------------------------------------------------------- */

typedef struct fim_names {
    const char *begin, *hole, *end;
} fim_names;

sp_status sp_chat_render_fim(const sp_tokenizer *tokenizer, sp_tokens *tokens, const char *prefix,
                             size_t prefix_len, const char *suffix, size_t suffix_len, sp_error *err)
{
    static const fim_names spellings[] = {
        {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"},
        {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},
    };
    size_t n_before = tokens->n;
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        int32_t begin = sp_tokenizer_find(tokenizer, spellings[i].begin);
        int32_t hole = sp_tokenizer_find(tokenizer, spellings[i].hole);
        int32_t end = sp_tokenizer_find(tokenizer, spellings[i].end);
        int32_t bos = sp_tokenizer_adds_bos(tokenizer) ? sp_tokenizer_bos(tokenizer) : -1;
        if (begin < 0 || hole < 0 || end < 0) continue;
        sp_status status = bos >= 0 ? sp_tokens_push(tokens, bos, err) : SP_OK;
        if (status == SP_OK) status = sp_tokens_push(tokens, begin, err);
        if (status == SP_OK) status = sp_tokenizer_encode(tokenizer, tokens, prefix, prefix_len, 0, err);
        if (status == SP_OK) status = sp_tokens_push(tokens, hole, err);
        if (status == SP_OK) status = sp_tokenizer_encode(tokenizer, tokens, suffix, suffix_len, 0, err);
        if (status == SP_OK) status = sp_tokens_push(tokens, end, err);
        if (status != SP_OK) tokens->n = n_before;
        return status;
    }
    return sp_fail(err, SP_E_UNSUPPORTED, "chat: the vocabulary has no fill-in-the-middle tokens");
}
