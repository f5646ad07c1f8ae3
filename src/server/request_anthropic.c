/* SPDX-License-Identifier: MIT */
/* Requests of Anthropic's messages, brought into the same struct as chat completions: blocks become messages, tools get OpenAI's form.
 * Start at sp_anthropic_request_parse(). */
#include "server/request.h"

#include <string.h>

#define END_OF_FIELDS                                                                                        \
    {                                                                                                        \
        NULL, NULL, 0, 0, 0                                                                                  \
    }

/* --- messages ------------------------------------------------------------------------------------------- */

/* One block, of any type. */
typedef struct block {
    const char *type, *text, *thinking, *id, *name, *tool_use_id, *content;
    const sp_json *input;
} block;

static bool read_parts(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)field;
    ((block *)target)->content = sp_read_parts(reader, value);
    return ((block *)target)->content != NULL;
}

static bool read_input(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)field;
    ((block *)target)->input = value;
    return sp_intake_expect(reader, value, SP_JSON_OBJECT);
}

static const sp_field text_fields[] = {{"type", sp_read_text, offsetof(block, type), 0, 0},
                                       {"text", sp_read_text, offsetof(block, text), 0, 0},
                                       {"cache_control", sp_read_ignored, 0, 0, 0},
                                       {"citations", sp_read_ignored, 0, 0, 0},
                                       END_OF_FIELDS};
static const sp_field thinking_fields[] = {{"type", sp_read_text, offsetof(block, type), 0, 0},
                                           {"thinking", sp_read_text, offsetof(block, thinking), 0, 0},
                                           {"signature", sp_read_ignored, 0, 0, 0},
                                           {"cache_control", sp_read_ignored, 0, 0, 0},
                                           END_OF_FIELDS};
static const sp_field use_fields[] = {{"type", sp_read_text, offsetof(block, type), 0, 0},
                                      {"id", sp_read_text, offsetof(block, id), 0, 0},
                                      {"name", sp_read_text, offsetof(block, name), 0, 0},
                                      {"input", read_input, 0, 0, 0},
                                      {"caller", sp_read_ignored, 0, 0, 0},
                                      {"cache_control", sp_read_ignored, 0, 0, 0},
                                      END_OF_FIELDS};
static const sp_field result_fields[] = {{"type", sp_read_text, offsetof(block, type), 0, 0},
                                         {"tool_use_id", sp_read_text, offsetof(block, tool_use_id), 0, 0},
                                         {"content", read_parts, 0, 0, 0},
                                         {"is_error", sp_read_ignored, 0, 0, 0},
                                         {"cache_control", sp_read_ignored, 0, 0, 0},
                                         END_OF_FIELDS};
static const sp_field redacted_fields[] = {
    {"type", sp_read_text, offsetof(block, type), 0, 0}, {"data", sp_read_ignored, 0, 0, 0}, END_OF_FIELDS};

/* Which members a block of a type has, in which role it may stand. */
static const struct block_type {
    const char *name;
    const sp_field *fields;
    bool in_user, in_assistant;
} block_types[] = {{"text", text_fields, true, true},
                   {"thinking", thinking_fields, false, true},
                   {"redacted_thinking", redacted_fields, false, true},
                   {"tool_use", use_fields, false, true},
                   {"tool_result", result_fields, true, false}};

static bool read_block(sp_intake *reader, const sp_json *value, bool assistant, block *b)
{
    const char *type = sp_json_string(sp_json_get(value, "type"), NULL);
    if (!sp_intake_expect(reader, value, SP_JSON_OBJECT)) return false;
    if (!type)
        return sp_intake_fail(reader, 400, "missing_required_parameter", "'%s' has no 'type'", reader->path);
    for (size_t i = 0; i < sizeof block_types / sizeof block_types[0]; i++) {
        const struct block_type *t = &block_types[i];
        if (strcmp(type, t->name) != 0 || !(assistant ? t->in_assistant : t->in_user)) continue;
        if (!sp_read_members(reader, value, t->fields, b)) return false;
        bool is_whole = strcmp(type, "text") == 0          ? b->text != NULL
                        : strcmp(type, "thinking") == 0    ? b->thinking != NULL
                        : strcmp(type, "tool_use") == 0    ? b->name && b->input
                        : strcmp(type, "tool_result") == 0 ? b->tool_use_id != NULL
                                                           : true;
        return is_whole || sp_intake_fail(reader, 400, "missing_required_parameter",
                                          "'%s' lacks a member of its type '%s'", reader->path, type);
    }
    return sp_intake_fail(reader, 400, "unsupported_value",
                          "'%s' is of type '%.40s', which is not supported here", reader->path, type);
}

/* Text that grows in the arena, twice as large each time. */
typedef struct joined {
    char *data; /* NUL-terminated; NULL: none yet */
    size_t len, cap;
} joined;

static bool append_text(sp_intake *reader, joined *j, const char *text)
{
    size_t n = strlen(text);
    if (!j->data || n >= j->cap - j->len) {
        size_t cap = 2 * (j->len + n) + 1;
        char *data = sp_intake_alloc(reader, cap, 1);
        if (!data) return false;
        if (j->len) memcpy(data, j->data, j->len);
        j->data = data;
        j->cap = cap;
    }
    memcpy(j->data + j->len, text, n + 1);
    j->len += n;
    return true;
}

/* A message that takes blocks. */
typedef struct open_message {
    sp_message *message; /* NULL: none */
    joined content, reasoning;
    sp_tool_call *calls;
} open_message;

static void open_at(open_message *open, sp_message *messages, size_t *n, sp_role role)
{
    sp_tool_call *calls = open->calls;
    *open = (open_message){.message = &messages[(*n)++], .calls = calls};
    *open->message = (sp_message){.role = role};
}

static bool add_text_block(sp_intake *reader, open_message *open, const char *text)
{
    if (!append_text(reader, &open->content, text)) return false;
    open->message->content = open->content.data;
    return true;
}

static bool add_assistant_block(sp_intake *reader, open_message *open, const block *b)
{
    sp_message *m = open->message;
    if (b->text) return add_text_block(reader, open, b->text);
    if (b->thinking) {
        if (!append_text(reader, &open->reasoning, b->thinking)) return false;
        m->reasoning = open->reasoning.data;
        return true;
    }
    if (!b->name) return true; /* redacted thinking */
    const char *arguments = sp_intake_dump(reader, b->input);
    if (!arguments) return false;
    open->calls[m->n_tool_calls++] = (sp_tool_call){b->id, b->name, arguments};
    m->tool_calls = open->calls;
    return true;
}

/* The content of one message into one (assistant) or several of ours: each tool's result is a message, text between them another. */
static bool read_blocks(sp_intake *reader, const sp_json *value, bool assistant, sp_message *messages,
                        size_t *n)
{
    size_t n_blocks = sp_json_size(value);
    open_message open = {.calls = assistant ? sp_intake_alloc(reader, n_blocks, sizeof *open.calls) : NULL};
    if (assistant && !open.calls) return false;
    if (assistant) open_at(&open, messages, n, SP_ROLE_ASSISTANT);
    for (size_t i = 0; i < n_blocks; i++) {
        block b = {0};
        size_t mark = sp_intake_enter_at(reader, i);
        if (!read_block(reader, sp_json_at(value, i), assistant, &b)) return false;
        if (assistant) {
            if (!add_assistant_block(reader, &open, &b)) return false;
        } else if (b.tool_use_id) {
            const char *content = b.content ? b.content : "";
            messages[(*n)++] =
                (sp_message){.role = SP_ROLE_TOOL, .content = content, .tool_call_id = b.tool_use_id};
            open.message = NULL;
        } else {
            if (!open.message) open_at(&open, messages, n, SP_ROLE_USER);
            if (!add_text_block(reader, &open, b.text)) return false;
        }
        sp_intake_leave(reader, mark);
    }
    if (assistant && !open.message->content && !open.message->n_tool_calls) open.message->content = "";
    return true;
}

typedef struct turn_fields {
    const char *role;
    const sp_json *content;
} turn_fields;

static bool keep_value(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)reader;
    memcpy((char *)target + field->offset, &value, sizeof value);
    return true;
}

static bool read_turn(sp_intake *reader, const sp_json *value, sp_chat_request *request)
{
    static const sp_field fields[] = {{"role", sp_read_text, offsetof(turn_fields, role), 0, 0},
                                      {"content", keep_value, offsetof(turn_fields, content), 0, 0},
                                      END_OF_FIELDS};
    turn_fields turn = {NULL, NULL};
    if (!sp_read_members(reader, value, fields, &turn)) return false;
    bool assistant = turn.role && strcmp(turn.role, "assistant") == 0;
    if (!assistant && !(turn.role && strcmp(turn.role, "user") == 0))
        return sp_intake_fail(reader, 400, "invalid_value", "'%s': the role must be user or assistant",
                              reader->path);
    if (!turn.content)
        return sp_intake_fail(reader, 400, "missing_required_parameter", "'%s' has no 'content'",
                              reader->path);
    size_t mark = sp_intake_enter(reader, "content");
    if (sp_json_is(turn.content, SP_JSON_ARRAY)) {
        if (!read_blocks(reader, turn.content, assistant, request->messages, &request->n_messages))
            return false;
    } else {
        const char *text = sp_read_parts(reader, turn.content);
        if (!text) return false;
        request->messages[request->n_messages++] =
            (sp_message){.role = assistant ? SP_ROLE_ASSISTANT : SP_ROLE_USER, .content = text};
    }
    sp_intake_leave(reader, mark);
    return true;
}

static bool read_turns(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)field;
    sp_chat_request *request = target;
    size_t n = sp_json_size(value), cap = 1; /* one for the system's */
    if (!sp_intake_expect(reader, value, SP_JSON_ARRAY)) return false;
    if (n == 0) return sp_intake_fail(reader, 400, "invalid_value", "'messages' is empty");
    for (size_t i = 0; i < n; i++) cap += 1 + sp_json_size(sp_json_get(sp_json_at(value, i), "content"));
    request->messages = sp_intake_alloc(reader, cap, sizeof *request->messages);
    if (!request->messages) return false;
    request->n_messages = 1; /* the first place is kept */
    for (size_t i = 0; i < n; i++) {
        size_t mark = sp_intake_enter_at(reader, i);
        if (!read_turn(reader, sp_json_at(value, i), request)) return false;
        sp_intake_leave(reader, mark);
    }
    if (request->n_messages == 1)
        return sp_intake_fail(reader, 400, "invalid_value", "'messages' has no content");
    request->prefix = request->messages[request->n_messages - 1].role == SP_ROLE_ASSISTANT;
    return true;
}

/* --- tools ---------------------------------------------------------------------------------------------- */

typedef struct tool_fields {
    const char *type, *name, *description;
    const sp_json *schema;
    bool strict;
} tool_fields;

static bool read_schema(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    return sp_intake_expect(reader, value, SP_JSON_OBJECT) && keep_value(reader, field, value, target);
}

/* One tool in OpenAI's form, appended to the text. */
static sp_status put_tool(sp_buf *out, const tool_fields *t, const char *schema)
{
    SP_TRY(sp_buf_puts(out, "{\"type\":\"function\",\"function\":{\"name\":", NULL));
    SP_TRY(sp_json_put_string(out, t->name, strlen(t->name), NULL));
    if (t->description) {
        SP_TRY(sp_buf_puts(out, ",\"description\":", NULL));
        SP_TRY(sp_json_put_string(out, t->description, strlen(t->description), NULL));
    }
    SP_TRY(sp_buf_puts(out, ",\"parameters\":", NULL));
    SP_TRY(sp_buf_puts(out, schema, NULL));
    return sp_buf_puts(out, "}}", NULL);
}

static bool read_tool(sp_intake *reader, const sp_json *value, sp_request_tool *tool, sp_buf *out)
{
    static const sp_field fields[] = {{"type", sp_read_text, offsetof(tool_fields, type), 0, 0},
                                      {"name", sp_read_text, offsetof(tool_fields, name), 0, 0},
                                      {"description", sp_read_text, offsetof(tool_fields, description), 0, 0},
                                      {"input_schema", read_schema, offsetof(tool_fields, schema), 0, 0},
                                      {"strict", sp_read_flag, offsetof(tool_fields, strict), 0, 0},
                                      {"cache_control", sp_read_ignored, 0, 0, 0},
                                      END_OF_FIELDS};
    tool_fields t = {0};
    const char *type = sp_json_string(sp_json_get(value, "type"), NULL);
    if (type && strcmp(type, "custom") != 0)
        return sp_intake_fail(reader, 400, "unsupported_value",
                              "'%s' is of type '%.40s', but only 'custom' is supported", reader->path, type);
    if (!sp_read_members(reader, value, fields, &t)) return false;
    if (!t.name || !t.name[0] || !t.schema)
        return sp_intake_fail(reader, 400, "missing_required_parameter",
                              "'%s' needs 'name' and 'input_schema'", reader->path);
    const char *schema = sp_intake_dump(reader, t.schema);
    if (!schema) return false;
    *tool = (sp_request_tool){t.name, schema, t.strict};
    return put_tool(out, &t, schema) == SP_OK || sp_fault_nomem(reader->fault);
}

static bool read_tool_list(sp_intake *reader, const sp_json *value, sp_chat_request *request, sp_buf *out)
{
    size_t n = sp_json_size(value);
    for (size_t i = 0; i < n; i++) {
        size_t mark = sp_intake_enter_at(reader, i);
        if (sp_buf_puts(out, i ? "," : "[", NULL) != SP_OK) return sp_fault_nomem(reader->fault);
        if (!read_tool(reader, sp_json_at(value, i), &request->tool[i], out)) return false;
        sp_intake_leave(reader, mark);
    }
    if (n == 0) return true;
    char *text = NULL;
    if (sp_buf_puts(out, "]", NULL) != SP_OK) return sp_fault_nomem(reader->fault);
    if (!(text = sp_intake_alloc(reader, out->len + 1, 1))) return false;
    memcpy(text, out->data, out->len);
    request->tools = text;
    request->n_tools = n;
    return true;
}

static bool read_tools(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)field;
    sp_chat_request *request = target;
    sp_buf out = {NULL, 0, 0};
    if (!sp_intake_expect(reader, value, SP_JSON_ARRAY)) return false;
    if (sp_json_size(value) > SP_REQUEST_TOOLS_MAX)
        return sp_intake_fail(reader, 422, "invalid_value",
                              "'tools' has %zu elements, but at most %d are taken", sp_json_size(value),
                              SP_REQUEST_TOOLS_MAX);
    request->tool = sp_intake_alloc(reader, sp_json_size(value), sizeof *request->tool);
    bool good = request->tool && read_tool_list(reader, value, request, &out);
    sp_buf_clear(&out);
    return good;
}

typedef struct choice_fields {
    const char *type, *name;
    bool one;
} choice_fields;

static bool read_tool_choice(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    static const char *const types[] = {"auto", "none", "any", "tool"}; /* as sp_tool_choice */
    static const sp_field fields[] = {
        {"type", sp_read_text, offsetof(choice_fields, type), 0, 0},
        {"name", sp_read_text, offsetof(choice_fields, name), 0, 0},
        {"disable_parallel_tool_use", sp_read_flag, offsetof(choice_fields, one), 0, 0},
        END_OF_FIELDS};
    (void)field;
    sp_chat_request *request = target;
    choice_fields c = {0};
    int type = 0;
    if (!sp_read_members(reader, value, fields, &c)) return false;
    while (c.type && type < 4 && strcmp(c.type, types[type]) != 0) type++;
    if (!c.type || type == 4)
        return sp_intake_fail(reader, 400, "invalid_value",
                              "'tool_choice.type' must be auto, any, tool or none");
    if (type == SP_TOOL_CHOICE_NAMED && !c.name)
        return sp_intake_fail(reader, 400, "missing_required_parameter", "'tool_choice.name' is missing");
    request->tool_choice = (sp_tool_choice)type;
    request->tool_name = c.name;
    request->one_call = c.one;
    return true;
}

/* --- the rest ------------------------------------------------------------------------------------------- */

static bool read_system(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)field;
    sp_chat_request *request = target;
    request->system = sp_read_parts(reader, value);
    return request->system != NULL;
}

static bool read_effort(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    (void)field;
    return sp_chat_request_set_effort(reader, target, value);
}

static bool read_output_config(sp_intake *reader, const sp_field *field, const sp_json *value, void *target)
{
    static const sp_field fields[] = {{"effort", read_effort, 0, 0, 0}, END_OF_FIELDS};
    (void)field;
    return sp_read_members(reader, value, fields, target);
}

static const sp_field anthropic_request_fields[] = {
    {"model", sp_read_text, SP_COMMON(model), 0, 0},
    {"messages", read_turns, 0, 0, 0},
    {"system", read_system, 0, 0, 0},
    {"max_tokens", sp_read_integer, SP_COMMON(max_tokens), 1, 2147483647},
    {"temperature", sp_read_number, SP_COMMON(temperature), 0, 2},
    {"top_p", sp_read_number, SP_COMMON(top_p), 0, 1},
    {"top_k", sp_read_integer, SP_COMMON(top_k), 0, 2147483647},
    {"stop_sequences", sp_read_stop, 0, 0, 0},
    {"stream", sp_read_flag, SP_COMMON(stream), 0, 0},
    {"tools", read_tools, 0, 0, 0},
    {"tool_choice", read_tool_choice, 0, 0, 0},
    {"thinking", sp_read_thinking, 0, 0, 0},
    {"output_config", read_output_config, 0, 0, 0},
    {"seed", sp_read_seed, 0, 0, 0},
    {"metadata", sp_read_ignored, 0, 0, 0},
    {"service_tier", sp_read_ignored, 0, 0, 0},
    {"cache_control", sp_read_ignored, 0, 0, 0},
    END_OF_FIELDS,
};

/* The system's text takes the place that was kept for it, or the place is dropped. */
static void place_system(sp_chat_request *request)
{
    if (!request->messages) return;
    request->messages[0] = (sp_message){.role = SP_ROLE_SYSTEM, .content = request->system};
    if (request->system) return;
    request->messages++;
    request->n_messages--;
}

bool sp_anthropic_request_parse(sp_chat_request *request, const char *body, size_t len, bool count_only,
                                sp_fault *fault)
{
    *request = (sp_chat_request){.think_budget = -2, .top_logprobs = -1};
    sp_request_common_init(&request->common);
    request->arena = sp_arena_create(1 << 14);
    if (!request->arena) return sp_fault_nomem(fault);
    if (!sp_request_open(&request->root, body, len, fault)) return false;
    sp_intake reader = {request->arena, fault, ""};
    if (!sp_read_members(&reader, request->root, anthropic_request_fields, request)) return false;
    place_system(request);
    if (!count_only && request->common.max_tokens < 0)
        return sp_fault_set(fault, 400, "max_tokens", "missing_required_parameter",
                            "the parameter 'max_tokens' is missing");
    return sp_chat_request_check(request, fault);
}
