/* SPDX-License-Identifier: MIT */
/* The operation's side: what is counted per request, the log line of a request, and the endpoints /health and /metrics. */
#ifndef SP_SERVER_OPS_H
#define SP_SERVER_OPS_H

#include "server/http_exchange.h"
#include "server/server.h"

typedef struct sp_ops sp_ops;

sp_ops *sp_ops_create(void); /* NULL when out of memory */
void sp_ops_destroy(sp_ops *ops);

/* An exchange is over: count it, and write its line to the log. */
void sp_ops_done(sp_server *server, sp_exchange *x);

/* A line that belongs to no request: "level" is "info", "warn" or "error". */
void sp_ops_log(sp_server *server, const char *level, const char *event, const char *text);

/* Append the metrics as Prometheus reads them. */
sp_status sp_ops_write_metrics(sp_server *server, sp_buf *out, sp_error *err);

#endif
