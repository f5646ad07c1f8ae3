/* SPDX-License-Identifier: MIT */
/* One HTTP request and its answer, as the API sees them: http.c makes exchanges, api_*.c answer them. A handler runs on an HTTP thread when
 * the whole body has come; it either answers at once (sp_exchange_reply) or leaves an answerer (sp_exchange_answer), which is asked for
 * bytes whenever it is woken. Of one exchange, functions are called by one thread at a time, except sp_exchange_wake. */
#ifndef SP_SERVER_EXCHANGE_H
#define SP_SERVER_EXCHANGE_H

#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct sp_exchange sp_exchange;

const char *sp_exchange_method(const sp_exchange *x);                   /* "GET", "POST", ... */
const char *sp_exchange_path(const sp_exchange *x);                     /* without query, decoded */
const char *sp_exchange_query(const sp_exchange *x, const char *name);  /* NULL if absent */
const char *sp_exchange_header(const sp_exchange *x, const char *name); /* any case; NULL if absent */
const char *sp_exchange_peer(const sp_exchange *x); /* the client's address as text, without port */
const void *sp_exchange_body(const sp_exchange *x, size_t *len);
const char *sp_exchange_id(const sp_exchange *x); /* of this request, for logs and as x-request-id */

/* What the log line of this request should also say; copied. */
void sp_exchange_note(sp_exchange *x, const char *name, const char *value);

/* Before the first byte of the answer. Status is 200 if nothing is said. Values are copied. */
void sp_exchange_set_status(sp_exchange *x, int status);
void sp_exchange_set_header(sp_exchange *x, const char *name, const char *value);

/* The whole answer; copied. Once, and then nothing else. */
void sp_exchange_reply(sp_exchange *x, int status, const char *content_type, const void *body, size_t len);

typedef enum sp_answer { SP_ANSWER_WAIT, SP_ANSWER_END } sp_answer;

typedef struct sp_answerer {
    void *ctx;
    /* Append what there is to say to *out, maybe nothing; END if that was all. Asked after sp_exchange_answer, after each wake, and with
     * `idle` when nothing has been sent for SP_EXCHANGE_IDLE_S: then a comment or a blank line shows that the server lives. Status and
     * headers are final when it has first appended something. */
    sp_answer (*write)(void *ctx, sp_exchange *x, bool idle, sp_buf *out);
    /* Once, after END or when the client has gone, whichever is first; the exchange is not used after it. */
    void (*close)(void *ctx);
} sp_answerer;

#define SP_EXCHANGE_IDLE_S 10

void sp_exchange_answer(sp_exchange *x, const sp_answerer *answerer);

/* There is something to say. Any thread; cheap; may be called before sp_exchange_answer, but not after close. */
void sp_exchange_wake(sp_exchange *x);

#endif
