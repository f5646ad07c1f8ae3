/* SPDX-License-Identifier: MIT */
/* A conversation under construction: its text, and which stretches of it are control tokens. The templates
 * write their own strings with sp_chat_build_control (known spellings become control spans) and everything
 * that came from outside with sp_chat_build_content (never control, whatever it says). Rendering to ids and
 * to text both start from here. */
#ifndef SP_TEXT_CHAT_BUILD_H
#define SP_TEXT_CHAT_BUILD_H

#include "base/mem.h"

#include <sputnik/chat.h>

#define SP_BOS "<｜begin▁of▁sentence｜>"
#define SP_EOS "<｜end▁of▁sentence｜>"
#define SP_USER "<｜User｜>"
#define SP_ASSISTANT "<｜Assistant｜>"
#define SP_THINK_OPEN "<think>"
#define SP_THINK_CLOSE "</think>"
#define SP_CALLS_BEGIN "<｜tool▁calls▁begin｜>"
#define SP_CALLS_END "<｜tool▁calls▁end｜>"
#define SP_CALL_BEGIN "<｜tool▁call▁begin｜>"
#define SP_CALL_END "<｜tool▁call▁end｜>"
#define SP_CALL_SEP "<｜tool▁sep｜>"
#define SP_OUTPUTS_BEGIN "<｜tool▁outputs▁begin｜>"
#define SP_OUTPUTS_END "<｜tool▁outputs▁end｜>"
#define SP_OUTPUT_BEGIN "<｜tool▁output▁begin｜>"
#define SP_OUTPUT_END "<｜tool▁output▁end｜>"

typedef struct sp_chat_span {
    size_t offset;
    size_t len;
} sp_chat_span;

typedef struct sp_chat_build {
    sp_buf text;
    sp_chat_span *controls; /* in order, disjoint; each is one spelling of a control token */
    size_t n_controls;
    size_t controls_cap;
} sp_chat_build;

void sp_chat_build_clear(sp_chat_build *build);
sp_status sp_chat_build_control(sp_chat_build *build, const char *text, sp_error *err);
sp_status sp_chat_build_content(sp_chat_build *build, const char *text, size_t len, sp_error *err);
sp_status sp_chat_build_string(sp_chat_build *build, const char *text,
                               sp_error *err); /* content, NULL is "" */

/* Append the ids: control spans by name, the plain text between two of them encoded as one piece. Control
 * text that the vocabulary does not know is plain text, but begin and end of sentence fall back to the
 * vocabulary's own. */
sp_status sp_chat_build_encode(const sp_chat_build *build, const sp_tokenizer *tokenizer, sp_tokens *tokens,
                               sp_error *err);

/* The conversation that a renderer works on. */
typedef struct sp_chat_job {
    sp_chat_format format;
    const sp_message *messages;
    size_t n_messages;
    const sp_chat_options *options;
    const char *tools; /* checked JSON array, or NULL */
    size_t tools_len;
} sp_chat_job;

/* Check the conversation and write it. */
sp_status sp_chat_build_conversation(sp_chat_build *build, const sp_chat_job *job, sp_error *err);

/* Renderers of the format families; the job has been checked. */
sp_status sp_chat_write_llm(sp_chat_build *build, const sp_chat_job *job, sp_error *err);
sp_status sp_chat_write_coder(sp_chat_build *build, const sp_chat_job *job, sp_error *err);
sp_status sp_chat_write_v25(sp_chat_build *build, const sp_chat_job *job,
                            sp_error *err); /* V2.5, V3, R1, R1-0528 */
sp_status sp_chat_write_v31(sp_chat_build *build, const sp_chat_job *job, sp_error *err);
sp_status sp_chat_write_qwen(sp_chat_build *build, const sp_chat_job *job,
                             sp_error *err); /* Qwen2.5, Qwen3 */

/* System text that tells the model which tools it has. */
sp_status sp_chat_write_tools(sp_chat_build *build, const sp_chat_job *job, sp_error *err);

/* Recognition from the template's source alone; SP_CHAT_NONE if it is none of ours. */
sp_chat_format sp_chat_format_of_template(const char *jinja);

#endif
