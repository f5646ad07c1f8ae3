/* SPDX-License-Identifier: MIT */
/* Conversations into documents with a mask. Of each reply the prompt is rendered as at inference; the reply itself is what the
 * template writes of it where the template keeps it whole, else it is put together here. Start at sp_pack_messages(). */
#include "data/pack.h"

#include "text/chat_build.h"

enum { MESSAGES_MAX = 4096 };

static sp_status read_role(const sp_json *message, size_t i, sp_role *role, sp_error *err)
{
    static const char *const names[] = {"system", "user", "assistant", "tool"};
    const char *name = sp_json_string(sp_json_get(message, "role"), NULL);
    for (int k = 0; name && k < 4; k++) {
        if (strcmp(name, names[k]) != 0) continue;
        *role = (sp_role)k;
        return SP_OK;
    }
    return sp_fail(err, SP_E_FORMAT, "message %zu: role \"%.40s\", expected system, user, assistant or tool",
                   i, name ? name : "(none)");
}

/* Strings stay the JSON's. */
static sp_status read_message(sp_message *m, const sp_json *message, size_t i, sp_error *err)
{
    *m = (sp_message){.content = sp_json_string(sp_json_get(message, "content"), NULL)};
    SP_TRY(read_role(message, i, &m->role, err));
    if (sp_json_size(sp_json_get(message, "tool_calls")))
        return sp_fail(err, SP_E_UNSUPPORTED, "message %zu: tool calls cannot be packed", i);
    if (!m->content) return sp_fail(err, SP_E_FORMAT, "message %zu has no text under \"content\"", i);
    if (m->role != SP_ROLE_ASSISTANT) return SP_OK;
    m->reasoning = sp_json_string(sp_json_get(message, "reasoning_content"), NULL);
    if (strncmp(m->content, SP_THINK_OPEN, strlen(SP_THINK_OPEN)) == 0)
        return sp_fail(err, SP_E_FORMAT, "message %zu: its reasoning belongs under \"reasoning_content\"", i);
    return SP_OK;
}

/* What a format puts around a reply that the model writes. */
typedef struct frame {
    const char *lead, *open, *close, *end;
} frame;

static frame frame_of(sp_chat_format format)
{
    switch (format) {
    case SP_CHAT_LLM: return (frame){" ", "", "", SP_EOS};
    case SP_CHAT_CODER: return (frame){"", "", "", "\n<|EOT|>"};
    case SP_CHAT_V31: return (frame){"", "", "", SP_EOS};
    case SP_CHAT_QWEN:
    case SP_CHAT_QWEN3: return (frame){"", "\n", "\n", "<|im_end|>"};
    default: return (frame){"", "\n", "\n", SP_EOS};
    }
}

static sp_status build_reply(sp_chat_build *build, const sp_message *m, bool is_open, sp_chat_format format,
                             sp_error *err)
{
    frame f = frame_of(format);
    SP_TRY(sp_chat_build_control(build, f.lead, err));
    if (m->reasoning) {
        if (!is_open) {
            SP_TRY(sp_chat_build_control(build, SP_THINK_OPEN, err));
            SP_TRY(sp_chat_build_control(build, f.open, err));
        }
        SP_TRY(sp_chat_build_string(build, m->reasoning, err));
        SP_TRY(sp_chat_build_control(build, f.close, err));
        SP_TRY(sp_chat_build_control(build, SP_THINK_CLOSE, err));
        if (f.close[0]) SP_TRY(sp_chat_build_control(build, "\n\n", err));
    }
    SP_TRY(sp_chat_build_string(build, m->content, err));
    return sp_chat_build_control(build, f.end, err);
}

/* The reply after its prompt: messages[n] is the assistant's. */
static sp_status pack_reply(sp_packed *p, const sp_message *messages, size_t n, const sp_pack_options *o,
                            sp_error *err)
{
    const sp_message *m = &messages[n];
    sp_chat_options chat = SP_CHAT_OPTIONS_DEFAULTS;
    sp_chat_build build = {{NULL, 0, 0}, NULL, 0, 0};
    sp_tokens prompt = {NULL, 0, 0};
    sp_status status;
    chat.think = m->reasoning ? SP_THINK_ON : SP_THINK_OFF;
    SP_GOTO(done, status, sp_chat_render(o->chat_format, o->tokenizer, &prompt, messages, n, &chat, err));
    chat = sp_chat_reply_options(o->chat_format, messages, n, &chat);
    bool is_open = sp_chat_starts_thinking(o->chat_format, &chat);
    /* the document so far, if the prompt goes on from it; else the prompt starts another */
    size_t start = 0, had, n_ends = p->ends.len / sizeof start;
    if (n_ends) memcpy(&start, p->ends.data + (n_ends - 1) * sizeof start, sizeof start);
    had = p->tokens.n - start;
    bool goes_on = had > 0 && had <= prompt.n &&
                   memcmp(p->tokens.ids + start, prompt.ids, had * sizeof *prompt.ids) == 0;
    if (had > 0 && !goes_on) SP_GOTO(done, status, sp_packed_end_document(p, err));
    size_t skip = goes_on ? had : 0;
    SP_GOTO(done, status, sp_tokens_append(&p->tokens, prompt.ids + skip, prompt.n - skip, err));
    SP_GOTO(done, status, sp_packed_mark(p, 0, err));
    SP_GOTO(done, status, build_reply(&build, m, is_open, o->chat_format, err));
    SP_GOTO(done, status, sp_chat_build_encode(&build, o->tokenizer, &p->tokens, err));
    status = sp_packed_mark(p, 1, err);
done:
    sp_chat_build_clear(&build);
    sp_tokens_clear(&prompt);
    return status;
}

sp_status sp_pack_messages(sp_packed *p, const sp_json *list, const sp_pack_options *o, sp_error *err)
{
    size_t n = sp_json_size(list);
    sp_status status = SP_OK;
    bool has_reply = false;
    if (n > MESSAGES_MAX) return sp_fail(err, SP_E_LIMIT, "%zu messages, at most %d", n, MESSAGES_MAX);
    sp_message *messages = sp_calloc(n ? n : 1, sizeof *messages);
    if (!messages) return sp_fail_nomem(err, "messages", n * sizeof *messages);
    for (size_t i = 0; i < n && status == SP_OK; i++) {
        status = read_message(&messages[i], sp_json_at(list, i), i, err);
        if (status != SP_OK || messages[i].role != SP_ROLE_ASSISTANT) continue;
        if (i == 0) status = sp_fail(err, SP_E_FORMAT, "the conversation begins with a reply");
        if (status == SP_OK) status = pack_reply(p, messages, i, o, err);
        has_reply = true;
    }
    if (status == SP_OK && !has_reply) status = sp_fail(err, SP_E_FORMAT, "the conversation has no reply");
    if (status == SP_OK) status = sp_packed_end_document(p, err);
    sp_free(messages);
    return status;
}
