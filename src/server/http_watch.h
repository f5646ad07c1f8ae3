/* SPDX-License-Identifier: MIT */
/* The watcher of sockets: a thread that knows what libmicrohttpd does not. It notices that the client of a suspended connection has gone, that
 * a request takes longer to arrive as a whole than it may, however steadily its bytes drip, and that a waiting answer has been silent. */
#ifndef SP_SERVER_HTTP_WATCH_H
#define SP_SERVER_HTTP_WATCH_H

#include "server/http_exchange.h"

typedef struct sp_watch sp_watch;
typedef struct sp_watched sp_watched; /* one connection */

/* late_answer: bytes sent to a client whose request has not arrived in time, before its socket is shut; "": none. Not copied. */
sp_status sp_watch_create(sp_watch **watch, double request_timeout_s, const char *late_answer, sp_error *err);
/* All connections must have been removed. Accepts NULL. */
void sp_watch_destroy(sp_watch *watch);

/* A connection has been accepted; its first request's time begins. NULL when out of memory. */
sp_watched *sp_watch_add(sp_watch *watch, int fd);
/* Before the socket is closed. Accepts NULL. */
void sp_watch_remove(sp_watch *watch, sp_watched *connection);

/* The first line of a request has come; x is its exchange. */
void sp_watch_begin(sp_watch *watch, sp_watched *connection, sp_exchange *x);
/* The whole request has come. */
void sp_watch_arrived(sp_watch *watch, sp_watched *connection);
/* The answer will be waited for: end the exchange if the client goes. */
void sp_watch_guard(sp_watch *watch, sp_watched *connection);
/* The exchange is over and not touched any more when this returns; another request may come on the connection. */
void sp_watch_end(sp_watch *watch, sp_watched *connection);

/* Abandon all exchanges, also those to come: the server ends. */
void sp_watch_abandon_all(sp_watch *watch);

size_t sp_watch_count(sp_watch *watch);

#endif
