/* SPDX-License-Identifier: MIT */
/* HTTP over libmicrohttpd: connections to exchanges and back. Knows limits, TLS and time, neither routes nor the API. */
#ifndef SP_SERVER_HTTP_H
#define SP_SERVER_HTTP_H

#include "server/http_exchange.h"

typedef struct sp_http sp_http;

typedef struct sp_http_options {
    int listen_fd;                  /* bound and listening; closed by sp_http_stop */
    bool is_shared;                 /* with the process that passed it: it goes on listening */
    const char *tls_cert, *tls_key; /* PEM texts; NULL: plain */
    size_t max_body_bytes, max_connections;
    double request_timeout_s;
    /* All on HTTP threads. The head of a request has come; a reply now spares the server the body. */
    void (*head)(void *ctx, sp_exchange *x);
    /* All of it has come. */
    void (*handle)(void *ctx, sp_exchange *x);
    /* The exchange is over; x->status is what was sent, 499 if the client went before. */
    void (*done)(void *ctx, sp_exchange *x);
    /* What libmicrohttpd has to say. */
    void (*log)(void *ctx, const char *text);
    void *ctx;
} sp_http_options;

/* SP_E_UNSUPPORTED: built without libmicrohttpd. */
sp_status sp_http_check(sp_error *err);

/* Errors: that of sp_http_check, SP_E_IO. On failure the socket stays the caller's. */
sp_status sp_http_start(sp_http **http, const sp_http_options *options, sp_error *err);

/* Take no more connections. */
void sp_http_quiesce(sp_http *http);

size_t sp_http_connections(sp_http *http);
size_t sp_http_active(sp_http *http); /* exchanges that are being answered */

/* End all exchanges, close all connections, free. Accepts NULL. */
void sp_http_stop(sp_http *http);

#endif
