/* SPDX-License-Identifier: MIT */
/* ChatML as the published templates of Qwen2.5 and Qwen3 write it (the bases of the distills; their own
 * checkpoints run too). Start at sp_chat_write_qwen(). The two differ in the default system text, in the
 * tools' preamble, and in that Qwen3 keeps reasoning after the last question. */
#include "text/chat_build.h"
#include "text/chat_json.h"

#include <string.h>

static const char default_system[] = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";

static const char tools_head[] = "# Tools\n\nYou may call one or more functions to assist with the user "
                                 "query.\n\nYou are provided with function "
                                 "signatures within <tools></tools> XML tags:\n<tools>";

static const char tools_tail[] =
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": "
    "<args-json-object>}\n</tool_call>";

static sp_status write_system(sp_chat_build *build, const sp_chat_job *job, sp_error *err)
{
    bool qwen3 = job->format == SP_CHAT_QWEN3;
    const char *system = job->messages[0].role == SP_ROLE_SYSTEM ? job->messages[0].content : NULL;
    if (!system && qwen3 && !job->tools) return SP_OK;
    SP_TRY(sp_chat_build_control(build, "<|im_start|>system\n", err));
    SP_TRY(system ? sp_chat_build_string(build, system, err)
                  : sp_chat_build_control(build, qwen3 ? "" : default_system, err));
    if (job->tools) {
        sp_rawjson array = {job->tools, job->tools_len}, tool;
        size_t pos = 0;
        if (system || !qwen3) SP_TRY(sp_chat_build_control(build, "\n\n", err));
        SP_TRY(sp_chat_build_control(build, tools_head, err));
        while (sp_rawjson_next(array, &pos, &tool)) {
            SP_TRY(sp_chat_build_control(build, "\n", err));
            SP_TRY(sp_rawjson_put(&build->text, tool.text, tool.len, err));
        }
        SP_TRY(sp_chat_build_control(build, tools_tail, err));
    }
    return sp_chat_build_control(build, "<|im_end|>\n", err);
}

/* A stretch of a message. */
typedef struct slice {
    const char *text;
    size_t len;
} slice;

static slice strip_newlines(slice s)
{
    while (s.len && s.text[0] == '\n') s.text++, s.len--;
    while (s.len && s.text[s.len - 1] == '\n') s.len--;
    return s;
}

static const char *find_last(const char *text, const char *end, const char *tag)
{
    size_t n = strlen(tag);
    for (const char *at = end - n; at >= text; at--)
        if (memcmp(at, tag, n) == 0) return at;
    return NULL;
}

/* Qwen3's split of an assistant message into reasoning and the rest. */
static void split_reasoning(const sp_message *m, slice *reasoning, const char **content)
{
    *content = m->content ? m->content : "";
    *reasoning = (slice){m->reasoning ? m->reasoning : "", m->reasoning ? strlen(m->reasoning) : 0};
    const char *close = strstr(*content, SP_THINK_CLOSE);
    if (m->reasoning || !close) return;
    size_t len = (size_t)(close - *content);
    const char *open = len >= strlen(SP_THINK_OPEN) ? find_last(*content, close, SP_THINK_OPEN) : NULL;
    const char *start = open ? open + strlen(SP_THINK_OPEN) : *content;
    *reasoning = strip_newlines((slice){start, (size_t)(close - start)});
    const char *last = find_last(*content, *content + strlen(*content), SP_THINK_CLOSE);
    *content = last + strlen(SP_THINK_CLOSE);
    *content += strspn(*content, "\n");
}

static sp_status write_calls(sp_chat_build *build, const sp_chat_job *job, const sp_message *m,
                             bool break_first, sp_error *err)
{
    for (size_t i = 0; i < m->n_tool_calls; i++) {
        const sp_tool_call *call = &m->tool_calls[i];
        size_t before = build->text.len;
        if (i > 0 || break_first) SP_TRY(sp_chat_build_control(build, "\n", err));
        SP_TRY(sp_chat_build_control(build, "<tool_call>\n{\"name\": \"", err));
        SP_TRY(sp_chat_build_string(build, call->name, err));
        SP_TRY(sp_chat_build_control(build, "\", \"arguments\": ", err));
        before = build->text.len;
        /* Qwen2.5's template formats the arguments anew, Qwen3's passes text through. */
        sp_status status = job->format == SP_CHAT_QWEN3
                               ? SP_E_FORMAT
                               : sp_rawjson_put(&build->text, call->arguments, strlen(call->arguments), NULL);
        if (status == SP_E_FORMAT) {
            build->text.len = before;
            status = sp_chat_build_string(build, call->arguments, err);
        }
        if (status != SP_OK) return sp_fail_nomem(err, "conversation", build->text.len);
        SP_TRY(sp_chat_build_control(build, "}\n</tool_call>", err));
    }
    return SP_OK;
}

/* `recent`: after the last question; `last`: the last message. */
static sp_status write_assistant(sp_chat_build *build, const sp_chat_job *job, const sp_message *m,
                                 bool recent, bool last, sp_error *err)
{
    slice reasoning;
    const char *content;
    SP_TRY(sp_chat_build_control(build, "<|im_start|>assistant", err));
    if (job->format == SP_CHAT_QWEN) {
        bool says = m->content && m->content[0];
        if (says || !m->n_tool_calls) SP_TRY(sp_chat_build_control(build, "\n", err));
        SP_TRY(sp_chat_build_string(build, m->content, err));
        SP_TRY(write_calls(build, job, m, true, err));
        return sp_chat_build_control(build, "<|im_end|>\n", err);
    }
    split_reasoning(m, &reasoning, &content);
    SP_TRY(sp_chat_build_control(build, "\n", err));
    if (recent && (last || reasoning.len)) {
        slice stripped = strip_newlines(reasoning);
        SP_TRY(sp_chat_build_control(build, SP_THINK_OPEN "\n", err));
        SP_TRY(sp_chat_build_content(build, stripped.text, stripped.len, err));
        SP_TRY(sp_chat_build_control(build, "\n" SP_THINK_CLOSE "\n\n", err));
        SP_TRY(sp_chat_build_string(build, content + strspn(content, "\n"), err));
    } else {
        SP_TRY(sp_chat_build_string(build, content, err));
    }
    SP_TRY(write_calls(build, job, m, content[0] != '\0', err));
    return sp_chat_build_control(build, "<|im_end|>\n", err);
}

static sp_status write_message(sp_chat_build *build, const sp_chat_job *job, size_t i, size_t last_question,
                               sp_error *err)
{
    const sp_message *m = &job->messages[i];
    bool last = i + 1 == job->n_messages;
    switch (m->role) {
    case SP_ROLE_SYSTEM:
        if (i == 0) return SP_OK;
        SP_TRY(sp_chat_build_control(build, "<|im_start|>system\n", err));
        break;
    case SP_ROLE_USER: SP_TRY(sp_chat_build_control(build, "<|im_start|>user\n", err)); break;
    case SP_ROLE_ASSISTANT: return write_assistant(build, job, m, i > last_question, last, err);
    case SP_ROLE_TOOL:
        if (i == 0 || job->messages[i - 1].role != SP_ROLE_TOOL)
            SP_TRY(sp_chat_build_control(build, "<|im_start|>user", err));
        SP_TRY(sp_chat_build_control(build, "\n<tool_response>\n", err));
        SP_TRY(sp_chat_build_string(build, m->content, err));
        SP_TRY(sp_chat_build_control(build, "\n</tool_response>", err));
        if (!last && job->messages[i + 1].role == SP_ROLE_TOOL) return SP_OK;
        return sp_chat_build_control(build, "<|im_end|>\n", err);
    }
    SP_TRY(sp_chat_build_string(build, m->content, err));
    return sp_chat_build_control(build, "<|im_end|>\n", err);
}

/* Index of the last user message that is no tool result in disguise; the last message if there is none. */
static size_t find_last_question(const sp_chat_job *job)
{
    static const char open[] = "<tool_response>", close[] = "</tool_response>";
    for (size_t i = job->n_messages; i-- > 0;) {
        const sp_message *m = &job->messages[i];
        if (m->role != SP_ROLE_USER) continue;
        size_t n = strlen(m->content);
        bool disguised = strncmp(m->content, open, sizeof open - 1) == 0 && n >= sizeof close - 1 &&
                         strcmp(m->content + n - (sizeof close - 1), close) == 0;
        if (!disguised) return i;
    }
    return job->n_messages - 1;
}

sp_status sp_chat_write_qwen(sp_chat_build *build, const sp_chat_job *job, sp_error *err)
{
    size_t last_question = find_last_question(job);
    SP_TRY(write_system(build, job, err));
    for (size_t i = 0; i < job->n_messages; i++) SP_TRY(write_message(build, job, i, last_question, err));
    if (job->options->no_generation_prompt) return SP_OK;
    SP_TRY(sp_chat_build_control(build, "<|im_start|>assistant\n", err));
    if (job->format != SP_CHAT_QWEN3 || job->options->think != SP_THINK_OFF) return SP_OK;
    return sp_chat_build_control(build, SP_THINK_OPEN "\n\n" SP_THINK_CLOSE "\n\n", err);
}
