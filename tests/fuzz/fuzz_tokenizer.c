/* SPDX-License-Identifier: MIT */
/* Fuzz target: a tokenizer.json, then a NUL, then text to encode (without a NUL the file is its own text). What
 * loads must encode without control tokens and decode to the same bytes. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT_MAX = 512 }; /* bytes: a pattern from a file may take long on each */

static void check_text(const sp_tokenizer *t, const char *text, size_t len, unsigned flags)
{
    sp_tokens tokens = {0};
    sp_text back = {0};
    sp_error err = SP_ERROR_NONE;
    sp_detokenizer d;
    sp_detokenizer_init(&d, t);
    if (sp_tokenizer_encode(t, &tokens, text, len, flags, &err) == SP_OK) {
        if (sp_tokenizer_decode(t, &back, tokens.ids, tokens.n, 0, &err) != SP_OK) abort();
        if (!t->normalizes && (back.len != len || (len > 0 && memcmp(back.data, text, len) != 0))) abort();
        back.len = 0;
        for (size_t i = 0; i < tokens.n; i++) {
            if (!flags && sp_tokenizer_is_special(t, tokens.ids[i])) abort();
            if (sp_detokenizer_push(&d, &back, tokens.ids[i], 0, &err) != SP_OK) abort();
        }
        if (sp_detokenizer_flush(&d, &back, &err) != SP_OK) abort();
    } else if (tokens.n != 0) {
        abort();
    }
    sp_tokens_clear(&tokens);
    sp_text_clear(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *gap = size ? memchr(data, 0, size) : NULL;
    size_t n_json = gap ? (size_t)(gap - data) : size;
    const char *text = gap ? (const char *)gap + 1 : (const char *)data;
    size_t n_text = gap ? size - n_json - 1 : size;
    sp_tokenizer_files files = {(const char *)data, n_json, NULL, NULL, NULL, NULL};
    sp_tokenizer *t;
    sp_error err = SP_ERROR_NONE;
    if (sp_tokenizer_from_json(&t, &files, &err) != SP_OK) return 0;
    if (n_text > TEXT_MAX) n_text = TEXT_MAX;
    check_text(t, text, n_text, 0);
    check_text(t, text, n_text, SP_ENCODE_SPECIAL);
    sp_tokenizer_close(t);
    return 0;
}
