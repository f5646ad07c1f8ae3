/* SPDX-License-Identifier: MIT */
/* Shared by the tokenizer's tests: opening the tokenizers of the family, and comparing ids. Names are those of
 * tests/golden/tokens; all but "tiny" need ../shared/data. */
#ifndef SP_TOKENIZER_TESTING_H
#define SP_TOKENIZER_TESTING_H

#include "test_util.h"

#include <sputnik/tokenizer.h>

#include "text/tokenizer.h"

static inline sp_tokenizer *open_ranks(const char *path, const char *pre)
{
    sp_buf text = read_whole(path);
    sp_tokenizer *t;
    sp_error err = SP_ERROR_NONE;
    const char *const added[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    sp_tokenizer_ranks ranks = {text.data, text.len, pre, added, strcmp(pre, "qwen2") == 0 ? 3u : 0u};
    assert_ok(sp_tokenizer_from_tiktoken(&t, &ranks, &err), err);
    sp_buf_clear(&text);
    return t;
}

/* NULL where the file is absent. */
static inline sp_tokenizer *open_family(const char *name)
{
    static const char *const files[][2] = {
        {"deepseek-llm", "tokenizers/gguf-vocab/ggml-vocab-deepseek-llm.gguf"},
        {"deepseek-coder", "tokenizers/gguf-vocab/ggml-vocab-deepseek-coder.gguf"},
        {"deepseek-v3", "tokenizers/deepseek-v3-r1"},
        {"qwen2", "tokenizers/qwen2/qwen.tiktoken"},
        {"llama3", "tokenizers/llama3/tokenizer.model"},
    };
    sp_tokenizer *t = NULL;
    sp_error err = SP_ERROR_NONE;
    const char *path = NULL;
    if (strcmp(name, "tiny") == 0) path = test_path("tests/golden/tokenizers/tiny");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (strcmp(name, files[i][0]) == 0) path = shared_path(files[i][1]);
    if (!path) return NULL;
    if (strcmp(name, "qwen2") == 0 || strcmp(name, "llama3") == 0) return open_ranks(path, name);
    assert_ok(sp_tokenizer_open(&t, path, &err), err);
    return t;
}

static inline sp_tokens encode(const sp_tokenizer *t, const char *text, size_t len, unsigned flags)
{
    sp_tokens tokens = {0};
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_tokenizer_encode(t, &tokens, text, len, flags, &err), err);
    return tokens;
}

/* Encode and compare with n ids. */
static inline void expect_ids(const sp_tokenizer *t, const char *text, unsigned flags, const int32_t *ids,
                              size_t n)
{
    sp_tokens tokens = encode(t, text, strlen(text), flags);
    if (tokens.n != n || (n > 0 && memcmp(tokens.ids, ids, n * sizeof *ids) != 0)) {
        print_error("ids of \"%s\":", text);
        for (size_t i = 0; i < tokens.n; i++) print_error(" %d", (int)tokens.ids[i]);
        print_error("\nexpected:");
        for (size_t i = 0; i < n; i++) print_error(" %d", (int)ids[i]);
        fail_msg("ids differ");
    }
    sp_tokens_clear(&tokens);
}

static inline void expect_round_trip(const sp_tokenizer *t, const char *text, size_t len, unsigned flags)
{
    sp_tokens tokens = encode(t, text, len, flags);
    sp_text back = {0};
    sp_error err = SP_ERROR_NONE;
    assert_ok(sp_tokenizer_decode(t, &back, tokens.ids, tokens.n, 0, &err), err);
    if (back.len != len || (len > 0 && memcmp(back.data, text, len) != 0))
        fail_msg("round trip of %zu bytes", len);
    sp_text_clear(&back);
    sp_tokens_clear(&tokens);
}

#endif
