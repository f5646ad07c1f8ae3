/* SPDX-License-Identifier: MIT */
/* What DeepSeek's published chat templates write, as state machines over the messages. The strings are those
 * of the templates in the models' tokenizer_config.json files; nothing is trimmed.
 *
 * Deliberate departures, where the published Jinja of V2.5, V3 and R1 has defects that the vendor mended in
 * R1-0528 and V3.1 (all of them concern tool use only; conversations without tools are byte-equal):
 *  1. <｜tool▁calls▁end｜><｜end▁of▁sentence｜> follows every group of calls (R1's distills: only groups of
 * two or more).
 *  2. <｜tool▁outputs▁begin｜> opens every group of results (published: only the first one of a
 * conversation), and each group after the first within it starts on a new line.
 *  3. Results are closed before whatever follows them, calls and user turns included.
 *  4. Text that accompanies calls stands before them, once (a distill's template drops or repeats it).
 *  5. Old reasoning is dropped from every assistant message, also from those that follow tool results.
 * Start at sp_chat_write_v25(). */
#include "text/chat_build.h"

#include <string.h>

/* What is left of an assistant's message once its reasoning is dropped: all after the last (R1) or first
 * (V3.1) closing tag. The line breaks that follow the tag stay. */
static const char *drop_reasoning(const char *content, bool after_last)
{
    const char *rest = content ? content : "";
    const char *tag = strstr(rest, SP_THINK_CLOSE);
    while (tag) {
        rest = tag + strlen(SP_THINK_CLOSE);
        tag = after_last ? strstr(rest, SP_THINK_CLOSE) : NULL;
    }
    return rest;
}

/* --- LLM, MoE-16B, Math, V2, Coder-V2 ------------------------------------------------------------------- */

sp_status sp_chat_write_llm(sp_chat_build *build, const sp_chat_job *job, sp_error *err)
{
    static const char *const before[] = {"", "User: ", "Assistant: "};
    static const char *const after[] = {"\n\n", "\n\n", SP_EOS};
    SP_TRY(sp_chat_build_control(build, SP_BOS, err));
    for (size_t i = 0; i < job->n_messages; i++) {
        const sp_message *m = &job->messages[i];
        SP_TRY(sp_chat_build_control(build, before[m->role], err));
        SP_TRY(sp_chat_build_string(build, m->content, err));
        SP_TRY(sp_chat_build_control(build, after[m->role], err));
    }
    return job->options->no_generation_prompt ? SP_OK : sp_chat_build_control(build, "Assistant:", err);
}

/* --- Coder 1.x and V1.5 --------------------------------------------------------------------------------- */

static const char coder_system[] =
    "You are an AI programming assistant, utilizing the DeepSeek Coder model, developed by DeepSeek Company, "
    "and you "
    "only answer questions related to computer science. For politically sensitive questions, security and "
    "privacy "
    "issues, and other non-computer science questions, you will refuse to answer.";

sp_status sp_chat_write_coder(sp_chat_build *build, const sp_chat_job *job, sp_error *err)
{
    static const char *const before[] = {"", "### Instruction:\n", "### Response:\n"};
    static const char *const after[] = {"\n", "\n", "\n<|EOT|>\n"};
    bool has_system = false;
    for (size_t i = 0; i < job->n_messages; i++) has_system |= job->messages[i].role == SP_ROLE_SYSTEM;
    SP_TRY(sp_chat_build_control(build, SP_BOS, err));
    if (!has_system) {
        SP_TRY(sp_chat_build_control(build, coder_system, err));
        SP_TRY(sp_chat_build_control(build, "\n", err));
    }
    for (size_t i = 0; i < job->n_messages; i++) {
        const sp_message *m = &job->messages[i];
        SP_TRY(sp_chat_build_control(build, before[m->role], err));
        SP_TRY(sp_chat_build_string(build, m->content, err));
        SP_TRY(sp_chat_build_control(build, after[m->role], err));
    }
    return job->options->no_generation_prompt ? SP_OK : sp_chat_build_control(build, "### Response:\n", err);
}

/* --- V2.5, V3, R1, R1-0528 ------------------------------------------------------------------------------ */

/* Begin of sentence, the system messages (R1: the last one only), the tools. */
static sp_status write_head(sp_chat_build *build, const sp_chat_job *job, sp_error *err)
{
    const char *last = NULL;
    SP_TRY(sp_chat_build_control(build, SP_BOS, err));
    for (size_t i = 0; i < job->n_messages; i++) {
        const sp_message *m = &job->messages[i];
        if (m->role != SP_ROLE_SYSTEM) continue;
        if (job->format != SP_CHAT_R1) {
            if (last) SP_TRY(sp_chat_build_control(build, "\n\n", err));
            SP_TRY(sp_chat_build_string(build, m->content, err));
        }
        last = m->content;
    }
    if (job->format == SP_CHAT_R1) SP_TRY(sp_chat_build_string(build, last, err));
    if (!job->tools) return SP_OK;
    if (last && last[0]) SP_TRY(sp_chat_build_control(build, "\n\n", err));
    return sp_chat_write_tools(build, job, err);
}

static sp_status write_calls_v25(sp_chat_build *build, const sp_message *m, sp_error *err)
{
    for (size_t i = 0; i < m->n_tool_calls; i++) {
        const sp_tool_call *call = &m->tool_calls[i];
        SP_TRY(sp_chat_build_control(build, i == 0 ? SP_CALLS_BEGIN : "\n", err));
        SP_TRY(sp_chat_build_control(build, SP_CALL_BEGIN "function" SP_CALL_SEP, err));
        SP_TRY(sp_chat_build_string(build, call->name, err));
        SP_TRY(sp_chat_build_control(build, "\n```json\n", err));
        SP_TRY(sp_chat_build_string(build, call->arguments, err));
        SP_TRY(sp_chat_build_control(build, "\n```" SP_CALL_END, err));
    }
    return m->n_tool_calls ? sp_chat_build_control(build, SP_CALLS_END, err) : SP_OK;
}

/* Where the conversation stands. */
typedef struct turn {
    bool in_outputs; /* the last message was a tool's result */
    bool after_user; /* the last message was the user's */
} turn;

static sp_status write_message_v25(sp_chat_build *build, const sp_chat_job *job, const sp_message *m,
                                   turn *now, sp_error *err)
{
    bool early =
        job->format == SP_CHAT_R1_0528; /* writes the assistant's mark right after each user message */
    bool was_in_outputs = now->in_outputs;
    if (m->role == SP_ROLE_SYSTEM) return SP_OK;
    now->in_outputs = m->role == SP_ROLE_TOOL;
    now->after_user = m->role == SP_ROLE_USER;
    if (m->role == SP_ROLE_TOOL) {
        /* V3's published template joins parallel results, R1's puts each further one on a line of its own */
        const char *next = job->format == SP_CHAT_V25 ? SP_OUTPUT_BEGIN : "\n" SP_OUTPUT_BEGIN;
        SP_TRY(sp_chat_build_control(build, was_in_outputs ? next : SP_OUTPUTS_BEGIN SP_OUTPUT_BEGIN, err));
        SP_TRY(sp_chat_build_string(build, m->content, err));
        return sp_chat_build_control(build, SP_OUTPUT_END, err);
    }
    if (was_in_outputs) SP_TRY(sp_chat_build_control(build, SP_OUTPUTS_END, err));
    if (m->role == SP_ROLE_USER) {
        SP_TRY(sp_chat_build_control(build, SP_USER, err));
        SP_TRY(sp_chat_build_string(build, m->content, err));
        return early ? sp_chat_build_control(build, SP_ASSISTANT, err) : SP_OK;
    }
    if (!was_in_outputs && !early) SP_TRY(sp_chat_build_control(build, SP_ASSISTANT, err));
    SP_TRY(sp_chat_build_string(build, drop_reasoning(m->content, true), err));
    SP_TRY(write_calls_v25(build, m, err));
    return sp_chat_build_control(build, SP_EOS, err);
}

/* What opens the reply after the assistant's mark. */
static const char *thinking_prefix(const sp_chat_job *job)
{
    if (job->format == SP_CHAT_V25) return "";
    if (job->options->think == SP_THINK_OFF) return SP_THINK_OPEN "\n\n" SP_THINK_CLOSE "\n\n";
    return job->format == SP_CHAT_R1 || job->options->think == SP_THINK_ON ? SP_THINK_OPEN "\n" : "";
}

sp_status sp_chat_write_v25(sp_chat_build *build, const sp_chat_job *job, sp_error *err)
{
    turn now = {false, false};
    SP_TRY(write_head(build, job, err));
    for (size_t i = 0; i < job->n_messages; i++)
        SP_TRY(write_message_v25(build, job, &job->messages[i], &now, err));
    if (now.in_outputs) return sp_chat_build_control(build, SP_OUTPUTS_END, err);
    if (job->options->no_generation_prompt) return SP_OK;
    if (job->format != SP_CHAT_R1_0528 || !now.after_user)
        SP_TRY(sp_chat_build_control(build, SP_ASSISTANT, err));
    return sp_chat_build_control(build, thinking_prefix(job), err);
}

/* --- V3.1 ----------------------------------------------------------------------------------------------- */

/* The non-thinking mark is the closing tag alone, as the model card has it (a copy of the template that
 * circulates with llama.cpp writes <think></think> instead). */
static sp_status write_message_v31(sp_chat_build *build, const sp_message *m, turn *now, sp_error *err)
{
    bool after_user = now->after_user;
    if (m->role == SP_ROLE_SYSTEM) return SP_OK;
    now->in_outputs = m->role == SP_ROLE_TOOL;
    now->after_user = m->role == SP_ROLE_USER;
    if (m->role == SP_ROLE_USER) {
        SP_TRY(sp_chat_build_control(build, SP_USER, err));
        return sp_chat_build_string(build, m->content, err);
    }
    if (m->role == SP_ROLE_TOOL) {
        SP_TRY(sp_chat_build_control(build, SP_OUTPUT_BEGIN, err));
        SP_TRY(sp_chat_build_string(build, m->content, err));
        return sp_chat_build_control(build, SP_OUTPUT_END, err);
    }
    if (after_user) SP_TRY(sp_chat_build_control(build, SP_ASSISTANT SP_THINK_CLOSE, err));
    SP_TRY(sp_chat_build_string(build, drop_reasoning(m->content, false), err));
    for (size_t i = 0; i < m->n_tool_calls; i++) {
        SP_TRY(sp_chat_build_control(build, i == 0 ? SP_CALLS_BEGIN SP_CALL_BEGIN : SP_CALL_BEGIN, err));
        SP_TRY(sp_chat_build_string(build, m->tool_calls[i].name, err));
        SP_TRY(sp_chat_build_control(build, SP_CALL_SEP, err));
        SP_TRY(sp_chat_build_string(build, m->tool_calls[i].arguments, err));
        SP_TRY(sp_chat_build_control(build, SP_CALL_END, err));
    }
    return sp_chat_build_control(build, m->n_tool_calls ? SP_CALLS_END SP_EOS : SP_EOS, err);
}

sp_status sp_chat_write_v31(sp_chat_build *build, const sp_chat_job *job, sp_error *err)
{
    turn now = {false, false};
    SP_TRY(write_head(build, job, err));
    for (size_t i = 0; i < job->n_messages; i++)
        SP_TRY(write_message_v31(build, &job->messages[i], &now, err));
    if (job->options->no_generation_prompt || !now.after_user) return SP_OK;
    bool think = job->options->think == SP_THINK_ON;
    return sp_chat_build_control(build, think ? SP_ASSISTANT SP_THINK_OPEN : SP_ASSISTANT SP_THINK_CLOSE,
                                 err);
}
