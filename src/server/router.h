/* SPDX-License-Identifier: MIT */
/* From a path to its endpoint, and whether the asking page and host may ask at all. */
#ifndef SP_SERVER_ROUTER_H
#define SP_SERVER_ROUTER_H

#include "server/http_exchange.h"
#include "server/server.h"

/* When the head has come: checks Host, Origin, route, method and key; replies if something is wrong, else sets x->route. */
void sp_router_head(sp_server *server, sp_exchange *x);

/* The route of a path without query; NULL: none of this method. *allowed (may be NULL) gets its methods as in "GET, HEAD", "" if the
 * path is unknown. */
const sp_route *sp_router_find(const sp_server *server, const char *method, const char *path,
                               char allowed[64]);

/* May a request with this Host header come in: an address, a name of the loopback, `host`, or one of the listed names, with or
 * without port. Other names may be a foreign page's whose name server points at us (DNS rebinding). */
bool sp_router_host_allowed(const sp_server_options *options, const char *host);

/* May a page of this origin send requests: the server's own, or the one that CORS is allowed for. */
bool sp_router_origin_allowed(const sp_server_options *options, const char *origin, const char *host);

#endif
