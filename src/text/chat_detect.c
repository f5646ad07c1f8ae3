/* SPDX-License-Identifier: MIT */
/* Which conversation format a model speaks, told from the source of its published Jinja template or, without
 * one, from its vocabulary. Templates were published in several revisions, so only strings that all revisions
 * of a format share are looked for. Start at sp_chat_format_detect(). */
#include "text/chat_build.h"

#include <string.h>

static bool has(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

/* Templates that write <｜User｜> and <｜Assistant｜>. */
static sp_chat_format tell_deepseek(const char *jinja)
{
    bool closes = has(jinja, SP_THINK_CLOSE);
    /* V3.1 has no pair around tool results and a switch for thinking. V3.2 keeps V3.1's turns but has other
     * tool calls. */
    if (has(jinja, "｜DSML｜") || (closes && !has(jinja, SP_OUTPUTS_BEGIN) && has(jinja, "thinking")))
        return SP_CHAT_V31;
    if (has(jinja, SP_ASSISTANT SP_THINK_OPEN)) return SP_CHAT_R1;
    if (!closes) return has(jinja, SP_THINK_OPEN) ? SP_CHAT_R1 : SP_CHAT_V25;
    /* R1-0528 writes the assistant's mark with the user's message; R1 of January 2025 stops at it without
     * <think>. */
    return has(jinja, "is_last_user") ? SP_CHAT_R1_0528 : SP_CHAT_R1;
}

sp_chat_format sp_chat_format_of_template(const char *jinja)
{
    if (has(jinja, SP_ASSISTANT)) return tell_deepseek(jinja);
    if (has(jinja, "<|im_start|>")) return has(jinja, SP_THINK_CLOSE) ? SP_CHAT_QWEN3 : SP_CHAT_QWEN;
    if (has(jinja, "### Instruction:") && has(jinja, "### Response:")) return SP_CHAT_CODER;
    if (has(jinja, "User: ") && has(jinja, "Assistant:")) return SP_CHAT_LLM;
    return SP_CHAT_NONE;
}

static bool knows(const sp_tokenizer *tokenizer, const char *token)
{
    return sp_tokenizer_find(tokenizer, token) >= 0;
}

static sp_chat_format tell_from_vocabulary(const sp_tokenizer *tokenizer)
{
    const char *pre = sp_tokenizer_pre(tokenizer);
    if (knows(tokenizer, SP_USER) && knows(tokenizer, SP_ASSISTANT)) {
        if (!knows(tokenizer, SP_THINK_OPEN)) return SP_CHAT_V25;
        return knows(tokenizer, "<｜search▁begin｜>") ? SP_CHAT_V31 : SP_CHAT_R1;
    }
    if (knows(tokenizer, "<|im_start|>") && knows(tokenizer, "<|im_end|>"))
        return knows(tokenizer, SP_THINK_OPEN) ? SP_CHAT_QWEN3 : SP_CHAT_QWEN;
    if (!pre) return SP_CHAT_NONE;
    if (strcmp(pre, "deepseek-coder") == 0) return SP_CHAT_CODER;
    return strcmp(pre, "deepseek-llm") == 0 ? SP_CHAT_LLM : SP_CHAT_NONE;
}

sp_chat_format sp_chat_format_detect(const sp_tokenizer *tokenizer)
{
    const char *jinja = sp_tokenizer_chat_template(tokenizer);
    sp_chat_format format = jinja ? sp_chat_format_of_template(jinja) : SP_CHAT_NONE;
    return format != SP_CHAT_NONE ? format : tell_from_vocabulary(tokenizer);
}
