/* SPDX-License-Identifier: MIT */
/* Routes are few, so they are looked through in order. Start at sp_router_head(). */
#include "server/router.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* --- hosts and origins ---------------------------------------------------------------------------------- */

/* The name in "name", "name:port", "[address]:port"; false if it is none. */
static bool host_name(char name[256], const char *host)
{
    const char *end = host[0] == '[' ? strchr(host, ']') : strchr(host, ':');
    size_t n = end ? (size_t)(end - host) : strlen(host);
    const char *port = host[0] == '[' ? (end ? end + 1 : "x") : host + n;
    if (host[0] == '[') {
        host++;
        n = end ? n - 1 : 0;
    }
    if (n == 0 || n >= 256) return false;
    if (*port != '\0' && (*port != ':' || port[1 + strspn(port + 1, "0123456789")] != '\0')) return false;
    memcpy(name, host, n);
    name[n] = '\0';
    if (name[n - 1] == '.') name[n - 1] = '\0'; /* a full name with its root */
    return name[0] != '\0';
}

static bool is_address(const char *name)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

bool sp_router_host_allowed(const sp_server_options *options, const char *host)
{
    char name[256];
    if (!host_name(name, host)) return false;
    if (is_address(name) || strcasecmp(name, "localhost") == 0) return true;
    size_t n = strlen(name);
    if (n > 10 && strcasecmp(name + n - 10, ".localhost") == 0) return true;
    if (options->host && strcasecmp(name, options->host) == 0) return true;
    for (size_t i = 0; i < options->n_hosts; i++)
        if (strcasecmp(name, options->hosts[i]) == 0 || strcmp(options->hosts[i], "*") == 0) return true;
    return false;
}

bool sp_router_origin_allowed(const sp_server_options *options, const char *origin, const char *host)
{
    if (options->cors_origin &&
        (strcmp(options->cors_origin, "*") == 0 || strcasecmp(origin, options->cors_origin) == 0))
        return true;
    const char *authority = strstr(origin, "://");
    return authority && host && strcasecmp(authority + 3, host) == 0;
}

/* --- routes --------------------------------------------------------------------------------------------- */

static const sp_route *const tables[] = {sp_routes_api, sp_routes_ops, sp_routes_page};

static const char *skip_prefix(const char *path, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(path, prefix, n) == 0 && path[n] == '/' ? path + n : path;
}

/* "/models/{id}" fits "/models/" and whatever follows: ids may hold slashes. */
static bool fits(const char *pattern, const char *path)
{
    const char *brace = strchr(pattern, '{');
    if (!brace) return strcmp(pattern, path) == 0;
    size_t n = (size_t)(brace - pattern);
    return strncmp(pattern, path, n) == 0 && path[n] != '\0';
}

static void add_method(char allowed[64], const char *method)
{
    size_t n = strlen(allowed);
    if (!strstr(allowed, method)) snprintf(allowed + n, 64 - n, "%s%s", n ? ", " : "", method);
}

const sp_route *sp_router_find(const sp_server *server, const char *method, const char *path,
                               char allowed[64])
{
    const char *short_path = skip_prefix(skip_prefix(path, "/beta"), "/v1");
    const char *asked = strcmp(method, "HEAD") == 0 ? "GET" : method;
    if (allowed) allowed[0] = '\0';
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
        if (tables[t] == sp_routes_page && !server->options.page) continue;
        for (const sp_route *route = tables[t]; route->method; route++) {
            if (!fits(route->path, path) && !fits(route->path, short_path)) continue;
            if (strcmp(route->method, asked) == 0) return route;
            if (!allowed) continue;
            add_method(allowed, route->method);
            if (strcmp(route->method, "GET") == 0) add_method(allowed, "HEAD");
        }
    }
    return NULL;
}

/* Of another API (/v1/responses), or of a base URL with a part too many: the paths that there are show it. */
static void fail_unknown(sp_exchange *x, const char *path)
{
    char paths[320] = "";
    size_t n = 0;
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
        if (tables[t] == sp_routes_page) continue;
        for (const sp_route *route = tables[t]; route->method && n < sizeof paths; route++)
            n += (size_t)snprintf(paths + n, sizeof paths - n, "%s%s", n ? ", " : "", route->path);
    }
    sp_server_fail(x, 404, NULL, "not_found", "there is nothing at '%.100s'; there are %s", path, paths);
}

/* --- the head of a request ------------------------------------------------------------------------------ */

static void set_safe_headers(const sp_server *server, sp_exchange *x)
{
    static const char *const headers[][2] = {
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cache-Control", "no-store"},
        {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        sp_exchange_set_header(x, headers[i][0], headers[i][1]);
    if (!server->options.cors_origin)
        sp_exchange_set_header(x, "Cross-Origin-Resource-Policy", "same-origin");
    sp_exchange_set_header(x, "x-request-id", sp_exchange_id(x));
}

static bool check_host(const sp_server *server, sp_exchange *x)
{
    const char *host = sp_exchange_header(x, "Host");
    size_t n = sp_fields_count(&x->headers, "Host");
    if (n > 1 || (n == 0 && !x->is_http10)) {
        sp_server_fail(x, 400, "Host", "invalid_host",
                       n ? "more than one Host header" : "the Host header is missing");
        return false;
    }
    if (n == 0 || sp_router_host_allowed(&server->options, host)) return true;
    sp_server_fail(x, 403, "Host", "unknown_host",
                   "this server does not answer to the name '%.100s'; its owner can add it with --allow-host",
                   host);
    return false;
}

static bool check_origin(const sp_server *server, sp_exchange *x)
{
    const char *origin = sp_exchange_header(x, "Origin"), *method = sp_exchange_method(x);
    const char *cors = server->options.cors_origin;
    bool reads = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    if (!origin) return true;
    bool allowed = sp_router_origin_allowed(&server->options, origin, sp_exchange_header(x, "Host"));
    if (cors && allowed) {
        sp_exchange_set_header(x, "Access-Control-Allow-Origin", strcmp(cors, "*") == 0 ? "*" : origin);
        sp_exchange_set_header(x, "Access-Control-Expose-Headers", "x-request-id, Retry-After");
        if (strcmp(cors, "*") != 0) sp_exchange_set_header(x, "Vary", "Origin");
    }
    if (allowed || reads) return true;
    sp_server_fail(x, 403, "Origin", "foreign_origin",
                   "pages of '%.100s' may not use this server; its owner can allow it with --cors", origin);
    return false;
}

static void answer_preflight(sp_exchange *x)
{
    const char *wanted = sp_exchange_header(x, "Access-Control-Request-Headers");
    sp_exchange_set_header(x, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
    sp_exchange_set_header(x, "Access-Control-Allow-Headers",
                           wanted ? wanted : "Authorization, Content-Type, x-api-key");
    sp_exchange_set_header(x, "Access-Control-Max-Age", "600");
    sp_exchange_reply(x, 204, NULL, "", 0);
}

static bool check_framing(sp_exchange *x)
{
    size_t lengths = sp_fields_count(&x->headers, "Content-Length");
    bool coded = sp_exchange_header(x, "Transfer-Encoding") != NULL;
    if (lengths <= 1 && !(lengths == 1 && coded)) return true;
    sp_exchange_set_header(x, "Connection", "close");
    sp_server_fail(x, 400, "Content-Length", "invalid_length", "the length of the body is given twice");
    return false;
}

void sp_router_head(sp_server *server, sp_exchange *x)
{
    char allowed[64];
    const char *method = sp_exchange_method(x), *path = sp_exchange_path(x);
    set_safe_headers(server, x);
    if (!check_framing(x) || !check_host(server, x) || !check_origin(server, x)) return;
    if (strcmp(method, "OPTIONS") == 0 && server->options.cors_origin) {
        answer_preflight(x);
        return;
    }
    const sp_route *route = sp_router_find(server, method, path, allowed);
    if (!route && !allowed[0]) {
        fail_unknown(x, path);
        return;
    }
    if (!route) {
        sp_exchange_set_header(x, "Allow", allowed);
        sp_server_fail(x, 405, NULL, "method_not_allowed", "'%.200s' takes %s, not %.20s", path, allowed,
                       method);
        return;
    }
    x->route = route;
    bool is_stopping = server->is_stopping;
    if ((is_stopping || server->is_loading) && !route->is_open) {
        if (is_stopping) sp_exchange_set_header(x, "Connection", "close");
        sp_exchange_set_header(x, "Retry-After", "5");
        sp_server_fail(x, 503, NULL, is_stopping ? "stopping" : "loading",
                       is_stopping ? "the server is being stopped" : "the model is being loaded");
        return;
    }
    sp_key_info key;
    if (!route->is_open) sp_server_admit(server, x, &key);
}
