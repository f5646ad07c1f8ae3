/* SPDX-License-Identifier: MIT */
/* The inside of a reply that its two files and the generator share: the marks that divide a reply, its state,
 * and a hook through which the generator withholds stop strings. The public side is <sputnik/chat.h>. */
#ifndef SP_TEXT_REPLY_H
#define SP_TEXT_REPLY_H

#include "base/mem.h"
#include "text/call_scan.h"

#include <sputnik/chat.h>

/* What divides a reply. Each format spells its own subset (reply.c). */
typedef enum sp_reply_mark {
    SP_MARK_THINK_OPEN,
    SP_MARK_THINK_CLOSE,
    SP_MARK_CALLS_BEGIN,
    SP_MARK_CALLS_END,
    SP_MARK_CALL_BEGIN,
    SP_MARK_CALL_END,
    SP_MARK_CALL_SEP,
    SP_MARK_COUNT
} sp_reply_mark;

typedef enum sp_reply_state { SP_IN_REASONING, SP_IN_CONTENT, SP_IN_CALLS } sp_reply_state;

/* How far the call in raw has been understood. */
typedef enum sp_call_stage {
    SP_CALL_SOUGHT, /* its JSON has not begun */
    SP_CALL_FOUND,  /* its JSON begins at `json` */
    SP_CALL_OPEN,   /* it is the newest of the calls, and its arguments are passed on as they come */
    SP_CALL_NONE    /* it will be no call, whatever comes */
} sp_call_stage;

/* Sees each stretch before it is recorded, and passes on what it lets through with sp_reply_record. */
typedef sp_status (*sp_reply_filter_fn)(void *ctx, sp_reply_part part, const char *text, size_t len,
                                        sp_error *err);

struct sp_reply {
    sp_chat_format format;
    const sp_tokenizer *tokenizer; /* NULL: the reply has no text */
    sp_detokenizer detokenizer;
    const char *const *spelling; /* (SP_MARK_COUNT), NULL where the format has no such mark */
    int32_t ids[SP_MARK_COUNT];  /* -1: the mark is looked for in the text instead */
    sp_reply_state state;
    bool spoke;        /* content that is not blank has appeared */
    bool strip_breaks; /* line breaks that come next in the content are dropped */
    sp_text decoded;   /* scratch: text of the newest token */
    sp_buf pending;    /* text that may begin a mark */
    sp_buf reasoning;
    sp_buf held; /* white space at the end of the reasoning so far */
    sp_buf content;
    sp_buf raw; /* text of the call area since the last complete call, marks spelled out */
    bool in_call;
    size_t body;      /* offset in raw: after the call's opening mark */
    size_t sep, args; /* offsets in raw around the first separator of the call; 0: none yet */
    sp_call_stage stage;
    size_t json;       /* offset in raw, from SP_CALL_FOUND on */
    sp_call_scan scan; /* of raw from json on */
    size_t passed;     /* bytes of that text, up to the end of what was passed on of the arguments */
    sp_buf name;       /* scratch: of the call */
    sp_buf arguments;  /* of the open call, which has its text */
    sp_tool_call *calls;
    size_t n_calls, calls_cap;
    sp_reply_fn fn; /* of the push or finish under way */
    void *fn_ctx;
    bool stopped; /* fn asked to stop */
    bool plain;   /* marks are no longer looked for in the text: the content follows a grammar */
    sp_reply_filter_fn filter;
    void *filter_ctx;
};

void sp_reply_set_filter(sp_reply *reply, sp_reply_filter_fn filter, void *ctx);

/* Append to the reply's text and tell the caller's function. */
sp_status sp_reply_record(sp_reply *reply, sp_reply_part part, const char *text, size_t len, sp_error *err);

/* True while an incomplete character or a possible mark is held back. */
bool sp_reply_holds_text(const sp_reply *reply);

/* Pass text on through the filter. */
sp_status sp_reply_emit(sp_reply *reply, sp_reply_part part, const char *text, size_t len, sp_error *err);

/* --- reply_calls.c: the call in raw, from body on ------------------------------------------------------- */

/* A call begins at the end of raw. */
void sp_reply_begin_call(sp_reply *reply);

/* Text has come: pass on what it tells. */
sp_status sp_reply_advance_call(sp_reply *reply, sp_error *err);

/* The call is over. *rest: where in raw the text begins that is no part of it; 0 if it was no call at all. */
sp_status sp_reply_end_call(sp_reply *reply, size_t *rest, sp_error *err);

#endif
