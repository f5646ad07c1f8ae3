/* SPDX-License-Identifier: MIT */
/* Requests of the API: what is accepted means what it says; what is not is refused with a status and the parameter's name. */
#include "api_testing.h"

#include <math.h>

#define MESSAGES "\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

/* --- refusals ------------------------------------------------------------------------------------------- */

typedef struct refusal {
    const char *body;
    int status;
    const char *param, *code;
} refusal;

static const refusal chat_refusals[] = {
    {"", 400, "", "invalid_json"},
    {"{", 400, "", "invalid_json"},
    {"[]", 400, "", "invalid_json"},
    {"{} x", 400, "", "invalid_json"},
    {"{\"model\":\"\xff\"}", 400, "", "invalid_json"},
    {"{\"model\":\"a\",\"model\":\"b\"}", 400, "", "invalid_json"},
    {"{}", 400, "model", "missing_required_parameter"},
    {"{\"model\":\"m\"}", 400, "messages", "missing_required_parameter"},
    {"{\"model\":1}", 400, "model", "invalid_type"},
    {"{\"model\":\"m\\u0000\"}", 400, "model", "invalid_value"},
    {"{" MESSAGES ",\"temprature\":1}", 400, "temprature", "unknown_parameter"},
    {"{" MESSAGES ",\"prediction\":{}}", 400, "prediction", "unknown_parameter"},
    {"{" MESSAGES ",\"functions\":[]}", 400, "functions", "unknown_parameter"},
    {"{" MESSAGES ",\"temperature\":\"1\"}", 400, "temperature", "invalid_type"},
    {"{" MESSAGES ",\"temperature\":2.1}", 422, "temperature", "invalid_value"},
    {"{" MESSAGES ",\"temperature\":-0.1}", 422, "temperature", "invalid_value"},
    {"{" MESSAGES ",\"top_p\":1.5}", 422, "top_p", "invalid_value"},
    {"{" MESSAGES ",\"presence_penalty\":-3}", 422, "presence_penalty", "invalid_value"},
    {"{" MESSAGES ",\"max_tokens\":0}", 422, "max_tokens", "invalid_value"},
    {"{" MESSAGES ",\"max_tokens\":1.5}", 400, "max_tokens", "invalid_type"},
    {"{" MESSAGES ",\"max_tokens\":true}", 400, "max_tokens", "invalid_type"},
    {"{" MESSAGES ",\"n\":0}", 422, "n", "invalid_value"},
    {"{" MESSAGES ",\"n\":33}", 422, "n", "invalid_value"},
    {"{" MESSAGES ",\"seed\":1.5}", 400, "seed", "invalid_type"},
    {"{" MESSAGES ",\"stream\":1}", 400, "stream", "invalid_type"},
    {"{" MESSAGES ",\"stream_options\":{\"x\":1}}", 400, "stream_options.x", "unknown_parameter"},
    {"{" MESSAGES ",\"stop\":5}", 400, "stop", "invalid_type"},
    {"{" MESSAGES ",\"stop\":[\"a\",5]}", 400, "stop[1]", "invalid_type"},
    {"{" MESSAGES ",\"stop\":[\"\"]}", 422, "stop[0]", "invalid_value"},
    {"{" MESSAGES
     ",\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\",\"14\","
     "\"15\",\"16\",\"17\"]}",
     422, "stop", "invalid_value"},
    {"{" MESSAGES ",\"logit_bias\":{\"x\":1}}", 400, "logit_bias.x", "invalid_value"},
    {"{" MESSAGES ",\"logit_bias\":{\"-1\":1}}", 400, "logit_bias.-1", "invalid_value"},
    {"{" MESSAGES ",\"logit_bias\":{\"1\":101}}", 422, "logit_bias.1", "invalid_value"},
    {"{" MESSAGES ",\"logit_bias\":{\"99999999999999999999\":1}}", 400, "logit_bias.99999999999999999999",
     "invalid_value"},
    {"{" MESSAGES ",\"top_logprobs\":2}", 400, "top_logprobs", "invalid_value"},
    {"{" MESSAGES ",\"logprobs\":true,\"top_logprobs\":21}", 422, "top_logprobs", "invalid_value"},
    {"{" MESSAGES ",\"logprobs\":3}", 400, "logprobs", "invalid_type"},
    {"{\"model\":\"m\",\"messages\":[]}", 400, "messages", "invalid_value"},
    {"{\"model\":\"m\",\"messages\":{}}", 400, "messages", "invalid_type"},
    {"{\"model\":\"m\",\"messages\":[5]}", 400, "messages[0]", "invalid_type"},
    {"{\"model\":\"m\",\"messages\":[{\"content\":\"x\"}]}", 400, "messages[0]",
     "missing_required_parameter"},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"robot\",\"content\":\"x\"}]}", 400, "messages[0]",
     "invalid_value"},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}", 400, "messages[0]",
     "missing_required_parameter"},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":null}]}", 400, "messages[0]",
     "missing_required_parameter"},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":5}]}", 400, "messages[0].content",
     "invalid_type"},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{}"
     "}]}]}",
     400, "messages[0].content[0]", "unsupported_value"},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}", 400,
     "messages[0].content[0]", "missing_required_parameter"},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"tool_calls\":[{\"function\":{"
     "\"name\":\"f\","
     "\"arguments\":\"{}\"}}]}]}",
     400, "messages[0]", "invalid_value"},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}", 400, "messages[0]",
     "missing_required_parameter"},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[{\"id\":\"1\"}"
     "]}]}",
     400, "messages[0].tool_calls[0]", "missing_required_parameter"},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[{\"function\":"
     "{\"name\":"
     "\"f\",\"arguments\":{}}}]}]}",
     400, "messages[0].tool_calls[0].function.arguments", "invalid_type"},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"a\",\"prefix\":true},{\"role\":"
     "\"user\","
     "\"content\":\"b\"}]}",
     400, "messages[1]", "invalid_value"},
    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"prefix\":true}]}", 400,
     "messages[0]", "invalid_value"},
    {"{" MESSAGES ",\"tools\":{}}", 400, "tools", "invalid_type"},
    {"{" MESSAGES ",\"tools\":[{\"type\":\"retrieval\"}]}", 400, "tools[0]", "unsupported_value"},
    {"{" MESSAGES ",\"tools\":[{\"type\":\"function\"}]}", 400, "tools[0]", "missing_required_parameter"},
    {"{" MESSAGES ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":[]}}]}",
     400, "tools[0].function.parameters", "invalid_type"},
    {"{" MESSAGES ",\"tool_choice\":\"required\"}", 400, "tool_choice", "invalid_value"},
    {"{" MESSAGES ",\"tool_choice\":\"maybe\"}", 400, "tool_choice", "invalid_value"},
    {"{" MESSAGES
     ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":{\"type\":"
     "\"function\",\"function\":{\"name\":\"g\"}}}",
     400, "tool_choice", "invalid_value"},
    {"{" MESSAGES
     ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"response_format\":{\"type\":"
     "\"json_object\"}}",
     400, "response_format", "unsupported_value"},
    {"{" MESSAGES ",\"response_format\":{\"type\":\"xml\"}}", 400, "response_format", "invalid_value"},
    {"{" MESSAGES ",\"response_format\":{\"type\":\"json_schema\"}}", 400, "response_format",
     "missing_required_parameter"},
    {"{" MESSAGES ",\"thinking\":{\"type\":\"maybe\"}}", 400, "thinking", "invalid_value"},
    {"{" MESSAGES ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":-5}}", 422, "thinking.budget_tokens",
     "invalid_value"},
    {"{" MESSAGES ",\"reasoning_effort\":\"hard\"}", 400, "reasoning_effort", "invalid_value"},
    {"{" MESSAGES ",\"reasoning_effort\":-1}", 400, "reasoning_effort", "invalid_value"},
    {"{" MESSAGES ",\"reasoning_effort\":true}", 400, "reasoning_effort", "invalid_value"},
};

static void expect_fault(const refusal *want, const sp_fault *fault, bool good)
{
    if (good) fail_msg("accepted: %s", want->body);
    if (fault->status != want->status || strcmp(fault->param, want->param) != 0 ||
        strcmp(fault->code, want->code) != 0)
        fail_msg("%s: got %d \"%s\" %s (%s)", want->body, fault->status, fault->param, fault->code,
                 fault->text);
    assert_true(strlen(fault->text) > 0);
}

static void test_chat_refuses(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    for (size_t i = 0; i < sizeof chat_refusals / sizeof chat_refusals[0]; i++) {
        sp_chat_request request;
        sp_fault fault = {0};
        bool good =
            sp_chat_request_parse(&request, chat_refusals[i].body, strlen(chat_refusals[i].body), &fault);
        expect_fault(&chat_refusals[i], &fault, good);
        sp_chat_request_clear(&request);
    }
}

static void test_deep_json_is_refused(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    size_t n = 100000;
    char *body = sp_malloc(2 * n + 1);
    memset(body, '[', n);
    memset(body + n, ']', n);
    sp_chat_request request;
    sp_fault fault = {0};
    assert_false(sp_chat_request_parse(&request, body, 2 * n, &fault));
    assert_int_equal(fault.status, 400);
    sp_chat_request_clear(&request);
    sp_free(body);
}

/* --- what is accepted ----------------------------------------------------------------------------------- */

static void test_chat_reads_sampling(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    sp_chat_request r;
    parse_chat(&r, "{" MESSAGES
                   ",\"temperature\":0.25,\"top_p\":1,\"frequency_penalty\":-2,\"max_completion_tokens\":7,"
                   "\"seed\":-5,\"stop\":\"END\",\"logit_bias\":{\"12\":-100,\"7\":1.5},\"n\":2,\"top_k\":40,"
                   "\"min_p\":0.05,"
                   "\"repetition_penalty\":1.1,\"logprobs\":true,\"top_logprobs\":3,\"stream\":true,"
                   "\"stream_options\":{\"include_usage\":true},\"presence_penalty\":null,\"user\":\"u\","
                   "\"store\":false,"
                   "\"metadata\":{},\"service_tier\":\"auto\",\"parallel_tool_calls\":true}");
    const sp_request_common *c = &r.common;
    assert_true(c->temperature == 0.25 && c->top_p == 1.0 && c->frequency_penalty == -2.0 &&
                isnan(c->presence_penalty));
    assert_true(c->min_p == 0.05 && c->repetition_penalty == 1.1);
    assert_int_equal(c->max_tokens, 7);
    assert_int_equal(c->top_k, 40);
    assert_int_equal(c->n, 2);
    assert_int_equal(c->n_logprobs, 3);
    assert_true(c->has_seed && c->seed == -5);
    assert_int_equal(c->n_stop, 1);
    assert_string_equal(c->stop[0], "END");
    assert_int_equal(c->n_bias, 2);
    assert_int_equal(c->bias[0].id, 12);
    assert_true(c->bias[0].bias == -100.0f && c->bias[1].bias == 1.5f);
    assert_true(c->stream && c->include_usage && !r.one_call);
    sp_chat_request_clear(&r);
}

static void test_chat_reads_messages(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    sp_chat_request r;
    parse_chat(
        &r, "{\"model\":\"m\",\"messages\":[{\"role\":\"developer\",\"content\":[{\"type\":\"text\",\"text\":"
            "\"a\"},"
            "{\"type\":\"text\",\"text\":\"b\"}]},{\"role\":\"user\",\"content\":\"q\",\"name\":\"Ann\"},"
            "{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"hm\",\"refusal\":null,"
            "\"annotations\":[],"
            "\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"index\":0,\"function\":{\"name\":\"f\","
            "\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"42\"},"
            "{\"role\":\"assistant\",\"content\":\"It\",\"prefix\":true}]}");
    assert_int_equal(r.n_messages, 5);
    assert_int_equal(r.messages[0].role, SP_ROLE_SYSTEM);
    assert_string_equal(r.messages[0].content, "ab");
    assert_string_equal(r.messages[1].content, "q");
    assert_null(r.messages[2].content);
    assert_string_equal(r.messages[2].reasoning, "hm");
    assert_int_equal(r.messages[2].n_tool_calls, 1);
    assert_string_equal(r.messages[2].tool_calls[0].id, "c1");
    assert_string_equal(r.messages[2].tool_calls[0].arguments, "{}");
    assert_string_equal(r.messages[3].tool_call_id, "c1");
    assert_true(r.prefix);
    sp_chat_request_clear(&r);
}

static void test_chat_reads_tools(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    sp_chat_request r;
    parse_chat(
        &r,
        "{" MESSAGES ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\","
        "\"parameters\":{\"type\":\"object\",\"minimum\":0.1,\"x\":1.0,\"y\":[true,null,\"\xC3\xA9\"]},"
        "\"strict\":true}}],\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"
        "\"parallel_tool_calls\":false}");
    assert_int_equal(r.n_tools, 1);
    assert_string_equal(r.tool[0].name, "f");
    assert_true(r.tool[0].strict && r.one_call);
    /* numbers keep a spelling that people write */
    assert_string_equal(r.tool[0].parameters,
                        "{\"type\":\"object\",\"minimum\":0.1,\"x\":1.0,\"y\":[true,null,\"\xC3\xA9\"]}");
    assert_int_equal(r.tool_choice, SP_TOOL_CHOICE_NAMED);
    assert_string_equal(r.tool_name, "f");
    sp_chat_request_clear(&r);
}

typedef struct thinking_case {
    const char *members;
    sp_think think;
    int64_t budget;
    const char *param;
} thinking_case;

static void test_chat_reads_thinking(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    static const thinking_case cases[] = {
        {"", SP_THINK_AUTO, -2, NULL},
        {",\"thinking\":{\"type\":\"enabled\"}", SP_THINK_ON, -2, "thinking"},
        {",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":99}", SP_THINK_ON, 99, "thinking"},
        {",\"thinking\":{\"type\":\"disabled\"}", SP_THINK_OFF, -2, NULL},
        {",\"reasoning_effort\":\"none\"", SP_THINK_OFF, 0, NULL},
        {",\"reasoning_effort\":\"low\"", SP_THINK_ON, 1024, "reasoning_effort"},
        {",\"reasoning_effort\":\"high\"", SP_THINK_ON, -1, "reasoning_effort"},
        {",\"reasoning_effort\":300", SP_THINK_ON, 300, "reasoning_effort"},
        {",\"thinking\":{\"type\":\"disabled\"},\"reasoning_effort\":\"high\"", SP_THINK_OFF, -1, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[256];
        sp_chat_request r;
        snprintf(body, sizeof body, "{" MESSAGES "%s}", cases[i].members);
        parse_chat(&r, body);
        assert_int_equal(r.think, cases[i].think);
        assert_int_equal(r.think_budget, cases[i].budget);
        assert_int_equal(r.think_param == NULL, cases[i].param == NULL);
        if (r.think_param) assert_string_equal(r.think_param, cases[i].param);
        sp_chat_request_clear(&r);
    }
}

static void test_chat_reads_response_format(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    sp_chat_request r;
    parse_chat(
        &r, "{" MESSAGES
            ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"strict\":true,"
            "\"schema\":{\"type\":\"object\"}}}}");
    assert_int_equal(r.response_format, SP_RESPONSE_JSON_SCHEMA);
    assert_string_equal(r.schema, "{\"type\":\"object\"}");
    sp_chat_request_clear(&r);
}

static void test_did_you_mean(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    sp_chat_request r;
    sp_fault fault = {0};
    const char *body = "{" MESSAGES ",\"temprature\":1}";
    assert_false(sp_chat_request_parse(&r, body, strlen(body), &fault));
    assert_non_null(strstr(fault.text, "did you mean 'temperature'?"));
    sp_chat_request_clear(&r);
}

/* --- plain completions ---------------------------------------------------------------------------------- */

static void test_text_refuses(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    static const refusal refusals[] = {
        {"{\"model\":\"m\"}", 400, "prompt", "missing_required_parameter"},
        {"{\"prompt\":\"x\"}", 400, "model", "missing_required_parameter"},
        {"{\"model\":\"m\",\"prompt\":5}", 400, "prompt", "invalid_type"},
        {"{\"model\":\"m\",\"prompt\":[]}", 400, "prompt", "invalid_value"},
        {"{\"model\":\"m\",\"prompt\":[-1]}", 400, "prompt[0]", "invalid_value"},
        {"{\"model\":\"m\",\"prompt\":[1,\"a\"]}", 400, "prompt[1]", "invalid_value"},
        {"{\"model\":\"m\",\"prompt\":[\"a\",5]}", 400, "prompt[1]", "invalid_type"},
        {"{\"model\":\"m\",\"prompt\":[1,2],\"suffix\":\"s\"}", 400, "suffix", "unsupported_value"},
        {"{\"model\":\"m\",\"prompt\":\"a\",\"best_of\":2}", 400, "best_of", "unsupported_value"},
        {"{\"model\":\"m\",\"prompt\":\"a\",\"logprobs\":21}", 422, "logprobs", "invalid_value"},
        {"{\"model\":\"m\",\"prompt\":[\"a\",\"b\"],\"n\":20}", 422, "n", "invalid_value"},
        {"{\"model\":\"m\",\"prompt\":\"a\",\"tools\":[]}", 400, "tools", "unknown_parameter"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        sp_text_request request;
        sp_fault fault = {0};
        bool good = sp_text_request_parse(&request, refusals[i].body, strlen(refusals[i].body), &fault);
        expect_fault(&refusals[i], &fault, good);
        sp_text_request_clear(&request);
    }
}

static void test_text_reads_prompts(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    sp_text_request r;
    parse_text(&r, "{\"model\":\"m\",\"prompt\":[\"a\",\"bc\"],\"echo\":true,\"logprobs\":0}");
    assert_int_equal(r.n_prompts, 2);
    assert_string_equal(r.prompts[1].text, "bc");
    assert_int_equal(r.common.n_logprobs, 0);
    assert_true(r.echo);
    sp_text_request_clear(&r);
    parse_text(&r, "{\"model\":\"m\",\"prompt\":[[5,6],[7]]}");
    assert_int_equal(r.n_prompts, 2);
    assert_int_equal(r.prompts[0].n_ids, 2);
    assert_int_equal(r.prompts[1].ids[0], 7);
    sp_text_request_clear(&r);
}

/* --- Anthropic's dialect -------------------------------------------------------------------------------- */

static void test_anthropic_refuses(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
#define TURN "\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":"
    static const refusal refusals[] = {
        {"{" MESSAGES "}", 400, "max_tokens", "missing_required_parameter"},
        {"{" TURN "5}]}", 400, "messages[0].content", "invalid_type"},
        {"{" TURN "[{\"type\":\"image\",\"source\":{}}]}]}", 400, "messages[0].content[0]",
         "unsupported_value"},
        {"{" TURN "[{\"type\":\"tool_use\",\"id\":\"x\",\"name\":\"n\",\"input\":{}}]}]}", 400,
         "messages[0].content[0]", "unsupported_value"},
        {"{" TURN "[{\"type\":\"tool_result\",\"content\":\"x\"}]}]}", 400, "messages[0].content[0]",
         "missing_required_parameter"},
        {"{" TURN "[{\"text\":\"x\"}]}]}", 400, "messages[0].content[0]", "missing_required_parameter"},
        {"{" TURN "[]}]}", 400, "messages", "invalid_value"},
        {"{" TURN "\"x\"},{\"role\":\"system\",\"content\":\"y\"}]}", 400, "messages[1]", "invalid_value"},
        {"{" TURN "\"x\"}],\"tools\":[{\"type\":\"bash_20250124\",\"name\":\"bash\"}]}", 400, "tools[0]",
         "unsupported_value"},
        {"{" TURN "\"x\"}],\"tools\":[{\"name\":\"f\"}]}", 400, "tools[0]", "missing_required_parameter"},
        {"{" TURN "\"x\"}],\"tool_choice\":{\"type\":\"any\"}}", 400, "tool_choice", "invalid_value"},
        {"{" TURN "\"x\"}],\"container\":\"c\"}", 400, "container", "unknown_parameter"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        sp_chat_request request;
        sp_fault fault = {0};
        bool good =
            sp_anthropic_request_parse(&request, refusals[i].body, strlen(refusals[i].body), false, &fault);
        expect_fault(&refusals[i], &fault, good);
        sp_chat_request_clear(&request);
    }
}

static void test_anthropic_reads_blocks(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    sp_chat_request r;
    sp_fault fault = {0};
    const char *body = "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\","
                       "\"cache_control\":{}},{\"type\":"
                       "\"text\",\"text\":\"b\"}]},{\"role\":\"assistant\",\"content\":[{\"type\":"
                       "\"thinking\",\"thinking\":\"hm\","
                       "\"signature\":\"s\"},{\"type\":\"text\",\"text\":\"call\"},{\"type\":\"tool_use\","
                       "\"id\":\"t1\",\"name\":\"f\","
                       "\"input\":{\"x\":0.1}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
                       "\"tool_use_id\":\"t1\","
                       "\"content\":[{\"type\":\"text\",\"text\":\"42\"}]},{\"type\":\"text\",\"text\":\"so?"
                       "\"}]},{\"role\":\"assistant\","
                       "\"content\":\"It\"}],\"model\":\"m\",\"max_tokens\":5,\"system\":[{\"type\":\"text\","
                       "\"text\":\"sys\"}],"
                       "\"stop_sequences\":[\"X\"],\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_"
                       "schema\":{\"type\":\"object\"}}],"
                       "\"tool_choice\":{\"type\":\"auto\",\"disable_parallel_tool_use\":true},\"thinking\":{"
                       "\"type\":\"enabled\","
                       "\"budget_tokens\":2000},\"metadata\":{\"user_id\":\"u\"}}";
    if (!sp_anthropic_request_parse(&r, body, strlen(body), false, &fault)) fail_msg("%s", fault.text);
    assert_int_equal(r.n_messages, 6);
    assert_int_equal(r.messages[0].role, SP_ROLE_SYSTEM);
    assert_string_equal(r.messages[0].content, "sys");
    assert_string_equal(r.messages[1].content, "ab");
    assert_string_equal(r.messages[2].content, "call");
    assert_string_equal(r.messages[2].reasoning, "hm");
    assert_string_equal(r.messages[2].tool_calls[0].arguments, "{\"x\":0.1}");
    assert_int_equal(r.messages[3].role, SP_ROLE_TOOL);
    assert_string_equal(r.messages[3].content, "42");
    assert_int_equal(r.messages[4].role, SP_ROLE_USER);
    assert_string_equal(r.messages[4].content, "so?");
    assert_true(r.prefix && r.one_call);
    assert_string_equal(
        r.tools, "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":"
                 "{\"type\":\"object\"}}}]");
    assert_int_equal(r.think_budget, 2000);
    assert_string_equal(r.common.stop[0], "X");
    sp_chat_request_clear(&r);
}

/* --- memory --------------------------------------------------------------------------------------------- */

static void test_failed_allocations(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    const char *body =
        "{" MESSAGES ",\"stop\":[\"a\"],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"parameters\":{\"x\":1}}}],\"logit_bias\":{\"1\":1}}";
    bool good = false;
    for (int64_t n = 0; !good && n < 200; n++) {
        sp_chat_request request;
        sp_fault fault = {0};
        sp_mem_fail_after(n);
        good = sp_chat_request_parse(&request, body, strlen(body), &fault);
        sp_mem_fail_after(-1);
        if (!good) assert_int_equal(fault.status, 500);
        sp_chat_request_clear(&request);
    }
    assert_true(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chat_refuses),
        cmocka_unit_test(test_deep_json_is_refused),
        cmocka_unit_test(test_chat_reads_sampling),
        cmocka_unit_test(test_chat_reads_messages),
        cmocka_unit_test(test_chat_reads_tools),
        cmocka_unit_test(test_chat_reads_thinking),
        cmocka_unit_test(test_chat_reads_response_format),
        cmocka_unit_test(test_did_you_mean),
        cmocka_unit_test(test_text_refuses),
        cmocka_unit_test(test_text_reads_prompts),
        cmocka_unit_test(test_anthropic_refuses),
        cmocka_unit_test(test_anthropic_reads_blocks),
        cmocka_unit_test(test_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
