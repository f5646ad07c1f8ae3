/* SPDX-License-Identifier: MIT */
/* Replies read token by token: thinking tags and tool calls by id and by text, any cutting into tokens, calls in pieces,
 * malformed calls left in the content, whole characters only, failed allocations. */
#include "chat_testing.h"

/* What the streaming function was given. */
typedef struct stream {
    sp_buf parts[3]; /* of tool calls: "name(arguments" each */
    const sp_reply *reply;
    size_t n_calls;
    int stop_after; /* calls of the function; 0: never */
} stream;

static bool is_utf8(const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)text[i];
        size_t n = c < 0x80 ? 1 : c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC2 ? 2 : 0;
        if (n == 0 || n > len - i) return false;
        i += n;
    }
    return true;
}

static int collect(void *ctx, sp_reply_part part, const char *text, size_t len)
{
    stream *s = ctx;
    sp_error err = SP_ERROR_NONE;
    assert_true(is_utf8(text, len));
    if (part == SP_REPLY_TOOL_CALL && len == 0) {
        const sp_tool_call *calls;
        size_t n = sp_reply_tool_calls(s->reply, &calls);
        assert_string_equal(calls[n - 1].arguments, "");
        assert_ok(sp_buf_printf(&s->parts[part], &err, "%s%s(", n > 1 ? ")" : "", calls[n - 1].name), err);
    } else {
        assert_true(len > 0);
    }
    assert_ok(sp_buf_append(&s->parts[part], text, len, &err), err);
    s->n_calls++;
    return s->stop_after > 0 && s->n_calls >= (size_t)s->stop_after;
}

static void clear_stream(stream *s)
{
    for (int i = 0; i < 3; i++) sp_buf_clear(&s->parts[i]);
}

/* Push text one byte per token, control spellings as their single token where the tokenizer has them. */
static void push_text(sp_reply *reply, const sp_tokenizer *tokenizer, const char *text, stream *s)
{
    sp_tokens tokens = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_tokenizer_encode(tokenizer, &tokens, text, strlen(text), SP_ENCODE_SPECIAL, &err), err);
    for (size_t i = 0; i < tokens.n; i++)
        assert_ok(sp_reply_push(reply, tokens.ids[i], collect, s, &err), err);
    sp_tokens_clear(&tokens);
}

typedef struct expected {
    const char *reasoning, *content;
    const char *calls; /* "name(arguments)" each */
} expected;

static void expect_part(const sp_buf *part, const char *want)
{
    assert_string_equal(part->data ? part->data : "", want);
}

/* What the reply and its stream say, once it is over. */
static void check_reply(sp_reply *reply, stream *s, expected want)
{
    sp_buf calls = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    const sp_tool_call *list;
    assert_ok(sp_reply_finish(reply, collect, s, &err), err);
    size_t n = sp_reply_tool_calls(reply, &list);
    for (size_t i = 0; i < n; i++)
        assert_ok(sp_buf_printf(&calls, &err, "%s(%s)", list[i].name, list[i].arguments), err);
    assert_string_equal(sp_reply_reasoning(reply), want.reasoning);
    assert_string_equal(sp_reply_content(reply), want.content);
    expect_part(&calls, want.calls);
    expect_part(&s->parts[SP_REPLY_REASONING], want.reasoning);
    expect_part(&s->parts[SP_REPLY_CONTENT], want.content);
    if (n) assert_ok(sp_buf_puts(&s->parts[SP_REPLY_TOOL_CALL], ")", &err), err);
    expect_part(&s->parts[SP_REPLY_TOOL_CALL], want.calls);
    sp_buf_clear(&calls);
}

static void expect_reply(sp_chat_format format, sp_think think, const sp_tokenizer *tokenizer,
                         const char *text, expected want)
{
    sp_chat_options options = {think, 0, NULL};
    sp_error err = SP_ERROR_NONE;
    sp_reply *reply;
    assert_ok(sp_reply_create(&reply, format, tokenizer, &options, &err), err);
    stream s = {{{NULL, 0, 0}}, reply, 0, 0};
    push_text(reply, tokenizer, text, &s);
    check_reply(reply, &s, want);
    sp_reply_destroy(reply);
    clear_stream(&s);
}

/* With the marks as tokens, and with a vocabulary that lacks them, so that they are found in the text. */
static void expect_both(sp_chat_format format, sp_think think, const char *text, expected want)
{
    static const char *const few[] = {"<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"};
    sp_tokenizer *full = open_tiny_deepseek(), *bare = open_tiny(few, 2, NULL);
    expect_reply(format, think, full, text, want);
    expect_reply(format, think, bare, text, want);
    sp_tokenizer_close(full);
    sp_tokenizer_close(bare);
}

static void test_thinking(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    expect_both(SP_CHAT_R1, SP_THINK_AUTO, "Hm, 你好. \n</think>\n\n**b**\n",
                (expected){"Hm, 你好.", "**b**\n", ""});
    expect_both(SP_CHAT_R1, SP_THINK_AUTO, "<think>\nx\n\ny</think>b", (expected){"x\n\ny", "b", ""});
    expect_both(SP_CHAT_R1, SP_THINK_AUTO, "never closed ", (expected){"never closed", "", ""});
    expect_both(SP_CHAT_R1, SP_THINK_OFF, "b", (expected){"", "b", ""});
    expect_both(SP_CHAT_R1, SP_THINK_OFF, "\n<think>x</think>b", (expected){"x", "b", ""});
    expect_both(SP_CHAT_R1_0528, SP_THINK_AUTO, "<think>\nx\n</think>\nb", (expected){"x", "b", ""});
    expect_both(SP_CHAT_R1_0528, SP_THINK_AUTO, "b", (expected){"", "b", ""});
    expect_both(SP_CHAT_V31, SP_THINK_ON, "x</think>b", (expected){"x", "b", ""});
    expect_both(SP_CHAT_V31, SP_THINK_AUTO, "b", (expected){"", "b", ""});
    expect_both(SP_CHAT_QWEN3, SP_THINK_AUTO, "<think>\n\n</think>\n\nb", (expected){"", "b", ""});
}

/* Tags are dropped from an answer that has begun; formats without thinking have no such tag at all. */
static void test_stray_tags(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    expect_both(SP_CHAT_R1, SP_THINK_AUTO, "x</think>so</think>\n\ngoes <think>it</think>.",
                (expected){"x", "so\n\ngoes it.", ""});
    expect_both(SP_CHAT_R1, SP_THINK_AUTO, "x</think>\n\n</think>\n\nso", (expected){"x", "so", ""});
    expect_both(SP_CHAT_V31, SP_THINK_OFF, "so</think>", (expected){"", "so", ""});
    expect_both(SP_CHAT_QWEN3, SP_THINK_OFF, "so<think></think>", (expected){"", "so", ""});
    expect_both(SP_CHAT_R1, SP_THINK_AUTO, "x</think>a </thin or </think",
                (expected){"x", "a </thin or </think", ""});
    expect_both(SP_CHAT_R1, SP_THINK_AUTO, "a < b <thin <thi</think>c <",
                (expected){"a < b <thin <thi", "c <", ""});
    expect_both(SP_CHAT_R1, SP_THINK_OFF, "a <｜tool▁ca", (expected){"", "a <｜tool▁ca", ""});
    static const char *const none[] = {"<｜begin▁of▁sentence｜>"};
    sp_tokenizer *bare = open_tiny(none, 1, NULL);
    expect_reply(SP_CHAT_NONE, SP_THINK_AUTO, bare, "<think>x</think>",
                 (expected){"", "<think>x</think>", ""});
    expect_reply(SP_CHAT_LLM, SP_THINK_AUTO, bare, "\n<think>", (expected){"", "\n<think>", ""});
    sp_tokenizer_close(bare);
}

#define BEGIN "<｜tool▁calls▁begin｜>"
#define END "<｜tool▁calls▁end｜>"
#define CALL(name, args)                                                                                     \
    "<｜tool▁call▁begin｜>function<｜tool▁sep｜>" name "\n```json\n" args "\n```<｜tool▁call▁end｜>"
#define CALL31(name, args) "<｜tool▁call▁begin｜>" name "<｜tool▁sep｜>" args "<｜tool▁call▁end｜>"

static void test_tool_calls(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    expect_both(SP_CHAT_V25, SP_THINK_AUTO,
                "Look: " BEGIN CALL("f", "{\"a\": \"｜é\"}") "\n" CALL("g", "{}") END,
                (expected){"", "Look: ", "f({\"a\": \"｜é\"})g({})"});
    expect_both(SP_CHAT_R1, SP_THINK_AUTO, "x" BEGIN CALL("f", "{\n \"a\": [1]\n}") END "after",
                (expected){"x", "after", "f({\n \"a\": [1]\n})"});
    expect_both(SP_CHAT_R1_0528, SP_THINK_AUTO, "<think>x</think>\n\n" BEGIN CALL("f", "{}") END,
                (expected){"x", "", "f({})"});
    expect_both(SP_CHAT_V31, SP_THINK_OFF, "Hm." BEGIN CALL31("f", "{\"a\":1}") CALL31("g", "{}") END,
                (expected){"", "Hm.", "f({\"a\":1})g({})"});
    /* The other form, a forgotten group mark, forgotten end marks. */
    expect_both(SP_CHAT_V31, SP_THINK_OFF, BEGIN CALL("f", "{}") END, (expected){"", "", "f({})"});
    expect_both(SP_CHAT_V25, SP_THINK_AUTO, "a" CALL31("f", "{}"), (expected){"", "a", "f({})"});
    expect_both(SP_CHAT_V31, SP_THINK_OFF, BEGIN "<｜tool▁call▁begin｜>f<｜tool▁sep｜>{}" CALL31("g", "{}"),
                (expected){"", "", "f({})g({})"});
    expect_both(SP_CHAT_V31, SP_THINK_OFF, BEGIN "<｜tool▁call▁begin｜>f<｜tool▁sep｜>{}",
                (expected){"", "", "f({})"});
    expect_both(SP_CHAT_QWEN, SP_THINK_AUTO,
                "ok\n<tool_call>\n{\"name\": \"f\", \"arguments\": "
                "{\"a\":1}}\n</tool_call>\n<tool_call>\n{\"name\": \"g\"}\n</tool_call>",
                (expected){"", "ok\n", "f({\"a\":1})g({})"});
}

/* Nothing that a model wrote is lost: what is no call stays in the content, marks spelled out. */
static void test_malformed_calls(void **state)
{
    static const char *const malformed[] = {
        BEGIN CALL("f", "[1]") END,
        BEGIN CALL("two words", "{}") END,
        BEGIN CALL("", "{}") END,
        BEGIN CALL31("function", "{}") END,
        BEGIN "<｜tool▁call▁begin｜>no separator<｜tool▁call▁end｜>" END,
        BEGIN "<｜tool▁call▁begin｜>f<｜tool▁sep｜>\"{}\"" END,
        BEGIN CALL("f", "``{}") END,
        BEGIN CALL31("f", "f ```json {}") END,
    };
    (void)state;
    SKIP_WITHOUT_JSON();
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        char want[256];
        snprintf(want, sizeof want, "%.*s", (int)(strlen(malformed[i]) - strlen(END)), malformed[i]);
        expect_both(SP_CHAT_V25, SP_THINK_AUTO, malformed[i], (expected){"", want, ""});
    }
    expect_both(SP_CHAT_V25, SP_THINK_AUTO, BEGIN "junk" CALL("f", "{}") END,
                (expected){"", BEGIN "junk", "f({})"});
    expect_both(SP_CHAT_V25, SP_THINK_AUTO, BEGIN CALL("f", "{}") "said", (expected){"", "said", "f({})"});
    expect_both(SP_CHAT_V25, SP_THINK_AUTO, "a" BEGIN "\n" END "b", (expected){"", "ab", ""});
    expect_both(SP_CHAT_QWEN, SP_THINK_AUTO, "<tool_call>[1]</tool_call>",
                (expected){"", "<tool_call>[1]</tool_call>", ""});
    expect_both(SP_CHAT_QWEN, SP_THINK_AUTO, "<tool_call>{\"name\": 1}</tool_call>x",
                (expected){"", "<tool_call>{\"name\": 1}</tool_call>x", ""});
}

/* From the arguments' brace on it is a call, and says what the model wrote, whether that is JSON or not. */
static void test_wrong_arguments(void **state)
{
    static const char *const cases[][3] = {
        /* the call's text, its arguments, what goes to the content */
        {"f\n```json\n{\"a\": }\n```", "{\"a\": }", ""},
        {"f\n```json\n{\"a\": 1\n```", "{\"a\": 1", ""},
        {"f\n```json\n{\"a\": \"`` ` \n", "{\"a\": \"", ""},
        {"f\n```json\n{\"a\": \"``` {\\\"}\"}\n", "{\"a\": \"``` {\\\"}\"}", ""},
        {"f\n{\"a\": [\"]}\", {}]} \n", "{\"a\": [\"]}\", {}]}", ""},
        {"f\n  ```\n  {}", "{}", ""},
        {"f\n{} and more\n```", "{}", " and more\n```"},
        {"f\n{}}", "{}", "}"},
    };
    (void)state;
    SKIP_WITHOUT_JSON();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256], calls[256];
        snprintf(calls, sizeof calls, "f(%s)", cases[i][1]);
        snprintf(text, sizeof text,
                 BEGIN "<｜tool▁call▁begin｜>function<｜tool▁sep｜>%s<｜tool▁call▁end｜>" END, cases[i][0]);
        expect_both(SP_CHAT_V25, SP_THINK_AUTO, text, (expected){"", cases[i][2], calls});
        snprintf(text, sizeof text, BEGIN "<｜tool▁call▁begin｜>function<｜tool▁sep｜>%s",
                 cases[i][0]); /* cut */
        expect_both(SP_CHAT_V25, SP_THINK_AUTO, text, (expected){"", cases[i][2], calls});
    }
    expect_both(SP_CHAT_V31, SP_THINK_OFF, "a" BEGIN "<｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"cut",
                (expected){"", "a", "f({\"cut)"});
}

static void test_qwen_calls(void **state)
{
    static const char *const cases[][3] = {
        /* the call's text, the call, what goes to the content */
        {"{\"name\": \"f\", \"arguments\": {\"name\": {\"arguments\": {}}}}",
         "f({\"name\": {\"arguments\": {}}})", ""},
        {"\n{\"arguments\": {\"a\": 1}, \"name\": \"f\"}\n", "f({\"a\": 1})", ""},
        {"{\"id\": [{\"name\": \"g\"}], \"name\": \"\\u0066\", \"arguments\": {}, \"x\": 1}", "f({})", ""},
        {"{\"name\": \"name\", \"arguments\" :{\"a\": \"\\\\\"} }", "name({\"a\": \"\\\\\"})", ""},
        {"{\"name\": \"f\", \"arguments\": {}}}", "f({})", ""},
        {"{\"name\": \"f\", \"arguments\": {}", "f({})", ""},
        {"{\"name\": \"f\"}", "f({})", ""},
        {"{\"name\": \"f\", \"arguments\": {\"a\": tru", "f({\"a\": tru)", ""},
        {"{\"name\": \"f\", \"arguments\": {\"a\": }}", "f({\"a\": })", ""},
        {"{\"name\": \"f\", \"arguments\": {}} then", "f({})", " then"},
        {"{\"name\": \"f\", \"arguments\": \"{}\"}", "", NULL},
        {"{\"name\": \"f g\", \"arguments\": {}}", "", NULL},
        {"{\"name\": \"\\x\", \"arguments\": {}}", "", NULL},
        {"{\"arguments\": {}}", "", NULL},
        {"{\"name\": \"f\"", "", NULL},
    };
    (void)state;
    SKIP_WITHOUT_JSON();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "<tool_call>%s</tool_call>", cases[i][0]);
        const char *content = cases[i][2] ? cases[i][2] : text;
        expect_both(SP_CHAT_QWEN, SP_THINK_AUTO, text, (expected){"", content, cases[i][1]});
    }
}

/* --- any cutting ---------------------------------------------------------------------------------------- */

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void put_rank(sp_buf *ranks, const char *bytes, size_t len, size_t rank)
{
    for (size_t i = 0; i < len; i += 3) {
        unsigned bits = 0;
        size_t n = len - i < 3 ? len - i : 3;
        char four[5] = "====";
        for (size_t k = 0; k < 3; k++) bits = bits << 8 | (k < n ? (unsigned char)bytes[i + k] : 0);
        for (size_t k = 0; k <= n; k++) four[k] = base64[bits >> (18 - 6 * k) & 63];
        sp_buf_puts(ranks, four, NULL);
    }
    sp_buf_printf(ranks, NULL, " %zu\n", rank);
}

/* The control that text begins with, else -1. */
static int control_at(const char *text, size_t n_controls)
{
    for (size_t c = 0; c < n_controls; c++)
        if (strncmp(text, deepseek_controls[c], strlen(deepseek_controls[c])) == 0) return (int)c;
    return -1;
}

/* A piece that is a mark would make that mark a token of the vocabulary. */
static bool is_mark(const char *text, size_t len)
{
    int control = control_at(text, N_DEEPSEEK_CONTROLS);
    if (control >= 0 && strlen(deepseek_controls[control]) == len) return true;
    return (len == 11 && memcmp(text, "<tool_call>", 11) == 0) ||
           (len == 12 && memcmp(text, "</tool_call>", 12) == 0);
}

/* Cut text at random (pieces of up to `most` bytes, marks whole where they are tokens) and push it with a vocabulary that has the pieces. */
static void push_pieces(sp_chat_format format, size_t n_controls, size_t most, uint32_t seed,
                        const char *text, expected want)
{
    sp_buf ranks = {NULL, 0, 0};
    sp_tokenizer *tokenizer = NULL;
    sp_chat_options options = {SP_THINK_AUTO, 0, NULL};
    sp_error err = SP_ERROR_NONE;
    sp_reply *reply;
    int32_t ids[1024];
    size_t n = 0, n_ranks = 256, begins[1024], len = strlen(text);
    for (int i = 0; i < 256; i++) put_rank(&ranks, (char[]){(char)i}, 1, (size_t)i);
    for (size_t at = 0, size; at < len; at += size) {
        int control = control_at(text + at, n_controls);
        size = control < 0 ? 1 : strlen(deepseek_controls[control]);
        begins[n] = at;
        ids[n++] = control < 0 ? (unsigned char)text[at] : -1 - control;
        if (control >= 0) continue;
        seed = seed * 1664525 + 1013904223;
        for (size_t want_size = 1 + (seed >> 16) % most; size < want_size && at + size < len; size++)
            if (control_at(text + at + size, n_controls) >= 0) break;
        size -= is_mark(text + at, size);
        if (size == 1) continue;
        ids[n - 1] = 0;
        for (size_t i = 0; i + 1 < n; i++)
            if (ids[i] >= 256 && strncmp(text + begins[i], text + at, size) == 0 &&
                begins[i + 1] - begins[i] == size)
                ids[n - 1] = ids[i];
        if (ids[n - 1] == 0) {
            put_rank(&ranks, text + at, size, n_ranks);
            ids[n - 1] = (int32_t)n_ranks++;
        }
    }
    sp_tokenizer_ranks file = {ranks.data, ranks.len, "gpt-2", deepseek_controls, n_controls};
    assert_ok(sp_tokenizer_from_tiktoken(&tokenizer, &file, &err), err);
    assert_ok(sp_reply_create(&reply, format, tokenizer, &options, &err), err);
    stream s = {{{NULL, 0, 0}}, reply, 0, 0};
    for (size_t i = 0; i < n; i++)
        assert_ok(
            sp_reply_push(reply, ids[i] < 0 ? (int32_t)n_ranks - 1 - ids[i] : ids[i], collect, &s, &err),
            err);
    check_reply(reply, &s, want);
    sp_reply_destroy(reply);
    sp_tokenizer_close(tokenizer);
    clear_stream(&s);
    sp_buf_clear(&ranks);
}

static void test_any_cutting(void **state)
{
    static const struct {
        sp_chat_format format;
        const char *text;
        expected want;
    } cases[] = {
        {SP_CHAT_R1,
         "hm 好\n</think>\n\nLook</think>, <think>你:" BEGIN CALL(
             "f", "{\"a\": \"｜é`` \\\"}\", \"b\": {}}") "\n" CALL("g", "{}") END,
         {"hm 好", "Look, 你:", "f({\"a\": \"｜é`` \\\"}\", \"b\": {}})g({})"}},
        {SP_CHAT_R1,
         "x</think>" BEGIN CALL("f", "{\"a\": [1, }") CALL("g", "[]") CALL31("h", "{} x") END "y",
         {"x", "<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n[]\n```<｜tool▁call▁end｜> xy",
          "f({\"a\": [1, })h({})"}},
        {SP_CHAT_V31,
         "ok" BEGIN CALL31("f", "{\"a\":\"😀\"}") CALL31("g", "{\"cut ```\n"),
         {"", "ok", "f({\"a\":\"😀\"})g({\"cut)"}},
        {SP_CHAT_QWEN3,
         "<think>\nx\n</think>\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": "
         "\"}é\"}}\n</tool_call>\n"
         "<tool_call>{\"arguments\": {\"b\": [{}]}, \"name\": \"\\u00e9\"}}\n</tool_call></think>end",
         {"x", "end", "f({\"a\": \"}é\"})é({\"b\": [{}]})"}},
        {SP_CHAT_QWEN,
         "<tool_call>{\"name\": \"f\", \"arguments\": 1}</tool_call>",
         {"", "<tool_call>{\"name\": \"f\", \"arguments\": 1}</tool_call>", ""}},
    };
    (void)state;
    if (!SP_HAVE_PCRE2) skip();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (uint32_t seed = 0; seed < 100; seed++)
            push_pieces(cases[i].format, seed % 2 ? N_DEEPSEEK_CONTROLS : 2, 1 + seed % 23, seed,
                        cases[i].text, cases[i].want);
}

static void test_stopping_and_ends(void **state)
{
    sp_reply *reply;
    sp_error err = SP_ERROR_NONE;
    stream s = {{{NULL, 0, 0}}, NULL, 0, 2};
    (void)state;
    SKIP_WITHOUT_JSON();
    sp_tokenizer *tokenizer = open_tiny_deepseek();
    assert_ok(sp_reply_create(&reply, SP_CHAT_V25, tokenizer, NULL, &err), err);
    assert_ok(sp_reply_push(reply, 'a', collect, &s, &err), err);
    assert_int_equal(sp_reply_push(reply, 'b', collect, &s, &err), SP_E_CANCELLED);
    assert_ok(sp_reply_push(reply, sp_tokenizer_eos(tokenizer), collect, &s, &err), err);
    assert_int_equal(sp_reply_push(reply, 100000, NULL, NULL, &err), SP_E_RANGE);
    assert_ok(sp_reply_push(reply, 0xC3, NULL, NULL, &err), err); /* half a character */
    assert_ok(sp_reply_finish(reply, NULL, NULL, &err), err);
    assert_string_equal(sp_reply_content(reply), "ab\xEF\xBF\xBD");
    sp_reply_destroy(reply);
    assert_ok(sp_reply_create(&reply, SP_CHAT_NONE, NULL, NULL, &err), err); /* no vocabulary: no text */
    assert_ok(sp_reply_push(reply, 5, collect, &s, &err), err);
    assert_ok(sp_reply_finish(reply, collect, &s, &err), err);
    assert_string_equal(sp_reply_content(reply), "");
    sp_reply_destroy(reply);
    clear_stream(&s);
    sp_tokenizer_close(tokenizer);
}

static sp_status read_all(const sp_tokenizer *tokenizer, const sp_tokens *tokens, int64_t n_allocations)
{
    sp_reply *reply = NULL;
    sp_error err = SP_ERROR_NONE;
    sp_mem_fail_after(n_allocations);
    sp_status status = sp_reply_create(&reply, SP_CHAT_R1, tokenizer, NULL, &err);
    for (size_t i = 0; status == SP_OK && i < tokens->n; i++)
        status = sp_reply_push(reply, tokens->ids[i], NULL, NULL, &err);
    if (status == SP_OK) status = sp_reply_finish(reply, NULL, NULL, &err);
    sp_mem_fail_after(-1);
    sp_reply_destroy(reply);
    return status;
}

static void test_failed_allocations(void **state)
{
    static const char text[] =
        "hm \n</think>x" BEGIN CALL("f", "{\"long\": \"enough to make its buffer grow once or twice\"}")
            CALL("g", "{]") END;
    static const char *const few[] = {"<｜begin▁of▁sentence｜>"};
    sp_error err = SP_ERROR_NONE;
    (void)state;
    SKIP_WITHOUT_JSON();
    for (int bare = 0; bare < 2; bare++) {
        sp_tokenizer *tokenizer = bare ? open_tiny(few, 1, NULL) : open_tiny_deepseek();
        sp_tokens tokens = {NULL, 0, 0};
        assert_ok(sp_tokenizer_encode(tokenizer, &tokens, text, strlen(text), SP_ENCODE_SPECIAL, &err), err);
        sp_status status = SP_E_NOMEM;
        for (int64_t n = 0; status != SP_OK; n++) {
            status = read_all(tokenizer, &tokens, n);
            assert_true(status == SP_OK || status == SP_E_NOMEM);
            assert_true(n < 1000);
        }
        sp_tokens_clear(&tokens);
        sp_tokenizer_close(tokenizer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thinking),           cmocka_unit_test(test_stray_tags),
        cmocka_unit_test(test_tool_calls),         cmocka_unit_test(test_malformed_calls),
        cmocka_unit_test(test_wrong_arguments),    cmocka_unit_test(test_qwen_calls),
        cmocka_unit_test(test_any_cutting),        cmocka_unit_test(test_stopping_and_ends),
        cmocka_unit_test(test_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
