/* SPDX-License-Identifier: MIT */
/* The chat page at "/" and what it loads, from memory. The page itself is src/server/page; it uses the API of this server like any other
 * client. Everything goes out with a policy that lets the page load and connect to nothing but this server, since it shows what models
 * write. Start at handle_asset(). */
#include "server/page.h"

#include <stdio.h>
#include <string.h>

#include "server/server.h"

#define ASSET(symbol, path) extern const sp_page_asset symbol;
#include "server/page_assets.inc"
#undef ASSET

const sp_page_asset *const sp_page_assets[] = {
#define ASSET(symbol, path) &symbol,
#include "server/page_assets.inc"
#undef ASSET
    NULL};

/* KaTeX sets styles through the object model, which needs no 'unsafe-inline'. DOMPurify is the one who may make HTML from text. */
const char sp_page_policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types dompurify";

const sp_page_asset *sp_page_find(const char *path)
{
    for (size_t i = 0; sp_page_assets[i]; i++)
        if (strcmp(sp_page_assets[i]->path, path) == 0) return sp_page_assets[i];
    return NULL;
}

/* Entity tags are compared weakly (RFC 9110, 13.1.2), and ours hold no comma: a part of the list is a tag, perhaps after W/. */
static bool list_has_tag(const char *list, const char *tag)
{
    size_t len = strlen(tag);
    for (const char *at = strstr(list, tag); at; at = strstr(at + 1, tag))
        if (at[len] == '\0' || strchr(", \t", at[len])) return true;
    return strcmp(list, "*") == 0;
}

/* Whether Accept-Encoding names gzip, or everything, without a weight of zero. */
static bool takes_gzip(const char *accept)
{
    while (accept && *accept) {
        accept += strspn(accept, ", \t");
        size_t name = strcspn(accept, ",; \t"), whole = strcspn(accept, ",");
        const char *weight = memchr(accept, '=', whole);
        bool is_refused = weight && strspn(weight + 1, "0. ") >= (size_t)(accept + whole - weight - 1);
        if (!is_refused && ((name == 4 && strncmp(accept, "gzip", 4) == 0) || (name == 1 && *accept == '*')))
            return true;
        accept += whole;
    }
    return false;
}

int sp_page_status(const sp_page_asset *asset, const char *if_none_match, const char *accept_encoding)
{
    if (if_none_match && list_has_tag(if_none_match, asset->etag)) return 304;
    if (asset->is_packed && !takes_gzip(accept_encoding)) return 406;
    return 200;
}

static void set_headers(sp_exchange *x, const sp_page_asset *asset)
{
    static const char *const headers[][2] = {{"Content-Security-Policy", sp_page_policy},
                                             {"X-Content-Type-Options", "nosniff"},
                                             {"X-Frame-Options", "DENY"},
                                             {"Referrer-Policy", "no-referrer"},
                                             {"Cross-Origin-Opener-Policy", "same-origin"},
                                             {"Cross-Origin-Resource-Policy", "same-origin"},
                                             {"Cache-Control", "no-cache"}}; /* that is: ask by ETag */
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        sp_exchange_set_header(x, headers[i][0], headers[i][1]);
    sp_exchange_set_header(x, "ETag", asset->etag);
    if (!asset->is_packed) return;
    sp_exchange_set_header(x, "Content-Encoding", "gzip");
    sp_exchange_set_header(x, "Vary", "Accept-Encoding, Origin");
}

static void handle_asset(sp_server *server, sp_exchange *x)
{
    const sp_page_asset *asset = server->options.page ? sp_page_find(sp_exchange_path(x)) : NULL;
    if (!asset) {
        sp_server_fail(x, 404, NULL, "not_found", "this server has no page at %s", sp_exchange_path(x));
        return;
    }
    int status = sp_page_status(asset, sp_exchange_header(x, "If-None-Match"),
                                sp_exchange_header(x, "Accept-Encoding"));
    if (status == 406) {
        sp_server_fail(x, 406, NULL, "not_acceptable", "%s is kept packed: ask with Accept-Encoding: gzip",
                       asset->path);
        return;
    }
    char type[64];
    snprintf(type, sizeof type, "%s%s", asset->type,
             strncmp(asset->type, "text/", 5) == 0 ? "; charset=utf-8" : "");
    set_headers(x, asset);
    sp_exchange_reply(x, status, type, asset->data, status == 200 ? asset->len : 0);
}

const sp_route sp_routes_page[] = {
#define ASSET(symbol, path) {"GET", path, handle_asset, true},
#include "server/page_assets.inc"
#undef ASSET
    {NULL, NULL, NULL, false}};
