/* SPDX-License-Identifier: MIT */
/* The request of chat completions: messages, tools, response format, thinking. Start at sp_chat_request_parse(). */
#include "server/request.h"

#include <string.h>

#define END_OF_FIELDS                                                                                        \
    {                                                                                                        \
        NULL, NULL, 0, 0, 0                                                                                  \
    }

/* --- content -------------------------------------------------------------------------------------------- */

typedef struct text_part {
    const char *type, *text;
} text_part;

/* Text of one part {"type": "text", "text": ...}; what else exists in the field is refused by name. */
static const char *read_part(sp_intake *reader, const sp_json *value)
{
    static const sp_field fields[] = {{"type", sp_read_text, offsetof(text_part, type), 0, 0},
                                      {"text", sp_read_text, offsetof(text_part, text), 0, 0},
                                      {"cache_control", sp_read_ignored, 0, 0, 0},
                                      {"citations", sp_read_ignored, 0, 0, 0},
                                      END_OF_FIELDS};
    text_part part = {NULL, NULL};
    const char *type = sp_json_string(sp_json_get(value, "type"), NULL);
    if (type && strcmp(type, "text") != 0) {
        sp_intake_fail(reader, 400, "unsupported_value",
                       "'%s' is of type '%.40s', but only text is supported", reader->path, type);
        return NULL;
    }
    if (!sp_read_members(reader, value, fields, &part)) return NULL;
    if (!part.type || !part.text)
        sp_intake_fail(reader, 400, "missing_required_parameter", "'%s' needs 'type' and 'text'",
                       reader->path);
    return part.type ? part.text : NULL;
}

const char *sp_read_parts(sp_intake *reader, const sp_json *value)
{
    sp_buf joined = {NULL, 0, 0};
    char *text = NULL;
    bool good = true;
    if (sp_json_is(value, SP_JSON_STRING)) return sp_intake_text(reader, value);
    if (!sp_json_is(value, SP_JSON_ARRAY)) {
        sp_intake_fail(reader, 400, "invalid_type", "'%s' must be a string or an array of parts",
                       reader->path);
        return NULL;
    }
    for (size_t i = 0; good && i < sp_json_size(value); i++) {
        size_t mark = sp_intake_enter_at(reader, i);
        const char *part = read_part(reader, sp_json_at(value, i));
        good = part && (sp_buf_puts(&joined, part, NULL) == SP_OK || sp_fault_nomem(reader->fault));
        sp_intake_leave(reader, mark);
    }
    if (good && (text = sp_intake_alloc(reader, joined.len + 1, 1)) && joined.len)
        memcpy(text, joined.data, joined.len);
    sp_buf_clear(&joined);
    return text;
}

static bool read_content(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    const char *text = sp_read_parts(reader, value);
    if (text) memcpy((char *)target + field->offset, &text, sizeof text);
    return text != NULL;
}

/* --- messages ------------------------------------------------------------------------------------------- */

typedef struct call_fields {
    const char *id, *type, *name, *arguments;
} call_fields;

static bool read_call_function(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    static const sp_field fields[] = {{"name", sp_read_text, offsetof(call_fields, name), 0, 0},
                                      {"arguments", sp_read_text, offsetof(call_fields, arguments), 0, 0},
                                      END_OF_FIELDS};
    (void)field;
    return sp_read_members(reader, value, fields, target);
}

static bool read_call(sp_intake *reader, const sp_json *value, sp_tool_call *call)
{
    static const sp_field fields[] = {{"id", sp_read_text, offsetof(call_fields, id), 0, 0},
                                      {"type", sp_read_text, offsetof(call_fields, type), 0, 0},
                                      {"function", read_call_function, 0, 0, 0},
                                      {"index", sp_read_ignored, 0, 0, 0},
                                      END_OF_FIELDS};
    call_fields c = {NULL, NULL, NULL, NULL};
    if (!sp_read_members(reader, value, fields, &c)) return false;
    if (c.type && strcmp(c.type, "function") != 0)
        return sp_intake_fail(reader, 400, "unsupported_value",
                              "'%s' is of type '%.40s', but only 'function' is supported", reader->path,
                              c.type);
    if (!c.name || !c.arguments)
        return sp_intake_fail(reader, 400, "missing_required_parameter",
                              "'%s' needs 'function' with 'name' and 'arguments'", reader->path);
    *call = (sp_tool_call){c.id, c.name, c.arguments};
    return true;
}

typedef struct message_fields {
    const char *role, *content, *reasoning, *tool_call_id;
    sp_tool_call *calls;
    size_t n_calls;
    bool prefix;
} message_fields;

static bool read_calls(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)field;
    message_fields *m = target;
    if (!sp_intake_expect(reader, value, SP_JSON_ARRAY)) return false;
    size_t n = sp_json_size(value);
    m->calls = sp_intake_alloc(reader, n, sizeof *m->calls);
    for (size_t i = 0; m->calls && i < n; i++) {
        size_t mark = sp_intake_enter_at(reader, i);
        if (!read_call(reader, sp_json_at(value, i), &m->calls[i])) return false;
        sp_intake_leave(reader, mark);
    }
    m->n_calls = n;
    return m->calls != NULL;
}

/* What clients send back of a reply with no meaning for the prompt: empty or null. */
static bool read_empty(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)field, (void)target;
    bool is_empty =
        (sp_json_is(value, SP_JSON_ARRAY) || sp_json_is(value, SP_JSON_OBJECT)) && sp_json_size(value) == 0;
    return is_empty || sp_intake_fail(reader, 400, "unknown_parameter", "the parameter '%s' is not supported",
                                      reader->path);
}

static bool find_role(const char *name, sp_role *role)
{
    static const struct {
        const char *name;
        sp_role role;
    } roles[] = {{"system", SP_ROLE_SYSTEM},
                 {"developer", SP_ROLE_SYSTEM},
                 {"user", SP_ROLE_USER},
                 {"assistant", SP_ROLE_ASSISTANT},
                 {"tool", SP_ROLE_TOOL}};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (strcmp(name, roles[i].name) != 0) continue;
        *role = roles[i].role;
        return true;
    }
    return false;
}

static bool check_message(sp_intake *reader, const message_fields *m, sp_role role)
{
    bool is_assistant = role == SP_ROLE_ASSISTANT;
    const char *wrong = !is_assistant && m->n_calls               ? "tool_calls"
                        : !is_assistant && m->reasoning           ? "reasoning_content"
                        : !is_assistant && m->prefix              ? "prefix"
                        : role != SP_ROLE_TOOL && m->tool_call_id ? "tool_call_id"
                                                                  : NULL;
    if (wrong)
        return sp_intake_fail(reader, 400, "invalid_value", "'%s': a message of the role '%s' has no '%s'",
                              reader->path, m->role, wrong);
    if (!m->content && !m->n_calls && !(m->prefix && m->reasoning))
        return sp_intake_fail(reader, 400, "missing_required_parameter", "'%s' has no 'content'",
                              reader->path);
    if (role == SP_ROLE_TOOL && !m->tool_call_id)
        return sp_intake_fail(reader, 400, "missing_required_parameter", "'%s' has no 'tool_call_id'",
                              reader->path);
    return true;
}

static bool read_message(sp_intake *reader, const sp_json *value, sp_message *message, bool *prefix)
{
    static const sp_field fields[] = {
        {"role", sp_read_text, offsetof(message_fields, role), 0, 0},
        {"content", read_content, offsetof(message_fields, content), 0, 0},
        {"name", sp_read_ignored, 0, 0, 0},
        {"tool_calls", read_calls, 0, 0, 0},
        {"tool_call_id", sp_read_text, offsetof(message_fields, tool_call_id), 0, 0},
        {"reasoning_content", sp_read_text, offsetof(message_fields, reasoning), 0, 0},
        {"prefix", sp_read_flag, offsetof(message_fields, prefix), 0, 0},
        {"refusal", read_empty, 0, 0, 0},
        {"annotations", read_empty, 0, 0, 0},
        {"audio", read_empty, 0, 0, 0},
        {"function_call", read_empty, 0, 0, 0},
        END_OF_FIELDS};
    message_fields m = {0};
    sp_role role;
    if (!sp_read_members(reader, value, fields, &m)) return false;
    if (!m.role)
        return sp_intake_fail(reader, 400, "missing_required_parameter", "'%s' has no 'role'", reader->path);
    if (!find_role(m.role, &role))
        return sp_intake_fail(reader, 400, "invalid_value",
                              "'%s': the role '%.40s' is not one of system, user, assistant, tool",
                              reader->path, m.role);
    if (!check_message(reader, &m, role)) return false;
    *message = (sp_message){role, m.content, m.reasoning, m.calls, m.n_calls, m.tool_call_id};
    *prefix = m.prefix;
    return true;
}

static bool read_messages(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)field;
    sp_chat_request *request = target;
    if (!sp_intake_expect(reader, value, SP_JSON_ARRAY)) return false;
    size_t n = sp_json_size(value);
    if (n == 0) return sp_intake_fail(reader, 400, "invalid_value", "'messages' is empty");
    request->messages = sp_intake_alloc(reader, n, sizeof *request->messages);
    if (!request->messages) return false;
    for (size_t i = 0; i < n; i++) {
        size_t mark = sp_intake_enter_at(reader, i);
        if (request->prefix)
            return sp_intake_fail(reader, 400, "invalid_value", "only the last message can have 'prefix'");
        if (!read_message(reader, sp_json_at(value, i), &request->messages[i], &request->prefix))
            return false;
        sp_intake_leave(reader, mark);
    }
    request->n_messages = n;
    return true;
}

/* --- tools ---------------------------------------------------------------------------------------------- */

typedef struct tool_fields {
    const char *type, *name, *description;
    const char *parameters;
    bool has_function, strict;
} tool_fields;

static bool read_parameters(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)field;
    tool_fields *t = target;
    if (!sp_intake_expect(reader, value, SP_JSON_OBJECT)) return false;
    t->parameters = sp_intake_dump(reader, value);
    return t->parameters != NULL;
}

static bool read_function(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    static const sp_field fields[] = {{"name", sp_read_text, offsetof(tool_fields, name), 0, 0},
                                      {"description", sp_read_text, offsetof(tool_fields, description), 0, 0},
                                      {"parameters", read_parameters, 0, 0, 0},
                                      {"strict", sp_read_flag, offsetof(tool_fields, strict), 0, 0},
                                      END_OF_FIELDS};
    (void)field;
    ((tool_fields *)target)->has_function = true;
    return sp_read_members(reader, value, fields, target);
}

static bool read_tool(sp_intake *reader, const sp_json *value, sp_request_tool *tool)
{
    static const sp_field fields[] = {{"type", sp_read_text, offsetof(tool_fields, type), 0, 0},
                                      {"function", read_function, 0, 0, 0},
                                      END_OF_FIELDS};
    tool_fields t = {0};
    const char *type = sp_json_string(sp_json_get(value, "type"), NULL);
    if (type && strcmp(type, "function") != 0)
        return sp_intake_fail(reader, 400, "unsupported_value",
                              "'%s' is of type '%.40s', but only 'function' is supported", reader->path,
                              type);
    if (!sp_read_members(reader, value, fields, &t)) return false;
    if (!t.type || !t.has_function || !t.name || !t.name[0])
        return sp_intake_fail(reader, 400, "missing_required_parameter",
                              "'%s' needs 'type' and a 'function' with a 'name'", reader->path);
    *tool = (sp_request_tool){t.name, t.parameters, t.strict};
    return true;
}

static bool read_tools(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)field;
    sp_chat_request *request = target;
    if (!sp_intake_expect(reader, value, SP_JSON_ARRAY)) return false;
    size_t n = sp_json_size(value);
    if (n > SP_REQUEST_TOOLS_MAX)
        return sp_intake_fail(reader, 422, "invalid_value",
                              "'tools' has %zu elements, but at most %d are taken", n, SP_REQUEST_TOOLS_MAX);
    request->tool = sp_intake_alloc(reader, n, sizeof *request->tool);
    if (!request->tool) return false;
    for (size_t i = 0; i < n; i++) {
        size_t mark = sp_intake_enter_at(reader, i);
        if (!read_tool(reader, sp_json_at(value, i), &request->tool[i])) return false;
        sp_intake_leave(reader, mark);
    }
    request->n_tools = n;
    if (n) request->tools = sp_intake_dump(reader, value);
    return n == 0 || request->tools;
}

typedef struct choice_fields {
    const char *type, *name;
} choice_fields;

static bool read_choice_function(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    static const sp_field fields[] = {{"name", sp_read_text, offsetof(choice_fields, name), 0, 0},
                                      END_OF_FIELDS};
    (void)field;
    return sp_read_members(reader, value, fields, target);
}

static bool read_tool_choice(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    static const char *const words[] = {"auto", "none", "required"}; /* as sp_tool_choice */
    static const sp_field fields[] = {{"type", sp_read_text, offsetof(choice_fields, type), 0, 0},
                                      {"function", read_choice_function, 0, 0, 0},
                                      END_OF_FIELDS};
    (void)field;
    sp_chat_request *request = target;
    choice_fields c = {NULL, NULL};
    const char *word = sp_json_string(value, NULL);
    for (int i = 0; word && i < 3; i++) {
        if (strcmp(word, words[i]) != 0) continue;
        request->tool_choice = (sp_tool_choice)i;
        return true;
    }
    if (word)
        return sp_intake_fail(reader, 400, "invalid_value",
                              "'tool_choice' is '%.40s', but must be none, auto, required or a function",
                              word);
    if (!sp_read_members(reader, value, fields, &c)) return false;
    if (!c.type || strcmp(c.type, "function") != 0 || !c.name)
        return sp_intake_fail(
            reader, 400, "invalid_value",
            "'tool_choice' must be {\"type\": \"function\", \"function\": {\"name\": ...}}");
    request->tool_choice = SP_TOOL_CHOICE_NAMED;
    request->tool_name = c.name;
    return true;
}

static bool read_parallel(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)field;
    if (!sp_intake_expect(reader, value, SP_JSON_BOOL)) return false;
    ((sp_chat_request *)target)->one_call = !sp_json_bool(value, true);
    return true;
}

/* --- response format ------------------------------------------------------------------------------------ */

typedef struct format_fields {
    const char *type, *name, *description, *schema;
    bool has_schema, strict;
} format_fields;

static bool read_schema(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)field;
    format_fields *f = target;
    if (!sp_json_is(value, SP_JSON_BOOL) && !sp_intake_expect(reader, value, SP_JSON_OBJECT)) return false;
    f->schema = sp_intake_dump(reader, value);
    return f->schema != NULL;
}

static bool read_json_schema(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    static const sp_field fields[] = {
        {"name", sp_read_text, offsetof(format_fields, name), 0, 0},
        {"description", sp_read_text, offsetof(format_fields, description), 0, 0},
        {"schema", read_schema, 0, 0, 0},
        {"strict", sp_read_flag, offsetof(format_fields, strict), 0, 0},
        END_OF_FIELDS};
    (void)field;
    return sp_read_members(reader, value, fields, target);
}

static bool read_response_format(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    static const char *const types[] = {"text", "json_object", "json_schema"}; /* as sp_response_format */
    static const sp_field fields[] = {{"type", sp_read_text, offsetof(format_fields, type), 0, 0},
                                      {"json_schema", read_json_schema, 0, 0, 0},
                                      END_OF_FIELDS};
    (void)field;
    sp_chat_request *request = target;
    format_fields f = {0};
    int type = 0;
    if (!sp_read_members(reader, value, fields, &f)) return false;
    while (f.type && type < 3 && strcmp(f.type, types[type]) != 0) type++;
    if (!f.type || type == 3)
        return sp_intake_fail(reader, 400, "invalid_value",
                              "'response_format.type' must be text, json_object or json_schema");
    if (type == SP_RESPONSE_JSON_SCHEMA && !f.schema)
        return sp_intake_fail(reader, 400, "missing_required_parameter",
                              "'response_format.json_schema.schema' is missing");
    request->response_format = (sp_response_format)type;
    request->schema = f.schema;
    return true;
}

/* --- thinking ------------------------------------------------------------------------------------------- */

typedef struct thinking_fields {
    const char *type;
    int64_t budget;
} thinking_fields;

bool sp_read_thinking(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    static const sp_field fields[] = {
        {"type", sp_read_text, offsetof(thinking_fields, type), 0, 0},
        {"budget_tokens", sp_read_integer, offsetof(thinking_fields, budget), 0, 1e9},
        END_OF_FIELDS};
    (void)field;
    sp_chat_request *request = target;
    thinking_fields t = {NULL, -2};
    if (!sp_read_members(reader, value, fields, &t)) return false;
    bool on = t.type && (strcmp(t.type, "enabled") == 0 || strcmp(t.type, "adaptive") == 0);
    if (!on && !(t.type && strcmp(t.type, "disabled") == 0))
        return sp_intake_fail(reader, 400, "invalid_value", "'thinking.type' must be enabled or disabled");
    request->think = on ? SP_THINK_ON : SP_THINK_OFF;
    if (on) request->think_param = "thinking";
    if (t.budget >= 0) request->think_budget = t.budget;
    return true;
}

/* How many tokens of reasoning the words of the field stand for here; -2: it is none of them. */
static int64_t effort_budget(const sp_json *value)
{
    static const struct {
        const char *word;
        int64_t budget;
    } efforts[] = {{"none", 0},  {"minimal", 512}, {"low", 1024}, {"medium", 4096},
                   {"high", -1}, {"xhigh", -1},    {"max", -1}};
    const char *word = sp_json_string(value, NULL);
    for (size_t i = 0; word && i < sizeof efforts / sizeof efforts[0]; i++)
        if (strcmp(word, efforts[i].word) == 0) return efforts[i].budget;
    int64_t budget = sp_json_int(value, -2);
    return budget >= 0 ? budget : -2;
}

bool sp_chat_request_set_effort(sp_intake *reader, sp_chat_request *request, const sp_json *value)
{
    int64_t budget = effort_budget(value);
    if (budget == -2)
        return sp_intake_fail(reader, 400, "invalid_value",
                              "'%s' must be none, minimal, low, medium, high or a number of tokens",
                              reader->path);
    if (budget == 0) request->think = SP_THINK_OFF;
    if (budget != 0 && request->think == SP_THINK_AUTO) request->think = SP_THINK_ON;
    if (budget != 0 && request->think == SP_THINK_ON) request->think_param = "reasoning_effort";
    if (request->think_budget == -2) request->think_budget = budget;
    return true;
}

static bool read_effort(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)field;
    return sp_chat_request_set_effort(reader, target, value);
}

/* --- the whole ------------------------------------------------------------------------------------------ */

static const sp_field chat_fields[] = {
    SP_COMMON_FIELDS,
    {"messages", read_messages, 0, 0, 0},
    {"max_completion_tokens", sp_read_integer, SP_COMMON(max_tokens), 1, 2147483647},
    {"logprobs", sp_read_flag, offsetof(sp_chat_request, logprobs), 0, 0},
    {"top_logprobs", sp_read_integer, offsetof(sp_chat_request, top_logprobs), 0, SP_MAX_LOGPROBS},
    {"tools", read_tools, 0, 0, 0},
    {"tool_choice", read_tool_choice, 0, 0, 0},
    {"parallel_tool_calls", read_parallel, 0, 0, 0},
    {"response_format", read_response_format, 0, 0, 0},
    {"thinking", sp_read_thinking, 0, 0, 0},
    {"reasoning_effort", read_effort, 0, 0, 0},
    {"store", sp_read_ignored, 0, 0, 0},
    {"metadata", sp_read_ignored, 0, 0, 0},
    {"service_tier", sp_read_ignored, 0, 0, 0},
    {"safety_identifier", sp_read_ignored, 0, 0, 0},
    {"prompt_cache_key", sp_read_ignored, 0, 0, 0},
    END_OF_FIELDS,
};

static bool check_tool_choice(const sp_chat_request *request, sp_fault *fault)
{
    bool forced =
        request->tool_choice == SP_TOOL_CHOICE_REQUIRED || request->tool_choice == SP_TOOL_CHOICE_NAMED;
    bool found = request->tool_choice != SP_TOOL_CHOICE_NAMED;
    for (size_t i = 0; !found && i < request->n_tools; i++)
        found = strcmp(request->tool[i].name, request->tool_name) == 0;
    if (forced && request->n_tools == 0)
        return sp_fault_set(fault, 400, "tool_choice", "invalid_value",
                            "'tool_choice' asks for a call, but there are no tools");
    if (!found)
        return sp_fault_set(fault, 400, "tool_choice", "invalid_value",
                            "'tool_choice' names the function '%.60s', which is not among the tools",
                            request->tool_name);
    if (request->n_tools && request->tool_choice != SP_TOOL_CHOICE_NONE &&
        request->response_format != SP_RESPONSE_TEXT)
        return sp_fault_set(
            fault, 400, "response_format", "unsupported_value",
            "'response_format' other than text cannot be combined with tools that may be called");
    if (forced && request->prefix)
        return sp_fault_set(fault, 400, "tool_choice", "unsupported_value",
                            "'tool_choice' cannot force a call after a prefix");
    return true;
}

bool sp_chat_request_check(const sp_chat_request *request, sp_fault *fault)
{
    if (!request->common.model)
        return sp_fault_set(fault, 400, "model", "missing_required_parameter",
                            "the parameter 'model' is missing");
    if (!request->messages)
        return sp_fault_set(fault, 400, "messages", "missing_required_parameter",
                            "the parameter 'messages' is missing");
    if (request->top_logprobs >= 0 && !request->logprobs)
        return sp_fault_set(fault, 400, "top_logprobs", "invalid_value",
                            "'top_logprobs' needs 'logprobs' to be true");
    return check_tool_choice(request, fault);
}

bool sp_chat_request_parse(sp_chat_request *request, const char *body, size_t len, sp_fault *fault)
{
    *request = (sp_chat_request){.think_budget = -2, .top_logprobs = -1};
    sp_request_common_init(&request->common);
    request->arena = sp_arena_create(1 << 14);
    if (!request->arena) return sp_fault_nomem(fault);
    if (!sp_request_open(&request->root, body, len, fault)) return false;
    sp_intake reader = {request->arena, fault, ""};
    if (!sp_read_members(&reader, request->root, chat_fields, request)) return false;
    if (request->logprobs) request->common.n_logprobs = request->top_logprobs > 0 ? request->top_logprobs : 0;
    return sp_chat_request_check(request, fault);
}

void sp_chat_request_clear(sp_chat_request *request)
{
    sp_json_destroy(request->root);
    sp_arena_destroy(request->arena);
    *request = (sp_chat_request){.think_budget = -2, .top_logprobs = -1};
}
