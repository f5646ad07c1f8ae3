/* SPDX-License-Identifier: MIT */
/* A small byte-level tokenizer for the tests of conversations, replies and generators: id = byte for 0..255,
 * one merge
 * ("\n\n"), then the control tokens that a test names. Needs JSON; tests skip without it. */
#ifndef SP_CHAT_TESTING_H
#define SP_CHAT_TESTING_H

#include "test_util.h"

#include "text/tokenizer.h"

#include <sputnik/chat.h>

enum { TINY_BREAKS = 256, TINY_FIRST_CONTROL = 257 };

static inline void put_vocabulary(sp_buf *json, sp_error *err)
{
    for (int i = 0; i < 256; i++) {
        sp_buf chars = {NULL, 0, 0};
        assert_ok(sp_byte_chars_encode(&chars, (char[]){(char)i}, 1, err), *err);
        assert_ok(sp_json_put_string(json, chars.data, chars.len, err), *err);
        assert_ok(sp_buf_printf(json, err, ":%d,", i), *err);
        sp_buf_clear(&chars);
    }
    assert_ok(sp_buf_puts(json, "\"ĊĊ\":256", err), *err);
}

/* Control tokens get the ids 257, 258, ... in order. The ids of `n_gaps` more rows have no text. */
static inline sp_tokenizer *open_tiny(const char *const *controls, size_t n_controls, const char *jinja)
{
    sp_buf json = {NULL, 0, 0}, config = {NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    sp_json *parsed = NULL;
    sp_tokenizer *tokenizer = NULL;
    assert_ok(sp_buf_puts(&json, "{\"added_tokens\":[", &err), err);
    for (size_t i = 0; i < n_controls; i++) {
        assert_ok(
            sp_buf_printf(&json, &err, "%s{\"id\":%zu,\"content\":", i ? "," : "", TINY_FIRST_CONTROL + i),
            err);
        assert_ok(sp_json_put_string(&json, controls[i], strlen(controls[i]), &err), err);
        assert_ok(sp_buf_puts(&json, ",\"special\":true}", &err), err);
    }
    assert_ok(
        sp_buf_puts(
            &json,
            "],\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false},"
            "\"model\":{\"type\":\"BPE\",\"merges\":[\"Ċ Ċ\"],\"vocab\":{",
            &err),
        err);
    put_vocabulary(&json, &err);
    assert_ok(sp_buf_puts(&json, "}}}", &err), err);
    assert_ok(
        sp_buf_puts(&config,
                    "{\"bos_token\":\"<｜begin▁of▁sentence｜>\",\"eos_token\":\"<｜end▁of▁sentence｜>\","
                    "\"add_bos_token\":true",
                    &err),
        err);
    if (jinja) {
        assert_ok(sp_buf_puts(&config, ",\"chat_template\":", &err), err);
        assert_ok(sp_json_put_string(&config, jinja, strlen(jinja), &err), err);
    }
    assert_ok(sp_buf_puts(&config, "}", &err), err);
    assert_ok(sp_json_parse(config.data, config.len, &parsed, &err), err);
    sp_tokenizer_files files = {
        .tokenizer_json = json.data, .tokenizer_json_len = json.len, .tokenizer_config = parsed};
    assert_ok(sp_tokenizer_from_json(&tokenizer, &files, &err), err);
    sp_json_destroy(parsed);
    sp_buf_clear(&json);
    sp_buf_clear(&config);
    return tokenizer;
}

/* The control tokens of R1 and V3.1. */
static const char *const deepseek_controls[] = {
    "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<think>",
    "</think>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁outputs▁begin｜>",
    "<｜tool▁outputs▁end｜>",
    "<｜tool▁output▁begin｜>",
    "<｜tool▁output▁end｜>",
    "<｜fim▁begin｜>",
    "<｜fim▁hole｜>",
    "<｜fim▁end｜>",
};
#define N_DEEPSEEK_CONTROLS (sizeof deepseek_controls / sizeof deepseek_controls[0])

static inline sp_tokenizer *open_tiny_deepseek(void)
{
    return open_tiny(deepseek_controls, N_DEEPSEEK_CONTROLS, NULL);
}

#define SKIP_WITHOUT_JSON()                                                                                  \
    do {                                                                                                     \
        if (!SP_HAVE_JANSSON) skip();                                                                        \
    } while (0)

#endif
