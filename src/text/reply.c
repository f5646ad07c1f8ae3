/* SPDX-License-Identifier: MIT */
/* A model's reply, token by token, divided into reasoning, content and tool calls. Marks (thinking tags, tool
 * markers) are recognised by token id where the vocabulary has them as one token, else in the text, where a
 * possible beginning of a mark is held back until it is decided. A thinking tag acts only where one can be
 * meant: the opening one before any content, the closing one before any content or inside the reasoning. Once the
 * content has begun a tag is dropped and divides nothing, so that no client sees one or gets reasoning after content.
 * Start at sp_reply_push(); calls are read in reply_calls.c. */
#include "text/reply.h"

#include "text/chat_build.h"

#include <string.h>

#define MARKS_DEEPSEEK(open, close)                                                                          \
    {                                                                                                        \
        [SP_MARK_THINK_OPEN] = open, [SP_MARK_THINK_CLOSE] = close, [SP_MARK_CALLS_BEGIN] = SP_CALLS_BEGIN,  \
        [SP_MARK_CALLS_END] = SP_CALLS_END, [SP_MARK_CALL_BEGIN] = SP_CALL_BEGIN,                            \
        [SP_MARK_CALL_END] = SP_CALL_END, [SP_MARK_CALL_SEP] = SP_CALL_SEP                                   \
    }

static const char *const spellings[SP_CHAT_FORMAT_COUNT][SP_MARK_COUNT] = {
    [SP_CHAT_V25] = MARKS_DEEPSEEK(NULL, NULL),
    [SP_CHAT_R1] = MARKS_DEEPSEEK(SP_THINK_OPEN, SP_THINK_CLOSE),
    [SP_CHAT_R1_0528] = MARKS_DEEPSEEK(SP_THINK_OPEN, SP_THINK_CLOSE),
    [SP_CHAT_V31] = MARKS_DEEPSEEK(SP_THINK_OPEN, SP_THINK_CLOSE),
    [SP_CHAT_QWEN] = {[SP_MARK_CALL_BEGIN] = "<tool_call>", [SP_MARK_CALL_END] = "</tool_call>"},
    [SP_CHAT_QWEN3] = {[SP_MARK_THINK_OPEN] = SP_THINK_OPEN,
                       [SP_MARK_THINK_CLOSE] = SP_THINK_CLOSE,
                       [SP_MARK_CALL_BEGIN] = "<tool_call>",
                       [SP_MARK_CALL_END] = "</tool_call>"},
};

sp_status sp_reply_create(sp_reply **reply, sp_chat_format format, const sp_tokenizer *tokenizer,
                          const sp_chat_options *options, sp_error *err)
{
    *reply = NULL;
    if ((unsigned)format >= SP_CHAT_FORMAT_COUNT)
        return sp_fail(err, SP_E_ARGUMENT, "reply: %d is no conversation format", (int)format);
    sp_reply *r = sp_calloc(1, sizeof *r);
    if (!r) return sp_fail_nomem(err, "reply", sizeof *r);
    r->format = format;
    r->tokenizer = tokenizer;
    r->spelling = spellings[format];
    r->state = sp_chat_starts_thinking(format, options) ? SP_IN_REASONING : SP_IN_CONTENT;
    r->strip_breaks = r->spelling[SP_MARK_THINK_OPEN] != NULL;
    for (int m = 0; m < SP_MARK_COUNT; m++)
        r->ids[m] = tokenizer && r->spelling[m] ? sp_tokenizer_find(tokenizer, r->spelling[m]) : -1;
    if (tokenizer) sp_detokenizer_init(&r->detokenizer, tokenizer);
    *reply = r;
    return SP_OK;
}

void sp_reply_destroy(sp_reply *reply)
{
    if (!reply) return;
    for (size_t i = 0; i < reply->n_calls; i++) {
        sp_free((void *)(uintptr_t)reply->calls[i].name);
        sp_free((void *)(uintptr_t)reply->calls[i].arguments); /* the open call's text is reply->arguments */
    }
    sp_free(reply->calls);
    sp_text_clear(&reply->decoded);
    sp_buf_clear(&reply->pending);
    sp_buf_clear(&reply->reasoning);
    sp_buf_clear(&reply->held);
    sp_buf_clear(&reply->content);
    sp_buf_clear(&reply->raw);
    sp_buf_clear(&reply->name);
    sp_free(reply);
}

void sp_reply_set_filter(sp_reply *reply, sp_reply_filter_fn filter, void *ctx)
{
    reply->filter = filter;
    reply->filter_ctx = ctx;
}

/* --- text going out ------------------------------------------------------------------------------------- */

sp_status sp_reply_record(sp_reply *reply, sp_reply_part part, const char *text, size_t len, sp_error *err)
{
    if (part == SP_REPLY_REASONING) SP_TRY(sp_buf_append(&reply->reasoning, text, len, err));
    if (part == SP_REPLY_CONTENT) SP_TRY(sp_buf_append(&reply->content, text, len, err));
    if (reply->fn && !reply->stopped && reply->fn(reply->fn_ctx, part, text, len) != 0) reply->stopped = true;
    return SP_OK;
}

sp_status sp_reply_emit(sp_reply *reply, sp_reply_part part, const char *text, size_t len, sp_error *err)
{
    if (reply->filter) return reply->filter(reply->filter_ctx, part, text, len, err);
    return sp_reply_record(reply, part, text, len, err);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_blank(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_space(text[i])) return false;
    return true;
}

/* Reasoning is shown without the white space around it. */
static sp_status emit_reasoning(sp_reply *reply, const char *text, size_t len, sp_error *err)
{
    if (reply->reasoning.len == 0 && reply->held.len == 0)
        while (len && is_space(text[0])) text++, len--;
    size_t keep = len;
    while (keep && is_space(text[keep - 1])) keep--;
    if (keep) {
        if (reply->held.len) {
            SP_TRY(sp_reply_emit(reply, SP_REPLY_REASONING, reply->held.data, reply->held.len, err));
            reply->held.len = 0;
        }
        SP_TRY(sp_reply_emit(reply, SP_REPLY_REASONING, text, keep, err));
    }
    return sp_buf_append(&reply->held, text + keep, len - keep, err);
}

static sp_status emit_content(sp_reply *reply, const char *text, size_t len, sp_error *err)
{
    if (reply->strip_breaks)
        while (len && (text[0] == '\n' || text[0] == '\r')) text++, len--;
    if (len == 0) return SP_OK;
    reply->strip_breaks = false;
    if (!is_blank(text, len)) reply->spoke = true;
    return sp_reply_emit(reply, SP_REPLY_CONTENT, text, len, err);
}

static sp_status emit_text(sp_reply *reply, const char *text, size_t len, sp_error *err)
{
    if (len == 0) return SP_OK;
    switch (reply->state) {
    case SP_IN_REASONING: return emit_reasoning(reply, text, len, err);
    case SP_IN_CONTENT: return emit_content(reply, text, len, err);
    case SP_IN_CALLS: break;
    }
    SP_TRY(sp_buf_append(&reply->raw, text, len, err));
    return reply->in_call ? sp_reply_advance_call(reply, err) : SP_OK;
}

/* --- tool calls ----------------------------------------------------------------------------------------- */

/* Does raw hold nothing but blanks, after at most the mark that opens the call area? */
static bool is_bare(const sp_reply *reply)
{
    const char *text = reply->raw.data, *begin = reply->spelling[SP_MARK_CALLS_BEGIN];
    size_t len = reply->raw.len, skip = begin ? strlen(begin) : 0;
    if (len < skip || (skip && memcmp(text, begin, skip) != 0)) skip = 0;
    return len == 0 || is_blank(text + skip, len - skip);
}

/* What stands in the call area and is no call goes to the content. */
static sp_status spill_raw(sp_reply *reply, sp_error *err)
{
    bool bare = is_bare(reply);
    size_t len = reply->raw.len;
    reply->raw.len = 0;
    reply->in_call = false;
    return bare ? SP_OK : emit_content(reply, reply->raw.data, len, err);
}

static sp_status begin_call(sp_reply *reply, sp_error *err)
{
    if (!is_bare(reply)) SP_TRY(spill_raw(reply, err));
    SP_TRY(sp_buf_puts(&reply->raw, reply->spelling[SP_MARK_CALL_BEGIN], err));
    sp_reply_begin_call(reply);
    return SP_OK;
}

/* The call in raw is complete; `mark` ended it (NULL: the reply did, or the mark was forgotten). What is no part of it goes to the
 * content. */
static sp_status end_call(sp_reply *reply, const char *mark, sp_error *err)
{
    size_t rest = 0, len = reply->raw.len;
    SP_TRY(sp_reply_end_call(reply, &rest, err));
    if (rest == 0) {
        if (mark) SP_TRY(sp_buf_puts(&reply->raw, mark, err));
        return spill_raw(reply, err);
    }
    reply->raw.len = 0;
    reply->in_call = false;
    return rest < len ? emit_content(reply, reply->raw.data + rest, len - rest, err) : SP_OK;
}

static sp_status handle_call_mark(sp_reply *reply, sp_reply_mark mark, sp_error *err)
{
    const char *spelling = reply->spelling[mark];
    bool grouped = reply->spelling[SP_MARK_CALLS_BEGIN] != NULL;
    if (mark == SP_MARK_CALLS_BEGIN || mark == SP_MARK_CALL_BEGIN) {
        if (reply->in_call) SP_TRY(end_call(reply, NULL, err)); /* the end mark was forgotten */
        reply->held.len = 0;
        reply->state = SP_IN_CALLS;
        if (mark == SP_MARK_CALL_BEGIN) return begin_call(reply, err);
        SP_TRY(spill_raw(reply, err));
        return sp_buf_puts(&reply->raw, spelling, err);
    }
    if (reply->state != SP_IN_CALLS) return SP_OK; /* a stray mark */
    if (mark == SP_MARK_CALL_SEP) {
        bool first = reply->in_call && reply->args == 0;
        if (first) reply->sep = reply->raw.len;
        SP_TRY(sp_buf_puts(&reply->raw, spelling, err));
        if (first) reply->args = reply->raw.len;
        return SP_OK;
    }
    if (reply->in_call) SP_TRY(end_call(reply, mark == SP_MARK_CALL_END ? spelling : NULL, err));
    if (mark == SP_MARK_CALLS_END || !grouped) {
        SP_TRY(spill_raw(reply, err));
        reply->state = SP_IN_CONTENT;
        reply->strip_breaks = !grouped;
    }
    return SP_OK;
}

/* --- marks ---------------------------------------------------------------------------------------------- */

static sp_status handle_mark(sp_reply *reply, sp_reply_mark mark, sp_error *err)
{
    const char *spelling = reply->spelling[mark];
    bool is_text = reply->plain && reply->state == SP_IN_CONTENT; /* the grammar asked for it */
    if (!is_text && mark > SP_MARK_THINK_CLOSE) return handle_call_mark(reply, mark, err);
    if (is_text || reply->state == SP_IN_CALLS) return emit_text(reply, spelling, strlen(spelling), err);
    if (reply->state == SP_IN_CONTENT && reply->spoke) return SP_OK; /* a stray tag */
    if (mark == SP_MARK_THINK_OPEN) {
        reply->state = SP_IN_REASONING;
        return SP_OK;
    }
    reply->held.len = 0;
    reply->state = SP_IN_CONTENT;
    reply->strip_breaks = true;
    return SP_OK;
}

/* First mark in text[0..len) among those that have no token of their own; SP_MARK_COUNT if there is none. */
static sp_reply_mark find_mark(const sp_reply *reply, const char *text, size_t len, size_t *at)
{
    for (size_t i = 0; i < len && !reply->plain; i++) {
        if (text[i] != '<') continue; /* every spelling begins so */
        for (int m = 0; m < SP_MARK_COUNT; m++) {
            const char *spelling = reply->ids[m] < 0 ? reply->spelling[m] : NULL;
            if (!spelling || strlen(spelling) > len - i || memcmp(text + i, spelling, strlen(spelling)) != 0)
                continue;
            *at = i;
            return (sp_reply_mark)m;
        }
    }
    return SP_MARK_COUNT;
}

/* Length of the longest end of text that may begin a mark. */
static size_t count_held(const sp_reply *reply, const char *text, size_t len)
{
    for (size_t i = len > 64 ? len - 64 : 0; i < len && !reply->plain; i++) {
        if (text[i] != '<') continue;
        for (int m = 0; m < SP_MARK_COUNT; m++) {
            const char *spelling = reply->ids[m] < 0 ? reply->spelling[m] : NULL;
            if (spelling && strlen(spelling) > len - i && memcmp(text + i, spelling, len - i) == 0)
                return len - i;
        }
    }
    return 0;
}

/* Pass the pending text on, up to what may begin a mark; `all`: to the end. */
static sp_status scan_pending(sp_reply *reply, bool all, sp_error *err)
{
    sp_buf *pending = &reply->pending;
    sp_status status = SP_OK;
    size_t start = 0, at;
    while (status == SP_OK) {
        sp_reply_mark mark = find_mark(reply, pending->data + start, pending->len - start, &at);
        if (mark == SP_MARK_COUNT) break;
        status = emit_text(reply, pending->data + start, at, err);
        if (status == SP_OK) status = handle_mark(reply, mark, err);
        start += at + strlen(reply->spelling[mark]);
    }
    size_t left = pending->len - start, hold = all ? 0 : count_held(reply, pending->data + start, left);
    if (status == SP_OK && left > hold) status = emit_text(reply, pending->data + start, left - hold, err);
    if (hold) memmove(pending->data, pending->data + pending->len - hold, hold);
    pending->len = hold;
    return status;
}

/* Take what the detokeniser gave into the pending text. */
static sp_status take_decoded(sp_reply *reply, bool all, sp_error *err)
{
    sp_status status = sp_buf_append(&reply->pending, reply->decoded.data, reply->decoded.len, err);
    reply->decoded.len = 0;
    if (status != SP_OK || reply->pending.len == 0) return status;
    return scan_pending(reply, all, err);
}

static sp_status flush_text(sp_reply *reply, sp_error *err)
{
    if (reply->tokenizer) SP_TRY(sp_detokenizer_flush(&reply->detokenizer, &reply->decoded, err));
    return take_decoded(reply, true, err);
}

static sp_status push_id(sp_reply *reply, int32_t id, sp_error *err)
{
    if (!reply->tokenizer) return SP_OK;
    for (int m = 0; m < SP_MARK_COUNT; m++) {
        if (id < 0 || id != reply->ids[m]) continue;
        SP_TRY(flush_text(reply, err));
        return handle_mark(reply, (sp_reply_mark)m, err);
    }
    if (sp_tokenizer_is_special(reply->tokenizer, id) || sp_tokenizer_is_end(reply->tokenizer, id))
        return flush_text(reply, err);
    SP_TRY(sp_detokenizer_push(&reply->detokenizer, &reply->decoded, id, SP_DECODE_SKIP_SPECIAL, err));
    return take_decoded(reply, false, err);
}

sp_status sp_reply_push(sp_reply *reply, int32_t id, sp_reply_fn fn, void *ctx, sp_error *err)
{
    reply->fn = fn;
    reply->fn_ctx = ctx;
    reply->stopped = false;
    SP_TRY(push_id(reply, id, err));
    return reply->stopped ? sp_fail(err, SP_E_CANCELLED, "reply: stopped by the caller") : SP_OK;
}

sp_status sp_reply_finish(sp_reply *reply, sp_reply_fn fn, void *ctx, sp_error *err)
{
    reply->fn = fn;
    reply->fn_ctx = ctx;
    reply->stopped = false;
    SP_TRY(flush_text(reply, err));
    if (reply->in_call) SP_TRY(end_call(reply, NULL, err));
    if (reply->state == SP_IN_CALLS) SP_TRY(spill_raw(reply, err));
    return reply->stopped ? sp_fail(err, SP_E_CANCELLED, "reply: stopped by the caller") : SP_OK;
}

bool sp_reply_is_thinking(const sp_reply *reply)
{
    return reply->state == SP_IN_REASONING;
}

bool sp_reply_holds_text(const sp_reply *reply)
{
    return reply->detokenizer.n_tail > 0 || reply->pending.len > 0;
}

const char *sp_reply_reasoning(const sp_reply *reply)
{
    return reply->reasoning.data ? reply->reasoning.data : "";
}

const char *sp_reply_content(const sp_reply *reply)
{
    return reply->content.data ? reply->content.data : "";
}

size_t sp_reply_tool_calls(const sp_reply *reply, const sp_tool_call **calls)
{
    if (calls) *calls = reply->calls;
    return reply->n_calls;
}
