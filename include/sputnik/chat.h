/* SPDX-License-Identifier: MIT */
/* Conversations: messages to the exact token sequence that each member of the family was trained on, and a
 * model's reply back into reasoning, content and tool calls. Templates are immutable and shared between
 * threads.
 *
 * Special tokens come from the template alone: message content is always encoded as plain text, whatever it
 * says. */
#ifndef SPUTNIK_CHAT_H
#define SPUTNIK_CHAT_H

#include <sputnik/tokenizer.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sp_role { SP_ROLE_SYSTEM, SP_ROLE_USER, SP_ROLE_ASSISTANT, SP_ROLE_TOOL } sp_role;

/* One call of a tool. All strings are NUL-terminated UTF-8 and belong to the caller. */
typedef struct sp_tool_call {
    const char *id; /* may be NULL */
    const char *name;
    const char *arguments; /* JSON text */
} sp_tool_call;

typedef struct sp_message {
    sp_role role;
    const char *content;   /* may be NULL for an assistant message that only calls tools */
    const char *reasoning; /* assistant: text between the thinking tags, NULL if none or if content carries
                              the tags */
    const sp_tool_call *tool_calls;
    size_t n_tool_calls;
    const char *tool_call_id; /* SP_ROLE_TOOL: which call this answers; may be NULL */
} sp_message;

/* The members' conversation formats. */
typedef enum sp_chat_format {
    SP_CHAT_NONE,    /* base model: no template */
    SP_CHAT_LLM,     /* LLM, MoE-16B, Math, V2, Coder-V2: "User: ...\n\nAssistant:" */
    SP_CHAT_CODER,   /* Coder 1.x and V1.5 instruct: "### Instruction:" */
    SP_CHAT_V25,     /* V2.5, V3, V3-0324 */
    SP_CHAT_R1,      /* R1 and its distills: forced "<think>\n" */
    SP_CHAT_R1_0528, /* R1-0528 and its Qwen3 distill */
    SP_CHAT_V31,     /* V3.1: hybrid thinking */
    SP_CHAT_QWEN,    /* ChatML with Qwen2.5's tool text (base of the distills) */
    SP_CHAT_QWEN3,   /* ChatML as Qwen3 has it: reasoning is kept after the last question */
    SP_CHAT_FORMAT_COUNT
} sp_chat_format;

SP_API const char *sp_chat_format_name(sp_chat_format format); /* "r1", "v3.1", ... */
SP_API bool sp_chat_format_by_name(const char *name, sp_chat_format *format);

/* Recognise the format from the published template, else from the vocabulary's special tokens. */
SP_API sp_chat_format sp_chat_format_detect(const sp_tokenizer *tokenizer);

typedef enum sp_think {
    SP_THINK_AUTO, /* as the published template does */
    SP_THINK_ON,
    SP_THINK_OFF /* V3.1: "</think>" form; R1: an empty reasoning is forced */
} sp_think;

typedef struct sp_chat_options {
    sp_think think;
    int no_generation_prompt; /* non-zero: end after the last message */
    const char *tools_json;   /* JSON array of {"type":"function","function":{...}} or NULL */
} sp_chat_options;

#define SP_CHAT_OPTIONS_DEFAULTS                                                                             \
    {                                                                                                        \
        SP_THINK_AUTO, 0, NULL                                                                               \
    }

/* Append the conversation's ids to *tokens (begin-of-sentence included where the template has it). Errors:
 * SP_E_ARGUMENT (roles in an order that the template refuses, malformed tools), SP_E_UNSUPPORTED
 * (SP_CHAT_NONE, or tools for a format that has none), SP_E_NOMEM. */
SP_API sp_status sp_chat_render(sp_chat_format format, const sp_tokenizer *tokenizer, sp_tokens *tokens,
                                const sp_message *messages, size_t n_messages, const sp_chat_options *options,
                                sp_error *err);

/* The same as text, special tokens spelled out; for display and tests. */
SP_API sp_status sp_chat_render_text(sp_chat_format format, sp_text *text, const sp_message *messages,
                                     size_t n_messages, const sp_chat_options *options, sp_error *err);

/* True if a reply to this conversation begins inside the reasoning (the prompt ends with an open "<think>").
 */
SP_API bool sp_chat_starts_thinking(sp_chat_format format, const sp_chat_options *options);

/* The options with which the reply to this conversation is to be read: as given, but think is SP_THINK_OFF where the
 * prompt opens no reasoning after all (R1 and V3.1 after a tool's result). For sp_reply_create and sp_generate_options. */
SP_API sp_chat_options sp_chat_reply_options(sp_chat_format format, const sp_message *messages,
                                             size_t n_messages, const sp_chat_options *options);

/* Fill-in-the-middle prompt of base models: prefix and suffix are plain text. SP_E_UNSUPPORTED if the
 * vocabulary has no fill-in-the-middle tokens. */
SP_API sp_status sp_chat_render_fim(const sp_tokenizer *tokenizer, sp_tokens *tokens, const char *prefix,
                                    size_t prefix_len, const char *suffix, size_t suffix_len, sp_error *err);

/* ---- a reply, token by token --------------------------------------------------------------------------- */

typedef enum sp_reply_part { SP_REPLY_REASONING, SP_REPLY_CONTENT, SP_REPLY_TOOL_CALL } sp_reply_part;

typedef struct sp_reply sp_reply;

SP_API sp_status sp_reply_create(sp_reply **reply, sp_chat_format format, const sp_tokenizer *tokenizer,
                                 const sp_chat_options *options, sp_error *err);
SP_API void sp_reply_destroy(sp_reply *reply);

/* Called with each new stretch of reasoning or content (whole UTF-8 characters). A tool call comes in pieces too: once without text when
 * its name is known (sp_reply_tool_calls then ends with it), then with each new stretch of its arguments. A non-zero return stops:
 * push returns SP_E_CANCELLED. */
typedef int (*sp_reply_fn)(void *ctx, sp_reply_part part, const char *text, size_t len);

/* Feed the next id of the reply. Thinking tags and tool markers are consumed, not shown. */
SP_API sp_status sp_reply_push(sp_reply *reply, int32_t id, sp_reply_fn fn, void *ctx, sp_error *err);
SP_API sp_status sp_reply_finish(sp_reply *reply, sp_reply_fn fn, void *ctx, sp_error *err);

SP_API bool sp_reply_is_thinking(const sp_reply *reply);

/* What has been read so far; strings stay owned by the reply, which may move those of a call that is not complete. Text that calls no
 * tool by a name, with an object, is left in the content. Arguments are what the model wrote: of a reply that was cut, or of a model
 * that erred, they may be no JSON. */
SP_API const char *sp_reply_reasoning(const sp_reply *reply);
SP_API const char *sp_reply_content(const sp_reply *reply);
SP_API size_t sp_reply_tool_calls(const sp_reply *reply, const sp_tool_call **calls);

#ifdef __cplusplus
}
#endif

#endif
