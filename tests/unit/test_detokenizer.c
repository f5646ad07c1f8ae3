/* SPDX-License-Identifier: MIT */
/* The streaming detokeniser: whole characters only, whatever the tokens' borders, and U+FFFD for bytes that can
 * never become a character; and the UTF-8 reader beneath it. */
#include "test_util.h"

#include <sputnik/tokenizer.h>

#include "text/tokenizer.h"
#include "text/utf8.h"

/* 256 single-byte tokens and one added token after them. */
static sp_tokenizer *byte_tokenizer(void)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[256 * 10], *p = text;
    for (int b = 0; b < 256; b++) p += sprintf(p, "%c%c== %d\n", digits[b >> 2], digits[(b & 3) << 4], b);
    const char *const added[] = {"<think>"};
    sp_tokenizer_ranks ranks = {text, (size_t)(p - text), "qwen2", added, 1};
    sp_tokenizer *t;
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_tokenizer_from_tiktoken(&t, &ranks, &err), err);
    return t;
}

/* Push the bytes one token each; the text so far after every push must be valid UTF-8. */
static void expect_stream(const char *bytes, size_t n, const char *expected)
{
    sp_tokenizer *t = byte_tokenizer();
    sp_detokenizer d;
    sp_text text = {0};
    sp_error err = SP_ERROR_NONE;
    sp_detokenizer_init(&d, t);
    for (size_t i = 0; i < n; i++) {
        assert_ok(sp_detokenizer_push(&d, &text, (unsigned char)bytes[i], 0, &err), err);
        assert_int_equal(sp_utf8_valid_prefix((const unsigned char *)text.data, text.len), text.len);
        assert_true(d.n_tail <= 3);
    }
    assert_ok(sp_detokenizer_flush(&d, &text, &err), err);
    assert_string_equal(text.data ? text.data : "", expected);
    sp_text_clear(&text);
    sp_tokenizer_close(t);
}

static void test_characters_come_whole(void **state)
{
    (void)state;
    static const char text[] = "a é 我 🚀 \xC2\x80 \xF4\x8F\xBF\xBF";
    expect_stream(text, sizeof text - 1, text);
}

static void test_broken_sequences_become_replacements(void **state)
{
    (void)state;
    expect_stream("\xE6\x88", 2, "\xEF\xBF\xBD");                             /* cut off at the end */
    expect_stream("\xE6\x88x", 3, "\xEF\xBF\xBDx");                           /* cut off by a letter */
    expect_stream("\xE6\xE6\x88\x91", 4, "\xEF\xBF\xBD我");                   /* cut off by a character */
    expect_stream("\xFF\xC0\x80", 3, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"); /* never possible */
    expect_stream("\xED\xA0\x80", 3, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"); /* a surrogate */
    expect_stream("\xF0\x9F\x9A", 3, "\xEF\xBF\xBD");
    expect_stream("\xF5\x80", 2, "\xEF\xBF\xBD\xEF\xBF\xBD");
}

static void test_special_tokens_can_be_skipped(void **state)
{
    (void)state;
    sp_tokenizer *t = byte_tokenizer();
    sp_detokenizer d;
    sp_text text = {0};
    sp_error err = SP_ERROR_NONE;
    sp_detokenizer_init(&d, t);
    assert_ok(sp_detokenizer_push(&d, &text, 256, SP_DECODE_SKIP_SPECIAL, &err), err);
    assert_int_equal(text.len, 0);
    assert_ok(sp_detokenizer_push(&d, &text, 256, 0, &err), err);
    assert_string_equal(text.data, "<think>");
    assert_int_equal(sp_detokenizer_push(&d, &text, 257, 0, &err), SP_E_RANGE);
    assert_int_equal(sp_detokenizer_push(&d, &text, -1, 0, &err), SP_E_RANGE);
    assert_int_equal(sp_detokenizer_push(&d, &text, 0, 64, &err), SP_E_ARGUMENT);
    sp_text_clear(&text);
    sp_tokenizer_close(t);
}

static void test_utf8_reads_what_it_writes(void **state)
{
    (void)state;
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        unsigned char bytes[4];
        uint32_t back = 0;
        size_t n = sp_utf8_write(bytes, cp);
        size_t got = sp_utf8_read(bytes, n, &back);
        if (cp >= 0xD800 && cp < 0xE000) {
            assert_int_equal(got, 0);
        } else if (got != n || back != cp || sp_utf8_read(bytes, n - 1, NULL) != 0) {
            fail_msg("U+%04X", (unsigned)cp);
        }
        for (size_t k = 1; got && k < n; k++) assert_true(sp_utf8_is_partial(bytes, k));
    }
    assert_int_equal(sp_utf8_read((const unsigned char *)"\xC1\xBF", 2, NULL), 0); /* overlong */
    assert_int_equal(sp_utf8_read((const unsigned char *)"\xF4\x90\x80\x80", 4, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_characters_come_whole),
        cmocka_unit_test(test_broken_sequences_become_replacements),
        cmocka_unit_test(test_special_tokens_can_be_skipped),
        cmocka_unit_test(test_utf8_reads_what_it_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
