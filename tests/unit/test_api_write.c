/* SPDX-License-Identifier: MIT */
/* Replies of the API: what events of jobs become in each dialect, as a stream and as one body; prompts of conversations with prefixes and
 * forced calls. No engine, no socket. */
#include "api_testing.h"

#include "server/api_run.h"

static sp_server make_server(const sp_tokenizer *tokenizer, sp_chat_format format)
{
    sp_server server = {.tokenizer = tokenizer, .format = format, .name = "m", .fingerprint = "fp_1"};
    sp_generate_options generate = SP_GENERATE_OPTIONS_DEFAULTS;
    server.options.generate = generate;
    return server;
}

/* A reply on its way: what events become in a dialect gathers in `out`. */
typedef struct answer {
    sp_server server;
    sp_run *run;
    sp_buf out;
} answer;

/* Another one of the same server. */
static void begin_again(answer *a, const sp_dialect *dialect, size_t n, bool stream)
{
    sp_run_destroy(a->run);
    a->run = sp_run_create(&a->server, NULL, dialect, "m", n);
    assert_non_null(a->run);
    a->run->created = 7;
    a->run->stream = stream;
    a->run->thinks = sp_format_thinks(a->server.format);
    for (size_t i = 0; i < n; i++) {
        a->run->choices[i].n_prompt = 100;
        a->run->choices[i].shares_prompt = i > 0;
    }
}

static void begin(answer *a, sp_chat_format format, const sp_dialect *dialect, size_t n, bool stream)
{
    *a = (answer){.server = make_server(NULL, format)};
    begin_again(a, dialect, n, stream);
}

/* With a tokenizer, for log-probabilities. */
static void begin_tokens(answer *a, sp_chat_format format, const sp_dialect *dialect, bool stream)
{
    *a = (answer){.server = make_server(open_tiny_deepseek(), format)};
    begin_again(a, dialect, 1, stream);
}

static void clear(answer *a)
{
    sp_run_destroy(a->run);
    sp_buf_clear(&a->out);
    sp_tokenizer_close((sp_tokenizer *)(uintptr_t)a->server.tokenizer);
}

static void take(answer *a, size_t i, const sp_event *event)
{
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_run_take(a->run, &a->run->choices[i], event, &a->out, &err), err);
}

static void tell(answer *a, size_t i, sp_event_type type, sp_reply_part part, const char *text)
{
    sp_event event = {.type = type, .part = part, .text = (char *)(uintptr_t)text, .len = strlen(text)};
    take(a, i, &event);
}

static void say(answer *a, size_t i, sp_reply_part part, const char *text)
{
    tell(a, i, SP_EVENT_TEXT, part, text);
}

/* A call of f, its arguments in two pieces. */
static void call(answer *a, size_t i, const char *first, const char *second)
{
    tell(a, i, SP_EVENT_CALL, SP_REPLY_TOOL_CALL, "f");
    say(a, i, SP_REPLY_TOOL_CALL, first);
    say(a, i, SP_REPLY_TOOL_CALL, second);
}

static void finish(answer *a, size_t i, sp_finish how)
{
    sp_event event = {.type = SP_EVENT_DONE,
                      .finish = how,
                      .usage = {.n_prompt = 100, .n_cached = 64, .n_reply = 9, .n_reasoning = 4}};
    take(a, i, &event);
}

static void end(answer *a)
{
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_run_end(a->run, &a->out, &err), err);
}

/* Ids of calls are random: their digits become '#'. */
static void blur_ids(sp_buf *out)
{
    static const char *const marks[] = {"\"call_", "\"toolu_"};
    for (size_t m = 0; m < 2; m++)
        for (char *at = out->data; (at = strstr(at, marks[m]));)
            for (at += strlen(marks[m]); *at != '"'; at++) *at = '#';
}

static void expect(answer *a, const char *want)
{
    sp_buf *out = &a->out;
    const char *got = out->data ? out->data : "";
    if (out->data) blur_ids(out);
    if (strcmp(got, want) != 0) fail_msg("\n got: %s\nwant: %s", got, want);
    out->len = 0;
    if (out->data) out->data[0] = '\0';
}

#define HEAD(object)                                                                                         \
    "{\"id\":\"chatcmpl-0\",\"object\":\"" object                                                            \
    "\",\"created\":7,\"model\":\"m\",\"system_fingerprint\":\"fp_1\",\"choices\":["
#define CHUNK(i, delta, rest)                                                                                \
    "data: " HEAD("chat.completion.chunk") "{\"index\":" i ",\"delta\":{" delta                              \
                                           "},\"logprobs\":null,\"finish_reason\":" rest "}\n\n"
#define CALL_TEXT(text)                                                                                      \
    CHUNK("0", "\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"" text "\"}}]", "null}]")
#define USAGE(prompt, reply, total, reasoning)                                                               \
    "\"usage\":{\"prompt_tokens\":" prompt ",\"completion_tokens\":" reply ",\"total_tokens\":" total        \
    ",\"prompt_tokens_details\":{\"cached_tokens\":64},\"completion_tokens_details\":{\"reasoning_"          \
    "tokens\":" reasoning "},\"prompt_cache_hit_tokens\":64,\"prompt_cache_miss_tokens\":36}"

/* --- chat ----------------------------------------------------------------------------------------------- */

static void test_chat_whole(void **state)
{
    (void)state;
    answer a;
    begin(&a, SP_CHAT_R1, &sp_dialect_chat, 1, false);
    say(&a, 0, SP_REPLY_REASONING, "let me");
    say(&a, 0, SP_REPLY_REASONING, " see");
    say(&a, 0, SP_REPLY_CONTENT, "42\n\"");
    finish(&a, 0, SP_FINISH_END);
    expect(&a, "");
    end(&a);
    expect(
        &a,
        HEAD("chat.completion") "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"42\\n\\\"\","
                                "\"reasoning_content\":\"let me "
                                "see\"},\"logprobs\":null,\"finish_reason\":\"stop\"}]," USAGE(
                                    "100", "9", "109", "4") "}");
    clear(&a);
}

static void test_chat_stream(void **state)
{
    (void)state;
    answer a;
    begin(&a, SP_CHAT_R1, &sp_dialect_chat, 1, true);
    say(&a, 0, SP_REPLY_REASONING, "hm");
    expect(&a, CHUNK("0", "\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"\"", "null}]")
                   CHUNK("0", "\"content\":null,\"reasoning_content\":\"hm\"", "null}]"));
    say(&a, 0, SP_REPLY_CONTENT, "yes");
    expect(&a, CHUNK("0", "\"content\":\"yes\",\"reasoning_content\":null", "null}]"));
    finish(&a, 0, SP_FINISH_LENGTH);
    expect(&a, CHUNK("0", "\"content\":\"\"", "\"length\"}]," USAGE("100", "9", "109", "4")));
    end(&a);
    expect(&a, "data: [DONE]\n\n");
    clear(&a);
}

static void test_chat_stream_of_two_with_usage(void **state)
{
    (void)state;
    answer a;
    begin(&a, SP_CHAT_V25, &sp_dialect_chat, 2, true);
    a.run->include_usage = true;
    say(&a, 1, SP_REPLY_CONTENT, "b");
    expect(&a, CHUNK("1", "\"role\":\"assistant\",\"content\":\"\"", "null}],\"usage\":null")
                   CHUNK("1", "\"content\":\"b\"", "null}],\"usage\":null"));
    finish(&a, 1, SP_FINISH_STOP);
    expect(&a, CHUNK("1", "\"content\":\"\"", "\"stop\"}],\"usage\":null"));
    finish(&a, 0, SP_FINISH_CANCELLED);
    expect(&a, CHUNK("0", "\"role\":\"assistant\",\"content\":\"\"", "null}],\"usage\":null")
                   CHUNK("0", "\"content\":\"\"", "\"insufficient_system_resource\"}],\"usage\":null"));
    end(&a);
    expect(&a, "data: " HEAD("chat.completion.chunk") "]," USAGE("100", "18", "118",
                                                                 "8") "}\n\ndata: [DONE]\n\n");
    clear(&a);
}

static void test_chat_calls(void **state)
{
    (void)state;
    answer a;
    begin(&a, SP_CHAT_V25, &sp_dialect_chat, 1, false);
    call(&a, 0, "{\"a\"", ":1}");
    call(&a, 0, "{", "}");
    finish(&a, 0, SP_FINISH_END);
    end(&a);
    expect(&a,
           HEAD("chat.completion") "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,\"tool_"
                                   "calls\":["
                                   "{\"index\":0,\"id\":\"call_########################\",\"type\":"
                                   "\"function\",\"function\":{\"name\":\"f\","
                                   "\"arguments\":\"{\\\"a\\\":1}\"}},{\"index\":1,\"id\":\"call_############"
                                   "############\",\"type\":\"function\","
                                   "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},\"logprobs\":null,"
                                   "\"finish_reason\":\"tool_calls\"}]," USAGE("100", "9", "109", "4") "}");

    begin_again(&a, &sp_dialect_chat, 1, true);
    a.run->one_call = true;
    call(&a, 0, "{", "}");
    call(&a, 0, "{\"dropped\"", ":1}");
    finish(&a, 0, SP_FINISH_END);
    expect(&a,
           CHUNK("0", "\"role\":\"assistant\",\"content\":\"\"", "null}]") CHUNK(
               "0",
               "\"tool_calls\":[{\"index\":0,\"id\":\"call_########################\",\"type\":\"function\","
               "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]",
               "null}]") CALL_TEXT("{") CALL_TEXT("}")
               CHUNK("0", "", "\"tool_calls\"}]," USAGE("100", "9", "109", "4")));
    clear(&a);
}

static void test_chat_forced_calls(void **state)
{
    (void)state;
    answer a;
    begin(&a, SP_CHAT_V25, &sp_dialect_chat, 1, true);
    a.run->forced = SP_FORCED_NAMED;
    a.run->forced_name = sp_strdup("g");
    say(&a, 0, SP_REPLY_CONTENT, "\t\n");
    say(&a, 0, SP_REPLY_CONTENT, " {\"a\"");
    say(&a, 0, SP_REPLY_CONTENT, ":1}");
    finish(&a, 0, SP_FINISH_END);
    expect(
        &a,
        CHUNK("0", "\"role\":\"assistant\",\"content\":\"\"", "null}]") CHUNK(
            "0",
            "\"tool_calls\":[{\"index\":0,\"id\":\"call_########################\",\"type\":\"function\","
            "\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]",
            "null}]")
            CHUNK("0", "\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\"\"}}]", "null}]")
                CHUNK("0", "\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\":1}\"}}]", "null}]")
                    CHUNK("0", "", "\"tool_calls\"}]," USAGE("100", "9", "109", "4")));

    begin_again(&a, &sp_dialect_chat, 1, false);
    a.run->forced = SP_FORCED_ANY;
    say(&a, 0, SP_REPLY_CONTENT, "{\"name\":\"h\", \"arguments\":");
    say(&a, 0, SP_REPLY_CONTENT, "{\"x\": 2}}");
    finish(&a, 0, SP_FINISH_END);
    end(&a);
    expect(&a,
           HEAD("chat.completion") "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,\"tool_"
                                   "calls\":["
                                   "{\"index\":0,\"id\":\"call_########################\",\"type\":"
                                   "\"function\",\"function\":{\"name\":\"h\","
                                   "\"arguments\":\"{\\\"x\\\": "
                                   "2}\"}}]},\"logprobs\":null,\"finish_reason\":\"tool_calls\"}]," USAGE(
                                       "100", "9", "109", "4") "}");
    clear(&a);
}

#define CALL_BEGIN(name)                                                                                     \
    CHUNK("0",                                                                                               \
          "\"tool_calls\":[{\"index\":0,\"id\":\"call_########################\",\"type\":\"function\","     \
          "\"function\":{\"name\":\"" name "\",\"arguments\":\"\"}}]",                                       \
          "null}]")
#define CHAT_BEGIN CHUNK("0", "\"role\":\"assistant\",\"content\":\"\"", "null}]")

/* Of any tool: the call begins as soon as name and arguments have. */
static void test_chat_any_call_stream(void **state)
{
    (void)state;
    answer a;
    begin(&a, SP_CHAT_V25, &sp_dialect_chat, 1, true);
    a.run->forced = SP_FORCED_ANY;
    say(&a, 0, SP_REPLY_CONTENT, "{\"name\": \"h\", \"argu");
    expect(&a, CHAT_BEGIN);
    say(&a, 0, SP_REPLY_CONTENT, "ments\": {\"x\"");
    expect(&a, CALL_BEGIN("h") CALL_TEXT("{\\\"x\\\""));
    say(&a, 0, SP_REPLY_CONTENT, ": {}}");
    expect(&a, CALL_TEXT(": {}}"));
    say(&a, 0, SP_REPLY_CONTENT, "}");
    expect(&a, "");
    finish(&a, 0, SP_FINISH_END);
    expect(&a, CHUNK("0", "", "\"tool_calls\"}]," USAGE("100", "9", "109", "4")));

    begin_again(&a, &sp_dialect_chat, 1, true); /* the other way round, and none */
    a.run->forced = SP_FORCED_ANY;
    say(&a, 0, SP_REPLY_CONTENT, "{\"arguments\": {}, \"name\": \"h\"}");
    expect(&a, CHAT_BEGIN CALL_BEGIN("h") CALL_TEXT("{}"));

    begin_again(&a, &sp_dialect_chat, 1, true);
    a.run->forced = SP_FORCED_ANY;
    say(&a, 0, SP_REPLY_CONTENT, "{\"name\": \"h\"}");
    finish(&a, 0, SP_FINISH_LENGTH);
    expect(&a, CHAT_BEGIN CALL_BEGIN("h") CALL_TEXT("{}")
                   CHUNK("0", "", "\"length\"}]," USAGE("100", "9", "109", "4")));

    begin_again(&a, &sp_dialect_chat, 1, true);
    a.run->forced = SP_FORCED_ANY;
    say(&a, 0, SP_REPLY_CONTENT, "{\"name\": \"h");
    finish(&a, 0, SP_FINISH_LENGTH);
    expect(&a, CHAT_BEGIN CHUNK("0", "\"content\":\"{\\\"name\\\": \\\"h\"", "null}]")
                   CHUNK("0", "\"content\":\"\"", "\"length\"}]," USAGE("100", "9", "109", "4")));
    clear(&a);
}

static void test_chat_faults(void **state)
{
    (void)state;
    answer a;
    sp_event event = {.type = SP_EVENT_ERROR};
    sp_fail(&event.error, SP_E_IO, "disk");
    begin(&a, SP_CHAT_V25, &sp_dialect_chat, 1, true);
    take(&a, 0, &event);
    assert_int_equal(a.run->fault.status, 500);
    end(&a);
    expect(&a, "{\"error\":{\"message\":\"the engine failed: "
               "disk\",\"type\":\"server_error\",\"param\":null,\"code\":\"engine_error\"}}");
    a.run->is_started = true; /* the stream has begun */
    end(&a);
    expect(&a, "data: {\"error\":{\"message\":\"the engine failed: "
               "disk\",\"type\":\"server_error\",\"param\":null,\"code\":\"engine_error\"}}\n\n");
    clear(&a);
}

/* --- log-probabilities ---------------------------------------------------------------------------------- */

static void say_token(answer *a, int32_t id, sp_reply_part part)
{
    sp_event event = {
        .type = SP_EVENT_TOKEN,
        .part = part,
        .sample = {
            .id = id, .logprob = -0.5f, .n_top = 2, .top_ids = {id, 'z'}, .top_logprobs = {-0.5f, -2.0f}}};
    take(a, 0, &event);
}

static void test_chat_logprobs(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    answer a;
    begin_tokens(&a, SP_CHAT_V25, &sp_dialect_chat, false);
    a.run->n_logprobs = 1;
    say_token(&a, 'r', SP_REPLY_REASONING); /* is not content */
    say_token(&a, '\n', SP_REPLY_CONTENT);  /* between reasoning and content: not in the text */
    say_token(&a, 0xC3, SP_REPLY_CONTENT);  /* half a character */
    say_token(&a, 0xA9, SP_REPLY_CONTENT);
    say(&a, 0, SP_REPLY_CONTENT, "\xC3\xA9");
    say_token(&a, 'w', SP_REPLY_CONTENT); /* withheld: a stop string */
    say_token(&a, sp_tokenizer_eos(a.server.tokenizer), SP_REPLY_CONTENT);
    finish(&a, 0, SP_FINISH_STOP);
    end(&a);
    const char *at = strstr(a.out.data, "\"logprobs\":");
    assert_non_null(at);
    *strstr(a.out.data, ",\"finish_reason\"") = '\0';
    assert_string_equal(at, "\"logprobs\":{\"content\":[{\"token\":\"\xEF\xBF\xBD\",\"logprob\":-0.5,"
                            "\"bytes\":[195],\"top_logprobs\":["
                            "{\"token\":\"\xEF\xBF\xBD\",\"logprob\":-0.5,\"bytes\":[195]}]},{\"token\":"
                            "\"\xEF\xBF\xBD\",\"logprob\":-0.5,"
                            "\"bytes\":[169],\"top_logprobs\":[{\"token\":\"\xEF\xBF\xBD\",\"logprob\":-0.5,"
                            "\"bytes\":[169]}]}],\"refusal\":null}");
    clear(&a);
}

static void test_text_logprobs(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    answer a;
    begin_tokens(&a, SP_CHAT_NONE, &sp_dialect_text, true);
    a.run->n_logprobs = 2;
    for (const char *c = "ab"; *c; c++) {
        char text[2] = {*c, 0};
        say_token(&a, *c, SP_REPLY_CONTENT);
        a.out.len = 0;
        say(&a, 0, SP_REPLY_CONTENT, text);
    }
    expect(&a, "data: "
               "{\"id\":\"cmpl-0\",\"object\":\"text_completion\",\"created\":7,\"model\":\"m\",\"system_"
               "fingerprint\":\"fp_1\","
               "\"choices\":[{\"text\":\"b\",\"index\":0,\"logprobs\":{\"text_offset\":[1],\"token_"
               "logprobs\":[-0.5],\"tokens\":[\"b\"],"
               "\"top_logprobs\":[{\"b\":-0.5,\"z\":-2}]},\"finish_reason\":null}]}\n\n");
    clear(&a);
}

static void test_text_echo(void **state)
{
    (void)state;
    answer a;
    begin(&a, SP_CHAT_NONE, &sp_dialect_text, 1, false);
    a.run->echo = sp_calloc(1, sizeof *a.run->echo);
    a.run->echo[0] = sp_strdup("once ");
    say(&a, 0, SP_REPLY_CONTENT, "upon");
    finish(&a, 0, SP_FINISH_LENGTH);
    end(&a);
    expect(&a, "{\"id\":\"cmpl-0\",\"object\":\"text_completion\",\"created\":7,\"model\":\"m\",\"system_"
               "fingerprint\":\"fp_1\","
               "\"choices\":[{\"text\":\"once "
               "upon\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"length\"}]," USAGE("100", "9", "109",
                                                                                            "4") "}");
    clear(&a);
}

/* --- Anthropic's dialect -------------------------------------------------------------------------------- */

#define EVENT(type, rest) "event: " type "\ndata: {\"type\":\"" type "\"" rest "}\n\n"

static void test_anthropic_stream(void **state)
{
    (void)state;
    answer a;
    begin(&a, SP_CHAT_R1, &sp_dialect_anthropic, 1, true);
    say(&a, 0, SP_REPLY_REASONING, "hm");
    say(&a, 0, SP_REPLY_CONTENT, "so");
    call(&a, 0, "{\"a\"", ":1}");
    finish(&a, 0, SP_FINISH_END);
    end(&a);
    expect(
        &a,
        EVENT("message_start", ",\"message\":{\"id\":\"msg_0\",\"type\":\"message\",\"role\":\"assistant\","
                               "\"model\":\"m\",\"content\":[],"
                               "\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":100,"
                               "\"cache_creation_input_tokens\":0,"
                               "\"cache_read_input_tokens\":0,\"output_tokens\":0}}")
            EVENT(
                "content_block_start",
                ",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}")
                EVENT("content_block_delta",
                      ",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}")
                    EVENT("content_block_delta",
                          ",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"msg_0\"}")
                        EVENT("content_block_stop", ",\"index\":0")
                            EVENT("content_block_start",
                                  ",\"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"\"}")
                                EVENT("content_block_delta",
                                      ",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"so\"}")
                                    EVENT("content_block_stop", ",\"index\":1")
                                        EVENT("content_block_start",
                                              ",\"index\":2,\"content_block\":{\"type\":\"tool_use\",\"id\":"
                                              "\"toolu_########################\","
                                              "\"name\":\"f\",\"input\":{}}")
                                            EVENT("content_block_delta",
                                                  ",\"index\":2,\"delta\":{\"type\":\"input_json_delta\","
                                                  "\"partial_json\":\"{\\\"a\\\"\"}")
                                                EVENT("content_block_delta",
                                                      ",\"index\":2,\"delta\":{\"type\":\"input_json_delta\","
                                                      "\"partial_json\":\":1}\"}") EVENT("content_block_stop",
                                                                                         ",\"index\":2")
                                                    EVENT("message_delta",
                                                          ",\"delta\":{\"stop_reason\":\"tool_use\",\"stop_"
                                                          "sequence\":null},\"usage\":{\"input_tokens\":36,"
                                                          "\"cache_creation_input_tokens\":0,\"cache_read_"
                                                          "input_tokens\":64,\"output_tokens\":9}")
                                                        EVENT("message_stop", ""));
    clear(&a);
}

/* Arguments that are no JSON: of a reply that was cut there are none, else they are shown as what they are. */
static void test_anthropic_wrong_input(void **state)
{
    static const char *const inputs[] = {"{}", "{\"INVALID_JSON\":\"{\\\"a\\\" 1}\"}"};
    static const char *const reasons[] = {"max_tokens", "tool_use"};
    (void)state;
    answer a;
    for (int i = 0; i < 2; i++) {
        sp_buf want = {NULL, 0, 0};
        begin(&a, SP_CHAT_V25, &sp_dialect_anthropic, 1, false);
        call(&a, 0, "{\"a\"", " 1}");
        finish(&a, 0, i ? SP_FINISH_END : SP_FINISH_LENGTH);
        end(&a);
        sp_buf_printf(&want, NULL,
                      "{\"id\":\"msg_0\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\","
                      "\"content\":[{\"type\":\"tool_use\",\"id\":"
                      "\"toolu_########################\",\"name\":\"f\",\"input\":%s}],\"stop_reason\":\"%"
                      "s\",\"stop_sequence\":null,\"usage\":{"
                      "\"input_tokens\":36,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":64,"
                      "\"output_tokens\":9}}",
                      inputs[i], reasons[i]);
        expect(&a, want.data);
        clear(&a);
        sp_buf_clear(&want);
    }
}

static void test_anthropic_whole(void **state)
{
    (void)state;
    answer a;
    begin(&a, SP_CHAT_R1, &sp_dialect_anthropic, 1, false);
    a.run->stop_string = sp_strdup("X");
    say(&a, 0, SP_REPLY_REASONING, "hm");
    say(&a, 0, SP_REPLY_CONTENT, "so");
    finish(&a, 0, SP_FINISH_STOP);
    end(&a);
    expect(&a, "{\"id\":\"msg_0\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":["
               "{\"type\":\"thinking\","
               "\"thinking\":\"hm\",\"signature\":\"msg_0\"},{\"type\":\"text\",\"text\":\"so\"}],\"stop_"
               "reason\":\"stop_sequence\","
               "\"stop_sequence\":\"X\",\"usage\":{\"input_tokens\":36,\"cache_creation_input_tokens\":0,"
               "\"cache_read_input_tokens\":64,\"output_tokens\":9}}");
    sp_fault fault = {0};
    sp_fault_set(&fault, 404, "model", "x", "no \"m\"");
    assert_int_equal((sp_dialect_anthropic.fail)(true, &fault, &a.out, NULL), SP_OK);
    expect(&a,
           "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"not_found_error\",\"message\":\"no "
           "\\\"m\\\"\"}}\n\n");
    clear(&a);
}

/* --- prompts -------------------------------------------------------------------------------------------- */

typedef struct plan_case {
    sp_chat_format format;
    const char *messages, *members;
    const char *end; /* of the prompt, special tokens spelled out */
    sp_think think;  /* how the reply is read */
} plan_case;

#define USER "{\"role\":\"user\",\"content\":\"q\"}"
#define TOOLS(choice)                                                                                        \
    ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":" choice

static const plan_case plan_cases[] = {
    {SP_CHAT_R1, USER, "", "<｜User｜>q<｜Assistant｜><think>\n", SP_THINK_AUTO},
    {SP_CHAT_R1, USER, ",\"thinking\":{\"type\":\"disabled\"}",
     "<｜User｜>q<｜Assistant｜><think>\n\n</think>\n\n", SP_THINK_OFF},
    {SP_CHAT_R1, USER ",{\"role\":\"assistant\",\"content\":\"It <think>\",\"prefix\":true}", "",
     "<｜User｜>q<｜Assistant｜><think>\n\n</think>\n\nIt <think>", SP_THINK_OFF},
    {SP_CHAT_R1, USER ",{\"role\":\"assistant\",\"reasoning_content\":\"hm\",\"prefix\":true}", "",
     "<｜User｜>q<｜Assistant｜><think>\nhm", SP_THINK_ON},
    {SP_CHAT_R1,
     USER ",{\"role\":\"assistant\",\"content\":\"It\",\"reasoning_content\":\"hm\",\"prefix\":true}", "",
     "<｜User｜>q<｜Assistant｜><think>\nhm\n</think>\n\nIt", SP_THINK_OFF},
    {SP_CHAT_V31,
     USER ",{\"role\":\"assistant\",\"content\":\"It\",\"reasoning_content\":\"hm\",\"prefix\":true}", "",
     "<｜User｜>q<｜Assistant｜><think>hm</think>It", SP_THINK_OFF},
    {SP_CHAT_V25, USER, TOOLS("\"required\""),
     "<｜User｜>q<｜Assistant｜><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```"
     "json\n",
     SP_THINK_OFF},
    {SP_CHAT_V31, USER, TOOLS("{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"),
     "<｜User｜>q<｜Assistant｜></think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>",
     SP_THINK_OFF},
    {SP_CHAT_V25, USER, TOOLS("\"none\""), "<｜begin▁of▁sentence｜><｜User｜>q<｜Assistant｜>",
     SP_THINK_AUTO},
};

/* A request and what is made of it. */
typedef struct planning {
    sp_chat_request request;
    sp_chat_plan plan;
    sp_fault fault;
} planning;

static bool make_plan(planning *p, const sp_server *server, const char *messages, const char *members)
{
    char body[1024];
    *p = (planning){.fault = {0}};
    snprintf(body, sizeof body, "{\"model\":\"m\",\"messages\":[%s]%s}", messages, members);
    parse_chat(&p->request, body);
    return sp_chat_plan_make(&p->plan, server, &p->request, &p->fault);
}

static void clear_plan(planning *p)
{
    sp_chat_plan_clear(&p->plan);
    sp_chat_request_clear(&p->request);
}

static void test_prompts(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    sp_tokenizer *tokenizer = open_tiny_deepseek();
    for (size_t i = 0; i < sizeof plan_cases / sizeof plan_cases[0]; i++) {
        const plan_case *c = &plan_cases[i];
        sp_server server = make_server(tokenizer, c->format);
        planning p;
        sp_error err = SP_ERROR_NONE;
        sp_text text = {NULL, 0, 0};
        if (!make_plan(&p, &server, c->messages, c->members))
            fail_msg("%s%s: %s", c->messages, c->members, p.fault.text);
        const sp_tokens *prompt = &p.plan.prompt;
        assert_ok(sp_tokenizer_decode(tokenizer, &text, prompt->ids, prompt->n, 0, &err), err);
        size_t n = strlen(c->end);
        if (text.len < n || strcmp(text.data + text.len - n, c->end) != 0)
            fail_msg("%s%s: prompt %s", c->messages, c->members, text.data);
        assert_int_equal(p.plan.generate.chat.think, c->think);
        /* text of users never becomes control */
        for (size_t k = 0, n_think = 0; k < prompt->n; k++) {
            n_think += prompt->ids[k] == sp_tokenizer_find(tokenizer, "<think>");
            assert_true(n_think <= 1);
        }
        sp_text_clear(&text);
        clear_plan(&p);
    }
    sp_tokenizer_close(tokenizer);
}

/* What the server was started with holds for requests that say nothing. */
static void test_server_bias(void **state)
{
    static const sp_logit_bias ban = {7, -100};
    static const char *const members[] = {"", ",\"logit_bias\":{}", ",\"logit_bias\":{\"9\":1}"};
    static const int32_t ids[] = {7, 7, 9};
    (void)state;
    SKIP_WITHOUT_JSON();
    sp_tokenizer *tokenizer = open_tiny_deepseek();
    sp_server server = make_server(tokenizer, SP_CHAT_R1);
    server.options.generate.sampler.logit_bias = &ban;
    server.options.generate.sampler.n_logit_bias = 1;
    for (int i = 0; i < 3; i++) {
        planning p;
        if (!make_plan(&p, &server, USER, members[i])) fail_msg("%s", p.fault.text);
        assert_int_equal(p.plan.generate.sampler.n_logit_bias, 1);
        assert_int_equal(p.plan.generate.sampler.logit_bias[0].id, ids[i]);
        clear_plan(&p);
    }
    sp_tokenizer_close(tokenizer);
}

typedef struct plan_refusal {
    sp_chat_format format;
    sp_reasoning_policy policy;
    const char *messages, *members, *param;
} plan_refusal;

static void test_prompts_refused(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    static const plan_refusal refusals[] = {
        {SP_CHAT_NONE, SP_REASONING_IGNORE, USER, "", "model"},
        {SP_CHAT_V25, SP_REASONING_IGNORE, USER, ",\"thinking\":{\"type\":\"enabled\"}", "thinking"},
        {SP_CHAT_V25, SP_REASONING_IGNORE, USER, ",\"reasoning_effort\":\"low\"", "reasoning_effort"},
        {SP_CHAT_LLM, SP_REASONING_IGNORE, USER, TOOLS("\"auto\""), "tools"},
        {SP_CHAT_R1, SP_REASONING_IGNORE, USER, ",\"logit_bias\":{\"99999\":1}", "logit_bias"},
        {SP_CHAT_R1, SP_REASONING_REJECT,
         USER ",{\"role\":\"assistant\",\"content\":\"a\",\"reasoning_content\":\"b\"}," USER, "",
         "messages[1].reasoning_content"},
        {SP_CHAT_V31, SP_REASONING_REQUIRE,
         USER
         ",{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
         "{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":\"x\"}",
         "", "messages[1].reasoning_content"},
    };
    sp_tokenizer *tokenizer = open_tiny_deepseek();
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const plan_refusal *c = &refusals[i];
        sp_server server = make_server(tokenizer, c->format);
        planning p;
        server.options.reasoning = c->policy;
        assert_false(make_plan(&p, &server, c->messages, c->members));
        assert_int_equal(p.fault.status, 400);
        assert_string_equal(p.fault.param, c->param);
        clear_plan(&p);
    }
    sp_tokenizer_close(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chat_whole),
        cmocka_unit_test(test_chat_stream),
        cmocka_unit_test(test_chat_stream_of_two_with_usage),
        cmocka_unit_test(test_chat_calls),
        cmocka_unit_test(test_chat_forced_calls),
        cmocka_unit_test(test_chat_any_call_stream),
        cmocka_unit_test(test_chat_faults),
        cmocka_unit_test(test_chat_logprobs),
        cmocka_unit_test(test_text_logprobs),
        cmocka_unit_test(test_text_echo),
        cmocka_unit_test(test_anthropic_stream),
        cmocka_unit_test(test_anthropic_whole),
        cmocka_unit_test(test_anthropic_wrong_input),
        cmocka_unit_test(test_prompts),
        cmocka_unit_test(test_server_bias),
        cmocka_unit_test(test_prompts_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
