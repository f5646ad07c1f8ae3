/* SPDX-License-Identifier: MIT */
/* Fuzz target: any bytes as a conversation or as the tokens of a reply.
 *   byte 0: bit 0 conversation or reply, bit 1 vocabulary with or without the control tokens, bits 2-3
 * thinking byte 1: format A conversation is a list of NUL-terminated strings: the tools if byte 0 has bit 4,
 * then messages, whose first byte says role, calls and reasoning. A reply is a list of ids: bytes below 0xF8
 * stand for themselves, others take the next byte as the number of a control token. Checked: text from
 * outside yields no control token and is there byte for byte; the ids spell the text; a reply's stream equals
 * its record, in whole characters; every call that is reported has a name and arguments that begin an object, streamed
 * in order. */
#include "text/chat_build.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_MESSAGES 24
#define FIRST_CONTROL 256

static const char *const controls[] = {
    SP_BOS,         SP_EOS,          SP_USER,           SP_ASSISTANT,       SP_THINK_OPEN,  SP_THINK_CLOSE,
    SP_CALLS_BEGIN, SP_CALLS_END,    SP_CALL_BEGIN,     SP_CALL_END,        SP_CALL_SEP,    SP_OUTPUTS_BEGIN,
    SP_OUTPUTS_END, SP_OUTPUT_BEGIN, SP_OUTPUT_END,     "<|EOT|>",          "<|im_start|>", "<|im_end|>",
    "<tool_call>",  "</tool_call>",  "<tool_response>", "</tool_response>",
};
#define N_CONTROLS (sizeof controls / sizeof controls[0])

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* One token per byte, then the control tokens. NULL where the build cannot read it (no PCRE2). */
static sp_tokenizer *open_bytes(size_t n_controls)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    sp_buf text = {NULL, 0, 0};
    sp_tokenizer *tokenizer = NULL;
    for (int i = 0; i < 256; i++)
        REQUIRE(sp_buf_printf(&text, NULL, "%c%c== %d\n", digits[i >> 2], digits[(i & 3) << 4], i) == SP_OK);
    sp_tokenizer_ranks ranks = {text.data, text.len, "gpt-2", controls, n_controls};
    sp_tokenizer_from_tiktoken(&tokenizer, &ranks, NULL);
    sp_buf_clear(&text);
    return tokenizer;
}

/* --- conversations -------------------------------------------------------------------------------------- */

typedef struct conversation {
    sp_message messages[MAX_MESSAGES];
    sp_tool_call calls[2];
    size_t n;
    sp_chat_options options;
} conversation;

static char *next_string(char **at, char *end)
{
    if (*at >= end) return NULL;
    char *string = *at;
    *at += strlen(string) + 1;
    return string;
}

static void read_conversation(conversation *c, char *text, size_t len, unsigned flags)
{
    char *at = text, *end = text + len, *string;
    *c = (conversation){.options = {(sp_think)((flags >> 2 & 3) % 3), flags >> 5 & 1, NULL}};
    c->calls[0] = (sp_tool_call){NULL, "f", "{\"a\": 1}"};
    c->calls[1] = (sp_tool_call){NULL, "g", "{}"};
    if (flags & 16) c->options.tools_json = next_string(&at, end);
    while (c->n < MAX_MESSAGES && (string = next_string(&at, end)) != NULL) {
        if (!string[0]) continue;
        sp_message *m = &c->messages[c->n++];
        m->role = (sp_role)(string[0] & 3);
        m->content = string + 1;
        if (m->role != SP_ROLE_ASSISTANT) continue;
        m->n_tool_calls = (unsigned char)string[0] >> 2 & 3;
        if (m->n_tool_calls > 2) m->n_tool_calls = 2;
        m->tool_calls = c->calls;
        if (m->n_tool_calls) c->calls[1].arguments = string + 1; /* any text */
        if (string[0] & 32) m->reasoning = string + 1;
        if (m->n_tool_calls && (string[0] & 16)) m->content = NULL;
    }
}

static void check_ids(const sp_chat_build *build, const sp_tokenizer *tokenizer)
{
    sp_tokens tokens = {NULL, 0, 0};
    sp_text text = {NULL, 0, 0};
    size_t n_control = 0, n_expected = 0;
    REQUIRE(sp_chat_build_encode(build, tokenizer, &tokens, NULL) == SP_OK);
    for (size_t i = 0; i < tokens.n; i++) n_control += tokens.ids[i] >= FIRST_CONTROL;
    for (size_t i = 0; i < build->n_controls; i++) {
        char name[64] = {0};
        memcpy(name, build->text.data + build->controls[i].offset, build->controls[i].len);
        n_expected += sp_tokenizer_find(tokenizer, name) >= 0;
    }
    REQUIRE(n_control == n_expected);
    REQUIRE(sp_tokenizer_decode(tokenizer, &text, tokens.ids, tokens.n, 0, NULL) == SP_OK);
    REQUIRE(text.len == build->text.len && memcmp(text.data, build->text.data, text.len) == 0);
    sp_tokens_clear(&tokens);
    sp_text_clear(&text);
}

static void soften(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] == '<') text[i] = '(';
}

static void fuzz_conversation(const sp_tokenizer *tokenizer, sp_chat_format format, unsigned flags,
                              char *text, size_t len)
{
    static conversation c;
    sp_chat_build build = {{NULL, 0, 0}, NULL, 0, 0}, soft = {{NULL, 0, 0}, NULL, 0, 0};
    sp_error err = SP_ERROR_NONE;
    read_conversation(&c, text, len, flags);
    sp_chat_job job = {format, c.messages, c.n, &c.options, NULL, 0};
    sp_status status = sp_chat_build_conversation(&build, &job, &err);
    if (status != SP_OK) {
        REQUIRE(err.text[0] && (status == SP_E_ARGUMENT || status == SP_E_UNSUPPORTED));
        sp_chat_build_clear(&build);
        return;
    }
    for (size_t i = 0; i < c.n; i++)
        if (c.messages[i].role == SP_ROLE_USER || c.messages[i].role == SP_ROLE_TOOL)
            REQUIRE(strstr(build.text.data, c.messages[i].content));
    if (tokenizer) check_ids(&build, tokenizer);
    /* What the messages say changes nothing about the control tokens (Qwen3 alone repeats reasoning between
     * tags). */
    soften(text, len);
    if (format != SP_CHAT_QWEN3 && sp_chat_build_conversation(&soft, &job, NULL) == SP_OK)
        REQUIRE(soft.n_controls == build.n_controls);
    sp_chat_build_clear(&build);
    sp_chat_build_clear(&soft);
}

/* --- replies -------------------------------------------------------------------------------------------- */

typedef struct stream {
    sp_buf parts[3];
    const sp_reply *reply;
    size_t n_calls;
} stream;

static int collect(void *ctx, sp_reply_part part, const char *text, size_t len)
{
    stream *s = ctx;
    if (part == SP_REPLY_TOOL_CALL) {
        const sp_tool_call *calls;
        s->n_calls += len == 0;
        REQUIRE(sp_reply_tool_calls(s->reply, &calls) == s->n_calls && s->n_calls > 0);
        REQUIRE(strlen(calls[s->n_calls - 1].arguments) >= len);
    } else {
        REQUIRE(len > 0);
    }
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)text[i];
        size_t n = c < 0x80 ? 1 : c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
        REQUIRE((c < 0x80 || c >= 0xC2) && n <= len - i);
        i += n;
    }
    REQUIRE(sp_buf_append(&s->parts[part], text, len, NULL) == SP_OK);
    return 0;
}

static void check_reply(const sp_reply *reply, const stream *s)
{
    const sp_tool_call *calls;
    size_t n = sp_reply_tool_calls(reply, &calls), n_bytes = 0;
    const sp_buf *reasoning = &s->parts[SP_REPLY_REASONING], *content = &s->parts[SP_REPLY_CONTENT];
    const sp_buf *all = &s->parts[SP_REPLY_TOOL_CALL];
    REQUIRE(strlen(sp_reply_reasoning(reply)) <= reasoning->len);
    REQUIRE(!reasoning->len || strcmp(sp_reply_reasoning(reply), reasoning->data) == 0);
    REQUIRE(!content->len || strcmp(sp_reply_content(reply), content->data) == 0);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(calls[i].arguments);
        REQUIRE(calls[i].name[0] && calls[i].arguments[0] == '{');
        REQUIRE(n_bytes + len <= all->len && memcmp(all->data + n_bytes, calls[i].arguments, len) == 0);
        n_bytes += len;
    }
    REQUIRE(n == s->n_calls && n_bytes == all->len);
}

static void fuzz_reply(const sp_tokenizer *tokenizer, sp_chat_format format, unsigned flags,
                       const uint8_t *data, size_t size)
{
    sp_chat_options options = {(sp_think)((flags >> 2 & 3) % 3), 0, NULL};
    stream s = {{{NULL, 0, 0}}, NULL, 0};
    sp_reply *reply;
    sp_text decoded = {NULL, 0, 0};
    sp_detokenizer plain;
    REQUIRE(sp_reply_create(&reply, format, tokenizer, &options, NULL) == SP_OK);
    s.reply = reply;
    sp_detokenizer_init(&plain, tokenizer);
    for (size_t i = 0; i < size; i++) {
        int32_t id = data[i];
        if (id >= 0xF8 && i + 1 < size) id = FIRST_CONTROL + data[++i] % (int32_t)N_CONTROLS;
        if (id == 0 || id >= sp_tokenizer_size(tokenizer)) continue;
        REQUIRE(sp_reply_push(reply, id, collect, &s, NULL) == SP_OK);
        if (sp_tokenizer_is_special(tokenizer, id))
            REQUIRE(sp_detokenizer_flush(&plain, &decoded, NULL) == SP_OK);
        REQUIRE(sp_detokenizer_push(&plain, &decoded, id, SP_DECODE_SKIP_SPECIAL, NULL) == SP_OK);
    }
    REQUIRE(sp_reply_finish(reply, collect, &s, NULL) == SP_OK);
    REQUIRE(sp_detokenizer_flush(&plain, &decoded, NULL) == SP_OK);
    check_reply(reply, &s);
    if (format == SP_CHAT_NONE) {
        REQUIRE(s.parts[SP_REPLY_CONTENT].len == decoded.len);
        REQUIRE(!decoded.len || strcmp(decoded.data, sp_reply_content(reply)) == 0);
    }
    sp_reply_destroy(reply);
    sp_text_clear(&decoded);
    for (int i = 0; i < 3; i++) sp_buf_clear(&s.parts[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sp_tokenizer *tokenizers[2]; /* for the life of the process */
    static bool opened;
    if (!opened) {
        tokenizers[0] = open_bytes(N_CONTROLS);
        tokenizers[1] = open_bytes(2);
        opened = true;
    }
    if (size < 2) return 0;
    unsigned flags = data[0];
    sp_chat_format format = (sp_chat_format)(data[1] % SP_CHAT_FORMAT_COUNT);
    const sp_tokenizer *tokenizer = tokenizers[flags >> 1 & 1];
    if (flags & 1) {
        if (tokenizer) fuzz_reply(tokenizer, format, flags, data + 2, size - 2);
        return 0;
    }
    char *text = malloc(size - 1); /* NUL at the end */
    REQUIRE(text);
    memcpy(text, data + 2, size - 2);
    text[size - 2] = '\0';
    fuzz_conversation(tokenizer, format, flags, text, size - 2);
    free(text);
    return 0;
}
