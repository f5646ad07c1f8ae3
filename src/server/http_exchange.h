/* SPDX-License-Identifier: MIT */
/* The inside of an exchange: what has come of a request, what is to be said, and the meeting of those who wake it with the HTTP thread
 * that asks. It knows nothing of libmicrohttpd, so tests make exchanges of their own. For http*.c, router.c and tests; handlers see
 * exchange.h alone. */
#ifndef SP_SERVER_HTTP_EXCHANGE_H
#define SP_SERVER_HTTP_EXCHANGE_H

#include "server/exchange.h"
#include "server/meter.h"

#include <pthread.h>

struct sp_route;

typedef struct sp_field {
    char *name, *value;
} sp_field;

typedef struct sp_fields {
    sp_field *items;
    size_t n, cap;
} sp_fields;

/* False when out of memory. */
bool sp_fields_add(sp_fields *fields, const char *name, const char *value);
/* Replace the value of a name, in any case, or add it. */
bool sp_fields_set(sp_fields *fields, const char *name, const char *value);
const char *sp_fields_get(const sp_fields *fields, const char *name); /* in any case; the first; NULL */
size_t sp_fields_count(const sp_fields *fields, const char *name);
void sp_fields_clear(sp_fields *fields);

struct sp_exchange {
    /* the request */
    char id[24];
    char peer[64];
    char *method, *path;
    bool is_http10;
    sp_fields headers, query;
    sp_buf body;
    /* what the router found */
    const struct sp_route *route;
    bool was_admitted;
    sp_key_info key;
    /* the answer */
    int status;
    bool out_of_memory;
    sp_fields answer_headers, notes;
    bool has_reply, has_answerer, has_ended, is_closed;
    sp_buf out; /* not yet taken by the connection: from out_taken on */
    size_t out_taken;
    sp_answerer answerer;
    /* for the log and the metrics */
    double started, last_sent;
    double first_sent; /* an answerer's first bytes, without signs of life; 0: not yet */
    uint64_t n_sent;
    /* the meeting: under lock */
    pthread_mutex_t lock;
    bool is_woken, is_waiting, is_idle, is_gone;
    void (*suspend)(void *connection), (*resume)(void *connection); /* NULL in tests */
    void *connection;
};

/* NULL when out of memory. */
sp_exchange *sp_exchange_create(void);
/* Close the answerer if it is not closed. */
void sp_exchange_close(sp_exchange *x);
/* Closes first. Accepts NULL. */
void sp_exchange_destroy(sp_exchange *x);

typedef enum sp_exchange_state {
    SP_EXCHANGE_DATA, /* there are bytes in `out` from out_taken on */
    SP_EXCHANGE_END,  /* nothing more will come */
    SP_EXCHANGE_WAIT, /* nothing now: the connection has been suspended and will be resumed */
    SP_EXCHANGE_GONE  /* the client has gone, or the server ends */
} sp_exchange_state;

/* Ask the answerer until there is something to do for the connection. HTTP thread. */
sp_exchange_state sp_exchange_ask(sp_exchange *x);

/* The client has gone, or it must go. Any thread, while the exchange exists. */
void sp_exchange_abandon(sp_exchange *x);

/* Nothing has been sent for a while: ask the answerer with `idle`. Any thread. */
void sp_exchange_remind(sp_exchange *x, double now);

#endif
