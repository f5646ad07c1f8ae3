/* SPDX-License-Identifier: MIT */
/* Text with control spans, and its encoding. The list of control spellings is the only place where text turns
 * into control tokens, and only the templates' own strings pass through it. Start at sp_chat_build_encode().
 */
#include "text/chat_build.h"

#include <string.h>

/* Every spelling that a template of the family writes as a special token. */
static const char *const control_spellings[] = {
    SP_BOS,         SP_EOS,          SP_USER,           SP_ASSISTANT,       SP_THINK_OPEN,  SP_THINK_CLOSE,
    SP_CALLS_BEGIN, SP_CALLS_END,    SP_CALL_BEGIN,     SP_CALL_END,        SP_CALL_SEP,    SP_OUTPUTS_BEGIN,
    SP_OUTPUTS_END, SP_OUTPUT_BEGIN, SP_OUTPUT_END,     "<|EOT|>",          "<|im_start|>", "<|im_end|>",
    "<tool_call>",  "</tool_call>",  "<tool_response>", "</tool_response>",
};

void sp_chat_build_clear(sp_chat_build *build)
{
    sp_buf_clear(&build->text);
    sp_free(build->controls);
    *build = (sp_chat_build){{NULL, 0, 0}, NULL, 0, 0};
}

static sp_status add_control(sp_chat_build *build, size_t offset, size_t len, sp_error *err)
{
    if (build->n_controls == build->controls_cap) {
        size_t cap = build->controls_cap ? build->controls_cap * 2 : 32;
        sp_chat_span *spans = sp_realloc_array(build->controls, cap, sizeof *spans);
        if (!spans) return sp_fail_nomem(err, "control spans", cap * sizeof *spans);
        build->controls = spans;
        build->controls_cap = cap;
    }
    build->controls[build->n_controls++] = (sp_chat_span){offset, len};
    return SP_OK;
}

/* Length of the control spelling at the start of text, 0 if there is none. */
static size_t match_control(const char *text)
{
    for (size_t i = 0; i < sizeof control_spellings / sizeof control_spellings[0]; i++) {
        size_t n = strlen(control_spellings[i]);
        if (strncmp(text, control_spellings[i], n) == 0) return n;
    }
    return 0;
}

sp_status sp_chat_build_control(sp_chat_build *build, const char *text, sp_error *err)
{
    size_t base = build->text.len;
    SP_TRY(sp_buf_puts(&build->text, text, err));
    for (size_t i = 0; text[i];) {
        size_t n = text[i] == '<' ? match_control(text + i) : 0;
        if (n) SP_TRY(add_control(build, base + i, n, err));
        i += n ? n : 1;
    }
    return SP_OK;
}

sp_status sp_chat_build_content(sp_chat_build *build, const char *text, size_t len, sp_error *err)
{
    return sp_buf_append(&build->text, text, len, err);
}

sp_status sp_chat_build_string(sp_chat_build *build, const char *text, sp_error *err)
{
    return text ? sp_buf_puts(&build->text, text, err) : SP_OK;
}

/* Id of a control spelling of at most 63 bytes, -1 if the vocabulary has none. */
static int32_t find_control(const sp_tokenizer *tokenizer, const char *text, size_t len)
{
    char name[64];
    if (len >= sizeof name) return -1;
    memcpy(name, text, len);
    name[len] = '\0';
    int32_t id = sp_tokenizer_find(tokenizer, name);
    if (id < 0 && strcmp(name, SP_BOS) == 0) id = sp_tokenizer_bos(tokenizer);
    if (id < 0 && strcmp(name, SP_EOS) == 0) id = sp_tokenizer_eos(tokenizer);
    return id;
}

sp_status sp_chat_build_encode(const sp_chat_build *build, const sp_tokenizer *tokenizer, sp_tokens *tokens,
                               sp_error *err)
{
    const char *text = build->text.data;
    size_t plain = 0; /* start of the plain text that is not encoded yet */
    for (size_t i = 0; i < build->n_controls; i++) {
        sp_chat_span span = build->controls[i];
        int32_t id = find_control(tokenizer, text + span.offset, span.len);
        if (id < 0) continue;
        if (span.offset > plain)
            SP_TRY(sp_tokenizer_encode(tokenizer, tokens, text + plain, span.offset - plain, 0, err));
        SP_TRY(sp_tokens_push(tokens, id, err));
        plain = span.offset + span.len;
    }
    if (build->text.len == plain) return SP_OK;
    return sp_tokenizer_encode(tokenizer, tokens, text + plain, build->text.len - plain, 0, err);
}
