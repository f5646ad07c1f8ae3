/* SPDX-License-Identifier: MIT */
/* Writing the files. One entry per line, so that two vocabularies can be compared by eye. Merges are written as "left right",
 * which every version of the readers takes. Start at sp_tokenizer_save(). */
#include "data/tokenizer_write.h"

#include <string.h>

#include "base/json.h"
#include "model/hf_dir.h"
#include "text/pretoken.h"

const char *const sp_v3_specials[] = {
    "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
    "<｜▁pad▁｜>",
    "<think>",
    "</think>",
    "<｜fim▁hole｜>",
    "<｜fim▁begin｜>",
    "<｜fim▁end｜>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<|EOT|>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁outputs▁begin｜>",
    "<｜tool▁outputs▁end｜>",
    "<｜tool▁output▁begin｜>",
    "<｜tool▁output▁end｜>",
    "<｜tool▁sep｜>",
};
const size_t sp_v3_specials_count = sizeof sp_v3_specials / sizeof *sp_v3_specials;

/* V3's files flag only these four; its other added tokens are shown when text is decoded. */
static bool is_flagged(const char *text)
{
    static const int shown_from = 3, shown_to = 20, end_of_turn = 10;
    for (int i = shown_from; i < shown_to; i++)
        if (i != end_of_turn && strcmp(text, sp_v3_specials[i]) == 0) return false;
    return true;
}

static sp_status put_added(sp_buf *json, const char *text, size_t len, int32_t id, sp_error *err)
{
    char name[256];
    size_t n = len < sizeof name ? len : sizeof name - 1;
    memcpy(name, text, n);
    name[n] = '\0';
    SP_TRY(sp_buf_printf(json, err, "%s\n    {\"id\": %d, \"content\": ", id ? "," : "", (int)id));
    SP_TRY(sp_json_put_string(json, text, len, err));
    return sp_buf_printf(
        json, err,
        ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
        "\"special\": %s}",
        is_flagged(name) ? "true" : "false");
}

/* The stand-ins of an ordinary token, the text itself of a special one. */
static sp_status token_text(sp_buf *text, const sp_bpe_vocab *vocab, int32_t id, sp_error *err)
{
    size_t len;
    const char *bytes = sp_bpe_vocab_token(vocab, id, &len);
    text->len = 0;
    if (id < vocab->n_specials) return sp_buf_append(text, bytes, len, err);
    return sp_byte_chars_encode(text, bytes, len, err);
}

static sp_status check_specials(const sp_bpe_vocab *vocab, sp_error *err)
{
    sp_buf text = {NULL, 0, 0};
    sp_status status = SP_OK;
    for (int32_t id = vocab->n_specials; id < vocab->n_tokens && status == SP_OK; id++) {
        status = token_text(&text, vocab, id, err);
        for (int32_t s = 0; s < vocab->n_specials && status == SP_OK; s++) {
            size_t len;
            const char *special = sp_bpe_vocab_token(vocab, s, &len);
            if (len == text.len && memcmp(special, text.data, len) == 0)
                status = sp_fail(err, SP_E_ARGUMENT, "special token \"%.*s\" spells the ordinary token %d",
                                 (int)len, special, (int)id);
        }
    }
    sp_buf_clear(&text);
    return status;
}

static sp_status put_vocab(sp_buf *json, const sp_bpe_vocab *vocab, sp_error *err)
{
    sp_buf text = {NULL, 0, 0};
    sp_status status = SP_OK;
    for (int32_t id = 0; id < vocab->n_tokens && status == SP_OK; id++) {
        status = token_text(&text, vocab, id, err);
        if (status == SP_OK) status = sp_buf_puts(json, id ? ",\n      " : "\n      ", err);
        if (status == SP_OK) status = sp_json_put_string(json, text.data, text.len, err);
        if (status == SP_OK) status = sp_buf_printf(json, err, ": %d", (int)id);
    }
    sp_buf_clear(&text);
    return status;
}

static sp_status put_merges(sp_buf *json, const sp_bpe_vocab *vocab, sp_error *err)
{
    sp_buf left = {NULL, 0, 0}, right = {NULL, 0, 0};
    sp_status status = SP_OK;
    for (size_t i = 0; i < vocab->n_merges && status == SP_OK; i++) {
        status = token_text(&left, vocab, vocab->merges[i].left, err);
        if (status == SP_OK) status = token_text(&right, vocab, vocab->merges[i].right, err);
        if (status == SP_OK) status = sp_buf_puts(&left, " ", err);
        if (status == SP_OK) status = sp_buf_append(&left, right.data, right.len, err);
        if (status == SP_OK) status = sp_buf_puts(json, i ? ",\n      " : "\n      ", err);
        if (status == SP_OK) status = sp_json_put_string(json, left.data, left.len, err);
    }
    sp_buf_clear(&left);
    sp_buf_clear(&right);
    return status;
}

#define BYTE_LEVEL                                                                                           \
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": "

static sp_status put_pretokenizer(sp_buf *json, const char *pre, sp_error *err)
{
    const char *pattern;
    if (!sp_pretok_published(pre, 0))
        return sp_fail(err, SP_E_UNSUPPORTED, "tokenizer: pre-tokenizer \"%.60s\" is unknown", pre);
    if (strcmp(sp_pretok_canonical(pre), "gpt-2") == 0) return sp_buf_puts(json, BYTE_LEVEL "true}", err);
    SP_TRY(sp_buf_puts(json, "{\"type\": \"Sequence\", \"pretokenizers\": [", err));
    for (size_t i = 0; (pattern = sp_pretok_published(pre, i)); i++) {
        SP_TRY(sp_buf_puts(json, "\n    {\"type\": \"Split\", \"pattern\": {\"Regex\": ", err));
        SP_TRY(sp_json_put_string(json, pattern, strlen(pattern), err));
        SP_TRY(sp_buf_puts(json, "}, \"behavior\": \"Isolated\", \"invert\": false},", err));
    }
    return sp_buf_puts(json, "\n    " BYTE_LEVEL "false}\n  ]}", err);
}

sp_status sp_tokenizer_write_json(sp_buf *json, const sp_bpe_vocab *vocab, const sp_tokenizer_style *style,
                                  sp_error *err)
{
    SP_TRY(check_specials(vocab, err));
    SP_TRY(sp_buf_puts(json,
                       "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  "
                       "\"added_tokens\": [",
                       err));
    for (int32_t id = 0; id < vocab->n_specials; id++) {
        size_t len;
        const char *text = sp_bpe_vocab_token(vocab, id, &len);
        SP_TRY(put_added(json, text, len, id, err));
    }
    SP_TRY(sp_buf_puts(json, "\n  ],\n  \"normalizer\": null,\n  \"pre_tokenizer\": ", err));
    SP_TRY(put_pretokenizer(json, style->pre, err));
    SP_TRY(sp_buf_puts(
        json,
        ",\n  \"post_processor\": null,\n  \"decoder\": " BYTE_LEVEL
        "true},\n  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": "
        "null,\n    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n    "
        "\"fuse_unk\": false,\n    \"byte_fallback\": false,\n    \"vocab\": {",
        err));
    SP_TRY(put_vocab(json, vocab, err));
    SP_TRY(sp_buf_puts(json, "\n    },\n    \"merges\": [", err));
    SP_TRY(put_merges(json, vocab, err));
    return sp_buf_puts(json, "\n    ]\n  }\n}\n", err);
}

sp_status sp_tokenizer_write_config(sp_buf *json, const sp_tokenizer_style *style, sp_error *err)
{
    const char *const keys[] = {"bos_token", "eos_token", "pad_token", "chat_template"};
    const char *const values[] = {style->bos, style->eos, style->pad, style->chat_template};
    SP_TRY(sp_buf_printf(json, err, "{\n  \"add_bos_token\": %s,\n  \"add_eos_token\": false",
                         style->bos ? "true" : "false"));
    for (int i = 0; i < 4; i++) {
        if (!values[i]) continue;
        SP_TRY(sp_buf_printf(json, err, ",\n  \"%s\": ", keys[i]));
        SP_TRY(sp_json_put_string(json, values[i], strlen(values[i]), err));
    }
    return sp_buf_printf(json, err,
                         ",\n  \"unk_token\": null,\n  \"clean_up_tokenization_spaces\": false,\n  "
                         "\"legacy\": true,\n  \"tokenizer_class\": \"%s\"\n}\n",
                         style->bos ? "LlamaTokenizerFast" : "PreTrainedTokenizerFast");
}

sp_status sp_tokenizer_save(const char *dir, const sp_bpe_vocab *vocab, const sp_tokenizer_style *style,
                            sp_error *err)
{
    sp_buf json = {NULL, 0, 0}, config = {NULL, 0, 0};
    sp_status status;
    SP_GOTO(done, status, sp_tokenizer_write_json(&json, vocab, style, err));
    SP_GOTO(done, status, sp_tokenizer_write_config(&config, style, err));
    SP_GOTO(done, status, sp_dir_create(dir, err));
    SP_GOTO(done, status, sp_hf_put_text(dir, "tokenizer.json", &json, err));
    SP_GOTO(done, status, sp_hf_put_text(dir, "tokenizer_config.json", &config, err));
done:
    sp_buf_clear(&json);
    sp_buf_clear(&config);
    return status;
}
