/* SPDX-License-Identifier: MIT */
/* Conversations: equal to the published templates rendered by Jinja2 (tests/golden/templates), special tokens
 * only from the template, recognition of formats, thinking switches, tools, fill in the middle, failed
 * allocations. */
#include "chat_testing.h"

#include "text/chat_build.h"
#include "text/chat_json.h"

#define BOS "<｜begin▁of▁sentence｜>"
#define EOS "<｜end▁of▁sentence｜>"
#define U "<｜User｜>"
#define A "<｜Assistant｜>"

static const sp_chat_options automatic = SP_CHAT_OPTIONS_DEFAULTS;

static sp_message say(sp_role role, const char *content)
{
    return (sp_message){.role = role, .content = content};
}

static void expect_text(sp_chat_format format, const sp_message *messages, size_t n,
                        const sp_chat_options *options, const char *expected)
{
    sp_text text = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_chat_render_text(format, &text, messages, n, options, &err), err);
    assert_string_equal(text.data, expected);
    sp_text_clear(&text);
}

/* --- goldens -------------------------------------------------------------------------------------------- */

#define MAX_MESSAGES 32
#define MAX_CALLS 64

typedef struct golden_case {
    sp_message messages[MAX_MESSAGES];
    sp_tool_call calls[MAX_CALLS];
    size_t n, n_calls;
} golden_case;

static sp_role role_of(const char *name)
{
    static const char *const names[] = {"system", "user", "assistant", "tool"};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0) return (sp_role)i;
    fail_msg("unknown role %s", name);
    return SP_ROLE_USER;
}

static void read_messages(golden_case *g, const sp_json *list)
{
    *g = (golden_case){.n = sp_json_size(list)};
    assert_true(g->n <= MAX_MESSAGES);
    for (size_t i = 0; i < g->n; i++) {
        const sp_json *m = sp_json_at(list, i), *calls = sp_json_get(m, "tool_calls");
        g->messages[i] = say(role_of(sp_json_string(sp_json_get(m, "role"), NULL)),
                             sp_json_string(sp_json_get(m, "content"), NULL));
        g->messages[i].reasoning = sp_json_string(sp_json_get(m, "reasoning_content"), NULL);
        g->messages[i].tool_calls = g->calls + g->n_calls;
        g->messages[i].n_tool_calls = sp_json_size(calls);
        for (size_t c = 0; c < sp_json_size(calls); c++) {
            const sp_json *function = sp_json_get(sp_json_at(calls, c), "function");
            assert_true(g->n_calls < MAX_CALLS);
            g->calls[g->n_calls++] = (sp_tool_call){NULL, sp_json_string(sp_json_get(function, "name"), NULL),
                                                    sp_json_string(sp_json_get(function, "arguments"), NULL)};
        }
    }
}

static sp_think think_of(const char *name)
{
    return strcmp(name, "on") == 0 ? SP_THINK_ON : strcmp(name, "off") == 0 ? SP_THINK_OFF : SP_THINK_AUTO;
}

/* True if the case was compared: cases of templates that no member was trained on, and those where the
 * published template has a known defect (their corrected form stands in by-hand.json), are left out. */
static bool check_case(const sp_json *entry, const char *file)
{
    static golden_case g;
    const char *name = sp_json_string(sp_json_get(entry, "format"), NULL), *expected;
    const char *template = sp_json_string(sp_json_get(entry, "template"), NULL);
    sp_chat_format format;
    sp_buf tools = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    sp_text text = {NULL, 0, 0};
    if (!name || sp_json_get(entry, "departs")) return false;
    if (strncmp(template, "Qwen3", 5) == 0) name = "qwen3";
    assert_true(sp_chat_format_by_name(name, &format));
    read_messages(&g, sp_json_get(entry, "messages"));
    sp_chat_options options = {think_of(sp_json_string(sp_json_get(entry, "think"), NULL)),
                               !sp_json_bool(sp_json_get(entry, "add_generation_prompt"), true), NULL};
    if (sp_json_get(entry, "tools")) {
        assert_ok(sp_json_dump(&tools, sp_json_get(entry, "tools"), SP_JSON_COMPACT, &err), err);
        options.tools_json = tools.data;
    }
    sp_status status = sp_chat_render_text(format, &text, g.messages, g.n, &options, &err);
    expected = sp_json_string(sp_json_get(entry, "expected"), NULL);
    if (status != SP_OK || strcmp(text.data, expected) != 0)
        fail_msg("%s, case \"%s\":\nwant %s\ngot  %s", file, sp_json_string(sp_json_get(entry, "case"), NULL),
                 expected, status == SP_OK ? text.data : err.text);
    sp_text_clear(&text);
    sp_buf_clear(&tools);
    return true;
}

static void test_published_templates(void **state)
{
    static const char *const files[] = {"llm",     "v3",    "r1-distill-llama", "r1-distill-qwen", "v3.1",
                                        "qwen2.5", "qwen3", "by-hand"};
    (void)state;
    SKIP_WITHOUT_JSON();
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[128];
        sp_json *root = NULL;
        sp_error err = SP_ERROR_NONE;
        size_t n_checked = 0;
        snprintf(path, sizeof path, "tests/golden/templates/%s.json", files[i]);
        sp_buf text = read_whole(test_path(path));
        assert_ok(sp_json_parse(text.data, text.len, &root, &err), err);
        for (size_t k = 0; k < sp_json_size(root); k++)
            n_checked += check_case(sp_json_at(root, k), files[i]);
        printf("%s: %zu of %zu cases compared\n", files[i], n_checked, sp_json_size(root));
        assert_true(n_checked >= 20);
        sp_json_destroy(root);
        sp_buf_clear(&text);
    }
}

/* --- thinking ------------------------------------------------------------------------------------------- */

static void test_old_reasoning_is_dropped(void **state)
{
    sp_message m[] = {say(SP_ROLE_USER, "a"), say(SP_ROLE_ASSISTANT, "<think>x</think>\n\nb</think>c"),
                      say(SP_ROLE_USER, "d")};
    (void)state;
    expect_text(SP_CHAT_R1, m, 3, NULL, BOS U "a" A "c" EOS U "d" A "<think>\n");
    expect_text(SP_CHAT_V31, m, 3, NULL, BOS U "a" A "</think>\n\nb</think>c" EOS U "d" A "</think>");
    m[1].content = "b";
    m[1].reasoning = "x";
    expect_text(SP_CHAT_R1, m, 3, NULL, BOS U "a" A "b" EOS U "d" A "<think>\n");
    expect_text(SP_CHAT_R1_0528, m, 3, NULL, BOS U "a" A "b" EOS U "d" A);
    expect_text(SP_CHAT_V31, m, 3, NULL, BOS U "a" A "</think>b" EOS U "d" A "</think>");
}

static void test_thinking_switch(void **state)
{
    sp_message m[] = {say(SP_ROLE_USER, "a")};
    sp_chat_options on = {SP_THINK_ON, 0, NULL}, off = {SP_THINK_OFF, 0, NULL},
                    no_prompt = {SP_THINK_ON, 1, NULL};
    (void)state;
    expect_text(SP_CHAT_R1, m, 1, &on, BOS U "a" A "<think>\n");
    expect_text(SP_CHAT_R1, m, 1, &off, BOS U "a" A "<think>\n\n</think>\n\n");
    expect_text(SP_CHAT_R1_0528, m, 1, &on, BOS U "a" A "<think>\n");
    expect_text(SP_CHAT_R1_0528, m, 1, &off, BOS U "a" A "<think>\n\n</think>\n\n");
    expect_text(SP_CHAT_R1_0528, m, 1, &no_prompt, BOS U "a" A); /* its template marks each user turn so */
    expect_text(SP_CHAT_V31, m, 1, &on, BOS U "a" A "<think>");
    expect_text(SP_CHAT_V31, m, 1, &off, BOS U "a" A "</think>");
    expect_text(SP_CHAT_V25, m, 1, &on, BOS U "a" A);
    assert_true(sp_chat_starts_thinking(SP_CHAT_R1, NULL));
    assert_true(sp_chat_starts_thinking(SP_CHAT_R1, &on));
    assert_false(sp_chat_starts_thinking(SP_CHAT_R1, &off));
    assert_false(sp_chat_starts_thinking(SP_CHAT_R1, &no_prompt));
    assert_false(sp_chat_starts_thinking(SP_CHAT_R1_0528, &automatic));
    assert_true(sp_chat_starts_thinking(SP_CHAT_R1_0528, &on));
    assert_false(sp_chat_starts_thinking(SP_CHAT_V31, &automatic));
    assert_true(sp_chat_starts_thinking(SP_CHAT_V31, &on));
    assert_false(sp_chat_starts_thinking(SP_CHAT_LLM, &on));
}

/* For every format: a reply is read as beginning inside the reasoning exactly if the prompt ends in an open
 * tag. */
static void test_reply_options_follow_prompt(void **state)
{
    sp_tool_call call = {NULL, "f", "{}"};
    sp_message m[] = {say(SP_ROLE_USER, "a"), say(SP_ROLE_ASSISTANT, NULL), say(SP_ROLE_TOOL, "r")};
    (void)state;
    m[1].tool_calls = &call;
    m[1].n_tool_calls = 1;
    for (int format = SP_CHAT_V25; format < SP_CHAT_FORMAT_COUNT; format++) {
        for (int think = SP_THINK_AUTO; think <= SP_THINK_OFF; think++) {
            for (size_t n = 1; n <= 3; n++) {
                sp_chat_options options = {(sp_think)think, 0, NULL};
                sp_text text = {NULL, 0, 0};
                sp_error err = SP_ERROR_NONE;
                assert_ok(sp_chat_render_text((sp_chat_format)format, &text, m, n, &options, &err), err);
                while (text.len && text.data[text.len - 1] == '\n') text.len--;
                bool open = text.len >= 7 && memcmp(text.data + text.len - 7, "<think>", 7) == 0;
                sp_chat_options reply = sp_chat_reply_options((sp_chat_format)format, m, n, &options);
                assert_int_equal(sp_chat_starts_thinking((sp_chat_format)format, &reply), open);
                sp_text_clear(&text);
            }
        }
    }
}

/* --- tools ---------------------------------------------------------------------------------------------- */

#define CALL(name, args)                                                                                     \
    "<｜tool▁call▁begin｜>function<｜tool▁sep｜>" name "\n```json\n" args "\n```<｜tool▁call▁end｜>"

/* The vendor's rule where the published templates of V3 and R1 are defective: results are grouped anew in
 * each round, and closed before whatever follows. */
static void test_tool_rounds(void **state)
{
    sp_tool_call calls[] = {{NULL, "f", "{\"x\": 1}"}, {NULL, "g", "{}"}};
    sp_message m[] = {say(SP_ROLE_USER, "q"),
                      say(SP_ROLE_ASSISTANT, NULL),
                      say(SP_ROLE_TOOL, "1"),
                      say(SP_ROLE_TOOL, "2"),
                      say(SP_ROLE_ASSISTANT, "<think>t</think>so "),
                      say(SP_ROLE_TOOL, "3"),
                      say(SP_ROLE_USER, "never mind")};
    (void)state;
    m[1].tool_calls = calls, m[1].n_tool_calls = 2;
    m[4].tool_calls = calls, m[4].n_tool_calls = 1;
    expect_text(SP_CHAT_R1, m, 7, NULL,
                BOS U "q" A "<｜tool▁calls▁begin｜>" CALL("f", "{\"x\": 1}") "\n" CALL(
                    "g", "{}") "<｜tool▁calls▁end｜>" EOS
                               "<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>1<｜tool▁output▁end｜>\n<"
                               "｜tool▁output▁begin｜>2<｜tool▁output▁end｜>"
                               "<｜tool▁outputs▁end｜>so <｜tool▁calls▁begin｜>" CALL(
                                   "f", "{\"x\": 1}") "<｜tool▁calls▁end｜>" EOS
                                                      "<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>3<"
                                                      "｜tool▁output▁end｜><｜tool▁outputs▁end｜>" U
                                                      "never mind" A "<think>\n");
}

static void test_tools_are_described(void **state)
{
    static const char tools[] =
        "[{\"type\":\"function\",\"function\":{\"name\":\"f\\u00e4\",\"description\":\"d <｜User｜>\","
        "\"parameters\":{\"type\":\"object\",\"n\":1.10}}}]";
    sp_chat_options options = {SP_THINK_AUTO, 0, tools};
    sp_message m[] = {say(SP_ROLE_SYSTEM, "S"), say(SP_ROLE_USER, "q")};
    sp_error err = SP_ERROR_NONE;
    (void)state;
    for (int format = SP_CHAT_V25; format < SP_CHAT_FORMAT_COUNT; format++) {
        sp_text text = {NULL, 0, 0};
        assert_ok(sp_chat_render_text((sp_chat_format)format, &text, m, 2, &options, &err), err);
        assert_non_null(strstr(text.data, "S\n\n#"));
        assert_non_null(strstr(text.data, "fä"));
        assert_non_null(strstr(text.data, "{\"type\": \"object\", \"n\": 1.10}"));
        sp_text_clear(&text);
    }
    sp_text text = {NULL, 0, 0};
    assert_int_equal(sp_chat_render_text(SP_CHAT_LLM, &text, m, 2, &options, &err), SP_E_UNSUPPORTED);
    options.tools_json = " [ ] ";
    assert_ok(sp_chat_render_text(SP_CHAT_LLM, &text, m, 2, &options, &err), err);
    static const char *const malformed[] = {
        "", "{}", "[", "[1]", "[{\"function\":{}}]", "[{\"function\":{\"name\":3}}]", "[] x"};
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        options.tools_json = malformed[i];
        assert_int_equal(sp_chat_render_text(SP_CHAT_R1, &text, m, 2, &options, &err), SP_E_ARGUMENT);
    }
    sp_text_clear(&text);
}

static void test_refused_conversations(void **state)
{
    sp_tool_call call = {NULL, "f", NULL};
    sp_message empty = say(SP_ROLE_ASSISTANT, NULL), tool = say(SP_ROLE_TOOL, "r"),
               odd = say((sp_role)9, "x");
    sp_message calling = say(SP_ROLE_ASSISTANT, NULL), user = say(SP_ROLE_USER, "x");
    sp_text text = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    (void)state;
    calling.tool_calls = &call, calling.n_tool_calls = 1;
    assert_int_equal(sp_chat_render_text(SP_CHAT_NONE, &text, &user, 1, NULL, &err), SP_E_UNSUPPORTED);
    assert_int_equal(sp_chat_render_text(SP_CHAT_R1, &text, &user, 0, NULL, &err), SP_E_ARGUMENT);
    assert_int_equal(sp_chat_render_text(SP_CHAT_R1, &text, &empty, 1, NULL, &err), SP_E_ARGUMENT);
    assert_int_equal(sp_chat_render_text(SP_CHAT_R1, &text, &odd, 1, NULL, &err), SP_E_ARGUMENT);
    assert_int_equal(sp_chat_render_text(SP_CHAT_R1, &text, &calling, 1, NULL, &err), SP_E_ARGUMENT);
    assert_int_equal(sp_chat_render_text(SP_CHAT_CODER, &text, &tool, 1, NULL, &err), SP_E_UNSUPPORTED);
    user.tool_calls = &call, user.n_tool_calls = 1;
    assert_int_equal(sp_chat_render_text(SP_CHAT_R1, &text, &user, 1, NULL, &err), SP_E_ARGUMENT);
    assert_null(text.data);
}

/* --- ids ------------------------------------------------------------------------------------------------ */

static void test_text_is_never_control(void **state)
{
    sp_message m[] = {say(SP_ROLE_SYSTEM, BOS), say(SP_ROLE_USER, "x" A "<think>" EOS)};
    sp_tokens tokens = {NULL, 0, 0};
    sp_text text = {NULL, 0, 0}, rendered = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    size_t n_control = 0;
    (void)state;
    SKIP_WITHOUT_JSON();
    sp_tokenizer *tokenizer = open_tiny_deepseek();
    assert_ok(sp_chat_render(SP_CHAT_R1, tokenizer, &tokens, m, 2, NULL, &err), err);
    for (size_t i = 0; i < tokens.n; i++) n_control += tokens.ids[i] >= TINY_FIRST_CONTROL;
    assert_int_equal(n_control, 4); /* begin of sentence, user, assistant, think */
    assert_int_equal(tokens.ids[0], sp_tokenizer_find(tokenizer, BOS));
    assert_int_equal(tokens.ids[tokens.n - 2], sp_tokenizer_find(tokenizer, "<think>"));
    assert_int_equal(tokens.ids[tokens.n - 1], '\n');
    assert_ok(sp_tokenizer_decode(tokenizer, &text, tokens.ids, tokens.n, 0, &err), err);
    assert_ok(sp_chat_render_text(SP_CHAT_R1, &rendered, m, 2, NULL, &err), err);
    assert_string_equal(text.data, rendered.data);
    sp_tokens_clear(&tokens);
    sp_text_clear(&text);
    sp_text_clear(&rendered);
    sp_tokenizer_close(tokenizer);
}

/* The content's last line break and the template's two are one piece for the tokenizer, as for the published
 * pipeline. */
static void test_plain_text_is_encoded_as_one(void **state)
{
    static const char *const controls[] = {BOS, EOS};
    sp_message m[] = {say(SP_ROLE_USER, "x\n")};
    sp_tokens tokens = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    (void)state;
    SKIP_WITHOUT_JSON();
    sp_tokenizer *tokenizer = open_tiny(controls, 2, NULL);
    assert_ok(sp_chat_render(SP_CHAT_LLM, tokenizer, &tokens, m, 1, NULL, &err), err);
    const int32_t expected[] = {257, 'U', 's', 'e', 'r', ':', ' ', 'x', TINY_BREAKS, '\n'};
    assert_memory_equal(tokens.ids, expected, sizeof expected);
    sp_tokens_clear(&tokens);
    sp_tokenizer_close(tokenizer);
}

static void test_unknown_controls_are_text(void **state)
{
    static const char *const controls[] = {BOS, EOS};
    sp_message m[] = {say(SP_ROLE_USER, "x")};
    sp_tokens tokens = {NULL, 0, 0};
    sp_text text = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    (void)state;
    SKIP_WITHOUT_JSON();
    sp_tokenizer *tokenizer = open_tiny(controls, 2, NULL);
    assert_ok(sp_chat_render(SP_CHAT_R1, tokenizer, &tokens, m, 1, NULL, &err), err);
    assert_ok(sp_tokenizer_decode(tokenizer, &text, tokens.ids, tokens.n, 0, &err), err);
    assert_string_equal(text.data, BOS U "x" A "<think>\n");
    assert_int_equal(tokens.n, 1 + strlen(U "x" A "<think>\n"));
    sp_tokens_clear(&tokens);
    sp_text_clear(&text);
    sp_tokenizer_close(tokenizer);
}

/* The real V3/R1 vocabulary: the same ids as its own rule gives for the text, begin of sentence and all. */
static void test_real_vocabulary(void **state)
{
    sp_message m[] = {say(SP_ROLE_SYSTEM, "S"), say(SP_ROLE_USER, "Grüße, 你好\n"),
                      say(SP_ROLE_ASSISTANT, "ok"), say(SP_ROLE_USER, "1+1?")};
    sp_tokens tokens = {NULL, 0, 0}, expected = {NULL, 0, 0};
    sp_text text = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    sp_tokenizer *tokenizer = NULL;
    const char *path = shared_path("tokenizers/deepseek-v3-r1");
    (void)state;
    if (!path || !SP_HAVE_JANSSON) skip();
    assert_ok(sp_tokenizer_open(&tokenizer, path, &err), err);
    assert_int_equal(sp_chat_format_detect(tokenizer), SP_CHAT_R1);
    assert_ok(sp_chat_render(SP_CHAT_R1, tokenizer, &tokens, m, 4, NULL, &err), err);
    assert_ok(sp_chat_render_text(SP_CHAT_R1, &text, m, 4, NULL, &err), err);
    assert_ok(sp_tokenizer_encode(tokenizer, &expected, text.data, text.len, SP_ENCODE_SPECIAL, &err), err);
    assert_int_equal(tokens.n, expected.n);
    assert_memory_equal(tokens.ids, expected.ids, tokens.n * sizeof *tokens.ids);
    assert_int_equal(tokens.ids[0], 0);
    assert_int_equal(tokens.ids[2], 128803);
    assert_int_equal(tokens.ids[tokens.n - 2], 128798);
    sp_tokens_clear(&tokens);
    sp_tokens_clear(&expected);
    sp_text_clear(&text);
    sp_tokenizer_close(tokenizer);
}

static void test_fill_in_the_middle(void **state)
{
    static const char *const qwen[] = {"<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"};
    static const char *const none[] = {BOS};
    sp_tokens tokens = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    (void)state;
    SKIP_WITHOUT_JSON();
    sp_tokenizer *tokenizer = open_tiny_deepseek();
    assert_ok(sp_chat_render_fim(tokenizer, &tokens, "a", 1, "bc", 2, &err), err);
    const int32_t expected[] = {257, 272, 'a', 273, 'b', 'c', 274};
    assert_int_equal(tokens.n, 7);
    assert_memory_equal(tokens.ids, expected, sizeof expected);
    sp_tokenizer_close(tokenizer);
    tokens.n = 0;
    tokenizer = open_tiny(qwen, 3, NULL);
    assert_ok(sp_chat_render_fim(tokenizer, &tokens, "a", 1, "", 0, &err), err);
    const int32_t expected_qwen[] = {257, 'a', 259, 258};
    assert_int_equal(tokens.n, 4);
    assert_memory_equal(tokens.ids, expected_qwen, sizeof expected_qwen);
    sp_tokenizer_close(tokenizer);
    tokenizer = open_tiny(none, 1, NULL);
    assert_int_equal(sp_chat_render_fim(tokenizer, &tokens, "a", 1, "", 0, &err), SP_E_UNSUPPORTED);
    assert_int_equal(tokens.n, 4);
    sp_tokens_clear(&tokens);
    sp_tokenizer_close(tokenizer);
}

/* --- recognition ---------------------------------------------------------------------------------------- */

static void test_formats_by_name(void **state)
{
    (void)state;
    for (int i = 0; i < SP_CHAT_FORMAT_COUNT; i++) {
        sp_chat_format format = SP_CHAT_FORMAT_COUNT;
        assert_true(sp_chat_format_by_name(sp_chat_format_name((sp_chat_format)i), &format));
        assert_int_equal(format, i);
    }
    sp_chat_format format;
    assert_false(sp_chat_format_by_name("vicuna", &format));
}

static void test_recognise_templates(void **state)
{
    static const struct {
        const char *jinja;
        sp_chat_format format;
    } cases[] = {
        {"{{ 'User: ' + message['content'] + '\\n\\n' }}{{ 'Assistant: ' }}{{ 'Assistant:' }}", SP_CHAT_LLM},
        {"{{'### Instruction:\\n' + message['content']}}{{'### Response:\\n'}}", SP_CHAT_CODER},
        {"<｜User｜>{{x}}<｜Assistant｜> '<｜tool▁outputs▁begin｜>'", SP_CHAT_V25},
        {"is_last_user '<｜User｜>' + c + '<｜Assistant｜>' '<｜tool▁outputs▁begin｜>'",
         SP_CHAT_V25}, /* V3-0324 */
        {"'<｜Assistant｜>' content.split('</think>')[-1] '<｜tool▁outputs▁begin｜>'",
         SP_CHAT_R1}, /* January 2025 */
        {"'<｜Assistant｜><think>\\n' content.split('</think>')[-1] '<｜tool▁outputs▁begin｜>'", SP_CHAT_R1},
        {"is_last_user '<｜Assistant｜>' content.split('</think>')[-1] '<｜tool▁outputs▁begin｜>'",
         SP_CHAT_R1_0528},
        {"thinking '<｜Assistant｜>' '</think>' content.split('</think>', 1)[1] '<｜tool▁output▁begin｜>'",
         SP_CHAT_V31},
        {"<|im_start|>system", SP_CHAT_QWEN},
        {"<|im_start|> content.split('</think>')", SP_CHAT_QWEN3},
        {"<|start_header_id|>", SP_CHAT_NONE},
        {"", SP_CHAT_NONE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(sp_chat_format_of_template(cases[i].jinja), cases[i].format);
}

static void test_recognise_published_files(void **state)
{
    static const struct {
        const char *file;
        sp_chat_format format;
    } cases[] = {
        {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B", SP_CHAT_R1},
        {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", SP_CHAT_R1},
        {"llama-cpp-deepseek-r1", SP_CHAT_R1},
        {"deepseek-ai-DeepSeek-V3.1", SP_CHAT_V31},
        {"Qwen-Qwen2.5-7B-Instruct", SP_CHAT_QWEN},
        {"Qwen-Qwen3-0.6B", SP_CHAT_QWEN3},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char relative[128];
        snprintf(relative, sizeof relative, "templates/%s.jinja", cases[i].file);
        const char *path = shared_path(relative);
        if (!path) skip();
        sp_buf jinja = read_whole(path);
        assert_int_equal(sp_chat_format_of_template(jinja.data), cases[i].format);
        sp_buf_clear(&jinja);
    }
}

static void expect_detected(const char *const *controls, size_t n, const char *jinja, sp_chat_format format)
{
    sp_tokenizer *tokenizer = open_tiny(controls, n, jinja);
    assert_int_equal(sp_chat_format_detect(tokenizer), format);
    sp_tokenizer_close(tokenizer);
}

static void test_recognise_vocabularies(void **state)
{
    static const char *const v25[] = {U, A}, *const r1[] = {U, A, "<think>"};
    static const char *const v31[] = {U, A, "<think>", "<｜search▁begin｜>"};
    static const char *const qwen[] = {"<|im_start|>", "<|im_end|>"}, *const qwen3[] = {"<|im_start|>",
                                                                                        "<|im_end|>",
                                                                                        "<think>"};
    (void)state;
    SKIP_WITHOUT_JSON();
    expect_detected(v25, 2, NULL, SP_CHAT_V25);
    expect_detected(r1, 3, NULL, SP_CHAT_R1);
    expect_detected(v31, 4, NULL, SP_CHAT_V31);
    expect_detected(qwen, 2, NULL, SP_CHAT_QWEN);
    expect_detected(qwen3, 3, NULL, SP_CHAT_QWEN3);
    expect_detected(r1, 3, "User: Assistant:", SP_CHAT_LLM); /* the template goes first */
    expect_detected(r1, 3, "unknown", SP_CHAT_R1);
    expect_detected(NULL, 0, NULL, SP_CHAT_NONE);
}

/* --- JSON text ------------------------------------------------------------------------------------------ */

static void test_json_text(void **state)
{
    static const char *const good[][2] = {
        {"{\"a\":[1,2.50,-0e+1],\"b\":{}}", "{\"a\": [1, 2.50, -0e+1], \"b\": {}}"},
        {" [ ] ", "[]"},
        {"\"\\u00e9\\ud83d\\ude00\\/\\u0001\\ud800\\b\"", "\"é😀/\\u0001\xEF\xBF\xBD\\b\""},
        {"[true,false,null]", "[true, false, null]"},
    };
    static const char *const bad[] = {"",      "{",         "[1,]",   "{\"a\":}", "{\"a\" 1}", "01",
                                      "1.",    "\"\\x\"",   "\"\n\"", "\"abc",    "nul",       "[1] 2",
                                      "{a:1}", "\"\\u12\"", "-",      "1e",       "]",         "[1"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        sp_buf buf = {NULL, 0, 0};
        sp_error err = SP_ERROR_NONE;
        assert_ok(sp_rawjson_put(&buf, good[i][0], strlen(good[i][0]), &err), err);
        assert_string_equal(buf.data, good[i][1]);
        sp_buf_clear(&buf);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(sp_rawjson_put(NULL, bad[i], strlen(bad[i]), NULL), SP_E_FORMAT);
    char deep[600];
    memset(deep, '[', 300);
    memset(deep + 300, ']', 300);
    assert_int_equal(sp_rawjson_put(NULL, deep, 600, NULL), SP_E_FORMAT);
    assert_int_equal(sp_rawjson_put(NULL, deep + 200, 200, NULL), SP_OK);
    static const char members[] = "{ \"n\\u0061me\" : \"x\" , \"name\":[1, \"]\"]}";
    sp_rawjson object = {members, sizeof members - 1}, value;
    assert_true(sp_rawjson_member(object, "name", &value));
    assert_memory_equal(value.text, "[1, \"]\"]", value.len);
    assert_false(sp_rawjson_member(object, "nam", &value));
}

/* --- failed allocations --------------------------------------------------------------------------------- */

static void test_failed_allocations(void **state)
{
    sp_tool_call call = {NULL, "f", "{\"x\":1}"};
    sp_message m[] = {say(SP_ROLE_SYSTEM, "S"), say(SP_ROLE_USER, "q"), say(SP_ROLE_ASSISTANT, "c"),
                      say(SP_ROLE_TOOL, "r")};
    sp_chat_options options = {SP_THINK_AUTO, 0, "[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]"};
    (void)state;
    SKIP_WITHOUT_JSON();
    sp_tokenizer *tokenizer = open_tiny_deepseek();
    m[2].tool_calls = &call, m[2].n_tool_calls = 1;
    for (int format = SP_CHAT_V25; format < SP_CHAT_FORMAT_COUNT; format++) {
        sp_status status = SP_E_NOMEM;
        for (int64_t n = 0; status != SP_OK; n++) {
            sp_tokens tokens = {NULL, 0, 0};
            sp_error err = SP_ERROR_NONE;
            sp_mem_fail_after(n);
            status = sp_chat_render((sp_chat_format)format, tokenizer, &tokens, m, 4, &options, &err);
            sp_mem_fail_after(-1);
            assert_true(status == SP_OK || status == SP_E_NOMEM);
            if (status != SP_OK) assert_int_equal(tokens.n, 0);
            sp_tokens_clear(&tokens);
            assert_true(n < 1000);
        }
    }
    sp_tokenizer_close(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_templates),
        cmocka_unit_test(test_old_reasoning_is_dropped),
        cmocka_unit_test(test_thinking_switch),
        cmocka_unit_test(test_reply_options_follow_prompt),
        cmocka_unit_test(test_tool_rounds),
        cmocka_unit_test(test_tools_are_described),
        cmocka_unit_test(test_refused_conversations),
        cmocka_unit_test(test_text_is_never_control),
        cmocka_unit_test(test_plain_text_is_encoded_as_one),
        cmocka_unit_test(test_unknown_controls_are_text),
        cmocka_unit_test(test_real_vocabulary),
        cmocka_unit_test(test_fill_in_the_middle),
        cmocka_unit_test(test_formats_by_name),
        cmocka_unit_test(test_recognise_templates),
        cmocka_unit_test(test_recognise_published_files),
        cmocka_unit_test(test_recognise_vocabularies),
        cmocka_unit_test(test_json_text),
        cmocka_unit_test(test_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
