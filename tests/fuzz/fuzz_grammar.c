/* SPDX-License-Identifier: MIT */
/* Fuzz target: any bytes as a JSON schema, then as choices of what to write under it (schema, NUL, choices). Checked: a
 * schema is compiled or refused with a reason; what is written never meets a dead end; when it is complete it is JSON
 * without names that occur twice; masks agree with pushing a token. */
#include "base/json.h"
#include "text/grammar_match.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

#define TEXT_MAX 300

/* One token per byte, some of two, one that ends. NULL where the build cannot read it (no PCRE2). */
static sp_tokenizer *open_bytes(void)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char *const pairs[] = {"Iiwi", "eyI=", "Ijo=", "fX0=", "XX0=", "MTI=", "ImE=", "YSI="};
    static const char *const ends[] = {"<|endoftext|>"};
    sp_buf text = {NULL, 0, 0};
    sp_tokenizer *tokenizer = NULL;
    for (int i = 0; i < 256; i++)
        REQUIRE(sp_buf_printf(&text, NULL, "%c%c== %d\n", digits[i >> 2], digits[(i & 3) << 4], i) == SP_OK);
    for (int i = 0; i < 8; i++) REQUIRE(sp_buf_printf(&text, NULL, "%s %d\n", pairs[i], 256 + i) == SP_OK);
    sp_tokenizer_ranks ranks = {text.data, text.len, "gpt-2", ends, 1};
    sp_tokenizer_from_tiktoken(&tokenizer, &ranks, NULL);
    sp_buf_clear(&text);
    return tokenizer;
}

static bool is_allowed(const sp_grammar *grammar, const sp_buf *text, const char *piece, size_t len)
{
    sp_matcher *matcher;
    bool accepted;
    REQUIRE(sp_matcher_create(&matcher, grammar, NULL, NULL) == SP_OK);
    REQUIRE(sp_matcher_push(matcher, text->data, text->len, &accepted, NULL) == SP_OK && accepted);
    REQUIRE(sp_matcher_push(matcher, piece, len, &accepted, NULL) == SP_OK);
    sp_matcher_destroy(matcher);
    return accepted;
}

/* The token that the choice names: so many allowed ones further. */
static int32_t choose(const uint64_t *mask, size_t n_allowed, uint8_t choice)
{
    size_t wanted = choice % n_allowed;
    for (int32_t id = 0;; id++)
        if ((mask[id >> 6] >> (id & 63) & 1) && wanted-- == 0) return id;
}

static void write_text(const sp_grammar *grammar, const sp_tokenizer *tokenizer, const uint8_t *choices,
                       size_t n)
{
    sp_matcher *matcher;
    sp_buf text = {NULL, 0, 0};
    REQUIRE(sp_matcher_create(&matcher, grammar, tokenizer, NULL) == SP_OK);
    REQUIRE(sp_buf_puts(&text, "", NULL) == SP_OK);
    for (size_t i = 0; i < n && text.len < TEXT_MAX; i++) {
        uint64_t *mask;
        size_t n_allowed, len;
        bool accepted;
        REQUIRE(sp_matcher_mask(matcher, &mask, &n_allowed, NULL) == SP_OK && n_allowed > 0);
        int32_t probe = (int32_t)((i * 37 + choices[i]) % 264);
        const char *piece = sp_tokenizer_piece(tokenizer, probe, &len);
        REQUIRE((mask[probe >> 6] >> (probe & 63) & 1) == is_allowed(grammar, &text, piece, len));
        int32_t id = choose(mask, n_allowed, choices[i]);
        if (sp_tokenizer_is_end(tokenizer, id)) break;
        piece = sp_tokenizer_piece(tokenizer, id, &len);
        REQUIRE(sp_matcher_push(matcher, piece, len, &accepted, NULL) == SP_OK && accepted);
        REQUIRE(sp_buf_append(&text, piece, len, NULL) == SP_OK);
    }
    if (sp_matcher_is_complete(matcher)) {
        sp_json *root;
        sp_error err = SP_ERROR_NONE;
        sp_status status = sp_json_parse(text.data, text.len, &root, &err);
        bool huge = status != SP_OK && strstr(err.text, "too big"); /* numbers that jansson does not hold */
        if (status != SP_OK && !huge) fprintf(stderr, "%s: %s\n", text.data, err.text);
        REQUIRE(status == SP_OK || huge);
        sp_json_destroy(root);
    }
    sp_matcher_destroy(matcher);
    sp_buf_clear(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sp_tokenizer *tokenizer; /* for the life of the process */
    static bool opened;
    if (!opened) tokenizer = open_bytes(), opened = true;
    const uint8_t *end = memchr(data, 0, size);
    size_t len = end ? (size_t)(end - data) : size;
    sp_error err = SP_ERROR_NONE;
    sp_grammar *grammar;
    sp_status status = len ? sp_grammar_json_schema(&grammar, (const char *)data, len, &err)
                           : sp_grammar_json_object(&grammar, &err);
    if (status != SP_OK) {
        REQUIRE(!grammar && err.text[0]);
        REQUIRE(status == SP_E_FORMAT || status == SP_E_UNSUPPORTED || status == SP_E_LIMIT);
        return 0;
    }
    if (tokenizer && end) write_text(grammar, tokenizer, end + 1, size - len - 1);
    sp_grammar_destroy(grammar);
    return 0;
}
