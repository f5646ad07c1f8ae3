/* SPDX-License-Identifier: MIT */
/* From a conversation's request to the model's prompt: reasoning policy, thinking switch, prefix of the reply, calls that are forced by
 * writing their beginning for the model, grammars. Start at sp_chat_plan_make(). */
#include "server/api_run.h"

#include "text/chat_build.h"

#include <stdio.h>
#include <string.h>

bool sp_format_thinks(sp_chat_format format)
{
    return format == SP_CHAT_R1 || format == SP_CHAT_R1_0528 || format == SP_CHAT_V31 ||
           format == SP_CHAT_QWEN3;
}

bool sp_api_check_length(const sp_server *server, size_t n_prompt, const char *param, sp_fault *fault)
{
    int32_t n_ctx = server->scheduler ? sp_scheduler_context(server->scheduler) : INT32_MAX;
    if (n_prompt <= (size_t)n_ctx) return true;
    /* agents shorten their conversation when they find the vendors' words: Anthropic's, then OpenAI's and DeepSeek's */
    return sp_fault_set(
        fault, 400, param, "context_length_exceeded",
        "prompt is too long: %zu tokens > %d maximum. This model's maximum context length is %d tokens.",
        n_prompt, (int)n_ctx, (int)n_ctx);
}

/* --- messages ------------------------------------------------------------------------------------------- */

static bool fail_message(sp_fault *fault, size_t i, const char *what)
{
    char param[64];
    snprintf(param, sizeof param, "messages[%zu].reasoning_content", i);
    return sp_fault_set(fault, 400, param, "invalid_value", "'%s' %s", param, what);
}

/* Reasoning that clients send back, by the server's policy. Before the last question it is never fed back. */
static bool judge_reasoning(sp_reasoning_policy policy, sp_message *messages, size_t n, sp_fault *fault)
{
    size_t question = 0;
    for (size_t i = 0; i < n; i++)
        if (messages[i].role == SP_ROLE_USER) question = i;
    for (size_t i = 0; i < n; i++) {
        sp_message *m = &messages[i];
        if (policy == SP_REASONING_REJECT && m->reasoning)
            return fail_message(fault, i, "must not be sent back to this model");
        if (policy == SP_REASONING_REQUIRE && m->n_tool_calls && i > question && !m->reasoning)
            return fail_message(fault, i,
                                "is missing: this model needs the reasoning of a turn that calls tools");
        if (policy != SP_REASONING_REQUIRE || i < question) m->reasoning = NULL;
    }
    return true;
}

static bool check_thinking(const sp_server *server, const sp_chat_request *request, sp_fault *fault)
{
    if (!request->think_param || sp_format_thinks(server->format)) return true;
    return sp_fault_set(fault, 400, request->think_param, "unsupported_value",
                        "'%s': this model does not reason", request->think_param);
}

/* The hybrid model under its vendor's two names. */
static sp_think default_think(const sp_server *server, const sp_chat_request *request)
{
    bool hybrid = server->format == SP_CHAT_V31 && request->think == SP_THINK_AUTO;
    return hybrid && strcmp(request->common.model, "deepseek-reasoner") == 0 ? SP_THINK_ON : request->think;
}

/* --- what follows the conversation ---------------------------------------------------------------------- */

/* The beginning of the reply as the client gave it. */
static sp_status write_prefix(sp_chat_build *build, sp_chat_format format, const sp_message *m, bool thinking,
                              sp_error *err)
{
    const char *content = m->content ? m->content : "";
    if (thinking && m->reasoning) {
        SP_TRY(sp_chat_build_string(build, m->reasoning, err));
        if (content[0])
            SP_TRY(sp_chat_build_control(
                build, format == SP_CHAT_V31 ? SP_THINK_CLOSE : "\n" SP_THINK_CLOSE "\n\n", err));
    }
    if (format == SP_CHAT_LLM && content[0]) SP_TRY(sp_chat_build_control(build, " ", err));
    return sp_chat_build_string(build, content, err);
}

/* The beginning of a call in the model's form, up to its arguments (NULL: up to its name). Formats whose calls do not begin with JSON
 * get nothing where the name is the model's to choose: the grammar then asks for an object that names it. */
static sp_status write_call_opening(sp_chat_build *build, sp_chat_format format, const char *name,
                                    sp_error *err)
{
    if (format == SP_CHAT_QWEN || format == SP_CHAT_QWEN3) {
        SP_TRY(sp_chat_build_control(build, "<tool_call>\n", err));
        if (!name) return SP_OK;
        SP_TRY(sp_chat_build_control(build, "{\"name\": \"", err));
        SP_TRY(sp_chat_build_string(build, name, err));
        return sp_chat_build_control(build, "\", \"arguments\": ", err);
    }
    if (!name) return SP_OK;
    SP_TRY(sp_chat_build_control(build, SP_CALLS_BEGIN SP_CALL_BEGIN, err));
    if (format != SP_CHAT_V31) SP_TRY(sp_chat_build_control(build, "function" SP_CALL_SEP, err));
    SP_TRY(sp_chat_build_string(build, name, err));
    return sp_chat_build_control(build, format == SP_CHAT_V31 ? SP_CALL_SEP : "\n```json\n", err);
}

/* --- forced calls --------------------------------------------------------------------------------------- */

static const sp_request_tool *find_tool(const sp_chat_request *request, const char *name)
{
    for (size_t i = 0; i < request->n_tools; i++)
        if (strcmp(request->tool[i].name, name) == 0) return &request->tool[i];
    return NULL;
}

/* A tool's schema within another: with an identity of its own, since its references start from itself. */
static sp_status write_parameters(sp_buf *out, const char *parameters, size_t number, sp_error *err)
{
    if (!parameters) return sp_buf_puts(out, "{\"type\":\"object\"}", err);
    if (parameters[0] != '{' || parameters[1] != '"' || strstr(parameters, "\"$id\""))
        return sp_buf_puts(out, parameters, err);
    SP_TRY(sp_buf_printf(out, err, "{\"$id\":\"urn:tool:%zu\",", number));
    return sp_buf_puts(out, parameters + 1, err);
}

/* A schema of {"name": ..., "arguments": ...} for any of the tools. */
static sp_status write_any_schema(sp_buf *out, const sp_chat_request *request, sp_error *err)
{
    SP_TRY(sp_buf_puts(out, "{\"anyOf\":[", err));
    for (size_t i = 0; i < request->n_tools; i++) {
        const sp_request_tool *tool = &request->tool[i];
        SP_TRY(sp_buf_puts(out, i ? "," : "", err));
        SP_TRY(sp_buf_puts(out, "{\"type\":\"object\",\"properties\":{\"name\":{\"const\":", err));
        SP_TRY(sp_put_text(out, tool->name, err));
        SP_TRY(sp_buf_puts(out, "},\"arguments\":", err));
        SP_TRY(write_parameters(out, tool->parameters, i, err));
        SP_TRY(
            sp_buf_puts(out, "},\"required\":[\"name\",\"arguments\"],\"additionalProperties\":false}", err));
    }
    return sp_buf_puts(out, "]}", err);
}

/* Which call must be made, and the grammar of what the model writes of it. */
static bool plan_call(sp_chat_plan *plan, const sp_chat_request *request, sp_fault *fault)
{
    const char *name = request->tool_choice == SP_TOOL_CHOICE_NAMED ? request->tool_name : NULL;
    if (request->tool_choice != SP_TOOL_CHOICE_NAMED && request->tool_choice != SP_TOOL_CHOICE_REQUIRED)
        return true;
    if (request->n_tools == 1) name = request->tool[0].name;
    plan->grammar_fallback = true;
    plan->grammar_param = "tools";
    if (name) {
        const sp_request_tool *tool = find_tool(request, name);
        plan->forced = SP_FORCED_NAMED;
        plan->forced_name = name;
        plan->grammar = tool->parameters ? tool->parameters : "";
        plan->grammar_fallback = !tool->strict;
        return true;
    }
    for (size_t i = 0; i < request->n_tools; i++) plan->grammar_fallback &= !request->tool[i].strict;
    if (write_any_schema(&plan->schema, request, NULL) != SP_OK) return sp_fault_nomem(fault);
    plan->forced = SP_FORCED_ANY;
    plan->grammar = plan->schema.data;
    return true;
}

static void plan_format(sp_chat_plan *plan, const sp_chat_request *request)
{
    if (request->response_format == SP_RESPONSE_TEXT) return;
    plan->grammar = request->response_format == SP_RESPONSE_JSON_OBJECT ? "" : request->schema;
    plan->grammar_param = "response_format";
}

bool sp_chat_plan_grammar(const sp_chat_plan *plan, sp_grammar **grammar, sp_fault *fault)
{
    sp_error err = SP_ERROR_NONE;
    *grammar = NULL;
    if (!plan->grammar) return true;
    sp_status status = plan->grammar[0]
                           ? sp_grammar_json_schema(grammar, plan->grammar, strlen(plan->grammar), &err)
                           : sp_grammar_json_object(grammar, &err);
    if (status != SP_OK && status != SP_E_NOMEM && plan->grammar_fallback)
        status = sp_grammar_json_object(grammar, &err);
    return status == SP_OK || sp_api_fault_of(fault, plan->grammar_param, &err);
}

/* --- the plan ------------------------------------------------------------------------------------------- */

/* Ids of the conversation and of what follows it. */
static sp_status render(sp_chat_plan *plan, const sp_server *server, const sp_chat_request *request,
                        const sp_message *messages, sp_chat_options *options, sp_error *err)
{
    sp_chat_build build = {{NULL, 0, 0}, NULL, 0, 0};
    size_t n = request->n_messages - request->prefix;
    const sp_message *prefix = request->prefix ? &messages[n] : NULL;
    SP_TRY(sp_chat_render(server->format, server->tokenizer, &plan->prompt, messages, n, options, err));
    sp_chat_options reply = sp_chat_reply_options(server->format, messages, n, options);
    bool thinking = sp_chat_starts_thinking(server->format, &reply);
    sp_status status = SP_OK;
    if (prefix) status = write_prefix(&build, server->format, prefix, thinking, err);
    if (status == SP_OK && plan->forced != SP_FORCED_NONE)
        status = write_call_opening(&build, server->format, plan->forced_name, err);
    if (status == SP_OK && build.text.len)
        status = sp_chat_build_encode(&build, server->tokenizer, &plan->prompt, err);
    sp_chat_build_clear(&build);
    if (prefix && prefix->content && prefix->content[0])
        reply.think = SP_THINK_OFF; /* the reasoning is over */
    plan->generate.format = plan->forced == SP_FORCED_NONE ? server->format : SP_CHAT_NONE;
    plan->generate.chat = reply;
    plan->generate.chat.tools_json = NULL; /* of no use for reading */
    return status;
}

/* What the beginning of the reply says about thinking. */
static sp_think think_of_prefix(const sp_message *prefix, sp_think think)
{
    if (prefix->reasoning) return SP_THINK_ON;
    return prefix->content && prefix->content[0] ? SP_THINK_OFF : think;
}

static bool plan_prompt(sp_chat_plan *plan, const sp_server *server, const sp_chat_request *request,
                        const sp_message *messages, sp_fault *fault)
{
    sp_error err = SP_ERROR_NONE;
    sp_chat_options options = SP_CHAT_OPTIONS_DEFAULTS;
    options.think = default_think(server, request);
    if (request->prefix) options.think = think_of_prefix(&messages[request->n_messages - 1], options.think);
    if (plan->forced != SP_FORCED_NONE) options.think = SP_THINK_OFF;
    if (request->tool_choice != SP_TOOL_CHOICE_NONE) options.tools_json = request->tools;
    if (render(plan, server, request, messages, &options, &err) != SP_OK)
        return sp_api_fault_of(fault, err.code == SP_E_UNSUPPORTED && request->tools ? "tools" : "messages",
                               &err);
    return sp_api_check_length(server, plan->prompt.n, "messages", fault);
}

bool sp_chat_plan_make(sp_chat_plan *plan, const sp_server *server, const sp_chat_request *request,
                       sp_fault *fault)
{
    *plan = (sp_chat_plan){.forced = SP_FORCED_NONE};
    if (server->format == SP_CHAT_NONE)
        return sp_fault_set(fault, 400, "model", "unsupported_value",
                            "the model '%s' has no conversation format; use /completions", server->name);
    if (!check_thinking(server, request, fault)) return false;
    if (!sp_api_options(server, &request->common, &plan->generate, fault)) return false;
    if (request->think_budget > -2) plan->generate.think_budget = request->think_budget;
    plan_format(plan, request);
    if (!plan_call(plan, request, fault)) return false;
    sp_message *messages = sp_malloc_array(request->n_messages, sizeof *messages);
    if (!messages) return sp_fault_nomem(fault);
    memcpy(messages, request->messages, request->n_messages * sizeof *messages);
    bool good =
        judge_reasoning(server->options.reasoning, messages, request->n_messages - request->prefix, fault) &&
        plan_prompt(plan, server, request, messages, fault);
    sp_free(messages);
    return good;
}

void sp_chat_plan_clear(sp_chat_plan *plan)
{
    sp_tokens_clear(&plan->prompt);
    sp_buf_clear(&plan->schema);
}
