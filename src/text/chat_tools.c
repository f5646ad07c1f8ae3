/* SPDX-License-Identifier: MIT */
/* The system text that describes tools. DeepSeek's templates for V2.5, V3 and R1 leave this to the server, so
 * the words here are ours; what they must state is the schemas and the exact form of a call that the models
 * were trained on. V3.1 has a fixed layout, taken from its model card. Qwen's text is part of its template
 * (chat_qwen.c). */
#include "text/chat_build.h"
#include "text/chat_json.h"

#include <string.h>

static const char head_v25[] = "# Tools\n\nYou can call functions when they help to answer. Each line "
                               "between <tools> and </tools> describes one "
                               "of them as JSON.\n<tools>\n";

static const char tail_v25[] =
    "</tools>\n\nTo call functions, end your reply with the calls in exactly this form; the arguments are "
    "one JSON "
    "object that fits the function's parameters, and further calls follow on new lines before the end "
    "mark:\n" SP_CALLS_BEGIN SP_CALL_BEGIN "function" SP_CALL_SEP
    "FUNCTION_NAME\n```json\n{\"ARGUMENT\": \"VALUE\"}\n```" SP_CALL_END SP_CALLS_END
    "\nThe results are then given to you, and you continue.";

static const char head_v31[] = "## Tools\nYou have access to the following tools:\n\n";

static const char tail_v31[] =
    "IMPORTANT: ALWAYS adhere to this exact format for tool use:\n" SP_CALLS_BEGIN SP_CALL_BEGIN
    "tool_call_name" SP_CALL_SEP "tool_call_arguments" SP_CALL_END "{additional_tool_calls}" SP_CALLS_END
    "\n\nWhere:\n"
    "- `tool_call_name` must be an exact match to one of the available tools\n"
    "- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema\n"
    "- For multiple tool calls, chain them directly without separators or spaces\n";

/* A string member's characters, or nothing where it is missing. */
static sp_status put_string_member(sp_buf *out, sp_rawjson object, const char *key, sp_error *err)
{
    sp_rawjson value;
    sp_status status = SP_OK;
    if (sp_rawjson_member(object, key, &value)) sp_rawjson_string(out, value, &status, err);
    return status;
}

static sp_status write_tool_v31(sp_chat_build *build, sp_rawjson function, sp_error *err)
{
    sp_rawjson parameters;
    SP_TRY(sp_chat_build_control(build, "### ", err));
    SP_TRY(put_string_member(&build->text, function, "name", err));
    SP_TRY(sp_chat_build_control(build, "\nDescription: ", err));
    SP_TRY(put_string_member(&build->text, function, "description", err));
    SP_TRY(sp_chat_build_control(build, "\n\nParameters: ", err));
    if (!sp_rawjson_member(function, "parameters", &parameters)) parameters = (sp_rawjson){"{}", 2};
    SP_TRY(sp_rawjson_put(&build->text, parameters.text, parameters.len, err));
    return sp_chat_build_control(build, "\n\n", err);
}

sp_status sp_chat_write_tools(sp_chat_build *build, const sp_chat_job *job, sp_error *err)
{
    bool v31 = job->format == SP_CHAT_V31;
    sp_rawjson array = {job->tools, job->tools_len}, tool, function;
    size_t pos = 0;
    SP_TRY(sp_chat_build_control(build, v31 ? head_v31 : head_v25, err));
    while (sp_rawjson_next(array, &pos, &tool)) {
        if (v31 && sp_rawjson_member(tool, "function", &function)) {
            SP_TRY(write_tool_v31(build, function, err));
            continue;
        }
        SP_TRY(sp_rawjson_put(&build->text, tool.text, tool.len, err));
        SP_TRY(sp_chat_build_control(build, "\n", err));
    }
    return sp_chat_build_control(build, v31 ? tail_v31 : tail_v25, err);
}
