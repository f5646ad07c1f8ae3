/* SPDX-License-Identifier: MIT */
/* Replies read token by token: thinking tags and tool calls by id and by text, any cutting into tokens,
 * malformed calls left in the content, whole characters only, failed allocations. */
#include "chat_testing.h"

/* What the streaming function was given. */
typedef struct stream {
    sp_buf parts[3];
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
    assert_true(len > 0);
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

static void expect_reply(sp_chat_format format, sp_think think, const sp_tokenizer *tokenizer,
                         const char *text, expected want)
{
    sp_chat_options options = {think, 0, NULL};
    sp_error err = SP_ERROR_NONE;
    sp_reply *reply;
    stream s = {{{NULL, 0, 0}}, 0, 0};
    sp_buf calls = {NULL, 0, 0};
    const sp_tool_call *list;
    assert_ok(sp_reply_create(&reply, format, tokenizer, &options, &err), err);
    push_text(reply, tokenizer, text, &s);
    assert_ok(sp_reply_finish(reply, collect, &s, &err), err);
    size_t n = sp_reply_tool_calls(reply, &list);
    for (size_t i = 0; i < n; i++)
        assert_ok(sp_buf_printf(&calls, &err, "%s(%s)", list[i].name, list[i].arguments), err);
    assert_string_equal(sp_reply_reasoning(reply), want.reasoning);
    assert_string_equal(sp_reply_content(reply), want.content);
    assert_string_equal(calls.data ? calls.data : "", want.calls);
    /* The stream tells the same. */
    assert_string_equal(s.parts[SP_REPLY_REASONING].data ? s.parts[SP_REPLY_REASONING].data : "",
                        want.reasoning);
    assert_string_equal(s.parts[SP_REPLY_CONTENT].data ? s.parts[SP_REPLY_CONTENT].data : "", want.content);
    sp_reply_destroy(reply);
    clear_stream(&s);
    sp_buf_clear(&calls);
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

/* A tag that the answer speaks about is text; formats without thinking have no such tag at all. */
static void test_tags_as_text(void **state)
{
    (void)state;
    SKIP_WITHOUT_JSON();
    expect_both(SP_CHAT_R1, SP_THINK_AUTO, "x</think>The <think> and </think> tags",
                (expected){"x", "The <think> and </think> tags", ""});
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
        BEGIN CALL("f", "{\"a\": }") END,
        BEGIN CALL("f", "[1]") END,
        BEGIN CALL("two words", "{}") END,
        BEGIN CALL("", "{}") END,
        BEGIN CALL31("function", "{}") END,
        BEGIN "<｜tool▁call▁begin｜>no separator<｜tool▁call▁end｜>" END,
        BEGIN "<｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"cut" END,
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

static void test_stopping_and_ends(void **state)
{
    sp_reply *reply;
    sp_error err = SP_ERROR_NONE;
    stream s = {{{NULL, 0, 0}}, 0, 2};
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
    static const char text[] = "hm \n</think>x" BEGIN CALL("f", "{}") CALL("g", "{]") END;
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
        cmocka_unit_test(test_thinking),          cmocka_unit_test(test_tags_as_text),
        cmocka_unit_test(test_tool_calls),        cmocka_unit_test(test_malformed_calls),
        cmocka_unit_test(test_stopping_and_ends), cmocka_unit_test(test_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
